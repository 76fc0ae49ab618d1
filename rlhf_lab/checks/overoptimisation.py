"""Tests of the lab *How far to follow a reward model*: enumerations, closed forms, planted luck."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rlhf_lab.checks import called, check, near, returned, same

BestOfN = Callable[[Tensor, Tensor, int], tuple[Tensor, float]]
Curve = Callable[[Tensor, Tensor, Sequence[int]], Sequence[float]]
Fit = Callable[[Tensor, Tensor], Mapping[str, Sequence[float]]]
Statistic = Callable[..., float]
Bootstrap = Callable[..., tuple[float, float]]
Parting = Callable[[Tensor, Tensor], tuple[Any, Any, Any]]


def _real(*numbers: Any) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def _vector(found: Any, what: str) -> Tensor:
    """A vector of numbers, whether it came as a tensor, an array or a list."""
    assert found is not None, f"{what} is None: is there a return at the function's end?"
    try:
        return torch.as_tensor([float(x) for x in found], dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise AssertionError(f"{what} should be a row of numbers, and is {found!r}") from None


# --- best_of_n(p (K,), scores (K,), n) -> (K,), float ---------------------------------------------


def _chosen(best_of_n: BestOfN, p: Tensor, scores: Tensor, n: int) -> tuple[Tensor, Any]:
    found = called(best_of_n, p, scores, n)
    returned(found, 2, "best_of_n returns two things: probabilities, KL")
    return _vector(found[0], "the probabilities"), found[1]


@check
def two_answers_by_hand(best_of_n: BestOfN) -> None:
    """The better of two answers has p = 1/4."""
    found, kl = _chosen(best_of_n, _real(0.75, 0.25), _real(0, 1), 2)
    hint = "the worse one is returned only if both draws are it: 0.75 · 0.75"
    same(found, _real(9 / 16, 7 / 16), "the probabilities", hint)
    wanted = 9 / 16 * math.log(3 / 4) + 7 / 16 * math.log(7 / 4)
    hint = "KL(P ‖ p) is the sum of P log(P / p), with P what is returned, in nats"
    near(kl, wanted, "the KL", hint)


@check
def one_draw_is_no_choice(best_of_n: BestOfN) -> None:
    """n = 1."""
    p = _real(0.2, 0.5, 0.3)
    found, kl = _chosen(best_of_n, p, _real(2, -1, 0.5), 1)
    same(found, p, "the probabilities for n = 1", "who draws once returns what came")
    near(kl, 0.0, "the KL for n = 1", "nothing was chosen, so nothing has moved")


@check
def draws_that_tie_are_alike(best_of_n: BestOfN) -> None:
    """All 256 ways to draw four times, two of the four answers scoring alike."""
    p, scores = _real(0.4, 0.3, 0.2, 0.1), _real(1.0, 2.0, 1.0, 0.0)
    wanted = torch.zeros(4, dtype=torch.float64)
    for drawn in itertools.product(range(4), repeat=4):
        best = max(float(scores[k]) for k in drawn)
        winners = [k for k in drawn if float(scores[k]) == best]
        for k in winners:
            wanted[k] += math.prod(float(p[j]) for j in drawn) / len(winners)
    found, kl = _chosen(best_of_n, p, scores, 4)
    hint = (
        "answers 0 and 2 score alike. A draw of either wins as often, so they share by their p, 2 "
        "to 1. Where scores differ, count draws that score at most as much, and draws that score "
        "less"
    )
    same(found, wanted, "the probabilities", hint)
    near(kl, float((wanted * (wanted / p).log()).sum()), "the KL", "it is the sum of P log(P / p)")


@check
def very_many_draws(best_of_n: BestOfN) -> None:
    """n = 100,000, where bad answers have probability 0 for a computer."""
    found, kl = _chosen(best_of_n, _real(0.55, 0.4, 0.05), _real(0, 1, 2), 100_000)
    same(found, _real(0, 0, 1), "the probabilities", "the best answer is always among the draws")
    hint = "it is −log 0.05, however large n is; 0 · log 0 counts as 0 in a KL"
    near(kl, -math.log(0.05), "the KL", hint)


# --- curve(proxy (N,), values (N,), ns) -> one number for each n ----------------------------------


def _curve(curve: Curve, proxy: Tensor, values: Tensor, ns: Sequence[int]) -> Tensor:
    try:
        found = called(curve, proxy, values, ns)
    except OverflowError as error:
        raise AssertionError(
            f"{len(proxy)} answers: {error}. Divide whole numbers by whole numbers, which Python "
            "does exactly, or work with logarithms, or with a product of fractions"
        ) from None
    return _vector(found, "curve's result")


@check
def four_answers_by_hand(curve: Curve) -> None:
    """Six pairs, two of the four answers in no order."""
    found = _curve(curve, _real(3, 1, 2, 4), _real(5, 1, 4, 2), (2,))
    hint = (
        "by rising proxy the values are 1, 4, 5, 2. Of the six pairs the second is the best of "
        "one, the third of two, the last of three: (4 + 2 · 5 + 3 · 2) / 6. No answer is drawn "
        "twice"
    )
    same(found, _real(20 / 6), "curve(…, [2])", hint)


@check
def both_ends_are_known(curve: Curve) -> None:
    """n = 1 and n = N."""
    proxy, values = _real(0.3, 0.9, -2.0, 0.1, 0.5), _real(1, -7, 4, 2, 3)
    found = _curve(curve, proxy, values, (1, 5))
    hint = "for n = 1 it is the mean of all, for n = N the value of the answer with the best proxy"
    same(found, _real(0.6, -7.0), "curve(…, [1, 5])", hint)


@check
def equal_proxies_share(curve: Curve) -> None:
    """Against all subsets, where half of the answers score like another one."""
    proxy, values = _real(1, 2, 2, 0, 1, 2, 0, 3), _real(4, -1, 3, 0.5, 2, 7, -3, 1)
    wanted = []
    for n in range(1, 9):
        found = []
        for drawn in itertools.combinations(range(8), n):
            best = max(float(proxy[i]) for i in drawn)
            top = [float(values[i]) for i in drawn if float(proxy[i]) == best]
            found.append(sum(top) / len(top))
        wanted.append(sum(found) / len(found))
    hint = (
        "answers with equal proxies are equally likely to be taken; in the order in which they "
        "happen to lie one of them is favoured"
    )
    same(_curve(curve, proxy, values, range(1, 9)), _real(*wanted), "curve(…, 1 to 8)", hint)


@check
def a_large_pool(curve: Curve) -> None:
    """1,500 answers that are worth their rank: the best of n has n(N + 1)/(n + 1)."""
    ranks = torch.randperm(1500, generator=torch.Generator().manual_seed(0)).double() + 1
    ns = (2, 700, 1400)
    wanted = _real(*(n * 1501 / (n + 1) for n in ns))
    hint = "binomials of 1,500 have hundreds of digits, and do not fit into a float"
    same(_curve(curve, ranks, ranks, ns), wanted, f"curve(…, {list(ns)})", hint, 1e-4)


# --- fit(d, gain) -> {"bon": (alpha, beta, peak), "rl": (alpha, beta, peak)} ----------------------

FORMS = ("bon", "rl")


def _fitted(fit: Fit, d: Tensor, gain: Tensor) -> dict[str, Tensor]:
    found = called(fit, d, gain)
    assert isinstance(found, Mapping), (
        f"fit returns a dictionary, and this is a {type(found).__name__}"
    )
    for form in FORMS:
        assert form in found, f"the dictionary has no {form!r}; it has to have 'bon' and 'rl'"
    rows = {form: _vector(found[form], f"fit(…)[{form!r}]") for form in FORMS}
    for form, row in rows.items():
        assert len(row) == 3, (
            f"fit(…)[{form!r}] has three numbers: alpha, beta, the peak; these are {len(row)}"
        )
    return rows


def _gain(d: Tensor, alpha: float, beta: float, form: str) -> Tensor:
    return d * (alpha - beta * (d if form == "bon" else d.log()))


@check
def each_form_finds_its_own(fit: Fit) -> None:
    """Gains without noise."""
    d = _real(0.4, 0.7, 1.1, 1.6, 2.0)
    for form, alpha, beta in (("bon", 1.5, 0.6), ("rl", 0.8, 1.1)):
        found = _fitted(fit, d, _gain(d, alpha, beta, form))[form][:2]
        hint = (
            f"gains of the form {form!r} were made with alpha = {alpha} and beta = {beta}. "
            "Its columns are d and −d², or d and −d log d, with the natural logarithm; "
            "there is no constant"
        )
        same(found, _real(alpha, beta), f"alpha and beta of {form!r}", hint)


@check
def peaks_are_where_the_slope_is_zero(fit: Fit) -> None:
    """The highest point of each form, on a fine grid."""
    d, grid = _real(0.4, 0.7, 1.1, 1.6), torch.arange(0.001, 6, 0.001, dtype=torch.float64)
    for form, alpha, beta in (("bon", 1.5, 0.6), ("rl", 0.8, 1.1)):
        wanted = float(grid[_gain(grid, alpha, beta, form).argmax()])
        found = float(_fitted(fit, d, _gain(d, alpha, beta, form))[form][2])
        hint = "differentiate the form with respect to d: α/2β, and e to the α/β − 1"
        near(found, wanted, f"the peak of {form!r}", hint, 0.002)


@check
def the_start_says_nothing(fit: Fit) -> None:
    """A point at d = 0, where every curve is 0 and a logarithm is none."""
    d = _real(0.0, 0.4, 0.7, 1.1)
    gain = torch.cat([_real(0.0), _gain(d[1:], 0.8, 1.1, "rl")])
    hint = "leave the point at d = 0 out: 0 times log 0 is nan, and the form is 0 there anyway"
    same(_fitted(fit, d, gain)["rl"][:2], _real(0.8, 1.1), "alpha and beta of 'rl'", hint)


@check
def what_is_left_leans_nowhere(fit: Fit) -> None:
    """Least squares: the residual is orthogonal to both columns."""
    generator = torch.Generator().manual_seed(3)
    d = torch.rand(9, generator=generator, dtype=torch.float64) * 2 + 0.1
    gain = _gain(d, 1.0, 0.5, "bon") + torch.randn(9, generator=generator, dtype=torch.float64)
    found = _fitted(fit, d, gain)
    for form in FORMS:
        alpha, beta, _ = found[form].tolist()
        left = gain - _gain(d, alpha, beta, form)
        for column in (d, d * d if form == "bon" else d * d.log()):
            hint = (
                "among all alpha and beta these have to leave the least sum of squares: there is "
                "no constant in the form, and each point counts alike"
            )
            near((left * column).sum(), 0.0, f"residual times column, {form!r}", hint, 1e-5)


@check
def what_never_turns_has_no_peak(fit: Fit) -> None:
    """Gains that bend upwards."""
    d = _real(0.4, 0.7, 1.1, 1.6)
    for form in FORMS:
        found = _fitted(fit, d, _gain(d, 0.5, -0.2, form))[form][2]
        assert float(found) == math.inf, (
            f"beta of {form!r} is −0.2 here: the curve rises for ever, and its peak is math.inf, "
            f"not {float(found):.3g}"
        )


# --- bootstrap(tables, statistic, times=1000, seed=0) -> (low, high) ------------------------------


def _interval(bootstrap: Bootstrap, tables: list[Tensor], statistic: Statistic) -> tuple[Any, Any]:
    before = [table.clone() for table in tables]
    found = bootstrap(tables, statistic)
    assert all(map(torch.equal, tables, before)), "the tables were changed in place: work on copies"
    returned(found, 2, "bootstrap returns two numbers: low, high")
    return found[0], found[1]


@check
def it_is_as_wide_as_it_should_be(bootstrap: Bootstrap) -> None:
    """400 prompts, half of which are worth 1: the standard error of the mean is 1/40."""
    table = (torch.arange(400) % 2).double()[:, None]
    low, high = _interval(bootstrap, [table], lambda t: float(t.mean()))
    hint = "the 2.5 % and 97.5 % quantiles of means of 400 rows drawn with replacement"
    near(low, 0.5 - 1.96 / 40, "low", hint, 0.008)
    near(high, 0.5 + 1.96 / 40, "high", hint, 0.008)


@check
def rows_of_all_tables_stay_together(bootstrap: Bootstrap) -> None:
    """The second table is the first, plus 1."""
    first = torch.arange(30, dtype=torch.float64)[:, None] ** 2
    low, high = _interval(bootstrap, [first, first + 1], lambda a, b: float((b - a).mean()))
    hint = (
        "draw rows once, and take the same ones from every table: a prompt's KL belongs to its gold"
    )
    near(low, 1.0, "low", hint)
    near(high, 1.0, "high", hint)


@check
def a_prompt_is_one_observation(bootstrap: Bootstrap) -> None:
    """20 prompts whose 50 cells are copies of one another."""
    rows = torch.randn(20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    low, high = _interval(bootstrap, [rows[:, None].expand(20, 50)], lambda t: float(t.mean()))
    half = (float(high) - float(low)) / 2
    wanted = 1.96 * float(rows.std(correction=0)) / math.sqrt(20)
    assert abs(half - wanted) < 0.15 * wanted, (
        f"half of the interval's width should be about {wanted:.3f}, and is {half:.3f}: the cells "
        "of a row come from one pool and rise and fall together. Draw whole rows, as many as there "
        "are"
    )


# --- parting(proxy (P, C), gold (P, C)) -> places, proxy changes, gold changes (P,) ---------------


def _parted(parting: Parting, proxy: Tensor, gold: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    found = called(parting, proxy, gold)
    returned(found, 3, "parting returns three rows of numbers: places, proxy, gold")
    places, more, worth = (_vector(x, "each of the three") for x in found)
    return places, more, worth


# Every prompt alone is best in column 1, 2, 1 and 3; the other three decide otherwise.
_GOLD = torch.tensor(
    [[0.0, 2, 1, 0], [1, 0, 3, 0], [0, 2, 0.5, -1], [0, 0.5, 1, 2]], dtype=torch.float64
)
_PROXY = torch.tensor(
    [[0.0, 1, 2, 4], [1, 1, 2, 3], [0, 5, 6, 6], [2, 3, 3, 9]], dtype=torch.float64
)


@check
def the_others_choose(parting: Parting) -> None:
    """Four prompts, four columns."""
    places, _, _ = _parted(parting, _PROXY, _GOLD)
    wanted = []
    for i in range(4):
        others = [sum(float(_GOLD[j, c]) for j in range(4) if j != i) for c in range(4)]
        wanted.append(others.index(max(others)))
    hint = (
        "for each prompt the column in which the mean gold of the *other* prompts is highest, "
        "counted from 0"
    )
    same(places, _real(*wanted), "places", hint)


@check
def changes_are_its_own(parting: Parting) -> None:
    """From the chosen column to the last, in the prompt's own rows."""
    places, more, worth = _parted(parting, _PROXY, _GOLD)
    for name, found, table in (("proxy", more, _PROXY), ("gold", worth, _GOLD)):
        rows = zip(table, places.int().tolist(), strict=True)
        wanted = [float(row[-1] - row[at]) for row, at in rows]
        hint = "the last column less the chosen one, of the prompt's own row; a fall is negative"
        same(found, _real(*wanted), f"changes of {name}", hint)


@check
def luck_does_not_choose_for_itself(parting: Parting) -> None:
    """Noise alone: whoever chooses by the row that is measured finds a fall."""
    generator = torch.Generator().manual_seed(2)
    gold = torch.randn(400, 6, generator=generator, dtype=torch.float64)
    gold[0] += torch.tensor([0, 0, 0, 9000.0, 0, 0], dtype=torch.float64)
    places, _, worth = _parted(parting, torch.zeros_like(gold), gold)
    others = set(places[1:].int().tolist())
    assert int(places[0]) != 3, (
        "prompt 0 alone is worth 9,000 in column 3, and no other prompt cares: it must not choose "
        "that column for itself"
    )
    assert others == {3}, (
        "prompt 0 is worth 9,000 in column 3, which makes the mean of the others highest there for "
        f"every prompt but itself; chosen were columns {sorted(others)}"
    )
    assert abs(float(worth[1:].mean())) < 0.2, (
        f"gold is noise here, and the mean change should be near 0; it is "
        f"{float(worth[1:].mean()):.2f}"
    )
