"""Every interactive component that the book promises stands on one of its pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.reactions import PROBES, SMALL
from rlhf_lab.widgets.files import DRAWINGS, ON_PAGES

ROOT = Path(__file__).parents[2]


def pages() -> list[Path]:
    """Sources of the book's pages, those of the table of contents."""
    table = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    return [ROOT / f"{name}.md" for name in re.findall(r"(?:file|root): (\S+)", table)]


@pytest.mark.parametrize("name", [*DRAWINGS, *ON_PAGES])
def test_every_drawing_is_on_a_page(name: str) -> None:
    directive = re.compile(
        rf"^```\{{explorer\}} {re.escape(name)}$|^```\{{{re.escape(name)}\}}", re.MULTILINE
    )
    assert [p for p in pages() if directive.search(p.read_text(encoding="utf-8"))]


def test_the_first_reaction_of_every_drawing_is_measured() -> None:
    """But for models that answer: they take seconds, and tell their progress."""
    found = []
    for probe in PROBES.values():
        text = (SMALL / "book" / f"{probe.page}.md").read_text(encoding="utf-8")
        found += re.findall(r"^```\{explorer\} (\S+)$", text, re.MULTILINE)
    assert sorted(found) == sorted(DRAWINGS)
