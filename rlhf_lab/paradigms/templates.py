"""Feature templates in the manner of CRF++: a few lines by an expert, many features by the data.

A template file has a line for each template. Sentences are tables, one row per word, and a macro
``%x[row,col]`` stands for the cell ``row`` words away from the current one, in column ``col``::

    U01:%x[-1,0]            the word before
    U02:%x[-1,0]/%x[0,0]    both words together
    B                       the tag before and the tag

A line that begins with ``U`` makes *unigram* features: for every distinct string that it expands
to, one for each tag. A line that begins with ``B`` makes *bigram* features, one for each pair of
neighbouring tags. What is between the letter and the first macro tells templates apart. Comments
begin with ``#``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rlhf_lab.errors import InputError

Table = Sequence[Sequence[str]]
Columns = Mapping[str, Callable[[str], str]]

_MACRO = re.compile(r"%x\[(-?\d+),(\d+)\]")
FURTHEST = 4  # words that a macro may look away, as in CRF++


def _shape(word: str) -> str:
    """Letters as X and x, digits as 9, runs cut short: "UD-2.16" is "X-9.9"."""
    classes = (("[A-Z]+", "X"), ("[a-z]+", "x"), (r"\d+", "9"))
    for pattern, sign in classes:
        word = re.sub(pattern, sign, word)
    return word


# What a word is looked at as: columns 0 to 5 of a table.
FORMS: Columns = {
    "lower case": str.lower,
    "last three letters": lambda word: word[-3:].lower(),
    "last two letters": lambda word: word[-2:].lower(),
    "last letter": lambda word: word[-1:].lower(),
    "first three letters": lambda word: word[:3].lower(),
    "shape": _shape,
}


def table(sentence: Sequence[str], columns: Columns = FORMS) -> list[list[str]]:
    """A sentence as rows of cells, one row per word.

    Args:
        sentence: words.
        columns: name of each column, and the function from a word to its cell there.
    """
    return [[cell(word) for cell in columns.values()] for word in sentence]


@dataclass(frozen=True)
class Template:
    """One line: ``text`` with macros at (row, col)."""

    text: str
    macros: tuple[tuple[int, int], ...]

    @property
    def bigram(self) -> bool:
        """Whether its features join two neighbouring tags."""
        return self.text.startswith("B")

    def expand(self, rows: Table, i: int) -> str:
        """The feature string at word ``i``; beyond the sentence a cell is "_B-1" or "_B+1"."""
        cells = iter(_cell(rows, i + row, col) for row, col in self.macros)
        return _MACRO.sub(lambda _: next(cells), self.text)


def _cell(rows: Table, i: int, col: int) -> str:
    if i < 0:
        return f"_B{i}"
    if i >= len(rows):
        return f"_B+{i - len(rows) + 1}"
    return rows[i][col]


def parse_templates(text: str, columns: int) -> list[Template]:
    """The templates of a file in CRF++'s format.

    Args:
        text: the file.
        columns: how many columns the tables have.

    Raises:
        InputError: naming the line that begins with neither U nor B, has a broken macro, looks at
            a column that is not there or too far away, or stands there twice; or for no line.
    """
    found: list[Template] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        template = _parse_line(line, f"template line {number}", columns)
        if template in found:
            raise InputError(f"template line {number}", line, "each line once", "delete it")
        found.append(template)
    if not found:
        raise InputError("templates", text, "at least one template", "begin with U00:%x[0,0]")
    return found


def _parse_line(line: str, where: str, columns: int) -> Template:
    if line[0] not in "UB":
        raise InputError(
            where, line, "U (unigram) or B (bigram) at its beginning", "write U00:%x[0,0], or B"
        )
    macros = tuple((int(row), int(col)) for row, col in _MACRO.findall(line))
    rest = _MACRO.sub("", line)
    if "%" in rest or "[" in rest:
        raise InputError(
            where, line, "macros %x[row,col] with whole numbers", "write for example %x[-1,0]"
        )
    if line[0] == "U" and not macros:
        raise InputError(where, line, "a macro in a unigram template", "add one, as in U00:%x[0,0]")
    for row, col in macros:
        if abs(row) > FURTHEST:
            raise InputError(where, line, f"rows from -{FURTHEST} to {FURTHEST}", "look less far")
        if col >= columns:
            raise InputError(where, line, f"columns 0 to {columns - 1}", "count columns from 0")
    return Template(line, macros)


@dataclass(frozen=True)
class Expansion:
    """What a template became over some sentences.

    Attributes:
        strings: distinct strings (N); a bare ``B`` has one.
        features: N × L for a unigram template and N × L × L for a bigram one, for L tags.
    """

    template: str
    strings: int
    features: int


def count_features(
    templates: Iterable[Template], tables: Sequence[Table], labels: int
) -> list[Expansion]:
    """How many features each template expands to, as CRF++ counts them.

    Args:
        templates: as read by :func:`parse_templates`.
        tables: the training sentences.
        labels: number of tags, L.
    """
    counts = []
    for template in templates:
        strings = {template.expand(rows, i) for rows in tables for i in range(len(rows))}
        size = len(strings) * labels * (labels if template.bigram else 1)
        counts.append(Expansion(template.text, len(strings), size))
    return counts
