"""The directive ``{explorer}``: a drawing of :mod:`rlhf_lab.widgets` on a page.

    ```{explorer} ppo-clip
    ```

    ```{explorer} ranking
    :data: ../results/ranking.json
    ```

A drawing of published results names their file, from the page's folder. Each becomes a figure with
a still drawing and its data, which the drawing's script replaces when it comes near. What the
script needs is in the page: it asks for no file but the modules themselves.
"""

from __future__ import annotations

import html
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from rlhf_book.figure import embedded_json, table_html, take_apart, write_text
from rlhf_lab.errors import InputError
from rlhf_lab.svg import draw
from rlhf_lab.widgets import files, ppo_clip, ranking, token_inspector

FOLDER = "components"  # below _static
PUBLISHED = {module.NAME: module for module in (ranking, token_inspector)}  # drawn from a file
DRAWINGS = {ppo_clip.NAME: ppo_clip} | PUBLISHED


class explorer(nodes.General, nodes.Element):  # noqa: N801 - docutils names nodes so
    """A drawing: ``name``, ``given`` (what its script gets), ``title``, ``alt``, ``still``."""


class ExplorerDirective(SphinxDirective):
    """One argument: the drawing's name."""

    required_arguments = 1
    option_spec: ClassVar = {"data": directives.path}

    def run(self) -> list[nodes.Node]:
        """The drawing's node; an unknown drawing, language or file of data is an error."""
        name = self.arguments[0]
        language = self.env.config.language
        try:
            labels = files.labels(name, language)
            data = self.data(name)
        except InputError as error:
            raise self.error(str(error)) from error
        self.env.note_dependency(str(files.STATIC / "labels" / f"{language}.json"))
        still = DRAWINGS[name].still(labels, data).to_plotly_json()
        title, alt, records, still = take_apart(still)
        given = {
            "data": data,
            "labels": labels,
            "language": files.language_tag(language),
        }
        return [
            explorer(name=name, given=given, title=title, alt=alt, records=records, still=still)
        ]

    def data(self, name: str) -> Mapping[str, Any]:
        """What the drawing shows; the page is built anew when its file changes."""
        path = self.options.get("data")
        if (path is not None) != (name in PUBLISHED):
            allowed = "a file" if name in PUBLISHED else "no file"
            raise InputError(f":data: of {name}", path, allowed, "correct the directive")
        if path is None:
            return DRAWINGS[name].data()
        relative, absolute = self.env.relfn2path(path)
        self.env.note_dependency(relative)
        drawing = PUBLISHED[name]
        return drawing.data(files.read_published(absolute, drawing.FORMAT))


def write_html(translator: HTML5Translator, node: explorer) -> None:
    """Write the figure. Scripts off: a sentence says what is missed, and so from a disk."""
    labels = node["given"]["labels"]
    note = html.escape(labels["still"])
    translator.body.append(
        f'<figure class="rl-figure"><figcaption>{html.escape(node["title"])}</figcaption>'
        f'<rlhf-explorer class="rl-explorer" component="{html.escape(node["name"])}">'
        f'<div class="rl-still" role="img" aria-label="{html.escape(node["alt"])}">'
        f"{draw(node['still'])}</div>"
        f'<noscript><p class="rl-missed">{note}</p></noscript><p class="rl-note" hidden>{note}</p>'
        f"<details><summary>{html.escape(labels['show_data'])}</summary>"
        f"{table_html(node['records'])}</details>"
        f'<script type="application/json">{embedded_json(node["given"])}</script>'
        "</rlhf-explorer></figure>\n"
    )
    raise nodes.SkipNode


def add_files(
    app: Sphinx,
    _pagename: str,
    _templatename: str,
    _context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Load script and styles on pages that have an explorer."""
    if doctree is not None and any(doctree.findall(explorer)):
        app.add_js_file(f"{FOLDER}/explorer.js", loading_method="defer")
        app.add_css_file(f"{FOLDER}/palette.css")
        app.add_css_file(f"{FOLDER}/explorer.css")


def write_files(folder: Path) -> None:
    """Write what the browser fetches: the package's modules and styles."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("explorer.js", "explorer.css", "model-answers.css", *files.MODULES):
        shutil.copy2(files.STATIC / name, folder / name)
    shutil.copytree(files.STATIC / files.RUNTIME, folder / files.RUNTIME, dirs_exist_ok=True)
    (folder / "palette.css").write_text(files.palette_css(), encoding="utf-8")


def register(app: Sphinx) -> None:
    """Tell Sphinx about the directive."""
    app.add_node(
        explorer,
        html=(write_html, None),
        latex=(write_text, None),
        text=(write_text, None),
        man=(write_text, None),
        texinfo=(write_text, None),
    )
    app.add_directive("explorer", ExplorerDirective)
    app.connect("html-page-context", add_files)
