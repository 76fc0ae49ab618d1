"""Parts of the book's Sphinx extension that need no build."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import subprocess
import sys
from html import escape
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rlhf_lab.widgets import files

pytest.importorskip("myst_nb", reason="needs the extra [book]")


@pytest.fixture
def cache(extension: Any) -> ModuleType:
    return extension("cache")


@pytest.fixture
def figure(extension: Any) -> ModuleType:
    return extension("figure")


@pytest.fixture
def html(extension: Any) -> ModuleType:
    return extension("html")


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A folder with a page's folder, a result beside it, and a package."""
    for name, text in {
        "book/part2/ppo.md": "# PPO",
        "book/results/sweep/runs.csv": "kl\n1\n",
        "book/results/sweep/curves.parquet": "PAR1",
        "book/results/other/curves.parquet": "PAR1",
        "lab/ppo.py": "x = 1\n",
        "lab/sft.py": "y = 1\n",
        "_build/html/index.html": "",
    }.items():
        path = tmp_path.joinpath(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (1000, 1000))
    return tmp_path


def notebook(*sources: str, **metadata: Any) -> Any:
    import nbformat.v4 as v4

    cells = [
        v4.new_code_cell(source, execution_count=1, id=str(i)) for i, source in enumerate(sources)
    ]
    return v4.new_notebook(cells=cells, metadata=metadata)


