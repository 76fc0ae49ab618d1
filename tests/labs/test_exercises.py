"""Every exercise: its solution passes, its stub fails, wrong answers fail at the check for them."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import itertools
import math
import re
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize

pytest.importorskip("jupytext", reason="needs the extra [labs]")

from unusual_answers import UNUSUAL

from rlhf_lab import checks
from rlhf_lab.labs import editions
from rlhf_lab.labs.masters import Exercise, Master, nbgrader, read_master
from rlhf_lab.lineage.sandbox import run
from rlhf_lab.lineage.scaling_laws import log_huber
from rlhf_lab.lineage.votes import majority
from rlhf_lab.objectives import gae, pass_at_k
from rlhf_lab.paradigms.crf import DEFAULT_TEMPLATES
from rlhf_lab.scaling import ParametricFit
from wrong_answers import WRONG, Wrong

ROOT = Path(__file__).parents[2]
MASTERS = [read_master(path) for path in sorted((ROOT / "labs/source").glob("*.md"))]
EXERCISES = {nbgrader(e.solution)["grade_id"]: (m, e) for m in MASTERS for e in m.exercises}
TRAINED = pd.DataFrame(
    [
        {"beta": b, "gamma": g, "kl": 1.0, "rm_score": 0.1, "loss": 0.9, "error": ""}
        for b, g in ((0.02, 0.0), (0.3, 0.0), (0.02, 1.0), (0.3, 1.0), (0.1, 0.5))
    ]
)


USUAL = {"learning_rate": 5e-4, "demonstrations": 160}
LOOKS = pd.DataFrame({"epoch": [1, 2, 4], "loss": [0.7, 0.8, 0.9]})


def names(master: Master) -> dict[str, Any]:
    """What the cells before an exercise have defined, as far as its tests ask for it."""
    tables: dict[str, Any] = {"measured": TRAINED[:4], "own": TRAINED[4:]}
    if master.name == "sft":
        tables = {"looks": LOOKS, "own": LOOKS.assign(**USUAL | {"learning_rate": 1e-4})}
    if master.name == "finetune_gpt":
        own = {"way": ["lora"], "rate": [5e-3], "web_loss": [1.0], "drift": [0.1]}
        tables = {"usual": {"way": "all", "rate": 5e-3}, "own": pd.DataFrame(own)}
    return {
        "math": math,
        "torch": torch,
        "pd": pd,
        "checks": importlib.import_module(f"rlhf_lab.checks.{master.name}"),
        "published": ROOT / "book/results/quickstart",
        "usual": USUAL,
        **tables,
        "DEFAULT_TEMPLATES": DEFAULT_TEMPLATES,
        "np": np,
        "minimize": minimize,
        "log_huber": log_huber,
        "ParametricFit": ParametricFit,
        "pass_at_k": pass_at_k,
        "majority": majority,
        "combinations": itertools.combinations,
        "run": run,
    }


def first_failure(
    solution: str, exercise: Exercise, master: Master
) -> tuple[str, Exception | None]:
    """The check that fails first, and its error; an empty name when all pass."""
    known = names(master)
    with contextlib.suppress(NotImplementedError):
        exec(compile(solution, "solution", "exec"), known)
    for statement in ast.parse(exercise.test.source).body:
        code = ast.unparse(statement)
        try:
            exec(compile(code, "test", "exec"), known)
        except (AssertionError, NameError) as error:
            found = re.match(r"checks\.(\w+)\(", code)
            assert found, code
            return found[1], error
    return "", None


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes(name: str) -> None:
    master, exercise = EXERCISES[name]
    assert first_failure(exercise.solution.source, exercise, master) == ("", None)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param(n, c, id=f"{n}: {what}")
        for n, all_ in UNUSUAL.items()
        for what, c in all_.items()
    ],
)
def test_unusual_answers_pass(name: str, code: str) -> None:
    master, exercise = EXERCISES[name]
    assert first_failure(code, exercise, master) == ("", None)


def test_an_unusual_answer_is_tabled_as_numbers() -> None:
    """The two numbers of ``tilt`` may be tensors: the figure after it needs numbers."""
    master, _ = EXERCISES["tilt"]
    known = names(master) | {"scores": torch.tensor([[0.0, 1.0], [2.0, -1.0]])}
    exec(UNUSUAL["tilt"]["the KL from log Z"], known)
    (cell,) = [c.source for c in master.notebook.cells if c.source.count("theory = ")]
    for line in ast.parse(cell).body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) in (
            "betas",
            "predicted",
            "theory",
        ):
            exec(ast.unparse(line), known)
    assert len(known["theory"]) > 3 and set(map(str, known["theory"].dtypes)) == {"float64"}


@pytest.mark.parametrize("name", EXERCISES)
def test_the_stub_fails(name: str) -> None:
    master, exercise = EXERCISES[name]
    cells = editions.student(master, ROOT).cells
    (stub,) = [c.source for c in cells if nbgrader(c).get("grade_id") == name]
    failed, error = first_failure(stub, exercise, master)
    assert failed
    if stub.startswith("def "):
        assert str(error) == "this exercise is not written yet"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        pytest.param(n, wrong, id=f"{n}: {wrong.what}")
        for n, all_ in WRONG.items()
        for wrong in all_
    ],
)
def test_wrong_answers_fail_where_they_should(name: str, wrong: Wrong) -> None:
    master, exercise = EXERCISES[name]
    failed, error = first_failure(wrong.code, exercise, master)
    assert failed == wrong.check, error
    assert len(str(error)) > 40  # it tells what is wrong


def test_every_exercise_has_three_wrong_answers_and_every_check_is_called() -> None:
    assert set(WRONG) == set(EXERCISES)
    assert min(len(wrong) for wrong in WRONG.values()) >= 3
    for master in MASTERS:
        module = names(master)["checks"]
        own = {n for n, f in vars(module).items()
               if isinstance(f, types.FunctionType) and hasattr(f, "__wrapped__")}  # fmt: skip
        called = re.findall(r"checks\.(\w+)\(", "\n".join(e.test.source for e in master.exercises))
        assert sorted(called) == sorted(own)


def test_verdicts_follow_the_published_runs() -> None:
    """If the book's runs change, so does what the solution has to say."""
    master, _ = EXERCISES["verdict"]
    runs = pd.read_csv(ROOT / "book/results/quickstart/runs.csv")
    assert runs.seed.nunique() == 5  # "five long ones", says the lab
    module = names(master)["checks"]
    published = pd.read_csv(ROOT / "book/results/quickstart/differences.csv")
    published = published[published.seed == "all"].set_index(["quantity", "of", "against"])
    for claim, (low, high) in module._intervals(runs).items():
        measure, of, against, _ = module.CLAIMS[claim]
        row = published.loc[(measure, of, against)]
        assert (low, high) == pytest.approx((row.low, row.high), rel=1e-3)


def test_a_check_lets_no_warning_out(capsys: pytest.CaptureFixture[str]) -> None:
    """For nbgrader, a line on stderr is a wrong answer."""

    def noisy(x: int) -> None:
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
        print("advice", file=sys.stderr)

    checks.check(lambda answer: answer(1))(noisy)
    assert capsys.readouterr().err == ""


def test_the_package_is_no_answer() -> None:
    with pytest.raises(AssertionError, match=r"rlhf_lab\.objectives\.gae itself"):
        checks.check(lambda answer: None)(gae)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (3, "should be a tensor, and is a int"),
        (torch.zeros(3), r"should have the shape \(2,\), and has \(3,\)"),
        (torch.tensor([1.0, 7.0]), r"x\[1\] should be 2, and is 7: why"),
        (torch.tensor([1.0, torch.nan]), r"x\[1\] should be 2, and is nan"),
    ],
)
def test_differences_are_shown(found: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        checks.same(found, torch.tensor([1.0, 2.0]), "x", "why")


def test_stderr_is_given_back() -> None:
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        checks.check(lambda answer: None)(1)
        print("after", file=sys.stderr)
    assert out.getvalue() == "after\n"
