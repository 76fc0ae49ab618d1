"""What does a policy say without a KL penalty, with a fixed β, and under a controller of β?

Writes the tables of the chapter on β, with their manifest, to ``book/results/kl-penalty``. All runs
share the SFT policy of the first published quickstart, the shipped examiner and a step size twice
the default, at which thirty iterations are enough to go astray; a seed changes prompts and
samples. Along the unpenalised run of the first seed, four estimates of the KL are compared with the
exact one. What the same code has measured before is read from ``runs/``.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from rlhf_lab.browser_model import restored_policy
from rlhf_lab.config import PPOConfig
from rlhf_lab.encoding import encode_prompts
from rlhf_lab.evaluate import answers, exact_kl, rm_scores
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import PolicyLogits, ScalarModel, reward_function
from rlhf_lab.objectives import kl_estimate
from rlhf_lab.pipeline import PPO_START
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.provenance import manifest
from rlhf_lab.records import Prompt
from rlhf_lab.rollout import Rollout, collect
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "book" / "results"
FOLDER = RESULTS / "kl-penalty"
SFT = RESULTS / "quickstart" / "models" / "sft"
SEEDS = (0, 1, 2, 3, 4)
FREE, FIXED, CONTROLLED = "β = 0", "β = 0.3", "controller"
RUNS: dict[str, dict[str, Any]] = {
    FREE: {"beta": 0.0},
    FIXED: {"beta": 0.3},
    CONTROLLED: {"beta": 0.1, "kl_controller": "adaptive", "kl_target": 3.0, "kl_horizon": 32},
}
CURVES = (
    "objective/kl", "objective/scores", "objective/beta", "objective/entropy", "response/length",
)  # fmt: skip
TABLES = ("runs", "curves", "answers", "estimates")


@dataclass(frozen=True)
class Measured:
    """How long the runs are, and how much of them is measured."""

    prompts: int = 1000  # of each seed's own
    test_prompts: int = 128
    snapshots: tuple[int, ...] = (2, 3, 4, 5, 7, 10, 14, 20)  # iterations
    batches: int = 4  # of answers to the first of them, at each snapshot
    batch_size: int = 64
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            steps=30,
            batch_size=32,
            minibatches=2,
            gamma=0.0,
            learning_rate=1e-3,
            checkpoint_every=0,
        )
    )


def run() -> None:
    """Do the runs that are missing, write the tables."""
    started, settings = time.time(), Measured()
    found = [_measured(name, seed, settings) for seed in SEEDS for name in ("SFT", *RUNS)]
    for table in TABLES:
        rows = pd.DataFrame(row for one in found for row in one[table])
        atomic_write(FOLDER / f"{table}.csv", rows.to_csv(index=False, float_format="%.6g"))
        if table == "runs":
            print(rows.groupby("run", sort=False).mean().round(3).to_string())
    configs: dict[str, Any] = {"Measured": settings}
    configs |= {
        name: dataclasses.replace(settings.ppo, **changes) for name, changes in RUNS.items()
    }
    about = manifest("python -m benchmarks kl_penalty", configs, SEEDS, started)
    about["sft_sha256"] = file_hash(SFT / "difference.safetensors")
    about["seconds_of_all_runs"] = round(sum(one["runs"][0]["seconds"] for one in found), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _measured(name: str, seed: int, settings: Measured) -> dict[str, Any]:
    """The rows of one run, by table."""
    code = [code_fingerprint("rlhf_lab.ppo", "rlhf_lab.evaluate"), file_hash(Path(__file__))]
    key = fingerprint([*code, dataclasses.asdict(settings), file_hash(SFT / "index.json")])
    order = ("SFT", *RUNS).index(name)
    path = ROOT / "runs" / f"published-kl-penalty-{key}" / f"{order}-seed-{seed}.json"
    if not path.is_file():
        atomic_write(path, json.dumps(measure(start(settings), name, seed, settings)))
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@dataclass(frozen=True)
class Start:
    """What every run starts from and is judged by."""

    policy: nn.Module
    tokenizer: Any
    examiner: ScalarModel
    world: World
    test_prompts: list[Prompt]


@functools.cache
def start(settings: Measured) -> Start:
    policy, tokenizer = restored_policy(SFT, "tiny")
    world = World(0)
    tests = world.prompts("test", settings.test_prompts)
    return Start(policy, tokenizer, ScalarModel.load("tiny-examiner"), world, tests)


def measure(given: Start, name: str, seed: int, settings: Measured) -> dict[str, Any]:
    """Train one policy and let it answer; "SFT" only answers."""
    before, policy = time.process_time(), given.policy
    curves: list[dict[str, Any]] = []
    estimates: list[dict[str, Any]] = []
    if name in RUNS:
        config = dataclasses.replace(settings.ppo, seed=seed, **RUNS[name])
        policy = copy.deepcopy(given.policy)

        def watch(step: int, row: dict[str, Any]) -> None:
            curves.append({"run": name, "seed": seed, "step": step} | {k: row[k] for k in CURVES})
            if name == FREE and seed == SEEDS[0] and step in settings.snapshots:
                estimates.extend(estimated(given, policy, step, config, settings))

        prompts = given.world.prompts("train", settings.prompts, PPO_START + seed * 20_000)
        PPOTrainer(
            policy,
            given.policy,
            reward_function(given.examiner),
            given.examiner.copy(),
            given.tokenizer,
            encode_prompts(given.tokenizer, [p.text for p in prompts]),
            None,
            config,
            callback=watch,
            quiet=True,
        ).train()
    written = judged(given, policy, name, seed)
    row = {
        "run": name,
        "seed": seed,
        **{k: sum(w[k] for w in written) / len(written) for k in ("gold", "rm_score", "kl")},
        "seconds": round(time.process_time() - before, 1),
    }
    shown = written if seed == SEEDS[0] else []
    return {"runs": [row], "curves": curves, "answers": shown, "estimates": estimates}


def judged(given: Start, policy: nn.Module, name: str, seed: int) -> list[dict[str, Any]]:
    """Answers to the test prompts; the random numbers behind them are the seed's."""
    prompts, tokenizer = given.test_prompts, given.tokenizer
    texts = answers(policy, tokenizer, prompts, seed=seed)
    kl = exact_kl(policy, given.policy, tokenizer, prompts, texts)
    scores = rm_scores(given.examiner, tokenizer, prompts, texts)
    return [
        {"run": name, "seed": seed, "prompt": prompt.text, "answer": text,
         "gold": given.world.gold(prompt, text), "rm_score": score, "kl": nats}
        for prompt, text, score, nats in zip(prompts, texts, scores, kl, strict=True)
    ]  # fmt: skip


