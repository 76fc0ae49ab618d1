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

from benchmarks.sweep import CONFIG, PPO, ROOT, Part, collected, means
from rlhf_lab.files import atomic_write
from rlhf_lab.provenance import manifest

FOLDER = ROOT / "book" / "results" / "sweep-edges"
PARTS: tuple[Part, ...] = (
    ((2.0,), (0.0,), CONFIG.seeds),
    ((PPO.beta,), (0.01, 0.03), CONFIG.seeds),
)


def run() -> None:
    """Run what is missing, then publish the rows of PPO; base and SFT are those of the sweep."""
    started = time.time()
    joined, _, seconds = collected(PARTS)
    runs = joined["runs.csv"]
    runs = runs[runs.policy == "ppo"]
    atomic_write(FOLDER / "runs.csv", runs.to_csv(index=False))
    about = manifest("python -m benchmarks sweep_edges", CONFIG, CONFIG.seeds, started)
    about["parts"] = [dict(zip(("betas", "gammas", "seeds"), part, strict=True)) for part in PARTS]
    about["seconds_of_all_runs"] = round(seconds, 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")
    print(means(runs).to_string())
