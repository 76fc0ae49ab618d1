"""What a page loads before it is seen: one sheet for many, and scripts that wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sphinx", reason="needs the extra [book]")


@pytest.fixture
def static(tmp_path: Path) -> Path:
    for name, text in {
        "styles/theme.css": '@charset "UTF-8";\n@import "../basic.css";\na { color: red }',
        "styles/fonts.css": "b { src: url(../fonts/x.woff) url('y.woff') url(data:z) url(#w) }",
        "basic.css": 'i { background: url("file.png") }',
        "book.css": "p {}",
        "documentation_options.js": "const DOCUMENTATION_OPTIONS = {};",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


PAGE = """<head>
<link href="../_static/styles/theme.css?digest=1" rel="stylesheet" />
  <link rel="stylesheet" type="text/css" href="../_static/styles/fonts.css?v=2" />
  <link rel="stylesheet" type="text/css" href="../_static/book.css?v=3" />
  <link rel="icon" href="../_static/favicon.svg"/>
<script src="../_static/documentation_options.js?v=4"></script>
<script>DOCUMENTATION_OPTIONS.pagename = 'a';</script>
<script data-x="1" src="../_static/tabs.js"></script>
<script defer="defer" src="../_static/late.js"></script>
</head>"""


def test_one_sheet_in_place_of_those_of_others(extension: Any, static: Path) -> None:
    loading = extension("loading")
    page = loading.with_one_sheet(PAGE, static)
    (path,) = static.glob("foundation-*.css")
    link = f'<link rel="stylesheet" href="../_static/{path.name}">'
    assert page.count("stylesheet") == 2 and page.index(link) < page.index("book.css")
    assert path.read_text(encoding="utf-8").split() == (
        'i { background: url("file.png") } a { color: red } b { src: url("fonts/x.woff")'
        ' url("styles/y.woff") url(data:z) url(#w) }'.split()
    )
    assert loading.with_one_sheet(page, static) == page


def test_names_of_icons_are_left_out_where_none_is_drawn_by_a_font(
    extension: Any, static: Path
) -> None:
    loading = extension("loading")
    kept = '.fa-lg{font-size:1.25em}.mine:before,.fa-x:before{content:"y"}'
    glyphs = '.fa-sun:before{content:"\\f185"}.fa-a:before,.fa-b-2:before{content:"\\f158"}'
    (static / "basic.css").write_text(glyphs + kept, encoding="utf-8")
    for icon, expected in (("", kept), ('<i class="fa-brands fa-sun"></i>', glyphs + kept)):
        page = loading.with_one_sheet(PAGE + icon, static)
        name = page.partition("_static/foundation-")[2].partition('"')[0]
        text = (static / f"foundation-{name}").read_text(encoding="utf-8")
        assert text.lstrip().startswith(expected)


def test_another_content_has_another_address(extension: Any, static: Path) -> None:
    """So that a browser never shows a page in the sheet of an earlier build."""
    loading = extension("loading")
    first = loading.with_one_sheet(PAGE, static)
    (static / "basic.css").write_text("i {}", encoding="utf-8")
    second = loading.with_one_sheet(PAGE, static)
    assert first != second
    loading.remove_unused(static, [second])
    (left,) = static.glob("foundation-*.css")
    assert left.name in second


def test_scripts_wait_and_their_options_do_not(extension: Any, static: Path) -> None:
    page = extension("loading").lighten(PAGE, static)
    assert page.count("<script defer") == 2
    assert '<script defer data-x="1" src="../_static/tabs.js">' in page
    written = page.index("<script>const DOCUMENTATION_OPTIONS = {};</script>")
    assert written < page.index("<script>DOCUMENTATION_OPTIONS.pagename")


def test_the_scripts_of_the_search_page_stay(extension: Any, static: Path) -> None:
    page = PAGE.replace("</head>", '</head><div id="search-results"></div>')
    assert "<script defer data-x" not in extension("loading").lighten(page, static)
