"""Ratios with intervals, and result files with a manifest."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from rlhf_lab import strict_json
from rlhf_lab.files import atomic_write
from rlhf_lab.provenance import manifest

RESULTS = Path(__file__).parent / "results"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Geometric mean of the paired ratios with Student's 95 % interval (of the logarithms)."""
    logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    mean = statistics.fmean(logs)
    half = math.nan
    if len(logs) > 1:
        error = statistics.stdev(logs) / math.sqrt(len(logs))
        half = float(stats.t.ppf(0.975, len(logs) - 1)) * error
    return {"ratio": math.exp(mean), "low": math.exp(mean - half), "high": math.exp(mean + half)}


def write(name: str, rows: Any, work: Mapping[str, object], started: float) -> None:
    """``results/<name>.json``: the numbers, and how they were made."""
    about = manifest(f"python -m benchmarks {name}", work, [0], started)
    text = strict_json.dumps({"manifest": about, "results": rows}, indent=1) + "\n"
    atomic_write(RESULTS / f"{name}.json", text)
    print(f"  {time.time() - started:.0f} s, written to {(RESULTS / name).name}.json\n", flush=True)
