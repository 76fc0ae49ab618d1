"""Dated facts about published models: ``book/data/models.yaml``, read, checked and written out.

The file's head says what its entries mean. Two drawings show it (:mod:`rlhf_lab.widgets.lineage`,
:mod:`rlhf_lab.widgets.chooser`), and the book's role ``{fact}`` takes from it every date, size,
context length and price that stands in a sentence.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from rlhf_lab.errors import InputError
from rlhf_lab.widgets.files import labels

FORMAT = "rlhf_lab.models/1"
TAGS = ("S", "K")  # seen in the source; known from it
EVIDENCE = ("documented", "reported", "hypothesis", "contradicted")
RELATIONS = ("weights", "recipe", "name")
KINDS = ("paper", "api", "product", "series", "preview")
IDEAS = ("pretraining", "code", "instruction", "rlhf", "images", "reasoning")
DATES = (
    "released", "shown", "trained", "data_until", "base_ready", "said_released",
    "notice", "ended", "later_price_from", "edited", "asked_davinci_003", "asked_gpt_4",
)  # fmt: skip
QUANTITIES = ("parameters", "training_tokens", "rows")  # and names that go on from these
SCALES = {"million": 1e6, "billion": 1e9, "trillion": 1e12}
FLAGS = ("images", "reasons")
# What a model needs to be among those one can choose from.
CHOICE = ("released", "context", "price_in", "price_out", *FLAGS)


@dataclass(frozen=True)
class Source:
    """How a source is named in a drawing, and its address, empty where it has none."""

    text: str
    url: str


@dataclass(frozen=True)
class Fact:
    """A value as of a source; see the head of the file for ``tag``, ``at`` and ``by``."""

    value: Any
    source: str
    tag: str
    at: str = ""
    unit: str | None = None
    by: bool = False


@dataclass(frozen=True)
class Statement:
    """A sentence about a model: its name among the labels, and how it is known."""

    text: str
    kind: str
    source: str
    tag: str
    at: str = ""


@dataclass(frozen=True)
class Descent:
    """A line to an earlier model: what was handed on, and how that is known."""

    parent: str
    of: str
    kind: str
    source: str
    tag: str
    at: str = ""


@dataclass(frozen=True)
class Model:
    """One entry of the file."""

    id: str
    name: str
    kind: str
    ideas: tuple[str, ...]
    facts: Mapping[str, Fact]
    parents: tuple[Descent, ...]
    statements: tuple[Statement, ...]

    @property
    def can_be_chosen(self) -> bool:
        """Whether everything that the chooser asks about is known."""
        return all(name in self.facts for name in CHOICE)


@dataclass(frozen=True)
class ModelFacts:
    """The whole file: when it was checked, its sources, its models in their order."""

    checked: str
    sources: Mapping[str, Source]
    models: tuple[Model, ...]

    def fact(self, model: str, name: str) -> Fact:
        """One fact.

        Raises:
            InputError: no such model, or nothing of that name about it.
        """
        known = {entry.id: entry for entry in self.models}
        if model not in known:
            raise InputError("model", model, ", ".join(known), "name one of them")
        facts = known[model].facts
        if name not in facts:
            raise InputError(f"fact of {model}", name, ", ".join(facts), "name one of them")
        return facts[name]

    def table(self, *names: str) -> pd.DataFrame:
        """Values of some facts: one row per model that has all of them, by its id."""
        rows = {
            model.id: [model.facts[name].value for name in names]
            for model in self.models
            if all(name in model.facts for name in names)
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(names))


def read_model_facts(path: str | Path) -> ModelFacts:
    """Read the file.

    Raises:
        InputError: it cannot be read, or an entry lacks a source or a tag, or names a source, a
            model, a kind, a relation or an idea that is not there.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        reason = f"check the path ({error.strerror})"
        raise InputError("data", str(path), "a readable file", reason) from None
    except (ValueError, yaml.YAMLError) as error:
        raise InputError("data", str(path), "a file of YAML", f"correct it: {error}") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise InputError(f"format of {path}", found, FORMAT, "name the file of the model facts")
    sources = {key: Source(**entry) for key, entry in content["sources"].items()}
    models: list[Model] = []
    for entry in content["models"]:
        models.append(_model(entry, sources, [model.id for model in models]))
    return ModelFacts(_date(content["checked"]), sources, tuple(models))


