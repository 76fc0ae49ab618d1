"""What does size add, and is a small aligned model preferred to a larger one that is not?

Writes ``book/results/size``. The smaller presets, read by the same reward model as in the paper
(§3.5: one reward model for policies of all sizes), go through the chain of the published sweep at
its default β and γ; the answers of ``tiny`` are those of ``behaviour``. Labelers compare all of
them with the answers of the largest SFT policy, and each PPO-ptx policy with the largest base
model, with and without a prompt.

Written before the first run: size helps if PPO-ptx of ``tiny`` wins more often over that SFT policy
than PPO-ptx of ``micro``; small beats large if PPO-ptx of ``nano``, of a thirteenth of the weights,
wins over the base model of ``tiny`` in more than half of the comparisons, and by a second rule over
the prompted one; each with its whole interval over seeds, by training labelers.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import behaviour
from benchmarks.sweep import CONFIG
from rlhf_lab.config import ChainConfig
from rlhf_lab.evaluate import (
    Candidate,
    Neural,
    answers,
    gold_report,
    known_facts,
    prompt_prefix,
    win_rate,
)
from rlhf_lab.files import atomic_write
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import ASSETS, EXAMINERS, load_policy
from rlhf_lab.pipeline import Chain, seeded
from rlhf_lab.provenance import manifest
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "size"
LARGEST = "tiny"
SMALLER = ("nano", "micro")
SEEDS = CONFIG.seeds
BASE, PROMPTED, SFT, PTX = SYSTEMS = ("base", "prompted base", "SFT", "PPO-ptx")
GROUPS = behaviour.GROUPS
FACTS = 500  # that every base model is asked to complete


def run() -> None:
    """Run the chains that are missing, compare all answers, write the tables."""
    started, world = time.time(), World(CONFIG.chain.world_seed)
    prompts = world.prompts("test", CONFIG.chain.evaluation_prompts)
    made = {(preset, seed): _made(preset, seed) for preset in SMALLER for seed in SEEDS}
    said = pd.concat([*(_said(*key, one["said"]) for key, one in made.items()), _largest()])
    gold = said.groupby(["preset", "seed", "system"], sort=False)[["gold", "words"]].mean()
    tables = {
        "sizes": pd.DataFrame(sizes(preset) for preset in (*SMALLER, LARGEST)),
        "answers": said[said.preset != LARGEST],  # the others stand in behaviour/answers.csv
        "gold": gold.reset_index(),
        "wins": wins(world, prompts, said),
    }
    for name, table in tables.items():
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
    keys = ["group", "preset", "system", "against"]
    print(tables["wins"].groupby(keys, sort=False).win_rate.agg(["mean", "std"]).round(3))
    chains = {preset: chain_config(preset) for preset in SMALLER}
    about = manifest("python -m benchmarks size", chains, SEEDS, started)
    about["seconds_of_all_runs"] = round(sum(one["seconds"] for one in made.values()), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def chain_config(preset: str) -> ChainConfig:
    """The chain of the sweep, from another base model, by the largest model's examiner."""
    return dataclasses.replace(CONFIG.chain, model=preset, reward_start=EXAMINERS[LARGEST])


def sizes(preset: str) -> dict[str, Any]:
    """Weights of a preset, its loss on the web after pretraining, the share of facts it knows."""
    log = json.loads((ASSETS / preset / "training_log.json").read_text(encoding="utf-8"))
    losses = [row["held_out_loss"] for row in log if "held_out_loss" in row]
    model, tokenizer = load_policy(preset)
    blocks = sum(p.numel() for p in model.transformer.h.parameters())
    every = sum(p.numel() for p in model.parameters())
    facts = known_facts(Neural(model, tokenizer), World(CONFIG.chain.world_seed), count=FACTS)
    known = facts.set_index("relation").accuracy["all"]
    return {
        "preset": preset, "parameters": every, "in_blocks": blocks, "loss": losses[-1],
        "known": known,
    }  # fmt: skip


def _said(preset: str, seed: int, rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame([{"preset": preset, "seed": seed, **row} for row in rows])


def _made(preset: str, seed: int) -> dict[str, Any]:
    """What the systems of one size have ``said`` to the test prompts, and the ``seconds`` of the
    chain that made them; read where this code has made it.
    """
    config = seeded(chain_config(preset), seed)
    code = code_fingerprint("rlhf_lab.pipeline", "rlhf_lab.evaluate")
    key = fingerprint([code, dataclasses.asdict(config)])
    folder = ROOT / "runs" / f"size-{preset}-{seed}-{key}"
    path = folder / "said.json"
    if not path.is_file():
        before = time.process_time()
        said = answers_of(Chain(config, folder, quiet=True), seed)
        seconds = time.process_time() - before
        atomic_write(path, json.dumps({"said": said, "seconds": seconds}, ensure_ascii=False))
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def answers_of(chain: Chain, seed: int) -> list[dict[str, Any]]:
    """Every system's answers to the test prompts: ``system, prompt, answer, gold, words``."""
    prefix = prompt_prefix(chain.world)
    systems: Mapping[str, Callable[[], Candidate]] = {
        BASE: lambda: Candidate(chain.base),
        PROMPTED: lambda: Candidate(chain.base, prefix),
        SFT: lambda: Candidate(chain.sft),
        PTX: lambda: Candidate(chain.ppo("ppo-ptx")[0]),
    }
    rows = []
    for name, make in systems.items():
        system = make()
        texts = answers(
            system.model, chain.tokenizer, chain.test_prompts, seed=seed, prefix=system.prefix
        )
        report = gold_report(chain.world, chain.test_prompts, texts)
        rows += [
            {"system": name, "prompt": number, "answer": row.completion, "gold": float(row.gold),
             "words": int(row.words)}
            for number, row in enumerate(report.itertuples())
        ]  # fmt: skip
    return rows


def _largest() -> pd.DataFrame:
    """The answers of the largest preset, which are published already."""
    said = pd.read_csv(behaviour.FOLDER / "answers.csv", keep_default_na=False)
    said = said[said.system.isin(SYSTEMS) & said.seed.isin(SEEDS)]
    names = ["seed", "system", "prompt", "answer", "gold", "words"]
    return said[names].assign(preset=LARGEST)


def wins(world: World, prompts: list[Any], said: pd.DataFrame) -> pd.DataFrame:
    """Win rates over the largest SFT policy, base model, and prompted base model.

    Args:
        said: columns ``preset, seed, system, prompt, answer``.

    Returns:
        ``preset, system, against`` (a system of the largest size), ``seed, group`` and the columns
        of :func:`rlhf_lab.evaluate.win_rate`. Against the base model stands PPO-ptx only.
    """
    rows = []
    texts = {
        key: part.sort_values("prompt").answer.to_list()
        for key, part in said.groupby(["preset", "seed", "system"])
    }
    for (preset, seed, system), own in texts.items():
        others = [SFT] if system != PTX else [SFT, BASE, PROMPTED]
        for against in others:
            if (preset, system) == (LARGEST, against):
                continue
            other = texts[LARGEST, seed, against]
            asked = prompts[: len(own)]
            for group in GROUPS:
                found = win_rate(world, asked, own, other, group=group, seed=seed).iloc[0]
                rows.append(
                    {"preset": preset, "system": system, "against": against, "seed": seed,
                     "group": group, **found.drop("kind").to_dict()}
                )  # fmt: skip
    return pd.DataFrame(rows)
