"""Tests of the lab *Turn β and γ*: expected numbers stand here or are derived another way."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rlhf_lab.checks import called, check, near, returned, same

Tilt = Callable[[Tensor, float], tuple[float, float]]
Estimates = Callable[[Tensor, Tensor, Tensor], Mapping[str, Tensor]]
Effect = Callable[[pd.DataFrame, str], pd.DataFrame]


def _real(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


# --- tilt(scores (P, N), beta) -> (mean score, mean KL) ----------------------------------------


def _two(found: Any) -> tuple[Any, Any]:
    returned(found, 2, "tilt returns two numbers: score, KL")
    score, kl = found
    return score, kl


@check
def two_answers_by_hand(tilt: Tilt) -> None:
    """Scores 0 and ln 3 at β = 1: weights ¼ and ¾."""
    found = _two(tilt(_real([0, math.log(3)]), 1.0))
    near(found[0], 0.75 * math.log(3), "the score", "the weights of the two answers are ¼ and ¾")
    near(
        found[1], 0.25 * math.log(0.5) + 0.75 * math.log(1.5), "the KL",
        "it is Σ w·log(w / (1/N)): the weights against those before, which are 1/N each",
    )  # fmt: skip


@check
def a_large_beta_changes_nothing(tilt: Tilt) -> None:
    """At β = 10⁶ nothing is worth a nat."""
    score, kl = _two(called(tilt, _real([-1, 0, 4]), 1e6))
    hint = "scores are divided by β: a large β leaves all answers as likely as they were"
    near(score, 1.0, "the score at β = 1e6", hint, 1e-4)
    near(kl, 0.0, "the KL at β = 1e6", hint, 1e-4)


@check
def a_small_beta_takes_the_best(tilt: Tilt) -> None:
    """At β = 10⁻³ the best answer takes all: score 4, KL log 3."""
    score, kl = _two(tilt(_real([-1, 0, 4]), 1e-3))
    hint = (
        "exp(4 / 0.001) is more than a float holds: softmax and log_softmax subtract the maximum; "
        "and 0 · log 0 counts as 0"
    )
    near(score, 4.0, "the score at β = 0.001", hint)
    near(kl, math.log(3), "the KL at β = 0.001", hint)


@check
def prompts_are_tilted_one_by_one(tilt: Tilt) -> None:
    """A prompt whose answers all score more gets no more weight for it."""
    first = _two(tilt(_real([0, 1]), 0.5))
    both = _two(tilt(_real([0, 1], [10, 11]), 0.5))
    hint = "the weights of each prompt's answers add up to 1; then take the mean over prompts"
    near(both[0], float(first[0]) + 5, "the score of two prompts", hint)
    near(both[1], float(first[1]), "the KL of two prompts", "it is a mean over prompts")


@check
def objective_is_the_log_of_a_mean(tilt: Tilt) -> None:
    """Score − β·KL = β·log mean exp(r/β), for any scores."""
    scores = torch.randn(5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    score, kl = _two(tilt(scores, 0.4))
    wanted = sum(
        0.4 * math.log(sum(math.exp(r / 0.4) for r in row) / 7) for row in scores.tolist()
    ) / 5  # fmt: skip
    hint = "score and KL have to be those of the same weights, exp(r/β) divided by their sum"
    near(float(score) - 0.4 * float(kl), wanted, "score − β·KL", hint)


# --- prediction: a dictionary, and what was measured then ----------------------------------------

PREDICTED = ("kl", "rm_score", "loss")


@check
def prediction_is_complete(prediction: Mapping[str, Any]) -> None:
    """Two weights and three numbers."""
    assert isinstance(prediction, Mapping), "prediction is a dictionary"
    names = ("beta", "gamma", *PREDICTED)
    for name in names:
        assert name in prediction, f"prediction has no {name!r}; it has to have {', '.join(names)}"
        value = prediction[name]
        known = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        finite = known and math.isfinite(value)
        assert finite, f"prediction[{name!r}] is {value!r}: write a number"
    for name in ("beta", "gamma"):
        assert prediction[name] >= 0, f"{name} is {prediction[name]}: weights are at least 0"


@check
def prediction_is_possible(prediction: Mapping[str, float]) -> None:
    """A KL and a cross-entropy have a sign."""
    assert prediction["kl"] > 0, (
        f"a KL of {prediction['kl']}: the policy moves, so it is above 0 nats per response"
    )
    assert prediction["loss"] > 0, (
        f"a loss of {prediction['loss']}: a cross-entropy is above 0 nats per token"
    )


@check
def point_is_new(prediction: Mapping[str, float], runs: pd.DataFrame) -> None:
    """What is in the table already needs no prediction."""
    known = ((runs["beta"] == prediction["beta"]) & (runs["gamma"] == prediction["gamma"])).any()
    assert not known, (
        f"β = {prediction['beta']:g}, γ = {prediction['gamma']:g} is in the table already: "
        "choose another point"
    )


@check
def point_was_measured(prediction: Mapping[str, float], own: pd.DataFrame) -> None:
    """The run belongs to the prediction."""
    assert len(own) == 1, f"`own` has {len(own)} rows: train one point"
    run = own.iloc[0]
    for name in ("beta", "gamma"):
        assert run[name] == prediction[name], (
            f"you predicted {name} = {prediction[name]:g} and trained {run[name]:g}"
        )
    assert all(math.isfinite(run[name]) for name in PREDICTED), f"the run failed: {run['error']}"


# --- kl_estimates(logp, ref_logp, mask (B, T)) -> {"k1", "k2", "k3"}, (B,) each -----------------


@check
def one_token_by_hand(kl_estimates: Estimates) -> None:
    """d = 1 and d = −1, in a response each."""
    found = called(kl_estimates, _real([-1], [-2]), _real([-2], [-1]), torch.tensor([[1], [1]]))
    assert isinstance(found, Mapping), (
        f"kl_estimates returns a dictionary of three tensors; this returned {found!r:.60}"
    )
    for name in ("k1", "k2", "k3"):
        assert name in found, f"kl_estimates returns a dictionary with {name!r}"
    same(found["k1"], _real([1, -1])[0], "k1", "it is d = log π − log π_ref, of either sign")
    same(found["k2"], _real([0.5, 0.5])[0], "k2", "it is d²/2")
    hint = "it is exp(−d) − 1 + d; with the sign of d turned round it estimates something else"
    same(found["k3"], _real([math.exp(-1), math.e - 2])[0], "k3", hint)


@check
def sums_over_the_response(kl_estimates: Estimates) -> None:
    """Three tokens and one; the rest is junk."""
    logp, ref_logp = _real([-1, -1, -1], [-1, 50, 9]), _real([-2, -2, -2], [-1, -3, 900])
    found = kl_estimates(logp, ref_logp, torch.tensor([[1, 1, 1], [1, 0, 0]]))
    hint = "an answer's estimate is the sum over its valid tokens, neither a mean nor with padding"
    same(found["k1"], _real([3, 0])[0], "k1", hint)
    same(found["k2"], _real([1.5, 0])[0], "k2", hint)
    hint += "; exp of padding may be infinite, and ∞ · 0 is no number, so set d to 0 there first"
    same(found["k3"], _real([3 * math.exp(-1), 0])[0], "k3", hint)


@check
def k1_and_k3_are_right_on_average(kl_estimates: Estimates) -> None:
    """Every answer of two tokens over three words, weighed by its probability: no sampling."""
    ours, theirs = (0.6, 0.3, 0.1), (0.2, 0.5, 0.3)
    exact = 2 * sum(p * math.log(p / q) for p, q in zip(ours, theirs, strict=True))
    answers = [*itertools.product(range(3), repeat=2)]
    logp = _real(*([math.log(ours[v]) for v in answer] for answer in answers))
    ref_logp = _real(*([math.log(theirs[v]) for v in answer] for answer in answers))
    found = kl_estimates(logp, ref_logp, torch.ones(len(answers), 2, dtype=torch.long))
    weight = logp.sum(1).exp()
    for name in ("k1", "k3"):
        hint = (
            "its average over all answers, each as often as the policy writes it, is the exact KL"
        )
        near(float((weight * found[name]).sum()), exact, f"the mean of {name}", hint)
    assert abs(float((weight * found["k2"]).sum()) - exact) > 1e-3, (
        "k2 is biased: it cannot be right on average here"
    )


# --- effect_of_gamma(runs, measure) -> mean, low, high by gamma --------------------------------


def _runs(value: Callable[[int, float, float], float], seeds: int = 3) -> pd.DataFrame:
    """A sweep's table with the rows before PPO: its loss is a function of seed, β and γ.

    The gold score is the loss turned round, so that who forgets ``measure`` gets another sign.
    """
    cells = itertools.product(range(seeds), (0.0, 0.1, 0.5), (0.0, 0.5, 2.0))
    rows = [
        {
            "policy": "ppo",
            "seed": seed,
            "beta": beta,
            "gamma": gamma,
            "loss": value(seed, beta, gamma),
        }
        for seed, beta, gamma in cells
    ]
    before = [
        {"policy": policy, "seed": s, "beta": math.nan, "gamma": math.nan, "loss": 100.0}
        for s in range(seeds) for policy in ("base", "sft")
    ]  # fmt: skip
    runs = pd.DataFrame([*before, *rows])
    return runs.assign(gold=-runs["loss"])


def _ends(
    effect: Effect, runs: pd.DataFrame, gamma: float, measure: str = "loss"
) -> tuple[float, float, float]:
    table = effect(runs, measure)
    assert isinstance(table, pd.DataFrame), (
        f"effect_of_gamma returns a DataFrame; this returned a {type(table).__name__}"
    )
    for column in ("mean", "low", "high"):
        assert column in table.columns, f"the table has no column {column!r}"
    assert list(table.index) == [0.5, 2.0], (
        f"the rows are {list(table.index)}: one for each γ above 0, in order, by the value of γ"
    )
    row = table.loc[gamma]
    return float(row["mean"]), float(row["low"]), float(row["high"])


@check
def pairs_share_beta_and_seed(effect_of_gamma: Effect) -> None:
    """Seeds lie 10 apart; γ = 2 adds 5.99, 6 and 6.01 in them, at any β."""
    runs = _runs(lambda s, b, g: 10 * s + 5 * b + (3 + (s - 1) / 200) * g)
    mean, low, high = _ends(effect_of_gamma, runs, 2.0)
    near(mean, 6.0, "the effect of γ = 2", "subtract the run with γ = 0 from the one with γ")
    hint = "compare runs of one β and one seed: each such pair differs by 5.99, 6 or 6.01"
    near(low, 6.0, "its lower end", hint, 0.03)
    near(high, 6.0, "its upper end", hint, 0.03)
    mean, _, _ = _ends(effect_of_gamma, runs, 2.0, "gold")
    near(mean, -6.0, "the effect on gold", "read the column that `measure` names")


@check
def seeds_are_the_sample(effect_of_gamma: Effect) -> None:
    """Three seeds, three βs: nine pairs, but only the seeds differ (by 1, 2 and 3)."""
    mean, low, high = _ends(effect_of_gamma, _runs(lambda s, b, g: (1 + s) * (g > 0) + b), 0.5)
    near(mean, 2.0, "the effect", "it is the mean over seeds of the mean over β")
    half = 4.302652729911275 / math.sqrt(3)
    hint = (
        "runs of one seed share their SFT policy and reward model, so they are one observation: "
        "average over β first, then take the interval over three seeds"
    )
    near(low, 2 - half, "its lower end", hint, 1e-4)
    near(high, 2 + half, "its upper end", hint, 1e-4)


@check
def a_failed_run_spoils_only_its_pair(effect_of_gamma: Effect) -> None:
    """One run diverged: its measure is missing."""
    runs = _runs(lambda s, b, g: (1 + s) * (g > 0) + b)
    lost = (runs["seed"] == 0) & (runs["beta"] == 0.1) & (runs["gamma"] == 0.5)
    runs.loc[lost, "loss"] = math.nan
    mean, _, _ = _ends(effect_of_gamma, runs, 0.5)
    near(mean, 2.0, "the effect", "leave the pair of a failed run out, and keep its seed's others")
