"""What changes while PPO-ptx trains, and its way to disk and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from rlhf_lab.checkpoints import (
    Tensors,
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
from rlhf_lab.config import PPOConfig
from rlhf_lab.errors import CheckpointError, DivergenceError
from rlhf_lab.fingerprint import fingerprint, tensor_fingerprint
from rlhf_lab.models import EMA, trainable

# Settings that change no step already taken: a finished run can be made longer.
FREE = ("steps", "checkpoint_every", "keep_checkpoints")


@dataclass
class PPOState:
    """Weights, both optimisers, the weight average and beta; there is nothing else to store.

    Sampling, prompts and pretraining blocks are functions of the seed and the iteration. ``data``
    is a fingerprint of the prompts and blocks.
    """

    policy: nn.Module
    value: nn.Module
    policy_optimizer: torch.optim.Optimizer
    value_optimizer: torch.optim.Optimizer
    ema: EMA
    beta: float
    data: str

    @classmethod
    def create(
        cls, policy: nn.Module, value: nn.Module, config: PPOConfig,
        prompts: Sequence[list[int]] = (), pretrain: Tensor | None = None,
    ) -> PPOState:  # fmt: skip
        """The state before the first iteration: an AdamW each, the average at the weights."""

        def adamw(model: nn.Module, peak: float) -> torch.optim.AdamW:
            weights = list(trainable(model).values())
            optimizer = torch.optim.AdamW(
                weights,
                lr=peak,
                betas=(config.adam_beta1, config.adam_beta2),
                eps=config.adam_epsilon,
                weight_decay=0.0,
                fused=weights[0].device.type in ("cpu", "cuda"),
            )
            optimizer.param_groups[0]["peak"] = peak
            return optimizer

        policy_optimizer = adamw(policy, config.learning_rate)
        value_optimizer = adamw(value, config.value_learning_rate)
        average = EMA(policy, config.ema_decay)
        blocks = None if pretrain is None else tensor_fingerprint(pretrain)
        data = fingerprint([list(prompts), blocks])
        return cls(policy, value, policy_optimizer, value_optimizer, average, config.beta, data)

    def set_learning_rates(self, config: PPOConfig, iteration: int) -> float:
        """Those of an iteration, see :func:`warmed`; returns the policy's."""
        warm = warmed(config, iteration)
        for optimizer in (self.policy_optimizer, self.value_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = warm * group["peak"]
        return float(self.policy_optimizer.param_groups[0]["lr"])

    def step(self, name: str, loss: float, max_grad_norm: float) -> dict[str, float]:
        """Clip the gradient of "policy" or "value", take one optimiser step, drop the gradient.

        Raises:
            DivergenceError: when loss or gradient is not finite; the weights stay as they were.
        """
        optimizer = self.policy_optimizer if name == "policy" else self.value_optimizer
        norm = float(nn.utils.clip_grad_norm_(_weights(optimizer), max_grad_norm))
        if not math.isfinite(norm + loss):
            raise DivergenceError(
                f"{name} loss {loss} with gradient norm {norm} is not finite; the last checkpoint "
                "is kept: lower the learning rate and resume"
            )
        optimizer.step()
        optimizer.zero_grad()
        return {f"{name}/gradient_norm": norm}

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
            "data": self.data,
            "policy_optimizer": policy_groups,
            "value_optimizer": value_groups,
        }
        return save_checkpoint(folder, step, tensors, state, keep=config.keep_checkpoints)

    def restore(self, folder: str | Path, config: PPOConfig) -> int:
        """Load the newest checkpoint; the number of iterations it has behind it, 0 for none.

        Raises:
            CheckpointError: when it is damaged, or of another configuration, model or data.
        """
        path = latest_checkpoint(folder)
        if path is None:
            return 0
        tensors, state = load_checkpoint(path)
        require_same_config(state["config"], config, path, free=FREE)
        require_same_data(state, self.data, path)
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


def warmed(config: PPOConfig, iteration: int) -> float:
    """Share of the peak learning rate: from a tenth, linear over ``warmup_steps``, then 1.

    Source: Ouyang et al. 2022, appendix C.4.
    """
    if config.warmup_steps == 0:
        return 1.0
    return min(0.1 + 0.9 * iteration / config.warmup_steps, 1.0)


def gradient(optimizer: torch.optim.Optimizer) -> Tensor:
    """A copy of all gradients of an optimiser's weights as one vector; none counts as 0."""
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in _weights(optimizer)]
    return torch.cat([part.flatten() for part in parts])


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


@torch.no_grad()
def _copy(weights: Tensors, into: Mapping[str, Tensor], path: Path) -> None:
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
