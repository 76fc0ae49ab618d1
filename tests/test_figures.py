"""Figures against independent computations; every figure carries what a page needs."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from scipy import stats

from rlhf_lab.errors import InputError
from rlhf_lab.figures import (
    THEMES,
    bars_with_intervals,
    frontier,
    heat,
    labelled_points,
    learning_curves,
    mean_interval,
    small_multiples,
    timeline,
)
from rlhf_lab.svg import to_svg

TEXTS = {
    "title": "The finding",
    "alt": "What it looks like",
    "x_label": "step",
    "y_label": "reward, standard deviations",
}


@pytest.fixture
def runs() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "beta": beta,
            "gamma": gamma,
            "seed": seed,
            "step": step,
            "kl": 1.0 + rng.random(),
            "reward": rng.normal(),
        }
        for beta in (0.1, 1.0)
        for gamma in (0.0, 1.0)
        for seed in range(4)
        for step in (1, 2, 3)
    )


@pytest.mark.parametrize(
    ("xs", "log_x", "ticks"),
    [
        ((1, 2, 3), False, (1, 2, 3)),
        ((0, 4), False, (0, 1, 2, 3, 4)),
        ((1.5, 2, 3), False, None),  # not whole
        (tuple(range(0, 200, 20)), False, None),  # the usual ones are whole, too
        ((16, 64, 256, 1024), True, (16, 64, 256, 1024)),
        ((16, 17, 256), True, None),  # their names would lie on each other
    ],
)
def test_an_axis_of_few_whole_numbers_has_no_halves(xs, log_x, ticks) -> None:
    data = pd.DataFrame({"x": xs, "y": range(len(xs))})
    figure = learning_curves(data, x="x", y="y", log_x=log_x, **TEXTS)
    assert figure.layout.xaxis.tickvals == ticks
    drawn = re.findall(r">([\d.]+)</text>", to_svg(figure))
    assert ticks is None or set(map(str, ticks)) <= set(drawn)


def all_figures(runs: pd.DataFrame) -> list[go.Figure]:
    last = runs[runs["step"] == 3]
    one = last[last["beta"] == 0.1]
    return [
        learning_curves(runs, x="step", y="reward", color="gamma", **TEXTS),
        frontier(
            last,
            y="reward",
            point="beta",
            color="gamma",
            title="t",
            alt="a",
            y_label="reward",
        ),
        heat(last, x="gamma", y="beta", value="reward", value_label="reward", **TEXTS),
        bars_with_intervals(one, x="gamma", y="reward", **TEXTS),
    ]


@pytest.mark.parametrize("size", [2, 3, 5, 30])
def test_mean_interval_is_students(size: int) -> None:
    sample = np.random.default_rng(size).normal(3, 2, size)
    mean, low, high = mean_interval(sample)
    expected = stats.t.interval(0.95, size - 1, loc=sample.mean(), scale=stats.sem(sample))
    assert mean == pytest.approx(sample.mean(), abs=1e-12)
    assert (low, high) == pytest.approx(expected, abs=1e-9)


def test_one_observation_has_no_interval() -> None:
    mean, low, high = mean_interval([2.0])
    assert mean == 2.0
    assert math.isnan(low)
    assert math.isnan(high)


def test_learning_curve_is_the_mean_with_its_band(runs: pd.DataFrame) -> None:
    figure = learning_curves(runs, x="step", y="reward", color="gamma", **TEXTS)
    line = next(t for t in figure.data if t.name == "1.0")
    band = next(t for t in figure.data if t.name == "1.0 95 % band")
    rows = runs[runs["gamma"] == 1.0].groupby("step")["reward"]
    assert list(line.x) == [1, 2, 3]
    np.testing.assert_allclose(line.y, rows.mean(), atol=1e-12)
    half = rows.apply(lambda v: stats.t.ppf(0.975, len(v) - 1) * stats.sem(v))
    np.testing.assert_allclose(band.y[:3], rows.mean() + half, atol=1e-9)
    np.testing.assert_allclose(band.y[3:], (rows.mean() - half)[::-1], atol=1e-9)


def test_no_band_without_repetitions() -> None:
    data = pd.DataFrame({"step": [3, 1, 2], "reward": [3.0, 1.0, 2.0]})
    figure = learning_curves(data, x="step", y="reward", references={"SFT": 2.5}, **TEXTS)
    assert [t.name for t in figure.data] == ["", "SFT"]
    assert list(figure.data[0].x) == [1, 2, 3]
    assert list(figure.data[1].y) == [2.5, 2.5]


def test_frontier_joins_configurations_in_order(runs: pd.DataFrame) -> None:
    last = runs[runs["step"] == 3]
    figure = frontier(
        last, y="reward", point="beta", color="gamma", title="t", alt="a", y_label="reward"
    )
    for trace, gamma in zip(figure.data, (0.0, 1.0), strict=True):
        rows = last[last["gamma"] == gamma].groupby("beta")
        assert list(trace.customdata) == ["0.1", "1.0"]
        np.testing.assert_allclose(trace.x, rows["kl"].mean(), atol=1e-12)
        np.testing.assert_allclose(trace.y, rows["reward"].mean(), atol=1e-12)
        half = rows["reward"].apply(lambda v: stats.t.ppf(0.975, len(v) - 1) * stats.sem(v))
        np.testing.assert_allclose(trace.error_y.array, half, atol=1e-9)


def test_panels_share_axes_and_colours(runs: pd.DataFrame) -> None:
    figure = small_multiples(runs, x="step", y="reward", panel="beta", color="gamma", **TEXTS)
    lines = [trace for trace in figure.data if trace.fill is None]
    assert [(line.xaxis, line.yaxis) for line in lines] == [("x", "y")] * 2 + [("x2", "y2")] * 2
    assert [line.line.color for line in lines[:2]] == [line.line.color for line in lines[2:]]
    assert [line.showlegend for line in lines] == [True, True, False, False]
    one = runs[(runs["beta"] == 1.0) & (runs["gamma"] == 0.0) & (runs["step"] == 2)]
    assert lines[2].y[1] == pytest.approx(one["reward"].mean(), abs=1e-12)
    layout = figure.layout
    assert (layout.xaxis2.matches, layout.yaxis2.matches) == ("x", "y")
    assert layout.xaxis.domain[1] < layout.xaxis2.domain[0]
    assert [note.text for note in layout.annotations] == ["0.1", "1.0"]
    assert figure.layout.meta["data"][-1]["beta"] == "1.0"


def test_panels_with_marks_and_scales_of_their_own(runs: pd.DataFrame) -> None:
    wanted = {"panel": "beta", "color": "gamma", "x": "step", "y": "reward"}
    zero = runs.assign(step=runs["step"] - 1)
    with pytest.raises(InputError, match="above 0"):
        small_multiples(zero, marks={1: 1.0}, **wanted, **TEXTS)
    marks = {1: 1.0, 2: 4.0, 3: 16.0}
    figure = small_multiples(runs, columns=1, marks=marks, own_rows=True, **wanted, **TEXTS)
    lines = [trace for trace in figure.data if trace.fill is None]
    assert list(lines[0].x) == [1, 4, 16] and list(lines[0].customdata) == [1, 2, 3]
    layout = figure.layout
    assert layout.xaxis2.type == "log" and list(layout.xaxis2.ticktext) == ["1", "2", "3"]
    assert (layout.xaxis2.matches, layout.yaxis2.matches) == ("x", None)
    assert layout.yaxis.domain[0] > layout.yaxis2.domain[1]
    assert {row[TEXTS["x_label"]] for row in layout.meta["data"]} == {1, 2, 3}
    four = pd.concat([runs.assign(beta=runs["beta"] + more) for more in (0, 10)])
    layout = small_multiples(four, columns=2, own_rows=True, **wanted, **TEXTS).layout
    assert [layout[f"yaxis{n}"].matches for n in ("", 2, 3, 4)] == [None, "y", None, "y3"]


def test_heat_puts_each_mean_in_its_cell(runs: pd.DataFrame) -> None:
    last = runs[runs["step"] == 3].iloc[:-4]  # no run at beta = gamma = 1
    figure = heat(last, x="gamma", y="beta", value="reward", value_label="r", center=0.0, **TEXTS)
    (trace,) = figure.data
    mean = last.groupby(["beta", "gamma"])["reward"].mean()
    assert trace.z[0][1] == pytest.approx(mean[0.1, 1.0], abs=1e-12)
    assert trace.z[1][1] is None
    assert trace.text[1][1] == ""
    assert trace.text[0][0].startswith(f"{mean[0.1, 0.0]:.2f}<br>± ")
    assert trace.zmin == -trace.zmax


def test_bars_take_given_intervals() -> None:
    data = pd.DataFrame(
        {"model": ["SFT", "PPO"], "win": [0.5, 0.7], "lo": [0.4, 0.65], "hi": [0.6, 0.8]}
    )
    figure = bars_with_intervals(data, x="model", y="win", low="lo", high="hi", **TEXTS)
    (trace,) = figure.data
    assert list(trace.x) == ["SFT", "PPO"]
    np.testing.assert_allclose(trace.error_y.array, [0.1, 0.1], atol=1e-12)
    np.testing.assert_allclose(trace.error_y.arrayminus, [0.1, 0.05], atol=1e-12)


EVENTS = pd.DataFrame(
    {"year": [2001, 2013, 2003], "name": ["CRF", "CRF++", "NNLM"], "kind": ["f", "f", "a"]}
)


def test_timeline_has_a_marker_for_each_event() -> None:
    figure = timeline(EVENTS, x="year", y="name", color="kind", **TEXTS)
    drawn = {
        (x, y, trace.name) for trace in figure.data for x, y in zip(trace.x, trace.y, strict=True)
    }
    assert drawn == {(2001, "CRF", "f"), (2013, "CRF++", "f"), (2003, "NNLM", "a")}
    assert figure.layout.meta["data"][0] == {
        TEXTS["y_label"]: "CRF", TEXTS["x_label"]: 2001, "kind": "f",
    }  # fmt: skip
    with pytest.raises(InputError, match="CRF"):
        timeline(pd.concat([EVENTS, EVENTS]), x="year", y="name", color="kind", **TEXTS)


def test_points_keep_their_names() -> None:
    words = pd.DataFrame(
        {"x": [0.0, 1, 2], "y": [1.0, 0, 1], "kind": ["animal", "food", "animal"],
         "word": ["fox", "corn", "owl"]}
    )  # fmt: skip
    arguments = {"x": "x", "y": "y", "color": "kind", "label": "word", **TEXTS}
    figure = labelled_points(words, **arguments, written=["owl"])
    assert [(t.name, list(t.customdata)) for t in figure.data] == [
        ("animal", ["fox", "owl"]), ("food", ["corn"])
    ]  # fmt: skip
    (note,) = figure.layout.annotations
    assert (note.text, note.x, note.y) == ("<b>owl</b>", 2, 1)
    assert figure.layout.meta["data"][1] == {
        "word": "corn", "kind": "food", "step": 1, TEXTS["y_label"]: 0,
    }  # fmt: skip
    with pytest.raises(InputError, match="zebra"):
        labelled_points(words, **arguments, written=["zebra"])
    many = pd.concat([words.assign(kind=str(i)) for i in range(7)])
    with pytest.raises(InputError, match="at most 6"):
        labelled_points(many, **arguments)


def test_every_figure_carries_alternative_text_and_its_numbers(runs: pd.DataFrame) -> None:
    for figure in all_figures(runs):
        meta = figure.layout.meta
        assert meta["alt"]
        assert figure.layout.title.text
        assert figure.layout.xaxis.title.text
        assert figure.layout.yaxis.title.text
        table = pd.DataFrame(json.loads(json.dumps(meta["data"], allow_nan=False)))
        assert len(table) >= 2
        assert table.filter(like="95 %").shape[1] == 2


def test_table_has_the_numbers_of_the_drawing(runs: pd.DataFrame) -> None:
    figure = learning_curves(runs, x="step", y="reward", color="gamma", **TEXTS)
    table = pd.DataFrame(figure.layout.meta["data"])
    expected = runs.groupby(["gamma", "step"])["reward"].agg(["mean", "size"])
    np.testing.assert_allclose(table[TEXTS["y_label"]], expected["mean"], atol=1e-12)
    assert list(table["runs"]) == list(expected["size"])


def test_long_titles_are_broken_for_notebooks(runs: pd.DataFrame) -> None:
    title = "A finding that takes many words to say because it has conditions " * 2
    figure = learning_curves(runs, x="step", y="reward", **TEXTS | {"title": title})
    assert figure.layout.title.text.count("<br>") == 1


def contrast(first: str, second: str) -> float:
    """WCAG 2 contrast ratio of two ``#rrggbb``."""

    def luminance(color: str) -> float:
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_colours_have_contrast(name: str) -> None:
    theme = THEMES[name]
    assert contrast(theme.text, theme.background) >= 4.5
    for color in theme.colorway:
        assert contrast(color, theme.background) >= 3.0, color


