"""Files of the whole site: the map for search engines, moved pages, the page for lost readers."""

from __future__ import annotations

import posixpath
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.locale import get_translation
from sphinx.util import logging

logger = logging.getLogger(__name__)

_ = get_translation("rlhf_book")

MOVED = "book/moved.yml"
_UNLISTED = ("404", "genindex", "py-modindex", "search")  # not for a search engine


def read_moved(source: Path) -> dict[str, str]:
    """Old document to new, from the table of moved pages; empty where a book has none."""
    table = source / MOVED
    if not table.is_file():
        return {}
    return dict(yaml.safe_load(table.read_text(encoding="utf-8")) or {})


def check_moved(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of an entry that leads nowhere, or that stands in the way of a page."""
    for old, new in read_moved(Path(app.srcdir)).items():
        if new.partition("#")[0] not in env.found_docs:
            message = f"{MOVED}: {old} has moved to {new}, which no page is"
        elif old in env.found_docs:
            message = f"{MOVED}: {old} has moved, but is still a page"
        else:
            continue
        logger.warning(message, type="rlhf", subtype="moved")


def write_site_files(app: Sphinx, exception: Exception | None) -> None:
    """Write them beside the pages of an HTML build that went through."""
    if exception is not None or app.builder.format != "html":
        return
    root, site = Path(app.outdir), app.config.html_baseurl.rstrip("/")
    for old, new in read_moved(Path(app.srcdir)).items():
        page = root / f"{old}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(moved_page(old, new, site, app.config.language), encoding="utf-8")
    (root / "404.html").write_text(
        lost_page(app.config.html_title, app.config.root_doc, site, app.config.language),
        encoding="utf-8",
    )
    if site:
        pages = sorted(page for page in app.env.found_docs if page not in _UNLISTED)
        (root / "sitemap.xml").write_text(sitemap(pages, site), encoding="utf-8")


def moved_page(old: str, new: str, site: str, language: str) -> str:
    """A page at the old address that leads to the new one, without a script."""
    document, mark, place = new.partition("#")
    target = posixpath.relpath(f"{document}.html", posixpath.dirname(old) or ".") + mark + place
    canonical = f'<link rel="canonical" href="{escape(f"{site}/{document}.html")}">' if site else ""
    return f"""<!DOCTYPE html>
<html lang="{escape(language)}">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={escape(target)}">
<meta name="robots" content="noindex">
{canonical}
<title>{escape(_("This page has moved"))}</title>
<link rel="icon" href="data:,">
</head>
<body><a href="{escape(target)}">{escape(_("This page has moved"))}</a></body>
</html>
"""


def lost_page(title: str, first_page: str, site: str, language: str) -> str:
    """The page that a server shows for an address that is none.

    It appears under any path, so it brings all it needs along. Where the site's address is not
    known, a script looks upwards from the missing page for the folder that holds the site.
    """
    home = f"{urlsplit(site).path}/{first_page}.html" if site else f"{first_page}.html"
    search = f"{urlsplit(site).path}/search.html" if site else "search.html"
    script = "" if site else f"<script>{_FIND_SITE}</script>"
    heading = escape(_("There is no page here"))
    text = escape(_("The address may be mistyped, or the page was removed."))
    return f"""<!DOCTYPE html>
<html lang="{escape(language)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{heading} — {escape(title)}</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{heading}</h1>
<p>{text}</p>
<form action="{escape(search)}" role="search">
<input type="search" name="q" aria-label="{escape(_("Search this book"))}">
<button>{escape(_("Search"))}</button>
</form>
<p><a href="{escape(home)}">{escape(title)}</a></p>
</main>
{script}
</body>
</html>
"""


def sitemap(pages: list[str], site: str) -> str:
    """The list of all pages by their full addresses (sitemaps.org, version 0.9)."""
    places = "".join(f"<url><loc>{escape(f'{site}/{page}.html')}</loc></url>\n" for page in pages)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        f"{places}</urlset>\n"
    )


# The nearest folder above the missing page that has a file of every Sphinx site is the site.
_FIND_SITE = """
(async () => {
  if (location.protocol === "file:") return; // opened where it lies, beside the site's pages
  const parts = location.pathname.split("/").slice(0, -1);
  for (let n = parts.length; n > 0; n--) {
    const root = `${parts.slice(0, n).join("/")}/`;
    const found = await fetch(`${root}_static/documentation_options.js`).catch(() => null);
    await found?.text();
    if (!found?.ok) continue;
    const link = document.querySelector("a"), form = document.querySelector("form");
    link.setAttribute("href", root + link.getAttribute("href"));
    form.setAttribute("action", root + form.getAttribute("action"));
    return;
  }
})();
"""
_STYLE = """
:root { color-scheme: light dark; font: 1.1rem/1.6 system-ui, sans-serif; }
body { align-content: center; background: Canvas; color: CanvasText; margin: 0; min-height: 100vh; }
main { box-sizing: border-box; margin: auto; max-width: 32rem; padding: 1.5rem; }
a { color: inherit; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 0.5rem; }
form { display: flex; gap: 0.5rem; }
input, button { font: inherit; padding: 0.4rem 0.75rem; }
input { flex: 1; min-width: 0; }
"""


def register(app: Sphinx) -> None:
    """Check the table when the pages are known; write before the content policy is added."""
    app.connect("env-check-consistency", check_moved)
    app.connect("build-finished", write_site_files, priority=850)
