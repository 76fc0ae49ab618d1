"""The β×γ explorer as readers use it: by mouse, by keyboard, on a phone, in a notebook.

Its sweep is a small real one (tests/book/make_sweep.py). What the page computes, means over seeds,
intervals and changes since SFT, is computed here again with pandas and scipy.
"""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rlhf_lab.figures import mean_interval
from rlhf_lab.widgets import beta_gamma
from rlhf_lab.widgets.files import labels
from rlhf_lab.widgets.sweep_data import MEASURES, read_sweep

pytestmark = pytest.mark.browser

LABELS = labels("beta-gamma")
FIXTURE = Path(__file__).parents[1] / "book/fixture/book/results/sweep"
PUBLISHED = read_sweep(FIXTURE)
RUNS = pd.read_csv(FIXTURE / "runs.csv")
BETA, GAMMA = range(2)  # the sliders, from top to bottom
TAXES = (((0.1, 0.11, 0.1), "finding_taxed"), ((0.1, -0.1, 0.0), "finding_untaxed"))


@pytest.fixture
def explorer(open_explorer: Callable[..., Any]) -> Callable[..., Any]:
    """Open the explorer's page."""
    return functools.partial(open_explorer, "sweep")


def number(text: str) -> float:
    return float(text.replace("−", "-").replace("\u202f%", "").replace("+", ""))


def tiles(page: Any) -> dict[str, tuple[str, str]]:
    """The six numbers: name to value and remark."""
    rows = page.locator(".rl-tiles > div").all_inner_texts()
    return {name: (value, remark) for name, value, remark in (row.split("\n") for row in rows)}


def weights(page: Any) -> tuple[float, float]:
    """β and γ beside the sliders."""
    shown = page.locator(".rl-stop-slider output").all_inner_texts()
    return float(shown[BETA]), float(shown[GAMMA])


def cell(beta: float, gamma: float, name: str) -> np.ndarray:
    """End values of a cell, in the order of the seeds."""
    rows = RUNS[(RUNS["policy"] == "ppo") & (RUNS["beta"] == beta) & (RUNS["gamma"] == gamma)]
    rows = rows.sort_values("seed")
    if name == "suites":
        suites = [column for column in RUNS.columns if column.startswith("suite/")]
        return 100 * rows[suites].mean(axis=1).to_numpy()
    return rows[name].to_numpy()


def before(name: str) -> np.ndarray:
    """The same of the SFT policies."""
    rows = RUNS[RUNS["policy"] == "sft"].sort_values("seed")
    if name == "suites":
        suites = [column for column in RUNS.columns if column.startswith("suite/")]
        return 100 * rows[suites].mean(axis=1).to_numpy()
    return rows[name].to_numpy()


def go(page: Any, beta: int, gamma: int) -> None:
    """Move both sliders to a stop by keyboard."""
    for slider, stop in ((BETA, beta), (GAMMA, gamma)):
        page.get_by_role("slider").nth(slider).focus()
        page.keyboard.press("Home")
        for _ in range(stop):
            page.keyboard.press("ArrowRight")


# --- the same numbers -------------------------------------------------------------------------


def test_intervals_are_those_of_the_figures(render: Any) -> None:
    seen = render("beta-gamma", {"data": beta_gamma.data(PUBLISHED), "labels": LABELS})
    samples = [[1.0], [1.0, 2.5], [0.1, 0.2, 0.4, -3.0], [*np.linspace(-1, 2, 12)], [*range(40)]]
    found = seen.page.evaluate(
        """async (samples) => {
          const { meanInterval, studentT } = await import("./sweep-data.js");
          const bounds = samples.map(meanInterval).map(({ mean, low, high }) => [mean, low, high]);
          return [bounds, Array.from({ length: 60 }, (_, i) => studentT(i + 1))];
        }""",
        samples,
    )
    for sample, ours in zip(samples, found[0], strict=True):
        expected = mean_interval(sample)
        assert np.array(ours, dtype=float) == pytest.approx(expected, rel=1e-3, nan_ok=True)
    assert found[1] == pytest.approx(stats.t.ppf(0.975, np.arange(1, 61)), rel=4e-4)


