"""What a page says when it was opened from disk, where a browser forbids part of what it does.

Text, mathematics and figures need no server. The search does, for the lines around what it found.
"""

from __future__ import annotations

from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.locale import get_translation

_ = get_translation("rlhf_book")


def with_note(page: str) -> str:
    """The search page with a sentence that its script shows when there is no server."""
    sentence = _(
        "You opened this page from disk. The search finds pages, but the browser does not let it "
        "show the lines around what it found."
    )
    note = f'<p class="rl-note-from-disk" data-from-disk hidden>{escape(sentence)}</p>'
    results = '<div id="search-results">'
    return page.replace(results, f"{note}{results}", 1)


def add_script(
    app: Sphinx,
    page: str,
    _template: str,
    _context: dict[str, Any],
    _doctree: nodes.document | None,
) -> None:
    """Load the script on the search page."""
    if page == "search":
        app.add_js_file("from-disk.js", loading_method="defer")


def register(app: Sphinx) -> None:
    """Act on the search page."""
    app.connect("html-page-context", add_script)
