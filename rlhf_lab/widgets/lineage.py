"""Lineage timeline: models and API names, what is known of their descent, and how it is known.

The drawing itself is ``static/lineage.js``. It shows ``book/data/models.yaml``, as
:mod:`rlhf_lab.widgets.model_facts` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlhf_lab.widgets.files import labels
from rlhf_lab.widgets.model_facts import (
    EVIDENCE,
    IDEAS,
    Descent,
    Fact,
    Model,
    ModelFacts,
    Statement,
    dated,
    sentence,
    written,
)

NAME = "lineage"
FIRST = "text-davinci-003"  # open at first: the entry whose usual parent is nowhere documented
# Facts that a card lists; the others stand in its sentences.
LISTED = ("released", "parameters", "context", "ended")


def data(facts: ModelFacts, *, language: str = "en") -> dict[str, Any]:
    """What the drawing gets: entries in words, the sources, and what it shows first.

    Args:
        facts: the file.
        language: of the sentences and dates.

    Raises:
        InputError: a language without labels.
    """
    words = labels("facts", language)
    entries = [_entry(model, words, language) for model in facts.models if model.statements]
    used = {ground["source"] for entry in entries for ground in _grounds(entry)}
    return {
        "ideas": list(IDEAS),
        "evidence": list(EVIDENCE),
        "entries": entries,
        "sources": {
            key: {"text": source.text, "url": source.url}
            for key, source in facts.sources.items()
            if key in used
        },
        "state": {"idea": "all", "evidence": "all", "entry": FIRST},
    }


def _grounds(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*entry["facts"], *entry["says"], *entry["from"]]


def _entry(model: Model, words: Mapping[str, str], language: str) -> dict[str, Any]:
    released = model.facts.get("released")
    listed = [name for name in LISTED if name in model.facts]
    return {
        "id": model.id,
        "name": model.name,
        "kind": model.kind,
        "ideas": list(model.ideas),
        "date": dated(released, words) if released else "",
        "year": str(released.value)[:4] if released else "",
        "facts": [
            {
                "name": name,
                "text": dated(model.facts[name], words)
                if name == "released"
                else written(name, model.facts[name], words),
                **_ground(model.facts[name]),
            }
            for name in listed
        ],
        "says": [
            {"text": sentence(said, model, language), "kind": said.kind, **_ground(said)}
            for said in model.statements
        ],
        "from": [
            {"id": line.parent, "of": line.of, "kind": line.kind, **_ground(line)}
            for line in model.parents
        ],
    }


def _ground(what: Fact | Statement | Descent) -> dict[str, str]:
    return {"source": what.source, "at": what.at, "tag": what.tag}


def without_parent(entries: list[Mapping[str, Any]], kinds: tuple[str, ...]) -> list[str]:
    """Names of entries whose every line to another model's weights is of other kinds than these."""
    found = []
    for entry in entries:
        lines = [line["kind"] for line in entry["from"] if line["of"] == "weights"]
        if lines and not any(kind in kinds for kind in lines):
            found.append(entry["name"])
    return found
