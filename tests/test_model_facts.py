"""Dated facts about published models: the file, and the chapters that take their numbers from it.

The values below were copied from the sources by hand, so that a slip in the file has a witness.
"""

from __future__ import annotations

import copy
import datetime
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlhf_lab.errors import InputError
from rlhf_lab.widgets import chooser, lineage, model_facts
from rlhf_lab.widgets.files import labels
from rlhf_lab.widgets.model_facts import read_model_facts, sentence, written

ROOT = Path(__file__).parent.parent
FILE = ROOT / "book/data/models.yaml"
PAGES = (ROOT / "book/part3/family-tree.md", ROOT / "book/part5/choosing.md")
CHAPTERS = sorted(page for part in "345" for page in (ROOT / f"book/part{part}").glob("*.md"))
FACTS = read_model_facts(FILE)
WORDS = labels("facts")

# (model, fact): as the source has it. Each was stated wrongly somewhere.
COPIED = {
    ("gpt-3", "parameters"): "175 billion",
    ("gpt-3", "context"): "2,048",
    ("instructgpt", "parameters"): "1.3 billion",
    ("davinci-instruct-beta", "parameters"): "175 billion",
    ("instructgpt", "released"): "4 March 2022",
    ("instructgpt", "shown"): "27 January 2022",
    ("codex-12b", "python"): "159 GB",
    ("gpt-3.5", "data_until"): "Q4 2021",
    ("code-davinci-002", "context"): "8,001",
    ("code-davinci-002", "released"): "15 March 2022",
    ("text-davinci-002", "released"): "15 March 2022",
    ("text-davinci-002", "said_released"): "May 2022 to June 2022",
    ("text-davinci-003", "context"): "4,097",
    ("gpt-3.5-turbo-0301", "released"): "1 March 2023",
    ("gpt-3.5-turbo-0301", "price_in"): "$2",
    ("gpt-4", "trained"): "August 2022",
    ("gpt-4", "context"): "8,192",
    ("gpt-4o-2024-05-13", "price_in"): "$5",
    ("gpt-4o-2024-05-13", "price_out"): "$15",
    ("gpt-4o-2024-05-13", "audio_fastest"): "232 ms",
    ("gpt-4o-2024-05-13", "audio_mean"): "320 ms",
    ("gpt-4o-2024-08-06", "price_in"): "$2.50",
    ("o1-preview", "price_in"): "$15",
    ("o1-preview", "price_out"): "$60",
    ("gpt-4.5-preview-2025-02-27", "price_in"): "$75",
    ("gpt-4.5-preview-2025-02-27", "wrong"): "37.1 %",
    ("gpt-4.5-preview-2025-02-27", "wrong_4o"): "61.8 %",
    ("gpt-4.5-preview-2025-02-27", "ended"): "14 July 2025",
    ("o3-mini-2025-01-31", "simpleqa"): "13.4 %",
    ("o3-preview", "arc_low"): "75.7 %",
    ("o3-preview", "arc_high"): "87.5 %",
    ("o3-2025-04-16", "price_in"): "$10",
    ("o3-2025-04-16", "later_price_in"): "$2",
    ("o3-2025-04-16", "later_price_from"): "10 June 2025",
    ("o3-2025-04-16", "ended"): "11 December 2026",
    ("gpt-5-2025-08-07", "context"): "400,000",
    ("gpt-3", "training_tokens"): "300 billion",
    ("codex-12b", "python_found"): "179 GB",
    ("flan", "parameters"): "137 billion",
    ("flan", "rows"): "1.2 million",
    ("t0", "parameters"): "11 billion",
    ("palm", "parameters"): "540 billion",
    ("chinchilla", "parameters"): "70 billion",
    ("chinchilla", "training_tokens"): "1.4 trillion",
    ("fu-roadmap", "edited"): "1 January 2023",
    ("false-beliefs", "asked_davinci_003"): "November 2022",
}


def day(value: object, end: bool = False) -> datetime.date:
    """First or last day that a date such as 2018-06 can mean."""
    year, *rest = str(value).split("-")
    if rest and rest[0].startswith("Q"):
        rest = [str(3 * int(rest[0][1:]) - 2)]
    month = int(rest[0]) if rest else (12 if end else 1)
    return datetime.date(int(year), month, int(rest[1]) if len(rest) > 1 else (28 if end else 1))


