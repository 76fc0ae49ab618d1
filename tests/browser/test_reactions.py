"""The presses whose reaction `python -m benchmarks reactions` measures: each has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.reactions import PROBES

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", PROBES)
def test_a_press_changes_what_is_shown_and_the_next_one_undoes_it(
    open_explorer: Callable[..., Any], name: str
) -> None:
    probe = PROBES[name]
    seen = open_explorer(probe.page)
    page = seen.page
    page.locator(probe.selector).first.focus()
    texts = [page.locator("rlhf-explorer").inner_text()]
    for key in (*probe.keys, *probe.keys):
        page.keyboard.press(key)
        texts.append(page.locator("rlhf-explorer").inner_text())
    assert texts[0] != texts[1]
    assert texts[1] == texts[3] and texts[2] == texts[4]
    assert texts[1] != texts[2]
    assert not seen.errors
