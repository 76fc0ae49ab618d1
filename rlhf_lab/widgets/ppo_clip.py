"""PPO clip explorer: what it shows first, and what stands in its place where no script runs.

The drawing itself is ``static/ppo-clip.js``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from rlhf_lab.errors import InputError
from rlhf_lab.figures import learning_curves

NAME = "ppo-clip"
RANGES = {
    "ratio": {"min": 0.01, "max": 2.0, "step": 0.01},  # a ratio of probabilities is above 0
    "advantage": {"min": -2.0, "max": 2.0, "step": 0.1},  # in standard deviations: it is whitened
    "epsilon": {"min": 0.05, "max": 0.5, "step": 0.01},
}


def data(*, ratio: float = 1.35, epsilon: float = 0.2, advantage: float = 1.0) -> dict[str, Any]:
    """What the drawing shows first, and how far its sliders go.

    Args:
        ratio: ρ = π_θ/π_old of the token.
        epsilon: ε; the ratio is clipped to 1 ± ε.
        advantage: A of the token.

    Raises:
        InputError: a value outside of its slider.
    """
    state = {"ratio": ratio, "epsilon": epsilon, "advantage": advantage}
    for name, value in state.items():
        low, high = RANGES[name]["min"], RANGES[name]["max"]
        if not low <= value <= high:
            raise InputError(name, value, f"from {low} to {high}", "choose a value between")
    return {"state": state, "ranges": RANGES}


def still(labels: Mapping[str, str], given: Mapping[str, Any]) -> go.Figure:
    """Both terms and their minimum at the first state: for print, and where no script runs.

    The minimum is that of :func:`rlhf_lab.objectives.ppo_policy_loss`.
    """
    state = given["state"]
    epsilon, advantage = state["epsilon"], state["advantage"]
    rows = []
    for i in range(1, 41):
        ratio = i / 20
        clipped = min(max(ratio, 1 - epsilon), 1 + epsilon) * advantage
        values = {"value": objective(**(state | {"ratio": ratio})), "plain": ratio * advantage}
        rows += [(ratio, labels[name], v) for name, v in (values | {"clipped": clipped}).items()]
    return learning_curves(
        pd.DataFrame(rows, columns=[labels["ratio_short"], "term", labels["y_axis"]]),
        x=labels["ratio_short"],
        y=labels["y_axis"],
        color="term",
        title=labels["title"],
        alt=labels["alt"],
        x_label=labels["x_axis"],
        y_label=labels["y_axis"],
    )


def objective(*, ratio: float, epsilon: float, advantage: float) -> float:
    """L^CLIP of one token: −1 times the package's loss (Schulman et al. 2017, equation 7)."""
    # Here, because torch takes seconds to load, and a widget or a page that is not new needs none.
    import torch

    from rlhf_lab.objectives import ppo_policy_loss

    logp = torch.tensor([[ratio]], dtype=torch.float64).log()
    one = torch.ones_like(logp)
    loss, _ = ppo_policy_loss(logp, torch.zeros_like(logp), advantage * one, one, clip=epsilon)
    return -loss.item()
