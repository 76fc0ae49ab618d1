"""Tests of the lab *A reward model by hand*: what is wanted stands here or is found another way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rlhf_lab.checks import check, near, same

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
Residuals = Callable[[Tensor, Tensor], Tensor]
Temperature = Callable[[Tensor], float]
Shares = Callable[[Callable[..., Sequence[float]], list[tuple[Any, ...]]], dict[str, float]]


def _real(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def _whole(*numbers: int) -> Tensor:
    return torch.tensor(numbers)


def _cost(margin: float) -> float:
    """−log σ(margin)."""
    return math.log1p(math.exp(-margin))


# --- kwise_loss(scores, ranks, group (N,)) -> scalar ----------------------------------------------


@check
def one_pair_by_hand(kwise_loss: Loss) -> None:
    """The better answer stands second and scores 1 more."""
    found = kwise_loss(_real(0.5, 1.5), _whole(1, 0), _whole(0, 0))
    hint = (
        "a lower rank is better: the second answer won with a margin of 1, which costs log(1 + 1/e)"
    )
    near(found, _cost(1.0), "the loss", hint)


@check
def prompts_count_alike(kwise_loss: Loss) -> None:
    """One prompt with one pair, one with three."""
    found = kwise_loss(_real(1, 0, 0, 0, 0), _whole(0, 1, 0, 1, 2), _whole(4, 4, 7, 7, 7))
    hint = (
        "the first prompt's pair costs log(1 + 1/e), each of the second's three log 2: the mean of "
        "each prompt first, then the mean of the two"
    )
    near(found, (_cost(1.0) + _cost(0.0)) / 2, "the loss", hint)


@check
def prompts_are_not_compared(kwise_loss: Loss) -> None:
    """A number of its own added to the scores of each prompt."""
    scores, ranks, group = _real(0.3, -0.2, 0.9, 0.1), _whole(0, 1, 1, 0), _whole(0, 0, 1, 1)
    wanted = (_cost(0.5) + _cost(-0.8)) / 2
    hint = (
        "only answers to one prompt were compared: adding 100 to all scores of a prompt changes "
        "nothing"
    )
    near(kwise_loss(scores + 100 * group, ranks, group), wanted, "the loss", hint)


@check
def ties_make_no_pair(kwise_loss: Loss) -> None:
    """Three answers of which two tie, and a prompt where all tie."""
    found = kwise_loss(_real(2, 1, 0, 5, 3), _whole(0, 1, 1, 2, 2), _whole(0, 0, 0, 1, 1))
    hint = (
        "the first prompt has two pairs, with margins 1 and 2; the second has none and is no part "
        "of the mean"
    )
    near(found, (_cost(1.0) + _cost(2.0)) / 2, "the loss", hint)


@check
def large_scores_stay_finite(kwise_loss: Loss) -> None:
    """A pair that is wrong by 2,000."""
    found = kwise_loss(_real(-1000, 1000), _whole(0, 1), _whole(0, 0))
    hint = "log σ(−2000) is −2000, but σ(−2000) is 0 for a computer: use softplus or logsigmoid"
    near(found, 2000.0, "the loss", hint, 1e-3)


# --- residuals(scores, ranks (K,)) -> (K,) --------------------------------------------------------


@check
def two_answers_by_hand(residuals: Residuals) -> None:
    """The preferred answer scores 2 more: σ(2) of a win was expected of it, and it won one."""
    missing = 1 / (1 + math.exp(2))
    hint = "the first won one comparison and was expected to win σ(2) of it; the pair counts once"
    same(residuals(_real(1, -1), _whole(0, 1)), _real(-missing, missing), "residuals", hint)


@check
def residuals_add_up_to_nothing(residuals: Residuals) -> None:
    """All scores equal: who won pushes up, who lost down, by halves."""
    found = residuals(_real(0, 0, 0), _whole(0, 1, 2))
    hint = (
        "each of the three expects half a win from each of its two comparisons; no answer is "
        "compared with itself"
    )
    same(found, _real(-1 / 3, 0, 1 / 3), "residuals", hint)


@check
def ties_are_not_compared(residuals: Residuals) -> None:
    """The second and the third tie."""
    found = residuals(_real(0, 0, 0), _whole(0, 1, 1))
    hint = "there are two pairs here, both of the first answer; those that tie expect nothing"
    same(found, _real(-1 / 2, 1 / 4, 1 / 4), "residuals", hint)


@check
def residuals_are_the_gradient(residuals: Residuals) -> None:
    """Central differences of the loss, in double precision."""
    scores = torch.randn(5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ranks = _whole(2, 0, 1, 1, 3)
    pairs = [(i, j) for i in range(5) for j in range(5) if ranks[i] < ranks[j]]

    def loss(r: Tensor) -> float:
        return sum(_cost(float(r[i] - r[j])) for i, j in pairs) / len(pairs)

    wanted = []
    for i in range(5):
        step = torch.zeros(5, dtype=torch.float64)
        step[i] = 1e-5
        wanted.append((loss(scores + step) - loss(scores - step)) / 2e-5)
    hint = "it is the derivative of the loss of Exercise 1: divide by the number of pairs"
    same(residuals(scores, ranks), _real(*wanted), "residuals", hint, 1e-6)


# --- best_temperature(margins (N,)) -> float ------------------------------------------------------


@check
def three_of_four_are_right(best_temperature: Temperature) -> None:
    """Margins of 2 that are right three times of four: σ(2/T) has to be 3/4."""
    hint = (
        "at the best T the model says what happened, σ(2/T) = 3/4, so T = 2 / log 3; fit to "
        "within 1 %"
    )
    wanted = 2 / math.log(3)
    near(best_temperature(_real(2, 2, 2, -2)), wanted, "T", hint, 0.01 * wanted)


@check
def doubled_scores_double_it(best_temperature: Temperature) -> None:
    """The same pairs with scores ten times as large, and ten times smaller."""
    margins = _real(1, 0.5, -0.4, 0.2, 1.5, -0.1)
    usual = best_temperature(margins)
    for scale in (0.1, 10.0):
        found = best_temperature(scale * margins)
        hint = f"scores that are {scale:g} times as large need {scale:g} times the temperature"
        near(found, scale * usual, "T", hint, 0.02 * scale * usual)


@check
def the_loss_is_least_there(best_temperature: Temperature) -> None:
    """Nothing nearby has a lower loss."""
    drawn = torch.randn(200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    margins = drawn**3 + 1.0

    def loss(t: float) -> float:
        return sum(_cost(float(m) / t) for m in margins) / len(margins)

    found = float(best_temperature(margins))
    assert found > 0, f"T should be above 0, and is {found:.3g}: a temperature divides the scores"
    for other in (0.95 * found, 1.05 * found):
        assert loss(found) <= loss(other), (
            f"the mean of −log σ(m/T) is {loss(found):.5f} at your T = {found:.3g}, and "
            f"{loss(other):.5f} at {other:.3g}, which is lower"
        )


# --- share_preferred(score, tests) -> {kind: share} -----------------------------------------------


def _shares(found: Any, wanted: dict[str, float], hint: str) -> None:
    assert isinstance(found, dict), f"a dictionary from kind to share is wanted: {hint}"
    assert set(found) == set(wanted), f"the kinds are {sorted(wanted)}, not {sorted(found)}: {hint}"
    for kind, share in wanted.items():
        near(found[kind], share, f"the share of {kind!r}", hint)


@check
def shares_by_kind(share_preferred: Shares) -> None:
    """Scores are lengths."""
    tests = [("a", "p", "long", "no"), ("a", "p", "x", "yes"), ("b", "q", "three", "one")]
    hint = "longer texts score higher here: of kind 'a' one of two is preferred, of 'b' one of one"
    _shares(share_preferred(_lengths, tests), {"a": 0.5, "b": 1.0}, hint)


@check
def equal_scores_count_half(share_preferred: Shares) -> None:
    """Two texts of one length."""
    tests = [("a", "p", "one", "two"), ("a", "p", "four", "two")]
    hint = "equal scores count one half: (0.5 + 1) / 2"
    _shares(share_preferred(_lengths, tests), {"a": 0.75}, hint)


@check
def scores_belong_to_their_prompts(share_preferred: Shares) -> None:
    """What counts here is whether the prompt's word is in the text."""

    def score(prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
        return [float(p in t) for p, t in zip(prompts, texts, strict=True)]

    tests = [("a", "fox", "a fox", "an owl"), ("b", "owl", "an owl", "a fox")]
    hint = "each text is scored with the prompt of its own test, in the order of the tests"
    _shares(share_preferred(score, tests), {"a": 1.0, "b": 1.0}, hint)


def _lengths(_prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
    return [float(len(text)) for text in texts]
