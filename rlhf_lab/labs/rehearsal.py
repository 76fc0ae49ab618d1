"""A class of three that nobody taught: what instructors do, tried on hand-ins of known marks."""

from __future__ import annotations

from pathlib import Path

from nbformat import NotebookNode

from rlhf_lab.errors import InputError
from rlhf_lab.files import atomic_write
from rlhf_lab.labs import editions
from rlhf_lab.labs.grading import Course, Mark
from rlhf_lab.labs.masters import Master, nbgrader, read_masters

RIGHT, PARTLY, DAMAGED = "ada", "ben", "cleo"


def solved(master: Master, root: Path, count: int) -> NotebookNode:
    """The student's notebook with the first ``count`` exercises solved."""
    notebook = editions.student(master, root)
    answers = {nbgrader(e.solution)["grade_id"]: e.solution for e in master.exercises[:count]}
    for cell in notebook.cells:
        answer = answers.get(nbgrader(cell).get("grade_id", ""))
        if answer is not None:
            cell.source = answer.source
    return notebook


def write_class(root: Path, folder: Path) -> dict[tuple[str, str], float | None]:
    """Hand-ins of every lab: all right, the first half right, and one without its last test.

    Returns:
        The marks that they have to get, by student and lab; None for what cannot be graded.
    """
    expected: dict[tuple[str, str], float | None] = {}
    for master in read_masters(root):
        points = [exercise.points for exercise in master.exercises]
        half = len(points) // 2
        damaged = solved(master, root, len(points))
        last = nbgrader(master.exercises[-1].test)["grade_id"]
        damaged.cells = [c for c in damaged.cells if nbgrader(c).get("grade_id") != last]
        for student, notebook, mark in (
            (RIGHT, solved(master, root, len(points)), float(sum(points))),
            (PARTLY, solved(master, root, half), float(sum(points[:half]))),
            (DAMAGED, damaged, None),
        ):
            path = folder / student / f"{master.name}.ipynb"
            atomic_write(path, editions.as_text(notebook))
            expected[student, master.name] = mark
    return expected


def rehearse(root: Path, folder: Path, program: Path) -> list[Mark]:
    """Release, answer key and the grading of the class, all below ``folder``.

    Raises:
        InputError: when a mark is not what it has to be.
    """
    write_keys(root, folder / "key")
    expected = write_class(root, folder / "handins")
    marks = Course(root, folder / "course", program).grade(folder / "handins")
    for mark in marks:
        wanted = expected[mark.student, mark.lab]
        if mark.score != wanted:
            what = f"{mark.student}, {mark.lab}: {mark.score} ({mark.problem or mark.status})"
            raise InputError("marks", what, str(wanted), "read the autograded notebook")
    return marks


def write_keys(root: Path, folder: Path) -> list[Path]:
    """The answer key of every lab."""
    return [
        atomic_write(
            folder / f"{master.name}.ipynb", editions.as_text(editions.answer_key(master, root))
        )
        for master in read_masters(root)
    ]
