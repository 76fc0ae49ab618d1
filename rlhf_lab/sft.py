"""Step 1: supervised fine-tuning on demonstrations, by ``trl.SFTTrainer``.

The loss is the mean cross-entropy over the completion tokens, EOS included, of the whole batch,
whatever the micro-batches. Source: Ouyang et al. 2022, §3.5 and appendix C.1; the mix of
pretraining text is that of the model from which their PPO starts (appendix C.3).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trl
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_lab.config import SFTConfig
from rlhf_lab.data import IndexSampler
from rlhf_lab.encoding import Encoded, collate_completions, encode_demonstrations
from rlhf_lab.errors import InputError
from rlhf_lab.models import unwrap
from rlhf_lab.supervised import ScheduledTrainer, check_fits, stand_in, train
from rlhf_lab.tracking import Callback


class DemonstrationTrainer(ScheduledTrainer, trl.SFTTrainer):
    """``trl.SFTTrainer`` on rows that are token ids already, in a fixed order."""


def train_sft(
    model: PreTrainedModel | Any,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Sequence[Any],
    config: SFTConfig,
    *,
    pretrain: Tensor | None = None,
    output_dir: str | Path | None = None,
    callback: Callback | None = None,
    resume: bool = True,
    trackers: Sequence[str] = (),
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Fine-tune ``model`` in place: lower L_SFT = −(1/n)·Σ_t log π(y_t | x, y_<t), n the response
    tokens of the minibatch (label ``eq-sft-loss``).

    Args:
        model: a causal LM of transformers, also one wrapped by PEFT.
        demonstrations: :class:`~rlhf_lab.records.Demonstration` records, or rows in TRL's formats.
        pretrain: packed token blocks (N, L), used when ``config.pretrain_mix`` is above 0.
        output_dir: folder of checkpoints and metrics; None writes nothing.
        callback: called with the step and its metrics after every step.
        resume: go on from the newest checkpoint of ``output_dir``, bit for bit as if never
            stopped; False removes what is there.
        trackers: further trackers of accelerate, by name.

    Returns:
        one row per optimiser step: ``loss`` (nats per token), ``mean_token_accuracy``,
        ``entropy`` (nats), ``grad_norm``, ``lr``.

    Raises:
        InputError: for demonstrations, tokenizer or folder that cannot be used.
        CheckpointError: when the newest checkpoint is damaged or of another run.
        DivergenceError: when the loss is not finite.
    """
    rows = encode_demonstrations(demonstrations, tokenizer, config.max_length)
    rows += _pretraining_rows(pretrain, len(rows), config)
    collate = functools.partial(collate_completions, pad=tokenizer.pad_token_id)
    return train_rows(
        model,
        tokenizer,
        rows,
        collate,
        config,
        output_dir=output_dir,
        callback=callback,
        resume=resume,
        trackers=trackers,
        quiet=quiet,
    )


def train_rows(
    model: PreTrainedModel | Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Any],
    collate: Callable[[Sequence[Any]], dict[str, Tensor]],
    config: SFTConfig,
    *,
    output_dir: str | Path | None = None,
    callback: Callback | None = None,
    resume: bool = False,
    trackers: Sequence[str] = (),
    quiet: bool = True,
) -> list[dict[str, Any]]:
    """:func:`train_sft` on rows that are tokens already, with labels of the caller's choice.

    Args:
        rows: with ``ids``, the token ids.
        collate: rows -> ``input_ids``, ``attention_mask`` and ``labels``, int64 (B, T).
    """
    base = unwrap(model)
    check_fits([row.ids for row in rows], base, tokenizer)

    def build(arguments: dict[str, Any], optimizers: tuple[Any, Any]) -> DemonstrationTrainer:
        return DemonstrationTrainer(
            model=model,
            args=trl.SFTConfig(**arguments, dataset_kwargs={"skip_prepare_dataset": True}),
            data_collator=collate,
            train_dataset=stand_in(rows),
            processing_class=tokenizer,
            optimizers=optimizers,
        )

    own_forward = vars(base).get("forward")
    try:
        return train(
            "SFT",
            build,
            model,
            rows,
            collate,
            config,
            config.micro_batch_size,
            output_dir=output_dir,
            callback=callback,
            resume=resume,
            trackers=trackers,
            quiet=quiet,
            first_row={},
        )
    finally:
        # TRL hangs its fused head on the instance, bound to it: a deep copy of the model would
        # run the weights of the original.
        if own_forward is None:
            vars(base).pop("forward", None)
        else:
            base.forward = own_forward


def _pretraining_rows(
    blocks: Tensor | None, demonstrations: int, config: SFTConfig
) -> list[Encoded]:
    """Blocks so many that they are ``pretrain_mix`` of all rows, with loss on every token."""
    mix = config.pretrain_mix
    if mix == 0:
        return []
    if blocks is None or blocks.dim() != 2 or blocks.is_floating_point() or len(blocks) == 0:
        raise InputError(
            "pretrain",
            blocks if blocks is None else f"{blocks.dtype} {tuple(blocks.shape)}",
            f"integer token blocks (N, L), since pretrain_mix = {mix}",
            "make them with rlhf_lab.encoding.pack_blocks, or set pretrain_mix to 0",
        )
    wanted = round(demonstrations * mix / (1 - mix))
    if wanted == 0:
        return []
    chosen = IndexSampler(len(blocks), wanted, config.seed).indices(0)
    return [Encoded(row, 0) for row in blocks[chosen].tolist()]
