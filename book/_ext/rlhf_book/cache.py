"""An execution cache that cannot serve outputs of older code, and executes nothing else anew.

jupyter-cache compares code cells only: after an edit of ``rlhf_lab`` or of a result file it would
show old numbers without a word. Here the outputs of a page are kept with what they were made from:

- its code cells, the kernel, the pinned versions: their hash is the name under which they are kept;
- every file below the book or the package that the page's processes opened while they ran, modules
  of the package included: the kernel writes them down (``observer/sitecustomize.py``);
- files of the kinds that libraries open unseen, where the page names their folder or read from it.

They are used again when all of that is as it was. So a page runs again when something that it used
has changed, and only then; a page of which nothing is known runs.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import myst_nb.sphinx_
import nbformat
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.execute import ExecutionError, NotebookClientBase, create_client
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from traitlets.config import Config as Traits

import rlhf_lab
from rlhf_lab.files import atomic_write

KEPT = 4  # sets of outputs per page, so that going back to another branch is quick
OBSERVER = Path(__file__).parent / "observer"
# Opened outside python by pyarrow and safetensors, so that the observer does not see them.
UNSEEN = {".arrow", ".feather", ".gguf", ".parquet", ".safetensors"}
ACTING_TAGS = {"raises-exception", "skip-execution"}  # what they change is how a cell runs


@dataclass(frozen=True)
class Cache:
    """Outputs of the pages of one book.

    Args:
        folder: where they are kept, one folder per page.
        book: the folder of the sources; paths below it are kept relative to it.
        package: the folder of the package that pages import.
        versions: of everything that an output can depend on outside both.
    """

    folder: Path
    book: Path
    package: Path
    versions: tuple[str, ...]

    def entry(self, page: str, notebook: NotebookNode) -> Path | None:
        """File of outputs that are still right, or None."""
        key = code_key(notebook, self.versions)
        for entry in newest_first(self.folder.joinpath(page).glob(f"{key}-*.json")):
            if self.is_right(entry):
                return entry
        return None

    def is_right(self, entry: Path) -> bool:
        """Whether everything that the outputs were made from is as it was."""
        if not entry.is_file():
            return False
        return all(state(self.absolute(name)) == was for name, was in sources(entry).items())

    def restore(self, entry: Path, notebook: NotebookNode) -> dict[str, Any]:
        """Put the outputs into the page's notebook; returns when and how long it ran."""
        kept = json.loads(entry.read_text(encoding="utf-8"))
        done = nbformat.from_dict(kept["notebook"])
        for cell, ran in zip(code_cells(notebook), code_cells(done), strict=True):
            cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
        notebook.metadata.update(done.metadata)
        os.utime(entry)
        return {"mtime": kept["executed"], "runtime": kept["seconds"]}

    def keep(
        self,
        page: str,
        notebook: NotebookNode,
        read: Iterable[str],
        started: float,
        seconds: float,
    ) -> Path | None:
        """Keep the outputs of a run, unless something that it read has changed since it began."""
        paths = {source_file(path) for path in read}
        paths |= self.unseen(page, notebook, paths)
        counted = {self.relative(path): path for path in sorted(paths) if self.counts(path)}
        if any(path.is_file() and path.stat().st_mtime > started for path in counted.values()):
            return None
        states = {name: state(path) for name, path in counted.items()}
        digest = hashlib.sha256(json.dumps(states).encode()).hexdigest()[:12]
        kept = {
            "executed": started,
            "seconds": seconds,
            "sources": states,
            "notebook": {
                **notebook,
                "cells": [{**cell, "source": ""} for cell in code_cells(notebook)],
                "metadata": {
                    name: notebook.metadata[name]
                    for name in ("kernelspec", "language_info", "widgets")
                    if name in notebook.metadata
                },
            },
        }
        entry = self.folder / page / f"{code_key(notebook, self.versions)}-{digest}.json"
        atomic_write(entry, json.dumps(kept))
        for old in newest_first(entry.parent.glob("*.json"))[KEPT:]:
            old.unlink()
        return entry

    def unseen(self, page: str, notebook: NotebookNode, read: set[Path]) -> set[Path]:
        """Files of unseen kinds that lie beside what was read, or where the page's texts point."""
        found = {path for folder in {p.parent for p in read} for path in folder.glob("*")}
        for text in texts(notebook):
            named = Path(os.path.normpath(self.book / Path(page).parent / text))
            if self.counts(named):
                found |= set(named.rglob("*")) if named.is_dir() else {named}
        return {path for path in found if path.suffix in UNSEEN and path.is_file()}

    def counts(self, path: Path) -> bool:
        """Whether a file belongs to the book or the package, and no build wrote it."""
        if path.is_relative_to(self.package):
            return True
        if not path.is_relative_to(self.book) or path == self.book:
            return False
        first = path.relative_to(self.book).parts[0]
        return not first.startswith((".", "_build"))

    def relative(self, path: Path) -> str:
        """Name of a file that holds in another checkout too."""
        if path.is_relative_to(self.package):
            return f"<package>/{path.relative_to(self.package).as_posix()}"
        return path.relative_to(self.book).as_posix()

    def absolute(self, name: str) -> Path:
        """File of a name that :meth:`relative` gave."""
        inside = name.removeprefix("<package>/")
        return (self.book if inside == name else self.package) / inside


