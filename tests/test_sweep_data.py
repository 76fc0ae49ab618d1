"""Tables of a sweep as the drawings get them; compared with the tables read by csv alone."""

from __future__ import annotations

import csv
import gzip
import json
import math
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.widgets import beta_gamma, files
from rlhf_lab.widgets.sweep_data import MEASURES, TABLES, fitted, read_sweep

FIXTURE = Path(__file__).parent / "book/fixture/book/results/sweep"


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(k for r in rows for k in r)))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    return read_sweep(FIXTURE)


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Path]:
    """A copy of the fixture whose table has been changed by a function of its rows."""

    def edit(table: str, change: Callable[[list[dict[str, str]]], None]) -> Path:
        folder = tmp_path / "sweep"
        shutil.copytree(FIXTURE, folder)
        rows = rows_of(folder / table)
        change(rows)
        write_rows(folder / table, rows)
        return folder

    return edit


def near(text: str, digits: int) -> Any:
    """A published number: that of the table to some significant digits, or nothing."""
    return None if text == "" else pytest.approx(float(text), rel=0.6 * 10 ** (1 - digits))


def test_every_run_has_the_numbers_of_its_row(published: dict[str, Any]) -> None:
    rows = [row for row in rows_of(FIXTURE / "runs.csv") if row["policy"] == "ppo"]
    assert len(rows) == len(published["runs"]) == 12
    suites = [name for name in rows[0] if name.startswith("suite/")]
    assert published["values"] == [*MEASURES, *suites]
    for row, run in zip(rows, published["runs"], strict=True):
        assert (run["beta"], run["gamma"]) == (float(row["beta"]), float(row["gamma"]))
        assert run["seed"] == int(row["seed"])
        found = dict(zip(published["values"], run["values"], strict=True))
        mean = statistics.fmean(float(row[name]) for name in suites)
        assert found.pop("suites") == pytest.approx(mean, rel=1e-3)
        assert found == {name: near(row[name], 5) for name in found}
        assert (found["gradient_ratio"] is None) == (run["gamma"] == 0)


def test_curves_are_those_of_their_run(published: dict[str, Any]) -> None:
    rows = rows_of(FIXTURE / "curves.csv")
    assert published["steps"] == sorted({int(row["step"]) for row in rows})
    for run in published["runs"]:
        weights = (run["seed"], run["beta"], run["gamma"])
        own = [r for r in rows if (int(r["seed"]), float(r["beta"]), float(r["gamma"])) == weights]
        curves = dict(zip(published["curves"], run["curves"], strict=True))
        assert curves["kl"] == [near(row["objective/kl"], 3) for row in own]
        assert curves["rm_score"] == [near(row["objective/scores"], 3) for row in own]
        expected = [near(row["ptx/gradient_ratio"], 3) for row in own]
        assert curves["gradient_ratio"] == expected
        assert curves["gold"] is curves["loss"] is curves["suites"] is None  # at the end only


def test_answers_and_references(published: dict[str, Any]) -> None:
    samples = json.loads((FIXTURE / "samples.json").read_text())
    texts = [prompt["text"] for prompt in published["prompts"]]
    assert texts == list(dict.fromkeys(sample["prompt"] for sample in samples))
    for policy, entries in (("sft", published["sft"]), ("base", published["base"])):
        assert [entry["seed"] for entry in entries] == [0, 1]
        assert "curves" not in entries[0]
        own = [s for s in samples if s["policy"] == policy and s["seed"] == 1]
        expected = [[s["completion"], s["gold"], s["rm_score"]] for s in own]
        assert entries[1]["answers"] == expected
    first = published["runs"][0]
    own = [s for s in samples if s["policy"] == "ppo"][: len(texts)]
    assert [answer[0] for answer in first["answers"]] == [s["completion"] for s in own]


