"""The explorers as readers use them: by mouse, by keyboard, on a phone, without scripts.

Numbers are compared with `rlhf_lab.objectives`. The page is that of the small book, so that its
policy, its theme and its scripts are the real ones; hostile texts get a page of their own.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rlhf_lab.objectives import ppo_policy_loss
from rlhf_lab.widgets import ppo_clip
from rlhf_lab.widgets.files import labels

pytestmark = pytest.mark.browser

RATIO, ADVANTAGE, EPSILON = range(3)  # the sliders, from top to bottom
GOOD_ABOVE = labels("ppo-clip")["verdict_good_above"]


@pytest.fixture
def explorer(open_explorer: Callable[..., Any]) -> Callable[..., Any]:
    """Open the explorer's page and wait until the drawing answers."""
    return functools.partial(open_explorer, "explorer")


def shown(page: Any) -> dict[str, float]:
    """The readout: name to number."""
    rows = page.locator(".rl-readout div").all_inner_texts()
    pairs = (row.rsplit("\n", 1) for row in rows)
    return {name.strip(): float(value.replace("−", "-")) for name, value in pairs}


def verdict(page: Any) -> str:
    return str(page.locator(".rl-verdict").inner_text())


# --- the same numbers -------------------------------------------------------------------------


def test_values_and_gradients_are_those_of_the_package(explorer: Any) -> None:
    """On a grid that has both signs, zero, and points on both sides of every kink."""
    ratios = [0.01, 0.3, 0.5001, 0.799, 0.8001, 1.0, 1.1999, 1.201, 1.5, 2.0]
    grid = torch.cartesian_prod(
        torch.tensor(ratios, dtype=torch.float64),
        torch.tensor([0.05, 0.2, 0.5], dtype=torch.float64),
        torch.tensor([-2.0, -0.7, 0.0, 0.1, 1.0], dtype=torch.float64),
    )
    seen = explorer()
    found = seen.page.evaluate(
        """async (rows) => {
          const { clipObjective } = await import("../_static/components/ppo-clip.js");
          return rows.map(([ratio, epsilon, advantage]) => {
            const at = clipObjective({ ratio, epsilon, advantage });
            return [at.value, at.gradient, Number(at.isClipped)];
          });
        }""",
        grid.tolist(),
    )
    for (ratio, epsilon, advantage), row in zip(grid, found, strict=True):
        logp = ratio.log().reshape(1, 1).requires_grad_()
        one = torch.ones_like(logp)
        loss, stats = ppo_policy_loss(logp, 0 * one, advantage * one, one, clip=epsilon.item())
        (gradient,) = torch.autograd.grad(loss, logp)
        expected = [-loss.item(), -gradient.item(), stats["clipfrac"].item()]
        assert row == pytest.approx(expected, abs=1e-9), (ratio, epsilon, advantage)


def test_the_table_on_demand_has_the_packages_numbers(explorer: Any) -> None:
    page = explorer().page
    table = page.locator("rlhf-explorer table")
    assert table.locator("tbody tr").count() == 0
    page.locator("rlhf-explorer summary").click()
    page.locator("rlhf-explorer input").nth(ADVANTAGE).fill("-1.5")
    table.locator("tbody tr").last.wait_for()
    rows = [row.split("\t") for row in table.locator("tbody tr").all_inner_texts()]
    assert len(rows) == 20
    for row in rows:
        ratio, _, _, value, _ = (float(cell.replace("−", "-")) for cell in row)
        expected = ppo_clip.objective(ratio=ratio, epsilon=0.2, advantage=-1.5)
        assert value == pytest.approx(expected, abs=5.1e-4)  # three decimals


# --- mouse and keyboard -----------------------------------------------------------------------


