"""Published scaling laws: the loss of a language model by its size, its text and its computation.

N is a number of parameters, D of training tokens, C of floating-point operations; losses are in
nats per token and speak of the data, the tokenizer and the range on which each law was fitted.
Inputs may be numbers or NumPy arrays of one shape. Left out: the laws of a fixed batch or number of
steps, and every law for a score on a task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from rlhf_lab.errors import InputError

Number = TypeVar("Number", float, np.ndarray)


@dataclass(frozen=True)
class ParametricFit:
    """Constants of the law of :func:`loss_by_size_and_data`, one field per sign of the paper."""

    E: float  # loss that no model and no amount of text takes away, nats per token
    A: float
    B: float
    alpha: float
    beta: float


# Hoffmann et al. (2022), §3.3, as printed there: rounded, which by itself shifts the optimum.
HOFFMANN = ParametricFit(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
# Besiroglu et al. (2024): the same law, fitted anew to points read off the figures of that paper.
BESIROGLU = ParametricFit(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)


def training_flops(parameters: Number, tokens: Number) -> Number:
    """C = 6·N·D, forward and backward pass without attention (label ``eq-training-flops``).

    Source: Kaplan et al. (2020), §2.1.
    """
    return 6 * parameters * tokens


def loss_by_size(parameters: Number) -> Number:
    """L(N) = (8.8e13/N)^0.076, with text enough (label ``eq-kaplan``).

    Args:
        parameters: N > 0, *without* embeddings.

    Source: Kaplan et al. (2020), equation 1.1: tokens of WebText2, models up to 1.5e9.
    """
    _require_above_zero("parameters", parameters)
    return (8.8e13 / parameters) ** 0.076


def loss_by_size_and_data(
    parameters: Number, tokens: Number, fit: ParametricFit = BESIROGLU
) -> Number:
    """L(N, D) = E + A/N^α + B/D^β, after one pass over the text (label ``eq-chinchilla``).

    Args:
        parameters: N > 0, all of them.
        tokens: D > 0.
        fit: whose constants.

    Source: Hoffmann et al. (2022), §3.3.
    """
    _require_above_zero("parameters", parameters)
    _require_above_zero("tokens", tokens)
    return fit.E + fit.A / parameters**fit.alpha + fit.B / tokens**fit.beta


def compute_optimal(flops: Number, fit: ParametricFit = BESIROGLU) -> tuple[Number, Number]:
    """The N and D that :func:`loss_by_size_and_data` likes best among those with 6·N·D = C.

    N = G·(C/6)^(β/(α+β)) with G = (α·A/(β·B))^(1/(α+β)), D = C/(6·N)
    (label ``eq-compute-optimal``).

    Args:
        flops: C > 0.
        fit: whose constants.

    Returns:
        (parameters, tokens).

    Source: Hoffmann et al. (2022), equation 4.
    """
    _require_above_zero("flops", flops)
    total = fit.alpha + fit.beta
    scale = (fit.alpha * fit.A / (fit.beta * fit.B)) ** (1 / total)
    parameters = scale * (flops / 6) ** (fit.beta / total)
    return parameters, flops / (6 * parameters)


def _require_above_zero(name: str, value: float | np.ndarray) -> None:
    if not np.all(np.asarray(value) > 0):
        raise InputError(name, value, "numbers above 0", "check its unit")