@pytest.mark.parametrize("stops", [(0, 0), (1, 1), (2, 0)])
def test_tiles_are_means_over_seeds_and_changes_since_sft(explorer: Any, stops: Any) -> None:
    page = explorer().page
    go(page, *stops)
    beta, gamma = weights(page)
    assert (beta, gamma) == ((0.0, 0.02, 0.3)[stops[0]], (0.0, 1.0)[stops[1]])
    shown = tiles(page)
    for name in MEASURES:
        value, remark = shown[LABELS[f"t_{name}"]]
        ours = cell(beta, gamma, name)
        if np.isnan(ours).all():
            assert value == "–"
            assert gamma == 0
            continue
        mean, low, _ = mean_interval(ours)
        digits = {"kl": 1, "loss": 3, "suites": 0}.get(name, 2)
        half = 0.6 * 10**-digits
        text, spread = value.split(" ± ")
        assert number(text) == pytest.approx(mean, abs=half)
        rounding = 6.4e-4 * np.abs(ours).max()  # published to five digits; t is 12.7 for two seeds
        assert number(spread) == pytest.approx(mean - low, abs=half + rounding)
        if name in ("gold", "rm_score", "loss", "suites"):
            moved = float((ours - before(name)).mean())
            assert number(remark.removeprefix("vs SFT ")) == pytest.approx(moved, abs=half)


def test_the_sentence_follows_the_numbers(render: Any) -> None:
    """Each finding from runs that call for it."""
    seen = render("beta-gamma", {"data": beta_gamma.data(PUBLISHED), "labels": LABELS})
    cases = {
        "finding_gain": ((0.5, 0.6, 0.4), (1.0, 1.1, 0.9)),
        "finding_fooled": ((-0.5, -0.6, -0.4), (1.0, 1.1, 0.9)),
        "finding_loss": ((-0.5, -0.6, -0.4), (-1.0, -1.1, -0.9)),
        "finding_unclear": ((-0.5, 0.6, 0.1), (1.0, 1.1, 0.9)),
    }
    for expected, (gold, proxy) in cases.items():
        for loss, tax in (
            ((0.1, 0.11, 0.1), "finding_taxed"),
            ((0.1, -0.1, 0.0), "finding_untaxed"),
        ):
            found = seen.page.evaluate(
                """async (changes) => {
                  const { findings } = await import("./beta-gamma.js");
                  const { meanInterval } = await import("./sweep-data.js");
                  return findings({ change: (name) => meanInterval(changes[name]) });
                }""",
                {"gold": gold, "rm_score": proxy, "loss": loss},
            )
            assert found == [expected, tax]
    none = "async () => (await import('./beta-gamma.js')).findings(undefined)"
    assert seen.page.evaluate(none) == ["finding_none"]


def test_the_drawing_stands_at_the_numbers(explorer: Any) -> None:
    """Points of the frontier lie as their means do: along y affinely, along x by the root of KL."""
    page = explorer().page
    page.locator(".rl-area-view .rl-faint-dot").first.wait_for()
    found = page.locator(".rl-area-view .rl-faint-dot").evaluate_all(
        "(nodes) => nodes.map((n) => [Number(n.getAttribute('cx')), Number(n.getAttribute('cy'))])"
    )
    pairs = [(beta, gamma) for beta in (0.0, 0.02, 0.3) for gamma in (0.0, 1.0)]
    for panel, name in enumerate(("gold", "rm_score")):
        points = np.array(found[6 * panel : 6 * panel + 6])
        kl = [max(cell(*pair, "kl").mean(), 0) ** 0.5 for pair in pairs]
        value = [cell(*pair, name).mean() for pair in pairs]
        for axis, numbers, sign in ((0, kl, 1), (1, value, -1)):
            slope, height = np.polyfit(numbers, points[:, axis], 1)
            assert np.sign(slope) == sign
            assert np.polyval((slope, height), numbers) == pytest.approx(points[:, axis], abs=0.3)


