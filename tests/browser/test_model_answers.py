"""Models that answer in the page, as readers use them: by mouse, by keyboard, on a phone.

The page is that of the small book, so that its policy, its theme and its scripts are the real ones.
What the models compute is compared with PyTorch in test_language_model.py; here it is compared with
the answers that were published beside them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlhf_lab.widgets import model_answers
from rlhf_lab.widgets.files import labels

pytestmark = pytest.mark.browser

LABELS = labels("model-answers")
TITLES = ["base", "SFT", "PPO, γ = 0", "PPO-ptx"]
NAMES = ["tiny", "sft", "ppo", "ppo-ptx"]
WAIT = 120_000  # milliseconds, for a machine that is busy


@pytest.fixture
def opened(open_explorer: Callable[..., Any]) -> Callable[..., Any]:
    """Open the page and wait until the component answers."""

    def open_page(**options: Any) -> Any:
        seen = open_explorer("answers", **options)
        seen.page.set_default_timeout(WAIT)
        return seen

    return open_page


@pytest.fixture(scope="session")
def examples(published_models: Path) -> list[dict[str, Any]]:
    published = json.loads((published_models / model_answers.FILE).read_text(encoding="utf-8"))
    return list(published["examples"])


def button(page: Any, name: str) -> Any:
    return page.get_by_role("button", name=LABELS[name], exact=True)


def wait_for_the_end(page: Any) -> None:
    button(page, "stop").wait_for(state="hidden")


def said(page: Any) -> list[str]:
    """The answers in sight, without the sign of their end."""
    script = "box => [...box.querySelectorAll('.rl-piece:not(.rl-end)')].map(n => n.textContent)"
    boxes = page.locator(".rl-written")
    return ["".join(boxes.nth(i).evaluate(script)) for i in range(boxes.count())]


def requested(page: Any) -> list[str]:
    """Addresses of the files of models that the page asks for, as it goes on."""
    seen: list[str] = []
    page.on("request", lambda r: "/_static/models/" in r.url and seen.append(r.url))
    return seen


# --- asking and reading -----------------------------------------------------------------------


def test_by_mouse(opened: Any, examples: Any) -> None:
    """An example, the button, the published answers; then a token, by its four probabilities."""
    seen = opened()
    page, files = seen.page, requested(seen.page)
    total = page.locator(".rl-status").inner_text()
    assert total.startswith("The first press downloads ")
    page.get_by_role("button", name=examples[0]["prompt"].strip()).click()
    assert page.get_by_role("textbox", name="Prompt").input_value() == examples[0]["prompt"].strip()
    assert files == []  # nothing before the reader asks
    button(page, "answer").click()
    wait_for_the_end(page)
    assert said(page) == [examples[0]["answers"][name] for name in NAMES]
    assert page.locator(".rl-column .rl-heading").all_inner_texts() == TITLES
    assert page.locator(".rl-status").inner_text() == LABELS["done"]
    spoken = page.locator(".rl-spoken p").all_text_contents()
    expected = {f"{t} answers: {text}" for t, text in zip(TITLES, said(page), strict=True)}
    assert set(spoken) == expected
    weights = [url for url in files if ".safetensors" in url]
    assert len(weights) == 4
    page.locator(".rl-written").nth(2).locator(".rl-piece").nth(1).click()
    table = page.locator(".rl-expected")
    table.wait_for()
    assert table.locator("thead th").all_inner_texts() == [LABELS["token"], *TITLES]
    rows = [row.split("\t") for row in table.locator("tbody tr").all_inner_texts()]
    numbers = [[float(cell) for cell in row[1:]] for row in rows]
    for column in zip(*numbers, strict=True):
        assert sum(column) == pytest.approx(100, abs=0.05 * len(rows) + 1e-9)
    first = page.locator(".rl-written").nth(2).locator(".rl-piece").first.inner_text()
    sentence = page.locator(".rl-sentence").inner_text()
    assert sentence.startswith(f"After “{first.strip()}”, PPO, γ = 0 wrote “")
    assert LABELS["written"] in table.locator("tbody").inner_text()
    kl = table.locator("tfoot td").all_inner_texts()
    assert kl[1] == "–"
    assert all(float(value) >= 0 for value in (kl[0], *kl[2:]))
    # Asked again, nothing is fetched again.
    button(page, "answer").click()
    wait_for_the_end(page)
    assert len([url for url in files if ".safetensors" in url]) == 4
    assert not table.is_visible()
    assert not seen.errors
    assert not seen.foreign


def test_by_keyboard(opened: Any) -> None:
    seen = opened()
    page = seen.page
    field = page.get_by_role("textbox", name="Prompt")
    field.fill("who is red?")
    field.press("Shift+Enter")
    assert field.input_value() == "who is red?\n"
    field.press("Enter")
    wait_for_the_end(page)
    page.locator(".rl-written .rl-piece").first.wait_for()
    greedy = said(page)
    pieces = page.locator(".rl-written").first.locator(".rl-piece")
    assert page.locator('.rl-written [tabindex="0"]').count() == 4
    pieces.first.focus()
    page.keyboard.press("ArrowRight")
    page.locator(".rl-expected").wait_for()
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    page.keyboard.press("Home")
    assert page.locator(".rl-sentence").inner_text().startswith("As its first token, base wrote")
    page.keyboard.press("End")
    assert pieces.last.get_attribute("aria-selected") == "true"
    assert pieces.last.evaluate("e => e === document.activeElement")
    # Warm, with a seed: other answers, and the same ones for the same seed.
    warmth = page.get_by_role("slider")
    assert warmth.get_attribute("aria-valuetext") == LABELS["temperature_zero_spoken"]
    seed = page.get_by_role("spinbutton", name="seed")
    assert seed.is_disabled()
    warmth.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert warmth.get_attribute("aria-valuetext") == "temperature 1.0"
    drawn = []
    for number in ("3", "4", "3"):
        seed.fill(number)
        button(page, "answer").focus()
        page.keyboard.press("Enter")
        wait_for_the_end(page)
        drawn.append(said(page))
        assert button(page, "answer").evaluate("e => e === document.activeElement")
    assert drawn[0] == drawn[2]
    assert drawn[0] != drawn[1]
    assert drawn[0] != greedy
    assert not seen.errors


def test_stop(opened: Any) -> None:
    """While it is fetched, and while it is written."""
    seen = opened()
    page = seen.page
    held: list[Any] = []
    page.route("**/model.safetensors*", lambda route: held.append(route))
    button(page, "answer").click()
    page.wait_for_function("() => document.querySelector('rlhf-explorer progress').value > 0")
    assert page.locator(".rl-status").inner_text().startswith("Fetching the models: ")
    button(page, "stop").click()
    wait_for_the_end(page)
    assert page.locator(".rl-status").inner_text() == LABELS["stopped"]
    page.unroute("**/model.safetensors*")
    page.evaluate(
        """() => {
          const box = document.querySelector('.rl-written');
          new MutationObserver((_, observer) => {
            if (box.querySelectorAll('.rl-piece').length < 2) return;
            observer.disconnect();
            document.querySelectorAll('.rl-bar button').forEach((button) => {
              if (button.textContent === 'Stop') button.click();
            });
          }).observe(box, { childList: true });
        }"""
    )
    button(page, "answer").click()
    wait_for_the_end(page)
    assert page.locator(".rl-status").inner_text() == LABELS["stopped"]
    assert page.locator(".rl-column").first.locator(".rl-small").inner_text() == LABELS["stopped"]
    assert 2 <= page.locator(".rl-written").first.locator(".rl-piece").count() < 8
    button(page, "answer").click()
    wait_for_the_end(page)
    assert page.locator(".rl-status").inner_text() == LABELS["done"]


# --- what goes wrong --------------------------------------------------------------------------


def test_a_file_that_does_not_come_can_be_asked_for_again(opened: Any, examples: Any) -> None:
    seen = opened()
    page = seen.page
    page.route("**/ppo/difference.safetensors*", lambda route: route.abort())
    button(page, "answer").click()
    wait_for_the_end(page)
    alert = page.locator(".rl-failures")
    assert alert.get_attribute("role") == "alert"
    assert alert.inner_text() == f"PPO, γ = 0: {LABELS['error_network']}"
    assert [bool(text) for text in said(page)] == [True, True, False, True]
    page.unroute("**/ppo/difference.safetensors*")
    button(page, "answer").click()
    wait_for_the_end(page)
    assert alert.inner_text() == ""
    assert said(page) == [examples[0]["answers"][name] for name in NAMES]


def test_no_network_at_all_is_one_sentence(opened: Any) -> None:
    seen = opened()
    seen.page.route("**/_static/models/**", lambda route: route.abort())
    button(seen.page, "answer").click()
    wait_for_the_end(seen.page)
    assert seen.page.locator(".rl-failures p").all_inner_texts() == [LABELS["error_network"]]


@pytest.mark.parametrize(
    ("prompt", "seed", "code"),
    [
        ("  \n ", "0", "empty-prompt"),
        ("the " * 300, "0", "prompt-too-long"),
        ("who is red?", "-1", "invalid-option"),
        ("who is red?", "", "invalid-option"),
    ],
)
def test_what_cannot_be_answered_is_said(opened: Any, prompt: str, seed: str, code: str) -> None:
    page = opened().page
    page.get_by_role("textbox", name="Prompt").fill(prompt)
    page.get_by_role("slider").fill("0.5")
    page.get_by_role("spinbutton", name="seed").fill(seed)
    button(page, "answer").click()
    wait_for_the_end(page)
    expected = LABELS[f"error_{code}"].replace("{context}", "256")
    assert page.locator(".rl-failures p").all_inner_texts() == [expected]


def test_a_worker_that_does_not_start(
    small_site: Path, visit: Any, serve_folder: Any, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(small_site, broken)
    (broken / "_static/components/language-model/worker.js").unlink()
    page = visit(f"{serve_folder(broken)}/book/answers.html").page
    page.locator("rlhf-explorer").scroll_into_view_if_needed()
    page.wait_for_selector("rlhf-explorer[data-ready]")
    button(page, "answer").click()
    wait_for_the_end(page)
    assert page.locator(".rl-failures p").all_inner_texts() == [LABELS["error_worker"]]


# --- every reader -----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_finding_and_no_sideways_scroll(
    opened: Any, audit: Any, scheme: str, width: int
) -> None:
    # axe is put in by the test, not by the page: the page's policy must not stop it.
    seen = opened(scheme=scheme, width=width, bypass_csp=True)
    page = seen.page
    button(page, "answer").click()
    wait_for_the_end(page)
    page.locator(".rl-written .rl-piece").first.click()
    page.locator(".rl-expected").wait_for()
    tops = [page.locator(".rl-column").nth(i).bounding_box()["y"] for i in range(4)]
    assert len(set(tops)) == (4 if width == 360 else 1)
    audit(seen, width)


def test_before_and_after_a_failure_there_is_no_finding(opened: Any, audit: Any) -> None:
    seen = opened(bypass_csp=True)
    audit(seen, 1280)
    seen.page.route("**/_static/models/**", lambda route: route.abort())
    button(seen.page, "answer").click()
    wait_for_the_end(seen.page)
    seen.errors.clear()  # the files that did not come
    audit(seen, 1280)


def test_without_scripts_the_published_answers(
    small_address: str, visit: Any, examples: Any
) -> None:
    seen = visit(f"{small_address}/book/answers.html", java_script_enabled=False)
    assert seen.page.locator("rlhf-explorer .rl-missed").inner_text() == LABELS["still"]
    table = seen.page.locator("rlhf-explorer table")
    rows = table.locator("tbody tr")
    assert rows.count() == len(examples)
    for i, example in enumerate(examples):
        cells = [text.strip() for text in rows.nth(i).locator("td").all_text_contents()]
        assert cells == [example["answers"][name].strip() for name in NAMES]
    assert table.locator("img, script, a").count() == 0
    assert seen.page.locator("rlhf-explorer button").count() == 0


def test_from_disk_the_published_answers_and_a_sentence(small_site: Path, visit: Any) -> None:
    seen = visit(f"file://{small_site}/book/answers.html")
    seen.page.locator("rlhf-explorer .rl-unseen").wait_for(state="visible")
    assert seen.page.locator("rlhf-explorer table").is_visible()
    assert not seen.errors


# --- hostile texts ----------------------------------------------------------------------------


def test_hostile_prompts_and_answers_stay_text(opened: Any, examples: Any) -> None:
    """As a prompt, and as answers: a worker in the real one's place writes them."""
    seen = opened()
    page = seen.page
    hostile = examples[1]["prompt"].strip()
    assert "onerror" in hostile
    page.get_by_role("button", name=hostile).click()
    assert page.get_by_role("textbox", name="Prompt").input_value() == hostile
    page.route(
        "**/language-model/worker.js",
        lambda route: route.fulfill(content_type="text/javascript", body=HOSTILE_WORKER),
    )
    button(page, "answer").click()
    wait_for_the_end(page)
    assert said(page) == [HOSTILE] * 4
    page.locator(".rl-written .rl-piece").first.click()
    page.locator(".rl-expected").wait_for()
    assert HOSTILE.replace(" ", "·") in page.locator(".rl-expected").inner_text()
    assert HOSTILE in page.locator(".rl-spoken").text_content()
    assert page.locator("rlhf-explorer").locator("img, a, iframe, script").count() == 0
    assert page.evaluate("window.ran") is None
    assert not seen.errors


