"""A notebook of every executed page: ``notebooks/<page>.ipynb`` beside the site's pages.

The page's text as plain Markdown, its cells, and before them what makes it run anywhere: the
package at the version of the book, and the results that the page reads. An explorer of the page is
a widget here. Outputs are left out, for a reader is to make them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import nbformat
from docutils import nodes
from nbformat import NotebookNode, v4
from pybtex.plugin import find_plugin
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.util import logging

import rlhf_lab
from rlhf_book import cache, launch
from rlhf_book.explorer import explorer
from rlhf_book.markdown import Item, MarkdownWriter, NewCell, link
from rlhf_lab import notebooks
from rlhf_lab.files import atomic_write

logger = logging.getLogger(__name__)
_ = get_translation("rlhf_book")

FOLDER = "notebooks"  # below the site's root
MOST_BYTES = 8_000_000  # of results inside a notebook
HIDDEN = {"remove-cell", "remove_cell"}  # these have no place in the page's tree
FOLDED = {*HIDDEN, "remove-input", "remove_input", "hide-cell", "hide-input"}

GLUE = '''\
def glue(name, value, display=True):
    """In the book, a value that the text prints."""
    if display:
        from IPython.display import display as show

        show(value)
'''


def without_glue(code: str) -> str:
    """Code without the book's machinery: a plain function in place of myst-nb's."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # a magic, or a cell that is to fail
        return code
    lines = code.split("\n")
    for node in reversed(tree.body):
        if isinstance(node, ast.ImportFrom) and node.module == "myst_nb":
            lines[node.lineno - 1 : node.end_lineno] = ["", *GLUE.rstrip().split("\n"), ""]
    return "\n".join(lines).strip("\n")


def code_cell(source: str, tags: Sequence[str]) -> NotebookNode:
    """A cell to run: its code and tags; what the page hides is folded."""
    metadata: dict[str, Any] = {"tags": list(tags)} if tags else {}
    if FOLDED.intersection(tags):
        metadata |= notebooks.folded()
    return v4.new_code_cell(without_glue(source), metadata=metadata)


def cells_in_order(
    parts: Iterable[tuple[int, list[Item]]], code: Iterable[Mapping[str, Any]]
) -> list[NotebookNode]:
    """Cells of the twin: one of text between two of code; cells that the page hides in between.

    Args:
        parts: lines of the source, and the texts and numbers of cells that came from there.
        code: the page's code cells, hidden ones as well, as :func:`rlhf_book.cache.code_of` has
            them.
    """
    waiting = list(code)
    cells: list[NotebookNode] = []
    text: list[str] = []

    def write_text() -> None:
        if text:
            cells.append(v4.new_markdown_cell("\n\n".join(text)))
            text.clear()

    def write_code() -> None:
        write_text()
        cell = waiting.pop(0)
        cells.append(code_cell(cell["source"], cell["tags"]))

    for line, items in parts:
        while waiting and waiting[0]["line"] < line and HIDDEN.intersection(waiting[0]["tags"]):
            write_code()
        for item in items:
            if isinstance(item, str):
                text.append(item)
                continue
            if isinstance(item, NewCell):
                write_text()
                cells.append(code_cell(item.source, ()))
                continue
            while waiting and waiting[0]["number"] <= item:
                write_code()
    write_text()
    while waiting:
        write_code()
    return cells


def citations(app: Sphinx, page: str) -> dict[str, Any]:
    """Entries of the bibliography, by the link that leads to them from a page."""
    found = app.env.get_domain("cite").citations  # type: ignore[attr-defined]
    return {
        f"{app.builder.get_relative_uri(page, c.bibliography_key.docname)}#{c.citation_id}": c
        for c in found
    }


def references(doctree: nodes.document, entries: Mapping[str, Any]) -> list[str]:
    """A list of what the page cites, for a notebook has no bibliography page."""
    links = {link(node) for node in doctree.findall(nodes.reference)}
    backend = find_plugin("pybtex.backends", "markdown")()
    texts = (c.formatted_entry.text.render(backend) for at, c in entries.items() if at in links)
    return [f"- {' '.join(text.split())}" for text in texts]


def address_of(entry: Any) -> str | None:
    """Web address of what an entry of the bibliography describes, if it names one."""
    fields = entry.fields
    if "url" in fields:
        return str(fields["url"])
    if "doi" in fields:
        return f"https://doi.org/{fields['doi']}"
    if "eprint" in fields:
        return f"https://arxiv.org/abs/{fields['eprint']}"
    return None


