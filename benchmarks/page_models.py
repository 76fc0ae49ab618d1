"""How fast do the published models answer in a browser, and how much does it download?

Serves the modules and models from this machine to its Chromium, presses the button, and notes when
the first token of every model and the last of all is on the page: first with nothing loaded, then
again and again with all models there.
"""

from __future__ import annotations

import functools
import gzip
import http.server
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.report import write
from rlhf_lab.widgets import files, model_answers

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "book" / "results" / "quickstart" / "models" / model_answers.FILE
TIMES = 5
WAIT = 300_000  # milliseconds

# Presses the button and tells, in milliseconds from there, when tokens came to each column.
PRESS = """
() => new Promise((done) => {
  const pressed = performance.now();
  const columns = [...document.querySelectorAll(".rl-written")];
  const came = columns.map(() => []);
  const observers = columns.map((column, i) => {
    const note = (records) => {
      const added = records.reduce((sum, { addedNodes }) => sum + addedNodes.length, 0);
      for (let n = 0; n < added; n += 1) came[i].push(performance.now() - pressed);
    };
    const observer = new MutationObserver(note);
    observer.observe(column, { childList: true });
    return observer;
  });
  const [answer, stop] = ["rl-primary", "rl-button:not(.rl-primary)"].map((name) =>
    document.querySelector(`.rl-bar-start .${name}`),
  );
  new MutationObserver((_, observer) => {
    if (!stop.hidden) return;
    observer.disconnect();
    for (const each of observers) each.disconnect();
    done(came);
  }).observe(stop, { attributes: true });
  answer.click();
})
"""


def run() -> None:
    """Measure, print, and write ``results/page_models.json``. Needs the extra [test]."""
    from playwright.sync_api import sync_playwright

    started = time.time()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("  no Chromium here; on Debian: apt-get install chromium")
        return
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        sizes = write_page(Path(folder))
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        with served(Path(folder)) as address:
            page = browser.new_page()
            page.set_default_timeout(WAIT)
            page.goto(address)
            page.wait_for_selector("rlhf-explorer[data-ready]")
            first = speed(page.evaluate(PRESS))
            again = [speed(page.evaluate(PRESS)) for _ in range(TIMES)]
        version = browser.version
        browser.close()
    result = {
        "download": sizes,
        "first_press": first,
        "later_presses": {
            name: statistics.median(found[name] for found in again) for name in again[0]
        },
        "chromium": version,
    }
    print(json.dumps(result, indent=2))
    write("page_models", result, {}, started)


def write_page(folder: Path) -> dict[str, dict[str, int]]:
    """A page with nothing but the component; bytes of what is fetched, plain and compressed."""
    modules = folder / "components"
    modules.mkdir()
    for name in ("explorer.js", *files.MODULES):
        shutil.copy(files.STATIC / name, modules)
    shutil.copytree(files.STATIC / files.RUNTIME, modules / files.RUNTIME)
    model_answers.write_site(PUBLISHED, folder)
    given = {
        "data": model_answers.data(PUBLISHED),
        "labels": files.labels(model_answers.NAME),
        "language": "en",
    }
    text = json.dumps(given).replace("<", "\\u003c")
    (folder / "index.html").write_text(
        '<!doctype html><link rel="icon" href="data:,">'
        f'<rlhf-explorer component="{model_answers.NAME}"><p class="rl-note"></p>'
        f'<script type="application/json">{text}</script></rlhf-explorer>'
        '<script src="components/explorer.js" defer></script>',
        encoding="utf-8",
    )
    models = folder / model_answers.SITE_FOLDER
    fetched = {
        path.relative_to(models).parts[1]: [] for path in sorted(models.glob("*/*/index.json"))
    }
    for path in sorted(models.rglob("*.*")):
        fetched[path.relative_to(models).parts[1]].append(path.read_bytes())
    fetched["modules"] = [path.read_bytes() for path in sorted((modules / files.RUNTIME).iterdir())]
    return {
        name: {
            "bytes": sum(map(len, contents)),
            "gzip_bytes": sum(len(gzip.compress(data, 6)) for data in contents),
        }
        for name, contents in fetched.items()
    }


def speed(came: list[list[float]]) -> dict[str, float]:
    """Of the times at which tokens came, in milliseconds: seconds, and tokens per second."""
    last = max(max(times) for times in came)
    earliest = min(times[0] for times in came)
    tokens = sum(map(len, came))
    return {
        "first_token_s": earliest / 1000,
        "first_token_of_all_s": max(times[0] for times in came) / 1000,
        "last_token_s": last / 1000,
        "tokens": tokens,
        "tokens_per_s": 1000 * (tokens - 1) / (last - earliest),
    }


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder's address on a plain server, in this process."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
