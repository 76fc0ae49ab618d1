"""A site served on this machine, and Debian's Chromium driven by Playwright.

The site is `_build/html` when `make book` made it after the last change of what it is made from;
otherwise the small book of tests/book/fixture is built. So `make test` works alone, and after
`make book` it looks at every real page.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from rlhf_lab.widgets.files import DRAWINGS, STATIC, bundle

pytest.register_assert_rewrite("every_page")
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
    stamp = site / ".written.json"  # the last that a build without warnings writes
    if not stamp.exists() or list((site / "reports").rglob("*.err.log")):
        return False
    folders = (ROOT / "book", ROOT / "rlhf_lab" / "widgets")
    sources = [ROOT / "_config.yml", ROOT / "_toc.yml", *(p for f in folders for p in f.rglob("*"))]
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


def left(request: Any) -> bool:
    """A request that ended because its page was left, as a font's by a click on a link."""
    return bool(request.failure == "net::ERR_ABORTED")


@pytest.fixture
def visit(chromium: Any) -> Iterator[Any]:
    """Open an address and note errors, failed requests and requests to other hosts."""
    contexts: list[Any] = []

    def open_page(
        url: str,
        *,
        scheme: str = "light",
        width: int = 1280,
        shared: bool = False,
        **options: Any,
    ) -> Visit:
        """A visit in a new context, or with ``shared`` in the last one, with its cache."""
        if shared and contexts:
            context = contexts[-1]
        else:
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
        page.on("requestfailed", lambda r: left(r) or seen.errors.append(f"{r.failure}: {r.url}"))
        page.on("response", lambda r: r.status >= 400 and seen.errors.append(f"{r.status} {r.url}"))
        page.on("request", lambda r: r.url.startswith(own) or seen.foreign.append(r.url))
        page.goto(url, wait_until="load")
        scripts = options.get("java_script_enabled", True)
        if scripts and page.locator("script[data-mathjax]").count():
            page.mouse.move(1, 1)  # formulas come when a reader moves, and then the page is still
            page.wait_for_selector("html[data-formulas=set]", state="attached")
        return seen

    yield open_page
    for context in contexts:
        context.close()


# --- explorers --------------------------------------------------------------------------------

# From the key press or the click to the picture that shows its effect: two frames after the event.
REACTION = """
([selector, type]) => {
  window.reaction = new Promise((done) => {
    document.querySelector(selector).addEventListener(type, (event) => {
      const before = event.timeStamp;
      requestAnimationFrame(() => setTimeout(() => done(performance.now() - before)));
    }, { once: true });
  });
}
"""
# anywidget's protocol, with a model that keeps what it is told and tells it on, as Backbone's does.
KERNEL = """
async ([module, given]) => {
  const values = JSON.parse(given);
  const listeners = {};
  const tell = (name, value) => {
    values[name] = value;
    for (const f of listeners[`change:${name}`] ?? []) f();
  };
  const model = {
    saved: 0,
    get: (name) => values[name],
    set: tell,
    save_changes: () => { model.saved += 1; },
    on: (name, f) => { (listeners[name] ??= new Set()).add(f); },
    off: (name, f) => { listeners[name].delete(f); },
  };
  window.kernel = {
    values, model, set: tell,
    listening: () => Object.values(listeners).reduce((n, set) => n + set.size, 0),
  };
  const { default: widget } = await import(module);
  window.reachedJupyter = 0;
  document.addEventListener("keydown", () => { window.reachedJupyter += 1; });
  window.remove = await widget.render({ model, el: document.getElementById("root") });
}
"""


@pytest.fixture
def open_explorer(small_address: str, visit: Any) -> Callable[..., Visit]:
    """Open a page of the small book by its name and wait until its drawing answers."""

    def open_page(name: str, **options: Any) -> Visit:
        seen: Visit = visit(f"{small_address}/book/{name}.html", **options)
        seen.page.locator("rlhf-explorer").scroll_into_view_if_needed()
        seen.page.wait_for_selector("rlhf-explorer[data-ready]")
        return seen

    return open_page


