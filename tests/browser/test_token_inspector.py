"""The token inspector as readers use it: by mouse, by keyboard, on a phone, without scripts.

The rollouts are real ones of the preset ``tiny`` (tests/book/make_rollouts.py); what the page
computes from them is computed here again.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlhf_lab.widgets import token_inspector
from rlhf_lab.widgets.files import labels, read_published

pytestmark = pytest.mark.browser

LABELS = labels("token-inspector")
FIXTURE = Path(__file__).parents[1] / "book/fixture/book/data/rollouts.json"
PUBLISHED = read_published(FIXTURE, token_inspector.FORMAT)
RUDE = 3  # its reward is negative, and two of its tokens become much rarer
HALF = 5.1e-5  # four decimals are shown


@pytest.fixture
def inspector(open_explorer: Callable[..., Any]) -> Callable[..., Any]:
    """Open the inspector's page."""
    return functools.partial(open_explorer, "tokens")


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def numbers(page: Any) -> dict[str, float]:
    """Both tables: name to number."""
    rows = page.locator(".rl-pair tr").all_inner_texts()
    return {name.strip(): number(value) for name, value in (row.split("\t") for row in rows)}


def chosen(page: Any) -> str:
    return str(page.locator(".rl-chosen").inner_text())


def expected(rollout: int, t: int) -> dict[str, float]:
    """All numbers of a token, by their names on the page, from the published ones."""
    row = PUBLISHED["rollouts"][rollout]
    moved = row["logprob"][t] - row["ref_logprob"][t]
    score = row["score"] if t == len(row["tokens"]) - 1 else 0.0
    found = {name: row[name][t] for name in (*token_inspector.NUMBERS, "ratio")}
    found |= {"log_ratio": moved, "penalty": -PUBLISHED["beta"] * moved, "score": score}
    return {LABELS[f"number_{name}"].replace("_", ""): x for name, x in found.items()}


# --- the same numbers -------------------------------------------------------------------------


