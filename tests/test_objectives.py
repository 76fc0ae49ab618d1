"""Every equation against a closed form, an enumeration, or a literal loop; float64."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlhf_lab import objectives as O
from rlhf_lab.errors import InputError

TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, **TIGHT)


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=gen(seed), dtype=torch.float64)


def right_mask(lengths: list[int], width: int) -> Tensor:
    return (torch.arange(width) < torch.tensor(lengths)[:, None]).long()


# --- log-probabilities, KL, entropy -------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_token_logprobs_against_numpy(temperature):
    logits, tokens = normal(3, 4, 7), torch.randint(0, 7, (3, 4), generator=gen(1))
    z = logits.numpy() / temperature
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    wanted = np.log(np.take_along_axis(p, tokens.numpy()[..., None], -1))[..., 0]
    close(O.token_logprobs(logits, tokens, temperature), torch.from_numpy(wanted))


@pytest.mark.parametrize(
    ("given_dtype", "wanted"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
    ],
)
def test_dtypes(given_dtype, wanted):
    logits, tokens = normal(2, 3, 5).to(given_dtype), torch.zeros(2, 3, dtype=torch.int64)
    logp, mask = O.token_logprobs(logits, tokens), torch.ones(2, 3)
    values = normal(2, 3).to(given_dtype)
    assert logp.dtype == O.exact_kl(logits, logits).dtype == O.entropy(logits).dtype == wanted
    assert O.shaped_rewards(logp[:, 0], logp, logp, mask, 0.1).dtype == wanted
    assert all(x.dtype == wanted for x in O.gae(values, values, mask))
    assert O.masked_whiten(values, mask).dtype == wanted
    assert O.ppo_policy_loss(logp, logp, logp, mask)[0].dtype == wanted
    assert O.lm_loss(logits, tokens).dtype == wanted
    assert O.ppo_value_loss(values, values, values, mask)[0].dtype == wanted
    assert O.masked_mean(values, mask.long()).dtype == wanted
    assert O.kwise_ranking_loss(values[0], torch.arange(3), torch.zeros(3)).dtype == wanted


def test_kl_estimates_by_enumeration():
    """Σ_v π(v)·estimate(v): k1 and k3 are the exact KL, k2 is not; direction is π ‖ π_ref."""
    logits, ref = normal(6, 50), normal(6, 50, seed=1)
    logp, ref_logp = logits.log_softmax(-1), ref.log_softmax(-1)
    p, q = logp.exp(), ref_logp.exp()
    forward = (p * (p / q).log()).sum(-1)
    means = {k: (p * O.kl_estimate(logp, ref_logp, k)).sum(-1) for k in ("k1", "k2", "k3")}
    close(O.exact_kl(logits, ref), forward)
    close(means["k1"], forward)
    close(means["k3"], forward)
    assert ((means["k2"] - forward).abs() > 0.05).all()
    backward = (q * (q / p).log()).sum(-1)
    assert ((O.exact_kl(logits, ref) - backward).abs() > 0.01).all()
    wrong_way = (p * O.kl_estimate(ref_logp, logp, "k3")).sum(-1)
    assert (wrong_way > 1.2 * forward).all()
    assert (O.kl_estimate(logp, ref_logp, "k3") >= 0).all()
    assert (O.kl_estimate(logp, ref_logp, "k1") < 0).any()


def test_k1_in_the_reward_gives_the_gradient_of_the_exact_kl():
    """Σ_v π(v)·(log π − log π_ref)(v)·∇log π(v) = ∇KL; k3 in the reward does not."""
    theta, ref = normal(12), normal(12, seed=1).log_softmax(-1)
    theta.requires_grad_()
    (exact,) = torch.autograd.grad(O.exact_kl(theta, ref), theta)
    logp = theta.log_softmax(-1)

    def policy_gradient(kind: str) -> Tensor:
        cost = O.kl_estimate(logp.detach(), ref, kind)
        (found,) = torch.autograd.grad(
            (logp.detach().exp() * cost * logp).sum(), theta, retain_graph=True
        )
        return found

    close(policy_gradient("k1"), exact)
    assert torch.cosine_similarity(policy_gradient("k3"), exact, dim=0) < 0.99


def test_gradients_of_estimates_as_losses():
    """Over samples that are held fixed: k1 none, k2 of the KL, k3 of the KL the other way."""
    theta, ref = normal(12).requires_grad_(), normal(12, seed=1)
    logp, ref_logp = theta.log_softmax(-1), ref.log_softmax(-1)

    def gradient(value: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(value, theta, retain_graph=True)
        return found

    def as_loss(kind: str) -> Tensor:
        return gradient((logp.detach().exp() * O.kl_estimate(logp, ref_logp, kind)).sum())

    close(as_loss("k1"), torch.zeros(12, dtype=torch.float64))
    close(as_loss("k2"), gradient(O.exact_kl(theta, ref)))
    close(as_loss("k3"), gradient(O.exact_kl(ref, theta)))


def test_entropy_and_kl_limits():
    assert O.entropy(torch.zeros(2, 8, dtype=torch.float64))[0].item() == pytest.approx(
        math.log(8), abs=1e-12
    )
    x = normal(3, 5, 40)
    close(O.exact_kl(x, x + 3.0), torch.zeros(3, 5, dtype=torch.float64))
    y = normal(3, 5, 40, seed=2)
    close(O.exact_kl(x.log_softmax(-1), y), O.exact_kl(x, y))


# --- rewards and advantages ---------------------------------------------------------------------


def test_shaped_rewards_put_the_score_on_the_last_valid_token():
    logp, ref = normal(3, 5), normal(3, 5, seed=1)
    mask = right_mask([5, 2, 1], 5)
    scores = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found = O.shaped_rewards(scores, logp, ref, mask, 0.3)
    wanted = torch.zeros(3, 5, dtype=torch.float64)
    for row, length in enumerate([5, 2, 1]):
        for t in range(length):
            wanted[row, t] = -0.3 * (logp[row, t] - ref[row, t])
        wanted[row, length - 1] += scores[row]
    close(found, wanted)
    close(found.sum(1), scores - 0.3 * ((logp - ref) * mask).sum(1))


def naive_gae(rewards, values, length, discount, lam):
    """O(T²): each advantage as its own sum of discounted temporal differences."""
    v = [*values[:length].tolist(), 0.0]
    delta = [rewards[t].item() + discount * v[t + 1] - v[t] for t in range(length)]
    return [
        sum((discount * lam) ** (k - t) * delta[k] for k in range(t, length)) for t in range(length)
    ]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.sampled_from([1.0, 0.97]),
    st.sampled_from([0.0, 0.95, 1.0]),
    st.integers(0, 10_000),
)
def test_gae_against_its_definition(lengths, discount, lam, seed):
    rewards, values = normal(len(lengths), 9, seed=seed), normal(len(lengths), 9, seed=seed + 1)
    mask = right_mask(lengths, 9)
    advantages, returns = O.gae(rewards, values, mask, discount, lam)
    for row, length in enumerate(lengths):
        wanted = naive_gae(rewards[row], values[row], length, discount, lam)
        close(advantages[row, :length], torch.tensor(wanted, dtype=torch.float64))
        close(returns[row, :length], advantages[row, :length] + values[row, :length])
        assert not advantages[row, length:].any()
        assert not returns[row, length:].any()


def test_gae_with_lambda_1_returns_the_rewards_to_go():
    rewards, values, mask = normal(2, 6), normal(2, 6, seed=1), right_mask([6, 3], 6)
    _, returns = O.gae(rewards, values, mask, 1.0, 1.0)
    close(returns, (rewards * mask).flip(1).cumsum(1).flip(1) * mask)


def test_junk_behind_the_mask_changes_nothing():
    mask = right_mask([4, 2, 1], 6)
    inputs = [normal(3, 6, seed=i) for i in range(5)]
    scores = normal(3)
    junk = [torch.nan, torch.inf, 1e30]

    def results(x):
        logp, old, values, rewards, other = x
        advantages, returns = O.gae(rewards, values, mask)
        whitened = O.masked_whiten(other, mask)
        return [
            advantages,
            returns,
            whitened,
            O.masked_whiten(other, mask, shift_mean=False),
            O.shaped_rewards(scores, logp, old, mask, 0.2),
            O.masked_mean(other, mask),
            O.ppo_policy_loss(logp, old, other, mask)[0],
            *O.ppo_policy_loss(logp, old, other, mask)[1].values(),
            O.ppo_value_loss(values, other, rewards, mask)[0],
            *O.ppo_value_loss(values, other, rewards, mask)[1].values(),
        ]

    wanted = results(inputs)
    for value in junk:
        spoilt = [torch.where(mask.bool(), x, value) for x in inputs]
        for found, right in zip(results(spoilt), wanted, strict=True):
            assert torch.equal(found, right)


def test_junk_behind_the_mask_has_no_gradient():
    mask = right_mask([3, 1], 4)
    logp = torch.where(mask.bool(), normal(2, 4), 500.0).requires_grad_()
    O.ppo_policy_loss(logp, torch.zeros(2, 4), normal(2, 4, seed=1), mask)[0].backward()
    assert torch.isfinite(logp.grad).all()
    assert not logp.grad[mask == 0].any()
    for junk in (torch.nan, torch.inf):
        inputs = [torch.where(mask.bool(), normal(2, 4, seed=s), junk) for s in range(3)]
        values = inputs[0].requires_grad_()
        O.ppo_value_loss(values, *inputs[1:], mask)[0].backward()
        assert torch.isfinite(values.grad).all() and values.grad.any()
        assert not values.grad[mask == 0].any()


def test_whitening():
    x, mask = 3 * normal(4, 50) + 7, right_mask([50, 20, 3, 1], 50)
    valid = mask.bool()
    found = O.masked_whiten(x, mask)[valid]
    assert found.mean().item() == pytest.approx(0, abs=1e-12)
    assert found.std(unbiased=False).item() == pytest.approx(1, abs=1e-8)  # 1e-8 in the root
    kept = O.masked_whiten(x, mask, shift_mean=False)[valid]
    assert kept.mean().item() == pytest.approx(x[valid].mean().item(), abs=1e-12)
    assert kept.std(unbiased=False).item() == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("lengths", [[0, 0], [1, 0]])
def test_whitening_of_fewer_than_two_tokens(lengths):
    x, mask = normal(2, 3), right_mask(lengths, 3)
    assert not O.masked_whiten(x, mask).any()
    close(O.masked_whiten(x, mask, shift_mean=False), x * mask)


def test_whitening_over_processes_equals_whitening_at_once():
    """Two shards, each with the other's sums added, stand for two processes."""
    x, mask = normal(6, 5), right_mask([5, 4, 3, 2, 1, 5], 5)
    recorded: list[list[Tensor]] = [[], []]

    def pass_over(shard: int, sums: list[list[Tensor]] | None) -> Tensor:
        calls = itertools.count()

        def reduce(part: Tensor) -> Tensor:
            recorded[shard].append(part)
            index = next(calls)
            other = sums[1 - shard] if sums else None
            return part if other is None or index >= len(other) else part + other[index]

        rows = slice(0, 2) if shard == 0 else slice(2, 6)
        return O.masked_whiten(x[rows], mask[rows], reduce=reduce)

    known: list[list[Tensor]] = [[], []]
    for _ in range(3):  # each round makes one more of the three sums right
        recorded = [[], []]
        parts = [pass_over(shard, known) for shard in (0, 1)]
        known = recorded
    close(torch.cat(parts), O.masked_whiten(x, mask))