def test_the_curves_stand_at_the_means(explorer: Any) -> None:
    page = explorer().page
    page.get_by_label(LABELS["view_steps"], exact=True).check()
    go(page, 1, 1)
    runs = [run for run in PUBLISHED["runs"] if (run["beta"], run["gamma"]) == (0.02, 1.0)]
    drawn = page.locator(".rl-area-view .rl-turn-beta").evaluate_all(
        "(nodes) => nodes.map((node) => node.getAttribute('d'))"
    )
    assert len(drawn) == len(MEASURES)
    for name, path in zip(MEASURES, drawn, strict=True):
        points = np.array([[float(x) for x in p.split()] for p in path[1:].split("L")])
        curves = [run["curves"][PUBLISHED["curves"].index(name)] for run in runs]
        if curves[0] is None:
            assert len(points) == 2  # measured at both ends only
            continue
        means = np.mean(curves, axis=0)
        numbers = np.sqrt(np.maximum(means, 0)) if name in ("kl", "gradient_ratio") else means
        slope, height = np.polyfit(numbers, points[:, 1], 1)
        assert slope < 0
        assert np.polyval((slope, height), numbers) == pytest.approx(points[:, 1], abs=0.3)
    go(page, 1, 0)
    assert page.locator(".rl-area-view").get_by_text(LABELS["no_ptx"]).is_visible()


def test_the_tax_and_the_table(explorer: Any) -> None:
    page = explorer().page
    page.get_by_label(LABELS["view_tax"], exact=True).check()
    go(page, 0, 0)
    suites = [name for name in RUNS.columns if name.startswith("suite/")]
    spoken = page.locator(".rl-area-view .rl-chart").get_attribute("aria-label")
    for suite in suites:
        now, sft = (100 * values.mean() for values in (cell(0, 0, suite), before(suite)))
        name = re.escape(suite.split("/")[1])
        found = re.search(rf"{name}[^;]*? (\d+)\u202f%, SFT (\d+)\u202f%", spoken)
        assert found is not None
        assert [int(text) for text in found.groups()] == pytest.approx([now, sft], abs=0.6)
    page.locator("rlhf-explorer summary").click()
    rows = page.locator("rlhf-explorer tbody tr")
    rows.first.wait_for()
    table = [row.split("\t") for row in rows.all_inner_texts()]
    assert [row[:3] for row in table] == [
        [beta, gamma, "2"] for beta in ("0", "0.02", "0.3") for gamma in ("0", "1")
    ]
    for row in table:
        gold = number(row[3].split(" ± ")[0])
        expected = cell(float(row[0]), float(row[1]), "gold").mean()
        assert gold == pytest.approx(expected, abs=0.006)


def test_answers_are_those_of_the_cell(explorer: Any) -> None:
    seen = explorer()
    page = seen.page
    page.get_by_label(LABELS["view_answers"], exact=True).check()
    samples = json.loads((FIXTURE / "samples.json").read_text())
    prompts = list(dict.fromkeys(sample["prompt"] for sample in samples))
    page.get_by_role("combobox", name=LABELS["prompt"]).select_option("1")
    page.get_by_role("combobox", name=LABELS["seed"]).select_option("1")
    for stops, weights_ in (((0, 0), (0.0, 0.0)), ((2, 1), (0.3, 1.0))):
        go(page, *stops)
        own = [s for s in samples if s["prompt"] == prompts[1] and s["seed"] == 1]
        sft = next(s for s in own if s["policy"] == "sft")
        ppo = next(s for s in own if (s["beta"], s["gamma"]) == weights_)
        texts = page.locator(".rl-said .rl-text").all_inner_texts()
        expected = [s["completion"] or LABELS["empty_answer"] for s in (sft, ppo)]
        assert [text.strip() for text in texts] == [text.strip() for text in expected]
        marks = page.locator(".rl-said-chosen .rl-small").inner_text()
        gold, score = re.findall(r"[−\d.]+", marks)
        assert [number(gold), number(score)] == pytest.approx(
            [ppo["gold"], ppo["rm_score"]], abs=0.0051
        )
    assert not seen.errors


