"""The directive ``{lab}``: what a lab asks for, and where it is opened.

    ```{lab} ppo_ptx
    ```

The students' notebooks, ``labs/*.ipynb``, are put beside the site's pages as they are. While the
book has no public address a page offers them as downloads; later it opens them in Colab, too.
"""

from __future__ import annotations

import posixpath
import shutil
from collections.abc import Sequence
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.util.docutils import SphinxDirective

from rlhf_book import launch
from rlhf_lab.errors import InputError
from rlhf_lab.labs.editions import FOLDER
from rlhf_lab.labs.masters import SOURCE, Exercise, read_master

_ = get_translation("rlhf_book")


class LabDirective(SphinxDirective):
    """One argument: the lab's name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Its links and the table of its exercises; an unknown or damaged lab is an error."""
        name = self.arguments[0]
        root = Path(self.env.srcdir)
        source, notebook = root / SOURCE / f"{name}.md", root / FOLDER / f"{name}.ipynb"
        if not source.is_file() or not notebook.is_file():
            raise self.error(f"lab: got {name!r}; allowed: a lab of {SOURCE}; fix: make labs")
        self.env.note_dependency(str(source))
        try:
            master = read_master(source)
        except InputError as error:
            raise self.error(str(error)) from error
        links = nodes.paragraph(classes=["rl-lab-links"])
        app = self.env.app
        address = f"{FOLDER}/{name}.ipynb"
        colab = launch.colab_address(launch.repository(app), app.config.rlhf_site_branch, address)
        if colab:
            links += nodes.reference("", _("Open in Colab"), refuri=colab, internal=False)
            links += nodes.Text(" · ")
        below = posixpath.relpath(address, posixpath.dirname(self.env.docname))
        links += nodes.reference("", _("Download the notebook"), refuri=below, internal=False)
        links += nodes.Text(" · " + _("%(minutes)d minutes") % {"minutes": master.minutes})
        return [links, table(master.exercises)]


def table(exercises: Sequence[Exercise]) -> nodes.table:
    """A row for each exercise: title, minutes, level."""
    heads = (_("exercise"), _("minutes"), _("level"))
    levels = {"easy": _("easy"), "medium": _("medium"), "hard": _("hard")}
    group = nodes.tgroup("", cols=len(heads))
    for width in (64, 18, 18):
        group += nodes.colspec(colwidth=width)
    group += nodes.thead("", row(heads))
    body = nodes.tbody()
    for exercise in exercises:
        level = levels[exercise.level]
        body += row((exercise.title, str(exercise.minutes), level))
    group += body
    return nodes.table("", group)


def row(texts: Sequence[str]) -> nodes.row:
    """A row of plain texts."""
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", text)) for text in texts))


def copy_notebooks(app: Sphinx, exception: Exception | None) -> None:
    """Put the students' notebooks beside the pages of an HTML build that went through."""
    if exception is not None or app.builder.format != "html":
        return
    for path in sorted(Path(app.srcdir, FOLDER).glob("*.ipynb")):
        place = Path(app.outdir, FOLDER)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place / path.name)


def register(app: Sphinx) -> None:
    """Add the directive, and copy the notebooks at the end."""
    app.add_directive("lab", LabDirective)
    app.connect("build-finished", copy_notebooks)
