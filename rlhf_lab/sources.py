"""A user's own data: JSON lines, or a folder that ``datasets`` saved, as rows for any stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import DatasetDict, load_from_disk

from rlhf_lab.data import read_jsonl, read_lines
from rlhf_lab.errors import InputError
from rlhf_lab.records import Ranking


def read_rows(path: str | Path) -> list[Any]:
    """Rows as mappings; rankings with ``completions`` as checked :class:`Ranking` records.

    Args:
        path: a file of JSON lines, or a folder made by ``Dataset.save_to_disk`` (of several
            splits, "train" is taken).

    Raises:
        InputError: when there is nothing to read, or a line is not a JSON object; its number is
            named.
    """
    path = Path(path)
    rows = _folder(path) if path.is_dir() else _lines(path)
    if not rows:
        raise InputError("data", str(path), "at least one row", "check the file")
    if path.is_file() and "completions" in rows[0]:
        return read_jsonl(path, Ranking)
    return rows


def _lines(path: Path) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                where, line, "one JSON object per line", f"correct it: {error}"
            ) from None
        if not isinstance(row, dict):
            raise InputError(where, line, "a JSON object", "write it as {name: value, ...}")
        rows.append(row)
    return rows


def _folder(path: Path) -> list[Mapping[str, Any]]:
    try:
        data = load_from_disk(str(path))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:160]
        raise InputError(
            "data", str(path), "a folder made by Dataset.save_to_disk", f"check the path ({reason})"
        ) from None
    if isinstance(data, DatasetDict):
        if "train" not in data:
            raise InputError(
                "data", str(path), "a split called train", f"save one of {', '.join(data)} alone"
            )
        data = data["train"]
    return list(data)


def texts_of(rows: list[Any], argument: str = "data") -> list[str]:
    """The column ``text`` of every row.

    Raises:
        InputError: naming the first row without text.
    """
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping) or not isinstance(row.get("text"), str):
            shown = sorted(row) if isinstance(row, Mapping) else type(row).__name__
            raise InputError(
                f"{argument} row {index}", shown, "a text column called text", "rename the column"
            )
    return [row["text"] for row in rows]
