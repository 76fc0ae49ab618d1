"""The directive ``{corrections}``: claims of the source notes, and what is right, as a table.

    ```{corrections} ../data/corrections.yaml
    :part: instructgpt
    ```

The file is the one place of its facts: this directive prints them, the page counts them, a test
holds them to the audit they come from. Claims and corrections are parsed as MyST into ordinary
nodes, so that translation, search, terms and citations treat them like text of the page. Each row
has an address, ``#correction-1-11`` for the claim ``1.11``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.locale import get_translation

from rlhf_book.pieces import TextDirective
from rlhf_lab.errors import InputError

_ = get_translation("rlhf_book")

PARTS = ("paradigms", "instructgpt", "gpt-3.5", "gpt-4")  # of the book
VERDICTS = ("wrong", "imprecise", "unverifiable", "out of date")
# mechanism: what acts on what; term: a word for its neighbour; detail: a number, unit, name, date
# or place; condition: the limits of a finding; comparison: with what, or on what; guess: a
# hypothesis told as a fact; age: overtaken since.
KINDS = ("mechanism", "term", "detail", "condition", "comparison", "guess", "age")
TAGS = ("S", "K")  # the place was read in a copy of the source; known, but not read again
_ID = re.compile(r"\d\.\d{1,2}")

Parse = Callable[[str], list[nodes.Node]]


@dataclass(frozen=True)
class Claim:
    """One claim of the notes: ``notes`` says it, ``right`` corrects it, both in MyST."""

    id: str
    part: str
    verdict: str
    kind: str
    tag: str
    notes: str
    right: str
    sources: tuple[tuple[str, str], ...]  # key of the bibliography, and the place there or ""


def read_claims(path: Path) -> list[Claim]:
    """The claims of a file, in its order.

    Raises:
        InputError: a field that is missing, unknown or empty, a value that is not one of the lists
            above, a claim without a source, or an id that comes twice.
    """
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))["claims"]
    claims = [_claim(row) for row in rows]
    for i, claim in enumerate(claims):
        if claim.id in {other.id for other in claims[:i]}:
            raise InputError("id", claim.id, "each id once", "drop or renumber one of them")
    return claims


def _claim(row: Mapping[str, Any]) -> Claim:
    names = [field.name for field in fields(Claim)]
    if sorted(row) != sorted(names):
        raise InputError(f"claim {row.get('id')}", sorted(row), f"the fields {names}", "correct it")
    claim = Claim(**{**row, "sources": tuple(_sources(row["id"], row["sources"]))})
    listed = {"part": PARTS, "verdict": VERDICTS, "kind": KINDS, "tag": TAGS}
    for name, allowed in listed.items():
        if getattr(claim, name) not in allowed:
            value, fix = getattr(claim, name), f"correct claim {claim.id}"
            raise InputError(name, value, f"one of {', '.join(allowed)}", fix)
    if not isinstance(claim.id, str) or not _ID.fullmatch(claim.id):
        raise InputError("id", claim.id, 'section and number in quotes, "1.11"', "correct it")
    for name in ("notes", "right"):
        if not getattr(claim, name).strip():
            raise InputError(name, "", "a sentence", f"write it for claim {claim.id}")
    return claim


def _sources(name: str, rows: list[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    for row in rows:
        if "key" not in row or not set(row) <= {"key", "place"}:
            raise InputError("sources", dict(row), "key, and place or none", f"correct {name}")
        yield row["key"], row.get("place", "")
    if not rows:
        raise InputError("sources", [], "one or more", f"cite where claim {name} is corrected")


def cited(claim: Claim) -> str:
    """The sources of a correction as MyST."""
    return "; ".join(
        f"{{cite:t}}`{key}`, {place}" if place else f"{{cite:t}}`{key}`"
        for key, place in claim.sources
    )


def table(claims: list[Claim], parse: Parse) -> nodes.table:
    """Two columns: the verdict and the claim; what is right and its sources."""
    words = {
        "wrong": _("wrong"),
        "imprecise": _("imprecise"),
        "unverifiable": _("unverifiable"),
        "out of date": _("out of date"),
    }
    group = nodes.tgroup(cols=2)
    group += [nodes.colspec(colwidth=42), nodes.colspec(colwidth=58)]
    titles = [
        nodes.entry("", nodes.paragraph("", text)) for text in (_("The notes say"), _("Right is"))
    ]
    group += nodes.thead("", nodes.row("", *titles))
    body = nodes.tbody()
    for claim in claims:
        verdict = nodes.paragraph("", words[claim.verdict], classes=["rl-verdict"])
        verdict["classes"].append(f"rl-{claim.verdict.replace(' ', '-')}")
        sources = parse(cited(claim))
        for node in sources:
            if isinstance(node, nodes.Element):
                node["classes"].append("rl-sources")
        row = nodes.row(ids=[f"correction-{claim.id.replace('.', '-')}"])
        row += nodes.entry("", verdict, *parse(claim.notes))
        row += nodes.entry("", *parse(claim.right), *sources)
        body += row
    group += body
    classes = ["rl-corrections", "colwidths-given", "longtable"]
    return nodes.table("", group, classes=classes)


class CorrectionsDirective(TextDirective):
    """One argument, the file, from the page's folder; ``:part:`` is a part of the book."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"part": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """The table; a file that cannot be used, or a part without claims, is an error."""
        relative, absolute = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        part = self.options.get("part")
        try:
            claims = [claim for claim in read_claims(Path(absolute)) if claim.part == part]
            if not claims:
                allowed = f"one of {', '.join(PARTS)}"
                raise InputError(":part:", part, allowed, "name a part that has claims")
        except InputError as error:
            raise self.error(str(error)) from error
        return [table(claims, self.parse)]


def register(app: Sphinx) -> None:
    """Tell Sphinx about the directive."""
    app.add_directive("corrections", CorrectionsDirective)
