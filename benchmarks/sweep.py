"""β × γ × seed at the settings of the quickstart, PPO half as long: what do both weights change?

Runs the default grid of ``rlhf-lab sweep`` and writes its tables, with their manifest, to
``book/results/sweep``. A grid that was cut off goes on where it stopped. A run takes two minutes or
three of one core, the whole grid two hours of two. Three seeds were run and printed first. Five
had been planned: all were then run by one code, the two new ones for every cell.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from rlhf_lab.config import SweepConfig
from rlhf_lab.files import atomic_write
from rlhf_lab.models import load_policy
from rlhf_lab.pipeline import Chain, seeded
from rlhf_lab.provenance import manifest
from rlhf_lab.sweep import Cell, Grid, sweep

ROOT = Path(__file__).parents[1]
WORK = ROOT / "runs" / "sweep"
FOLDER = ROOT / "book" / "results" / "sweep"
CONFIG = SweepConfig(seeds=(0, 1, 2, 3, 4))
PPO = CONFIG.chain.ppo
GAMMAS = {"PPO, γ = 0": 0.0, "PPO-ptx": PPO.gamma}
Part = tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]]
PARTS: tuple[Part, ...] = ((CONFIG.betas, CONFIG.gammas, CONFIG.seeds),)


def run() -> None:
    """Run what is missing, then publish the tables of all parts as one."""
    started = time.time()
    joined, samples, seconds = collected(PARTS)
    for name, table in joined.items():
        atomic_write(FOLDER / name, table.to_csv(index=False))
    text = json.dumps(samples, indent=1, ensure_ascii=False)
    atomic_write(FOLDER / "samples.json", text + "\n")
    about = manifest("python -m benchmarks sweep", CONFIG, CONFIG.seeds, started)
    about["parts"] = [dict(zip(("betas", "gammas", "seeds"), part, strict=True)) for part in PARTS]
    about["seconds_of_all_runs"] = round(seconds, 1)
    about["runs"] = int((joined["runs.csv"].policy == "ppo").sum())
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")
    print(means(joined["runs.csv"]).to_string())


def collected(
    parts: Sequence[Part],
) -> tuple[dict[str, pd.DataFrame], list[dict[str, Any]], float]:
    """Run what is missing of all parts: their tables by name, samples and processor seconds.

    Rows and samples that are in two parts stand once. Nothing is returned while a run is missing.
    """
    tables: dict[str, list[pd.DataFrame]] = {"runs.csv": [], "curves.csv": []}
    samples: list[dict[str, Any]] = []
    seconds = 0.0
    for betas, gammas, seeds in parts:
        found = sweep(CONFIG.chain, betas, gammas, seeds, WORK)
        failed = int((found["error"] != "").sum())
        wanted = len(betas) * len(gammas) * len(seeds)
        missing = wanted - int((found["policy"] == "ppo").sum())
        if failed or missing:
            raise SystemExit(f"{failed} runs failed, {missing} are missing: nothing is published")
        for name, found_parts in tables.items():
            found_parts.append(pd.read_csv(WORK / name))
        samples += json.loads((WORK / "samples.json").read_text(encoding="utf-8"))
        about_part = json.loads((WORK / "manifest.json").read_text(encoding="utf-8"))
        seconds += about_part["seconds_of_all_runs"]
    joined = {name: joined_once(found_parts) for name, found_parts in tables.items()}
    once = {json.dumps(sample): sample for sample in samples}
    return joined, list(once.values()), seconds


def means(runs: pd.DataFrame) -> pd.DataFrame:
    """What a benchmark prints of its cells: means over seeds."""
    measured = ["gold", "rm_score", "kl", "loss"]
    return runs.groupby(["policy", "gamma", "beta"], dropna=False)[measured].mean().round(3)


def joined_once(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all parts; a row that is in two of them stands once."""
    return pd.concat(parts).drop_duplicates(ignore_index=True)


# --- for other benchmarks: the policies at the default β ------------------------------------------


@functools.lru_cache(maxsize=1)
def chain_of(seed: int) -> Chain:
    """The chain of a seed, whose policies and reward model are made when they are asked for."""
    return Chain(seeded(CONFIG.chain, seed), _default_grid().chain_folder(seed), quiet=True)


def policy_of(system: str, chain: Chain) -> nn.Module:
    """A policy of a chain: "base", "SFT", or one of :data:`GAMMAS` at the default β."""
    if system in GAMMAS:
        cell = Cell("ppo", chain.config.seed, PPO.beta, GAMMAS[system])
        return load_policy(_default_grid().run_folder(cell) / "final")[0]
    return chain.sft if system == "SFT" else chain.base


@functools.cache
def _default_grid() -> Grid:
    """The sweep at the default β; it is run for policies that are missing."""
    wanted = dataclasses.replace(CONFIG, betas=(PPO.beta,), gammas=tuple(GAMMAS.values()))
    grid = Grid(wanted, WORK.resolve())
    runs = [cell for cell in grid.cells if cell.policy == "ppo"]
    if not all((grid.run_folder(cell) / "final").is_dir() for cell in runs):
        sweep(wanted.chain, wanted.betas, wanted.gammas, wanted.seeds, WORK)
    return grid
