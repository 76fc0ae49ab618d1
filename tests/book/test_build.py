"""A small book through the real build: figures arrive, failures fail, the cache does not lie."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jupyter_book", reason="needs the extra [book]")

Build = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]
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
    toc = "format: jb-book\nroot: book/index\nchapters:\n  - file: book/figures\n"
    (book / "_toc.yml").write_text(toc)


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
        assert ("mathjax/startup.js" in page) == ('class="math' in page), path
        assert "<script src=" not in page or path.name == "search.html", path  # all others wait
        assert len(re.findall(r"/?_static/(?!components/)[^\"]*\.css", page)) <= 4, path
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


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_exactly_the_pages_that_use_it_run_again(
    new_book: Callable[[], Path], build_book: Build, tmp_path: Path
) -> None:
    """After an edit of a function, of a result, of a pin, of text; lazy imports count."""
    package = tmp_path / "rlhf_lab"
    shutil.copytree(ROOT / "rlhf_lab", package, ignore=shutil.ignore_patterns("assets", "__py*"))
    (package / "inner.py").write_text("def number():\n    return 1\n")
    (package / "outer.py").write_text(
        "def number():\n    from rlhf_lab import inner\n\n    return inner.number()\n"
    )
    book = new_book()
    (book / "book/results/made").mkdir(parents=True)
    result = book / "book/results/made/runs.json"
    result.write_text("[]")
    codes = {
        "direct": "from rlhf_lab.errors import InputError",
        "indirect": "from rlhf_lab.files import atomic_write",
        "lazy": "from rlhf_lab.outer import number; print(number())",
        "reads": "print(open('results/made/runs.json').read())",
        "alone": "1",
    }
    for name, code in codes.items():
        text = NOTEBOOK % f"import time; print(f'ran {{time.time_ns()}}')\n{code}"
        (book / f"book/{name}.md").write_text(text)
    (book / "book/index.md").write_text("# Book\n")
    files = "".join(f"  - file: book/{name}\n" for name in codes)
    (book / "_toc.yml").write_text(f"format: jb-book\nroot: book/index\nchapters:\n{files}")

    before: dict[str, str] = {}

    def ran() -> set[str]:
        """Pages whose cells ran since the last call."""
        done = build_book(book, PYTHONPATH=str(tmp_path))
        assert done.returncode == 0, done.stderr[-3000:]
        pages = {name: (book / f"_build/html/book/{name}.html").read_text() for name in codes}
        stamps = {name: re.findall(r"ran (\d+)", page)[-1] for name, page in pages.items()}
        again = {name for name, stamp in stamps.items() if stamp != before.get(name)}
        before.update(stamps)
        return again

    assert ran() == set(codes)

    edit(package / "errors.py", "if len(shown) > 120:", "if len(shown) > 119:")
    assert ran() == {"direct", "indirect"}

    edit(package / "inner.py", "return 1", "return 2")
    edit(result, "[]", "[1]")
    # And nothing that these pages use: another module, a new one, another result, text.
    edit(package / "svg.py", "from __future__ import annotations", "")
    (package / "newer.py").write_text("")
    (book / "book/results/made/answers.json").write_text("[]")
    (book / "book/newer.md").write_text("# No page of this book")
    edit(book / "book/alone.md", "# Page", "# Another title")
    assert ran() == {"lazy", "reads"}

    edit(book / "constraints.txt", "\ntorch==", "\ntorch==9")
    assert ran() == set(codes)


WAIT = """\
import pathlib, time
pathlib.Path("{own}.here").touch()
end = time.monotonic() + 120
while not pathlib.Path("{other}.here").exists() and time.monotonic() < end:
    time.sleep(0.1)
print("met", pathlib.Path("{other}.here").exists())"""


def test_pages_run_at_the_same_time(
    new_book: Callable[[], Path], build_book: Build, extension: Any
) -> None:
    """Two pages that wait for each other; the third fails, and is shown with its traceback."""
    if extension("ahead").cores() < 2:
        pytest.skip("pages run at once where there are two cores")
    book = new_book()
    codes = {
        "left": WAIT.format(own="left", other="right"),
        "right": WAIT.format(own="right", other="left"),
        "sick": "raise RuntimeError('it is ' + 'sick')",
        "sockets": "from ipykernel.connect import get_connection_info as info\n"
        "print('over', info(unpack=True)['transport'])",
    }
    for name, code in codes.items():
        (book / f"book/{name}.md").write_text(NOTEBOOK % code)
    (book / "book/index.md").write_text("# Book\n")
    files = "".join(f"  - file: book/{name}\n" for name in codes)
    (book / "_toc.yml").write_text(f"format: jb-book\nroot: book/index\nchapters:\n{files}")
    done = build_book(book)
    assert done.returncode != 0
    assert "it is sick" in done.stderr
    for name in ("left", "right"):
        assert "met True" in (book / f"_build/html/book/{name}.html").read_text(), name
    if os.name == "posix":  # where another process could take a port, none is needed
        assert "over ipc" in (book / "_build/html/book/sockets.html").read_text()


def plain_build(book: Path) -> subprocess.CompletedProcess[str]:
    """What a reader of Sphinx's manual would type."""
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going"]
    return subprocess.run(
        [*command, "-d", "_build/.doctrees", ".", "_build/plain/html"],
        cwd=book,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
    )


def articles(site: Path) -> dict[str, str]:
    """What stands on each page, without the addresses of styles, which carry checksums."""
    pages = {path.relative_to(site).as_posix(): path for path in site.glob("book/*.html")}
    found = {name: path.read_text(encoding="utf-8") for name, path in pages.items()}
    return {
        name: page[page.index("<article") : page.index("</article>")]
        for name, page in found.items()
    }


def test_plain_sphinx_builds_the_same_and_looks_at_what_changed(
    new_book: Callable[[], Path], build_book: Build
) -> None:
    book = new_book()
    done = build_book(book)
    assert done.returncode == 0, done.stderr[-3000:]
    done = plain_build(book)
    assert done.returncode == 0, done.stderr[-3000:]
    plain = book / "_build/plain/html"
    ours = articles(book / "_build/html")
    assert len(ours) == len(list((book / "book").glob("*.md")))
    assert articles(plain) == ours  # stamps of the time of execution included: one cache

    # A page whose text is as it was, but not the file that it reads.
    edit(book / "book/results/scores.csv", "2.5", "2.50")
    edit(book / "book/results/scores.csv", "SFT,1.25", "SFT,1.25\nPPO,2.0")
    done = plain_build(book)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "best of 3 is 2.5" in articles(plain)["book/chapter.html"]
    assert articles(plain)["book/figures.html"] == ours["book/figures.html"]

    # A failure is not forgotten by the next build.
    edit(book / "book/results/scores.csv", "2.50", "much")
    for _ in range(2):
        done = plain_build(book)
        assert done.returncode != 0
        assert "could not convert string to float" in done.stderr


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ratio = 1 / 0", r"ratio = 1 / 0[\s\S]*ZeroDivisionError: division by zero"),
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
    assert re.search(message, re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr))
