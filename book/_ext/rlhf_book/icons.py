"""The theme's few icons as drawings in the page, in place of a library of two thousand.

The theme loads all of Font Awesome, 1.5 MB of script, and lets it replace each ``<i class="fa-…">``
in the reader's browser. The same replacement is made here, once, with the same drawings.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

LIBRARY = "_static/scripts/fontawesome.js"
_SCRIPT = re.compile(r'\s*<script[^>]*src="[^"]*/scripts/fontawesome\.js[^"]*"></script>')
_ICON = re.compile(r'<(i|span) class="([^"]*\b(?:fa-solid|fas)\b[^"]*)"([^>]*)></\1>')
_SIZES = frozenset({"fa-solid", "fa-lg", "fa-sm", "fa-xs", "fa-fw"})
_DEFINITION = r'[{{,]"?{name}"?:\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+","([^"]+)"\]'


def inline_icons(page: str, root: Path) -> str:
    """The page with its icons drawn and without the library, which lies below ``root``.

    A page with an icon of another style (a brand's, say) keeps the library.
    """
    drawn = _ICON.sub(lambda icon: _svg(root / LIBRARY, icon[2], icon[3]), page)
    if re.search(r'<(i|span) class="[^"]*\bfa[srb]?[ -]', drawn):
        return page
    return _SCRIPT.sub("", drawn)


def _svg(library: Path, classes: str, attributes: str) -> str:
    (name,) = {c for c in classes.split() if c.startswith("fa-")} - _SIZES
    width, height, path = drawing(library, name.removeprefix("fa-"))
    names = " ".join(["svg-inline--fa", *classes.split()])
    title = re.sub(r'\s*title="[^"]*"', "", attributes)  # of a hidden drawing: nobody hears it
    return (
        f'<svg class="{names}"{title} aria-hidden="true" viewBox="0 0 {width} {height}">'
        f'<path fill="currentColor" d="{path}"/></svg>'
    )


@lru_cache
def drawing(library: Path, name: str) -> tuple[int, int, str]:
    """Width, height and path of a solid icon, from the theme's own copy of the library.

    Raises:
        LookupError: the library has no such icon.
    """
    # The solid icons come last, after brands and regular ones of partly the same names.
    found = re.findall(_DEFINITION.format(name=re.escape(name)), _text(library))
    if not found:
        raise LookupError(f"no icon {name} in {library}; does the theme call it otherwise now?")
    width, height, path = found[-1]
    return int(width), int(height), path


@lru_cache
def _text(library: Path) -> str:
    return library.read_text(encoding="utf-8")
