"""A rollout against row-by-row recomputation with transformers' own forward."""

from __future__ import annotations

import pytest
import torch

from rlhf_lab import objectives as O
from rlhf_lab.config import PPOConfig
from rlhf_lab.errors import DivergenceError, InputError
from rlhf_lab.models import PolicyLogits, ScalarModel
from rlhf_lab.rollout import collect, response_states, scatter
from tiny_models import EOS, FAMILIES, PAD, causal_lm

PROMPTS = [[7, 3, 2, 6, 5], [4], [4, 4, 6], [3, 5, 2, 7], [5, 2], [7, 7], [6], [2, 3, 4]]


def make(kind: str, seed: int) -> torch.nn.Module:
    model = causal_lm(kind, seed, vocab_size=8)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(5)
    return model.double()


def roll(kind="gpt2", reward=None, prompts=PROMPTS, **settings):
    defaults = {"batch_size": 8, "minibatches": 2, "max_response_length": 9, "gamma": 0.0}
    config = PPOConfig(**(defaults | settings))
    policy, reference = make(kind, 0), make(kind, 1)
    value = ScalarModel.from_policy(make(kind, 2), 0)
    uniform = torch.rand(
        len(prompts), 9, generator=torch.Generator().manual_seed(4), dtype=torch.float64
    )
    reward = reward or (lambda p, r, m: (r * m).sum(1).double() / 10)
    rollout = collect(
        PolicyLogits(policy),
        PolicyLogits(reference),
        reward,
        value,
        prompts,
        config,
        eos_token_id=EOS,
        pad_token_id=PAD,
        uniform=uniform,
    )
    return rollout, policy, reference, value, config


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("kind", FAMILIES)
def test_every_number_row_by_row(kind, temperature):
    rollout, policy, reference, value, config = roll(
        kind, temperature=temperature, missing_eos_penalty=0.5
    )
    lengths = rollout.response_mask.sum(1).tolist()
    assert len(set(lengths)) > 2
    assert rollout.response_ids.shape[1] == max(lengths)
    for row, (prompt, n) in enumerate(zip(PROMPTS, lengths, strict=True)):
        response = rollout.response_ids[row, :n].tolist()
        assert rollout.tokens[row, : len(prompt) + n].tolist() == prompt + response
        text = torch.tensor([prompt + response])
        states = slice(len(prompt) - 1, len(prompt) + n - 1)
        logp = (policy(text).logits / temperature).log_softmax(-1)[0, states]
        ref = (reference(text).logits / temperature).log_softmax(-1)[0, states]
        at = (torch.arange(n), torch.tensor(response))
        wanted = {
            "logprobs": logp[at],
            "ref_logprobs": ref[at],
            "values": value(text)[0, states],
            "kl": (logp.exp() * (logp - ref)).sum(-1),
            "entropy": -(logp.exp() * logp).sum(-1),
        }
        for name, right in wanted.items():
            found = getattr(rollout, name)[row]
            torch.testing.assert_close(found[:n], right, rtol=0, atol=1e-9)
            assert not found[n:].any()
        stopped = response[-1] == EOS
        assert bool(rollout.stopped[row]) == stopped
        score = sum(response) / 10 - (0.0 if stopped else 0.5)
        assert rollout.scores[row].item() == pytest.approx(score, abs=1e-12)
        reward = -config.beta * (wanted["logprobs"] - wanted["ref_logprobs"])
        reward[-1] += score
        torch.testing.assert_close(rollout.rewards[row, :n], reward, rtol=0, atol=1e-9)
    assert 0 < rollout.stopped.sum() < len(PROMPTS)
    mask = rollout.response_mask
    advantages, returns = O.gae(rollout.rewards, rollout.values, mask)
    torch.testing.assert_close(rollout.returns, returns)
    torch.testing.assert_close(rollout.advantages, O.masked_whiten(advantages, mask))


