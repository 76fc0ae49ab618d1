"""What the book prints of the policy gradient, against plain sums and the package's own losses."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import policy_gradient as published
from rlhf_lab.config import PPOConfig
from rlhf_lab.models import PolicyLogits, trainable
from rlhf_lab.objectives import token_logprobs

SMALL = published.Measured(
    prompts=6, demonstrations=4, answers=6, reused=4, steps=(0, 2), fresh=1,
    ppo=PPOConfig(
        steps=1, batch_size=4, minibatches=1, gamma=0.0, max_response_length=8, warmup_steps=0,
        checkpoint_every=0,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def start():
    return published.starting_point(SMALL)


def prompts_of(start, count):
    texts = [p.text for p in start.world.prompts("train", count)]
    return published.encode_prompts(start.tokenizer, texts)


def test_spread_is_the_trace_of_the_covariance():
    vectors = np.random.default_rng(0).normal(1, 2, size=(50, 7))
    total, squares = vectors.sum(0), (vectors**2).sum()
    variance, signal = published.spread((total**2).sum(), squares, 50)
    assert variance == pytest.approx(np.trace(np.cov(vectors.T)), rel=1e-12)
    products = vectors @ vectors.T
    assert signal == pytest.approx((products.sum() - np.trace(products)) / (50 * 49), rel=1e-10)


def test_weights_of_the_estimators_by_hand():
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]])
    rewards = torch.tensor([[-1.0, 0, 3], [0, 1, 0], [-2, 0, 0]], dtype=torch.float64)
    values = torch.tensor([[1.0, 2, 3], [0, 1, 0], [5, 0, 0]], dtype=torch.float64)
    rollout = SimpleNamespace(response_mask=mask, rewards=rewards, values=values)
    found = {k: v.tolist() for k, v in published.token_weights(rollout, 10.0).items()}
    assert found == {
        "no baseline, score + 10": [[12, 12, 12], [11, 11, 0], [8, 0, 0]],
        "no baseline": [[2, 2, 2], [1, 1, 0], [-2, 0, 0]],
        "mean of the others": [[2.5, 2.5, 2.5], [1, 1, 0], [-3.5, 0, 0]],
        "value function, λ = 1": [[1, 1, 0], [1, 0, 0], [-7, 0, 0]],
        "value function, λ = 0.95": [[0.95, 1, 0], [1, 0, 0], [-7, 0, 0]],
        "value function, λ = 0": [[0, 1, 0], [1, 0, 0], [-7, 0, 0]],
    }


def test_one_by_one_gives_the_gradient_of_the_whole_batch(start):
    """The mean of the answers' gradients is the gradient of the mean of the products."""
    rollout = published._answered(start, start.policy, start.reward, prompts_of(start, 6), 0, SMALL)
    table = published.gradient_noise(start.policy, rollout, 10.0).set_index("estimator")
    weights = list(trainable(start.policy).values())
    for name, credit in published.token_weights(rollout, 10.0).items():
        tokens, at, mask, drawn = rollout.states(torch.arange(6))
        logp = token_logprobs(PolicyLogits(start.policy)(tokens, at), drawn)
        parts = torch.autograd.grad((logp * credit[mask]).sum() / 6, weights)
        whole = float(sum(part.square().sum() for part in parts))
        row = table.loc[name]
        assert row.signal + row.variance / 6 == pytest.approx(whole, rel=1e-4)


def test_starts_of_the_value_function(start):
    tokens = torch.tensor([[5, 6, 7, 8]])
    values = {
        name: published.value_function(name, start, seed=1)(tokens)
        for name in published.VALUE_STARTS
    }
    assert torch.equal(values[published.REWARD_MODEL], start.reward(tokens))
    assert values[published.ZERO_HEAD].abs().max() == 0
    assert values[published.NEW_HEAD].abs().min() > 0
    other = published.value_function(published.NEW_HEAD, start, seed=2)(tokens)
    assert not torch.allclose(other, values[published.NEW_HEAD])


def test_all_tables_of_a_small_run(start):
    before = {name: w.clone() for name, w in start.policy.state_dict().items()}
    tables = published.measure(start, 3, SMALL)
    starts = tables["value_starts"]
    assert list(starts.start) == list(published.VALUE_STARTS)
    assert (starts.step == 1).all()
    # Before the first step all have the same policy and the same answers.
    assert starts["objective/scores"].nunique() == 1
    assert starts["objective/kl"].abs().max() < 1e-6
    reuse = tables["reuse"]
    assert list(reuse.step) == [0, 2] * len(published.CLIPS)
    first, last = reuse[reuse.step == 0], reuse[reuse.step == 2]
    assert first.kl.abs().max() < 1e-6
    assert first.outside.max() == 0
    assert first.largest.max() == pytest.approx(1, abs=1e-4)
    assert last.kl.min() > 0
    assert len(tables["gradients"]) == 6
    for name, weight in start.policy.state_dict().items():
        assert torch.equal(weight, before[name])