# --- mouse and keyboard -----------------------------------------------------------------------


def test_by_keyboard_alone(explorer: Any) -> None:
    """Only published stops, zero among them; each says what it shows."""
    seen = explorer()
    page = seen.page
    beta = page.get_by_role("slider", name=LABELS["beta"])
    gamma = page.get_by_role("slider", name=LABELS["gamma"])
    beta.focus()
    page.keyboard.press("Home")
    visited = [weights(page)[BETA]]
    for key in ("ArrowRight", "ArrowUp", "PageUp", "ArrowLeft", "PageDown", "End", "ArrowDown"):
        page.keyboard.press(key)
        visited.append(weights(page)[BETA])
    assert visited == [0, 0.02, 0.3, 0.3, 0.02, 0, 0.3, 0.02]
    page.keyboard.press("Tab")
    assert gamma.evaluate("(node) => node === document.activeElement")
    page.keyboard.press("Home")
    assert weights(page) == (0.02, 0)
    page.keyboard.press("End")
    assert weights(page) == (0.02, 1)
    gold, kl = cell(0.02, 1, "gold").mean(), cell(0.02, 1, "kl").mean()
    spoken = gamma.get_attribute("aria-valuetext")
    assert spoken.startswith(f"γ 1: gold {gold:.2f}, reward model ".replace("-", "−"))
    assert f"KL {kl:.1f} nats" in spoken
    page.keyboard.press("Tab")  # the views: one stop of the tabulator
    page.keyboard.press("ArrowRight")
    assert page.get_by_label(LABELS["view_steps"], exact=True).is_checked()
    assert not seen.errors
    assert not seen.foreign


def test_small_steps_of_assistive_technology_reach_the_next_stop(explorer: Any) -> None:
    page = explorer().page
    go(page, 0, 0)
    nudge = """(node, by) => {
      node.value = String(node.valueAsNumber + by);
      node.dispatchEvent(new Event("input", { bubbles: true }));
    }"""
    slider = page.get_by_role("slider").nth(BETA)
    for by, expected in ((50, 0.02), (50, 0.3), (50, 0.3), (-50, 0.02)):
        slider.evaluate(nudge, by)
        assert weights(page)[BETA] == expected


def test_by_mouse(explorer: Any) -> None:
    seen = explorer()
    page = seen.page
    go(page, 1, 1)
    slider = page.get_by_role("slider").nth(BETA).bounding_box()
    middle = slider["y"] + slider["height"] / 2
    page.mouse.click(slider["x"] + slider["width"] - 3, middle)
    assert weights(page) == (0.3, 1)
    # Dragged past the other stops: it stops at each of them, and nowhere else.
    page.mouse.move(slider["x"] + slider["width"] - 9, middle)
    page.mouse.down()
    visited = []
    for share in (0.95, 0.8, 0.6, 0.45, 0.3, 0.1, 0.0):
        page.mouse.move(slider["x"] + slider["width"] * share, middle)
        visited.append(weights(page)[BETA])
    page.mouse.up()
    assert visited[0] == 0.3
    assert visited[-1] == 0
    assert 0.02 in visited
    assert visited == sorted(visited, reverse=True)
    # A stop's number, a cell of the map, and a point of the frontier choose as well.
    page.locator(".rl-slider-gamma .rl-stops span").first.click()
    assert weights(page) == (0, 0)
    cells = page.locator(".rl-area-map .rl-cell")
    cells.nth(5).click()
    assert weights(page) == (0.3, 1)
    page.locator(".rl-area-view .rl-faint-dot").nth(2).click(force=True)
    assert weights(page) in [(0.02, 0), (0.3, 1)]  # or what lies nearer to its middle
    assert not seen.errors


