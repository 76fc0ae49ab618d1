"""Tests of the lab *A law from small runs*: laws are planted here, and found again or not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from rlhf_lab.checks import called, check, near, returned
from rlhf_lab.scaling import (
    HOFFMANN,
    ParametricFit,
    compute_optimal,
    loss_by_size,
    loss_by_size_and_data,
)

Objective = Callable[[Any, np.ndarray, np.ndarray, np.ndarray], float]
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], ParametricFit]
Plan = Callable[..., tuple[float, float]]
Finished = Callable[[pd.DataFrame], pd.DataFrame]

_GRID = np.array(list(itertools.product((2e4, 7e4, 2.4e5), (6e4, 1.2e5, 2.4e5, 4.8e5)))).T
_N, _D = _GRID
_LAW = ParametricFit(E=0.8, A=90.0, B=900.0, alpha=0.4, beta=0.55)


# --- objective(signs, n, d, losses) -> float ------------------------------------------------------


def _signs(law: ParametricFit) -> np.ndarray:
    return np.array([*np.log([law.E, law.A, law.B]), law.alpha, law.beta])


@check
def nothing_off_costs_nothing(objective: Objective) -> None:
    """The losses of the law itself."""
    losses = loss_by_size_and_data(_N, _D, _LAW)
    hint = "these losses are the law's own: no residual is left"
    near(called(objective, _signs(_LAW), *_GRID, losses), 0.0, "the objective", hint, 1e-12)


@check
def two_runs_by_hand(objective: Objective) -> None:
    """One residual inside of δ, one beyond."""
    losses = loss_by_size_and_data(_N, _D, _LAW)[:2] * np.exp([5e-4, -0.2])
    wanted = 5e-4**2 / 2 + 1e-3 * (0.2 - 5e-4)
    hint = (
        "the first run is off by 0.0005 in the logarithm and costs half its square; the second is "
        "off by 0.2, beyond δ, and costs δ(0.2 - δ/2)"
    )
    found = called(objective, _signs(_LAW), *_GRID[:, :2], losses)
    near(found, wanted, "the objective of two runs", hint, 1e-8)


@check
def one_bad_run_counts_once(objective: Objective) -> None:
    """Twice as far off costs twice as much, not four times."""
    exact = loss_by_size_and_data(_N, _D, _LAW)
    costs = []
    for off in (0.2, 0.4):
        losses = exact.copy()
        losses[4] *= np.exp(off)
        costs.append(float(called(objective, _signs(_LAW), *_GRID, losses)))
    hint = "beyond δ the cost grows in proportion: that is what makes the fit robust"
    near(costs[1] / costs[0], 2.0, "the ratio of the costs", hint, 0.01)


# --- fit(n, d, losses) -> ParametricFit -----------------------------------------------------------


def _law(found: Any) -> ParametricFit:
    assert isinstance(found, ParametricFit), (
        f"fit should return a ParametricFit(E, A, B, alpha, beta), and returned {found!r}"
    )
    return found


def _predicts(law: ParametricFit, planted: ParametricFit, tolerance: float, hint: str) -> None:
    for n, d in ((7e4, 9.6e5), (4.8e5, 4.8e5), (4.8e5, 9.6e5)):
        wanted = loss_by_size_and_data(n, d, planted)
        near(
            loss_by_size_and_data(n, d, law), wanted,
            f"the loss that your law promises at N = {n:.0f}, D = {d:.0f}", hint,
            tolerance * wanted,
        )  # fmt: skip


@check
def a_planted_law_predicts(fit: Fit) -> None:
    """Losses without noise: just outside of the grid the law has to be right to half a percent."""
    losses = loss_by_size_and_data(_N, _D, _LAW)
    law = _law(called(fit, *_GRID, losses))
    hint = (
        "the losses are a law's own. Does the search stop at once? Divide n, d by typical values "
        "and the objective by δ, start from several floors, and undo the division in A and B"
    )
    _predicts(law, _LAW, 0.005, hint)


@check
def two_sizes_are_refused(fit: Fit) -> None:
    """Or two amounts of text."""
    losses = loss_by_size_and_data(_N, _D, _LAW)
    for row, name in enumerate(("sizes", "amounts of text")):
        some = np.isin(_GRID[row], np.unique(_GRID[row])[:2])
        try:
            called(fit, *_GRID[:, some], losses[some])
        except ValueError:
            continue
        raise AssertionError(
            f"with two {name} every floor has a law: raise a ValueError in place of choosing one"
        )


@check
def one_bad_run_moves_little(fit: Fit) -> None:
    """A run that diverged."""
    losses = loss_by_size_and_data(_N, _D, _LAW)
    losses[5] *= 1.5
    hint = "one of the twelve runs went wrong; the sum of Huber losses hardly follows it"
    _predicts(_law(called(fit, *_GRID, losses)), _LAW, 0.03, hint)


@check
def a_high_floor_is_found(fit: Fit) -> None:
    """Most of the loss cannot be taken away."""
    planted = ParametricFit(E=2.5, A=40.0, B=300.0, alpha=0.45, beta=0.6)
    losses = loss_by_size_and_data(_N, _D, planted)
    hint = "here the floor is most of the loss: begin a search from a high floor, too"
    _predicts(_law(called(fit, *_GRID, losses)), planted, 0.005, hint)


# --- plan(flops, loss, low, high) -> (n, d) -------------------------------------------------------


def _plan(plan: Plan, *arguments: Any, **options: Any) -> tuple[float, float]:
    found = called(plan, *arguments, **options)
    returned(found, 2, "plan should return N and D")
    return float(found[0]), float(found[1])


@check
def all_is_spent(plan: Plan) -> None:
    """6·N·D is the budget."""
    n, d = _plan(plan, 1e18, loss_by_size_and_data)
    hint = "6·N·D should be all of the computation: D follows from N"
    near(6 * n * d / 1e18, 1.0, "the share that is spent", hint, 1e-6)


@check
def chinchilla_by_its_formula(plan: Plan) -> None:
    """Where the minimum can be written down."""
    for flops in (1e18, 1e22):
        n, _ = _plan(plan, flops, lambda n, d: loss_by_size_and_data(n, d, HOFFMANN))
        wanted, _ = compute_optimal(flops, HOFFMANN)
        hint = (
            "the minimum of this law is known. Too large? D has to shrink as N grows. Too rough? "
            "Space the sizes evenly in the logarithm"
        )
        near(n / wanted, 1.0, f"N for {flops:.0e}, over the best N", hint, 0.01)


@check
def any_law_will_do(plan: Plan) -> None:
    """One without a minimum inside: then the edge; and one with its minimum elsewhere."""
    n, _ = _plan(plan, 1e18, lambda n, _d: loss_by_size(n), low=1e5, high=1e9)
    hint = "this law does not know text, so the largest size that is allowed is best"
    near(n / 1e9, 1.0, "N over the largest allowed", hint, 0.01)
    n, _ = _plan(plan, 1e15, lambda n, d: (np.log(n / 3e6)) ** 2 + 0 * d, low=1e4, high=1e9)
    near(n / 3e6, 1.0, "N over 3e6", "this law is least at N = 3e6: use the law given", 0.01)


# --- finished(log) -> rows ------------------------------------------------------------------------

_LOG = pd.DataFrame(
    [
        ("a", 100, 200, 3.0), ("a", 200, 200, 2.5), ("b", 100, 400, 2.9), ("b", 400, 400, 2.0),
        ("b", 300, 400, 2.1), ("c", 50, 50, 4.0),
    ],
    columns=["run", "step", "steps", "loss"],
)  # fmt: skip


def _rows(finished: Finished, log: pd.DataFrame, wanted: list[float], hint: str) -> None:
    found = called(finished, log.copy())
    assert isinstance(found, pd.DataFrame), (
        f"finished should return a table, and returned a {type(found).__name__}"
    )
    assert found.loss.tolist() == wanted, (
        f"the losses of finished runs are {wanted}, and you kept {found.loss.tolist()}: {hint}"
    )


@check
def the_last_row_of_each(finished: Finished) -> None:
    """Three runs that ended, in a table that is not sorted by step."""
    _rows(finished, _LOG, [2.5, 2.0, 4.0], "keep the row at the planned end of each run, in order")


@check
def a_stopped_run_has_none(finished: Finished) -> None:
    """A run whose last row is not its end."""
    stopped = pd.DataFrame([("d", 300, 900, 1.9), ("d", 600, 900, 1.7)], columns=_LOG.columns)
    log = pd.concat([stopped, _LOG], ignore_index=True)
    hint = "run d was planned for 900 steps and stopped at 600: its rate had not come down"
    _rows(finished, log, [2.5, 2.0, 4.0], hint)
