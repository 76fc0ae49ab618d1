"""Every equation of the book as a pure function of tensors: read this file first.

Shapes: B responses, T tokens of a response, V words of the vocabulary, N completions. A mask is
0/1 or bool and is 1 on real response tokens, EOS included; what stands where it is 0 never changes
a result. float64 in gives float64 out, half precision is computed in float32. Natural logarithms,
so a KL is in nats. No function here knows a model, a device or a process. A loss is a sum over
valid tokens divided by ``total``: by default the count here; pass the count of the whole minibatch
to add losses up over micro-batches and processes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from rlhf_lab.errors import InputError

Stats = dict[str, Tensor]


def _real(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def masked_mean(x: Tensor, mask: Tensor, total: Tensor | float | None = None) -> Tensor:
    """Σ_i m_i·x_i / n, with n = Σ_i m_i unless ``total`` is given (label ``eq-masked-mean``).

    ``x`` and ``mask`` have one shape; the result is a scalar, 0 for an empty mask.
    """
    count = mask.sum().clamp(min=1) if total is None else total
    return _real(x).masked_fill(~mask.bool(), 0).sum() / count


def token_logprobs(logits: Tensor, tokens: Tensor, temperature: float = 1.0) -> Tensor:
    """log π(y_t | x, y_<t) = z_t[y_t]/τ − log Σ_v exp(z_t[v]/τ) (label ``eq-token-logprob``).

    Args:
        logits: (..., V), usually (B, T, V): ``logits[:, t]`` predicts ``tokens[:, t]``.
        tokens: (...), int64; the result has this shape, in nats.
        temperature: τ > 0, else InputError; one for sampling and all log-probabilities of a run.
    """
    if not temperature > 0:
        raise InputError("temperature", temperature, "a number above 0", "use 1.0, or greedy")
    scaled = _real(logits) if temperature == 1.0 else _real(logits) / temperature
    losses = F.cross_entropy(scaled.flatten(0, -2), tokens.flatten(), reduction="none")
    return -losses.view(tokens.shape)


def kl_estimate(logp: Tensor, ref_logp: Tensor, kind: str = "k1") -> Tensor:
    """Per-token estimates of KL(π ‖ π_ref) from samples of π, with d = log π − log π_ref.

    k1 = d (label ``eq-kl-k1``), k2 = d²/2 (``eq-kl-k2``), k3 = e^(−d) − 1 + d (``eq-kl-k3``).
    k1 and k3 are unbiased for samples of π, the policy of ``logp``; k1 may be negative. k3 with the
    sign of d turned round is a known bug of several public codes.

    Source: J. Schulman, *Approximating KL Divergence* (2020).

    Args:
        logp: (B, T) log-probabilities under the policy that drew the tokens.
        ref_logp: (B, T) the same tokens under the reference.
        kind: "k1", "k2" or "k3", else InputError.
    """
    d = _real(logp) - _real(ref_logp)
    if kind == "k1":
        return d
    if kind == "k2":
        return d.square() / 2
    if kind == "k3":
        return torch.expm1(-d) + d
    raise InputError("kind", kind, "'k1', 'k2' or 'k3'", "use k1 in the reward, k3 in a log")


def exact_kl(logits: Tensor, ref_logits: Tensor) -> Tensor:
    """KL_t = Σ_v π(v | s_t)·(log π(v | s_t) − log π_ref(v | s_t)) (label ``eq-kl-exact``).

    The expectation of k1 given the state, over the full vocabulary: no sampling noise, never
    negative. Summed over the tokens of a response it is the x-axis of our plots.

    Args:
        logits: (..., V), ``ref_logits`` alike, finite, divided by τ; log-probabilities will do.
    """
    logp = F.log_softmax(_real(logits), dim=-1)
    ref_logp = F.log_softmax(_real(ref_logits), dim=-1)
    return F.kl_div(ref_logp, logp, reduction="none", log_target=True).sum(-1)


def entropy(logits: Tensor) -> Tensor:
    """H_t = −Σ_v π(v | s_t)·log π(v | s_t) in nats (label ``eq-entropy``); (..., V) to (...)."""
    logp = F.log_softmax(_real(logits), dim=-1)
    return -torch.linalg.vecdot(logp.exp(), logp)


def shaped_rewards(
    scores: Tensor, logp: Tensor, ref_logp: Tensor, mask: Tensor, beta: float
) -> Tensor:
    """ρ_t = −β·(log π_old(y_t) − log π_ref(y_t)) + [t = T]·r_ψ(x, y) (label ``eq-shaped-reward``).

    Σ_t ρ_t is the objective of one response: r(x, y) − β·log(π(y|x)/π_ref(y|x)).

    Source: Ouyang et al. 2022, §3.5, equation 2; Ziegler et al. 2019, equation 2.

    Args:
        scores: (B,) reward of each whole response.
        logp: (B, T) of the policy that sampled; ``ref_logp`` (B, T) of the reference.
        mask: (B, T); the last valid token of each row receives the score.
        beta: weight of the KL penalty, reward per nat.

    The result is (B, T), 0 outside the mask.
    """
    valid = mask.bool()
    rewards = (-beta * kl_estimate(logp, ref_logp, "k1")).masked_fill(~valid, 0)
    steps = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(valid, steps, -1).amax(1, keepdim=True)
    return rewards + torch.where(steps == last, scores.to(rewards.dtype)[:, None], 0)


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, discount: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Â_t = Σ_{k≥0} (γ_d·λ)^k·δ_{t+k},  δ_t = ρ_t + γ_d·V_{t+1} − V_t (label ``eq-gae``).

    Computed backwards as Â_t = δ_t + γ_d·λ·Â_{t+1}, with V = Â = 0 after the last valid token: a
    response ends there, whether it stopped by itself or was cut off.

    Source: Schulman et al. 2016 (arXiv 1506.02438), equations 11 and 16.

    Args:
        rewards: (B, T); values: (B, T), ``values[:, t]`` of the state *before* token t.
        mask: (B, T), valid tokens contiguous; discount: γ_d; lam: λ.

    Returns:
        Advantages (B, T) and returns R = Â + V (B, T), both 0 outside the mask.
    """
    valid = mask.bool()
    rewards, values = (_real(x).masked_fill(~valid, 0) for x in (rewards, values))
    next_value = next_advantage = torch.zeros_like(values[:, 0])
    advantages = torch.zeros_like(values)
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + discount * next_value - values[:, t]
        next_advantage = (delta + discount * lam * next_advantage) * valid[:, t]
        next_value = values[:, t]
        advantages[:, t] = next_advantage
    return advantages, advantages + values


