"""β × γ × seed at the settings of the quickstart, PPO half as long: what do both weights change?

Runs the default grid of ``rlhf-lab sweep`` and writes its tables, with their manifest, to
``book/results/sweep``. A grid that was cut off goes on where it stopped. A run takes two minutes or
three of one core, the whole grid more than an hour of two.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd

from rlhf_lab.config import SweepConfig
from rlhf_lab.files import atomic_write
from rlhf_lab.provenance import manifest
from rlhf_lab.sweep import sweep

ROOT = Path(__file__).parents[1]
WORK = ROOT / "runs" / "sweep"
FOLDER = ROOT / "book" / "results" / "sweep"
CONFIG = SweepConfig()
Part = tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]]
PARTS: tuple[Part, ...] = ((CONFIG.betas, CONFIG.gammas, CONFIG.seeds),)


def run() -> None:
    """Run what is missing, then publish the tables of all parts as one."""
    started = time.time()
    tables: dict[str, list[pd.DataFrame]] = {"runs.csv": [], "curves.csv": []}
    samples: list[dict[str, Any]] = []
    for betas, gammas, seeds in PARTS:
        found = sweep(CONFIG.chain, betas, gammas, seeds, WORK)
        failed = int((found["error"] != "").sum())
        wanted = len(betas) * len(gammas) * len(seeds)
        missing = wanted - int((found["policy"] == "ppo").sum())
        if failed or missing:
            raise SystemExit(f"{failed} runs failed, {missing} are missing: nothing is published")
        for name, parts in tables.items():
            parts.append(pd.read_csv(WORK / name))
        samples += json.loads((WORK / "samples.json").read_text(encoding="utf-8"))
    joined = {name: joined_once(parts) for name, parts in tables.items()}
    for name, table in joined.items():
        atomic_write(FOLDER / name, table.to_csv(index=False))
    once = {json.dumps(sample): sample for sample in samples}
    text = json.dumps(list(once.values()), indent=1, ensure_ascii=False)
    atomic_write(FOLDER / "samples.json", text + "\n")
    about = manifest("python -m benchmarks sweep", CONFIG, CONFIG.seeds, started)
    about["parts"] = [dict(zip(("betas", "gammas", "seeds"), part, strict=True)) for part in PARTS]
    about["runs"] = int((joined["runs.csv"].policy == "ppo").sum())
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")
    measured = ["gold", "rm_score", "kl", "loss"]
    means = joined["runs.csv"].groupby(["policy", "gamma", "beta"], dropna=False)[measured].mean()
    print(means.round(3).to_string())


def joined_once(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all parts; a row that is in two of them stands once."""
    return pd.concat(parts).drop_duplicates(ignore_index=True)
