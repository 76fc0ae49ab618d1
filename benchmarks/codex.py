"""How does pass@k depend on k and temperature, and does code among the documents help to reason?

Writes the tables of the chapter *Codex*, with their manifest, to ``book/results/codex``. First the
shipped base model is fine-tuned to write list programs, and samples some for each of
a set of tasks at several temperatures. Then models of the ``nano`` architecture are pretrained on
equally many tokens of the web, of all of it, without its programs, or without its sums. A seed
changes the examples that are learnt from and the samples; in pretraining the weights, the documents
and their order. Runs that the same code has done before are read from ``runs/``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import GPT2LMHeadModel

from rlhf_lab.config import PretrainConfig, SFTConfig
from rlhf_lab.errors import InputError
from rlhf_lab.evaluate import measures, run_suite
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.language_model import Neural
from rlhf_lab.lineage import micro_programs
from rlhf_lab.models import ASSETS, load_policy
from rlhf_lab.pipeline import web_blocks
from rlhf_lab.pretrain import architecture, pretrain
from rlhf_lab.provenance import manifest
from rlhf_lab.sft import train_sft
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "codex"
SEEDS = (0, 1, 2)
WITH, WITHOUT, CONTROL = "all documents", "without programs", "without sums"
ARMS: dict[str, tuple[str, ...]] = {WITH: (), WITHOUT: ("programs",), CONTROL: ("sums",)}
PRETRAINED = ("pretraining", "documents", "suites", "questions")
Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Measured:
    """What is run for each seed.

    Attributes:
        demonstrations: tasks with their programs that the base model is fine-tuned on, once each.
        tasks: of the test split, whose functions are not among those.
        samples: programs for each task and temperature.
        kept: the task whose samples of the first seed are published.
        documents: of the web, enough for all steps of a pretraining run.
        suites: of questions, ``questions`` of each; the last three are losses on documents.
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
    pretraining: PretrainConfig = field(
        default_factory=lambda: PretrainConfig(
            preset="nano", steps=1200, batch_size=4, learning_rate=3e-3, warmup_steps=100
        )
    )
    documents: int = 34_000
    suites: tuple[str, ...] = (
        "sums/4", "sums with steps/3", "story ending/0", "counting/2",
        "web, sums/0", "web, stories/0", "web, programs/0",
    )  # fmt: skip
    questions: int = 200


def run() -> None:
    """Do the runs that are missing, write the tables."""
    started, settings = time.time(), Measured()
    tables: Rows = {"counts": [], "samples": [], "reasoning": []}
    seconds = 0.0
    jobs: dict[str, Callable[[], Rows]] = {
        f"programs-{seed}": functools.partial(programs, seed, settings) for seed in SEEDS
    }
    for arm in ARMS:
        for seed in SEEDS:
            jobs[f"{arm}-{seed}"] = functools.partial(mixture, arm, seed, settings)
    for name, job in jobs.items():
        found = _kept(name, settings, job)
        seconds += found.pop("seconds")
        for table, rows in found.items():
            tables[table] += rows
    for table, rows in tables.items():
        text = pd.DataFrame(rows).to_csv(index=False, float_format="%.5g")
        atomic_write(FOLDER / f"{table}.csv", text)
    about = manifest("python -m benchmarks codex", settings, SEEDS, started)
    about["nano_parameters"] = parameters(settings.pretraining.preset)
    about["seconds_of_all_runs"] = round(seconds, 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def parameters(preset: str) -> int:
    """How many weights a model of a preset has."""
    model = GPT2LMHeadModel(architecture(preset, load_policy("tiny")[1]))
    return sum(p.numel() for p in model.parameters())


def _kept(name: str, settings: Measured, job: Callable[[], Rows]) -> dict[str, Any]:
    pretrained = not name.startswith("programs")  # who changes one half keeps the other
    key = fingerprint([
        code_fingerprint("rlhf_lab.lineage.micro_programs", "rlhf_lab.pretrain"),
        code_fingerprint("rlhf_lab.sft", "rlhf_lab.evaluate"),
        file_hash(ASSETS / "tiny" / "model.safetensors"),
        {k: v for k, v in dataclasses.asdict(settings).items() if (k in PRETRAINED) == pretrained},
    ])  # fmt: skip
    path = ROOT / "runs" / f"published-codex-{key}" / f"{name.replace(' ', '_')}.json"
    if not path.is_file():
        before = time.process_time()
        found: dict[str, Any] = {**job()}
        found["seconds"] = time.process_time() - before
        atomic_write(path, json.dumps(found))
        print(name, round(found["seconds"]), flush=True)
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


def mixture(arm: str, seed: int, settings: Measured) -> Rows:
    """Pretrain one model on what an arm leaves of the web, and ask it.

    Returns:
        ``reasoning``: each measure of each suite.
    """
    world, (_, tokenizer) = World(seed=0), load_policy("tiny")
    config = dataclasses.replace(settings.pretraining, seed=seed)
    blocks = web_blocks(
        world, tokenizer, settings.documents, config.block_length,
        start=seed * settings.documents, without=ARMS[arm],
    )  # fmt: skip
    needed = config.steps * config.batch_size  # each block is read once, in every arm as many
    if len(blocks) < needed:
        raise InputError("documents", settings.documents, "enough for all steps", "read more")
    model, history = pretrain(
        blocks[:needed], config.preset, config, tokenizer=tokenizer, quiet=True
    )
    asked, suites = Neural(model, tokenizer), world.suites()
    rows = [{
        "seed": seed, "arm": arm, "suite": "training", "measure": "loss", "main": False,
        "value": history[-1]["loss"],
    }]  # fmt: skip
    for label in settings.suites:
        suite = suites[label]
        table = run_suite(suite, asked, count=settings.questions)
        for measure, (value, _, _) in measures(suite, table).items():
            rows.append({
                "seed": seed, "arm": arm, "suite": label, "measure": measure,
                "main": measure == suite.metric, "value": value,
            })  # fmt: skip
    return {"reasoning": rows}
