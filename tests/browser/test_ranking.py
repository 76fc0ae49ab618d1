"""The ranking widget as readers use it: by mouse, by finger, by keyboard, with and without memory.

Numbers are compared with `rlhf_lab.widgets.ranking`, and what is exported is read and trained on.
The first prompt of the small book has five answers; an answer to the second is hostile.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from rlhf_lab.records import Ranking
from rlhf_lab.widgets import ranking
from rlhf_lab.widgets.files import labels

pytestmark = pytest.mark.browser

LABELS = labels("ranking")
MODULE = "../_static/components/ranking.js"


@pytest.fixture
def widget(open_explorer: Callable[..., Any]) -> Callable[..., Any]:
    """Open the widget's page."""
    return functools.partial(open_explorer, "ranking")


def letters(page: Any) -> str:
    """The answers' names from the best down."""
    return "".join(text.strip() for text in page.locator(".rl-grip").all_inner_texts())


def places(page: Any) -> list[str]:
    return list(page.locator(".rl-place").all_inner_texts())


def spoken(page: Any) -> str:
    return str(page.locator(".rl-spoken").inner_text())


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def grip(page: Any, letter: str) -> Any:
    return page.get_by_role("button", name=LABELS["grip"].format(answer=letter))


def download(page: Any, folder: Path) -> Path:
    with page.expect_download() as started:
        press(page, LABELS["download"])
    assert started.value.suggested_filename == "rankings.jsonl"
    started.value.save_as(folder / "rankings.jsonl")
    return folder / "rankings.jsonl"


# --- the same numbers -------------------------------------------------------------------------


def test_moves_keep_the_others_as_they_were(widget: Any) -> None:
    """Every move of four answers under every pattern of ties."""
    cases = [
        (list(tied), start, end)
        for tied in itertools.product([False], *[[False, True]] * 3)
        for start in range(4)
        for end in range(4)
    ]
    found = widget().page.evaluate(
        """async ([module, cases]) => {
          const { moved, ranksOf } = await import(module);
          return cases.map(([tied, from, to]) => {
            const before = { order: [2, 0, 3, 1], tied, done: true };
            const after = moved(before, from, to);
            return [ranksOf(before), ranksOf(after), after];
          });
        }""",
        [MODULE, cases],
    )
    for (tied, start, end), (before, after, state) in zip(cases, found, strict=True):
        order = [2, 0, 3, 1]
        order.insert(end, answer := order.pop(start))
        assert state["order"] == order
        assert not state["tied"][0]
        assert state["done"] == (start == end)
        others = [i for i in range(4) if i != answer]
        for i, j in itertools.combinations(others, 2):
            assert (before[i] - before[j] > 0) == (after[i] - after[j] > 0)
            assert (before[i] == before[j]) == (after[i] == after[j])
        if start == end:
            assert state["tied"] == tied
            continue
        above, below = order[:end], order[end + 1 :]
        between_equals = above and below and after[above[-1]] == after[below[0]]
        equals = [i for i in others if after[i] == after[answer]]
        assert bool(equals) == bool(between_equals)


def test_agreement_is_that_of_the_package(widget: Any, published_ranking: Any) -> None:
    prompts = published_ranking["prompts"]
    rng = random.Random(5)
    readers = []
    for _ in range(6):
        rankings = []
        for prompt in prompts:
            order = list(range(len(prompt["completions"])))
            rng.shuffle(order)
            tied = [False, *(rng.random() < 0.4 for _ in order[1:])]
            rankings.append({"order": order, "tied": tied, "done": True})
        readers.append(rankings)
    all_tied = [{**r, "tied": [False] + [True] * (len(r["order"]) - 1)} for r in readers[0]]
    readers.append(all_tied)
    found = widget().page.evaluate(
        """async ([module, prompts, readers]) => {
          const { compare } = await import(module);
          return readers.map((rankings) => compare(prompts, rankings));
        }""",
        [MODULE, prompts, readers],
    )
    others = ranking.agreement_among(prompts)
    for rankings, told in zip(readers, found, strict=True):
        mine = [record.ranks for record in ranking.records(published_ranking, rankings)]
        expected = [
            ranking.share_alike(mine, [prompt["ranks"][person] for prompt in prompts])
            for person in range(len(published_ranking["labelers"]))
        ]
        assert told["reader"] == pytest.approx(expected, abs=1e-12)
        assert told["others"] == pytest.approx(others, abs=1e-12)
    assert set(found[-1]["reader"]) == {None}


