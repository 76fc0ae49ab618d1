"""Steps 2 to 8 of a PPO-ptx iteration, from prompts to advantages. Nothing here has a gradient.

B episodes, T tokens of the longest response among them. ``tokens`` holds prompt and response from
column 0 with pads behind, the layout of ``rlhf_lab.models``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlhf_lab import objectives
from rlhf_lab.config import PPOConfig
from rlhf_lab.encoding import pad_left
from rlhf_lab.errors import DivergenceError
from rlhf_lab.generation import sample
from rlhf_lab.models import PolicyLogits, Reward, align
from rlhf_lab.ppo_inputs import check_scores


@dataclass(frozen=True)
class Rollout:
    """Episodes as π_old met them. (B, T) tensors are 0 where ``response_mask`` is 0."""

    prompt_ids: Tensor  # (B, P) int64, left-padded
    response_ids: Tensor  # (B, T) int64, right-padded
    response_mask: Tensor  # (B, T) int64, 1 up to EOS and on it
    stopped: Tensor  # (B,) bool; False: truncated at the limit, EOS never came
    tokens: Tensor  # (B, L) int64
    prompt_lengths: Tensor  # (B,) int64
    scores: Tensor  # (B,) r_ψ(x, y), less the penalty for a missing EOS
    logprobs: Tensor  # (B, T) log π_old(y_t), nats
    ref_logprobs: Tensor  # (B, T) log π_ref(y_t), nats
    values: Tensor  # (B, T) V_old(s_t), s_t the state before y_t
    kl: Tensor  # (B, T) exact KL(π_old ‖ π_ref) at s_t, nats
    entropy: Tensor  # (B, T) of π_old at s_t, nats
    rewards: Tensor  # (B, T) ρ_t: KL penalty, and the score on the last token
    advantages: Tensor  # (B, T) Â_t, whitened over the batches of all processes
    returns: Tensor  # (B, T) R_t, what V should have said
    seconds: dict[str, float]  # wall time of each phase

    def groups(self, rows: Tensor, size: int) -> tuple[Tensor, ...]:
        """Rows in groups of ``size`` of similar length: less of the work is padding."""
        lengths = self.prompt_lengths[rows] + self.response_mask[rows].sum(1)
        return rows[lengths.argsort(stable=True)].split(size)

    def states(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """:func:`response_states` of some rows."""
        tokens, responses = self.tokens[rows], self.response_ids[rows]
        return response_states(
            tokens, self.prompt_lengths[rows], responses, self.response_mask[rows]
        )


def response_states(
    tokens: Tensor, prompt_lengths: Tensor, response_ids: Tensor, response_mask: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs and targets of a teacher-forced pass over b rows with n response tokens.

    The state before response token t of row i stands in column ``prompt_lengths[i] − 1 + t``.

    Returns:
        tokens (b, l), all-pad columns and the last token cut off; flat positions (n,) in them of
        the states; the mask (b, t) of the responses, bool, t the longest; their tokens (n,).
    """
    lengths = response_mask.sum(1)
    mask = response_mask[:, : int(lengths.max())].bool()
    tokens = tokens[:, : int((prompt_lengths + lengths).max()) - 1]
    row, t = mask.nonzero(as_tuple=True)
    at = row * tokens.shape[1] + prompt_lengths[row] - 1 + t
    return tokens, at, mask, response_ids[:, : mask.shape[1]][mask]


def scatter(flat: Tensor, mask: Tensor) -> Tensor:
    """Values (n,) put at the n true places of ``mask`` (b, t), 0 elsewhere."""
    return flat.new_zeros(mask.shape).masked_scatter(mask, flat)


