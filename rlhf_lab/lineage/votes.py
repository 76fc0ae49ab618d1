"""What several answers to one problem are worth: the majority's, exactly and without bias.

Self-consistency (Wang et al. 2022, arXiv 2203.11171): draw k solutions, read their answers, give
the most frequent one. Beside it stand pass@k (:func:`rlhf_lab.objectives.pass_at_k`), for whoever
can check, and :func:`rlhf_lab.over_optimisation.best_of_n_mean`, for whoever has a score.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from fractions import Fraction

from rlhf_lab.errors import InputError


def majority(answers: Sequence[Hashable | None], right: Hashable) -> float:
    """The chance that the most frequent answer is right, ties broken at random.

    Args:
        answers: one for each sample, None where a sample has none: it does not vote.
        right: the right answer.

    Returns:
        1 / m when the right answer is among m most frequent ones, else 0.
    """
    votes = Counter(answer for answer in answers if answer is not None)
    most = max(votes.values(), default=0)
    return 1 / list(votes.values()).count(most) if most and votes[right] == most else 0.0


def majority_at_k(answers: Sequence[Hashable | None], right: Hashable, k: int) -> float:
    """:func:`majority` of k of n answers, averaged over all sets of k (``eq-majority-at-k``).

    Unbiased, since each set of k is k independent samples, as pass@k is. Counted, not enumerated:
    for each number of right votes, the ways in which no other answer gets more of the remaining
    ones, by how many draw level.

    Args:
        answers: n answers, None for none; right: the right one; k: 1 to n.

    Raises:
        InputError: for a k that cannot be.
    """
    if not 1 <= k <= len(answers):
        raise InputError(
            "k", k, f"1 to n = {len(answers)}", "draw more samples, or vote with fewer"
        )
    votes = Counter(answer for answer in answers if answer is not None)
    own = votes.pop(right, 0)
    silent = len(answers) - own - votes.total()
    found = Fraction(0)
    for most in range(1, min(own, k) + 1):
        ways = {(0, 0): 1}  # (votes of others, others that are level) -> ways to draw them
        for count in votes.values():
            grown: dict[tuple[int, int], int] = {}
            for (drawn, level), number in ways.items():
                for more in range(min(count, most, k - most - drawn) + 1):
                    key = drawn + more, level + (more == most)
                    grown[key] = grown.get(key, 0) + number * math.comb(count, more)
            ways = grown
        for (drawn, level), number in ways.items():
            rest = math.comb(silent, k - most - drawn)
            found += Fraction(math.comb(own, most) * number * rest, 1 + level)
    return float(found / math.comb(len(answers), k))
