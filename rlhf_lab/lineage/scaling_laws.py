"""Scaling laws fitted to one's own runs: Kaplan's forms and Chinchilla's, with intervals.

A run is a *finished* one: its learning rate has come down at its last token. Arrays have one entry
per run: ``parameters`` N, ``tokens`` D, ``losses`` L in nats per token. What N counts is the
caller's choice, and has to be said: Kaplan et al. leave embeddings out, Hoffmann et al. do not.

Left out: laws with a batch size or a number of steps in them, and fits of several laws at once.
The constants that others published are in :mod:`rlhf_lab.scaling`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.optimize import minimize

from rlhf_lab.errors import InputError
from rlhf_lab.scaling import Number, ParametricFit

DELTA = 1e-3  # of the Huber loss, in logarithms of a loss: Hoffmann et al. (2022), §3.3


@dataclass(frozen=True)
class PowerFit:
    """L = (scale / x)^exponent, without a floor."""

    scale: float
    exponent: float

    def loss(self, x: Number) -> Number:
        """L(x), for instance L(N) = (N_c / N)^α_N (label ``eq-own-power-law``).

        Source: Kaplan et al. (2020), equations 1.1 and 1.2.
        """
        return (self.scale / x) ** self.exponent


@dataclass(frozen=True)
class KaplanFit:
    """Constants of the law of parameters and tokens together, one field per sign of the paper."""

    n_c: float
    d_c: float
    alpha_n: float
    alpha_d: float

    def loss(self, parameters: Number, tokens: Number) -> Number:
        """L(N, D) = [(N_c/N)^(α_N/α_D) + D_c/D]^α_D (label ``eq-kaplan-both``).

        Source: Kaplan et al. (2020), equation 1.5.
        """
        by_size = (self.n_c / parameters) ** (self.alpha_n / self.alpha_d)
        return (by_size + self.d_c / tokens) ** self.alpha_d


Fit = TypeVar("Fit")
FitOf = Callable[[np.ndarray, np.ndarray, np.ndarray], Fit]
"""(parameters, tokens, losses) -> a law."""


def fit_power(x: np.ndarray, losses: np.ndarray) -> PowerFit:
    """The power law through runs of which nothing but x differs, by least squares of logarithms.

    Args:
        x: what grows, above 0; two different values at least.
        losses: one per run.
    """
    x, losses = _runs("x", x, losses)
    if len(np.unique(x)) < 2:
        raise InputError("x", x.tolist(), "two different values", "train a second size")
    slope, level = np.polyfit(np.log(x), np.log(losses), 1)
    return PowerFit(scale=float(np.exp(-level / slope)), exponent=float(-slope))


def log_huber(residuals: np.ndarray, delta: float = DELTA) -> float:
    """Sum of Huber losses: r²/2 up to δ, δ(r − δ/2) beyond, r a size (``eq-chinchilla-objective``).

    Source: Huber (1964) as used in Hoffmann et al. (2022), §3.3, equation 3.
    """
    size = np.abs(residuals)
    return float(np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)).sum())


def fit_chinchilla(
    parameters: np.ndarray, tokens: np.ndarray, losses: np.ndarray, delta: float = DELTA
) -> ParametricFit:
    """E, A, B, α, β of L = E + A/N^α + B/D^β that fit the logarithms of the losses best.

    Minimises ``eq-chinchilla-objective`` over log E, log A, log B, α and β by L-BFGS from a grid of
    starts, as the source does. N and D are first divided by their geometric means, so that A and B
    begin as the losses at the middle of the grid.

    Args:
        parameters: above 0, three different values at least; tokens likewise.
        losses: one per run.

    Raises:
        InputError: for fewer sizes or fewer amounts of text: then no curve has to bend.

    Source: Hoffmann et al. (2022), §3.3.
    """
    parameters, losses = _runs("parameters", parameters, losses)
    tokens, _ = _runs("tokens", tokens, losses)
    _require_bend("parameters", parameters)
    _require_bend("tokens", tokens)
    n, d = (np.log(x) - np.log(x).mean() for x in (parameters, tokens))
    wanted, least = np.log(losses), losses.min()

    def residuals(signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        e, a, b, alpha, beta = signs
        terms = np.stack([np.full_like(n, e), a - alpha * n, b - beta * d])
        logs = np.logaddexp.reduce(terms, axis=0)
        floor, size, text = np.exp(terms - logs)  # shares of the loss
        return logs - wanted, np.stack([floor, size, text, -size * n, -text * d])

    starts = [
        (np.log(share * least), np.log(least / 4), np.log(least / 4), exponent, exponent)
        for share in (0.1, 0.5, 0.9)
        for exponent in (0.25, 0.7)
    ]
    e, a, b, alpha, beta = _least(residuals, starts, delta, [(0.0, 5.0)] * 2, free=3)
    return ParametricFit(
        E=float(np.exp(e)),
        A=float(np.exp(a + alpha * np.log(parameters).mean())),
        B=float(np.exp(b + beta * np.log(tokens).mean())),
        alpha=float(alpha),
        beta=float(beta),
    )


def fit_kaplan(
    parameters: np.ndarray, tokens: np.ndarray, losses: np.ndarray, delta: float = DELTA
) -> KaplanFit:
    """The four constants of :class:`KaplanFit`, by the objective of :func:`fit_chinchilla`.

    Kaplan et al. fitted theirs otherwise; with one objective the errors of both laws compare.
    """
    parameters, losses = _runs("parameters", parameters, losses)
    tokens, _ = _runs("tokens", tokens, losses)
    if min(len(np.unique(x)) for x in (parameters, tokens)) < 2:
        raise InputError(
            "parameters, tokens", "one value", "two different values of each", "add runs"
        )
    n, d = (np.log(x) - np.log(x).mean() for x in (parameters, tokens))
    wanted = np.log(losses)

    def residuals(signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size, text, alpha_n, alpha_d = signs
        ratio, short = alpha_n / alpha_d, size - n
        both = np.logaddexp(ratio * short, text - d)
        by_size, by_text = np.exp(ratio * short - both), np.exp(text - d - both)
        slopes = [alpha_n * by_size, alpha_d * by_text, by_size * short]
        return alpha_d * both - wanted, np.stack([*slopes, both - by_size * ratio * short])

    starts = list(itertools.product((0.0, 2.0), (0.0, 2.0), (0.2,), (0.2, 0.5)))
    size, text, alpha_n, alpha_d = _least(residuals, starts, delta, [(1e-3, 5.0)] * 2, free=2)
    return KaplanFit(
        n_c=float(np.exp(size + np.log(parameters).mean())),
        d_c=float(np.exp(text + np.log(tokens).mean())),
        alpha_n=float(alpha_n),
        alpha_d=float(alpha_d),
    )


def _least(
    residuals: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    starts: Sequence[tuple[float, ...]],
    delta: float,
    exponents: list[tuple[float, float]],
    *,
    free: int,
) -> np.ndarray:
    """The best of all searches; the last signs are exponents, and bounded.

    ``residuals`` gives one per run, and their derivatives (signs, runs).
    """
    bounds = [(-40.0, 40.0)] * free + exponents

    def objective(signs: np.ndarray) -> tuple[float, np.ndarray]:
        """Over δ, so that it is of order 1 for the search; and its derivatives."""
        off, slopes = residuals(signs)
        return log_huber(off, delta) / delta, slopes @ np.clip(off / delta, -1, 1)

    found = [
        minimize(
            objective, np.array(start), jac=True, method="L-BFGS-B", bounds=bounds,
            options={"maxiter": 500, "ftol": 1e-11},
        )
        for start in starts
    ]  # fmt: skip
    best: np.ndarray = min(found, key=lambda search: search.fun).x
    return best


def bootstrap(
    fit: FitOf[Fit],
    parameters: np.ndarray,
    tokens: np.ndarray,
    losses: np.ndarray,
    *,
    draws: int = 200,
    seed: int = 0,
) -> list[Fit]:
    """The law fitted again and again to as many runs, drawn with replacement.

    A draw in which a law has no fit (too few sizes or amounts of text) is drawn anew.

    Args:
        fit: such as :func:`fit_chinchilla`.
        draws: how many laws.

    Returns:
        one law per draw; the quantiles of a number read off them are its interval.

    Source: Efron (1979); used for scaling laws by Besiroglu et al. (2024).
    """
    if draws < 1:
        raise InputError("draws", draws, "1 or more", "draw once at least")
    rng = np.random.default_rng(seed)
    found: list[Fit] = []
    while len(found) < draws:
        chosen = rng.integers(len(losses), size=len(losses))
        drawn = parameters[chosen], tokens[chosen], losses[chosen]
        if min(len(np.unique(x)) for x in drawn[:2]) < 3:
            continue
        found.append(fit(*drawn))
    return found


def _runs(name: str, x: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, losses = np.asarray(x, dtype=float), np.asarray(losses, dtype=float)
    if x.shape != losses.shape or x.ndim != 1 or not ((x > 0).all() and (losses > 0).all()):
        raise InputError(
            name, f"shape {x.shape} beside losses {losses.shape}",
            "one number above 0 per run, and one loss", "give one row per finished run",
        )  # fmt: skip
    return x, losses


def _require_bend(name: str, x: np.ndarray) -> None:
    if len(np.unique(x)) < 3:
        raise InputError(
            name, sorted(set(x.tolist())), "three different values at least",
            "a power law with a floor goes through any two: train a third",
        )  # fmt: skip