class TestCache:
    page = "book/part2/ppo"

    @pytest.fixture
    def outputs(self, cache: ModuleType, book: Path) -> Any:
        return cache.Cache(book / "_build/.jupyter_cache", book, book / "lab", ("a==1",))

    def keep(self, outputs: Any, book: Path, *read: str, code: str = "1") -> Path | None:
        ran = notebook(code)
        ran.cells[0].outputs = [{"output_type": "stream", "name": "stdout", "text": "seen"}]
        return outputs.keep(self.page, ran, [str(book / name) for name in read], 2000.0, 1.5)

    def test_gives_the_outputs_back(self, outputs: Any, book: Path) -> None:
        entry = self.keep(outputs, book, "lab/ppo.py")
        again = notebook("1")
        assert outputs.entry(self.page, again) == entry
        assert outputs.restore(entry, again) == {"mtime": 2000.0, "runtime": 1.5}
        assert again.cells[0].outputs[0]["text"] == "seen"
        assert again.cells[0].source == "1"

    @pytest.mark.parametrize(
        ("name", "change", "right"),
        [
            ("lab/ppo.py", "x = 2\n", False),
            ("lab/sft.py", "y = 2\n", True),
            ("lab/new.py", "", True),
            ("book/results/sweep/runs.csv", "kl\n2\n", False),
            ("book/results/sweep/runs.csv", None, False),
            ("book/results/sweep/answers.csv", "", True),
            ("book/results/other/curves.parquet", "PAR2", True),
            # Its library opens it unseen: it counts where a file beside it was read.
            ("book/results/sweep/curves.parquet", "PAR2", False),
        ],
    )
    def test_holds_while_what_was_read_is_the_same(
        self, outputs: Any, book: Path, name: str, change: str | None, right: bool
    ) -> None:
        entry = self.keep(outputs, book, "lab/ppo.py", "book/results/sweep/runs.csv")
        assert outputs.is_right(entry)
        if change is None:
            (book / name).unlink()
        else:
            (book / name).write_text(change)
        assert outputs.is_right(entry) == right
        assert (outputs.entry(self.page, notebook("1")) == entry) == right

    def test_a_file_that_was_missed_may_appear(self, outputs: Any, book: Path) -> None:
        entry = self.keep(outputs, book, "book/results/later.csv")
        assert outputs.is_right(entry)
        (book / "book/results/later.csv").write_text("")
        assert not outputs.is_right(entry)

    def test_a_folder_that_was_listed_holds_its_names(self, outputs: Any, book: Path) -> None:
        entry = self.keep(outputs, book, "book/results")
        (book / "book/results/sweep/runs.csv").write_text("kl\n2\n")
        assert outputs.is_right(entry)
        (book / "book/results/more").mkdir()
        assert not outputs.is_right(entry)

    @pytest.mark.parametrize(
        "code",
        [
            'read_parquet("../results/sweep/curves.parquet")',
            'folder = Path("../results/sweep"); read_parquet(folder / f"{name}.parquet")',
            'read_parquet(f"{kind}.parquet", Path("../results"))',
        ],
    )
    def test_knows_files_that_are_opened_unseen(self, outputs: Any, book: Path, code: str) -> None:
        entry = self.keep(outputs, book, code=code)
        assert outputs.is_right(entry)
        (book / "book/results/sweep/curves.parquet").write_text("PAR2")
        assert not outputs.is_right(entry)

    def test_builds_and_hidden_folders_do_not_count(self, outputs: Any, book: Path) -> None:
        (book / ".venv").mkdir()
        entry = self.keep(outputs, book, "_build/html/index.html", ".venv/x.py")
        assert json.loads(entry.read_text())["sources"] == {}

    def test_a_compiled_module_stands_for_its_source(self, outputs: Any, book: Path) -> None:
        entry = self.keep(outputs, book, "lab/__pycache__/ppo.cpython-311.pyc")
        assert list(json.loads(entry.read_text())["sources"]) == ["<package>/ppo.py"]

    def test_an_edit_while_the_page_ran_is_not_kept(self, outputs: Any, book: Path) -> None:
        os.utime(book / "lab/ppo.py", (2001, 2001))
        assert self.keep(outputs, book, "lab/ppo.py") is None
        assert outputs.entry(self.page, notebook("1")) is None

    def test_keeps_the_latest_few(self, cache: ModuleType, outputs: Any, book: Path) -> None:
        for i in range(cache.KEPT + 3):
            (book / "lab/sft.py").write_text(f"y = {i}\n")
            os.utime(book / "lab/sft.py", (1000, 1000))
            os.utime(self.keep(outputs, book, "lab/sft.py"), (3000 + i, 3000 + i))
        kept = sorted(outputs.folder.joinpath(self.page).glob("*.json"))
        assert len(kept) == cache.KEPT
        assert outputs.entry(self.page, notebook("1")) in kept

    def test_name_changes_with_all_that_runs(self, cache: ModuleType) -> None:
        def key(code: str = "1", versions: tuple[str, ...] = ("a==1",), **metadata: Any) -> str:
            return cache.code_key(notebook(code, **metadata), versions)

        keys = {
            key(),
            key("2"),
            key(versions=("a==2",)),
            key(kernelspec={"name": "other", "display_name": "Other"}),
            key(execution={"allow_errors": True}),
        }
        assert len(keys) == 5
        hidden, failing = notebook("1"), notebook("1")
        hidden.cells[0].metadata["tags"] = ["hide-input"]
        failing.cells[0].metadata["tags"] = ["raises-exception"]
        assert cache.code_key(hidden, ["a==1"]) == key()
        assert cache.code_key(failing, ["a==1"]) not in keys

    def test_sees_a_package_from_another_place(self, cache: ModuleType) -> None:
        """Two checkouts: what the page used would not be what is watched."""
        package = Path("/one/rlhf_lab")
        ours = ["/one/rlhf_lab/__init__.py", "/one/rlhf_lab/world/__init__.py"]
        theirs = ["/two/rlhf_lab/__pycache__/__init__.cpython-311.pyc"]
        assert cache.other_package(ours, package) is None
        assert cache.other_package(ours + theirs, package) == Path("/two/rlhf_lab")

    def test_knows_the_installed_versions(self, cache: ModuleType) -> None:
        import torch

        found = cache.dependencies("rlhf-lab")
        assert f"torch=={torch.__version__}" in found

    def test_knows_the_pinned_versions(self, cache: ModuleType, tmp_path: Path) -> None:
        lock = tmp_path / "constraints.txt"
        assert cache.pins(lock) == []
        lock.write_text("# a comment\ntorch==2.13.0  # why\n\nnumpy==2.4.6\n")
        assert cache.pins(lock) == ["numpy==2.4.6", "torch==2.13.0"]


