"""One training run of a TRL trainer with a fixed schedule, exact resume and nothing pickled.

TRL owns the step: forward, loss, backward, clipping, update. Owned here: which rows a step reads
(:class:`~rlhf_lab.data.IndexSampler`), optimiser and schedule, checkpoints, metrics, Ctrl-C. A
resumed run hands the trainer only the steps that are left, with the optimiser as it was, so the
trainer's own resume, which reads pickles and skips batches one by one, is not used. The trainer
is steered through its documented interface alone: callbacks, ``optimizers=``, and
``get_train_dataloader``.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from rlhf_lab.checkpoints import (
    Tensors,
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
from rlhf_lab.config import RMConfig, SFTConfig
from rlhf_lab.data import IndexSampler
from rlhf_lab.errors import CheckpointError, DivergenceError, InputError
from rlhf_lab.fingerprint import fingerprint
from rlhf_lab.optimization import adamw, warmup_cosine
from rlhf_lab.runtime import Interrupt, interruptible, rng_state, set_rng_state
from rlhf_lab.tracking import Callback, Progress, Tracker

Batch = dict[str, Tensor]


class ScheduledTrainer:
    """Mixin over a TRL trainer: batches come ready-made, and nothing is sent over the network.

    Attributes:
        batches: makes the batch of one micro-step from its number, counted from 0.
        micro_steps: how many there are.
    """

    batches: Callable[[int], Batch]
    micro_steps: int

    def get_train_dataloader(self) -> DataLoader[Batch]:
        """Micro-batches in the order of the schedule."""
        return DataLoader(
            cast(Any, range(self.micro_steps)),
            batch_size=None,
            collate_fn=cast(Any, self.batches),
            generator=torch.Generator(),  # else each iterator draws from the global one
        )

    def _prepare_dataset(self, dataset: Any, *_args: Any, **_kwargs: Any) -> Any:
        return dataset  # rows are token ids already

    def _send_telemetry(self) -> None:
        return  # TRL reports each run to its hub otherwise


class Job(Protocol):
    """What differs between the stages."""

    def __call__(self, arguments: dict[str, Any], optimizers: tuple[Any, Any]) -> Any:
        """The trainer, built from ``TrainingArguments`` values and (optimiser, scheduler)."""


@dataclass
class _Steps(TrainerCallback):
    """After each optimiser step: check, log, save, stop."""

    stage: str
    module: nn.Module
    optimizer: torch.optim.Optimizer
    config: SFTConfig | RMConfig
    data: str
    output_dir: Path | None
    start: int
    steps: int
    first_row: dict[str, Any]
    tracker: Tracker
    progress: Progress
    interrupt: Interrupt
    callback: Callback | None
    saved_rng: tuple[Tensors, dict[str, Any]] | None

    def on_train_begin(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        if self.saved_rng is not None:  # here, since building a trainer sets seeds
            set_rng_state(*self.saved_rng)

    def on_log(self, _args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        if "loss" not in logs:
            return  # the trainer's summary at the end
        done = self.start + state.global_step
        stop = self.interrupt.requested  # read once: a step that ends the run is a step that saves
        metrics = {k: v for k, v in logs.items() if k not in ("epoch", "num_tokens")}
        metrics["lr"] = metrics.pop("learning_rate")
        if not math.isfinite(metrics["loss"] + metrics["grad_norm"]):
            raise DivergenceError(
                f"{self.stage}: loss {metrics['loss']}, gradient norm {metrics['grad_norm']} at "
                f"step {done}; lower learning_rate and resume from the last checkpoint"
            )
        extra = self.first_row if done == 1 else {}
        row = self.tracker.log(done, {**metrics, **extra})
        self.progress.update(loss=float(metrics["loss"]))
        every = self.config.checkpoint_every
        last = done == self.steps or stop
        if self.output_dir is not None and (last or (every and done % every == 0)):
            self._save(self.output_dir, done)
        if self.callback is not None:
            self.callback(done, row)
        control.should_training_stop |= stop

    def _save(self, folder: Path, step: int) -> None:
        moments, groups = optimizer_state(self.optimizer)
        generators, seeds = rng_state()
        save_checkpoint(
            folder,
            step,
            {
                **prefixed("model", trainable(self.module)),
                **prefixed("optimizer", moments),
                **prefixed("rng", generators),
            },
            {
                "config": dataclasses.asdict(self.config),
                "data": self.data,
                "optimizer": groups,
                "rng": seeds,
            },
        )


def trainable(module: nn.Module) -> Tensors:
    """Parameters that training changes, by name (with LoRA: the adapters only)."""
    return {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}


def train(
    stage: str,
    build: Job,
    module: nn.Module,
    rows: Sequence[Any],
    collate: Callable[[Sequence[Any]], Batch],
    config: SFTConfig | RMConfig,
    micro_batch_size: int,
    *,
    output_dir: str | Path | None,
    callback: Callback | None,
    resume: bool,
    trackers: Sequence[str],
    quiet: bool,
    first_row: dict[str, Any],
    data: Any = None,
) -> list[dict[str, Any]]:
    """Train ``module`` in place; see :func:`rlhf_lab.sft.train_sft` for the common arguments.

    Args:
        stage: name shown by the progress bar and in errors.
        build: makes the trainer, a :class:`ScheduledTrainer`.
        rows: encoded rows; collate: some of them to a batch.
        micro_batch_size: rows per forward pass, a divisor of ``config.batch_size``.
        first_row: constants of the run, logged with step 1.
        data: JSON-ready, what makes the rows of this run others than another's; None for the rows.
    """
    steps = max(1, round(config.epochs * len(rows) / config.batch_size))
    warmup = round(config.warmup_fraction * steps)
    sampler = IndexSampler(len(rows), config.batch_size, config.seed)
    per_step = config.batch_size // micro_batch_size
    if not trainable(module):
        raise InputError("model", "no trainable parameter", "at least one", "unfreeze the model")
    optimizer = adamw(module, config.learning_rate, config.weight_decay)

    def batches(micro_step: int) -> Batch:
        step, part = divmod(micro_step, per_step)
        chosen = sampler.indices(start + step)[part * micro_batch_size :][:micro_batch_size]
        return collate([rows[i] for i in chosen.tolist()])

    with (
        alone_in(output_dir),
        tempfile.TemporaryDirectory() as scratch,  # the trainer insists on a folder; it stays empty
        interruptible() as interrupt,
        Progress(steps, stage, quiet=quiet) as progress,
    ):
        read = fingerprint(rows if data is None else data)
        start, saved_rng = _resume(module, optimizer, config, read, output_dir, resume)
        tracker = Tracker(output_dir, config, trackers, resume_step=start or None)
        if start >= steps:
            return tracker.history
        for group in optimizer.param_groups:  # LambdaLR multiplies this; a checkpoint may differ
            group["lr"] = group["initial_lr"] = config.learning_rate
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(start + step, steps, warmup)
        )
        arguments = _arguments(module, config, micro_batch_size, steps - start, scratch)
        with warnings.catch_warnings():
            # TRL turns gradient checkpointing on; the flag that turns it off in every version of
            # transformers that we support is deprecated in the newest.
            warnings.simplefilter("ignore", FutureWarning)
            trainer = build(arguments, (optimizer, scheduler))
        trainer.batches, trainer.micro_steps = batches, (steps - start) * per_step
        trainer.remove_callback(PrinterCallback)
        progress.update(start)
        trainer.add_callback(
            _Steps(
                stage,
                module,
                optimizer,
                config,
                read,
                None if output_dir is None else Path(output_dir),
                start,
                steps,
                first_row,
                tracker,
                progress,
                interrupt,
                callback,
                saved_rng,
            )
        )
        trainer.train()
    module.eval()
    tracker.close()
    return tracker.history


def _arguments(
    module: nn.Module, config: SFTConfig | RMConfig, micro_batch_size: int, steps: int, scratch: str
) -> dict[str, Any]:
    """``TrainingArguments`` that leave the trainer nothing but its step."""
    return {
        "output_dir": scratch,
        "max_steps": steps,
        "per_device_train_batch_size": micro_batch_size,
        "gradient_accumulation_steps": config.batch_size // micro_batch_size,
        "learning_rate": config.learning_rate,
        "max_grad_norm": config.max_grad_norm,
        "seed": config.seed,
        "use_cpu": next(module.parameters()).device.type == "cpu",
        "bf16": False,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a NaN is an error here, not a number to hide
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_num_workers": 0,
        "max_length": None,
    }


def stand_in(rows: Sequence[Any]) -> Dataset:
    """The data set that a trainer's constructor asks for; batches come from the schedule."""
    return Dataset.from_dict({"row": list(range(len(rows)))})


