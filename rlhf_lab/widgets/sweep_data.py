"""The published tables of a sweep as one compact value, for the drawings of β and γ.

JSON with these fields:

- ``format``: :data:`FORMAT`;
- ``values``: names of what each policy was measured by at the end; :data:`MEASURES` come first,
  then the suites of the alignment tax as ``suite/<name>/<shots>``;
- ``curves``: names of what is known along a run, all of :data:`MEASURES`, and ``steps``: where;
- ``prompts``: ``{"kind", "text"}`` of the prompts whose answers are shown;
- ``runs``: for each finished PPO run ``beta``, ``gamma``, ``seed``; ``values`` in the order of
  the names; ``curves``, one list over ``steps`` for each name, and ``answers``, one
  ``[text, gold, reward model]`` for each prompt. Null stands for what is not known;
- ``base`` and ``sft``: lists of the same for the models before PPO, one for each seed, without
  weights and curves.

Gold score, held-out loss and suites are measured at the end of a run. Where ``curves.csv`` has
columns of those names too, they are shown along the run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rlhf_lab.errors import InputError

FORMAT = "rlhf_lab.sweep/1"
TABLES = ("runs.csv", "curves.csv", "samples.json", "manifest.json")
# Name here to column of curves.csv. "suites" is the mean over the suites of the alignment tax.
MEASURES = {
    "gold": "gold",
    "rm_score": "objective/scores",
    "kl": "objective/kl",
    "loss": "loss",
    "suites": "suites",
    "gradient_ratio": "ptx/gradient_ratio",
}
REQUIRED = ("policy", "seed", "beta", "gamma", "error", "gold", "rm_score", "kl", "loss")
DIGITS, CURVE_DIGITS = 5, 3  # significant ones of an end value, and of a point of a curve
SAMPLE = ("kind", "prompt", "completion", "gold", "rm_score")
KEY = ["policy", "seed", "beta", "gamma"]


def read_sweep(folder: str | Path) -> dict[str, Any]:
    """What ``rlhf-lab sweep`` has written, for the drawings.

    Args:
        folder: with ``runs.csv``, ``curves.csv`` and ``samples.json``.

    Raises:
        InputError: when a table is missing or is none of a sweep that measured its policies, or
            when no run is finished, or when runs were logged at different steps.
    """
    folder = Path(folder)
    runs = _table(folder / "runs.csv")
    missing = [name for name in REQUIRED if name not in runs.columns]
    if missing:
        allowed = f"columns {', '.join(REQUIRED)}"
        raise InputError(f"{folder}/runs.csv", f"no {missing[0]}", allowed, "sweep evaluate=true")
    runs = runs[runs["error"].isna()]
    suites = [name for name in runs.columns if name.startswith("suite/")]
    runs = runs.assign(suites=runs[suites].mean(axis=1) if suites else math.nan)
    if "gradient_ratio" not in runs.columns:  # no run has γ > 0
        runs["gradient_ratio"] = math.nan
    curves = _by_run(_table(folder / "curves.csv"))
    samples = pd.DataFrame(_json(folder / "samples.json"), columns=[*KEY, *SAMPLE])
    answers_of = _by_run(samples)
    prompts = list(dict.fromkeys(zip(samples["kind"], samples["prompt"], strict=True)))
    names = [*MEASURES, *suites]
    steps: list[int] | None = None
    found: dict[str, list[dict[str, Any]]] = {"ppo": [], "sft": [], "base": []}
    for row in runs.to_dict("records"):
        entry: dict[str, Any] = {"seed": int(row["seed"])}
        if row["policy"] == "ppo":
            entry |= {"beta": float(row["beta"]), "gamma": float(row["gamma"])}
            own = curves[_key(row)].sort_values("step")
            if steps is not None and own["step"].tolist() != steps:
                allowed = f"steps {steps[0]} to {steps[-1]}, {len(steps)} of them, for every run"
                fix = "publish runs of one configuration"
                raise InputError(f"{folder}/curves.csv", own["step"].tolist(), allowed, fix)
            steps = own["step"].astype(int).tolist()
            entry["curves"] = [
                [_rounded(x, CURVE_DIGITS) for x in own[column]] if column in own else None
                for column in MEASURES.values()
            ]
        entry["values"] = [_rounded(row[name], DIGITS) for name in names]
        answers = {
            (sample["kind"], sample["prompt"]): [
                sample["completion"], sample["gold"], sample["rm_score"]
            ]
            for sample in answers_of.get(_key(row), samples[:0]).to_dict("records")
        }  # fmt: skip
        entry["answers"] = [answers.get(prompt) for prompt in prompts]
        found[row["policy"]].append(entry)
    if not found["ppo"] or not found["sft"] or not steps:
        allowed = "finished runs and the SFT policies that they started from"
        raise InputError(str(folder), "none", allowed, "wait until the sweep has more")
    return {
        "format": FORMAT,
        "values": names,
        "curves": list(MEASURES),
        "steps": steps,
        "prompts": [{"kind": kind, "text": text} for kind, text in prompts],
        "runs": found["ppo"],
        "sft": found["sft"],
        "base": found["base"],
    }


def fitted(found: Mapping[str, Any], published: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Runs of another sweep as runs of a published one: the same names, prompts and steps.

    Raises:
        InputError: when they were logged at other steps; what else differs becomes unknown.
    """
    if found["steps"] != published["steps"]:
        allowed = f"steps {published['steps'][0]} to {published['steps'][-1]}, as published"
        raise InputError("steps", found["steps"], allowed, "train with the published configuration")
    runs = []
    for run in found["runs"]:
        values = dict(zip(found["values"], run["values"], strict=True))
        texts = [prompt["text"] for prompt in found["prompts"]]
        answers = dict(zip(texts, run["answers"], strict=True))
        fitting = {
            "values": [values.get(name) for name in published["values"]],
            "answers": [answers.get(prompt["text"]) for prompt in published["prompts"]],
        }
        runs.append(run | fitting)
    return runs