def masked_whiten(
    x: Tensor,
    mask: Tensor,
    shift_mean: bool = True,
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """(x − μ)/√(σ² + 10⁻⁸), plus μ again unless ``shift_mean`` (label ``eq-whiten``).

    μ and σ² are the mean and the variance (divided by n) over valid tokens of the whole batch.

    Args:
        x: (B, T); mask: (B, T). Fewer than two valid tokens have σ² = 0: the result is x − μ.
        shift_mean: False keeps the mean, which in rewards has a meaning.
        reduce: sums a tensor over processes, so that all whiten with the same μ and σ².
    """
    valid, total = mask.bool(), reduce or (lambda part: part)
    x = _real(x).masked_fill(~valid, 0)
    count = total(valid.sum().to(x.dtype)).clamp(min=1)
    mean = total(x.sum()) / count
    centred = (x - mean).masked_fill(~valid, 0)
    variance = total(centred.square().sum()) / count
    whitened = centred * torch.rsqrt(variance + 1e-8)
    return whitened if shift_mean else (whitened + mean).masked_fill(~valid, 0)


def ppo_policy_loss(
    logp: Tensor,
    old_logp: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip: float = 0.2,
    total: Tensor | float | None = None,
) -> tuple[Tensor, Stats]:
    """L_PG = −(1/n)·Σ_t min(ρ_t·Â_t, clip(ρ_t, 1−ε, 1+ε)·Â_t) (label ``eq-ppo-clip``).

    ρ_t = π_θ(y_t)/π_old(y_t). The gradient flows through ``logp`` only.

    Source: Schulman et al. 2017 (arXiv 1707.06347), equation 7.

    Args:
        logp, old_logp, advantages, mask: (B, T); clip: ε; total: n, see the module's docstring.

    Returns:
        The loss, and ``{"approxkl", "clipfrac", "ratio"}``: ½·E[(log ρ)²] in nats, the share of
        tokens whose clipped term counts, and the mean ratio, all divided by the same n.
    """
    log_ratio = (_real(logp) - _real(old_logp.detach())).masked_fill(~mask.bool(), 0)
    ratio, advantages = log_ratio.exp(), advantages.detach()
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    loss = masked_mean(torch.maximum(plain, clipped), mask, total)
    with torch.no_grad():
        stats = {
            "approxkl": masked_mean(log_ratio.square() / 2, mask, total),
            "clipfrac": masked_mean((clipped > plain).to(ratio.dtype), mask, total),
            "ratio": masked_mean(ratio, mask, total),
        }
    return loss, stats


def ppo_value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    mask: Tensor,
    clip: float = 0.2,
    total: Tensor | float | None = None,
) -> tuple[Tensor, Stats]:
    """L_V = (1/2n)·Σ_t max((V − R)², (clip(V, V_old ± ε) − R)²) (label ``eq-value-clip``).

    Source: Ziegler et al. 2019 and Stiennon et al. 2020, in their published code.

    Args:
        values, old_values, returns, mask: (B, T); clip: ε in units of reward; total: n.

    Returns:
        The loss, and ``{"clipfrac", "error"}``: the share of tokens whose clipped term counts, and
        the mean squared error without clipping.
    """
    given = values, old_values.detach(), returns.detach()
    values, old_values, returns = (_real(x).masked_fill(~mask.bool(), 0) for x in given)
    bounded = torch.clamp(values, old_values - clip, old_values + clip)
    plain, clipped = (values - returns).square(), (bounded - returns).square()
    loss = masked_mean(torch.maximum(plain, clipped), mask, total) / 2
    with torch.no_grad():
        stats = {
            "clipfrac": masked_mean((clipped > plain).to(plain.dtype), mask, total),
            "error": masked_mean(plain, mask, total),
        }
    return loss, stats


