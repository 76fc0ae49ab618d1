"""Directives whose text comes from a data file: pieces of MyST, parsed where they stand."""

from __future__ import annotations

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective


class TextDirective(SphinxDirective):
    """What tables of sentences share."""

    def parse(self, text: str) -> list[nodes.Node]:
        """Nodes of a piece of MyST, placed at the directive for translators and warnings."""
        content = nodes.Element()
        source, line = self.get_source_info()
        self.state.nested_parse(StringList([text], source), self.content_offset, content)
        for node in content.findall(nodes.TextElement):
            node.source, node.line = source, line
        return content.children
