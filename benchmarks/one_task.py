"""The same two tasks by every paradigm of Part I: how good with how many labels, at what price?

Writes ``book/results/one-task``. Sentiment and parts of speech, of Fernwick and of real English,
which is read from ``RLHF_LAB_DATA`` (see ``rlhf_lab/paradigms/data.py``: UD English EWT, trained on
its dev split, and the sentiment labelled sentences of UCI). One of five seeds draws the labelled
examples, those that are tested, all new weights and their order; methods of one seed share both
draws, and a smaller training set is part of a larger one. What the same code has measured before is
read from ``runs/``.

Settings: the penalty of the text features and the step size of the classifier's BiLSTM were chosen
by a few trials on validation texts. The CRF's penalty was chosen, of 0.001 to 0.3, on sentences of
both training pools that nothing was fitted to; 0.3, in use before, cost the templates up to 1.6
points there. All others are those of earlier chapters, or were not tuned.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.one_task_effort import decisions
from benchmarks.one_task_runs import (
    DATA,
    ENGLISH,
    FEATURES,
    METHODS,
    MODULES,
    NETWORK,
    PLAIN,
    PROMPTED,
    RANDOM,
    SENTIMENT,
    TAGGING,
    TASKS,
    TUNED,
    Config,
    measure,
    splits,
)
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import ASSETS
from rlhf_lab.provenance import manifest, versions

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "one-task"
SEEDS = (0, 1, 2, 3, 4)
# A tagged sentence has a label for every word, and fewer updates are enough.
CONFIGS = {SENTIMENT: Config(), TAGGING: Config(updates=(120, 240, 360, 480))}
BRIEFLY = ", a quarter of the steps"  # what a network seems to be worth when nobody waits for it


def run() -> None:
    """Measure what is missing, write the tables and their manifest."""
    started = time.time()
    torch.set_num_threads(1)  # so that seconds of processor time are seconds
    rows = [measured(*one, CONFIGS[one[0]]) for one in plan(CONFIGS)]
    for name, table in (("runs", pd.DataFrame(rows)), ("decisions", pd.DataFrame(decisions()))):
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.4g"))
    about = manifest("python -m benchmarks one_task", CONFIGS, SEEDS, started)
    about["versions"] |= versions(("python-crfsuite", "scikit-learn"))
    about["seconds_of_all_runs"] = round(
        sum(row["fit_seconds"] + row["predict_seconds"] for row in rows), 1
    )
    about["pretraining"] = pretraining()
    about["too_long"] = {task: round(splits(task, ENGLISH, CONFIGS[task])[2], 5) for task in TASKS}
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")


def plan(configs: Mapping[str, Config]) -> Iterator[tuple[str, str, str, int, int]]:
    """All runs: task, data, method, labels, seed. What the rest can do without comes last."""
    runs = []
    for seed, task, data, name in itertools.product(SEEDS, TASKS, DATA, METHODS):
        config = configs[task]
        own = {PROMPTED: config.examples[TASKS.index(task)], RANDOM: (config.of_random,)}
        for labels in own.get(name, config.sizes):
            turn = 1 if name == RANDOM else 2 if labels in config.sizes[1:2] else 0
            runs.append((turn, (task, data, name, labels, seed)))
        if name in (NETWORK, TUNED):
            runs.append((3, (task, data, name + BRIEFLY, config.sizes[-1], seed)))
    yield from (run for _, run in sorted(runs, key=lambda row: row[0]))


def measured(
    task: str, data: str, name: str, labels: int, seed: int, config: Config
) -> dict[str, Any]:
    """The row of one run, from ``runs/`` where the same code has done it before."""
    shown, name = name, name.removesuffix(BRIEFLY)
    if shown != name:
        short = {s: tuple(n // 4 for n in getattr(config, s)) for s in ("steps", "updates")}
        config = dataclasses.replace(config, **short)
    settings = dataclasses.asdict(config)
    by_size = [dict(zip(config.sizes, settings[s], strict=True)) for s in ("steps", "updates")]
    ignored = [] if task == TAGGING and name in (PLAIN, FEATURES) else ["l2"]
    for left_out in ("sizes", "steps", "updates", "examples", "of_random", *ignored):
        del settings[left_out]
    key = fingerprint([*_code(name), [settings, *(own.get(labels) for own in by_size)]])
    folder = ROOT / "runs" / f"published-one-task-{name.replace(' ', '-')}-{key}"
    path = folder / f"{task}-{data}-{labels}-{seed}.json"
    if not path.is_file():
        atomic_write(path, json.dumps(measure(task, data, name, labels, seed, config)))
        print(path.read_text(encoding="utf-8"), flush=True)
    row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return row | {"method": shown}


@functools.cache
def _code(name: str) -> tuple[Any, ...]:
    """What a method's results depend on, beside its settings."""
    modules = ["benchmarks/one_task_runs.py"]
    modules += ["benchmarks/one_task_prompts.py"] if name == PROMPTED else []
    return (
        [file_hash(ROOT / module) for module in modules],
        code_fingerprint("rlhf_lab.paradigms.data", "rlhf_lab.paradigms.scoring"),
        code_fingerprint(*(f"rlhf_lab.paradigms.{module}" for module in MODULES[name])),
        file_hash(ASSETS / "tiny" / "model.safetensors"),
    )


def pretraining() -> dict[str, float]:
    """What the base model had cost before any label: tokens, and seconds of its training."""
    log = json.loads((ASSETS / "tiny" / "training_log.json").read_text(encoding="utf-8"))
    every = log[1]["step"] - log[0]["step"]
    tokens = 8 * 256  # in a step, by the model card
    return {
        "tokens": log[-1]["step"] * tokens,
        "seconds": round(sum(every * tokens / row["tokens_per_second"] for row in log), 1),
    }