def test_by_keyboard(explorer: Any) -> None:
    seen = explorer()
    page = seen.page
    assert verdict(page) == GOOD_ABOVE
    sliders = page.get_by_role("slider")
    assert sliders.count() == 3
    sliders.nth(RATIO).focus()
    page.keyboard.press("Home")
    assert shown(page)["objective L, the smaller of both"] == 0.01
    for _ in range(98):
        page.keyboard.press("ArrowRight")
    assert shown(page)["gradient of L by log π"] == 0.99
    assert sliders.nth(RATIO).get_attribute("aria-valuetext") == (
        "ratio 0.99; objective +0.990; gradient +0.990"
    )
    page.keyboard.press("Tab")
    page.keyboard.press("Home")  # advantage −2
    assert shown(page)["gradient of L by log π"] == -1.98
    page.keyboard.press("Tab")
    page.keyboard.press("End")  # ε 0.5
    spoken = sliders.nth(EPSILON).get_attribute("aria-valuetext")
    assert spoken == "ε 0.50: from 0.50 to 1.50; gradient −1.980"
    assert page.get_by_role("img").last.get_attribute("aria-label").startswith("Objective over")
    assert not seen.errors
    assert not seen.foreign


def test_each_region_has_its_sentence(explorer: Any) -> None:
    page = explorer().page
    sliders = page.get_by_role("slider")
    said = {}
    for advantage, sign in ((1, "good"), (-1, "bad")):
        for ratio, place in ((0.5, "below"), (1, "inside"), (1.5, "above")):
            sliders.nth(ADVANTAGE).fill(str(advantage))
            sliders.nth(RATIO).fill(str(ratio))
            said[f"verdict_{sign}_{place}"] = verdict(page)
            hollow = page.locator(".rl-point-hollow").count() == 1
            assert hollow == (page.locator(".rl-arrow").count() == 0)
            assert hollow == ((sign, place) in (("good", "above"), ("bad", "below")))
    sliders.nth(ADVANTAGE).fill("0")
    said["verdict_nothing"] = verdict(page)
    catalogue = labels("ppo-clip")
    assert said == {name: catalogue[name] for name in said}
    assert len(set(said.values())) == 7


def test_by_mouse_on_the_drawing(explorer: Any) -> None:
    seen = explorer()
    page = seen.page
    chart = page.locator(".rl-chart").bounding_box()
    middle = chart["y"] + chart["height"] / 2
    page.mouse.click(chart["x"] + chart["width"] - 14, middle)
    assert page.get_by_role("slider").nth(RATIO).input_value() == "2"
    page.mouse.move(chart["x"] + chart["width"] - 40, middle)
    assert page.get_by_role("slider").nth(RATIO).input_value() == "2"  # not held
    page.mouse.down()
    page.mouse.move(chart["x"] - 30, middle, steps=4)
    page.mouse.up()
    assert page.get_by_role("slider").nth(RATIO).input_value() == "0.01"
    assert shown(page)["plain term ρ·A"] == 0.01
    slider = page.get_by_role("slider").nth(EPSILON).bounding_box()
    page.mouse.click(slider["x"] + slider["width"] - 2, slider["y"] + slider["height"] / 2)
    assert page.get_by_role("slider").nth(EPSILON).input_value() == "0.5"
    assert not seen.errors


def test_the_first_reaction_is_measured(explorer: Any, first_reaction: Any) -> None:
    page = explorer().page
    page.get_by_role("slider").nth(RATIO).focus()
    press = functools.partial(page.keyboard.press, "ArrowRight")
    first_reaction(page, "rlhf-explorer input", "keydown", press)
    assert page.get_by_role("slider").nth(RATIO).input_value() == "1.36"


# --- every reader -----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_finding_and_no_sideways_scroll(
    explorer: Any, audit: Any, scheme: str, width: int
) -> None:
    # axe is put in by the test, not by the page: the page's policy must not stop it.
    seen = explorer(scheme=scheme, width=width, bypass_csp=True)
    page = seen.page
    page.locator("rlhf-explorer summary").click()
    assert (
        page.locator(".rl-chart text").first.evaluate("e => e.getBoundingClientRect().height") > 9
    )
    audit(seen, width)


def test_colours_follow_the_theme(explorer: Any) -> None:
    page = explorer().page
    stroke = "e => getComputedStyle(e).stroke"
    line = page.locator(".rl-chart .rl-line-value")
    assert line.evaluate(stroke) == "rgb(0, 114, 178)"
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert line.evaluate(stroke) == "rgb(86, 180, 233)"