def test_series_keep_their_number_in_every_theme() -> None:
    light, dark = THEMES["light"].colorway, THEMES["dark"].colorway
    assert len(light) == len(dark) == len(set(light)) == len(set(dark))
    assert not set(light) & set(dark)  # else recolouring a page would run in circles


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"title": " "}, "title"),
        ({"alt": ""}, "alt"),
        ({"y_label": ""}, "y_label"),
        ({"y": "rewards"}, "data"),
        ({"color": "colour"}, "data"),
        ({"x": "name"}, "name"),
        ({"log_x": True, "x": "zero"}, "zero"),
    ],
)
def test_wrong_arguments_are_named(
    runs: pd.DataFrame, changes: dict[str, object], argument: str
) -> None:
    data = runs.assign(name="a", zero=0.0)
    with pytest.raises(InputError) as caught:
        learning_curves(data, **{"x": "step", "y": "reward", **TEXTS, **changes})
    assert caught.value.argument == argument


def test_empty_table_is_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        learning_curves(pd.DataFrame({"x": [], "y": []}), x="x", y="y", **TEXTS)


def test_bars_refuse_half_an_interval_and_repeated_rows() -> None:
    data = pd.DataFrame({"model": ["a", "a"], "win": [0.5, 0.6], "lo": [0.4, 0.5], "hi": [1, 1]})
    with pytest.raises(InputError, match="both columns or neither"):
        bars_with_intervals(data, x="model", y="win", low="lo", **TEXTS)
    with pytest.raises(InputError, match="one row per bar"):
        bars_with_intervals(data, x="model", y="win", low="lo", high="hi", **TEXTS)
