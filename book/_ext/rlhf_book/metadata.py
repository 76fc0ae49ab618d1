"""What a page tells search engines and link previews, and the edition in its footer."""

from __future__ import annotations

import posixpath
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

import rlhf_lab

CARD = "_static/card.png"  # drawn by book/draw_card.py
LONGEST = 200  # characters of a description; search engines cut off about there


def set_edition(_app: Sphinx, config: Config) -> None:
    """Version and date for every footer; SOURCE_DATE_EPOCH, where set, is the date."""
    config.version = config.release = rlhf_lab.__version__
    config.html_last_updated_fmt = config.html_last_updated_fmt or "%Y-%m-%d"
    version = f'<p class="rl-version">rlhf_lab {escape(rlhf_lab.__version__)}</p>'
    config.html_theme_options = {**config.html_theme_options, "extra_footer": version}


def add_metadata(
    app: Sphinx,
    pagename: str,
    _templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Description and preview of a page; complete addresses where the site's own is known."""
    if doctree is None:
        return
    site = app.config.html_baseurl.rstrip("/")
    page = app.builder.get_target_uri(pagename)
    card = f"{site}/{CARD}" if site else "../" * page.count("/") + CARD
    title = "".join(node.astext() for node in list(doctree.findall(nodes.title))[:1])
    tags = {
        "og:type": "article",
        "og:site_name": app.config.html_title,
        "og:title": title,
        "og:image": posixpath.normpath(card) if not site else card,
        "og:image:width": "1200",
        "og:image:height": "630",
        "twitter:card": "summary_large_image",
    }
    text = description(doctree)
    if text:
        tags["og:description"] = text
    if site:
        tags["og:url"] = f"{site}/{page}"
    metatags = "".join(
        f'<meta {"name" if name.startswith("twitter") else "property"}="{name}" '
        f'content="{escape(content)}">\n'
        for name, content in tags.items()
    )
    if text:
        metatags += f'<meta name="description" content="{escape(text)}">\n'
    context["metatags"] = context.get("metatags", "") + metatags


def description(doctree: nodes.document) -> str:
    """The first paragraph of running text without formulas, cut at a word."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        formulas = any(paragraph.findall(nodes.math))
        if isinstance(paragraph.parent, nodes.section) and len(text) > 60 and not formulas:
            return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …"
    return ""


def register(app: Sphinx) -> None:
    """Connect both to Sphinx's events."""
    app.connect("config-inited", set_edition)
    app.connect("html-page-context", add_metadata)