def test_the_map_shows_the_chosen_measure(explorer: Any) -> None:
    page = explorer().page
    page.get_by_role("combobox", name=LABELS["map"]).select_option(label=LABELS["m_loss"])
    texts = page.locator(".rl-area-map svg g").first.locator("text").all_text_contents()
    shown = [text.rstrip("★") for text in texts][-6:]
    pairs = [(beta, gamma) for beta in (0.0, 0.02, 0.3) for gamma in (0.0, 1.0)]
    assert [number(text) for text in shown] == pytest.approx(
        [cell(*pair, "loss").mean() for pair in pairs], abs=0.051
    )
    classes = page.locator(".rl-area-map .rl-cell").evaluate_all(
        "(nodes) => nodes.map((node) => node.classList.contains('rl-above'))"
    )
    sft = before("loss").mean()
    assert classes == [cell(*pair, "loss").mean() >= sft for pair in pairs]
    page.get_by_role("combobox", name=LABELS["map"]).select_option(label=LABELS["m_gold"])
    marked = page.locator(".rl-area-map text", has_text="★")
    assert marked.count() == 1
    best = max(pairs, key=lambda pair: cell(*pair, "gold").mean())
    assert number(marked.text_content().rstrip("★")) == pytest.approx(
        cell(*best, "gold").mean(), abs=0.051
    )


def test_the_first_reaction_is_measured(explorer: Any, first_reaction: Any) -> None:
    page = explorer().page
    go(page, 0, 0)
    press = functools.partial(page.keyboard.press, "End")
    first_reaction(page, ".rl-slider-gamma input", "keydown", press)
    assert weights(page) == (0, 1)


# --- every reader -----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_finding_and_no_sideways_scroll(
    explorer: Any, audit: Any, scheme: str, width: int
) -> None:
    seen = explorer(scheme=scheme, width=width, bypass_csp=True)
    seen.page.locator("rlhf-explorer summary").click()
    audit(seen, width)


@pytest.mark.parametrize("view", ["steps", "tax", "answers"])
def test_no_finding_in_any_view_at_320(explorer: Any, audit: Any, view: str) -> None:
    seen = explorer(width=320, bypass_csp=True)
    seen.page.get_by_label(LABELS[f"view_{view}"], exact=True).check()
    audit(seen, 320)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (360, 740)])
def test_the_answer_is_in_sight_beside_the_sliders(explorer: Any, width: int, height: int) -> None:
    """With the sliders on top of the window: numbers, sentence, and the first panel whole."""
    page = explorer(width=width).page
    page.set_viewport_size({"width": width, "height": height})
    page.locator(".rl-area-sliders").evaluate("(node) => node.scrollIntoView()")
    top = page.locator(".rl-area-sliders").bounding_box()["y"]
    for part in (".rl-area-numbers", ".rl-area-sentence", ".rl-area-view .rl-choices"):
        box = page.locator(part).bounding_box()
        assert box["y"] + box["height"] - top <= height
    chart = page.locator(".rl-area-view .rl-chart").bounding_box()
    assert chart["y"] + chart["height"] / 2 - top <= height


