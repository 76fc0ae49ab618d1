"""What the chapter on over-optimisation measures of one reward model: followed, and chosen by."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata
from torch import nn

from benchmarks.labeling import pair_share
from benchmarks.reward_model import Start, short_prompts
from rlhf_lab.config import PPOConfig, RMConfig
from rlhf_lab.encoding import encode_prompts
from rlhf_lab.evaluate import answers, exact_kl, gold_report, rm_scores
from rlhf_lab.files import atomic_write
from rlhf_lab.models import ScalarModel, reward_function
from rlhf_lab.over_optimisation import best_of_n_kl_of_pool, best_of_n_mean
from rlhf_lab.pipeline import PEOPLE, PPO_START, RANKING_START, sample_rankings
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.records import Prompt, Ranking
from rlhf_lab.reward import train_reward_model

TABLES = ("course", "best_of_n", "reward_models", "answers")
ATTRIBUTES = ("follows", "truth", "relevance", "harm", "hedge", "form")


@dataclass(frozen=True)
class Taught:
    """What a reward model learns from.

    Attributes:
        rankings: how many; 0 for the shipped examiner, which has learned before.
        layers: of the SFT policy's body that it keeps, from below; 0 for all.
    """

    rankings: int = 0
    layers: int = 0


@dataclass(frozen=True)
class Measured:
    """How long the runs are, and how much of them is measured.

    Attributes:
        prompts: that each seed's PPO draws from.
        tests: prompts on which policies are measured, the same at each place of ``at``.
        at: iterations after which they are.
        pooled: of these prompts, for the pools of a seed; ``pool`` answers to each.
        n: answers of which the best is taken.
        shown: of these prompts, whose answers are kept for the first seed.
    """

    prompts: int = 400
    tests: int = 48
    at: tuple[int, ...] = (0, 1, 2, 3, 5, 8, 14)
    pooled: int = 8
    pool: int = 128
    n: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    shown: int = 32
    rm: RMConfig = field(
        default_factory=lambda: RMConfig(learning_rate=5e-4, batch_size=8, epochs=2)
    )
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            steps=14,
            batch_size=48,
            minibatches=2,
            micro_batch_size=24,
            max_response_length=24,
            beta=0.0,
            gamma=0.0,
            warmup_steps=2,
            checkpoint_every=0,
        )
    )


def measure(
    given: Start, taught: Taught, seed: int, settings: Measured, work: Path
) -> dict[str, list[dict[str, Any]]]:
    """Make one reward model, follow it by PPO, and choose by it.

    Args:
        work: folder of the pools, which all reward models of a seed share.

    Returns:
        The rows of each of :data:`TABLES`.
    """
    tests = short_prompts(given.world, "test", settings.tests, 0)
    model, history = reward_model(given, taught, seed, settings)
    course, said = follow(given, model, tests, seed, settings)
    own = tests[settings.pooled * seed :][: settings.pooled]
    pools = pooled(given, own, seed, settings, work)
    proxies = [scored(given, model, *pair) for pair in zip(own, pools, strict=True)]
    return {
        "course": course,
        "best_of_n": choose(proxies, pools, settings.n),
        "reward_models": judged(model, proxies, pools, history),
        "answers": said if seed == 0 else [],
    }


# --- reward models --------------------------------------------------------------------------------


def reward_model(
    given: Start, taught: Taught, seed: int, settings: Measured
) -> tuple[ScalarModel, list[dict[str, Any]]]:
    """The reward model and the history of its training; the examiner has none."""
    if taught.rankings == 0:
        return given.examiner.copy(), []
    model = ScalarModel.from_policy(given.sft, seed)
    if taught.layers:
        shorten(model, taught.layers)
    config = dataclasses.replace(settings.rm, seed=seed)
    ranked = rankings(given, taught, seed)
    history = train_reward_model(model, given.tokenizer, ranked, config, quiet=True)
    return model, history


def shorten(model: ScalarModel, layers: int) -> None:
    """Keep the lowest layers of a GPT-2 only, and its last normalisation."""
    body: Any = model.backbone
    body.h = nn.ModuleList(list(body.h)[:layers])
    body.config.n_layer = layers


def rankings(given: Start, taught: Taught, seed: int) -> list[Ranking]:
    """Answers to training prompts, each ranked by one training labeler.

    More rankings of a seed contain fewer: a reward model that has seen 180 has seen the 60, too.
    """
    first = RANKING_START + 20_000 * seed
    prompts = short_prompts(given.world, "train", taught.rankings, first)
    return sample_rankings(
        given.world, {"sft": given.sft, "base": given.base},
        {"sft": 0.5, "base": 0.1, PEOPLE: 0.4}, given.tokenizer, prompts,
        max_new_tokens=24, seed=seed,
    )  # fmt: skip


# --- training ---------------------------------------------------------------------------------


def follow(
    given: Start, model: ScalarModel, tests: Sequence[Prompt], seed: int, settings: Measured
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """PPO without a penalty; what the policy is and says on the way.

    Returns:
        A row for each place of the settings: ``step``, ``kl``, ``proxy``, ``gold`` and its
        attributes, ``words``, ``different`` (share of answers that are different texts). And the
        answers to the first prompts before and after.
    """
    policy = copy.deepcopy(given.sft)
    length = settings.ppo.max_response_length
    course: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []

    def look(step: int) -> None:
        texts = answers(policy, given.tokenizer, tests, max_new_tokens=length, seed=seed)
        nats = exact_kl(policy, given.sft, given.tokenizer, tests, texts, max_new_tokens=length)
        proxy = rm_scores(model, given.tokenizer, tests, texts)
        report = gold_report(given.world, tests, texts)
        course.append({
            "step": step, "kl": float(np.mean(nats)), "proxy": float(np.mean(proxy)),
            **report[["gold", *ATTRIBUTES, "words"]].mean().to_dict(),
            "different": len(set(texts)) / len(texts),
        })  # fmt: skip
        if step in (0, settings.ppo.steps):
            said.extend(
                {"step": step, "prompt": prompt.text, "answer": text, "proxy": score, "gold": gold}
                for prompt, text, score, gold in zip(
                    tests[: settings.shown], texts, proxy, report.gold, strict=False
                )
            )

    look(0)
    first = PPO_START + 20_000 * seed
    asked = [p.text for p in short_prompts(given.world, "train", settings.prompts, first)]
    PPOTrainer(
        policy,
        given.sft,
        reward_function(model),
        model.copy(),
        given.tokenizer,
        encode_prompts(given.tokenizer, asked),
        None,
        dataclasses.replace(settings.ppo, seed=seed),
        callback=lambda step, _: look(step) if step in settings.at else None,
        quiet=True,
    ).train()
    return course, said


# --- choosing ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pool:
    """Answers to one prompt: different texts, how often each was drawn, and its gold score."""

    texts: list[str]
    counts: list[int]
    gold: list[float]

    def spread(self, values: Sequence[float]) -> np.ndarray:
        """Values of the texts as values of all draws."""
        return np.repeat(np.asarray(values, dtype=np.float64), self.counts)


def pooled(
    given: Start, prompts: Sequence[Prompt], seed: int, settings: Measured, work: Path
) -> list[Pool]:
    """Independent answers of the SFT policy; kept, for every reward model chooses from them."""
    path = work / f"pool-seed-{seed}.json"
    if not path.is_file():
        everything = [prompt for prompt in prompts for _ in range(settings.pool)]
        length = settings.ppo.max_response_length
        texts = answers(
            given.sft, given.tokenizer, everything, max_new_tokens=length, seed=10_000 + seed
        )
        pools = []
        for place, prompt in enumerate(prompts):
            counts = Counter(texts[place * settings.pool :][: settings.pool])
            gold = [given.world.gold(prompt, text) for text in counts]
            pools.append({"texts": list(counts), "counts": list(counts.values()), "gold": gold})
        atomic_write(path, json.dumps(pools))
    return [Pool(**one) for one in json.loads(path.read_text(encoding="utf-8"))]


def scored(given: Start, model: ScalarModel, prompt: Prompt, pool: Pool) -> list[float]:
    """Proxies of a pool's texts, rounded: what differs by rounding alone must tie."""
    found = rm_scores(model, given.tokenizer, [prompt] * len(pool.texts), pool.texts)
    return [round(score, 5) for score in found]


