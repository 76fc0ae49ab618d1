"""DPO, RLOO, GRPO and AI feedback beside PPO: what do they make of the same rankings?

Writes ``book/results/after-rlhf``. For every seed all arms start from the SFT policy of one chain,
that of the published sweep. PPO without a mix, RLOO and GRPO follow the chain's reward model, with
as many answers and optimiser steps; RLOO and GRPO draw four answers to each of a quarter of the
prompts. DPO reads the rankings that the reward model was trained on, as often, and samples nothing.
*AI feedback* is DPO on the same answers in the order of a judge: the shipped examiner, whom no
labeler has taught, ``tiny`` with a principle and two solved examples, or the SFT policy by what it
would say itself. Judges are also compared with labelers on rankings that nothing was trained on.

Rules for the ledger, written before the runs that are published: gold of DPO at β = 0.1 is above
that of PPO at β = 0.1; RLOO's above PPO's; the mean log(π/π_ref) of the better answers in the last
tenth of DPO's steps is below 0; gold after three passes over the rankings is below that after one;
the win rate over SFT by held-out labelers is, with the examiner's labels, within 5 points of that
with people's. The step size of DPO was chosen before, on the first seed and prompts of the valid
split: of 0.5, 1, 2 and 5 times 10⁻⁴ the last was worse by gold, the others alike, and the middle of
these was taken. That three passes were worse than one there was seen then. Three seeds of all arms
were run and looked at first; two more of the arms that the page compares came after (`CLAIMED`).
RLOO and GRPO run at PPO's step size, which was not chosen for them.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from benchmarks.sweep import CONFIG, WORK
from rlhf_lab.config import PPOConfig
from rlhf_lab.encoding import encode_prompts
from rlhf_lab.evaluate import Neural, noise_ceiling
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.lineage.ai_feedback import (
    Judge,
    PromptedJudge,
    likelihood_judge,
    pair_agreement,
    ranked_by,
    scalar_judge,
)
from rlhf_lab.lineage.critic_free import GRPO, METHODS, RLOO, train_critic_free
from rlhf_lab.lineage.dpo import DPOConfig, train_dpo
from rlhf_lab.models import ASSETS, EXAMINERS, ScalarModel, reward_function
from rlhf_lab.pipeline import Chain, seeded
from rlhf_lab.pool import run_tasks
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.provenance import manifest
from rlhf_lab.records import Ranking
from rlhf_lab.runtime import interruptible
from rlhf_lab.sweep import Grid
from rlhf_lab.world import World
from rlhf_lab.yardstick import Yardstick

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "after-rlhf"
SEEDS = (0, 1, 2, 3, 4)
SFT, PPO, DPO = "SFT", "PPO", "DPO"
PEOPLE, EXAMINER, PROMPTED, OWN = "people", "examiner", "prompted", "own likelihood"
TABLES = ("runs", "curves", "answers")
Task = tuple[int, int]
"""A seed and the place of an arm; −1 for the comparison of judges."""


@dataclass(frozen=True)
class Arm:
    """One policy of a seed."""

    method: str
    beta: float = 0.0
    labels: str = PEOPLE
    epochs: int = 1


BETAS = {
    PPO: (0.02, 0.1, 0.3),
    RLOO: (0.02, 0.1, 0.3),
    GRPO: (0.04, 0.2, 1.0),
    DPO: (0.03, 0.1, 0.3),
}
ARMS = (
    Arm(SFT),
    *(Arm(method, beta) for method, betas in BETAS.items() for beta in betas),
    Arm(DPO, 0.1, epochs=3),
    Arm(DPO, 0.1, EXAMINER),
    Arm(DPO, 0.1, PROMPTED),
    Arm(DPO, 0.1, OWN),
)
CLAIMED = (
    Arm(SFT),
    Arm(PPO, 0.1),
    Arm(RLOO, 0.1),
    Arm(GRPO, 0.2),
    *(a for a in ARMS if a.labels != PEOPLE or a.epochs > 1),
    Arm(DPO, 0.1),
)
"""Arms that are run for all seeds; the others for the first three."""


@dataclass(frozen=True)
class Measured:
    """What is run for each seed.

    Attributes:
        ppo: of PPO, RLOO and GRPO; group: answers to a prompt of the last two.
        dpo: of one pass.
        judged: held-out prompts of each use case whose rankings judges are compared on.
        solved: examples that the prompted judge is shown.
        kept: test prompts whose answers are published for the first seed.
    """

    ppo: PPOConfig = field(
        default_factory=lambda: dataclasses.replace(CONFIG.chain.ppo, gamma=0.0, checkpoint_every=0)
    )
    group: int = 4
    dpo: DPOConfig = field(default_factory=DPOConfig)
    judged: int = 20
    solved: int = 2
    kept: int = 6


def run() -> None:
    """Do the runs that are missing, write the tables."""
    started, settings = time.time(), Measured()
    tasks = [
        (seed, place)
        for seed in SEEDS
        for place in range(-1, len(ARMS))
        if place < 0 or seed in CONFIG.seeds[:3] or ARMS[place] in CLAIMED
    ]
    missing = [task for task in tasks if not _path(task, settings).is_file()]
    with interruptible() as interrupt:
        work = functools.partial(_do, settings=settings)
        needs = functools.partial(_chain_of, missing=missing)
        for outcome in run_tasks(work, missing, len(os.sched_getaffinity(0)), interrupt, needs):
            print(outcome.task, outcome.error or "done", flush=True)
    found = {task: _read(_path(task, settings)) for task in tasks}
    judges: list[dict[str, Any]] = []
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for (seed, place), made in found.items():
        if place < 0:
            judges += [{"seed": seed, **row} for row in made["judges"]]
            continue
        about = {"seed": seed, **dataclasses.asdict(ARMS[place])}
        for name in TABLES:
            tables[name] += [about | row for row in made[name]]
    for name, rows in {**tables, "judges": judges}.items():
        table = pd.DataFrame(rows)
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.5g"))
    shown = pd.DataFrame(tables["runs"]).groupby(["method", "beta", "labels", "epochs"], sort=False)
    print(shown[["gold", "rm_score", "kl", "loss", "seconds"]].mean().round(3).to_string())
    about = manifest("python -m benchmarks after_rlhf", settings, SEEDS, started)
    about["examiner_sha256"] = file_hash(ASSETS / EXAMINERS["tiny"] / "model.safetensors")
    about["seconds_of_all_runs"] = round(sum(row["seconds"] for row in tables["runs"]), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _chain_of(task: Task, missing: Sequence[Task]) -> Task | None:
    """Runs of a seed need its chain, which the comparison of judges makes."""
    seed, place = task
    return (seed, -1) if place >= 0 and (seed, -1) in missing else None


@functools.cache
def _work(settings: Measured) -> Path:
    """Where is kept what this code has measured."""
    code = code_fingerprint(
        "rlhf_lab.lineage.dpo", "rlhf_lab.lineage.critic_free", "rlhf_lab.lineage.ai_feedback",
        "rlhf_lab.ppo", "rlhf_lab.yardstick",
    )  # fmt: skip
    key = fingerprint([code, dataclasses.asdict(settings), dataclasses.asdict(CONFIG.chain)])
    return ROOT / "runs" / f"published-after-rlhf-{key}"


def _path(task: Task, settings: Measured) -> Path:
    seed, place = task
    name = "judges" if place < 0 else "-".join(map(str, dataclasses.astuple(ARMS[place])))
    return _work(settings) / f"{seed}-{name}.json"


def _do(task: Task, *, settings: Measured) -> None:
    seed, place = task
    started = time.process_time()
    chain = chain_of(seed)
    made: dict[str, Any] = (
        {"judges": judged(chain, settings)} if place < 0 else measured(chain, ARMS[place], settings)
    )
    made["all_seconds"] = round(time.process_time() - started, 1)
    atomic_write(_path(task, settings), json.dumps(made, ensure_ascii=False))


def _read(path: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return made


@functools.lru_cache(maxsize=1)
def chain_of(seed: int) -> Chain:
    """The chain of the sweep for a seed."""
    folder = Grid(CONFIG, WORK.resolve()).chain_folder(seed)
    return Chain(seeded(CONFIG.chain, seed), folder, quiet=True)


# --- judges ---------------------------------------------------------------------------------------


def judges_of(chain: Chain, settings: Measured) -> dict[str, Judge]:
    """Every judge of a seed by its name."""
    examiner = ScalarModel.load(ASSETS / EXAMINERS[chain.config.model])
    asked = Neural(chain.base, chain.tokenizer)
    return {
        "prompted, no example": PromptedJudge(asked),
        PROMPTED: PromptedJudge(asked, solved(chain.world, chain.config.seed, settings.solved)),
        OWN: likelihood_judge(chain.sft, chain.tokenizer),
        EXAMINER: scalar_judge(examiner, chain.tokenizer),
        "reward model": scalar_judge(chain.reward_model, chain.tokenizer),
    }


def solved(world: World, seed: int, count: int) -> list[tuple[str, str, bool]]:
    """Wrong and right answers to short training prompts, in an order of the seed's."""
    prompts = world.prompts("train", count, 90_000 + 1000 * seed, kind="open_qa")
    found = [
        (p.text, world.answer(p, 0, "right" if i % 2 else "wrong"), bool(i % 2))
        for i, p in enumerate(prompts)
    ]
    random.Random(seed).shuffle(found)
    return found


