"""The linear-chain lattice: scores, forward and backward sums, marginals, best path, gradient.

All functions take ``emissions`` (T, L), the score of each tag at each word, and ``transitions``
(L, L), the score of a tag (second index) after a tag (first index), in nats. They work in float64
and in logarithms, cost T × L² steps, and are checked against sums over all L^T paths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from rlhf_lab.errors import InputError

Array = NDArray[np.float64]


def _scores(emissions: ArrayLike, transitions: ArrayLike) -> tuple[Array, Array]:
    e, a = np.asarray(emissions, np.float64), np.asarray(transitions, np.float64)
    if e.ndim != 2 or len(e) < 1:
        raise InputError("emissions", e.shape, "shape (T, L) with T >= 1", "give one row per word")
    if a.shape != (e.shape[1], e.shape[1]):
        raise InputError(
            "transitions", a.shape, f"shape ({e.shape[1]}, {e.shape[1]})", "give L rows of L scores"
        )
    return e, a


def path_score(emissions: ArrayLike, transitions: ArrayLike, tags: Sequence[int]) -> float:
    """The score of one path: ``eq-crf-score``.

    Args:
        emissions: (T, L).
        transitions: (L, L), from, to.
        tags: T indices of tags.

    Raises:
        InputError: for wrong shapes, or another number of tags than T.
    """
    e, a = _scores(emissions, transitions)
    if len(tags) != len(e):
        raise InputError("tags", len(tags), f"{len(e)} tags, one per word", "give T tags")
    path = np.asarray(tags)
    return float(e[np.arange(len(e)), path].sum() + a[path[:-1], path[1:]].sum())


def forward(emissions: ArrayLike, transitions: ArrayLike) -> Array:
    """α (T, L): log-sum of the scores of all beginnings that end in a tag, ``eq-crf-forward``.

    Raises:
        InputError: for wrong shapes.
    """
    e, a = _scores(emissions, transitions)
    alpha = np.empty_like(e)
    alpha[0] = e[0]
    for t in range(1, len(e)):
        alpha[t] = e[t] + logsumexp(alpha[t - 1][:, None] + a, axis=0)
    return alpha


def backward(emissions: ArrayLike, transitions: ArrayLike) -> Array:
    """β (T, L): log-sum of the scores of all endings that follow a tag, ``eq-crf-backward``.

    Raises:
        InputError: for wrong shapes.
    """
    e, a = _scores(emissions, transitions)
    beta = np.zeros_like(e)
    for t in range(len(e) - 2, -1, -1):
        beta[t] = logsumexp(a + e[t + 1] + beta[t + 1], axis=1)
    return beta


def log_partition(emissions: ArrayLike, transitions: ArrayLike) -> float:
    """log Z: log-sum of the scores of all L^T paths, in T × L² steps.

    Raises:
        InputError: for wrong shapes.
    """
    return float(logsumexp(forward(emissions, transitions)[-1]))


def log_probability(emissions: ArrayLike, transitions: ArrayLike, tags: Sequence[int]) -> float:
    """log p(y | x) of one path: ``eq-crf``.

    Raises:
        InputError: for wrong shapes, or another number of tags than T.
    """
    return path_score(emissions, transitions, tags) - log_partition(emissions, transitions)


def marginals(emissions: ArrayLike, transitions: ArrayLike) -> Array:
    """Probability of each tag at each word, (T, L), over all paths: ``eq-crf-marginal``.

    Raises:
        InputError: for wrong shapes.
    """
    alpha, beta = forward(emissions, transitions), backward(emissions, transitions)
    return np.exp(alpha + beta - logsumexp(alpha[-1]))


def pair_marginals(emissions: ArrayLike, transitions: ArrayLike) -> Array:
    """Probability of each pair of neighbouring tags, (T - 1, L, L), over all paths.

    Raises:
        InputError: for wrong shapes.
    """
    e, a = _scores(emissions, transitions)
    alpha, beta = forward(e, a), backward(e, a)
    joined = alpha[:-1, :, None] + a + (e + beta)[1:, None, :]
    return np.exp(joined - logsumexp(alpha[-1]))


def viterbi(emissions: ArrayLike, transitions: ArrayLike) -> tuple[list[int], float]:
    """The path with the highest score and that score: ``eq-crf-viterbi``.

    Of several best paths, the one with the smallest tags, decided from the end.

    Raises:
        InputError: for wrong shapes.
    """
    e, a = _scores(emissions, transitions)
    best, came_from = e[0], []
    for t in range(1, len(e)):
        arriving = best[:, None] + a
        came_from.append(arriving.argmax(axis=0))
        best = e[t] + arriving.max(axis=0)
    path = [int(best.argmax())]
    for pointers in reversed(came_from):
        path.append(int(pointers[path[-1]]))
    return path[::-1], float(best.max())


def log_probability_gradient(
    emissions: ArrayLike, transitions: ArrayLike, tags: Sequence[int]
) -> tuple[Array, Array]:
    """How log p(y | x) grows with each score: observed minus expected, ``eq-crf-gradient``.

    Returns:
        The gradient by emissions, (T, L), and by transitions, (L, L).

    Raises:
        InputError: for wrong shapes, or another number of tags than T.
    """
    e, a = _scores(emissions, transitions)
    path_score(e, a, tags)  # checks the tags
    by_emission, by_transition = -marginals(e, a), -pair_marginals(e, a).sum(axis=0)
    path = np.asarray(tags)
    by_emission[np.arange(len(e)), path] += 1
    np.add.at(by_transition, (path[:-1], path[1:]), 1)
    return by_emission, by_transition
