"""Every page of the site, as readers meet it: light and dark, on a phone and on a desk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

# Serious findings that are the theme's, with no harm to a reader that we know of: none so far.
KNOWN_AXE: frozenset[str] = frozenset()


def pages(site: Path) -> list[str]:
    found = (p.relative_to(site) for p in site.rglob("*.html"))
    return sorted(p.as_posix() for p in found if p.parts[0] not in ("_static", "reports"))


@pytest.mark.parametrize("width", [320, 1280])  # 320: zoomed to 400 %, or a small phone
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page(site: Path, address: str, visit: Any, scheme: str, width: int) -> None:
    names = pages(site)
    assert len(names) >= 4
    for name in names:
        seen = visit(f"{address}/{name}", scheme=scheme, width=width)
        figures = seen.see_all_figures()
        page = (site / name).read_text(encoding="utf-8")
        if 'http-equiv="refresh"' not in page:  # that one shows another page
            assert figures == page.count('class="rl-plot"')
        seen.page.wait_for_load_state("networkidle")
        size = seen.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        seen.page.close()
        assert not seen.errors, (name, seen.errors)
        assert not seen.foreign, (name, seen.foreign)
        assert size[0] <= size[1], f"{name} scrolls sideways at {width} px: {size[0]} px wide"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_finding(
    site: Path, address: str, visit: Any, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.base", reason="needs the extra [test]")
    script = Path(axe.AXE_FILE_PATH).read_text(encoding="utf-8")
    for name in pages(site):
        # axe is put in by the test, not by the page: the page's policy must not stop it.
        seen = visit(f"{address}/{name}", scheme=scheme, bypass_csp=True)
        seen.see_all_figures()
        seen.page.wait_for_load_state("networkidle")
        seen.page.evaluate(script)
        found = seen.page.evaluate("axe.run()")["violations"]
        seen.page.close()
        serious = {
            f"{v['id']}: {v['nodes'][0]['html'][:200]}"
            for v in found
            if v["impact"] in ("serious", "critical") and v["id"] not in KNOWN_AXE
        }
        assert not serious, (name, serious)


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


def test_without_scripts_the_drawing_stands(small_address: str, visit: Any) -> None:
    seen = visit(f"{small_address}/book/figures.html", java_script_enabled=False)
    drawings = seen.page.locator(".rl-plot svg.rl-static")
    assert drawings.count() == 4
    assert all(drawings.nth(i).bounding_box()["height"] > 200 for i in range(4))


def test_opened_from_disk(small_site: Path, visit: Any) -> None:
    """Text, mathematics and figures without a server; nothing else is promised there."""
    seen = visit(f"file://{small_site}/book/figures.html")
    assert seen.see_all_figures() == 4
    assert not seen.errors
    seen.page.goto(f"file://{small_site}/book/index.html")
    seen.page.wait_for_selector("mjx-container svg, mjx-container mjx-math")
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
          await new Promise((done) => setTimeout(done, 200));
          return [[...stopped].sort(), window.intruder === undefined];
        }"""
    )
    assert stopped == [["connect-src", "frame-src", "script-src", "script-src-elem"], True]
