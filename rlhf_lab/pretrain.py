"""Step 0: a base model, trained from random weights on next-token prediction.

Left out on purpose: gradient accumulation, several processes, torch.compile (measured on a CPU
with the tiny model: under 5 % faster, after half a minute of compiling). The models are small
enough that one plain loop on one device is the fastest to read and to run.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from rlhf_lab.checkpoints import (
    alone_in,
    clear_checkpoints,
    latest_checkpoint,
    load_checkpoint,
    load_optimizer_state,
    optimizer_state,
    prefixed,
    require_same_config,
    require_same_data,
    save_checkpoint,
    selected,
)
from rlhf_lab.config import PretrainConfig
from rlhf_lab.data import IndexSampler
from rlhf_lab.encoding import IGNORED
from rlhf_lab.errors import DivergenceError, InputError
from rlhf_lab.fingerprint import tensor_fingerprint
from rlhf_lab.optimization import adamw, warmup_cosine
from rlhf_lab.runtime import interruptible, seed_everything
from rlhf_lab.tracking import Callback, Progress, Tracker

EOS_TOKEN = "<|endoftext|>"
PAD_TOKEN = "<|pad|>"

# A ladder: each rung has about five times the matrix weights of the one below.
ARCHITECTURES: dict[str, dict[str, int]] = {
    "nano": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256},
    "micro": {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 256},
    "tiny": {"n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 256},
    "base": {"n_embd": 256, "n_layer": 5, "n_head": 8, "n_positions": 256},
}


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE without normalisation: every text comes back exactly.

    Ids 0 and 1 are EOS and pad, then come the 256 bytes, then the merges.

    Raises:
        InputError: when ``vocab_size`` leaves no room for the 256 bytes and two special tokens.
    """
    if vocab_size < 258:
        raise InputError(
            "vocab_size", vocab_size, "at least 258 (256 bytes, EOS, pad)", "choose a larger one"
        )
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS_TOKEN, PAD_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return wrap_tokenizer(bpe)


def wrap_tokenizer(bpe: Tokenizer) -> PreTrainedTokenizerFast:
    """A trained byte-level BPE as transformers uses it, with its two special tokens named."""
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=EOS_TOKEN,
        pad_token=PAD_TOKEN,
        clean_up_tokenization_spaces=False,
    )


def require_preset(name: str) -> None:
    """Refuse a preset that is none.

    Raises:
        InputError: naming those that are.
    """
    if name not in ARCHITECTURES:
        raise InputError("preset", name, ", ".join(ARCHITECTURES), "choose one of these")


