"""Nine bugs that no curve of PPO-ptx names, each in place of one function, and what shows them.

A bug is a context manager: a trainer that is made and run inside has it, whatever comes later has
not. An examination takes a function that makes trainers, and gives one number, which a sound loop
keeps at or below the limit beside it. None of them trains; all but two are exact up to rounding.

    with clinic.flipped_kl():
        clinic.charge(make)  # far above clinic.LIMITS[clinic.charge]

Nothing in the loop knows of this module. Not for several threads: a bug is in the whole process.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from scipy.stats import poisson
from torch import Tensor, nn

from rlhf_lab import objectives, rollout
from rlhf_lab.data import IndexSampler
from rlhf_lab.generation import sample
from rlhf_lab.models import ScalarModel
from rlhf_lab.objectives import lm_loss, masked_whiten, shaped_rewards
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.ppo_state import gradient
from rlhf_lab.rollout import Rollout

Bug = AbstractContextManager[None]


@contextlib.contextmanager
def _replaced(owner: Any, name: str, wrong: Callable[..., Any]) -> Iterator[None]:
    """``owner.name`` is ``wrong`` inside."""
    sound = getattr(owner, name)
    setattr(owner, name, wrong)
    try:
        yield
    finally:
        setattr(owner, name, sound)


# --- nine bugs, in the order of the loop --------------------------------------------------------


def top_k_sampler(top_k: int = 50) -> Bug:
    """Responses are drawn from the likeliest 50 tokens, and scored as if drawn from all.

    What transformers 5 does when ``generate`` is not told ``top_k=0``.
    """
    return _replaced(rollout, "sample", functools.partial(sample, top_k=top_k))


def dropout_in_rollout(rate: float = 0.02) -> Bug:
    """The policy is left in training mode while it writes; scored and trained without dropout.

    Models that were never trained with dropout, as the shipped ones, take even a small rate badly.
    """

    def sample_in_training_mode(model: nn.Module, *args: Any, **named: Any) -> Any:
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
        rates = [layer.p for layer in layers]
        for layer in layers:
            layer.p = rate
        try:
            return sample(model.train(), *args, **named)
        finally:
            model.eval()
            for layer, before in zip(layers, rates, strict=True):
                layer.p = before

    return _replaced(rollout, "sample", sample_in_training_mode)


def late_index() -> Bug:
    """The state *after* a token is read in place of the one before it.

    Old and new log-probabilities, those of the reference and the values all share the index.
    """

    def response_states(
        tokens: Tensor, prompt_lengths: Tensor, response_ids: Tensor, response_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        lengths = response_mask.sum(1)
        mask = response_mask[:, : int(lengths.max())].bool()
        tokens = tokens[:, : int((prompt_lengths + lengths).max())]
        row, t = mask.nonzero(as_tuple=True)
        at = row * tokens.shape[1] + prompt_lengths[row] + t  # sound: − 1 + t
        return tokens, at, mask, response_ids[:, : mask.shape[1]][mask]

    return _replaced(rollout, "response_states", response_states)


def unmasked_whitening() -> Bug:
    """Advantages are whitened over the whole rectangle, the zeros of padding included."""

    def whiten(x: Tensor, mask: Tensor, *args: Any, **named: Any) -> Tensor:
        return masked_whiten(x, torch.ones_like(mask), *args, **named)

    return _replaced(objectives, "masked_whiten", whiten)


def stale_reference(other: nn.Module) -> Bug:
    """π_ref is ``other``, what a stale path loads, and not the policy that training starts from."""
    sound = PPOTrainer.__init__

    def start(self: PPOTrainer, policy: nn.Module, _: nn.Module, *args: Any, **named: Any) -> None:
        sound(self, policy, other, *args, **named)

    return _replaced(PPOTrainer, "__init__", start)


def flipped_kl() -> Bug:
    """The policy is paid β per nat by which it leaves the reference."""

    def shaped(scores: Tensor, logp: Tensor, ref_logp: Tensor, mask: Tensor, beta: float) -> Tensor:
        return shaped_rewards(scores, ref_logp, logp, mask, beta)  # sound: logp, ref_logp

    return _replaced(objectives, "shaped_rewards", shaped)


def misplaced_score() -> Bug:
    """The score goes to the last column, which only the longest response of a batch reaches."""

    def shaped(scores: Tensor, logp: Tensor, ref_logp: Tensor, mask: Tensor, beta: float) -> Tensor:
        rewards = shaped_rewards(torch.zeros_like(scores), logp, ref_logp, mask, beta)
        rewards[:, -1] += scores  # sound: the last column *of each row* that the mask holds
        return rewards

    return _replaced(objectives, "shaped_rewards", shaped)


class _LateValue(nn.Module):
    """A value function whose guess for a state has read the token that follows."""

    def __init__(self, value: ScalarModel) -> None:
        super().__init__()
        self.value = value

    def forward(self, tokens: Tensor) -> Tensor:
        values = self.value(tokens)
        return torch.cat([values[:, 1:], values[:, -1:]], 1)  # sound: values


def leaking_value() -> Bug:
    """The baseline of a token has seen it (but at the end of the longest response of a pass)."""
    sound = PPOTrainer.__init__

    def start(
        self: PPOTrainer, policy: nn.Module, reference: nn.Module, reward: Any,
        value: ScalarModel, *args: Any, **named: Any,
    ) -> None:  # fmt: skip
        sound(self, policy, reference, reward, cast(Any, _LateValue(value)), *args, **named)

    return _replaced(PPOTrainer, "__init__", start)


def summed_ptx() -> Bug:
    """Each micro-batch adds the gradient of its own mean: γ is multiplied by their number.

    The loss is logged as it should be.
    """

    def backward_ptx(self: PPOTrainer, step: int) -> dict[str, float]:
        config, blocks = self.config, cast(Tensor, self.pretrain)
        order = IndexSampler(len(blocks), config.ptx_minibatch_size, config.seed + 1)
        blocks = blocks[order.indices(step)].long()
        losses = []
        for part in blocks.split(config.micro_batch_size or len(blocks)):
            losses.append(lm_loss(self.logits(part), part))  # sound: total=all predicted tokens
            self.accelerator.backward(config.gamma * losses[-1])
        return {"ptx/loss": float(torch.stack(losses).detach().mean())}

    return _replaced(PPOTrainer, "_backward_ptx", backward_ptx)


# --- examinations -------------------------------------------------------------------------------

Make = Callable[..., PPOTrainer]
"""Keyword arguments are fields of :class:`~rlhf_lab.config.PPOConfig` to change; a trainer that has
not run, with a policy of its own. At the start the policy is a copy of the reference."""


def episodes(
    trainer: PPOTrainer,
    count: int = 8,
    *,
    uniform: Tensor | None = None,
    reward: Callable[..., Tensor] | None = None,
    beta: float | None = None,
) -> Rollout:
    """Answers of a trainer's policy to its first prompts, by the loop's own ``collect``.

    Args:
        count: of answers; prompts are used again when there are fewer.
        uniform: (count, T) float64, the randomness; drawn from the seed of the run when left out.
        reward: in place of the trainer's own; beta: of its own weight of the KL penalty.
    """
    config, prompts = trainer.config, trainer.prompts
    if uniform is None:
        generator = torch.Generator().manual_seed(config.seed)
        shape = count, config.max_response_length
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    return rollout.collect(
        trainer.logits,
        trainer.reference,
        reward or trainer.reward,
        trainer.value,
        [prompts[row % len(prompts)] for row in range(len(uniform))],
        config,
        eos_token_id=trainer.eos,
        pad_token_id=trainer.pad,
        uniform=uniform,
        beta=beta,
    )


@torch.no_grad()
def moved(trainer: PPOTrainer, share: float = 0.05) -> PPOTrainer:
    """The trainer, its policy moved away from the reference by noise.

    Args:
        share: standard deviation of the noise over that of the weights of a matrix.
    """
    generator = torch.Generator().manual_seed(trainer.config.seed)
    for weight in trainer.policy.parameters():
        noise = torch.randn(weight.shape, generator=generator).to(weight)
        weight.add_(share * weight.std() * noise)
    return trainer


def first_ratio(make: Make) -> float:
    """½·E[(log ρ)²] in the first minibatch, before any step, where both policies are one.

    Above rounding the trainer itself stops with an InputError.
    """
    return make().iterate(0)["policy/first_approxkl"]


@torch.no_grad()
def missing_tail(make: Make, count: int = 48, rank: int = 50) -> float:
    """How surprising it is, in nats, to have seen so few tokens beyond the likeliest ``rank``.

    −log of the chance of at most as many, where the policy says how many on average, by Poisson's
    distribution: too many are not seen. At temperature 2, where the tail of a policy is thick
    enough to be missed.
    """
    trainer = make(temperature=2.0)
    found, expected, seen = episodes(trainer, count), 0.0, 0
    for rows in torch.arange(count).split(trainer.config.rows_per_pass):
        tokens, at, _, drawn = found.states(rows)
        p = (trainer.logits(tokens, at) / trainer.config.temperature).softmax(-1)
        best = p.topk(rank, dim=-1).values
        expected += float((1 - best.sum(1)).sum())
        seen += int((p.gather(1, drawn[:, None])[:, 0] < best[:, -1]).sum())
    return abs(float(poisson.logcdf(seen, expected)))


def surprise(make: Make, count: int = 48) -> float:
    """Size of the mean of −log π(y_t) − H_t over its standard error: small if π drew the tokens."""
    found = episodes(make(), count)
    excess = (-found.logprobs - found.entropy)[found.response_mask.bool()].double()
    return float(excess.mean().abs() / (excess.std() / len(excess) ** 0.5))


def replay(make: Make) -> float:
    """Share of answers that differ when they are drawn again with the same numbers."""
    trainer = make()
    first, again = (episodes(trainer).response_ids.tolist() for _ in range(2))
    return sum(a != b for a, b in zip(first, again, strict=True)) / len(first)


@torch.no_grad()
def rescored(make: Make, count: int = 4) -> float:
    """Largest difference, in nats, from log-probabilities that are computed row by row.

    The model is called as its own documentation says, on one unpadded answer at a time. For a
    temperature of 1.
    """
    trainer = make()
    found, gaps = episodes(trainer, count), []
    for row in range(count):
        start, length = int(found.prompt_lengths[row]), int(found.response_mask[row].sum())
        tokens = found.tokens[row, : start + length]
        logp = trainer.policy(tokens[None]).logits[0].log_softmax(-1)
        own = logp[start - 1 : -1].gather(1, tokens[start:, None])[:, 0]
        gaps.append((found.logprobs[row, :length] - own).abs().max())
    return float(torch.stack(gaps).max())


def centred(make: Make) -> float:
    """Size of the mean advantage over real tokens, in standard deviations."""
    found = episodes(make())
    return float(objectives.masked_mean(found.advantages, found.response_mask).abs())


def kl_at_start(make: Make) -> float:
    """Exact KL from the reference in nats per response, before the first step."""
    return float(episodes(make()).kl.sum(1).mean())


def charge(make: Make) -> float:
    """What one unit of β changes in rewards, against −(log π − log π_ref); largest gap, nats.

    For rewards that are not whitened, as in :func:`score_place`.
    """
    trainer = moved(make())
    free, charged = (episodes(trainer, beta=beta) for beta in (0.0, 1.0))
    wanted = free.ref_logprobs - free.logprobs
    return float((charged.rewards - free.rewards - wanted).abs().max())


def score_place(make: Make) -> float:
    """What one point of score changes in the rewards, against one point on the last token."""
    trainer = make()
    plain = episodes(trainer)
    better = episodes(trainer, reward=lambda *answer: trainer.reward(*answer) + 1)
    mask = plain.response_mask
    wanted = mask - torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], 1)
    return float((better.rewards - plain.rewards - wanted).abs().max())


def foresight(make: Make, t: int = 4) -> float:
    """How far a guess of the value function depends on tokens that were not yet drawn.

    Two sets of answers share their random numbers before token t (from 0): so they share these
    tokens, and the values of the states before tokens 0 to t. Largest difference, points of score.
    """
    trainer = make()
    shape = 8, trainer.config.max_response_length
    generator = torch.Generator().manual_seed(trainer.config.seed)
    one, other = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
    other[:, :t] = one[:, :t]
    first, second = (episodes(trainer, uniform=uniform) for uniform in (one, other))
    same = (first.response_mask[:, t] & second.response_mask[:, t]).bool()
    gap = first.values[same, : t + 1] - second.values[same, : t + 1]
    return float(gap.abs().max())


def ptx_gradient(trainer: PPOTrainer) -> Tensor:
    """γ·∇L_ptx of the first minibatch as one vector, as the loop would add it."""
    trainer._backward_ptx(0)
    return gradient(trainer.state.policy_optimizer)


def micro_batches(make: Make) -> float:
    """Size of the log ratio of the pretraining gradient's norms, in one piece and in twos.

    A gradient of the right length and another direction passes.
    """
    whole, cut = (ptx_gradient(make(micro_batch_size=size)).norm() for size in (0, 2))
    return float((cut / whole).log().abs())


LIMITS: dict[Callable[[Make], float], float] = {
    missing_tail: 12.0,  # a sound sampler is above it once in e¹² = 160,000 times
    replay: 0.0,
    rescored: 1e-3,
    centred: 1e-4,
    kl_at_start: 1e-4,
    charge: 1e-3,
    score_place: 1e-4,
    foresight: 1e-3,
    micro_batches: 1e-3,
    surprise: 4.5,  # likewise, for normal noise
    first_ratio: 1e-6,
}
"""What a sound loop does not exceed: noise of sampling for two, rounding for the others."""
NOISY = (missing_tail, surprise)
"""Those whose number depends on the draws; the others are exact."""
