"""The tables of the explorers as files: what a reader downloads is what the table shows."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from rlhf_lab.widgets import ranking
from rlhf_lab.widgets.files import labels

pytestmark = pytest.mark.browser

TEXT = labels("ppo-clip")["download_csv"]
# Page of the small book, file, and what changes the numbers of the table: a node and a key.
EXPLORERS = {
    "ppo-clip": ("explorer", "input >> nth=1", "Home"),  # advantage −2
    "beta-gamma": ("sweep", "", ""),  # all cells at once
    "over-optimisation": ("optimise", "input[type=radio] >> nth=0", "ArrowDown"),
    "token-inspector": ("tokens", "select >> nth=0", "ArrowDown"),
    "ranking": ("ranking", "", ""),  # a change takes the comparison away
}
ROWS = "trs => trs.map(tr => [...tr.children].map(cell => cell.textContent))"


def shown(page: Any) -> list[list[str]]:
    """Every row of the open table, the head as well."""
    page.locator("details tbody tr").first.wait_for()
    rows: list[list[str]] = page.locator("details[open] tr").evaluate_all(ROWS)
    return rows


def downloaded(page: Any, file: str) -> str:
    """The text that the focused link saves when Enter is pressed."""
    with page.expect_download() as started:
        page.keyboard.press("Enter")
    assert started.value.suggested_filename == file
    return Path(started.value.path()).read_bytes().decode()


@pytest.mark.parametrize("name", EXPLORERS)
def test_the_file_has_the_cells_of_the_table(open_explorer: Callable[..., Any], name: str) -> None:
    """By keyboard, on a page with the book's policy; and once more after a change."""
    at, selector, key = EXPLORERS[name]
    seen = open_explorer(at)
    page = seen.page
    explorer = page.locator("rlhf-explorer")
    if name == "ranking":
        page.get_by_role("button", name=labels(name)["compare"], exact=True).click()
    link = explorer.get_by_role("link", name=TEXT, exact=True)
    assert link.count() == 0
    assert explorer.locator("a:not([href])").count() == 0  # a link that leads nowhere yet
    explorer.locator("summary").focus()
    page.keyboard.press("Enter")
    before = shown(page)
    page.keyboard.press("Tab")  # the table, which scrolls
    page.keyboard.press("Tab")
    assert link.evaluate("e => e === document.activeElement")
    tables = [before]
    texts = [downloaded(page, f"{name}.csv")]
    if key:
        explorer.locator(selector).focus()
        page.keyboard.press(key)
        tables.append(shown(page))
        link.focus()
        texts.append(downloaded(page, f"{name}.csv"))
        assert tables[0] != tables[1]
    words = {"token-inspector": 1, "ranking": 0}.get(name)
    for table, text in zip(tables, texts, strict=True):
        assert len(table) > 2
        assert "\r" not in text
        head, *rows = csv.reader(io.StringIO(text, newline=""))
        assert head == table[0]
        assert rows == [
            [cell if i == words else cell.replace("−", "-") for i, cell in enumerate(row)]
            for row in table[1:]
        ]
    if name in ("ppo-clip", "over-optimisation"):  # nothing but numbers
        lowest = min(float(cell) for row in rows for cell in row)
        assert lowest < 0 or name == "over-optimisation"
    assert not seen.errors
    assert not seen.foreign


def test_any_text_comes_through(render: Any, published_ranking: Any) -> None:
    """Quotes, commas, line ends, and what a spreadsheet would run, which stays as it was said."""
    texts = ['a "b", c', "two\nlines", "\r", "=1+1", "−1", "<img src=x onerror=window.ran=1>"]
    count = len(published_ranking["labelers"])
    names = [texts[i % len(texts)] for i in range(count)]
    assert count >= len(texts)
    marked = labels("ranking") | {"labeler": 'who, "really"?'}
    given = {"data": ranking.data({**published_ranking, "labelers": names}), "labels": marked}
    seen = render("ranking", {**given, "language": "en"})
    page = seen.page
    page.locator(".rl-primary").first.click()
    page.locator("summary").click()
    table = shown(page)
    page.get_by_role("link", name=TEXT).focus()
    read = list(csv.reader(io.StringIO(downloaded(page, "ranking.csv"), newline="")))
    assert [row[0] for row in read] == [marked["labeler"], *names]
    assert read == table
    assert page.evaluate("window.ran") is None
    assert not seen.errors


@pytest.mark.parametrize(
    "at", ["explorer", "sweep", "optimise", "tokens", "ranking", "chooser", "answers"]
)
def test_without_scripts_there_is_a_file_as_well(small_address: str, visit: Any, at: str) -> None:
    page = visit(f"{small_address}/book/{at}.html", java_script_enabled=False).page
    explorer = page.locator("rlhf-explorer")
    head, *rows = explorer.locator("tr").evaluate_all(ROWS)
    address = urljoin(page.url, explorer.locator("a[download]").get_attribute("href"))
    file = page.request.get(address)
    assert file.ok
    names, *records = csv.reader(io.StringIO(file.body().decode(), newline=""))
    assert names == head
    assert len(records) >= len(rows) >= 2
    if at in ("chooser", "answers"):  # words, and few
        assert [[c.strip() for c in row] for row in records] == [
            [c.strip() for c in row] for row in rows
        ]
