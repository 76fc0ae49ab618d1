"""What changes while PPO-ptx trains, and its way to disk and back."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from rlhf_lab.config import PPOConfig
from rlhf_lab.errors import CheckpointError
from rlhf_lab.models import EMA, trainable
from rlhf_lab.runtime import (
    latest_checkpoint,
    load_checkpoint,
    load_optimizer_state,
    optimizer_state,
    prefixed,
    require_same_config,
    save_checkpoint,
    selected,
)

# Settings that change no step already taken: a finished run can be made longer.
FREE = ("steps", "checkpoint_every", "keep_checkpoints")


@dataclass
class PPOState:
    """Weights, both optimisers, the weight average and beta; there is nothing else to store.

    Sampling, prompts and pretraining blocks are functions of the seed and the iteration.
    """

    policy: nn.Module
    value: nn.Module
    policy_optimizer: torch.optim.Optimizer
    value_optimizer: torch.optim.Optimizer
    ema: EMA
    beta: float

    def save(self, folder: str | Path, step: int, config: PPOConfig) -> Path:
        """Write a checkpoint after ``step`` iterations, atomically.

        Raises:
            InputError: when the folder cannot be written.
        """
        policy_moments, policy_groups = optimizer_state(self.policy_optimizer)
        value_moments, value_groups = optimizer_state(self.value_optimizer)
        tensors = {
            **prefixed("policy", trainable(self.policy)),
            **prefixed("value", trainable(self.value)),
            **prefixed("policy_optimizer", policy_moments),
            **prefixed("value_optimizer", value_moments),
            **prefixed("ema", self.ema.shadow),
        }
        state = {
            "config": dataclasses.asdict(config),
            "beta": self.beta,
            "policy_optimizer": policy_groups,
            "value_optimizer": value_groups,
        }
        return save_checkpoint(folder, step, tensors, state, keep=config.keep_checkpoints)

    def restore(self, folder: str | Path, config: PPOConfig) -> int:
        """Load the newest checkpoint; the number of iterations it has behind it, 0 for none.

        Raises:
            CheckpointError: when it is damaged, or of another configuration or model.
        """
        path = latest_checkpoint(folder)
        if path is None:
            return 0
        tensors, state = load_checkpoint(path)
        require_same_config(state["config"], config, path, free=FREE)
        for name, into in (
            ("policy", trainable(self.policy)),
            ("value", trainable(self.value)),
            ("ema", self.ema.shadow),
        ):
            _copy(selected(name, tensors), into, path)
        for name, optimizer in (
            ("policy_optimizer", self.policy_optimizer),
            ("value_optimizer", self.value_optimizer),
        ):
            load_optimizer_state(optimizer, selected(name, tensors), state[name])
        self.beta = float(state["beta"])
        return int(state["step"])


@torch.no_grad()
def _copy(
    weights: dict[str, Tensor], into: dict[str, nn.Parameter] | dict[str, Tensor], path: Path
) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if shapes != {name: tuple(tensor.shape) for name, tensor in into.items()}:
        raise CheckpointError(
            "checkpoint",
            str(path),
            "one of the same models",
            "resume with the models that made it, choose another folder, or turn resume off",
        )
    for name, tensor in into.items():
        tensor.copy_(weights[name])
