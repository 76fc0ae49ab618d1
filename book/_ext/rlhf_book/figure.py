"""Plotly outputs as figures of the page: title, drawing, alternative text, data.

myst-nb knows no plotly and would drop such an output with a warning. Here it becomes a node that
writes ``<figure class="rl-figure">``: the finding as the title, a static drawing that figure.js
replaces by the live one when it scrolls into view, the data as a table, and a file of all rows.
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import myst_nb.core.render
from docutils import nodes
from myst_nb.core.render import MimeData, NbElementRenderer
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

from rlhf_lab.figures import HEIGHT
from rlhf_lab.svg import draw

logger = logging.getLogger(__name__)

_ = get_translation("rlhf_book")

PLOTLY = "application/vnd.plotly.v1+json"
MOST_ROWS = 200  # of a table on the page; the file has all rows
SCRIPTS = ("figure-theme.js", "figure.js")


class plotly_figure(nodes.General, nodes.Element):  # noqa: N801 - docutils names nodes so
    """A plotly figure: ``figure`` (data and layout), ``title``, ``alt``, ``records``."""


class PlotlyRenderer:
    """myst-nb's protocol for one MIME type."""

    mime_priority_overrides: ClassVar = [
        (builder, PLOTLY, 1) for builder in ("html", "dirhtml", "latex")
    ]

    @staticmethod
    def handle_mime(
        renderer: NbElementRenderer, data: MimeData, inline: bool
    ) -> list[nodes.Element] | None:
        """Node of a plotly output; None for every other output."""
        if inline or data.mime_type != PLOTLY:
            return None
        title, alt, records, figure = take_apart(data.content)
        if not (title and alt and records):
            logger.warning(
                "figure without a title, alternative text or data: make it with rlhf_lab.figures",
                location=(renderer.renderer.sphinx_env.docname, data.line),
                type="rlhf",
                subtype="figure",
            )
        node = plotly_figure(figure=figure, title=title, alt=alt, records=records)
        return [node]


def take_apart(content: dict[str, Any]) -> tuple[str, str, list[dict[str, Any]], dict[str, Any]]:
    """Split plotly's JSON into title, alternative text, data and what is left to draw.

    The template (7 kB, and light only) goes: the page's script puts the reader's theme in.
    """
    layout = dict(content.get("layout", {}))
    layout.pop("template", None)
    title = layout.pop("title", {}).get("text", "").replace("<br>", " ")
    meta = layout.pop("meta", {})
    figure = {"data": content["data"], "layout": layout}
    return title, meta.get("alt", ""), meta.get("data", []), figure


def embedded_json(value: object) -> str:
    """JSON that may stand inside ``<script>``: no ``<`` that could end it or start a comment."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def csv_text(records: list[dict[str, Any]]) -> str:
    """All rows with full precision; the columns of all records in order of appearance."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=columns(records), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def columns(records: list[dict[str, Any]]) -> list[str]:
    """Names of the columns that any record has, in order of appearance."""
    return list(dict.fromkeys(name for record in records for name in record))


def shown(value: object) -> str:
    """A cell of the table on the page: numbers to four significant digits."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table_html(records: list[dict[str, Any]]) -> str:
    """The data as a table, thinned evenly where it is long."""
    step = math.ceil(len(records) / MOST_ROWS)
    names = columns(records)
    numeric = {n for n in names if all(isinstance(r.get(n), int | float | None) for r in records)}
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
    kind = {name: ' class="rl-number"' if name in numeric else "" for name in names}
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind[n]}>{html.escape(shown(record.get(n)))}</td>" for n in names)
        + "</tr>"
        for record in records[::step]
    )
    thinned = _("Every {step}th of {count} rows; the file has all.")
    note = (
        f"<p>{html.escape(thinned.format(step=step, count=len(records)))}</p>" if step > 1 else ""
    )
    return (
        f'{note}<div class="rl-table" tabindex="0" role="region" '
        f'aria-label="{html.escape(_("Data of the figure"))}">'
        f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def download_html(translator: HTML5Translator, records: list[dict[str, Any]]) -> str:
    """Write the file of the data beside the page's assets: the link to it."""
    builder = translator.builder
    text = csv_text(records)
    name = f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.csv"
    folder = Path(builder.outdir) / "_static" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    up = "../" * builder.get_target_uri(builder.current_docname).count("/")
    link = html.escape(_("Download as CSV"))
    return f'<p><a href="{up}_static/figures/{name}" download>{link}</a></p>'


def write_html(translator: HTML5Translator, node: plotly_figure) -> None:
    """Write the figure, its data as a table, and their file."""
    height = node["figure"]["layout"].get("height", HEIGHT)
    translator.body.append(
        f'<figure class="rl-figure"><figcaption>{html.escape(node["title"])}</figcaption>'
        f'<div class="rl-plot" role="img" aria-label="{html.escape(node["alt"])}" '
        f'style="--rl-height:{int(height)}px">{draw(node["figure"])}'
        f'<script type="application/json">{embedded_json(node["figure"])}</script></div>'
        f"<details><summary>{html.escape(_('Show data'))}</summary>{table_html(node['records'])}"
        f"{download_html(translator, node['records'])}</details></figure>\n"
    )
    raise nodes.SkipNode


def write_text(translator: nodes.NodeVisitor, node: nodes.Element) -> None:
    """Other formats get title and alternative text; for paper, latex.py has a drawing."""
    paragraph = nodes.paragraph("", f"[{node['title']} {node['alt']}]")
    paragraph.walkabout(translator)
    raise nodes.SkipNode


def add_scripts(
    app: Sphinx,
    _pagename: str,
    _templatename: str,
    _context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Load the figure script on pages that have figures."""
    if doctree is not None and any(doctree.findall(plotly_figure)):
        for name in SCRIPTS:
            app.add_js_file(name, loading_method="defer")


def add_drawing(app: Sphinx, node: type[nodes.Element], write: Callable[..., None]) -> None:
    """Add a node with ``title`` and ``alt`` that ``write`` puts into HTML, and others as text."""
    others: dict[str, Any] = dict.fromkeys(("text", "man", "texinfo"), (write_text, None))
    app.add_node(node, html=(write, None), **others)


def register(app: Sphinx) -> None:
    """Tell Sphinx and myst-nb about plotly figures."""
    add_drawing(app, plotly_figure, write_html)
    app.connect("html-page-context", add_scripts)
    # myst-nb finds renderers by entry points of installed packages only. An entry point of rlhf-lab
    # would act in every other book of the same environment, so ours joins the list here.
    installed = [
        plugin for plugin in myst_nb.core.render.load_mime_renders() if plugin is not PlotlyRenderer
    ]
    myst_nb.core.render.load_mime_renders = lambda: [*installed, PlotlyRenderer]