def test_the_data_come_with_the_drawing(small_site: Path, small_address: str, visit: Any) -> None:
    """In a file of their own, when the reader comes near; links lead to the sweep's tables."""
    page = visit(f"{small_address}/book/index.html").page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[-1]))
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => {"
        " document.querySelector('rlhf-explorer').style.marginTop = '3000px'; });"
    )
    page.goto(f"{small_address}/book/sweep.html", wait_until="networkidle")
    assert not {"beta-gamma.js", "sweep.json"} & set(asked)
    page.locator("rlhf-explorer").scroll_into_view_if_needed()
    page.wait_for_selector("rlhf-explorer[data-ready]")
    assert {"beta-gamma.js", "sweep.json"} <= set(asked)
    for name in ("manifest.json", "runs.csv", "curves.csv"):
        link = page.locator(f".rl-files a[href$='{name}']")
        address = link.evaluate("(node) => node.href")
        assert page.request.get(address).body() == (FIXTURE / name).read_bytes()
    # Nothing of the sweep is in the page itself.
    text = (small_site / "book/sweep.html").read_text(encoding="utf-8")
    block = text.split('<script type="application/json">')[1].split("</script>")[0]
    assert set(json.loads(block)["data"]) == {"state", "links"}


def test_without_scripts_the_still_drawing_and_a_sentence(small_address: str, visit: Any) -> None:
    page = visit(f"{small_address}/book/sweep.html", java_script_enabled=False).page
    assert page.locator(".rl-still svg").bounding_box()["height"] > 200
    assert page.locator("rlhf-explorer .rl-missed").inner_text() == LABELS["still"]
    page.locator("rlhf-explorer summary").click()
    assert page.locator("rlhf-explorer tbody tr").count() == 6
    assert "Highest gold score" in page.locator("figcaption").inner_text()


def test_data_that_do_not_come(small_site: Path, visit: Any, serve_folder: Any) -> None:
    """The still drawing stays, with the sentence."""
    import shutil

    broken = small_site.parent / "broken-sweep"
    shutil.copytree(small_site, broken, dirs_exist_ok=True)
    for path in (broken / "_static" / "results").rglob("sweep.json"):
        path.unlink()
    seen = visit(f"{serve_folder(broken)}/book/sweep.html")
    seen.page.locator("rlhf-explorer").scroll_into_view_if_needed()
    seen.page.locator("rlhf-explorer .rl-unseen").wait_for(state="visible")
    assert seen.page.locator(".rl-still svg").is_visible()


# --- hostile texts; pairs without a run; the notebook's host ------------------------------------

HOSTILE = "<img src=x onerror=window.ran=1></script><script>window.ran=1</script> [a](javascript:1)"


def hostile_sweep() -> dict[str, Any]:
    """Every text of the data is an attack."""
    found = copy.deepcopy(PUBLISHED)
    for prompt in found["prompts"]:
        prompt |= {"kind": HOSTILE, "text": HOSTILE + prompt["text"]}
    for entry in [*found["runs"], *found["sft"]]:
        entry["answers"] = [[HOSTILE, 0.0, 0.0] for _ in entry["answers"]]
    found["values"] = [n if n in MEASURES else f"suite/{HOSTILE}{n}/4" for n in found["values"]]
    return found


@pytest.mark.parametrize("view", ["frontier", "steps", "tax", "answers"])
def test_texts_stay_text(render: Any, view: str) -> None:
    hostile = {name: f"{HOSTILE} {text}" for name, text in LABELS.items()}
    data = beta_gamma.data(hostile_sweep())
    data["state"]["view"] = view
    seen = render("beta-gamma", {"data": data, "labels": hostile, "language": "en"})
    seen.page.locator("summary").click()
    seen.page.locator("tbody tr").first.wait_for()
    assert seen.page.locator("#root :is(img, script, iframe, a:not([download]))").count() == 0
    assert seen.page.evaluate("window.ran") is None
    if view == "answers":
        assert seen.page.locator(".rl-said-chosen .rl-text").inner_text() == HOSTILE
    assert not seen.errors


