"""Scaling laws fitted to one's own runs: Kaplan's forms and Chinchilla's, with intervals.

A run is a *finished* one: its learning rate has come down at its last token. Arrays have one entry
per run: ``parameters`` N, ``tokens`` D, ``losses`` L in nats per token. What N counts is the
caller's choice, and has to be said: Kaplan et al. leave embeddings out, Hoffmann et al. do not.

Left out: laws with a batch size or a number of steps in them, and fits of several laws at once.
The constants that others published are in :mod:`rlhf_lab.scaling`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.optimize import minimize

from rlhf_lab.errors import InputError
from rlhf_lab.scaling import Number, ParametricFit

DELTA = 1e-3  # of the Huber loss, in logarithms of a loss: Hoffmann et al. (2022), §3.3
MOST_FLOOR = 0.99  # of the smallest loss: where searches for E begin, at most


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

    N_c: float
    D_c: float
    alpha_N: float
    alpha_D: float

    def loss(self, parameters: Number, tokens: Number) -> Number:
        """L(N, D) = [(N_c/N)^(α_N/α_D) + D_c/D]^α_D (label ``eq-kaplan-both``).

        Source: Kaplan et al. (2020), equation 1.5.
        """
        by_size = (self.N_c / parameters) ** (self.alpha_N / self.alpha_D)
        return (by_size + self.D_c / tokens) ** self.alpha_D


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
    """Sum of Huber losses: r²/2 up to δ, δ(|r| − δ/2) beyond (label ``eq-chinchilla-objective``).

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

    def residuals(signs: np.ndarray) -> np.ndarray:
        e, a, b, alpha, beta = signs
        terms = np.stack([np.full_like(n, e), a - alpha * n, b - beta * d])
        found: np.ndarray = np.logaddexp.reduce(terms, axis=0) - wanted
        return found

    starts = itertools.product(
        np.log(least * np.array([0.1, 0.5, 0.9])), (np.log(least / 4),), (np.log(least / 4),),
        (0.2, 0.6), (0.2, 0.6),
    )  # fmt: skip
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
    """The four constants of :meth:`KaplanFit.loss`, by the objective of :func:`fit_chinchilla`.

    Kaplan et al. fitted theirs otherwise; one objective for both laws lets their errors be compared.
    """
    parameters, losses = _runs("parameters", parameters, losses)
    tokens, _ = _runs("tokens", tokens, losses)
    if min(len(np.unique(x)) for x in (parameters, tokens)) < 2:
        raise InputError(
            "parameters, tokens", "one value", "two different values of each", "add runs"
        )
    n, d = (np.log(x) - np.log(x).mean() for x in (parameters, tokens))
    wanted = np.log(losses)

    def residuals(signs: np.ndarray) -> np.ndarray:
        size, text, alpha_n, alpha_d = signs
        both = np.logaddexp(alpha_n / alpha_d * (size - n), text - d)
        found: np.ndarray = alpha_d * both - wanted
        return found

    starts = itertools.product((0.0, 2.0), (0.0, 2.0), (0.1, 0.4), (0.1, 0.4))
    size, text, alpha_n, alpha_d = _least(residuals, starts, delta, [(1e-3, 5.0)] * 2, free=2)
    return KaplanFit(
        N_c=float(np.exp(size + np.log(parameters).mean())),
        D_c=float(np.exp(text + np.log(tokens).mean())),
        alpha_N=float(alpha_n),
        alpha_D=float(alpha_d),
    )


def _least(
    residuals: Callable[[np.ndarray], np.ndarray],
    starts: itertools.product[float],
    delta: float,
    exponents: list[tuple[float, float]],
    *,
    free: int,
) -> np.ndarray:
    """The best of all searches; the last signs are exponents, and bounded."""
    bounds = [(-40.0, 40.0)] * free + exponents
    found = [
        minimize(
            lambda signs: log_huber(residuals(signs), delta) / delta,  # of order 1, for the search
            np.array(start), method="L-BFGS-B", bounds=bounds,
            options={"maxiter": 2000, "ftol": 1e-12, "gtol": 1e-9},
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
    """The law fitted again and again to as many runs, drawn .

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