def writer(app: Sphinx, page: str) -> MarkdownWriter:
    """A writer that knows the book's numbers, images and citations."""
    env, builder = app.env, app.builder
    numbers = env.toc_fignumbers.get(page, {})
    formats = app.config.numfig_format
    images = {PurePosixPath(copy).name: name for name, copy in builder.images.items()}
    addresses = {at: address_of(c.entry) for at, c in citations(app, page).items()}

    def numbered(anchor: str) -> str | None:
        for kind, found in numbers.items():
            if anchor in found and kind in formats:
                return str(formats[kind] % ".".join(map(str, found[anchor])))
        return None

    def equation(anchor: str) -> str | None:
        number = numbers.get("displaymath", {}).get(anchor)
        if number is None:
            return None
        parts = ".".join(map(str, number)).rsplit(".", 1)
        return str(app.config.math_numsep.join(parts))

    def image(address: str) -> Path | None:
        # By now the page names the copy that the site will have.
        name = images.get(PurePosixPath(address).name, address)
        path = Path(app.srcdir) / name
        return path if path.is_file() else None

    site = app.config.html_baseurl
    return MarkdownWriter(
        address=f"{site.rstrip('/')}/{builder.get_target_uri(page)}" if site else "",
        image=image,
        citation=addresses.get,
        numbered=numbered,
        equation=equation,
    )


def twin(app: Sphinx, page: str, doctree: nodes.document) -> NotebookNode:
    """The notebook of an executed page, valid by its format's definition."""
    book, version = Path(app.srcdir), rlhf_lab.__version__
    code = app.env.nb_metadata[page]["exec_data"]["code"]  # type: ignore[attr-defined]
    parts = [*writer(app, page).parts(doctree)]
    cited = references(doctree, citations(app, page))
    if cited:
        parts.append((0, [f"## {_('References')}", "\n".join(cited)]))

    drawings = [node for node in doctree.findall(explorer) if node.get("cell")]
    install = notebooks.install_cell(launch.repository(app), version, extras(code, bool(drawings)))
    first = [v4.new_markdown_cell(preface(app, version)), v4.new_code_cell(install)]
    names = list(dict.fromkeys([*read_by(app, page), *(f for d in drawings for f in d["files"])]))
    size = sum((book / name).stat().st_size for name in names)
    if size > MOST_BYTES:
        logger.warning(
            "the results that the page reads are too large for a notebook (%d MB)",
            size // 1_000_000,
            location=page,
            type="rlhf",
            subtype="notebook",
        )
    unpack = notebooks.unpacking(book, str(PurePosixPath(page).parent), names, version)
    if unpack:
        first.append(v4.new_code_cell(unpack, metadata=notebooks.folded()))
    cells = [*first, *cells_in_order(parts, code)]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    name = PurePosixPath(page).name
    result = v4.new_notebook(cells=cells, metadata=notebooks.about(name))
    nbformat.validate(result)
    return result


def extras(code: Iterable[Mapping[str, Any]], has_widgets: bool) -> str:
    """Extras of the package that a notebook of these cells needs, with commas."""
    needed = {
        "labs": has_widgets,
        "paradigms": any("rlhf_lab.paradigms" in cell["source"] for cell in code),
    }
    return ",".join(name for name, is_needed in needed.items() if is_needed)


def preface(app: Sphinx, version: str) -> str:
    """What a reader should know before the first cell."""
    where = _("From the book *%(title)s*, release %(version)s.") % {
        "title": app.config.html_title,
        "version": version,
    }
    how = _(
        "Run the cells from the top. A CPU is enough; a GPU trains faster: on Colab, choose "
        "*Runtime → Change runtime type → T4 GPU* before the first cell."
    )
    return f"> {where} {how}"


def read_by(app: Sphinx, page: str) -> list[str]:
    """Files of the book that the page's cells read, from the folder of the sources."""
    run = app.env.nb_metadata[page]["exec_data"]  # type: ignore[attr-defined]
    if not run.get("entry"):
        return []
    names = cache.sources(Path(run["entry"]))
    return [name for name in names if Path(app.srcdir, name).is_file()]


def is_executed(app: Sphinx, page: str) -> bool:
    """Whether the page's cells ran in this or an earlier build."""
    run = getattr(app.env, "nb_metadata", {}).get(page, {}).get("exec_data")
    return run is not None and run["succeeded"]


def write(
    app: Sphinx,
    page: str,
    _template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Write the twin of a page and put the buttons that open it into the page's header."""
    if doctree is None or app.builder.format != "html" or not is_executed(app, page):
        return
    notebook = twin(app, page, doctree)
    name = f"{FOLDER}/{page}.ipynb"
    atomic_write(Path(app.outdir) / name, nbformat.writes(notebook) + "\n")
    button = launch.button(app, name, context["pathto"](name, 1))
    context.setdefault("header_buttons", []).insert(0, button)


def register(app: Sphinx) -> None:
    """Write twins when pages are written; the theme has made its list of buttons by then."""
    app.connect("html-page-context", write, priority=900)
