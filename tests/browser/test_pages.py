"""What a page does for its readers: figures, search, print, copying, without scripts, from disk."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_a_figure_follows_the_theme_and_the_width(small_address: str, visit: Any) -> None:
    seen = visit(f"{small_address}/book/figures.html")
    assert seen.see_all_figures() == 4
    page = seen.page
    line = page.locator(".rl-plot .scatterlayer .js-line").first
    light = line.evaluate("e => getComputedStyle(e).stroke")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_function(
        "([e, old]) => getComputedStyle(document.querySelector("
        "'.rl-plot .scatterlayer .js-line')).stroke !== old",
        arg=[None, light],
    )
    assert page.locator(".rl-plot svg.rl-static").count() == 0
    page.set_viewport_size({"width": 360, "height": 800})
    page.wait_for_function(
        "() => [...document.querySelectorAll('.rl-plot .main-svg')]"
        ".every(e => e.clientWidth <= 360)"
    )


def test_the_data_of_a_figure_by_keyboard(small_address: str, visit: Any, tmp_path: Path) -> None:
    seen = visit(f"{small_address}/book/figures.html")
    page = seen.page
    summary = page.locator(".rl-figure summary").first
    summary.focus()
    page.keyboard.press("Enter")
    table = page.locator(".rl-figure table").first
    assert table.is_visible()
    with page.expect_download() as download:
        page.locator(".rl-figure a[download]").first.click()
    download.value.save_as(tmp_path / "data.csv")
    lines = (tmp_path / "data.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("γ,PPO step,")
    assert len(lines) == 1 + table.locator("tbody tr").count()


def test_formulas_off_the_screen_come_when_a_reader_moves(small_address: str, visit: Any) -> None:
    """MathJax is large: a page whose first screen has no formula does not ask for it."""
    page = visit(f"{small_address}/book/index.html").page
    page.set_viewport_size({"width": 1280, "height": 60})  # of the title alone
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload(wait_until="networkidle")
    assert asked and not [url for url in asked if "mathjax" in url]
    assert page.locator(".math").count() > page.locator("mjx-container").count() == 0
    page.mouse.move(9, 9)
    page.wait_for_selector("html[data-formulas=set]", state="attached")
    assert page.locator(".math mjx-container").count() == page.locator(".math").count()


def test_formulas_come_to_a_reader_who_never_moves(small_address: str, visit: Any) -> None:
    page = visit(f"{small_address}/book/index.html").page
    page.set_viewport_size({"width": 1280, "height": 60})
    page.reload()
    page.wait_for_selector("html[data-formulas=set]", state="attached")
    assert page.locator(".math mjx-container").count() == page.locator(".math").count()


def test_a_wide_equation_shows_its_beginning(small_address: str, visit: Any) -> None:
    page = visit(f"{small_address}/book/index.html", width=360).page
    page.wait_for_selector("div.math mjx-math")
    frame = page.locator("div.math").first
    assert frame.evaluate("e => e.scrollWidth > e.clientWidth")
    left = "e => e.getBoundingClientRect().left"
    assert frame.locator("mjx-math").evaluate(left) >= frame.evaluate(left)
    number = frame.locator(".eqno").evaluate("e => e.getBoundingClientRect().left")
    assert number > frame.locator("mjx-math").evaluate("e => e.getBoundingClientRect().right") - 1


def test_without_scripts_the_drawing_stands(small_address: str, visit: Any) -> None:
    seen = visit(f"{small_address}/book/figures.html", java_script_enabled=False)
    drawings = seen.page.locator(".rl-plot svg.rl-static")
    assert drawings.count() == 4
    assert all(drawings.nth(i).bounding_box()["height"] > 200 for i in range(4))


def test_without_scripts_a_phone_has_no_gap_below_a_drawing(small_address: str, visit: Any) -> None:
    """There the drawing is as low as it is narrow; the live one's height was kept for nobody."""
    url = f"{small_address}/book/figures.html"
    seen = visit(url, width=360, java_script_enabled=False)
    boxes, drawings = seen.page.locator(".rl-plot"), seen.page.locator(".rl-plot svg.rl-static")
    for i in range(4):
        box, drawing = boxes.nth(i).bounding_box(), drawings.nth(i).bounding_box()
        assert 120 < drawing["height"] < 300
        assert box["height"] - drawing["height"] < 8
    live = visit(url, width=360)
    live.see_all_figures()
    assert live.page.locator(".rl-plot").first.bounding_box()["height"] >= 400


def test_the_search_answers_while_one_types(small_address: str, visit: Any) -> None:
    """By keyboard alone; the index is not loaded before."""
    seen = visit(f"{small_address}/book/figures.html")
    page, loaded = seen.page, []
    page.on("request", lambda r: loaded.append(r.url))
    page.keyboard.press("Control+k")
    page.keyboard.type("mathematics", delay=20)
    page.wait_for_selector("#search-results .search li a")
    page.keyboard.press("Backspace")  # the index is there now; a single result once more
    page.wait_for_selector("#search-results .search li a")
    assert sum("searchindex.js" in url for url in loaded) == 1
    link = page.locator("#search-results .search li a").first
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/book/index.html**")
    assert not seen.errors


def test_the_page_of_results_has_them(small_address: str, visit: Any) -> None:
    seen = visit(f"{small_address}/search.html?q=mathematics")
    seen.page.wait_for_selector("#search-results .search li a[href^='book/index.html']")
    assert not seen.errors