def choose(
    proxies: Sequence[Sequence[float]], pools: Sequence[Pool], ns: Sequence[int]
) -> list[dict[str, float]]:
    """For each n the mean over prompts of KL, proxy and gold of the best of n by the proxy."""
    rows = []
    for n in ns:
        found = []
        for proxy, pool in zip(proxies, pools, strict=True):
            drawn, gold = pool.spread(proxy), pool.spread(pool.gold)
            found.append((
                best_of_n_kl_of_pool(drawn, n),
                best_of_n_mean(drawn, drawn, n),
                best_of_n_mean(drawn, gold, n),
            ))  # fmt: skip
        kl, best, gold = np.mean(found, axis=0).tolist()
        rows.append({"n": n, "kl": kl, "proxy": best, "gold": gold})
    return rows


def judged(
    model: ScalarModel,
    proxies: Sequence[Sequence[float]],
    pools: Sequence[Pool],
    history: Sequence[Mapping[str, Any]],
) -> list[dict[str, float]]:
    """How good a reward model is on SFT answers: pairs ordered as by gold, rank correlation.

    Texts count once. ``correlation`` is Spearman's, a mean over prompts with differing gold.
    """
    gold = [[round(value, 6) for value in pool.gold] for pool in pools]
    correlations = [
        np.corrcoef(rankdata(mine), rankdata(theirs))[0, 1]
        for mine, theirs in zip(proxies, gold, strict=True)
        if len(set(theirs)) > 1 and len(set(mine)) > 1
    ]
    return [{
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "steps": len(history),
        "accuracy": pair_share(proxies, gold),
        "correlation": float(np.mean(correlations)),
        "different": float(np.mean([len(pool.texts) for pool in pools])),
    }]  # fmt: skip
