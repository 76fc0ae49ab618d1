"""How long does each lab take with its solutions in, in fast mode and in full, on one core?

Each lab runs from its first cell to its last in an empty folder of its own, as after a download.
The seconds are process time of its kernel and of what that starts, so that other work on the
machine changes them little. Fast mode is what tests run and has 60 seconds; in full a lab has 300.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import write

ROOT = Path(__file__).parents[1]
FAST = "RLHF_LAB_FAST"


@dataclass(frozen=True)
class Limits:
    """Seconds that a lab may take, by mode."""

    fast: int = 60
    full: int = 300


def _seconds() -> float:
    """Process seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(notebook: Any, mode: str) -> dict[str, float]:
    from nbclient import NotebookClient

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop(FAST, None)
    if mode == "fast":
        environment[FAST] = "1"
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": folder}})
        wall, process = time.perf_counter(), _seconds()
        client.execute(env=environment)
        return {"process": _seconds() - process, "wall": time.perf_counter() - wall}


def run() -> None:
    """Print and write the seconds of every lab, and their ratio to the limit."""
    from rlhf_lab.labs import editions
    from rlhf_lab.labs.masters import read_masters

    started = time.time()
    rows: list[dict[str, Any]] = []
    for master in read_masters(ROOT):
        for mode, limit in asdict(Limits()).items():
            found = _run(editions.source(master, ROOT), mode)
            row = {"lab": master.name, "mode": mode, **found, "of_limit": found["process"] / limit}
            rows.append(row)
            print(
                f"{master.name:<20} {mode}  {row['process']:6.1f} s process  "
                f"{row['wall']:6.1f} s wall  {row['of_limit']:.2f} of the limit",
                flush=True,
            )
    write("labs", rows, {"Limits": Limits()}, started)
