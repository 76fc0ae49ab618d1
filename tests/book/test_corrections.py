"""Corrections: their file, the audit that they come from, and the table that a page shows."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

pytest.importorskip("myst_nb", reason="needs the extra [book]")

from docutils import nodes
from docutils.core import publish_doctree
from docutils.utils import new_document
from myst_parser.parsers.docutils_ import Parser
from sphinx.util.nodes import extract_messages

from rlhf_lab.errors import InputError

ROOT = Path(__file__).parents[2]
FILE = ROOT / "book/data/corrections.yaml"
# The audit is no part of the project; some checkouts, or their parents, have it in a folder shared.
AUDITS = [folder / "shared/reference/facts.md" for folder in (ROOT, ROOT.parent)]


@pytest.fixture
def corrections(extension: Any) -> ModuleType:
    return extension("corrections")


@pytest.fixture(scope="module")
def file() -> Any:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def audit() -> dict[str, tuple[str, str, str, str]]:
    """Rows of the audit by id: claim, verdict, correct fact, source."""
    path = next((path for path in AUDITS if path.is_file()), None)
    if path is None:
        pytest.skip("the audit, shared/reference/facts.md, is not beside this checkout")
    text = path.read_text(encoding="utf-8")
    section = text[text.index("\n## 1. ") : text.index("\n## 2. ")]
    rows = re.findall(r"^\| (\d\.\d+) \| (.*) \|$", section, re.MULTILINE)
    found = {name: tuple(cell.strip() for cell in row.split(" | ")) for name, row in rows}
    assert len(found) > 90 and {len(row) for row in found.values()} == {4}
    return found  # type: ignore[return-value]


def ids(file: Any) -> tuple[set[str], set[str], set[str]]:
    return {c["id"] for c in file["claims"]}, {r["id"] for r in file["left_out"]}, set(file["held"])


def test_the_file_can_be_read_and_cites_what_the_bibliography_has(
    corrections: ModuleType, file: Any
) -> None:
    claims = corrections.read_claims(FILE)
    assert {claim.part for claim in claims} == set(corrections.PARTS)
    assert {claim.kind for claim in claims} == set(corrections.KINDS)
    bibliography = (ROOT / "book/references.bib").read_text(encoding="utf-8")
    keys = set(re.findall(r"^@\w+\{([^,]+),", bibliography, re.MULTILINE))
    assert {key for claim in claims for key, _ in claim.sources} <= keys
    assert "[?]" not in FILE.read_text(encoding="utf-8")


def test_each_row_has_one_fate(file: Any) -> None:
    printed, left_out, held = ids(file)
    assert not printed & left_out and not printed & held and not left_out & held
    assert len(file["held"]) == len(held) and len(file["left_out"]) == len(left_out)
    assert all(row.keys() == {"id", "reason"} and row["reason"] for row in file["left_out"])


def test_every_row_of_the_audit_is_accounted_for(file: Any, audit: Any) -> None:
    printed, left_out, held = ids(file)
    assert printed | left_out | held == set(audit)
    assert held == {name for name, row in audit.items() if row[1] == "right"}
    must = {n for n, row in audit.items() if re.search(r"\b(wrong|imprecise)\b", row[1])}
    assert must <= printed, "printed whenever wrong or imprecise"


def test_verdicts_and_certainty_are_those_of_the_audit(file: Any, audit: Any) -> None:
    for claim in file["claims"]:
        _, verdict, fact, source = audit[claim["id"]]
        if claim["verdict"] == "out of date":
            assert re.search("out of date|overtaken", verdict), claim["id"]
        else:
            assert re.search(rf"\b{claim['verdict']}\b", verdict), claim["id"]
        assert "[?]" not in fact + source, claim["id"]
        assert f"[{claim['tag']}]" in source, claim["id"]


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"verdict": "false"}, "verdict"),
        ({"tag": "?"}, "tag"),
        ({"part": "gpt-5"}, "part"),
        ({"kind": ""}, "kind"),
        ({"id": 1.1}, "id"),  # 1.10 without quotes
        ({"notes": " "}, "notes"),
        ({"sources": []}, "sources"),
        ({"sources": [{"place": "§1"}]}, "sources"),
        ({"source": "x"}, "claim 1.11"),
    ],
)
def test_a_file_that_says_too_little_is_refused(
    corrections: ModuleType, tmp_path: Path, change: dict[str, Any], argument: str
) -> None:
    good = yaml.safe_load((ROOT / "tests/book/fixture/book/data/corrections.yaml").read_text())
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(good))
    assert len(corrections.read_claims(tmp_path / "good.yaml")) == 2
    good["claims"][0] |= change
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(good))
    with pytest.raises(InputError, match=f"^{argument}"):
        corrections.read_claims(tmp_path / "bad.yaml")


def test_an_id_comes_once(corrections: ModuleType, tmp_path: Path) -> None:
    good = yaml.safe_load((ROOT / "tests/book/fixture/book/data/corrections.yaml").read_text())
    good["claims"][1]["id"] = "1.11"
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(good))
    with pytest.raises(InputError, match=r"^id: got '1\.11'"):
        corrections.read_claims(tmp_path / "bad.yaml")


def test_claims_and_corrections_are_translatable_and_verdicts_are_not(
    corrections: ModuleType,
) -> None:
    def parse(text: str) -> list[nodes.Node]:
        settings = {"myst_enable_extensions": ["dollarmath"], "report_level": 5}
        return list(publish_doctree(text, parser=Parser(), settings_overrides=settings).children)

    claim = corrections.Claim(
        "1.10", "gpt-4", "out of date", "age", "S", "A *claim*.", "Right: $x$.", (("key", "§1"),)
    )
    document = new_document("page.md")
    document += corrections.table([claim], parse)
    row = next(document.findall(lambda n: isinstance(n, nodes.row) and n["ids"]))
    assert row["ids"] == ["correction-1-10"]
    assert "out of date" in row.astext()
    found = [message for _, message in extract_messages(document)]
    assert found == ["A *claim*.", "Right: $x$.", "{cite:t}`key`, §1"]


def test_the_table_of_a_page(small_site: Path) -> None:
    page = (small_site / "book/words.html").read_text(encoding="utf-8")
    table = re.search(r'<table class="[^"]*rl-corrections.*?</table>', page, re.DOTALL)
    assert table
    assert table[0].count("<tr") == 2  # its head, and one of the two claims of the file
    row = table[0][table[0].index('id="correction-1-11"') :]
    assert '<p class="rl-verdict rl-wrong">wrong</p>' in row
    assert "<img" not in row and "&lt;img" in row
    assert 'href="#term-KL-divergence"' in row
    assert re.search(r'class="[^"]*rl-sources[^"]*">.*Ouyang.*§3.5', row, re.DOTALL)
