"""How many labels does pretraining save on GPT-1's four kinds of task, and what must be trained?

Writes the tables of the chapter *Pre-train, fine-tune*, with their manifest, to
``book/results/fine-tuning``. Every run starts from the shipped base model, or from random weights
of its shape. A seed changes the labelled examples, their order and all new weights; test examples
stay. Runs that the same code has done before are read from ``runs/``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import ASSETS
from rlhf_lab.paradigms import gpt, pair_tasks
from rlhf_lab.paradigms.data import fernwick_sentiment
from rlhf_lab.paradigms.fine_tuning import (
    Encoder,
    FineTunedClassifier,
    Training,
    language_model_loss,
    padded,
)
from rlhf_lab.paradigms.scoring import accuracy
from rlhf_lab.provenance import manifest
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "fine-tuning"
SEEDS = (0, 1, 2, 3, 4)
FULL, HEAD, LORA, SCRATCH = METHODS = "all weights", "head only", "LoRA", "from scratch"
AUXILIARY = "all weights, λ = 0.5"


@dataclass(frozen=True)
class Measured:
    """What is run for each seed.

    Attributes:
        sizes: numbers of labelled examples of classification, with the steps of training.
        pairs: number of examples of the other tasks, and steps.
        pool: the examples from which each seed draws its own.
        tested: new examples on which accuracy is measured; fitted: of those trained on.
        documents: of the web, on which the body's language model is measured afterwards.
        rates: peak learning rates of body or LoRA, in the order of ``METHODS``.
        weight: of the auxiliary loss; Radford et al. 2018, §4.1.
        head_steps: for a frozen body; its features are computed once.
    """

    sizes: tuple[tuple[int, int], ...] = ((64, 40), (256, 80))
    pairs: tuple[int, int] = (256, 100)
    pool: int = 2000
    tested: int = 150
    fitted: int = 50
    documents: int = 24
    rates: tuple[float, ...] = (2e-4, 0.0, 5e-3, 1e-3)
    weight: float = 0.5
    head_steps: int = 400


@dataclass(frozen=True)
class Run:
    """One network, trained once."""

    task: str
    method: str
    labels: int
    steps: int
    seed: int


def work(settings: Measured) -> Iterator[Run]:
    """All runs, seed by seed."""
    for seed in SEEDS:
        for labels, steps in settings.sizes:
            for method in METHODS:
                yield Run("classification", method, labels, steps, seed)
        labels, steps = settings.pairs
        for task in ("entailment", "choice", "similarity"):
            for method in (FULL, HEAD, SCRATCH):
                yield Run(task, method, labels, steps, seed)
        yield Run("entailment", LORA, labels, steps, seed)
        yield Run("entailment", AUXILIARY, labels, steps, seed)
        yield Run("classification", AUXILIARY, *settings.sizes[-1], seed)


def run() -> None:
    """Do the runs that are missing, write the tables."""
    started, settings = time.time(), Measured()
    found = [_measured(one, settings) for one in work(settings)]
    table = pd.DataFrame(found).drop(columns="seconds")
    atomic_write(FOLDER / "runs.csv", table.to_csv(index=False, float_format="%.5g"))
    shown = table.groupby(["task", "labels", "method"], sort=False)
    print(shown[["accuracy", "invented", "fitted", "web_loss"]].mean().round(3).to_string())
    about = manifest("python -m benchmarks fine_tuning", settings, SEEDS, started)
    about["base_web_loss"] = round(web_loss(gpt.load(ASSETS / "tiny"), settings.documents), 5)
    about["base_parameters"] = sum(p.numel() for p in gpt.load(ASSETS / "tiny").parameters())
    about["seconds_of_all_runs"] = round(sum(one["seconds"] for one in found), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _measured(one: Run, settings: Measured) -> dict[str, Any]:
    """The row of one run."""
    data = "data" if one.task == "classification" else "pair_tasks"
    key = fingerprint([
        code_fingerprint("rlhf_lab.paradigms.fine_tuning", "rlhf_lab.paradigms.scoring"),
        code_fingerprint(f"rlhf_lab.paradigms.{data}"),
        file_hash(ASSETS / "tiny" / "model.safetensors"),
        dataclasses.asdict(training_of(one, settings)),
        [settings.pool, settings.tested, settings.fitted, settings.documents],
    ])  # fmt: skip
    name = f"{one.task}-{one.method}-{one.labels}-{one.seed}".replace(" ", "_").replace(",", "")
    path = ROOT / "runs" / f"published-fine-tuning-{key}" / f"{name}.json"
    if not path.is_file():
        atomic_write(path, json.dumps(measure(one, settings)))
        print(name, flush=True)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def training_of(one: Run, settings: Measured) -> Training:
    """How a run is trained."""
    full, _, lora, scratch = settings.rates
    steps = settings.head_steps if one.method == HEAD else one.steps
    return {
        FULL: Training(learning_rate=full, steps=steps),
        AUXILIARY: Training(learning_rate=full, steps=steps, auxiliary=settings.weight),
        HEAD: Training(trained="head", steps=steps),
        LORA: Training(trained="lora", learning_rate=lora, steps=steps),
        SCRATCH: Training(learning_rate=scratch, steps=steps),
    }[one.method]


def measure(one: Run, settings: Measured) -> dict[str, Any]:
    """Train one network and test it."""
    began = time.process_time()
    texts, labels = examples(one.task, "train", settings.pool)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(one.seed))
    own = order[: one.labels].tolist()  # of a seed, a smaller set is part of a larger one
    shown, right = [texts[i] for i in own], [labels[i] for i in own]
    start = None if one.method == SCRATCH else "tiny"
    network = FineTunedClassifier(one.task, start, training_of(one, settings), one.seed)
    network.fit(shown, right)
    tested, truth = examples(one.task, "test", settings.tested)
    some = settings.fitted
    found = {
        "accuracy": accuracy(truth, network.predict(tested)),
        "fitted": accuracy(right[:some], network.predict(shown[:some])),
        "web_loss": web_loss(network.body, settings.documents),
        "trained": network.trained_parameters,
    }
    if one.task != "classification":
        anew = getattr(pair_tasks, one.task)("test", settings.tested, invented=True)
        found["invented"] = accuracy(anew.labels, network.predict(anew.texts))
    return dataclasses.asdict(one) | found | {"seconds": time.process_time() - began}


@functools.cache
def examples(task: str, split: str, count: int) -> tuple[list[Any], list[str]]:
    """Texts, or tuples of texts, and their labels."""
    if task == "classification":
        texts = fernwick_sentiment(split, count)
        return list(texts.texts), list(texts.labels)
    pairs = getattr(pair_tasks, task)(split, count)
    return list(pairs.texts), list(pairs.labels)


@torch.no_grad()
def web_loss(body: gpt.GPT, documents: int) -> float:
    """What a body's language model has kept: nats per token on held-out text of the web."""
    encoder = Encoder(ASSETS / "tiny")
    rows = [[0, *encoder.tokenizer.encode(text).ids][:256] for text in _web(documents)]
    tokens, mask = padded(rows), padded([[1] * len(row) for row in rows])
    logits = body(tokens)[..., : encoder.start]  # the new tokens are not part of the web
    return float(language_model_loss(logits, tokens, mask))


@functools.cache
def _web(documents: int) -> list[str]:
    return [document.text for document in World(0).documents(documents, split="valid")]
