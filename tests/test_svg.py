"""Static drawings: the geometry against the axes, and nothing but text from text."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import plotly.graph_objects as go
import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.figures import (
    THEMES,
    bars_with_intervals,
    frontier,
    heat,
    learning_curves,
    small_multiples,
    timeline,
)
from rlhf_lab.svg import linear_ticks, log_ticks, to_svg

NS = {"svg": "http://www.w3.org/2000/svg"}
TEXTS = {"title": "t", "alt": "a", "x_label": "x-axis", "y_label": "y-axis"}


def parse(text: str) -> ElementTree.Element:
    if "xmlns" not in text:
        text = text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return ElementTree.fromstring(text)


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{{{NS['svg']}}}text")]


def points(path: str) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in re.findall(r"[ML](\S+) (\S+?)(?=L|z|$)", path)]


def test_a_line_keeps_its_proportions() -> None:
    data = pd.DataFrame({"x": [0.0, 1.0, 4.0], "y": [0.0, 10.0, 5.0]})
    root = parse(to_svg(learning_curves(data, x="x", y="y", **TEXTS)))
    color = THEMES["light"].colorway[0]
    line = root.find(f".//svg:path[@stroke='{color}']", NS)
    assert line is not None
    (x0, y0), (x1, y1), (x2, y2) = points(line.attrib["d"])
    assert (x2 - x0) / (x1 - x0) == pytest.approx(4, abs=2e-3)  # one decimal of a pixel
    assert (y0 - y1) / (y0 - y2) == pytest.approx(2, abs=2e-3)
    assert y1 < y0  # up is up


def test_panels_lie_side_by_side_on_one_scale() -> None:
    rows = [(p, x, y) for p, y in (("left", 1.0), ("right", 3.0)) for x in (0, 4)]
    data = pd.DataFrame(rows, columns=["p", "x", "y"]).assign(c="one")
    root = parse(to_svg(small_multiples(data, x="x", y="y", panel="p", color="c", **TEXTS)))
    color = THEMES["light"].colorway[0]
    left, right = (points(line.attrib["d"]) for line in root.findall(
        f".//svg:path[@stroke='{color}'][@stroke-width='2']", NS)[-2:])  # fmt: skip
    assert left[1][0] < right[0][0]
    assert left[1][0] - left[0][0] == pytest.approx(right[1][0] - right[0][0], abs=0.2)
    assert left[0][1] > right[0][1]  # 3 is higher than 1 in whichever panel
    places = {e.text: float(e.attrib["x"]) for e in root.iter(f"{{{NS['svg']}}}text")}
    assert left[0][0] < places["left"] < left[1][0] < right[0][0] < places["right"]


def test_marks_stand_where_they_are_told_and_rows_have_their_own_scales() -> None:
    rows = [(p, x, y) for p, y in (("upper", 1.0), ("lower", 30.0)) for x in (0, 4, 16)]
    data = pd.DataFrame(rows, columns=["p", "x", "y"]).assign(c="one")
    data.loc[data["x"] == 4, "y"] *= 2
    figure = small_multiples(
        data, x="x", y="y", panel="p", color="c", columns=1, own_rows=True,
        marks={0: 1.0, 4: 4.0, 16: 16.0}, **TEXTS,
    )  # fmt: skip
    root = parse(to_svg(figure))
    color = THEMES["light"].colorway[0]
    upper, lower = (points(line.attrib["d"]) for line in root.findall(
        f".//svg:path[@stroke='{color}'][@stroke-width='2']", NS)[-2:])  # fmt: skip
    (x0, _), (x1, _), (x2, _) = upper
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert upper[0][1] - upper[1][1] == pytest.approx(lower[0][1] - lower[1][1], abs=0.2)
    assert upper[0][1] < lower[1][1]
    texts = [e.text for e in root.iter(f"{{{NS['svg']}}}text")]
    assert "0" in texts and "16" in texts and "8" not in texts


def test_a_log_axis_gives_decades_equal_steps() -> None:
    data = pd.DataFrame({"x": [0.1, 1.0, 10.0], "y": [1.0, 2.0, 3.0]})
    root = parse(to_svg(learning_curves(data, x="x", y="y", log_x=True, **TEXTS)))
    line = root.find(f".//svg:path[@stroke='{THEMES['light'].colorway[0]}']", NS)
    assert line is not None
    (x0, _), (x1, _), (x2, _) = points(line.attrib["d"])
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)


def test_bars_stand_on_zero_and_have_their_heights() -> None:
    data = pd.DataFrame({"m": ["a", "b"], "v": [2.0, 1.0]})
    root = parse(to_svg(bars_with_intervals(data, x="m", y="v", **TEXTS)))
    first, second = root.findall(".//svg:rect", NS)
    height = [float(bar.attrib["height"]) for bar in (first, second)]
    foot = [float(bar.attrib["y"]) + h for bar, h in zip((first, second), height, strict=True)]
    assert height[0] / height[1] == pytest.approx(2, abs=2e-3)
    assert foot[0] == pytest.approx(foot[1], abs=0.2)


@pytest.mark.parametrize(("count", "rows"), [(3, 1), (11, 2)])
def test_names_that_would_touch_stand_in_two_rows(count: int, rows: int) -> None:
    names = [f"summarisation {i}" for i in range(count)]
    data = pd.DataFrame({"m": names, "v": 1.0})
    root = parse(to_svg(bars_with_intervals(data, x="m", y="v", **TEXTS)))
    found = {e.text: e.attrib for e in root.iter(f"{{{NS['svg']}}}text") if e.text in names}
    assert len(found) == count
    by_row: dict[str, list[float]] = {}
    for attributes in found.values():
        by_row.setdefault(attributes["y"], []).append(float(attributes["x"]))
    assert len(by_row) == rows
    width = len(names[0]) * 6.5  # of a name in letters of 12 pixels
    assert all(b - a > width for own in by_row.values() for a, b in pairwise(sorted(own)))


def test_names_on_the_vertical_axis_have_room() -> None:
    events = pd.DataFrame({"year": [2001, 2020], "name": ["a" * 20, "b"], "kind": ["f", "p"]})
    root = parse(to_svg(timeline(events, x="year", y="name", color="kind", **TEXTS)))
    label = next(e for e in root.iter(f"{{{NS['svg']}}}text") if e.text == "a" * 20)
    assert label.get("text-anchor") == "end"
    assert float(label.get("x") or 0) >= 20 * 7 + 20


def test_a_table_has_a_cell_for_each_known_value() -> None:
    data = pd.DataFrame({"g": [0, 1, 0], "b": [0, 0, 1], "v": [1.0, 2.0, 3.0]})
    figure = heat(data, x="g", y="b", value="v", value_label="v", **TEXTS)
    root = parse(to_svg(figure))
    assert len(root.findall(".//svg:rect", NS)) == 3
    assert {"1.00", "2.00", "3.00"} <= set(texts(root))


def test_single_runs_have_no_error_bars() -> None:
    data = pd.DataFrame({"kl": [1.0, 2.0], "r": [1.0, 2.0], "beta": [1, 2]})
    root = parse(to_svg(frontier(data, y="r", point="beta", title="t", alt="a", y_label="r")))
    assert not [p for p in root.findall(".//svg:path", NS) if "nan" in p.attrib["d"]]


def test_text_stays_text() -> None:
    data = pd.DataFrame({"x": [1.0, 2.0] * 2, "y": [1.0] * 4, "c": ["<img/>"] * 2 + ["</svg>"] * 2})
    figure = learning_curves(data, x="x", y="y", color="c", **TEXTS | {"x_label": "<b>&"})
    shown = texts(parse(to_svg(figure)))
    assert {"<img/>", "</svg>", "<b>&"} <= set(shown)


def test_file_has_title_background_and_alternative_text(tmp_path: Path) -> None:
    data = pd.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0]})
    path = tmp_path / "figure.svg"
    to_svg(learning_curves(data, x="x", y="y", **TEXTS | {"alt": 'a "quoted" <text>'}), path)
    root = ElementTree.parse(path).getroot()
    assert root.attrib["aria-label"] == 'a "quoted" <text>'
    assert "t" in texts(root)
    assert [p.name for p in tmp_path.iterdir()] == ["figure.svg"]


def test_other_plotly_figures_are_refused() -> None:
    figure = go.Figure(go.Pie(values=[1, 2]))
    with pytest.raises(InputError, match="pie"):
        to_svg(figure)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3.2, 7.9), (0.001, 0.0011), (1e5, 3e6), (-2, -1.99)]
)
def test_linear_ticks_are_even_round_and_inside(low: float, high: float) -> None:
    ticks = linear_ticks(low, high)
    steps = {f"{b - a:.3e}" for a, b in pairwise(ticks)}
    assert len(steps) == 1
    assert steps.pop()[0] in "125"
    assert 3 <= len(ticks) <= 7
    assert low - 1e-9 <= ticks[0] <= ticks[-1] <= high + 1e-9 * abs(high)


def test_log_ticks() -> None:
    assert log_ticks(0.5, 20) == pytest.approx([0.5, 1, 2, 5, 10, 20])
    assert log_ticks(1, 1e5) == pytest.approx([1, 10, 100, 1e3, 1e4, 1e5])
