"""How do the built pages score in Lighthouse, on a desk and on a phone, and what do they weigh?

Needs Chromium, and Lighthouse from npm in a folder of its own, named by ``LIGHTHOUSE``::

    npm install --prefix FOLDER lighthouse@12
    make book && LIGHTHOUSE=FOLDER python -m benchmarks lighthouse

The pages are served from this machine as a plain host would serve them: compressed, under a
sub-path. Scores are medians of three visits, which a busy machine makes worse.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import write

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html"
PAGES = (
    "book/index",
    "book/part1/feature-templates",
    "book/part2/policy-gradient",
    "book/part2/ppo-ptx",
    "book/part2/results",
    "book/reference/equations",
    "book/reference/glossary",
)
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
VISITS = 3
_CHROME = "--chrome-flags=--headless=new --no-sandbox --disable-gpu"
FORMS = {"desktop": (_CHROME, "--preset=desktop"), "mobile": (_CHROME,)}
COMPRESSED = (".html", ".js", ".css", ".svg", ".json", ".csv")


@dataclass(frozen=True)
class Visits:
    """What was visited, how often, and by which Lighthouse."""

    lighthouse: str
    pages: tuple[str, ...] = PAGES
    visits: int = VISITS


def run() -> None:
    """Visit every page, print its scores and write them."""
    tool = Path(os.environ.get("LIGHTHOUSE", "")) / "node_modules" / ".bin" / "lighthouse"
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if "LIGHTHOUSE" not in os.environ or not tool.exists() or chromium is None:
        print("  left out: needs Chromium, and LIGHTHOUSE naming a folder with it from npm\n")
        return
    if not (SITE / "objects.inv").exists():
        print("  left out: there is no built site; make book\n")
        return
    started = time.time()
    rows = []
    with tempfile.TemporaryDirectory() as scratch, served(SITE) as address:
        for page in PAGES:
            for form in ("desktop", "mobile"):
                options = ("--output=json", f"--output-path={scratch}/report.json", "--quiet")
                found = []
                for _ in range(VISITS):
                    command = [tool, f"{address}/{page}.html", *options, *FORMS[form]]
                    subprocess.run(command, check=True, env=os.environ | {"CHROME_PATH": chromium})
                    report = json.loads(Path(scratch, "report.json").read_text(encoding="utf-8"))
                    found.append(numbers(report))
                medians = {name: statistics.median(row[name] for row in found) for name in found[0]}
                rows.append({"page": page, "form": form, **medians})
                print(f"  {rows[-1]}", flush=True)
    work = Visits(lighthouse=report["lighthouseVersion"])
    write("lighthouse", rows, {"Visits": work}, started)


def numbers(report: dict[str, Any]) -> dict[str, float]:
    """Of one visit: scores from 0 to 100, kB over the wire, paint times in ms, machine's speed."""
    audits = report["audits"]
    scores = {name: 100 * report["categories"][name]["score"] for name in CATEGORIES}
    resources = audits["network-requests"]["details"]["items"]
    figures = ("/vendor/plotly/", "/figure")  # what comes on top of the text where there are some
    plain = [r for r in resources if not any(part in r["url"] for part in figures)]
    return scores | {
        "text_kB": sum(r["transferSize"] for r in plain) / 1000,
        "all_kB": sum(r["transferSize"] for r in resources) / 1000,
        "largest_paint_ms": audits["largest-contentful-paint"]["numericValue"],
        "blocked_ms": audits["total-blocking-time"]["numericValue"],
        "layout_shift": audits["cumulative-layout-shift"]["numericValue"],
        "machine_index": report["environment"]["benchmarkIndex"],
    }


class Host(http.server.SimpleHTTPRequestHandler):
    """A plain host that compresses text and lets a browser keep what it has."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send a file, or 404."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        body = path.read_bytes()
        self.send_response(200)
        if path.suffix in COMPRESSED:
            body = compressed(path)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@functools.cache
def compressed(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), 6)


@contextlib.contextmanager
def served(site: Path) -> Iterator[str]:
    """The address of the site, one folder below its server's root."""
    handler = functools.partial(Host, directory=str(site.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{site.name}"
        server.shutdown()
