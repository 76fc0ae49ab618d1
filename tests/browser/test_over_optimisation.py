"""The over-optimisation explorer: fits compared with numpy's least squares, mouse and keyboard."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlhf_lab.widgets import over_optimisation
from rlhf_lab.widgets.files import labels, read_published

pytestmark = pytest.mark.browser

LABELS = labels("over-optimisation")
FIXTURE = Path(__file__).parents[1] / "book/fixture/book/results/over-optimisation.json"
PUBLISHED = read_published(FIXTURE, over_optimisation.FORMAT)
NAMES = {model["id"]: over_optimisation.model_name(LABELS, model) for model in PUBLISHED["models"]}
HOSTILE = "<img src=x onerror=window.ran=1></script><script>window.ran=1</script> [a](javascript:1)"


@pytest.fixture
def explorer(open_explorer: Callable[..., Any]) -> Callable[..., Any]:
    """Open the explorer's page."""
    return functools.partial(open_explorer, "optimise")


def fit(d: np.ndarray, gain: np.ndarray, form: str) -> np.ndarray:
    """a and b of R(d) = d·(a − b·log d), or d·(a − b·d)."""
    bend = np.log(d) if form == "rl" else d
    return np.linalg.lstsq(np.stack([d, -d * bend], 1), gain, rcond=None)[0]


def value(d: float, a: float, b: float, form: str) -> float:
    return d * (a - b * (np.log(d) if form == "rl" else d))


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def readout(page: Any) -> dict[str, str]:
    rows = page.locator(".rl-readout div").all_inner_texts()
    return dict(row.strip().split("\n", 1) for row in rows)


@pytest.mark.parametrize("form", ["rl", "bon"])
def test_fits_are_those_of_least_squares(render: Any, form: str) -> None:
    given = {"data": over_optimisation.data(PUBLISHED), "labels": LABELS, "language": "en"}
    seen = render("over-optimisation", given)
    rng = np.random.default_rng(0)
    d = rng.uniform(0.05, 6, 40)
    gain = value(d, 0.9, 0.3, form) + rng.normal(0, 0.1, 40)
    a, b, peak = seen.page.evaluate(
        """async ([points, form]) => {
          const { fitForm, peakOf } = await import("./over-optimisation.js");
          const fit = fitForm(points, form);
          return [fit.a, fit.b, peakOf(fit, form)];
        }""",
        [np.stack([d, gain], 1).tolist(), form],
    )
    assert [a, b] == pytest.approx(fit(d, gain, form), rel=1e-9)
    fine = np.linspace(0.01, 20, 200_001)
    assert peak == pytest.approx(fine[np.argmax(value(fine, a, b, form))], abs=2e-4)
    few = """async () => {
      const { fitForm, gainAt, peakOf } = await import("./over-optimisation.js");
      return [fitForm([[2, 1]], "rl"), fitForm([[2, 1], [2, 1.5]], "rl"),
              fitForm([[0, 0], [0, 0]], "bon"), gainAt({ a: 1, b: 1 }, "rl", 0),
              peakOf({ a: 1, b: 0 }, "rl"), peakOf({ a: -1, b: 1 }, "bon")];
    }"""
    assert seen.page.evaluate(few) == [None, None, None, 0, None, None]


def test_the_readout_is_that_of_the_points(explorer: Any) -> None:
    """By keyboard: each reward model, both methods, the slider at a place of the test's own."""
    seen = explorer()
    page = seen.page
    stop = page.get_by_role("slider")
    points = over_optimisation.frame(PUBLISHED)
    for model, name in NAMES.items():
        page.get_by_label(name, exact=True).check()
        for method in over_optimisation.METHODS:
            page.get_by_label(LABELS[f"method_{method}"], exact=True).check()
            stop.focus()
            page.keyboard.press("Home")
            for _ in range(9):
                page.keyboard.press("ArrowRight")
            own = points[(points["model"] == model) & (points["method"] == method)]
            shown = readout(page)
            for score in ("proxy", "gold"):
                a, b = fit(own["root"].to_numpy(), own[score].to_numpy(), method)
                expected = value(0.45, a, b, method)
                assert number(shown[LABELS[f"read_{score}"]]) == pytest.approx(expected, abs=0.006)
            spoken = stop.get_attribute("aria-valuetext")
            assert spoken.startswith("√KL 0.45, 0.2 nats: the reward model says ")
            assert shown[LABELS["read_gold"]] in spoken
            assert float(stop.get_attribute("max")) == pytest.approx(
                own["root"].max() * 1.02, abs=over_optimisation.STEP
            )
    assert not seen.errors
    assert not seen.foreign


