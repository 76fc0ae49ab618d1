"""How long does an explorer of the book take to answer the first key that a reader presses?

The small book of the tests is built and served, and each page opened anew in Debian's Chromium for
every measurement. From the key press to the picture that shows its effect: by the clock, and as
CPU time of the page's main thread, which hardly depends on what else the machine does. The clock is
split into the way of the event to the page, the page's own listeners with the wait for the next
frame (up to 17 ms), and that frame. Later presses on the same page are measured too.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS
from rlhf_lab.files import atomic_write
from rlhf_lab.provenance import manifest

ROOT = Path(__file__).parents[1]
SMALL = ROOT / "tests" / "book" / "fixture"
LIMIT_MS = 50
VISITS, PRESSES = 15, 10
PARTS = ("TaskDuration", "ScriptDuration", "RecalcStyleDuration", "LayoutDuration")
# From the event to the picture of its effect: the first task after the frame that follows it.
REACTION = """
() => {
  window.reaction = new Promise((done) => {
    addEventListener("keydown", (event) => {
      const arrived = performance.now();
      requestAnimationFrame(() => {
        const frame = performance.now();
        setTimeout(() => {
          const end = performance.now();
          done({
            clock_ms: end - event.timeStamp,
            delivery_ms: arrived - event.timeStamp,
            until_frame_ms: frame - arrived,
            frame_ms: end - frame,
          });
        });
      });
    }, { once: true, capture: true });
  });
}
"""


@dataclass(frozen=True)
class Probe:
    """A page of the small book, what is focused there, and which keys are pressed."""

    page: str
    selector: str
    keys: tuple[str, str] = ("ArrowLeft", "ArrowRight")  # there and back


RANGE = "rlhf-explorer input[type=range]"
FORTH = ("ArrowRight", "ArrowLeft")
PROBES = {
    "PPO clip": Probe("explorer", "rlhf-explorer input"),
    "β×γ, from β = 0": Probe("sweep", RANGE, FORTH),
    "token inspector": Probe("tokens", ".rl-token[tabindex='0']", FORTH),
    "over-optimisation": Probe("optimise", RANGE, FORTH),
    "ranking, an answer moves": Probe("ranking", ".rl-grip", ("ArrowDown", "ArrowUp")),
    "timeline, a card opens": Probe("lineage", ".rl-row[tabindex='0']", ("Enter", "Enter")),
    "model chooser": Probe("chooser", RANGE, FORTH),
}
# Files of the book that the small one shows and has no copy of, and their names there.
DATA = {"results/labeling/ranking.json": "ranking.json", "data/models.yaml": "models.yaml"}


def run() -> None:
    """Measure every explorer and write results/reactions.json."""
    from playwright.sync_api import sync_playwright

    started = time.time()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("no Chromium here; on Debian: apt-get install chromium")
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = build_small_book(Path(folder))
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        version = browser.version
        with served(site) as address:
            for name, probe in PROBES.items():
                rows.append({"explorer": name} | measure(browser, address, probe))
                print(f"  {describe(rows[-1])}", flush=True)
        browser.close()
    about = manifest("python -m benchmarks reactions", {}, [], started) | {"chromium": version}
    text = json.dumps({"manifest": about, "results": rows}, indent=1, ensure_ascii=False) + "\n"
    atomic_write(RESULTS / "reactions.json", text)


def measure(browser: Any, address: str, probe: Probe) -> dict[str, Any]:
    """First and later presses of one explorer: medians, and the slowest first one."""
    first: list[dict[str, float]] = []
    later: list[dict[str, float]] = []
    for _ in range(VISITS):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(f"{address}/book/{probe.page}.html", wait_until="networkidle")
        page.locator("rlhf-explorer").scroll_into_view_if_needed()
        page.wait_for_selector("rlhf-explorer[data-ready]")
        protocol = context.new_cdp_session(page)
        protocol.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.locator(probe.selector).first.focus()
        page.wait_for_timeout(300)  # what came with the page has been drawn
        before = page.locator("rlhf-explorer").inner_text()
        first.append(press(page, protocol, probe.keys[0]))
        if page.locator("rlhf-explorer").inner_text() == before:
            sys.exit(f"{probe.page}: {probe.keys[0]} changed nothing, so nothing was measured")
        later += [press(page, protocol, probe.keys[(i + 1) % 2]) for i in range(PRESSES)]
        context.close()
    return {
        "first": medians(first),
        "first_slowest_ms": max(row["clock_ms"] for row in first),
        "later": medians(later),
    }


def press(page: Any, protocol: Any, key: str) -> dict[str, float]:
    """Milliseconds of one press: by the clock, and of the main thread's CPU by what it did."""
    page.evaluate(REACTION)
    before = counters(protocol)
    page.keyboard.press(key)
    clock: dict[str, float] = page.evaluate("() => window.reaction")
    after = counters(protocol)
    spent = {name: 1000 * (after[name] - before[name]) for name in PARTS}
    return clock | {f"{name[:-8].lower()}_ms": ms for name, ms in spent.items()}


def counters(protocol: Any) -> dict[str, float]:
    """Seconds of CPU of the main thread since the page began, by what it did."""
    found = protocol.send("Performance.getMetrics")["metrics"]
    return {metric["name"]: metric["value"] for metric in found}


def medians(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(row[name] for row in rows), 2) for name in rows[0]}


def describe(row: Mapping[str, Any]) -> str:
    """One line: the CPU time as a share of the limit, then both kinds of milliseconds."""
    first, later = row["first"], row["later"]
    return (
        f"{row['explorer']}: first {first['task_ms'] / LIMIT_MS:.2f} of the {LIMIT_MS} ms allowed "
        f"({first['task_ms']:.1f} ms CPU: script {first['script_ms']:.1f}, style "
        f"{first['recalcstyle_ms']:.1f}, layout {first['layout_ms']:.1f}; "
        f"{first['clock_ms']:.1f} ms by the clock: delivery {first['delivery_ms']:.1f}, until the "
        f"frame {first['until_frame_ms']:.1f}, frame {first['frame_ms']:.1f}; slowest "
        f"{row['first_slowest_ms']:.1f}); "
        f"later {later['task_ms']:.1f} ms CPU, {later['clock_ms']:.1f} ms by the clock"
    )


def build_small_book(folder: Path) -> Path:
    """The pages of :data:`PROBES`, built as the tests build them: the folder of the site."""
    book = folder / "book"
    shutil.copytree(SMALL, folder, dirs_exist_ok=True)
    shutil.copy(ROOT / "_config.yml", folder)
    for name in ("_ext", "_static"):
        shutil.copytree(ROOT / "book" / name, book / name, dirs_exist_ok=True)
    shutil.copy(ROOT / "book" / "references.bib", book)
    for name, copy in DATA.items():
        shutil.copy(ROOT / "book" / name, book / "data" / copy)
    pages = "".join(f"  - file: book/{probe.page}\n" for probe in PROBES.values())
    toc = f"format: jb-book\nroot: book/index\nchapters:\n{pages}"
    (folder / "_toc.yml").write_text(toc, encoding="utf-8")
    build = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", build, "build", str(folder), "--all"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    return folder / "_build" / "html"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder while the body runs."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
