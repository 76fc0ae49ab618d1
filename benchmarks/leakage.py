"""What does a split at random leak, and what does the rule of shared beginnings catch?

Writes ``book/results/leakage``. Open questions of Fernwick, in the proportions in which they come,
are split twice: at random, and by what is asked about whom, as Fernwick splits. An answer book then
answers the test questions: it learns nothing, and copies the answer to the training question that
has most words in common. Every seed takes other questions and another random split.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rlhf_lab.evaluate import gold_report, reply_kinds
from rlhf_lab.files import atomic_write
from rlhf_lab.provenance import manifest
from rlhf_lab.records import Prompt
from rlhf_lab.world import World

FOLDER = Path(__file__).parents[1] / "book" / "results" / "leakage"
SEEDS = (0, 1, 2, 3, 4)
AT_RANDOM, BY_COMBINATION = "at random", "by what is asked"


@dataclass(frozen=True)
class Config:
    """What is split.

    Attributes:
        sizes: questions in all, of which a tenth is for tests and a tenth is left aside.
        beginnings: words that two questions must share at their beginning to count as duplicates.
    """

    sizes: tuple[int, ...] = (250, 500, 1000, 2000)
    beginnings: tuple[int, ...] = (2, 3, 4, 5, 6)


def run() -> None:
    """Measure, write the tables and their manifest."""
    started, config, world = time.time(), Config(), World(0)
    splits, rules = [], []
    for seed in SEEDS:
        for size in config.sizes:
            for name, (train, test) in both_splits(world, size, seed).items():
                row = {"seed": seed, "questions": size, "split": name}
                splits.append(row | leaks(world, train, test))
        train, test = both_splits(world, max(config.sizes), seed)[BY_COMBINATION]
        rules += [
            {"seed": seed, "words": words, **shared_beginning([*train, *test], words)}
            for words in config.beginnings
        ]
    for name, table in {"splits": pd.DataFrame(splits), "beginnings": pd.DataFrame(rules)}.items():
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
        keys = [c for c in ("split", "questions", "words") if c in table]
        print(table.groupby(keys).mean(numeric_only=True).round(3).to_string())
    about = manifest("python -m benchmarks leakage", config, SEEDS, started)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")
    print(f"{time.time() - started:.0f} s")


def combination(prompt: Prompt) -> Hashable:
    """What is asked, in whatever words."""
    return tuple(prompt.meta["combination"])


def both_splits(world: World, size: int, seed: int) -> dict[str, tuple[list[Prompt], list[Prompt]]]:
    """Training and test questions of the same ``size`` questions, by the name of the split."""
    shares = {"train": 8 * size // 10, "valid": size // 10, "test": size // 10}
    own = {
        split: [
            prompt
            for prompt in world.prompts(
                split, count + count // 5 + 5, 20_000 * seed, kind="open_qa", hard=""
            )
            if prompt.meta["task"] != "why"  # asks for more than the fact
        ][:count]
        for split, count in shares.items()
    }
    mixed = [prompt for prompts in own.values() for prompt in prompts]
    random.Random(f"split:{seed}").shuffle(mixed)
    return {
        AT_RANDOM: (mixed[: shares["train"]], mixed[-shares["test"] :]),
        BY_COMBINATION: (own["train"], own["test"]),
    }


def leaks(world: World, train: Sequence[Prompt], test: Sequence[Prompt]) -> dict[str, float]:
    """What the training questions tell about the test questions.

    Returns:
        ``seen``, the share of test questions that are asked in training in other words;
        ``right`` and ``gold``, how often the answer book is right, and its mean gold score;
        ``tests``, how many there are.
    """
    known = {combination(prompt) for prompt in train}
    answers = answer_book(world, train, test)
    report = gold_report(world, test, answers)
    return {
        "seen": sum(combination(prompt) in known for prompt in test) / len(test),
        "right": float((reply_kinds(report) == "right").mean()),
        "gold": float(report.gold.mean()),
        "tests": len(test),
    }


def answer_book(world: World, train: Sequence[Prompt], test: Sequence[Prompt]) -> list[str]:
    """The demonstration of the training question that is most alike in its words.

    Alike: the summed weights of the words that both have over those that either has; a word that n
    of N training questions have weighs log(N / n), one that none has log(N).
    """
    words = sorted({word for prompt in [*train, *test] for word in prompt.text.split()})
    column = {word: i for i, word in enumerate(words)}

    def having(prompts: Sequence[Prompt]) -> np.ndarray:
        table = np.zeros((len(prompts), len(words)))
        for row, prompt in enumerate(prompts):
            table[row, [column[word] for word in prompt.text.split()]] = 1
        return table

    known, asked = having(train), having(test)
    weights = np.log(len(train) / np.maximum(1, known.sum(0)))
    shared = (asked * weights) @ known.T
    either = (asked @ weights)[:, None] + (known @ weights)[None, :] - shared
    nearest = (shared / either).argmax(1)
    return [world.demonstration(train[i]).completion for i in nearest]


def shared_beginning(prompts: Sequence[Prompt], words: int) -> dict[str, float]:
    """What is dropped when of all questions that share their first words only one is kept.

    Returns:
        ``dropped``, the share of all questions; ``caught``, the share of the pairs that ask the
        same which share their beginning; ``alike``, the share of pairs with the same beginning
        that ask the same.
    """
    begin, same = defaultdict(list), defaultdict(list)
    for prompt in prompts:
        beginning = tuple(prompt.text.split()[:words])
        begin[beginning].append(combination(prompt))
        same[combination(prompt)].append(beginning)
    both = sum(_equal_pairs(asked) for asked in begin.values())
    return {
        "dropped": 1 - len(begin) / len(prompts),
        "caught": both / sum(math.comb(len(group), 2) for group in same.values()),
        "alike": both / sum(math.comb(len(group), 2) for group in begin.values()),
    }


def _equal_pairs(items: Iterable[Hashable]) -> int:
    return sum(one == two for one, two in itertools.combinations(items, 2))
