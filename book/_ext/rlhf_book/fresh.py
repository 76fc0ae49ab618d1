"""Which pages a build reads and writes, so that one without changes does nothing and none lies.

Sphinx reads again what has changed and writes what it has read. Two things are missing in that:

- A page shows things of other pages: titles in its navigation, numbers, the texts of notes, the
  checksums of scripts. All that pages share is reduced to one hash; when it changes, all are
  written.
- What a build warned of is not said again by the next one, which does not read that page. After a
  build that warned, failed or was cut off, all pages are read; so they are when this extension, a
  drawing of the package or a version has changed.

What a folder of pages was written from is kept in it, in ``.written.json``: several builders and
editions may share one environment.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import rlhf_lab
from rlhf_book import equations, glossary
from rlhf_lab.files import atomic_write

WRITTEN = ".written.json"  # in the folder of the pages
UNFINISHED = "unfinished"  # in the folder of the doctrees
# What every page is made with, below the book and below the package; the rest of the package is
# seen through the cells that run it and the reference.
READ_WITH = ("constraints.txt",)
WRITTEN_WITH = ("_config.yml", "_toc.yml", "book/*.bib", "book/_static/**/*")
PACKAGE_FILES = ("figures.py", "svg.py", "widgets/**/*")


def pages_read(env: BuildEnvironment) -> dict[str, dict[str, Any]]:
    """For each document when it was read, and what other pages show of it."""
    if not hasattr(env, "rlhf_pages"):
        env.rlhf_pages = {}  # type: ignore[attr-defined]
    return cast(dict[str, dict[str, Any]], env.rlhf_pages)  # type: ignore[attr-defined]


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Write down what notes on other pages may show of a document that was read; make it small."""
    shown = [
        *(f"{b.get('label')} {b.astext()}" for b in doctree.findall(nodes.math_block)),
        *(node.astext() for node in doctree.findall(addnodes.glossary)),
    ]
    pages_read(app.env)[app.env.docname] = {"at": time.time_ns(), "shown": digest(shown)}
    for node in doctree.findall():
        # A part in reStructuredText is parsed into a document of its own, and each of its nodes
        # would be kept with it, the whole environment included: 4 MB on each page of the reference.
        node.document = doctree


def forget(_app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Drop a document that is to be read again, or is gone."""
    pages_read(env).pop(page, None)


def merge(_app: Sphinx, env: BuildEnvironment, pages: Iterable[str], other: Any) -> None:
    """Take over what another process has read."""
    found = pages_read(other)
    pages_read(env).update({page: found[page] for page in pages if page in found})


def begin(
    app: Sphinx, env: BuildEnvironment, _added: set[str], _changed: set[str], _removed: set[str]
) -> list[str]:
    """Everything, after a build that did not end well, or when what reads pages has changed."""
    mark = Path(app.doctreedir) / UNFINISHED
    reader = digest([*makers(Path(app.srcdir)), *versions()])
    again = mark.exists() or reader != getattr(env, "rlhf_reader", reader)
    env.rlhf_reader = reader  # type: ignore[attr-defined]
    mark.touch()
    return sorted(env.found_docs) if again else []


def outdated(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Documents that this folder does not show as they are."""
    was, now = written(Path(app.outdir)), state(app)
    if was.get("shared") != now["shared"]:
        # viewcode writes a module's page anew only when the module has changed.
        shutil.rmtree(Path(app.outdir) / "_modules", ignore_errors=True)
        return sorted(env.found_docs)
    pages = [page for page, at in now["pages"].items() if was["pages"].get(page) != at]
    if was["terms"] != now["terms"]:
        pages += glossary.pages(env)
    return sorted(set(pages))


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Keep what the pages were written from, if all went well."""
    if exception is not None or app._warncount:
        return
    atomic_write(Path(app.outdir) / WRITTEN, json.dumps(state(app)))
    (Path(app.doctreedir) / UNFINISHED).unlink(missing_ok=True)


def written(folder: Path) -> dict[str, Any]:
    """What the pages of a folder were written from; nothing where that is not known."""
    path = folder / WRITTEN
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def state(app: Sphinx) -> dict[str, Any]:
    """What pages written now would be made from."""
    env, book = app.env, Path(app.srcdir)
    return {
        "shared": digest([*shared(env), *makers(book), *hashes(book, WRITTEN_WITH), *versions()]),
        "terms": digest(sorted((page, sorted(t)) for page, t in glossary.uses(env).items())),
        "pages": {page: kept["at"] for page, kept in pages_read(env).items()},
    }


def shared(env: BuildEnvironment) -> Iterator[Any]:
    """What any page may show of the others."""
    standard, python = env.get_domain("std").data, env.get_domain("py").data
    yield {page: title.astext() for page, title in env.titles.items()}
    yield {page: title.astext() for page, title in env.longtitles.items()}
    yield env.collect_relations()
    yield from (env.toc_secnumbers, env.toc_fignumbers)
    yield from (standard[name] for name in ("labels", "anonlabels", "objects", "terms"))
    yield env.get_domain("math").data["objects"]
    yield {name: (entry.docname, entry.node_id) for name, entry in python["objects"].items()}
    yield equations.of_package()
    yield {page: kept["shown"] for page, kept in pages_read(env).items()}


def makers(book: Path) -> Iterator[tuple[str, str]]:
    """Hashes of what makes pages of texts and outputs: this extension, drawings, pins."""
    yield from hashes(book, READ_WITH)
    yield from hashes(Path(rlhf_lab.__file__).parent, PACKAGE_FILES)
    yield from hashes(Path(__file__).parent, ("**/*",))


def hashes(folder: Path, patterns: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names and hashes of files below a folder."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    for path in sorted(path for path in found if "__pycache__" not in path.parts):
        yield path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def versions() -> tuple[tuple[str, str], ...]:
    """All that is installed: themes and extensions write pages, too."""
    return tuple(sorted({(d.name, d.version) for d in metadata.distributions()}))


def digest(value: Any) -> str:
    """Hash of a value; the order of a dictionary or a set does not count."""
    return hashlib.sha256(json.dumps(plain(value), default=str).encode()).hexdigest()


def plain(value: Any) -> Any:
    """A value in lists."""
    if isinstance(value, dict):
        return sorted([str(key), plain(item)] for key, item in value.items())
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def register(app: Sphinx) -> None:
    """Connect to the build; after every other part has read and written."""
    app.connect("doctree-read", collect)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("env-get-outdated", begin)
    # The last event before the writing: by then sections and figures have their numbers.
    app.connect("env-get-updated", outdated, priority=900)
    app.connect("build-finished", finish, priority=950)
