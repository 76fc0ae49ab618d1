"""What the book's token inspector shows, against a small run and against the published file."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from benchmarks import policy_gradient
from benchmarks import rollouts as published
from rlhf_lab.config import PPOConfig
from rlhf_lab.objectives import gae
from rlhf_lab.widgets.files import read_published
from rlhf_lab.widgets.token_inspector import FORMAT

SMALL = published.Measured(
    prompts=6,
    answers=6,
    shortest=1,
    ppo=PPOConfig(
        steps=1, batch_size=4, minibatches=2, gamma=0.0, max_response_length=8, warmup_steps=0,
        checkpoint_every=0,
    ),
)  # fmt: skip


def test_which_answers_are_shown():
    lengths, scores = [9, 3, 8, 8, 8, 9, 9], [1.0, -9, 3, -2, 0, 5, -4]
    mask = torch.tensor([[1] * n + [0] * (9 - n) for n in lengths])
    stopped = torch.tensor([True, True, True, True, True, False, False])
    rollout = SimpleNamespace(response_mask=mask, scores=torch.tensor(scores), stopped=stopped)
    assert published.shown(rollout, shortest=8) == [3, 0, 2, 5]  # 1 is short, 5 and 6 cut off
    rollout.stopped = torch.tensor([True] * 7)
    assert published.shown(rollout, shortest=8) == [6, 0, 5]


def test_a_small_run_moves_the_ratios():
    start = policy_gradient.starting_point(policy_gradient.Measured(demonstrations=4))
    episodes = published.measure(start, SMALL)["rollouts"]
    ratios = [ratio for episode in episodes for ratio in episode["ratio"]]
    assert len(episodes) >= 1
    assert min(ratios) > 0
    assert max(abs(ratio - 1) for ratio in ratios) > 1e-3


def test_the_published_numbers_fit_together():
    """Rewards are charges and the score; returns are values and advantages before whitening."""
    seen = read_published(published.FOLDER / "rollouts.json", FORMAT)
    about = json.loads((published.FOLDER / "manifest.json").read_text(encoding="utf-8"))
    ppo = about["config"]["Measured"]["ppo"]
    assert {seen[name] == ppo[name] for name in ("beta", "lam", "clip", "discount")} == {True}
    scores = [episode["score"] for episode in seen["rollouts"]]
    assert scores == sorted(scores)
    whitened = []
    for episode in seen["rollouts"]:
        found = {
            name: torch.tensor([episode[name]], dtype=torch.float64)
            for name in ("logprob", "ref_logprob", "reward", "value", "return", "advantage")
        }
        wanted = -seen["beta"] * (found["logprob"] - found["ref_logprob"])
        wanted[0, -1] += episode["score"]
        assert found["reward"] == pytest.approx(wanted, abs=1e-5)
        mask = torch.ones_like(wanted)
        raw, returns = gae(found["reward"], found["value"], mask, seen["discount"], seen["lam"])
        assert found["return"] == pytest.approx(returns, abs=1e-4)
        whitened += zip(raw[0].tolist(), found["advantage"][0].tolist(), strict=True)
    (low, a), (high, b) = min(whitened), max(whitened)  # one line for the whole batch
    slope = (b - a) / (high - low)
    assert slope > 0
    assert [a + slope * (raw - low) for raw, _ in whitened] == pytest.approx(
        [advantage for _, advantage in whitened], abs=1e-3
    )
