"""β × γ × seed: one PPO-ptx run for every cell of a grid, side by side on the cores of a machine.

Runs of one seed share an SFT policy and a reward model, and see the same prompts, the same uniform
numbers of the sampler and the same pretraining blocks (common random numbers), so that they differ
by β and γ alone. Each result lies in ``work/`` in a folder named by its settings and a fingerprint
of all that it depends on. A sweep that was cut off at any moment, by SIGKILL too, goes on from what
is there when it is started again, and ends with the same tables, byte for byte.

Left out: GPUs, and replicas stacked into one model on them (``torch.func``); several machines.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import transformers
from torch import nn

from rlhf_lab.checkpoints import clear_checkpoints
from rlhf_lab.config import ChainConfig, SweepConfig
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import (
    code_fingerprint,
    fingerprint,
    model_fingerprint,
    tensor_fingerprint,
)
from rlhf_lab.models import ASSETS, EXAMINERS, PRESETS, load_policy, save_policy
from rlhf_lab.pipeline import Chain, reward_start, seeded
from rlhf_lab.pool import run_tasks
from rlhf_lab.provenance import manifest
from rlhf_lab.runtime import interruptible
from rlhf_lab.tracking import Progress, read_metrics
from rlhf_lab.yardstick import Yardstick

CURVE_POINTS = 60
CURVES = (
    "objective/kl", "objective/scores", "objective/rlhf_reward", "objective/entropy",
    "policy/approxkl", "policy/clipfrac", "value/explained_variance", "ptx/loss",
    "ptx/gradient_ratio", "ptx/gradient_cosine", "response/length", "response/stopped",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A task of the sweep: a PPO run, or what all runs of a seed start from."""

    policy: str  # "ppo"; "base" and "sft" are only measured; "chain" makes SFT and reward model
    seed: int
    beta: float | None = None
    gamma: float | None = None

    def __str__(self) -> str:
        weights = "" if self.beta is None else f"-beta-{self.beta:g}-gamma-{self.gamma:g}"
        return f"{self.policy}{weights}-seed-{self.seed}"


@dataclass(frozen=True)
class Grid:
    """Where results of a sweep lie, and how each is made. Picklable: every process has one."""

    config: SweepConfig
    folder: Path

    @property
    def cells(self) -> list[Cell]:
        """What becomes rows of the table, in their order."""
        c = self.config
        references = [Cell(p, s) for s in c.seeds for p in ("base", "sft") if c.evaluate]
        return references + [
            Cell("ppo", seed, beta, gamma)
            for seed in c.seeds for gamma in c.gammas for beta in c.betas
        ]  # fmt: skip

    def chain_folder(self, seed: int) -> Path:
        """Folder of SFT policy and reward model: settings of PPO do not matter to them."""
        settings = dataclasses.asdict(seeded(self.config.chain, seed))
        settings["ppo"] = settings["ppo"]["max_response_length"]
        del settings["evaluation_prompts"]
        settings["model"] = _source_fingerprint(self.config.chain.model)
        start = reward_start(self.config.chain)
        settings["reward_start"] = start if start == "sft" else _source_fingerprint(start)
        key = fingerprint({"settings": settings, **_versions("rlhf_lab.pipeline")})
        return self.folder / "work" / f"chain-seed-{seed}-{key}"

    def upstream(self, seed: int) -> str | None:
        """Fingerprint of everything that the PPO runs of a seed start from; None: not made yet."""
        found = _read_json(self.chain_folder(seed) / "upstream.json")
        return None if found is None else found["upstream"]

    def run_folder(self, cell: Cell) -> Path:
        """Folder of one run or reference; its chain must be there."""
        settings = dataclasses.asdict(seeded(self.config.chain, cell.seed).ppo)
        for name in ("checkpoint_every", "keep_checkpoints"):
            del settings[name]
        key = {
            "upstream": self.upstream(cell.seed),
            "settings": settings,
            **_versions("rlhf_lab.ppo"),
        }
        return self.folder / "work" / f"{cell}-{fingerprint(key)}"

    @property
    def evaluation(self) -> str:
        """Fingerprint of how policies are measured: a change repeats that, not the training."""
        c = self.config
        settings = [c.evaluate, c.questions, c.documents, c.samples, c.chain.evaluation_prompts]
        return fingerprint({"settings": settings, **_versions("rlhf_lab.yardstick")})

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """What is known of a cell, or None when it is not finished."""
        if self.upstream(cell.seed) is None:
            return None
        found = _read_json(self.run_folder(cell) / "result.json")
        return found if found is not None and found["evaluation"] == self.evaluation else None

    def work(self, cell: Cell) -> None:
        """Make what is missing of a cell; its result is written last."""
        before = time.process_time()
        chain = _chain(self, cell.seed)
        if cell.policy == "chain":
            parts = [model_fingerprint(chain.sft), model_fingerprint(chain.reward_model)]
            parts += [tensor_fingerprint(chain.ptx_blocks), *(p.text for p in chain.ppo_prompts)]
            made = {"upstream": fingerprint(parts), "seconds": time.process_time() - before}
            atomic_write(self.chain_folder(cell.seed) / "upstream.json", json.dumps(made))
            return
        folder = self.run_folder(cell)
        row: dict[str, Any] = {}
        if cell.policy == "ppo":
            policy = _trained(chain, cell, folder)
            row = _training(read_metrics(folder / "metrics.jsonl"))
        else:
            policy = chain.sft if cell.policy == "sft" else chain.base
        samples: list[dict[str, Any]] = []
        if self.config.evaluate:
            found, samples = _yardstick(self, cell.seed).measure(policy, self.config.samples)
            row = found | row
        result = {"evaluation": self.evaluation, "row": row, "samples": samples}
        seconds = time.process_time() - before
        atomic_write(folder / "result.json", json.dumps(result | {"seconds": seconds}))

    @property
    def seconds(self) -> float:
        """Processor time behind all that is there; of a run that was resumed, its last part's."""
        chains = (_read_json(self.chain_folder(s) / "upstream.json") for s in self.config.seeds)
        return sum(one["seconds"] for one in (*chains, *map(self.result, self.cells)) if one)


