"""What a request costs, what a dearer model has to earn, how many prompts tell two apart."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlhf_lab.choosing import break_even, prompts_needed, request_cost
from rlhf_lab.errors import InputError
from rlhf_lab.widgets import chooser
from rlhf_lab.widgets.model_facts import read_model_facts

FACTS = read_model_facts(Path(__file__).parent.parent / "book/data/models.yaml")
GIVEN = chooser.data(FACTS)


def test_a_request_by_hand() -> None:
    # 1,000 tokens at $2 and (200 + 300) at $8 per million: 0.2 + 0.4 cents.
    assert request_cost(2, 8, 1000, 200, 300) == pytest.approx(0.006, abs=1e-15)
    assert request_cost(2, 8, 0, 0) == 0


@pytest.mark.parametrize("seed", range(5))
def test_at_break_even_both_models_cost_the_same(seed: int) -> None:
    """With errors counted: c + (1 − a)·h, the definition."""
    rng = np.random.default_rng(seed)
    low, more, h, right = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.1, 9), 0.4
    gap = break_even(low, low + more, h)
    totals = (low + (1 - right) * h, low + more + (1 - right - gap) * h)
    assert totals[0] == pytest.approx(totals[1], rel=1e-12)


def test_with_the_prompts_needed_the_interval_reaches_zero() -> None:
    for difference, deviation in itertools.product((0.03, -0.2, 1.5), (0.5, 2.0)):
        n = prompts_needed(difference, deviation)
        half = 1.959963984540054 * deviation / np.sqrt([n, max(n - 1, 1)])
        assert half[0] <= abs(difference) + 1e-12
        assert n == 1 or half[1] > abs(difference)
    assert prompts_needed(1, 0) == 1


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: request_cost(-1, 8, 10, 10), "price_in"),
        (lambda: request_cost(1, 8, 10, float("inf")), "tokens_out"),
        (lambda: break_even(1, 2, 0), "error_cost"),
        (lambda: break_even(2, 1, 1), "dearer"),
        (lambda: prompts_needed(0, 1), "difference"),
        (lambda: prompts_needed(1, -1), "deviation"),
    ],
)
def test_bad_input_is_named(call: Any, argument: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.argument == argument


# --- the chooser's rows -------------------------------------------------------------------------


def expected(state: dict[str, Any]) -> dict[str, tuple[float, bool]]:
    """Cost per request and whether it passes, from the file itself."""
    found = {}
    for model in FACTS.models:
        if not model.can_be_chosen:
            continue
        fact = {name: fact.value for name, fact in model.facts.items()}
        if not fact["released"] <= state["date"] < fact.get("ended", "9999"):
            continue
        later = fact.get("later_price_from", "9999") <= state["date"]
        price_in, price_out = (
            fact[f"later_{name}" if later else name] for name in ("price_in", "price_out")
        )
        out = state["tokens_out"] * (1 + state["hidden"] * fact["reasons"])
        cost = (price_in * state["tokens_in"] + price_out * out) / 1e6
        fits = state["tokens_in"] + out <= fact["context"]
        found[model.id] = (cost, fits and (fact["images"] or not state["images"]))
    return found


@pytest.mark.parametrize("day", GIVEN["days"][::3])
def test_the_rows_are_those_of_the_file(day: str) -> None:
    for images, tokens_in, hidden in itertools.product((False, True), (300, 100_000), (0, 10)):
        state = {**GIVEN["state"], "date": day, "images": images, "tokens_in": tokens_in,
                 "hidden": hidden}  # fmt: skip
        rows = {row["id"]: row for row in chooser.answer(GIVEN, state)}
        wanted = expected(state)
        assert rows.keys() == wanted.keys()
        passing = [cost for cost, fits in wanted.values() if fits]
        for name, (cost, fits) in wanted.items():
            assert rows[name]["cost"] == pytest.approx(cost, rel=1e-12)
            assert (not rows[name]["fails"]) == fits
            gap = (cost - min(passing)) / state["error_cost"] if fits else None
            assert rows[name]["gap"] == (None if gap is None else pytest.approx(gap, abs=1e-12))


def test_a_price_falls_on_its_day() -> None:
    before, after = (
        {row["id"]: row["cost"] for row in chooser.answer(GIVEN, {**GIVEN["state"], "date": date})}
        for date in ("2025-06-09", "2025-06-10")
    )
    assert after["o3-2025-04-16"] == pytest.approx(before["o3-2025-04-16"] / 5, rel=1e-12)


def test_every_stop_of_a_slider_has_a_start() -> None:
    for name, stops in GIVEN["stops"].items():
        assert GIVEN["state"][name] in stops
        assert stops == sorted(stops)
    assert GIVEN["state"]["date"] in GIVEN["days"]
    assert GIVEN["days"][-1] == GIVEN["checked"] == FACTS.checked


def test_the_table_has_every_model_that_can_be_chosen() -> None:
    rows = chooser.records(FACTS)
    assert [row["model"] for row in rows] == [m.id for m in FACTS.models if m.can_be_chosen]
    assert len({tuple(row) for row in rows}) == 1  # the same columns everywhere
