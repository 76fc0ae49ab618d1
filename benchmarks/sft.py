"""What do sixteen epochs of supervised fine-tuning do to the loss, and what to the answers?

Writes the tables of the chapter on SFT, with their manifest, to ``book/results/sft``. Every run
starts from the shipped base model. A seed changes the demonstrations, their order and the random
numbers behind every answer; prompts and held-out demonstrations stay. Scores are those of the
shipped examiner. What the same code has measured before is read from ``runs/``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.fine_tuned import Measured, Recipe, Start, measure
from rlhf_lab.config import SFTConfig
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import ASSETS, ScalarModel, load_policy
from rlhf_lab.provenance import manifest
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "sft"
MODEL, EXAMINER = "tiny", "tiny-examiner"
TABLES = ("epochs", "temperatures", "choices", "answers")
RECIPES = {
    "300": Recipe(at=(1, 2, 4, 8, 16), special=(1, 16)),
    "smaller steps": Recipe(at=(1, 4, 16)),
    "2 epochs": Recipe(epochs=2, at=(2,), web=True),
    "2 epochs, mix 0.1": Recipe(epochs=2, at=(2,), mix=0.1, web=True),
}
# The base model's peak learning rate was 2e-3. Theirs was a twentieth of GPT-3's, ours a quarter.
GENTLE = Measured(sft=SFTConfig(learning_rate=1e-4))
SETTINGS = dict.fromkeys(RECIPES, Measured()) | {"smaller steps": GENTLE}


def run() -> None:
    """Do the runs that are missing, write the tables."""
    started = time.time()
    seeds = range(max(recipe.seeds for recipe in RECIPES.values()))
    work = [(name, seed) for name, recipe in RECIPES.items() for seed in range(recipe.seeds)]
    found = [_measured(name, seed) for name, seed in work]
    for table in TABLES:
        rows = pd.DataFrame(row for one in found for row in one[table])
        atomic_write(FOLDER / f"{table}.csv", rows.to_csv(index=False, float_format="%.5g"))
    shown = pd.read_csv(FOLDER / "epochs.csv").groupby(["recipe", "epoch"], sort=False)
    print(shown[["loss", "entropy", "gold", "rm_score", "wins"]].mean().round(3).to_string())
    configs: dict[str, Any] = {"Measured": Measured(), "smaller steps, Measured": GENTLE, **RECIPES}
    about = manifest("python -m benchmarks sft", configs, seeds, started)
    about["seconds_of_all_runs"] = round(sum(one["seconds"] for one in found), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _measured(name: str, seed: int) -> dict[str, Any]:
    """The rows of one run, by table."""
    recipe, settings = RECIPES[name], SETTINGS[name]
    code = [
        code_fingerprint("rlhf_lab.sft", "rlhf_lab.evaluate"),
        code_fingerprint("benchmarks.fine_tuned"),
    ]
    models = [file_hash(ASSETS / model / "model.safetensors") for model in (MODEL, EXAMINER)]
    one = dataclasses.replace(recipe, seeds=1)  # how many there are changes none of them
    key = fingerprint([*code, *models, dataclasses.asdict(settings), dataclasses.asdict(one)])
    path = ROOT / "runs" / f"published-sft-{key}" / f"seed-{seed}.json"
    if not path.is_file():
        atomic_write(path, json.dumps(measure(start(), name, recipe, seed, settings)))
        print(f"{name}, seed {seed}", flush=True)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@functools.cache
def start() -> Start:
    base, tokenizer = load_policy(MODEL)
    return Start(base, tokenizer, ScalarModel.load(EXAMINER), World(0))
