"""Hand-ins that cannot be graded are named; those that can are let through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nbformat import NotebookNode

from rlhf_lab import cli
from rlhf_lab.errors import InputError
from rlhf_lab.labs import editions
from rlhf_lab.labs.handins import problems, read_class
from rlhf_lab.labs.masters import read_masters
from rlhf_lab.labs.rehearsal import DAMAGED, PARTLY, RIGHT, write_class

ROOT = Path(__file__).parents[2]
(MASTER,) = [master for master in read_masters(ROOT) if master.name == "ppo_ptx"]
RELEASE = editions.student(MASTER, ROOT)


def cell(notebook: Any, name: str) -> Any:
    return next(
        c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == name
    )


def handed_in(tmp_path: Path, change: Callable[[Any], Any] = lambda notebook: None) -> Path:
    notebook = json.loads(editions.as_text(RELEASE))
    change(notebook)
    path = tmp_path / "ppo_ptx.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def filled_in(notebook: Any) -> None:
    cell(notebook, "gae")["source"] = ["def gae(*_):\n", "    return 1\n"]
    cell(notebook, "gae")["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    notebook["cells"].insert(4, {"cell_type": "code", "metadata": {}, "source": "1 + 1",
                                 "outputs": [], "execution_count": 3})  # fmt: skip


def through_colab(notebook: Any) -> None:
    """Colab knows no ids of cells, has its own, adds metadata, and splits lines anew."""
    filled_in(notebook)
    notebook["nbformat_minor"] = 0
    notebook["metadata"]["colab"] = {"provenance": []}
    for number, found in enumerate(notebook["cells"]):
        found.pop("id", None)
        found["metadata"] |= {"id": f"x{number}", "colab": {"base_uri": "https://localhost:8080/"}}
        found["source"] = "".join(found["source"]) + "\n"


def through_an_editor(notebook: Any) -> None:
    """Trailing blanks and carriage returns come and go."""
    for found in notebook["cells"]:
        found["source"] = "".join(found["source"]).replace("\n", "  \r\n")


@pytest.mark.parametrize("change", [filled_in, through_colab, through_an_editor])
def test_what_can_be_graded(tmp_path: Path, change: Callable[[Any], None]) -> None:
    assert problems(handed_in(tmp_path, change), RELEASE) == []


def deleted(name: str) -> Callable[[Any], None]:
    return lambda notebook: notebook["cells"].remove(cell(notebook, name))


def copied(name: str) -> Callable[[Any], None]:
    return lambda notebook: notebook["cells"].append(cell(notebook, name))


def edited(notebook: Any) -> None:
    cell(notebook, "test-gae")["source"] = "pass"


def worth_more(notebook: Any) -> None:
    cell(notebook, "test-gae")["metadata"]["nbgrader"]["points"] = 100


def no_test_any_more(notebook: Any) -> None:
    cell(notebook, "test-gae")["metadata"]["nbgrader"]["grade"] = False


def of_another_lab(notebook: Any) -> None:
    cell(notebook, "gae")["metadata"]["nbgrader"]["grade_id"] = "tilt"


def as_text(notebook: Any) -> None:
    cell(notebook, "gae")["cell_type"] = "markdown"


def no_names(notebook: Any) -> None:
    for found in notebook["cells"]:
        found["metadata"].pop("nbgrader", None)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (deleted("test-gae"), "cell 'test-gae' is missing"),
        (deleted("gae"), "cell 'gae' is missing"),
        (copied("gae"), "2 cells are called 'gae': one is a copy"),
        (copied("test-gae"), "2 cells are called 'test-gae': one is a copy"),
        (edited, "the test 'test-gae' was edited"),
        (worth_more, "the metadata of cell 'test-gae' were changed"),
        (no_test_any_more, "the metadata of cell 'test-gae' were changed"),
        (of_another_lab, "cell 'tilt' is not of this lab, or of another release"),
        (as_text, "cell 'gae' was made a markdown cell"),
        (no_names, "cell 'verdict' is missing"),
        (lambda nb: nb.pop("cells"), "the file is not a notebook: it has no list of cells"),
        (lambda nb: nb.update(nbformat=3), "format 3, not 4"),
        (lambda nb: nb["cells"].append("x"), "is not a cell of a notebook"),
        (lambda nb: nb["cells"].append({"cell_type": "code"}), "is not a cell of a notebook"),
    ],
)
def test_damage_is_named(tmp_path: Path, change: Callable[[Any], None], problem: str) -> None:
    found = problems(handed_in(tmp_path, change), RELEASE)
    assert any(problem in sentence for sentence in found), found


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not JSON"),
        (b'{"cells": [', "not JSON"),
        (b"\x80PNG", "not text"),
        (b"[]", "not a notebook"),
        (b"<html>", "not JSON"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "ppo_ptx.ipynb"
    path.write_bytes(content)
    (found,) = problems(path, RELEASE)
    assert problem in found


def test_a_class(tmp_path: Path) -> None:
    """The made-up class, a student without a notebook, and a file that has another name."""
    expected = write_class(ROOT, tmp_path)
    (tmp_path / "dora").mkdir()
    (tmp_path / "dora" / "Copy of ppo_ptx.ipynb").write_bytes(
        (tmp_path / RIGHT / "ppo_ptx.ipynb").read_bytes()
    )
    releases = {m.name: editions.student(m, ROOT) for m in read_masters(ROOT)}
    found = {(h.student, h.lab): h.problems for h in read_class(tmp_path, releases)}
    for who, mark in expected.items():
        assert bool(found[who]) == (mark is None)
    assert expected[RIGHT, "ppo_ptx"] == sum(e.points for e in MASTER.exercises)
    assert 0 < expected[PARTLY, "ppo_ptx"] < expected[RIGHT, "ppo_ptx"]
    assert found[DAMAGED, "ppo_ptx"] == ("cell 'test-verdict' is missing",)
    assert found["dora", "beta_gamma"] == ("nothing was handed in",)
    assert "rename it" in found["dora", ""][0]


def test_a_folder_without_students_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one folder for each student"):
        read_class(tmp_path, {})


def test_the_command_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_class(ROOT, tmp_path)
    status = cli.run(["labs", "check", str(tmp_path), "--root", str(ROOT)])
    said = capsys.readouterr().out
    assert f"{DAMAGED}  ppo_ptx  cell 'test-verdict' is missing" in said
    assert f"{RIGHT}  ppo_ptx  ok" in said
    assert status == 1


def test_solved_notebooks_have_the_solutions(tmp_path: Path) -> None:
    write_class(ROOT, tmp_path)
    notebook: NotebookNode = json.loads((tmp_path / RIGHT / "ppo_ptx.ipynb").read_text())
    assert "torch.autograd.grad" in "".join(cell(notebook, "combined-gradient")["source"])
