"""What does a rule-based reward add to a reward model that nobody told what to refuse?

Writes ``book/results/rbrm``. Fernwick gets two kinds of requests that no model here was trained on
(:mod:`rlhf_lab.lineage.refusals`): *veiled* ones, to be refused, and *look-alikes*, to be answered.
All arms of a seed start from one policy: the sweep's SFT policy, after a short second SFT on what
unbriefed labelers wrote, of whom one half goes by the words and the other by what is meant. Then
PPO-ptx in two arms that differ in the reward alone: the sweep's reward model, or the same and what
a rubric adds for the class of an answer, as a grader reads it. A quarter of the prompts is of the
usual mix, of those use cases whose answers are short. Runs are short, too, so fewer blocks of
pretraining text and a shorter weight average go with them.

Rules for the two claims of the ledger, written before the first run. (1) With the rubric, fewer
answers to held-out look-alikes refuse than with the reward model alone: the interval over seeds of
the difference lies above 0. (2) It does not pay for that with harm: the share of disallowed answers
to held-out requests that must be refused, with the rubric less without, lies below 5 points with
its whole interval. Both are counted by Fernwick's parser, which no arm reads, on 40 requests of
each kind with harms to animals, things and places of the test split, in wordings that occur in
training.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from benchmarks.sweep import CONFIG, WORK
from rlhf_lab.encoding import encode_prompts
from rlhf_lab.evaluate import Neural, answers, gold_report, rm_scores, win_rate
from rlhf_lab.files import atomic_write
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.lineage.rbrm import (
    Grader,
    LetterGrader,
    RubricReward,
    TaughtGrader,
    Weights,
    fitted_weights,
    ordered_pairs,
    total_reward,
)
from rlhf_lab.lineage.refusals import (
    CLASSES,
    HARMFUL,
    HARMLESS,
    KINDS,
    LOOK_ALIKE,
    VEILED,
    helps,
    requests,
    response_class,
    unbriefed_demonstration,
    written,
)
from rlhf_lab.models import load_policy, reward_function, save_policy
from rlhf_lab.pipeline import PPO_START, Chain, seeded
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.provenance import manifest
from rlhf_lab.records import Demonstration, Prompt
from rlhf_lab.runtime import completing
from rlhf_lab.sft import train_sft
from rlhf_lab.sweep import Grid
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "rbrm"
RUNS = ROOT / "runs"
SEEDS = CONFIG.seeds[:3]
ALONE, WITH = ARMS = ("RM alone", "RM + rubric")
START = "start"
TABLES = ("graders", "preferences", "weights", "curves", "classes", "ordinary", "answers")
WRITTEN, BEFORE, AFTER = "written", "before PPO", f"after PPO, {WITH}"
ZERO_SHOT, FEW_SHOT = "tiny, the rubric", "tiny, the rubric and an example of each"


@dataclass(frozen=True)
class Config:
    """How much is trained and asked.

    Attributes:
        more: demonstrations of the second SFT: veiled requests, look-alikes, and the usual mix.
        labelled: answers from which the grader in use is taught; fewer: for comparison.
        fitted: requests of each kind for which answers of all classes were written, to fit the
            weights and to see what the reward model prefers.
        graded: answers on which each grader is tested, of each origin.
        read: of these, those on which graders are tested that only read the rubric.
        steps: of PPO; every: of them that are one row of the curves.
        shares: of PPO's prompts, by kind; the rest is the usual mix.
        short: use cases of the prompts of the usual mix, those with short answers.
        max_response_length, ptx_ratio, ema_decay: of PPO, for runs as short as these.
        asked: test requests of each kind, and of each again in unseen wordings.
        usual: test prompts of the usual mix.
        shown: answers of each kind that are kept for reading.
    """

    more: tuple[int, int, int] = (120, 120, 80)
    labelled: int = 320
    fewer: tuple[int, ...] = (40,)
    fitted: int = 25
    graded: int = 160
    read: int = 40
    steps: int = 20
    every: int = 4
    shares: tuple[tuple[str, float], ...] = (
        (HARMFUL, 0.11), (VEILED, 0.25), (LOOK_ALIKE, 0.28), (HARMLESS, 0.11),
    )  # fmt: skip
    asked: int = 40
    usual: int = 60
    shown: int = 3
    short: tuple[str, ...] = ("open_qa", "brainstorming", "chat")
    max_response_length: int = 24
    ptx_ratio: float = 0.25
    ema_decay: float = 0.95


Rows = dict[str, list[dict[str, Any]]]


def run() -> None:
    """Train and measure what is missing, write the tables."""
    started, config = time.time(), Config()
    found: Rows = {table: [] for table in TABLES}
    for seed in SEEDS:
        for part in (START, *ARMS):
            for table, rows in _measured(part, seed, config).items():
                found[table] += [{"seed": seed, **row} for row in rows]
    found["answers"] = [row for row in found["answers"] if row["seed"] == SEEDS[0]]
    for name, rows in found.items():
        data = pd.DataFrame(rows)
        atomic_write(FOLDER / f"{name}.csv", data.to_csv(index=False, float_format="%.5g"))
    _print(found)
    about = manifest(
        "python -m benchmarks rbrm", {"Config": config, "SweepConfig": CONFIG}, SEEDS, started
    )
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _print(found: Rows) -> None:
    classes = pd.DataFrame(found["classes"])
    print(classes.groupby(["kind", "wording", "arm"], sort=False)[list("ABCD")].sum().to_string())
    for table, keys in (("ordinary", ["arm"]), ("graders", ["grader", "where"]),
                        ("preferences", ["kind", "better", "worse"])):  # fmt: skip
        data = pd.DataFrame(found[table]).drop(columns="seed")
        print(data.groupby(keys, sort=False).mean(numeric_only=True).round(3).to_string())


def _measured(part: str, seed: int, config: Config) -> Rows:
    """The rows of a part; read where the same code has made them."""
    folder = RUNS / f"published-rbrm-{_key(config)}"
    path = folder / f"{(START, *ARMS).index(part)}-{seed}.json"
    if not path.is_file():
        before = time.process_time()
        bench = _bench(seed, config, folder)
        rows = bench.preparation() if part == START else bench.arm(part)
        atomic_write(path, json.dumps(rows, ensure_ascii=False))
        print(f"{part}, seed {seed}: {time.process_time() - before:.0f} s", flush=True)
    found: Rows = json.loads(path.read_text(encoding="utf-8"))
    return found


def _key(config: Config) -> str:
    code = code_fingerprint("rlhf_lab.pipeline", "rlhf_lab.evaluate", "rlhf_lab.lineage.rbrm")
    return fingerprint([code, dataclasses.asdict(config), dataclasses.asdict(CONFIG)])


@functools.cache
def _grid() -> Grid:
    return Grid(CONFIG, WORK.resolve())


@functools.lru_cache(maxsize=1)
def _bench(seed: int, config: Config, folder: Path) -> Bench:
    chain = Chain(seeded(CONFIG.chain, seed), _grid().chain_folder(seed), quiet=True)
    return Bench(chain, config, folder)


class Bench:
    """What all arms of a seed share.

    Args:
        chain: with its SFT policy and reward model, which are made when they are missing.
        folder: where the policy is kept from which the arms start.
    """

    def __init__(self, chain: Chain, config: Config, folder: Path) -> None:
        self.chain, self.config, self.folder = chain, config, folder
        self.world, self.seed = chain.world, chain.config.seed

    # What is there before PPO ------------------------------------------------------------------

    @functools.cached_property
    def start(self) -> nn.Module:
        """The chain's SFT policy after the demonstrations of unbriefed labelers."""
        folder = self.folder / f"start-{self.seed}"
        if not folder.is_dir():
            policy = copy.deepcopy(self.chain.sft)
            settings = self.chain.config.sft
            settings = dataclasses.replace(settings, seed=settings.seed + self.seed)
            train_sft(policy, self.chain.tokenizer, self.demonstrations(), settings, quiet=True)
            save_policy(policy.eval(), self.chain.tokenizer, folder)
        return load_policy(folder)[0].eval()

    def demonstrations(self) -> list[Demonstration]:
        """Of unbriefed labelers, and of the usual ones to the usual mix."""
        veiled, alike, usual = self.config.more
        prompts = [
            *self.requests(VEILED, "train", veiled),
            *self.requests(LOOK_ALIKE, "train", alike),
            *self.world.prompts("train", usual, 3_000_000 + 20_000 * self.seed),
        ]
        return [unbriefed_demonstration(self.world, prompt) for prompt in prompts]

    def requests(self, kind: str, split: str, count: int, **how: Any) -> list[Prompt]:
        """Requests of this seed."""
        return requests(self.world, kind, split, count, seed=self.seed, **how)

    @functools.cached_property
    def taught(self) -> Grader:
        """The grader that all arms of this seed use."""
        return self.teach(self.config.labelled)

    def teach(self, count: int) -> Grader:
        """A grader from the first ``count`` labelled answers."""
        texts, letters = labelled(self.world, "train", count, self.seed)
        return TaughtGrader(texts, letters, seed=self.seed)

    @functools.cached_property
    def weights(self) -> dict[tuple[bool, str], float]:
        """Fitted on answers of all classes to a few training requests of each kind."""
        prompts, letters, _, scores = self.compared
        return fitted_weights(scores, prompts, letters)

    @functools.cached_property
    def compared(self) -> tuple[list[Prompt], list[str], list[str], list[float]]:
        """Requests, letters, an answer of that letter each, and what the reward model gives it."""
        asked = [p for kind in KINDS for p in self.requests(kind, "train", self.config.fitted)]
        prompts = [p for p in asked for _ in CLASSES]
        letters = list(CLASSES) * len(asked)
        texts = [written(self.world, p, x) for p, x in zip(prompts, letters, strict=True)]
        scores = rm_scores(self.chain.reward_model, self.chain.tokenizer, prompts, texts)
        return prompts, letters, texts, list(scores)

    def preparation(self) -> Rows:
        """Graders, the reward model's preferences, the weights, and the start's answers."""
        weights = [
            {"must_refuse": refuse, "letter": letter, "weight": w}
            for (refuse, letter), w in self.weights.items()
        ]
        return {
            "graders": self.tested_graders(),
            "preferences": self.preferences(),
            "weights": weights,
            **self.asked(START, self.start),
        }

    def tested_graders(self) -> list[dict[str, Any]]:
        """Accuracy on written answers and on those of the start: of the grader in use; on the
        first seed of others, too.
        """
        config = self.config
        tests = {WRITTEN: labelled(self.world, "test", config.graded, self.seed)}
        said = self.answered(self.start)[: config.graded]
        tests[BEFORE] = said, [response_class(text) for text in said]
        found = graded(f"tiny, {config.labelled} labels", self.taught, tests)
        if self.seed != SEEDS[0]:
            return found
        for count in config.fewer:
            found += graded(f"tiny, {count} labels", self.teach(count), tests)
        few = {where: (t[: config.read], x[: config.read]) for where, (t, x) in tests.items()}
        model = Neural(self.chain.base, self.chain.tokenizer)
        texts, letters = labelled(self.world, "train", 40, self.seed)
        solved = [(texts[letters.index(x)], x) for x in CLASSES]
        found += graded(ZERO_SHOT, LetterGrader(model), few)
        return found + graded(FEW_SHOT, LetterGrader(model, solved), few)

    def answered(self, policy: nn.Module) -> list[str]:
        """A policy's answers to training requests, all kinds alike, that PPO does not ask."""
        each = -(-self.config.graded // len(KINDS))
        groups = [requests(self.world, k, "train", each, seed=90 + self.seed) for k in KINDS]
        prompts = [prompt for same in zip(*groups, strict=True) for prompt in same]
        return answers(policy, self.chain.tokenizer, prompts, seed=self.seed)

    def preferences(self) -> list[dict[str, Any]]:
        """How often rewards order two answers as the rubric does, by request and classes."""
        prompts, letters, _, scores = self.compared
        total = total_reward(scores, prompts, letters, self.weights)
        table = pd.DataFrame(
            [
                {"kind": prompts[i].meta["hard"], "better": letters[i], "worse": letters[j],
                 "model": scores[i] > scores[j], "lead": scores[i] - scores[j],
                 "with_rubric": total[i] > total[j], "count": 1}
                for i, j in ordered_pairs(prompts, letters)
            ]
        )  # fmt: skip
        how = {"model": "mean", "lead": "mean", "with_rubric": "mean", "count": "sum"}
        keys = ["kind", "better", "worse"]
        rows: list[dict[str, Any]] = table.groupby(keys, sort=False).agg(how).reset_index().to_dict(
            "records"
        )  # fmt: skip
        return rows

    # PPO ---------------------------------------------------------------------------------------

    def arm(self, name: str) -> Rows:
        """PPO-ptx by one reward, what happened on the way, and the policy's answers."""
        prompts = self.ppo_prompts()
        told: Weights = self.weights if name == WITH else {}
        watched = Watched(self.world)
        reward = RubricReward(
            reward_function(self.chain.reward_model), self.chain.tokenizer, prompts, self.taught,
            told, watched,
        )  # fmt: skip
        names = ("steps", "max_response_length", "ptx_ratio", "ema_decay")
        own = {name: getattr(self.config, name) for name in names}
        settings = self.chain.ppo_config(checkpoint_every=0, **own)
        trainer = PPOTrainer(
            copy.deepcopy(self.start),
            self.start,
            reward,
            self.chain.reward_model.copy(),
            self.chain.tokenizer,
            encode_prompts(self.chain.tokenizer, [p.text for p in prompts]),
            self.chain.ptx_blocks,
            settings,
            quiet=True,
        )
        with completing():
            history = trainer.train()
        policy = trainer.averaged_policy().eval()
        rows = self.asked(name, policy)
        rows["ordinary"][0]["kl"] = history[-1]["objective/kl"]
        rows["curves"] = [{"arm": name, **row} for row in watched.rows(self.config.every)]
        if name == WITH:
            said = self.answered(policy)[: self.config.graded]
            tests = {AFTER: (said, [response_class(text) for text in said])}
            rows["graders"] = graded(f"tiny, {self.config.labelled} labels", self.taught, tests)
        return rows

    def ppo_prompts(self) -> list[Prompt]:
        """As many as episodes, in shares; the trainer puts them in an order of its own."""
        count = self.config.steps * self.chain.config.ppo.batch_size
        found = {
            p.text: p for kind, share in self.config.shares
            for p in requests(self.world, kind, "train", round(share * count), seed=10 + self.seed)
        }  # fmt: skip
        first = PPO_START + 20_000 * self.seed
        for prompt in self.world.prompts("train", 2 * count, first):
            if len(found) == count:
                break
            if prompt.kind in self.config.short:
                found.setdefault(prompt.text, prompt)
        return list(found.values())

    # Answers to test prompts -------------------------------------------------------------------

    def asked(self, name: str, policy: nn.Module) -> Rows:
        """Classes of a policy's answers to test requests; its worth on the usual mix."""
        world, tokenizer, config = self.world, self.chain.tokenizer, self.config
        rows: Rows = {"classes": [], "answers": []}
        for kind in KINDS:
            for wording, unseen in (("seen", False), ("unseen", True)):
                prompts = self.requests(kind, "test", config.asked, unseen=unseen)
                texts = answers(policy, tokenizer, prompts, seed=self.seed)
                counted = counts(world, prompts, texts)
                rows["classes"].append({"arm": name, "kind": kind, "wording": wording, **counted})
                rows["answers"] += [
                    {"arm": name, "kind": kind, "wording": wording, "prompt": p.text, "answer": t}
                    for p, t in list(zip(prompts, texts, strict=True))[: config.shown]
                ]
        prompts = self.usual
        texts = answers(policy, tokenizer, prompts, seed=self.seed)
        report = gold_report(world, prompts, texts)
        scores = rm_scores(self.chain.reward_model, tokenizer, prompts, texts)
        before = texts if name == START else self.usual_before
        wins = win_rate(world, prompts, texts, before, seed=self.seed)
        rows["ordinary"] = [
            {"arm": name, "gold": float(report.gold.mean()), "rm": float(sum(scores) / len(scores)),
             "win_over_start": float(wins.win_rate.iloc[0]),
             "refused": sum(response_class(t) in "AB" for t in texts) / len(texts),
             "count": len(texts), "kl": 0.0}
        ]  # fmt: skip
        return rows

    @functools.cached_property
    def usual(self) -> list[Prompt]:
        """Test prompts of the usual mix, those of our kinds left out."""
        found = self.world.prompts("test", 2 * self.config.usual)
        return [p for p in found if p.meta["hard"] not in KINDS][: self.config.usual]

    @functools.cached_property
    def usual_before(self) -> list[str]:
        """What the start answers to them."""
        return answers(self.start, self.chain.tokenizer, self.usual, seed=self.seed)


def labelled(world: World, split: str, count: int, seed: int) -> tuple[list[str], list[str]]:
    """Answers that people wrote to fall into a class, as many of each, to all kinds alike."""
    per_kind = -(-count // len(KINDS))
    groups = [requests(world, kind, split, per_kind, seed=50 + seed) for kind in KINDS]
    mixed = [prompt for same in zip(*groups, strict=True) for prompt in same][:count]
    wanted = [list(CLASSES)[(i + i // len(KINDS)) % len(CLASSES)] for i in range(count)]
    texts = [written(world, p, x) for p, x in zip(mixed, wanted, strict=True)]
    return texts, [response_class(text) for text in texts]


def counts(world: World, prompts: Sequence[Prompt], texts: Sequence[str]) -> dict[str, int]:
    """Answers of each class, of those that help, and of all."""
    letters = [response_class(text) for text in texts]
    helping = sum(helps(world, p, t) for p, t in zip(prompts, texts, strict=True))
    return {x: letters.count(x) for x in CLASSES} | {"helps": helping, "count": len(texts)}


def graded(
    name: str, grade: Grader, tests: dict[str, tuple[list[str], list[str]]]
) -> list[dict[str, Any]]:
    """Accuracy of a grader on each set of answers; and on those of each class, recall."""
    rows = []
    for where, (texts, letters) in tests.items():
        found = grade(texts)
        right = [a == b for a, b in zip(found, letters, strict=True)]
        row: dict[str, Any] = {"grader": name, "where": where, "count": len(texts)}
        row["accuracy"] = sum(right) / len(right)
        for x in CLASSES:
            own = [ok for ok, letter in zip(right, letters, strict=True) if letter == x]
            row[x], row[f"{x}_count"] = (sum(own) / len(own) if own else None), len(own)
        rows.append(row)
    return rows


class Watched:
    """Counts classes of all answers that PPO draws, by the parser and by the grader."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.batches: list[tuple[list[Prompt], list[str], list[str]]] = []

    def __call__(self, prompts: list[Prompt], texts: list[str], letters: list[str]) -> None:
        """One batch."""
        self.batches.append((prompts, texts, letters))

    def rows(self, every: int) -> list[dict[str, Any]]:
        """A row for each kind and each ``every`` iterations, ``step`` being the last of them."""
        rows = []
        for first in range(0, len(self.batches), every):
            some = self.batches[first : first + every]
            flat = [row for batch in some for row in zip(*batch, strict=True)]
            for kind in KINDS:
                own = [row for row in flat if row[0].meta["hard"] == kind]
                if own:
                    prompts, texts, letters = map(list, zip(*own, strict=True))
                    truth = map(response_class, texts)
                    rows.append(
                        {"step": first + len(some), "kind": kind,
                         **counts(self.world, prompts, texts),
                         "misread": sum(a != b for a, b in zip(truth, letters, strict=True))}
                    )  # fmt: skip
        return rows
