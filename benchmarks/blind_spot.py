"""What the chapter on over-optimisation measures of a reward model that lacks a kind of pair."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.followed import Measured, pooled, scored
from benchmarks.reward_model import Start, short_prompts
from rlhf_lab.models import ScalarModel
from rlhf_lab.over_optimisation import best_of_n_kl_of_pool, best_of_n_mean
from rlhf_lab.pipeline import RANKING_START
from rlhf_lab.records import Prompt, Ranking
from rlhf_lab.reward import train_reward_model


@dataclass(frozen=True)
class Shown:
    """What a reward model gets to see.

    Attributes:
        rankings: how many.
        qualities: what inhabitants write for each of them.
        borrowed: right answers to other prompts in each of them.
    """

    rankings: int = 120
    qualities: tuple[str, ...] = ("right", "right", "rude", "hedging", "hedging")
    borrowed: int = 0


def measure(
    given: Start, shown: Shown, seed: int, settings: Measured, work: Path
) -> dict[str, list[dict[str, Any]]]:
    """Train a reward model and choose by it from the pools of the seed.

    Returns:
        ``blind``: for each n the mean over prompts of ``kl``, ``proxy``, ``gold``, and ``follows``
        (how much is done of what was asked). ``picks``: for each prompt its favourite of the pool.
    """
    model = ScalarModel.from_policy(given.sft, seed)
    config = dataclasses.replace(settings.rm, seed=seed)
    train_reward_model(model, given.tokenizer, rankings(given, shown, seed), config, quiet=True)
    tests = short_prompts(given.world, "test", settings.tests, 0)
    own = tests[settings.pooled * seed :][: settings.pooled]
    found, picks = [], []
    for prompt, pool in zip(own, pooled(given, own, seed, settings, work), strict=True):
        proxy = scored(given, model, prompt, pool)
        follows = [given.world.attributes(prompt, text).follows for text in pool.texts]
        draws = pool.spread(proxy)
        found.append([
            [
                best_of_n_kl_of_pool(draws, n),
                *(best_of_n_mean(draws, pool.spread(v), n) for v in (proxy, pool.gold, follows)),
            ]
            for n in settings.n
        ])  # fmt: skip
        best = int(np.argmax(proxy))
        picks.append({
            "prompt": prompt.text, "answer": pool.texts[best], "gold": pool.gold[best],
            "follows": follows[best],
        })  # fmt: skip
    means = np.mean(found, axis=0).tolist()
    rows = [
        dict(zip(("n", "kl", "proxy", "gold", "follows"), (n, *row), strict=True))
        for n, row in zip(settings.n, means, strict=True)
    ]
    return {"blind": rows, "picks": picks}


def rankings(given: Start, shown: Shown, seed: int) -> list[Ranking]:
    """Answers of chosen qualities to training prompts, ranked by one training labeler each."""
    first = RANKING_START + 20_000 * seed
    prompts = short_prompts(given.world, "train", shown.rankings, first)
    found = []
    for place, prompt in enumerate(prompts):
        texts = [given.world.answer(prompt, i, q) for i, q in enumerate(shown.qualities)]
        texts += [given.world.answer(other, 0) for other in others(prompts, place, shown.borrowed)]
        found.append(given.world.rank(prompt, list(dict.fromkeys(texts)), index=seed))
    return found


def others(prompts: Sequence[Prompt], place: int, count: int) -> list[Prompt]:
    """The prompts that follow one, from the start again at the end."""
    return [prompts[(place + step) % len(prompts)] for step in range(1, count + 1)]
