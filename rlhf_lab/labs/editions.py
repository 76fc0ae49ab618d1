"""Three notebooks of one master: the student's, the answer key, and what nbgrader releases from.

The student's has no solution, no hidden test and no output, and the same bytes every time. Its
cells are those of nbgrader's release, so that a notebook that was filled in on Colab can be graded.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode, v4

from rlhf_lab import notebooks
from rlhf_lab.files import atomic_write
from rlhf_lab.labs.masters import (
    BEGIN_HIDDEN,
    BEGIN_SOLUTION,
    END_HIDDEN,
    END_SOLUTION,
    KEY_ONLY,
    Master,
    nbgrader,
    read_masters,
    release,
    repository,
    result_files,
)

FOLDER = "labs"  # of the students' notebooks, from the root
STUB = ("# YOUR CODE HERE", "raise NotImplementedError()")  # nbgrader's
PREFACE = """\
> From the book *From Feature Templates to Aligned Models*, release {version}. Run the cells from
> the top, and write where it says `YOUR CODE HERE`, in place of both lines. The cell below each
> exercise tests what you wrote and says what is wrong with it. A CPU is enough."""


def source(master: Master, root: Path) -> NotebookNode:
    """What nbgrader makes its release from: everything but the cells for instructors."""
    return _notebook(master, root, lambda cell: None if _is_key_only(cell) else cell)


def student(master: Master, root: Path) -> NotebookNode:
    """What learners get."""

    def stripped(cell: NotebookNode) -> NotebookNode | None:
        if _is_key_only(cell):
            return None
        if nbgrader(cell).get("solution"):
            cell.source = _replaced(cell.source, BEGIN_SOLUTION, END_SOLUTION, STUB)
        elif nbgrader(cell).get("grade"):
            cell.source = _replaced(cell.source, BEGIN_HIDDEN, END_HIDDEN, ())
        return cell

    return _notebook(master, root, stripped)


def answer_key(master: Master, root: Path) -> NotebookNode:
    """What instructors read: solutions and hidden tests in their places, without the markers."""

    def solved(cell: NotebookNode) -> NotebookNode:
        lines = cell.source.split("\n")
        kept = [line for line in lines if line.strip() not in (BEGIN_SOLUTION, END_SOLUTION)]
        text = "\n".join(kept).replace(BEGIN_HIDDEN, "# hidden from students:")
        cell.source = re.sub(rf"\n?[ \t]*{re.escape(END_HIDDEN)}", "", text)
        return cell

    return _notebook(master, root, solved)


def write_students(root: Path) -> list[Path]:
    """Make ``labs/*.ipynb`` again; notebooks of labs that are gone are removed."""
    written = [
        atomic_write(root / FOLDER / f"{master.name}.ipynb", as_text(student(master, root)))
        for master in read_masters(root)
    ]
    for path in (root / FOLDER).glob("*.ipynb"):
        if path not in written:
            path.unlink()
    return written


def as_text(notebook: NotebookNode) -> str:
    """A notebook as a file."""
    return str(nbformat.writes(notebook, indent=1, sort_keys=True)) + "\n"


def _notebook(
    master: Master, root: Path, edit: Callable[[NotebookNode], NotebookNode | None]
) -> NotebookNode:
    """The cells that make it run anywhere, and then the master's, each as ``edit`` leaves it."""
    edited = [edit(copy.deepcopy(cell)) for cell in master.notebook.cells]
    cells = [*_first_cells(master, root), *(cell for cell in edited if cell is not None)]
    for number, cell in enumerate(cells):
        cell["id"] = nbgrader(cell).get("grade_id", f"cell-{number}")
    notebook = v4.new_notebook(cells=cells, metadata=notebooks.about(master.name))
    nbformat.validate(notebook)
    return notebook


def _first_cells(master: Master, root: Path) -> list[NotebookNode]:
    version = release()
    install = notebooks.install_cell(repository(root), version, master.extra)
    cells = [
        v4.new_markdown_cell(PREFACE.format(version=version)),
        v4.new_code_cell(install.rstrip("\n")),
    ]
    unpack = notebooks.unpacking(root, FOLDER, result_files(root, master), version)
    if unpack:
        cells.append(v4.new_code_cell(unpack.rstrip("\n"), metadata=notebooks.folded()))
    return cells


def _is_key_only(cell: NotebookNode) -> bool:
    return KEY_ONLY in cell.metadata.get("tags", [])


def _replaced(text: str, begin: str, end: str, stub: Sequence[str]) -> str:
    """Text with ``stub``, indented alike, in place of each region; the markers go too."""
    lines: list[str] = []
    inside = False
    for line in text.split("\n"):
        if line.strip() == begin:
            inside = True
            indent = line[: len(line) - len(line.lstrip())]
            lines += [indent + text for text in stub]
        elif line.strip() == end:
            inside = False
        elif not inside:
            lines.append(line)
    return "\n".join(lines)
