"""A build writes what has changed and what shows it, and ends where a build from nothing ends."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("jupyter_book", reason="needs the extra [book]")

Build = Callable[..., subprocess.CompletedProcess[str]]
PAGES = {
    "index": "# Book\n\nOn the {term}`margin`.\n",
    "words": "# Words\n\n```{glossary}\nmargin\n  Of two scores.\n```\n",
    "loss": "# Loss\n\n```{math}\n:label: margin\nm = a - b\n```\n\nFirst text.\n",
    "use": "# Use\n\nBy {eq}`margin` and {doc}`loss`, $$x = 1.$$\n",
}


@pytest.fixture
def book(new_book: Callable[[], Path]) -> Path:
    """A book of four pages without code."""
    folder = new_book()
    shutil.rmtree(folder / "labs")
    for page in folder.glob("book/*.md"):
        page.unlink()
    for name, text in PAGES.items():
        (folder / f"book/{name}.md").write_text(text)
    files = "".join(f"  - file: book/{name}\n" for name in PAGES if name != "index")
    (folder / "_toc.yml").write_text(f"format: jb-book\nroot: book/index\nchapters:\n{files}")
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def page(book: Path, name: str) -> str:
    return (book / f"_build/html/book/{name}.html").read_text(encoding="utf-8")


def texts(book: Path) -> dict[Path, str]:
    """All pages, without the checksums of styles that an extension copies after the first build."""
    pages = sorted(book.glob("_build/html/**/*.html"))
    return {path: re.sub(r"\?v=\w+", "", path.read_text(encoding="utf-8")) for path in pages}


def build(build_book: Build, book: Path) -> None:
    done = build_book(book)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def test_what_is_written_again(book: Path, build_book: Build) -> None:
    def written() -> set[str]:
        """Pages that a build writes."""
        paths = [book / f"_build/html/book/{name}.html" for name in PAGES]
        before = {path.stem: path.stat().st_mtime_ns for path in paths if path.exists()}
        build(build_book, book)
        return {path.stem for path in paths if path.stat().st_mtime_ns != before.get(path.stem)}

    assert written() == set(PAGES)
    assert written() == set()

    edit(book / "book/loss.md", "First text.", "Other text.")
    assert written() == {"loss", "index"}  # Sphinx writes the first page whenever it writes
    assert "Other text." in page(book, "loss")

    # The glossary names the pages that use a term.
    edit(book / "book/use.md", "By", "The {term}`margin`, by")
    assert written() == {"use", "words", "index"}
    assert '<a class="reference internal" href="use.html">Use</a>' in page(book, "words")

    # What stands on one page and is shown on another: an equation, a definition, a title, a style.
    edit(book / "book/loss.md", "m = a - b", "m = a - c")
    edit(book / "book/words.md", "Of two scores.", "Between two scores.")
    assert written() == set(PAGES)
    assert "m = a - c" in page(book, "use")
    assert "Between two scores." in page(book, "index")
    edit(book / "book/loss.md", "# Loss", "# The loss")
    with (book / "book/_static/book.css").open("a") as styles:
        styles.write("/* another */\n")
    assert written() == set(PAGES)
    assert "The loss" in page(book, "use")

    # Nothing of all this was left behind: a build from nothing ends at the same pages.
    again = texts(book)
    shutil.rmtree(book / "_build")
    build(build_book, book)
    assert texts(book) == again


def test_a_warning_is_not_forgotten(book: Path, build_book: Build) -> None:
    """The page that it speaks of is not touched between the builds."""
    build(build_book, book)
    edit(book / "book/use.md", "{doc}`loss`", "{doc}`los`")
    for _ in range(2):
        done = build_book(book)
        assert done.returncode != 0
        assert "unknown document: 'los'" in done.stderr
    edit(book / "book/use.md", "{doc}`los`", "{doc}`loss`")
    build(build_book, book)
    assert "los`" not in page(book, "use")
