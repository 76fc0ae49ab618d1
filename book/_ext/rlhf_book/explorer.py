"""The directive ``{explorer}``: a drawing of :mod:`rlhf_lab.widgets` on a page.

    ```{explorer} ppo-clip
    ```

    ```{explorer} ranking
    :data: ../results/ranking.json
    ```

    ```{explorer} beta-gamma
    :data: ../results/sweep
    ```

    ```{explorer} lineage
    :data: ../data/models.yaml
    ```

A drawing of published results names their file, or the folder of a sweep, from the page's folder.
Each becomes a figure with a still drawing and its data, which the drawing's script replaces when it
comes near. What the script needs is in the page, but for sweeps: their data are a file of their
own, fetched with the modules, and their tables and manifest lie beside it for who wants to look.

The drawings of the model facts have a list or a table in place of a still drawing: it says all that
they say, and is what is printed.

The notebook of a page has the same drawing as a widget, and brings the files that it reads.
"""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from rlhf_book.figure import add_drawing, download_html, embedded_json, table_html, take_apart
from rlhf_lab.errors import InputError
from rlhf_lab.svg import draw
from rlhf_lab.widgets import (
    beta_gamma,
    chooser,
    files,
    lineage,
    model_facts,
    over_optimisation,
    ppo_clip,
    ranking,
    sweep_data,
    token_inspector,
)

FOLDER = "components"  # below _static
RESULTS = "results"  # below _static
# Drawn from the folder of a sweep.
SWEEPS = {module.NAME: module for module in (beta_gamma,)}
# Drawn from a file.
PUBLISHED = {module.NAME: module for module in (over_optimisation, ranking, token_inspector)}
FACTS = {module.NAME: module for module in (lineage, chooser)}  # drawn from the model facts
DRAWINGS = {ppo_clip.NAME: ppo_clip} | SWEEPS | PUBLISHED | FACTS
IN_PAGE = ("state",)  # of a drawing's data; the rest of them is the sweep
# Classes of rlhf_lab.widgets.live: it is not imported here, for a build needs no widgets.
WIDGETS = {
    ppo_clip.NAME: "PPOClipExplorer",
    beta_gamma.NAME: "BetaGammaExplorer",
    over_optimisation.NAME: "OverOptimisationExplorer",
    ranking.NAME: "RankingWidget",
    token_inspector.NAME: "TokenInspector",
    lineage.NAME: "LineageTimeline",
    chooser.NAME: "ModelChooser",
}


class explorer(nodes.General, nodes.Element):  # noqa: N801 - docutils names nodes so
    """A drawing: ``name``, ``given`` (what its script gets), ``title``, ``alt``, ``still``.

    ``sweep`` is the folder of the sweep that it shows, or empty; ``plain`` is the HTML that stands
    in its place instead of a still drawing, or empty. ``records`` are the rows of its table.
    ``cell`` is the code that draws it in a notebook, ``files`` what that code reads, from the
    folder of the sources.
    """


class ExplorerDirective(SphinxDirective):
    """One argument: the drawing's name."""

    required_arguments = 1
    option_spec: ClassVar = {"data": directives.path}

    def run(self) -> list[nodes.Node]:
        """The drawing's node; an unknown drawing, language or file of data is an error."""
        name, path = self.arguments[0], self.options.get("data")
        language = self.env.config.language
        try:
            labels = files.labels(name, language)
            data = self.data(name)
        except InputError as error:
            raise self.error(str(error)) from error
        self.env.note_dependency(str(files.STATIC / "labels" / f"{language}.json"))
        given = {
            "data": data,
            "labels": labels,
            "language": files.language_tag(language),
        }
        node = explorer(name=name, given=given, title=labels["title"], alt=labels["alt"])
        node["sweep"] = node["plain"] = ""
        node["cell"] = widget_code(name, path, language)
        node["files"] = [] if path is None else files_of(name, self.env.relfn2path(path)[0])
        if name == lineage.NAME:
            node["plain"] = entries_html(labels, data)
            return [node]
        if name == chooser.NAME:
            facts = model_facts.read_model_facts(self.env.relfn2path(self.options["data"])[1])
            node["records"] = chooser.records(facts, self.env.config.language)
            node["plain"] = table_html(node["records"])
            return [node]
        still = DRAWINGS[name].still(labels, data).to_plotly_json()
        node["title"], node["alt"], node["records"], node["still"] = take_apart(still)
        if name in SWEEPS:
            node["sweep"] = self.env.relfn2path(self.options["data"])[1]
        return [node]

    def data(self, name: str) -> Mapping[str, Any]:
        """What the drawing shows; the page is built anew when its file changes."""
        path = self.options.get("data")
        of_file = name in PUBLISHED or name in FACTS
        wanted = "a file" if of_file else "a folder" if name in SWEEPS else None
        if (path is not None) != (wanted is not None):
            allowed = wanted or "no file"
            raise InputError(f":data: of {name}", path, allowed, "correct the directive")
        if path is None:
            return DRAWINGS[name].data()
        relative, absolute = self.env.relfn2path(path)
        for file in files_of(name, relative):
            self.env.note_dependency(file)
        if name in SWEEPS:
            return SWEEPS[name].data(sweep_data.read_sweep(absolute))
        if name in FACTS:
            facts = model_facts.read_model_facts(absolute)
            return FACTS[name].data(facts, language=self.env.config.language)
        drawing = PUBLISHED[name]
        return drawing.data(files.read_published(absolute, drawing.FORMAT))


def files_of(name: str, path: str) -> list[str]:
    """Files that a drawing is made from, where ``path`` names its file or folder."""
    return [f"{path}/{table}" for table in sweep_data.TABLES] if name in SWEEPS else [path]


