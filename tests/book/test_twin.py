"""The notebook of a page: plain Markdown, valid, and it runs without the book."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("myst_nb", reason="needs the extra [book]")

import nbformat
from docutils import nodes
from markdown_it import MarkdownIt
from nbclient import NotebookClient


def read(path: Path) -> Any:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def text_of(notebook: Any) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.fixture
def chapter(small_site: Path) -> Any:
    return read(small_site / "notebooks/book/chapter.ipynb")


@pytest.fixture(scope="module")
def markdown(extension: Any) -> ModuleType:
    return extension("markdown")


@pytest.fixture
def twin(extension: Any) -> ModuleType:
    return extension("twin")


@pytest.fixture
def launch(extension: Any) -> ModuleType:
    return extension("launch")


class TestChapter:
    """The page tests/book/fixture/book/chapter.md, which has a directive of every kind."""

    def test_every_executed_page_has_one(self, small_site: Path) -> None:
        found = {p.stem for p in (small_site / "notebooks/book").iterdir()}
        assert found == {"figures", "chapter"}  # and not the pages without cells

    def test_no_directive_or_role_is_left(self, chapter: Any) -> None:
        text = text_of(chapter)
        assert not re.search(r"\{[\w:-]+\}`|^[>\s]*(```|:::+)\s*\{|^\(.*\)=$|pending", text, re.M)
        assert "chapter.md" not in text

    @pytest.mark.parametrize(
        "expected",
        [
            "# A chapter of everything",
            "The best score is 2.5.",  # glue
            "[Ouyang *et al.*, 2022](https://arxiv.org/abs/2203.02155)",
            "describe it<sup>1</sup>",
            "<sup>1</sup> In a paper of 2017.",
            "See Figures of every kind, [a site](https://example.org/a_b), (3) and Fig. 1.",
            "\\begin{aligned}\na &= b \\\\\nc &= d\n\\end{aligned}\n\\tag{3}",
            "![Three steps, each higher.](data:image/svg+xml;base64,",
            "**Fig. 1.** A ladder of *three* steps.",
            "> **Warning**\n>\n> Clip $\\rho$ first.\n>\n> - one",
            "<summary><b>A dropdown</b></summary>\n\nOpened by a click.\n\n</details>",
            "| term | value \\| unit |\n| --- | --- |\n| $\\lvert x \\rvert$ | `a` |",
            "> **KL**\n>\n> Divergence, in nats.",
            "1. first\n2. second",
            "> **Theorem 1 (Shift)**",
            "By Theorem 1, so. Back to The loss.",
            "> **Exercise 1 (Twice)**",
            "And three times? Exercise 1 helps.",
            "<summary><b>Solution to Exercise 1 (Twice)</b></summary>",
            "## References\n\n- Long Ouyang,",
        ],
    )
    def test_directives_are_plain_markdown(self, chapter: Any, expected: str) -> None:
        assert expected in text_of(chapter)

    def test_cells_keep_their_order_and_place(self, chapter: Any, small_site: Path) -> None:
        order = [
            "# A chapter of everything",
            "import csv",  # removed from the page, run here
            "The best score",
            'print("best of"',
            "**Warning**",
            "sentinel =",
            'BetaGammaExplorer("results/sweep")',
            'TokenInspector(read_published("data/rollouts.json", FORMAT))',
            "## The end",
            "assert best",
        ]
        sources = [cell.source for cell in chapter.cells]
        found = [next(i for i, s in enumerate(sources) if part in s) for part in order]
        assert found == sorted(found) and len(set(found)) == len(found)
        hidden = chapter.cells[found[1]]
        assert hidden.metadata.jupyter.source_hidden and hidden.metadata.cellView == "form"
        assert all(not cell.outputs for cell in chapter.cells if cell.cell_type == "code")

    def test_tells_what_to_run_first_and_where_a_gpu_is(self, chapter: Any) -> None:
        assert "T4 GPU" in chapter.cells[0].source
        assert "rlhf-lab[labs]==0.1.0" in chapter.cells[1].source  # with widgets

    def test_runs_in_an_empty_folder_without_the_book(
        self, chapter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: Any
    ) -> None:
        """What the page read is brought along, and no package of the book is needed.

        Its explorers are widgets.
        """
        pytest.importorskip("anywidget", reason="needs the extra [labs]")
        blocked = tmp_path / "blocked"
        blocked.mkdir()
        for name in ("myst_nb", "sphinx", "jupyter_book", "rlhf_book"):
            (blocked / f"{name}.py").write_text("raise ImportError('not in this environment')")
        root = Path(__file__).parents[2]
        monkeypatch.setenv("PYTHONPATH", f"{blocked}:{root}")
        folder = tmp_path / "downloads"
        folder.mkdir()
        resources = {"metadata": {"path": str(folder)}}
        with extension("cache").own_sockets() as config:
            NotebookClient(chapter, timeout=300, resources=resources, config=config).execute()
        said = "".join(o.get("text", "") for c in chapter.cells for o in c.get("outputs", []))
        assert said.startswith("best of 2 is 2.5\n")
        drawn = [
            kind
            for c in chapter.cells
            for o in c.get("outputs", [])
            for kind in o.get("data", ())
            if "widget" in kind
        ]
        assert drawn == ["application/vnd.jupyter.widget-view+json"] * 2
        assert [p.name for p in folder.iterdir()] == ["rlhf-lab-0.1.0"]


class TestCells:
    def test_glue_is_a_plain_function(self, twin: ModuleType) -> None:
        code = "import csv\nfrom myst_nb import (\n    glue,\n)\nglue('a', 1, display=False)\n"
        plain = twin.without_glue(code)
        assert "myst_nb" not in plain
        assert plain.startswith("import csv\n\ndef glue(")
        exec(compile(plain, "cell", "exec"), {})  # - our own text

    def test_code_that_is_no_python_stays(self, twin: ModuleType) -> None:
        assert twin.without_glue("%timeit 1 +") == "%timeit 1 +"

    @pytest.mark.parametrize(
        ("code", "has_widgets", "expected"),
        [
            ("import rlhf_lab", False, ""),
            ("import rlhf_lab", True, "labs"),
            ("from rlhf_lab.paradigms.crf import CRFTagger", False, "paradigms"),
            ("from rlhf_lab.paradigms import lattice", True, "labs,paradigms"),
        ],
    )
    def test_the_extras_that_its_cells_need(
        self, twin: ModuleType, code: str, has_widgets: bool, expected: str
    ) -> None:
        cells = [{"source": "import torch"}, {"source": code}]
        assert twin.extras(cells, has_widgets) == expected

    @pytest.mark.parametrize(
        ("repository", "expected"),
        [
            ("https://github.com/a/b", "github/a/b/blob/gh-pages/notebooks/x.ipynb"),
            ("https://example.org/a/b", ""),
            ("", ""),
        ],
    )
    def test_colab_opens_notebooks_of_github(
        self, launch: ModuleType, repository: str, expected: str
    ) -> None:
        found = launch.colab_address(repository, "gh-pages", "notebooks/x.ipynb")
        assert found == (expected and f"https://colab.research.google.com/{expected}")


class TestMarkdown:
    """Compared with what another program makes of the Markdown."""

    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])

    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40))
    def test_text_stays_text(self, markdown: ModuleType, text: str) -> None:
        text = " ".join(text.split())
        if not text:
            return
        blocks = markdown.MarkdownWriter().blocks(nodes.paragraph("", nodes.Text(text)))
        page = self.reader.render(blocks[0])
        assert page == f"<p>{html.escape(text, quote=False).replace(chr(34), '&quot;')}</p>\n"
        assert not re.search(r"(?<!\\)\$", blocks[0])  # mathematics

    @given(st.text("ab`| $", min_size=1, max_size=12))
    def test_code_stays_code(self, markdown: ModuleType, code: str) -> None:
        if code != code.strip():
            return
        text = markdown.MarkdownWriter().inline(nodes.literal("", code))
        page = self.reader.renderInline(text)
        assert page == f"<code>{html.escape(code)}</code>"

    @pytest.mark.parametrize(
        ("tree", "expected"),
        [
            (nodes.emphasis("", " a "), " *a* "),
            (nodes.emphasis("", ""), ""),
            (nodes.math("", "a\n b"), "$a b$"),
            (nodes.reference("", "a]b", refuri="https://x.org"), r"[a\]b](https://x.org)"),
            (nodes.reference("", "c", refuri="https://x.org/a_(b)"), "[c](<https://x.org/a_(b)>)"),
            (nodes.reference("", "there", refuri="../p.html#s"), "there"),
            (nodes.reference("", "here", refid="s"), "here"),
            (nodes.raw("", "<i>", format="html"), "<i>"),
            (nodes.raw("", "<script>1</script>", format="html"), ""),
            (nodes.raw("", "\\tex", format="latex"), ""),
        ],
    )
    def test_inline(self, markdown: ModuleType, tree: nodes.Element, expected: str) -> None:
        assert markdown.MarkdownWriter().inline(tree) == expected

    def test_links_to_the_site_where_it_has_an_address(self, markdown: ModuleType) -> None:
        writer = markdown.MarkdownWriter(address="https://x.org/book/part2/page.html")
        tree = nodes.reference("", "there", refuri="../p.html#s")
        assert writer.inline(tree) == "[there](https://x.org/book/p.html#s)"

    def test_an_unknown_directive_gives_its_text(self, markdown: ModuleType) -> None:
        class card(nodes.General, nodes.Element):  # noqa: N801
            pass

        tree = card("", nodes.paragraph("", "one"), nodes.paragraph("", "two"))
        assert markdown.MarkdownWriter().blocks(tree) == ["one", "two"]

    def test_a_drawing_gives_title_and_alternative_text(self, markdown: ModuleType) -> None:
        class drawing(nodes.General, nodes.Element):  # noqa: N801
            pass

        assert markdown.MarkdownWriter().blocks(drawing(title="It *rises*", alt="A line.")) == [
            r"**It \*rises\*** A line."
        ]

    def test_a_drawing_with_a_widget_gives_a_cell(self, markdown: ModuleType) -> None:
        class drawing(nodes.General, nodes.Element):  # noqa: N801
            pass

        cell = markdown.NewCell("draw()")
        tree = nodes.note("", nodes.paragraph("", "a"), drawing(title="T", alt="A.", cell="draw()"))
        assert markdown.MarkdownWriter().blocks(tree) == ["> **Note**\n>\n> a\n>\n> **T** A.", cell]
        assert markdown.has_cells([cell])

    def test_a_quotation_makes_room_for_code_cells(self, markdown: ModuleType) -> None:
        cell = nodes.container(nb_element="cell_code", cell_index=3)
        tree = nodes.note("", nodes.paragraph("", "a"), cell, nodes.paragraph("", "b"))
        assert markdown.MarkdownWriter().blocks(tree) == ["> **Note**\n>\n> a", 3, "> b"]

    def test_an_equation_of_another_environment_stays(self, markdown: ModuleType) -> None:
        tree = nodes.math_block("", "\\begin{align}a\\end{align}", nowrap=True)
        assert markdown.MarkdownWriter().blocks(tree) == ["\\begin{align}a\\end{align}"]


def test_a_notebook_is_json_without_a_place_of_this_machine(small_site: Path) -> None:
    text = (small_site / "notebooks/book/chapter.ipynb").read_text(encoding="utf-8")
    assert str(small_site.parents[1]) not in text
    assert json.loads(text)["nbformat"] == 4
