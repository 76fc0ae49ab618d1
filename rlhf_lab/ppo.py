"""PPO-ptx, InstructGPT's step 3: one loop on accelerate. Read objectives and rollout first.

    g = ∇L_PG + γ·∇L_ptx                                                     (label ``eq-ppo-ptx``)

L_PG is the mean over all response tokens of a minibatch, L_ptx the mean over all tokens of its
pretraining blocks, both across micro-batches and processes: γ means the same for any micro-batch
size, number of processes, and ratio of blocks to episodes. γ = 0 is the paper's "PPO".
Source: Ouyang et al. 2022, §3.5, equation 2.

Randomness is a function of (seed, iteration) alone, so that a checkpoint holds no generator.
Left out: one network for policy and value, new minibatches in each inner epoch, FSDP and ZeRO.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from rlhf_lab.config import PPOConfig
from rlhf_lab.data import IndexSampler, require_special_tokens
from rlhf_lab.errors import DivergenceError
from rlhf_lab.metrics import METRICS, rollout_metrics
from rlhf_lab.models import EMA, PolicyLogits, Reward, ScalarModel, trainable
from rlhf_lab.objectives import (
    Stats,
    adaptive_beta,
    lm_loss,
    ppo_policy_loss,
    ppo_value_loss,
    token_logprobs,
)
from rlhf_lab.ppo_inputs import check_inputs, check_on_policy, check_processes
from rlhf_lab.ppo_state import PPOState
from rlhf_lab.rollout import Rollout, collect, scatter
from rlhf_lab.runtime import Callback, Progress, Tracker, clear_checkpoints, interruptible

__all__ = ["METRICS", "PPOConfig", "PPOTrainer"]


class PPOTrainer:
    """Trains ``policy`` and ``value`` in place; :meth:`averaged_policy` is the result to keep.

    Args:
        policy: a causal LM of transformers, LoRA-wrapped or not.
        reference: π_ref, a copy of the policy; never changed.
        reward: (prompt ids (B, P), response ids (B, T), response mask (B, T)) to (B,).
        value: V, usually ``reward_model.copy()``; not the model that scores.
        tokenizer: with an EOS token and another pad token.
        prompts: texts, or lists of token ids.
        pretrain: packed blocks, integer (N, L); may be None when γ = 0.
        output_dir: folder of checkpoints and ``metrics.jsonl``; None for none.
        callback: called with (step, metrics) after every iteration.
        trackers: further trackers of accelerate; quiet: no progress bar.

    Raises:
        InputError: for anything that could not be trained on, before any work.
    """

    def __init__(
        self,
        policy: nn.Module,
        reference: nn.Module,
        reward: Reward,
        value: ScalarModel,
        tokenizer: Any,
        prompts: Sequence[str] | Sequence[Sequence[int]],
        pretrain: Tensor | None,
        config: PPOConfig,
        *,
        output_dir: str | Path | None = None,
        callback: Callback | None = None,
        trackers: Sequence[str] = (),
        quiet: bool = False,
    ) -> None:
        self.eos, self.pad = require_special_tokens(tokenizer)
        self.prompts = check_inputs(
            policy, reference, reward, value, tokenizer, prompts, pretrain, config
        )
        self.accelerator = Accelerator(cpu=next(policy.parameters()).device.type == "cpu")
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        check_processes(config, self.world, self.accelerator.mixed_precision)
        self.config, self.reward, self.pretrain = config, reward, pretrain
        self.output_dir, self.callback = output_dir, callback
        self.trackers, self.quiet = trackers, quiet

        # Eval mode throughout: dropout would make the first ratio differ from 1.
        device = self.accelerator.device
        policy, value = policy.to(device).eval(), value.to(device).eval()
        self.reference = PolicyLogits(reference.to(device).eval())
        self.logits = PolicyLogits(policy)
        self.policy = self.accelerator.prepare_model(self.logits)  # wrapped for the update
        self.value = self.accelerator.prepare_model(value)
        self.state = PPOState(
            policy,
            value,
            self._adamw(policy, config.learning_rate),
            self._adamw(value, config.value_learning_rate),
            EMA(policy, config.ema_decay),
            config.beta,
        )
        # A minibatch is shared out evenly: this process holds part ``rank`` of each.
        episodes = torch.arange(config.batch_size).view(config.minibatches, self.world, -1)
        self.mine = episodes[:, self.rank].flatten()
        self.prompt_order = IndexSampler(len(self.prompts), config.batch_size, config.seed)

    def train(self, resume: bool = True) -> list[dict[str, Any]]:
        """Run until ``config.steps`` iterations are done; one row of ``METRICS`` for each.

        Args:
            resume: go on from the newest checkpoint of ``output_dir``, bit for bit as if never
                stopped; False removes what is there.

        Raises:
            CheckpointError: for a damaged checkpoint, or one of another configuration.
            DivergenceError: when a loss is not finite; the last checkpoint stays.
        """
        config, main = self.config, self.accelerator.is_main_process
        start = self._resume(resume)
        tracker = Tracker(
            self.output_dir, config, self.trackers, resume_step=start or None, enabled=main
        )
        quiet = self.quiet or not main
        with interruptible() as interrupt, Progress(config.steps, "PPO-ptx", quiet=quiet) as bar:
            bar.update(start)
            for iteration in range(start, config.steps):
                metrics, done = self.iterate(iteration), iteration + 1
                row = tracker.log(done, metrics)
                reward, kl = metrics["objective/scores"], metrics["objective/kl"]
                bar.update(1, reward=reward, KL=kl, tax=metrics.get("ptx/loss", "off"))
                if self.callback is not None:
                    self.callback(done, row)
                stop = done == config.steps or self._anywhere(interrupt.requested)
                if stop or (config.checkpoint_every and done % config.checkpoint_every == 0):
                    self._save(done)
                if stop:
                    break
        tracker.close()
        return tracker.history

    def iterate(self, iteration: int) -> dict[str, float]:
        """One PPO-ptx iteration, counted from 0. The numbers are those of the book's list."""
        config, state = self.config, self.state
        self._set_learning_rates(iteration)
        prompts, uniform = self._draw(iteration)  # 1.
        rollout = collect(  # 2. to 8.
            self.logits,
            self.reference,
            self.reward,
            state.value,
            prompts,
            config,
            eos_token_id=self.eos,
            pad_token_id=self.pad,
            uniform=uniform,
            beta=state.beta,
            reduce=self._sum,
        )
        clock = time.perf_counter()
        updates = self._update(rollout, iteration)  # 9. and 10.
        metrics = rollout_metrics(rollout, state.beta, config.batch_size, self._sum) | updates
        metrics |= {f"time/{phase}": seconds for phase, seconds in rollout.seconds.items()}
        metrics["time/update"] = time.perf_counter() - clock
        if config.kl_controller == "adaptive":  # 11.
            kl, size = metrics["objective/kl"], config.batch_size
            state.beta = adaptive_beta(state.beta, kl, config.kl_target, size, config.kl_horizon)
        return metrics

    def _set_learning_rates(self, iteration: int) -> None:
        """From a tenth of the peak over ``warmup_steps`` iterations, then constant."""
        share = min(0.1 + 0.9 * iteration / max(self.config.warmup_steps, 0.9), 1.0)
        for optimizer in (self.state.policy_optimizer, self.state.value_optimizer):
            optimizer.param_groups[0]["lr"] = share * optimizer.param_groups[0]["peak"]

    def averaged_policy(self) -> nn.Module:
        """A copy of the policy with the average of its weights."""
        averaged = copy.deepcopy(self.state.policy)
        self.state.ema.copy_to(averaged)
        return averaged

    def _draw(self, iteration: int) -> tuple[list[list[int]], Tensor]:
        """Step 1: this process's prompts, and the numbers (b, T) that draw their responses."""
        chosen = self.prompt_order.indices(iteration)[self.mine]
        generator = torch.Generator().manual_seed((self.config.seed << 32) + iteration)
        shape = self.config.batch_size, self.config.max_response_length
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        return [self.prompts[i] for i in chosen.tolist()], uniform[self.mine]

    def _update(self, rollout: Rollout, iteration: int) -> dict[str, float]:
        """Steps 9 and 10: one step of each optimiser per minibatch; their mean statistics."""
        count = self.config.minibatches
        device = rollout.tokens.device
        minibatches = torch.arange(len(self.mine), device=device).view(count, -1)
        tokens = self._sum(rollout.response_mask.sum(1)[minibatches].sum(1).float())
        found: dict[str, list[float]] = {}
        turns = self.config.inner_epochs * count
        for turn in range(turns):
            rows, total = minibatches[turn % count], tokens[turn % count]
            stats = self._policy_step(rollout, rows, total, iteration * turns + turn, turn == 0)
            stats |= self._value_step(rollout, rows, total)
            for name, number in stats.items():
                found.setdefault(name, []).append(number)
        return {name: sum(numbers) / len(numbers) for name, numbers in found.items()}

    def _policy_step(
        self, rollout: Rollout, rows: Tensor, total: Tensor, step: int, first: bool
    ) -> dict[str, float]:
        """One step along g = γ·∇L_ptx + ∇L_PG, then the weight average."""
        optimizer, ptx = self.state.policy_optimizer, None
        found = self._backward_ptx(step) if self.config.gamma > 0 else {}
        if found and first:
            ptx = self._sum(_gradient(optimizer)) / self.world
        found |= self._backward(rollout, rows, total, self.policy, self._policy_loss, "policy")
        if first:
            check_on_policy(found, rollout.logprobs.dtype)
            names = ("approxkl", "clipfrac")
            found |= {f"policy/first_{name}": found[f"policy/{name}"] for name in names}
        if ptx is not None:
            own = _gradient(optimizer) - ptx
            found["ptx/gradient_ratio"] = float(ptx.norm() / own.norm())
            found["ptx/gradient_cosine"] = float(torch.cosine_similarity(ptx, own, dim=0))
        found |= self._step(optimizer, "policy", found["loss/policy"])
        self.state.ema.update(self.state.policy)
        return found

    def _value_step(self, rollout: Rollout, rows: Tensor, total: Tensor) -> dict[str, float]:
        """One step of the value function, with an optimiser of its own."""
        found = self._backward(rollout, rows, total, self.value, self._value_loss, "value")
        return found | self._step(self.state.value_optimizer, "value", found["loss/value"])

    def _policy_loss(self, rollout: Rollout, rows: Tensor, total: Tensor) -> tuple[Tensor, Stats]:
        tokens, at, mask = rollout.states(rows)
        width = mask.shape[1]
        drawn = rollout.response_ids[rows, :width][mask]
        logp = token_logprobs(self.policy(tokens, at), drawn, self.config.temperature)
        old_logp, advantages = rollout.logprobs[rows, :width], rollout.advantages[rows, :width]
        clip = self.config.clip
        return ppo_policy_loss(scatter(logp, mask), old_logp, advantages, mask, clip, total)

    def _value_loss(self, rollout: Rollout, rows: Tensor, total: Tensor) -> tuple[Tensor, Stats]:
        tokens, at, mask = rollout.states(rows)
        width = mask.shape[1]
        values = scatter(self.value(tokens).flatten()[at], mask)
        old_values, returns = rollout.values[rows, :width], rollout.returns[rows, :width]
        return ppo_value_loss(values, old_values, returns, mask, self.config.value_clip, total)

    def _backward(
        self,
        rollout: Rollout,
        rows: Tensor,
        total: Tensor,
        model: nn.Module,
        loss_of: Any,
        name: str,
    ) -> dict[str, float]:
        """Add the gradient of a minibatch's loss, micro-batch by micro-batch, over processes."""
        sums: dict[str, Tensor] = {}
        parts = rollout.groups(rows, self.config.micro_batch_size or len(rows))
        for number, part in enumerate(parts, start=1):
            last = number == len(parts)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                loss, stats = loss_of(rollout, part, total)
                self.accelerator.backward(loss * self.world)  # gradients are averaged over them
            named = {f"{name}/{key}": number for key, number in stats.items()}
            for key, number in (named | {f"loss/{name}": loss.detach()}).items():
                sums[key] = sums.get(key, 0) + number
        totals = self._sum(torch.stack(list(sums.values())))
        return dict(zip(sums, totals.tolist(), strict=True))

    def _backward_ptx(self, step: int) -> dict[str, float]:
        """Add γ·∇L_ptx; unsynchronised, for the policy loss that follows synchronises the sum."""
        assert self.pretrain is not None
        count, config = self.config.ptx_minibatch_size, self.config
        order = IndexSampler(len(self.pretrain), count, config.seed + 1, self.rank, self.world)
        blocks = self.pretrain[order.indices(step)].long().to(self.accelerator.device)
        total, loss = count * (blocks.shape[1] - 1), torch.zeros((), device=blocks.device)
        with self.accelerator.no_sync(self.policy):
            for part in blocks.split(config.micro_batch_size or len(blocks)):
                part_loss = lm_loss(self.policy(part), part, total=total)
                self.accelerator.backward(config.gamma * part_loss * self.world)
                loss = loss + part_loss.detach()
        return {"ptx/loss": float(self._sum(loss)), "tokens/ptx": float(total)}

    def _step(self, optimizer: torch.optim.Optimizer, name: str, loss: float) -> dict[str, float]:
        """Clip, refuse what is not finite, step, and forget the gradient."""
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        norm = float(nn.utils.clip_grad_norm_(weights, self.config.max_grad_norm))
        if not math.isfinite(norm + loss):
            raise DivergenceError(
                f"{name} loss {loss} with gradient norm {norm} is not finite; the last checkpoint "
                "is kept: lower the learning rate and resume"
            )
        optimizer.step()
        optimizer.zero_grad()
        return {f"{name}/gradient_norm": norm}

    def _adamw(self, model: nn.Module, peak: float) -> torch.optim.AdamW:
        config, weights = self.config, list(trainable(model).values())
        betas, fused = (config.adam_beta1, config.adam_beta2), weights[0].device.type != "mps"
        optimizer = torch.optim.AdamW(
            weights, peak, betas, config.adam_epsilon, weight_decay=0.0, fused=fused
        )
        optimizer.param_groups[0]["peak"] = peak
        return optimizer

    def _sum(self, tensor: Tensor) -> Tensor:
        """The tensor added up over processes."""
        return cast(Tensor, self.accelerator.reduce(tensor, "sum"))

    def _anywhere(self, flag: bool) -> bool:
        return bool(self._sum(torch.tensor(float(flag), device=self.accelerator.device)) > 0)

    def _save(self, done: int) -> None:
        if self.output_dir is not None and self.accelerator.is_main_process:
            self.state.save(self.output_dir, done, self.config)
        self.accelerator.wait_for_everyone()

    def _resume(self, resume: bool) -> int:
        if self.output_dir is None:
            return 0
        if not resume and self.accelerator.is_main_process:
            clear_checkpoints(self.output_dir)
        self.accelerator.wait_for_everyone()
        return self.state.restore(self.output_dir, self.config)


def _gradient(optimizer: torch.optim.Optimizer) -> Tensor:
    """All gradients of an optimiser's weights in one vector, copied."""
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    return torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in weights]
    )
