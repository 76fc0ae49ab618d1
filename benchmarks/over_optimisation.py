"""When does gold stop following a reward model: by training, by choosing, and by what it has seen?

Writes the tables of the chapter on over-optimisation, the file of its explorer and their manifest
to ``book/results/over-optimisation``. From the SFT policy of the first published quickstart, PPO
without a penalty follows reward models of several qualities, and best-of-n chooses by the same ones
from pools of SFT answers. Two more reward models, by which is only chosen, differ in one thing that
their rankings contain.
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

from benchmarks import blind_spot, followed
from benchmarks.blind_spot import Shown
from benchmarks.followed import Measured, Taught
from benchmarks.reward_model import EXAMINER, ROOT, SFT, Start, start
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import ASSETS
from rlhf_lab.provenance import manifest
from rlhf_lab.widgets import over_optimisation as explorer
from rlhf_lab.widgets.files import write_published

FOLDER = ROOT / "book" / "results" / "over-optimisation"
SEEDS = (0, 1, 2, 3, 4)
FEW, MANY, SMALL = "few", "many", "one layer"
REWARD_MODELS = {
    FEW: Taught(60),
    MANY: Taught(180),
    SMALL: Taught(180, layers=1),
    EXAMINER: Taught(),
}
BLIND, SIGHTED = "manners", "manners and topic"
SHOWN = {BLIND: Shown(), SIGHTED: Shown(borrowed=2)}
TABLES = (*followed.TABLES, "blind", "picks")


def run() -> None:
    """Do the runs that are missing, write the tables."""
    started, settings = time.time(), Measured()
    given = start()
    found = [
        _measured(given, name, seed, settings)
        for names in (REWARD_MODELS, SHOWN)
        for seed in SEEDS
        for name in names
    ]
    tables = {
        name: pd.DataFrame(row for one in found for row in one.get(name, [])) for name in TABLES
    }
    for name, rows in tables.items():
        atomic_write(FOLDER / f"{name}.csv", rows.to_csv(index=False, float_format="%.5g"))
        if name not in ("answers", "picks"):
            keys = [key for key in ("model", "step", "n") if key in rows]
            means = rows.groupby(keys, sort=False).mean(numeric_only=True)
            print(name, means.round(3).to_string(), sep="\n")
    published = explorer.published(
        tables["course"],
        tables["best_of_n"],
        {
            name: {"rankings": taught.rankings, "layers": taught.layers}
            for name, taught in REWARD_MODELS.items()
        },
    )
    write_published(FOLDER / "explorer.json", published)
    configs: dict[str, Any] = {"Measured": settings, **REWARD_MODELS, **SHOWN}
    about = manifest("python -m benchmarks over_optimisation", configs, SEEDS, started)
    about["sft_sha256"] = file_hash(SFT / "difference.safetensors")
    about["examiner_sha256"] = file_hash(ASSETS / EXAMINER / "model.safetensors")
    about["seconds_of_all_runs"] = round(sum(one["seconds"] for one in found), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _measured(given: Start, name: str, seed: int, settings: Measured) -> dict[str, Any]:
    """The rows of one reward model and seed, by table, and the seconds that they took."""
    kept = settings, file_hash(SFT / "difference.safetensors")
    work = _folder("benchmarks.followed", *kept)
    taught, folder = (REWARD_MODELS | SHOWN)[name], work
    if isinstance(taught, Shown):
        folder = _folder("benchmarks.blind_spot", *kept)
    own = fingerprint(dataclasses.asdict(taught))
    path = folder / f"{name.replace(' ', '-')}-{own}-seed-{seed}.json"
    if not path.is_file():
        before = time.process_time()
        rows: dict[str, Any]
        if isinstance(taught, Shown):
            rows = blind_spot.measure(given, taught, seed, settings, work)
        else:
            rows = followed.measure(given, taught, seed, settings, work)
        seconds = round(time.process_time() - before, 1)
        atomic_write(path, json.dumps({**rows, "seconds": seconds}))
        print(f"{name}, seed {seed}: {seconds:.0f} s", flush=True)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {
        table: [{"model": name, "seed": seed, **row} for row in rows] if table in TABLES else rows
        for table, rows in found.items()
    }


def _folder(module: str, settings: Measured, sft: str) -> Path:
    """Where is kept what the code of a module has measured."""
    code = code_fingerprint("rlhf_lab.pipeline", "rlhf_lab.over_optimisation", module)
    key = fingerprint([code, sft, dataclasses.asdict(settings)])
    return ROOT / "runs" / f"published-over-optimisation-{key}"