def test_hostile_labels_and_titles_stay_text(
    small_address: str, visit: Any, published_models: Path
) -> None:
    seen = visit(f"{small_address}/book/answers.html")
    data = model_answers.data(published_models / model_answers.FILE)
    for model in data["models"]:
        model["title"] = HOSTILE
    given = {
        "data": data,
        "labels": {name: f"{HOSTILE} {text}" for name, text in LABELS.items()},
        "language": "en",
    }
    seen.page.evaluate(
        """async (given) => {
          const { render } = await import("../_static/components/model-answers.js");
          const root = document.createElement("div");
          root.id = "hostile";
          root.className = "rl-explorer";
          document.querySelector("main").append(root);
          render({ root, ...JSON.parse(given) });
        }""",
        json.dumps(given),
    )
    root = seen.page.locator("#hostile")
    root.locator(".rl-primary").click()
    root.locator(".rl-status", has_text=LABELS["done"]).wait_for()
    root.locator(".rl-piece").first.click()
    root.locator(".rl-expected").wait_for()
    assert root.locator("img, a, iframe, script").count() == 0
    assert seen.page.evaluate("window.ran") is None
    assert not seen.errors


HOSTILE = "<img src=x onerror=window.ran=1></script><script>window.ran=1</script> [a](javascript:1)"
HOSTILE_WORKER = f"""
const text = {json.dumps(HOSTILE)};
onmessage = ({{ data: {{ type, id, names }} }}) => {{
  const place = {{ tokens: [{{ text }}], written: 0, probabilities: names?.map(() => [0.5]) }};
  place.kl = names?.map(() => 0.1);
  const token = {{ id: 5, text, logprob: -1, isEnd: false }};
  if (type === "generate") postMessage({{ type: "token", id, token }});
  const result = {{
    load: {{ context: 256, parameters: 1 }},
    generate: {{ text, tokens: [5], promptTokens: 1, finishReason: "eos" }},
    compare: [place],
  }}[type];
  postMessage({{ type: "result", id, result }});
}};
"""