def test_without_scripts_the_still_drawing_and_a_sentence(small_address: str, visit: Any) -> None:
    seen = visit(f"{small_address}/book/explorer.html", java_script_enabled=False)
    assert seen.page.locator(".rl-still svg").bounding_box()["height"] > 200
    missed = seen.page.locator("rlhf-explorer .rl-missed")
    assert missed.is_visible()
    assert missed.inner_text() == labels("ppo-clip")["still"]
    seen.page.locator("rlhf-explorer summary").click()
    assert seen.page.locator("rlhf-explorer tbody tr").count() == 120
    assert seen.page.locator("rlhf-explorer input").count() == 0


def test_from_disk_the_still_drawing_and_a_sentence(small_site: Path, visit: Any) -> None:
    seen = visit(f"file://{small_site}/book/explorer.html")
    seen.page.locator("rlhf-explorer").scroll_into_view_if_needed()
    seen.page.locator("rlhf-explorer .rl-unseen").wait_for(state="visible")
    assert seen.page.locator(".rl-still svg").is_visible()
    assert not seen.errors


def test_a_module_that_does_not_come(small_site: Path, visit: Any, serve_folder: Any) -> None:
    """Half a site on the server: the still drawing stays, with the sentence."""
    broken = small_site.parent / "broken"
    shutil.copytree(small_site, broken, dirs_exist_ok=True)
    (broken / "_static" / "components" / "ppo-clip.js").unlink(missing_ok=True)
    seen = visit(f"{serve_folder(broken)}/book/explorer.html")
    seen.page.locator("rlhf-explorer .rl-unseen").wait_for(state="visible")
    assert seen.page.locator(".rl-still svg").is_visible()


def test_nothing_is_fetched_before_the_reader_comes_near(small_address: str, visit: Any) -> None:
    page = visit(f"{small_address}/book/index.html").page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[-1]))
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => {"
        " document.querySelector('rlhf-explorer').style.marginTop = '3000px'; });"
    )
    page.goto(f"{small_address}/book/explorer.html", wait_until="networkidle")
    assert "element.js" in asked
    assert "ppo-clip.js" not in asked
    page.locator("rlhf-explorer").scroll_into_view_if_needed()
    page.wait_for_selector("rlhf-explorer[data-ready]")
    assert "ppo-clip.js" in asked


# --- hostile texts; the notebook's host -------------------------------------------------------

HOSTILE = "<img src=x onerror=window.ran=1></script><script>window.ran=1</script> [a](javascript:1)"


def test_labels_and_data_stay_text(render: Any) -> None:
    hostile = {name: f"{name} {HOSTILE} {{value}}" for name in labels("ppo-clip")}
    given = {"data": ppo_clip.data(), "labels": hostile, "language": "en"}
    seen = render("ppo-clip", given)
    seen.page.locator("summary").click()
    seen.page.locator("tbody tr").first.wait_for()
    seen.page.locator("input").first.fill("0.5")
    assert seen.page.locator("img, script, a:not([download]), #root iframe").count() == 0
    assert HOSTILE in seen.page.locator(".rl-verdict").inner_text()
    assert seen.page.evaluate("window.ran") is None
    assert not seen.errors


def test_the_widget_in_a_notebook(notebook: Any) -> None:
    """Both directions."""
    seen = notebook("ppo-clip", ppo_clip.data(epsilon=0.1), labels("ppo-clip"))
    page = seen.page
    sliders = page.get_by_role("slider")
    assert sliders.nth(EPSILON).input_value() == "0.1"
    sliders.nth(RATIO).focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("[kernel.values.ratio, kernel.model.saved]") == [1.34, 1]
    assert page.evaluate("window.reachedJupyter") == 0
    page.evaluate("kernel.set('advantage', -0.5)")
    assert sliders.nth(ADVANTAGE).input_value() == "-0.5"
    assert shown(page)["objective L, the smaller of both"] == -0.67
    assert page.evaluate("kernel.model.saved") == 1  # what the kernel said is not said back
    page.evaluate("window.remove()")
    assert page.evaluate("kernel.listening()") == 0
    assert not seen.errors
