"""Two editions of the book: the instructor's has solutions, the student's never sees them.

Solutions are blanked before a page is parsed, so that nothing made from it can hold them: no page,
no search index, no notebook, no output of a solution's code. Copies of the sources are left out.
The setting is ``rlhf_edition``; the environment variable RLHF_BOOK_EDITION goes before it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError, ExtensionError
from sphinx_exercise.nodes import solution_node, solution_start_node

EDITIONS = ("instructor", "student")
_FENCE = re.compile(r"^[\s>]*(?:[-*+]\s+|\d+[.)]\s+)?(`{3,}|~{3,}|:{3,})\s*(?:\{([^}\s]+)\})?(.*)$")
# Directives whose content is no Markdown: a fence in it is text.
_LITERAL = {"code", "code-block", "code-cell", "literalinclude", "math", "raw", "sourcecode"}


@dataclass
class Eraser:
    """Blanks solutions in MyST text; line numbers stay as they were.

    One eraser sees all cells of a notebook in turn: a solution may begin in one and end in another.
    """

    gated: bool = False  # between {solution-start} and {solution-end}
    _open: list[str] = field(default_factory=list)  # fences of the directives around
    _literal: str = ""  # fence of the block of code around
    _solution: str = ""  # fence of the solution's directive around

    def erase(self, text: str) -> str:
        """The text with blank lines where solutions were."""
        return "\n".join("" if self.hides(line) else line for line in text.split("\n"))

    def hides(self, line: str) -> bool:
        """Whether a line is part of a solution."""
        found = _FENCE.match(line)
        fence, name, rest = found.groups("") if found else ("", "", "")
        ends = bool(fence) and not name and not rest.strip()
        if self._solution:
            if ends and fence.startswith(self._solution):
                self._solution = ""
            return True
        if self._literal:
            if ends and fence.startswith(self._literal):
                self._literal = ""
            return self.gated
        if name in ("solution", "solution-start", "solution-end"):
            self._solution = fence
            self.gated = name == "solution-start" or (self.gated and name == "solution")
            return True
        closed = [i for i, other in enumerate(self._open) if ends and fence.startswith(other)]
        if closed:
            del self._open[closed[-1] :]
        elif name in _LITERAL or (fence and not name and fence[0] != ":"):
            self._literal = fence
        elif name:
            self._open.append(fence)
        return self.gated


def without_solutions(source: str, *, notebook: bool) -> str:
    """A page's source with its solutions blanked.

    Args:
        source: MyST text, or the JSON of a notebook.
        notebook: which of the two.
    """
    eraser = Eraser()
    if not notebook:
        return eraser.erase(source)
    content = json.loads(source)
    cells = []
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = eraser.erase("".join(cell["source"]))
        elif eraser.gated:
            continue
        cells.append(cell)
    return json.dumps({**content, "cells": cells})


def configure(app: Sphinx, config: Config) -> None:
    """Choose the edition; the student's has no copies of the sources and no button for them."""
    edition = os.environ.get("RLHF_BOOK_EDITION", config.rlhf_edition)
    if edition not in EDITIONS:
        raise ConfigError(f"edition: got {edition!r}; allowed: {' or '.join(EDITIONS)}")
    config.rlhf_edition = edition
    if edition == "student":
        config.html_copy_source = False
        config.html_theme_options = {**config.html_theme_options, "use_download_button": False}
        app.connect("source-read", erase)
        app.connect("doctree-read", check)


def erase(app: Sphinx, page: str, source: list[str]) -> None:
    """Blank the solutions of a page that is about to be parsed."""
    notebook = str(app.env.doc2path(page)).endswith(".ipynb")
    source[0] = without_solutions(source[0], notebook=notebook)


def check(_app: Sphinx, doctree: nodes.document) -> None:
    """Refuse to go on with a solution that stands where the eraser does not find it."""
    for node in doctree.findall(lambda n: isinstance(n, solution_node | solution_start_node)):
        place = f"{doctree.get('source')}, line {node.line}"
        raise ExtensionError(
            f"a solution would be in the student edition ({place}): begin its fence on a line of "
            "its own, outside of tables and included files"
        )


def register(app: Sphinx) -> None:
    """Add the setting, and act on it before the theme reads its options."""
    app.add_config_value("rlhf_edition", "instructor", "env")
    app.connect("config-inited", configure)
