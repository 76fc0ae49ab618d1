"""GSM8K's format: read, checked and scored, on lines of our own and on the real file."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.lineage import gsm8k, long_sums

OURS = (
    "A hen lays 3 eggs a day. How many dozen are that in 40 days?",
    "She lays 3*40=<<3*40=120>>120 eggs.\nThat is 120/12=<<120/12=10>>10 dozen.\n#### 10",
)


def line(question: str, answer: str) -> str:
    return json.dumps({"question": question, "answer": answer})


def test_a_problem_is_read_and_scored():
    (problem,) = gsm8k.read_problems("\n" + line(*OURS) + "\n\n")
    assert gsm8k.final_answer(problem.answer) == 10
    found = gsm8k.calculations(problem.answer)
    assert [(one.text, one.holds) for one in found] == [("3*40=120", True), ("120/12=10", True)]
    assert gsm8k.is_right(problem, "no idea\n#### 10.0")
    assert not gsm8k.is_right(problem, "it is 10")  # not behind ####
    assert gsm8k.is_right(problem, "#### 9\nno:\n#### 10")  # the last one counts
    assert gsm8k.score([problem, problem], ["#### 10", "#### 11"]) == 0.5


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("#### 70,000", Fraction(70_000)),
        ("#### $1,250.5", Fraction(2501, 2)),
        ("#### -3", Fraction(-3)),
        ("#### .5", Fraction(1, 2)),
        ("####12", Fraction(12)),
        ("#### none", None),
        ("12", None),
    ],
)
def test_the_number_behind_the_signs(text, wanted):
    assert gsm8k.final_answer(text) == wanted


@pytest.mark.parametrize(
    ("inner", "holds"),
    [
        ("48/2=24", True),
        ("(2+3)*4=20", True),
        ("2+3*4=20", False),
        ("-3+5=2", True),
        ("1/3*100=33.33", True),  # to the digits that are written
        ("1/3*100=33.34", False),
        ("1/3*100=33", False),
        (".5*60=30", True),
        ("05+1=6", True),
        ("0.1+0.2=0.3", True),  # in floating-point numbers it is not
        ("2**9=512", None),
        ("9//2=4", None),
        ("1/0=1", None),
        ("x+1=2", None),
        ("3+=4", None),
        ("__import__('os')=1", None),
        ("5", None),
        ("(" * 100 + "1" + ")" * 100 + "=1", None),
    ],
)
def test_calculations(inner, holds):
    assert gsm8k.calculations(f"so <<{inner}>>1") == [gsm8k.Calculation(inner, holds)]


def test_problems_of_fernwick_in_the_format():
    for problem in long_sums.long_sums("test", 12):
        ours = gsm8k.as_gsm8k(problem)
        (read,) = gsm8k.read_problems(line(ours.question, ours.answer))
        assert gsm8k.final_answer(read.answer) == problem.answer
        found = gsm8k.calculations(read.answer)
        assert len(found) == len(problem.changes) and all(one.holds for one in found)


@pytest.mark.parametrize(
    "broken", ["{", "[]", '{"question": "q"}', '{"question": 1, "answer": ""}']
)
def test_a_line_that_is_none_is_named(broken):
    with pytest.raises(InputError, match="line 2"):
        gsm8k.read_problems(line(*OURS) + "\n" + broken)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(InputError, match="split"):
        gsm8k.gsm8k("valid")
    with pytest.raises(InputError, match="answer"):
        gsm8k.is_right(gsm8k.Problem("q", "no number"), "#### 1")
    with pytest.raises(InputError, match="problems"):
        gsm8k.score([], [])


@pytest.mark.skipif(
    not (Path(os.environ.get("RLHF_LAB_DATA") or "nowhere") / "gsm8k").is_dir(),
    reason="RLHF_LAB_DATA does not name a folder that holds gsm8k",
)
def test_the_real_test_split():
    problems = gsm8k.gsm8k("test")
    assert len(problems) == 1319
    assert gsm8k.score(problems, [problem.answer for problem in problems]) == 1.0
    assert gsm8k.final_answer(problems[2].answer) == 70_000
    found = [one.holds for problem in problems for one in gsm8k.calculations(problem.answer)]
    assert found.count(True) == 4281 and found.count(False) == 0 and found.count(None) == 1
