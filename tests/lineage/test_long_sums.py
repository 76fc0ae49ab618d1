"""Word problems: what is told is what is computed, and what each checker lets through."""

from __future__ import annotations

import re

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.lineage import long_sums
from rlhf_lab.lineage.long_sums import LongSum, answer_is_right, answer_is_somewhere, derivation

FOX = LongSum("the fox has 3 nuts. it finds 9. it eats 2.\nhow many nuts has it now?\n", 3, (9, -2))
COMES, GOES = ("finds", "buys", "gives it"), ("loses", "sells", "eats", "gives ")


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_story_tells_its_numbers(split):
    """The numbers are read back from the words, by their verbs."""
    for problem in long_sums.long_sums(split, 40, seed=3):
        story, question = problem.text.strip().split("\n")
        first, *events = story.removesuffix(".").split(". ")
        assert re.search(r"how many (\w+) has it now\?", question)[1] in first
        total = int(re.search(r"\d+", first)[0])
        for event in events:
            assert any(verb in event for verb in COMES + GOES)
            comes = any(verb in event for verb in COMES)
            total += int(re.search(r"\d+", event)[0]) * (1 if comes else -1)
            assert 0 <= total <= long_sums.LARGEST
        assert total == problem.answer


def test_no_chain_of_numbers_is_in_two_splits():
    chains = {
        split: {(p.start, *p.changes) for p in long_sums.long_sums(split, 300, seed=1)}
        for split in ("train", "valid", "test")
    }
    assert not chains["train"] & (chains["valid"] | chains["test"])
    assert not chains["valid"] & chains["test"]
    assert len(chains["test"]) == 300


def test_solutions_with_and_without_steps():
    assert FOX.solution == "3 + 9 = 12. 12 - 2 = 10. so 10."
    assert FOX.bare_answer == "so 10."
    assert FOX.totals == (3, 12, 10)
    shown = long_sums.solved("train", 400, written=0.25)
    share = sum(" = " in one.completion for one in shown) / 400
    assert 0.18 < share < 0.32  # a quarter, four standard deviations around
    assert all(one.completion.endswith(".") for one in shown)


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
        ("10 10 10", True, True, "wrong"),
    ],
)
def test_what_checkers_read(text, right, somewhere, how):
    assert answer_is_right(FOX, text) == right
    assert answer_is_somewhere(FOX, text) == somewhere
    assert derivation(FOX, text) == how


def test_a_solution_is_cut_after_its_first_steps():
    assert long_sums.first_steps(FOX.solution, 0) == ""
    assert long_sums.first_steps(FOX.solution, 1) == "3 + 9 = 12."
    assert long_sums.first_steps(FOX.solution, 9) == "3 + 9 = 12. 12 - 2 = 10."
    assert long_sums.first_steps("so 10.", 3) == ""


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: long_sums.long_sums("exam", 3), "split"),
        (lambda: long_sums.long_sums("train", 0), "count"),
        (lambda: long_sums.long_sums("train", 3, changes=(0, 1)), "changes"),
        (lambda: long_sums.solved("train", 3, written=1.5), "written"),
    ],
)
def test_what_cannot_be_told_is_refused(make, argument):
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.argument == argument
