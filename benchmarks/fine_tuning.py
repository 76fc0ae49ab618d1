"""How many labels does pretraining save on GPT-1's four kinds of task, and what must be trained?

Writes the tables of the chapter *Pre-train, fine-tune*, with their manifest, to
``book/results/fine-tuning``. Every run starts from the shipped base model, or from random weights
of its shape. A seed changes the labelled examples, their order and all new weights; test examples
stay. Runs that the same code has done before are read from ``runs/``; the tables are written after
each seed, so that what is there is always whole seeds.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import time
from collections.abc import Iterator, Sequence
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
from rlhf_lab.world.knowledge import make_knowledge

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "fine-tuning"
SEEDS = (0, 1, 2, 3)
FULL, HEAD, LORA, SCRATCH = METHODS = "all weights", "head only", "LoRA", "from scratch"
AUXILIARY = "all weights, λ = 0.5"


@dataclass(frozen=True)
class Measured:
    """What is run for each seed.

    Rates and steps were chosen on texts of the training pool that nothing was fitted to, never on
    test texts: on classification as for ``benchmarks.one_task``; of LoRA, a head and tasks on pairs
    by ``benchmarks.fine_tuning_trials``. Entailment has twice the steps of the other two, since
    after as many as theirs it was not surely above what names alone give.

    Attributes:
        sizes: numbers of labelled examples of classification, with the steps of training.
        pairs: number of examples and of steps of each of the other tasks.
        pool: the examples from which each seed draws its own; pairs_pool: of the other tasks.
        tested: new texts on which accuracy is measured; pairs_tested: the same for other tasks.
        fitted: examples, of those trained on, that are asked about afterwards.
        documents: of the web, on which the body's language model is measured afterwards.
        rates: peak learning rates of body or LoRA, in the order of ``METHODS``.
        weight: of the auxiliary loss; Radford et al. 2018, §4.1.
        head_rate, head_steps: for a frozen body; its features are computed once.
    """

    sizes: tuple[tuple[int, int], ...] = ((64, 160), (256, 320), (1024, 640))
    pairs: tuple[tuple[str, int, int], ...] = (
        ("entailment", 4096, 1280),
        ("choice", 4096, 640),
        ("similarity", 4096, 640),
    )
    pool: int = 2000
    pairs_pool: int = 5000
    tested: int = 150
    pairs_tested: int = 300
    fitted: int = 100
    documents: int = 24
    rates: tuple[float, ...] = (5e-4, 0.0, 5e-3, 1e-3)
    weight: float = 0.5
    head_rate: float = 2e-2
    head_steps: int = 2000


@dataclass(frozen=True)
class Run:
    """One network, trained once."""

    task: str
    method: str
    labels: int
    steps: int
    seed: int


def work(settings: Measured, seed: int) -> Iterator[Run]:
    """All runs of a seed."""
    few, middle, many = settings.sizes
    for method in (FULL, HEAD, SCRATCH):
        yield Run("classification", method, *few, seed)
    for labels, steps in (middle, many):
        for method in METHODS:
            yield Run("classification", method, labels, steps, seed)
    yield Run("classification", AUXILIARY, *middle, seed)
    for task, labels, steps in settings.pairs:
        for method in (FULL, HEAD, SCRATCH):
            yield Run(task, method, labels, steps, seed)


def run() -> None:
    """Do the runs that are missing, write the tables after each seed."""
    started, settings = time.time(), Measured()
    found: list[dict[str, Any]] = []
    for seed in SEEDS:
        found += [_measured(one, settings) for one in work(settings, seed)]
        _write(found, settings, started)
    shown = pd.DataFrame(found).groupby(["task", "labels", "method"], sort=False)
    columns = ["accuracy", "values", "invented", "fitted", "web_loss"]
    print(shown[columns].mean().round(3).to_string())


def _write(found: Sequence[dict[str, Any]], settings: Measured, started: float) -> None:
    """The table of whole seeds and the manifest."""
    table = pd.DataFrame(found).drop(columns="seconds")
    atomic_write(FOLDER / "runs.csv", table.to_csv(index=False, float_format="%.5g"))
    seeds = sorted({one["seed"] for one in found})
    about = manifest("python -m benchmarks fine_tuning", settings, seeds, started)
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
        [settings.pool, settings.pairs_pool, settings.tested, settings.pairs_tested],
        [settings.fitted, settings.documents],
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
    head, steps = settings.head_rate, one.steps
    return {
        FULL: Training(learning_rate=full, steps=steps),
        AUXILIARY: Training(learning_rate=full, steps=steps, auxiliary=settings.weight),
        HEAD: Training(trained="head", head_rate=head, steps=settings.head_steps),
        LORA: Training(trained="lora", learning_rate=lora, steps=steps),
        SCRATCH: Training(learning_rate=scratch, steps=steps),
    }[one.method]


def measure(one: Run, settings: Measured) -> dict[str, Any]:
    """Train one network and test it."""
    began = time.process_time()
    pool = settings.pool if one.task == "classification" else settings.pairs_pool
    texts, labels = examples(one.task, "train", pool)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(one.seed))
    own = order[: one.labels].tolist()  # of a seed, a smaller set is part of a larger one
    shown, right = [texts[i] for i in own], [labels[i] for i in own]
    start = None if one.method == SCRATCH else "tiny"
    network = FineTunedClassifier(one.task, start, training_of(one, settings), one.seed)
    network.fit(shown, right)
    some = settings.fitted
    found = {
        "fitted": accuracy(right[:some], network.predict(shown[:some])),
        "web_loss": web_loss(network.body, settings.documents),
        "trained": network.trained_parameters,
    }
    if one.task == "classification":
        tested, truth = examples(one.task, "test", settings.tested)
        found["accuracy"] = accuracy(truth, network.predict(tested))
    else:
        tested, truth = examples(one.task, "test", settings.pairs_tested)
        said = network.predict(tested)
        found["accuracy"] = accuracy(truth, said)
        found["values"] = compared(tested, truth, said)
        anew = getattr(pair_tasks, one.task)("test", settings.pairs_tested, invented=True)
        said = network.predict(anew.texts)
        found["invented"] = accuracy(anew.labels, said)
        found["invented_values"] = compared(anew.texts, anew.labels, said)
    return dataclasses.asdict(one) | found | {"seconds": time.process_time() - began}


def compared(texts: Sequence[tuple[str, ...]], truth: Sequence[str], said: Sequence[str]) -> float:
    """Accuracy where names do not help: on examples all of whose texts are about one inhabitant.

    The mean over the labels that such examples have, so that who notices the names and nothing
    else, and then says the same or guesses, is right on one half in each of the tasks.
    """
    right: dict[str, list[bool]] = {}
    for (one, other, *_), label, answer in zip(texts, truth, said, strict=True):
        if _spoken_of(one) & _spoken_of(other):
            right.setdefault(label, []).append(answer == label)
    return sum(sum(own) / len(own) for own in right.values()) / len(right)


def _spoken_of(text: str) -> set[str]:
    """The inhabitants that a text is about: they come with "the", unlike what they can do."""
    return {*re.findall(r"\bthe (\w+)", text)} & {*make_knowledge(0).inhabitants}


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
