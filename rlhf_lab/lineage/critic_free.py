"""RLOO and GRPO: several answers to each prompt stand in for the value function of PPO.

    Â_i = r_i − (1/(G−1))·Σ_{j≠i} r_j                                          (label ``eq-rloo``)

A loop like PPO's, on the same settings, sampler, reward and reference; what differs is what an
answer is compared with, and what is clipped. Beside :class:`rlhf_lab.ppo.PPOTrainer` it shows what
the value function is for. Left out: pretraining mix, several processes, checkpoints (a run of the
book takes a minute).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rlhf_lab import objectives
from rlhf_lab.config import PPOConfig
from rlhf_lab.data import IndexSampler
from rlhf_lab.encoding import require_special_tokens
from rlhf_lab.errors import DivergenceError, InputError
from rlhf_lab.generation import uniform_numbers
from rlhf_lab.lineage.reasoning import group_advantages, grpo_loss
from rlhf_lab.models import EMA, PolicyLogits, Reward, trainable
from rlhf_lab.ppo_inputs import check_models, token_prompts
from rlhf_lab.ppo_state import warmed
from rlhf_lab.rollout import Rollout, collect, scatter
from rlhf_lab.tracking import Progress

RLOO, GRPO = METHODS = ("RLOO", "GRPO")


def leave_one_out_advantages(rewards: Tensor, group_size: int) -> Tensor:
    """Â_i = r_i − mean of the other G − 1 answers to the prompt (label ``eq-rloo``).

    The other answers do not depend on answer i, so the baseline leaves the gradient unbiased.

    Source: Kool et al. 2019; Ahmadian et al. 2024 (arXiv 2402.14740), §3.

    Args:
        rewards: (B,), the G answers to a prompt one behind the other.
        group_size: G, 2 or more, a divisor of B.

    Raises:
        InputError: when the rewards do not fall into groups of this size.
    """
    return group_advantages(rewards, group_size, scale=False) * group_size / (group_size - 1)


def rloo_loss(
    logp: Tensor,
    old_logp: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip: float = 0.2,
    total: int | None = None,
) -> Tensor:
    """L = −(1/B)·Σ_i min(ρ_i·Â_i, clip(ρ_i, 1−ε, 1+ε)·Â_i), ρ_i of the whole answer.

    Label ``eq-rloo-loss``. An answer is one action: ρ_i is the product over its tokens. At ρ = 1
    the gradient is REINFORCE's, −(1/B)·Σ_i Â_i·∇log π(y_i|x_i).

    Source: Ahmadian et al. 2024, §3; the ratio and its clip are those of TRL's ``RLOOTrainer``.

    Args:
        logp, old_logp, mask: (B, T) as in :func:`rlhf_lab.objectives.ppo_policy_loss`.
        advantages: (B,); clip: ε; total: answers to divide by, default B.
    """
    new, old = (x.masked_fill(~mask.bool(), 0).sum(1, keepdim=True) for x in (logp, old_logp))
    one, count = mask.new_ones(len(mask), 1), len(mask) if total is None else total
    return objectives.ppo_policy_loss(new, old, advantages[:, None], one, clip, count)[0]


class _NoValue(nn.Module):
    """V = 0: then the rewards that a rollout holds are all there is."""

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.zeros(tokens.shape, device=tokens.device)


def train_critic_free(
    policy: nn.Module,
    reference: nn.Module,
    reward: Reward,
    tokenizer: Any,
    prompts: Sequence[str] | Sequence[Sequence[int]],
    config: PPOConfig,
    *,
    method: str,
    group_size: int = 4,
    quiet: bool = False,
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train ``policy`` in place by RLOO or GRPO, with as many answers and steps as PPO has.

    RLOO subtracts β·log(π/π_ref) from the reward of an answer, as PPO does token by token; GRPO has
    β times k3 in its loss.

    Args:
        policy, reference, reward, tokenizer, prompts: as for :class:`rlhf_lab.ppo.PPOTrainer`.
        config: settings of PPO; a batch has ``batch_size / group_size`` prompts. What concerns the
            value function is not read; ``gamma`` has to be 0, the penalty fixed, ``discount`` and
            ``inner_epochs`` 1, ``whiten_rewards`` off.
        method: one of :data:`METHODS`; group_size: G, answers to each prompt.

    Returns:
        a copy of the policy with the average of its weights, and one row per iteration:
        ``objective/kl`` (exact, nats per response), ``objective/scores``, ``response/length``,
        ``policy/flat`` (share of prompts whose answers all score alike), ``policy/gradient_norm``.

    Raises:
        InputError: for settings or inputs that cannot be used.
        DivergenceError: when a loss is not finite.
    """
    _check(policy, reference, reward, config, method, group_size)
    eos, pad = require_special_tokens(tokenizer)
    rows = token_prompts(prompts, tokenizer, policy, config)
    logits, fixed = PolicyLogits(policy.eval()), PolicyLogits(reference.eval())
    optimizer = torch.optim.AdamW(
        trainable(policy).values(), config.learning_rate, (config.adam_beta1, config.adam_beta2),
        config.adam_epsilon, weight_decay=0.0,
    )  # fmt: skip
    average = EMA(policy, config.ema_decay)
    order = IndexSampler(len(rows), config.batch_size // group_size, config.seed)
    history = []
    with Progress(config.steps, method, quiet=quiet) as bar:
        for iteration in range(config.steps):
            optimizer.param_groups[0]["lr"] = warmed(config, iteration) * config.learning_rate
            chosen = order.indices(iteration).repeat_interleave(group_size).tolist()
            shape = len(chosen), config.max_response_length
            rollout = collect(
                logits, fixed, reward, _NoValue(), [rows[i] for i in chosen], config,
                eos_token_id=eos, pad_token_id=pad,
                uniform=uniform_numbers(config.seed, iteration, shape),
            )  # fmt: skip
            norms = _update(logits, rollout, optimizer, average, config, method, group_size)
            scores = rollout.scores.view(-1, group_size)
            history.append({
                "objective/kl": float(rollout.kl.sum(1).mean()),
                "objective/scores": float(rollout.scores.mean()),
                "response/length": float(rollout.response_mask.sum(1).float().mean()),
                "policy/flat": float((scores == scores[:, :1]).all(1).float().mean()),
                "policy/gradient_norm": sum(norms) / len(norms),
            })  # fmt: skip
            bar.update(1, reward=history[-1]["objective/scores"], KL=history[-1]["objective/kl"])
    averaged = copy.deepcopy(policy)
    average.copy_to(averaged)
    return averaged, history


def _update(
    logits: PolicyLogits,
    rollout: Rollout,
    optimizer: torch.optim.Optimizer,
    average: EMA,
    config: PPOConfig,
    method: str,
    group_size: int,
) -> list[float]:
    """One optimiser step for each minibatch; the norms of their gradients."""
    if method == RLOO:  # the penalty is part of the reward
        advantages = leave_one_out_advantages(rollout.rewards.sum(1), group_size)
    else:
        advantages = group_advantages(rollout.scores, group_size)
    norms = []
    for rows in torch.arange(config.batch_size).split(config.minibatch_size):
        for part in rollout.groups(rows, config.rows_per_pass):
            tokens, at, mask, drawn = rollout.states(part)
            logp = scatter(
                objectives.token_logprobs(logits(tokens, at), drawn, config.temperature), mask
            )
            old, ref = (x[part, : mask.shape[1]] for x in (rollout.logprobs, rollout.ref_logprobs))
            if method == RLOO:
                loss = rloo_loss(
                    logp, old, advantages[part], mask, clip=config.clip, total=len(rows)
                )
            else:
                loss = grpo_loss(
                    logp, old, advantages[part], mask, clip=config.clip, beta=config.beta,
                    ref_logp=ref,
                ) * (len(part) / len(rows))  # fmt: skip
            loss.backward()
        weights = list(trainable(logits.policy).values())
        norm = float(nn.utils.clip_grad_norm_(weights, config.max_grad_norm))
        if not norm < float("inf"):
            raise DivergenceError(f"{method}: gradient norm {norm}; lower the learning rate")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(logits.policy)
        norms.append(norm)
    return norms


def _check(
    policy: nn.Module,
    reference: nn.Module,
    reward: object,
    config: PPOConfig,
    method: str,
    group_size: int,
) -> None:
    if method not in METHODS:
        raise InputError("method", method, " or ".join(METHODS), "choose one of the two")
    check_models(policy, reference, policy, reward)
    if group_size < 2 or config.batch_size % group_size:
        raise InputError(
            "group_size", group_size, f"2 or more, a divisor of batch_size = {config.batch_size}",
            "change one of the two",
        )  # fmt: skip
    for name, wanted in (
        ("gamma", 0.0), ("kl_controller", "fixed"), ("discount", 1.0), ("inner_epochs", 1),
        ("whiten_rewards", False),
    ):  # fmt: skip
        if getattr(config, name) != wanted:
            raise InputError(name, getattr(config, name), str(wanted), "use PPOTrainer for others")
