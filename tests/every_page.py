"""Every page of the site, as readers meet it: light and dark, on a phone and on a desk.

A walk opens all pages of one context, whose cache keeps scripts and fonts as a reader's does. Each
width has a test file of its own, so that two processes can walk side by side.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Serious findings that are the theme's, with no harm to a reader that we know of: none so far.
KNOWN_AXE: frozenset[str] = frozenset()
# Highlighted sources, all of one template: two of them stand for the others.
SOURCES = ("_modules/index.html", "_modules/rlhf_lab/ppo.html")
# A scheme changes colours alone. A width hides and shows, but has colours of its own only in what
# stands around the text, which is the same on all pages.
COLOURS = {"runOnly": ["color-contrast"]}
SHAPES = {"rules": {"color-contrast": {"enabled": False}}}
# A rule of a style sheet knows an element by what it and its ancestors are: their names, classes
# and attributes, and the place of a table's row (ids name places here, not looks). Elements that
# agree in all of it have the same colours on every page, so a few of them stand for the others.
# What a drawing or a script's own tree holds is looked at each time. `seen` counts by kind; what
# has nothing new is marked.
ENOUGH = 3  # of a kind, since axe cannot tell the colours of one that something lies upon
ALIKE = """([seen, enough]) => {
    const mute = /^(class|id|href|src|alt|title|for|name|content|aria-\\w+by|data-alike)$/;
    const words = (node) => node.matches("input, select, textarea") || [...node.childNodes].some(
        (child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    const kind = (node) => {
        const names = [node.localName, ...[...node.classList].sort()];
        for (const { name, value } of node.attributes)
            if (!mute.test(name)) names.push(`${name}=${value}`);
        if (node.localName === "tr") names.push([...node.parentNode.children].indexOf(node) % 2);
        return names.join(" ");
    };
    const look = (node, above) => {
        if (node.shadowRoot || node.localName === "svg") return;
        const path = `${above}>${kind(node)}`;
        let alike = true;
        if (words(node) && node.checkVisibility()) {
            alike = (seen[path] ?? 0) >= enough;
            if (!alike) seen[path] = (seen[path] ?? 0) + 1;
        }
        node.toggleAttribute("data-alike", alike);
        for (const child of node.children) look(child, path);
    };
    look(document.body, "");
    return seen;
}"""
NEW = ":not([data-alike])"
# A button's colour takes 150 ms to change; what it shows on the way is nobody's contrast. A page
# that draws no frame never ends a transition, so they are ended here and not waited for. Where one
# ends another may begin (a child that takes its parent's colour): each list is of a settled style.
SETTLED = """() => {
    const running = () => document.getAnimations().filter(a => a instanceof CSSTransition);
    for (let round = 0; running().length; round++) {
        if (round === 20) throw Error("transitions go on: " + running()[0].transitionProperty);
        running().forEach(a => a.finish());
    }
}"""
# Icons are drawn in the page; a font of them weighs as much as all scripts of a page of text.
ICON_FONTS = """() => [...document.fonts].filter(
    (font) => font.family.includes("Awesome") && font.status !== "unloaded"
).map((font) => font.family)"""
PIECES = 4  # of the list of pages: a failure is told before the whole walk ends


def pages(site: Path) -> list[str]:
    found = (p.relative_to(site) for p in site.rglob("*.html"))
    own = (p.as_posix() for p in found if p.parts[0] not in ("_static", "_modules", "reports"))
    return [*sorted(own), *SOURCES]


def serious(found: list[Any]) -> set[str]:
    """The findings that fail a page, each with its first place."""
    return {
        f"{v['id']}: {v['nodes'][0]['html'][:200]}"
        for v in found
        if v["impact"] in ("serious", "critical") and v["id"] not in KNOWN_AXE
    }


def wear(page: Any, scheme: str) -> None:
    """Change the reader's scheme, and wait until the page follows and its colours rest."""
    page.emulate_media(color_scheme=scheme)
    if page.locator("html[data-theme]").count():  # not on the page for lost readers
        page.wait_for_selector(f"html[data-theme={scheme}]", state="attached")
    page.evaluate(SETTLED)


def mark_alike(page: Any, looked_at: dict[str, int]) -> dict[str, int]:
    """Mark what earlier pages stand for; how many of each kind are looked at up to this one."""
    found: dict[str, int] = page.evaluate(ALIKE, [looked_at, ENOUGH])
    return found


def walk(site: Path, address: str, visit: Any, run_axe: Any, width: int, piece: int) -> None:
    """Open every so many-th page at a width; the first page that fails a reader fails the walk."""
    names = pages(site)
    assert len(names) >= 4
    looked_at: dict[str, int] = {}
    for place, name in enumerate(names[piece::PIECES]):
        seen = visit(f"{address}/{name}", width=width, shared=True)
        figures = seen.see_all_figures()
        page = (site / name).read_text(encoding="utf-8")
        if 'http-equiv="refresh"' not in page:  # that one shows another page
            assert figures == page.count('class="rl-plot"')
        if 'class="math' in page:
            assert seen.page.locator("mjx-container").count() > 0, name
            assert seen.page.locator("mjx-merror").count() == 0, name
        seen.page.wait_for_load_state("networkidle")
        assert not seen.page.evaluate(ICON_FONTS), f"{name} fetches a font for an icon"
        size = seen.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert size[0] <= size[1], f"{name} scrolls sideways at {width} px: {size[0]} px wide"
        found = serious(run_axe(seen, **SHAPES))
        assert not found, (name, found)
        looked_at = mark_alike(seen.page, looked_at)
        for scheme in ("light", "dark") if width > 320 else ("light",) if place == 0 else ():
            wear(seen.page, scheme)
            found = serious(run_axe(seen, new=NEW, **COLOURS))
            assert not found, (name, scheme, found)
        if width > 320:
            wear(seen.page, "light")  # the theme keeps it for the next page
