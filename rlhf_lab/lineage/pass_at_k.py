"""pass@k: is one of k programs right? Two estimates from n samples, and what each is worth.

Source: Chen et al. 2021 (arXiv 2107.03374), §2.1 and figure 13. The unbiased estimate itself is
:func:`rlhf_lab.objectives.pass_at_k`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rlhf_lab.errors import InputError
from rlhf_lab.objectives import pass_at_k

Estimate = Callable[[int, int, int], float]
"""(n samples, c of them right, k) -> the chance that k samples hold a right one."""


def naive_pass_at_k(n: int, c: int, k: int) -> float:
    """1 - (1 - c/n)^k: the share that is right in place of the chance (``eq-naive-pass-at-k``).

    Too low on average, since what is right in one sample of many is often right in none of few.

    Args:
        n: samples drawn; c: samples that are right, 0 to n; k: samples tried, 1 or more.

    Raises:
        InputError: for counts that cannot be.
    """
    if n < 1:
        raise InputError("n", n, "1 or more", "draw a sample")
    if not 0 <= c <= n:
        raise InputError("c", c, f"0 to n = {n}", "count the right samples among the n")
    if k < 1:
        raise InputError("k", k, "1 or more", "try at least one sample")
    return -math.expm1(k * math.log1p(-c / n)) if c < n else 1.0


def expected(estimate: Estimate, n: int, k: int, p: float) -> float:
    """What an estimate is on average over samples, exactly (``eq-expected-estimate``).

    Args:
        estimate: :func:`rlhf_lab.objectives.pass_at_k` or :func:`naive_pass_at_k`.
        n: samples drawn; k: samples tried; p: the chance that one is right, 0 to 1.

    Raises:
        InputError: for a chance outside 0 to 1.
    """
    if not 0 <= p <= 1:
        raise InputError("p", p, "0 to 1", "pass a probability")
    return math.fsum(
        math.comb(n, c) * p**c * (1 - p) ** (n - c) * estimate(n, c, k) for c in range(n + 1)
    )


def mean_pass_at_k(n: int, right: Sequence[int], k: int) -> float:
    """pass@k of a benchmark: the mean over its problems.

    Args:
        n: samples drawn for each problem; right: how many of them are right, by problem.
        k: samples tried, 1 to n.

    Raises:
        InputError: without problems, or for counts that cannot be.
    """
    if not len(right):
        raise InputError("right", list(right), "a count for each problem", "score some problems")
    return math.fsum(pass_at_k(n, c, k) for c in right) / len(right)
