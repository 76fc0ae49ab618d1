"""A small book through the real build: figures arrive, failures fail, the cache does not lie."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("jupyter_book", reason="needs the extra [book]")

Build = Callable[..., subprocess.CompletedProcess[str]]
NOTEBOOK = """\
---
file_format: mystnb
kernelspec:
  name: python3
  display_name: Python 3
---

# Page

```{code-cell}
%s
```
"""


def small(book: Path, code: str) -> None:
    """Make a book of one executed page."""
    (book / "book" / "figures.md").write_text(NOTEBOOK % code)


def test_every_figure_is_on_its_page(small_site: Path) -> None:
    page = (small_site / "book" / "figures.html").read_text()
    assert page.count('<figure class="rl-figure">') == 4
    assert page.count('<svg class="rl-static"') == 4
    assert page.count('role="img" aria-label="') == 4
    files = re.findall(r'href="(\.\./_static/figures/\w+\.csv)"', page)
    assert len(files) == 4
    for file in files:
        assert (small_site / "book" / file).resolve().read_text().count("\n") >= 4


def test_a_hostile_title_stays_text(small_site: Path) -> None:
    page = (small_site / "book" / "figures.html").read_text()
    assert "<img src=x" not in page
    assert "<script>alert(2)" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_no_page_names_another_server(small_site: Path) -> None:
    """Links may lead elsewhere; what a browser loads by itself may not."""
    loads = re.compile(r'<(?:script|img|iframe|source|video)\b[^>]*\bsrc="(?:https?:)?//[^"]*"')
    links = re.compile(r'<link\b[^>]*\bhref="(?:https?:)?//[^"]*"[^>]*>')
    pages = list(small_site.rglob("*.html"))
    assert len(pages) >= 4
    for path in pages:
        page = path.read_text(encoding="utf-8")
        found = loads.findall(page) + [x for x in links.findall(page) if "canonical" not in x]
        assert not found, path


def test_every_page_has_the_policy(small_site: Path) -> None:
    pages = [p for p in small_site.rglob("*.html") if "_static" not in p.parts]
    assert len(pages) >= 4
    for path in pages:
        page = path.read_text(encoding="utf-8")
        assert page.count('http-equiv="Content-Security-Policy"') == 1, path
        before = page.partition('http-equiv="Content-Security-Policy"')[0]
        assert "<script" not in before, path


def test_pages_load_only_what_they_use(small_site: Path) -> None:
    """No icon library, MathJax where there is mathematics, the index where one searches."""
    for path in small_site.rglob("*.html"):
        if "_static" in path.parts:
            continue
        page = path.read_text(encoding="utf-8")
        assert "fontawesome.js" not in page, path
        assert ("mathjax/startup.js" in page) == (path.name == "index.html" and "eqno" in page)
        assert ('src="searchindex.js"' in page) == (path.name == "search.html"), path
        assert page.index("<meta charset") < 100, path  # a browser looks for it in 1,024 bytes


def test_every_page_has_an_icon(small_site: Path) -> None:
    """Without one, a browser asks the server's root for it: a 404 on a host shared with others."""
    for path in small_site.rglob("*.html"):
        if "_static" in path.parts:
            continue
        icon = re.search(r'<link rel="(?:shortcut )?icon" href="([^"]+)"', path.read_text("utf-8"))
        assert icon, path
        address = icon.group(1)
        assert address.startswith("data:") or (path.parent / address).resolve().is_file(), path


def test_an_edit_of_the_text_keeps_the_outputs(
    new_book: Callable[[], Path], build_book: Build
) -> None:
    """And a changed result file does not: the page must run again."""
    book = new_book()
    small(book, "import time; print(f'ran {time.time_ns()}')")

    def ran() -> str:
        done = build_book(book)
        assert done.returncode == 0, done.stderr[-3000:]
        page = (book / "_build/html/book/figures.html").read_text()
        return re.findall(r"ran (\d+)", page)[-1]

    first = ran()
    source = book / "book" / "figures.md"
    source.write_text(source.read_text() + "\nMore text.\n")
    assert ran() == first
    results = book / "book" / "results" / "sweep"
    results.mkdir(parents=True)
    (results / "runs.json").write_text("[]")
    assert ran() != first


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "ZeroDivisionError"),
        (
            "import plotly.graph_objects as go; go.Figure(go.Scatter(x=[1, 2], y=[1, 2]))",
            "figure without a title",
        ),
    ],
)
def test_a_bad_page_fails_the_build(
    new_book: Callable[[], Path], build_book: Build, code: str, message: str
) -> None:
    book = new_book()
    small(book, code)
    done = build_book(book)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
