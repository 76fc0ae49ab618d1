"""Tests of the lab *On call in the bug clinic*, and the ward that it visits.

The answers to the first three exercises are tests themselves: each is tried on code that is sound,
of which it has to keep silent, and on code with one fault, which it has to find. What is sound and
what is ill stands here. The patients are loops with one bug of :mod:`rlhf_lab.clinic`, or of two
more that pass all of its examinations. Who has what is not written next to them, so that nobody
reads it by accident.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from rlhf_lab import clinic, rollout
from rlhf_lab.checks import check, near, same
from rlhf_lab.ppo import PPOTrainer

Score = Callable[[Sequence[Any]], Sequence[float]]
Company = Callable[[Score, Sequence[Any]], float]
Accumulate = Callable[[Sequence[Tensor]], Tensor]
Cut = Callable[[Accumulate], float]
Estimate = Callable[[Tensor, Tensor], Tensor]
Bias = Callable[[Estimate], float]
Loss = Callable[..., Tensor]

LIMIT = 1e-3  # an examination alarms above it, and where its number is none


def alarms(number: Any) -> bool:
    """Whether an examination's number is an alarm: above the limit, or not a number."""
    return not float(number) <= LIMIT


def _number(found: Any) -> float:
    try:
        return float(found)
    except (TypeError, ValueError, RuntimeError):
        raise AssertionError(
            f"an examination returns one number, and this is a {type(found).__name__}"
        ) from None


def _silent(found: Any, of: str, hint: str) -> None:
    number = _number(found)
    assert not alarms(number), f"{number:.3g} for {of}, which is sound: a false alarm. {hint}"


def _alarm(found: Any, of: str, hint: str) -> None:
    number = _number(found)
    assert alarms(number), (
        f"{number:.3g} for {of}: no alarm, which would be a number above {LIMIT}. {hint}"
    )


# --- company(score, items) -> largest change of a score by the other items -----------------------

WORDS = ("three", "a", "seventeen", "seven", "eleven", "of")  # of different lengths, unsorted


def _own(items: Sequence[str]) -> list[float]:
    """The place of a text's first letter in the alphabet: a score of its own."""
    return [float(ord(text[0]) - ord("a")) for text in items]


def _rounded(items: Sequence[str]) -> list[float]:
    """As sound code computes: in another batch another last digit."""
    return [score + 1e-6 * len(items) for score in _own(items)]


def _unsorted(items: Sequence[str]) -> list[float]:
    return _own(sorted(items, key=len))


def _last_column(items: Sequence[str]) -> list[float]:
    """Read behind the end where a text is short: less for each place of filling."""
    width = max(map(len, items))
    return [s - 0.1 * (width - len(text)) for s, text in zip(_own(items), items, strict=True)]


def _centred(items: Sequence[str]) -> list[float]:
    scores = _own(items)
    return [score - sum(scores) / len(scores) for score in scores]


def _from_the_first_chunk(items: Sequence[str]) -> list[float]:
    """Four at a time, and the second four are given scores of the first."""
    scores = _own(items)
    return [scores[i % 4] for i in range(len(items))]


def _no_number(items: Sequence[str]) -> list[float]:
    """0 · ∞ wherever there is filling."""
    width = max(map(len, items))
    return [
        math.nan if len(text) < width else s for s, text in zip(_own(items), items, strict=True)
    ]


@check
def scores_of_ones_own_are_silent(company: Company) -> None:
    """Nothing depends on the batch, but for rounding."""
    hint = "each item's score in the batch is what it is alone, but for the last digits"
    for score in (_own, _rounded):
        _silent(company(score, WORDS), "scores that depend on their own item alone", hint)
    _silent(company(_own, WORDS[:1]), "a single item", "it has no company that could matter")


@check
def a_batch_that_was_sorted_alarms(company: Company) -> None:
    """Scores in the order of length, given to items in theirs."""
    hint = (
        "here items were sorted by length and their scores never put back in order: the mean is "
        "right, and a second call repeats it. What would each item get if it were alone?"
    )
    _alarm(company(_unsorted, WORDS), "scores in a wrong order", hint)


@check
def filling_alarms(company: Company) -> None:
    """A score that falls with the length of the longest item beside it."""
    hint = (
        "here a score falls with each place of filling behind its item: in any order of the same "
        "batch it is the same, and alone there is no filling"
    )
    _alarm(company(_last_column, WORDS), "scores that depend on filling", hint)
    hint = "the mean of the batch was taken off; what is left of an item that is alone?"
    _alarm(company(_centred, WORDS), "scores less the mean of their batch", hint)


