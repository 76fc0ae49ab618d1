"""What the chapter on β reads from its benchmark, on models whose answers are recomputed here."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmarks import kl_penalty as published
from rlhf_lab.config import PPOConfig
from rlhf_lab.evaluate import continuation_logprobs
from rlhf_lab.models import ScalarModel
from rlhf_lab.world import World
from tiny_models import causal_lm

PPO = PPOConfig(
    steps=2, batch_size=4, minibatches=1, gamma=0.0, learning_rate=0.02, checkpoint_every=0,
    max_prompt_length=200, max_response_length=6, warmup_steps=0,
)  # fmt: skip
SETTINGS = published.Measured(
    prompts=8, test_prompts=6, snapshots=(2,), batches=2, batch_size=5, ppo=PPO
)


@pytest.fixture(scope="module")
def start(tokenizer):
    policy = causal_lm(vocab_size=len(tokenizer), positions=256)
    examiner = ScalarModel.from_policy(policy, seed=0)
    world = World(0)
    return published.Start(policy, tokenizer, examiner, world, world.prompts("test", 6))


def test_estimates_are_means_over_the_answers_of_a_batch(start):
    """k1 and k2 from log-probabilities that another function reads, row by row."""
    other = causal_lm(seed=1, vocab_size=len(start.tokenizer), positions=256)
    rows = published.estimated(start, other, 7, PPO, SETTINGS)
    assert [(row["step"], row["batch"]) for row in rows] == [(7, 0), (7, 1)]
    found = published.rolled_out(start, other, PPO, 5, seed=1)
    pairs = [
        (found.tokens[row, :end].tolist(), [int(found.tokens[row, end])])
        for row, (first, mask) in enumerate(
            zip(found.prompt_lengths, found.response_mask, strict=True)
        )
        for end in range(int(first), int(first + mask.sum()))
    ]
    pad = start.tokenizer.pad_token_id
    mine, theirs = (
        torch.tensor(continuation_logprobs(model, pairs, pad)) for model in (other, start.policy)
    )
    d = (mine - theirs).double()
    assert rows[1]["k1"] == pytest.approx(float(d.sum()) / 5, abs=1e-4)
    assert rows[1]["k2"] == pytest.approx(float(d.square().sum()) / 10, abs=1e-4)
    assert rows[1]["wrong-way k3"] == pytest.approx(float((d.exp() - 1 - d).sum()) / 5, rel=1e-4)
    assert rows[1]["exact"] == pytest.approx(float(found.kl.sum()) / 5, rel=1e-6)


def test_a_run_moves_and_the_reference_does_not(start):
    before = [weight.clone() for weight in start.policy.parameters()]
    found = published.measure(start, published.FREE, 0, SETTINGS)
    assert [row["step"] for row in found["curves"]] == [1, 2]
    assert {row["step"] for row in found["estimates"]} == {2}
    assert found["runs"][0]["kl"] > 0
    assert all(map(torch.equal, before, start.policy.parameters()))
    assert published.measure(start, "SFT", 0, SETTINGS)["runs"][0]["kl"] == pytest.approx(0)


def test_the_controller_is_in_the_curve(start):
    rows = published.measure(start, published.CONTROLLED, 1, SETTINGS)["curves"]
    settings = published.RUNS[published.CONTROLLED]
    assert rows[0]["objective/kl"] == pytest.approx(0, abs=1e-5)  # so the error is −0.2
    lower = settings["beta"] * (1 - 0.2 * PPO.batch_size / settings["kl_horizon"])
    assert [row["objective/beta"] for row in rows] == pytest.approx([settings["beta"], lower])


def test_all_runs_differ_by_the_penalty_alone():
    fields = {"beta", "kl_controller", "kl_target", "kl_horizon"}
    for changes in published.RUNS.values():
        assert set(changes) <= fields
        dataclasses.replace(published.Measured().ppo, **changes)
