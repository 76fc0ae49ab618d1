"""What does tuning cost in learning from examples, what does it gain without, who wins it back?

Writes ``book/results/in-context-cost``: six tasks below 0 to 8 solved examples, and four of them as
instructions, in usual and in other words, for base, SFT, PPO and PPO-ptx of the published sweep at
the default β (``runs/sweep``; what is missing of them is run). A seed changes the questions, the
examples and, after SFT, the policy; there is one base model.

Written before the first run. *Shown* is ``eq-shown-score`` over all six tasks, *told* the mean
accuracy over the four instructions, both by the likeliest answer. After Fu et al. 2022, supervised
tuning costs learning from examples if shown is lower for SFT than for the base model, and gains
without them if told is higher; RL with the mix wins back a part if shown is higher for PPO-ptx than
for SFT, stays behind if it is lower than for the base model, and improves further without examples
if told is higher than for SFT; it is the mix, and not RL, if shown is higher for PPO-ptx than for
PPO with γ = 0. Each with its whole interval over seeds. (A trial of the base model on 30 questions
of one seed, to see what fits, came after the rules; it raised the number of questions.)
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.sweep import CONFIG, GAMMAS, chain_of, policy_of
from rlhf_lab.evaluate import Neural, run_suite
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.language_model import LanguageModel
from rlhf_lab.lineage.in_context import IN_WORDS, TASKS, shown, told
from rlhf_lab.provenance import manifest
from rlhf_lab.world import World
from rlhf_lab.world.suites import Suite

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "in-context-cost"
SEEDS = CONFIG.seeds
SYSTEMS = ("base", "SFT", *GAMMAS)
SHOWN, TOLD, REWORDED, SWEPT = "shown", "told", "told in other words", "as in the sweep"
SWEPT_SUITE, SWEPT_QUESTIONS = "sums/4", 100  # of the sweep: they tell whether policies are its own


@dataclass(frozen=True)
class Config:
    """How much is asked.

    Attributes:
        questions: of each task; fewer where the test split holds no more.
        examples: numbers of them by task, as many as fit in the positions of ``tiny``.
        kept: answers of the first seed to so many questions of each form, for reading.
    """

    questions: int = 200
    examples: Mapping[str, tuple[int, ...]] = field(
        default_factory=lambda: {
            "labels": (0, 1, 2, 4, 8),
            "pairs": (1, 2, 4, 8),
            "facts": (0, 1, 2, 4, 8),
            "translations": (0, 1, 2, 4),
            "sums": (0, 1, 2, 4, 8),
            "programs": (0, 1, 2, 4, 8),
        }
    )
    kept: int = 2


def run() -> None:
    """Measure every policy, write the tables."""
    started, config = time.time(), Config()
    found: dict[str, list[dict[str, Any]]] = {"accuracy": [], "answers": []}
    for seed in SEEDS:
        for system in SYSTEMS:
            for table, rows in _measured(system, seed, config).items():
                found[table] += [{"seed": seed, "system": system, **row} for row in rows]
    for name, rows in found.items():
        table = pd.DataFrame(rows)
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.5g"))
    table = pd.DataFrame(found["accuracy"])
    keys = ["task", "form", "examples", "drawn"]
    print(table.pivot_table(index=keys, columns="system", values="accuracy").round(3).to_string())
    about = manifest(
        "python -m benchmarks in_context_cost", {"Config": config, "SweepConfig": CONFIG}, SEEDS,
        started,
    )  # fmt: skip
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _measured(system: str, seed: int, config: Config) -> dict[str, list[dict[str, Any]]]:
    """The rows about one policy of a seed, by table; read where the same code has made them."""
    code = code_fingerprint("rlhf_lab.sweep", "rlhf_lab.evaluate", "rlhf_lab.lineage.in_context")
    settings = [dataclasses.asdict(config), dataclasses.asdict(CONFIG)]
    key = fingerprint([code, file_hash(Path(__file__)), *settings])
    path = ROOT / "runs" / f"in-context-cost-{key}" / f"{SYSTEMS.index(system)}-seed-{seed}.json"
    if not path.is_file():
        before = time.process_time()
        chain = chain_of(seed)
        model = Neural(policy_of(system, chain), chain.tokenizer)
        tables = measure(chain.world, model, config, seed)
        if seed != SEEDS[0]:
            tables["answers"] = []
        atomic_write(path, json.dumps(tables, ensure_ascii=False))
        print(f"{system}, seed {seed}: {time.process_time() - before:.0f} s", flush=True)
    found: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def asked(world: World, config: Config, seed: int) -> list[tuple[dict[str, Any], Suite]]:
    """What every policy of a seed is asked: the columns that name a row, and its questions.

    Answers are drawn, too, where most examples are shown and where the task is told.
    """
    found: list[tuple[dict[str, Any], Suite]] = []
    for task in TASKS:
        numbers = config.examples[task]
        for examples in numbers:
            for drawn in (False, True) if examples == numbers[-1] else (False,):
                row = {"task": task, "form": SHOWN, "examples": examples, "drawn": drawn}
                found.append((row, shown(world, task, examples, seed=seed, drawn=drawn)))
    for task in IN_WORDS:
        for drawn in (False, True):
            row = {"task": task, "form": TOLD, "examples": 0, "drawn": drawn}
            found.append((row, told(world, task, seed=seed, drawn=drawn)))
        row = {"task": task, "form": REWORDED, "examples": 0, "drawn": False}
        found.append((row, told(world, task, seed=seed, reworded=True)))
    return found


def measure(
    world: World, model: LanguageModel, config: Config, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """What one policy does with every task.

    Returns:
        ``accuracy``: one row for each task, form and number of examples, with the share ``in_form``
        and the number of ``questions``; the last row has the sweep's own questions. ``answers``:
        the first likeliest ones of each.
    """
    accuracy: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    for row, suite in asked(world, config, seed):
        table = run_suite(suite, model, count=config.questions, seed=seed)
        accuracy.append(
            {**row, "questions": len(table), "accuracy": float(table["accuracy"].mean()),
             "in_form": float(table["in form"].mean())}
        )  # fmt: skip
        first = table.head(0 if row["drawn"] else config.kept)
        answers += [
            {**row, "prompt": line.prompt, "output": line.output, "answer": line.answer,
             "right": bool(line.accuracy)}
            for line in first.itertuples()
        ]  # fmt: skip
    table = run_suite(world.suites()[SWEPT_SUITE], model, count=SWEPT_QUESTIONS)
    accuracy.append(
        {"task": "sums", "form": SWEPT, "examples": 4, "drawn": False, "questions": len(table),
         "accuracy": float(table["accuracy"].mean())}
    )  # fmt: skip
    return {"accuracy": accuracy, "answers": answers}