def kwise_ranking_loss(
    scores: Tensor, ranks: Tensor, group: Tensor, total: Tensor | float | None = None
) -> Tensor:
    """L_RM = −mean over prompts of mean over pairs (w ≻ l) of log σ(r_w − r_l) (``eq-kwise-loss``).

    All pairs of a prompt's K completions come from K scores; a tie makes no pair; every prompt
    counts alike, whatever its K.

    Source: Ouyang et al. 2022, §3.5, equation 1, averaged over prompts as "E over D".

    Args:
        scores: (N,) r_ψ of each completion; ranks: (N,) lower is better, equal is a tie.
        group: (N,) int, completions with one number share a prompt.
        total: prompts to divide by; default: the prompts here that have at least one pair.
            No pair at all is an InputError.
    """
    ordered = (group[:, None] == group[None, :]) & (ranks[:, None] < ranks[None, :])
    better, worse = ordered.nonzero(as_tuple=True)
    if len(better) == 0:
        raise InputError("ranks", ranks.tolist(), "a pair of different ranks", "drop all-tie rows")
    _, prompt = torch.unique(group, return_inverse=True)
    pairs = torch.bincount(prompt[better])
    losses = F.softplus(_real(scores[worse]) - _real(scores[better]))
    losses = losses / pairs[prompt[better]].to(losses.dtype)
    return losses.sum() / ((pairs > 0).sum() if total is None else total)


def lm_loss(
    logits: Tensor,
    tokens: Tensor,
    mask: Tensor | None = None,
    total: Tensor | float | None = None,
) -> Tensor:
    """L_ptx = −(1/n)·Σ_t m_{t+1}·log π(x_{t+1} | x_≤t) (label ``eq-lm-loss``).

    Source: Ouyang et al. 2022, §3.5, last term of equation 2, here as a mean over tokens.

    Args:
        logits: (B, T, V); tokens: (B, T): ``logits[:, t]`` predicts ``tokens[:, t + 1]``.
        mask: (B, T), 1 on the tokens to be predicted; default: all but the first. total: n.
    """
    logp = token_logprobs(logits[:, :-1], tokens[:, 1:])
    return masked_mean(-logp, torch.ones_like(logp) if mask is None else mask[:, 1:], total)


def adaptive_beta(beta: float, kl: float, target: float, episodes: int, horizon: int) -> float:
    """β ← β·(1 + clip(KL/target − 1, ±0.2)·episodes/horizon) (label ``eq-adaptive-kl``).

    Source: Ziegler et al. 2019 (arXiv 1909.08593), §2.2.

    Args:
        kl: mean over responses of the KL summed over tokens, nats; target: likewise.
        episodes: responses since the last call; horizon: responses over which β adapts.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return beta * (1 + error * episodes / horizon)


def pass_at_k(n: int, c: int, k: int) -> float:
    """1 − C(n−c, k)/C(n, k): the chance that k of n samples hold a right one (``eq-pass-at-k``).

    Unbiased over the n samples. Source: Chen et al. 2021 (arXiv 2107.03374), equation 1.

    Args:
        n: samples drawn; c: samples that are right, 0 to n; k: samples tried, 1 to n.
    """
    if not 0 <= c <= n:
        raise InputError("c", c, f"0 to n = {n}", "count the right samples among the n")
    if not 1 <= k <= n:
        raise InputError("k", k, f"1 to n = {n}", "draw more samples, or choose a smaller k")
    miss = 1.0
    for drawn in range(k):
        miss *= max(n - c - drawn, 0) / (n - drawn)
    return 1.0 - miss
