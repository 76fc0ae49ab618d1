"""What PPO-ptx refuses before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from rlhf_lab.config import PPOConfig
from rlhf_lab.encoding import encode_prompts, require_special_tokens
from rlhf_lab.errors import InputError
from rlhf_lab.models import trainable, unwrap


def check_inputs(
    policy: nn.Module,
    reference: nn.Module,
    reward: object,
    value: nn.Module,
    tokenizer: Any,
    prompts: Sequence[str] | Sequence[Sequence[int]],
    pretrain: Tensor | None,
    config: PPOConfig,
) -> list[list[int]]:
    """Everything below except the processes; the prompts as lists of token ids.

    Raises:
        InputError: see the functions below.
    """
    check_models(policy, reference, value, reward)
    check_pretrain(pretrain, policy, config)
    return token_prompts(prompts, tokenizer, policy, config)


def check_models(policy: nn.Module, reference: nn.Module, value: nn.Module, reward: object) -> None:
    """Refuse models that cannot be trained together.

    Raises:
        InputError: for a policy that is its own reference, models of different vocabularies, a
            model without trainable weights, or a reward that cannot be called.
    """
    if unwrap(reference) is unwrap(policy):
        fix = "pass copy.deepcopy(policy), made before training"
        raise InputError("reference", "the policy itself", "a frozen copy of the policy", fix)
    sizes = [_vocabulary(policy), _vocabulary(reference)]
    if sizes[0] != sizes[1]:
        raise InputError(
            "reference",
            f"{sizes[1]} words",
            f"the policy's {sizes[0]} words",
            "use the SFT model that the policy started from",
        )
    for name, model in (("policy", policy), ("value", value)):
        if not trainable(model):
            raise InputError(
                name, "no trainable weight", "weights that require grad", "unfreeze some"
            )
    if not callable(reward):
        fix = "pass reward_function(reward_model), or a function of (prompts, responses, mask)"
        raise InputError("reward", type(reward).__name__, "a callable", fix)


def token_prompts(
    prompts: Sequence[str] | Sequence[Sequence[int]],
    tokenizer: Any,
    policy: nn.Module,
    config: PPOConfig,
) -> list[list[int]]:
    """Prompts, text or token ids, as lists of token ids that fit.

    Raises:
        InputError: for no prompts, an empty one, one that is too long for ``max_prompt_length`` or
            with its response for the model's context, ids outside the vocabulary, or pads in it.
    """
    _, pad = require_special_tokens(tokenizer)
    if len(prompts) == 0:
        raise InputError("prompts", [], "at least one prompt", "give some prompts")
    if all(isinstance(prompt, str) for prompt in prompts):
        rows = encode_prompts(tokenizer, [str(prompt) for prompt in prompts])
    elif any(isinstance(prompt, str) for prompt in prompts):
        raise InputError("prompts", "texts and token lists", "one kind", "encode the texts")
    else:
        rows = [[int(token) for token in prompt] for prompt in prompts]
    words, context = _vocabulary(policy), _context(policy)
    for index, row in enumerate(rows):
        name = f"prompt {index}"
        if not row:
            raise InputError(name, prompts[index], "at least one token", "remove it")
        if len(row) > config.max_prompt_length:
            raise InputError(
                name,
                f"{len(row)} tokens",
                f"max_prompt_length = {config.max_prompt_length}",
                "shorten the prompt or raise max_prompt_length",
            )
        if len(row) + config.max_response_length > context:
            raise InputError(
                name,
                f"{len(row)} tokens, and a response of {config.max_response_length}",
                f"the {context} positions of the model",
                "shorten the prompt or lower max_response_length",
            )
        if min(row) < 0 or max(row) >= words or pad in row:
            raise InputError(
                name, row, f"ids 0 to {words - 1}, not pad = {pad}", "use the model's tokenizer"
            )
    return rows


def check_pretrain(pretrain: Tensor | None, policy: nn.Module, config: PPOConfig) -> None:
    """Refuse a pretraining mix that cannot be read.

    Raises:
        InputError: when gamma is above 0 and there are no blocks, or for blocks of a wrong shape,
            type or length, or with ids outside the vocabulary.
    """
    if pretrain is None:
        if config.gamma > 0:
            fix = "pass blocks from rlhf_lab.encoding.pack_blocks, or set gamma to 0"
            raise InputError("pretrain", None, f"token blocks, as gamma = {config.gamma}", fix)
        return
    words, context = _vocabulary(policy), _context(policy)
    got = f"{pretrain.dtype} {tuple(pretrain.shape)}"
    kind = pretrain.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8)
    if not kind or pretrain.dim() != 2 or len(pretrain) == 0 or pretrain.shape[1] < 2:
        fix = "make it with rlhf_lab.encoding.pack_blocks"
        raise InputError("pretrain", got, "integers (N, L), N at least 1 and L at least 2", fix)
    if pretrain.shape[1] > context:
        raise InputError(
            "pretrain", got, f"blocks of at most {context} tokens", "pack shorter blocks"
        )
    low, high = int(pretrain.min()), int(pretrain.max())
    if low < 0 or high >= words:
        raise InputError(
            "pretrain", f"ids {low} to {high}", f"ids 0 to {words - 1}", "use the model's tokenizer"
        )


def check_processes(config: PPOConfig, processes: int, mixed_precision: str) -> None:
    """Refuse a number of processes that does not divide a minibatch, and autocast.

    Raises:
        InputError: naming the number that does not divide.
    """
    for name, size in (
        ("minibatch_size", config.minibatch_size),
        ("ptx_minibatch_size", config.ptx_minibatch_size),
    ):
        if size % processes:
            fix = "change batch_size, minibatches or ptx_ratio, or the number of processes"
            raise InputError(name, size, f"a multiple of the {processes} processes", fix)
    if mixed_precision != "no":
        fix = "load the models in bfloat16 instead, or start another process without it"
        raise InputError("mixed_precision", mixed_precision, "'no'", fix)


def check_scores(scores: object, count: int) -> Tensor:
    """What a reward callable returned, as (count,) floats.

    Raises:
        InputError: unless it is a tensor of that shape and every number is finite.
    """
    if not isinstance(scores, Tensor) or scores.shape != (count,):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        fix = "return one number per response"
        raise InputError("reward", got, f"a tensor of shape ({count},)", fix)
    bad = (~torch.isfinite(scores)).nonzero().flatten().tolist()
    if bad:
        fix = f"check what the reward function does with responses {bad[:8]}"
        raise InputError("reward", scores[bad].tolist(), "finite numbers", fix)
    return scores.detach().to(torch.promote_types(scores.dtype, torch.float32))


def check_on_policy(found: dict[str, float], dtype: torch.dtype) -> None:
    """Before the first step of an iteration new and old policy are one: ratio 1, KL and clip 0.

    Args:
        found: statistics of the first minibatch; dtype: of the policy's weights, which sets how
            far two batches of another composition may differ by rounding.

    Raises:
        InputError: when they differ by more than rounding, as under dropout.
    """
    drift = found["policy/approxkl"]
    allowed = {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, 1e-2)
    if drift > allowed or (found["policy/clipfrac"] > 0 and allowed < 1e-2):
        raise InputError(
            "policy",
            f"approx-KL {drift:.1e} before the first step",
            f"at most {allowed}: a model that gives the same log-probabilities twice",
            "switch off dropout and everything else that is random in its forward pass",
        )


def _vocabulary(model: nn.Module) -> int:
    return int(cast(Any, unwrap(model)).get_output_embeddings().weight.shape[0])


def _context(model: nn.Module) -> int:
    config = cast(Any, unwrap(model)).config.to_dict()
    for name in ("n_positions", "max_position_embeddings"):  # GPT-2's name, everyone else's
        if name in config:
            return int(config[name])
    return 2**31
