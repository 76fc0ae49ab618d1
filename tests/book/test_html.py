"""Last touches on finished pages: what Sphinx and the theme wrote, as it has to be."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("sphinx", reason="needs the extra [book]")


@pytest.mark.parametrize(
    ("after", "end"),
    [
        ("<li><a>c</a></li>\n</ul>", "</ul></li><li><a>c</a></li>\n</ul>"),
        ("</ul>", "</ul></li></ul>"),
    ],
    ids=["in the middle", "at the end"],
)
def test_a_list_in_the_index_of_modules_is_in_its_entry(
    extension: Any, after: str, end: str
) -> None:
    """As Sphinx's viewcode writes it: a list stands beside the entry it belongs to."""
    page = f"<ul><li><a>a</a></li>\n<ul><li><a>a.b</a></li>\n</ul>{after}"
    wanted = f"<ul><li><a>a</a><ul><li><a>a.b</a></li>\n{end}"
    assert extension("html").mend(page) == wanted


@pytest.mark.parametrize("classes", ["reference internal", "current reference internal"])
def test_what_unfolds_pages_is_called_like_the_page_above_them(
    extension: Any, classes: str
) -> None:
    link = f'<a class="{classes}" href="#">\n The package\n </a>'
    page = f'{link}<details open="open"><summary><span></span></summary>'
    wanted = f'{link}<details open="open"><summary aria-label="The package"><span></span></summary>'
    assert extension("html").mend(page) == wanted