def test_measures_along_the_run_are_taken_when_they_are_there(
    edited: Callable[..., Path],
) -> None:
    """A sweep may measure gold every few steps: what lies between is not known."""

    def add(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["gold"] = "1.2345" if int(row["step"]) % 6 == 0 else ""

    found = read_sweep(edited("curves.csv", add))
    gold = found["runs"][0]["curves"][found["curves"].index("gold")]
    assert gold == [1.23 if step % 6 == 0 else None for step in found["steps"]]


def test_failed_runs_are_left_out(edited: Callable[..., Path]) -> None:
    def fail(rows: list[dict[str, str]]) -> None:
        row = next(r for r in rows if r["policy"] == "ppo")
        row.update({name: "" for name in row if name not in ("policy", "seed", "beta", "gamma")})
        row["error"] = "DivergenceError: NaN"

    assert len(read_sweep(edited("runs.csv", fail))["runs"]) == 11


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("runs.csv", lambda rows: [row.pop("gold") for row in rows]),
        ("runs.csv", lambda rows: rows.clear() or rows.append({"policy": "ppo"})),
        ("runs.csv", lambda rows: [row.update(error="all failed") for row in rows]),
        ("curves.csv", lambda rows: rows.pop()),
    ],
)
def test_what_is_no_sweep_is_refused(
    edited: Callable[..., Path], table: str, change: Callable[..., Any]
) -> None:
    with pytest.raises(InputError, match="fix: "):
        read_sweep(edited(table, change))


@pytest.mark.parametrize("missing", TABLES[:3])
def test_a_missing_table_is_named(tmp_path: Path, missing: str) -> None:
    shutil.copytree(FIXTURE, tmp_path / "sweep")
    (tmp_path / "sweep" / missing).unlink()
    with pytest.raises(InputError, match=missing):
        read_sweep(tmp_path / "sweep")


def test_runs_of_another_sweep_fit_by_their_names(published: dict[str, Any]) -> None:
    turned = dict(published)
    turned["values"] = published["values"][::-1]
    turned["prompts"] = [{"kind": "new", "text": "?"}, *published["prompts"][::-1]]
    run = dict(published["runs"][3])
    turned["runs"] = [
        run | {"values": run["values"][::-1], "answers": [["!", 0, 0], *run["answers"][::-1]]}
    ]
    assert fitted(turned, published) == [run]
    with pytest.raises(InputError) as caught:
        fitted({**published, "steps": [1, 2]}, published)
    assert caught.value.argument == "steps"


def test_the_data_of_a_page_are_small(published: dict[str, Any]) -> None:
    """Sixty runs of this kind must stay far below the weight of a page."""
    sixty = {**published, "runs": published["runs"] * 5}
    per_run = len(gzip.compress(json.dumps(published).encode())) / len(published["runs"])
    assert per_run * 60 < 100_000
    assert len(gzip.compress(json.dumps(sixty).encode())) < 100_000


# --- the explorer's own module ------------------------------------------------------------------


def test_the_explorer_begins_at_the_best_cell(published: dict[str, Any]) -> None:
    cells: dict[tuple[str, str], list[float]] = {}
    for row in rows_of(FIXTURE / "runs.csv"):
        if row["policy"] == "ppo":
            cells.setdefault((row["beta"], row["gamma"]), []).append(float(row["gold"]))
    best = max(cells, key=lambda cell: statistics.fmean(cells[cell]))
    state = beta_gamma.data(published)["state"]
    assert (state["beta"], state["gamma"]) == tuple(map(float, best))
    assert beta_gamma.data(published, beta=0.3, gamma=0.0)["state"]["beta"] == 0.3
    with pytest.raises(InputError) as caught:
        beta_gamma.data(published, beta=0.5)
    assert caught.value.argument == "beta, gamma"


def test_the_still_drawing_has_the_means_of_the_runs(published: dict[str, Any]) -> None:
    labels = files.labels("beta-gamma")
    figure = beta_gamma.still(labels, beta_gamma.data(published))
    records = figure.layout.meta["data"]
    assert len(records) == 6
    for record in records:
        own = [
            run["values"]
            for run in published["runs"]
            if f"γ = {run['gamma']:g}" == record["line"] and run["beta"] == record["beta"]
        ]
        gold, kl = (statistics.fmean(values[i] for values in own) for i in (0, 2))
        assert record[labels["m_gold"]] == pytest.approx(gold)
        assert record[labels["axis_kl"]] == pytest.approx(kl)
    assert "{" not in figure.layout.title.text + figure.layout.meta["alt"]
    assert math.isfinite(float(figure.layout.meta["alt"].split("score is ")[1].rstrip(".")))
