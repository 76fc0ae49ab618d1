"""What does a law through the smaller presets predict of the final loss of the next one?

Writes ``book/results/predicted-loss``: the finished runs (logs shipped with the presets), short
runs of the smallest preset, and predictions. The short runs, five seeds, are finished runs of their
own: they show how far a point inside the long run is from them, and how far seeds differ. That
difference, relative to the loss, is taken as the noise of every final loss; models are too dear to
be trained five times.

``tiny`` is predicted from ``nano`` and ``micro`` alone. Two runs leave one of the law's three
numbers free, so its interval is what every floor from nothing to the loss of ``micro`` gives.
``tiny`` had been trained, and its loss was known, when this was written.

``base`` (d 256, five layers, the same recipe) is predicted from all three. Written before it was
trained: the prediction holds if its final held-out loss lies in the interval of the row
``all presets``; it was worth making if that loss is nearer to the predicted one than to the loss of
``tiny``.

In one thing the recipe of ``base`` was not the same: to fit in an afternoon it took its passes in
bfloat16. What that does to a final loss is measured on the short runs, seed by seed.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import GPT2LMHeadModel

from rlhf_lab.config import PretrainConfig
from rlhf_lab.errors import InputError
from rlhf_lab.files import atomic_write
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.lineage.predictable import LossLaw, through_three, with_exponent, with_floor
from rlhf_lab.models import ASSETS, load_policy
from rlhf_lab.pretrain import architecture, pretrain
from rlhf_lab.provenance import manifest
from rlhf_lab.scaling import BESIROGLU, training_flops
from rlhf_lab.shards import pretraining_data

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "predicted-loss"
SEEDS = (0, 1, 2, 3, 4)
TRAINED = ("nano", "micro", "tiny")
NEXT = "base"
ALL, BLOCKS = COUNTS = ("with the output matrix", "blocks only")
PUBLISHED = "all presets"
RECIPE = PretrainConfig()
HALF = "bfloat16"  # the precision that `base` was trained in
QUANTILES = (0.025, 0.5, 0.975)


@dataclass(frozen=True)
class Config:
    """How the short runs are made and how often noise is drawn.

    Attributes:
        preset: of the short runs.
        steps: of each; all else is the recipe of the presets.
        documents: enough for one pass of a short run.
        draws: of noise, or of the floor.
    """

    preset: str = "nano"
    steps: int = 500
    documents: int = 40_000
    draws: int = 4000


def run() -> None:
    """Make the short runs that are missing, predict what is to come, write the tables."""
    started, config = time.time(), Config()
    runs = pd.DataFrame(finished(preset) for preset in (*TRAINED, NEXT))
    short = pd.DataFrame(_short(config, seed) for seed in SEEDS)
    half = [_short(config, seed, HALF)["loss"] for seed in SEEDS]
    precision = short[["preset", "seed", "steps"]].assign(float32=short.loss, **{HALF: half})
    tables = {"runs": runs, "precision": precision}
    if not (ASSETS / NEXT).is_dir():  # a prediction that was published before stays as it was
        made = predictions(runs, short.loss.to_numpy(), config.draws)
        tables |= {"short": short, "prediction": made}
    for name, table in tables.items():
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
        print(table.to_string())
    about = manifest(
        "python -m benchmarks predicted_loss", {"Config": config, "PretrainConfig": RECIPE}, SEEDS,
        started,
    )  # fmt: skip
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def finished(preset: str) -> dict[str, Any]:
    """Weights of a preset, the computation of its training, and its final loss if it is shipped."""
    _, tokenizer = load_policy(TRAINED[0])
    model = GPT2LMHeadModel(architecture(preset, tokenizer))
    blocks = sum(p.numel() for p in model.transformer.h.parameters())
    both = blocks + model.transformer.wte.weight.numel()  # it is the output matrix, too
    shipped = (ASSETS / preset).is_dir()  # else it is still to be trained
    loss = final_loss(preset) if shipped else float("nan")
    return {
        "preset": preset, "in_blocks": blocks, "with_output": both, "tokens": RECIPE.tokens,
        "flops": training_flops(both, RECIPE.tokens), "loss": loss,
    }  # fmt: skip


def final_loss(preset: str) -> float:
    """Held-out loss at the last step of a shipped preset."""
    return curve(preset)[RECIPE.steps]


def curve(preset: str) -> dict[int, float]:
    """Held-out loss of a shipped preset by step."""
    log = json.loads((ASSETS / preset / "training_log.json").read_text(encoding="utf-8"))
    return {row["step"]: row["held_out_loss"] for row in log if "held_out_loss" in row}


def _short(config: Config, seed: int, precision: str = RECIPE.precision) -> dict[str, Any]:
    """One short run; read where this code has made it."""
    code = code_fingerprint("rlhf_lab.pretrain", "rlhf_lab.shards")
    settings = [config.preset, config.steps, config.documents, precision]
    path = ROOT / "runs" / f"predicted-loss-{fingerprint([code, *settings, seed])}.json"
    if not path.is_file():
        atomic_write(path, json.dumps(short_run(config, seed, precision)))
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def short_run(config: Config, seed: int, precision: str = RECIPE.precision) -> dict[str, Any]:
    """Train a preset for a few steps on the beginning of the web, with a schedule of its own."""
    recipe = dataclasses.replace(
        RECIPE, preset=config.preset, steps=config.steps, documents=config.documents, seed=seed,
        evaluate_every=config.steps, precision=precision,
    )  # fmt: skip
    data = _data(dataclasses.replace(recipe, seed=0, precision=RECIPE.precision))
    _, log = pretrain(
        data.blocks, config.preset, recipe, tokenizer=data.tokenizer, held_out=data.held_out,
        quiet=True,
    )  # fmt: skip
    inside = curve(config.preset).get(config.steps, float("nan"))
    return {
        "preset": config.preset, "seed": seed, "steps": config.steps,
        "loss": log[-1]["held_out_loss"], "inside_the_long_run": inside,
    }  # fmt: skip


@functools.lru_cache(maxsize=1)
def _data(recipe: PretrainConfig) -> Any:
    """Blocks of the web's beginning; their tokenizer has to be that of the presets."""
    data = pretraining_data(recipe, processes=1)
    shipped = load_policy(recipe.preset)[1]
    if data.tokenizer.get_vocab() != shipped.get_vocab():
        raise InputError(
            "documents", recipe.documents, "enough to train the tokenizer of the presets",
            f"take {recipe.tokenizer_documents} at least",
        )  # fmt: skip
    return data


