"""The role ``{fact}``: a date, size, context length or price from ``book/data/models.yaml``.

    GPT-4.5 left the API on {fact}`gpt-4.5-preview-2025-02-27 ended`.

The model's id, then the fact's name. So no such number is typed by hand, and a page is built anew
when the file changes; what the file does not have is an error.
"""

from __future__ import annotations

import functools
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

from rlhf_lab.errors import InputError
from rlhf_lab.widgets.files import labels
from rlhf_lab.widgets.model_facts import ModelFacts, read_model_facts, written

FILE = "book/data/models.yaml"  # from the folder of the sources


@functools.lru_cache(maxsize=2)
def read(path: Path, _changed: int) -> ModelFacts:
    return read_model_facts(path)


class FactRole(SphinxRole):
    """A fact in the words of the page's language."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The fact as text; an unknown one is an error."""
        path = Path(self.env.srcdir) / FILE
        self.env.note_dependency(FILE)
        model, _, name = self.text.partition(" ")
        try:
            fact = read(path, path.stat().st_mtime_ns if path.exists() else 0).fact(model, name)
        except InputError as error:
            message = self.inliner.reporter.error(str(error), line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        text = written(name, fact, labels("facts", self.env.config.language))
        return [nodes.inline(self.rawtext, text, classes=["rl-fact"])], []


def register(app: Sphinx) -> None:
    """Tell Sphinx about the role."""
    app.add_role("fact", FactRole())
