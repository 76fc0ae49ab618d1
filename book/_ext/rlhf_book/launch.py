"""Where a reader runs a page: Colab once the book has a public address, a download until then.

The address is one setting, ``repository: url:`` in _config.yml. The site, notebooks included, is
published on the branch ``rlhf_site_branch`` of that repository, and Colab opens them there.
"""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.locale import get_translation

_ = get_translation("rlhf_book")


def repository(app: Sphinx) -> str:
    """The book's public address; empty while it has none."""
    return str(app.config.html_theme_options.get("repository_url") or "").rstrip("/")


def button(app: Sphinx, name: str, relative: str) -> dict[str, str]:
    """The theme's description of the button: Colab where the book has an address."""
    address = colab_address(repository(app), app.config.rlhf_site_branch, name)
    if address:
        return {
            "type": "link",
            "url": address,
            "text": _("Open in Colab"),
            "tooltip": _("Open this page as a notebook in Colab"),
            "icon": "_static/images/logo_colab.png",
            "label": "notebook",
        }
    return {
        "type": "link",
        "url": relative,
        "text": _("Notebook"),
        "tooltip": _("Download this page as a notebook"),
        "icon": "fas fa-laptop-code",
        "label": "notebook",
    }


def colab_address(repository: str, branch: str, name: str) -> str:
    """Where Colab opens a notebook of the published site; empty for other hosts than GitHub."""
    host, _slash, path = repository.removeprefix("https://").partition("/")
    if host != "github.com" or not path:
        return ""
    return f"https://colab.research.google.com/github/{path}/blob/{branch}/{name}"


def register(app: Sphinx) -> None:
    """Add the setting of the branch."""
    app.add_config_value("rlhf_site_branch", "gh-pages", "html")
