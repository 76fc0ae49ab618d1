"""Tests of the lab *PPO-ptx by hand*: expected numbers stand here or are derived another way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from rlhf_lab.checks import called, check, near, returned, same
from rlhf_lab.figures import mean_interval

Rewards = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]
Advantages = Callable[..., tuple[Tensor, Tensor]]
Gradient = Callable[..., Tensor]
Interval = Callable[[list[float], list[float]], tuple[float, float, float]]


def _real(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _mask(*rows: list[int]) -> Tensor:
    """Whole numbers, as ``Rollout.response_mask`` has them."""
    return torch.tensor(rows)


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- shaped_rewards(scores (B,), logp, ref_logp, mask (B, T), beta) -> (B, T) -------------------


@check
def penalty_falls_on_its_token(shaped_rewards: Rewards) -> None:
    """One response of four tokens; the second is 2 nats likelier than under the reference."""
    logp, ref_logp = _real([-1, -1, -2, 0]), _real([-1, -3, -2, 0])
    found = called(shaped_rewards, _real([1])[0], logp, ref_logp, _mask([1, 1, 1, 1]), 0.5)
    same(
        found, _real([0, -1, 0, 1]), "rewards",
        "the second token is 2 nats likelier under the policy than under the reference, which "
        "costs β · 2 = 1 at that token; the score of 1 comes at the last token",
    )  # fmt: skip


@check
def score_falls_on_the_last_valid_token(shaped_rewards: Rewards) -> None:
    """Two responses without a penalty, of four tokens and of two."""
    zero, mask = torch.zeros(2, 4, dtype=torch.float64), _mask([1, 1, 1, 1], [1, 1, 0, 0])
    found = shaped_rewards(_real([1, -2])[0], zero, zero, mask, 0.5)
    same(
        found, _real([0, 0, 0, 1], [0, -2, 0, 0]), "rewards",
        "the second response ends with its second token: the score belongs there, not in the "
        "last column",
    )  # fmt: skip


@check
def no_reward_behind_the_end(shaped_rewards: Rewards) -> None:
    """What stands behind the end of a response is junk, in both policies."""
    logp, ref_logp = _real([-1, -1, 70, -8]), _real([-1, -1, -3, 900])
    found = shaped_rewards(_real([1])[0], logp, ref_logp, _mask([1, 1, 0, 0]), 0.5)
    hint = "places where the mask is 0 hold junk: their reward is 0"
    same(found, _real([0, 1, 0, 0]), "rewards", hint)


@check
def rewards_add_up_to_the_objective(shaped_rewards: Rewards) -> None:
    """Σ_t ρ_t = r − β·Σ_t (log π − log π_ref), with tokens of either sign."""
    logp, ref_logp = -_random(3, 5, seed=1).abs(), -_random(3, 5, seed=2).abs()
    scores, mask = _random(3, seed=3), _mask([1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0])
    found = shaped_rewards(scores, logp, ref_logp, mask, 0.3)
    wanted = [
        float(scores[i]) - 0.3 * sum(float(logp[i, t] - ref_logp[i, t]) for t in range(length))
        for i, length in enumerate((5, 3, 1))
    ]
    assert isinstance(found, Tensor), "rewards should be a tensor"
    same(
        found.sum(1), _real(wanted)[0], "the sum over a response",
        "it is the score minus β times the log-ratio of the whole response. The last token pays "
        "its own penalty, too; and a token with a negative log-ratio is paid for it",
    )  # fmt: skip


# --- gae(rewards, values, mask (B, T), discount, lam) -> (advantages, returns) ------------------


@check
def two_tokens_by_hand(gae: Advantages) -> None:
    """ρ = (0, 1), V = (0.5, 0.25), λ = 0.5: δ = (−0.25, 0.75)."""
    rewards, values, mask = _real([0, 1]), _real([0.5, 0.25]), _mask([1, 1])
    found = called(gae, rewards, values, mask, discount=1.0, lam=0.5)
    returned(found, 2, "gae returns two tensors: advantages, returns")
    hint = (
        "δ_2 = 1 + 0 − 0.25, since nothing comes after the last token; δ_1 = 0 + 0.25 − 0.5; then "
        "from the end: A_2 = δ_2 and A_1 = δ_1 + λ·A_2"
    )
    same(found[0], _real([0.125, 0.75]), "advantages", hint)
    same(found[1], _real([0.625, 1.0]), "returns", "a return is advantage plus value")


@check
def lambda_is_a_dial(gae: Advantages) -> None:
    """λ = 0 gives one-step errors, λ = 1 the sum of what is to come less the value."""
    rewards, values = _random(2, 6, seed=4), _random(2, 6, seed=5)
    one = torch.ones(2, 6, dtype=torch.long)
    after = torch.cat([values[:, 1:], torch.zeros(2, 1)], 1)
    hint = "with λ = 0 the advantage is δ_t alone"
    same(gae(rewards, values, one, lam=0.0)[0], rewards + after - values, "advantages", hint)
    to_come = rewards.flip(1).cumsum(1).flip(1)
    hint = "with λ = 1 and no discount the return is the sum of this and all later rewards"
    same(gae(rewards, values, one, lam=1.0)[1], to_come, "returns", hint)


@check
def recursion_agrees_with_the_sum(gae: Advantages) -> None:
    """The definition, Σ_k (γ·λ)^k·δ_{t+k}, term by term, with a discount."""
    rewards, values = _random(2, 5, seed=6), _random(2, 5, seed=7)
    discount, lam = 0.9, 0.8
    wanted = torch.zeros_like(rewards)
    for i in range(2):
        v = [*values[i].tolist(), 0.0]
        delta = [float(rewards[i, t]) + discount * v[t + 1] - v[t] for t in range(5)]
        for t in range(5):
            wanted[i, t] = sum((discount * lam) ** k * delta[t + k] for k in range(5 - t))
    hint = "the discount multiplies the next value in δ_t, and λ·discount the next advantage"
    one = torch.ones(2, 5, dtype=torch.long)
    found = gae(rewards, values, one, discount=discount, lam=lam)[0]
    same(found, wanted, "advantages", hint)
    wanted = gae(rewards, values, one, discount=1.0, lam=0.95)[0]
    hint = "the function was given with a discount of 1 and λ = 0.95: later cells call it so"
    same(gae(rewards, values, one)[0], wanted, "advantages by default", hint)


@check
def ends_where_the_response_ends(gae: Advantages) -> None:
    """A response of three tokens gives the same alone and beside one of five."""
    rewards, values = _random(2, 5, seed=8), _random(2, 5, seed=9)
    mask = _mask([1, 1, 1, 1, 1], [1, 1, 1, 0, 0])
    both = gae(rewards, values, mask)
    alone = gae(rewards[1:, :3], values[1:, :3], mask[1:, :3])
    hint = (
        "after the last valid token the next value and the next advantage are 0, whatever stands "
        "in the masked places"
    )
    for name, found, wanted in zip(("advantages", "returns"), both, alone, strict=True):
        same(found[1:, :3], wanted.double(), name, hint)
        same(found[1:, 3:], _real([0, 0]), f"{name} behind the end", "they are 0 there")


# --- combined_gradient(policy_parts, ptx_parts, parameters, gamma) -> (number of weights,) -------


def _parts(weight: Tensor, features: Tensor, mask: Tensor, sizes: list[int]) -> list[Any]:
    """Token losses that are linear in ``weight``: the gradient of each is its feature vector.

    Each micro-batch has a graph of its own, as if it came from a forward pass of its own.
    """
    cut = zip(features.split(sizes), mask.bool().split(sizes), strict=True)
    return [(part @ weight, valid) for part, valid in cut]


@check
def gamma_weighs_the_second_part(combined_gradient: Gradient) -> None:
    """One token each, with gradients (1, 0) and (0, 1)."""
    weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
    one = torch.ones(1, 1)
    policy = _parts(weight, _real([1, 0])[None], one, [1])
    ptx = _parts(weight, _real([0, 1])[None], one, [1])
    found = combined_gradient(policy, ptx, [weight], 3.0)
    hint = "g = ∇L_PG + γ·∇L_ptx: γ multiplies the gradient of the pretraining loss alone"
    same(found, _real([1, 3])[0], "g at γ = 3", hint)


@check
def tokens_count_alike(combined_gradient: Gradient) -> None:
    """Four policy tokens in micro-batches of one response each, with 3 and 1 valid tokens."""
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    features = _real([1, 2, 3], [10, 0, 0])[..., None]
    mask = _real([1, 1, 1], [1, 0, 0])
    ptx = _parts(weight, _real([0])[None], torch.ones(1, 1), [1])
    found = combined_gradient(_parts(weight, features, mask, [1, 1]), ptx, [weight], 1.0)
    same(
        found, _real([4])[0], "g",
        "the four tokens pull with 1, 2, 3 and 10: their mean is 4. The mean of the two "
        "micro-batches' means, 2 and 10, would be 6",
    )  # fmt: skip


@check
def padding_does_not_pull(combined_gradient: Gradient) -> None:
    """Masked places have losses too; they count neither above nor below the fraction bar."""
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    features = _real([2, 4, 1e6, -1e3])[..., None]
    policy = _parts(weight, features, _real([1, 1, 0, 0]), [1])
    ptx = _parts(weight, _real([5, -1e4])[..., None], _real([1, 0]), [1])
    found = combined_gradient(policy, ptx, [weight], 2.0)
    hint = "sum the losses where the mask is 1, and divide by the number of those places"
    same(found, _real([3 + 2 * 5])[0], "g", hint)


@check
def cutting_changes_nothing(combined_gradient: Gradient) -> None:
    """γ means the same for any number of micro-batches, of either kind."""
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    policy, ptx = _random(4, 2, 3, seed=10), _random(6, 3, 3, seed=11)
    masks = torch.ones(4, 2), torch.ones(6, 3)
    wanted = policy.mean((0, 1)) + 0.7 * ptx.mean((0, 1))
    for cut, other in (([4], [6]), ([1, 3], [1, 2, 3]), ([1, 1, 1, 1], [6])):
        found = combined_gradient(
            _parts(weight, policy, masks[0], cut),
            _parts(weight, ptx, masks[1], other),
            [weight],
            0.7,
        )
        hint = (
            "both losses are means over all tokens of the minibatch; adding up the means of "
            "pretraining micro-batches multiplies γ by their number"
        )
        name = f"g with {len(cut)} policy and {len(other)} pretraining micro-batches"
        same(found, wanted, name, hint)


@check
def asking_twice_gives_the_same(combined_gradient: Gradient) -> None:
    """Two parameters; nothing of an earlier call may be left in the next one."""
    first = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    second = torch.zeros(2, dtype=torch.float64, requires_grad=True)

    def ask() -> Tensor:
        one = torch.ones(1, 1)
        policy, ptx = (
            _parts(torch.cat([first, second]), _real(features)[None], one, [1])
            for features in ([1.0, 2, 3], [1.0, 1, 1])
        )
        return combined_gradient(policy, ptx, [first, second], 1.0)

    hint = "it has the gradients of all parameters, flattened, one behind the other"
    same(ask(), _real([2, 3, 4])[0], "g of two parameters", hint)
    hint = "gradients of the call before are still there: .backward() adds to .grad, without end"
    same(ask(), _real([2, 3, 4])[0], "g in a second call", hint)


# --- paired_difference(of, against) -> (mean, low, high) -----------------------------------------


def _three(found: Any) -> tuple[Any, Any, Any]:
    returned(found, 3, "paired_difference returns three numbers: mean, low, high")
    mean, low, high = found
    return mean, low, high


@check
def differences_are_paired(paired_difference: Interval) -> None:
    """Seeds that differ much, and a difference that is nearly the same in each."""
    found = paired_difference([10.99, 21.0, 61.01], [10.0, 20.0, 60.0])
    mean, low, high = _three(found)
    near(mean, 1.0, "the mean", "it is the mean of the differences, seed by seed")
    hint = (
        "the seeds differ by 0.99, 1 and 1.01, so the interval is narrow: subtract seed by seed "
        "first, and then take a deviation"
    )
    near(low, 1.0, "the lower end", hint, 0.03)
    near(high, 1.0, "the upper end", hint, 0.03)


@check
def interval_is_students(paired_difference: Interval) -> None:
    """Differences 1, 0 and 3: mean 4/3, deviation √(7/3), t = 4.3027 with two degrees."""
    mean, low, high = _three(paired_difference([1.0, 2.0, 4.0], [0.0, 2.0, 1.0]))
    near(mean, 4 / 3, "the mean", "subtract `against` from `of`")
    half = 4.302652729911275 * math.sqrt(7 / 3) / math.sqrt(3)
    hint = (
        "mean ± t·s/√n, with the deviation s divided by n − 1 and t the 97.5 % quantile of "
        "Student's distribution with n − 1 degrees of freedom: with three values 4.303, not 1.96"
    )
    near(low, 4 / 3 - half, "the lower end", hint, 1e-4)
    near(high, 4 / 3 + half, "the upper end", hint, 1e-4)


@check
def degrees_of_freedom_follow_the_seeds(paired_difference: Interval) -> None:
    """Five differences, the other way round: negative, with t = 2.7764."""
    zero = [0.0] * 5
    mean, low, high = _three(paired_difference(zero, [1.0, 2.0, 3.0, 4.0, 5.0]))
    near(mean, -3.0, "the mean", "`of` is smaller here: the difference is negative")
    half = 2.7764451051977987 * math.sqrt(2.5) / math.sqrt(5)
    near(low, -3 - half, "the lower end", "t depends on the number of seeds", 1e-4)
    near(high, -3 + half, "the upper end", "low comes before high", 1e-4)


# --- verdict: what the five runs show ------------------------------------------------------------

# What is claimed: measure, system, the one that it is compared with, and the sign.
CLAIMS = {
    "plain PPO raises the held-out loss": ("held_out_loss", "PPO, γ = 0", "SFT", 1),
    "the mix lowers the loss": ("held_out_loss", "PPO-ptx", "PPO, γ = 0", -1),
    "the mix lowers the reward model's score": ("rm", "PPO-ptx", "PPO, γ = 0", -1),
    "the mix raises the gold score": ("gold", "PPO-ptx", "PPO, γ = 0", 1),
}


@check
def every_claim_has_a_verdict(verdict: Mapping[str, str]) -> None:
    """The form of the answer."""
    assert isinstance(verdict, Mapping), (
        "verdict is a dictionary from claim to 'yes', 'no' or 'open'"
    )
    for claim in CLAIMS:
        assert claim in verdict, f"there is no verdict on {claim!r}"
        assert verdict[claim] in ("yes", "no", "open"), (
            f"the verdict on {claim!r} is {verdict[claim]!r}: write 'yes', 'no' or 'open'"
        )


@check
def zero_inside_leaves_it_open(verdict: Mapping[str, str], runs: pd.DataFrame) -> None:
    """A difference whose interval contains 0 shows nothing."""
    for claim, (low, high) in _intervals(runs).items():
        if low <= 0 <= high:
            assert verdict[claim] == "open", (
                f"{claim}: the interval of the difference reaches from {low:.3g} to {high:.3g}. "
                f"It contains 0, so {runs['seed'].nunique()} seeds do not decide"
            )


@check
def zero_outside_decides(verdict: Mapping[str, str], runs: pd.DataFrame) -> None:
    """A difference whose interval does not contain 0 has a sign."""
    for claim, (low, high) in _intervals(runs).items():
        if low > 0 or high < 0:
            wanted = "yes" if (low > 0) == (CLAIMS[claim][3] > 0) else "no"
            assert verdict[claim] == wanted, (
                f"{claim}: the interval of the difference reaches from {low:.3g} to {high:.3g}. "
                f"It lies on one side of 0, so the answer is {wanted!r}"
            )


def _intervals(runs: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Ends of the interval of each claim's difference."""
    found = {}
    for claim, (measure, of, against, _) in CLAIMS.items():
        table = runs.pivot(index="seed", columns="system", values=measure)
        found[claim] = mean_interval((table[of] - table[against]).to_numpy())[1:]
    return found
