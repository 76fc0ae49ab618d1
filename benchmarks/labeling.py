"""How far do labelers agree, and what does their noise leave a reward model?

Writes ``book/results/labeling``: tables, and the answers that a reader of the book ranks. Answers
are written by the SFT policy of the published quickstart, the one its page runs. Every seed takes
other prompts, answers, labelers' moods and pairs of labelers; the policy and the people stay.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from rlhf_lab.browser_files import WHOLE, shipped_files, write_folder
from rlhf_lab.browser_model import restored_weights
from rlhf_lab.files import atomic_write
from rlhf_lab.models import ASSETS, load_policy
from rlhf_lab.objectives import kwise_ranking_loss
from rlhf_lab.pipeline import RANKING_START, sample_rankings
from rlhf_lab.provenance import manifest
from rlhf_lab.records import Prompt, Ranking
from rlhf_lab.widgets import ranking
from rlhf_lab.widgets.files import write_published
from rlhf_lab.world import Labeler, World
from rlhf_lab.world.judge import Attributes
from rlhf_lab.world.labelers import MEAN_LABELER, NOISE, TIE_STEP
from rlhf_lab.world.prompts import USE_CASES

RESULTS = Path(__file__).parents[1] / "book" / "results"
FOLDER = RESULTS / "labeling"
SEEDS = (0, 1, 2, 3, 4)
Answers = list[tuple[Prompt, Sequence[str]]]
Judge = Callable[[Prompt, str], Attributes]


@dataclass(frozen=True)
class Config:
    """What is ranked.

    Attributes:
        model: the base of the policy that writes.
        prompts: with ranked answers, on which a reward is learned.
        held_out: prompts with ranked answers, on which it is measured.
        k_min, k_max: answers to a prompt.
        noises: of a judgement, in units of the training labelers' noise.
        penalty: on the squared weights of a learned reward.
    """

    model: str = "tiny"
    prompts: int = 200
    held_out: int = 200
    k_min: int = 4
    k_max: int = 9
    noises: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
    penalty: float = 1e-3


def run() -> None:
    """Measure, write the tables, the reader's file and the manifest."""
    started, config, world = time.time(), Config(), World(0)
    policy, tokenizer = load_policy(config.model)
    with tempfile.TemporaryDirectory() as start:
        write_folder(start, WHOLE, shipped_files(ASSETS / config.model))
        weights = restored_weights(RESULTS / "quickstart" / "models" / "sft", start)
    policy.load_state_dict(weights, strict=False)
    agreements, rewards, tastes = [], [], []
    for seed in SEEDS:
        learned_on, measured_on = (
            written(world, policy, tokenizer, world.prompts(split, count, start), config, seed)
            for split, count, start in (
                ("train", config.prompts, RANKING_START + 20_000 * seed),
                ("valid", config.held_out, 20_000 * seed),
            )
        )
        judge = remembering(world)
        for group in ("train", "heldout"):
            people = world.labelers(group)
            agreements += [
                {"seed": seed, "group": group, "noise": scale * NOISE[group], "scale": scale,
                 **agreements_of(judge, measured_on, with_noise(people, scale, group), seed)}
                for scale in config.noises
            ]  # fmt: skip
        for scale in config.noises:
            people = with_noise(world.labelers(), scale, "train")
            rewards += [
                {"seed": seed, "scale": scale, "noise": scale * NOISE["train"], **row}
                for row in learned(judge, people, learned_on, measured_on, config, seed)
            ]
        tastes += [
            {"seed": seed, "labelers": name, **row}
            for name, people in committees(world).items()
            for row in learned_taste(
                judge, people, [*learned_on, *measured_on], config.penalty, seed
            )
        ]
    tables = {
        "agreement": pd.DataFrame(agreements),
        "rewards": pd.DataFrame(rewards),
        "tastes": pd.DataFrame(tastes),
    }
    for name, table in tables.items():
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
        keys = [c for c in ("group", "scale", "prompts", "labelers", "attribute") if c in table]
        print(table.groupby(keys).mean(numeric_only=True).round(3).to_string())
    write_published(FOLDER / "ranking.json", ranking.ranking_data(world, for_readers(world)))
    about = manifest("python -m benchmarks labeling", config, SEEDS, started)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")
    print(f"{time.time() - started:.0f} s")


