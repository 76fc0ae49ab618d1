"""One run of TRL 1.12.0's ``PPOTrainer`` over the shared workload; its times as a line of JSON.

Run in a fresh process with the folder of TRL 1.12.0 first on the path: the last release with PPO.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import time
from types import SimpleNamespace
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import GPT2ForSequenceClassification, TrainerCallback
from trl.experimental.ppo import PPOConfig, PPOTrainer

from benchmarks.workload import EOS, PAD, Workload


class Clock(TrainerCallback):
    """Process and wall seconds at the end of every iteration."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Called by the trainer."""
        self.times.append((time.process_time(), time.perf_counter()))


def pad_left(rows: list[dict[str, list[int]]]) -> dict[str, Tensor]:
    width = max(len(row["input_ids"]) for row in rows)
    padded = [[PAD] * (width - len(row["input_ids"])) + row["input_ids"] for row in rows]
    return {"input_ids": torch.tensor(padded)}


def scalar(work: Workload) -> GPT2ForSequenceClassification:
    """The policy's body with a head of one number, as reward or value model of TRL."""
    policy = work.policy()
    config = copy.deepcopy(policy.config)
    config.num_labels = 1
    model = GPT2ForSequenceClassification(config)
    model.transformer.load_state_dict(policy.transformer.state_dict())
    return model.eval()


def run(work: Workload, iterations: int) -> list[dict[str, float]]:
    """Seconds per iteration, the first left out."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = PPOConfig(
            output_dir=folder,
            total_episodes=work.batch * (1 + iterations),
            per_device_train_batch_size=work.batch,
            gradient_accumulation_steps=1,
            num_mini_batches=work.minibatches,
            num_ppo_epochs=1,
            local_rollout_forward_batch_size=work.batch,
            response_length=work.response,
            stop_token="eos",
            temperature=1.0,
            kl_coef=0.1,
            learning_rate=1e-6,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            num_sample_generations=0,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        tokenizer = SimpleNamespace(
            eos_token_id=EOS, pad_token_id=PAD, eos_token="<e>", pad_token="<p>"
        )
        prompts = Dataset.from_list([{"input_ids": ids} for ids in work.prompts()])
        trainer = PPOTrainer(
            args=arguments,
            processing_class=tokenizer,
            model=work.policy(),
            ref_model=work.policy(),
            reward_model=scalar(work),
            value_model=scalar(work),
            train_dataset=prompts,
            data_collator=pad_left,
            callbacks=[clock],
        )
        trainer.train()
    pairs = zip(clock.times, clock.times[1:], strict=False)
    return [{"process": b[0] - a[0], "wall": b[1] - a[1]} for a, b in pairs]


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    torch.set_num_threads(request["threads"])
    rows = run(Workload(**request["work"]), request["iterations"])
    print(json.dumps(rows))