def predictions(runs: pd.DataFrame, short: np.ndarray, draws: int) -> pd.DataFrame:
    """Of ``tiny`` from the two below it, and of ``base`` from the three.

    Args:
        runs: rows of :func:`finished`, the next preset last.
        short: final losses of the short runs, one per seed.
        draws: of noise, or of the floor.

    Returns:
        ``target, basis, count`` (which weights C counts), ``b, c`` of the law, ``loss`` with
        ``low`` and ``high``: a 95 % interval where ``basis`` is a range, otherwise NaN; ``solved``,
        the share of draws through which a law goes.
    """
    rows = []
    for count, column in zip(COUNTS, ("with_output", "in_blocks"), strict=True):
        flops = [
            float(training_flops(n, d)) for n, d in zip(runs[column], runs.tokens, strict=True)
        ]
        losses = runs.loss.to_list()
        rows += _third(flops[:3], losses[:2], count)
        rows.append(_fourth(flops, losses[:3], count, short, draws))
    table = pd.DataFrame(rows)
    own = table[table.target == NEXT]
    whole = own.iloc[0].to_dict() | {
        "basis": PUBLISHED, "count": "both", "b": float("nan"), "c": float("nan"),
        "loss": own.loss.mean(), "low": own.low.min(), "high": own.high.max(),
        "solved": own.solved.min(),
    }  # fmt: skip
    return pd.DataFrame([*rows, whole])


def _third(flops: Sequence[float], losses: Sequence[float], count: str) -> list[dict[str, Any]]:
    """The third run from the first two: some assumptions, then every floor."""
    first, two = (flops[0], flops[1]), (losses[0], losses[1])
    floors = losses[1] * np.array(QUANTILES)  # of a floor that may be anything below
    laws = [with_floor(first, two, float(floor)) for floor in floors]
    low, middle, high = (law.loss(flops[2]) for law in laws)
    assumed = {
        "no floor": with_floor(first, two, 0.0),
        "exponent of Besiroglu et al.": with_exponent(first, two, -BESIROGLU.alpha),
    }
    rows = [_row(TRAINED[2], basis, count, law, flops[2]) for basis, law in assumed.items()]
    every = _row(TRAINED[2], "any floor", count, laws[1], flops[2])
    return [*rows, every | {"loss": middle, "low": low, "high": high}]


def _fourth(
    flops: Sequence[float], losses: Sequence[float], count: str, short: np.ndarray, draws: int
) -> dict[str, Any]:
    """The fourth run from three, with an interval: their noise and its own, drawn again and again.

    The spread is known from a few seeds only: for each draw it is drawn, too.
    """
    three = (flops[0], flops[1], flops[2])
    law = through_three(three, (losses[0], losses[1], losses[2]))
    rng = np.random.default_rng(0)
    free = len(short) - 1
    spread = short.std(ddof=1) / short.mean() * np.sqrt(free / rng.chisquare(free, draws))
    found = []
    for size in spread:
        noisy = np.array(losses) * (1 + size * rng.normal(size=3))
        try:
            drawn = through_three(three, (noisy[0], noisy[1], noisy[2]))
        except InputError:  # noise turned the order round: no law goes through these
            continue
        found.append(drawn.loss(flops[3]) * (1 + size * rng.normal()))
    low, _, high = np.quantile(found, QUANTILES)
    row = _row(NEXT, "three presets", count, law, flops[3])
    return row | {"low": low, "high": high, "solved": len(found) / draws}


def _row(target: str, basis: str, count: str, law: LossLaw, flops: float) -> dict[str, Any]:
    return {
        "target": target, "basis": basis, "count": count, "b": law.b, "c": law.c,
        "loss": law.loss(flops), "low": float("nan"), "high": float("nan"),
    }  # fmt: skip