@check
def its_number_is_the_largest_change(company: Company) -> None:
    """Alone a, b and c get 0, 1 and 2; together 0, 2 and 1.5."""

    def score(items: Sequence[str]) -> list[float]:
        together = {"a": 0.0, "b": 2.0, "c": 1.5}
        return _own(items) if len(items) == 1 else [together[text] for text in items]

    hint = "b gains 1 in company and c loses 0.5: the largest of both, without its sign"
    near(company(score, ["a", "b", "c"]), 1.0, "the largest change", hint)


@check
def every_item_is_asked(company: Company) -> None:
    """Only the second half of a batch is wrong."""
    hint = (
        "items go four at a time here, and those behind the fourth get the scores of the first: "
        "compare every item, in a batch of all of them"
    )
    of = "scores of the first four for those that follow"
    _alarm(company(_from_the_first_chunk, WORDS), of, hint)


@check
def no_number_is_an_alarm(company: Company) -> None:
    """Scores beside filling are nan."""
    hint = (
        "every comparison with nan is False, so Python's max() may lose it: torch's and numpy's "
        "max keep it. What is no number has to come out as an alarm"
    )
    _alarm(company(_no_number, WORDS), "scores of which some are nan", hint)


# --- cut(accumulate) -> how far a gradient depends on the way its minibatch is cut ---------------


def _mean(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts)).mean(0)


def _sum_over_a_constant(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts)).sum(0) / 64


def _sum_of_means(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.mean(0) for part in parts]).sum(0)


def _mean_of_means(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.mean(0) for part in parts]).mean(0)


def _last_alone(parts: Sequence[Tensor]) -> Tensor:
    return parts[-1].mean(0)


def _clipped_one_by_one(parts: Sequence[Tensor]) -> Tensor:
    """Every micro-batch's gradient is brought to length 1 before it is added, and so is the sum."""
    total = torch.stack([nn.functional.normalize(part.sum(0), dim=0) for part in parts]).sum(0)
    return nn.functional.normalize(total, dim=0)


@check
def gradients_that_do_not_depend_on_it_are_silent(cut: Cut) -> None:
    """The mean over tokens, and their sum over a number that never changes."""
    hint = (
        "the same tokens, cut otherwise, give the same gradient. Compare the loop with itself; "
        "which total it divides by is not what is asked"
    )
    _silent(cut(_mean), "the mean over all tokens", hint)
    _silent(cut(_sum_over_a_constant), "the sum over all tokens, divided by 64", hint)


@check
def sums_of_means_alarm(cut: Cut) -> None:
    """Each micro-batch adds its own mean."""
    hint = "with k micro-batches it is k times as large: cut the same tokens into several"
    _alarm(cut(_sum_of_means), "the sum of the micro-batches' means", hint)
    hint = "only the last micro-batch counts here: does each of yours have other tokens?"
    _alarm(cut(_last_alone), "the gradient of the last micro-batch", hint)


@check
def means_of_means_alarm(cut: Cut) -> None:
    """The mean of the micro-batches' means."""
    hint = (
        "it is the mean over tokens as long as all micro-batches have equally many, or all tokens "
        "are alike: cut into unequal parts, of tokens that differ"
    )
    _alarm(cut(_mean_of_means), "the mean of the micro-batches' means", hint)


@check
def a_turned_gradient_alarms(cut: Cut) -> None:
    """Clipped inside the loop: the length is right, and the direction is not."""
    hint = (
        "each micro-batch's gradient was clipped before it was added: its length is 1 however it "
        "is cut, and its direction changes. Compare vectors, not their lengths"
    )
    _alarm(cut(_clipped_one_by_one), "a gradient that only turns", hint)


# --- bias(estimate) -> |mean of an estimate over all tokens − KL| ---------------------------------


def _k1(logp: Tensor, ref_logp: Tensor) -> Tensor:
    return logp - ref_logp


def _controlled(weight: float) -> Estimate:
    """k1 and a multiple of e^(−d) − 1, whose mean is 0: unbiased, and k3 at weight 1."""

    def estimate(logp: Tensor, ref_logp: Tensor) -> Tensor:
        d = logp - ref_logp
        return d + weight * torch.expm1(-d)

    return estimate


def _k2(logp: Tensor, ref_logp: Tensor) -> Tensor:
    return (logp - ref_logp).square() / 2


def _turned_k3(logp: Tensor, ref_logp: Tensor) -> Tensor:
    d = ref_logp - logp
    return d + torch.expm1(-d)


def _negative(logp: Tensor, ref_logp: Tensor) -> Tensor:
    return ref_logp - logp


def _clamped(logp: Tensor, ref_logp: Tensor) -> Tensor:
    return (logp - ref_logp).clamp(min=0)