def _model(entry: Mapping[str, Any], sources: Mapping[str, Source], known: Sequence[str]) -> Model:
    name = entry["id"]
    if name in known:
        raise InputError("id", name, "one entry for each model", "put the two together")
    _one_of(f"is of {name}", entry["is"], KINDS)
    for idea in entry["ideas"]:
        _one_of(f"ideas of {name}", idea, IDEAS)
    facts = {}
    for key, given in entry["facts"].items():
        where = f"{key} of {name}"
        _known(where, given, sources)
        value = given["value"]
        facts[key] = Fact(**{**given, "value": _plain(value)})
        if _unit(key, facts[key]) is None:
            raise InputError(f"unit of {where}", None, "a unit, or an empty one", "add unit: …")
    parents = []
    for given in entry.get("from", ()):
        where = f"from of {name}"
        _known(where, given, sources)
        _one_of(where, given["id"], known)
        _one_of(where, given["of"], RELATIONS)
        _one_of(where, given["is"], EVIDENCE)
        parents.append(_descent(given))
    statements = []
    for given in entry.get("says", ()):
        _known(f"says of {name}", given, sources)
        _one_of(f"says of {name}", given["is"], EVIDENCE)
        statements.append(Statement(given["text"], given["is"], **_ground(given)))
    return Model(
        name,
        entry["name"],
        entry["is"],
        tuple(entry["ideas"]),
        facts,
        tuple(parents),
        tuple(statements),
    )


def _descent(given: Mapping[str, Any]) -> Descent:
    return Descent(given["id"], given["of"], given["is"], **_ground(given))


def _ground(given: Mapping[str, Any]) -> dict[str, str]:
    return {"source": given["source"], "tag": given["tag"], "at": given.get("at", "")}


def _known(where: str, given: Mapping[str, Any], sources: Mapping[str, Source]) -> None:
    """A source of the file, and a tag: nothing without both is printed."""
    _one_of(f"source of {where}", given.get("source"), list(sources))
    _one_of(f"tag of {where}", given.get("tag"), TAGS)


def _one_of(argument: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InputError(argument, value, ", ".join(allowed), "name one of them")


def _plain(value: Any) -> Any:
    """Dates as text, YYYY-MM-DD; all else as it is."""
    if isinstance(value, list):
        return [_date(part) for part in value]
    return _date(value) if isinstance(value, datetime.date) else value


def _date(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def _unit(name: str, fact: Fact) -> str | None:
    if name in DATES:
        return "date"
    if name in FLAGS:
        return "flag"
    if name.startswith(QUANTITIES):
        return "quantity"
    if "price" in name:
        return "dollars"
    return "tokens" if name == "context" else fact.unit


def written(name: str, fact: Fact, words: Mapping[str, str]) -> str:
    """A fact as it stands in a sentence: ``28 May 2020``, ``175 billion``, ``2,048``, ``$2.50``.

    Numbers of parameters, tokens and rows are in millions, billions or trillions, the largest of
    which there is at least one.

    Args:
        name: of the fact, which says what its value is.
        fact: with its value.
        words: the labels ``facts`` of a language.
    """
    value = fact.value
    unit = _unit(name, fact)
    if unit == "date":
        ends = value if isinstance(value, list) else [value]
        texts = [written_date(str(end), words) for end in ends]
        if len(texts) == 1:
            return texts[0]
        return words["range"].format(first=texts[0], last=texts[1])
    if unit == "flag":
        return words["yes" if value else "no"]
    if unit == "quantity":
        scale = [name for name, size in SCALES.items() if value >= size][-1]
        return words[scale].format(number=f"{value / SCALES[scale]:.4g}")
    if unit == "dollars":
        return words["dollars"].format(number=f"{value:,.2f}".removesuffix(".00"))
    if unit == "tokens":
        return f"{value:,}"
    if isinstance(value, str):
        return value
    number = f"{value:.1f}" if isinstance(value, float) else f"{value:,}"
    return f"{number} {unit}".strip()


def written_date(value: str, words: Mapping[str, str]) -> str:
    """``2020-05-28``, ``2020-05``, ``2021-Q4`` or ``2020`` as a language writes it."""
    year, *rest = value.split("-")
    if not rest:
        return year
    if rest[0].startswith("Q"):
        return words["quarter"].format(quarter=rest[0][1:], year=year)
    month = words["months"].split()[int(rest[0]) - 1]
    if len(rest) == 1:
        return words["month"].format(month=month, year=year)
    return words["day"].format(day=int(rest[1]), month=month, year=year)


def dated(fact: Fact, words: Mapping[str, str]) -> str:
    """A date as a drawing has it: with "by" where the day is only the latest possible."""
    text = written("released", fact, words)
    return words["by"].format(date=text) if fact.by else text


def sentence(statement: Statement, model: Model, language: str = "en") -> str:
    """A statement in words, with the model's own facts filled in."""
    words = labels("facts", language)
    facts = {name: written(name, fact, words) for name, fact in model.facts.items()}
    return labels("statements", language)[statement.text].format(**facts)
