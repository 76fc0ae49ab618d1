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
_EVENTS = ("open", "os.listdir", "os.scandir")
_IMPORTS = "<frozen importlib._bootstrap_external>"  # looks through folders, reads no data in them


def observe(record: str, roots: tuple[str, ...]) -> None:
    """Append each path below a root to the record when it is first opened or listed."""
    file = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    seen: set[str] = set()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS or isinstance(arguments[0], int):
            return
        if event != "open" and sys._getframe(1).f_code.co_filename == _IMPORTS:
            return
        path = os.path.realpath(os.fsdecode(arguments[0] or "."))
        if path not in seen and path.startswith(roots) and "\n" not in path:
            seen.add(path)
            os.write(file, os.fsencode(path) + b"\n")

    sys.addaudithook(note)


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
