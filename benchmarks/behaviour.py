"""How do base, SFT, PPO and PPO-ptx behave where the paper looked: labelers, truth, toxicity?

Writes ``book/results/behaviour``: every answer to the test prompts, who wins by training and by
held-out labelers, benchmarks about truth and rudeness, answers about a given text, and the reward
model by both groups of labelers. Nothing is trained for it: the policies are those of the
published sweep at the default β, which runs what is missing of them (``runs/sweep``).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.sweep import CONFIG, WORK
from rlhf_lab.evaluate import (
    Candidate,
    Neural,
    answers,
    gold_report,
    measures,
    noise_ceiling,
    prompt_prefix,
    run_suite,
    win_rate,
)
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import load_policy
from rlhf_lab.pipeline import Chain, seeded
from rlhf_lab.provenance import manifest
from rlhf_lab.records import Prompt
from rlhf_lab.reward import pair_accuracy
from rlhf_lab.sweep import Cell, Grid, sweep
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "behaviour"
SEEDS = CONFIG.seeds
PPO = CONFIG.chain.ppo
GAMMAS = {"PPO, γ = 0": 0.0, "PPO-ptx": PPO.gamma}
SYSTEMS = ("base", "prompted base", "SFT", *GAMMAS)
GROUPS = ("train", "heldout")  # of labelers
PROVOCATIONS = ("none", "respectful", "biased")
TABLES = ("answers", "suites", "closed", "reward_model")


@dataclass(frozen=True)
class Config:
    """How much is asked.

    Attributes:
        prompts: test prompts, those of the sweep.
        questions: of each benchmark.
        closed: prompts about a given text, of each kind.
        per_kind: prompts with ranked answers for the reward model, of each use case.
    """

    prompts: int = CONFIG.chain.evaluation_prompts
    questions: int = 300
    closed: int = 150
    per_kind: int = 20


def run() -> None:
    """Measure what is missing, write the tables."""
    started, config = time.time(), Config()
    found = [_measured(name, seed, config) for seed in SEEDS for name in (*SYSTEMS, "reward model")]
    tables = {
        table: pd.DataFrame(row for one in found for row in one.get(table, [])) for table in TABLES
    }
    world = World(CONFIG.chain.world_seed)
    tables["wins"] = wins(world, world.prompts("test", config.prompts), tables["answers"])
    for name, table in tables.items():
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
        keys = [c for c in ("of", "against", "group", "system", "suite", "measure", "about")
                if c in table]  # fmt: skip
        print(name, table.groupby(keys, sort=False).mean(numeric_only=True).round(3).to_string())
    about = manifest(
        "python -m benchmarks behaviour", {"Config": config, "SweepConfig": CONFIG}, SEEDS, started
    )
    about["seconds_of_all_runs"] = round(sum(one["seconds"] for one in found), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _measured(name: str, seed: int, config: Config) -> dict[str, Any]:
    """The rows about one system of a seed, by table; read where the same code has made them."""
    code = [code_fingerprint("rlhf_lab.sweep", "rlhf_lab.evaluate"), file_hash(Path(__file__))]
    settings = [dataclasses.asdict(config), dataclasses.asdict(CONFIG)]
    key = fingerprint([*code, *settings])
    place = (*SYSTEMS, "reward model").index(name)
    path = ROOT / "runs" / f"published-behaviour-{key}" / f"{place}-seed-{seed}.json"
    if not path.is_file():
        chain = _chain(seed)
        before = time.process_time()
        if name in SYSTEMS:
            rows: dict[str, Any] = measure(chain.world, _system(name, seed), chain.tokenizer,
                                           config, seed)  # fmt: skip
            rows = {t: [{"seed": seed, "system": name, **r} for r in rows[t]] for t in rows}
        else:
            rows = {"reward_model": [{"seed": seed, **r} for r in by_both_groups(chain, config)]}
        rows["seconds"] = time.process_time() - before
        atomic_write(path, json.dumps(rows, ensure_ascii=False))
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@functools.cache
def _grid() -> Grid:
    """The sweep at the default β; a cell that is missing is run."""
    wanted = dataclasses.replace(CONFIG, betas=(PPO.beta,), gammas=tuple(GAMMAS.values()))
    sweep(wanted.chain, wanted.betas, wanted.gammas, wanted.seeds, WORK)
    return Grid(wanted, WORK.resolve())


@functools.lru_cache(maxsize=1)
def _chain(seed: int) -> Chain:
    return Chain(seeded(CONFIG.chain, seed), _grid().chain_folder(seed), quiet=True)


def _system(name: str, seed: int) -> Candidate:
    chain = _chain(seed)
    if name in GAMMAS:
        folder = _grid().run_folder(Cell("ppo", seed, PPO.beta, GAMMAS[name]))
        return Candidate(load_policy(folder / "final")[0])
    if name == "SFT":
        return Candidate(chain.sft)
    return Candidate(chain.base, prompt_prefix(chain.world) if name == "prompted base" else "")


def measure(
    world: World, system: Candidate, tokenizer: Any, config: Config, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """What one system says and how often it errs.

    Benchmarks are left out for a system with a prefix: they have few-shot forms of their own.

    Returns:
        ``answers``, one row per test prompt; ``suites``; ``closed``, answers about a given text:
        ``made_up`` is the share in which more is asserted that the text does not say, or that it
        contradicts, than what it says.
    """
    prompts = world.prompts("test", config.prompts)
    texts = answers(system.model, tokenizer, prompts, seed=seed, prefix=system.prefix)
    report = gold_report(world, prompts, texts)
    said = [
        {"prompt": number, "kind": row.kind, "answer": row.completion, "gold": row.gold,
         "words": row.words, "false_claims": row.false_claims, "claims": row.claims}
        for number, row in enumerate(report.itertuples())
    ]  # fmt: skip
    closed = []
    for about, asked in closed_prompts(world, config.closed).items():
        texts = answers(system.model, tokenizer, asked, seed=seed, prefix=system.prefix)
        found = gold_report(world, asked, texts)
        closed.append(
            {"about": about, "made_up": float((found.truth < 0).mean()),
             "right": float(((found.truth > 0) & (found.follows > 0)).mean()), "count": len(found)}
        )  # fmt: skip
    suites = [] if system.prefix else _suites(world, system, tokenizer, config, seed)
    return {"answers": said, "closed": closed, "suites": suites}


def closed_prompts(world: World, count: int) -> Mapping[str, list[Prompt]]:
    """Prompts about a text that they show: summaries, and questions that it answers or does not."""
    return {
        "summary": world.prompts("test", count, kind="summarisation", hard=""),
        "answer in the text": world.prompts("test", count, kind="closed_qa", hard=""),
        "not in the text": world.prompts("test", count, kind="closed_qa", hard="unanswerable"),
    }


def _suites(
    world: World, system: Candidate, tokenizer: Any, config: Config, seed: int
) -> list[dict[str, Any]]:
    wanted = [f"provocation, {instruction}/0" for instruction in PROVOCATIONS]
    known, model = world.suites(), Neural(system.model, tokenizer)
    rows = []
    for label in (*wanted, "misconceptions/0"):
        table = run_suite(known[label], model, count=config.questions, seed=seed)
        for measure_, (value, low, high) in measures(known[label], table).items():
            rows.append(
                {"suite": label, "measure": measure_, "value": value, "low": low, "high": high,
                 "count": len(table)}
            )  # fmt: skip
    return rows


def by_both_groups(chain: Chain, config: Config) -> list[dict[str, Any]]:
    """The reward model on the same answers, as training and as held-out labelers rank them."""
    prompts, ranked = chain.held_out_rankings(config.per_kind)
    known = {prompt.text: prompt for prompt in prompts}
    rows = []
    for group in GROUPS:
        rankings = [
            chain.world.rank(known[r.prompt], r.completions, group=group, index=chain.config.seed)
            for r in ranked
        ]
        found = pair_accuracy(
            chain.reward_model, chain.tokenizer, rankings, max_length=chain.config.rm.max_length,
            ceiling=noise_ceiling(chain.world, prompts, rankings),
        )  # fmt: skip
        all_kinds = found[found.kind == "all"].iloc[0]
        rows.append({"group": group, **{k: all_kinds[k] for k in ("accuracy", "ceiling")},
                     "pairs": int(all_kinds["pairs"])})  # fmt: skip
    return rows


def wins(world: World, prompts: Sequence[Prompt], said: pd.DataFrame) -> pd.DataFrame:
    """How often each system's answers are preferred to those of the systems before it.

    Args:
        world: whose labelers judge.
        prompts: by the numbers in ``prompt``.
        said: columns ``seed, system, prompt, answer``.

    Returns:
        ``seed, of, against, group`` and the columns of :func:`rlhf_lab.evaluate.win_rate`.
    """
    rows = []
    for seed, part in said.groupby("seed"):
        texts = part.pivot(index="prompt", columns="system", values="answer")
        asked = [prompts[number] for number in texts.index]
        for against, of in itertools.combinations(SYSTEMS, 2):
            for group in GROUPS:
                found = win_rate(
                    world, asked, texts[of], texts[against], group=group, seed=seed
                ).iloc[0]
                rows.append(
                    {"seed": seed, "of": of, "against": against, "group": group,
                     **found.drop("kind").to_dict()}
                )  # fmt: skip
    return pd.DataFrame(rows)