# --- the file -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("what", "text"), COPIED.items(), ids=lambda x: str(x))
def test_the_values_are_those_of_the_sources(what: tuple[str, str], text: str) -> None:
    model, name = what
    assert written(name, FACTS.fact(model, name), WORDS) == text


def test_every_source_is_the_entry_of_the_bibliography() -> None:
    parse_file = pytest.importorskip("pybtex.database", reason="needs the extra [book]").parse_file
    entries = parse_file(ROOT / "book/references.bib").entries
    for key, source in FACTS.sources.items():
        entry = entries[key]
        fields = entry.fields
        arxiv = f"https://arxiv.org/abs/{fields['eprint']}" if "eprint" in fields else ""
        assert source.url == fields.get("url", arxiv), key
        assert fields["year"] in source.text, key
        author = entry.persons["author"][0]
        name = " ".join(author.last_names).strip("{}")
        assert source.text.startswith(name.removesuffix(" API")), key


def test_every_source_is_used() -> None:
    used = {fact.source for model in FACTS.models for fact in model.facts.values()}
    used |= {said.source for model in FACTS.models for said in (*model.statements, *model.parents)}
    assert used == set(FACTS.sources)


def test_nothing_unchecked_is_in_it() -> None:
    """Tags S and K alone; the reader of the file refuses any other, and an entry without."""
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    tags = re.findall(r"tag: (\S+?)\}", FILE.read_text(encoding="utf-8"))
    count = sum(
        len(m["facts"]) + len(m.get("from", ())) + len(m.get("says", ())) for m in content["models"]
    )
    assert len(tags) == count
    assert set(tags) <= {"S", "K"}
    assert tags.count("S") > 0.85 * count
    assert "[?]" not in FILE.read_text(encoding="utf-8")


def test_days_are_in_order() -> None:
    timeline = [m for m in FACTS.models if m.statements and "released" in m.facts]
    days = [day(m.facts["released"].value) for m in timeline]
    assert days == sorted(days)
    released = {m.id: m.facts["released"] for m in FACTS.models if "released" in m.facts}
    for model in FACTS.models:
        for line in model.parents:
            if model.id in released and line.parent in released:
                ends = (released[line.parent].value, released[model.id].value)
                assert day(ends[0]) <= day(ends[1], end=True), (line.parent, model.id)
        facts = {name: fact.value for name, fact in model.facts.items()}
        if "ended" in facts:
            start = facts.get("released", "2018")
            assert day(start) <= day(facts.get("notice", facts["ended"])) <= day(facts["ended"])
        if model.can_be_chosen and "ended" in facts:
            assert "notice" in facts  # the chooser says whether an end had been announced


def test_ids_name_the_day_of_release() -> None:
    """A snapshot's own name is a second witness of its day."""
    named = 0
    for model in FACTS.models:
        found = re.search(r"\d{4}-\d\d-\d\d$", model.id)
        if found:
            named += 1
            assert model.facts["released"].value == found[0]
    assert named >= 9


# --- words --------------------------------------------------------------------------------------

NAMES = re.compile(r"GPT-\d[\w.-]*|(?:text|code)-davinci-00\d|code-cushman-001|o[134](?!\w)", re.I)


def test_statements_are_those_of_the_file_and_type_no_number() -> None:
    statements = labels("statements")
    for common in ("show_data", "download_csv", "still"):
        del statements[common]
    used = [said.text for model in FACTS.models for said in model.statements]
    assert sorted(used) == sorted(statements)
    for name, text in statements.items():
        bare = NAMES.sub("", re.sub(r"\{\w+\}", "", text))
        assert not re.search(r"\d", bare), (name, bare)
    for model in FACTS.models:
        for said in model.statements:
            assert "{" not in sentence(said, model)


def prose(page: Path) -> str:
    """The sentences of a page: no code, no head, no directive's options, no role, no link."""
    text = page.read_text(encoding="utf-8").split("---\n", 2)[2]
    code = r"^```(\{(code-cell|math|explorer)\}|python$).*?^```$"
    text = re.sub(code, "", text, flags=re.M | re.S)
    text = re.sub(r"^(```.*|:\w+:.*)$", "", text, flags=re.M)
    text = re.sub(r"\{[\w:]+\}`[^`]*`", "", text)
    text = re.sub(r"\]\([^)]*\)|\$[^$]*\$|`[^`]*`", "", text)
    return NAMES.sub("", text)