def estimated(
    given: Start, policy: nn.Module, step: int, config: PPOConfig, settings: Measured
) -> list[dict[str, Any]]:
    """Mean nats per response of each batch of answers: exact, and by four estimates."""
    rows = []
    for batch in range(settings.batches):
        found = rolled_out(given, policy, config, settings.batch_size, seed=batch)
        mine, theirs = found.logprobs, found.ref_logprobs  # both 0 outside of the responses
        nats = {kind: kl_estimate(mine, theirs, kind) for kind in ("k1", "k2", "k3")}
        nats |= {"exact": found.kl, "wrong-way k3": kl_estimate(theirs, mine, "k3")}
        means = {kind: float(token.sum(1).mean()) for kind, token in nats.items()}
        rows.append({"step": step, "batch": batch, **means})
    return rows


def rolled_out(
    given: Start, policy: nn.Module, config: PPOConfig, count: int, seed: int
) -> Rollout:
    """Answers to the first test prompts, with what both policies thought of every token."""
    prompts = encode_prompts(given.tokenizer, [p.text for p in given.test_prompts[:count]])
    generator = torch.Generator().manual_seed(seed)
    shape = len(prompts), config.max_response_length
    uniform: Tensor = torch.rand(shape, generator=generator, dtype=torch.float64)
    return collect(
        PolicyLogits(policy),
        PolicyLogits(given.policy),
        reward_function(given.examiner),
        given.examiner,
        prompts,
        config,
        eos_token_id=given.tokenizer.eos_token_id,
        pad_token_id=given.tokenizer.pad_token_id,
        uniform=uniform,
    )