@pytest.mark.parametrize("rollout", [0, RUDE, 4])
def test_the_tables_have_the_published_numbers(inspector: Any, rollout: int) -> None:
    page = inspector().page
    page.get_by_role("combobox", name=LABELS["choose_rollout"]).select_option(str(rollout))
    row = PUBLISHED["rollouts"][rollout]
    count = len(row["tokens"])
    for t in (0, count // 2, count - 1):
        page.locator(".rl-token").nth(t).click()
        assert numbers(page) == pytest.approx(expected(rollout, t), abs=HALF)
        assert chosen(page).startswith(f"Token {t + 1} of {count}: ")
        # The sum in the formula is the reward that the trainer used.
        formula = page.locator(".rl-formula").inner_text().replace("\u00a0", " ")
        assert formula.splitlines()[0] == "ρt = −β (log π − log πref) + [t = T] r"
        assert number(formula.rsplit("= ", 1)[1]) == pytest.approx(row["reward"][t], abs=HALF)
        isolated = "1 · " if t == count - 1 else "0 · "
        assert f"+ {isolated}" in formula
    assert page.get_by_text(LABELS["cut_off"]).is_visible() == (not row["stopped"])


def test_all_numbers_on_demand(inspector: Any) -> None:
    page = inspector().page
    page.locator("rlhf-explorer summary").click()
    rows = page.locator("rlhf-explorer details tbody tr")
    rows.first.wait_for()
    row = PUBLISHED["rollouts"][0]
    assert rows.count() == len(row["tokens"])
    heads = page.locator("rlhf-explorer details th").all_inner_texts()
    for t, text in enumerate(rows.all_inner_texts()):
        cells = text.split("\t")
        assert cells[0] == str(t + 1)
        shown = dict(zip(heads[2:], map(number, cells[2:]), strict=True))
        assert shown == pytest.approx(expected(0, t), abs=HALF)


def test_colour_and_curve_follow_the_quantity(inspector: Any) -> None:
    """Blue above the middle and orange below it, stronger with the distance."""
    page = inspector().page
    page.get_by_role("combobox", name=LABELS["choose_rollout"]).select_option(str(RUDE))
    row = PUBLISHED["rollouts"][RUDE]
    every = PUBLISHED["rollouts"]
    for name, middle in (("advantage", 0), ("ratio", 1), ("kl", 0)):
        page.get_by_label(LABELS[name], exact=True).check()
        found = page.locator(".rl-token").evaluate_all(
            """(nodes) => nodes.map((node) => [
              node.classList.contains("rl-above"),
              parseFloat(node.style.getPropertyValue("--rl-share")),
            ])"""
        )
        reach = max(abs(x - middle) for other in every for x in other[name])
        for value, (above, share) in zip(row[name], found, strict=True):
            assert above == (value >= middle)
            assert share == pytest.approx(45 * (abs(value - middle) / reach) ** 0.5, abs=0.06)
        # The curve's points stand at the values: affinely, and larger is higher.
        heights = page.locator(".rl-chart .rl-bead").evaluate_all(
            "(nodes) => nodes.map((node) => -Number(node.getAttribute('cy')))"
        )
        low, high = row[name].index(min(row[name])), row[name].index(max(row[name]))
        scale = (heights[high] - heights[low]) / (row[name][high] - row[name][low])
        for value, height in zip(row[name], heights, strict=True):
            assert height == pytest.approx(heights[low] + scale * (value - row[name][low]), abs=0.1)
        label = page.locator(".rl-chart").get_attribute("aria-label")
        assert f"at token {low + 1}, highest" in label
        assert f"at token {high + 1}. Token 1 has" in label


# --- mouse and keyboard -----------------------------------------------------------------------


def test_by_keyboard_alone(inspector: Any) -> None:
    seen = inspector()
    page = seen.page
    page.get_by_role("combobox", name=LABELS["choose_rollout"]).focus()
    page.keyboard.press("ArrowDown")  # the second rollout
    page.keyboard.press("Tab")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.get_by_label(LABELS["advantage"], exact=True).is_checked()
    page.keyboard.press("Tab")
    row = PUBLISHED["rollouts"][1]
    count = len(row["tokens"])
    focused = page.locator(":focus")
    assert focused.get_attribute("aria-label").startswith("token 1, one: advantage Â ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert chosen(page) == f"Token 3 of {count}: ·the"
    value = f"{row['advantage'][2]:.4f}".replace("-", "−")
    assert focused.get_attribute("aria-label") == f"token 3, space the: advantage Â {value}"
    assert focused.get_attribute("aria-selected") == "true"
    assert page.locator("[aria-selected=true]").count() == 1
    page.keyboard.press("End")
    assert chosen(page) == f"Token {count} of {count}: <|endoftext|>"
    page.keyboard.press("ArrowRight")
    assert chosen(page).startswith(f"Token {count} of")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    assert chosen(page).startswith("Token 1 of")
    # To the next line and back; one tabulator stop for all tokens.
    page.set_viewport_size({"width": 360, "height": 900})
    page.keyboard.press("ArrowDown")
    at = int(chosen(page).split()[1])
    tops = page.locator(".rl-token").evaluate_all("(n) => n.map((e) => e.offsetTop)")
    assert at > 1
    assert tops[at - 1] == sorted(set(tops))[1]
    page.keyboard.press("ArrowUp")
    assert chosen(page).startswith("Token 1 of")
    assert page.locator(".rl-token[tabindex='0']").count() == 1
    assert not seen.errors
    assert not seen.foreign


def test_by_mouse_pointing_shows_and_a_click_keeps(inspector: Any) -> None:
    seen = inspector()
    page = seen.page
    tokens = page.locator(".rl-token")
    tokens.nth(4).hover()
    assert chosen(page).startswith("Token 5 of")
    page.locator(".rl-formula").hover()
    assert chosen(page).startswith("Token 1 of")
    tokens.nth(2).click()
    page.locator(".rl-formula").hover()
    assert chosen(page).startswith("Token 3 of")
    # The curve is a handle as well.
    box = page.locator(".rl-chart").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] - 20, middle)
    assert chosen(page).startswith("Token 10 of")
    page.locator(".rl-formula").hover()
    assert chosen(page).startswith("Token 3 of")
    page.mouse.click(box["x"] + box["width"] - 20, middle)
    page.locator(".rl-formula").hover()
    assert chosen(page).startswith("Token 10 of")
    # Another response begins at its first token.
    page.get_by_role("combobox", name=LABELS["choose_rollout"]).select_option("1")
    assert chosen(page).startswith("Token 1 of 22")
    assert not seen.errors


def test_the_first_reaction_is_measured(inspector: Any, first_reaction: Any) -> None:
    page = inspector().page
    page.locator(".rl-token").first.focus()
    press = functools.partial(page.keyboard.press, "ArrowRight")
    first_reaction(page, ".rl-token", "keydown", press)
    assert chosen(page).startswith("Token 2 of")


