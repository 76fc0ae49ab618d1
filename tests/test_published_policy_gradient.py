"""What the book prints of the policy gradient, against plain sums and the package's own losses."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch

from benchmarks import policy_gradient as published
from rlhf_lab.config import PPOConfig
from rlhf_lab.models import trainable

SMALL = published.Measured(
    prompts=6, demonstrations=4, answers=6, reused=4, steps=(0, 2), fresh=1, random_steps=1,
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


def test_noise_is_the_trace_of_the_covariance(start):
    """Gradients of single answers by transformers' own forward pass, in double precision."""
    rollout = published._answered(start, start.policy, start.reward, prompts_of(start, 6), 0, SMALL)
    table = published.gradient_noise(start.policy, rollout, 10.0).set_index("estimator").variance
    policy = copy.deepcopy(start.policy).double()
    found = {name: [] for name in table.index}
    for row in range(6):
        p, n = int(rollout.prompt_lengths[row]), int(rollout.response_mask[row].sum())
        tokens = rollout.tokens[row, : p + n]
        logp = policy(tokens[None]).logits.log_softmax(-1)[0, p - 1 : -1]
        taken = logp.gather(1, tokens[p:, None]).squeeze(1)
        for name, weights in published.token_weights(rollout, 10.0).items():
            policy.zero_grad()
            (taken * weights[row, :n]).sum().backward(retain_graph=True)
            found[name].append(torch.cat([w.grad.flatten() for w in trainable(policy).values()]))
    for name, gradients in found.items():
        wanted = torch.stack(gradients).var(0).sum().item()
        assert table[name] == pytest.approx(wanted, rel=1e-4)


def test_starts_of_the_value_function(start):
    tokens = torch.tensor([[5, 6, 7, 8]])
    values = {
        name: published.value_function(name, start, seed=1)(tokens)
        for name in published.VALUE_STARTS
    }
    assert torch.equal(values[published.REWARD_MODEL], start.reward(tokens))
    assert values[published.ZERO_HEAD].abs().max() == 0
    assert values[published.RANDOM_HEAD].abs().min() > 0
    other = published.value_function(published.RANDOM_HEAD, start, seed=2)(tokens)
    assert not torch.allclose(other, values[published.RANDOM_HEAD])


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
