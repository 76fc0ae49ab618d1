"""Over-optimisation explorer: proxy and gold against √KL, with the forms of Gao et al.

The drawing itself is ``static/over-optimisation.js``. It shows a published file, JSON with these
fields:

- ``format``: :data:`FORMAT`;
- ``models``: for each reward model its ``id``, and how many ``rankings`` it has learned from and
  how many ``layers`` it keeps, 0 for all;
- ``points``: for each reward model (``model``, its place in that list), ``method`` ("rl" or "bon")
  and ``seed`` a place on the way: ``at`` (iteration, or n), ``kl`` (nats per response, a mean),
  and how much ``proxy`` and ``gold`` have gained since the first policy of that seed.

Gao, Schulman and Hilton (2023, "Scaling laws for reward model overoptimization", §1) fit
R(d) = d·(α − β·log d) to reinforcement learning and d·(α − β·d) to best-of-n, with d = √KL. The
page writes a and b, since its β is the weight of the KL penalty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from rlhf_lab.errors import InputError
from rlhf_lab.figures import frontier

NAME = "over-optimisation"
FORMAT = "rlhf_lab.over_optimisation/1"
METHODS = ("rl", "bon")
STEP = 0.05  # of the slider over √KL
DIGITS = 4


def published(
    course: pd.DataFrame, best_of_n: pd.DataFrame, models: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """The published file, of the tables of ``python -m benchmarks over_optimisation``.

    Args:
        course: a row per ``model``, ``seed`` and ``step`` with ``kl``, ``proxy`` and ``gold``.
        best_of_n: the same by ``n`` in place of ``step``.
        models: by name, ``rankings`` and ``layers`` of the reward models to show.

    Raises:
        InputError: for a model that one of the tables does not have.
    """
    names, points = list(models), []
    for method, table, place in (("rl", course, "step"), ("bon", best_of_n, "n")):
        missing = sorted(set(names) - set(table["model"]))
        if missing:
            raise InputError("models", missing[0], "names in both tables", "measure it, too")
        for (name, seed), own in table.groupby(["model", "seed"], sort=False):
            if name not in names:
                continue
            rows = own.sort_values(place)
            first = rows.iloc[0]
            points += [
                {
                    "model": names.index(str(name)), "method": method, "seed": int(seed),
                    "at": int(row[place]), "kl": _rounded(row["kl"]),
                    "proxy": _rounded(row["proxy"] - first["proxy"]),
                    "gold": _rounded(row["gold"] - first["gold"]),
                }
                for row in rows.iloc[1:].to_dict("records")
            ]  # fmt: skip
    shown = [{"id": name, **about} for name, about in models.items()]
    return {"format": FORMAT, "models": shown, "points": points}


def data(published: Mapping[str, Any]) -> dict[str, Any]:
    """What the drawing gets; it begins with the first reward model and best-of-n, half out."""
    farthest = _reach(published, 0, "bon")
    state = {
        "model": published["models"][0]["id"],
        "method": "bon",
        "stop": _on_slider(farthest / 2),
    }
    return {**published, "step": STEP, "state": state}


def frame(published: Mapping[str, Any]) -> pd.DataFrame:
    """One row per point, with the reward model's name and ``root`` (√KL)."""
    points = pd.DataFrame(published["points"])
    names = [model["id"] for model in published["models"]]
    roots = points["kl"].clip(lower=0) ** 0.5
    return points.assign(model=points["model"].map(dict(enumerate(names))), root=roots)


def _reach(published: Mapping[str, Any], model: int, method: str) -> float:
    nats = [p["kl"] for p in published["points"] if (p["model"], p["method"]) == (model, method)]
    return math.sqrt(max(*nats, STEP**2))


def _on_slider(distance: float) -> float:
    return round(STEP * max(round(distance / STEP), 1), 6)


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def model_name(labels: Mapping[str, str], model: Mapping[str, Any]) -> str:
    """A reward model as a reader sees it."""
    kind = "shortened" if model["layers"] else "ranked" if model["rankings"] else "examiner"
    return labels[f"model_{kind}"].format(**model)


def still(labels: Mapping[str, str], given: Mapping[str, Any]) -> go.Figure:
    """Gold gained by RL against √KL: for print, and where no script runs."""
    points = frame(given)
    points = points[points["method"] == "rl"]
    names = {model["id"]: model_name(labels, model) for model in given["models"]}
    means = points.groupby(["model", "at"], sort=False)[["gold", "root"]].mean()
    best = means.loc[means["gold"].idxmax()]
    values = {
        "model": names[means["gold"].idxmax()[0]],
        "gain": f"{best['gold']:+.2f}".replace("-", "−"),
        "root": f"{best['root']:.2f}",
    }
    return frontier(
        points.assign(line=points["model"].map(names)),
        x="root",
        y="gold",
        point="at",
        color="line",
        title=labels["title"],
        alt=labels["alt"].format(**values),
        x_label=labels["axis_root"],
        y_label=labels["m_gold"],
    )