@pytest.fixture(scope="session")
def run_axe() -> Callable[..., list[Any]]:
    """What axe finds on a page, or in one element of it, without what is excluded."""
    axe = pytest.importorskip("axe_playwright_python.base", reason="needs the extra [test]")
    script = Path(axe.AXE_FILE_PATH).read_text(encoding="utf-8")

    def run(
        seen: Visit,
        within: str = "html",
        exclude: Iterable[str] = (),
        new: str = "*",
        **options: Any,
    ) -> list[Any]:
        """Args: ``exclude``: parts, with what is in them; ``new``: elements to see colours of."""
        if not seen.page.evaluate("() => 'axe' in window"):
            seen.page.evaluate(script)
        rule = {"id": "color-contrast", "selector": new}
        seen.page.evaluate("(rule) => axe.configure({ rules: [rule] })", rule)
        # A formula has its text's colour, and MathJax an element for each of its letters.
        hidden = ("mjx-container > mjx-math", *exclude)
        where = {"include": [[within]], "exclude": [[selector] for selector in hidden]}
        # Style sheets are in the page; axe would ask for them once more, at wrong addresses.
        given = {"resultTypes": ["violations"], "preload": False, **options}
        result = seen.page.evaluate("([node, options]) => axe.run(node, options)", [where, given])
        return list(result["violations"])

    return run


@pytest.fixture(scope="session")
def audit(run_axe: Callable[..., list[Any]]) -> Callable[[Visit, int], None]:
    """Find no serious fault in an explorer: errors, foreign requests, width, accessibility."""

    def check(seen: Visit, width: int) -> None:
        size = seen.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert size[0] <= size[1]
        assert seen.page.locator("rlhf-explorer").bounding_box()["width"] <= width
        assert not seen.errors
        assert not seen.foreign
        found = run_axe(seen, "rlhf-explorer")
        assert not [v for v in found if v["impact"] in ("serious", "critical")]

    return check


@pytest.fixture
def first_reaction(record_property: Any) -> Callable[..., None]:
    """Record the milliseconds from an event on a node to the picture of its effect."""

    def measure(page: Any, selector: str, event: str, act: Callable[[], None]) -> None:
        page.evaluate(REACTION, [selector, event])
        act()
        milliseconds = page.evaluate("() => window.reaction")
        record_property("first_reaction_ms", milliseconds)
        print(f"first reaction: {milliseconds:.1f} ms")

    return measure


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory, serve_folder: Any) -> str:
    """Address of an empty page beside the modules and the widgets' texts."""
    folder = tmp_path_factory.mktemp("host")
    for path in STATIC.glob("*.js"):
        shutil.copy(path, folder)
    for name in DRAWINGS:
        widget = bundle(f"{name}.js", "notebook.js")
        (folder / f"widget-{name}.js").write_text(widget, encoding="utf-8")
    page = '<!doctype html><link rel="icon" href="data:,"><body><div id="root"></div>'
    (folder / "page.html").write_text(page, encoding="utf-8")
    return str(serve_folder(folder))


@pytest.fixture
def render(host: str, visit: Any) -> Callable[..., Visit]:
    """Draw an explorer on the empty page, with labels and data of the test's own."""

    def draw(name: str, given: Mapping[str, Any], *, before: str = "", **options: Any) -> Visit:
        seen: Visit = visit(f"{host}/page.html", **options)
        seen.page.evaluate(f"() => {{ {before} }}")
        seen.page.evaluate(
            """async ([name, given]) => {
              const { render } = await import(`./${name}.js`);
              const root = document.getElementById("root");
              root.className = "rl-explorer";
              render({ root, ...JSON.parse(given), onChange() {} });
            }""",
            [name, json.dumps(given)],
        )
        return seen

    return draw


@pytest.fixture
def notebook(host: str, visit: Any) -> Callable[..., Visit]:
    """Draw an explorer as Jupyter does: ``data`` as a Python module gives it, and labels."""

    def start(name: str, data: Mapping[str, Any], labels: Mapping[str, str]) -> Visit:
        fixed = {key: value for key, value in data.items() if key != "state"}
        traits = {
            "names": list(data["state"]),
            "fixed": fixed,
            "labels": labels,
            "language": "en",
            **data["state"],
        }
        seen: Visit = visit(f"{host}/page.html")
        seen.page.evaluate(KERNEL, [f"./widget-{name}.js", json.dumps(traits)])
        return seen

    return start
