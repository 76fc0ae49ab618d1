"""What a page loads before it is seen, and what can wait.

The theme and its extensions link a dozen style sheets, each a round trip before the first word is
painted, and as many scripts that hold up the reading of the page. One sheet takes the place of
theirs; scripts run when the page is there, as those of the theme do already.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from pathlib import Path

FOUNDATION = "foundation"  # the name of the one sheet, before the hash of its content
_SHEET = re.compile(
    r'\s*<link(?=[^>]*\brel="stylesheet")[^>]*\bhref="([^"]*_static/([^"?]+)[^"]*)"[^>]*>'
)
_OURS = re.compile(r"(?:components/.*|book|reading|self-check)\.css")
_IMPORT = re.compile(r"""@import\s+(?:url\()?["']([^"']+)["']\)?\s*;""")
_CHARSET = re.compile(r'@charset\s+"[^"]*"\s*;', re.IGNORECASE)
_ADDRESS = re.compile(r"""url\(\s*(["']?)(?!data:|[a-z]+:|/|#)([^"')]+)\1\s*\)""")
# Font Awesome has a rule for each of some 2,000 icons, a fifth of all sheets. A page whose icons
# are drawn in it (icons.py) has none of the elements that they are for.
_GLYPHS = re.compile(
    r"(?<![^}\s/])"  # a whole rule, not the end of a list
    r'\.fa-[\w-]+:before(?:,\.fa-[\w-]+:before)*\{content:"[^"]*"\}'
)
_ICON = re.compile(r'<i class="[^"]*\bfa-')
_SCRIPT = re.compile(r'<script (?=[^>]*\bsrc=")(?![^>]*\b(?:defer|async|type)\b)')
_OPTIONS = re.compile(r'<script src="[^"]*/documentation_options\.js[^"]*"></script>')


def lighten(page: str, static: Path) -> str:
    """A page with one sheet for those that others wrote, and scripts that wait for the page.

    Args:
        page: as the theme has written it.
        static: folder of the site's assets, in which the sheet is written.
    """
    page = with_one_sheet(page, static)
    if 'id="search-results"' in page:  # all that it shows comes from its scripts: none can wait
        return page
    # Small, and inline scripts write into it before any that waits.
    options = static / "documentation_options.js"
    if options.is_file():
        inline = f"<script>{options.read_text(encoding='utf-8')}</script>"
        page = _OPTIONS.sub(lambda _: inline, page)
    return _SCRIPT.sub("<script defer ", page)


def with_one_sheet(page: str, static: Path) -> str:
    """Replace the links to sheets that are not ours by one, where the first of them stood."""
    found = [match for match in _SHEET.finditer(page) if not _OURS.fullmatch(match[2])]
    if not found:
        return page
    text = "\n".join(sheet(static, match[2]) for match in found)
    if not _ICON.search(page):
        text = _GLYPHS.sub("", text)
    name = f"{FOUNDATION}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.css"
    if not (static / name).exists():
        (static / name).write_text(text, encoding="utf-8")
    root = found[0][1].partition("_static/")[0]
    first = found[0].start()
    for match in reversed(found):
        page = page[: match.start()] + page[match.end() :]
    return f'{page[:first]}\n<link rel="stylesheet" href="{root}_static/{name}">{page[first:]}'


def sheet(static: Path, name: str) -> str:
    """A sheet's text with what it imports, addresses as seen from the folder of the assets."""
    folder = posixpath.dirname(name)

    def there(target: str) -> str:
        return posixpath.normpath(posixpath.join(folder, target))

    text = _CHARSET.sub("", (static / name).read_text(encoding="utf-8"))
    text = _ADDRESS.sub(lambda match: f'url("{there(match[2])}")', text)
    return _IMPORT.sub(lambda match: sheet(static, there(match[1])), text)


def remove_unused(static: Path, pages: list[str]) -> None:
    """Delete the sheets of earlier builds that no page links any more."""
    for path in static.glob(f"{FOUNDATION}-*.css"):
        if not any(path.name in page for page in pages):
            path.unlink()
