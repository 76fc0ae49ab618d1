"""What do nine planted bugs change in the curves of a run, and which examination shows them?

Writes the tables of the chapter on bugs, with their manifest, to ``book/results/bug-clinic``. All
runs go from the base model, for which a reward rises within a few iterations, towards the shipped
examiner; the stale reference is the SFT policy of the first published quickstart. A seed changes
prompts, samples and pretraining blocks, and is shared by the sound loop and the nine sick ones. The
examinations train nothing, and those that are exact are asked with the first seed only. What the
same code has measured before is read from ``runs/``.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from rlhf_lab import clinic
from rlhf_lab.browser_model import restored_policy
from rlhf_lab.config import PPOConfig
from rlhf_lab.encoding import encode_prompts
from rlhf_lab.evaluate import gold_reward
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import ScalarModel, load_policy, reward_function
from rlhf_lab.pipeline import PPO_START, PTX_START, web_blocks
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.provenance import manifest
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "book" / "results"
FOLDER = RESULTS / "bug-clinic"
SFT = RESULTS / "quickstart" / "models" / "sft"
SEEDS = (0, 1, 2, 3, 4)
SOUND = "sound"
BUGS: dict[str, Callable[[nn.Module], clinic.Bug]] = {
    SOUND: lambda _: contextlib.nullcontext(),
    "top-k sampler": lambda _: clinic.top_k_sampler(),
    "dropout": lambda _: clinic.dropout_in_rollout(),
    "late index": lambda _: clinic.late_index(),
    "whitened pads": lambda _: clinic.unmasked_whitening(),
    "stale reference": clinic.stale_reference,
    "KL sign": lambda _: clinic.flipped_kl(),
    "score's place": lambda _: clinic.misplaced_score(),
    "late value": lambda _: clinic.leaking_value(),
    "summed mix": lambda _: clinic.summed_ptx(),
}
"""By the names that the book gives them; each is given the stale reference."""
CURVES = (
    "objective/scores", "objective/kl", "response/length", "loss/policy", "loss/value",
    "value/explained_variance", "ptx/loss", "ptx/gradient_ratio", "policy/first_approxkl",
)  # fmt: skip
TABLES = ("examinations", "curves")


@dataclass(frozen=True)
class Measured:
    """How long the runs are, and how much of them is measured."""

    prompts: int = 48  # of each seed's own, asked in every iteration
    documents: int = 150  # of the web, for the pretraining mix
    block_length: int = 32
    examined_length: int = 12  # tokens of the answers with which a loop is examined
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            steps=8,
            batch_size=48,
            minibatches=1,
            micro_batch_size=12,
            max_response_length=32,
            ptx_ratio=1.0,
            beta=0.1,
            gamma=0.5,
            learning_rate=1e-3,
            warmup_steps=0,
            checkpoint_every=0,
        )
    )


@dataclass(frozen=True)
class Start:
    """What every run starts from."""

    policy: nn.Module  # the base model
    stale: nn.Module  # the SFT policy
    tokenizer: Any
    examiner: ScalarModel
    world: World
    blocks: Tensor


def run() -> None:
    """Measure what is missing, write the tables."""
    started, settings = time.time(), Measured()
    found = [_measured(name, seed, settings) for seed in SEEDS for name in BUGS]
    for table in TABLES:
        rows = pd.DataFrame(row for one in found for row in one[table])
        atomic_write(FOLDER / f"{table}.csv", rows.to_csv(index=False, float_format="%.6g"))
        print(rows.groupby("bug", sort=False).mean(numeric_only=True).round(3).to_string())
    about = manifest("python -m benchmarks bug_clinic", settings, SEEDS, started)
    about["sft_sha256"] = file_hash(SFT / "difference.safetensors")
    about["seconds_of_all_runs"] = round(sum(one["seconds"] for one in found), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")


def _measured(name: str, seed: int, settings: Measured) -> dict[str, Any]:
    """The rows of one loop and seed, by table."""
    code = [code_fingerprint("rlhf_lab.clinic", "rlhf_lab.evaluate"), file_hash(Path(__file__))]
    key = fingerprint([*code, dataclasses.asdict(settings), file_hash(SFT / "index.json")])
    order = list(BUGS).index(name)
    path = ROOT / "runs" / f"published-bug-clinic-{key}" / f"{order}-seed-{seed}.json"
    if not path.is_file():
        atomic_write(path, json.dumps(measure(start(settings), name, seed, settings)))
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@functools.cache
def start(settings: Measured) -> Start:
    policy, tokenizer = load_policy("tiny")
    stale, _ = restored_policy(SFT, "tiny")
    examiner, world = ScalarModel.load("tiny-examiner"), World(0)
    length = settings.block_length
    blocks = web_blocks(world, tokenizer, settings.documents, length, start=PTX_START)
    return Start(policy, stale, tokenizer, examiner, world, blocks)


def measure(given: Start, name: str, seed: int, settings: Measured) -> dict[str, Any]:
    """Examine a loop before it trains anything, and let it train."""
    before = time.process_time()
    torch.manual_seed(seed)  # dropout draws from torch's own generator
    prompts = given.world.prompts("train", settings.prompts, PPO_START + seed * 20_000)
    rows = encode_prompts(given.tokenizer, [p.text for p in prompts])
    scored = reward_function(given.examiner)

    def make(**changes: Any) -> PPOTrainer:
        return PPOTrainer(
            copy.deepcopy(given.policy),
            given.policy,
            scored,
            given.examiner.copy(),
            given.tokenizer,
            rows,
            given.blocks,
            dataclasses.replace(settings.ppo, seed=seed, **changes),
            quiet=True,
        )

    short = functools.partial(make, max_response_length=settings.examined_length)
    with BUGS[name](given.stale):
        examined = [
            {"bug": name, "examination": examination.__name__, "seed": seed,
             "number": examination(short), "limit": limit}
            for examination, limit in clinic.LIMITS.items()
            if seed == SEEDS[0] or examination in clinic.NOISY
        ]  # fmt: skip
        golds: list[float] = []
        gold = gold_reward(given.world, given.tokenizer, prompts)

        def watched(*answer: Tensor) -> Tensor:
            golds.append(float(gold(*answer).mean()))
            return scored(*answer)

        trainer = make()
        trainer.reward = watched
        curves = [
            {"bug": name, "step": row["step"], "seed": seed, "gold": found}
            | {key: row[key] for key in CURVES}
            for row, found in zip(trainer.train(), golds, strict=True)
        ]
    seconds = round(time.process_time() - before, 1)
    return {"examinations": examined, "curves": curves, "seconds": seconds}
