"""Does code among the documents of the web help a small model to reason?

Writes the table of a section of the chapter *Codex*, with its manifest, to
``book/results/code-in-web``. Models of the ``nano`` architecture are pretrained from random weights
on equally many tokens of a small web of stories, sums and programs, or of the same without its
programs. A seed changes the weights, the documents and their order. Runs that the same code has
done before are read from ``runs/``.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import GPT2LMHeadModel

from rlhf_lab.config import PretrainConfig
from rlhf_lab.errors import InputError
from rlhf_lab.evaluate import measures, run_suite
from rlhf_lab.files import atomic_write
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.language_model import Neural
from rlhf_lab.models import load_policy
from rlhf_lab.pipeline import web_blocks
from rlhf_lab.pretrain import architecture, pretrain
from rlhf_lab.provenance import manifest
from rlhf_lab.world import World
from rlhf_lab.world.documents import SHARES

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "code-in-web"
SEEDS = (0, 1, 2)
READ = ("stories", "sums", "programs")  # kinds of documents; the others are in no arm
WITH, WITHOUT = "with programs", "without programs"
ARMS = {WITH: READ, WITHOUT: READ[:2]}


@dataclass(frozen=True)
class Measured:
    """What is run for each arm and seed.

    Attributes:
        documents: of the web, enough for all steps.
        suites: of questions, ``questions`` of each; the last are losses on documents.
    """

    pretraining: PretrainConfig = field(
        default_factory=lambda: PretrainConfig(
            preset="nano", steps=700, batch_size=4, learning_rate=3e-3, warmup_steps=50
        )
    )
    documents: int = 20_000
    suites: tuple[str, ...] = (
        "sums/4", "story ending/0", "counting/2", "web, sums/0", "web, stories/0",
        "web, programs/0",
    )  # fmt: skip
    questions: int = 200


def run() -> None:
    """Do the runs that are missing, write the table."""
    started, settings = time.time(), Measured()
    found = [_kept(arm, seed, settings) for seed, arm in itertools.product(SEEDS, ARMS)]
    table = pd.DataFrame([row for one in found for row in one["rows"]])
    atomic_write(FOLDER / "answers.csv", table.to_csv(index=False, float_format="%.5g"))
    print(table[table.main].pivot_table(index="suite", columns="arm", values="value").round(3))
    about = manifest("python -m benchmarks code_in_web", settings, SEEDS, started)
    about["parameters"] = parameters(settings.pretraining.preset)
    about["seconds_of_all_runs"] = round(sum(one["seconds"] for one in found), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def parameters(preset: str) -> int:
    """How many weights a model of a preset has."""
    model = GPT2LMHeadModel(architecture(preset, load_policy("tiny")[1]))
    return sum(p.numel() for p in model.parameters())


def _kept(arm: str, seed: int, settings: Measured) -> dict[str, Any]:
    key = fingerprint([
        code_fingerprint("rlhf_lab.pretrain", "rlhf_lab.evaluate", "rlhf_lab.pipeline"),
        dataclasses.asdict(settings),
        READ,
    ])  # fmt: skip
    name = f"{arm}-{seed}".replace(" ", "_")
    path = ROOT / "runs" / f"published-code-in-web-{key}" / f"{name}.json"
    if not path.is_file():
        before = time.process_time()
        rows = trained(arm, seed, settings)
        seconds = time.process_time() - before
        atomic_write(path, json.dumps({"rows": rows, "seconds": seconds}))
        print(name, round(seconds), flush=True)
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def trained(arm: str, seed: int, settings: Measured) -> list[dict[str, Any]]:
    """Pretrain one model on what an arm reads, and ask it: each measure of each suite."""
    world, (_, tokenizer) = World(seed=0), load_policy("tiny")
    config = dataclasses.replace(settings.pretraining, seed=seed)
    blocks = web_blocks(
        world, tokenizer, settings.documents, config.block_length,
        start=seed * settings.documents, without=[k for k in SHARES if k not in ARMS[arm]],
    )  # fmt: skip
    needed = config.steps * config.batch_size  # each block is read once, in both arms as many
    if len(blocks) < needed:
        raise InputError("documents", settings.documents, "enough for all steps", "read more")
    model, history = pretrain(
        blocks[:needed], config.preset, config, tokenizer=tokenizer, quiet=True
    )
    asked, suites, row = Neural(model, tokenizer), world.suites(), {"seed": seed, "arm": arm}
    loss = {"suite": "training", "measure": "loss", "main": False, "value": history[-1]["loss"]}
    rows: list[dict[str, Any]] = [{**row, **loss}]
    for label in settings.suites:
        suite = suites[label]
        table = run_suite(suite, asked, count=settings.questions)
        for measure, (value, _, _) in measures(suite, table).items():
            main = measure == suite.metric
            found = {"suite": label, "measure": measure, "main": main, "value": value}
            rows.append({**row, **found})
    return rows
