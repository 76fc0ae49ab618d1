"""The student edition: no solution in any file of the site."""

from __future__ import annotations

import json
import re
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("myst_nb", reason="needs the extra [book]")

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx_exercise.nodes import solution_node

Build = Callable[..., subprocess.CompletedProcess[str]]
SENTINELS = ("sentinel-plain", "sentinel-gated", "sentinel-code")


def holds(path: Path, text: str) -> bool:
    """Whether a file of the site holds a text, in any case; packed ones are unpacked."""
    data = path.read_bytes()
    if path.name == "objects.inv":
        head, _, packed = data.partition(b"zlib.\n")
        data = head + zlib.decompress(packed)
    return text.encode() in data.lower()


@pytest.fixture(scope="module")
def student_site(new_book: Callable[[], Path], build_book: Build) -> Path:
    """The small book without solutions, and with a public address."""
    folder = new_book()
    config = folder / "_config.yml"
    text = config.read_text(encoding="utf-8")
    assert text.count('  url: ""') == 1
    config.write_text(text.replace('  url: ""', "  url: https://github.com/an/address"))
    done = build_book(folder, RLHF_BOOK_EDITION="student")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder / "_build" / "html"


@pytest.mark.parametrize("sentinel", [*SENTINELS, "solution to", "book/chapter-solution"])
def test_no_file_of_the_student_edition_holds_a_solution(
    student_site: Path, small_site: Path, sentinel: str
) -> None:
    files = [path for path in student_site.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert not [path for path in files if holds(path, sentinel)]
    # And the other edition has them, so that this test would see one.
    found = [path for path in small_site.rglob("*") if path.is_file() and holds(path, sentinel)]
    assert {".html", ".ipynb"} <= {path.suffix for path in found} or "/" in sentinel


def test_search_knows_no_solution(student_site: Path, small_site: Path) -> None:
    """Words that only a solution has; the index keeps them apart from each other."""
    assert "multipli" in (small_site / "searchindex.js").read_text(encoding="utf-8")
    assert "multipli" not in (student_site / "searchindex.js").read_text(encoding="utf-8")


def test_exercises_stay(student_site: Path) -> None:
    page = (student_site / "book/chapter.html").read_text(encoding="utf-8")
    assert "What is twice the best score?" in page
    assert "The end" in page
    assert "It is that of" in page  # self-checks are not graded
    notebook = json.loads((student_site / "notebooks/book/chapter.ipynb").read_text("utf-8"))
    assert any("What is twice" in "".join(cell["source"]) for cell in notebook["cells"])


def test_a_button_opens_the_notebook(student_site: Path, small_site: Path) -> None:
    """In Colab where the book has an address, otherwise as a download."""
    colab = "https://colab.research.google.com/github/an/address/blob/gh-pages/notebooks/book/"
    page = (student_site / "book/chapter.html").read_text(encoding="utf-8")
    assert page.count(f'href="{colab}chapter.ipynb"') == 1
    notebook = (student_site / "notebooks/book/chapter.ipynb").read_text(encoding="utf-8")
    assert "git+https://github.com/an/address@v" in notebook
    page = (small_site / "book/chapter.html").read_text(encoding="utf-8")
    assert "colab.research" not in page
    (link,) = re.findall(r'href="([^"]+\.ipynb)"', page)
    assert (small_site / "book" / link).resolve().is_file()
    assert ".ipynb" not in (small_site / "book/index.html").read_text(encoding="utf-8")


def test_a_lab_is_offered(student_site: Path, small_site: Path) -> None:
    """In Colab where the book has an address, and as a download; without its solution."""
    colab = "https://colab.research.google.com/github/an/address/blob/gh-pages/labs/small.ipynb"
    page = (student_site / "book/practice.html").read_text(encoding="utf-8")
    assert page.count(f'href="{colab}"') == 1
    page = (small_site / "book/practice.html").read_text(encoding="utf-8")
    assert "colab.research" not in page
    assert 'href="../labs/small.ipynb" download' in page
    assert "10 minutes" in page and "<p>hard</p>" in page
    for site in (student_site, small_site):
        cells = json.loads((site / "labs/small.ipynb").read_text("utf-8"))["cells"]
        assert any("YOUR CODE HERE" in "".join(cell["source"]) for cell in cells)
        assert not [p for p in site.rglob("*") if p.is_file() and holds(p, "sentinel_lab")]


class TestEraser:
    @pytest.fixture
    def edition(self, extension: Any) -> ModuleType:
        return extension("edition")

    @pytest.mark.parametrize(
        "text",
        [
            "a\n```{solution} x\nS\n```\nB",
            "a\n````{solution} x\nS\n```python\nS\n```\nS\n````\nB",
            "a\n:::{solution} x\n:class: dropdown\nS\n:::\nB",
            "a\n~~~{solution} x\nS\n~~~\nB",
            "```{solution-start} x\n```\nS\n\n```{code-cell}\nS\n```\nS\n```{solution-end}\n```\nB",
            "::::{note}\n```{solution} x\nS\n```\nB\n::::\n```{solution} y\nS\n```",
            "- a\n\n  ```{solution} x\n  S\n  ```\n- B",
            "> ```{solution} x\n> S\n> ```\n\nB",
            "```python\n# B\n```\n\n```{solution} x\nS\n```",
            "```{solution} x\nS, and the fence is never closed",
        ],
    )
    def test_blanks_solutions_alone(self, edition: ModuleType, text: str) -> None:
        left = edition.without_solutions(text, notebook=False)
        assert "S" not in left
        assert "solution" not in left
        assert left.count("B") == text.count("B")
        assert left.count("\n") == text.count("\n")
        for line in left.split("\n"):
            assert line == "" or line in text.split("\n")

    @pytest.mark.parametrize(
        "text",
        [
            "````\n```{solution} x\nshown as code\n```\n````\nB",
            "```{code-block} md\n:::{solution} x\nshown as code\n:::\n```\nB",
            "The `{solution}` directive.",
            "```{exercise}\n:label: x\nWhat?\n```\n\n:::{note}\nB\n:::",
        ],
    )
    def test_leaves_everything_else(self, edition: ModuleType, text: str) -> None:
        assert edition.without_solutions(text, notebook=False) == text

    def test_knows_notebooks(self, edition: ModuleType) -> None:
        cells = [
            ("markdown", "a\n```{solution} x\nS\n```"),
            ("code", "1"),
            ("markdown", "```{solution-start} y\n```\nS"),
            ("code", "S"),
            ("markdown", "S\n```{solution-end}\n```\nB"),
            ("code", "2"),
        ]
        source = {"cells": [{"cell_type": k, "source": s.splitlines(True)} for k, s in cells]}
        left = edition.without_solutions(json.dumps(source), notebook=True)
        assert "S" not in left
        kept = json.loads(left)["cells"]
        assert ["".join(c["source"]).strip() for c in kept] == ["a", "1", "", "B", "2"]

    def test_a_solution_in_an_unexpected_place_stops_the_build(self, edition: ModuleType) -> None:
        from docutils.utils import new_document

        tree = new_document("page.md")
        edition.check(None, tree)
        tree += nodes.table("", solution_node())
        with pytest.raises(ExtensionError, match=r"page\.md"):
            edition.check(None, tree)
