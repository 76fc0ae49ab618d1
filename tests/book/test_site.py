"""Files of the whole site, and what pages say of themselves."""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docutils import nodes

pytest.importorskip("myst_nb", reason="needs the extra [book]")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(extension: Any) -> ModuleType:
    return extension("site")


@pytest.fixture
def metadata(extension: Any) -> ModuleType:
    return extension("metadata")


@pytest.mark.parametrize(
    ("old", "new", "target"),
    [
        ("book/old", "book/part2/new", "part2/new.html"),
        ("book/part1/old", "book/part2/new#place", "../part2/new.html#place"),
        ("old", "book/index", "book/index.html"),
    ],
)
def test_a_moved_page_leads_on(site: ModuleType, old: str, new: str, target: str) -> None:
    page = site.moved_page(old, new, "https://example.org/lab", "en")
    assert f'content="0; url={target}"' in page
    assert f'<a href="{target}">' in page
    document = new.partition("#")[0]
    assert f'rel="canonical" href="https://example.org/lab/{document}.html"' in page
    assert "canonical" not in site.moved_page(old, new, "", "en")


def test_the_table_of_moved_pages_is_sound(site: ModuleType) -> None:
    for old, new in site.read_moved(ROOT).items():
        assert not (ROOT / f"{old}.md").exists(), old
        assert (ROOT / f"{new.partition('#')[0]}.md").exists(), new


def test_a_book_without_a_table_has_no_moved_pages(site: ModuleType, tmp_path: Path) -> None:
    assert site.read_moved(tmp_path) == {}


class _Book:
    """As much of Sphinx as the check asks: where the sources are, and which pages there are."""

    def __init__(self, folder: Path) -> None:
        self.srcdir = str(folder)
        self.found_docs = {"book/here", "book/there"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("book/gone: book/there#place", None),
        ("book/gone: book/nowhere", "which no page is"),
        ("book/here: book/there", "still a page"),
    ],
)
def test_a_wrong_entry_is_a_warning(
    site: ModuleType, tmp_path: Path, monkeypatch: Any, entry: str, message: str | None
) -> None:
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "moved.yml").write_text(entry)
    said: list[str] = []
    monkeypatch.setattr(site.logger, "warning", lambda text, **_: said.append(text))
    book = _Book(tmp_path)
    site.check_moved(book, book)
    assert [message in text for text in said] == ([True] if message else [])


def test_the_sitemap_lists_full_addresses(site: ModuleType) -> None:
    tree = ET.fromstring(site.sitemap(["book/a&b", "book/index"], "https://example.org/lab"))
    places = [place.text for place in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]
    assert places == [
        "https://example.org/lab/book/a&b.html",
        "https://example.org/lab/book/index.html",
    ]


def test_without_an_address_there_is_no_sitemap(small_site: Path) -> None:
    assert not (small_site / "sitemap.xml").exists()


def test_the_lost_page_brings_all_it_needs(site: ModuleType) -> None:
    """It is shown under any path, where a relative address of another file leads nowhere."""
    page = site.lost_page("A <book>", "book/index", "https://example.org/lab", "en")
    assert 'href="/lab/book/index.html"' in page
    assert 'action="/lab/search.html"' in page
    assert not re.search(r"\bsrc=|<link rel=\"stylesheet|<script", page)
    assert "A &lt;book&gt;" in page


def test_every_page_describes_itself(small_site: Path) -> None:
    for name in ("index", "figures"):
        page = (small_site / "book" / f"{name}.html").read_text(encoding="utf-8")
        assert page.count('<meta property="og:title"') == 1
        picture = re.search(r'<meta property="og:image" content="([^"]+)"', page)
        assert picture
        assert (small_site / "book" / picture[1]).resolve().is_file()
    assert "Last updated on" in page
    assert "rlhf_lab " in page


def test_the_description_is_text_without_formulas(metadata: ModuleType) -> None:
    doctree = nodes.document("", "")
    section = nodes.section()
    with_formula = nodes.paragraph("", "A long paragraph with a formula is passed over here: " * 2)
    with_formula += nodes.math("", "x^2")
    section += [with_formula, nodes.paragraph("", "word " * 100)]
    doctree += section
    text = metadata.description(doctree)
    assert text.startswith("word word")
    assert text.endswith("word …")
    assert len(text) <= metadata.LONGEST + 2


def test_the_card_was_drawn_from_its_drawing() -> None:
    image = pytest.importorskip("PIL.Image")
    folder = ROOT / "book" / "_static"
    picture = image.open(folder / "card.png")
    assert picture.size == (1200, 630)
    drawn = hashlib.sha256((folder / "card.svg").read_bytes()).hexdigest()
    assert picture.info["drawing"] == drawn, "run python book/draw_card.py"


class TestIcons:
    library = '{"sun":[512,512,[9728],"f185","OLD"],sun:[10,20,["a","b"],"f185","M0 0h1"]}'

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        (tmp_path / "_static" / "scripts").mkdir(parents=True)
        (tmp_path / "_static" / "scripts" / "fontawesome.js").write_text(self.library)
        return tmp_path

    def test_are_drawn_in_the_page(self, extension: Any, root: Path) -> None:
        page = (
            '<script defer src="../_static/scripts/fontawesome.js?x=1"></script>'
            '<i class="theme-switch fa-solid fa-sun   fa-lg" data-mode="light" title="Light"></i>'
        )
        assert extension("icons").inline_icons(page, root) == (
            '<svg class="svg-inline--fa theme-switch fa-solid fa-sun fa-lg" data-mode="light" '
            'aria-hidden="true" viewBox="0 0 10 20"><path fill="currentColor" d="M0 0h1"/></svg>'
        )

    def test_of_another_style_keep_the_library(self, extension: Any, root: Path) -> None:
        page = '<script src="/scripts/fontawesome.js"></script><i class="fa-brands fa-github"></i>'
        assert extension("icons").inline_icons(page, root) == page

    def test_unknown_ones_are_an_error(self, extension: Any, root: Path) -> None:
        with pytest.raises(LookupError, match="no icon moon"):
            extension("icons").inline_icons('<i class="fas fa-moon"></i>', root)
