"""Cost as things grow: model, batch, K of the reward model, processes of a sweep.

Each row is the process time of one unit of work and its ratio to the row before: what doubles the
work should at most double the time.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import statistics
import time
from typing import Any

import torch

from benchmarks.report import write
from benchmarks.workload import Workload, step_times
from rlhf_lab.models import ScalarModel
from rlhf_lab.objectives import kwise_ranking_loss

MODELS = {
    "0.2 M": Workload(width=64, layers=3, heads=2),
    "1 M": Workload(),
    "4 M": Workload(width=256, layers=5, heads=8),
    "19 M": Workload(width=512, layers=6, heads=8),
}
BATCHES = (16, 32, 64, 128, 256)
KS = (2, 4, 6, 9)
RANKED_PROMPTS, COMPLETION = 16, 64


def step_seconds(work: Workload, steps: int = 3) -> float:
    """Median process seconds of a PPO step."""
    return statistics.median(r["process"] for r in step_times(work.trainer(), steps))


def ranking_seconds(k: int, repeats: int = 5) -> float:
    """Median process seconds of one reward-model step: K completions of 16 prompts, all pairs."""
    model = ScalarModel.from_policy(Workload().policy(), seed=0)
    tokens = torch.randint(2, 1280, (RANKED_PROMPTS * k, COMPLETION))
    ranks = torch.arange(k).repeat(RANKED_PROMPTS)
    group = torch.arange(RANKED_PROMPTS).repeat_interleave(k)
    seconds = []
    for _ in range(1 + repeats):
        start = time.process_time()
        scores = model.scores(tokens, torch.ones_like(tokens))
        kwise_ranking_loss(scores, ranks, group).backward()
        model.zero_grad()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds[1:])


def _one_run(_: int) -> float:
    torch.set_num_threads(1)
    trainer = Workload().trainer()
    start = time.time()
    step_times(trainer, 4, warmup=0)
    return time.time() - start


def steps_per_second(processes: int) -> float:
    """PPO steps per second of wall time, over all processes, one thread each."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(_one_run, range(processes), chunksize=1)  # imports
        start = time.time()
        pool.map(_one_run, range(processes), chunksize=1)
        return 4 * processes / (time.time() - start)


def run() -> None:
    """Print and write the four tables."""
    started = time.time()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    rows: list[dict[str, Any]] = []

    def add(axis: str, value: Any, unit: str, measured: float) -> None:
        before = [r for r in rows if r["axis"] == axis]
        growth = measured / before[-1]["measured"] if before else None
        rows.append(
            {"axis": axis, "value": value, "unit": unit, "measured": measured, "ratio": growth}
        )
        after = "" if growth is None else f", {growth:.2f} × the row before"
        print(f"  {axis} {value}: {measured:.3g} {unit}{after}", flush=True)

    for name, work in MODELS.items():
        add("parameters", name, "process s per PPO step", step_seconds(work))
    for batch in BATCHES:
        work = dataclasses.replace(Workload(), batch=batch)
        add("batch", batch, "process s per PPO step", step_seconds(work))
    for k in KS:
        add("K", k, "process s per reward-model step", ranking_seconds(k))
    for processes in (1, os.cpu_count() or 1):
        add("processes", processes, "PPO steps per s of wall time", steps_per_second(processes))
    write("scaling", rows, MODELS, started)
