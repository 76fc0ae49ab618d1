"""Does the sandbox pass every solution of HumanEval's authors, and nothing that does nothing?

Writes the table that the chapter *Codex* reads, with its manifest, to ``book/results/human-eval``.
Reads HumanEval in ``RLHF_LAB_DATA``, or downloads it. There is nothing random in it, so no seeds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rlhf_lab.files import atomic_write
from rlhf_lab.lineage.human_eval import Problem, check, human_eval
from rlhf_lab.provenance import manifest

FOLDER = Path(__file__).parents[1] / "book" / "results" / "human-eval"
NOTHING = "    pass\n"


@dataclass(frozen=True)
class Measured:
    """How each completion is run.

    Attributes:
        seconds: of processor time.
    """

    seconds: int = 3


def run() -> None:
    """Run both completions of each problem, write the table."""
    started, settings = time.time(), Measured()
    table = verdicts(human_eval(), settings)
    atomic_write(FOLDER / "verdicts.csv", table.to_csv(index=False))
    about = manifest("python -m benchmarks human_eval", settings, [], started)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    print((table == "passed").sum().to_string(), f"\n  of {len(table)} pass")


def verdicts(problems: Sequence[Problem], settings: Measured) -> pd.DataFrame:
    """The sandbox's verdict on two completions of each problem.

    Returns:
        ``task_id``; ``reference``, the verdict on its author's solution; ``nothing``, that on a
        body without effect.
    """
    rows = []
    for one in problems:
        bodies = {"reference": one.canonical_solution, "nothing": NOTHING}
        found = {name: check(one, body, seconds=settings.seconds) for name, body in bodies.items()}
        rows.append({"task_id": one.task_id} | {name: o.verdict for name, o in found.items()})
    return pd.DataFrame(rows)