@torch.no_grad()
def collect(
    policy: PolicyLogits,
    reference: PolicyLogits,
    reward: Reward,
    value: nn.Module,
    prompts: Sequence[Sequence[int]],
    config: PPOConfig,
    *,
    eos_token_id: int,
    pad_token_id: int,
    uniform: Tensor,
    beta: float | None = None,
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> Rollout:
    """Sample one response per prompt and turn it into training targets.

    Args:
        policy, reference: π_old and π_ref; value: V_old, tokens (b, l) to (b, l).
        reward: (prompt ids, response ids, response mask) to (B,).
        prompts: token ids of each prompt, none empty.
        uniform: (B, ``config.max_response_length``) float64, the randomness of the sampler.
        beta: weight of the KL penalty; default ``config.beta``.
        reduce: sums a tensor over processes.

    Raises:
        InputError: when the reward is not a tensor (B,) of finite numbers.
        DivergenceError: when a probability or a value is not finite.
    """
    clock = [time.perf_counter()]
    device = next(policy.parameters()).device
    prompt_ids, prompt_mask = (x.to(device) for x in pad_left(prompts, pad_token_id))
    # 2. y ~ π_old
    response_ids, response_mask, stopped = sample(
        policy.policy,
        prompt_ids,
        prompt_mask,
        max_new_tokens=config.max_response_length,
        temperature=config.temperature,
        eos_token_id=eos_token_id,
        pad_token_id=pad_token_id,
        uniform=uniform,
    )
    longest = int(response_mask.sum(1).max())
    response_ids, response_mask = response_ids[:, :longest], response_mask[:, :longest]
    last = response_ids.gather(1, response_mask.sum(1, keepdim=True) - 1).squeeze(1)
    assert bool(((last == eos_token_id) == stopped).all()), "EOS is part of the response"
    clock.append(time.perf_counter())

    # 3. r_ψ(x, y)
    scores = check_scores(reward(prompt_ids, response_ids, response_mask), len(prompt_ids))
    scores = scores.to(device) - config.missing_eos_penalty * (~stopped).to(scores.dtype)
    clock.append(time.perf_counter())

    # 4. log π_old(y_t), log π_ref(y_t), V_old(s_t), exact KL
    both = torch.cat([prompt_ids, response_ids], 1)
    tokens, lengths = align(both, torch.cat([prompt_mask, response_mask], 1))
    prompt_lengths = lengths - response_mask.sum(1)
    grids: dict[str, Tensor] = {}
    for rows in lengths.argsort(stable=True).split(config.rows_per_pass):
        inputs, at, mask, drawn = response_states(
            tokens[rows], prompt_lengths[rows], response_ids[rows], response_mask[rows]
        )
        said = _teacher_force(policy, reference, value, inputs, at, drawn, config.temperature)
        for name, flat in said.items():
            grid = grids.setdefault(name, flat.new_zeros(response_mask.shape))
            grid[rows, : mask.shape[1]] = scatter(flat, mask)

    # 5. and 6. ρ_t
    weight = config.beta if beta is None else beta
    logp, ref_logp = grids["logprobs"], grids["ref_logprobs"]
    rewards = objectives.shaped_rewards(scores, logp, ref_logp, response_mask, weight)
    if config.whiten_rewards:
        rewards = objectives.masked_whiten(rewards, response_mask, shift_mean=False, reduce=reduce)
    # 7. Â_t and R_t; 8. only Â_t is whitened
    values, (discount, lam) = grids["values"], (config.discount, config.lam)
    advantages, returns = objectives.gae(rewards, values, response_mask, discount, lam)
    advantages = objectives.masked_whiten(advantages, response_mask, reduce=reduce)
    clock.append(time.perf_counter())
    phases = ("sample", "reward", "score")
    return Rollout(
        prompt_ids=prompt_ids,
        response_ids=response_ids,
        response_mask=response_mask,
        stopped=stopped,
        tokens=tokens,
        prompt_lengths=prompt_lengths,
        scores=scores,
        rewards=rewards,
        advantages=advantages,
        returns=returns,
        seconds={phase: clock[i + 1] - clock[i] for i, phase in enumerate(phases)},
        **grids,
    )


def _teacher_force(
    policy: PolicyLogits,
    reference: PolicyLogits,
    value: nn.Module,
    inputs: Tensor,
    at: Tensor,
    drawn: Tensor,
    temperature: float,
) -> dict[str, Tensor]:
    """One forward pass of each model over (b, l) inputs; n numbers of each kind.

    Log-probabilities come from the forward function of the update, never from the sampler: cache,
    left padding and other kernels would make the first ratio differ from 1.
    """
    logits = policy(inputs, at) / temperature
    ref_logits = reference(inputs, at) / temperature
    found = {
        "logprobs": objectives.token_logprobs(logits, drawn),
        "ref_logprobs": objectives.token_logprobs(ref_logits, drawn),
        "values": value(inputs).flatten()[at],
        "kl": objectives.exact_kl(logits, ref_logits),
        "entropy": objectives.entropy(logits),
    }
    for name, numbers in found.items():
        if not bool(torch.isfinite(numbers).all()):
            raise DivergenceError(f"{name} of the rollout are not finite; lower the learning rate")
    assert bool((found["kl"] > -1e-3).all()), "an exact KL is never negative"
    return found
