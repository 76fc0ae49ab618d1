"""Names and meaning of what PPO-ptx logs each iteration, and those read off a rollout."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlhf_lab.objectives import masked_mean
from rlhf_lab.rollout import Rollout

METRICS: dict[str, str] = {
    "objective/kl": "Exact KL(π_old ‖ π_ref) in nats per response: over the full vocabulary at "
    "each visited state, summed over the tokens, mean over responses.",
    "objective/kl_k1": "Its sampled estimate, log π_old(y|x) − log π_ref(y|x), mean over "
    "responses: the quantity that beta penalises; it may be negative.",
    "objective/entropy": "Entropy of π_old in nats per token, mean over response tokens.",
    "objective/scores": "Reward r(x, y) of a response, less the penalty for a missing EOS, mean.",
    "objective/rlhf_reward": "Score minus beta times the k1 KL: what PPO maximises, mean over "
    "responses.",
    "objective/beta": "Weight of the KL penalty in this iteration.",
    "policy/approxkl": "Half the mean squared log-ratio of new to old policy over the tokens of a "
    "minibatch, before its step, mean over minibatches; nats.",
    "policy/clipfrac": "Share of tokens whose clipped term counts in the policy loss.",
    "policy/ratio": "Mean probability ratio of new to old policy; 1 before the first step.",
    "policy/first_approxkl": "policy/approxkl of the first minibatch, where new and old policy are "
    "the same: 0 up to rounding (and no token is clipped), or training stops.",
    "policy/gradient_norm": "Norm of g_PG + gamma·g_ptx before clipping, mean over steps.",
    "policy/learning_rate": "Learning rate of the policy.",
    "loss/policy": "Clipped policy loss L_PG, mean over minibatches.",
    "loss/value": "Clipped value loss L_V, half a squared error, mean over minibatches.",
    "value/clipfrac": "Share of tokens whose clipped term counts in the value loss.",
    "value/error": "Mean squared error of the value function before each step.",
    "value/explained_variance": "1 − Var(R − V_old)/Var(R) over response tokens: 1 is a perfect "
    "value function, 0 one no better than a constant.",
    "value/gradient_norm": "Norm of the value gradient before clipping, mean over steps.",
    "ptx/loss": "Cross-entropy of pretraining text in nats per token, before each step, mean.",
    "ptx/gradient_ratio": "‖gamma·g_ptx‖ / ‖g_PG‖ at the first minibatch of the iteration.",
    "ptx/gradient_cosine": "Cosine of the angle between g_ptx and g_PG there: below 0 they "
    "conflict.",
    "response/length": "Tokens per response, EOS included, mean.",
    "response/stopped": "Share of responses that ended with EOS before the limit.",
    "tokens/prompt": "Prompt tokens of this iteration, over all processes.",
    "tokens/response": "Response tokens of this iteration, over all processes.",
    "tokens/ptx": "Pretraining tokens of this iteration, over all processes.",
    "time/sample": "Seconds spent on drawing responses.",
    "time/reward": "Seconds spent in the reward callable.",
    "time/score": "Seconds spent on log-probabilities, values, KL and advantages.",
    "time/update": "Seconds spent on forward and backward passes and optimiser steps.",
}
"""One sentence for each name; a page of the book prints this table."""


def rollout_metrics(
    rollout: Rollout, beta: float, episodes: int, reduce: Callable[[Tensor], Tensor]
) -> dict[str, float]:
    """Metrics of the episodes of all processes, from sums that ``reduce`` adds up.

    Args:
        rollout: the episodes of this process; episodes: B over all processes.
        beta: weight of the KL penalty that was used.
    """
    mask = rollout.response_mask
    tokens = reduce(mask.sum().to(rollout.kl.dtype))
    k1 = (rollout.logprobs - rollout.ref_logprobs).sum()
    gap, target = rollout.returns - rollout.values, rollout.returns
    sums = {
        "objective/kl": rollout.kl.sum() / episodes,
        "objective/kl_k1": k1 / episodes,
        "objective/entropy": rollout.entropy.sum() / tokens,
        "objective/scores": rollout.scores.sum() / episodes,
        "objective/rlhf_reward": (rollout.scores.sum() - beta * k1) / episodes,
        "response/length": mask.sum() / episodes,
        "response/stopped": rollout.stopped.sum() / episodes,
        "tokens/prompt": rollout.prompt_lengths.sum(),
        "tokens/response": mask.sum(),
        "gap": masked_mean(gap, mask, tokens),
        "gap²": masked_mean(gap.square(), mask, tokens),
        "target": masked_mean(target, mask, tokens),
        "target²": masked_mean(target.square(), mask, tokens),
    }
    total = reduce(torch.stack([x.to(rollout.kl.dtype) for x in sums.values()])).tolist()
    found = dict(zip(sums, total, strict=True))
    gap_variance = found.pop("gap²") - found.pop("gap") ** 2
    variance = found.pop("target²") - found.pop("target") ** 2
    found["value/explained_variance"] = 1 - gap_variance / variance if variance > 0 else 0.0
    found["objective/beta"] = beta
    return found
