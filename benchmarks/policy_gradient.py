"""What do a baseline, the start of the value function and the clip change on ``tiny``, over seeds?

Writes the tables that a chapter prints, with their manifest, to ``book/results/policy-gradient``.
All seeds share the SFT policy of the first published quickstart and the shipped examiner; a seed
changes prompts, samples and new heads.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from rlhf_lab import objectives
from rlhf_lab.browser_files import WHOLE, shipped_files, write_folder
from rlhf_lab.browser_model import restored_weights
from rlhf_lab.config import PPOConfig
from rlhf_lab.encoding import encode_prompts
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import (
    ASSETS,
    PolicyLogits,
    ScalarModel,
    load_policy,
    reward_function,
    trainable,
)
from rlhf_lab.pipeline import PPO_START
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.ppo_state import PPOState
from rlhf_lab.provenance import manifest
from rlhf_lab.reward import mean_zero_shift
from rlhf_lab.rollout import Rollout, collect, scatter
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "book" / "results"
FOLDER = RESULTS / "policy-gradient"
SFT = RESULTS / "quickstart" / "models" / "sft"
SEEDS = (0, 1, 2, 3, 4)
REWARD_MODEL, RANDOM_HEAD, ZERO_HEAD = VALUE_STARTS = (
    "reward model", "SFT policy, random head", "SFT policy, head at 0",
)  # fmt: skip
CLIPS = {"ε = 0.2": 0.2, "no clip": 1e9}
PPO = PPOConfig(
    steps=20, batch_size=32, minibatches=2, gamma=0.0, learning_rate=3e-4, warmup_steps=2,
    checkpoint_every=0,
)  # fmt: skip
TABLES = ("value_starts", "gradients", "reuse")


@dataclass(frozen=True)
class Measured:
    """How much is measured for each seed."""

    prompts: int = 500  # of each seed's own
    demonstrations: int = 64  # whose mean score is 0
    answers: int = 96  # whose gradients are taken one by one
    constant: float = 10.0  # added to all scores: it changes no ranking
    reused: int = 32  # answers of the batch that is used again and again
    steps: tuple[int, ...] = (0, 2, 4, 8, 16)  # on it, at which fresh answers are scored
    fresh: int = 3  # fresh answers to each of its prompts
    reuse_rate: float = 2e-4  # learning rate of these steps: Adam's first ones are as large as it
    random_steps: int = 8  # iterations from a random head; the others take those of ``ppo``
    ppo: PPOConfig = PPO


@dataclass(frozen=True)
class Start:
    """What every seed starts from."""

    policy: nn.Module
    tokenizer: Any
    reward: ScalarModel
    world: World


def run() -> None:
    """Measure what is missing of all seeds, write the tables."""
    started, settings = time.time(), Measured()
    found = [_measured(seed, settings) for seed in SEEDS]
    for name in TABLES:
        table = pd.concat([tables[name] for tables in found])
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
        print(name, table.groupby(list(table.columns[1:3])).mean(numeric_only=True), sep="\n")
    about = manifest("python -m benchmarks policy_gradient", settings, SEEDS, started)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")


def _measured(seed: int, settings: Measured) -> dict[str, pd.DataFrame]:
    """The tables of one seed; what the same code has measured before is read."""
    code = [code_fingerprint("rlhf_lab.ppo", "rlhf_lab.reward"), file_hash(Path(__file__))]
    key = fingerprint([*code, dataclasses.asdict(settings)])
    folder = ROOT / "runs" / f"published-policy-gradient-{seed}-{key}"
    if not all((folder / f"{name}.csv").is_file() for name in TABLES):
        for name, table in measure(starting_point(settings), seed, settings).items():
            atomic_write(folder / f"{name}.csv", table.to_csv(index=False))
    return {name: pd.read_csv(folder / f"{name}.csv") for name in TABLES}


def starting_point(settings: Measured) -> Start:
    """SFT policy and reward model, whose scores of demonstrations have mean 0."""
    policy, tokenizer = load_policy("tiny")
    with tempfile.TemporaryDirectory() as base:
        write_folder(base, WHOLE, shipped_files(ASSETS / "tiny"))
        policy.load_state_dict(restored_weights(SFT, base), strict=False)
    world, reward = World(0), ScalarModel.load("tiny-examiner")
    shown = world.demonstrations("train", settings.demonstrations)
    mean_zero_shift(reward, tokenizer, shown, max_length=160)
    return Start(policy, tokenizer, reward, world)


def measure(start: Start, seed: int, settings: Measured) -> dict[str, pd.DataFrame]:
    """All tables of one seed."""
    first = PPO_START + seed * 20_000
    texts = [p.text for p in start.world.prompts("train", settings.prompts, first)]
    prompts = encode_prompts(start.tokenizer, texts)
    curves = []
    for name in VALUE_STARTS:
        steps = settings.random_steps if name == RANDOM_HEAD else settings.ppo.steps
        ppo = dataclasses.replace(settings.ppo, seed=seed, steps=steps)
        trainer = _trainer(start, prompts, value_function(name, start, seed), ppo)
        history = pd.DataFrame(trainer.train())
        curves.append(history.assign(seed=seed, start=name))
        if name == REWARD_MODEL:
            rollout = _answered(
                start, trainer.policy, trainer.value, prompts[: settings.answers], seed, settings
            )
            gradients = gradient_noise(trainer.policy, rollout, settings.constant)
    reuse = [
        reused_batch(start, prompts[: settings.reused], clip, seed, settings).assign(clip=name)
        for name, clip in CLIPS.items()
    ]
    kept = ["seed", "start", "step", "value/explained_variance", "value/error"]
    kept += ["objective/scores", "objective/kl"]
    return {
        "value_starts": pd.concat(curves)[kept],
        "gradients": gradients.assign(seed=seed)[["seed", "estimator", "variance"]],
        "reuse": pd.concat(reuse)[
            ["seed", "clip", "step", "score", "kl", "length", "outside", "largest"]
        ],
    }


def _trainer(
    start: Start, prompts: list[list[int]], value: ScalarModel, ppo: PPOConfig
) -> PPOTrainer:
    return PPOTrainer(
        copy.deepcopy(start.policy),
        start.policy,
        reward_function(start.reward),
        value,
        start.tokenizer,
        prompts,
        None,
        ppo,
        quiet=True,
    )


def value_function(name: str, start: Start, seed: int) -> ScalarModel:
    """A value function that knows nothing yet, or what the reward model knows."""
    if name == REWARD_MODEL:
        return start.reward.copy()
    value = ScalarModel.from_policy(start.policy, seed)
    if name == ZERO_HEAD:
        nn.init.zeros_(value.head.weight)
    return value


def _answered(
    start: Start,
    policy: nn.Module,
    value: nn.Module,
    prompts: list[list[int]],
    seed: int,
    settings: Measured,
) -> Rollout:
    """One answer of a policy to each prompt, with all that PPO computes of it."""
    generator = torch.Generator().manual_seed(1_000_000 + seed)
    shape = len(prompts), settings.ppo.max_response_length
    return collect(
        PolicyLogits(policy),
        PolicyLogits(start.policy),
        reward_function(start.reward),
        value,
        prompts,
        settings.ppo,
        eos_token_id=start.tokenizer.eos_token_id,
        pad_token_id=start.tokenizer.pad_token_id,
        uniform=torch.rand(shape, generator=generator, dtype=torch.float64),
    )


# --- how noisy is the gradient? -----------------------------------------------------------------


def token_weights(rollout: Rollout, constant: float) -> dict[str, Tensor]:
    """What each estimator multiplies with ∇log π of every token, (B, T) by its name.

    Args:
        rollout: B answers with rewards and values.
        constant: added to every score.
    """
    mask = rollout.response_mask
    returns = rollout.rewards.sum(1, keepdim=True)
    others = (returns.sum() - returns) / (len(returns) - 1)
    found = {
        f"no baseline, score + {constant:g}": (returns + constant) * mask,
        "no baseline": returns * mask,
        "mean of the others": (returns - others) * mask,
    }
    for lam in (1.0, 0.95, 0.0):
        advantages, _ = objectives.gae(rollout.rewards, rollout.values, mask, lam=lam)
        found[f"value function, λ = {lam:g}"] = advantages
    return found


def gradient_noise(policy: nn.Module, rollout: Rollout, constant: float) -> pd.DataFrame:
    """How noisy the policy gradient of one answer is, for each estimator.

    Returns:
        a row for each ``estimator``: ``variance``, E‖g − E g‖² over answers, without bias.
    """
    weights = list(trainable(policy).values())
    logits = PolicyLogits(policy)
    estimators = token_weights(rollout, constant)
    sums = {name: torch.zeros(sum(w.numel() for w in weights)) for name in estimators}
    squares = dict.fromkeys(estimators, 0.0)
    count = len(rollout.tokens)
    for row in torch.arange(count).split(1):
        tokens, at, mask, drawn = rollout.states(row)
        logp = objectives.token_logprobs(logits(tokens, at), drawn)
        for name, credit in estimators.items():
            own = credit[row, : mask.shape[1]][mask]
            parts = torch.autograd.grad(logp, weights, own, retain_graph=True)
            gradient = torch.cat([part.flatten() for part in parts])
            sums[name] += gradient
            squares[name] += float(gradient.square().sum())
    variances = [
        (squares[name] - float(sums[name].square().sum()) / count) / (count - 1)
        for name in estimators
    ]
    return pd.DataFrame({"estimator": list(estimators), "variance": variances})


# --- how often can a batch be used? -------------------------------------------------------------


def reused_batch(
    start: Start, prompts: list[list[int]], clip: float, seed: int, settings: Measured
) -> pd.DataFrame:
    """Many steps on one batch of answers, and what fresh answers score on the way.

    Returns:
        a row for each ``step`` of the settings: ``score`` (reward model), ``kl`` and ``length`` of
        fresh answers, means; of the tokens of the batch, the share whose probability ratio is
        ``outside`` of 1 ± 0.2, and the ``largest`` ratio.
    """
    rate = settings.reuse_rate
    config = dataclasses.replace(settings.ppo, clip=clip, learning_rate=rate, warmup_steps=0)
    policy = copy.deepcopy(start.policy)
    logits, state = PolicyLogits(policy), PPOState.create(policy, start.reward.copy(), config)
    state.set_learning_rates(config, 0)
    batch = _answered(start, policy, start.reward, prompts, seed, settings)
    rows = []
    for step in range(max(settings.steps) + 1):
        ratios = torch.cat(_pull(logits, batch, config))
        if step in settings.steps:
            again = prompts * settings.fresh
            fresh = _answered(start, policy, start.reward, again, 1000 + seed, settings)
            rows.append(_means(fresh) | _reach(ratios) | {"seed": seed, "step": step})
        state.step("policy", 0.0, config.max_grad_norm)
    return pd.DataFrame(rows)


def _pull(logits: PolicyLogits, batch: Rollout, config: PPOConfig) -> list[Tensor]:
    """Add the gradient of the clipped loss; the probability ratios of the tokens."""
    total, ratios = batch.response_mask.sum(), []
    for rows in batch.groups(torch.arange(len(batch.tokens)), config.rows_per_pass):
        tokens, at, mask, drawn = batch.states(rows)
        logp = scatter(objectives.token_logprobs(logits(tokens, at), drawn), mask)
        old, advantages = (x[rows, : mask.shape[1]] for x in (batch.logprobs, batch.advantages))
        objectives.ppo_policy_loss(logp, old, advantages, mask, config.clip, total)[0].backward()
        ratios.append((logp.detach() - old).exp()[mask])
    return ratios


def _means(fresh: Rollout) -> Mapping[str, float]:
    return {
        "score": float(fresh.scores.mean()),
        "kl": float(fresh.kl.sum(1).mean()),
        "length": float(fresh.response_mask.sum(1).double().mean()),
    }


def _reach(ratios: Tensor) -> dict[str, float]:
    outside = ((ratios - 1).abs() > CLIPS["ε = 0.2"]).double().mean()
    return {"outside": float(outside), "largest": float(ratios.max())}