# --- losses -------------------------------------------------------------------------------------


def test_policy_loss_against_a_loop():
    logp, old = normal(3, 6), normal(3, 6, seed=1) * 0.3
    advantages, lengths = normal(3, 6, seed=2), [6, 3, 1]
    total, clipped = 0.0, 0
    for row, length in enumerate(lengths):
        for t in range(length):
            ratio = math.exp(logp[row, t] - old[row, t])
            a = advantages[row, t].item()
            bounded = min(max(ratio, 0.8), 1.2)
            total -= min(ratio * a, bounded * a)
            clipped += bounded * a < ratio * a
    loss, stats = O.ppo_policy_loss(logp, old, advantages, right_mask(lengths, 6), 0.2)
    assert loss.item() == pytest.approx(total / 10, abs=1e-12)
    assert stats["clipfrac"].item() == pytest.approx(clipped / 10, abs=1e-12)
    assert 0 < clipped < 10


def test_policy_loss_at_ratio_1_is_the_policy_gradient():
    logp = normal(2, 4).requires_grad_()
    advantages, mask = normal(2, 4, seed=1), right_mask([4, 2], 4)
    loss, stats = O.ppo_policy_loss(logp, logp.detach(), advantages, mask)
    loss.backward()
    close(logp.grad, -advantages * mask / 6)
    assert stats["approxkl"] == 0
    assert stats["clipfrac"] == 0
    assert stats["ratio"] == 1