# --- keyboard ---------------------------------------------------------------------------------


def test_by_keyboard_alone(widget: Any, published_ranking: Any) -> None:
    seen = widget()
    page = seen.page
    assert letters(page) == "ABCDE"
    assert places(page) == ["1", "2", "3", "4", "5"]
    page.get_by_role("button", name=LABELS["forward"], exact=True).focus()
    page.keyboard.press("Tab")  # the first answer
    page.keyboard.press("ArrowDown")
    assert letters(page) == "BACDE"
    assert spoken(page) == "Answer A is now at place 2 of 5."
    page.keyboard.press("4")  # the focus has moved along
    assert letters(page) == "BCDAE"
    page.keyboard.press("=")
    assert places(page) == ["1", "2", "3", "3", "5"]
    assert spoken(page) == "Answer A is now at place 3 of 5, as good as answer D."
    page.keyboard.press("ArrowUp")  # it leaves its equal
    assert letters(page) == "BCADE"
    assert places(page) == ["1", "2", "3", "4", "5"]
    for key in ("9", "0", "x"):  # no such place
        page.keyboard.press(key)
    assert letters(page) == "BCADE"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the button that moves it up
    assert letters(page) == "BACDE"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press(" ")  # the button that ties it
    assert places(page) == ["1", "1", "3", "4", "5"]
    tie = page.get_by_role("button", name=LABELS["tie"].format(answer="A"))
    assert tie.get_attribute("aria-pressed") == "true"
    for _ in range(13):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # done
    texts = published_ranking["prompts"][0]["completions"]
    assert len(texts) == 5
    sentence = page.locator(".rl-sentence").inner_text()
    assert spoken(page) == sentence
    page.keyboard.press("Enter")  # the next prompt has the focus
    assert page.locator(".rl-progress").inner_text() == "Prompt 2 of 6 · 1 ranked"
    assert published_ranking["prompts"][1]["text"].strip() in spoken(page)
    assert not seen.errors
    assert not seen.foreign


def test_the_first_reaction_is_measured(widget: Any, first_reaction: Any) -> None:
    page = widget().page
    grip(page, "A").focus()
    down = functools.partial(page.keyboard.press, "ArrowDown")
    first_reaction(page, ".rl-grip", "keydown", down)
    assert letters(page) == "BACDE"


# --- mouse and finger -------------------------------------------------------------------------


def middle(node: Any) -> tuple[float, float]:
    box = node.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_by_mouse(widget: Any) -> None:
    seen = widget()
    page = seen.page
    rows = page.locator(".rl-answer")
    x, y = middle(page.locator(".rl-text").nth(4))  # the text is a handle as well
    _, top = middle(rows.nth(1))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, top - 4, steps=8)
    assert letters(page) == "AEBCD"  # the others make room already
    page.mouse.up()
    assert letters(page) == "AEBCD"
    assert spoken(page) == "Answer E is now at place 2 of 5."
    assert places(page) == ["1", "2", "3", "4", "5"]
    # To the very end, below the list.
    x, y = middle(grip(page, "A"))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 2000, steps=12)
    page.mouse.up()
    assert letters(page) == "EBCDA"
    # A click moves nothing, and neither does a drag that Escape ends.
    page.locator(".rl-text").first.click()
    x, y = middle(grip(page, "C"))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y - 150, steps=6)
    assert letters(page) != "EBCDA"
    page.keyboard.press("Escape")
    assert letters(page) == "EBCDA"
    page.mouse.up()
    assert letters(page) == "EBCDA"
    assert page.locator(".rl-dragged").count() == 0
    # Rows glide back; a forced click goes to where the button was.
    page.wait_for_function("() => document.getAnimations().length === 0")
    page.get_by_role("button", name=LABELS["up"].format(answer="E")).click(force=True)  # on top
    assert letters(page) == "EBCDA"
    page.get_by_role("button", name=LABELS["down"].format(answer="E")).click()
    page.get_by_role("button", name=LABELS["tie"].format(answer="E")).click()
    assert (letters(page), places(page)) == ("BECDA", ["1", "1", "3", "4", "5"])
    assert not seen.errors