def test_a_pair_without_a_run_says_so(render: Any) -> None:
    data = beta_gamma.data(PUBLISHED, beta=0.3, gamma=1.0)
    data["runs"] = [r for r in data["runs"] if (r["beta"], r["gamma"]) != (0.3, 0.0)]
    seen = render("beta-gamma", {"data": data, "labels": LABELS, "language": "en"})
    page = seen.page
    for view in ("frontier", "steps", "tax", "answers"):
        page.get_by_label(LABELS[f"view_{view}"], exact=True).check()
        go(page, 2, 0)
        assert page.locator(".rl-verdict").inner_text() == LABELS["finding_none"]
        assert {value for value, _ in tiles(page).values()} == {"–"}
        spoken = page.get_by_role("slider").nth(GAMMA).get_attribute("aria-valuetext")
        assert spoken == "γ 0: no finished run of this pair"
        page.keyboard.press("End")
        assert weights(page) == (0.3, 1)
    assert not seen.errors


def live_data() -> dict[str, Any]:
    data = beta_gamma.data(PUBLISHED)
    nothing = {"number": 0, "action": "", "beta": 0.0, "gamma": 0.0}
    idle = {"status": "idle", "stage": "start", "step": 0, "steps": 0, "message": ""}
    data["state"] |= {"request": nothing, "progress": idle, "trained": []}
    return data


def test_a_point_is_trained_from_a_notebook(notebook: Any) -> None:
    """Asked for by keyboard, followed, and dropped on the published surface."""
    seen = notebook("beta-gamma", live_data(), LABELS)
    page = seen.page
    sliders = page.get_by_role("slider")
    published = page.locator(".rl-area-view .rl-faint-dot").count()
    page.get_by_role("spinbutton", name="β").fill("0.1")
    page.get_by_role("spinbutton", name="γ").fill("0.5")
    page.keyboard.press("Enter")
    assert page.evaluate("kernel.values.request") == {
        "number": 1, "action": "train", "beta": 0.1, "gamma": 0.5,
    }  # fmt: skip
    running = {"status": "running", "stage": "ppo", "step": 6, "steps": 24, "message": ""}
    page.evaluate("(progress) => kernel.set('progress', progress)", running)
    assert page.get_by_role("button", name=LABELS["train"]).is_disabled()
    assert page.locator("progress").evaluate("(node) => node.value") == 0.25
    assert page.locator(".rl-training [role=status]").inner_text() == "PPO, step 6 of 24"
    page.get_by_role("button", name=LABELS["cancel"]).click()
    assert page.evaluate("kernel.values.request.action") == "cancel"
    # What the kernel does when a point is done.
    run = copy.deepcopy(PUBLISHED["runs"][0]) | {"beta": 0.1, "gamma": 0.5}
    page.evaluate("(run) => kernel.set('trained', [run])", run)
    page.evaluate("kernel.set('beta', 0.1); kernel.set('gamma', 0.5);")
    page.evaluate("(progress) => kernel.set('progress', progress)", running | {"status": "done"})
    assert weights(page) == (0.1, 0.5)
    assert page.locator(".rl-own").count() == 2  # in both panels
    assert page.locator(".rl-area-map text", has_text="◆").count() == 1
    assert page.locator(".rl-area-view .rl-faint-dot").count() == published
    gold = number(tiles(page)[LABELS["t_gold"]][0])
    assert gold == pytest.approx(run["values"][0], abs=0.006)
    sliders.nth(BETA).focus()
    page.keyboard.press("ArrowRight")
    assert weights(page) == (0.3, 0.5)
    assert page.locator(".rl-verdict").inner_text() == LABELS["finding_none"]
    assert page.evaluate("window.reachedJupyter") == 1  # Enter, which no drawing keeps to itself
    page.evaluate("window.remove()")
    assert page.evaluate("kernel.listening()") == 0
    assert not seen.errors


def test_a_page_offers_no_training(explorer: Any) -> None:
    page = explorer().page
    assert page.get_by_role("button", name=LABELS["train"]).count() == 0
