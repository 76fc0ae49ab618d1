"""Scaling laws of our own, and several metrics of the same answers.

Writes ``book/results/scaling-laws``.

Grid. Models of three sizes are trained on four amounts of Fernwick's web, each with a learning
rate that comes down where its run ends, so each is a finished run (Hoffmann et al. 2022, §3.1).
Laws are fitted to the three smaller amounts, and the largest is held out. A run also measures its
loss where the shorter runs end: these points inside of the longest runs are what a second fit takes
for runs. Batches are smaller than in the recipe of the presets, for the texts are so short; the
finished presets lie far outside of the grid. Each size had three learning rates tried on one seed
of the second amount, on another machine, before any other run: ``nano`` and ``micro`` take what was
best by held-out loss; of ``pico``'s the middle one was worse than both others, which says more of
noise than of rates, and it takes the lowest. The choice was kept when all was run again, and the
other two seeds of these trials were added to show what it is worth.

Written before the runs of the largest amount. A law *predicts* it if for each size the loss there
is inside of the law's 95 % interval: a bootstrap over the runs that were fitted, with the noise of
one run added, which is the spread of seeds over all cells that have several. Points inside of a run
*mislead* if the law through them is farther off the held-out runs, by mean absolute error of the
logarithm, than the law through finished runs; by Chinchilla's form. (Over which cells the noise is
taken was changed after the runs of the largest amount, before any second seed was run.)

Both rules were first judged with three seeds of the first amount, two of the second and one of the
others, on another machine: ``first.csv``, which nothing writes any more. The seeds that make it
three everywhere were added after that, and these rules of theirs were written before they were run.
A law predicts a seed by how far inside of its interval the run lies that lies least so. Points
inside mislead on a seed by how much farther off its held-out runs the law through its own points is
than the law through its own finished runs, so that each seed makes the comparison by itself. In
either case the claim holds if the mean over seeds is above 0 with its whole interval. As a control
a seed is predicted from points inside of the others' runs.

Emergence. The grid's models and the presets read the questions and answers of two suites. The
critique *comes out again* if on some suite whole answers stay below 1 % in at least half of the
models, while among these the nats per token fall by half a nat or more. (Written before the models
of the first seed were asked, and first judged on them; the others were asked later. Then it is
judged on each seed with the presets, by the fall from the least computation to the most.)
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import load_model, save_model
from transformers import GPT2Config, GPT2LMHeadModel

from rlhf_lab.config import PretrainConfig
from rlhf_lab.files import atomic_write
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.lineage.emergence import answer_tokens, metrics
from rlhf_lab.lineage.scaling_laws import KaplanFit, bootstrap, fit_chinchilla, fit_kaplan
from rlhf_lab.models import ASSETS, load_policy
from rlhf_lab.pretrain import architecture, pretrain
from rlhf_lab.provenance import manifest
from rlhf_lab.scaling import ParametricFit, loss_by_size_and_data, training_flops
from rlhf_lab.shards import PretrainingData, pretraining_data
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "scaling-laws"
PRESETS = ("nano", "micro", "tiny")
FINISHED, INSIDE = "finished runs", "points inside of runs"
SUITES = ("sums with steps/3", "translation/2")


@dataclass(frozen=True)
class Config:
    """What is run.

    Attributes:
        sizes: (width, layers, heads) by name.
        rates: the learning rate of each size, one of those that were ``tried``.
        steps: of a run, with how many seeds.
        recipe: all else of each run; the warm-up is a tenth of the steps.
        draws: of runs, for the intervals of the laws.
        questions: of each suite.
    """

    sizes: tuple[tuple[str, tuple[int, int, int]], ...] = (
        ("pico", (16, 2, 2)), ("nano", (32, 2, 2)), ("micro", (64, 3, 4)),
    )  # fmt: skip
    rates: tuple[tuple[str, float], ...] = (("pico", 8e-3), ("nano", 8e-3), ("micro", 4e-3))
    tried: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("pico", (8e-3, 16e-3, 32e-3)), ("nano", (4e-3, 8e-3, 16e-3)),
        ("micro", (2e-3, 4e-3, 8e-3)),
    )  # fmt: skip
    steps: tuple[tuple[int, int], ...] = ((125, 3), (250, 3), (500, 3), (1000, 3))
    recipe: PretrainConfig = dataclasses.field(
        default_factory=lambda: PretrainConfig(
            batch_size=2, held_out_blocks=64, log_every=125, evaluate_every=125
        )
    )
    questions: int = 50
    draws: int = 40


def run() -> None:
    """Make the runs that are missing, ask all models, write the tables."""
    started, config = time.time(), Config()
    wanted = in_order(config)
    done = {key: _finished(config, *key) for key in wanted}
    runs = pd.DataFrame(found["run"] for found in done.values())
    inside = pd.DataFrame(row for found in done.values() for row in found["inside"])
    through = laws(runs, inside, config.draws)
    tables = {
        "runs": runs,
        "inside": inside,
        "rates": pd.DataFrame(_rates(config)),
        **through,
        "predicted": predictions(runs, through),
        "errors": errors(runs, inside),
        "emergence": _emergence(config),
    }
    for name, table in tables.items():
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
        print(table.to_string())
    seeds = range(max(seeds for _, seeds in config.steps))
    about = manifest("python -m benchmarks scaling_laws", {"Config": config}, seeds, started)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def in_order(config: Config) -> list[tuple[str, int, int]]:
    """(size, steps, seed) of every run, the first seeds first."""
    most = max(seeds for _, seeds in config.steps)
    return [
        (size, steps, seed)
        for seed in range(most)
        for steps, seeds in config.steps
        for size, _ in config.sizes
        if seed < seeds
    ]


# --- the grid -------------------------------------------------------------------------------------


def model_config(config: Config, size: str) -> GPT2Config:
    """A smaller or equal sibling of ``nano``, with the presets' vocabulary and positions."""
    _, tokenizer = load_policy(PRESETS[0])
    found = architecture(PRESETS[0], tokenizer)
    found.n_embd, found.n_layer, found.n_head = dict(config.sizes)[size]
    return found