def test_by_finger_the_handle_drags_and_the_text_scrolls(widget: Any) -> None:
    page = widget(width=360, has_touch=True).page
    touch = page.context.new_cdp_session(page)

    def swipe(node: Any, by: float) -> None:
        node.scroll_into_view_if_needed()
        x, y = middle(node)
        send = functools.partial(touch.send, "Input.dispatchTouchEvent")
        send({"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for step in range(1, 9):
            at = {"x": x, "y": y + by * step / 8}
            send({"type": "touchMove", "touchPoints": [at]})
        send({"type": "touchEnd", "touchPoints": []})

    swipe(page.locator(".rl-text").nth(1), -120)
    assert letters(page) == "ABCDE"
    height = page.locator(".rl-answer").nth(1).bounding_box()["height"]
    swipe(grip(page, "A"), height + 20)
    assert letters(page) == "BACDE"


# --- comparison, memory, export ---------------------------------------------------------------


def test_the_comparison_comes_after_the_ranking(widget: Any, published_ranking: Any) -> None:
    page = widget().page
    result = page.get_by_role("region", name=LABELS["agreement_name"])
    assert not result.is_visible()
    press(page, LABELS["compare"])
    prompts = published_ranking["prompts"]
    ranks = [list(range(5))]

    def percent(share: float | None) -> str:
        assert share is not None
        return f"{100 * share:.0f} %"

    mine = ranking.agreement_with(ranks, [[r] for r in prompts[0]["ranks"]])
    among = [share for share in ranking.agreement_among(prompts[:1]) if share is not None]
    found = re.findall(r"[\d.]+\s%", page.locator(".rl-sentence").inner_text())
    shown = [text.replace("\u00a0", " ") for text in found]
    assert shown == [percent(mine), percent(sum(among) / len(among))]
    result.locator("summary").click()
    rows = result.locator("tbody tr")
    expect(rows).to_have_count(len(published_ranking["labelers"]))  # filled once it is open
    for row, name, theirs in zip(
        rows.all_inner_texts(), published_ranking["labelers"], prompts[0]["ranks"], strict=True
    ):
        cells = row.replace("\u00a0", " ").split("\t")
        share = percent(ranking.share_alike(ranks, [theirs]))
        assert cells[:3] == [name, share, share]
    # Two dots for each labeler: with the reader, and with the others.
    assert result.locator("circle").count() == 2 * rows.count()
    # A change takes the comparison away, and the prompt is no longer ranked.
    grip(page, "A").press("ArrowDown")
    assert not result.is_visible()
    assert page.locator(".rl-progress").inner_text() == "Prompt 1 of 6 · 0 ranked"
    for letter in "CDEA":
        page.get_by_role("button", name=LABELS["tie"].format(answer=letter)).click()
    assert places(page) == ["1"] * 5
    press(page, LABELS["compare"])
    assert page.locator(".rl-sentence").inner_text() == LABELS["no_pair"]


def test_exported_rankings_are_read_and_trained_on(
    widget: Any, published_ranking: Any, fernwick_model: Path, tmp_path: Path
) -> None:
    seen = widget()
    page = seen.page
    button = page.get_by_role("button", name=LABELS["download"])
    assert button.is_disabled()
    grip(page, "E").press("1")
    grip(page, "C").press("=")
    press(page, LABELS["compare"])
    press(page, LABELS["next"])
    grip(page, "D").press("1")
    press(page, LABELS["compare"])
    press(page, LABELS["next"])
    grip(page, "B").press("1")  # begun, and not finished: it is not exported
    path = download(page, tmp_path)

    # From here on without the page: transformers takes a while to load.
    from rlhf_lab.config import RMConfig
    from rlhf_lab.data import read_jsonl
    from rlhf_lab.models import ScalarModel, load_policy
    from rlhf_lab.reward import train_reward_model

    first, second = published_ranking["prompts"][:2]
    assert read_jsonl(path, Ranking) == [
        Ranking(
            first["text"], tuple(first["completions"]), (1, 2, 2, 3, 0), first["kind"], "reader"
        ),
        Ranking(
            second["text"], tuple(second["completions"]), (1, 2, 3, 0), second["kind"], "reader"
        ),
    ]
    policy, tokenizer = load_policy(str(fernwick_model))
    model = ScalarModel.from_policy(policy, seed=0)
    before = model.head.weight.detach().clone()
    config = RMConfig(epochs=1, batch_size=2, max_length=256)
    history = train_reward_model(model, tokenizer, read_jsonl(path, Ranking), config, quiet=True)
    assert history
    assert not before.equal(model.head.weight)
    assert not seen.errors


def test_rankings_are_kept_cleared_and_brought_back(widget: Any) -> None:
    page = widget().page
    assert LABELS["kept"] == page.locator(".rl-explorer .rl-small").last.inner_text()
    assert not page.get_by_role("button", name=LABELS["clear"]).is_visible()
    grip(page, "A").press("3")
    press(page, LABELS["compare"])
    press(page, LABELS["next"])
    grip(page, "A").press("=")  # it is on top: nothing to be equal to
    grip(page, "B").press("=")
    page.reload()
    page.wait_for_selector("rlhf-explorer[data-ready]")
    assert page.locator(".rl-progress").inner_text() == "Prompt 2 of 6 · 1 ranked"
    assert places(page) == ["1", "1", "3", "4"]
    press(page, LABELS["back"])
    assert letters(page) == "BCADE"
    assert page.locator(".rl-sentence").is_visible()
    press(page, LABELS["clear"])
    assert spoken(page) == LABELS["cleared"]
    assert letters(page) == "ABCDE"
    assert page.evaluate("Object.keys(localStorage).filter((k) => k.startsWith('rlhf-lab'))") == []
    press(page, LABELS["undo"])
    assert letters(page) == "BCADE"
    press(page, LABELS["clear"])
    page.reload()
    page.wait_for_selector("rlhf-explorer[data-ready]")
    assert letters(page) == "ABCDE"


NO_STORAGE = """
Object.defineProperty(window, "localStorage", { get() { throw new DOMException("no"); } });
"""
FULL_STORAGE = "Storage.prototype.setItem = () => { throw new DOMException('full'); };"


@pytest.mark.parametrize("broken", [NO_STORAGE, FULL_STORAGE])
def test_without_storage_it_works_and_says_so(
    render: Any, published_ranking: Any, broken: str, tmp_path: Path
) -> None:
    given = {"data": ranking.data(published_ranking), "labels": LABELS, "language": "en"}
    page = render("ranking", given, before=broken).page
    assert LABELS["not_kept"] == page.locator(".rl-explorer .rl-small").last.inner_text()
    grip(page, "B").press("1")
    press(page, LABELS["compare"])
    line = json.loads(download(page, tmp_path).read_text(encoding="utf-8"))
    assert line["ranks"] == [1, 0, 2, 3, 4]


@pytest.mark.parametrize(
    "kept",
    [
        "{",
        "3",
        '{"prompt": "length", "rankings": []}',
        '{"prompt": 0, "rankings": [{"order": [0, 0, 1, 2, 3], "tied": [], "done": true}]}',
        '{"prompt": 0, "rankings": [{"order": [1, 0, 2, 3, 4], "tied": [true, 1], "done": 1}]}',
    ],
)
def test_what_others_left_in_the_storage_is_ignored(
    widget: Any, published_ranking: Any, kept: str
) -> None:
    seen = widget()
    page = seen.page
    name = f"rlhf-lab:{published_ranking['id']}"
    page.evaluate("([name, text]) => localStorage.setItem(name, text)", [name, kept])
    page.reload()
    page.wait_for_selector("rlhf-explorer[data-ready]")
    assert letters(page) == "ABCDE"
    assert not seen.errors


# --- every reader -----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_finding_and_no_sideways_scroll(
    widget: Any, audit: Any, scheme: str, width: int
) -> None:
    seen = widget(scheme=scheme, width=width, bypass_csp=True)
    page = seen.page
    press(page, LABELS["compare"])
    press(page, LABELS["next"])  # the hostile answer, long and without spaces
    page.get_by_role("button", name=LABELS["tie"].format(answer="C")).click()
    press(page, LABELS["compare"])
    page.locator("rlhf-explorer summary").click()
    audit(seen, width)


def test_answers_stay_text(widget: Any, published_ranking: Any) -> None:
    seen = widget()
    page = seen.page
    press(page, LABELS["forward"])
    texts = [text.strip() for text in page.locator(".rl-text").all_inner_texts()]
    hostile = [text for text in texts if "onerror" in text]
    assert hostile == [t for t in published_ranking["prompts"][1]["completions"] if "onerror" in t]
    assert page.locator("rlhf-explorer :is(img, script, a:not([download]), iframe)").count() == 0
    assert page.evaluate("window.ran") is None
    assert not seen.errors


def test_labels_and_names_stay_text(render: Any, published_ranking: Any) -> None:
    hostile = "<img src=x onerror=window.ran=1></script><script>window.ran=1</script>"
    named = {**published_ranking, "labelers": [hostile] * len(published_ranking["labelers"])}
    marked = {name: f"{name} {hostile} {{answer}}" for name in LABELS}
    given = {"data": ranking.data(named), "labels": marked, "language": "en"}
    seen = render("ranking", given)
    page = seen.page
    page.locator(".rl-primary").first.click()
    page.locator("summary").click()
    page.locator("tbody tr").first.wait_for()
    assert page.locator("img, script, a:not([download]), iframe").count() == 0
    assert hostile in page.locator(".rl-sentence").inner_text()
    assert page.evaluate("window.ran") is None
    assert not seen.errors


def test_without_scripts_the_agreement_of_the_labelers(small_address: str, visit: Any) -> None:
    seen = visit(f"{small_address}/book/ranking.html", java_script_enabled=False)
    assert seen.page.locator(".rl-still svg").bounding_box()["height"] > 200
    assert seen.page.locator("rlhf-explorer .rl-missed").is_visible()
    seen.page.locator("rlhf-explorer summary").click()
    assert seen.page.locator("rlhf-explorer tbody tr").count() == 6


def test_in_a_notebook(notebook: Any, published_ranking: Any) -> None:
    """Each move reaches the kernel once, and what the kernel says is shown."""
    seen = notebook("ranking", ranking.data(published_ranking), LABELS)
    page = seen.page
    assert page.evaluate("kernel.model.saved") == 0
    grip(page, "A").press("ArrowDown")
    assert page.evaluate("[kernel.model.saved, window.reachedJupyter]") == [1, 0]
    press(page, LABELS["compare"])
    told = page.evaluate("kernel.values.rankings")
    (record,) = ranking.records(published_ranking, told)
    assert record.ranks == (1, 0, 2, 3, 4)
    page.evaluate("kernel.set('prompt', 2)")
    assert page.locator(".rl-answer").count() == 9
    assert page.evaluate("kernel.model.saved") == 2  # what the kernel said is not said back
    page.evaluate("window.remove()")
    assert page.evaluate("kernel.listening()") == 0
    assert not seen.errors