def _resume(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: SFTConfig | RMConfig,
    data: str,
    folder: str | Path | None,
    resume: bool,
) -> tuple[int, tuple[Tensors, dict[str, Any]] | None]:
    """Load the newest checkpoint, if any: the steps taken, and the generators' state."""
    if folder is None:
        return 0, None
    if not resume:
        clear_checkpoints(folder)
    path = latest_checkpoint(folder)
    if path is None:
        return 0, None
    tensors, state = load_checkpoint(path)
    require_same_config(state["config"], config, path, free=("checkpoint_every",))
    require_same_data(state, data, path)
    weights, current = selected("model", tensors), trainable(module)
    if {n: t.shape for n, t in weights.items()} != {n: t.shape for n, t in current.items()}:
        raise CheckpointError(
            "checkpoint",
            str(path),
            "the parameters of this model",
            "pass the model that the run began with, or turn resume off",
        )
    with torch.no_grad():
        for name, parameter in current.items():
            parameter.copy_(weights[name])
    load_optimizer_state(optimizer, selected("optimizer", tensors), state["optimizer"])
    return int(state["step"]), (selected("rng", tensors), state["rng"])


def check_fits(
    rows: Sequence[Sequence[int]], module: Any, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Refuse sequences that this model cannot read.

    Args:
        rows: token ids.
        module: a transformers model (the backbone, not a wrapper of ours).

    Raises:
        InputError: when the tokenizer knows ids that the model does not, or a row is longer than
            the model's context.
    """
    known = module.get_input_embeddings().weight.shape[0]
    highest = max(max(ids) for ids in rows)
    if max(highest, tokenizer.pad_token_id) >= known:
        raise InputError(
            "tokenizer",
            f"token id {max(highest, tokenizer.pad_token_id)}",
            f"ids below the {known} embeddings of the model",
            "load model and tokenizer together with rlhf_lab.models.load_policy",
        )
    context = module.config.max_position_embeddings
    for index, ids in enumerate(rows):
        if len(ids) > context:
            raise InputError(
                f"row {index}",
                f"{len(ids)} tokens with EOS",
                f"at most the model's context of {context} tokens",
                "shorten the row or use a model with a longer context",
            )
