"""Parts of the book's Sphinx extension that need no build."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

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
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "world").mkdir(parents=True)
    (folder / "ppo.py").write_text("x = 1\n")
    (folder / "world" / "facts.py").write_text("y = 1\n")
    return folder


class TestCacheKey:
    def test_is_stable(self, cache: ModuleType, package: Path) -> None:
        assert cache.digest([package], ["a==1"]) == cache.digest([package], ["a==1"])

    def test_ignores_bytecode(self, cache: ModuleType, package: Path) -> None:
        before = cache.digest([package], [])
        (package / "__pycache__").mkdir()
        (package / "__pycache__" / "ppo.cpython-311.pyc").write_bytes(b"1")
        assert cache.digest([package], []) == before

    @pytest.mark.parametrize("change", ["edit", "edit below", "add", "move", "delete", "version"])
    def test_changes_with(self, cache: ModuleType, package: Path, change: str) -> None:
        before = cache.digest([package], ["torch==2.13.0"])
        versions = ["torch==2.13.0"]
        if change == "edit":
            (package / "ppo.py").write_text("x = 2\n")
        elif change == "edit below":
            (package / "world" / "facts.py").write_text("y = 2\n")
        elif change == "add":
            (package / "weights.safetensors").write_bytes(b"0")
        elif change == "move":
            (package / "ppo.py").rename(package / "world" / "ppo.py")
        elif change == "delete":
            (package / "ppo.py").unlink()
        else:
            versions = ["torch==2.13.1"]
        assert cache.digest([package], versions) != before

    def test_knows_the_installed_versions(self, cache: ModuleType) -> None:
        import torch

        found = cache.dependencies("rlhf-lab")
        assert f"torch=={torch.__version__}" in found
        assert not [line for line in found if line.startswith(("ruff", "jupyter"))]

    def test_keeps_the_current_and_the_latest(self, cache: ModuleType, tmp_path: Path) -> None:
        for age, name in enumerate(["newest", "newer", "older", "oldest", "current"]):
            (tmp_path / name).mkdir()
            os.utime(tmp_path / name, (1000 - age, 1000 - age))
        cache.prune(tmp_path, keep=2, current="current")
        assert {p.name for p in tmp_path.iterdir()} == {"current", "newest", "newer"}


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
