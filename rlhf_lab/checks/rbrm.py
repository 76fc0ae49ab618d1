"""Tests of the lab *Rewards by rule*: what is wanted stands here or is counted here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rlhf_lab.checks import called, check, near, returned, same

RubricReward = Callable[[Tensor, Tensor, Tensor], Tensor]
Total = Callable[[Tensor, Tensor, Tensor, float], Tensor]
Hinge = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]
Rates = Callable[[Sequence[bool], Sequence[str]], Mapping[str, tuple[float, float, float]]]

_POINTS = torch.tensor([[-1.0, -2.0, -3.0, 4.0], [5.0, 1.0, -6.0, -1.0]])


# --- rubric_reward(logits (N, 4), must_refuse (N,), points (2, 4)) -> (N,) ------------------------


@check
def a_sure_verdict_earns_its_points(rubric_reward: RubricReward) -> None:
    """Four answers to requests that must be refused, each of which the grader is sure of."""
    logits = 60.0 * torch.eye(4)
    found = called(rubric_reward, logits, torch.ones(4, dtype=torch.bool), _POINTS)
    hint = (
        "logits are no probabilities: softmax over the four letters of an answer comes first. "
        "Then weigh the points of a row by them"
    )
    same(found, _POINTS[1], "the reward", hint, tolerance=1e-4)


@check
def the_request_chooses_the_row(rubric_reward: RubricReward) -> None:
    """The same two verdicts on two kinds of requests."""
    logits = 60.0 * torch.eye(4)[[0, 0, 3, 3]]
    refuse = torch.tensor([True, False, True, False])
    hint = "row 1 of points is for requests that must be refused, row 0 for the others"
    wanted = torch.tensor([5.0, -1.0, -1.0, 4.0])
    same(called(rubric_reward, logits, refuse, _POINTS), wanted, "the reward", hint, tolerance=1e-4)


@check
def an_unsure_verdict_earns_the_mean(rubric_reward: RubricReward) -> None:
    """One half A, one half C; and all four alike."""
    logits = torch.tensor([[2.0, -90.0, 2.0, -90.0], [0.0, 0.0, 0.0, 0.0]])
    hint = (
        "the expected points are wanted, Σ_c p_c · points_c, and not those of the likeliest letter"
    )
    found = called(rubric_reward, logits, torch.tensor([True, True]), _POINTS)
    same(found, torch.tensor([-0.5, -0.25]), "the reward", hint, tolerance=1e-4)


@check
def a_constant_changes_nothing(rubric_reward: RubricReward) -> None:
    """Logits of an answer are only defined up to a constant, also a large one."""
    logits = torch.tensor([[1.0, 2.0, 0.5, -1.0], [0.0, 3.0, 1.0, 1.0]])
    refuse = torch.tensor([True, False])
    first = called(rubric_reward, logits, refuse, _POINTS)
    again = called(rubric_reward, logits + torch.tensor([[200.0], [-200.0]]), refuse, _POINTS)
    hint = "torch.softmax(logits, dim=1) takes the largest logit out; exp and a sum do not"
    same(again, first, "the reward of shifted logits", hint, tolerance=1e-4)


# --- total_reward(scores (N,), extra (N,), graded (N,), weight) -> (N,) ---------------------------


@check
def graded_prompts_get_the_sum(total_reward: Total) -> None:
    """All graded."""
    scores, extra = torch.tensor([0.5, -1.0]), torch.tensor([2.0, -4.0])
    graded = torch.tensor([True, True])
    hint = "the rubric's points are added, times the weight; they do not take the score's place"
    same(called(total_reward, scores, extra, graded, 0.5), torch.tensor([1.5, -3.0]), "R", hint)


@check
def other_prompts_keep_their_score(total_reward: Total) -> None:
    """The second prompt is an ordinary one."""
    scores, extra = torch.tensor([0.5, -1.0]), torch.tensor([2.0, -4.0])
    graded = torch.tensor([True, False])
    hint = "where a prompt is not graded the reward model's score stays as it is"
    same(called(total_reward, scores, extra, graded, 1.0), torch.tensor([2.5, -1.0]), "R", hint)


@check
def what_is_not_graded_is_not_read(total_reward: Total) -> None:
    """No rubric has been asked there: the place holds an infinity."""
    scores, extra = torch.tensor([0.5, -1.0]), torch.tensor([-torch.inf, 3.0])
    graded = torch.tensor([False, True])
    hint = (
        "0 times infinity is NaN, so a product with the mask lets it through: torch.where "
        "chooses without computing"
    )
    same(called(total_reward, scores, extra, graded, 1.0), torch.tensor([0.5, 2.0]), "R", hint)


# --- hinge(scores, features, better, worse, weights, margin) -> loss, gradient --------------------


def _hinge(answer: Hinge, *arguments: Any) -> tuple[float, Tensor]:
    found = called(answer, *arguments)
    returned(found, 2, "hinge should return the loss and its gradient")
    loss, gradient = found
    assert isinstance(gradient, Tensor), (
        f"the gradient should be a tensor, and is a {type(gradient).__name__}"
    )
    recorded = gradient.requires_grad or getattr(loss, "requires_grad", False)
    assert not recorded, "loss and gradient should be computed by formula, without autograd"
    return float(loss), gradient


def _random(seed: int, pairs: int = 12) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    scores, features, weights = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((8,), (8, 3), (3,))
    )
    better, worse = (torch.randint(0, 8, (pairs,), generator=generator) for _ in range(2))
    return scores, features, better, worse, weights


@check
def the_loss_by_hand(hinge: Hinge) -> None:
    """Two answers, one feature each; the reward model has them the wrong way round by 2."""
    scores, features = torch.tensor([-1.0, 1.0]), torch.eye(2)
    pair = torch.tensor([0]), torch.tensor([1])
    hint = (
        "the lead is that of the total reward, scores + features @ weights: -2 without weights, so "
        "that 1 + 2 = 3 are missing to a lead of 1"
    )
    near(_hinge(hinge, scores, features, *pair, torch.zeros(2), 1.0)[0], 3.0, "the loss", hint)
    hint = "with weights 1 and -0.5 the lead is -2 + 1.5, and 1.5 are missing"
    weights = torch.tensor([1.0, -0.5])
    near(_hinge(hinge, scores, features, *pair, weights, 1.0)[0], 1.5, "the loss", hint)


@check
def the_gradient_by_hand(hinge: Hinge) -> None:
    """The better answer's weight has to go up, the worse one's down."""
    scores, features = torch.tensor([-1.0, 1.0]), torch.eye(2)
    pair = torch.tensor([0]), torch.tensor([1])
    _, gradient = _hinge(hinge, scores, features, *pair, torch.zeros(2), 1.0)
    hint = (
        "a pair that lacks lead adds -(features of the better - features of the worse). A step "
        "against the gradient then raises the better one"
    )
    same(gradient, torch.tensor([-1.0, 1.0]), "the gradient", hint)


@check
def who_leads_enough_counts_nothing_and_is_counted(hinge: Hinge) -> None:
    """Two pairs, of which one leads by 5."""
    scores, features = torch.tensor([0.0, 0.0, 5.0, 0.0]), torch.eye(4)
    better, worse = torch.tensor([0, 2]), torch.tensor([1, 3])
    loss, gradient = _hinge(hinge, scores, features, better, worse, torch.zeros(4), 1.0)
    hint = (
        "the first pair lacks 1, the second nothing, and the mean over both is 0.5: a negative "
        "lack is 0, and a pair that lacks nothing is still one of the pairs"
    )
    near(loss, 0.5, "the loss", hint)
    same(gradient, torch.tensor([-0.5, 0.5, 0.0, 0.0]), "the gradient", hint)


@check
def the_gradient_belongs_to_the_loss(hinge: Hinge) -> None:
    """Finite differences of a hinge that is added up here, pair by pair."""

    def slow(weights: Tensor, own: tuple[Tensor, ...], margin: float) -> float:
        scores, features, better, worse, _ = own
        total = (scores + features @ weights).tolist()
        pairs = zip(better.tolist(), worse.tolist(), strict=True)
        return math.fsum(max(0.0, margin - total[i] + total[j]) for i, j in pairs) / len(better)

    for seed, margin in ((0, 1.0), (1, 0.5), (2, 2.0)):
        own = _random(seed)
        loss, gradient = _hinge(hinge, *own, margin)
        near(loss, slow(own[4], own, margin), "the loss of twelve pairs", "add up pair by pair")
        step = 1e-6
        for k in range(3):
            there, back = (
                slow(own[4] + s * step * torch.eye(3, dtype=torch.float64)[k], own, margin)
                for s in (1, -1)
            )
            hint = "change a weight a little and see by how much your own loss changes"
            near(gradient[k], (there - back) / (2 * step), f"gradient[{k}]", hint, tolerance=1e-4)


# --- rates(must_refuse, letters) -> {"wrong refusals": (share, low, high), "harm": ...} -----------


def _rate(rates: Rates, name: str, refuse: Sequence[bool], letters: Sequence[str]) -> list[float]:
    found = called(rates, list(refuse), list(letters))
    named = isinstance(found, Mapping) and name in found
    assert named, (
        f'rates should return a dictionary with "wrong refusals" and "harm", and returned {found!r}'
    )
    returned(found[name], 3, f'"{name}" should be the share and the two ends of its interval')
    return [float(x) for x in found[name]]


_ASKED = [True] * 4 + [False] * 16
_SAID = [*"ACDC", *"AB", *"D" * 13, "C"]


@check
def each_share_has_requests_of_its_own(rates: Rates) -> None:
    """Four requests must be refused, sixteen may be answered."""
    share, *_ = _rate(rates, "harm", _ASKED, _SAID)
    hint = (
        "of the 4 requests that must be refused 2 got class C. An answer to another request is not "
        "among them, and the 16 others are no part of the denominator"
    )
    near(share, 0.5, "the share of harm", hint)
    share, *_ = _rate(rates, "wrong refusals", _ASKED, ["A"] * 4 + ["A"] + ["D"] * 15)
    hint = "of the 16 requests that may be answered 1 was refused; refusing the other 4 is right"
    near(share, 1 / 16, "the share of wrong refusals", hint)


@check
def an_evasion_is_a_refusal(rates: Rates) -> None:
    """One A and one B among sixteen."""
    share, *_ = _rate(rates, "wrong refusals", _ASKED, _SAID)
    hint = "classes A and B are refusals both: who is put off has got no answer"
    near(share, 2 / 16, "the share of wrong refusals", hint)


@check
def none_seen_is_not_none(rates: Rates) -> None:
    """0 of 20: Wilson's interval ends at z² / (n + z²)."""
    share, low, high = _rate(rates, "harm", [True] * 20 + [False], ["A"] * 20 + ["D"])
    hint = (
        "0 of 20 do not show that the rate is 0: up to 16 % would still be likely to give none. "
        "share ± z·sqrt(share·(1 - share)/n) has no width there; Wilson's interval has"
    )
    near(share, 0.0, "the share", "none of twenty")
    near(low, 0.0, "the lower end", hint, tolerance=1e-6)
    near(high, 3.8414588 / 23.8414588, "the upper end", hint, tolerance=1e-4)


@check
def wilsons_ends(rates: Rates) -> None:
    """3 of 20, from the quadratic (p - 3/20)² = z² p (1 - p) / 20."""
    _, low, high = _rate(rates, "harm", [True] * 20 + [False], ["C"] * 3 + ["A"] * 17 + ["D"])
    hint = (
        "the ends solve (p - share)² = z²·p·(1 - p)/n with z = 1.96: put each of yours in. The "
        "middle is (share + z²/2n) / (1 + z²/n)"
    )
    near(low, 0.052369, "the lower end", hint, tolerance=2e-4)
    near(high, 0.360419, "the upper end", hint, tolerance=2e-4)
