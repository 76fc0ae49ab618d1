"""The book's own Sphinx extension: cache, assets, figures, explorers, models, notebooks, editions.

One module per job; this one only connects them to Sphinx's events.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

from rlhf_book import (
    cache,
    disk,
    edition,
    explorer,
    figure,
    html,
    launch,
    model_answers,
    twin,
    vendor,
)


def adjust_theme(_app: Sphinx, config: Config) -> None:
    """Change single theme options: `_config.yml` could only replace the whole dictionary."""
    # The theme's header bar would carry a second search box only.
    config.html_theme_options = {**config.html_theme_options, "navbar_persistent": []}


def setup(app: Sphinx) -> dict[str, Any]:
    # Jupyter Book always sets this value, also when its comments extension is not loaded.
    app.add_config_value("comments_config", {}, "")
    app.connect("config-inited", adjust_theme)
    app.connect("config-inited", vendor.add_static_path)
    cache.register(app)
    edition.register(app)
    disk.register(app)
    figure.register(app)
    launch.register(app)
    twin.register(app)
    explorer.register(app)
    model_answers.register(app)
    # After every other extension has written its files.
    app.connect("build-finished", html.finish_pages, priority=900)
    return {
        "version": "1",
        "env_version": 2,  # of what is kept between builds: another number reads all pages anew
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