def widget_code(name: str, path: str | None, language: str) -> str:
    """Code of a notebook that draws the same data as a widget.

    Args:
        name: of the drawing.
        path: of its data, from the page's folder; None where it has none.
        language: of its labels.
    """
    lines = [f"from rlhf_lab.widgets.live import {WIDGETS[name]}"]
    given = [] if path is None else [json.dumps(path)]
    if name in PUBLISHED:
        module = PUBLISHED[name].__name__.rpartition(".")[2]
        lines = [
            "from rlhf_lab.widgets.files import read_published",
            *lines,
            f"from rlhf_lab.widgets.{module} import FORMAT",
        ]
        given = [f"read_published({given[0]}, FORMAT)"]
    if language != "en":
        given.append(f"language={json.dumps(language)}")
    return "\n".join([*sorted(lines), "", f"{WIDGETS[name]}({', '.join(given)})"])


def write_html(translator: HTML5Translator, node: explorer) -> None:
    """Write the figure. Scripts off: a sentence says what is missed, and so from a disk."""
    given = node["given"]
    labels = given["labels"]
    note = html.escape(labels["still"])
    source = ""
    if node["sweep"]:
        given, address = publish_sweep(translator, given, Path(node["sweep"]))
        source = f' src="{html.escape(address)}"'
    download = download_html(translator, node["records"]) if "records" in node else ""
    if node["plain"]:
        picture = f'<div class="rl-plain">{node["plain"]}{download}</div>'
        table = ""
    else:
        picture = (
            f'<div class="rl-still" role="img" aria-label="{html.escape(node["alt"])}">'
            f"{draw(node['still'])}</div>"
        )
        table = (
            f"<details><summary>{html.escape(labels['show_data'])}</summary>"
            f"{table_html(node['records'])}{download}</details>"
        )
    translator.body.append(
        f'<figure class="rl-figure"><figcaption>{html.escape(node["title"])}</figcaption>'
        f'<rlhf-explorer class="rl-explorer" component="{html.escape(node["name"])}"{source}>'
        f'{picture}<noscript><p class="rl-missed">{note}</p></noscript>'
        f'<p class="rl-unseen" hidden>{note}</p>{table}'
        f'<script type="application/json">{embedded_json(given)}</script>'
        "</rlhf-explorer></figure>\n"
    )
    raise nodes.SkipNode


def entries_html(labels: Mapping[str, str], data: Mapping[str, Any]) -> str:
    """The lineage as a list: each entry with its facts, its sentences and its lines of descent."""
    names = {entry["id"]: entry["name"] for entry in data["entries"]}

    def word(kind: str, name: str) -> str:
        return html.escape(labels[f"{kind}_{name}"])

    def cited(ground: Mapping[str, str]) -> str:
        source = data["sources"][ground["source"]]
        name = html.escape(source["text"])
        if source["url"]:
            name = f'<a href="{html.escape(source["url"])}" rel="noopener">{name}</a>'
        more = [ground["at"], labels["not_seen"] if ground["tag"] == "K" else ""]
        place = "".join(f", {html.escape(text)}" for text in more if text)
        return f'<span class="rl-cite">({name}{place})</span>'

    def known(ground: Mapping[str, str], text: str) -> str:
        kind = ground["kind"]
        badge = f'<b class="rl-badge rl-badge-{kind}">{word("evidence", kind)}</b>'
        return f"<li>{badge} {text} {cited(ground)}</li>"

    items = []
    for entry in data["entries"]:
        head = [html.escape(entry["name"]), word("kind", entry["kind"])]
        head.append(", ".join(word("idea", idea) for idea in entry["ideas"]))
        facts = [
            f"{word('fact', fact['name'])}: {html.escape(fact['text'])} {cited(fact)}"
            for fact in entry["facts"]
        ]
        said = [known(said, html.escape(said["text"])) for said in entry["says"]]
        for line in entry["from"]:
            said.append(known(line, f"{word('of', line['of'])} {html.escape(names[line['id']])}"))
        items.append(
            f"<li><p><b>{head[0]}</b> · {head[1]} · {head[2]}</p>"
            f"<p>{'; '.join(facts) or html.escape(labels['undated'])}</p>"
            f"<ul>{''.join(said)}</ul></li>"
        )
    return (
        f'<ol class="rl-entries" aria-label="{html.escape(labels["rows"])}">{"".join(items)}</ol>'
    )


def publish_sweep(
    translator: HTML5Translator, given: Mapping[str, Any], folder: Path
) -> tuple[dict[str, Any], str]:
    """Write a sweep's data, tables and manifest beside the page's assets.

    Returns:
        What is left for the page, with the addresses of those files, and that of the data.
    """
    data = given["data"]
    sweep = {name: value for name, value in data.items() if name not in IN_PAGE}
    builder = translator.builder
    up = "../" * builder.get_target_uri(builder.current_docname).count("/")
    # A browser that kept the files of an older build must not mix the two.
    name = f"{folder.name}-{files.content_id(sweep)}"
    target = Path(builder.outdir) / "_static" / RESULTS / name
    target.mkdir(parents=True, exist_ok=True)
    text = json.dumps(sweep, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    (target / "sweep.json").write_text(text, encoding="utf-8")
    tables = {"runs": "runs.csv", "curves": "curves.csv", "manifest": "manifest.json"}
    for table in tables.values():
        shutil.copyfile(folder / table, target / table)
    links = {key: f"{up}_static/{RESULTS}/{name}/{table}" for key, table in tables.items()}
    own = {name: value for name, value in data.items() if name in IN_PAGE} | {"links": links}
    return {**given, "data": own}, f"{up}_static/{RESULTS}/{name}/sweep.json"


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
    add_drawing(app, explorer, write_html)
    app.add_directive("explorer", ExplorerDirective)
    app.connect("html-page-context", add_files)
