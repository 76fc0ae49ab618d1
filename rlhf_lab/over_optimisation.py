"""How far to follow a reward model: best-of-n without training, and the forms of Gao et al.

A *proxy* is what is maximised, *gold* what was meant; d = √KL is how far from the first policy one
has gone, KL in nats per response. Everything is NumPy and knows no model. Left out: the laws by
which the constants of the forms grow with the size of a reward model, which are other models'.

Source: Gao, Schulman and Hilton (2023, "Scaling laws for reward model overoptimization").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rlhf_lab.errors import InputError

BEST_OF_N, RL = "bon", "rl"
FORMS = (BEST_OF_N, RL)
Numbers = Sequence[float] | np.ndarray


def best_of_n_kl(n: int) -> float:
    """KL of the best of n answers from one answer, log n − (n − 1)/n nats (label ``eq-bon-kl``).

    Exact where no two answers can score alike, as with a continuous score of answers of which none
    ever comes twice; an upper bound else, see :func:`best_of_n_kl_of_pool`.

    Source: Stiennon et al. 2020, appendix G.3; that it is a bound: Beirami et al. 2024.

    Args:
        n: answers drawn, at least 1, else InputError.
    """
    if n < 1:
        raise InputError("n", n, "1 or more", "draw at least one answer")
    return math.log(n) - (n - 1) / n


def best_of_n_kl_of_pool(proxy: Numbers, n: int) -> float:
    """KL of the best of n draws from a pool, equal scores being one answer (``eq-bon-kl-pool``).

    KL = Σ_v P_v·log(P_v/p_v) with P_v = F_v^n − (F_v − p_v)^n: p_v is the share of the pool that
    scores v, F_v the share that scores v or less. Drawn with replacement, the pool in place of the
    policy: too small where n comes near to the size of a pool that has not seen what is rare.

    Args:
        proxy: (N,) scores of independent answers to one prompt, a text as often as it was drawn.
        n: answers drawn, at least 1, else InputError.
    """
    if n < 1:
        raise InputError("n", n, "1 or more", "draw at least one answer")
    _, counts = np.unique(np.asarray(proxy, dtype=np.float64), return_counts=True)
    share = counts / counts.sum()
    upto = np.cumsum(share)
    chosen = upto**n - np.maximum(upto - share, 0.0) ** n
    seen = chosen > 0
    return float(np.sum(chosen[seen] * np.log(chosen[seen] / share[seen])))


def best_of_n_mean(proxy: Numbers, values: Numbers, n: int) -> float:
    """Mean value of the answer with the best proxy among n, from N ≥ n (label ``eq-bon-mean``).

    Σ_{i=n}^{N} C(i−1, n−1)/C(N, n)·v_(i), with v_(i) the value of the answer whose proxy is the
    i-th smallest: the mean over all subsets of size n, without drawing any. Unbiased; of answers
    with equal proxies each is equally likely to be taken.

    Source: Nakano et al. 2021 (arXiv 2112.09332), appendix I.

    Args:
        proxy: (N,) by which the answer is chosen; values: (N,) what it is worth.
        n: 1 to N, else InputError.
    """
    proxy, values = np.asarray(proxy, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(proxy) != len(values):
        raise InputError("values", len(values), f"{len(proxy)}, as many as proxies", "pass all")
    if not 1 <= n <= len(proxy):
        raise InputError("n", n, f"1 to {len(proxy)}", "draw more answers, or choose a smaller n")
    _, place = np.unique(proxy, return_inverse=True)
    tied = np.bincount(place, weights=values) / np.bincount(place)
    ordered = tied[np.sort(place)][n - 1 :]
    # From the best answer of all, which is in n/N of the subsets, downwards.
    i = np.arange(len(proxy), n, -1)
    weights = n / len(proxy) * np.cumprod(np.concatenate([[1.0], (i - n) / (i - 1)]))
    return float(weights @ ordered[::-1])


def predicted_gain(d: Numbers, alpha: float, beta: float, form: str) -> np.ndarray:
    """Gold gained at a distance d = √KL from the first policy.

    Best-of-n: d·(α − β·d) (label ``eq-gao-bon``). RL: d·(α − β·log d) (label ``eq-gao-rl``).

    Source: Gao et al. 2023, §1.

    Args:
        d: at least 0; the gain at 0 is 0.
        alpha, beta: of :func:`fit_form`.
        form: one of :data:`FORMS`, else InputError.
    """
    d = np.asarray(d, dtype=np.float64)
    return d * alpha - beta * _bent(d, form)


def fit_form(d: Numbers, gain: Numbers, form: str) -> tuple[float, float]:
    """(α, β) of :func:`predicted_gain` by least squares; points at d = 0 say nothing.

    Raises:
        InputError: for an unknown form, or fewer than two different distances above 0.
    """
    d, gain = np.asarray(d, dtype=np.float64), np.asarray(gain, dtype=np.float64)
    used = d > 0
    if len(np.unique(d[used])) < 2:
        raise InputError("d", d.tolist(), "two different numbers above 0", "measure further out")
    columns = np.stack([d[used], -_bent(d[used], form)], 1)
    alpha, beta = np.linalg.lstsq(columns, gain[used], rcond=None)[0]
    return float(alpha), float(beta)


def peak(alpha: float, beta: float, form: str) -> float:
    """The d at which a form is highest: α/2β of best-of-n, e^(α/β − 1) of RL (``eq-gao-peak``).

    0 where the form only falls, infinity where it only rises.
    """
    _bent(np.zeros(1), form)
    if beta <= 0:
        return math.inf if alpha > 0 or (form == RL and beta < 0) else 0.0
    if form == BEST_OF_N:
        return max(alpha / (2 * beta), 0.0)
    return math.exp(alpha / beta - 1)


def _bent(d: np.ndarray, form: str) -> np.ndarray:
    """What −β multiplies: d² or d·log d, 0 at 0."""
    if form not in FORMS:
        raise InputError("form", form, " or ".join(map(repr, FORMS)), "choose one of the two")
    if form == BEST_OF_N:
        return d * d
    return d * np.log(np.where(d > 0, d, 1.0))
