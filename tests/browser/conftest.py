"""A site served on this machine, and Debian's Chromium driven by Playwright.

The site is `_build/html` when `make book` made it after the last change of what it is made from;
otherwise the small book of tests/book/fixture is built. So `make test` works alone, and after
`make book` it looks at every real page.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "_build" / "html"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Without these, a Chromium looks up its maker's servers at every start.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def is_fresh(site: Path) -> bool:
    """Whether the site was written after the last change of its pages, scripts and extension."""
    stamp = site / "objects.inv"
    if not stamp.exists() or list((site / "reports").rglob("*.err.log")):
        return False
    sources = [ROOT / "_config.yml", ROOT / "_toc.yml", *(ROOT / "book").rglob("*")]
    files = (p for p in sources if p.is_file() and "__pycache__" not in p.parts)
    return max(p.stat().st_mtime for p in files) < stamp.stat().st_mtime


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Path:
    """Folder of the pages that are looked at."""
    return BUILT if is_fresh(BUILT) else request.getfixturevalue("small_site")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, headers: Mapping[str, str], **options: Any) -> None:
        self.more_headers = headers
        super().__init__(*args, **options)

    def end_headers(self) -> None:
        for name, value in self.more_headers.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def serve(
    folder: Path,
    headers: Mapping[str, str] = MappingProxyType({}),
    handler: type[QuietHandler] = QuietHandler,
) -> Iterator[str]:
    answer = functools.partial(handler, directory=str(folder), headers=headers)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """The site under a sub-path, as on a project page of a code host."""
    for base in serve(site.parent):
        yield f"{base}/{site.name}"


@pytest.fixture(scope="session")
def small_address(small_site: Path) -> Iterator[str]:
    yield from serve(small_site)


class LostHandler(QuietHandler):
    """Answers for a missing file with the site's own page, as hosts of static sites do."""

    def send_error(self, code: int, *_: Any, **__: Any) -> None:
        folder = Path(self.directory)
        page = next(folder.glob("*/404.html")).read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(page)


@pytest.fixture(scope="session")
def address_with_404(small_site: Path) -> Iterator[str]:
    """The small site under a sub-path, on a server that knows its page for missing addresses."""
    for base in serve(small_site.parent, handler=LostHandler):
        yield f"{base}/{small_site.name}"


@pytest.fixture(scope="session")
def serve_folder() -> Iterator[Callable[..., str]]:
    """Serve a folder, with more headers if wanted, until the tests end; its address."""
    with contextlib.ExitStack() as stack:
        yield lambda *what: stack.enter_context(contextlib.contextmanager(serve)(*what))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra [test]")
    if CHROMIUM is None:
        pytest.skip("no Chromium here; on Debian: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page and everything that went wrong on it."""

    page: Any
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def see_all_figures(self) -> int:
        """Scroll to every figure until it is drawn; their number."""
        plots = self.page.locator(".rl-plot")
        for i in range(plots.count()):
            plots.nth(i).scroll_into_view_if_needed()
            self.page.wait_for_selector(f":nth-match(.rl-plot, {i + 1})[data-ready]", timeout=20000)
        return int(plots.count())


def said(message: Any) -> str:
    """What a page wrote to the console, and about which address."""
    return f"{message.text} ({message.location.get('url', '')})"


@pytest.fixture
def visit(chromium: Any) -> Iterator[Any]:
    """Open an address and note errors, failed requests and requests to other hosts."""
    contexts = []

    def open_page(url: str, *, scheme: str = "light", width: int = 1280, **options: Any) -> Visit:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        contexts.append(context)
        seen = Visit(context.new_page())
        scheme_name, _, host = url.split("/", 3)[:3]
        own = (f"{scheme_name}//{host}", "data:", "blob:")
        page = seen.page
        page.on("console", lambda m: m.type == "error" and seen.errors.append(said(m)))
        page.on("pageerror", lambda e: seen.errors.append(str(e)))
        page.on("requestfailed", lambda r: seen.errors.append(f"failed: {r.url}"))
        page.on("response", lambda r: r.status >= 400 and seen.errors.append(f"{r.status} {r.url}"))
        page.on("request", lambda r: r.url.startswith(own) or seen.foreign.append(r.url))
        page.goto(url, wait_until="load")
        return seen

    yield open_page
    for context in contexts:
        context.close()
