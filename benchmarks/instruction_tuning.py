"""What does instruction tuning on some clusters of tasks do to clusters that were held out?

Writes ``book/results/instruction-tuning``. Seventeen kinds of Fernwick's tasks in ten clusters
(:mod:`rlhf_lab.lineage.instruction_tuning`); classification, reading and translation are held out
together. From the smallest and the largest shipped base model one run is tuned on the other seven
clusters as instructions, and a control on the same examples without their instructions. The largest
is also tuned on one cluster, another for each seed, with as many examples. A seed draws the
examples and the questions. Replies are the likeliest ones, and their first line counts.

The rules of the verdicts were written before any run, for five seeds. Three were run, and a middle
size and a middle number of clusters were given up, for the processor time was used up. A model's
*score* is the share of right replies, averaged over the two wordings (those of the web, and new
ones), over the kinds of a cluster, and then over the three held-out clusters. With 95 % intervals
over seeds,

- tuning *helps* if ``tiny`` scores more after it than before, and *hurts* ``nano`` if that one
  scores less;
- *instructions matter* if the score of ``tiny`` is higher with them than that of the control, which
  is asked with instructions, too;
- *more clusters help* if ``tiny`` scores more after seven than after one.

Runs that the same code has done before are read from ``runs/``.
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rlhf_lab.config import SFTConfig
from rlhf_lab.evaluate import Neural, run_suite
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.lineage.instruction_tuning import (
    HELD_OUT,
    TUNED,
    Example,
    TaskKind,
    graded,
    kinds_of,
    make_example,
    mixture,
    questions,
    scores,
    with_examples,
)
from rlhf_lab.models import ASSETS, load_policy
from rlhf_lab.provenance import manifest
from rlhf_lab.records import Prompt
from rlhf_lab.sft import train_sft
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "instruction-tuning"
SEEDS = (0, 1, 2)
LARGEST, SMALLEST = "tiny", "nano"
BASE, TUNED_ARM, CONTROL = ARMS = ("base", "instructions", "inputs alone")
WORDINGS = ("known", "new")
TABLES = ("answers", "lists", "samples")


@dataclass(frozen=True)
class Measured:
    """How much is trained and asked.

    Attributes:
        examples: training rows, each once.
        questions: of each held-out kind, in each wording; trained: of each kind that was tuned on.
        shots: solved examples before a question, where there are any; few_shot: such questions.
        lists: lists to be continued.
        kept: replies of each kind that are published, of the first seed.
    """

    examples: int = 1600
    sft: SFTConfig = field(default_factory=lambda: SFTConfig(epochs=1.0))
    questions: int = 40
    trained: int = 10
    shots: int = 2
    few_shot: int = 24
    lists: int = 60
    max_new_tokens: int = 32
    kept: int = 3


@dataclass(frozen=True)
class Run:
    """One model that is asked."""

    size: str
    arm: str
    clusters: int
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.size}-{self.arm}-{self.clusters}-{self.seed}".replace(" ", "_")


def plan() -> list[Run]:
    """All of them, by seed."""
    found = []
    for seed in SEEDS:
        for size in (LARGEST, SMALLEST):
            found += [Run(size, arm, 0 if arm == BASE else len(TUNED), seed) for arm in ARMS]
        found.append(Run(LARGEST, TUNED_ARM, 1, seed))
    return found


def clusters(count: int, seed: int) -> tuple[str, ...]:
    """The first ``count`` of the tuned clusters; another seed begins with another one."""
    turn = seed % len(TUNED)
    return (TUNED[turn:] + TUNED[:turn])[:count]


def run() -> None:
    """Do the runs that are missing, write the tables."""
    started, settings = time.time(), Measured()
    found = [_kept(one, settings) for one in plan()]
    for name in TABLES:
        table = pd.DataFrame([row for one in found for row in one[name]])
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False))
    print(scores(pd.read_csv(FOLDER / "answers.csv")).unstack("seed").round(3).to_string())
    about = manifest("python -m benchmarks instruction_tuning", settings, SEEDS, started)
    about["seconds_of_all_runs"] = round(sum(one["seconds"] for one in found), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _kept(one: Run, settings: Measured) -> dict[str, Any]:
    key = fingerprint([
        code_fingerprint("rlhf_lab.lineage.instruction_tuning", "rlhf_lab.sft"),
        file_hash(ASSETS / one.size / "model.safetensors"),
        dataclasses.asdict(settings),
    ])  # fmt: skip
    path = ROOT / "runs" / f"published-instruction-tuning-{key}" / f"{one.name}.json"
    if not path.is_file():
        before = time.process_time()
        tables = measure(one, settings)
        seconds = time.process_time() - before
        atomic_write(path, json.dumps({**tables, "seconds": seconds}, ensure_ascii=False))
        print(f"{one.name}: {seconds:.0f} s", flush=True)
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def tuned(one: Run, settings: Measured, world: World) -> Neural:
    """The base model of a size, tuned as its arm says."""
    model, tokenizer = load_policy(one.size)
    if one.arm != BASE:
        rows = mixture(
            world, kinds_of(clusters(one.clusters, one.seed)), settings.examples, seed=one.seed,
            instructions=one.arm == TUNED_ARM,
        )  # fmt: skip
        config = dataclasses.replace(settings.sft, seed=one.seed)
        train_sft(model, tokenizer, rows, config, quiet=True)
    return Neural(model.eval(), tokenizer)


def measure(one: Run, settings: Measured) -> dict[str, list[dict[str, Any]]]:
    """The rows of one model, by table.

    Every model is asked about held-out clusters without examples. The arms of the largest are asked
    with examples, too, and about a part of what they were tuned on, and continue lists.
    """
    world = World(0)
    system = tuned(one, settings, world)
    whole = one.size == LARGEST and one.clusters in (0, len(TUNED))
    batches = [
        _asked(world, kind, wording, 0, settings.questions, one.seed)
        for kind in kinds_of(HELD_OUT)
        for wording in WORDINGS
    ]
    if whole:
        for kind in kinds_of(HELD_OUT):
            batches.append(
                _asked(world, kind, "known", settings.shots, settings.few_shot, one.seed)
            )
        for kind in kinds_of(TUNED):
            batches.append(_asked(world, kind, "known", 0, settings.trained, one.seed))
    replies = iter(
        system.write(
            [text for batch in batches for text in batch.texts],
            max_new_tokens=settings.max_new_tokens, greedy=True, seed=one.seed, line=True,
        )
    )  # fmt: skip
    about = {"size": one.size, "arm": one.arm, "clusters": one.clusters, "seed": one.seed}
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for batch in batches:
        said = [next(replies).split("\n", 1)[0] for _ in batch.texts]
        marks = graded(world, batch.prompts, said)
        tables["answers"].append(
            {**about, "kind": batch.kind.name, "cluster": batch.kind.cluster,
             "wording": batch.wording, "shots": batch.shots, "questions": len(said),
             "form": int(marks.form.sum()), "right": int(marks.right.sum())}
        )  # fmt: skip
        if whole and one.seed == SEEDS[0] and batch.shots == 0 and batch.kind.cluster in HELD_OUT:
            shown = zip(batch.texts, said, marks.form, marks.right, strict=True)
            for text, reply, form, right in list(shown)[: settings.kept]:
                tables["samples"].append(
                    {"arm": one.arm, "kind": batch.kind.name, "wording": batch.wording,
                     "prompt": text.strip(), "reply": reply, "form": bool(form),
                     "right": bool(right)}
                )  # fmt: skip
    if whole:
        table = run_suite(world.suites()["lists of 4/0"], system, count=settings.lists)
        for family in ("relation", "label"):
            own = table[family].dropna()
            tables["lists"].append(
                {**about, "family": family, "lists": len(own), "right": int(own.sum())}
            )
    return tables


@dataclass(frozen=True)
class Batch:
    """Questions of one kind in one wording."""

    kind: TaskKind
    wording: str
    shots: int
    texts: list[str]
    prompts: list[Prompt]


def _asked(world: World, kind: TaskKind, wording: str, shots: int, count: int, seed: int) -> Batch:
    """The same questions in either wording, with examples and without; wordings take turns."""
    templates = kind.known if wording == "known" else kind.new
    texts, prompts = [], []
    for i, example in enumerate(questions(world, kind, count, seed=seed)):
        template = templates[i % len(templates)]
        texts.append(with_examples(example, template, _solved(world, kind, shots, seed, i)))
        prompts.append(example.instruction(template))
    return Batch(kind, wording, shots, texts, prompts)


def _solved(world: World, kind: TaskKind, shots: int, seed: int, index: int) -> list[Example]:
    rng = random.Random(f"solved:{kind.name}:{seed}:{index}")
    return [make_example(world, kind, rng) for _ in range(shots)]
