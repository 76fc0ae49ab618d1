"""When does gold stop following a reward model: by training, by choosing, and by what it has seen?

Writes the tables of the chapter on over-optimisation, the file of its explorer and their manifest
to ``book/results/over-optimisation``. From the SFT policy of the first published quickstart, PPO
without a penalty follows reward models of several qualities, and best-of-n chooses by the same ones
from pools of SFT answers. Two more reward models differ in one thing that their rankings contain.
A seed changes rankings, new heads, samples and PPO; the prompts on which policies are measured are
the same, and each seed has its own of them for best-of-n. To cost little, prompts with long
texts are left out. What the same code has measured before is read from ``runs/``.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.followed import TABLES, Measured, Taught, measure
from benchmarks.reward_model import EXAMINER, ROOT, SFT, Start, start
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import ASSETS
from rlhf_lab.provenance import manifest
from rlhf_lab.widgets import over_optimisation as explorer
from rlhf_lab.widgets.files import write_published

FOLDER = ROOT / "book" / "results" / "over-optimisation"
SEEDS = (0, 1, 2)
FEW, MANY, SMALL, BLIND, SIGHTED = "few", "many", "one layer", "manners", "manners and topic"
MANNERS = ("right", "right", "rude", "hedging", "hedging")
REWARD_MODELS = {
    FEW: Taught(60),
    MANY: Taught(180),
    SMALL: Taught(180, layers=1),
    EXAMINER: Taught(),
    BLIND: Taught(60, qualities=MANNERS, compared=False),
    SIGHTED: Taught(60, qualities=MANNERS, borrowed=2, compared=False),
}


def run() -> None:
    """Do the runs that are missing, write the tables."""
    started, settings = time.time(), Measured()
    given = start()
    parts = [
        (name, seed)
        for is_compared in (True, False)
        for seed in SEEDS
        for name, taught in REWARD_MODELS.items()
        if taught.compared is is_compared
    ]
    found = [_measured(given, name, seed, settings) for name, seed in parts]
    tables = {name: pd.DataFrame(row for one in found for row in one[name]) for name in TABLES}
    for name, rows in tables.items():
        atomic_write(FOLDER / f"{name}.csv", rows.to_csv(index=False, float_format="%.5g"))
        if name != "answers":
            keys = [key for key in ("model", "step", "n") if key in rows]
            means = rows.groupby(keys, sort=False).mean(numeric_only=True)
            print(name, means.round(3).to_string(), sep="\n")
    compared = {
        name: {"rankings": taught.rankings, "layers": taught.layers}
        for name, taught in REWARD_MODELS.items()
        if taught.compared
    }
    published = explorer.published(tables["course"], tables["best_of_n"], compared)
    write_published(FOLDER / "explorer.json", published)
    configs: dict[str, Any] = {"Measured": settings, **REWARD_MODELS}
    about = manifest("python -m benchmarks over_optimisation", configs, SEEDS, started)
    about["sft_sha256"] = file_hash(SFT / "difference.safetensors")
    about["examiner_sha256"] = file_hash(ASSETS / EXAMINER / "model.safetensors")
    about["seconds_of_all_runs"] = round(sum(one["seconds"] for one in found), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _measured(given: Start, name: str, seed: int, settings: Measured) -> dict[str, Any]:
    """The rows of one reward model and seed, by table, and the seconds that they took."""
    code = code_fingerprint(
        "rlhf_lab.pipeline", "rlhf_lab.over_optimisation", "benchmarks.followed"
    )
    work = _folder(code, file_hash(SFT / "difference.safetensors"), dataclasses.asdict(settings))
    own = fingerprint(dataclasses.asdict(REWARD_MODELS[name]))
    path = work / f"{name.replace(' ', '-')}-{own}-seed-{seed}.json"
    if not path.is_file():
        before = time.process_time()
        rows: dict[str, Any] = measure(given, REWARD_MODELS[name], seed, settings, work)
        seconds = round(time.process_time() - before, 1)
        atomic_write(path, json.dumps({**rows, "seconds": seconds}))
        print(f"{name}, seed {seed}: {seconds:.0f} s", flush=True)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for table in TABLES:
        found[table] = [{"model": name, "seed": seed, **row} for row in found[table]]
    return found


def _folder(*inputs: Any) -> Path:
    """Where the rows of these inputs are kept."""
    return ROOT / "runs" / f"published-over-optimisation-{fingerprint(list(inputs))}"
