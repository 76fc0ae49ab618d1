"""Sampling from any causal LM of transformers, with a key-value cache and nothing hidden.

``model.generate`` reads defaults from three places and in transformers 5 samples from the top 50
words unless told otherwise; PPO's log-probabilities would then be those of another distribution.
Here the distribution is softmax(logits / temperature), or its top k when ``top_k`` is set, and the
draw is the inverse of its distribution function at one uniform number per token. The numbers are
drawn first, one row per response, so a response depends only on its own row: rows that are done
leave the batch (the rest then costs less) and no other row notices.

Left out: CUDA graphs, beams, penalties.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.cache_utils import DynamicCache, DynamicLayer

from rlhf_lab.errors import DivergenceError, InputError
from rlhf_lab.models import accepted, position_ids, unwrap

SHRINK = 0.85  # drop finished rows when at most this share of the batch is still writing


class _Buffer(DynamicLayer):
    """A layer's cache in one allocation: ``DynamicLayer`` copies the whole past at every token."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self.filled = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append (B, heads, n, d) and return everything so far as views."""
        if self.filled == 0:
            rows, heads = key_states.shape[:2]
            size = (rows, heads, self.length)
            self.all_keys = key_states.new_empty(*size, key_states.shape[3])
            self.all_values = value_states.new_empty(*size, value_states.shape[3])
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        end = self.filled + key_states.shape[2]
        self.all_keys[:, :, self.filled : end] = key_states
        self.all_values[:, :, self.filled : end] = value_states
        self.filled = end
        self._expose()
        return self.keys, self.values

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows of the batch."""
        self.all_keys = self.all_keys[rows]
        self.all_values = self.all_values[rows]
        self._expose()

    def _expose(self) -> None:
        self.keys = self.all_keys[:, :, : self.filled]
        self.values = self.all_values[:, :, : self.filled]


def _cache(model: Any, length: int) -> DynamicCache:
    cache = DynamicCache(config=model.config)
    cache.layers = [_Buffer(length) if type(x) is DynamicLayer else x for x in cache.layers]
    return cache


def uniform_numbers(seed: int, iteration: int, shape: tuple[int, int]) -> Tensor:
    """The numbers (B, T) in [0, 1), float64, that draw the responses of one iteration of a run.

    A function of both arguments. A generator on the CPU reads only 32 bits of its seed, so the
    run's own is spread over them by a multiplication (Knuth's): ``(seed << 32) + iteration`` would
    draw alike in every run.
    """
    own = (2_654_435_761 * seed + iteration) % 2**32
    generator = torch.Generator().manual_seed(own)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def choose(
    logits: Tensor,
    uniform: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    greedy: bool = False,
) -> Tensor:
    """One token per row: the smallest v with Σ_{u≤v} p(u) > uniform, p = softmax(logits/τ).

    Args:
        logits: (B, V); uniform: (B,) float64 in [0, 1).
        top_k: keep the k most probable tokens (ties with the last one stay); 0 keeps all.
        greedy: the most probable token instead.

    Returns:
        (B,) int64. A token of probability 0 is never chosen.
    """
    if greedy:
        return logits.argmax(-1)
    if 0 < top_k < logits.shape[-1]:
        smallest = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    precise = torch.float32 if logits.device.type == "mps" else torch.float64
    p = F.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature, -1)
    cumulative = p.to(precise).cumsum(-1)
    total = cumulative[:, -1:]
    # Rounding must not carry the threshold to the total: no index would lie above it.
    threshold = torch.minimum(
        uniform.to(precise)[:, None] * total, torch.nextafter(total, torch.zeros_like(total))
    )
    return torch.searchsorted(cumulative, threshold, right=True).squeeze(1)


@torch.no_grad()
def sample(
    model: nn.Module,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int = 0,
    greedy: bool = False,
    eos_token_id: int,
    pad_token_id: int,
    generator: torch.Generator | None = None,
    uniform: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw one response per prompt from π(y | x) at the given temperature.

    Args:
        model: a causal LM of transformers, a PEFT wrapper included; call it in eval mode.
        prompt_ids: (B, P) int64, left-padded; prompt_mask: (B, P), 1 on real tokens.
        max_new_tokens: T, the longest response, EOS included.
        temperature: τ > 0; top_k: 0 for the whole vocabulary; greedy: argmax, no randomness.
        generator: on the CPU; draws (B, T) float64 uniform numbers once. None: torch's default.
        uniform: these numbers, drawn by the caller.

    Returns:
        response_ids (B, T) int64, pads after EOS; response_mask (B, T) int64, 1 up to EOS and on
        it; stopped (B,) bool, False for a response that was cut off at T tokens without EOS.

    Raises:
        InputError: for an empty prompt, pad = EOS, or a number outside its range.
        DivergenceError: when the logits are not finite.
    """
    _check(prompt_mask, max_new_tokens, temperature, top_k, eos_token_id, pad_token_id)
    causal_lm = cast(Any, unwrap(model))
    rows, device = len(prompt_ids), prompt_ids.device
    if uniform is None:
        uniform = torch.rand(rows, max_new_tokens, generator=generator, dtype=torch.float64)
    if device.type != "mps":  # MPS has no float64
        uniform = uniform.to(device)
    response_ids = torch.full((rows, max_new_tokens), pad_token_id, device=device)
    stopped = torch.zeros(rows, dtype=torch.bool, device=device)

    first = int(prompt_mask.long().argmax(1).min())  # columns of pads only are cut off
    tokens, mask = prompt_ids[:, first:], prompt_mask[:, first:].long()
    cache = _cache(causal_lm, mask.shape[1] + max_new_tokens)
    positions = position_ids(mask)
    active = torch.arange(rows, device=device)  # rows still in the batch
    for t in range(max_new_tokens):
        logits = model(
            input_ids=tokens,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **accepted(causal_lm, position_ids=positions, logits_to_keep=1),
        ).logits[:, -1]
        chance = uniform[active.to(uniform.device), t].to(device)
        if not bool(torch.isfinite(logits.logsumexp(-1)).all()):
            raise DivergenceError(
                f"logits of the policy are not finite at response token {t}; go back to a "
                "checkpoint before, with a lower learning rate"
            )
        drawn = choose(logits, chance, temperature=temperature, top_k=top_k, greedy=greedy)
        writing = ~stopped[active]
        response_ids[active[writing], t] = drawn[writing]
        stopped[active] |= drawn == eos_token_id
        going_on = (~stopped[active]).nonzero().squeeze(1)
        if len(going_on) == 0 or t + 1 == max_new_tokens:
            break
        positions = positions[:, -1:] + 1
        if len(going_on) <= SHRINK * len(active) and all(
            isinstance(layer, _Buffer) for layer in cache.layers
        ):
            active, drawn = active[going_on], drawn[going_on]
            mask, positions = mask[going_on], positions[going_on]
            for layer in cache.layers:
                cast(_Buffer, layer).keep(going_on)
        tokens = drawn[:, None]
        mask = F.pad(mask, (0, 1), value=1)

    is_eos = (response_ids == eos_token_id).long()
    earlier_eos = is_eos.cumsum(1) - is_eos
    return response_ids, (earlier_eos == 0).long(), stopped


def _check(
    prompt_mask: Tensor,
    max_new_tokens: int,
    temperature: float,
    top_k: int,
    eos_token_id: int,
    pad_token_id: int,
) -> None:
    if eos_token_id == pad_token_id:
        raise InputError("pad_token_id", pad_token_id, "an id other than EOS", "add a pad token")
    if not temperature > 0:
        raise InputError("temperature", temperature, "a number above 0", "use greedy=True for 0")
    if max_new_tokens < 1:
        raise InputError("max_new_tokens", max_new_tokens, "1 or more", "ask for a token")
    if top_k < 0:
        raise InputError("top_k", top_k, "0 or more", "use 0 for the whole vocabulary")
    if prompt_mask.shape[0] == 0 or not bool((prompt_mask[:, -1] != 0).all()):
        raise InputError(
            "prompt_mask",
            prompt_mask[:, -1:].flatten().tolist(),
            "1 in the last column of every row",
            "pad on the left, and drop empty prompts",
        )
