"""β×γ explorer: every run of a published sweep behind two sliders.

The drawing itself is ``static/beta-gamma.js``; its data are described in
:mod:`rlhf_lab.widgets.sweep_data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from rlhf_lab.errors import InputError
from rlhf_lab.figures import frontier
from rlhf_lab.widgets.sweep_data import best_cell, frame, reference_mean

NAME = "beta-gamma"
VIEWS = ("frontier", "steps", "tax")


def data(
    published: Mapping[str, Any], *, beta: float | None = None, gamma: float | None = None
) -> dict[str, Any]:
    """What the drawing gets: the published sweep, and the cell it shows first.

    Args:
        published: as :func:`rlhf_lab.widgets.sweep_data.read_sweep` returns it.
        beta, gamma: the first cell; default: the one with the best gold score.

    Raises:
        InputError: for a cell without a finished run.
    """
    cell = best_cell(published)
    cell = (cell[0] if beta is None else beta, cell[1] if gamma is None else gamma)
    cells = sorted({(run["beta"], run["gamma"]) for run in published["runs"]})
    if cell not in cells:
        raise InputError("beta, gamma", cell, f"one of {cells}", "choose a published pair")
    state = {
        "beta": cell[0],
        "gamma": cell[1],
        "view": VIEWS[0],
        "measure": "gold",
        "prompt": 0,
        "seed": min(run["seed"] for run in published["runs"]),
    }
    return {**published, "state": state}


def still(labels: Mapping[str, str], given: Mapping[str, Any]) -> go.Figure:
    """Gold score against exact KL, one line for each γ: for print, and where no script runs."""
    runs = frame(given)
    beta, gamma = best_cell(given)
    best = runs[(runs["beta"] == beta) & (runs["gamma"] == gamma)]
    values = {
        "beta": f"{beta:g}",
        "gamma": f"{gamma:g}",
        "gold": f"{best['gold'].mean():.2f}",
        "kl": f"{best['kl'].mean():.1f}",
        "sft": f"{reference_mean(given, 'gold'):.2f}",
        "runs": str(len(runs)),
    }
    runs["line"] = runs["gamma"].map("γ = {:g}".format)
    return frontier(
        runs.sort_values(["gamma", "beta"]),
        x="kl",
        y="gold",
        point="beta",
        color="line",
        title=labels["title"].format(**values),
        alt=labels["alt"].format(**values),
        x_label=labels["axis_kl"],
        y_label=labels["m_gold"],
    )
