"""PPO-ptx, InstructGPT's step 3: one loop on accelerate. Read objectives and rollout first.

    g = ∇L_PG + γ·∇L_ptx                                                     (label ``eq-ppo-ptx``)

L_PG is the mean over all response tokens of a minibatch, L_ptx the mean over all tokens of its
pretraining blocks, both across micro-batches and processes: γ means the same for any micro-batch
size, number of processes, and ratio of blocks to episodes. γ = 0 is the paper's "PPO".
Source: Ouyang et al. 2022, §3.5, equation 2.

Randomness is a function of (seed, iteration), so a checkpoint holds no generator. Left out: one
network for policy and value, other minibatches in later inner epochs, FSDP and ZeRO.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from rlhf_lab import objectives
from rlhf_lab.checkpoints import alone_in, clear_checkpoints
from rlhf_lab.config import PPOConfig
from rlhf_lab.data import IndexSampler
from rlhf_lab.encoding import require_special_tokens
from rlhf_lab.generation import uniform_numbers
from rlhf_lab.metrics import METRICS, rollout_metrics
from rlhf_lab.models import PolicyLogits, Reward, ScalarModel
from rlhf_lab.objectives import Stats
from rlhf_lab.ppo_inputs import check_inputs, check_on_policy, check_processes
from rlhf_lab.ppo_state import PPOState, gradient
from rlhf_lab.rollout import Rollout, collect, scatter
from rlhf_lab.runtime import interruptible
from rlhf_lab.tracking import Callback, Progress, Tracker

__all__ = ["METRICS", "PPOConfig", "PPOTrainer"]


class PPOTrainer:
    """Trains ``policy`` and ``value`` in place; :meth:`averaged_policy` is the result to keep.

    What it maximises is labelled ``eq-objective``, the gradient of a step ``eq-ppo-ptx``.

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

    What could not be trained on is an InputError here, before any work.
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
        self.policy, self.value = policy.to(device).eval(), value.to(device).eval()
        self.logits = PolicyLogits(self.policy)
        self.reference = PolicyLogits(reference.to(device).eval())
        # What the update calls: the same models, behind a wrapper that averages gradients.
        self.shared_logits = self.accelerator.prepare_model(self.logits)
        self.shared_value = self.accelerator.prepare_model(self.value)
        self.state = PPOState.create(self.policy, self.value, config, self.prompts, pretrain)
        # A minibatch is shared out evenly: this process holds part ``rank`` of each.
        shares = torch.arange(config.batch_size).view(config.minibatches, self.world, -1)
        self.mine = shares[:, self.rank].flatten()
        self.prompt_order = IndexSampler(len(self.prompts), config.batch_size, config.seed)

    def train(self, resume: bool = True) -> list[dict[str, Any]]:
        """Run until ``config.steps`` iterations are done; one row of ``METRICS`` for each.

        Args:
            resume: go on from the newest checkpoint of ``output_dir``, bit for bit as if never
                stopped; False removes what is there.

        Raises:
            CheckpointError: for a damaged checkpoint, or one of another configuration or data.
            DivergenceError: when a loss is not finite; the last checkpoint stays.
        """
        config, main, folder = self.config, self.accelerator.is_main_process, self.output_dir
        with (
            alone_in(folder if main else None),
            interruptible() as interrupt,
            Progress(config.steps, "PPO-ptx", quiet=self.quiet or not main) as bar,
        ):
            if main and folder is not None and not resume:
                clear_checkpoints(folder)
            self.accelerator.wait_for_everyone()
            start = 0 if folder is None else self.state.restore(folder, config)
            tracker = Tracker(folder, config, self.trackers, resume_step=start, enabled=main)
            bar.update(start)
            for iteration in range(start, config.steps):
                metrics, done = self.iterate(iteration), iteration + 1
                row = tracker.log(done, metrics)
                reward, kl = metrics["objective/scores"], metrics["objective/kl"]
                bar.update(1, reward=reward, KL=kl, tax=metrics.get("ptx/loss", "off"))
                if self.callback is not None:
                    self.callback(done, row)
                asked = torch.tensor(interrupt.requested, device=self.accelerator.device).float()
                stop = done == config.steps or bool(self._sum(asked) > 0)
                due = stop or (config.checkpoint_every and done % config.checkpoint_every == 0)
                if due and main and folder is not None:
                    self.state.save(folder, done, config)
                if stop:
                    break
        tracker.close()
        return tracker.history

    def iterate(self, iteration: int) -> dict[str, float]:
        """One PPO-ptx iteration, counted from 0. The numbers are those of the book's list."""
        config, state = self.config, self.state
        rate = state.set_learning_rates(config, iteration)
        prompts, uniform = self._draw(iteration)  # 1.
        rollout = collect(  # 2. to 8.
            self.logits,
            self.reference,
            self.reward,
            self.value,
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
        metrics |= {"policy/learning_rate": rate, "time/update": time.perf_counter() - clock}
        if config.kl_controller == "adaptive":  # 11.
            kl, size = metrics["objective/kl"], config.batch_size
            state.beta = objectives.adaptive_beta(
                state.beta, kl, config.kl_target, size, config.kl_horizon
            )
        return metrics

    def averaged_policy(self) -> nn.Module:
        """A copy of the policy with the average of its weights."""
        averaged = copy.deepcopy(self.policy)
        self.state.ema.copy_to(averaged)
        return averaged

    def _draw(self, iteration: int) -> tuple[list[list[int]], Tensor]:
        """Step 1: this process's prompts, and the numbers (b, T) that draw their responses."""
        chosen = self.prompt_order.indices(iteration)[self.mine]
        shape = self.config.batch_size, self.config.max_response_length
        uniform = uniform_numbers(self.config.seed, iteration, shape)
        return [self.prompts[i] for i in chosen.tolist()], uniform[self.mine]

    def _update(self, rollout: Rollout, iteration: int) -> dict[str, float]:
        """Steps 9 and 10: one step of each optimiser per minibatch; their mean statistics."""
        count, device = self.config.minibatches, rollout.tokens.device
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
        means = {name: sum(numbers) / len(numbers) for name, numbers in found.items()}
        block = 0 if self.pretrain is None else self.pretrain.shape[1]
        return means | {"tokens/ptx": float(turns * self.config.ptx_minibatch_size * block)}

    def _policy_step(
        self, rollout: Rollout, rows: Tensor, total: Tensor, step: int, first: bool
    ) -> dict[str, float]:
        """One step along g = γ·∇L_ptx + ∇L_PG, then the weight average."""
        state, ptx = self.state, None
        found = self._backward_ptx(step) if self.config.gamma > 0 else {}
        if found and first:
            ptx = self._sum(gradient(state.policy_optimizer)) / self.world
        found |= self._backward("policy", rollout, rows, total)
        if first:
            check_on_policy(found, next(self.policy.parameters()).dtype)
            found["policy/first_approxkl"] = found["policy/approxkl"]
        if ptx is not None:
            own = gradient(state.policy_optimizer) - ptx
            found["ptx/gradient_ratio"] = float(ptx.norm() / own.norm())
            found["ptx/gradient_cosine"] = float(torch.cosine_similarity(ptx, own, dim=0))
        found |= state.step("policy", found["loss/policy"], self.config.max_grad_norm)
        state.ema.update(self.policy)
        return found

    def _value_step(self, rollout: Rollout, rows: Tensor, total: Tensor) -> dict[str, float]:
        """One step of the value function, with an optimiser of its own."""
        found = self._backward("value", rollout, rows, total)
        return found | self.state.step("value", found["loss/value"], self.config.max_grad_norm)

    def _policy_loss(self, rollout: Rollout, rows: Tensor, total: Tensor) -> tuple[Tensor, Stats]:
        tokens, at, mask, drawn = rollout.states(rows)
        logits, (_, width) = self.shared_logits(tokens, at), mask.shape
        logp = scatter(objectives.token_logprobs(logits, drawn, self.config.temperature), mask)
        old_logp, advantages = rollout.logprobs[rows, :width], rollout.advantages[rows, :width]
        clip = self.config.clip
        return objectives.ppo_policy_loss(logp, old_logp, advantages, mask, clip, total)

    def _value_loss(self, rollout: Rollout, rows: Tensor, total: Tensor) -> tuple[Tensor, Stats]:
        tokens, at, mask, _ = rollout.states(rows)
        values, (_, width) = scatter(self.shared_value(tokens).flatten()[at], mask), mask.shape
        old_values, returns = rollout.values[rows, :width], rollout.returns[rows, :width]
        clip = self.config.value_clip
        return objectives.ppo_value_loss(values, old_values, returns, mask, clip, total)

    def _backward(
        self, name: str, rollout: Rollout, rows: Tensor, total: Tensor
    ) -> dict[str, float]:
        """Add the gradient of a minibatch's loss, micro-batch by micro-batch, over processes."""
        policy = name == "policy"
        model = self.shared_logits if policy else self.shared_value
        loss_of = self._policy_loss if policy else self._value_loss
        parts = rollout.groups(rows, self.config.rows_per_pass)
        found = []
        for part in parts:
            last = part is parts[-1]
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                loss, stats = loss_of(rollout, part, total)
                self.accelerator.backward(loss * self.world)  # processes are averaged
            found.append(torch.stack([loss.detach(), *stats.values()]))
        names = [f"loss/{name}", *(f"{name}/{key}" for key in stats)]
        return dict(zip(names, self._sum(torch.stack(found).sum(0)).tolist(), strict=True))

    def _backward_ptx(self, step: int) -> dict[str, float]:
        """Add γ·∇L_ptx. Not averaged over processes here: the policy loss follows and does so."""
        config, blocks = self.config, cast(Tensor, self.pretrain)
        count, seed = config.ptx_minibatch_size, config.seed + 1
        order = IndexSampler(len(blocks), count, seed, self.rank, self.world)
        blocks = blocks[order.indices(step)].long().to(self.accelerator.device)
        total, losses = count * (blocks.shape[1] - 1), []
        with self.accelerator.no_sync(self.shared_logits):
            for part in blocks.split(config.micro_batch_size or len(blocks)):
                losses.append(objectives.lm_loss(self.shared_logits(part), part, total=total))
                self.accelerator.backward(config.gamma * losses[-1] * self.world)
        return {"ptx/loss": float(self._sum(torch.stack(losses).detach().sum()))}

    def _sum(self, tensor: Tensor) -> Tensor:
        """The tensor added up over processes."""
        return cast(Tensor, self.accelerator.reduce(tensor, "sum"))