@contextlib.contextmanager
def own_sockets() -> Iterator[Traits]:
    """Configuration of a client of notebooks whose kernel needs no port, where that can be.

    A port that was free when it was chosen may be taken before the kernel binds it; of kernels that
    start at the same time some died of that. Sockets in a folder of their own are taken by nobody.
    """
    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        short = os.name == "posix" and len(folder) < 90  # a socket's name has at most 103 bytes
        own = {"transport": "ipc", "ip": f"{folder}/socket"} if short else {}
        yield Traits(KernelManager=own)


class ObservedClient(NotebookClientBase):
    """myst-nb's client: outputs from the cache, or from a run that writes down what it reads."""

    @property
    def cache(self) -> Cache:
        """Where outputs are kept."""
        cache: Cache = self._kwargs["cache"]
        return cache

    @property
    def page(self) -> str:
        """Name of the page."""
        if self.path is None:
            raise ValueError("only a page that is a file can be executed")
        return self.path.resolve().relative_to(self.cache.book).with_suffix("").as_posix()

    def known(self) -> Path | None:
        """Outputs of this page that are still right, or None."""
        return self.cache.entry(self.page, self.notebook)

    def start_client(self) -> None:
        """Fill the notebook's outputs; a cell that fails is a warning with its traceback."""
        entry = self.known()
        if entry is None:
            run = self.run()
        else:
            self.logger.info("Nothing that this page uses has changed: outputs from the cache")
            run = metadata_of_run(**self.cache.restore(entry, self.notebook), entry=entry)
        self.exec_metadata = {**run, "code": code_of(self.notebook)}

    def run(self) -> Any:
        """Execute the notebook in the folder of its page; returns what myst-nb keeps of a run."""
        assert self.path is not None
        cache = self.cache
        self.logger.info("Executing")
        started = time.time()
        with recording(cache.book, cache.package) as record, own_sockets() as config:
            result = single_nb_execution(
                self.notebook,
                cwd=str(self.path.parent.resolve()),
                allow_errors=self.nb_config.execution_allow_errors,
                timeout=self.nb_config.execution_timeout,
                config=config,
            )
            read = [os.fsdecode(path) for path in record.read_bytes().splitlines()]
        other = other_package(read, cache.package)
        if other is not None:
            self.logger.warning(
                f"the page imported {other}, but the book is built with {cache.package}: "
                "install one of them, or name it in PYTHONPATH"
            )
        if result.err is None:
            self.logger.info(f"Executed in {result.time:.2f} seconds")
            entry = cache.keep(self.page, self.notebook, read, started, result.time)
            return metadata_of_run(started, result.time, entry=entry)
        error = type(result.err).__name__
        shown = f"\n{result.exc_string}" if self.nb_config.execution_show_tb else ""
        self.logger.warning(f"Executing notebook failed: {error}{shown}", subtype="exec")
        if self.nb_config.execution_raise_on_error:
            raise ExecutionError(str(self.path)) from result.err
        return metadata_of_run(started, result.time, error=error, traceback=result.exc_string)


def metadata_of_run(
    mtime: float,
    runtime: float,
    *,
    entry: Path | None = None,
    error: str | None = None,
    traceback: str | None = None,
) -> dict[str, Any]:
    """What myst-nb keeps of a run, and where its outputs are."""
    return {
        "mtime": mtime,
        "runtime": runtime,
        "method": "cache",
        "succeeded": error is None,
        "error": error,
        "traceback": traceback,
        "entry": None if entry is None else str(entry),
    }


