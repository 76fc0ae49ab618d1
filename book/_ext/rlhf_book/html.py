"""Last touches on finished pages: what the theme gets wrong, its icons, and a content policy.

The policy stands in each page, so that it also holds when the site is served by a server nobody
configured. Inline scripts are allowed by hash, those of the page alone: hashes do not compress, and
each page has a script that says its name. Handlers are allowed as one union for the whole site: the
search reads other pages into the one that it is on, where scripts do not run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape, unescape
from pathlib import Path

from sphinx.application import Sphinx

from rlhf_book import disk, loading
from rlhf_book.icons import inline_icons

_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)([^>]*)>(.*?)</script>", re.DOTALL)
_HANDLER = re.compile(r'\son[a-z]+="([^"]*)"')
_INDEX = re.compile(r'<script src="([^"]*)searchindex\.js"></script>')
_MATHJAX = re.compile(
    r'\s*<script[^>]*src="([^"]*_static/)(vendor/mathjax/startup\.js[^"]*)"></script>'
)
_FORMULA = re.compile(r'class="[^"]*\bmath\b')
_HEAD = '<head><meta charset="utf-8">'
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

# (what the theme writes, what it should be): an axe rule is named where it asks for the change.
_MENDS = (
    # label-content-name-mismatch: the visible text is the name
    (r'(<button class="btn search-button-field[^>]*?) aria-label="[^"]*"', r"\1"),
    (r'<summary aria-label="[^"]*"', "<summary"),
    # summary-name: in the sidebar, what unfolds the pages below a page is called like that page
    (
        r'(<a class="[^"]*\breference internal"[^>]*>\s*([^<]+?)\s*</a>'
        r"\s*<details[^>]*>\s*<summary)>",
        r'\1 aria-label="\2">',
    ),
    # region: the sidebar's logo and search lie outside of every landmark
    (
        r'<div id="pst-primary-sidebar" class="',
        '<div id="pst-primary-sidebar" role="region" aria-label="Site sidebar" class="',
    ),
    # aria-required-children, aria-allowed-role: citations are not a list of list items
    (r'<div role="list" class="citation-list">', '<div class="citation-list">'),
    (r' role="doc-biblioentry"', ""),
    # list: in Sphinx's index of modules a list within a list stands beside its entry, not in it
    (r"</li>\s*(<ul><li>)", r"\1"),
    (r"</ul>(<li>|</ul>)", r"</ul></li>\1"),
    # A notebook is kept, not shown in a new tab.
    (r'(<a href="(?:\.\./)*notebooks/[^"]*\.ipynb") target="_blank"', r"\1 download"),
    (r'(<a class="reference external" href="(?:\.\./)*labs/[^"]*\.ipynb")', r"\1 download"),
    # the home page: its own title twice
    (r"<title>([^<]+) &#8212; \1</title>", r"<title>\1</title>"),
    # the policy is long, and a browser looks for the encoding at the beginning: finish_pages
    (r'\s*<meta charset="utf-8" ?/?>', ""),
    # the theme says it three times
    (r'\s*<meta name="viewport" content="width=device-width, initial-scale=1" ?/>', ""),
)


def finish_pages(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite every page of an HTML build that went through; one that was finished before, as far
    as the policy has changed.
    """
    if exception is not None or app.builder.format != "html":
        return
    root = Path(app.outdir)
    write_entrance(root, app.config.root_doc, app.config.html_title, app.config.language)
    paths = [p for p in root.rglob("*.html") if "_static" not in p.relative_to(root).parts]
    found = {path: path.read_text(encoding="utf-8") for path in paths}
    pages = {
        path: page if _POLICY.search(page) else finished(page, path, root)
        for path, page in found.items()
    }
    handlers = {source(handler) for page in pages.values() for handler in inline_handlers(page)}
    for path, page in pages.items():
        meta = policy({source(script) for script in inline_scripts(page)}, handlers)
        bare = _POLICY.sub("", page)
        head = f"{_HEAD}{meta}"
        whole = bare.replace(_HEAD, "<head>", 1).replace("<head>", head, 1)
        if whole != found[path]:
            path.write_text(whole, encoding="utf-8")
    loading.remove_unused(root / "_static", list(pages.values()))


def finished(page: str, path: Path, root: Path) -> str:
    """A page as the theme has written it, mended."""
    whole = loading.lighten(inline_icons(mend(page), root), root / "_static")
    return disk.with_note(whole) if path == root / "search.html" else whole


def write_entrance(root: Path, first_page: str, title: str, language: str) -> None:
    """Write the page at the site's address, which sends the reader on to the first page.

    Jupyter Book would write one without an icon, and a browser then asks the server's root for one.
    The empty icon makes no request, which would be cut off by the redirect.
    """
    entrance = root / "index.html"
    if first_page == "index":
        return
    entrance.write_text(
        f"""<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={first_page}.html">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
</head>
<body><a href="{first_page}.html">{escape(title)}</a></body>
</html>
""",
        encoding="utf-8",
    )


def mend(page: str) -> str:
    """Mend what the theme gets wrong for assistive technology and for slow connections."""
    for pattern, replacement in _MENDS:
        page = re.sub(pattern, replacement, page)
    # The index of the whole book comes when a reader searches, but for the page of results.
    if 'id="search-results"' not in page:
        page = _INDEX.sub(r'<script defer src="\1_static/search-on-demand.js"></script>', page)
    # Sphinx loads MathJax on the first page too, which has no formulas; elsewhere it can wait.
    late = r'<script defer src="\1formulas.js" data-mathjax="\1\2"></script>'
    return _MATHJAX.sub(late if _FORMULA.search(page) else "", page)


def inline_scripts(page: str) -> list[str]:
    """Bodies of the scripts that a browser would run; data blocks are not among them."""
    return [body for attributes, body in _INLINE_SCRIPT.findall(page) if "json" not in attributes]


def inline_handlers(page: str) -> list[str]:
    """Values of ``onclick`` and its like, as the browser hashes them."""
    return [unescape(value) for value in _HANDLER.findall(_INLINE_SCRIPT.sub("", page))]


def source(script: str) -> str:
    """The policy's name of one script: its hash."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def policy(scripts: set[str], handlers: set[str]) -> str:
    """The meta element: our own server for everything, no script from text."""
    allowed = ["'self'", *sorted(scripts)]
    if handlers:
        allowed += ["'unsafe-hashes'", *sorted(handlers)]
    rules = [
        "default-src 'none'",
        f"script-src {' '.join(allowed)}",
        "style-src 'self' 'unsafe-inline'",  # MathJax, plotly and the theme's icons write styles
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "object-src 'none'",
    ]
    return f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(rules)}">'
