"""How many labels does pretraining save on GPT-1's four kinds of task, and what must be trained?

Writes the tables of the chapter *Pre-train, fine-tune*, with their manifest, to
``book/results/fine-tuning``. Every run starts from the shipped base model, or from random weights
of its shape. A seed changes the labelled examples, their order and all new weights; test examples
stay. Runs that the same code has done before are read from ``runs/``.
"""

from __future__ import annotations

import dataclasses
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
from rlhf_lab.paradigms.data import fernwick_sentiment, fernwick_tagging
from rlhf_lab.paradigms.fine_tuning import (
    Encoder,
    FineTuned,
    FineTunedClassifier,
    FineTunedTagger,
    Training,
    language_model_loss,
    padded,
)
from rlhf_lab.paradigms.scoring import accuracy, entity_scores
from rlhf_lab.provenance import manifest
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "fine-tuning"
SEEDS = (0, 1, 2, 3, 4)
FULL, HEAD, LORA, SCRATCH = METHODS = "all weights", "head only", "LoRA", "from scratch"
AUXILIARY, RANDOM_HEAD = "all weights, λ = 0.5", "head only, random body"
TABLES = ("runs", "tags")


@dataclass(frozen=True)
class Measured:
    """What is run for each seed.

    Attributes:
        sizes: numbers of labelled examples; steps: of training, for each of them.
        tested: examples on which accuracy is measured.
        pool: the examples from which each seed draws its own.
        documents: of the web, on which the body's language model is measured afterwards.
        tagged: sentences from which a tagger learns.
    """

    sizes: tuple[int, ...] = (32, 128, 512)
    steps: tuple[int, ...] = (40, 80, 160)
    helped: int = 128  # examples of the runs with the auxiliary loss
    pool: int = 2000
    tested: int = 200
    documents: int = 24
    tagged: int = 128
    tagged_steps: int = 80
    rates: tuple[float, ...] = (5e-4, 1e-2, 5e-3, 1e-3)  # peaks, in the order of METHODS
    weight: float = 0.5  # of the auxiliary loss, as in Radford et al. 2018, §4.1
    head_steps: int = 400  # its features are computed once, so that steps cost next to nothing


@dataclass(frozen=True)
class Run:
    """One network, trained once."""

    task: str
    method: str
    labels: int
    seed: int


def work(settings: Measured) -> Iterator[Run]:
    """All runs; every seed's first, so that a kill leaves whole seeds."""
    tasks = ("classification", "entailment", "similarity", "choice")
    for seed in SEEDS:
        for labels in settings.sizes:
            for task in tasks:
                yield from (Run(task, method, labels, seed) for method in METHODS)
        for task in tasks:
            yield Run(task, AUXILIARY, settings.helped, seed)
            yield Run(task, RANDOM_HEAD, settings.sizes[-1], seed)
        for method in ("causal", "both sides", "both sides, from scratch"):
            yield Run("entities", method, settings.tagged, seed)


