"""What does PPO see of single answers, token by token?

Writes ``book/results/rollouts``: the file of the chapter's token inspector, with its manifest. The
run is that of the benchmark ``policy_gradient``, first seed: some iterations from the SFT policy of
the first published quickstart against the shipped examiner. Then the policy answers a batch of
training prompts, and one more iteration's minibatches are taken on it, so that probability ratios
are not all 1. Which answers are shown follows a rule: of all those of a readable length the worst,
the middle and the best by score, and the first that was cut off, where there is one.
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import policy_gradient
from benchmarks.policy_gradient import Start
from rlhf_lab.config import PPOConfig
from rlhf_lab.encoding import encode_prompts
from rlhf_lab.files import atomic_write
from rlhf_lab.models import PolicyLogits, reward_function
from rlhf_lab.objectives import ppo_policy_loss, token_logprobs
from rlhf_lab.pipeline import PPO_START
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.provenance import manifest
from rlhf_lab.rollout import Rollout, collect, scatter
from rlhf_lab.widgets.files import write_published
from rlhf_lab.widgets.token_inspector import logprobs_under, rollout_data

FOLDER = Path(__file__).parents[1] / "book" / "results" / "rollouts"
SEED = 0


@dataclass(frozen=True)
class Measured:
    """Which run is looked at.

    Attributes:
        prompts: of the run.
        answers: of the batch that is looked at.
        shortest: tokens of an answer that is shown, at least.
        ppo: settings of the run and of the batch.
    """

    prompts: int = 500
    answers: int = 32
    shortest: int = 8
    ppo: PPOConfig = policy_gradient.PPO


def run() -> None:
    """Train, look at a batch, write the file."""
    started, settings = time.time(), Measured()
    torch.set_num_threads(1)  # the last bits do not depend on the machine's cores
    start = policy_gradient.starting_point(policy_gradient.Measured())
    published = measure(start, settings)
    for episode in published["rollouts"]:
        said = "".join(t.get("text", t.get("special", "·")) for t in episode["tokens"])
        print(f"{episode['score']:.2f} {episode['prompt']!r} {said!r}")
    write_published(FOLDER / "rollouts.json", published)
    about = manifest("python -m benchmarks rollouts", settings, (SEED,), started)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")


def measure(start: Start, settings: Measured) -> dict[str, Any]:
    """The published file of one run."""
    texts = [p.text for p in start.world.prompts("train", settings.prompts, PPO_START)]
    prompts = encode_prompts(start.tokenizer, texts)
    trainer = PPOTrainer(
        copy.deepcopy(start.policy),
        start.policy,
        reward_function(start.reward),
        start.reward.copy(),
        start.tokenizer,
        prompts,
        None,
        settings.ppo,
        quiet=True,
    )
    trainer.train()
    rollout = answered(start, trainer, prompts[: settings.answers], settings.ppo)
    update(trainer, rollout, settings.ppo)
    return rollout_data(
        rollout,
        start.tokenizer,
        settings.ppo,
        rows=shown(rollout, settings.shortest),
        updated_logprobs=logprobs_under(PolicyLogits(trainer.policy), rollout, settings.ppo),
    )


def answered(
    start: Start, trainer: PPOTrainer, prompts: list[list[int]], config: PPOConfig
) -> Rollout:
    """One answer of the trained policy to each prompt, with all that PPO computes of it."""
    generator = torch.Generator().manual_seed(1)
    shape = len(prompts), config.max_response_length
    return collect(
        PolicyLogits(trainer.policy),
        PolicyLogits(start.policy),
        reward_function(start.reward),
        trainer.value,
        prompts,
        config,
        eos_token_id=start.tokenizer.eos_token_id,
        pad_token_id=start.tokenizer.pad_token_id,
        uniform=torch.rand(shape, generator=generator, dtype=torch.float64),
    )


def update(trainer: PPOTrainer, rollout: Rollout, config: PPOConfig) -> None:
    """One pass over the batch in minibatches of its order, by the trainer's own optimiser."""
    logits = PolicyLogits(trainer.policy)
    for rows in torch.arange(len(rollout.tokens)).chunk(config.minibatches):
        tokens, at, mask, drawn = rollout.states(rows)
        logp = scatter(token_logprobs(logits(tokens, at), drawn), mask)
        old, advantages = (x[rows, : mask.shape[1]] for x in (rollout.logprobs, rollout.advantages))
        loss, _ = ppo_policy_loss(logp, old, advantages, mask, config.clip)
        loss.backward()
        trainer.state.step("policy", loss.item(), config.max_grad_norm)


def shown(rollout: Rollout, shortest: int) -> list[int]:
    """The worst, the middle and the best answer by score, and the first that was cut off."""
    lengths = rollout.response_mask.sum(1)
    readable = [row for row in range(len(lengths)) if lengths[row] >= shortest]
    ended = [row for row in readable if rollout.stopped[row]]
    ended.sort(key=lambda row: float(rollout.scores[row]))
    cut = [row for row in readable if not rollout.stopped[row]]
    return list(dict.fromkeys([ended[0], ended[len(ended) // 2], ended[-1], *cut[:1]]))
