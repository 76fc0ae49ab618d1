"""Where records come from, and the order in which they are read.

A reader's own data come as the records of :mod:`rlhf_lab.records` in files of JSON lines, or as
rows in the formats of TRL (prompt/completion, text, messages, chosen/rejected).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlhf_lab.errors import InputError
from rlhf_lab.files import atomic_write
from rlhf_lab.records import Demonstration, Prompt, Ranking

# --- files of JSON lines ----------------------------------------------------------------------

Record = TypeVar("Record", Prompt, Demonstration, Ranking)


def write_jsonl(path: str | Path, records: Iterable[Prompt | Demonstration | Ranking]) -> Path:
    """Write records as JSON lines, atomically."""
    lines = [json.dumps(dataclasses.asdict(r), ensure_ascii=False) + "\n" for r in records]
    return atomic_write(path, "".join(lines))


def read_jsonl(path: str | Path, kind: type[Record]) -> list[Record]:
    """Read records of one kind from JSON lines.

    Raises:
        InputError: naming the file and line that is not such a record.
    """
    records = []
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            records.append(_record(line, kind, f"{path}, line {number}"))
    return records


def read_lines(path: str | Path) -> list[str]:
    """The lines of a UTF-8 file.

    Raises:
        InputError: when it cannot be read, or is not UTF-8.
    """
    try:
        # Not splitlines(): a text may hold U+2028 and the like, which JSON does not escape.
        return Path(path).read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise InputError(
            "file", str(path), "a readable file of JSON lines", f"check the path ({error.strerror})"
        ) from None
    except UnicodeDecodeError:
        raise InputError("file", str(path), "UTF-8 text", "save the file as UTF-8") from None


_TYPES: dict[str, tuple[type, str]] = {
    "str": (str, "text"),
    "tuple[str, ...]": (list, "a list of texts"),
    "tuple[int, ...]": (list, "a list of whole numbers"),
    "Mapping[str, Any]": (dict, "an object"),
}


def _record(line: str, kind: type[Record], where: str) -> Record:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(where, line, "one JSON object per line", f"correct it: {error}") from None
    fields = dataclasses.fields(kind)
    names = [f.name for f in fields]
    required = [f.name for f in fields if f.default is f.default_factory]  # both MISSING
    if not isinstance(row, dict) or not set(required) <= row.keys() <= set(names):
        raise InputError(
            where,
            line,
            f"an object with {', '.join(required)} and no field but {', '.join(names)}",
            "correct the names",
        )
    for f in fields:
        expected, words = _TYPES[str(f.type)]
        value = row.get(f.name)
        if f.name in row and not isinstance(value, expected):
            raise InputError(f"{where}, {f.name}", value, words, f"write {f.name} as {words}")
        if isinstance(value, list):
            item = str if "str" in str(f.type) else int
            if not all(type(v) is item for v in value):
                raise InputError(f"{where}, {f.name}", value, words, f"write {f.name} as {words}")
            row[f.name] = tuple(value)
    try:
        return kind(**row)
    except InputError as error:
        raise InputError(
            f"{where}, {error.argument}", error.value, error.allowed, error.fix
        ) from None


# --- rows in TRL's formats --------------------------------------------------------------------


def as_prompts(prompts: Sequence[Any], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The text of each prompt.

    Args:
        prompts: :class:`~rlhf_lab.records.Prompt` records, strings, or rows with ``prompt`` or with
            ``text``.

    Raises:
        InputError: for no rows or wrong columns.
    """
    texts = []
    for index, row in enumerate(_columns(prompts, "prompts")):
        if isinstance(row, Prompt | str):
            texts.append(row.text if isinstance(row, Prompt) else row)
            continue
        where = f"prompts row {index}"
        plain = _render(row, tokenizer, where) if isinstance(row, Mapping) else row
        (name,) = _require_texts(plain, (("prompt",), ("text",)), where)
        texts.append(plain[name])
    return texts


def as_demonstrations(
    demonstrations: Sequence[Any], tokenizer: PreTrainedTokenizerBase
) -> list[Demonstration]:
    """Each row as a demonstration.

    Args:
        demonstrations: :class:`~rlhf_lab.records.Demonstration` records, or rows (mappings, a
            ``datasets.Dataset``) with ``prompt`` and ``completion``, with ``text``, or with
            ``messages``, as in TRL. The last two have an empty prompt.

    Raises:
        InputError: for no rows or wrong columns.
    """
    records: list[Demonstration] = []
    for index, row in enumerate(_columns(demonstrations, "demonstrations")):
        if isinstance(row, Demonstration):
            records.append(row)
            continue
        where = f"demonstrations row {index}"
        plain = _render(row, tokenizer, where) if isinstance(row, Mapping) else row
        names = _require_texts(plain, (("prompt", "completion"), ("text",)), where)
        prompt = plain["prompt"] if len(names) == 2 else ""
        records.append(Demonstration(prompt, plain[names[-1]]))
    return records


