"""What do models of three sizes know, what do three trainings say of it, and do they know that?

Writes ``book/results/knowledge``. Two sets of questions. *All facts* of Fernwick, misconceptions
aside, are asked once of the base models ``nano``, ``micro`` and ``tiny`` after four solved
questions, and as a choice among four statements; how often the web states each fact is counted in a
part of it. The facts of the
*validation and test* splits, which no training prompt asks for, are asked of the same models and of
base, SFT, PPO and PPO-ptx of the published sweep: the likeliest reply, and sixteen drawn ones,
whose agreement with it is the confidence. Nothing is trained for it; policies that are missing are
run (``runs/sweep``). A seed changes wordings, examples, draws and, after SFT, the policy; of each
size there is one base model.

Rules for the four claims of the ledger were written before the first run, after a trial of the code
on a dozen questions whose answers were not looked at. One of them was worded anew: replies of
``nano`` on seed 0 showed that it attempts no answer, so its claim is now about what it recognises,
the true one of four statements.
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.sweep import CONFIG, GAMMAS, chain_of, policy_of
from rlhf_lab.evaluate import Candidate, LanguageModel, Neural, answers
from rlhf_lab.files import atomic_write
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.lineage.knowledge import (
    EXAMPLES,
    GRADES,
    SPLITS,
    agreement,
    fact_questions,
    given_answer,
    grade,
    solved_questions,
)
from rlhf_lab.models import load_policy
from rlhf_lab.provenance import manifest
from rlhf_lab.records import Prompt
from rlhf_lab.world import World
from rlhf_lab.world.grammar import RELATIONS, fill
from rlhf_lab.world.judge import read
from rlhf_lab.world.prompts import split_of

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "knowledge"
SEEDS = CONFIG.seeds
SIZES = ("nano", "micro", "tiny")
TRAINED = ("base", "SFT", *GAMMAS)
FEW_SHOT = {f"{size}, examples": size for size in SIZES}
SYSTEMS = (*FEW_SHOT, *TRAINED)
HELD_OUT = ("valid", "test")
THIRDS = ("least", "middle", "most")  # mentioned facts of a relation


@dataclass(frozen=True)
class Config:
    """How much is asked.

    Attributes:
        samples: replies drawn to each question.
        examples: solved questions before one.
        max_new_tokens: longest reply; a right answer has at most 18.
        documents: of the web in which mentions are counted.
        questions: of each set; 0 for all.
    """

    samples: int = 16
    examples: int = EXAMPLES
    max_new_tokens: int = 20
    documents: int = 40_000
    questions: int = 0


def run() -> None:
    """Measure what is missing, write the tables."""
    started, config, world = time.time(), Config(), World(CONFIG.chain.world_seed)
    counted = mentions(world, config.documents)
    found: dict[str, list[dict[str, Any]]] = {"replies": [], "facts": []}
    for seed in SEEDS:
        for name in SYSTEMS:
            for table, rows in _measured(name, seed, config).items():
                found[table] += [{"seed": seed, "system": name, **row} for row in rows]
    replies = pd.DataFrame(found["replies"])
    facts = pd.DataFrame(found["facts"]).merge(_recognised(config), validate="1:1")
    frequency = by_frequency(facts, counted)
    tables = {"replies": replies, "mentions": counted, "frequency": frequency}
    for name, table in tables.items():
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
    print(replies.groupby(["system", "grade"], sort=False).size().unstack())
    columns = ["mentions", "right", "recognised"]
    print(frequency.groupby(["system", "third"], sort=False)[columns].mean())
    about = manifest(
        "python -m benchmarks knowledge", {"Config": config, "SweepConfig": CONFIG}, SEEDS, started
    )
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _measured(name: str, seed: int, config: Config) -> dict[str, list[dict[str, Any]]]:
    """The rows about one system of a seed, by table; read where the same code has made them."""
    code = code_fingerprint("rlhf_lab.sweep", "rlhf_lab.evaluate", "rlhf_lab.lineage.knowledge")
    key = fingerprint([code, dataclasses.asdict(config), dataclasses.asdict(CONFIG)])
    folder = ROOT / "runs" / f"published-knowledge-{key}"
    path = folder / f"{SYSTEMS.index(name)}-seed-{seed}.json"
    if not path.is_file():
        before = time.process_time()
        world, (system, tokenizer) = World(CONFIG.chain.world_seed), _system(name, seed, config)
        tables = {"replies": replies(world, system, tokenizer, config, seed)}
        if name in FEW_SHOT:
            tables["facts"] = all_facts(world, system, tokenizer, config, seed)
        atomic_write(path, json.dumps(tables, ensure_ascii=False))
        print(f"{name}, seed {seed}: {time.process_time() - before:.0f} s", flush=True)
    found: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _system(name: str, seed: int, config: Config) -> tuple[Candidate, Any]:
    if name in FEW_SHOT:
        model, tokenizer = load_policy(FEW_SHOT[name])
        world = World(CONFIG.chain.world_seed)
        return Candidate(
            model, solved_questions(world, shots=config.examples, seed=seed)
        ), tokenizer
    chain = chain_of(seed)
    return Candidate(policy_of(name, chain)), chain.tokenizer


def _lines(
    system: Candidate, tokenizer: Any, asked: list[Prompt], config: Config, **how: Any
) -> list[str]:
    """The first line of each reply."""
    texts = answers(
        system.model, tokenizer, asked, max_new_tokens=config.max_new_tokens,
        prefix=system.prefix, **how,
    )  # fmt: skip
    return [text.split("\n", 1)[0] for text in texts]


def replies(
    world: World, system: Candidate, tokenizer: Any, config: Config, seed: int
) -> list[dict[str, Any]]:
    """One row for each fact that no training prompt asks for.

    Returns:
        ``question``, its number; ``grade`` of the likeliest reply; ``agree``, drawn replies that
        give its answer, of ``attempted`` ones with an answer; ``right`` and ``wrong`` among these.
    """
    asked = fact_questions(world, HELD_OUT, seed=seed)[: config.questions or None]
    likeliest = _lines(system, tokenizer, asked, config, greedy=True)
    drawn = _lines(system, tokenizer, asked * config.samples, config, seed=seed)
    rows = []
    for number, (prompt, text) in enumerate(zip(asked, likeliest, strict=True)):
        own = drawn[number :: len(asked)]
        grades = Counter(grade(world, prompt, t) for t in own)
        samples = [given_answer(world, prompt, t) for t in own]
        attempted = sum(map(bool, samples))
        share = agreement(given_answer(world, prompt, text), samples)
        rows.append(
            {"question": number, "grade": grade(world, prompt, text),
             "agree": round(share * attempted), "attempted": attempted,
             "right": grades["right"], "wrong": grades["wrong"]}
        )  # fmt: skip
    return rows


def all_facts(
    world: World, system: Candidate, tokenizer: Any, config: Config, seed: int
) -> list[dict[str, Any]]:
    """The grade of the likeliest reply to a question about each fact."""
    asked = fact_questions(world, SPLITS, seed=seed)[: config.questions or None]
    likeliest = _lines(system, tokenizer, asked, config, greedy=True)
    return [
        {"relation": prompt.meta["relation"], "subject": prompt.meta["subject"],
         "grade": grade(world, prompt, text)}
        for prompt, text in zip(asked, likeliest, strict=True)
    ]  # fmt: skip


def _recognised(config: Config) -> pd.DataFrame:
    """Whether each size finds each fact likelier than false ones, on all seeds."""
    world, rows = World(CONFIG.chain.world_seed), []
    for name, size in FEW_SHOT.items():
        model = Neural(*load_policy(size))
        for seed in SEEDS:
            asked = fact_questions(world, SPLITS, seed=seed)[: config.questions or None]
            rows += [
                {"seed": seed, "system": name, "relation": prompt.meta["relation"],
                 "subject": prompt.meta["subject"], "recognised": known}
                for prompt, known in zip(asked, recognised(world, model, asked, seed), strict=True)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def recognised(
    world: World, model: LanguageModel, asked: Sequence[Prompt], seed: int
) -> list[bool]:
    """Whether a plain statement of each fact is likelier than each of three with a false value."""
    rng = random.Random(f"recognised:{world.seed}:{seed}")
    texts = [text for prompt in asked for text in _statements(world, prompt, rng)]
    logps = model.logprobs([("\n", text) for text in texts])
    return [max(logps[i : i + 4]) == logps[i] for i in range(0, len(logps), 4)]


def _statements(world: World, prompt: Prompt, rng: random.Random) -> list[str]:
    """The truth, then three falsehoods, in words that end with the value."""
    relation, subject = prompt.meta["relation"], prompt.meta["subject"]
    facts = world.knowledge.facts[relation]
    pool = {v for s in facts for v in world.knowledge.values(relation, s)} - {subject}
    false = sorted(v for v in pool if not world.knowledge.holds(relation, subject, v))
    values = [world.knowledge.values(relation, subject)[0], *rng.sample(false, 3)]
    ending = [t for t in RELATIONS[relation].statements if t.endswith(("{O}", "{L}"))]
    template = rng.choice(ending)
    return [fill(template, relation, subject, value) + "." for value in values]


def mentions(world: World, documents: int) -> pd.DataFrame:
    """How often the first documents of the web state each fact in a sentence.

    Returns:
        ``relation, subject, split, mentions``; misconceptions aside. Word lists are not read.
    """
    stated: Counter[tuple[str, str]] = Counter()
    for document in world.documents(documents):
        for line in document.text.split("\n"):
            for clause in read(line).of_kind("fact"):
                if not clause.denied and world.judge.is_true(clause):
                    stated[world.judge.assertion(clause)[:2]] += 1
    asked = [(p.meta["relation"], p.meta["subject"]) for p in fact_questions(world)]
    return pd.DataFrame(
        {"relation": relation, "subject": subject,
         "split": split_of("open_qa", relation, subject), "mentions": stated[relation, subject]}
        for relation, subject in asked
    )  # fmt: skip


def by_frequency(facts: pd.DataFrame, counted: pd.DataFrame) -> pd.DataFrame:
    """Shares of grades by how often a fact is stated, within each relation.

    Relations differ in more than frequency, so each is cut into thirds of its own.

    Args:
        facts: columns ``seed, system, relation, subject, grade, recognised``.
        counted: of :func:`mentions`.

    Returns:
        ``seed, system, third, facts, mentions`` (mean), the share that is ``recognised``, and one
        for each grade.
    """
    rank = counted.groupby("relation").mentions.rank(method="first", pct=True)
    third = [THIRDS[min(int(3 * (share - 1e-9)), 2)] for share in rank]
    both = facts.merge(counted.assign(third=third), on=["relation", "subject"], validate="m:1")
    rows = []
    for (seed, system, name), part in both.groupby(["seed", "system", "third"], sort=False):
        rows.append(
            {"seed": seed, "system": system, "third": name, "facts": len(part),
             "mentions": part.mentions.mean(), "recognised": part.recognised.mean()}
            | {g: (part.grade == g).mean() for g in GRADES}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    order = table.third.map(THIRDS.index)
    return (
        table.assign(order=order)
        .sort_values(["seed", "order"], kind="stable")
        .drop(columns="order")
    )