def sweep(
    chain_config: ChainConfig,
    betas: Sequence[float],
    gammas: Sequence[float],
    seeds: Sequence[int],
    folder: str | Path,
    *,
    processes: int | None = None,
    evaluate: bool = True,
    questions: int = 100,
    documents: int = 300,
    samples: int = 6,
    quiet: bool = False,
    callback: Callable[[Cell, str], None] | None = None,
) -> pd.DataFrame:
    """Run the grid and write its tables: call it again after any interruption.

    Under ``folder``: ``runs.csv`` (what is returned), ``curves.csv`` (metrics along each run, at
    most :data:`CURVE_POINTS` of them), ``samples.json`` (answers of every policy to a few prompts),
    ``manifest.json``, and ``work/`` with chains, policies and logs, which need not be kept.

    Args:
        chain_config: every setting but seed, beta and gamma.
        betas, gammas, seeds: the grid.
        processes: runs at a time, each on one thread; None for one per core; 0 for none but this
            one, for scripts that cannot be imported again by a new process.
        evaluate: False leaves the columns of training only.
        questions: per suite; documents: held out; samples: prompts whose answers are kept.
        callback: called with (cell, error or "") when one is finished.

    Returns:
        One row per run, and one per seed for the base model and the SFT policy. ``error`` tells why
        a run failed, and is empty otherwise; its other columns are then missing. A failed run is
        tried again by the next call. After Ctrl-C: the rows that are finished.

    Raises:
        InputError: for a grid that could not be run, before any work.
    """
    started = time.time()
    config = SweepConfig(
        betas=tuple(map(float, betas)),
        gammas=tuple(map(float, gammas)),
        seeds=tuple(seeds),
        evaluate=evaluate,
        questions=questions,
        documents=documents,
        samples=samples,
        processes=processes or 0,
        chain=chain_config,
    )
    grid = Grid(config, Path(folder).resolve())
    cells = grid.cells
    missing = [cell for cell in cells if grid.result(cell) is None]
    chains = [Cell("chain", s) for s in config.seeds if any(c.seed == s for c in missing)]
    if processes is None:
        processes = min(os.cpu_count() or 1, len(missing))
    errors: dict[Cell, str] = {}
    with (
        interruptible() as interrupt,
        Progress(len(cells), "sweep", quiet=quiet) as bar,
    ):
        bar.update(len(cells) - len(missing))
        needs = functools.partial(_needs, chains)
        for outcome in run_tasks(grid.work, chains + missing, processes, interrupt, needs):
            if outcome.interrupted or outcome.task in chains:
                continue
            if outcome.error:
                errors[outcome.task] = outcome.error
            bar.update(1, failed=float(len(errors)))
            if callback is not None:
                callback(outcome.task, outcome.error)
    return _publish(grid, errors, started)


