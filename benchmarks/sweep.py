"""β × γ × seed at the settings of the quickstart, PPO half as long: what do both weights change?

Runs the default grid of ``rlhf-lab sweep`` and writes its tables, with their manifest, to
``book/results/sweep``. A grid that was cut off goes on where it stopped. A run takes two minutes or
three of one core, the whole grid more than an hour of two.
"""

from __future__ import annotations

from pathlib import Path

from rlhf_lab.config import SweepConfig
from rlhf_lab.files import atomic_write
from rlhf_lab.sweep import sweep
from rlhf_lab.widgets.sweep_data import TABLES

ROOT = Path(__file__).parents[1]
WORK = ROOT / "runs" / "sweep"
FOLDER = ROOT / "book" / "results" / "sweep"


def run() -> None:
    """Run what is missing of the grid, then publish its tables."""
    config = SweepConfig()
    found = sweep(config.chain, config.betas, config.gammas, config.seeds, WORK)
    failed = int((found["error"] != "").sum())
    missing = config.runs - int((found["policy"] == "ppo").sum())
    if failed or missing:
        raise SystemExit(f"{failed} runs failed and {missing} are missing: nothing is published")
    for name in TABLES:
        atomic_write(FOLDER / name, (WORK / name).read_text(encoding="utf-8"))
    measured = ["gold", "rm_score", "kl", "loss"]
    means = found.groupby(["policy", "gamma", "beta"], dropna=False)[measured].mean()
    print(means.round(3).to_string())
