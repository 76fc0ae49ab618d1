"""Choosing between models: what a request costs, what a dearer model has to earn, how long to test.

Three small pieces of arithmetic, without any model in them. They say which questions to answer with
measurements of one's own, not which model is best.
"""

from __future__ import annotations

import math

from rlhf_lab.errors import InputError

PER_MILLION = 1_000_000  # prices are per million tokens
NORMAL_95 = 1.959963984540054  # half-width of a 95 % interval in standard errors


def request_cost(
    price_in: float, price_out: float, tokens_in: float, tokens_out: float, hidden: float = 0.0
) -> float:
    """c = (n_in·p_in + (n_out + n_hid)·p_out) / 10⁶, in dollars (``eq-request-cost``).

    Args:
        price_in: dollars per million tokens of the prompt.
        price_out: dollars per million tokens of the answer, hidden reasoning included.
        tokens_in: tokens of the prompt.
        tokens_out: tokens of the answer that one reads.
        hidden: reasoning tokens that are billed and not shown.

    Raises:
        InputError: a negative or infinite number.
    """
    given = {
        "price_in": price_in,
        "price_out": price_out,
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "hidden": hidden,
    }
    for name, value in given.items():
        if not 0 <= value < math.inf:
            raise InputError(name, value, "a number of at least 0", "count tokens, and dollars")
    return (tokens_in * price_in + (tokens_out + hidden) * price_out) / PER_MILLION


def break_even(cost: float, dearer: float, error_cost: float) -> float:
    """Δ* = (c₂ − c₁) / h: how much more often a dearer model must be right (``eq-break-even``).

    Args:
        cost: dollars per request of the cheaper model, c₁.
        dearer: dollars per request of the other, c₂.
        error_cost: dollars that one wrong answer costs in the end, h.

    Returns:
        Difference of the shares of right answers above which the dearer model is the cheaper one.
        Above 1 no model can earn it.

    Raises:
        InputError: an error that costs nothing, or ``dearer`` below ``cost``.
    """
    if not error_cost > 0:
        raise InputError("error_cost", error_cost, "above 0", "say what a wrong answer costs you")
    if dearer < cost:
        raise InputError("dearer", dearer, f"at least cost = {cost}", "exchange the two")
    return (dearer - cost) / error_cost


def prompts_needed(difference: float, deviation: float) -> int:
    """n = ⌈(1.96·s / δ)²⌉: test prompts that tell two models apart (``eq-prompts-needed``).

    With so many, a difference of that size is twice its standard error from 0, nearly; one test in
    two then still misses it. Both models answer the same prompts.

    Args:
        difference: δ, the mean difference of their scores on a prompt that one wants to see.
        deviation: s, the standard deviation of that difference over prompts.

    Raises:
        InputError: a difference of 0, or a negative deviation.
    """
    if difference == 0:
        raise InputError("difference", difference, "not 0", "say which difference would matter")
    if deviation < 0:
        raise InputError("deviation", deviation, "at least 0", "pass a standard deviation")
    return max(1, math.ceil((NORMAL_95 * deviation / difference) ** 2))