def _the_other_kl(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """An unbiased estimate of KL(π_ref ‖ π)."""
    d = logp - ref_logp
    return -d * torch.exp(-d)


@check
def unbiased_estimates_are_silent(bias: Bias) -> None:
    """k1, k3, and one between them."""
    hint = (
        "its mean is the KL exactly. Weigh every token of the vocabulary with the probability "
        "that π gives it; samples would add noise"
    )
    for name, weight in (("k1", 0.0), ("k3", 1.0), ("(k1 + k3) / 2", 0.5)):
        _silent(bias(_controlled(weight)), name, hint)


@check
def a_wrong_sign_alarms(bias: Bias) -> None:
    """−k1, and an estimate that is always 0."""
    hint = "its mean is minus the KL: give the size of the error, and let π and π_ref differ"
    _alarm(bias(_negative), "log π_ref − log π", hint)
    _alarm(bias(lambda logp, _: torch.zeros_like(logp)), "an estimate that is always 0", hint)


@check
def an_error_of_third_order_alarms(bias: Bias) -> None:
    """k2, and k3 with the sign of d turned round, are nearly right where both policies are near.

    max(k1, 0) is wrong near and far.
    """
    hint = (
        "its error is of third order in d: among policies that are near it hides. Take two that "
        "are far apart"
    )
    _alarm(bias(_k2), "k2", hint)
    _alarm(bias(_turned_k3), "e^d − 1 − d, which several public codes take for k3,", hint)
    hint = "negative values were set to 0 here, since a KL is never negative; its estimates are"
    _alarm(bias(_clamped), "max(k1, 0)", hint)


@check
def the_other_kl_alarms(bias: Bias) -> None:
    """KL(π_ref ‖ π), estimated without bias."""
    hint = (
        "this estimates KL(π_ref ‖ π). Where one policy is the other one with its words renamed, "
        "as 0.9, 0.1 and 0.1, 0.9, both KLs are the same: take another pair"
    )
    _alarm(bias(_the_other_kl), "−d·e^(−d)", hint)


# --- the ward -------------------------------------------------------------------------------------

Bug = contextlib.AbstractContextManager[Any]


def _moving_reference() -> Bug:
    """π_ref is a second object with the policy's own weights."""
    sound = PPOTrainer.__init__

    def start(self: PPOTrainer, policy: nn.Module, _: nn.Module, *args: Any, **named: Any) -> None:
        sound(self, policy, copy.copy(policy), *args, **named)

    return mock.patch.object(PPOTrainer, "__init__", start)


def _neighbours_score() -> Bug:
    """Each answer gets the score of the one before it in the batch."""
    sound = rollout.check_scores

    def rolled(scores: Any, count: int) -> Tensor:
        return sound(scores, count).roll(1)

    return mock.patch.object(rollout, "check_scores", rolled)


_BUGS: dict[str, Callable[[], Bug]] = {
    "sound": contextlib.nullcontext,
    "KL sign": clinic.flipped_kl,
    "late value": clinic.leaking_value,
    "summed mix": clinic.summed_ptx,
    "moving reference": _moving_reference,
    "neighbour's score": _neighbours_score,
}
_ALARMS = {  # what would have alarmed, if a patient had it
    "top-k sampler": "missing_tail",
    "dropout": "replay",
    "late index": "rescored",
    "whitened pads": "centred",
    "stale reference": "kl_at_start",
    "KL sign": "charge",
    "score's place": "score_place",
    "late value": "foresight",
    "summed mix": "micro_batches",
    "neighbour's score": "your own company, asked about the loop's scores,",
}
CONDITIONS = ("sound", *_ALARMS, "moving reference")
"""What a loop may have: nothing, one of the nine bugs of the chapter, or one of two more."""
_BEDS = sorted(_BUGS, key=lambda name: hashlib.sha256(f"ward, {name}".encode()).hexdigest())
PATIENTS = tuple("ABCDEF")


def patient(letter: str) -> Bug:
    """A context manager: a trainer that is made and run inside has what this patient has."""
    return _BUGS[_BEDS[PATIENTS.index(letter)]]()


@check
def every_patient_has_a_diagnosis(diagnosis: Mapping[str, str]) -> None:
    """The form of the answer."""
    assert isinstance(diagnosis, Mapping), "diagnosis is a dictionary from patient to condition"
    for letter in PATIENTS:
        assert letter in diagnosis, (
            f"patient {letter} has no diagnosis: each of {', '.join(PATIENTS)} needs one"
        )
        assert diagnosis[letter] in CONDITIONS, (
            f"patient {letter}: {diagnosis[letter]!r} is none of {', '.join(CONDITIONS)}"
        )


@check
def nobody_has_what_would_have_alarmed(diagnosis: Mapping[str, str]) -> None:
    """Who is said to have a bug fails the examination for it."""
    for letter, has in zip(PATIENTS, _BEDS, strict=True):
        named = diagnosis[letter]
        if named in _ALARMS:
            assert named == has, (
                f"patient {letter}: with {named!r}, {_ALARMS[named]} would alarm. Does it?"
            )


@check
def who_fails_nothing_may_still_be_ill(diagnosis: Mapping[str, str]) -> None:
    """One patient is sound, and one has what shows in a curve only."""
    for letter, has in zip(PATIENTS, _BEDS, strict=True):
        named = diagnosis[letter]
        if named == "sound":
            assert named == has, (
                f"patient {letter} is not sound: either an examination alarms, your own among "
                "them, or a curve of its run cannot be that of a sound loop"
            )
        if named == "moving reference":
            assert named == has, (
                f"patient {letter}: with a reference that moves along, the policy would never be "
                "away from it. Is its KL 0 after some steps?"
            )


# --- policy_loss(logp, old_logp, advantages, mask (B, T), clip) -> scalar -------------------------


def _rows(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _ratios(*rows: list[float]) -> tuple[Tensor, Tensor]:
    """log π and log π_old with these ratios; the old ones are not all alike."""
    ratio = _rows(*rows)
    old = -torch.arange(1, ratio.numel() + 1, dtype=torch.float64).view(ratio.shape) / 4
    return (old + ratio.log()).requires_grad_(), old


@check
def the_worse_of_two_counts(policy_loss: Loss) -> None:
    """Ratios 1.5 and 0.5 with an advantage of either sign."""
    for ratio, advantage, gain in ((1.5, 1, 1.2), (1.5, -1, -1.5), (0.5, 1, 0.5), (0.5, -1, -0.8)):
        logp, old = _ratios([ratio])
        found = policy_loss(logp, old, _rows([advantage]), torch.tensor([[1]]))
        hint = (
            "of ρ·Â and clip(ρ)·Â the smaller one counts, and the loss is minus it: a step too far "
            "is never paid, and one in the wrong direction is always charged"
        )
        near(found, -gain, f"the loss at ρ = {ratio:g} and Â = {advantage:+d}", hint)


@check
def filling_is_no_token(policy_loss: Loss) -> None:
    """Two answers, of three tokens and of one."""
    logp, old = _ratios([1, 1, 1], [1, 1, 1])
    advantages, mask = _rows([1, 2, 3], [6, 0, 0]), torch.tensor([[1, 1, 1], [1, 0, 0]])
    hint = "four tokens are real, with advantages 1, 2, 3 and 6: the mean is over those four"
    near(policy_loss(logp, old, advantages, mask), -3.0, "the loss", hint)


@check
def the_clip_is_the_one_given(policy_loss: Loss) -> None:
    """Ratio 1.5 at another ε."""
    logp, old = _ratios([1.5])
    hint = "the ratio is bounded to 1 ± clip, with the clip that the function was called with"
    found = policy_loss(logp, old, _rows([1]), torch.tensor([[1]]), clip=0.1)
    near(found, -1.1, "the loss at clip = 0.1", hint)


@check
def junk_reaches_neither_loss_nor_gradient(policy_loss: Loss) -> None:
    """Behind the end of an answer ratios are infinite."""
    logp, old = _ratios([1.1, 0.9, 1, 1])
    old = old - _rows([0, 0, 2000, -2000])
    advantages, mask = _rows([2, -1, 1e9, -1e9]), torch.tensor([[1, 1, 0, 0]])
    loss = policy_loss(logp, old, advantages, mask)
    hint = "masked places hold anything: choose what counts before you take an exponential"
    near(loss, -(2.2 - 0.9) / 2, "the loss", hint)
    hint = (
        "e^2000 is infinite and ∞ · 0 no number, and a torch.where behind the exponential hides it "
        "from the loss but not from the gradient"
    )
    same(_gradient(loss, logp), _rows([-1.1, 0.45, 0, 0]), "the gradient", hint)


@check
def only_the_new_policy_learns(policy_loss: Loss) -> None:
    """The first step of an iteration: old log-probabilities are those of the same pass."""
    logp, _ = _ratios([0.3, 0.5])
    advantages = _rows([2, -1]).requires_grad_()
    loss = policy_loss(logp, logp, advantages, torch.tensor([[1, 1]]))
    hint = (
        "log π_old and Â are constants: when they come from the same pass, and nobody detaches "
        "them, the ratio is 1 with a gradient of 0, and nothing is learnt"
    )
    same(_gradient(loss, logp), _rows([-1, 0.5]), "the gradient", hint)
    assert advantages.grad is None or not advantages.grad.any(), (
        "the advantages have a gradient: they say how good a token was, and are not to be changed"
    )


def _gradient(loss: Any, logp: Tensor) -> Tensor | None:
    hint = "return what torch computed, without .item() or no_grad"
    assert getattr(loss, "requires_grad", False), f"the loss cannot be followed: {hint}"
    loss.backward()
    return logp.grad