def judged(chain: Chain, settings: Measured) -> list[dict[str, Any]]:
    """For each judge the share of held-out pairs ordered as a training labeler did."""
    prompts, people = chain.held_out_rankings(settings.judged)
    ceiling = noise_ceiling(chain.world, prompts, people)["all"]
    rows = []
    for name, judge in judges_of(chain, settings).items():
        started = time.process_time()
        agreement = pair_agreement(people, ranked_by(judge, people, name))
        seconds = time.process_time() - started
        rows.append({
            "judge": name, "agreement": agreement, "ceiling": ceiling,
            "answers": sum(len(r.completions) for r in people), "seconds": seconds,
        })  # fmt: skip
    return rows


def labelled(chain: Chain, labels: str, settings: Measured) -> list[Ranking]:
    """The rankings of a chain, by people or in the order of a judge."""
    if labels == PEOPLE:
        return chain.rankings
    return ranked_by(judges_of(chain, settings)[labels], chain.rankings, labels)


# --- policies -------------------------------------------------------------------------------------


def measured(chain: Chain, arm: Arm, settings: Measured) -> dict[str, Any]:
    """The tables of one arm: its row, how training went, and answers of the first seed."""
    rankings = labelled(chain, arm.labels, settings) if arm.method == DPO else []
    started = time.process_time()
    policy, curves = trained(chain, arm, rankings, settings)
    seconds = time.process_time() - started
    yardstick = Yardstick(
        chain.world, chain.tokenizer, chain.sft, chain.reward_model, chain.test_prompts,
        max_new_tokens=settings.ppo.max_response_length, seed=chain.config.seed,
    )  # fmt: skip
    row, kept = yardstick.measure(policy, settings.kept if chain.config.seed == SEEDS[0] else 0)
    drawn = settings.ppo.steps * settings.ppo.batch_size if arm.method in (PPO, *METHODS) else 0
    return {
        "runs": [{"seconds": round(seconds, 1), "drawn": drawn, **row}],
        "curves": curves,
        "answers": kept,
    }


