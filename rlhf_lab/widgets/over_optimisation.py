"""Over-optimisation explorer: proxy and gold reward against √KL, with the forms of Gao et al.

The drawing itself is ``static/over-optimisation.js``; its data are described in
:mod:`rlhf_lab.widgets.sweep_data`. Gao, Schulman and Hilton (2023, "Scaling laws for reward model
overoptimization", equations 1 and 2) fit R(d) = d·(α − β·log d) to reinforcement learning and
d·(α − β·d) to best-of-n, with d = √KL and R counted from the initial policy, here SFT. The page
writes a and b, since its β is the weight of the KL penalty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from rlhf_lab.figures import frontier
from rlhf_lab.widgets.sweep_data import frame

NAME = "over-optimisation"
STEP = 0.05  # of the slider over √KL


def data(published: Mapping[str, Any]) -> dict[str, Any]:
    """What the drawing gets: the published sweep, and how far its policies have gone.

    It begins with the smallest γ, where the policy is freest, half the way out.
    """
    runs = frame(published)
    farthest = STEP * math.ceil(math.sqrt(max(runs["kl"].max(), STEP**2)) * 1.05 / STEP)
    farthest = round(farthest, 6)
    middle = round(STEP * round(farthest / 2 / STEP), 6)
    state = {"gamma": float(runs["gamma"].min()), "form": "rl", "stop": middle}
    return {**published, "reach": {"max": farthest, "step": STEP}, "state": state}


def gains(published: Mapping[str, Any]) -> pd.DataFrame:
    """One row per run: its weights, ``root`` (√KL), and ``gold`` and ``rm_score`` since SFT."""
    names = published["values"]
    start = {
        entry["seed"]: dict(zip(names, entry["values"], strict=True)) for entry in published["sft"]
    }
    runs = frame(published)
    runs = runs[runs["seed"].isin(start)]
    runs = runs.assign(root=runs["kl"].clip(lower=0) ** 0.5)
    for name in ("gold", "rm_score"):
        runs[name] -= runs["seed"].map({seed: values[name] for seed, values in start.items()})
    return runs


def still(labels: Mapping[str, str], given: Mapping[str, Any]) -> go.Figure:
    """Gold score since SFT against √KL: for print, and where no script runs."""
    runs = gains(given)
    means = runs.groupby(["gamma", "beta"])[["gold", "root"]].mean()
    best = means.loc[means["gold"].idxmax()]
    values = {
        "runs": str(len(runs)),
        "gain": f"{best['gold']:+.2f}",
        "root": f"{best['root']:.2f}",
    }
    runs["line"] = runs["gamma"].map("γ = {:g}".format)
    return frontier(
        runs.sort_values(["gamma", "beta"]),
        x="root",
        y="gold",
        point="beta",
        color="line",
        title=labels["title"].format(**values),
        alt=labels["alt"].format(**values),
        x_label=labels["axis_root"],
        y_label=labels["m_gold"],
    )
