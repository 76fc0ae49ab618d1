"""Notes beside links: terms, references and equations, by mouse, keyboard and finger."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser

TERM = "a[href='words.html#term-KL-divergence']"
HOSTILE = "a[href='words.html#term-nat']"
CITATION = ".bibtex-citation a"
EQUATION = "p a.reference[href='#equation-eq-objective']"


@pytest.fixture
def page(small_address: str, visit: Any) -> Any:
    seen = visit(f"{small_address}/book/index.html")
    yield seen.page
    assert not seen.errors


def shown(page: Any) -> Any:
    return page.locator(".rl-note:visible")


def test_a_pointer_shows_the_definition_and_takes_it_away(page: Any) -> None:
    assert shown(page).count() == 0
    page.hover(TERM)
    note = shown(page)
    assert note.inner_text().strip() == "Mean of the log-ratio, in nats."
    box, link = note.bounding_box(), page.locator(TERM).bounding_box()
    assert abs(box["y"] - link["y"] - link["height"]) < 40 or box["y"] + box["height"] <= link["y"]
    page.mouse.move(box["x"] + 5, box["y"] + 5)  # a reader may move onto the note
    page.wait_for_timeout(300)
    assert note.is_visible()
    page.mouse.move(2, 2)
    note.wait_for(state="hidden")


def test_the_keyboard_shows_it_and_escape_hides_it(page: Any) -> None:
    link = page.locator(TERM)
    page.keyboard.press("Tab")  # from now on focus is a keyboard's
    link.focus()
    note = shown(page)
    assert "log-ratio" in note.inner_text()
    assert link.get_attribute("aria-describedby") == note.get_attribute("id")
    page.keyboard.press("Escape")
    assert shown(page).count() == 0
    assert link.evaluate("e => e === document.activeElement")
    page.keyboard.press("Enter")
    page.wait_for_url("**/words.html#term-KL-divergence")


def test_a_first_tap_shows_it_and_a_second_follows(small_address: str, visit: Any) -> None:
    seen = visit(f"{small_address}/book/index.html", width=360, has_touch=True, is_mobile=True)
    page = seen.page
    page.tap(TERM)
    assert "log-ratio" in shown(page).inner_text()
    box = shown(page).bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert page.url.endswith("index.html")
    page.tap(TERM)
    page.wait_for_url("**/words.html#term-KL-divergence")


def test_a_citation_shows_the_reference(page: Any) -> None:
    page.hover(CITATION)
    assert "Training language models to follow instructions" in shown(page).inner_text()
    assert page.locator(CITATION).get_attribute("title") is None


def test_an_equation_is_shown_typeset(page: Any) -> None:
    page.wait_for_selector(".rl-note mjx-container", state="attached")
    page.hover(EQUATION)
    assert shown(page).locator("mjx-container").count() == 1
    page.keyboard.press("Escape")
    assert shown(page).count() == 0


def test_hostile_definitions_stay_text(page: Any) -> None:
    page.hover(HOSTILE)
    assert "<img onerror>" in shown(page).inner_text()
    assert page.locator(".rl-note img, .rl-note a").count() == 0


def test_without_scripts_a_link_leads_there(small_address: str, visit: Any) -> None:
    seen = visit(f"{small_address}/book/index.html", java_script_enabled=False)
    assert shown(seen.page).count() == 0
    seen.page.click(TERM)
    assert seen.page.url.endswith("words.html#term-KL-divergence")


def test_from_an_equation_to_its_code_and_back(page: Any) -> None:
    page.click("#equation-eq-objective .eqno a >> nth=0")
    page.wait_for_url("**/code.html#rlhf_lab.ppo.PPOTrainer")
    page.click("a.rl-equation[href$='#equation-eq-objective']")
    page.wait_for_url("**/index.html#equation-eq-objective")
