"""Tests of the lab *Paid by the answer*: what is wanted stands here or is counted here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlhf_lab.checks import called, check, near, same

Advantages = Callable[[Tensor, int], Tensor]
Accept = Callable[[str, int], bool]
Vote = Callable[[Sequence[int | None], int], float]
Curve = Callable[[Sequence[int | None], int, int], float]


# --- advantages(rewards, size) -> (B,) ------------------------------------------------------------


@check
def each_group_by_itself(advantages: Advantages) -> None:
    """Two groups of four; one right answer in the first, three in the second."""
    rewards = torch.tensor([1.0, 0, 0, 0, 1, 1, 0, 1])
    high, low = 0.75 / (0.5 + 1e-4), -0.25 / (0.5 + 1e-4)  # the deviation is 0.5 in both
    wanted = torch.tensor([high, low, low, low, -low, -low, -high, -low])
    hint = (
        "an answer is compared with the four answers to the same problem, not with all eight; "
        "their deviation divides by G - 1"
    )
    same(called(advantages, rewards, 4), wanted, "advantages", hint)


@check
def equal_rewards_teach_nothing(advantages: Advantages) -> None:
    """All wrong, all right."""
    found = called(advantages, torch.tensor([0.0, 0, 0, 1, 1, 1]), 3)
    hint = "0 / 0 is not a number: the small constant below the fraction is there for such groups"
    same(found, torch.zeros(6), "advantages", hint)


@check
def they_add_up_to_zero(advantages: Advantages) -> None:
    """Rewards that are not 0 and 1, against plain Python."""
    rows = [[0.3, 2.0, -1.0, 0.5, 0.5], [4.0, 4.0, 4.5, 3.0, 9.0]]
    wanted = []
    for row in rows:
        mean = sum(row) / 5
        deviation = math.sqrt(sum((r - mean) ** 2 for r in row) / 4)
        wanted += [(r - mean) / (deviation + 1e-4) for r in row]
    found = called(advantages, torch.tensor(rows).flatten(), 5)
    same(found, torch.tensor(wanted), "advantages", "subtract the group's mean, then divide", 1e-5)


# --- accept(text, answer) -> bool -----------------------------------------------------------------


def _verdict(accept: Accept, text: str, answer: int, wanted: bool, hint: str) -> None:
    try:
        found = called(accept, text, answer)
    except (ValueError, IndexError, AttributeError, TypeError, OverflowError) as error:
        raise AssertionError(
            f"accept({text!r}, {answer}) raises {type(error).__name__} ({error}): a model may "
            "write anything, and training must go on"
        ) from None
    assert isinstance(found, bool), (
        f"accept({text!r}, {answer}) should return True or False, and returned {found!r}"
    )
    assert found == wanted, f"accept({text!r}, {answer}) should be {wanted}: {hint}"


@check
def a_right_answer_is_accepted(accept: Accept) -> None:
    """With steps, without, with wrong steps: only the answer is read."""
    for text in ("3 + 9 = 12. 12 - 2 = 10. so 10.", "so 10.", "3 + 9 = 11. so 10."):
        _verdict(accept, text, 10, True, 'it ends in the sentence "so 10."')


@check
def another_number_is_not(accept: Accept) -> None:
    """Wrong at the end; right only in the middle; the digits of another number."""
    hint = "what counts is the number of the last sentence, the whole of it"
    for text in ("so 11.", "3 + 7 = 10. so 12.", "so 110.", "so 100.", "so 1."):
        _verdict(accept, text, 10, False, hint)


@check
def one_answer_is_given(accept: Accept) -> None:
    """Whoever names several has not answered."""
    hint = 'a policy that may say "so" twice will say it twenty times'
    for text in ("so 3. so 10.", "so 10. so 3.", "so 1. 2 + 8 = 10. so 10."):
        _verdict(accept, text, 10, False, hint)


@check
def nothing_breaks_it(accept: Accept) -> None:
    """Texts that a checker's author did not think of."""
    hint = 'only "so", a space, digits and a full stop are an answer, and nothing stands behind it'
    texts = ("", "so", "so .", "so ².", "so ten.", "so 10", "10.", "so -10.", "so 10. and more.")
    for text in texts:
        _verdict(accept, text, 10, False, hint)


# --- vote(answers, right) -> float ----------------------------------------------------------------


@check
def the_most_frequent_wins(vote: Vote) -> None:
    """Clear majorities, for and against."""
    near(called(vote, [4, 7, 7, 2], 7), 1.0, "vote([4, 7, 7, 2], 7)", "7 has two votes of four")
    near(called(vote, [4, 4, 4, 7, 7], 7), 0.0, "vote([4, 4, 4, 7, 7], 7)", "4 has more votes")


@check
def ties_are_shared(vote: Vote) -> None:
    """Two and three that are level."""
    hint = "of m answers that are level one is drawn: the right one with probability 1/m"
    near(called(vote, [4, 7, 7, 4], 7), 0.5, "vote([4, 7, 7, 4], 7)", hint)
    near(called(vote, [7, 4, 2], 7), 1 / 3, "vote([7, 4, 2], 7)", hint)
    near(called(vote, [4, 4, 2, 2, 7], 7), 0.0, "vote([4, 4, 2, 2, 7], 7)", "7 is not among them")


@check
def silence_does_not_vote(vote: Vote) -> None:
    """None is no answer, and not a rival."""
    hint = "None stands for a sample without an answer; it is not counted"
    near(called(vote, [None, None, None, 7], 7), 1.0, "vote([None, None, None, 7], 7)", hint)
    near(called(vote, [None, None], 7), 0.0, "vote([None, None], 7)", "nobody has voted")


# --- curve(answers, right, k) -> float ------------------------------------------------------------

_VOTES: list[int | None] = [7, 4, 7, None, 4, 2, 7, 4]


def _by_hand(k: int) -> float:
    found = []
    for some in itertools.combinations(_VOTES, k):
        votes = [answer for answer in some if answer is not None]
        counts = {answer: votes.count(answer) for answer in votes}
        best = [a for a, count in counts.items() if count == max(counts.values())]
        found.append((7 in best) / max(len(best), 1))
    return sum(found) / len(found)


@check
def one_vote_is_one_answer(curve: Curve) -> None:
    """k = 1: the share that is right."""
    near(called(curve, _VOTES, 7, 1), 3 / 8, "curve(answers, 7, 1)", "3 of 8 answers are right")


@check
def all_sets_count(curve: Curve) -> None:
    """Against all sets, for every k."""
    for k in range(2, 9):
        hint = (
            "the mean over all sets of k different samples. A set in which one sample stands twice "
            "is none, and the first k are one set of many"
        )
        near(called(curve, _VOTES, 7, k), _by_hand(k), f"curve(answers, 7, {k})", hint)


@check
def order_does_not_matter(curve: Curve) -> None:
    """The same samples the other way round."""
    for k in (3, 5):
        wanted = _by_hand(k)
        found = called(curve, _VOTES[::-1], 7, k)
        near(found, wanted, f"curve of the reversed answers, k = {k}", "samples have no order")