# What a sentence may count by itself: our own method, and the time an exercise takes.
ALLOWED = re.compile(r"\*\d+ minutes|95 % interval")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_prose_takes_its_numbers_from_files(page: Path) -> None:
    text = ALLOWED.sub("", prose(page))
    typed = [text[max(0, m.start() - 40) : m.end() + 20] for m in re.finditer(r"\d", text)]
    assert not typed
    months = "|".join(WORDS["months"].split())
    assert not re.search(rf"\b(?:{months.replace('May', 'May(?= of)')})\b(?! version)", text)


def test_the_prose_check_sees_a_typed_number(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("---\na: 1\n---\nGPT-4 read 8,192 tokens, {fact}`gpt-4 context` again.\n")
    assert re.search(r"8,192", prose(page))
    assert "gpt-4 context" not in prose(page)


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_roles_name_facts(page: Path) -> None:
    roles = re.findall(r"\{fact\}`([^`]*)`", page.read_text(encoding="utf-8"))
    assert page not in PAGES or len(roles) > 15
    for role in roles:
        model, _, name = role.partition(" ")
        FACTS.fact(model, name)


MONTHS = "|".join(WORDS["months"].split())
# What a sentence must not type about the world. Scores, counts and toy numbers it may.
KINDS_OF_FACTS = {
    "date": rf"\b(?:\d+ )?(?:{MONTHS}),? (?:of )?\d{{2,4}}\b|\b(?:19|20)\d\d\b",
    "size": r"\d[\d.,]*[ -](?:thousand|million|billion|trillion)\b|\d ?[GT]B\b",
    "context": r"\b(?:context|window)s?\b[^.|]{0,40}\b\d[\d,]{2,}|\b\d[\d,]{2,} words\b",
    "price": r"\$ ?\d|\b\d[\d.,]* (?:dollars|cents)\b",
}
# A quotation, and a year that is part of a name.
TYPED = ("finished training in early 2022", "AIME 2024")


def typed_facts(text: str) -> list[tuple[str, str]]:
    """Facts of the four kinds that prose types: (kind, what stands around it)."""
    for known in TYPED:
        text = text.replace(known, "")
    text = " ".join(text.split())
    return [
        (kind, text[max(0, found.start() - 40) : found.end() + 20])
        for kind, pattern in KINDS_OF_FACTS.items()
        for found in re.finditer(pattern, text)
    ]


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_dates_sizes_contexts_and_prices_are_of_the_file(page: Path) -> None:
    """In sentences, tables, questions and solutions of every chapter."""
    assert not typed_facts(prose(page))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("It was on the API by March 2022.", "date"),
        ("a copy of 1 January 2023", "date"),
        ("shown in 2019", "date"),
        ("a model of 679 million\nparameters", "size"),
        ("the 540-billion PaLM", "size"),
        ("filtering left of 179 GB", "size"),
        ("a context of 8,192 tokens", "context"),
        ("It reads 2,048 words.", "context"),
        ("it cost $5 in", "price"),
        ("10 dollars per million", "price"),
    ],
)
def test_the_check_of_all_chapters_sees_a_typed_fact(text: str, kind: str) -> None:
    assert kind in {found for found, _ in typed_facts(text)}


def test_the_check_of_all_chapters_lets_the_rest_pass() -> None:
    text = "Of 200 answers 40 % were right, after 64,000 tokens and 500 steps, at n = 16, table 14."
    assert not typed_facts(text)


