"""Whose manners has a language model: how it replies to questions, beside what the web replies.

Writes ``book/results/imitation``. Every seed takes other questions, other documents of the web to
count n-grams on and to read replies from, and other random numbers; the shipped model stays.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rlhf_lab.evaluate import (
    REPLY_KINDS,
    LanguageModel,
    Neural,
    NGramText,
    gold_report,
    held_out_loss,
    reply_kinds,
)
from rlhf_lab.files import atomic_write
from rlhf_lab.models import load_policy
from rlhf_lab.provenance import manifest
from rlhf_lab.records import Prompt
from rlhf_lab.world import World
from rlhf_lab.world.grammar import RELATIONS, fill
from rlhf_lab.world.ngram import NGram

FOLDER = Path(__file__).parents[1] / "book" / "results" / "imitation"
SEEDS = (0, 1, 2, 3, 4)
WEB = "the web"


@dataclass(frozen=True)
class Config:
    """How much is read and asked.

    Attributes:
        model: the neural one.
        orders: of the n-gram models beside it.
        counted: documents that n-grams are counted on.
        questions: of the web, that each model answers, too.
        documents: of the web, whose questions show how it replies.
        held_out: documents on which the loss is measured.
        max_new_tokens: longest reply.
    """

    model: str = "tiny"
    orders: tuple[int, ...] = (2, 3, 5)
    counted: int = 20_000
    questions: int = 300
    documents: int = 10_000
    held_out: int = 200
    max_new_tokens: int = 32


def run() -> None:
    """Measure, write the table and its manifest."""
    started, config, world = time.time(), Config(), World(0)
    policy, tokenizer = load_policy(config.model)
    rows = []
    for seed in SEEDS:
        asked, replied = replies_on_the_web(world, config.documents, seed)
        rows += shares(world, asked, replied, model=WEB, seed=seed, loss=float("nan"))
        start = 1_000_000 * (seed + 1)
        texts = [d.text for d in world.documents(config.counted, start)]
        ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
        models: dict[str, LanguageModel] = {
            f"{order}-gram": NGramText(
                NGram.fit(ids, len(tokenizer), tokenizer.eos_token_id, order=order), tokenizer
            )
            for order in config.orders
        }
        models[config.model] = Neural(policy, tokenizer)
        prompts = random.Random(f"asked:{seed}").sample(asked, config.questions)
        for name, model in models.items():
            written = model.write(
                [prompt.text for prompt in prompts],
                max_new_tokens=config.max_new_tokens, greedy=False, seed=seed, line=True,
            )  # fmt: skip
            loss = held_out_loss(
                model, world, count=config.held_out, start=config.held_out * seed
            ).nats_per_token[0]
            rows += shares(world, prompts, written, model=name, seed=seed, loss=loss)
    table = pd.DataFrame(rows)
    atomic_write(FOLDER / "replies.csv", table.to_csv(index=False, float_format="%.6g"))
    about = manifest("python -m benchmarks imitation", config, SEEDS, started)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")
    means = table.pivot_table(index=["model", "reply"], values=["share", "loss"])
    print(means.round(3).to_string())


def shares(
    world: World,
    prompts: Sequence[Prompt],
    texts: Sequence[str],
    *,
    model: str,
    seed: int,
    loss: float,
) -> list[dict[str, object]]:
    """How often each kind of reply occurs: one row a kind, the first line of a text counting."""
    lines = [text.split("\n", 1)[0] for text in texts]
    found = reply_kinds(gold_report(world, prompts, lines)).value_counts(normalize=True)
    return [
        {"seed": seed, "model": model, "loss": loss, "reply": kind,
         "share": float(found.get(kind, 0.0)), "replies": len(lines)}
        for kind in REPLY_KINDS
    ]  # fmt: skip


def questions(world: World) -> Mapping[str, Prompt]:
    """Every question about what somebody or something is, has or does, by its text."""
    return {
        (text := fill(template, relation, subject) + "\n"): Prompt(
            text,
            "open_qa",
            {"task": "fact", "hard": "", "relation": relation, "subject": subject},
        )
        for relation, facts in world.knowledge.facts.items()
        for subject in facts
        for template in RELATIONS[relation].questions
    }


def replies_on_the_web(world: World, count: int, seed: int = 0) -> tuple[list[Prompt], list[str]]:
    """Questions wherever they stand in documents, and the line below each; "" where none is."""
    known = questions(world)
    prompts, below = [], []
    for document in world.documents(count, 50_000_000 + count * seed):
        lines = [*document.text.split("\n"), ""]
        for line, after in itertools.pairwise(lines):
            if line + "\n" in known:
                prompts.append(known[line + "\n"])
                below.append(after)
    return prompts, below
