"""Release and grading of a class by nbgrader, which runs as a program of its own environment.

nbgrader takes the notebooks apart and keeps the marks; the cells themselves run in the environment
of this package, through a kernel named to it. A hand-in runs with the rights of who grades it:
nbgrader puts no fence around it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from rlhf_lab.errors import InputError
from rlhf_lab.files import atomic_write
from rlhf_lab.labs import editions
from rlhf_lab.labs.handins import HandIn, read_class
from rlhf_lab.labs.masters import Master, nbgrader, read_masters

SETTINGS = """\
c = get_config()  # noqa
c.CourseDirectory.course_id = "labs"
c.Execute.timeout = {seconds}
c.NbGraderAPI.timezone = "UTC"
"""
COLUMNS = ("student", "lab", "status", "score", "max_score", "problem")


@dataclass(frozen=True)
class Mark:
    """A row of the marks: ``score`` is None unless ``status`` is "graded"."""

    student: str
    lab: str
    status: str  # "graded", "not graded", or "missing"
    score: float | None
    max_score: float
    problem: str = ""


@dataclass(frozen=True)
class Course:
    """nbgrader's folder for a class.

    Attributes:
        root: of the repository, whose labs are graded.
        folder: made when missing; what was graded there before is graded anew.
        program: path of ``nbgrader``.
        fast: labs run with their smallest settings: tests of exercises ask for no more.
        cell_seconds: a cell that takes longer is stopped, and its notebook gets no mark.
    """

    root: Path
    folder: Path
    program: Path
    fast: bool = True
    cell_seconds: int = 1800

    def release(self) -> list[Master]:
        """Have nbgrader make its release of every lab, and see that students have the same.

        Raises:
            InputError: when nbgrader is not there or fails, or its cells are not the student's.
        """
        masters = read_masters(self.root)
        self._prepare()
        for master in masters:
            name = f"{master.name}/{master.name}.ipynb"
            text = editions.as_text(editions.source(master, self.root))
            atomic_write(self.folder / "source" / name, text)
            self._run("generate_assignment", master.name, "--force")
            made = nbformat.read(self.folder / "release" / name, as_version=4)
            ours = editions.student(master, self.root)
            if [c.source for c in made.cells] != [c.source for c in ours.cells]:
                fix = "correct rlhf_lab.labs.editions"
                raise InputError(master.name, "other cells", "the cells of nbgrader's release", fix)
        return masters

    def grade(self, handins: Path) -> list[Mark]:
        """Mark a class: release, look at every hand-in, have nbgrader grade what can be graded.

        Writes ``marks.csv`` (one row for each student and lab) and ``marks-by-exercise.csv``.

        Raises:
            InputError: as :meth:`release`, and for a folder without hand-ins.
        """
        masters = self.release()
        releases = {master.name: editions.student(master, self.root) for master in masters}
        most = {m.name: float(sum(e.points for e in m.exercises)) for m in masters}
        found = read_class(handins, releases)
        failed = {handin: self._autograde(handin) for handin in found if not handin.problems}
        exercises = self._exercises()
        marks = []
        for handin in found:
            why = "; ".join(handin.problems) or failed[handin]
            mine = [
                row for row in exercises
                if (row["student"], row["lab"]) == (handin.student, handin.lab)
            ]  # fmt: skip
            score = sum(row["score"] for row in mine)
            status = "not graded" if why else "graded"
            if not handin.path.exists():
                status = "missing"
            marks.append(
                Mark(
                    handin.student, handin.lab, status, None if why else score,
                    most.get(handin.lab, 0.0), why,
                )
            )  # fmt: skip
        graded = {(mark.student, mark.lab) for mark in marks if mark.status == "graded"}
        rows = [row for row in exercises if (row["student"], row["lab"]) in graded]
        _write_csv(self.folder / "marks-by-exercise.csv", rows)
        _write_csv(
            self.folder / "marks.csv", [{c: getattr(mark, c) for c in COLUMNS} for mark in marks]
        )
        return marks

    def _prepare(self) -> None:
        """An empty course, and a kernel in the environment of this package."""
        for name in ("source", "release", "submitted", "autograded"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in ("gradebook.db", "nbgrader.log"):
            (self.folder / name).unlink(missing_ok=True)
        settings = SETTINGS.format(seconds=self.cell_seconds)
        atomic_write(self.folder / "nbgrader_config.py", settings)
        kernel = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "Python 3",
            "language": "python",
        }
        path = self.folder / "jupyter" / "kernels" / "python3" / "kernel.json"
        atomic_write(path, json.dumps(kernel, indent=1) + "\n")

    def _run(self, *arguments: str) -> None:
        """One command of nbgrader.

        Raises:
            InputError: when it fails, with the file that has what it said.
        """
        program = self.program.absolute()
        environment = os.environ | {
            "JUPYTER_PATH": str((self.folder / "jupyter").resolve()),
            "JUPYTER_CONFIG_DIR": str((self.folder / "config").resolve()),
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",  # it calls alembic
        }
        if self.fast:
            environment["RLHF_LAB_FAST"] = "1"
        try:
            done = subprocess.run(
                [str(program), *arguments],
                cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
        except OSError as error:
            fix = f"make instructor installs it ({error.strerror})"
            raise InputError("nbgrader", str(program), "path of nbgrader", fix) from None
        log = self.folder / "nbgrader.log"
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"$ nbgrader {' '.join(arguments)}\n{done.stdout}{done.stderr}\n")
        if done.returncode:
            what = f"exit code {done.returncode}"
            raise InputError(f"nbgrader {arguments[0]}", what, "success", f"read {log}")

    def _autograde(self, handin: HandIn) -> str:
        """Grade one hand-in; why there is no mark, or nothing."""
        place = self.folder / "submitted" / handin.student / handin.lab
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(handin.path, place / handin.path.name)
        try:
            self._run("autograde", handin.lab, "--student", handin.student, "--force")
        except InputError as error:
            return str(error)
        graded = self.folder / "autograded" / handin.student / handin.lab
        for path in graded.iterdir():
            if path.is_dir():  # the models that it trained
                shutil.rmtree(path)
        return self._cut_off(graded / handin.path.name)

    def _cut_off(self, path: Path) -> str:
        """Why a graded notebook did not run to its end; nothing when it did."""
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                if output.get("ename") == "CellTimeoutError":
                    name = nbgrader(cell).get("grade_id", cell.source.split("\n", 1)[0])
                    return f"cell {name!r} did not end within {self.cell_seconds} seconds"
        return ""

    def _exercises(self) -> list[dict[str, Any]]:
        """Every mark in nbgrader's book: ``student``, ``lab``, ``exercise``, ``score``, ``max``."""
        book = self.folder / "gradebook.db"
        script = Path(__file__).with_name("gradebook.py")
        python = self.program.absolute().with_name("python")
        done = subprocess.run(
            [str(python), "-I", str(script), str(book)], capture_output=True, text=True, check=True
        )
        return [dict(row) for row in json.loads(done.stdout)]


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    atomic_write(path, out.getvalue())
