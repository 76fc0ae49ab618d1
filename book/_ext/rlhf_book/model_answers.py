"""The directive ``{model-answers}``: models that answer in the page.

    ```{model-answers} ../results/quickstart/models/models.json
    ```

It names what :func:`rlhf_lab.widgets.model_answers.publish` wrote, from the page's folder. Where no
script runs, the published answers stand as a table. The weights become files of the site, which a
reader fetches by pressing a button.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from rlhf_book import explorer
from rlhf_book.figure import add_drawing, download_html, embedded_json
from rlhf_lab.errors import InputError
from rlhf_lab.widgets import files, model_answers

STYLES = "model-answers.css"


class answering_models(explorer.explorer):  # noqa: N801 - docutils names nodes so
    """Models: ``path`` of what is published, ``given`` to the script, ``title``, ``alt``."""


class ModelAnswersDirective(SphinxDirective):
    """One argument: the published file."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """The node; an unknown language, or a published folder that is not sound, is an error."""
        relative, absolute = self.env.relfn2path(self.arguments[0])
        language = self.env.config.language
        self.env.note_dependency(relative)
        self.env.note_dependency(str(files.STATIC / "labels" / f"{language}.json"))
        try:
            labels = files.labels(model_answers.NAME, language)
            data = model_answers.data(absolute)
        except InputError as error:
            raise self.error(str(error)) from error
        given = {"data": data, "labels": labels, "language": files.language_tag(language)}
        texts = {"title": labels["title"], "alt": labels["alt"]}
        return [answering_models(path=absolute, given=given, **texts)]


def answers_html(labels: Mapping[str, str], data: Mapping[str, Any]) -> str:
    """The published answers as a table: a row for each prompt, a column for each model."""
    names = [model["name"] for model in data["models"]]
    titles = [labels["prompt"], *(model["title"] for model in data["models"])]
    head = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in titles)
    rows = ""
    for example in data["examples"]:
        cells = "".join(f"<td>{html.escape(example['answers'][name])}</td>" for name in names)
        rows += f'<tr><th scope="row">{html.escape(example["prompt"].strip())}</th>{cells}</tr>'
    return (
        f'<div class="rl-table rl-published" tabindex="0" role="region" '
        f'aria-label="{html.escape(labels["alt"])}">'
        f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def records(labels: Mapping[str, str], data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of that table, for its file."""
    return [
        {labels["prompt"]: example["prompt"].strip()}
        | {model["title"]: example["answers"][model["name"]] for model in data["models"]}
        for example in data["examples"]
    ]


def write_html(translator: HTML5Translator, node: answering_models) -> None:
    """Write the figure, and the models as files of the site."""
    model_answers.write_site(node["path"], Path(translator.builder.outdir) / "_static")
    labels, data = node["given"]["labels"], node["given"]["data"]
    note = html.escape(labels["still"])
    translator.body.append(
        f'<figure class="rl-figure"><figcaption>{html.escape(node["title"])}</figcaption>'
        f'<rlhf-explorer class="rl-explorer" component="{model_answers.NAME}">'
        f"{answers_html(labels, data)}{download_html(translator, records(labels, data))}"
        f'<noscript><p class="rl-missed">{note}</p></noscript>'
        f'<p class="rl-unseen" hidden>{note}</p>'
        f'<script type="application/json">{embedded_json(node["given"])}</script>'
        "</rlhf-explorer></figure>\n"
    )
    raise nodes.SkipNode


def add_styles(
    app: Sphinx,
    _pagename: str,
    _templatename: str,
    _context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Load the styles on pages that have models; the scripts come as for every explorer."""
    if doctree is not None and any(doctree.findall(answering_models)):
        app.add_css_file(f"{explorer.FOLDER}/{STYLES}")


def register(app: Sphinx) -> None:
    """Tell Sphinx about the directive."""
    add_drawing(app, answering_models, write_html)
    app.add_directive(model_answers.NAME, ModelAnswersDirective)
    app.connect("html-page-context", add_styles)
