"""Published scaling laws against what their papers say elsewhere, and against a search."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from rlhf_lab.errors import InputError
from rlhf_lab.scaling import (
    BESIROGLU,
    HOFFMANN,
    ParametricFit,
    compute_optimal,
    loss_by_size,
    loss_by_size_and_data,
    training_flops,
)

PF_DAY = 1e15 * 86400


def test_the_compute_of_gpt3() -> None:
    """3,640 PF-days, of which the paper counts 175 billion parameters and 300 billion tokens."""
    assert training_flops(175e9, 300e9) / PF_DAY == pytest.approx(3640, rel=2e-3)


def test_half_the_loss_takes_thousands_of_times_the_parameters() -> None:
    factor = 2 ** (1 / 0.076)
    assert loss_by_size(1e6 * factor) == pytest.approx(loss_by_size(1e6) / 2, rel=1e-12)
    assert loss_by_size(8.8e13) == 1.0


@pytest.mark.parametrize("fit", [HOFFMANN, BESIROGLU, ParametricFit(1.0, 50.0, 900.0, 0.5, 0.3)])
@pytest.mark.parametrize("flops", [1e18, 5.88e23])
def test_the_optimum_is_the_one_that_a_search_finds(fit: ParametricFit, flops: float) -> None:
    def loss(log_parameters: float) -> float:
        parameters = np.exp(log_parameters)
        return loss_by_size_and_data(parameters, flops / 6 / parameters, fit)

    parameters, tokens = compute_optimal(flops, fit)
    assert training_flops(parameters, tokens) == pytest.approx(flops, rel=1e-12)
    found = minimize_scalar(loss, bracket=(np.log(1e6), np.log(1e12)), tol=1e-12)
    assert np.exp(found.x) == pytest.approx(parameters, rel=1e-4)


def test_the_refit_agrees_with_chinchilla_and_the_printed_constants_do_not() -> None:
    """The model that was trained had 70 billion parameters and 20 tokens for each."""
    flops = training_flops(70e9, 1.4e12)
    refitted, tokens = compute_optimal(flops, BESIROGLU)
    assert refitted == pytest.approx(70e9, rel=0.15)
    assert tokens / refitted == pytest.approx(20, rel=0.25)
    assert compute_optimal(flops, HOFFMANN)[0] < 0.5 * 70e9


def test_arrays_go_through() -> None:
    sizes = np.array([1e6, 1e9])
    losses = loss_by_size_and_data(sizes, 20 * sizes)
    assert losses.tolist() == [loss_by_size_and_data(n, 20 * n) for n in (1e6, 1e9)]


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: loss_by_size(0.0), "parameters"),
        (lambda: loss_by_size_and_data(1e6, -1.0), "tokens"),
        (lambda: loss_by_size_and_data(np.array([1e6, 0.0]), np.array([1.0, 1.0])), "parameters"),
        (lambda: compute_optimal(float("nan")), "flops"),
    ],
)
def test_sizes_are_above_zero(call: object, argument: str) -> None:
    with pytest.raises(InputError, match=f"^{argument}"):
        call()  # type: ignore[operator]