def written(
    world: World,
    policy: torch.nn.Module,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    config: Config,
    seed: int,
) -> Answers:
    """K different answers of the policy to each prompt; prompts without two are left out."""
    known = {prompt.text: prompt for prompt in prompts}
    unranked = sample_rankings(
        world, {"sft": policy}, {"sft": 1.0}, tokenizer, prompts,
        k_min=config.k_min, k_max=config.k_max, seed=seed,
        rank=lambda prompt, texts: Ranking(prompt.text, tuple(texts), (0,) * len(texts)),
    )  # fmt: skip
    return [(known[found.prompt], found.completions) for found in unranked]


def remembering(world: World) -> Judge:
    """The world's judge, which reads no answer twice."""
    seen: dict[tuple[str, str], Attributes] = {}

    def judge(prompt: Prompt, text: str) -> Attributes:
        key = prompt.text, text
        if key not in seen:
            seen[key] = world.judge(prompt, text)
        return seen[key]

    return judge


def with_noise(people: Sequence[Labeler], scale: float, group: str) -> list[Labeler]:
    """The same people, with a multiple of their group's noise."""
    return [dataclasses.replace(person, noise=scale * NOISE[group]) for person in people]


def agreements_of(
    judge: Judge, answers: Answers, people: Sequence[Labeler], seed: int
) -> dict[str, float]:
    """Shares of pairs: two labelers, one labeler twice, and the gold score with one labeler.

    Returns:
        ``agreement`` of two labelers on the pairs that both order; ``itself``, of a labeler asked
        twice; ``gold``, how often the gold score has the first of the two labelers' order on those
        same pairs; ``ceiling``, the same on all pairs that the one orders
        (:func:`rlhf_lab.evaluate.noise_ceiling`); ``tied``, the share that one calls a tie;
        ``pairs`` that both order.
    """
    rng = random.Random(f"pairs of labelers:{seed}")
    two = np.array(list(both_order(judge, answers, people, rng)))
    same = np.array(list(both_order(judge, answers, people, rng, twice=True)))
    once = rankings(judge, answers, people, seed)
    pairs = sum(math.comb(len(texts), 2) for _, texts in answers)
    return {
        "agreement": float(two[:, 0].mean()),
        "itself": float(same[:, 0].mean()),
        "gold": float(two[:, 1].mean()),
        "ceiling": pair_share(golds(judge, answers), [[-r for r in found.ranks] for found in once]),
        "tied": 1 - sum(found.pairs for found in once) / pairs,
        "pairs": len(two),
    }


def both_order(
    judge: Judge,
    answers: Answers,
    people: Sequence[Labeler],
    rng: random.Random,
    *,
    twice: bool = False,
) -> Iterator[tuple[float, float]]:
    """For each pair that two labelers order: do they alike, and does gold as the first of them?

    The two are drawn anew for each prompt, with replacement, as the bounds on a ceiling assume;
    ``twice`` asks the first one again instead.
    """
    for (prompt, texts), gold in zip(answers, golds(judge, answers), strict=True):
        first = rng.choice(people)
        second = first if twice else rng.choice(people)
        one, two = (person.rank(prompt, texts, judge, rng).ranks for person in (first, second))
        for i, j in itertools.combinations(range(len(texts)), 2):
            if one[i] != one[j] and two[i] != two[j]:
                order = one[i] < one[j]
                right = 0.5 if gold[i] == gold[j] else float((gold[i] > gold[j]) == order)
                yield float(order == (two[i] < two[j])), right


def golds(judge: Judge, answers: Answers) -> list[list[float]]:
    """The gold scores of each prompt's answers; what differs by rounding alone is equal."""
    return [
        [round(MEAN_LABELER.value(judge(p, text)), 6) for text in texts] for p, texts in answers
    ]


def rankings(judge: Judge, answers: Answers, people: Sequence[Labeler], seed: int) -> list[Ranking]:
    """Each prompt's answers in the order of one labeler, drawn anew for each."""
    rng = random.Random(f"once:{seed}")
    return [rng.choice(people).rank(prompt, texts, judge, rng) for prompt, texts in answers]


