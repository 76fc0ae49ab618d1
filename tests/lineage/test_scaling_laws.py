"""Fits against laws that are planted, against scipy's own Huber loss, and against a grid search."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import huber

from rlhf_lab.errors import InputError
from rlhf_lab.lineage.scaling_laws import (
    KaplanFit,
    PowerFit,
    bootstrap,
    fit_chinchilla,
    fit_kaplan,
    fit_power,
    log_huber,
)
from rlhf_lab.scaling import ParametricFit, loss_by_size, loss_by_size_and_data

GRID = np.array(list(itertools.product((2e4, 7e4, 2.4e5), (6e4, 1.2e5, 2.4e5, 5e5)))).T
PLANTED = ParametricFit(E=0.8, A=90.0, B=900.0, alpha=0.4, beta=0.55)


def test_the_power_law_is_kaplans_with_his_constants():
    law = PowerFit(scale=8.8e13, exponent=0.076)
    sizes = np.array([1e6, 1e9])
    assert law.loss(sizes) == pytest.approx(loss_by_size(sizes), rel=1e-12)
    found = fit_power(sizes, law.loss(sizes))
    assert found.exponent == pytest.approx(0.076, rel=1e-9)
    assert found.scale == pytest.approx(8.8e13, rel=1e-6)


def test_both_together_become_one_where_nothing_else_is_short():
    law = KaplanFit(n_c=8.8e13, d_c=5.4e13, alpha_n=0.076, alpha_d=0.095)
    assert law.loss(1e9, 1e30) == pytest.approx(loss_by_size(1e9), rel=1e-6)
    assert law.loss(1e30, 1e10) == pytest.approx((5.4e13 / 1e10) ** 0.095, rel=1e-6)


def test_the_objective_is_scipys():
    residuals = np.array([-0.3, -1e-3, -2e-4, 0.0, 5e-4, 0.02])
    wanted = huber(1e-3, residuals).sum()
    assert log_huber(residuals) == pytest.approx(wanted, rel=1e-12)


def test_a_planted_chinchilla_law_is_found_again():
    losses = loss_by_size_and_data(*GRID, PLANTED)
    found = fit_chinchilla(*GRID, losses)
    assert found.alpha == pytest.approx(PLANTED.alpha, rel=0.02)
    assert found.beta == pytest.approx(PLANTED.beta, rel=0.02)
    assert pytest.approx(PLANTED.E, abs=0.03) == found.E
    far = loss_by_size_and_data(1e6, 5e6, found)
    assert far == pytest.approx(loss_by_size_and_data(1e6, 5e6, PLANTED), rel=0.01)


def test_a_planted_kaplan_law_is_found_again():
    law = KaplanFit(n_c=3e6, d_c=8e5, alpha_n=0.25, alpha_d=0.5)
    found = fit_kaplan(*GRID, law.loss(*GRID))
    for name in ("n_c", "d_c", "alpha_n", "alpha_d"):
        assert getattr(found, name) == pytest.approx(getattr(law, name), rel=0.02), name


def test_one_run_gone_wrong_moves_the_law_little():
    """What the Huber loss is for: least squares of logarithms would be moved more."""
    losses = loss_by_size_and_data(*GRID, PLANTED)
    losses[5] *= 1.3
    far = loss_by_size_and_data(1e6, 5e6, PLANTED)
    robust, squares = (
        abs(loss_by_size_and_data(1e6, 5e6, fit_chinchilla(*GRID, losses, delta)) - far)
        for delta in (1e-3, 10.0)
    )
    assert robust < 0.3 * squares


def test_intervals_are_wide_where_the_runs_do_not_say():
    """Noise in the runs moves the exponents of the bootstrap, and without noise nothing moves."""
    rng = np.random.default_rng(0)
    exact = loss_by_size_and_data(*GRID, PLANTED)
    spread = {}
    for noise in (0.0, 0.02):
        losses = exact * np.exp(noise * rng.normal(size=exact.shape))
        laws = bootstrap(fit_chinchilla, *GRID, losses, draws=8)
        spread[noise] = np.std([law.beta for law in laws])
    assert spread[0.0] < 0.02
    assert spread[0.02] > 0.02


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: fit_power(np.array([1e4, 1e4]), np.array([2.0, 2.0])), "x"),
        (lambda: fit_chinchilla(np.array([1e4, 2e4]), np.ones(2) * 1e5, np.ones(2)), "parameters"),
        (lambda: fit_chinchilla(GRID[0], np.ones(12) * 1e5, np.ones(12)), "tokens"),
        (lambda: fit_kaplan(np.ones(3), np.arange(1.0, 4), np.ones(3)), "parameters, tokens"),
        (lambda: fit_kaplan(GRID[0], GRID[1], np.zeros(12)), "parameters"),
        (lambda: bootstrap(fit_kaplan, *GRID, np.ones(12), draws=0), "draws"),
    ],
)
def test_what_cannot_be_fitted_is_refused(call: object, argument: str) -> None:
    with pytest.raises(InputError, match=f"^{argument}"):
        call()  # type: ignore[operator]
