"""Best-of-n against enumeration and simulation, the forms against curves made of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from rlhf_lab import over_optimisation as oo
from rlhf_lab.errors import InputError


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_mean_over_all_subsets(n: int) -> None:
    """Every subset of size n, ties shared out evenly."""
    proxy = [0.3, -1.0, 0.3, 2.0, 0.7]
    values = [5.0, 1.0, -2.0, 0.5, 3.0]
    means = []
    for subset in itertools.combinations(range(5), n):
        best = max(proxy[i] for i in subset)
        means.append(np.mean([values[i] for i in subset if proxy[i] == best]))
    # Of two tied answers a subset may hold one; each is as likely to be that one.
    assert oo.best_of_n_mean(proxy, values, n) == pytest.approx(np.mean(means), abs=1e-12)


def test_mean_is_that_of_drawing_again_and_again() -> None:
    rng = np.random.default_rng(0)
    proxy, values = rng.normal(size=400), rng.normal(size=400)
    drawn = [rng.choice(400, 64, replace=False) for _ in range(20_000)]
    found = np.mean([values[d[np.argmax(proxy[d])]] for d in drawn])
    assert oo.best_of_n_mean(proxy, values, 64) == pytest.approx(found, abs=0.02)
    assert oo.best_of_n_mean(proxy, values, 400) == values[np.argmax(proxy)]
    assert oo.best_of_n_mean(proxy, values, 1) == pytest.approx(values.mean())


@pytest.mark.parametrize("n", [1, 4, 16])
def test_kl_without_ties_is_the_integral(n: int) -> None:
    """Density n·u^(n−1) of the best quantile against the uniform one, by the midpoint rule."""
    u = (np.arange(400_000) + 0.5) / 400_000
    density = n * u ** (n - 1)
    assert oo.best_of_n_kl(n) == pytest.approx(np.mean(density * np.log(density)), abs=1e-4)
    assert oo.best_of_n_kl_of_pool(np.arange(20_000), n) == pytest.approx(
        oo.best_of_n_kl(n), abs=2e-3
    )


def test_kl_of_a_pool_by_enumeration() -> None:
    """Best of three from four equally likely answers, of which two score alike."""
    pool = [0.0, 1.0, 1.0, 5.0]
    best = [max(draw) for draw in itertools.product(pool, repeat=3)]
    kl = 0.0
    for score, share in ((0.0, 0.25), (1.0, 0.5), (5.0, 0.25)):
        p = np.mean(np.array(best) == score)
        kl += p * math.log(p / share)
    assert oo.best_of_n_kl_of_pool(pool, 3) == pytest.approx(kl, abs=1e-12)
    assert kl < oo.best_of_n_kl(3)
    assert oo.best_of_n_kl_of_pool([2.0] * 7, 100) == 0


@pytest.mark.parametrize("form", oo.FORMS)
def test_a_form_is_found_again(form: str) -> None:
    d = np.linspace(0, 4, 30)
    gain = oo.predicted_gain(d, 0.9, 0.3, form)
    assert oo.fit_form(d, gain, form) == pytest.approx((0.9, 0.3), abs=1e-9)
    fine = np.linspace(1e-4, 20, 400_001)
    highest = fine[np.argmax(oo.predicted_gain(fine, 0.9, 0.3, form))]
    assert oo.peak(0.9, 0.3, form) == pytest.approx(highest, abs=1e-4)
    other = oo.FORMS[1 - oo.FORMS.index(form)]
    a, b = oo.fit_form(d, gain, other)
    assert np.abs(oo.predicted_gain(d, a, b, other) - gain).max() > 0.05


def test_forms_as_the_paper_writes_them() -> None:
    assert oo.predicted_gain([0.0, 2.0], 1.5, 0.5, oo.BEST_OF_N) == pytest.approx([0, 1.0])
    wanted = 2 * (1.5 - 0.5 * math.log(2))
    assert oo.predicted_gain([0.0, 2.0], 1.5, 0.5, oo.RL) == pytest.approx([0, wanted])


def test_peaks_where_there_is_none() -> None:
    for form in oo.FORMS:
        assert oo.peak(1.0, 0.0, form) == oo.peak(1.0, -0.1, form) == math.inf
        assert oo.peak(-1.0, 0.0, form) == 0
    assert oo.peak(-1.0, 0.5, oo.BEST_OF_N) == 0


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="n: got 0"):
        oo.best_of_n_kl(0)
    with pytest.raises(InputError, match="1 or more"):
        oo.best_of_n_kl_of_pool([1.0], 0)
    with pytest.raises(InputError, match="1 to 2"):
        oo.best_of_n_mean([1.0, 2.0], [0.0, 0.0], 3)
    with pytest.raises(InputError, match="as many"):
        oo.best_of_n_mean([1.0, 2.0], [0.0], 1)
    with pytest.raises(InputError, match="'bon' or 'rl'"):
        oo.predicted_gain([1.0], 1, 1, "sft")
    with pytest.raises(InputError, match="two different"):
        oo.fit_form([0.0, 2.0, 2.0], [0.0, 1.0, 1.0], oo.RL)