def test_clipped_tokens_have_no_gradient():
    logp = torch.tensor([[0.5, -0.5, 0.5, -0.5]], dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([[1.0, -1.0, -1.0, 1.0]], dtype=torch.float64)
    zeros = torch.zeros(1, 4, dtype=torch.float64)
    O.ppo_policy_loss(logp, zeros, advantages, torch.ones(1, 4))[0].backward()
    assert logp.grad[0, :2].tolist() == [0, 0]  # already far enough in the wanted direction
    assert (logp.grad[0, 2:] != 0).all()


def test_value_loss_against_a_loop():
    values, old, returns = normal(2, 5), normal(2, 5, seed=1), normal(2, 5, seed=2)
    lengths, total = [5, 2], 0.0
    for row, length in enumerate(lengths):
        for t in range(length):
            v, o, r = values[row, t].item(), old[row, t].item(), returns[row, t].item()
            bounded = min(max(v, o - 0.2), o + 0.2)
            total += max((v - r) ** 2, (bounded - r) ** 2)
    loss, _ = O.ppo_value_loss(values, old, returns, right_mask(lengths, 5), 0.2)
    assert loss.item() == pytest.approx(total / 2 / 7, abs=1e-12)


def test_losses_add_up_over_micro_batches():
    logp, old, adv = normal(4, 5), normal(4, 5, seed=1), normal(4, 5, seed=2)
    mask = right_mask([5, 1, 3, 2], 5)
    total = mask.sum()
    for whole, part in (
        (
            O.ppo_policy_loss(logp, old, adv, mask)[0],
            lambda r: O.ppo_policy_loss(logp[r], old[r], adv[r], mask[r], 0.2, total)[0],
        ),
        (
            O.ppo_value_loss(logp, old, adv, mask)[0],
            lambda r: O.ppo_value_loss(logp[r], old[r], adv[r], mask[r], 0.2, total)[0],
        ),
    ):
        close(part(slice(0, 1)) + part(slice(1, 4)), whole)
        averaged = (O.ppo_policy_loss(logp[:1], old[:1], adv[:1], mask[:1])[0]) / 2
        assert (averaged - whole).abs() > 1e-3  # means of means would be another number


def test_lm_loss():
    logits, tokens = normal(2, 5, 9), torch.randint(0, 9, (2, 5), generator=gen(1))
    logp = logits.log_softmax(-1)
    each = torch.stack([
        torch.stack([-logp[b, t, tokens[b, t + 1]] for t in range(4)]) for b in range(2)
    ])  # fmt: skip
    close(O.lm_loss(logits, tokens), each.mean())
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 1, 1]])
    picked = torch.stack([each[0, 0], each[0, 1], each[1, 2], each[1, 3]])
    close(O.lm_loss(logits, tokens, mask), picked.mean())
    close(O.lm_loss(logits, tokens, total=16), each.sum() / 16)