def _needs(chains: Sequence[Cell], cell: Cell) -> Cell | None:
    chain = Cell("chain", cell.seed)
    return chain if cell.policy != "chain" and chain in chains else None


@functools.cache
def _versions(module: str) -> dict[str, str]:
    """What of the code and the libraries a result of ``module`` depends on."""
    return {
        "code": code_fingerprint(module),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


@functools.lru_cache(maxsize=1)
def _chain(grid: Grid, seed: int) -> Chain:
    """The chain of the last seed stays open: data and models are read once a process."""
    return Chain(seeded(grid.config.chain, seed), grid.chain_folder(seed), quiet=True)


@functools.lru_cache(maxsize=1)
def _yardstick(grid: Grid, seed: int) -> Yardstick:
    chain, config = _chain(grid, seed), grid.config
    return Yardstick(
        chain.world,
        chain.tokenizer,
        chain.sft,
        chain.reward_model,
        chain.test_prompts,
        max_new_tokens=config.chain.ppo.max_response_length,
        seed=seed,
        questions=config.questions,
        documents=config.documents,
    )


def _trained(chain: Chain, cell: Cell, folder: Path) -> nn.Module:
    """The policy of a cell; its checkpoints are removed once it is finished."""
    if not (folder / "final").exists():
        # An absolute path in place of a name: runs outlive the folder of their chain.
        policy, _ = chain.ppo(str(folder), beta=cell.beta, gamma=cell.gamma)
        save_policy(policy, chain.tokenizer, folder / "final")
    clear_checkpoints(folder)
    return load_policy(folder / "final")[0]


def _training(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Columns about the run itself: its end, and the weight that pretraining had in it."""
    last = history[-max(1, len(history) // 10) :]
    row = {
        "train_score": statistics.fmean(r["objective/scores"] for r in last),
        "train_kl": statistics.fmean(r["objective/kl"] for r in last),
        "train_entropy": statistics.fmean(r["objective/entropy"] for r in last),
    }
    if "ptx/gradient_ratio" in history[0]:
        for name in ("gradient_ratio", "gradient_cosine"):
            row[name] = statistics.fmean(r[f"ptx/{name}"] for r in history)
    return row


def _publish(grid: Grid, errors: Mapping[Cell, str], started: float) -> pd.DataFrame:
    """Write the tables from the results that are there."""
    config, rows, curves, samples = grid.config, [], [], []
    for cell in grid.cells:
        found, name = grid.result(cell), dataclasses.asdict(cell)
        if found is not None:
            rows.append({**name, "error": "", **found["row"]})
            samples += [{**name, **sample} for sample in found["samples"]]
            if cell.policy == "ppo":
                history = _thinned(read_metrics(grid.run_folder(cell) / "metrics.jsonl"))
                curves += [{**name, "step": r["step"], **_only(CURVES, r)} for r in history]
        elif cell in errors:
            rows.append({**name, "error": errors[cell]})
    names = [*(f.name for f in dataclasses.fields(Cell)), "error"]
    runs = pd.DataFrame(rows, columns=None if rows else names)
    counts = {
        "wanted": len(grid.cells),
        "done": len(rows) - len(errors),
        "failed": len(errors),
        "missing": len(grid.cells) - len(rows),
    }
    about = manifest("rlhf-lab sweep", config, config.seeds, started) | {"runs": counts}
    about["seconds_of_all_runs"] = round(grid.seconds, 1)
    for table, text in {
        "runs.csv": runs.to_csv(index=False, float_format="%.6g"),
        "curves.csv": pd.DataFrame(curves).to_csv(index=False, float_format="%.5g"),
        "samples.json": json.dumps(samples, indent=1, ensure_ascii=False) + "\n",
        "manifest.json": json.dumps(about, indent=2) + "\n",
    }.items():
        atomic_write(grid.folder / table, text)
    return runs


def _only(names: Sequence[str], row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in names if name in row}


def _thinned(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most :data:`CURVE_POINTS` rows, evenly spaced, the last one among them."""
    every = -(-len(history) // CURVE_POINTS)
    return history[::-1][:: max(every, 1)][::-1]


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _source_fingerprint(source: str) -> str:
    """Of a model: of its files when they are here, otherwise of its name."""
    shipped = (*PRESETS, *EXAMINERS.values())
    path = ASSETS / source if source in shipped else Path(source)
    files = sorted(p for p in path.glob("*") if p.is_file()) if path.is_dir() else [path]
    if not all(p.is_file() for p in files):
        return source
    return fingerprint([[p.name, file_hash(p)] for p in files])
