"""The book's Sphinx extension, for tests that need no build."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def extension() -> Iterator[Any]:
    """The modules of rlhf_book by name; it is importable while a book is built, and here."""
    path = str(Path(__file__).parents[2] / "book" / "_ext")
    sys.path.insert(0, path)
    yield lambda name: importlib.import_module(f"rlhf_book.{name}")
    sys.path.remove(path)
