"""For how long, and at which rate, are the networks of *Pre-train, fine-tune* to be trained?

Writes ``book/results/fine-tuning-trials``: single trials, by which rates and steps can be chosen.
No test text is used. A trial learns from a draw of the training pool that no seed of
``benchmarks.fine_tuning`` makes, and is asked about other texts of the pool. One draw cannot order
settings that lie close together, and gives no interval over draws.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.fine_tuning import FULL, HEAD, LORA, SCRATCH, examples
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import ASSETS
from rlhf_lab.paradigms.fine_tuning import FineTunedClassifier, Training
from rlhf_lab.paradigms.scoring import accuracy
from rlhf_lab.provenance import manifest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "fine-tuning-trials"
SEED = 11  # of the draw; the measurements have 0 to 4


@dataclass(frozen=True)
class Trial:
    """One setting, tried once."""

    task: str
    method: str
    labels: int
    steps: int
    rate: float
    head_rate: float = 5e-3


@dataclass(frozen=True)
class Measured:
    """What is tried.

    Attributes:
        pool: the training examples; pairs_pool: of the tasks on more than one text.
        validated: those of them that are asked about.
    """

    pool: int = 2000
    pairs_pool: int = 5000
    validated: int = 300
    trials: tuple[Trial, ...] = (
        Trial("classification", FULL, 256, 80, 2e-4),
        Trial("classification", FULL, 256, 320, 5e-4),
        Trial("classification", SCRATCH, 256, 320, 1e-3),
        Trial("classification", LORA, 256, 320, 5e-3),
        Trial("classification", HEAD, 1024, 400, 0.0),
        Trial("classification", HEAD, 1024, 2000, 0.0, 2e-2),
        Trial("entailment", FULL, 4096, 640, 5e-4),
        Trial("entailment", SCRATCH, 4096, 1280, 3e-4),
        Trial("choice", FULL, 256, 100, 2e-4),
        Trial("choice", FULL, 4096, 640, 5e-4),
        Trial("similarity", FULL, 4096, 640, 5e-4),
    )


def run() -> None:
    """Do the trials that are missing, write the table."""
    started, settings = time.time(), Measured()
    found = [_tried(trial, settings) for trial in settings.trials]
    table = pd.DataFrame(found)
    seconds = table.pop("seconds").sum()
    atomic_write(FOLDER / "trials.csv", table.to_csv(index=False, float_format="%.5g"))
    about = manifest("python -m benchmarks fine_tuning_trials", settings, (SEED,), started)
    about["seconds_of_all_runs"] = round(float(seconds), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _tried(trial: Trial, settings: Measured) -> dict[str, Any]:
    """The row of one trial."""
    data = "data" if trial.task == "classification" else "pair_tasks"
    key = fingerprint([
        code_fingerprint("rlhf_lab.paradigms.fine_tuning", "rlhf_lab.paradigms.scoring"),
        code_fingerprint(f"rlhf_lab.paradigms.{data}"),
        file_hash(ASSETS / "tiny" / "model.safetensors"),
        [settings.pool, settings.pairs_pool, settings.validated],
    ])  # fmt: skip
    name = "-".join(map(str, dataclasses.astuple(trial))).replace(" ", "_")
    path = ROOT / "runs" / f"published-fine-tuning-trials-{key}" / f"{name}.json"
    if not path.is_file():
        atomic_write(path, json.dumps(measure(trial, settings)))
        print(path.read_text(encoding="utf-8"), flush=True)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def measure(trial: Trial, settings: Measured) -> dict[str, Any]:
    """Train on the first of a draw of the pool, ask about the last."""
    began = time.process_time()
    pool = settings.pool if trial.task == "classification" else settings.pairs_pool
    texts, labels = examples(trial.task, "train", pool)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(SEED)).tolist()
    own, other = order[: trial.labels], order[-settings.validated :]
    trained = {HEAD: "head", LORA: "lora"}.get(trial.method, "all")
    network = FineTunedClassifier(
        trial.task,
        None if trial.method == SCRATCH else "tiny",
        Training(trained, trial.rate, trial.head_rate, trial.steps),
        SEED,
    ).fit([texts[i] for i in own], [labels[i] for i in own])
    found = {}
    for name, some in (("fitted", own[:100]), ("accuracy", other)):
        said = network.predict([texts[i] for i in some])
        found[name] = accuracy([labels[i] for i in some], said)
    return dataclasses.asdict(trial) | found | {"seconds": time.process_time() - began}
