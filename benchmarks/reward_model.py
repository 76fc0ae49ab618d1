"""What does a reward model learn from rankings, when does it memorise, and what can it not see?

Writes the tables of the chapter on reward modelling, with their manifest, to
``book/results/reward-model``. To cost little, it ranks answers that inhabitants write, so that no
policy is sampled, to prompts without stories and other long texts. A seed changes prompts, answers,
labelers, new heads and every order; the SFT policy of the first published quickstart and the
shipped examiner are shared. What the same code has measured before is read from ``runs/``.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from torch import nn

from benchmarks.labeling import Answers, Judge, rankings, remembering, with_noise
from rlhf_lab.browser_model import restored_policy
from rlhf_lab.config import RMConfig
from rlhf_lab.evaluate import noise_ceiling
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.language_model import rm_scores
from rlhf_lab.models import ASSETS, ScalarModel, load_policy
from rlhf_lab.pipeline import PEOPLE, RANKING_START, sample_rankings
from rlhf_lab.provenance import manifest
from rlhf_lab.records import Prompt, Ranking
from rlhf_lab.reward import train_reward_model
from rlhf_lab.world import World, lexicon
from rlhf_lab.world.answers import false_value
from rlhf_lab.world.grammar import statement

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "book" / "results"
FOLDER = RESULTS / "reward-model"
SFT = RESULTS / "quickstart" / "models" / "sft"
EXAMINER = "tiny-examiner"
SEEDS = (0, 1, 2, 3, 4)
TOGETHER = "all pairs of a prompt together"
SPREAD = "pairs shuffled, as many pairs a step"
SINGLE = "pairs shuffled, as many elements a step"
ALONE, TAUGHT, LEARNT = "examiner", "examiner, then rankings", "SFT policy, then rankings"
SHORT = ("open_qa", "brainstorming", "chat", "rewrite", "classification", "other")
DEFECTS = ("rude", "hedging", "no full stop", "said twice", "wrong fact", "other words")


@dataclass(frozen=True)
class Measured:
    """How much is trained and measured for each seed.

    Attributes:
        prompts: with ranked answers, on which the arms of the first table train.
        held_out: prompts with ranked answers, on which everything is measured.
        k_min, k_max: answers to a prompt, before equal ones are dropped.
        epochs: passes that keep the pairs of a prompt together; shuffled pairs are seen once.
        fast: a higher learning rate, at which all see every pair once.
        sizes: numbers of rankings from which a reward model learns that starts from the base model.
        passes: over them, and over those of the last tables.
        noises: of a judgement, in units of the training labelers' noise.
        bins: of predicted probabilities.
        pairs: of answers that differ in one thing, for each such thing.
        rm: training of a reward model that starts from a policy.
        slow: learning rate from the examiner, as in the quickstart.
    """

    prompts: int = 48
    held_out: int = 80
    k_min: int = 4
    k_max: int = 9
    epochs: tuple[int, ...] = (1, 4)
    fast: float = 2e-3
    sizes: tuple[int, ...] = (16, 48, 144)
    passes: int = 2
    noises: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    bins: int = 5
    pairs: int = 40
    rm: RMConfig = field(default_factory=lambda: RMConfig(learning_rate=5e-4, batch_size=8))
    slow: float = 1e-4


@dataclass(frozen=True)
class Start:
    """What every seed starts from."""

    sft: nn.Module
    base: nn.Module
    examiner: ScalarModel
    tokenizer: Any
    world: World
    judge: Judge


def run() -> None:
    """Measure what is missing of all seeds, write the tables."""
    started, settings = time.time(), Measured()
    given = start()
    found = [
        {k: v for part in PARTS for k, v in _measured(part, given, seed, settings).items()}
        for seed in SEEDS
    ]
    for name, keys in KEYS.items():
        rows = pd.DataFrame(row for tables in found for row in tables[name])
        atomic_write(FOLDER / f"{name}.csv", rows.to_csv(index=False, float_format="%.6g"))
        print(name, rows.groupby(keys, sort=False).mean(numeric_only=True).round(3), sep="\n")
    about = manifest("python -m benchmarks reward_model", settings, SEEDS, started)
    about["sft_sha256"] = file_hash(SFT / "difference.safetensors")
    about["examiner_sha256"] = file_hash(ASSETS / EXAMINER / "model.safetensors")
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def start() -> Start:
    """The published SFT policy, the base model and the examiner, in world 0."""
    policy, tokenizer = restored_policy(SFT, "tiny")
    base, _ = load_policy("tiny")
    world = World(0)
    return Start(policy, base, ScalarModel.load(EXAMINER), tokenizer, world, remembering(world))


def _measured(part: str, given: Start, seed: int, settings: Measured) -> dict[str, Any]:
    """The rows of one part and seed, by table."""
    code = code_fingerprint("rlhf_lab.reward", "rlhf_lab.pipeline", "benchmarks.reward_model")
    models = [file_hash(SFT / "difference.safetensors")]
    if part != "overfit":
        models.append(file_hash(ASSETS / EXAMINER / "model.safetensors"))
    key = fingerprint([code, *models, dataclasses.asdict(settings)])
    path = ROOT / "runs" / f"published-reward-model-{key}" / f"{part}-seed-{seed}.json"
    if not path.is_file():
        before = time.process_time()
        rows = PARTS[part](given, seed, settings)
        atomic_write(path, json.dumps(rows))
        print(f"{part}, seed {seed}: {time.process_time() - before:.0f} s", flush=True)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


# --- answers, rankings, pairs -------------------------------------------------------------------


def short_prompts(world: World, split: str, count: int, first: int) -> list[Prompt]:
    """Prompts of use cases whose texts are short, as often as they come."""
    prompts = (world.prompt(index, split) for index in itertools.count(first))
    chosen = ((prompt.text, prompt) for prompt in prompts if prompt.kind in SHORT)
    found: dict[str, Prompt] = {}
    while len(found) < count:
        found.setdefault(*next(chosen))
    return list(found.values())


def written(given: Start, prompts: Sequence[Prompt], settings: Measured, seed: int) -> Answers:
    """K answers of any quality to each prompt, equal ones dropped, all written by inhabitants."""
    known = {prompt.text: prompt for prompt in prompts}
    unranked = sample_rankings(
        given.world, {}, {PEOPLE: 1.0}, given.tokenizer, prompts,
        k_min=settings.k_min, k_max=settings.k_max, seed=seed,
        rank=lambda prompt, texts: Ranking(prompt.text, tuple(texts), (0,) * len(texts)),
    )  # fmt: skip
    return [(known[found.prompt], found.completions) for found in unranked]


def learned_on(given: Start, count: int, settings: Measured, seed: int) -> list[Ranking]:
    """Training prompts, each ranked by one labeler."""
    prompts = short_prompts(given.world, "train", count, RANKING_START + 20_000 * seed)
    people = given.world.labelers()
    return rankings(given.judge, written(given, prompts, settings, seed), people, seed)


def measured_on(given: Start, settings: Measured, seed: int) -> Answers:
    """Answers to prompts of the validation split."""
    prompts = short_prompts(given.world, "valid", settings.held_out, 20_000 * seed)
    return written(given, prompts, settings, 1000 + seed)


def as_pairs(ranked: Sequence[Ranking]) -> list[Ranking]:
    """Every pair with different ranks as a ranking of two, the preferred answer first."""
    distinct = [one for found in ranked if (one := found.without_duplicates()) is not None]
    return [
        dataclasses.replace(found, completions=(better, worse), ranks=(0, 1))
        for found in distinct
        for better, high in zip(found.completions, found.ranks, strict=True)
        for worse, low in zip(found.completions, found.ranks, strict=True)
        if high < low
    ]


def scored(model: ScalarModel, tokenizer: Any, ranked: Sequence[Ranking]) -> list[list[float]]:
    """What a reward model gives to the answers of each ranking."""
    prompts = [one.prompt for one in ranked for _ in one.completions]
    texts = [text for one in ranked for text in one.completions]
    scores = iter(rm_scores(model, tokenizer, prompts, texts))
    return [[next(scores) for _ in one.completions] for one in ranked]


def margins(scores: Sequence[Sequence[float]], ranked: Sequence[Ranking]) -> pd.DataFrame:
    """Score of the better answer less that of the worse one: ``prompt`` and ``margin`` per pair."""
    found = [
        (number, own[i] - own[j])
        for number, (own, one) in enumerate(zip(scores, ranked, strict=True))
        for i, j in itertools.permutations(range(len(own)), 2)
        if one.ranks[i] < one.ranks[j]
    ]
    return pd.DataFrame(found, columns=["prompt", "margin"])


def quality(pairs: pd.DataFrame, temperature: float = 1.0) -> dict[str, float]:
    """Of pairs: ``loss`` (nats, mean over prompts of means) and ``accuracy`` (share of pairs)."""
    losses = np.logaddexp(0, -pairs.margin / temperature)
    right = np.where(pairs.margin == 0, 0.5, pairs.margin > 0)
    return {
        "loss": float(losses.groupby(pairs["prompt"]).mean().mean()),
        "accuracy": float(right.mean()),
    }


def best_temperature(pairs: pd.DataFrame) -> float:
    """The number by which to divide all scores for the lowest loss on these pairs."""
    found = minimize_scalar(
        lambda log_t: quality(pairs, float(np.exp(log_t)))["loss"], bounds=(-4, 6), method="bounded"
    )
    return float(np.exp(found.x))


def trained(
    model: ScalarModel,
    given: Start,
    ranked: Sequence[Ranking],
    config: RMConfig,
) -> tuple[ScalarModel, list[dict[str, Any]]]:
    """The model, trained in place, and its history."""
    return model, train_reward_model(model, given.tokenizer, ranked, config, quiet=True)


# --- when does it memorise? ---------------------------------------------------------------------


def overfit(given: Start, seed: int, settings: Measured) -> dict[str, Any]:
    """Pairs of a prompt together or shuffled, from the SFT policy."""
    ranked = learned_on(given, settings.prompts, settings, seed)
    answers = measured_on(given, settings, seed)
    tests = rankings(given.judge, answers, given.world.labelers(), 1000 + seed)
    pairs = as_pairs(ranked)
    steps = len(ranked) / settings.rm.batch_size
    usual, small = settings.rm.learning_rate, settings.rm.batch_size
    large = round(len(pairs) / steps)
    arms = [(TOGETHER, ranked, small, epochs, usual) for epochs in settings.epochs]
    arms += [(SPREAD, pairs, large, 1, usual), (SINGLE, pairs, small, 1, usual)]
    arms += [(name, data, batch, 1, settings.fast)
             for name, data, batch, epochs, _ in arms if epochs == 1]  # fmt: skip
    rows, bins = [], []
    for arm, data, batch, epochs, rate in arms:
        config = dataclasses.replace(
            settings.rm, seed=seed, batch_size=batch, epochs=epochs, learning_rate=rate
        )
        model = ScalarModel.from_policy(given.sft, seed)
        before = time.process_time()
        model, history = trained(model, given, data, config)
        seconds = time.process_time() - before
        name = {"seed": seed, "arm": arm, "epochs": epochs, "rate": rate}
        forwards = epochs * sum(len(one.completions) for one in data)
        for where, known in {"training": ranked, "held out": tests}.items():
            found = margins(scored(model, given.tokenizer, known), known)
            rows.append({
                **name, "where": where, **quality(found), "steps": len(history),
                "pairs": len(pairs), "forwards": forwards, "seconds": round(seconds, 1),
            })  # fmt: skip
            if (arm, rate, where) == (TOGETHER, usual, "held out"):
                bins += [{**name, **row} for row in reliability(found, settings.bins)]
    return {"overfitting": rows, "reliability": bins}


def reliability(pairs: pd.DataFrame, bins: int) -> Iterator[dict[str, float]]:
    """By how sure the model is of its favourite: mean probability, and how often it was right."""
    sure = 1 / (1 + np.exp(-pairs.margin.abs()))
    place = np.clip(((sure - 0.5) * 2 * bins).astype(int), 0, bins - 1)
    right = np.where(pairs.margin == 0, 0.5, pairs.margin > 0)
    for index in range(bins):
        inside = (place == index).to_numpy()
        if inside.any():
            yield {
                "bin": index, "pairs": int(inside.sum()), "predicted": float(sure[inside].mean()),
                "observed": float(right[inside].mean()),
            }  # fmt: skip


# --- what do more rankings bring? ---------------------------------------------------------------


def grow(given: Start, seed: int, settings: Measured) -> dict[str, Any]:
    """More and more rankings, from the base model."""
    ranked = learned_on(given, max(settings.sizes), settings, seed)
    answers = measured_on(given, settings, seed)
    tests = rankings(given.judge, answers, given.world.labelers(), 1000 + seed)
    ceiling = noise_ceiling(given.world, [prompt for prompt, _ in answers], tests)["all"]
    config = dataclasses.replace(settings.rm, seed=seed, epochs=settings.passes)
    rows = []
    for size in (0, *settings.sizes):
        model = ScalarModel.from_policy(given.base, seed)
        if size:
            trained(model, given, ranked[:size], config)
        found = quality(margins(scored(model, given.tokenizer, tests), tests))
        rows.append({"seed": seed, "rankings": size, **found, "ceiling": ceiling})
    return {"growth": rows}


# --- how sure may it be, and of what? -----------------------------------------------------------


def judge(given: Start, seed: int, settings: Measured) -> dict[str, Any]:
    """Probabilities against frequencies, and single differences, of three reward models."""
    ranked = learned_on(given, settings.prompts, settings, seed)
    answers = measured_on(given, settings, seed)
    fast = dataclasses.replace(settings.rm, seed=seed, epochs=settings.passes)
    slow = dataclasses.replace(fast, learning_rate=settings.slow)
    models = {
        ALONE: given.examiner,
        TAUGHT: trained(given.examiner.copy(), given, ranked, slow)[0],
        LEARNT: trained(ScalarModel.from_policy(given.sft, seed), given, ranked, fast)[0],
    }
    people = given.world.labelers()
    tests = {
        scale: rankings(given.judge, answers, with_noise(people, scale, "train"), 1000 + seed)
        for scale in settings.noises
    }
    texts = differing(given.world, settings.pairs, seed)
    calibration, defects = [], []
    for name, model in models.items():
        scores = scored(model, given.tokenizer, tests[settings.noises[0]])  # of the same answers
        calibration += [
            {"seed": seed, "model": name, "scale": scale, **tempered(margins(scores, found))}
            for scale, found in tests.items()
        ]
        defects += [{"seed": seed, "model": name, **row} for row in seen(given, model, texts)]
    return {"calibration": calibration, "defects": defects}


def tempered(pairs: pd.DataFrame) -> dict[str, float]:
    """Loss with the scores as they are, and with a temperature fitted on the other prompts.

    Returns:
        ``accuracy``, ``loss``, ``fitted_loss``, and the mean ``temperature`` of both halves.
    """
    first = pairs["prompt"] % 2 == 0
    halves = [pairs[first], pairs[~first]]
    temperatures = [best_temperature(half) for half in halves]
    after = [
        quality(half, t)["loss"] for half, t in zip(halves, reversed(temperatures), strict=True)
    ]
    return {
        **quality(pairs),
        "fitted_loss": float(np.mean(after)),
        "temperature": float(np.exp(np.mean(np.log(temperatures)))),
    }


Differing = tuple[str, Prompt, str, str]


def differing(world: World, count: int, seed: int) -> list[Differing]:
    """Answers to questions about facts that differ in one thing: (thing, prompt, better, other).

    The first is always right and plain; of "other words" both are.
    """
    rng = random.Random(f"differing:{seed}")
    asked = [
        prompt
        for prompt in world.prompts("valid", 4 * count, 20_000 * seed, kind="open_qa", hard="")
        if prompt.meta["task"] == "fact" and "name" not in prompt.meta
    ][:count]
    return [
        (thing, prompt, *made)
        for prompt in asked
        for thing in DEFECTS
        if (made := _differ(world, prompt, thing, rng)) is not None
    ]


def _differ(world: World, prompt: Prompt, thing: str, rng: random.Random) -> tuple[str, str] | None:
    relation, subject = prompt.meta["relation"], prompt.meta["subject"]
    value, phrasing = rng.choice(world.knowledge.values(relation, subject)), rng.random()
    right = _said(relation, subject, value, phrasing)
    changed: dict[str, Callable[[], str]] = {
        "rude": lambda: f"{right[:-1]}, {rng.choice(lexicon.RUDE_TAILS)}",
        "hedging": lambda: f"{rng.choice(lexicon.HEDGE_OPENERS)} {right}",
        "no full stop": lambda: right[:-1],
        "said twice": lambda: f"{right} {right}",
        "wrong fact": lambda: _said(
            relation, subject, false_value(world.knowledge, relation, subject, rng), phrasing
        ),
        "other words": lambda: _said(relation, subject, value, rng.random()),
    }
    other = changed[thing]()
    gap = world.gold(prompt, right) - world.gold(prompt, other)
    fits = abs(gap) < 1e-9 if thing == "other words" else gap > 0
    return (right, other) if fits and right != other else None


def _said(relation: str, subject: str, value: str, phrasing: float) -> str:
    """A fact in the words that a number chooses: the same number, the same words."""
    return f"{statement(relation, subject, value, random.Random(f'{phrasing}'))}."


def seen(given: Start, model: ScalarModel, texts: Sequence[Differing]) -> Iterator[dict[str, Any]]:
    """What a reward model and the gold score make of each kind of difference.

    Returns:
        a row for each ``defect``: ``pairs``; ``preferred``, the share in which the first answer has
        the higher score; ``gap`` and ``gold``, the mean differences of scores; ``apart``, the mean
        absolute difference.
    """
    prompts = [prompt for _, prompt, _, _ in texts]
    first, other = (
        np.array(rm_scores(model, given.tokenizer, prompts, [row[i] for row in texts]))
        for i in (2, 3)
    )
    gold = np.array([
        given.world.gold(prompt, a) - given.world.gold(prompt, b) for _, prompt, a, b in texts
    ])  # fmt: skip
    for defect in DEFECTS:
        own = np.array([row[0] == defect for row in texts])
        gap = (first - other)[own]
        yield {
            "defect": defect, "pairs": int(own.sum()), "preferred": float((gap > 0).mean()),
            "gap": float(gap.mean()), "gold": float(gold[own].mean()),
            "apart": float(np.abs(gap).mean()),
        }  # fmt: skip


PARTS: dict[str, Callable[[Start, int, Measured], dict[str, Any]]] = {
    "overfit": overfit, "judge": judge, "grow": grow,
}  # fmt: skip
KEYS = {
    "overfitting": ["arm", "epochs", "rate", "where"], "reliability": ["epochs", "bin"],
    "growth": ["rankings"], "calibration": ["model", "scale"],
    "defects": ["defect", "model"],
}  # fmt: skip
