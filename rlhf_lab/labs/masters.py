"""The source of a lab: a MyST notebook with nbgrader's cell metadata, solutions and hidden tests.

Cells are text, code to run, a *solution* that the learner writes (``solution: true``), or a *test*
that is worth points (``grade: true``). Solutions stand between ``### BEGIN SOLUTION`` and ``### END
SOLUTION``, hidden tests between ``### BEGIN HIDDEN TESTS`` and ``### END HIDDEN TESTS``; cells with
the tag ``answer-key`` are for instructors alone. The header's ``lab`` says what else a lab needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from nbformat import NotebookNode

import rlhf_lab
from rlhf_lab.errors import InputError

SOURCE = "labs/source"  # from the repository's root
RESULTS = "book/results"
KEY_ONLY = "answer-key"  # tag of cells for instructors
BEGIN_SOLUTION, END_SOLUTION = "### BEGIN SOLUTION", "### END SOLUTION"
BEGIN_HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
SCHEMA = {"grade", "grade_id", "locked", "schema_version", "solution", "task"}
LEVELS = ("easy", "medium", "hard")
# The first lines of an exercise, as in the chapters: minutes, level, why it matters.
EXERCISE = re.compile(r"^## Exercise (\d+): (.+)\n+\*(\d+) minutes, (\w+); ([^*]+)\*", re.MULTILINE)


@dataclass(frozen=True)
class Exercise:
    """What a learner is asked: the solution's cell, and the cell of the test that follows it."""

    title: str
    minutes: int
    level: str
    why: str
    solution: NotebookNode
    test: NotebookNode

    @property
    def points(self) -> int:
        """What its test is worth."""
        return int(self.test.metadata.nbgrader.points)


@dataclass(frozen=True)
class Master:
    """A lab as its source has it.

    Attributes:
        name: of the file, without its ending.
        notebook: all cells, with solutions and hidden tests.
        minutes: of the whole lab.
        results: files below ``book/results`` that its cells read.
        extra: of the package that its cells need, or nothing.
    """

    name: str
    notebook: NotebookNode
    minutes: int
    results: tuple[str, ...]
    extra: str

    @property
    def title(self) -> str:
        """Its heading."""
        return str(self.notebook.cells[0].source.split("\n", 1)[0].removeprefix("# "))

    @property
    def exercises(self) -> list[Exercise]:
        """In their order."""
        cells = self.notebook.cells
        texts = "\n".join(c.source for c in cells if c.cell_type == "markdown")
        graded = [c for c in cells if nbgrader(c).get("solution") or nbgrader(c).get("grade")]
        found = EXERCISE.findall(texts)
        return [
            Exercise(title, int(minutes), level, " ".join(why.split()), solution, test)
            for (_, title, minutes, level, why), solution, test in zip(
                found, graded[::2], graded[1::2], strict=True
            )
        ]


def nbgrader(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a cell's metadata say to nbgrader; nothing for a cell of ours alone."""
    found: Mapping[str, Any] = cell["metadata"].get("nbgrader", {})
    return found


def read_masters(root: Path) -> list[Master]:
    """All labs below the root of the repository, by name.

    Raises:
        InputError: when there is none, or one is not as it has to be.
    """
    paths = sorted((root / SOURCE).glob("*.md"))
    if not paths:
        raise InputError("root", str(root), f"a folder with {SOURCE}/*.md", "run it in the project")
    return [read_master(path) for path in paths]


def read_master(path: Path) -> Master:
    """One lab.

    Raises:
        InputError: for a file that is not one, naming the cell.
    """
    try:
        import jupytext
    except ImportError:
        fix = "pip install 'rlhf-lab[labs]'"
        raise InputError(
            "labs", "no jupytext", "an installation with the extra [labs]", fix
        ) from None
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="md:myst")
    about = notebook.metadata.get("lab", {})
    for name, kind in (("minutes", int), ("results", list), ("extra", str)):
        if not isinstance(about.get(name), kind):
            fix = "write lab: {minutes: 60, results: [quickstart/runs.csv], extra: labs}"
            raise InputError(f"{path}: lab.{name}", about.get(name), f"a {kind.__name__}", fix)
    for problem in problems(notebook):
        raise InputError(str(path), problem, "a master of a lab", "see CONTRIBUTING.md, Labs")
    results = tuple(sorted(about["results"]))
    return Master(path.stem, notebook, about["minutes"], results, about["extra"])


def problems(notebook: NotebookNode) -> Iterator[str]:
    """What is wrong with a master, one sentence each."""
    cells = notebook.cells
    if not cells or not cells[0].source.startswith("# "):
        yield "the first cell is not a text with a heading"
    seen: set[str] = set()
    expected = "solution"  # solutions and tests take turns
    for cell in cells:
        about = nbgrader(cell)
        if not about:
            if BEGIN_SOLUTION in cell.source or BEGIN_HIDDEN in cell.source:
                yield f"a cell without its metadata has its markers: {cell.source[:40]!r}"
            continue
        name = about.get("grade_id", "")
        if missing := SCHEMA - about.keys():
            yield f"cell {name!r} lacks {', '.join(sorted(missing))}"
            continue
        if name in seen:
            yield f"two cells are called {name!r}"
        seen.add(name)
        kind = "test" if about["grade"] else "solution"
        if kind != expected or about["grade"] == about["solution"]:
            yield f"cell {name!r} is not the {expected} that belongs here"
        expected = "solution" if kind == "test" else "test"
        if kind == "test" and not (about["locked"] and about.get("points", 0) > 0):
            yield f"test {name!r} is not locked or is worth no points"
        begin, end = (
            (BEGIN_HIDDEN, END_HIDDEN) if kind == "test" else (BEGIN_SOLUTION, END_SOLUTION)
        )
        marks = [line.strip() for line in cell.source.split("\n") if line.strip() in (begin, end)]
        if not marks or marks != [begin, end] * (len(marks) // 2):
            yield f"cell {name!r} needs {begin} and {end}, in turn"
    if expected == "test":
        yield "the last solution has no test"
    texts = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    exercises = EXERCISE.findall(texts)
    if [int(found[0]) for found in exercises] != [*range(1, len(seen) // 2 + 1)]:
        yield f"{len(seen) // 2} solutions, but exercises {[found[0] for found in exercises]}"
    for number, _, _, level, _ in exercises:
        if level not in LEVELS:
            yield f"exercise {number} is {level!r}, not {', '.join(LEVELS)}"
    if texts.count("<summary>Hint</summary>") != len(exercises):
        yield "not every exercise has one hint"


def result_files(root: Path, master: Master) -> list[str]:
    """The published files that a lab reads and that are there, from the root.

    A folder, written with a slash at its end, stands for the files in it.
    """
    found: list[str] = []
    for name in master.results:
        place = root / RESULTS / name
        paths = [path for path in place.iterdir() if path.is_file()] if place.is_dir() else [place]
        found += [path.relative_to(root).as_posix() for path in paths if path.is_file()]
    return sorted(found)


def repository(root: Path) -> str:
    """The public address of the repository, one setting in _config.yml; nothing while empty."""
    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return str(settings["repository"]["url"] or "").rstrip("/")


def release() -> str:
    """The version that notebooks install."""
    return rlhf_lab.__version__
