"""Does the quickstart hold what it promises, on three seeds: order of gold scores, tax, time?

Writes the tables that the book prints, with their manifest, to ``book/results/quickstart``.
"""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from rlhf_lab.config import ChainConfig
from rlhf_lab.evaluate import noise_ceiling
from rlhf_lab.figures import learning_curves, mean_interval
from rlhf_lab.files import atomic_write
from rlhf_lab.models import ScalarModel
from rlhf_lab.pipeline import Chain, seeded
from rlhf_lab.provenance import manifest
from rlhf_lab.quickstart import RUNS, SYSTEMS
from rlhf_lab.reward import pair_accuracy
from rlhf_lab.svg import to_svg
from rlhf_lab.tracking import read_metrics

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "quickstart"
SEEDS = (0, 1, 2)
PROMPTS_PER_KIND = 40  # held-out prompts on which the reward model is measured
ORDER = ("base", "prompted base", "SFT", "PPO-ptx")  # worst to best, if all is well
CURVES = ("objective/scores", "objective/kl", "response/length", "ptx/gradient_ratio")


def run() -> None:
    """Run what is missing of three quickstarts, measure them, write the tables."""
    started = time.time()
    seconds = pd.DataFrame([_timed(seed) for seed in SEEDS])
    chains = {seed: _chain(seed) for seed in SEEDS}
    runs = pd.DataFrame(
        {"seed": seed, **row}
        for seed, chain in chains.items()
        for row in json.loads((chain.folder / "quickstart.json").read_text(encoding="utf-8"))
    )
    differences = gaps(chains)
    tables = {
        "runs": runs,
        "gaps": differences,
        "seconds": seconds,
        "curves": pd.DataFrame(
            row for seed, chain in chains.items() for row in _curves(seed, chain)
        ),
        "reward_model": pd.concat([_accuracy(seed, chain) for seed, chain in chains.items()]),
    }
    for name, table in tables.items():
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
    to_svg(plot(tables["curves"]), FOLDER / "held_out_loss.svg")
    about = manifest("python -m benchmarks quickstart", ChainConfig(), SEEDS, started)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")
    print(runs.round(3).to_string(), differences.round(3).to_string(), seconds.round().to_string())
    print(tables["reward_model"].round(3).to_string(), sep="\n\n")


def plot(curves: pd.DataFrame) -> go.Figure:
    """What the README shows: the tax along both runs, in the means over seeds."""
    return learning_curves(
        curves.dropna(subset="held_out_loss"),
        x="step",
        y="held_out_loss",
        color="system",
        title="Plain PPO forgets what it read; with the pretraining mix it does not",
        alt="Loss on held-out text over PPO iterations, from the loss of the SFT policy on. For "
        "plain PPO it rises, for PPO-ptx it falls.",
        x_label="PPO iteration",
        y_label="held-out loss, nats per token",
    )


def _timed(seed: int) -> dict[str, float]:
    """Run one quickstart from nothing; one that was finished before is not run again."""
    folder = _folder(seed)
    record = folder / "seconds.json"
    if not record.is_file():
        command = [sys.executable, "-m", "rlhf_lab", "quickstart", "--seed", str(seed), "--quiet"]
        start, before = time.time(), _process_seconds()
        subprocess.run([*command, "--output-dir", str(folder)], check=True)
        taken = {"seed": seed, "wall": time.time() - start, "process": _process_seconds() - before}
        atomic_write(record, json.dumps(taken) + "\n")
    found: dict[str, float] = json.loads(record.read_text(encoding="utf-8"))
    return found


def _process_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _chain(seed: int) -> Chain:
    return Chain(seeded(ChainConfig(), seed), _folder(seed), quiet=True)


def _folder(seed: int) -> Path:
    return ROOT / "runs" / f"quickstart-{seed}"


def _golds(chain: Chain) -> dict[str, np.ndarray]:
    """Gold scores of the answers that the quickstart judged, by system."""
    found = {}
    for number, name in enumerate(SYSTEMS):
        path = chain.folder / "evaluation" / f"{number}.json"
        written = json.loads(path.read_text(encoding="utf-8"))["answers"]
        pairs = zip(chain.test_prompts, written, strict=True)
        found[name] = np.array([chain.world.gold(prompt, text) for prompt, text in pairs])
    return found


def gaps(chains: Mapping[int, Chain]) -> pd.DataFrame:
    """Gain in gold score from each system to the next better one, on the same prompts.

    Returns:
        one row per step up and seed, with the 95 % percentile bootstrap over prompts, and one per
        step up for all seeds (``seed`` "all"), with Student's 95 % interval over their means.
    """
    rng, rows = np.random.default_rng(0), []
    golds = {seed: _golds(chain) for seed, chain in chains.items()}
    for worse, better in itertools.pairwise(ORDER):
        means = []
        for seed, gold in golds.items():
            gain = gold[better] - gold[worse]
            drawn = gain[rng.integers(len(gain), size=(2000, len(gain)))].mean(1)
            means.append(gain.mean())
            rows.append((worse, better, seed, gain.mean(), *np.quantile(drawn, [0.025, 0.975])))
        rows.append((worse, better, "all", *mean_interval(means)))
    return pd.DataFrame(rows, columns=["worse", "better", "seed", "gain", "low", "high"])


def _curves(seed: int, chain: Chain) -> pd.DataFrame:
    """Metrics along both PPO runs, and the held-out loss where it was measured."""
    rows: list[dict[str, Any]] = []
    for system, name in RUNS.items():
        history = [
            *read_metrics(chain.folder / name / "metrics.jsonl"),
            *json.loads((chain.folder / f"{name}-tax.json").read_text(encoding="utf-8")),
        ]
        for row in history:
            kept = {k: row[k] for k in (*CURVES, "held_out_loss") if k in row}
            rows.append({"seed": seed, "system": system, "step": row["step"], **kept})
    return pd.DataFrame(rows)


def _accuracy(seed: int, chain: Chain) -> pd.DataFrame:
    """The reward model before and after labelers' rankings, on prompts that it never met."""
    prompts, rankings = chain.held_out_rankings(PROMPTS_PER_KIND)
    ceiling = noise_ceiling(chain.world, prompts, rankings)
    models = {"before": ScalarModel.load(chain.config.reward_start), "after": chain.reward_model}
    tables = [
        pair_accuracy(
            model, chain.tokenizer, rankings,
            max_length=chain.config.rm.max_length, ceiling=ceiling,
        ).assign(seed=seed, rankings=name)
        for name, model in models.items()
    ]  # fmt: skip
    return pd.concat(tables)