def as_rankings(rankings: Sequence[Any], tokenizer: PreTrainedTokenizerBase) -> list[Ranking]:
    """Each row as a ranking.

    Args:
        rankings: :class:`~rlhf_lab.records.Ranking` records, or TRL's rows with ``chosen`` and
            ``rejected``, which become rankings of K = 2.

    Raises:
        InputError: for no rows or wrong columns.
    """
    rows = _columns(rankings, "rankings")
    records: list[Ranking] = []
    for index, row in enumerate(rows):
        if isinstance(row, Ranking):
            records.append(row)
            continue
        where = f"rankings row {index}"
        plain = _render(row, tokenizer, where) if isinstance(row, Mapping) else row
        allowed = (("prompt", "chosen", "rejected"), ("chosen", "rejected"))
        names = _require_texts(plain, allowed, where)
        prompt = plain["prompt"] if len(names) == 3 else ""
        answers = (plain["chosen"], plain["rejected"])
        records.append(Ranking(prompt, answers, (0, 1), str(plain.get("kind", "other"))))
    return records


def _columns(rows: Sequence[Any], argument: str) -> list[Any]:
    if not isinstance(rows, Iterable) or isinstance(rows, str | Mapping):
        raise InputError(argument, rows, "a sequence of records or rows", "pass a list")
    rows = list(rows)
    if not rows:
        raise InputError(argument, rows, "at least one row", f"give some {argument}")
    return rows


def _render(
    row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, where: str
) -> dict[str, Any]:
    """A row whose messages, if any, are rendered to text by the tokenizer's chat template."""
    from trl.data_utils import apply_chat_template, is_conversational

    if not is_conversational(dict(row)):
        return dict(row)
    if not tokenizer.chat_template:
        raise InputError(
            where,
            "messages",
            "a tokenizer with a chat template",
            "set tokenizer.chat_template, or give plain text",
        )
    return {**row, **apply_chat_template(dict(row), tokenizer)}


def _require_texts(row: Any, allowed: Sequence[Sequence[str]], where: str) -> Sequence[str]:
    """The first set of columns in ``allowed`` that ``row`` has, all of them text."""
    for names in allowed:
        if isinstance(row, Mapping) and all(isinstance(row.get(n), str) for n in names):
            return names
    shown = sorted(row) if isinstance(row, Mapping) else type(row).__name__
    choices = "; or ".join(" and ".join(names) for names in allowed)
    raise InputError(where, shown, f"text columns {choices}", "rename or convert the columns")


# --- the reading order ------------------------------------------------------------------------


class IndexSampler:
    """Which items a step reads: a new permutation each epoch, known at any step without history.

    Batch ``step`` covers positions ``step * batch_size`` onward of the endless stream of epochs;
    a batch may cross from one epoch into the next. Nothing has to be stored to resume.

    Args:
        n: number of items.
        batch_size: items per step over all processes.
        seed: of the permutations.
        rank: this process, of ``world_size``; it reads every ``world_size``-th item of a batch.
    """

    def __init__(
        self, n: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        if n < 1:
            raise InputError("n", n, "at least one item", "give some data")
        if batch_size < 1 or batch_size % world_size:
            raise InputError(
                "batch_size",
                batch_size,
                f"a positive multiple of the {world_size} processes",
                "change batch_size or the number of processes",
            )
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            mixed = np.random.SeedSequence((self.seed, epoch)).generate_state(1, np.uint64)[0]
            generator = torch.Generator().manual_seed(int(mixed >> np.uint64(1)))
            self._order = torch.randperm(self.n, generator=generator)
            self._epoch = epoch
        return self._order

    def indices(self, step: int) -> Tensor:
        """Indices of batch ``step`` (counted from 0) on this process, int64 (batch_size / W,)."""
        position = step * self.batch_size
        end = position + self.batch_size
        parts = []
        while position < end:
            epoch, offset = divmod(position, self.n)
            stop = min(self.n, offset + end - position)
            parts.append(self._permutation(epoch)[offset:stop])
            position += stop - offset
        return torch.cat(parts)[self.rank :: self.world_size]
