"""Writes fixture/book/results/sweep, the published sweep of the small book's β × γ explorer.

A real sweep with the preset ``tiny``, cut down until it takes minutes: few runs, few steps, few
questions. Its numbers mean nothing; its files are those of ``rlhf-lab sweep``. Run by hand, when
their format changes: python tests/book/make_sweep.py
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from rlhf_lab.config import ChainConfig, PPOConfig, RMConfig, SFTConfig
from rlhf_lab.sweep import sweep

OUT = Path(__file__).parent / "fixture/book/results/sweep"
TABLES = ("runs.csv", "curves.csv", "samples.json", "manifest.json")
BETAS, GAMMAS, SEEDS = (0.0, 0.02, 0.3), (0.0, 1.0), (0, 1)
CHAIN = ChainConfig(
    demonstrations=200,
    rankings=40,
    early_demonstrations=60,
    prompts=400,
    ptx_documents=200,
    evaluation_prompts=24,
    sft=SFTConfig(epochs=1.0),
    rm=RMConfig(learning_rate=1e-4),
    ppo=PPOConfig(steps=24, batch_size=32, minibatches=2, max_response_length=32),
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = sweep(
            CHAIN, BETAS, GAMMAS, SEEDS, folder, processes=1, questions=8, documents=16, samples=3
        )
        print(table[["policy", "seed", "beta", "gamma", "error", "gold", "rm_score", "kl", "loss"]])
        OUT.mkdir(parents=True, exist_ok=True)
        for name in TABLES:
            shutil.copyfile(Path(folder) / name, OUT / name)


if __name__ == "__main__":
    main()