# --- K-wise ranking -----------------------------------------------------------------------------


def brute_force(scores, ranks, group):
    per_prompt = []
    for g in sorted(set(group)):
        members = [i for i, x in enumerate(group) if x == g]
        losses = [
            -math.log(1 / (1 + math.exp(-(scores[i] - scores[j]))))
            for i in members
            for j in members
            if ranks[i] < ranks[j]
        ]
        if losses:
            per_prompt.append(sum(losses) / len(losses))
    return sum(per_prompt) / len(per_prompt)


@given(st.integers(0, 10_000), st.lists(st.integers(2, 9), min_size=1, max_size=4))
def test_kwise_loss_against_brute_force(seed, sizes):
    group = torch.cat([torch.full((k,), 7 * i) for i, k in enumerate(sizes)])
    n = len(group)
    ranks = torch.randint(0, 4, (n,), generator=gen(seed))
    ranks[0], ranks[1] = 0, 1  # one pair at least
    order = torch.randperm(n, generator=gen(seed + 1))
    scores, ranks, group = normal(n, seed=seed)[order], ranks[order], group[order]
    wanted = brute_force(scores.tolist(), ranks.tolist(), group.tolist())
    assert O.kwise_ranking_loss(scores, ranks, group).item() == pytest.approx(wanted, abs=1e-10)
    shifted = O.kwise_ranking_loss(scores + 11.5, ranks, group)
    assert shifted.item() == pytest.approx(wanted, abs=1e-10)


