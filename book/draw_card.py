"""Draw the picture that a link preview shows: ``python book/draw_card.py``, run by hand.

What a reward model sees and what it was meant to measure, against the square root of the KL
divergence, in the forms of Gao et al. 2022. There are no words in it: the preview brings the
page's title, in the page's language. Playwright and Chromium turn ``card.svg`` into ``card.png``;
both are kept, and a test compares the picture with the hash of its drawing that the PNG carries.
"""

from __future__ import annotations

import hashlib
import io
import math
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image, PngImagePlugin

FOLDER = Path(__file__).parent / "_static"
WIDTH, HEIGHT = 1200, 630  # what previews are cut to
LEFT, RIGHT, TOP, BOTTOM = 110, 1090, 90, 540
INK, GRID, PROXY, GOLD = "#14181e", "#2a313b", "#ff8f45", "#56b4e9"


def proxy(d: float) -> float:
    """What the reward model gives at distance d = √KL, 0 to 1: it goes on rising."""
    return 0.98 * d**0.52


def gold(d: float) -> float:
    """What the answers are worth: d·(α − β·log d), which turns."""
    return d * (0.16 - 1.15 * math.log(d)) if d > 0 else 0.0


def curve(height: Callable[[float], float], points: int = 120) -> str:
    """An SVG path through the function's values on [0, 1]."""
    places = (
        (LEFT + (RIGHT - LEFT) * i / points, BOTTOM - (BOTTOM - TOP) * height(i / points))
        for i in range(points + 1)
    )
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def drawing() -> str:
    """The card as SVG."""
    lines = "".join(
        f'<path d="M{LEFT} {y:.0f}H{RIGHT}"/>'
        for y in (TOP + (BOTTOM - TOP) * i / 4 for i in range(5))
    )
    peak = math.exp(0.16 / 1.15 - 1)
    x, y = LEFT + (RIGHT - LEFT) * peak, BOTTOM - (BOTTOM - TOP) * gold(peak)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{INK}"/>'
        f'<g stroke="{GRID}" stroke-width="2">{lines}</g>'
        '<g fill="none" stroke-width="12" stroke-linecap="round" stroke-linejoin="round">'
        f'<path d="{curve(proxy)}" stroke="{PROXY}" stroke-dasharray="4 26"/>'
        f'<path d="{curve(gold)}" stroke="{GOLD}"/></g>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="20" fill="{INK}" stroke="{GOLD}" stroke-width="10"/>'
        "</svg>\n"
    )


def picture(svg: str) -> bytes:
    """The drawing as PNG, with the drawing's hash in a text field of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_content(f'<body style="margin:0">{svg}</body>')
        shot = page.screenshot()
        browser.close()
    colours = Image.open(io.BytesIO(shot)).convert("RGB").quantize(64)
    note = PngImagePlugin.PngInfo()
    note.add_text("drawing", hashlib.sha256(svg.encode()).hexdigest())
    out = io.BytesIO()
    colours.save(out, "PNG", pnginfo=note, optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    svg = drawing()
    (FOLDER / "card.svg").write_text(svg, encoding="utf-8")
    (FOLDER / "card.png").write_bytes(picture(svg))