def trained(
    chain: Chain, arm: Arm, rankings: list[Ranking], settings: Measured
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """The policy of an arm, and rows of its training."""
    policy, tokenizer, seed = copy.deepcopy(chain.sft), chain.tokenizer, chain.config.seed
    if arm.method == SFT:
        return policy, []
    if arm.method == DPO:
        config = dataclasses.replace(settings.dpo, beta=arm.beta, epochs=arm.epochs, seed=seed)
        rows = train_dpo(policy, chain.sft, tokenizer, rankings, config, quiet=True)
        names = ("loss", "accuracy", "first", "better", "worse")
        return policy.eval(), [
            {"step": i, **{name: row[name] for name in names}} for i, row in enumerate(rows, 1)
        ]
    config_rl = dataclasses.replace(settings.ppo, beta=arm.beta, seed=seed)
    prompts = encode_prompts(tokenizer, [p.text for p in chain.ppo_prompts])
    reward = reward_function(chain.reward_model)
    if arm.method == PPO:
        value = chain.reward_model.copy()
        trainer = PPOTrainer(
            policy, chain.sft, reward, value, tokenizer, prompts, None, config_rl, quiet=True
        )
        rows, average = trainer.train(), trainer.averaged_policy()
    else:
        average, rows = train_critic_free(
            policy, chain.sft, reward, tokenizer, prompts, config_rl,
            method=arm.method, group_size=settings.group, quiet=True,
        )  # fmt: skip
    return average, [
        {"step": i, "score": row["objective/scores"], "kl": row["objective/kl"]}
        for i, row in enumerate(rows, 1)
    ]
