"""A model's final loss from smaller models trained alike: a power law with a floor.

C is the computation of a training run in floating-point operations, losses are in nats per token.
Every loss is that of a *finished* run: a point inside a longer run, whose learning rate has not
come down yet, belongs to no law of finished runs.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import overload

import numpy as np
from scipy.optimize import brentq

from rlhf_lab.errors import InputError

STEEPEST, FLATTEST = -20.0, -1e-6  # exponents that are looked at


@dataclass(frozen=True)
class LossLaw:
    """L(C) = a·C^b + c, with b < 0."""

    a: float
    b: float
    c: float  # the floor: what more computation of the same kind never takes away

    @overload
    def loss(self, flops: float) -> float: ...
    @overload
    def loss(self, flops: np.ndarray) -> np.ndarray: ...
    def loss(self, flops: float | np.ndarray) -> float | np.ndarray:
        """L(C) (label ``eq-predictable-loss``).

        Source: OpenAI (2023), GPT-4 technical report, §3.1.
        """
        return self.a * flops**self.b + self.c


def with_floor(flops: tuple[float, float], losses: tuple[float, float], floor: float) -> LossLaw:
    """The law through two finished runs, once the floor is assumed.

    Args:
        flops: of the smaller run and of the larger one.
        losses: theirs.
        floor: c, below both.

    Raises:
        InputError: when the larger run is no better, or the floor not below it.
    """
    _require_order(flops, losses)
    if floor >= losses[1]:
        raise InputError("floor", floor, f"below the lower loss, {losses[1]}", "lower it")
    above = np.array(losses) - floor
    b = float(np.log(above[1] / above[0]) / np.log(flops[1] / flops[0]))
    return LossLaw(a=float(above[0] * flops[0] ** -b), b=b, c=floor)


def with_exponent(
    flops: tuple[float, float], losses: tuple[float, float], exponent: float
) -> LossLaw:
    """The law through two finished runs, once b < 0 is assumed; see :func:`with_floor`."""
    _require_order(flops, losses)
    if exponent >= 0:
        raise InputError("exponent", exponent, "below 0", "losses fall as computation grows")
    first, second = (c**exponent for c in flops)
    a = (losses[0] - losses[1]) / (first - second)
    return LossLaw(a=a, b=exponent, c=losses[0] - a * first)


def through_three(flops: tuple[float, float, float], losses: tuple[float, float, float]) -> LossLaw:
    """The one law through three finished runs.

    (L₁ − L₃)/(L₁ − L₂) depends on b alone; b is looked for, then a and c follow.

    Args:
        flops: rising.
        losses: falling, and per factor of computation ever less.

    Raises:
        InputError: when no such law goes through the three.
    """
    _require_order(flops, losses)
    second, third = flops[1] / flops[0], flops[2] / flops[0]
    wanted = (losses[0] - losses[2]) / (losses[0] - losses[1])

    def excess(b: float) -> float:
        return float((1 - third**b) / (1 - second**b) - wanted)

    if excess(STEEPEST) >= 0 or excess(FLATTEST) <= 0:
        raise InputError(
            "losses", losses, "a gain that shrinks from step to step",
            "no power law with a floor goes through these",
        )  # fmt: skip
    b = float(brentq(excess, STEEPEST, FLATTEST))
    return with_exponent(flops[:2], losses[:2], b)


def _require_order(flops: tuple[float, ...], losses: tuple[float, ...]) -> None:
    rising = all(x < y for x, y in itertools.pairwise(flops))
    falling = all(x > y for x, y in itertools.pairwise(losses))
    if not (rising and falling and flops[0] > 0):
        raise InputError(
            "flops, losses", (flops, losses), "more computation and less loss from run to run",
            "sort the runs by computation",
        )  # fmt: skip
