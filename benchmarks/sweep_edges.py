"""Beyond the edges of the sweep: a hundred times the default β, and mixes of a hundredth and less.

Runs the chain of ``sweep``, on its seeds, at the places that the paper's figures 33 and 34 have and
the grid has not, and writes ``book/results/sweep-edges``. Without the mix β = 2, where the paper
says that the tasks are not back and that the reward has collapsed; at the default β two mixes
below the smallest of the grid, which already takes the tax away. The rules of the ledger about
these runs were written before the first of them.
"""

from __future__ import annotations

import json
import time

import pandas as pd

from benchmarks.sweep import CONFIG, PPO, ROOT, WORK
from rlhf_lab.files import atomic_write
from rlhf_lab.provenance import manifest
from rlhf_lab.sweep import sweep

FOLDER = ROOT / "book" / "results" / "sweep-edges"
PARTS = (((2.0,), (0.0,)), ((PPO.beta,), (0.01, 0.03)))  # (β, γ)


def run() -> None:
    """Run what is missing, then publish the rows of PPO; base and SFT are those of the sweep."""
    started, seconds, tables = time.time(), 0.0, []
    for betas, gammas in PARTS:
        found = sweep(CONFIG.chain, betas, gammas, CONFIG.seeds, WORK)
        own = found[found.policy == "ppo"]
        if (own.error != "").any() or len(own) < len(betas) * len(gammas) * len(CONFIG.seeds):
            raise SystemExit("runs failed or are missing: nothing is published")
        tables.append(own)
        about_part = json.loads((WORK / "manifest.json").read_text(encoding="utf-8"))
        seconds += about_part["seconds_of_all_runs"]
    table = pd.concat(tables)
    atomic_write(FOLDER / "runs.csv", table.to_csv(index=False, float_format="%.6g"))
    about = manifest("python -m benchmarks sweep_edges", CONFIG, CONFIG.seeds, started)
    about["parts"] = [dict(zip(("betas", "gammas"), part, strict=True)) for part in PARTS]
    about["seconds_of_all_runs"] = round(seconds, 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")
    measured = ["gold", "rm_score", "kl", "loss"]
    print(table.groupby(["beta", "gamma"])[measured].agg(["mean", "std"]).round(3).to_string())