def frame(published: Mapping[str, Any]) -> pd.DataFrame:
    """One row per PPO run: ``beta``, ``gamma``, ``seed`` and the end values."""
    names = published["values"]
    rows = [
        {"beta": run["beta"], "gamma": run["gamma"], "seed": run["seed"]}
        | dict(zip(names, run["values"], strict=True))
        for run in published["runs"]
    ]
    return pd.DataFrame(rows).astype(dict.fromkeys(names, float))


def best_cell(published: Mapping[str, Any], measure: str = "gold") -> tuple[float, float]:
    """(β, γ) with the highest mean over seeds."""
    means = frame(published).groupby(["beta", "gamma"])[measure].mean()
    beta, gamma = means.idxmax()
    return float(beta), float(gamma)


def reference_mean(published: Mapping[str, Any], measure: str, policy: str = "sft") -> float:
    """Mean over seeds of a model before PPO."""
    at = published["values"].index(measure)
    found: Sequence[float] = [entry["values"][at] for entry in published[policy]]
    return sum(found) / len(found)


def _by_run(table: pd.DataFrame) -> dict[tuple[Any, ...], pd.DataFrame]:
    """The rows of each run or reference, by :func:`_key`."""
    weights = table[["beta", "gamma"]].astype(float).fillna(-1.0)  # references have none
    keys = [table["policy"], table["seed"], weights["beta"], weights["gamma"]]
    return dict(list(table.groupby(keys, sort=False)))


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    weights = (-1.0 if pd.isna(row[name]) else float(row[name]) for name in ("beta", "gamma"))
    return row["policy"], row["seed"], *weights


def _rounded(number: float | None, digits: int) -> float | None:
    if number is None or not math.isfinite(number):
        return None
    return float(f"{number:.{digits}g}")


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:  # of pandas' own errors, most are ValueErrors
        fix = f"name the folder of a sweep ({error})"
        raise InputError("data", str(path), "a table of rlhf-lab sweep", fix) from None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fix = f"name the folder of a sweep ({error})"
        raise InputError("data", str(path), "samples of rlhf-lab sweep", fix) from None
