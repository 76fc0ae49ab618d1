"""Timeline and chooser as readers use them: by mouse, by keyboard, on a phone, on paper.

What they show is compared with the file and with `rlhf_lab.widgets.chooser.answer`.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlhf_lab.widgets import chooser, lineage
from rlhf_lab.widgets.files import STATIC, labels, palette_css
from rlhf_lab.widgets.model_facts import read_model_facts

pytestmark = pytest.mark.browser

FACTS = read_model_facts(Path(__file__).parents[2] / "book/data/models.yaml")
TREE, CHOICE = lineage.data(FACTS), chooser.data(FACTS)
WORDS = {"lineage": labels("lineage"), "chooser": labels("chooser")}
HOSTILE = "<img src=x onerror=window.ran=1></script><script>window.ran=1</script>"


@pytest.fixture
def timeline(render: Callable[..., Any]) -> Callable[..., Any]:
    """Draw the timeline on the empty page."""

    def draw(data: Any = TREE, **options: Any) -> Any:
        given = {"data": data, "labels": WORDS["lineage"], "language": "en"}
        return render("lineage", given, **options)

    return draw


@pytest.fixture
def choice(render: Callable[..., Any]) -> Callable[..., Any]:
    """Draw the chooser on the empty page."""

    def draw(**state: Any) -> Any:
        data = {**CHOICE, "state": {**CHOICE["state"], **state}}
        return render("chooser", {"data": data, "labels": WORDS["chooser"], "language": "en"})

    return draw


def names(page: Any) -> list[str]:
    return list(page.locator(".rl-rows > li:not([hidden]) .rl-row-name").all_inner_texts())


def status(page: Any) -> str:
    return str(page.locator(".rl-status").inner_text())


# --- timeline -----------------------------------------------------------------------------------


def test_filters_leave_what_the_file_says(timeline: Any) -> None:
    """Every pair of filters against a filter of its own; then what a reader sees of three."""
    page = timeline().page
    pairs = [(i, e) for i in ("all", *TREE["ideas"]) for e in ("all", *TREE["evidence"])]
    found = page.evaluate(
        """async ([entries, pairs]) => {
          const { filtered } = await import("./lineage.js");
          return pairs.map(([idea, evidence]) => {
            const { shown, lines } = filtered(entries, { idea, evidence });
            return [shown.map((e) => e.id), lines.map((l) => `${l.from}>${l.to}:${l.of}`)];
          });
        }""",
        [TREE["entries"], pairs],
    )
    for (idea, evidence), (shown, lines) in zip(pairs, found, strict=True):
        kinds = set(TREE["evidence"]) if evidence == "all" else {evidence}
        drawn = [m for m in FACTS.models if m.statements and (idea == "all" or idea in m.ideas)]
        ends = {line.parent for m in drawn for line in m.parents if line.kind in kinds}
        known = [
            model for model in drawn
            if model.id in ends
            or kinds & {part.kind for part in (*model.statements, *model.parents)}
        ]  # fmt: skip
        ids = [model.id for model in known]
        assert shown == ids, (idea, evidence)
        assert lines == [
            f"{line.parent}>{model.id}:{line.of}"
            for model in known for line in model.parents
            if line.kind in kinds and line.parent in ids
        ]  # fmt: skip
    for label, evidence in (("hypothesis", "hypothesis"), ("documented", "documented")):
        page.get_by_label(WORDS["lineage"][f"evidence_{label}"], exact=True).check()
        shown, lines = found[pairs.index(("all", evidence))]
        by_id = {entry["id"]: entry["name"] for entry in TREE["entries"]}
        assert names(page) == [by_id[id_] for id_ in shown]
        assert page.locator(".rl-tree .rl-path:not(text)").count() == len(lines)
        assert page.locator(".rl-ask").count() == (len(lines) if label == "hypothesis" else 0)
    guesses = [p for m in FACTS.models for p in m.parents if p.kind == "hypothesis"]
    assert len(found[pairs.index(("all", "hypothesis"))][1]) == len(guesses) > 0
    lost = lineage.without_parent(TREE["entries"], ("documented",))
    assert status(page).endswith(f"{', '.join(lost)}.")
    assert "text-davinci-003" in lost


def test_a_card_says_all_with_sources(timeline: Any) -> None:
    seen = timeline()
    page = seen.page
    card = page.locator(".rl-card:visible")
    entry = next(entry for entry in TREE["entries"] if entry["id"] == lineage.FIRST)
    text = card.inner_text()
    for part in (*entry["facts"], *entry["says"]):
        assert part["text"] in text
    count = sum(len(entry[part]) for part in ("facts", "says", "from"))
    links = card.locator("a")
    assert links.count() == count
    addresses = {TREE["sources"][g["source"]]["url"] for g in (*entry["facts"], *entry["from"])}
    assert addresses <= {links.nth(i).get_attribute("href") for i in range(count)}
    card.get_by_role("button", name="InstructGPT").click()  # a parent, by the mouse
    assert "1.3 billion" in page.locator(".rl-card:visible").inner_text()
    assert page.evaluate("document.activeElement.textContent").startswith("InstructGPT")
    page.get_by_label(WORDS["lineage"]["evidence_hypothesis"], exact=True).check()
    assert page.locator(".rl-card:visible").count() == 0  # nothing about it is guessed
    assert not seen.errors


def test_the_timeline_by_keyboard(timeline: Any) -> None:
    page = timeline().page
    rows = page.locator(".rl-row")
    assert [rows.nth(i).get_attribute("tabindex") for i in range(rows.count())].count("0") == 1
    rows.nth(12).focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    row = page.locator(".rl-row[aria-expanded=true]")
    assert row.get_attribute("aria-label") == "GPT-2, February 2019, pretraining"
    page.keyboard.press("Enter")
    assert page.locator(".rl-row[aria-expanded=true]").count() == 0
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.ariaLabel").startswith("o4-mini,")
    page.keyboard.press("ArrowDown")  # there is no further row
    assert page.evaluate("document.activeElement.ariaLabel").startswith("o4-mini,")


def test_dots_stand_beside_their_rows(timeline: Any) -> None:
    """On a phone with an open card in between, where rows move."""
    page = timeline(width=360).page
    styles = palette_css() + (STATIC / "explorer.css").read_text(encoding="utf-8")
    page.add_style_tag(content=styles)
    page.locator(".rl-tree").hover()  # has its place, and the lines are drawn anew
    dots = page.locator(".rl-tree circle")
    rows = page.locator(".rl-row")
    assert dots.count() == rows.count() == len(TREE["entries"])
    for i in (0, 12, 13, dots.count() - 1):
        dot, row = dots.nth(i).bounding_box(), rows.nth(i).bounding_box()
        middle = dot["y"] + dot["height"] / 2
        assert middle == pytest.approx(row["y"] + row["height"] / 2, abs=2)
        assert dot["x"] + dot["width"] < row["x"] + 4
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_hostile_facts_stay_text(timeline: Any) -> None:
    data = copy.deepcopy(TREE)
    entry = next(entry for entry in data["entries"] if entry["id"] == lineage.FIRST)
    entry["name"] = entry["says"][0]["text"] = entry["facts"][0]["at"] = HOSTILE
    for source in data["sources"].values():
        source["url"] = "javascript:window.ran=1"
    seen = timeline(data)
    assert HOSTILE in seen.page.locator(".rl-card:visible").inner_text()
    assert seen.page.locator("img, #root script, a").count() == 0
    assert seen.page.evaluate("window.ran") is None


# --- chooser ------------------------------------------------------------------------------------


def test_rows_are_those_of_the_package(choice: Any) -> None:
    rng = random.Random(0)
    states = [
        {
            "date": rng.choice(CHOICE["days"]),
            "images": rng.random() < 0.5,
            "error": rng.choice(list(CHOICE["errors"])),
            **{name: rng.choice(stops) for name, stops in CHOICE["stops"].items()},
        }
        for _ in range(60)
    ]
    found = choice().page.evaluate(
        """async ([data, states]) => {
          const { answers } = await import("./chooser.js");
          return states.map((state) => answers(data, state));
        }""",
        [CHOICE, states],
    )
    for state, rows in zip(states, found, strict=True):
        wanted = chooser.answer(CHOICE, state)
        assert [row["id"] for row in rows] == [row["id"] for row in wanted]
        for row, want in zip(rows, wanted, strict=True):
            for name in ("fails", "score", "left", "announced"):
                assert row[name] == want[name], (name, state, row["id"])
            for name in ("cost", "gap"):
                assert row[name] == (None if want[name] is None else pytest.approx(want[name]))


def test_answers_rule_models_out(choice: Any) -> None:
    """The same answers on another day, then a need that few meet; by mouse and by keyboard."""
    seen = choice()
    page = seen.page
    models = page.locator(".rl-model")
    first = models.all_inner_texts()
    state = dict(CHOICE["state"])
    assert first == [row["id"] for row in chooser.answer(CHOICE, state)]
    verdict = page.locator(".rl-verdict")
    assert verdict.inner_text().startswith("On 27 February 2025, 9 of 9 models pass.")
    assert "on that day none of these ends had been announced" in verdict.inner_text()
    page.get_by_label(WORDS["chooser"]["images_yes"], exact=True).check()
    gone = [row["id"] for row in chooser.answer(CHOICE, {**state, "images": True}) if row["fails"]]
    assert gone
    assert [text.split(":")[0] for text in page.locator(".rl-failing li").all_inner_texts()] == gone
    page.get_by_role("slider", name=WORDS["chooser"]["date"]).focus()
    page.keyboard.press("End")
    assert set(models.all_inner_texts()).isdisjoint(first[:1])
    slider = page.get_by_role("slider", name=WORDS["chooser"]["date"])
    assert slider.get_attribute("aria-valuetext").startswith("25 November 2026: ")
    page.keyboard.press("Home")
    assert verdict.inner_text().startswith("On 28 November 2022, none of the 1 models")
    assert not seen.errors


def test_what_a_dearer_model_has_to_gain(choice: Any) -> None:
    page = choice(error="taste", error_cost=0.01).page
    cells = page.locator(".rl-models li").last.locator("dd").all_inner_texts()
    assert cells == ["$2,700", WORDS["chooser"]["gap_too_much"], "4 months: too short"]
    slider = page.get_by_role("slider", name=WORDS["chooser"]["error_cost"])
    slider.focus()
    page.keyboard.press("End")  # a thousand dollars: 100·(0.27 − 0.00063)/1000 points
    assert page.locator(".rl-models li").last.locator("dd").nth(1).inner_text() == "0.03 points"


# --- on a page, on paper, in a notebook ---------------------------------------------------------


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
@pytest.mark.parametrize("name", ["lineage", "chooser"])
def test_on_a_page(open_explorer: Any, audit: Any, name: str, scheme: str, width: int) -> None:
    seen = open_explorer(name, scheme=scheme, width=width, bypass_csp=True)
    audit(seen, width)
    page = seen.page
    plain = page.locator(".rl-plain")
    assert not plain.is_visible()
    page.get_by_role("button", name=WORDS[name]["as_list"]).click()
    assert plain.is_visible()
    page.emulate_media(media="print")
    assert plain.is_visible()
    assert not page.get_by_role("radio").first.is_visible()


@pytest.mark.parametrize("name", ["lineage", "chooser"])
def test_without_scripts(small_address: str, visit: Any, name: str) -> None:
    seen = visit(f"{small_address}/book/{name}.html", java_script_enabled=False, width=360)
    shown = seen.page.locator(".rl-plain").inner_text()
    if name == "lineage":
        assert all(said["text"] in shown for entry in TREE["entries"] for said in entry["says"])
        assert "175 billion parameters" in seen.page.locator("article").inner_text()
    else:
        assert all(row["model"] in shown for row in chooser.records(FACTS))
    assert seen.page.locator(".rl-missed").is_visible()


def test_in_a_notebook(notebook: Any) -> None:
    seen = notebook("lineage", TREE, WORDS["lineage"])
    page = seen.page
    page.locator(".rl-row").first.click()
    assert page.evaluate("[kernel.values.entry, kernel.model.saved]") == ["gpt-1", 1]
    page.evaluate("kernel.set('evidence', 'hypothesis')")
    assert page.get_by_label(WORDS["lineage"]["evidence_hypothesis"], exact=True).is_checked()
    assert page.evaluate("kernel.model.saved") == 1  # what the kernel said is not said back
    page.evaluate("window.remove()")
    assert page.evaluate("kernel.listening()") == 0
    assert not seen.errors