class TestObserver:
    def test_writes_down_what_a_page_and_its_processes_read(
        self, cache: ModuleType, book: Path, tmp_path: Path
    ) -> None:
        """Modules, data, missing files, listed folders; not what is written or outside."""
        (book / "lab/__init__.py").touch()
        code = f"""
import importlib.metadata, os, subprocess, sys, pathlib
sys.path.insert(0, {str(book)!r})
import lab.ppo
[*importlib.metadata.distributions(path=["book/part2"])]
open("book/results/sweep/runs.csv").close()
list(pathlib.Path("book/results/other").glob("*"))
try:
    open("book/missing.csv")
except FileNotFoundError:
    pass
subprocess.run([sys.executable, "-c", "open('lab/sft.py').close()"], check=True)
open(os.devnull).close()
"""
        with cache.recording(book / "book", book / "lab") as record:
            subprocess.run([sys.executable, "-B", "-c", code], cwd=book, check=True)
            paths = map(cache.source_file, record.read_text().split())
            found = {path.relative_to(book).as_posix() for path in paths}
        assert found == {
            "lab/__init__.py",
            "lab/ppo.py",
            "lab/sft.py",
            "book/results/sweep/runs.csv",
            "book/results/other",
            "book/missing.csv",
        }

    def test_leaves_the_environment_as_it_was(self, cache: ModuleType, book: Path) -> None:
        before = dict(os.environ)
        with cache.recording(book):
            assert os.environ["RLHF_BOOK_RECORD"]
        assert dict(os.environ) == before

    def test_runs_the_environment_s_own_start(
        self, cache: ModuleType, book: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (book / "lab/sitecustomize.py").write_text("import sys; sys.started = True")
        monkeypatch.setenv("PYTHONPATH", str(book / "lab"))
        with cache.recording(book):
            command = [sys.executable, "-c", "import sys; print(sys.started)"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == "True\n"


class TestFigure:
    records = ({"γ": "0", "KL": 1 / 3}, {"γ": "</td><script>", "KL": 2e-7, "runs": 3})

    def test_json_cannot_end_its_script(self, figure: ModuleType) -> None:
        value = {"name": "</script><!--<img>"}
        text = figure.embedded_json(value)
        assert "<" not in text
        assert json.loads(text) == value

    def test_file_has_full_precision(self, figure: ModuleType) -> None:
        rows = list(csv.DictReader(io.StringIO(figure.csv_text(list(self.records)))))
        assert float(rows[0]["KL"]) == 1 / 3
        assert rows[0]["runs"] == ""
        assert rows[1]["γ"] == "</td><script>"

    def test_table_shows_all_columns_and_escapes(self, figure: ModuleType) -> None:
        text = figure.table_html(list(self.records))
        assert text.count("<th ") == 3
        assert "0.3333" in text
        assert "2e-07" in text
        assert "&lt;/td&gt;&lt;script&gt;" in text
        assert "<script>" not in text

    def test_long_table_is_thinned_and_says_so(self, figure: ModuleType) -> None:
        text = figure.table_html([{"step": i} for i in range(1000)])
        assert text.count("<tr>") == 1 + 200
        assert "Every 5th of 1000 rows" in text

    def test_title_leaves_the_drawing(self, figure: ModuleType) -> None:
        content = {
            "data": [],
            "layout": {
                "title": {"text": "one<br>two"},
                "template": {"layout": {}},
                "meta": {"alt": "a", "data": [{"x": 1}]},
                "height": 300,
            },
        }
        title, alt, records, rest = figure.take_apart(content)
        assert (title, alt, records) == ("one two", "a", [{"x": 1}])
        assert rest == {"data": [], "layout": {"height": 300}}


class TestPolicy:
    def test_names_scripts_by_hash(self, html: ModuleType) -> None:
        page = '<script src="a.js"></script><script>let a = "<b>";</script>'
        (body,) = html.inline_scripts(page)
        expected = base64.b64encode(hashlib.sha256(b'let a = "<b>";').digest()).decode()
        assert html.source(body) == f"'sha256-{expected}'"

    def test_data_is_no_script(self, html: ModuleType) -> None:
        page = '<script type="application/json">{"a": 1}</script>'
        assert html.inline_scripts(page) == []

    def test_handlers_are_hashed_as_the_browser_reads_them(self, html: ModuleType) -> None:
        assert html.inline_handlers('<a onclick="f(&quot;x&quot;)">') == ['f("x")']
        assert html.inline_handlers('<script>"<a onclick=\\"g()\\">"</script>') == []

    def test_forbids_text_as_script(self, html: ModuleType) -> None:
        meta = html.policy({"'sha256-x'"}, set())
        scripts = meta.split("script-src ")[1].split(";")[0]
        assert scripts == "'self' 'sha256-x'"
        assert "unsafe-eval" not in meta
        assert "http" not in meta.split("content=")[1]


class TestExplorerData:
    """Where a drawing's data come from: itself, or the file that its page names."""

    @staticmethod
    def data(extension: Any, folder: Path, name: str, **options: str) -> tuple[Any, list[str]]:
        noted: list[str] = []
        env = SimpleNamespace(
            relfn2path=lambda path: (path, str(folder / path)), note_dependency=noted.append
        )
        stand_in = SimpleNamespace(options=options, env=env)
        return extension("explorer").ExplorerDirective.data(stand_in, name), noted

    def test_a_published_file_is_read_and_noted(self, extension: Any, tmp_path: Path) -> None:
        published = {"format": "rlhf_lab.ranking/1", "prompts": [{}, {}]}
        (tmp_path / "ranking.json").write_text(json.dumps(published))
        found, noted = self.data(extension, tmp_path, "ranking", data="ranking.json")
        assert found == published | {"state": {"prompt": 0, "rankings": [None, None]}}
        assert noted == ["ranking.json"]

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("ranking", {}),
            ("ppo-clip", {"data": "ranking.json"}),
            ("ranking", {"data": "absent.json"}),
            ("token-inspector", {"data": "ranking.json"}),
            ("beta-gamma", {}),
            ("beta-gamma", {"data": "absent"}),
            ("lineage", {}),
            ("chooser", {"data": "absent.yaml"}),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, extension: Any, tmp_path: Path, name: str, options: dict[str, str]
    ) -> None:
        (tmp_path / "ranking.json").write_text('{"format": "rlhf_lab.ranking/1"}')
        with pytest.raises(ValueError, match="fix: "):
            self.data(extension, tmp_path, name, **options)

    def test_a_sweep_is_read_from_its_folder(self, extension: Any) -> None:
        folder = Path(__file__).parent / "fixture/book"
        found, noted = self.data(extension, folder, "beta-gamma", data="results/sweep")
        assert len(found["runs"]) == 12
        assert found["state"]["view"] == "frontier"
        tables = ("runs.csv", "curves.csv", "samples.json", "manifest.json")
        assert noted == [f"results/sweep/{table}" for table in tables]

    def test_every_published_module_has_its_drawing(self, extension: Any) -> None:
        assert tuple(extension("explorer").DRAWINGS) == files.DRAWINGS


class TestFacts:
    """Facts of the book's file in sentences and in drawings."""

    @staticmethod
    def role(extension: Any, text: str) -> Any:
        made = extension("facts").FactRole()
        env = SimpleNamespace(
            srcdir=str(Path(__file__).parents[2]),
            note_dependency=lambda _: None,
            config=SimpleNamespace(language="en"),
        )
        made.rawtext, made.text, made.lineno = f"{{fact}}`{text}`", text, 1
        settings = SimpleNamespace(env=env)
        made.inliner = SimpleNamespace(
            document=SimpleNamespace(settings=settings),
            reporter=SimpleNamespace(error=lambda said, line: said),
            problematic=lambda raw, *_: f"problem: {raw}",
        )
        return made.run()

    def test_a_fact_becomes_text(self, extension: Any) -> None:
        (node,), messages = self.role(extension, "gpt-3 parameters")
        assert node.astext() == "175 billion"
        assert not messages

    @pytest.mark.parametrize("text", ["gpt-3 weight", "gpt-9 parameters", "gpt-3"])
    def test_what_is_not_in_the_file_is_an_error(self, extension: Any, text: str) -> None:
        (node,), (message,) = self.role(extension, text)
        assert node == f"problem: {{fact}}`{text}`"
        assert "fix: " in message

    def test_the_list_escapes_what_the_file_says(self, extension: Any) -> None:
        hostile = '"><img src=x onerror=alert(1)>'
        ground = {"source": "a", "at": hostile, "tag": "K"}
        said = {"text": hostile, "kind": "reported", **ground}
        entry = {
            "id": "x", "name": hostile, "kind": "api", "ideas": ["code"], "date": hostile,
            "facts": [{"name": "released", "text": hostile, **ground}], "says": [said],
            "from": [{"id": "x", "of": "name", "kind": "hypothesis", **ground}],
        }  # fmt: skip
        sources = {"a": {"text": hostile, "url": f"https://a.example/{hostile}"}}
        data = {"entries": [entry], "sources": sources}
        text = extension("explorer").entries_html(files.labels("lineage"), data)
        assert "<img" not in text
        assert text.count("&lt;img") == 13


class TestModelAnswers:
    def test_published_answers_are_escaped(self, extension: Any) -> None:
        hostile = "<img src=x onerror=alert(1)>"
        data = {
            "models": [{"name": "sft", "title": hostile}],
            "examples": [{"prompt": hostile, "answers": {"sft": "</td><script>"}}],
        }
        text = extension("model_answers").answers_html({"prompt": "P", "alt": '"<b>"'}, data)
        assert text.count(escape(hostile)) == 2
        assert "<img" not in text
        assert "<script" not in text
        assert "<b>" not in text