def architecture(name: str, tokenizer: PreTrainedTokenizerFast) -> GPT2Config:
    """The configuration of a preset for this tokenizer's vocabulary.

    The activation is the exact GELU, three times as fast on a CPU as GPT-2's approximation of it.

    Raises:
        InputError: for an unknown preset.
    """
    require_preset(name)
    return GPT2Config(
        **ARCHITECTURES[name],
        vocab_size=len(tokenizer),
        activation_function="gelu",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def learning_rate(step: int, config: PretrainConfig) -> float:
    """Learning rate of ``step``, counted from 0."""
    shape = warmup_cosine(step, config.steps, config.warmup_steps, config.final_fraction)
    return config.learning_rate * shape


def block_loss(model: nn.Module, blocks: Tensor) -> Tensor:
    """Mean cross-entropy, in nats per token, of each token of (B, L) after its block's first."""
    logits = model(input_ids=blocks, use_cache=False).logits
    # Shifting the targets instead of the logits saves a copy of the largest tensor.
    targets = nn.functional.pad(blocks[:, 1:].long(), (0, 1), value=IGNORED)
    return nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


@torch.no_grad()
def held_out_loss(model: nn.Module, blocks: Tensor, batch_size: int = 32) -> float:
    """Mean cross-entropy over ``blocks`` (N, L), in nats per token."""
    losses = [block_loss(model, part) * len(part) for part in blocks.split(batch_size)]
    return float(torch.stack(losses).sum() / len(blocks))


def pretrain(
    blocks: Tensor,
    model_config: GPT2Config | str,
    config: PretrainConfig,
    *,
    tokenizer: PreTrainedTokenizerFast,
    output_dir: str | Path | None = None,
    held_out: Tensor | None = None,
    callback: Callback | None = None,
    device: torch.device | str = "cpu",
    trackers: Sequence[str] = (),
    resume: bool = True,
    quiet: bool = False,
) -> tuple[GPT2LMHeadModel, list[dict[str, Any]]]:
    """Train a base model on packed blocks.

    With ``config.precision = "bfloat16"`` the matrix products of the forward and the backward pass
    are taken in bfloat16; weights, gradients, the optimiser's moments, the loss and every
    ``held_out_loss`` are float32 (mixed precision; Micikevicius et al. 2018, without their loss
    scaling, which bfloat16's eight bits of exponent make needless).

    Args:
        blocks: token ids, integer (N, L) with L = ``config.block_length``.
        model_config: a GPT-2 configuration, or the name of a preset.
        output_dir: folder of checkpoints and metrics; None for none.
        held_out: blocks (M, L) whose loss is measured every ``config.evaluate_every`` steps.
        callback: called with the step and its metrics at every logged step.
        resume: go on from the newest checkpoint of ``output_dir``, bit for bit as if never
            stopped; False removes what is there.

    Returns:
        the model in evaluation mode, and the logged metrics: ``loss`` (nats per token, mean since
        the last row), ``lr``, ``grad_norm``, ``tokens_per_second``, ``held_out_loss``.

    Raises:
        InputError: for blocks of the wrong shape or with ids outside the vocabulary.
        CheckpointError: when the newest checkpoint is damaged or of another configuration or data.
        DivergenceError: when the loss is not finite.
    """
    if isinstance(model_config, str):
        model_config = architecture(model_config, tokenizer)
    for name, tensor in (("blocks", blocks), ("held_out", held_out)):
        if tensor is not None:
            _check_blocks(name, tensor, config, model_config)

    seed_everything(config.seed)
    model = GPT2LMHeadModel(model_config).to(device).train()
    optimizer = adamw(model, config.learning_rate, config.weight_decay)
    sampler = IndexSampler(len(blocks), config.batch_size, config.seed)
    data = tensor_fingerprint(blocks)
    blocks = blocks.to(device)
    held_out = None if held_out is None else held_out.to(device)

    mixed = config.precision == "bfloat16"
    loss_sum = torch.zeros((), device=device)
    since, clock = 0, time.perf_counter()
    with (
        alone_in(output_dir),
        interruptible() as interrupt,
        Progress(config.steps, "pretrain", quiet=quiet) as progress,
    ):
        start = _resume(model, optimizer, config, data, output_dir, resume)
        tracker = Tracker(output_dir, config, trackers, resume_step=start or None)
        progress.update(start)
        for step in range(start, config.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, config)
            batch = blocks[sampler.indices(step).to(device)]
            with torch.autocast(batch.device.type, torch.bfloat16, enabled=mixed):
                loss = block_loss(model, batch)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss_sum += loss.detach()
            since += 1

            done = step + 1
            stop = interrupt.requested  # read once: a step that ends the run is a step that saves
            last = done == config.steps or stop
            save_now = output_dir is not None and (done % config.checkpoint_every == 0 or last)
            log_now = done % config.log_every == 0 or last
            if log_now or save_now:  # reading a number waits for the device: not at every step
                mean = loss_sum.item() / since
                if not math.isfinite(mean + norm.item()):
                    raise DivergenceError(
                        f"pretrain: loss {mean}, gradient norm {norm.item()} at step {done}; "
                        "lower learning_rate and resume from the last checkpoint"
                    )
            if log_now:
                seconds = time.perf_counter() - clock
                metrics: dict[str, Any] = {
                    "loss": mean,
                    "lr": optimizer.param_groups[0]["lr"],
                    "grad_norm": norm,
                    "tokens_per_second": round(since * batch.numel() / seconds),
                }
                if held_out is not None and (done % config.evaluate_every == 0 or last):
                    metrics["held_out_loss"] = held_out_loss(model.eval(), held_out)
                    model.train()
                row = tracker.log(done, metrics)
                if callback is not None:
                    callback(done, row)
                progress.update(since, loss=mean)
                loss_sum.zero_()
                since, clock = 0, time.perf_counter()
            if output_dir is not None and save_now:
                _save(model, optimizer, config, data, output_dir, done)
            if stop:
                break
    tracker.close()
    return model.eval(), tracker.history


def _check_blocks(
    name: str, blocks: Tensor, config: PretrainConfig, model_config: GPT2Config
) -> None:
    if blocks.dim() != 2 or blocks.is_floating_point() or blocks.shape[1] != config.block_length:
        raise InputError(
            name,
            f"{blocks.dtype} {tuple(blocks.shape)}",
            f"integers (N, block_length = {config.block_length})",
            "make it with rlhf_lab.encoding.pack_blocks",
        )
    if len(blocks) == 0:
        raise InputError(name, tuple(blocks.shape), "at least one block", "give more text")
    if config.block_length > model_config.n_positions:
        raise InputError(
            "block_length",
            config.block_length,
            f"at most the {model_config.n_positions} positions of the model",
            "choose shorter blocks",
        )
    low, high = int(blocks.min()), int(blocks.max())
    if low < 0 or high >= model_config.vocab_size:
        raise InputError(
            name,
            f"ids {low} to {high}",
            f"ids 0 to {model_config.vocab_size - 1}",
            "encode the text with the tokenizer of this model",
        )


def _save(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: PretrainConfig,
    data: str,
    folder: str | Path,
    step: int,
) -> None:
    moments, groups = optimizer_state(optimizer)
    weights = {name: p.detach() for name, p in model.named_parameters()}
    save_checkpoint(
        folder,
        step,
        {**prefixed("model", weights), **prefixed("optimizer", moments)},
        {"config": dataclasses.asdict(config), "data": data, "optimizer": groups},
    )


def _resume(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: PretrainConfig,
    data: str,
    folder: str | Path | None,
    resume: bool,
) -> int:
    """Load the newest checkpoint, if any, and return the number of steps already taken."""
    if folder is None:
        return 0
    if not resume:
        clear_checkpoints(folder)
    path = latest_checkpoint(folder)
    if path is None:
        return 0
    tensors, state = load_checkpoint(path)
    require_same_config(state["config"], config, path, free=("checkpoint_every", "evaluate_every"))
    require_same_data(state, data, path)
    weights = selected("model", tensors)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])
    load_optimizer_state(optimizer, selected("optimizer", tensors), state["optimizer"])
    return int(state["step"])
