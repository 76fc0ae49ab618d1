"""The glossary: two languages, and the pages that use a term."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("myst_nb", reason="needs the extra [book]")

from docutils import nodes
from sphinx import addnodes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def glossary(extension: Any) -> ModuleType:
    return extension("glossary")


def entries() -> list[tuple[list[str], str]]:
    """Names and definition of every entry of the book's glossary."""
    text = (ROOT / "book/reference/glossary.md").read_text(encoding="utf-8")
    body = re.search(r"```\{glossary\}\n:sorted:\n\n(.*?)\n```", text, re.DOTALL)
    assert body
    blocks = [block.split("\n") for block in body[1].split("\n\n")]
    return [
        ([x for x in block if x[0] != " "], " ".join(x.strip() for x in block if x[0] == " "))
        for block in blocks
    ]


def test_every_entry_has_a_chinese_name_and_a_definition() -> None:
    found = entries()
    assert len(found) > 60
    for names, definition in found:
        chinese = [name for name in names if re.search(r"[\u4e00-\u9fff]", name)]
        assert chinese and names[0] not in chinese, names
        assert all(name.endswith(" : 中文") for name in chinese), names  # one heading of the index
        assert definition.endswith("."), names
    every = [name for names, _ in found for name in names]
    assert len(every) == len(set(every))


def test_a_page_shows_the_language_and_the_uses(small_site: Path) -> None:
    page = (small_site / "book/words.html").read_text(encoding="utf-8")
    assert re.search(r'<dt id="[^"]+" lang="zh-Hans">KL 散度<', page)
    lines = re.findall(r'<p class="rl-uses">(.*?)</p>', page)
    assert len(lines) == 1  # the other term is linked to from the first page alone
    assert lines[0].startswith('Used in <a class="reference internal" href="questions.html">')


def test_a_note_says_the_definition_alone(small_site: Path) -> None:
    page = (small_site / "book/index.html").read_text(encoding="utf-8")
    pattern = r'data-for="words\.html#term-KL-divergence" hidden>(.*?)</div>'
    note = re.search(pattern, page, re.DOTALL)
    assert note and "Used in" not in note[1] and "log-ratio" in note[1]


def test_what_pages_link_to_is_kept_merged_and_forgotten(glossary: ModuleType) -> None:
    def read(env: Any, page: str, *terms: str) -> None:
        env.docname = page
        doctree = nodes.section()
        doctree += [addnodes.pending_xref(reftype="term", reftarget=term) for term in terms]
        doctree += addnodes.pending_xref(reftype="doc", reftarget="other")
        glossary.collect(SimpleNamespace(env=env), doctree)

    env, other = SimpleNamespace(), SimpleNamespace()
    read(env, "a", "KL Divergence", "nat", "nat")
    read(other, "b", "PPO")
    read(other, "c")
    glossary.merge(None, env, {"b"}, other)
    assert glossary.uses(env) == {"a": {"kl divergence", "nat"}, "b": {"ppo"}}
    glossary.forget(None, env, "a")
    glossary.forget(None, env, "never read")
    assert glossary.uses(env) == {"b": {"ppo"}}
