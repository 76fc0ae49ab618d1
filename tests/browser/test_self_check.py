"""Self-check questions as readers use them: by mouse, by keyboard, without scripts, on paper.

The page is tests/book/fixture/book/questions.md: one choice of three, several of three, a number.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlhf_lab.widgets.files import labels

pytestmark = pytest.mark.browser

LABELS = labels("self-check")


@pytest.fixture
def questions(small_address: str, visit: Any) -> Callable[..., Any]:
    """Open the page."""

    def open_page(**options: Any) -> Any:
        return visit(f"{small_address}/book/questions.html", **options)

    return open_page


def question(page: Any, number: int) -> Any:
    return page.locator("form.rl-check").nth(number - 1)


def check(form: Any) -> None:
    form.get_by_role("button", name=LABELS["check"]).click()


def said(form: Any) -> list[str]:
    """Verdict and feedback of each answer that is spoken of, in the order of the choices."""
    texts = form.locator("fieldset .rl-check-said").all_inner_texts()
    return [" ".join(text.split()) for text in texts]


def test_by_mouse(questions: Any) -> None:
    seen = questions()
    form = question(seen.page, 1)
    check(form)
    assert form.get_by_role("status").inner_text() == LABELS["choose_first"]
    form.get_by_label("The ratio").check()
    assert said(form) == []  # nothing before the reader asks for it
    check(form)
    assert said(form) == ["Not right It may go on growing."]
    form.get_by_label("The gradient").check()
    assert said(form) == []
    check(form)
    (right,) = said(form)
    assert right.startswith("Right The minimum picks the constant term:")
    seen.page.wait_for_selector("html[data-formulas=set]", state="attached")
    assert form.locator("fieldset .rl-check-said mjx-container").is_visible()
    form.get_by_role("button", name=LABELS["show"]).click()
    assert [text.split()[0] for text in said(form)] == ["Not", "Right", "Not"]
    assert said(form)[2] == "Not right Nor does <img src=x onerror=alert(1)>."
    assert not seen.errors


def test_by_keyboard(questions: Any) -> None:
    """Arrows choose among radio buttons, Enter checks; the space bar ticks boxes."""
    seen = questions()
    page = seen.page
    page.get_by_role("radio").first.focus()
    page.keyboard.press("ArrowDown")
    assert said(question(page, 1)) == []  # an arrow that passes over a choice gives nothing away
    page.keyboard.press("Enter")
    assert said(question(page, 1))[0].startswith("Right")
    form = question(page, 2)
    page.get_by_role("checkbox", name="The exact one").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    values = {"found": 1, "wanted": 2, "mistaken": 1}
    assert form.get_by_role("status").inner_text() == LABELS["score"].format(**values)
    assert said(form) == ["Right By Gibbs’ inequality.", "Not right It is a plain log-ratio."]
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    # All solved: all is said.
    assert [text.split()[0] for text in said(form)] == ["Right", "Not", "Right"]
    assert not seen.errors


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("-0.75", "Right Half of their sum."),
        (" −,76 ", "Right Half of their sum."),  # the tolerance's edge; a comma, a true minus
        ("-7.4e-1", "Right Half of their sum."),
        ("-0.7611", "Not right Add them, and halve."),
        ("-1.5", "Not right That is the sum."),
    ],
)
def test_a_number(questions: Any, typed: str, answer: str) -> None:
    form = question(questions().page, 3)
    field = form.get_by_label(LABELS["your_number"])
    field.fill("much")
    field.press("Enter")
    assert form.get_by_role("status").inner_text() == LABELS["no_number"]
    assert field.get_attribute("aria-invalid") == "true"
    field.fill(typed)
    field.press("Enter")
    assert said(form) == [answer]
    form.get_by_role("button", name=LABELS["show"]).click()
    assert said(form) == [
        "−0.75: right Half of their sum.",
        "−1.5: not right That is the sum.",
        f"{LABELS['otherwise']}: not right Add them, and halve.",
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
def test_names_live_regions_and_no_finding(questions: Any, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.base", reason="needs the extra [test]")
    seen = questions(scheme=scheme, width=width, bypass_csp=True)
    page = seen.page
    group = page.get_by_role("group", name="Which divergences are never negative?")
    assert group.get_by_role("checkbox").count() == 3
    slot = group.get_by_role("listitem").nth(1).locator("[aria-live=polite]")
    assert slot.inner_text() == ""
    for number in (1, 2, 3):
        question(page, number).get_by_role("button", name=LABELS["show"]).click()
    assert "plain log-ratio" in slot.inner_text()
    size = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert size[0] <= size[1]
    assert not seen.errors
    page.evaluate(Path(axe.AXE_FILE_PATH).read_text(encoding="utf-8"))
    found = page.evaluate("axe.run('article')")["violations"]
    assert not [v for v in found if v["impact"] in ("serious", "critical")]


def test_without_scripts_the_answers_are_folded(questions: Any) -> None:
    page = questions(java_script_enabled=False).page
    form = question(page, 1)
    assert form.locator("input:visible, button:visible").count() == 0
    assert form.locator(".rl-check-letter").all_inner_texts() == ["A", "B", "C"]
    assert not form.locator(".rl-check-feedback").first.is_visible()
    form.locator("summary").click()
    assert form.locator(".rl-check-which").all_inner_texts() == [
        LABELS["which_right" if name == "B" else "which_wrong"].format(name=name) for name in "ABC"
    ]
    assert form.locator(".rl-check-feedback").first.inner_text() == "It may go on growing."


def test_on_paper_and_from_disk(questions: Any, small_site: Path, visit: Any) -> None:
    page = questions().page
    page.emulate_media(media="print")
    form = question(page, 1)
    assert form.locator("summary").is_visible()
    assert form.locator("input:visible, button:visible").count() == 0
    assert form.locator(".rl-check-letter").first.is_visible()
    seen = visit(f"file://{small_site}/book/questions.html")
    form = question(seen.page, 3)
    form.get_by_label(LABELS["your_number"]).fill("-1.5")
    check(form)
    assert said(form) == ["Not right That is the sum."]
    assert not seen.errors