def test_the_sentence_follows_the_slider(render: Any) -> None:
    """Points that lie on a form exactly: rising, falling, lost; and one that only falls."""
    made = copy.deepcopy(PUBLISHED)
    for i, point in enumerate(made["points"]):
        d = 0.5 + 0.4 * (i % 9)
        point["kl"] = d * d
        point["gold"] = value(d, 1.0, 0.9, "rl") if point["model"] == 0 else -0.3 * d
        point["proxy"] = value(d, 1.0, 0.1, "rl")
    given = {"data": over_optimisation.data(made), "labels": LABELS, "language": "en"}
    page = render("over-optimisation", given).page
    page.get_by_label(LABELS["method_rl"], exact=True).check()
    peak = np.exp(1 / 0.9 - 1)
    assert f"√KL {peak:.2f}" in readout(page)[LABELS["read_peak"]]
    stop = page.get_by_role("slider")

    def said(finding: str, at: float, gold: float) -> str:
        proxy = value(at, 1.0, 0.1, "rl")
        return LABELS[finding].format(
            gold=f"{gold:+.2f}".replace("-", "−"), proxy=f"{proxy:+.2f}", peak=f"{peak:.2f}"
        )

    for at, expected in ((1.0, "finding_early"), (2.0, "finding_late"), (3.5, "finding_lost")):
        stop.fill(str(at))
        text = said(expected, at, value(at, 1.0, 0.9, "rl"))
        assert page.locator(".rl-verdict").inner_text() == text
    page.get_by_label(list(NAMES.values())[1], exact=True).check()
    assert page.locator(".rl-verdict").inner_text() == said("finding_falling", 3.5, -0.3 * 3.5)


def test_by_mouse_on_the_drawing(explorer: Any) -> None:
    seen = explorer()
    page = seen.page
    stop = page.get_by_role("slider")
    chart = page.locator(".rl-chart").bounding_box()
    middle = chart["y"] + 80
    page.mouse.click(chart["x"] + chart["width"] - 14, middle)
    assert float(stop.input_value()) == pytest.approx(float(stop.get_attribute("max")))
    page.mouse.down()
    page.mouse.move(chart["x"] - 30, middle, steps=3)
    page.mouse.up()
    assert stop.input_value() == "0"
    assert not seen.errors


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 320)])
def test_no_finding_and_no_sideways_scroll(
    explorer: Any, audit: Any, scheme: str, width: int
) -> None:
    seen = explorer(scheme=scheme, width=width, bypass_csp=True)
    seen.page.locator("rlhf-explorer summary").click()
    audit(seen, width)


def test_texts_stay_text(render: Any) -> None:
    hostile = {name: f"{HOSTILE} {text}" for name, text in LABELS.items()}
    given = {"data": over_optimisation.data(PUBLISHED), "labels": hostile, "language": "en"}
    seen = render("over-optimisation", given)
    seen.page.locator("summary").click()
    seen.page.locator("tbody tr").first.wait_for()
    assert seen.page.locator("#root :is(img, script, iframe, a:not([download]))").count() == 0
    assert seen.page.evaluate("window.ran") is None
    assert not seen.errors


def test_the_widget_in_a_notebook(notebook: Any) -> None:
    seen = notebook("over-optimisation", over_optimisation.data(PUBLISHED), LABELS)
    page = seen.page
    page.get_by_label(NAMES["one layer"], exact=True).check()
    assert page.evaluate("kernel.values.model") == "one layer"
    page.evaluate("kernel.set('stop', 0.1)")
    assert page.get_by_role("slider").input_value() == "0.1"
    assert page.evaluate("window.reachedJupyter") == 0
    assert not seen.errors


def test_the_still_drawing_has_the_means() -> None:
    figure = over_optimisation.still(LABELS, over_optimisation.data(PUBLISHED))
    records = figure.layout.meta["data"]
    known = {name: place for place, name in enumerate(NAMES.values())}
    for record in records:
        own = [
            point["gold"]
            for point in PUBLISHED["points"]
            if point["method"] == "rl"
            and point["model"] == known[record["line"]]
            and point["at"] == record["at"]
        ]
        assert record[LABELS["m_gold"]] == pytest.approx(np.mean(own))
    assert len(records) == sum(p["method"] == "rl" for p in PUBLISHED["points"]) // 3
    assert re.search(r"lies at √KL = [\d.]+, by .+\.$", figure.layout.meta["alt"])
