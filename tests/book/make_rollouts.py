"""Writes fixture/book/data/rollouts.json, the rollout of the small book's token inspector.

A few iterations of PPO from the preset ``tiny`` towards Fernwick's gold score, then one rollout and
one more step on it. Run by hand, when the format changes: python tests/book/make_rollouts.py
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from rlhf_lab.config import PPOConfig
from rlhf_lab.models import PolicyLogits, ScalarModel, load_policy
from rlhf_lab.objectives import ppo_policy_loss, token_logprobs
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.rollout import collect, scatter
from rlhf_lab.widgets.files import write_published
from rlhf_lab.widgets.token_inspector import logprobs_under, rollout_data
from rlhf_lab.world import World

OUT = Path(__file__).parent / "fixture/book/data/rollouts.json"
SHOWN = 5


def main() -> None:
    torch.set_num_threads(1)
    world = World(0)
    policy, tokenizer = load_policy("tiny")
    reference = copy.deepcopy(policy)
    prompts = world.prompts("train", 96)
    by_text = {prompt.text: prompt for prompt in prompts}

    def gold(prompt_ids, response_ids, response_mask):
        asked = tokenizer.batch_decode(prompt_ids, skip_special_tokens=True)
        said = tokenizer.batch_decode(response_ids, skip_special_tokens=True)
        return torch.tensor(
            [world.gold(by_text[a], s.strip()) for a, s in zip(asked, said, strict=True)]
        )

    value = ScalarModel.from_policy(policy, 0)
    config = PPOConfig(
        steps=25, batch_size=32, gamma=0.0, beta=0.05, max_response_length=32, learning_rate=3e-4
    )
    texts = [prompt.text for prompt in prompts]
    trainer = PPOTrainer(policy, reference, gold, value, tokenizer, texts, None, config, quiet=True)
    for row in trainer.train():
        score, kl = row["objective/scores"], row["objective/kl"]
        print(f"{row['step']}: score {score:.2f}, KL {kl:.2f}", flush=True)

    logits = PolicyLogits(policy)
    rollout = collect(
        logits,
        PolicyLogits(reference),
        gold,
        value,
        [trainer.prompts[i] for i in range(32)],
        config,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        uniform=torch.rand(32, 32, generator=torch.Generator().manual_seed(1)).double(),
    )
    optimizer = torch.optim.AdamW(policy.parameters(), lr=config.learning_rate)
    tokens, at, mask, drawn = rollout.states(torch.arange(32))
    logp = scatter(token_logprobs(logits(tokens, at), drawn), mask)
    ppo_policy_loss(logp, rollout.logprobs, rollout.advantages, mask)[0].backward()
    optimizer.step()
    updated = logprobs_under(logits, rollout, config)

    lengths = rollout.response_mask.sum(1)
    good = [i for i in range(32) if 8 <= lengths[i] <= 32]
    cut = [i for i in good if not rollout.stopped[i]][:1]
    best = sorted(set(good) - set(cut), key=lambda i: -rollout.scores[i])
    rows = [*best[: SHOWN - 2], best[-1], *cut]
    published = rollout_data(rollout, tokenizer, config, rows=rows, updated_logprobs=updated)
    write_published(OUT, published)


if __name__ == "__main__":
    main()