# --- every reader -----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_finding_and_no_sideways_scroll(
    inspector: Any, audit: Any, scheme: str, width: int
) -> None:
    seen = inspector(scheme=scheme, width=width, bypass_csp=True)
    page = seen.page
    page.get_by_role("combobox", name=LABELS["choose_rollout"]).select_option(str(RUDE))
    page.get_by_label(LABELS["advantage"], exact=True).check()  # the strongest colours
    page.locator("rlhf-explorer summary").click()
    # axe cannot tell the contrast on half-transparent colours: computed here.
    contrast = page.locator(".rl-token").evaluate_all(
        """(nodes) => {
          const canvas = document.createElement("canvas").getContext("2d");
          const luminance = (...layers) => {
            canvas.clearRect(0, 0, 1, 1);
            for (const color of layers) {
              canvas.fillStyle = color;
              canvas.fillRect(0, 0, 1, 1);
            }
            const rgb = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
            const parts = rgb.map((byte) => byte / 255).map((c) =>
              c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
          };
          const page = getComputedStyle(document.body).backgroundColor;
          return nodes.map((node) => {
            const { color, backgroundColor } = getComputedStyle(node);
            const pair = [luminance(color), luminance(page, backgroundColor)];
            return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
          });
        }"""
    )
    assert min(contrast) >= 4.5
    assert max(contrast) - min(contrast) > 0.5  # the colours are there
    audit(seen, width)


def test_tokens_are_readable_and_stay_text(render: Any) -> None:
    """Spaces, new lines, parts of characters; markup from a model or from a label is text."""
    hostile = "<img src=x onerror=window.ran=1></script><script>window.ran=1</script>"
    published = copy.deepcopy(PUBLISHED)
    rollout = published["rollouts"][0]
    rollout["prompt"] = f"{hostile} [a](javascript:1)"
    rollout["tokens"][:6] = [
        {"text": "  a"},
        {"text": "b\n"},
        {"text": hostile},
        {"bytes": "e2 98"},
        {"text": "\t"},
        {"special": "<script>window.ran=1</script>"},
    ]
    marked = {name: f"{name} {hostile} {{token}}" for name in LABELS}
    data = token_inspector.data(published)
    seen = render("token-inspector", {"data": data, "labels": marked, "language": "en"})
    page = seen.page
    shown = page.locator(".rl-token").all_text_contents()[:6]
    dotted = hostile.replace(" ", "·")
    assert shown == ["··a", "b↵", dotted, "⟨e2 98⟩", "⇥", "<script>window.ran=1</script>"]
    tops = page.locator(".rl-token").evaluate_all("(n) => n.map((e) => e.offsetTop)")
    assert tops[2] > tops[1]  # the line goes on below
    page.locator(".rl-token").nth(2).click()
    page.locator("summary").click()
    page.locator("details tbody tr").first.wait_for()
    assert hostile in page.locator(".rl-prompt").inner_text()
    assert page.locator("img, script, a:not([download]), iframe").count() == 0
    assert page.evaluate("window.ran") is None
    assert not seen.errors


def test_without_the_update_there_is_no_ratio(render: Any) -> None:
    published = copy.deepcopy(PUBLISHED)
    for rollout in published["rollouts"]:
        del rollout["ratio"]
    published["whiten_rewards"] = True
    data = token_inspector.data(published)
    page = render("token-inspector", {"data": data, "labels": LABELS, "language": "en"}).page
    assert page.get_by_role("radio").count() == 7
    assert LABELS["number_ratio"].replace("_", "") not in numbers(page)
    assert page.get_by_text(LABELS["whitened"]).is_visible()


def test_colours_follow_the_theme(inspector: Any) -> None:
    page = inspector().page
    last = page.locator(".rl-token").last
    before = last.evaluate("e => getComputedStyle(e).backgroundColor")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert last.evaluate("e => getComputedStyle(e).backgroundColor") != before


def test_without_scripts_the_still_drawing(small_address: str, visit: Any) -> None:
    seen = visit(f"{small_address}/book/tokens.html", java_script_enabled=False)
    assert seen.page.locator(".rl-still svg").bounding_box()["height"] > 200
    seen.page.locator("rlhf-explorer summary").click()
    count = len(PUBLISHED["rollouts"][0]["tokens"])
    assert seen.page.locator("rlhf-explorer tbody tr").count() == 4 * count


def test_in_a_notebook(notebook: Any) -> None:
    seen = notebook("token-inspector", token_inspector.data(PUBLISHED), LABELS)
    page = seen.page
    page.locator(".rl-token").first.focus()
    page.keyboard.press("ArrowRight")
    found = page.evaluate("[kernel.values.token, kernel.model.saved, window.reachedJupyter]")
    assert found == [1, 1, 0]
    page.evaluate("kernel.set('quantity', 'kl')")
    assert page.get_by_label(LABELS["kl"], exact=True).is_checked()
    page.evaluate("kernel.set('token', 4)")
    assert chosen(page).startswith("Token 5 of")
    assert page.evaluate("kernel.model.saved") == 1  # what the kernel said is not said back
    page.evaluate("window.remove()")
    assert page.evaluate("kernel.listening()") == 0
    assert not seen.errors
