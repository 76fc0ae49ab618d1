"""Whether a hand-in can be graded at all: looked at before nbgrader sees it, and without it.

nbgrader gives no points where a cell is gone or its name occurs twice, and says so in a log that
nobody reads. Here each such hand-in is named with what is wrong, and gets no mark instead of 0.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from rlhf_lab.errors import InputError
from rlhf_lab.labs.masters import nbgrader

FIXED = ("grade", "solution", "locked", "points")  # of a cell's metadata: what decides its marks


@dataclass(frozen=True)
class HandIn:
    """One file ``<student>/<lab>.ipynb`` of a class, or its absence.

    Attributes:
        lab: its name; empty for a file that belongs to no lab.
        problems: why it cannot be graded, one sentence each; none for one that can.
    """

    student: str
    lab: str
    path: Path
    problems: tuple[str, ...]


def read_class(folder: Path, releases: dict[str, NotebookNode]) -> list[HandIn]:
    """All hand-ins of a folder that has one folder for each student.

    Args:
        releases: what students were given, by the lab's name. A student who has not handed in
            one of them is listed with that; so is a file that belongs to no lab.

    Raises:
        InputError: for a folder without folders of students.
    """
    students = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not students:
        fix = "make one folder for each student, with the notebooks in it"
        raise InputError("handins", str(folder), "a folder with <student>/<lab>.ipynb", fix)
    found = []
    for student in students:
        labs = set(releases)
        for path in sorted(path for path in student.iterdir() if not path.name.startswith(".")):
            release = releases.get(path.stem) if path.suffix == ".ipynb" else None
            if release is None:
                names = ", ".join(f"{name}.ipynb" for name in releases)
                why: Sequence[str] = [f"the file {path.name!r} is none of {names}: rename it"]
            else:
                labs.discard(path.stem)
                why = problems(path, release)
            lab = "" if release is None else path.stem
            found.append(HandIn(student.name, lab, path, tuple(why)))
        found += [
            HandIn(student.name, lab, student / f"{lab}.ipynb", ("nothing was handed in",))
            for lab in sorted(labs)
        ]
    return found


def problems(path: Path, release: NotebookNode) -> list[str]:
    """Why a hand-in cannot be graded; none when it can.

    Args:
        path: of the notebook that was handed in.
        release: the notebook that the student was given.
    """
    try:
        content = json.loads(path.read_bytes())
    except UnicodeDecodeError as error:
        return [f"the file is not text ({error.reason} at byte {error.start})"]
    except json.JSONDecodeError as error:
        return [
            f"the file is not JSON ({error.msg}, line {error.lineno}): it was cut off or edited"
        ]
    wrong = _shape(content)
    return [wrong] if wrong else [*_cells(content["cells"], release.cells)]


def _shape(content: Any) -> str:
    """Why something is no notebook of version 4; nothing when it is."""
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        return "the file is not a notebook: it has no list of cells"
    if content.get("nbformat") != 4:
        return (
            f"the notebook has format {content.get('nbformat')!r}, not 4: save it again in Jupyter"
        )
    for number, cell in enumerate(content["cells"], 1):
        if (
            not isinstance(cell, dict)
            or cell.get("cell_type") not in ("code", "markdown", "raw")
            or not isinstance(cell.get("metadata"), dict)
            or not isinstance(cell["metadata"].get("nbgrader", {}), dict)
            or not isinstance(cell.get("source"), str | list)
        ):
            return f"cell {number} is not a cell of a notebook"
    return ""


def _cells(cells: list[dict[str, Any]], released: list[NotebookNode]) -> Iterator[str]:
    """What has become of the cells that nbgrader looks at."""
    given = {nbgrader(cell)["grade_id"]: cell for cell in released if nbgrader(cell)}
    mine = [(str(nbgrader(cell).get("grade_id", "")), cell) for cell in cells if nbgrader(cell)]
    counts = Counter(name for name, _ in mine)
    for name in given:
        if not counts[name]:
            yield f"cell {name!r} is missing"
    for name, count in counts.items():
        if name not in given:
            yield f"cell {name!r} is not of this lab, or of another release"
        elif count > 1:
            yield f"{count} cells are called {name!r}: one is a copy"
    for name, cell in mine:
        if name not in given or counts[name] > 1:
            continue
        if cell["cell_type"] != given[name].cell_type:
            yield f"cell {name!r} was made a {cell['cell_type']} cell"
        elif any(nbgrader(cell).get(field) != nbgrader(given[name]).get(field) for field in FIXED):
            yield f"the metadata of cell {name!r} were changed"
        elif nbgrader(given[name])["grade"] and _text(cell) != _text(given[name]):
            yield f"the test {name!r} was edited"


def _text(cell: Any) -> list[str]:
    """Lines of a cell, without what editors add or take at their ends."""
    source = cell["source"]
    text = source if isinstance(source, str) else "".join(map(str, source))
    return [line.rstrip() for line in text.strip().split("\n")]
