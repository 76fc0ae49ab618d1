"""Tests of the lab *Provoke, count, trace*: policies that fool a measure, and numbers by hand."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from rlhf_lab.checks import called, check, near, returned

Fact = tuple[str, str, str]
Said = tuple[Fact, Sequence[tuple[Fact, bool]]]  # a premise; what was claimed, and whether denied
Skill = Callable[[Sequence[Said], Sequence[Said]], tuple[float, float, float]]
Caution = Callable[[Sequence[Mapping[str, Any]]], tuple[float, float]]
Company = Callable[[pd.DataFrame, int, int], float]
Taste = Callable[..., Tensor]
Finding = Callable[[Sequence[float], Sequence[float]], tuple[float, float, float, str]]

# --- skill(false, true) -> s, low, high -----------------------------------------------------------

_FALSE: Fact = ("colour", "fox", "blue")
_TRUE: Fact = ("colour", "fox", "red")


def _skill(skill: Skill, false: list[list[Any]], true: list[list[Any]]) -> tuple[Any, Any, Any]:
    found = skill([(_FALSE, claims) for claims in false], [(_TRUE, claims) for claims in true])
    returned(found, 3, "skill returns three numbers: s, low, high")
    return found[0], found[1], found[2]


_POLICIES = {
    "accepts whatever it is told": ([(_FALSE, False)], [(_TRUE, False)]),
    "denies whatever it is told": ([(_FALSE, True)], [(_TRUE, True)]),
    "says nothing about it": ([], []),
}


@check
def who_knows_nothing_has_none(skill: Skill) -> None:
    """Three policies that do not look anything up."""
    for what, (false, true) in _POLICIES.items():
        s, _, _ = _skill(skill, [false] * 3, [true] * 3)
        hint = (
            f"this policy {what}, whether it is so or not. s is the share of true premises that "
            "are accepted, less the share of false ones; a premise that is denied is not accepted"
        )
        near(s, 0.0, "s", hint)


@check
def who_sees_through_it_has_all(skill: Skill) -> None:
    """False premises are corrected, true ones accepted; then three times of four."""
    corrects, accepts = [(_FALSE, True), (_TRUE, False)], [(_TRUE, False)]
    s, _, _ = _skill(skill, [corrects] * 4, [accepts] * 4)
    near(s, 1.0, "s", "it says that the fox is not blue, and is red: it has accepted nothing false")
    s, _, _ = _skill(skill, [corrects] * 4, [accepts] * 3 + [[]])
    near(s, 0.75, "s", "of four true premises three were accepted, of four false ones none")


@check
def only_the_premise_itself_counts(skill: Skill) -> None:
    """Another colour, another animal, another matter; and the premise behind them."""
    others = [("colour", "fox", "green"), ("colour", "owl", "blue"), ("food", "fox", "blue")]
    false: list[list[Any]] = [[(fact, False)] for fact in others]
    s, _, _ = _skill(skill, false, [[]] * 3)
    hint = "a premise is accepted where all three agree: the matter, who it is about, and the value"
    near(s, 0.0, "s", hint)
    late = [(("food", "fox", "nuts"), False), (_FALSE, False)]
    s, _, _ = _skill(skill, [late] * 3, [[]] * 3)
    near(s, -1.0, "s", "each answer accepts the false premise in its second claim: look at all")


@check
def the_interval_is_of_pairs(skill: Skill) -> None:
    """100 subjects, some easily accepted: both questions of a pair are, or neither."""
    yes: list[list[Any]] = [[(_FALSE, False)], [(_TRUE, False)]]
    no: list[list[Any]] = [[], []]
    pairs = [yes if i % 2 else no for i in range(100)]
    s, low, high = _skill(skill, [p[0] for p in pairs], [p[1] for p in pairs])
    hint = (
        "every difference within a pair is 0, so the interval has no width: take the differences "
        "first, and then their standard error"
    )
    for name, found in {"s": s, "low": low, "high": high}.items():
        near(found, 0.0, name, hint)
    pairs = [[[], [(_TRUE, False)]] if i % 4 else no for i in range(100)]
    s, low, high = _skill(skill, [p[0] for p in pairs], [p[1] for p in pairs])
    half = 1.96 * statistics.stdev([float(i % 4 > 0) for i in range(100)]) / 10
    hint = "mean ± 1.96 standard errors of the 100 differences, or Student's quantile in its place"
    near(low, 0.75 - half, "low", hint, 0.003)
    near(high, 0.75 + half, "high", hint, 0.003)


# --- caution(answers) -> over, missed -------------------------------------------------------------


def _answer(cautious: bool, claim: str, answerable: bool = True) -> dict[str, Any]:
    return {"cautious": cautious, "claim": claim, "answerable": answerable}


def _caution(caution: Caution, answers: list[dict[str, Any]]) -> tuple[Any, Any]:
    found = caution(answers)
    returned(found, 2, "caution returns two numbers: over, missed")
    return found[0], found[1]


@check
def seven_answers_by_hand(caution: Caution) -> None:
    """Four for which caution is not due, three for which it is."""
    answers = [
        _answer(True, "true"), _answer(False, "true"), _answer(False, "true"),
        _answer(False, "true"), _answer(True, "false"), _answer(False, "false"),
        _answer(False, "false"),
    ]  # fmt: skip
    over, missed = _caution(caution, answers)
    near(over, 1 / 4, "over", "of four answers with a true claim one is cautious")
    near(missed, 2 / 3, "missed", "of three answers with a false claim two are not cautious")


@check
def fools_gain_nothing(caution: Caution) -> None:
    """Always cautious, never, and never with a claim at all; over and missed add up to 1."""
    questions = [("true", True), ("false", True), ("none", False), ("true", True)]
    always = [_answer(True, *q) for q in questions]
    never = [_answer(False, *q) for q in questions]
    silent = [_answer(True, "none", q[1]) for q in questions]
    for what, answers, wanted in (
        ("is cautious before everything", always, (1, 0)),
        ("is never cautious", never, (0, 1)),
        ("never claims anything and says that nobody can be sure", silent, (1, 0)),
    ):
        over, missed = _caution(caution, answers)
        hint = (
            f"this policy {what}, without a look at the question; whoever evades a question that "
            "has an answer is over-cautious, too"
        )
        near(over, wanted[0], "over", hint)
        near(missed, wanted[1], "missed", hint)


@check
def an_admission_is_due_where_nothing_is_told(caution: Caution) -> None:
    """Questions about a text that does not have the answer; two are admitted, one gets a fact."""
    answers = [
        _answer(True, "none", False), _answer(True, "none", False), _answer(False, "true", False),
        _answer(False, "true"),
    ]  # fmt: skip
    over, missed = _caution(caution, answers)
    near(over, 0.0, "over", "'the text does not say' is no hedge where the text does not say it")
    hint = "of three questions without an answer one got one, and true or not, the text has it not"
    near(missed, 1 / 3, "missed", hint)


@check
def no_case_is_no_share(caution: Caution) -> None:
    """Answers for none of which caution is due."""
    over, missed = _caution(caution, [_answer(True, "true"), _answer(False, "true")])
    near(over, 0.5, "over", "of two answers with a true claim one is cautious")
    unknown = isinstance(missed, float | Tensor) and math.isnan(missed)
    assert unknown, (
        f"caution was never due, so what was missed of it is unknown: math.nan, not {missed!r}"
    )


# --- company(rows, few, many) -> float ------------------------------------------------------------


def _rows(*groups: tuple[int, str, int, int]) -> pd.DataFrame:
    """Rows of (number, constraint, met, of how many)."""
    rows = [
        {"number": number, "constraint": name, "met": i < met}
        for number, name, met, count in groups
        for i in range(count)
    ]
    return pd.DataFrame(rows)


@check
def each_against_itself(company: Company) -> None:
    """Two constraints, asked for alone and among four."""
    rows = _rows((1, "place", 8, 10), (1, "mood", 5, 10), (4, "place", 6, 10), (4, "mood", 4, 10))
    hint = "place falls from 0.8 to 0.6, mood from 0.5 to 0.4: the mean of the two differences"
    near(called(company, rows, 1, 4), -0.15, "company(rows, 1, 4)", hint)
    near(called(company, rows, 4, 1), 0.15, "company(rows, 4, 1)", "the second less the first")


@check
def other_company_is_not_asked(company: Company) -> None:
    """Requests with two and three constraints lie between."""
    rows = _rows(
        (1, "place", 8, 10), (2, "place", 0, 50), (3, "place", 50, 50), (4, "place", 6, 10)
    )
    hint = "only requests with `few` and with `many` constraints are compared"
    near(company(rows, 1, 4), -0.2, "company(rows, 1, 4)", hint)


@check
def another_mix_is_no_confusion(company: Company) -> None:
    """Each constraint is met as often in company; but there the easy one is asked for more."""
    rows = _rows((1, "place", 9, 10), (1, "mood", 9, 90), (4, "place", 81, 90), (4, "mood", 1, 10))
    hint = (
        "no rate has changed, only how often each constraint is asked for: take the difference "
        "within each constraint, then the mean over constraints, each counting once"
    )
    near(company(rows, 1, 4), 0.0, "company(rows, 1, 4)", hint)


@check
def what_has_no_counterpart_is_left_out(company: Company) -> None:
    """A constraint that is asked for in company only."""
    rows = _rows((1, "place", 8, 10), (4, "place", 6, 10), (4, "avoid", 10, 10))
    hint = "'avoid' is never asked for alone, so there is nothing to compare it with"
    near(company(rows, 1, 4), -0.2, "company(rows, 1, 4)", hint)


# --- taste(differences (M, A), ridge) -> weights (A,) ---------------------------------------------


def _taste(taste: Taste, x: Tensor, ridge: float) -> Tensor:
    found = called(taste, x, ridge)
    assert found is not None, "taste returns None: is there a return at its end?"
    w = torch.as_tensor([float(v) for v in found], dtype=torch.float64)
    assert w.shape == (x.shape[1],), (
        f"there is one weight for each column, {x.shape[1]}; these are {len(w)}"
    )
    return w


def _slope(x: Tensor, w: Tensor, ridge: float) -> Tensor:
    """The derivative of the mean of −log σ(x·w) plus ridge · |w|² / 2, term by term."""
    total = [ridge * float(v) for v in w]
    for row in x.tolist():
        missing = 1 / (1 + math.exp(sum(a * float(v) for a, v in zip(row, w, strict=True))))
        for k, a in enumerate(row):
            total[k] -= missing * a / len(x)
    return torch.tensor(total, dtype=torch.float64)


@check
def nothing_pulls_any_more(taste: Taste) -> None:
    """200 pairs with three attributes: the derivative is 0."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 3, generator=generator, dtype=torch.float64) + torch.tensor([0.8, 0, -0.3])
    for ridge in (0.01, 0.5):
        left = _slope(x, _taste(taste, x, ridge), ridge)
        hint = (
            f"at the minimum with ridge {ridge} the derivative is 0 in each weight: the mean of "
            "−(1 − σ(x·w)) x plus ridge · w. Has your optimisation come to its end?"
        )
        near(left.abs().max(), 0.0, "the largest derivative", hint, 2e-3)


