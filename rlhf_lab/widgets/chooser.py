"""Model chooser: need, capability, cost and risk, asked of the models of a dated file.

The drawing itself is ``static/chooser.js``. It shows ``book/data/models.yaml``, as
:mod:`rlhf_lab.widgets.model_facts` reads it, and names no winner: it says what passes, what that
costs, and what a dearer model would have to earn (:mod:`rlhf_lab.choosing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlhf_lab.choosing import break_even, request_cost
from rlhf_lab.widgets.files import labels
from rlhf_lab.widgets.model_facts import Model, ModelFacts, written, written_date

NAME = "chooser"
# What goes wrong with an answer, and the published measure that says something about it.
ERRORS = {"step": "gpqa", "fact": "simpleqa", "code": "humaneval", "taste": ""}
STOPS: dict[str, list[float]] = {
    "tokens_in": [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000],
    "tokens_out": [50, 100, 300, 1_000, 3_000, 10_000],
    "hidden": [0, 1, 2, 5, 10, 20],
    "requests": [100, 1_000, 10_000, 100_000, 1_000_000],
    "error_cost": [0.01, 0.1, 1, 10, 100, 1_000],
    "months": [0, 1, 3, 6, 12, 24, 36],
}
FIRST = {
    "date": "2025-02-27",  # the day of GPT-4.5, about which the book's notes were written
    "images": False,
    "error": "fact",
    "tokens_in": 3_000,
    "tokens_out": 300,
    "hidden": 5,
    "requests": 10_000,
    "error_cost": 1,
    "months": 12,
}


def data(facts: ModelFacts, *, language: str = "en") -> dict[str, Any]:
    """What the drawing gets: models with prices and days, the stops of its sliders, its start.

    Args:
        facts: the file.
        language: of the dates.

    Raises:
        InputError: a language without labels.
    """
    words = labels("facts", language)
    models = [_choice(model) for model in facts.models if model.can_be_chosen]
    changes = {model["released"] for model in models} | {facts.checked}
    changes |= {
        model["ended"] for model in models if model["ended"] and model["ended"] < facts.checked
    }
    changes |= {price["from"] for model in models for price in model["prices"]}
    days = sorted(changes)
    shown = {day for model in models for day in (model["released"], model["ended"]) if day}
    return {
        "checked": facts.checked,
        "days": days,
        "written": {day: written_date(day, words) for day in sorted(shown | set(days))},
        "errors": ERRORS,
        "stops": STOPS,
        "models": models,
        "state": dict(FIRST),
    }


def _choice(model: Model) -> dict[str, Any]:
    value = {name: fact.value for name, fact in model.facts.items()}
    prices = [{"from": value["released"], "in": value["price_in"], "out": value["price_out"]}]
    if "later_price_from" in value:
        prices.append(
            {
                "from": value["later_price_from"],
                "in": value["later_price_in"],
                "out": value["later_price_out"],
            }
        )
    return {
        "id": model.id,
        "released": value["released"],
        "ended": value.get("ended", ""),
        "notice": value.get("notice", ""),
        "context": value["context"],
        "images": value["images"],
        "reasons": value["reasons"],
        "prices": prices,
        "scores": {name: value[name] for name in ERRORS.values() if name in value},
    }


def answer(given: Mapping[str, Any], state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models that one could call on the day, in order of release.

    Args:
        given: as :func:`data` makes it.
        state: the answers to the questions, as in ``given["state"]``.

    Returns:
        For each: ``id``, ``fails`` ("images", "context"), ``cost`` in dollars per request, ``gap``
        (what it must be right more often by than the cheapest that passes, a share; None for those
        that fail), ``score`` (percent, or None), ``left`` (whole months until it was or will be
        switched off; None where no such day is known), ``announced`` (whether that day had been
        told by then).
    """
    rows = []
    for model in given["models"]:
        if model["released"] > state["date"] or "" < model["ended"] <= state["date"]:
            continue
        hidden = state["hidden"] * state["tokens_out"] if model["reasons"] else 0
        price = [price for price in model["prices"] if price["from"] <= state["date"]][-1]
        total = state["tokens_in"] + state["tokens_out"] + hidden
        fails = ["images"] if state["images"] and not model["images"] else []
        fails += ["context"] if total > model["context"] else []
        cost = request_cost(
            price["in"], price["out"], state["tokens_in"], state["tokens_out"], hidden
        )
        score = model["scores"].get(given["errors"][state["error"]])
        left = months_between(state["date"], model["ended"]) if model["ended"] else None
        announced = "" < model["notice"] <= state["date"]
        rows.append(
            {"id": model["id"], "released": model["released"], "fails": fails, "cost": cost,
             "gap": None, "score": score, "left": left, "announced": announced}
        )  # fmt: skip
    rows.sort(key=lambda row: (row["released"], row["id"]))
    passing = [row for row in rows if not row["fails"]]
    for row in passing:
        cheapest = min(other["cost"] for other in passing)
        row["gap"] = break_even(cheapest, row["cost"], state["error_cost"])
    return rows


def months_between(start: str, end: str) -> int:
    """Whole months from one day to a later one, both YYYY-MM-DD."""
    years, months, days = (int(b) - int(a) for a, b in zip(start.split("-"), end.split("-"),
                                                           strict=True))  # fmt: skip
    return 12 * years + months - (days < 0)


def records(facts: ModelFacts, language: str = "en") -> list[dict[str, str]]:
    """The file as rows of text: what stands in the drawing's place where no script runs."""
    words, names = labels("facts", language), labels("chooser", language)
    columns = ("released", "ended", "context", "images", "price_in", "price_out")
    rows = []
    for model in facts.models:
        if model.can_be_chosen:
            row = {names["column_model"]: model.id}
            for name in columns:
                known = name in model.facts
                text = written(name, model.facts[name], words) if known else names["not_yet"]
                row[names[f"column_{name}"]] = text
            rows.append(row)
    return rows
