"""The PPO step that all benchmarks measure: model, prompts, lengths, and its useful arithmetic.

Weights are random: time does not depend on what a model knows, only on how many tokens it reads
and writes. How often it writes EOS is set exactly, through one coordinate of the last hidden state
that nothing else uses.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from rlhf_lab.config import PPOConfig
from rlhf_lab.models import ScalarModel, reward_function
from rlhf_lab.ppo import PPOTrainer

EOS, PAD = 0, 1


@dataclass(frozen=True)
class Workload:
    """One PPO iteration. Prompts are 8 to 40 tokens long, drawn evenly."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    vocabulary: int = 1280
    batch: int = 64
    minibatches: int = 2
    response: int = 48
    stop_after: float = 24.0  # mean tokens until EOS if there were no limit; inf for no EOS
    gamma: float = 0.0
    ptx_length: int = 64

    @property
    def config(self) -> PPOConfig:
        """As settings of the trainer; checkpoints off."""
        return PPOConfig(
            steps=10**6,
            batch_size=self.batch,
            minibatches=self.minibatches,
            max_prompt_length=40,
            max_response_length=self.response,
            gamma=self.gamma,
            learning_rate=1e-6,
            value_learning_rate=1e-6,
            warmup_steps=0,
            checkpoint_every=0,
        )

    def policy(self) -> GPT2LMHeadModel:
        """GPT-2 with random weights that writes EOS with probability 1 / ``stop_after``."""
        torch.manual_seed(0)
        model = GPT2LMHeadModel(
            GPT2Config(
                n_embd=self.width,
                n_layer=self.layers,
                n_head=self.heads,
                vocab_size=self.vocabulary,
                n_positions=256,
                activation_function="gelu",
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                bos_token_id=None,
                eos_token_id=EOS,
                pad_token_id=PAD,
            )
        )
        with torch.no_grad():
            norm, table = model.transformer.ln_f, model.transformer.wte.weight
            norm.weight[0], norm.bias[0] = 0.0, 8.0  # this coordinate is 8 whatever the state
            table[:, 0] = 0.0
            table[PAD, 0] = -10.0 / 8
            odds = 1 / (self.stop_after - 1) if math.isfinite(self.stop_after) else 0.0
            table[EOS, 0] = math.log(max(odds * (self.vocabulary - 2), 1e-5)) / 8
            table[EOS, 1:] = 0.0
        return model.eval()

    def prompts(self) -> list[list[int]]:
        """As many prompts as a batch has episodes, so that every iteration uses all of them."""
        generator = torch.Generator().manual_seed(1)
        lengths = torch.randint(8, 41, (self.batch,), generator=generator).tolist()
        return [
            torch.randint(2, self.vocabulary, (n,), generator=generator).tolist() for n in lengths
        ]

    def trainer(self, **arguments: Any) -> PPOTrainer:
        """Our trainer over this workload."""
        policy = self.policy()
        reward_model = ScalarModel.from_policy(policy, seed=0)
        blocks = torch.randint(2, self.vocabulary, (512, self.ptx_length), dtype=torch.int32)
        return PPOTrainer(
            copy.deepcopy(policy),
            policy,
            reward_function(reward_model),
            reward_model.copy(),
            SimpleNamespace(eos_token_id=EOS, pad_token_id=PAD, eos_token="<e>", pad_token="<p>"),
            self.prompts(),
            blocks if self.gamma > 0 else None,
            self.config,
            quiet=True,
            **arguments,
        )


def step_times(trainer: PPOTrainer, iterations: int, warmup: int = 1) -> list[dict[str, float]]:
    """Metrics of each iteration after the warm-up, with its process and wall seconds."""
    rows = []
    for iteration in range(warmup + iterations):
        process, wall = time.process_time(), time.perf_counter()
        metrics = trainer.iterate(iteration)
        metrics["process"] = time.process_time() - process
        metrics["wall"] = time.perf_counter() - wall
        rows.append(metrics)
    return rows[warmup:]


def useful_flops(work: Workload, prompt: float, response: float, ptx: float) -> float:
    """Multiplications and additions that no implementation of this PPO step can leave out.

    Matrix products only, of real tokens only. Each response token is drawn with a key-value cache,
    scored once by the reward model, and read once more by policy, reference and value; policy and
    value are then updated on it. Backward passes cost twice the forward pass. Unembedding counts
    only where a token is predicted.

    Args:
        prompt, response: tokens of the batch; ptx: pretraining tokens of the iteration.
    """
    d, tokens = work.width, prompt + response
    body = 24 * d * d * work.layers  # per token: 12·d² weights a layer
    words = 2 * d * work.vocabulary  # per predicted token
    length = tokens / work.batch
    attention = 4 * d * work.layers * (length / 2)  # per token; a causal row sees half on average
    read = tokens * (body + attention)
    late = 4 * d * work.layers * (prompt + response / 2) / work.batch
    sampling = prompt * body + response * (body + late + words)
    scoring = 4 * read + 2 * response * words  # reward, policy, reference, value
    update = 3 * (2 * read + response * words)
    blocks = 3 * ptx * (body + 4 * d * work.layers * work.ptx_length / 2 + words)
    return sampling + scoring + update + blocks


def matmul_rate(seconds: float = 1.0, size: int = 1024) -> dict[str, float]:
    """FLOP per second of large fp32 matrix products with the current number of threads.

    Returns:
        by process time ("process") and by wall time ("wall").
    """
    a, b = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)
    for _ in range(3):
        torch.mm(a, b, out=out)
    count, process, wall = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - wall < seconds:
        torch.mm(a, b, out=out)
        count += 1
    flops = 2.0 * size**3 * count
    return {
        "process": flops / (time.process_time() - process),
        "wall": flops / (time.perf_counter() - wall),
    }
