"""Majorities against enumeration: every set of k answers, one by one."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.lineage.votes import majority, majority_at_k


def test_ties_are_shared_and_silence_does_not_vote():
    assert majority([7, 7, 3], 7) == 1.0
    assert majority([7, 3], 7) == 0.5
    assert majority([7, 3, 5], 5) == pytest.approx(1 / 3)
    assert majority([3, 3, 7], 7) == 0.0
    assert majority([None, None, 7], 7) == 1.0  # one vote, no other
    assert majority([None], 7) == majority([], 7) == 0.0


def test_it_is_the_mean_over_all_sets():
    rng = random.Random(0)
    for _ in range(60):
        answers = [rng.choice([None, 1, 2, 3]) for _ in range(rng.randint(1, 8))]
        for k in range(1, len(answers) + 1):
            found = [majority(some, 1) for some in itertools.combinations(answers, k)]
            wanted = sum(found) / len(found)
            assert majority_at_k(answers, 1, k) == pytest.approx(wanted, abs=1e-12)


def test_it_is_unbiased():
    """Over all outcomes of four samples with chances 0.4, 0.35, 0.25 it is the vote of two."""
    chance = {1: 0.4, 2: 0.35, None: 0.25}
    truth = sum(
        chance[a] * chance[b] * majority([a, b], 1) for a, b in itertools.product(chance, repeat=2)
    )
    mean = sum(
        math.prod(chance[a] for a in drawn) * majority_at_k(drawn, 1, 2)
        for drawn in itertools.product(chance, repeat=4)
    )
    assert mean == pytest.approx(truth, abs=1e-12)


def test_a_wrong_majority_gains_by_votes():
    answers = [1] * 6 + [2] * 10
    shares = [majority_at_k(answers, 1, k) for k in (1, 3, 7, 15)]
    assert shares == sorted(shares, reverse=True) and shares[0] == pytest.approx(6 / 16)
    assert majority_at_k(answers, 1, 16) == 0.0


@pytest.mark.parametrize("k", [0, 4])
def test_a_k_that_cannot_be_is_refused(k):
    with pytest.raises(InputError, match="k: got"):
        majority_at_k([1, 2, 3], 1, k)
