"""Sums of several numbers: what is asked is computed, and what each checker lets through."""

from __future__ import annotations

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.lineage import long_sums
from rlhf_lab.lineage.long_sums import LongSum, answer_is_right, answer_is_somewhere, derivation

ONE = LongSum(3, (9, -2))


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_text_asks_for_its_answer(split):
    """Read back from the words, with every total within twenty."""
    for problem in long_sums.long_sums(split, 40, seed=3):
        first, *rest = problem.text.removesuffix(".\n").split(" ")
        total = int(first)
        for sign, number in zip(rest[::2], rest[1::2], strict=True):
            total += {"+": 1, "-": -1}[sign] * int(number)
            assert 0 <= total <= long_sums.LARGEST
        assert total == problem.answer
        assert len(rest) == 2 * long_sums.CHANGES


def test_no_problem_is_in_two_splits():
    asked = {
        split: {problem.text for problem in long_sums.long_sums(split, 300, seed=1)}
        for split in ("train", "valid", "test")
    }
    assert not asked["train"] & (asked["valid"] | asked["test"])
    assert not asked["valid"] & asked["test"]
    assert len(asked["test"]) == 300


def test_solutions_with_and_without_steps():
    assert ONE.text == "3 + 9 - 2.\n"
    assert ONE.solution == "3 + 9 = 12. 12 - 2 = 10. so 10."
    assert ONE.bare_answer == "so 10."
    assert ONE.totals == (3, 12, 10)
    shown = long_sums.solved("train", 400, written=0.25)
    share = sum(" = " in one.completion for one in shown) / 400
    assert 0.16 < share < 0.34  # a quarter, four standard deviations around


@pytest.mark.parametrize(
    ("text", "right", "somewhere", "how"),
    [
        ("3 + 9 = 12. 12 - 2 = 10. so 10.", True, True, "right"),
        ("so 10.", True, True, "none"),
        ("3 + 9 = 11. 11 - 2 = 10. so 10.", True, True, "wrong"),  # two errors that cancel
        ("3 + 9 = 12. so 10.", True, True, "wrong"),  # a step is left out
        ("3 + 9 = 12. 12 - 2 = 10. so 11.", False, True, "right"),
        ("so 1. so 10. so 2.", False, True, "none"),
        ("so 4.", False, False, "none"),
        ("", False, False, "none"),
        ("so ².", False, False, "none"),
        ("10 10 10", True, True, "wrong"),
    ],
)
def test_what_checkers_read(text, right, somewhere, how):
    assert answer_is_right(ONE, text) == right
    assert answer_is_somewhere(ONE, text) == somewhere
    assert derivation(ONE, text) == how


def test_a_solution_is_cut_after_its_first_steps():
    assert long_sums.first_steps(ONE.solution, 0) == ""
    assert long_sums.first_steps(ONE.solution, 1) == "3 + 9 = 12."
    assert long_sums.first_steps(ONE.solution, 9) == "3 + 9 = 12. 12 - 2 = 10."
    assert long_sums.first_steps("so 10.", 3) == ""


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: long_sums.long_sums("exam", 3), "split"),
        (lambda: long_sums.long_sums("train", 0), "count"),
        (lambda: long_sums.long_sums("train", 3, changes=0), "changes"),
        (lambda: long_sums.solved("train", 3, written=1.5), "written"),
    ],
)
def test_what_cannot_be_asked_is_refused(make, argument):
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.argument == argument
