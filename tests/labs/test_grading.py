"""nbgrader's side: its release is ours, and a class gets the marks that it has to get.

Needs nbgrader in an environment of its own (make instructor); RLHF_LAB_NBGRADER names another one.
"""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="needs the extra [labs]")

from rlhf_lab.errors import InputError
from rlhf_lab.labs import editions
from rlhf_lab.labs.grading import Course
from rlhf_lab.labs.masters import nbgrader, read_masters
from rlhf_lab.labs.rehearsal import solved

ROOT = Path(__file__).parents[2]
PROGRAM = Path(os.environ.get("RLHF_LAB_NBGRADER", ROOT / ".venv-instructor/bin/nbgrader"))
needs_nbgrader = pytest.mark.skipif(
    not PROGRAM.is_file(), reason="no nbgrader here: make instructor installs it"
)
HEADER = """\
---
kernelspec: {name: python3, display_name: Python 3}
lab: {minutes: 10, results: [], extra: ""}
---

# A lab
"""
EXERCISE = """
## Exercise {number}: times {number}

*5 minutes, easy; it is the least one can ask.* Write it.

<details><summary>Hint</summary>

Multiply.

</details>

```{{code-cell}}
---
nbgrader: {{grade: false, grade_id: times-{number}, locked: false, schema_version: 3,
  solution: true, task: false}}
---
def times_{number}(x):
    ### BEGIN SOLUTION
    return {number} * x
    ### END SOLUTION
```

```{{code-cell}}
---
nbgrader: {{grade: true, grade_id: test-times-{number}, locked: true, points: {number},
  schema_version: 3, solution: false, task: false}}
---
import typer  # which this package's environment has, and nbgrader's has not
assert times_{number}(1) == {number}
### BEGIN HIDDEN TESTS
assert times_{number}(-3) == -3 * {number}
### END HIDDEN TESTS
```
"""


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """A repository with a lab of two exercises that are worth 1 and 2 points."""
    root = tmp_path / "project"
    (root / "labs/source").mkdir(parents=True)
    shutil.copy(ROOT / "_config.yml", root)
    text = HEADER + "".join(EXERCISE.format(number=n) for n in (1, 2))
    (root / "labs/source/small.md").write_text(text, encoding="utf-8")
    return root


@needs_nbgrader
def test_a_class_gets_its_marks(small_project: Path, tmp_path: Path) -> None:
    """Right, half right, only visibly right, damaged, one whose cell never ends, one who left."""
    (master,) = read_masters(small_project)
    handins = tmp_path / "handins"
    right = editions.as_text(solved(master, small_project, 2))
    visibly = solved(master, small_project, 2)
    endless = solved(master, small_project, 2)
    for cell in visibly.cells:
        if nbgrader(cell).get("grade_id") == "times-2":
            cell.source = "def times_2(x):\n    return 2 * abs(x)"
    endless.cells[3].source += "\nimport time\ntime.sleep(10**6)"
    for student, text in {
        "right": right,
        "half": editions.as_text(solved(master, small_project, 1)),
        "visibly": editions.as_text(visibly),
        "damaged": right[: len(right) // 2],
        "endless": editions.as_text(endless),
    }.items():
        (handins / student).mkdir(parents=True)
        (handins / student / "small.ipynb").write_text(text, encoding="utf-8")
    (handins / "left").mkdir()
    course = Course(small_project, tmp_path / "course", PROGRAM, cell_seconds=20)
    marks = {mark.student: mark for mark in course.grade(handins)}
    assert {name: mark.score for name, mark in marks.items()} == {
        "right": 3.0, "half": 1.0, "visibly": 1.0, "damaged": None, "endless": None, "left": None,
    }  # fmt: skip
    assert "not JSON" in marks["damaged"].problem
    assert "did not end" in marks["endless"].problem
    assert marks["left"].status == "missing"
    with open(course.folder / "marks.csv", newline="", encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert rows["right"] == {
        "student": "right", "lab": "small", "status": "graded", "score": "3.0", "max_score": "3.0",
        "problem": "",
    }  # fmt: skip
    assert (rows["damaged"]["status"], rows["damaged"]["score"]) == ("not graded", "")
    with open(course.folder / "marks-by-exercise.csv", newline="", encoding="utf-8") as file:
        exercises = [row for row in csv.DictReader(file) if row["student"] == "visibly"]
    assert [(row["exercise"], row["score"]) for row in exercises] == [
        ("test-times-1", "1.0"), ("test-times-2", "0.0"),
    ]  # fmt: skip


@needs_nbgrader
def test_releases_of_the_labs_are_the_students_notebooks(project: Path, tmp_path: Path) -> None:
    assert len(Course(project, tmp_path / "course", PROGRAM).release()) >= 2


def test_a_missing_nbgrader_is_said(small_project: Path, tmp_path: Path) -> None:
    course = Course(small_project, tmp_path / "course", tmp_path / "bin" / "nbgrader")
    with pytest.raises(InputError, match="make instructor installs it"):
        course.release()
