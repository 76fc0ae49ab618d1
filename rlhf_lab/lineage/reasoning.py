"""Reasoning by reinforcement learning whose reward is a checker: by our PPO, and by TRL's GRPO.

    r(x, y) = 1 if the checker accepts y, else 0                    (label ``eq-verifiable-reward``)

Nothing is learned about what people like: a program reads the answer. PPO is
:class:`rlhf_lab.ppo.PPOTrainer` with such a reward. GRPO (Shao et al. 2024, arXiv 2402.03300) has
no value function: it draws a group of answers to each problem and compares them with one another.
Its two equations stand here as functions; the training itself is TRL's.

Left out: rewards for single steps, and a KL penalty. A checker that reads the answer is no model
that could be driven out of what it knows; a careless one can be fooled, with a penalty or without.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from rlhf_lab import objectives
from rlhf_lab.errors import InputError
from rlhf_lab.evaluate import text_reward
from rlhf_lab.lineage.long_sums import LongSum
from rlhf_lab.models import Reward, position_ids

Check = Callable[[LongSum, str], bool]
"""(problem, solution) -> whether it is accepted."""

EPSILON = 1e-4  # added to a group's deviation, as TRL does


# --- the equations --------------------------------------------------------------------------------


def group_advantages(rewards: Tensor, group_size: int, *, scale: bool = True) -> Tensor:
    """Â_i = (r_i − mean(r)) / (std(r) + 10⁻⁴) over the answers to one problem.

    Label ``eq-group-advantage``. The deviation divides by G − 1, as in TRL; the paper does not say.
    A group in which all rewards are equal has advantages 0: it teaches nothing.

    Source: Shao et al. 2024, §4.1.2.

    Args:
        rewards: (B,), the G answers to a problem one behind the other.
        group_size: G, 2 or more, a divisor of B.
        scale: False leaves the deviation out (Liu et al. 2025, arXiv 2503.20783).

    Raises:
        InputError: when the rewards do not fall into groups of this size.
    """
    if group_size < 2 or len(rewards) == 0 or len(rewards) % group_size:
        raise InputError(
            "group_size", group_size, f"2 or more, a divisor of {len(rewards)} rewards",
            "draw as many answers to each problem",
        )  # fmt: skip
    groups = rewards.to(torch.promote_types(rewards.dtype, torch.float32)).view(-1, group_size)
    centred = groups - groups.mean(1, keepdim=True)
    if scale:
        centred = centred / (groups.std(1, keepdim=True) + EPSILON)
    return centred.flatten()


def grpo_loss(
    logp: Tensor,
    old_logp: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip: float = 0.2,
    beta: float = 0.0,
    ref_logp: Tensor | None = None,
) -> Tensor:
    """L = −(1/B)·Σ_i (1/T_i)·Σ_t [min(ρ_t·Â_i, clip(ρ_t, 1−ε, 1+ε)·Â_i) − β·k3_t].

    Label ``eq-grpo``. Each answer counts alike, so a token of a long one counts less.

    Source: Shao et al. 2024, equations 3 and 4.

    Args:
        logp, old_logp, mask: (B, T) as in :func:`rlhf_lab.objectives.ppo_policy_loss`.
        advantages: (B,), one for all tokens of an answer.
        clip: ε; beta: weight of the KL penalty, which stands in the loss, not in the reward.
        ref_logp: (B, T) of the reference, needed when ``beta`` is above 0.

    Raises:
        InputError: for a penalty without a reference.
    """
    lengths = mask.sum(1, keepdim=True).clamp(min=1)
    each = advantages[:, None] / lengths * mask
    loss, _ = objectives.ppo_policy_loss(logp, old_logp, each, mask, clip, len(mask))
    if beta == 0:
        return loss
    if ref_logp is None:
        raise InputError("ref_logp", None, f"log-probabilities, as beta = {beta}", "pass them")
    valid = mask.bool()
    k3 = objectives.kl_estimate(logp.masked_fill(~valid, 0), ref_logp.masked_fill(~valid, 0), "k3")
    return loss + beta * objectives.masked_mean(k3 / lengths, mask, len(mask))


# --- the reward -----------------------------------------------------------------------------------


def verifiable_reward(problems: Sequence[LongSum], tokenizer: Any, check: Check) -> Reward:
    """A checker as the reward of PPO: 1 for a solution that it accepts, else 0.

    Label ``eq-verifiable-reward``. Problems are recognised by their token ids.

    Args:
        problems: every one that is trained on; check: of (problem, text).

    Raises:
        InputError: by the reward, for a prompt that is none of the problems.
    """
    return text_reward(tokenizer, problems, check)


# --- GRPO by TRL ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class GRPOSettings:
    """What a run of GRPO is.

    Attributes:
        seed: of the order of problems and of the samples.
        steps: times that answers are drawn.
        problems: asked in a step; group: answers to each, G.
        minibatches: optimiser steps in a step.
        learning_rate: constant.
        clip: ε.
        max_response_length: longest answer in tokens, EOS included.
    """

    seed: int = 0
    steps: int = 20
    problems: int = 8
    group: int = 8
    minibatches: int = 4
    learning_rate: float = 2e-4
    clip: float = 0.2
    max_response_length: int = 48

    def __post_init__(self) -> None:
        answers = self.problems * self.group
        if self.minibatches < 1 or answers % self.minibatches:
            raise InputError(
                "minibatches", self.minibatches, f"a divisor of {answers} answers", "choose one"
            )


def train_grpo(
    policy: nn.Module,
    tokenizer: Any,
    problems: Sequence[LongSum],
    check: Check,
    settings: GRPOSettings,
) -> list[dict[str, float]]:
    """Train ``policy`` in place by ``trl.GRPOTrainer``, without a KL penalty (``eq-grpo``, β = 0).

    Args:
        policy: a causal LM of transformers with dropout off.
        problems: to draw from; check: of (problem, text), the reward is 1 or 0.

    Returns:
        one row for each step, as its answers were drawn: ``reward``, their mean; ``tokens``, the
        mean length with EOS; ``flat``, the share of groups whose rewards are all equal.
    """
    import trl
    from datasets import Dataset
    from transformers import PrinterCallback

    history: list[dict[str, float]] = []

    def reward(
        completions: list[str], number: list[int], completion_ids: list[list[int]], **_: Any
    ) -> list[float]:
        scores = [
            float(check(problems[i], text)) for i, text in zip(number, completions, strict=True)
        ]
        groups = torch.tensor(scores).view(-1, settings.group)
        flat = (groups == groups[:, :1]).all(1).float().mean()
        history.append({
            "reward": sum(scores) / len(scores),
            "tokens": sum(map(len, completion_ids)) / len(completion_ids),
            "flat": float(flat),
        })  # fmt: skip
        return scores

    answers = settings.problems * settings.group
    rows = {"prompt": [problem.text for problem in problems], "number": list(range(len(problems)))}
    optimizer = torch.optim.AdamW(
        policy.parameters(), settings.learning_rate, (0.9, 0.95), 1e-5, weight_decay=0.0
    )
    own_forward = vars(policy).get("forward")
    hook = policy.register_forward_pre_hook(_with_positions, with_kwargs=True)
    try:
        with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            trainer = trl.GRPOTrainer(
                model=cast(Any, policy),
                reward_funcs=reward,
                args=trl.GRPOConfig(
                    output_dir=scratch,
                    seed=settings.seed,
                    max_steps=settings.steps * settings.minibatches,
                    per_device_train_batch_size=answers // settings.minibatches,
                    steps_per_generation=settings.minibatches,
                    num_generations=settings.group,
                    max_completion_length=settings.max_response_length,
                    learning_rate=settings.learning_rate,
                    lr_scheduler_type="constant",
                    epsilon=settings.clip,
                    beta=0.0,
                    loss_type="grpo",
                    scale_rewards="group",
                    use_cpu=next(policy.parameters()).device.type == "cpu",
                    bf16=False,
                    gradient_checkpointing=False,
                    save_strategy="no",
                    report_to="none",
                    disable_tqdm=True,
                    logging_strategy="no",
                ),
                train_dataset=Dataset.from_dict(rows),
                processing_class=tokenizer,
                optimizers=(optimizer, None),
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
    finally:
        hook.remove()
        # TRL hangs its fused head on the instance, as in rlhf_lab.sft.
        if own_forward is None:
            vars(policy).pop("forward", None)
        else:
            policy.forward = own_forward
    policy.eval()
    return history


def _with_positions(
    _model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positions counted over real tokens, where a caller pads on the left and gives none.

    TRL 1.16 does: with learned positions, as GPT-2 has, its log-probabilities would be those of a
    text that stands somewhere else, and not those that the tokens were drawn with.
    """
    mask = kwargs.get("attention_mask")
    if mask is not None and kwargs.get("position_ids") is None and mask.shape[1] > 1:
        kwargs["position_ids"] = position_ids(mask)[:, -kwargs["input_ids"].shape[1] :]
    return args, kwargs