def test_every_prompt_weighs_the_same_whatever_its_k():
    """All scores 0: each prompt's gradient on its best completion is −1/2 · (K−1)/C(K,2) / 2."""
    scores = torch.zeros(13, dtype=torch.float64, requires_grad=True)
    ranks = torch.cat([torch.arange(4), torch.arange(9)])
    group = torch.tensor([0] * 4 + [1] * 9)
    O.kwise_ranking_loss(scores, ranks, group).backward()
    assert scores.grad[0].item() == pytest.approx(-0.5 * 3 / 6 / 2, abs=1e-12)
    assert scores.grad[4].item() == pytest.approx(-0.5 * 8 / 36 / 2, abs=1e-12)


def test_kwise_total_adds_up_over_processes():
    scores, ranks = normal(8), torch.tensor([0, 1, 1, 2, 0, 1, 2, 3])
    group = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    whole = O.kwise_ranking_loss(scores, ranks, group)
    halves = [
        O.kwise_ranking_loss(scores[r], ranks[r], group[r], total=2)
        for r in (slice(4), slice(4, 8))
    ]
    close(sum(halves), whole)


def test_two_completions_are_the_bradley_terry_loss():
    loss = O.kwise_ranking_loss(
        torch.tensor([1.5, -0.5], dtype=torch.float64), torch.tensor([1, 2]), torch.tensor([3, 3])
    )
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-12)


# --- the rest -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "c", "k"), [(5, 2, 1), (5, 2, 3), (6, 0, 2), (6, 6, 2), (4, 3, 2)])
def test_pass_at_k_against_enumeration(n, c, k):
    right = [True] * c + [False] * (n - c)
    draws = list(itertools.combinations(right, k))
    assert O.pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


def test_pass_at_k_does_not_overflow():
    assert O.pass_at_k(100_000, 10, 1_000) == pytest.approx(0.0956, abs=1e-3)


def test_adaptive_beta():
    assert O.adaptive_beta(0.1, 6.0, 6.0, 64, 1000) == pytest.approx(0.1)
    assert O.adaptive_beta(0.1, 600.0, 6.0, 100, 1000) == pytest.approx(0.1 * 1.02)
    assert O.adaptive_beta(0.1, 0.0, 6.0, 100, 1000) == pytest.approx(0.1 * 0.98)
    assert O.adaptive_beta(0.1, 6.6, 6.0, 100, 1000) == pytest.approx(0.1 * 1.01)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: O.token_logprobs(normal(1, 2, 3), torch.zeros(1, 2).long(), 0.0), "temperature"),
        (lambda: O.kl_estimate(normal(1), normal(1), "k4"), "kind"),
        (lambda: O.kwise_ranking_loss(normal(3), torch.ones(3), torch.zeros(3).long()), "ranks"),
        (lambda: O.kwise_ranking_loss(normal(2), torch.arange(2), torch.arange(2)), "ranks"),
        (lambda: O.pass_at_k(3, 4, 1), "c"),
        (lambda: O.pass_at_k(3, 1, 4), "k"),
        (lambda: O.pass_at_k(3, 1, 0), "k"),
    ],
)
def test_errors_name_the_argument(call, argument):
    with pytest.raises(InputError) as error:
        call()
    assert error.value.argument == argument
