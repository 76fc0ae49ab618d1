"""Notes which files a page's kernel opens; python runs it at start because it is on PYTHONPATH.

So it also acts in every python process that the page starts. Each line of the record is a path
below one of the roots. A library that opens a file outside python goes unseen here: cache.py knows
which kinds of file that concerns.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from typing import Any

RECORD = "RLHF_BOOK_RECORD"  # the file to write to
ROOTS = "RLHF_BOOK_ROOTS"  # the folders whose files count, joined as PATH is
_PACKAGE = f"{os.sep}rlhf_lab{os.sep}__"  # its first file counts wherever it is
_EVENTS = ("open", "os.listdir", "os.scandir")
# They look through every folder of sys.path, the page's own among them, for names of packages.
_SEARCHING = ("importlib", "_frozen_importlib", "importlib_metadata", "pkgutil", "pkg_resources")


def observe(record: str, roots: tuple[str, ...]) -> None:
    """Append each path below a root to the record when it is first opened or listed."""
    file = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    seen: set[str] = set()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS or isinstance(arguments[0], int):
            return
        if event != "open" and searches_packages(sys._getframe(1).f_globals.get("__name__", "")):
            return
        path = os.path.realpath(os.fsdecode(arguments[0] or "."))
        if path in seen or "\n" in path:
            return
        if path.startswith(roots) or _PACKAGE in path:
            seen.add(path)
            os.write(file, os.fsencode(path) + b"\n")

    sys.addaudithook(note)


def searches_packages(module: str) -> bool:
    """Whether a module lists folders for packages only, not for data."""
    return module.startswith(_SEARCHING)


def run_hidden() -> None:
    """Run the sitecustomize that this one hides, for an environment may have its own."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    others = [path for path in sys.path if os.path.abspath(path) != here]  # noqa: PTH100
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if RECORD in os.environ:
    observe(os.environ[RECORD], tuple(os.environ[ROOTS].split(os.pathsep)))
run_hidden()