@pytest.mark.parametrize("kind", FAMILIES)
def test_batch_and_micro_batches_change_nothing(kind):
    whole, *_ = roll(kind)
    for size in (1, 2, 4):
        split, *_ = roll(kind, micro_batch_size=size)
        assert torch.equal(split.response_ids, whole.response_ids)
        for name in ("logprobs", "ref_logprobs", "values", "kl", "advantages", "returns"):
            torch.testing.assert_close(
                getattr(split, name), getattr(whole, name), rtol=0, atol=1e-9
            )


def test_response_states_point_before_each_token():
    tokens = torch.tensor([[5, 6, 7, 8, PAD], [5, 8, 9, 2, EOS]])
    inputs, at, mask, drawn = response_states(
        tokens,
        torch.tensor([3, 2]),
        torch.tensor([[8, PAD, PAD], [9, 2, EOS]]),
        torch.tensor([[1, 0, 0], [1, 1, 1]]),
    )
    assert inputs.tolist() == [[5, 6, 7, 8], [5, 8, 9, 2]]
    assert inputs.flatten()[at].tolist() == [7, 8, 9, 2]
    assert drawn.tolist() == [8, 9, 2, EOS]
    assert mask.tolist() == [[True, False, False], [True, True, True]]
    assert scatter(drawn.double(), mask).tolist() == [[8, 0, 0], [9, 2, EOS]]


def test_groups_cover_the_rows_once_in_order_of_length():
    rollout, *_ = roll()
    rows = torch.tensor([6, 0, 3, 5])
    groups = rollout.groups(rows, 2)
    assert sorted(torch.cat(groups).tolist()) == [0, 3, 5, 6]
    length = rollout.prompt_lengths + rollout.response_mask.sum(1)
    assert length[groups[0]].max() <= length[groups[1]].min()


def test_reward_whitening_keeps_the_mean():
    plain, *_ = roll()
    white, *_ = roll(whiten_rewards=True)
    mask = plain.response_mask.bool()
    assert white.rewards[mask].mean().item() == pytest.approx(plain.rewards[mask].mean().item())
    assert white.rewards[mask].std(unbiased=False).item() == pytest.approx(1, abs=1e-6)
    assert plain.rewards[mask].std(unbiased=False).item() != pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize(
    "reward",
    [
        lambda p, r, m: torch.zeros(3),
        lambda p, r, m: torch.zeros(8, 1),
        lambda p, r, m: [0.0] * 8,
        lambda p, r, m: torch.tensor([0.0] * 7 + [float("nan")]),
        lambda p, r, m: torch.tensor([0.0] * 7 + [float("inf")]),
    ],
)
def test_refuses_rewards(reward):
    with pytest.raises(InputError) as error:
        roll(reward=reward)
    assert error.value.argument == "reward"


def test_integer_rewards_are_numbers_too():
    rollout, *_ = roll(reward=lambda p, r, m: m.sum(1))
    assert rollout.scores.tolist() == rollout.response_mask.sum(1).tolist()


def test_reward_sees_left_padded_prompts_and_right_padded_responses():
    seen = {}

    def reward(prompts, responses, mask):
        seen.update(prompts=prompts, responses=responses, mask=mask)
        return torch.zeros(len(prompts))

    rollout, *_ = roll(reward=reward)
    for row, prompt in enumerate(PROMPTS):
        assert seen["prompts"][row].tolist() == [PAD] * (5 - len(prompt)) + prompt
    assert torch.equal(seen["responses"], rollout.response_ids)
    assert (seen["responses"][seen["mask"] == 0] == PAD).all()


def test_stops_at_values_that_are_not_finite():
    policy, reference = make("gpt2", 0), make("gpt2", 1)
    value = ScalarModel.from_policy(policy, 0)
    value.bias.fill_(float("nan"))
    with pytest.raises(DivergenceError, match="values"):
        collect(
            PolicyLogits(policy),
            PolicyLogits(reference),
            lambda p, r, m: torch.zeros(len(p)),
            value,
            PROMPTS,
            PPOConfig(batch_size=8, gamma=0.0, max_response_length=4),
            eos_token_id=EOS,
            pad_token_id=PAD,
            uniform=torch.rand(8, 4, dtype=torch.float64),
        )
