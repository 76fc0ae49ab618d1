"""The findings ledger on the page: its rows, their order, and what translators get."""

from __future__ import annotations

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
FOUND = {"mean": -1.25, "low": -2.0, "high": 0.5, "seeds": 3}
CLAIM: dict[str, Any] = {
    "id": "a", "about": "tax", "claim": "It *falls*.", "paper": "It fell.",
    "source": {"key": "key", "place": "p. 1"}, "here": "Before less after.", "experiment": "sweep",
    "chapter": "results", "unit": "points", "command": "python -m this", "statistic": FOUND,
    "verdict": "not reproduced", "why": "undecided",
}  # fmt: skip
UNTRIED = {
    k: v for k, v in CLAIM.items() if k not in ("statistic", "unit", "here", "command", "why")
} | {"id": "b", "verdict": "not tested yet", "note": "It needs more."}


@pytest.fixture
def ledger(extension: Any) -> ModuleType:
    return extension("ledger")


def parse(text: str) -> list[nodes.Node]:
    document = publish_doctree(text, parser=Parser(), settings_overrides={"report_level": 5})
    return list(document.children)


def test_the_published_ledger_can_be_read(ledger: ModuleType) -> None:
    claims = ledger.read_ledger(ROOT / "book/results/claims.yaml")
    rows = [row["id"] for verdict in ledger.VERDICTS for row in ledger.of_verdict(claims, verdict)]
    assert sorted(rows) == sorted(claim["id"] for claim in claims), "each row stands once"


def test_what_is_contrary_comes_first(ledger: ModuleType) -> None:
    rows = [CLAIM, CLAIM | {"id": "c", "about": "labelers", "why": "contrary"},
            CLAIM | {"id": "d", "about": "preference"}]  # fmt: skip
    assert [row["id"] for row in ledger.of_verdict(rows, "not reproduced")] == ["c", "d", "a"]


def test_a_number_has_its_interval_unit_and_seeds(ledger: ModuleType) -> None:
    assert ledger.number(CLAIM) == "−1.2 [−2.0, 0.5] percentage points, 3 seeds"
    loss = CLAIM | {"unit": "nats per token"}
    assert ledger.number(loss) == "−1.250 [−2.000, 0.500] nats per token, 3 seeds"
    alone = loss | {"statistic": FOUND | {"seeds": 1}}
    assert ledger.number(alone) == "−1.250 [−2.000, 0.500] nats per token, one run"


def test_sentences_are_translatable_and_numbers_are_not(ledger: ModuleType) -> None:
    document, written = new_document("page.md"), []

    def recorded(text: str) -> list[nodes.Node]:
        written.append(text)
        return parse(text)

    document += ledger.table([CLAIM, UNTRIED], "../results", recorded)
    first, second = document.findall(lambda n: isinstance(n, nodes.row) and n["ids"])
    assert (first["ids"], second["ids"]) == (["claim-a"], ["claim-b"])
    assert "−1.2" in first.astext() and "Alignment tax" in second.astext()
    found = [message for _, message in extract_messages(document)]
    assert {"It *falls*.", "It fell.", "Before less after.", "It needs more."} <= set(found)
    assert not any("−1.2" in message or "leave it open" in message for message in found)
    assert written.count("[python -m this](../results/sweep/manifest.json)") == 1
    assert written.count("[](results.md)") == 2


@pytest.mark.parametrize("change", [{"verdict": "true"}, {"about": "price"}, {"unit": "percent"}])
def test_a_ledger_with_unknown_words_is_refused(
    ledger: ModuleType, tmp_path: Path, change: dict[str, str]
) -> None:
    path = tmp_path / "ledger.yaml"
    path.write_text(yaml.safe_dump({"claims": [CLAIM | change]}))
    with pytest.raises(InputError, match=f"^{next(iter(change))}"):
        ledger.read_ledger(path)
