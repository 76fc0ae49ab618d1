"""How sure are base, SFT, PPO and PPO-ptx of their choices, and how often are they right?

Writes ``book/results/calibration``. Questions with four endings of a story or two values of a fact,
and the next tokens of held-out documents, for the policies of the published sweep at the default β
(``runs/sweep``; what is missing of them is run). As in figure 8 of GPT-4's technical report, each
choice is a prediction: its probability among the choices, and whether it is the right one.

Written before the first run: post-training costs calibration if the error (``eq-ece``) over all
choices of the zero-shot story endings is larger for PPO with γ = 0 than for the base model, with
the whole interval over seeds.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from benchmarks.sweep import CONFIG, GAMMAS, chain_of, policy_of
from rlhf_lab.evaluate import Neural
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.lineage import calibration
from rlhf_lab.provenance import manifest
from rlhf_lab.world import World
from rlhf_lab.world.suites import Item

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "calibration"
SEEDS = CONFIG.seeds
SYSTEMS = ("base", "SFT", *GAMMAS)
TOKENS = "next tokens"
SWEPT = 100  # questions per suite of the sweep


@dataclass(frozen=True)
class Config:
    """How much is asked.

    Attributes:
        suites: multiple-choice benchmarks.
        questions: of each; fewer where the test split holds no more.
        documents: of the web's test split, whose tokens are predicted.
    """

    suites: tuple[str, ...] = ("story ending/0", "misconceptions, likelihood/0")
    questions: int = 300
    documents: int = 200


def run() -> None:
    """Measure every policy, write the tables."""
    started, config = time.time(), Config()
    found = [
        {"seed": seed, "system": system, **row}
        for seed in SEEDS
        for system in SYSTEMS
        for row in _measured(system, seed if system != "base" else SEEDS[0], config)
    ]
    bins = [
        {**{name: row[name] for name in ("seed", "system", "asked")}, **line}
        for row in found
        for line in row.pop("reliability")
    ]
    tables = {"errors": pd.DataFrame(found), "reliability": pd.DataFrame(bins)}
    for name, table in tables.items():
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.5g"))
    shown = tables["errors"].groupby(["asked", "system"], sort=False)
    print(shown.mean(numeric_only=True).drop(columns="seed").round(3).to_string())
    about = manifest(
        "python -m benchmarks calibration", {"Config": config, "SweepConfig": CONFIG}, SEEDS,
        started,
    )  # fmt: skip
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


@functools.cache
def _world() -> World:
    return World(CONFIG.chain.world_seed)


def _measured(system: str, seed: int, config: Config) -> list[dict[str, Any]]:
    """Rows about one policy, which all seeds share of the base model; read if they are there."""
    code = [code_fingerprint("rlhf_lab.sweep", "rlhf_lab.lineage.calibration")]
    code.append(file_hash(Path(__file__)))
    key = fingerprint([*code, dataclasses.asdict(config), dataclasses.asdict(CONFIG)])
    path = ROOT / "runs" / f"calibration-{key}" / f"{SYSTEMS.index(system)}-seed-{seed}.json"
    if not path.is_file():
        chain = chain_of(seed)
        rows = measure(_world(), policy_of(system, chain), chain.tokenizer, config)
        atomic_write(path, json.dumps(rows))
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def measure(world: World, model: nn.Module, tokenizer: Any, config: Config) -> list[dict[str, Any]]:
    """One row for each suite and one for the next tokens.

    ``accuracy`` and mean ``confidence`` are those of the likeliest choice; ``ece`` is over all
    choices and ``ece_top`` over the likeliest ones (for tokens both are the likeliest);
    ``by_chance``, what exact probabilities would show; ``temperature`` and ``ece_scaled``: fitted
    on every second question and measured on the others, beside ``ece_others`` without it;
    ``swept``, accuracy on the questions that the sweep asks; ``reliability``, the bins behind
    ``ece``.
    """
    found: list[dict[str, Any]] = []
    for label in config.suites:
        items = _questions(world, label, config.questions)
        logprobs, right = calibration.choice_logprobs(Neural(model, tokenizer), items)
        chances = calibration.choice_probabilities(logprobs)
        confidence, correct = calibration.top_choices(chances, right)
        every = calibration.all_choices(chances, right)
        half, rest = slice(0, None, 2), slice(1, None, 2)
        temperature = calibration.fitted_temperature(logprobs[half], right[half])
        scaled = calibration.choice_probabilities(logprobs[rest], temperature)
        row = {
            "asked": label,
            "count": len(items),
            "accuracy": correct.mean(),
            "confidence": confidence.mean(),
            "ece": calibration.expected_calibration_error(*every),
            "ece_top": calibration.expected_calibration_error(confidence, correct),
            "by_chance": calibration.error_if_calibrated(chances),
            "temperature": temperature,
            "ece_others": _error(chances[rest], right[rest]),
            "ece_scaled": _error(scaled, right[rest]),
            "swept": correct[:SWEPT].mean(),
            "reliability": calibration.reliability(*every).to_dict("records"),
        }
        found.append(row)
    stated, true = calibration.next_tokens(model, tokenizer, _texts(world, config.documents))
    error = calibration.expected_calibration_error(stated, true)
    row = {
        "asked": TOKENS, "count": len(stated), "accuracy": true.mean(),
        "confidence": stated.mean(), "ece": error, "ece_top": error,
        "reliability": calibration.reliability(stated, true).to_dict("records"),
    }  # fmt: skip
    return [*found, row]


@functools.lru_cache(maxsize=4)
def _questions(world: World, label: str, count: int) -> list[Item]:
    """The same for every policy; making them takes longer than asking them."""
    return world.suites()[label].items(count)


@functools.lru_cache(maxsize=1)
def _texts(world: World, count: int) -> list[str]:
    return [document.text for document in world.documents(count, split="test")]


def _error(chances: np.ndarray, right: np.ndarray) -> float:
    return calibration.expected_calibration_error(*calibration.all_choices(chances, right))