@pytest.mark.parametrize(
    ("name", "value", "unit", "text"),
    [
        ("released", "2018-06", None, "June 2018"),
        ("released", "2024-05-13", None, "13 May 2024"),
        ("released", "2022", None, "2022"),
        ("parameters", 117e6, None, "117 million"),
        ("parameters_large", 6.7e9, None, "6.7 billion"),
        ("training_tokens", 1.4e12, None, "1.4 trillion"),
        ("rows", 1e6, None, "1 million"),
        ("price_in", 0.15, None, "$0.15"),
        ("later_price_out", 1250, None, "$1,250"),
        ("context", 1047576, None, "1,047,576"),
        ("images", False, None, "no"),
        ("score", 91.0, "%", "91.0 %"),
        ("compute", 172, "", "172"),
        ("replaced_by", "gpt-6-luna", "", "gpt-6-luna"),
    ],
)
def test_how_facts_are_written(name: str, value: Any, unit: str | None, text: str) -> None:
    assert written(name, model_facts.Fact(value, "x", "S", unit=unit), WORDS) == text


# --- what is refused ----------------------------------------------------------------------------

SOUND = {
    "format": model_facts.FORMAT,
    "checked": "2026-01-01",
    "sources": {"a": {"text": "A 2020", "url": ""}},
    "models": [
        {"id": "one", "name": "One", "is": "paper", "ideas": ["code"], "facts": {}},
        {
            "id": "two", "name": "Two", "is": "api", "ideas": [],
            "facts": {"released": {"value": "2020-01", "source": "a", "tag": "S"}},
            "from": [{"id": "one", "of": "name", "is": "reported", "source": "a", "tag": "K"}],
            "says": [{"text": "gpt1_recipe", "is": "documented", "source": "a", "tag": "S"}],
        },
    ],
}  # fmt: skip


def spoiled(change: Any) -> dict[str, Any]:
    content = copy.deepcopy(SOUND)
    change(content["models"][1], content)
    return content


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        (lambda m, c: c.update(format="x"), "format of"),
        (lambda m, c: m["facts"]["released"].update(tag="?"), "tag of released of two"),
        (lambda m, c: m["facts"]["released"].pop("tag"), "tag of released of two"),
        (lambda m, c: m["facts"]["released"].update(source="b"), "source of released of two"),
        (lambda m, c: m["facts"].update(score={"value": 1, "source": "a", "tag": "S"}), "unit of"),
        (lambda m, c: m["from"][0].update(id="three"), "from of two"),
        (lambda m, c: m["from"][0].update(of="spirit"), "from of two"),
        (lambda m, c: m["says"][0].update({"is": "true"}), "says of two"),
        (lambda m, c: m.update(ideas=["speed"]), "ideas of two"),
        (lambda m, c: m.update(id="one"), "id"),
    ],
)
def test_an_unsound_file_is_refused(tmp_path: Path, change: Any, argument: str) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(yaml.safe_dump(SOUND))
    assert [model.id for model in read_model_facts(path).models] == ["one", "two"]
    path.write_text(yaml.safe_dump(spoiled(change)))
    with pytest.raises(InputError) as caught:
        read_model_facts(path)
    assert caught.value.argument.startswith(argument)


@pytest.mark.parametrize("text", [None, "a: [", "just words"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "models.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match="fix: "):
        read_model_facts(path)


# --- the two drawings ---------------------------------------------------------------------------


def test_the_timeline_has_what_its_title_says() -> None:
    data = lineage.data(FACTS)
    title = labels("lineage")["title"]
    (name,) = re.findall(r"text-davinci-\d+", title)
    assert name in lineage.without_parent(data["entries"], ("documented", "reported"))
    assert data["state"]["entry"] == name
    entry = next(entry for entry in data["entries"] if entry["name"] == name)
    weights = [line for line in entry["from"] if line["of"] == "weights"]
    assert [line["kind"] for line in weights] == ["hypothesis"]
    grounds = [g for e in data["entries"] for part in ("facts", "says", "from") for g in e[part]]
    assert {ground["source"] for ground in grounds} == set(data["sources"])
    assert all(entry["says"] and entry["ideas"] for entry in data["entries"])


def test_months_are_whole_ones() -> None:
    """Counted by trying: m months are over when the m-th month's same day has come."""
    start = datetime.date(2025, 1, 31)
    for days in range(0, 900, 7):
        end = start + datetime.timedelta(days=days)
        reached = [
            months for months in range(40)
            if (12 * start.year + start.month + months, start.day)
            <= (12 * end.year + end.month, end.day)
        ]  # fmt: skip
        assert chooser.months_between(start.isoformat(), end.isoformat()) == max(reached)
