"""Where does the chain still fail, which data cause it, and what does each remedy cost?

Writes ``book/results/failures``: what base, SFT, PPO and PPO-ptx of the published sweep do with
false premises, plain questions and several constraints; then what more demonstrations of one kind
change, and the choice among several answers, by labelers of one taste or another. Needs the sweep's
policies at the default β (``runs/sweep``) and runs what is missing of them. What the same code has
measured before is read from ``runs/``. The arms of a seed take three minutes of one core.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from benchmarks.failure_arms import (
    DOUBTFUL,
    FURTHER,
    HEDGING,
    SHOWN_MORE,
    TABLES,
    TASTES,
    Config,
    Rows,
    asked,
    best,
    measure,
    shown_more,
    taught,
)
from benchmarks.sweep import CONFIG, GAMMAS, chain_of, policy_of
from rlhf_lab.evaluate import answers
from rlhf_lab.files import atomic_write
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import ScalarModel
from rlhf_lab.pipeline import Chain
from rlhf_lab.provenance import manifest
from rlhf_lab.records import Prompt
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "failures"
RUNS = ROOT / "runs"
SEEDS = CONFIG.seeds
SYSTEMS = ("base", "SFT", *GAMMAS)


def run() -> None:
    """Measure what is missing, write the tables."""
    started, config = time.time(), Config()
    found: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
    seconds = 0.0
    for seed in SEEDS:
        for part in PARTS:
            measured = _measured(part, seed, config)
            seconds += measured["seconds"]
            for arm, tables in measured["arms"].items():
                for name in TABLES:
                    keep = name != "answers" or seed == SEEDS[0]
                    found[name] += [{"seed": seed, "arm": arm, **r} for r in tables[name] if keep]
    for name, rows in found.items():
        data = pd.DataFrame(rows)
        atomic_write(FOLDER / f"{name}.csv", data.to_csv(index=False, float_format="%.4g"))
        keys = [
            c for c in ("arm", "premise", "reply", "asked", "number", "constraint") if c in data
        ]
        print(name, data.groupby(keys, sort=False).mean(numeric_only=True).round(3).to_string())
    about = manifest(
        "python -m benchmarks failures", {"Config": config, "SweepConfig": CONFIG}, SEEDS, started
    )
    about["seconds_of_all_runs"] = round(seconds, 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _measured(part: str, seed: int, config: Config) -> dict[str, Any]:
    """The tables of a part's ``arms`` and their ``seconds``; read where this code has made them."""
    path = RUNS / f"published-failures-{_key(config)}" / f"{list(PARTS).index(part)}-{seed}.json"
    if not path.is_file():
        before = time.process_time()
        arms = PARTS[part](part, chain_of(seed), config)
        seconds = time.process_time() - before
        atomic_write(path, json.dumps({"arms": arms, "seconds": seconds}, ensure_ascii=False))
        print(f"{part}, seed {seed}: {seconds:.0f} s", flush=True)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _key(config: Config) -> str:
    code = code_fingerprint("rlhf_lab.sweep", "rlhf_lab.evaluate", "benchmarks.failure_arms")
    return fingerprint([code, dataclasses.asdict(config), dataclasses.asdict(CONFIG)])


def _systems(_: str, chain: Chain, config: Config) -> dict[str, Rows]:
    return {name: _asked(chain, policy_of(name, chain), config) for name in SYSTEMS}


def _shown_more(arm: str, chain: Chain, config: Config) -> dict[str, Rows]:
    return {arm: _asked(chain, shown_more(chain, arm, config), config, FURTHER)}


def _best(part: str, chain: Chain, config: Config) -> dict[str, Rows]:
    """The chain's own reward model chooses."""
    return _chosen(chain.sft, chain, config, {part: chain.reward_model})


def _tastes(_: str, chain: Chain, config: Config) -> dict[str, Rows]:
    """Reward models of several tastes choose among answers of a policy that hedges."""
    judges: dict[str, ScalarModel | None] = {HEDGING: None}
    judges |= {f"best of it, labelers {t}": taught(chain, t, config) for t in TASTES}
    return _chosen(shown_more(chain, HEDGING, config), chain, config, judges, DOUBTFUL)


def _chosen(
    policy: nn.Module,
    chain: Chain,
    config: Config,
    judges: Mapping[str, ScalarModel | None],
    kinds: Sequence[str] = (),
) -> dict[str, Rows]:
    questions = _questions(chain.world, config, kinds)
    pickers = best(policy, chain, questions, judges, config.best_of)
    return {
        arm: measure(chain.world, questions, pick, config.shown) for arm, pick in pickers.items()
    }


PARTS = {"systems": _systems, f"best of {Config().best_of}": _best, "tastes": _tastes}
PARTS |= dict.fromkeys(SHOWN_MORE, _shown_more)


def _questions(world: World, config: Config, kinds: Sequence[str] = ()) -> dict[str, list[Prompt]]:
    """Prompts of some kinds, or of all."""
    return {kind: own for kind, own in asked(world, config).items() if not kinds or kind in kinds}


def _asked(chain: Chain, policy: nn.Module, config: Config, kinds: Sequence[str] = ()) -> Rows:
    def write(prompts: Sequence[Prompt]) -> list[str]:
        return answers(policy, chain.tokenizer, prompts, seed=chain.config.seed)

    return measure(chain.world, _questions(chain.world, config, kinds), write, config.shown)