@pytest.mark.parametrize("missing", ["gone.html", "book/gone.html", "a/b/c/gone.html"])
def test_a_lost_reader_is_led_home(
    small_site: Path, address_with_404: str, visit: Any, missing: str
) -> None:
    """A server shows the page under the missing address, wherever that is."""
    page = visit(f"{address_with_404}/{missing}").page
    assert page.locator("h1").is_visible()
    page.wait_for_selector("main a[href^='/']")
    page.fill("input", "mathematics")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "/search.html?q=mathematics" in page.url
    page.go_back()
    page.wait_for_selector("main a[href^='/']")
    page.click("a")
    page.wait_for_url(f"{address_with_404}/book/index.html")
    assert (small_site / "book" / "index.html").is_file()


def test_print_shows_the_text_alone(small_address: str, visit: Any) -> None:
    page = visit(f"{small_address}/book/index.html").page
    page.emulate_media(media="print")
    for hidden in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".headerlink", ".rl-note"):
        found = page.locator(hidden)
        assert all(not found.nth(i).is_visible() for i in range(found.count())), hidden
    assert page.locator("article p").first.is_visible()


def test_a_dark_page_is_printed_light(small_address: str, visit: Any) -> None:
    """Browsers leave backgrounds out: its own colours would be grey on white."""
    seen = visit(f"{small_address}/book/figures.html", scheme="dark")
    seen.see_all_figures()
    page = seen.page
    looks = """() => [["article h1", "color"], [".rl-plot .xtick text", "fill"]].map(
      ([selector, property]) => getComputedStyle(document.querySelector(selector))[property]
    ).map((colour) => Math.max(...colour.match(/[0-9]+/g).slice(0, 3).map(Number)))"""
    dark = page.evaluate(looks)
    assert min(dark) > 180
    page.emulate_media(media="print")
    page.wait_for_function(f"() => Math.max(...({looks})()) < 120")
    page.emulate_media(media="screen")
    page.wait_for_function(f"() => Math.min(...({looks})()) > 180")
    # What a print dialog tells a page.
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert not seen.errors


def test_code_can_be_copied(small_address: str, visit: Any) -> None:
    page = visit(f"{small_address}/book/index.html", permissions=["clipboard-read"]).page
    block = page.locator("div.highlight").first
    block.hover()
    block.locator("button.copybtn").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("def a_long_line_of_code(")


def test_opened_from_disk(small_site: Path, visit: Any) -> None:
    """Text, mathematics and figures without a server; nothing else is promised there."""
    seen = visit(f"file://{small_site}/book/figures.html")
    assert seen.see_all_figures() == 4
    assert not seen.errors
    seen.page.goto(f"file://{small_site}/book/index.html")
    seen.page.wait_for_selector("mjx-container svg, mjx-container mjx-math")
    assert not seen.errors
    seen.page.goto(f"file://{small_site}/404.html")
    seen.page.click("main a")
    seen.page.wait_for_url("**/book/index.html")
    assert not seen.errors


def test_search_from_disk_says_what_it_cannot_do(
    small_site: Path, small_address: str, visit: Any
) -> None:
    """A browser reads no other page from disk; with a server it shows the lines around a word."""
    word = "ladder"
    seen = visit(f"file://{small_site}/search.html?q={word}")
    page = seen.page
    found = page.locator("#search-results li")
    found.first.wait_for()
    page.wait_for_function(
        "() => document.querySelector('.search-summary')?.textContent.includes('1')"
    )
    assert found.locator("a").first.inner_text() == "A chapter of everything"
    assert page.locator("[data-from-disk]").is_visible()
    assert not seen.errors
    seen = visit(f"{small_address}/search.html?q={word}")
    seen.page.locator("#search-results p.context").first.wait_for()
    assert seen.page.locator("[data-from-disk]").is_hidden()
    assert not seen.errors


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_the_notebook_of_a_page_is_a_download(
    small_address: str, visit: Any, tmp_path: Path, way: str
) -> None:
    seen = visit(f"{small_address}/book/chapter.html", width=360)
    button = seen.page.get_by_role("link", name="Notebook")
    with seen.page.expect_download() as download:
        if way == "mouse":
            button.click()
        else:
            button.focus()
            seen.page.keyboard.press("Enter")
    download.value.save_as(tmp_path / "chapter.ipynb")
    notebook = json.loads((tmp_path / "chapter.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    assert not seen.errors


def test_hostile_text_runs_nothing(small_address: str, visit: Any) -> None:
    seen = visit(f"{small_address}/book/figures.html")
    dialogs: list[str] = []
    seen.page.on("dialog", lambda d: (dialogs.append(d.message), d.dismiss()))
    seen.see_all_figures()
    assert not dialogs
    assert seen.page.locator(".rl-figure img").count() == 0
    assert re.search("onerror=alert", seen.page.locator("figcaption").nth(1).inner_text())


def test_the_policy_stops_foreign_and_inline_scripts(small_address: str, visit: Any) -> None:
    seen = visit(f"{small_address}/book/index.html")
    stopped = seen.page.evaluate(
        """async () => {
          const stopped = new Set();
          document.addEventListener("securitypolicyviolation", (e) => {
            stopped.add(e.effectiveDirective);
          });
          const script = document.createElement("script");
          script.textContent = "window.intruder = 1";
          document.head.append(script);
          const frame = document.createElement("iframe");
          frame.src = "http://192.0.2.1/";
          document.body.append(frame);
          await fetch("http://192.0.2.1/").catch(() => {});
          setTimeout("window.intruder = 2");
          window.refused = [];
          setTimeout(() => {  // here, for what a driver runs itself may do everything
            for (const run of [() => eval("1"), () => new Function("return 1")()]) {
              try { run(); } catch (error) { window.refused.push(error.name); }
            }
          });
          await new Promise((done) => setTimeout(done, 200));
          return [[...stopped].sort(), window.intruder === undefined, window.refused];
        }"""
    )
    directives = ["connect-src", "frame-src", "script-src", "script-src-elem"]
    assert stopped == [directives, True, ["EvalError"] * 2]
