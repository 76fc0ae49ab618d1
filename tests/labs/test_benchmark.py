"""The benchmark of the labs writes what it measured; its file is whole and within the limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jupytext", reason="needs the extra [labs]")

from benchmarks import labs, report
from rlhf_lab.labs.masters import read_masters


def check(folder: Path) -> list[dict[str, Any]]:
    """Each lab has a row in each mode; the rows."""
    found = json.loads((folder / "labs.json").read_text(encoding="utf-8"))
    assert found["manifest"]["command"] == "python -m benchmarks labs"
    assert found["manifest"]["config"] == {"Limits": {"fast": 60, "full": 300}}
    names = sorted(master.name for master in read_masters(labs.ROOT))
    rows = found["results"]
    for mode, limit in found["manifest"]["config"]["Limits"].items():
        own = [row for row in rows if row["mode"] == mode]
        assert sorted(row["lab"] for row in own) == names
        assert all(row["of_limit"] == row["process"] / limit for row in own)
    assert len(rows) == 2 * len(names)
    return rows


def test_a_run_is_written_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    seconds = {"fast": 3.0, "full": 4.0}
    monkeypatch.setattr(labs, "_run", lambda _, mode: {"process": seconds[mode], "wall": 5.0})
    labs.run()
    assert {(row["mode"], row["of_limit"]) for row in check(tmp_path)} == {
        ("fast", 3 / 60), ("full", 4 / 300),
    }  # fmt: skip


def test_the_published_run_is_whole_and_no_lab_takes_too_long() -> None:
    assert max(row["of_limit"] for row in check(report.RESULTS)) < 1
