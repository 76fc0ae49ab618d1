"""Every page of the site, as readers meet it: light and dark, on a phone and on a desk.

A walk opens all pages of one context, whose cache keeps scripts and fonts as a reader's does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

# Serious findings that are the theme's, with no harm to a reader that we know of: none so far.
KNOWN_AXE: frozenset[str] = frozenset()
# Highlighted sources, all of one template: two of them stand for the others.
SOURCES = ("_modules/index.html", "_modules/rlhf_lab/ppo.html")
# The scheme changes colours alone; a width hides and shows.
ALL: dict[str, Any] = {}
COLOURS = {"runOnly": ["color-contrast"]}
PIECES = 4  # of the list of pages: a failure is told before the whole walk ends


def pages(site: Path) -> list[str]:
    found = (p.relative_to(site) for p in site.rglob("*.html"))
    own = (p.as_posix() for p in found if p.parts[0] not in ("_static", "_modules", "reports"))
    return [*sorted(own), *SOURCES]


@pytest.mark.parametrize("piece", range(PIECES))
@pytest.mark.parametrize(
    ("scheme", "width", "rules"),
    [
        ("light", 1280, ALL),
        ("dark", 1280, COLOURS),
        ("light", 320, ALL),  # 320: zoomed to 400 %, or a small phone
    ],
    ids=("light-1280", "dark-1280", "light-320"),
)
def test_every_page(
    site: Path,
    address: str,
    visit: Any,
    run_axe: Any,
    scheme: str,
    width: int,
    rules: dict[str, Any],
    piece: int,
) -> None:
    names = pages(site)
    assert len(names) >= 4
    for name in names[piece::PIECES]:
        seen = visit(f"{address}/{name}", scheme=scheme, width=width, shared=True)
        figures = seen.see_all_figures()
        page = (site / name).read_text(encoding="utf-8")
        if 'http-equiv="refresh"' not in page:  # that one shows another page
            assert figures == page.count('class="rl-plot"')
        seen.page.wait_for_load_state("networkidle")
        size = seen.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert not seen.errors, (name, seen.errors)
        assert not seen.foreign, (name, seen.foreign)
        assert size[0] <= size[1], f"{name} scrolls sideways at {width} px: {size[0]} px wide"
        serious = {
            f"{v['id']}: {v['nodes'][0]['html'][:200]}"
            for v in run_axe(seen, **rules)
            if v["impact"] in ("serious", "critical") and v["id"] not in KNOWN_AXE
        }
        assert not serious, (name, serious)
        seen.page.close()
