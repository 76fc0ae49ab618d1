"""The small book on paper: sources without a warning, and a PDF where LaTeX is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jupyter_book", reason="needs the extra [book]")

ROOT = Path(__file__).parents[2]
TOOLS = ("latexmk", "xelatex", "rsvg-convert", "pdftotext", "make")
PLAIN = ("chooser", "lineage")
# Stands in for rsvg-convert, so that the sources can be tested without it.
CONVERTER = '#!/bin/sh\necho "%PDF" > "$4"\n'
CHAPTER = """
# Exercises of a chapter

(a-question)=
```{self-check}
:right: 1

Which?

This
: It fits.

That
: It does not.
```

See {ref}`ex-twice`, and {download}`the rows <results/scores.csv>`.
"""


@pytest.fixture(scope="module")
def printed(
    new_book: Callable[[], Path],
    build_book: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The small book's LaTeX sources: their folder."""
    folder = new_book()
    (folder / "book/more.md").write_text(CHAPTER, encoding="utf-8")
    with (folder / "_toc.yml").open("a", encoding="utf-8") as toc:
        toc.write("  - file: book/more\n")
    path = os.environ["PATH"]
    if shutil.which("rsvg-convert") is None:
        tools = tmp_path_factory.mktemp("tools")
        (tools / "rsvg-convert").write_text(CONVERTER)
        (tools / "rsvg-convert").chmod(0o755)
        path = f"{tools}{os.pathsep}{path}"
    done = build_book(folder, "--builder", "latex", PATH=path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder / "_build" / "latex"


@pytest.fixture(scope="module")
def source(printed: Path) -> str:
    return (printed / "book.tex").read_text(encoding="utf-8")


def test_every_drawing_is_a_picture_with_its_title(printed: Path, source: str) -> None:
    drawn = re.findall(
        r"\\begin\{rldrawing\}(.*?)\\rlpicture\{(.*?)\}\s*\\end\{rldrawing\}", source, re.DOTALL
    )
    pages = [path.read_text("utf-8") for path in (ROOT / "tests/book/fixture/book").glob("*.md")]
    explorers = re.findall(r"^```\{explorer\} (\S+)$", "\n".join(pages), re.MULTILINE)
    # Four figures; the explorers but for the two that are a list and a table.
    assert len(drawn) == 4 + len([name for name in explorers if name not in PLAIN])
    for title, file in drawn:
        assert len(title.strip()) > 20
        assert (printed / file).read_bytes().startswith(b"%PDF")
        assert "currentColor" not in (printed / file).read_text(errors="ignore")


def test_what_only_a_browser_shows_has_a_form_for_paper(source: str) -> None:
    for page in ("An explorer", "A choice", "A family tree"):
        assert f"the page “{page}” has this drawing with its controls" in source
    assert "gpt\\sphinxhyphen{}4.5\\sphinxhyphen{}preview" in source  # of the chooser's table
    assert "\\sphinxstyleemphasis{hypothesis}" in source  # of the lineage
    assert "\\rlhan{散度}" in source
    assert "labs/small.ipynb" in source.replace("\\sphinxupquote", "")


def test_answers_and_solutions_come_after_the_chapter(source: str) -> None:
    practice = source.partition("Exercises of a chapter")[2]
    asked, answers = practice.split("Answers to the questions")[:2]
    assert "It fits" not in asked
    assert "\\sphinxstyleemphasis{A: right. }It fits." in answers
    chapter = source.partition("A chapter of everything")[2].partition("\\chapter")[0]
    assert chapter.index("{Exercise 2 (Thrice)}") < chapter.index("{Solution to")


def test_links_to_exercises_have_a_place_and_a_number(source: str) -> None:
    assert "\\label{\\detokenize{book/chapter:ex-twice}}" in source
    assert re.search(
        r"\\hyperref\[\\detokenize\{book/chapter:ex-twice\}\]\{[^\n]*Exercise 1", source
    )


def test_the_site_keeps_the_translator_of_its_theme(small_site: Path) -> None:
    assert "pst-scrollable-table-container" in (small_site / "book/chapter.html").read_text("utf-8")


def test_a_conversion_that_fails_leaves_no_half_of_a_picture(
    extension: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latex = extension("latex")
    converter = tmp_path / "rsvg-convert"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    source, target = tmp_path / "drawing.svg", tmp_path / "drawing.pdf"
    source.write_text("<svg/>")
    for status in (1, 0):
        converter.write_text(f"{CONVERTER}exit {status}\n")
        converter.chmod(0o755)
        assert latex.to_pdf(source, target) == (status == 0) == target.exists()
        assert not list(tmp_path.glob("*.part"))


def test_missing_programs_and_packages_are_named(tmp_path: Path) -> None:
    for name in ("sh", "grep"):
        (tmp_path / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    make = shutil.which("make")
    if make is None:
        pytest.skip("needs make")
    done = subprocess.run(
        [make, "latex"], capture_output=True, text=True, check=False, cwd=ROOT,
        env={"PATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode != 0
    assert "Not found: latexmk xelatex rsvg-convert" in done.stdout
    assert "texlive-xetex" in done.stdout
    assert "librsvg2-bin" in done.stdout


@pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason=f"needs the programs {', '.join(TOOLS)}"
)
def test_the_pdf_has_the_words(printed: Path) -> None:
    done = subprocess.run(
        ["make", "all-pdf"], capture_output=True, text=True, check=False, cwd=printed
    )
    assert done.returncode == 0, done.stdout[-3000:]
    text = subprocess.run(
        ["pdftotext", "-layout", "book.pdf", "-"],
        capture_output=True, text=True, check=True, cwd=printed,
    ).stdout  # fmt: skip
    for words in ("CONTENTS", "ABOUT THIS BOOK", "Answers to the questions", "A: right. It fits."):
        assert words in text
    assert "??" not in text
    assert "There is no" not in (printed / "book.log").read_text(errors="ignore")
