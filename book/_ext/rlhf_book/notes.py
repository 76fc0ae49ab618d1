"""Notes that hover beside a link: a term's definition, a reference, an equation.

Each page carries the notes of its own links, written out at build, so that they need no request and
also work from disk. The page's script (notes.js) shows them; without it a link just leads there.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any, cast

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.domains.math import MathDomain

from rlhf_book.equations import anchor
from rlhf_book.glossary import USES

Target = tuple[str, str]  # document, id


class Notes:
    """All notes of a book by their target, made when the first page is written."""

    def __init__(self) -> None:
        self.texts: dict[Target, str] | None = None
        self.equations: dict[Target, str] = {}

    def add(
        self,
        app: Sphinx,
        pagename: str,
        _templatename: str,
        context: dict[str, Any],
        doctree: nodes.document | None,
    ) -> None:
        """Append to the page's body a hidden note for each link that has one."""
        builder = app.builder
        if doctree is None or "body" not in context:
            return
        assert isinstance(builder, StandaloneHTMLBuilder)
        if self.texts is None:
            self.texts = dict(definitions(builder)) | dict(references(builder))
            self.equations = dict(equations(builder))
        known = self.texts
        if cast(MathDomain, app.env.get_domain("math")).has_equations(pagename):
            known = known | self.equations  # other pages do not load MathJax
        pages = {page for page, _ in known if page != pagename}
        uris = {page: builder.get_relative_uri(pagename, page) for page in pages}
        by_address = {f"{uris.get(page, '')}#{name}": note for (page, name), note in known.items()}
        links = (
            f"#{link['refid']}" if "refid" in link else link.get("refuri", "")
            for link in doctree.findall(nodes.reference)
        )
        used = {address: by_address[address] for address in links if address in by_address}
        if used:
            context["body"] += notes_html(used)
            app.add_js_file("notes.js", loading_method="defer")


def notes_html(notes: dict[str, str]) -> str:
    """The hidden notes of one page, by the address that its links have."""
    texts = "".join(
        f'<div class="rl-note" id="rl-note-{i}" role="tooltip" data-for="{escape(address)}" hidden>'
        f"{note}</div>"
        for i, (address, note) in enumerate(notes.items())
    )
    return f'<div class="rl-notes">{texts}</div>\n'


def definitions(builder: StandaloneHTMLBuilder) -> Iterator[tuple[Target, str]]:
    """What the glossary says of each term, by the term's place."""
    terms = builder.env.get_domain("std").get_objects()
    pages = {page for _, _, kind, page, _, _ in terms if kind == "term"}
    for page in sorted(pages):
        doctree = builder.env.get_and_resolve_doctree(page, builder)
        for item in doctree.findall(nodes.definition_list_item):
            definition = next(item.findall(nodes.definition), None)
            if definition is None:
                continue
            text = partial(builder, definition)
            for term in item.findall(nodes.term):
                yield from (((page, name), text) for name in term["ids"])


def references(builder: StandaloneHTMLBuilder) -> Iterator[tuple[Target, str]]:
    """The entries of the bibliography, by their places."""
    citations = builder.env.get_domain("cite").citations  # type: ignore[attr-defined]
    for page in sorted({citation.bibliography_key.docname for citation in citations}):
        doctree = builder.env.get_and_resolve_doctree(page, builder)
        for citation in doctree.findall(nodes.citation):
            text = "".join(
                partial(builder, child)
                for child in citation.children
                if not isinstance(child, nodes.label)
            )
            yield from (((page, name), text) for name in citation["ids"])


def equations(builder: StandaloneHTMLBuilder) -> Iterator[tuple[Target, str]]:
    """The labelled equations, by their places."""
    labelled = cast(MathDomain, builder.env.get_domain("math")).equations
    for page in sorted({page for page, _ in labelled.values()}):
        for block in builder.env.get_doctree(page).findall(nodes.math_block):
            if block.get("label"):
                bare = nodes.math_block("", block.astext(), nowrap=block.get("nowrap", False))
                bare["number"] = None
                yield (page, anchor(block["label"])), builder.render_partial(bare)["fragment"]


def partial(builder: StandaloneHTMLBuilder, node: nodes.Node) -> str:
    """HTML of a node for the inside of a note: no links, which a note's reader could not reach.

    Nor the glossary's line of pages, which is nothing but links.
    """
    copy = node.deepcopy()
    for line in [p for p in copy.findall(nodes.paragraph) if USES in p["classes"]]:
        line.parent.remove(line)
    for link in list(copy.findall(nodes.reference)):
        link.replace_self(nodes.inline("", "", *link.children))
    for child in copy.findall(nodes.Element):
        child["ids"] = []
    inner = copy.children if isinstance(copy, nodes.definition) else [copy]
    return "".join(builder.render_partial(part)["fragment"] for part in inner)


def register(app: Sphinx) -> None:
    """Add the notes after every other extension has written the body."""
    app.connect("html-page-context", Notes().add, priority=800)
