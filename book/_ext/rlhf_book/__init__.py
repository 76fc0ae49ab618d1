"""The book's own Sphinx extension: cache, assets, figures, components, links, notebooks, editions.

One module per job; this one only connects them to Sphinx's events.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

from rlhf_book import (
    ahead,
    cache,
    corrections,
    disk,
    edition,
    equations,
    explorer,
    facts,
    figure,
    fresh,
    glossary,
    html,
    labs,
    latex,
    launch,
    ledger,
    metadata,
    model_answers,
    notes,
    self_check,
    site,
    twin,
    vendor,
)

PARTS = (
    cache, ahead, edition, disk, figure, equations, explorer, facts, model_answers, launch, labs,
    twin, metadata, notes, self_check, corrections, ledger, glossary, latex, site, fresh,
)  # fmt: skip


def adjust_theme(_app: Sphinx, config: Config) -> None:
    """Change single theme options: `_config.yml` could only replace the whole dictionary."""
    config.html_theme_options = {
        **config.html_theme_options,
        "navbar_persistent": [],  # the theme's header bar would carry a second search box only
        "search_as_you_type": True,
    }


def setup(app: Sphinx) -> dict[str, Any]:
    # Jupyter Book always sets this value, also when its comments extension is not loaded.
    app.add_config_value("comments_config", {}, "")
    app.connect("config-inited", adjust_theme)
    app.connect("config-inited", vendor.add_static_path)
    app.add_js_file("print.js", loading_method="defer")
    app.add_message_catalog("rlhf_book", str(Path(app.srcdir) / "book" / "locale"))
    for part in PARTS:
        part.register(app)
    # After every other extension has written its files.
    app.connect("build-finished", html.finish_pages, priority=900)
    return {
        "version": "1",
        "env_version": 6,  # of what is kept between builds: another number reads all pages anew
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
