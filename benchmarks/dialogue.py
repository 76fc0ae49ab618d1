"""What do conversations teach that single turns do not, and does it matter which tokens are learnt?

Writes ``book/results/dialogue``. From the base model ``tiny`` four arms of SFT, three seeds. Three
learn from the same demonstrations in dialogue format and the same conversations with follow-ups
(:mod:`rlhf_lab.lineage.dialogue`), with the loss on *all tokens*, on the *assistant's turns*, or on
the *last answer* of each. The fourth, *single turns*, learns the same demonstrations, and all
questions and answers of the conversations one by one, each question in full. Then all are asked
follow-ups of the test split by the likeliest answer, below the same first turns with written
answers; and the same questions in full, and the follow-ups alone, without what was said before.

Rules, written before the first run, each with its whole interval over seeds. *Single turns do not
teach follow-ups*: the share of right answers, over kinds of follow-ups, is higher after learning
the assistant's turns than after single turns, which are asked in turns and in lines, the better of
the two counting in each seed. *The mask helps*: it is higher after learning the assistant's turns
than after learning all tokens.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rlhf_lab.config import SFTConfig
from rlhf_lab.evaluate import Neural
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.lineage.dialogue import (
    ALL,
    ASSISTANTS,
    FACTS,
    FOLLOW_UPS,
    LAST,
    Exchange,
    Message,
    as_chat,
    as_lines,
    ask,
    chat_prompt,
    conversation,
    spelt_out,
    train_chats,
    turn_loss,
    whole,
)
from rlhf_lab.models import ASSETS, load_policy
from rlhf_lab.provenance import manifest
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "dialogue"
SEEDS = (0, 1, 2)
MODEL = "tiny"
SINGLE = "single turns"
ARMS = (SINGLE, ASSISTANTS, ALL, LAST)
TURNS, LINES, ALONE, IN_FULL = FORMS = ("turns", "lines", "alone", "in full")
THIRD = "third turn"
TABLES = ("answers", "loss", "samples")
Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Config:
    """How much is trained and asked.

    Attributes:
        demonstrations: of single turns, in all arms; conversations: beside them.
        asked: conversations of each kind of follow-up, and with a third turn.
        kept: of each kind, answers of the first seed that are published.
    """

    demonstrations: int = 600
    conversations: int = 400
    sft: SFTConfig = field(default_factory=SFTConfig)
    asked: int = 40
    max_new_tokens: int = 32
    kept: int = 2


def run() -> None:
    """Do the runs that are missing, write the tables."""
    started, config = time.time(), Config()
    found: Rows = {name: [] for name in TABLES}
    seconds = 0.0
    for seed in SEEDS:
        for arm in ARMS:
            kept = _kept(arm, seed, config)
            seconds += kept["seconds"]
            for name in TABLES:
                found[name] += [{"seed": seed, "arm": arm, **row} for row in kept[name]]
    for name, rows in found.items():
        table = pd.DataFrame(rows)
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.5g"))
    answers = pd.DataFrame(found["answers"])
    answers["share"] = answers.right / answers.questions
    print(answers.pivot_table(index=["arm", "form"], columns="kind", values="share").round(3))
    print(pd.DataFrame(found["loss"]).groupby("arm").nats.mean())
    about = manifest("python -m benchmarks dialogue", config, SEEDS, started)
    about["seconds_of_all_runs"] = round(seconds, 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _kept(arm: str, seed: int, config: Config) -> dict[str, Any]:
    key = fingerprint([
        code_fingerprint("rlhf_lab.lineage.dialogue"),
        file_hash(ASSETS / MODEL / "model.safetensors"),
        dataclasses.asdict(config),
    ])  # fmt: skip
    path = ROOT / "runs" / f"published-dialogue-{key}" / f"{ARMS.index(arm)}-seed-{seed}.json"
    if not path.is_file():
        before = time.process_time()
        tables = measure(arm, seed, config)
        seconds = time.process_time() - before
        atomic_write(path, json.dumps({**tables, "seconds": seconds}, ensure_ascii=False))
        print(f"{arm}, seed {seed}: {seconds:.0f} s", flush=True)
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def training_rows(world: World, arm: str, seed: int, config: Config) -> list[list[Message]]:
    """What an arm learns from, as conversations."""
    first = 20_000 * seed
    shown = world.demonstrations("train", config.demonstrations, first)
    talks = [conversation(world, first + i) for i in range(config.conversations)]
    rows = [as_chat(demonstration) for demonstration in shown]
    if arm != SINGLE:
        return rows + [whole(talk) for talk in talks]
    # As plain SFT has it: the prompt of each demonstration is one turn.
    alone = [*shown, *(one for talk in talks for one in spelt_out(talk))]
    return [
        [
            {"role": "user", "content": row.prompt.removesuffix("\n")},
            {"role": "assistant", "content": row.completion},
        ]
        for row in alone
    ]


def questions(world: World, split: str, seed: int, count: int) -> dict[str, list[Any]]:
    """Conversations by the kind of their last turn, and those of three turns."""
    first = 1_000 * seed
    found: dict[str, list[Any]] = {
        kind: [conversation(world, first + i, split, kinds=(kind,)) for i in range(count)]
        for kind in FOLLOW_UPS
    }
    pairs = [(a, b) for a in FACTS for b in FACTS]
    found[THIRD] = [
        conversation(world, first + i, split, kinds=pairs[i % len(pairs)]) for i in range(count)
    ]
    return found


def tuned(arm: str, seed: int, config: Config, world: World) -> Neural:
    """The base model, tuned as an arm says."""
    model, tokenizer = load_policy(MODEL)
    settings = dataclasses.replace(config.sft, seed=seed)
    mask = ASSISTANTS if arm == SINGLE else arm
    train_chats(model, tokenizer, training_rows(world, arm, seed, config), settings, mask=mask)
    return Neural(model.eval(), tokenizer)


def measure(arm: str, seed: int, config: Config, split: str = "test") -> Rows:
    """The rows of one model, by table."""
    world = World(0)
    system = tuned(arm, seed, config, world)
    rows: Rows = {name: [] for name in TABLES}
    shown: dict[str, Callable[[list[Message]], str]] = {
        TURNS: functools.partial(chat_prompt, tokenizer=system.tokenizer),
        LINES: as_lines,
        ALONE: lambda messages: messages[-1]["content"] + "\n",
    }

    def write(prompts: Sequence[str]) -> list[str]:
        return system.write(
            list(prompts), max_new_tokens=config.max_new_tokens, greedy=True, seed=seed, line=False
        )

    asked = questions(world, split, seed, config.asked)
    for kind, talks in asked.items():
        for form in FORMS:
            own = [in_full(talk) for talk in talks] if form == IN_FULL else talks
            said = ask(world, write, own, shown.get(form, as_lines))
            marks = [mark for _, mark in said]
            rows["answers"].append(
                {"kind": kind, "form": form, "questions": len(marks), "right": sum(marks)}
            )
            if seed == SEEDS[0] and form != IN_FULL:
                rows["samples"] += [
                    {"kind": kind, "form": form, "first": talk[-2].said,
                     "answered": talk[-2].answer, "follow_up": talk[-1].said, "reply": text,
                     "right": mark}
                    for talk, (text, mark) in list(zip(talks, said, strict=True))[: config.kept]
                ]  # fmt: skip
    talks = [whole(talk) for own in asked.values() for talk in own]
    rows["loss"].append({"nats": turn_loss(system.model, system.tokenizer, talks)})
    return rows


def in_full(talk: Sequence[Exchange]) -> tuple[Exchange]:
    """What a last turn means, asked alone; nothing was given before."""
    last = talk[-1]
    return (dataclasses.replace(last, said=last.asked.text.removesuffix("\n"), given=()),)
