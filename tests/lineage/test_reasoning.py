"""GRPO's equations against plain loops and against TRL, and a checker as a reward."""

from __future__ import annotations

import math
import statistics

import pytest
import torch

from rlhf_lab.errors import InputError
from rlhf_lab.lineage import long_sums, reasoning
from rlhf_lab.lineage.reasoning import GRPOSettings, group_advantages, grpo_loss
from rlhf_lab.models import PolicyLogits, align, load_policy
from rlhf_lab.objectives import token_logprobs
from rlhf_lab.rollout import response_states, scatter


def test_an_answer_is_compared_with_its_group():
    rewards = [1.0, 0.0, 0.0, 1.0, 3.0, 2.0]
    wanted = []
    for group in (rewards[:3], rewards[3:]):
        mean, deviation = statistics.mean(group), statistics.stdev(group)
        wanted += [(r - mean) / (deviation + 1e-4) for r in group]
    found = group_advantages(torch.tensor(rewards, dtype=torch.float64), 3)
    assert found.tolist() == pytest.approx(wanted, abs=1e-12)
    plain = group_advantages(torch.tensor(rewards, dtype=torch.float64), 3, scale=False)
    assert plain.tolist() == pytest.approx([2 / 3, -1 / 3, -1 / 3, -1, 1, 0], abs=1e-12)


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_a_group_of_equals_teaches_nothing(reward):
    assert group_advantages(torch.full((8,), reward), 4).tolist() == [0.0] * 8


@pytest.mark.parametrize(("count", "size"), [(8, 3), (8, 1), (0, 2)])
def test_groups_have_to_be_whole(count, size):
    with pytest.raises(InputError, match="group_size"):
        group_advantages(torch.zeros(count), size)


def _case(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 4)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    logp, old, ref = (
        -torch.rand(shape, generator=generator, dtype=torch.float64) * 2 for _ in range(3)
    )
    advantages = torch.tensor([1.2, -0.7, -0.5], dtype=torch.float64)
    return logp, old, ref, advantages, mask


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_the_loss_is_that_of_plain_loops(beta):
    """Answer by answer and token by token, as the paper has it."""
    logp, old, ref, advantages, mask = _case()
    total = 0.0
    for i in range(3):
        length = int(mask[i].sum())
        inner = 0.0
        for t in range(length):
            ratio = math.exp(logp[i, t] - old[i, t])
            a = float(advantages[i])
            gain = min(ratio * a, max(min(ratio, 1.2), 0.8) * a)
            other = math.exp(ref[i, t] - logp[i, t])
            gain -= beta * (other - math.log(other) - 1)
            inner += gain / length
        total += inner / 3
    junk = torch.where(mask.bool(), logp, torch.nan)
    found = grpo_loss(junk, old, advantages, mask, clip=0.2, beta=beta, ref_logp=ref)
    assert float(found) == pytest.approx(-total, abs=1e-12)


def test_on_policy_the_gradient_is_that_of_reinforce():
    logp, _, _, advantages, mask = _case(1)
    logp.requires_grad_(True)
    grpo_loss(logp, logp.detach(), advantages, mask).backward()
    wanted = -advantages[:, None] * mask / mask.sum(1, keepdim=True) / 3
    assert torch.allclose(logp.grad, wanted, atol=1e-12)


def test_a_penalty_needs_a_reference():
    logp, old, _, advantages, mask = _case()
    with pytest.raises(InputError, match="ref_logp"):
        grpo_loss(logp, old, advantages, mask, beta=0.1)


def test_a_checker_is_a_reward():
    _, tokenizer = load_policy("nano")
    problems = long_sums.long_sums("train", 3)
    reward = reasoning.verifiable_reward(problems, tokenizer, long_sums.answer_is_right)
    asked = tokenizer([p.text for p in problems], padding=True, return_tensors="pt")["input_ids"]
    said = [problems[0].solution, problems[1].solution + " no, 99.", problems[2].bare_answer]
    tokenizer.padding_side = "right"
    given = tokenizer(said, padding=True, return_tensors="pt")
    scores = reward(asked, given["input_ids"], given["attention_mask"])
    assert scores.tolist() == [1.0, 0.0, 1.0]
    # What is not part of the response is not read.
    mask = given["attention_mask"].clone()
    last = len(tokenizer(said[0])["input_ids"])
    mask[0, last - 2 :] = 0  # without the number at its end and the full stop
    cut = tokenizer.decode(given["input_ids"][0][: last - 2])
    wanted = float(long_sums.answer_is_right(problems[0], cut))
    assert reward(asked, given["input_ids"], mask)[0] == wanted
    with pytest.raises(InputError, match="prompt_ids"):
        reward(asked[:, 2:], given["input_ids"], given["attention_mask"])


def test_settings_need_whole_minibatches():
    with pytest.raises(InputError, match="minibatches"):
        GRPOSettings(problems=3, group=3, minibatches=2)


def test_trl_has_our_advantages_and_our_loss(monkeypatch):
    """One step on left-padded problems: its log-probabilities are those of rows from column 0."""
    import trl

    seen = {}
    generate = trl.GRPOTrainer._generate_and_score_completions
    loss_of = trl.GRPOTrainer._compute_loss

    def spy_batch(self, inputs):
        return seen.setdefault("batch", generate(self, inputs))

    def spy_loss(self, model, inputs):
        loss = loss_of(self, model, inputs)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        tokens, lengths = align(
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1), mask
        )
        responses = inputs["completion_mask"]
        tokens, at, valid, drawn = response_states(
            tokens, lengths - responses.sum(1), inputs["completion_ids"], responses
        )
        with torch.no_grad():
            logp = scatter(token_logprobs(PolicyLogits(model)(tokens, at), drawn), valid)
        ours = grpo_loss(logp, logp, inputs["advantages"], valid)
        seen.setdefault("loss", (float(loss.detach()), float(ours)))
        seen.setdefault("padded", bool((inputs["prompt_mask"] == 0).any()))
        return loss

    monkeypatch.setattr(trl.GRPOTrainer, "_generate_and_score_completions", spy_batch)
    monkeypatch.setattr(trl.GRPOTrainer, "_compute_loss", spy_loss)
    policy, tokenizer = load_policy("nano")
    before = policy.transformer.wte.weight.detach().clone()
    problems = [p for n in (2, 4) for p in long_sums.long_sums("train", 6, changes=n)]
    settings = GRPOSettings(steps=1, problems=4, group=4, minibatches=1, max_response_length=10)
    scores = []

    def check(problem, text):
        scores.append(len(text) % 3 == 0)
        return scores[-1]

    history = reasoning.train_grpo(policy, tokenizer, problems, check, settings)
    ours = group_advantages(torch.tensor(scores).float(), 4)
    assert 0 < sum(scores) < 16 and seen["padded"]
    assert torch.allclose(seen["batch"]["advantages"], ours, atol=1e-6)
    # Of a mean near 0: what is compared is the difference.
    assert seen["loss"][0] == pytest.approx(seen["loss"][1], abs=1e-5)
    assert [set(row) for row in history] == [{"reward", "tokens", "flat"}]
    assert history[0]["reward"] == pytest.approx(sum(scores) / 16)
    assert not torch.equal(before, policy.transformer.wte.weight)
    assert "forward" not in vars(policy) and not policy.training
