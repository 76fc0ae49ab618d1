"""How much of the cores' measured matrix-product rate a whole PPO-ptx step reaches, and its phases.

The useful arithmetic (:func:`benchmarks.workload.useful_flops`) divided by the process time of the
step is a rate; the yardstick is what large fp32 products reach with the same number of threads,
measured right before and after each step.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from typing import Any

import torch

from benchmarks.report import write
from benchmarks.workload import Workload, matmul_rate, step_times, useful_flops

STEPS = 5
WORKLOADS = {
    "tiny": Workload(gamma=0.3),
    "tiny, all responses at the limit": Workload(gamma=0.3, stop_after=math.inf),
    "tiny, batch 256": Workload(gamma=0.3, batch=256),
    "base": Workload(gamma=0.3, width=256, layers=5, heads=8),
    "base, all responses at the limit": Workload(
        gamma=0.3, width=256, layers=5, heads=8, stop_after=math.inf
    ),
    "width 512": Workload(gamma=0.3, width=512, layers=6, heads=8, stop_after=math.inf),
}


def measured(work: Workload, steps: int = STEPS) -> dict[str, Any]:
    """Medians over ``steps`` iterations of one workload."""
    trainer = work.trainer()
    step_times(trainer, 0)
    rows = []
    for iteration in range(1, steps + 1):
        before = matmul_rate(0.3)
        (row,) = step_times(trainer, 1, warmup=0)
        after = matmul_rate(0.3)
        flops = useful_flops(work, row["tokens/prompt"], row["tokens/response"], row["tokens/ptx"])
        rate = {kind: (before[kind] + after[kind]) / 2 for kind in before}
        rows.append(
            {
                "iteration": iteration,
                "process_seconds": row["process"],
                "wall_seconds": row["wall"],
                "gflop": flops / 1e9,
                "matmul_gflops": rate["process"] / 1e9,
                "share": flops / row["process"] / rate["process"],
                "wall_share": flops / row["wall"] / rate["wall"],
                "episodes_per_second": work.batch / row["process"],
                **{k: row[f"time/{k}"] for k in ("sample", "reward", "score", "update")},
            }
        )
    return {k: statistics.median(r[k] for r in rows) for k in rows[0] if k != "iteration"} | {
        "low": min(r["share"] for r in rows),
        "high": max(r["share"] for r in rows),
    }


def run() -> None:
    """Print and write shares and phases."""
    started, found = time.time(), []
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        for name, work in WORKLOADS.items():
            row = {"workload": name, "threads": threads, **measured(work)}
            found.append(row)
            phases = {k: row[k] for k in ("sample", "reward", "score", "update")}
            total = sum(phases.values())
            print(
                f"  {name}, {threads} thread(s): {row['share']:.0%} of {row['matmul_gflops']:.0f} "
                f"GFLOP/s [{row['low']:.0%}, {row['high']:.0%}], {row['process_seconds']:.2f} s; "
                + ", ".join(f"{k} {v / total:.0%}" for k, v in phases.items()),
                flush=True,
            )
    write("matmul_share", found, WORKLOADS, started)
