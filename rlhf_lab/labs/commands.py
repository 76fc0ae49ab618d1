"""``rlhf-lab labs``: notebooks for students, keys for instructors, marks for a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rlhf_lab.labs.grading import Mark

app = typer.Typer(help="Notebooks of the labs, and the grading of what students hand in.")

Root = Annotated[Path, typer.Option(help="Folder of the project, with labs/source.")]
HandIns = Annotated[Path, typer.Argument(help="Folder with <student>/<lab>.ipynb.")]
Program = Annotated[Path, typer.Option("--nbgrader", help="The program nbgrader.")]
PROGRAM = Path(".venv-instructor/bin/nbgrader")


@app.command("build")
def build(root: Root = Path()) -> None:
    """Make the students' notebooks, labs/*.ipynb, from their sources."""
    from rlhf_lab.labs.editions import write_students

    for path in write_students(root):
        typer.echo(path)


@app.command("key")
def key(
    output: Annotated[Path, typer.Option(help="Folder.")] = Path("_build/instructor/key"),
    root: Root = Path(),
) -> None:
    """Make the answer keys: solutions, hidden tests and notes for instructors."""
    from rlhf_lab.labs.rehearsal import write_keys

    for path in write_keys(root, output):
        typer.echo(path)


@app.command("check")
def check(handins: HandIns, root: Root = Path()) -> None:
    """Name the hand-ins that cannot be graded, and why; nothing is executed."""
    from rlhf_lab.labs.editions import student
    from rlhf_lab.labs.handins import read_class
    from rlhf_lab.labs.masters import read_masters

    found = read_class(handins, {m.name: student(m, root) for m in read_masters(root)})
    for handin in found:
        typer.echo(f"{handin.student}  {handin.lab}  {'; '.join(handin.problems) or 'ok'}")
    if any(handin.problems for handin in found):
        raise typer.Exit(1)


@app.command("grade")
def grade(
    handins: HandIns,
    output: Annotated[Path, typer.Option(help="Folder of nbgrader's course and of the marks.")],
    program: Program = PROGRAM,
    full: Annotated[bool, typer.Option("--full", help="Train as long as students did.")] = False,
    root: Root = Path(),
) -> None:
    """Grade a class into marks.csv. Runs what was handed in, with your rights."""
    from rlhf_lab.labs.grading import Course

    _show(Course(root, output, program, fast=not full).grade(handins), output)


@app.command("rehearse")
def rehearse(
    output: Annotated[Path, typer.Option(help="Folder.")] = Path("_build/instructor"),
    program: Program = PROGRAM,
    root: Root = Path(),
) -> None:
    """Try it all on a made-up class: release, answer key, and marks that are known."""
    from rlhf_lab.labs.rehearsal import rehearse as run

    _show(run(root, output, program), output / "course")


def _show(marks: Sequence[Mark], folder: Path) -> None:
    for mark in marks:
        score = "–" if mark.score is None else f"{mark.score:g} of {mark.max_score:g}"
        typer.echo(f"{mark.student}  {mark.lab}  {mark.status}  {score}  {mark.problem}".rstrip())
    typer.echo(folder / "marks.csv")