def run() -> None:
    """Do the runs that are missing, write the tables."""
    started, settings = time.time(), Measured()
    found = [_measured(one, settings) for one in work(settings)]
    parts = {"runs": [r for r in found if "accuracy" in r], "tags": [r for r in found if "f1" in r]}
    for name, rows in parts.items():
        table = pd.DataFrame(rows).drop(columns="seconds")
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.5g"))
    shown = pd.DataFrame(parts["runs"]).groupby(["task", "labels", "method"], sort=False)
    print(shown[["accuracy", "fitted", "web_loss"]].mean().round(3).to_string())
    about = manifest("python -m benchmarks fine_tuning", settings, SEEDS, started)
    about["base_web_loss"] = round(web_loss(gpt.load(ASSETS / "tiny"), settings.documents), 5)
    about["base_parameters"] = sum(p.numel() for p in gpt.load(ASSETS / "tiny").parameters())
    about["seconds_of_all_runs"] = round(sum(one["seconds"] for one in found), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _measured(one: Run, settings: Measured) -> dict[str, Any]:
    """The row of one run."""
    key = fingerprint([
        code_fingerprint("rlhf_lab.paradigms.fine_tuning", "rlhf_lab.paradigms.pair_tasks"),
        code_fingerprint("rlhf_lab.paradigms.data", "rlhf_lab.paradigms.scoring"),
        file_hash(ASSETS / "tiny" / "model.safetensors"),
        dataclasses.asdict(training_of(one, settings)),
        [settings.pool, settings.tested, settings.documents],
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
    full, head, lora, scratch = settings.rates
    if one.task == "entities":
        rate = scratch if "scratch" in one.method else full
        return Training(learning_rate=rate, steps=settings.tagged_steps)
    steps = settings.steps[settings.sizes.index(one.labels)]
    return {
        FULL: Training(learning_rate=full, steps=steps),
        AUXILIARY: Training(learning_rate=full, steps=steps, auxiliary=settings.weight),
        HEAD: Training(trained="head", learning_rate=head, steps=settings.head_steps),
        RANDOM_HEAD: Training(trained="head", learning_rate=head, steps=settings.head_steps),
        LORA: Training(trained="lora", learning_rate=lora, steps=steps),
        SCRATCH: Training(learning_rate=scratch, steps=steps),
    }[one.method]


def measure(one: Run, settings: Measured) -> dict[str, Any]:
    """Train one network and test it."""
    began = time.process_time()
    start = None if one.method in (SCRATCH, RANDOM_HEAD) or "scratch" in one.method else "tiny"
    training = training_of(one, settings)
    test = _tag if one.task == "entities" else _classify
    fitted, found = test(one, start, training, settings)
    trained = {"trained": fitted.trained_parameters}
    return dataclasses.asdict(one) | found | trained | {"seconds": time.process_time() - began}


def examples(task: str, split: str, count: int) -> tuple[list[Any], list[str]]:
    """Texts, or tuples of texts, and their labels."""
    if task == "classification":
        texts = fernwick_sentiment(split, count)
        return list(texts.texts), list(texts.labels)
    pairs = getattr(pair_tasks, task)(split, count)
    return list(pairs.texts), list(pairs.labels)


def _classify(
    one: Run, start: str | None, training: Training, settings: Measured
) -> tuple[FineTuned, dict[str, float]]:
    texts, labels = examples(one.task, "train", settings.pool)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(one.seed))
    own = order[: one.labels].tolist()  # of a seed, a smaller set is part of a larger one
    shown, right = [texts[i] for i in own], [labels[i] for i in own]
    network = FineTunedClassifier(one.task, start, training, one.seed).fit(shown, right)
    tested, truth = examples(one.task, "test", settings.tested)
    some = min(len(shown), settings.tested)
    found = {
        "accuracy": accuracy(truth, network.predict(tested)),
        "fitted": accuracy(right[:some], network.predict(shown[:some])),
        "web_loss": web_loss(network.body, settings.documents),
    }
    if one.task != "classification":
        anew = getattr(pair_tasks, one.task)("test", settings.tested, invented=True)
        found["invented"] = accuracy(anew.labels, network.predict(anew.texts))
    return network, found


def _tag(
    one: Run, start: str | None, training: Training, settings: Measured
) -> tuple[FineTuned, dict[str, float]]:
    known = fernwick_tagging("entities", "train", settings.pool).sample(one.labels, one.seed)
    network = FineTunedTagger(start, training, one.seed, causal=one.method == "causal")
    network.fit(known.sentences, known.tags)
    tested = fernwick_tagging("entities", "test", settings.tested)
    return network, {"f1": entity_scores(tested.tags, network.predict(tested.sentences)).f1}


@torch.no_grad()
def web_loss(body: gpt.GPT, documents: int) -> float:
    """What a body's language model has kept: nats per token on held-out text of the web."""
    encoder = Encoder(ASSETS / "tiny")
    texts = [d.text for d in World(0).documents(documents, split="valid")]
    rows = [[0, *encoder.tokenizer.encode(text).ids][:256] for text in texts]
    tokens, mask = padded(rows), padded([[1] * len(row) for row in rows])
    logits = body(tokens)[..., : encoder.start]  # the new tokens are not part of the web
    return float(language_model_loss(logits, tokens, mask))