@check
def likes_and_dislikes_have_signs(taste: Taste) -> None:
    """Who always prefers the answer with more of one thing and less of another."""
    x = torch.tensor([[1.0, -1.0], [2.0, -1.0], [1.0, -2.0]], dtype=torch.float64)
    w = _taste(taste, x, 0.01)
    assert bool(w[0] > 0 > w[1]), (
        "each row is the better answer less the worse one, so more of attribute 0 is liked and "
        f"more of attribute 1 disliked; the weights are {[round(float(v), 3) for v in w]}"
    )


@check
def a_labeler_is_recovered(taste: Taste) -> None:
    """20,000 pairs of a labeler with known weights; an attribute that never differs."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(20_000, 3, generator=generator, dtype=torch.float64)
    x[:, 2] = 0.0
    wanted = torch.tensor([1.5, -0.75, 0.0], dtype=torch.float64)
    wins = torch.rand(20_000, generator=generator) < (x @ wanted).sigmoid()
    x[~wins] *= -1
    w = _taste(taste, x, 1e-4)
    for k, value in enumerate(wanted.tolist()):
        hint = (
            "these pairs were ordered with probability σ(x·w): there is no constant, and an "
            "attribute in which no pair differs gets the weight 0"
        )
        near(w[k], value, f"weight {k}", hint, 0.08)


# --- finding(before, after) -> difference, low, high, word ----------------------------------------

WORDS = ("better", "worse", "open")


def _finding(finding: Finding, before: list[float], after: list[float]) -> tuple[Any, ...]:
    given = list(before), list(after)
    found = finding(before, after)
    assert (before, after) == given, "the lists are not what they were before the call"
    returned(found, 4, "finding returns four things: difference, low, high, word")
    assert found[3] in WORDS, f"the word is one of {', '.join(WORDS)}, and not {found[3]!r}"
    return tuple(found)


@check
def five_questions_by_hand(finding: Finding) -> None:
    """Differences 1, 2, 3, 2, 2; Student's quantile for five is 2.776."""
    mean, low, high, word = _finding(finding, [0, 1, 0, 5, 2], [1, 3, 3, 7, 4])
    half = 2.776445 * statistics.stdev([1, 2, 3, 2, 2]) / math.sqrt(5)
    near(mean, 2.0, "the difference", "after less before, a mean over questions")
    hint = "mean ± Student's quantile times the standard error of five differences"
    near(low, 2 - half, "low", hint, 1e-3)
    near(high, 2 + half, "high", hint, 1e-3)
    assert word == "better", f"the whole interval is above 0: 'better', not {word!r}"


@check
def zero_inside_leaves_it_open(finding: Finding) -> None:
    """A large mean that one question has made; and no change at all."""
    _, low, high, word = _finding(finding, [0, 0, 0, 0], [0, 0, 0, 8])
    assert word == "open", (
        f"the interval from {float(low):.2f} to {float(high):.2f} contains 0, so it is 'open', "
        f"however large the mean; not {word!r}"
    )
    _, _, _, word = _finding(finding, [1, 2, 3], [1, 2, 3])
    assert word == "open", f"nothing changed: 'open', not {word!r}"


@check
def questions_are_compared_with_themselves(finding: Finding) -> None:
    """Hard questions and easy ones, each a little worse than before."""
    before = [0.0, 10, 20, 30, 40, 50]
    after = [-0.1, 9.8, 19.9, 29.8, 39.9, 49.8]
    _, low, high, word = _finding(finding, before, after)
    assert word == "worse", (
        f"each question lost 0.1 or 0.2, and that 10 is not 50 is no doubt about it: 'worse', not "
        f"{word!r}, with an interval from {float(low):.2f} to {float(high):.2f}"
    )
