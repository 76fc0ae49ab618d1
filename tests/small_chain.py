"""Every stage of the chain once, small enough for a random model and a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlhf_lab.config import ChainConfig, PPOConfig, RMConfig, SFTConfig


def small_chain(model: Path, *, evaluation_prompts: int, **ppo: Any) -> ChainConfig:
    """Eight records a stage; ``ppo`` are further settings of step 3."""
    return ChainConfig(
        model=str(model),
        demonstrations=8,
        early_demonstrations=4,
        rankings=4,
        prompts=8,
        ptx_documents=40,
        evaluation_prompts=evaluation_prompts,
        sft=SFTConfig(epochs=1, batch_size=4, micro_batch_size=4, max_length=256),
        rm=RMConfig(epochs=1, batch_size=2, max_length=256),
        ppo=PPOConfig(
            batch_size=4, minibatches=1, max_prompt_length=160, max_response_length=12,
            learning_rate=3e-3, ema_decay=0.0, **ppo,
        ),
    )  # fmt: skip
