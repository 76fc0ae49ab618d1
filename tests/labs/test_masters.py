"""Sources of the labs, the notebooks made from them, and what students must not get."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jupytext
import nbformat
import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.labs import editions
from rlhf_lab.labs.masters import (
    BEGIN_SOLUTION,
    END_SOLUTION,
    Master,
    nbgrader,
    problems,
    read_master,
    read_masters,
    result_files,
)

ROOT = Path(__file__).parents[2]
MASTERS = {master.name: master for master in read_masters(ROOT)}

SMALL = (ROOT / "tests/book/fixture/labs/source/small.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MASTERS)
def test_students_notebooks_are_those_of_their_sources(name: str) -> None:
    made = editions.as_text(editions.student(MASTERS[name], ROOT))
    path = ROOT / "labs" / f"{name}.ipynb"
    assert path.is_file() and path.read_text(encoding="utf-8") == made, "run: make labs"


def test_no_notebook_is_left_over() -> None:
    assert {path.stem for path in (ROOT / "labs").glob("*.ipynb")} == set(MASTERS)


@pytest.mark.parametrize("name", MASTERS)
def test_students_get_no_solution(name: str) -> None:
    master = MASTERS[name]
    text = editions.as_text(editions.student(master, ROOT))
    secret = []
    for exercise in master.exercises:
        for cell, begin, end in (
            (exercise.solution, "### BEGIN SOLUTION", "### END SOLUTION"),
            (exercise.test, "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"),
        ):
            region = cell.source.split(begin)[1].split(end)[0]
            secret += [line.strip() for line in region.split("\n") if len(line.strip()) > 14]
    given = "\n".join(
        cell.source for cell in editions.student(master, ROOT).cells
    )  # what may stand in an exercise's text as well
    assert len(secret) >= 4 * len(master.exercises)
    left = [line for line in secret if json.dumps(line, ensure_ascii=False)[1:-1] in text]
    assert not [line for line in left if line in given], left
    assert "BEGIN" not in text and "For instructors" not in text
    key = editions.as_text(editions.answer_key(master, ROOT))
    assert "For instructors" in key and "BEGIN SOLUTION" not in key
    assert all(json.dumps(line, ensure_ascii=False)[1:-1] in key for line in secret)


@pytest.mark.parametrize("name", MASTERS)
def test_students_notebooks_can_be_opened_anywhere(name: str) -> None:
    notebook = nbformat.read(ROOT / "labs" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert "rlhf-lab" in notebook.cells[1].source and "%pip install" in notebook.cells[1].source
    assert all(not c.get("outputs") for c in notebook.cells)
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", MASTERS)
def test_exercises_say_what_a_learner_wants_to_know(name: str) -> None:
    exercises = MASTERS[name].exercises
    assert len(exercises) >= 3
    assert sum(e.minutes for e in exercises) <= MASTERS[name].minutes
    for exercise in exercises:
        assert exercise.points > 0 and len(exercise.why) > 20


@pytest.mark.parametrize("name", MASTERS)
def test_cells_fit_a_page(name: str) -> None:
    for cell in MASTERS[name].notebook.cells:
        lines = cell.source.split("\n")
        if cell.cell_type == "code":
            assert len(lines) <= 20, lines[0]
            assert max(map(len, lines)) <= 84, max(lines, key=len)


def test_same_bytes_every_time(project: Path) -> None:
    first = {path.name: path.read_bytes() for path in editions.write_students(project)}
    (project / "labs/gone.ipynb").write_text("{}")
    assert {p.name: p.read_bytes() for p in editions.write_students(project)} == first
    assert not (project / "labs/gone.ipynb").exists()


def test_published_results_travel_with_the_notebook(project: Path) -> None:
    master = MASTERS["beta_gamma"]
    found = result_files(project, master)
    assert "book/results/sweep/runs.csv" in found
    cells = editions.student(master, project).cells
    assert cells[2].metadata.jupyter.source_hidden
    assert '"../book/results/sweep/runs.csv"' in cells[2].source


def test_the_address_of_the_repository_is_one_setting(tmp_path: Path) -> None:
    (tmp_path / "labs/source").mkdir(parents=True)
    (tmp_path / "labs/source/small.md").write_text(SMALL)
    settings = (ROOT / "_config.yml").read_text(encoding="utf-8")
    (tmp_path / "_config.yml").write_text(
        settings.replace('  url: ""', "  url: https://github.com/an/address")
    )
    (master,) = read_masters(tmp_path)
    install = editions.student(master, tmp_path).cells[1].source
    assert "rlhf-lab @ git+https://github.com/an/address@v" in install


# --- what is refused ------------------------------------------------------------------------------


def small(tmp_path: Path, text: str = SMALL) -> Master:
    path = tmp_path / "small.md"
    path.write_text(text, encoding="utf-8")
    return read_master(path)


def test_a_small_master(tmp_path: Path) -> None:
    master = small(tmp_path)
    (exercise,) = master.exercises
    assert (master.title, master.minutes) == ("A small lab", 10)
    assert (exercise.title, exercise.minutes, exercise.level, exercise.points) == (
        "twice", 5, "hard", 2,
    )  # fmt: skip
    assert exercise.why == "it is the least one can ask."
    stub = copy.deepcopy(exercise.solution.source)
    assert BEGIN_SOLUTION in stub and END_SOLUTION in stub


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("# A small lab", "A small lab", "heading"),
        ("grade_id: twice", "grade_id: test-twice", "two cells are called 'test-twice'"),
        ("    ### END SOLUTION\n", "", "needs ### BEGIN SOLUTION and ### END SOLUTION"),
        ("### BEGIN HIDDEN TESTS\n", "", "needs ### BEGIN HIDDEN TESTS"),
        ("solution: true, task: false", "solution: true", "lacks task"),
        ("points: 2", "points: 0", "worth no points"),
        ("grade_id: test-twice, locked: true", "grade_id: test-twice, locked: false", "not locked"),
        ("hard; it", "trivial; it", "'trivial', not easy, medium, hard"),
        ("<details><summary>Hint</summary>", "", "one hint"),
        ("## Exercise 1", "## Exercise 2", "exercises"),
        ("solution: true", "solution: false", "is not the solution that belongs here"),
        ("nbgrader: {grade: true", "x: {grade: true", "metadata has its markers"),
        ("minutes: 10, ", "", "lab.minutes"),
    ],
)
def test_what_is_wrong_with_a_master_is_named(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    assert SMALL.count(old) == 1
    with pytest.raises(InputError, match=problem):
        small(tmp_path, SMALL.replace(old, new))


def test_markers_of_nbgrader_are_understood(tmp_path: Path) -> None:
    cells = editions.student(small(tmp_path), ROOT).cells
    (solution,) = [c for c in cells if nbgrader(c).get("solution")]
    assert solution.source == (
        "def twice(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    )
    assert not [*problems(jupytext.reads(SMALL, fmt="md:myst"))]
