"""Every page of the site on a desk, light and dark: see tests/every_page.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from every_page import COLOURS, ENOUGH, NEW, PIECES, mark_alike, walk

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("piece", range(PIECES))
def test_every_page(site: Path, address: str, visit: Any, run_axe: Any, piece: int) -> None:
    walk(site, address, visit, run_axe, 1280, piece)


LINES = "<p>plain</p>" * 9 + "<table><tr><td>odd</td></tr></table>" * 5
FAINT = "color: #ccc; background: #fff"


@pytest.mark.parametrize(
    "faint",
    [
        f'<p style="{FAINT}">of its own</p>',
        f"<style>.faint p {{ {FAINT} }}</style><div class=faint><p>by what it stands in</p></div>",
        f"<style>tr:nth-child(2) td {{ {FAINT} }} tr {{ color: #000 }}</style>"
        "<table><tr><td>odd</td></tr><tr><td>even</td></tr></table>",
        f'<input value="typed" aria-label="box" style="{FAINT}">',
        f'<button style="{FAINT}">pressed</button>',
    ],
)
def test_a_new_colour_is_seen_among_many_alike(
    host: str, visit: Any, run_axe: Any, faint: str
) -> None:
    """What stands for others on the first page does not hide what is new on the second."""
    looked_at: dict[str, int] = {}
    for markup in (LINES, LINES + faint + LINES):
        seen = visit(f"{host}/page.html")
        seen.page.evaluate("markup => { document.body.innerHTML = markup }", markup)
        looked_at = mark_alike(seen.page, looked_at)
        found = run_axe(seen, new=NEW, **COLOURS)
        assert bool(found) == (faint in markup)
    assert max(looked_at.values()) == ENOUGH


def test_a_hidden_element_stands_for_none(host: str, visit: Any, run_axe: Any) -> None:
    faint = f"<style>p {{ {FAINT} }}</style>"
    seen = visit(f"{host}/page.html")
    hidden = "<div><p hidden>hidden</p></div>" * ENOUGH
    seen.page.evaluate(
        "markup => { document.body.innerHTML = markup }", f"{faint}{hidden}<div><p>seen</p></div>"
    )
    mark_alike(seen.page, {})
    assert run_axe(seen, new=NEW, **COLOURS)