@contextlib.contextmanager
def recording(*roots: Path) -> Iterator[Path]:
    """Let python processes that start now write the files that they open to the record.

    Only files below the roots. Changes this process's environment, which they inherit.
    """
    paths = [str(OBSERVER), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        record.touch()
        changed = {
            "PYTHONPATH": os.pathsep.join(paths),
            "RLHF_BOOK_RECORD": str(record),
            "RLHF_BOOK_ROOTS": os.pathsep.join(f"{root}{os.sep}" for root in roots),
        }
        before = {name: os.environ.get(name) for name in changed}
        os.environ.update(changed)
        try:
            yield record
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def sources(entry: Path) -> Mapping[str, str | None]:
    """Names of all that outputs were made from, with the state it had; None where it was not."""
    kept: Mapping[str, str | None] = json.loads(entry.read_text(encoding="utf-8"))["sources"]
    return kept


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def code_of(notebook: NotebookNode) -> list[dict[str, Any]]:
    """What a page runs, for its twin: number of the cell, its source, tags, line of the page."""
    # myst-nb's lines of a notebook that is no text are made up in this way.
    made_up = [10_000 * (i + 1) for i in range(len(notebook.cells))]
    lines = notebook.metadata.get("source_map") or made_up
    return [
        {
            "number": i,
            "source": str(cell.source),
            "tags": [str(tag) for tag in cell.metadata.get("tags", [])],
            "line": lines[i],
        }
        for i, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.source.strip()
    ]


def code_key(notebook: NotebookNode, versions: Iterable[str]) -> str:
    """Hash of what a page runs: its code cells, how they are run, and by what."""
    cells = [
        [cell.source, sorted(ACTING_TAGS.intersection(cell.metadata.get("tags", [])))]
        for cell in code_cells(notebook)
    ]
    kernel = notebook.metadata.get("kernelspec", {}).get("name", "")
    how = notebook.metadata.get("execution", {})
    text = json.dumps([cells, kernel, how, *versions], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def texts(notebook: NotebookNode) -> set[str]:
    """Strings in the code of a page that may name a file or folder."""
    found: set[str] = set()
    for cell in code_cells(notebook):
        with contextlib.suppress(SyntaxError):  # magics, or a cell that is to fail
            found |= {
                node.value
                for node in ast.walk(ast.parse(cell.source))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
    return {text for text in found if 0 < len(text) < 200 and text.isprintable()}


def state(path: Path) -> str | None:
    """Hash of a file, or of a folder's names; None where there is nothing."""
    try:
        if path.is_dir():
            names = {p.name for p in path.iterdir() if p.name[0] not in "._"}
            return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except FileNotFoundError:
        return None


def source_file(path: str) -> Path:
    """The file that counts: a module's source where its compiled form was opened."""
    if Path(path).parent.name == "__pycache__":
        with contextlib.suppress(ValueError):  # a name that no compiler gives
            path = importlib.util.source_from_cache(path)
    return Path(path).resolve()


def other_package(read: Iterable[str], package: Path) -> Path | None:
    """A package of the same name that a page imported from another place, if it did."""
    folders = (path.parent for path in map(source_file, read) if path.name == "__init__.py")
    return next((f for f in folders if f.name == package.name and f != package), None)


def newest_first(entries: Iterable[Path]) -> list[Path]:
    return sorted(entries, key=lambda path: path.stat().st_mtime, reverse=True)


def dependencies(package: str) -> list[str]:
    """``name==version`` of Python and of the package's direct dependencies, as installed."""
    names = {
        re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        for requirement in metadata.requires(package) or []
        if "extra ==" not in requirement
    }
    found = [f"{name}=={metadata.version(name)}" for name in sorted(names)]
    return [f"python=={platform.python_version()}", *found]


def pins(lock: Path) -> list[str]:
    """The lines of a lock, without its comments; none where there is no lock."""
    if not lock.is_file():
        return []
    lines = (line.partition("#")[0].strip() for line in lock.read_text("utf-8").splitlines())
    return sorted(filter(None, lines))


def of_book(book: Path, package: Path) -> Cache:
    """The cache of a book; editions and languages of it share their outputs."""
    observer = f"observer=={state(OBSERVER / 'sitecustomize.py')}"  # other eyes see other files
    versions = (observer, *dependencies("rlhf-lab"), *pins(book / "constraints.txt"))
    return Cache(book / "_build" / ".jupyter_cache", book.resolve(), package.resolve(), versions)


def outdated(
    _app: Sphinx, env: BuildEnvironment, _added: set[str], _changed: set[str], _removed: set[str]
) -> list[str]:
    """Pages that failed, or used something that has changed since: Sphinx looks at texts only."""
    runs = {page: kept.get("exec_data") for page, kept in getattr(env, "nb_metadata", {}).items()}
    cache = of_book(Path(env.srcdir), Path(rlhf_lab.__file__).parent)
    return [
        page
        for page, run in runs.items()
        if run and not (run.get("entry") and cache.is_right(Path(run["entry"])))
    ]


def register(app: Sphinx) -> None:
    """Put this cache in the place of jupyter-cache, where the configuration asks for a cache."""
    app.connect("config-inited", replace_client)
    app.connect("env-get-outdated", outdated)


def replace_client(app: Sphinx, _config: Config) -> None:
    """Give myst-nb's parser our client. It knows four modes of execution and no way to add one."""
    cache = of_book(Path(app.srcdir), Path(rlhf_lab.__file__).parent)

    def create(
        notebook: NotebookNode, source: str, nb_config: Any, logger: Any, read_fmt: Any = None
    ) -> NotebookClientBase:
        excluded = any(
            Path(source).match(pattern) for pattern in nb_config.execution_excludepatterns
        )
        if nb_config.execution_mode == "cache" and not excluded:
            return ObservedClient(notebook, Path(source), nb_config, logger, cache=cache)
        return create_client(notebook, source, nb_config, logger, read_fmt)

    myst_nb.sphinx_.create_client = create
