"""Every page of the site on a small phone, or zoomed to 400 %: see tests/every_page.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from every_page import PIECES, walk

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("piece", range(PIECES))
def test_every_page(site: Path, address: str, visit: Any, run_axe: Any, piece: int) -> None:
    walk(site, address, visit, run_axe, 320, piece)