def counted(model: GPT2LMHeadModel) -> dict[str, int]:
    """Weights in the blocks, and these with the output matrix, which embeds, too."""
    blocks = sum(p.numel() for p in model.transformer.h.parameters())
    return {"in_blocks": blocks, "with_output": blocks + model.transformer.wte.weight.numel()}


def recipe_of(config: Config, steps: int, seed: int, rate: float) -> PretrainConfig:
    """The recipe of one run."""
    return dataclasses.replace(
        config.recipe, steps=steps, seed=seed, learning_rate=rate, warmup_steps=max(1, steps // 10)
    )


def _folder(config: Config, size: str, steps: int, seed: int, rate: float) -> Path:
    code = code_fingerprint("rlhf_lab.pretrain", "rlhf_lab.shards")
    recipe = dataclasses.asdict(dataclasses.replace(config.recipe, learning_rate=rate))
    key = fingerprint([code, dict(config.sizes)[size], steps, seed, recipe])
    return ROOT / "runs" / f"scaling-laws-{size}-{steps}-{seed}-{key}"


def _finished(
    config: Config, size: str, steps: int, seed: int, rate: float | None = None
) -> dict[str, Any]:
    """A run of the grid, or at another rate; read where this code has made it."""
    rate = rate or dict(config.rates)[size]
    folder = _folder(config, size, steps, seed, rate)
    path = folder / "found.json"
    if not path.is_file():
        recipe = recipe_of(config, steps, seed, rate)
        model, found = grid_run(model_config(config, size), size, recipe, web(config.recipe))
        folder.mkdir(parents=True, exist_ok=True)
        save_model(model, str(folder / "model.safetensors"))
        atomic_write(path, json.dumps(found))
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def _rates(config: Config) -> list[dict[str, Any]]:
    """Held-out loss by learning rate and seed, on the second amount."""
    steps, seeds = config.steps[1]
    return [
        {"size": size, "steps": steps, "rate": rate, "seed": seed,
         "loss": _finished(config, size, steps, seed, rate)["run"]["loss"]}
        for size, tried in config.tried
        for rate in tried
        for seed in range(seeds)
    ]  # fmt: skip


@functools.lru_cache(maxsize=1)
def web(recipe: PretrainConfig) -> PretrainingData:
    """The web that the presets read, their tokenizer, and the first of their held-out blocks."""
    found = pretraining_data(recipe, ROOT / "runs" / "scaling-laws-web", processes=1)
    return dataclasses.replace(found, held_out=found.held_out[: recipe.held_out_blocks])


def grid_run(
    model_config: GPT2Config, size: str, recipe: PretrainConfig, data: PretrainingData
) -> tuple[GPT2LMHeadModel, dict[str, Any]]:
    """Train one model; its final loss, and what it passed on the way."""
    model, log = pretrain(
        data.blocks, model_config, recipe, tokenizer=data.tokenizer, held_out=data.held_out,
        quiet=True,
    )  # fmt: skip
    each = recipe.batch_size * recipe.block_length
    about: dict[str, Any] = {"size": size, **counted(model), "seed": recipe.seed}
    lost = {row["step"]: row["held_out_loss"] for row in log if "held_out_loss" in row}
    tokens = recipe.steps * each
    whole = {"tokens": tokens, "flops": training_flops(about["with_output"], tokens)}
    return model, {
        "run": {**about, **whole, "loss": lost.pop(recipe.steps)},
        "inside": [
            {**about, "tokens": step * each, "of": tokens, "loss": loss}
            for step, loss in lost.items()
        ],
    }


# --- laws -----------------------------------------------------------------------------------------


def fitted(runs: pd.DataFrame, inside: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What each fit sees: finished runs but for the largest amount, or points of the longest."""
    amounts = sorted(runs.tokens.unique())
    passed = inside[(inside.of == amounts[-1]) & inside.tokens.isin(amounts)]
    return {FINISHED: runs[runs.tokens < amounts[-1]], INSIDE: passed}


def laws(runs: pd.DataFrame, inside: pd.DataFrame, draws: int) -> dict[str, pd.DataFrame]:
    """Both laws through both kinds of points; draw 0 is the fit, the others resample the runs.

    Kaplan's counts the weights of the blocks, Chinchilla's the output matrix, too. Points inside
    of the same run are no sample of runs, and are not resampled.
    """
    found: dict[str, list[dict[str, Any]]] = {"kaplan": [], "chinchilla": []}
    for kind, points in fitted(runs, inside).items():
        text, losses = points.tokens.to_numpy(float), points.loss.to_numpy(float)
        blocks, every = (points[c].to_numpy(float) for c in ("in_blocks", "with_output"))
        through: dict[str, list[Any]] = {
            "kaplan": [fit_kaplan(blocks, text, losses)],
            "chinchilla": [fit_chinchilla(every, text, losses)],
        }
        if kind == FINISHED:
            through["kaplan"] += bootstrap(fit_kaplan, blocks, text, losses, draws=draws)
            through["chinchilla"] += bootstrap(fit_chinchilla, every, text, losses, draws=draws)
        for name, every_law in through.items():
            found[name] += [
                {"points": kind, "draw": i, **dataclasses.asdict(law)}
                for i, law in enumerate(every_law)
            ]
    return {name: pd.DataFrame(rows) for name, rows in found.items()}


def spread(runs: pd.DataFrame) -> tuple[float, int]:
    """How far a run is off its cell, as a standard deviation of log losses, and its degrees."""
    logs = np.log(runs.loss)
    cells = logs.groupby([runs["size"], runs.tokens])
    freedom = len(runs) - cells.ngroups
    return float(np.sqrt(((logs - cells.transform("mean")) ** 2).sum() / freedom)), freedom


def promised(name: str, constants: Any, of: pd.DataFrame) -> np.ndarray:
    """Losses that one row of the table ``name`` of :func:`laws` promises for some runs."""
    if name == "kaplan":
        law = KaplanFit(constants.n_c, constants.d_c, constants.alpha_n, constants.alpha_d)
        return law.loss(of.in_blocks.to_numpy(float), of.tokens.to_numpy(float))
    c = ParametricFit(constants.E, constants.A, constants.B, constants.alpha, constants.beta)
    return loss_by_size_and_data(of.with_output.to_numpy(float), of.tokens.to_numpy(float), c)


def predictions(runs: pd.DataFrame, through: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What each law promises for each run of the largest amount.

    Args:
        runs: all of the grid.
        through: the tables of :func:`laws`.

    Returns:
        ``law``, ``points``, ``size``, ``seed``, ``measured``, ``loss`` by the law, and ``low`` and
        ``high`` of the 95 % interval of one run: quantiles over the draws of the bootstrap, to each
        of which a draw of the noise is added. Points inside have no draws and no interval.
    """
    later = runs[runs.tokens == runs.tokens.max()]
    noise, freedom = spread(runs[runs.tokens < runs.tokens.max()])
    rows = []
    for name, table in through.items():
        for kind, own in table.groupby("points", sort=False):
            losses = np.stack([promised(name, row, later) for row in own.itertuples()])
            off = np.random.default_rng(0).standard_t(freedom, len(losses) - 1) * noise
            drawn = losses[1:] * np.exp(off)[:, None]
            ends = np.full((2, len(later)), np.nan)
            if len(drawn):
                ends = np.quantile(drawn, [0.025, 0.975], axis=0)
            about = later[["size", "seed"]].assign(measured=later.loss, loss=losses[0])
            rows.append(about.assign(law=name.capitalize(), points=kind, low=ends[0], high=ends[1]))
    columns = ["law", "points", "size", "seed", "measured", "loss", "low", "high"]
    return pd.concat(rows)[columns]


def errors(runs: pd.DataFrame, inside: pd.DataFrame) -> pd.DataFrame:
    """How far Chinchilla's form is off the held-out runs of each seed, by what it was fitted to.

    Returns:
        ``points`` of either kind; ``of`` which seeds: all, its own, or the others; ``seed`` of the
        held-out runs; ``error``, the mean absolute error of the logarithm over sizes.
    """
    later = runs[runs.tokens == runs.tokens.max()]
    rows = []
    for kind, points in fitted(runs, inside).items():
        for seed, own in later.groupby("seed"):
            for of, chosen in (
                ("all", points),
                ("its own", points[points.seed == seed]),
                ("the others", points[points.seed != seed]),
            ):
                text, losses = chosen.tokens.to_numpy(float), chosen.loss.to_numpy(float)
                law = fit_chinchilla(chosen.with_output.to_numpy(float), text, losses)
                off = np.log(promised("chinchilla", law, own) / own.loss.to_numpy())
                rows.append({"points": kind, "of": of, "seed": seed, "error": np.abs(off).mean()})
    return pd.DataFrame(rows)


# --- the same answers, several metrics ------------------------------------------------------------


def _emergence(config: Config) -> pd.DataFrame:
    """Metrics of the grid's models and of the presets; these have no seed of the grid."""
    suites, rows = World(seed=0).suites(), []
    _, tokenizer = load_policy(PRESETS[0])
    items = {label: suites[label].items(config.questions) for label in SUITES}
    for size, steps, seed in in_order(config):
        found = _finished(config, size, steps, seed)["run"]
        model = GPT2LMHeadModel(model_config(config, size))
        folder = _folder(config, size, steps, seed, dict(config.rates)[size])
        load_model(model, str(folder / "model.safetensors"))
        about = {
            "model": f"{size}, {steps} steps", "seed": seed,
            "flops": found["flops"], "loss": found["loss"],
        }  # fmt: skip
        rows += asked(model.eval(), tokenizer, items, about)
    for preset in PRESETS:
        model, tokenizer = load_policy(preset)
        recipe = PretrainConfig()
        flops = training_flops(counted(model)["with_output"], recipe.tokens)
        about = {"model": preset, "seed": None, "flops": flops, "loss": final_loss(preset)}
        rows += asked(model.eval(), tokenizer, items, about)
    table = pd.DataFrame(rows).astype({"seed": "Int64"})
    return table.sort_values(["suite", "flops"], kind="stable")


def asked(
    model: GPT2LMHeadModel, tokenizer: Any, items: dict[str, Any], about: dict[str, Any]
) -> list[dict[str, Any]]:
    """One row per suite: its metrics, and how long its answers are."""
    rows = []
    for label, own in items.items():
        found = answer_tokens(model, tokenizer, own)
        length = {"questions": len(own), "length": found.tokens.mean()}
        rows.append({**about, "suite": label, **length, **metrics(found)})
    return rows


def final_loss(preset: str) -> float:
    """Held-out loss of a shipped preset at its last step."""
    log = json.loads((ASSETS / preset / "training_log.json").read_text(encoding="utf-8"))
    return float([row["held_out_loss"] for row in log if "held_out_loss" in row][-1])
