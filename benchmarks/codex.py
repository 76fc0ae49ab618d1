"""How does pass@k of list programs depend on k and on the temperature?

Writes the tables of the chapter *Codex*, with their manifest, to ``book/results/codex``. The
shipped base model is fine-tuned to write list programs from descriptions, and samples some for each
of a set of tasks at several temperatures. A seed changes the demonstrations, their order and the
samples. Runs that the same code has done before are read from ``runs/``.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rlhf_lab.config import SFTConfig
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.lineage import micro_programs
from rlhf_lab.models import ASSETS, load_policy
from rlhf_lab.provenance import manifest
from rlhf_lab.sft import train_sft

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "codex"
SEEDS = (0, 1, 2)
Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Measured:
    """What is run for each seed.

    Attributes:
        demonstrations: tasks with their programs that the base model is fine-tuned on, once each.
        tasks: of the test split, whose functions are not among those.
        samples: programs for each task and temperature.
        kept: the task whose samples of the first seed are published.
    """

    demonstrations: int = 3200
    sft: SFTConfig = field(
        default_factory=lambda: SFTConfig(
            epochs=1, learning_rate=1e-3, batch_size=16, micro_batch_size=16, max_length=96
        )
    )
    tasks: int = 30
    samples: int = 100
    temperatures: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
    kept: int = 1


def run() -> None:
    """Do the runs that are missing, write the tables."""
    started, settings = time.time(), Measured()
    found = [_kept(seed, settings) for seed in SEEDS]
    for table in ("counts", "samples"):
        rows = pd.DataFrame([row for one in found for row in one[table]])
        atomic_write(FOLDER / f"{table}.csv", rows.to_csv(index=False, float_format="%.5g"))
    about = manifest("python -m benchmarks codex", settings, SEEDS, started)
    about["seconds_of_all_runs"] = round(sum(one["seconds"] for one in found), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _kept(seed: int, settings: Measured) -> dict[str, Any]:
    key = fingerprint([
        code_fingerprint("rlhf_lab.lineage.micro_programs", "rlhf_lab.sft"),
        file_hash(ASSETS / "tiny" / "model.safetensors"),
        dataclasses.asdict(settings),
    ])  # fmt: skip
    path = ROOT / "runs" / f"published-codex-{key}" / f"{seed}.json"
    if not path.is_file():
        before = time.process_time()
        made: dict[str, Any] = {**programs(seed, settings)}
        made["seconds"] = time.process_time() - before
        atomic_write(path, json.dumps(made))
        print(seed, round(made["seconds"]), flush=True)
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def programs(seed: int, settings: Measured) -> Rows:
    """Fine-tune the base model once, sample programs, run their tests.

    Returns:
        ``counts``: for each task and temperature the ``samples``, how many pass the tests
        (``right``), do what the prompt shows (``fit``), do both, and are no program (``broken``).
        ``samples``: for the first seed, the programs of one task and how often each came.
    """
    policy, tokenizer = load_policy("tiny")
    config = dataclasses.replace(settings.sft, seed=seed)
    shown = micro_programs.demonstrations("train", settings.demonstrations, seed)
    train_sft(policy, tokenizer, shown, config, quiet=True)
    policy.eval()
    found: Rows = {"counts": [], "samples": []}
    for number, task in enumerate(micro_programs.tasks("test", settings.tasks)):
        drawn = micro_programs.attempts(
            policy, tokenizer, task.prompt, settings.samples, settings.temperatures,
            seed=1000 * seed + number,
        )  # fmt: skip
        for temperature, texts in zip(settings.temperatures, drawn, strict=True):
            fits, right = [task.fits(t) for t in texts], [task.passes(t) for t in texts]
            row = {"seed": seed, "task": number, "temperature": temperature}
            found["counts"].append({
                **row,
                "commands": len(task.program),
                "samples": len(texts),
                "right": sum(right),
                "fit": sum(fits),
                "both": sum(a and b for a, b in zip(fits, right, strict=True)),
                "broken": sum(micro_programs.parse(t) is None for t in texts),
            })  # fmt: skip
            if seed == 0 and number == settings.kept:
                for text, count in Counter(texts).most_common():
                    found["samples"].append({**row, "program": text, "count": count})
    return found