def learned(
    judge: Judge,
    people: Sequence[Labeler],
    learned_on: Answers,
    measured_on: Answers,
    config: Config,
    seed: int,
) -> Iterator[dict[str, float]]:
    """A reward that is linear in what the judge measures, from more and more noisy rankings.

    It sees all that labelers look at and has eight numbers to learn, so what it lacks is due to
    their noise alone. Accuracies are shares of pairs of held-out answers: ``labels`` that one more
    labeler orders, ``gold`` that the gold score does.
    """
    ranked = rankings(judge, learned_on, people, seed)
    tests = rankings(judge, measured_on, people, seed + 1000)
    gold = golds(judge, measured_on)
    for count in (config.prompts // 8, config.prompts):
        weights = fit(judge, learned_on[:count], ranked[:count], config.penalty)
        scores = [
            (features(judge, prompt, texts) @ weights).tolist() for prompt, texts in measured_on
        ]
        yield {
            "prompts": count,
            "labels": pair_share(scores, [[-r for r in found.ranks] for found in tests]),
            "gold": pair_share(scores, gold),
        }


def committees(world: World) -> dict[str, list[Labeler]]:
    """Training labelers who like hedging, the others, and all as instructed for evaluations."""
    people = world.labelers()
    return {
        "who like hedging": [p for p in people if p.weights["hedge"] > 0],
        "the others": [p for p in people if p.weights["hedge"] < 0],
        "told: truth and no harm first": list(world.labelers(evaluating=True)),
    }


def learned_taste(
    judge: Judge, people: Sequence[Labeler], answers: Answers, penalty: float, seed: int
) -> Iterator[dict[str, Any]]:
    """What a linear reward learns to find good from the rankings of some people.

    Returns:
        ``attribute``; its ``weight``, in log-odds of being preferred for a unit of it; and what it
        weighs with these people on average, in utility points, ``own``.
    """
    weights = fit(judge, answers, rankings(judge, answers, people, seed), penalty).tolist()
    for attribute, weight in zip(Attributes().as_dict(), weights, strict=True):
        own = float(np.mean([person.weights[attribute] for person in people]))
        yield {"attribute": attribute, "weight": weight, "own": own}


def features(judge: Judge, prompt: Prompt, texts: Sequence[str]) -> torch.Tensor:
    """(K, 8) what the judge measures about K answers."""
    rows = [list(judge(prompt, text).as_dict().values()) for text in texts]
    return torch.tensor(rows, dtype=torch.float64)


def fit(judge: Judge, answers: Answers, ranked: Sequence[Ranking], penalty: float) -> torch.Tensor:
    """Weights (8,) that make the K-wise ranking loss, plus the penalty on them, least."""
    inputs = torch.cat([features(judge, prompt, texts) for prompt, texts in answers])
    ranks = torch.tensor([rank for found in ranked for rank in found.ranks])
    group = torch.tensor([i for i, found in enumerate(ranked) for _ in found.ranks])
    weights = torch.zeros(inputs.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = kwise_ranking_loss(inputs @ weights, ranks, group)
        value = value + penalty * weights.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return weights.detach()


def pair_share(scores: Sequence[Sequence[float]], wanted: Sequence[Sequence[float]]) -> float:
    """Share of the pairs with different ``wanted`` that ``scores`` orders so; equal counts half."""
    right = [
        0.5 if mine[i] == mine[j] else float(mine[i] > mine[j])
        for mine, theirs in zip(scores, wanted, strict=True)
        for i, j in itertools.permutations(range(len(mine)), 2)
        if theirs[i] > theirs[j]
    ]
    return sum(right) / len(right)


def for_readers(world: World) -> Answers:
    """Of each use case the published test prompt whose answers differ most in what they are worth.

    Counted are gold scores in steps of what ties; then the best answer of the prompt decides, then
    the order of publication.
    """
    table = pd.read_csv(RESULTS / "quickstart" / "answers.csv", keep_default_na=False)
    known = {prompt.text: prompt for prompt in world.prompts("test", table.prompt.nunique())}
    best: dict[str, tuple[tuple[int, float], Prompt, list[str]]] = {}
    for text, part in table.groupby("prompt", sort=False):
        prompt, texts = known[str(text)], list(dict.fromkeys(part.answer))
        worth = len({round(gold / TIE_STEP) for gold in part.gold}), part.gold.max()
        if len(texts) >= ranking.FEWEST and worth > best.get(prompt.kind, ((0, 0.0),))[0]:
            best[prompt.kind] = worth, prompt, texts
    return [best[kind][1:] for kind in USE_CASES if kind in best]
