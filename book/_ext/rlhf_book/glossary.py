"""What a glossary gains from the rest of the book: the pages that use a term, and its languages.

While pages are read, the terms that each of them links to are written down. Below a definition
then stand links to those pages, in the book's order. A term in Chinese characters is marked as
Chinese, so that it is spoken and drawn as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.environment import BuildEnvironment
from sphinx.locale import get_translation
from sphinx.transforms.post_transforms import SphinxPostTransform

_ = get_translation("rlhf_book")

USES = "rl-uses"  # class of the line of links
_HAN = re.compile(r"[\u4e00-\u9fff]")


def uses(env: BuildEnvironment) -> dict[str, set[str]]:
    """The terms that each document links to, in small letters."""
    if not hasattr(env, "rlhf_terms"):
        env.rlhf_terms = {}  # type: ignore[attr-defined]
    return cast(dict[str, set[str]], env.rlhf_terms)  # type: ignore[attr-defined]


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Write down the terms of a document that was read."""
    links = doctree.findall(addnodes.pending_xref)
    terms = {link["reftarget"].lower() for link in links if link["reftype"] == "term"}
    uses(app.env)[app.env.docname] = terms


def forget(_app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Drop a document that is to be read again, or is gone."""
    uses(env).pop(page, None)


def merge(_app: Sphinx, env: BuildEnvironment, pages: Iterable[str], other: Any) -> None:
    """Take over what another process has read."""
    uses(env).update({page: uses(other)[page] for page in pages if page in uses(other)})


def pages(env: BuildEnvironment) -> list[str]:
    """Every page with a glossary."""
    return sorted({page for _, _, kind, page, _, _ in env.get_domain("std").get_objects()
                   if kind == "term"})  # fmt: skip


class GlossaryEntries(SphinxPostTransform):
    """Adds the links and the language to the entries of a page's glossaries."""

    default_priority = 5
    formats = ("html",)

    def run(self, **_kwargs: Any) -> None:
        """Complete each entry."""
        for glossary in self.document.findall(addnodes.glossary):
            for item in glossary.findall(nodes.definition_list_item):
                terms = list(item.findall(nodes.term))
                for term in terms:
                    if _HAN.search(term.astext()):
                        term["classes"].append("language-zh-Hans")
                links = self.links({term.astext().lower() for term in terms})
                definition = item.next_node(nodes.definition)
                if links and definition is not None:
                    definition += links

    def links(self, names: set[str]) -> nodes.paragraph | None:
        """A line of the pages that link to one of the names, in the book's order."""
        here, found = self.env.docname, uses(self.env)
        order = [page for page in self.env.collect_relations() if page in found]
        pages = [p for p in order if found[p] & names and p not in (here, self.config.root_doc)]
        if not pages:
            return None
        builder = cast(StandaloneHTMLBuilder, self.app.builder)
        line = nodes.paragraph("", f"{_('Used in')} ", classes=[USES])
        for i, page in enumerate(pages):
            title = re.split("[:：]", self.env.titles[page].astext())[0]
            uri = builder.get_relative_uri(here, page)
            line += [nodes.Text(", ")] if i else []
            line += nodes.reference("", title, internal=True, refuri=uri)
        return line


def register(app: Sphinx) -> None:
    """Connect the collection and the additions."""
    app.connect("doctree-read", collect)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.add_post_transform(GlossaryEntries)
