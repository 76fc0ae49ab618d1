"""A PPO step against TRL 1.12.0's, the last release that has PPO.

Same model, prompts, batch, minibatches, response limit and inner epochs; no pretraining term. The
two run in turn, each time in a fresh process; set-up and the first iteration are left out. What is
compared is process time (user + system), so that other processes on the machine matter little.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.report import ratio, write
from benchmarks.workload import Workload

TRL = Path(__file__).parent / ".trl-1.12"
PAIRS, ITERATIONS = 5, 4
WORKLOADS = {
    "responses of mixed length": Workload(),
    "all responses at the limit": Workload(stop_after=math.inf),
}


def install() -> None:
    """TRL 1.12.0 in a folder of its own, over the libraries that are installed."""
    if not (TRL / "trl").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(TRL), "trl==1.12.0"], check=True)


def timed(module: str, work: Workload, threads: int, paths: list[str]) -> dict[str, float]:
    """Median seconds per iteration of one fresh process."""
    request = {"work": dataclasses.asdict(work), "threads": threads, "iterations": ITERATIONS}
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "PYTHONPATH": os.pathsep.join([*paths, str(Path(__file__).parent.parent)]),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module, json.dumps(request)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr[-3000:]}")
    rows = json.loads(done.stdout.strip().splitlines()[-1])
    return {kind: statistics.median(row[kind] for row in rows) for kind in ("process", "wall")}


def run() -> None:
    """Print and write the ratios."""
    install()
    started, found = time.time(), []
    for name, work in WORKLOADS.items():
        for threads in sorted({1, os.cpu_count() or 1}):
            pairs: list[dict[str, Any]] = []
            for _ in range(PAIRS):
                ours = timed("benchmarks.our_step", work, threads, [])
                theirs = timed("benchmarks.trl_step", work, threads, [str(TRL)])
                pairs.append({"ours": ours, "trl": theirs})
            row = {"workload": name, "threads": threads, "pairs": pairs}
            ratios = {
                kind: ratio([p["ours"][kind] for p in pairs], [p["trl"][kind] for p in pairs])
                for kind in ("process", "wall")
            }
            found.append(row | ratios)
            seconds = [statistics.median(p[w]["process"] for p in pairs) for w in ("ours", "trl")]
            print(
                f"  {name}, {threads} thread(s): {seconds[0]:.2f} s against {seconds[1]:.2f} s, "
                "ratio {ratio:.2f} [{low:.2f}, {high:.2f}] of process time".format(
                    **ratios["process"]
                )
                + ", {ratio:.2f} of wall time".format(**ratios["wall"]),
                flush=True,
            )
    write("versus_trl", found, WORKLOADS, started)
