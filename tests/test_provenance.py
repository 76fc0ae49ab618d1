"""Manifests, the hash of the code, and what doctor prints of a machine."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

import torch

from rlhf_lab import provenance, strict_json
from rlhf_lab.config import SFTConfig
from rlhf_lab.provenance import code_hash, environment, manifest


def test_a_manifest_says_how_to_make_the_result_again():
    started = time.time() - 5
    made = manifest("rlhf-lab sft", SFTConfig(seed=4), [4], started)
    assert json.loads(json.dumps(made)) == made
    assert made["config"]["SFTConfig"]["seed"] == 4 and made["seeds"] == [4]
    assert made["versions"]["torch"] == torch.__version__
    assert 5 <= made["wall_seconds"] < 60 and made["process_seconds"] > 0
    assert made["peak_memory_bytes"] > 50e6
    assert len(made["code_sha256"]) == 64


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def test_what_is_not_finite_is_null():
    told = {"a": [math.nan, 1.5, (math.inf,)], "b": {"c": -math.inf, "é": "NaN"}, "d": True}
    text = strict_json.dumps(told)
    assert json.loads(text, parse_constant=refuse) == {
        "a": [None, 1.5, [None]], "b": {"c": None, "é": "NaN"}, "d": True,
    }  # fmt: skip


def test_every_published_json_is_json():
    """A browser's parser, for one, knows no NaN."""
    root = Path(__file__).parents[1]
    files = [f for top in ("book", "benchmarks/results") for f in (root / top).rglob("*.json")]
    assert len(files) > 40
    for file in files:
        json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)


def test_the_code_hash_follows_the_code(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "sub" / "b.py").write_text("2")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))

    def digest():
        code_hash.cache_clear()
        return code_hash()

    try:
        first = digest()
        (tmp_path / "notes.txt").write_text("not code")
        assert digest() == first
        (tmp_path / "sub" / "b.py").write_text("3")
        second = digest()
        (tmp_path / "sub" / "b.py").rename(tmp_path / "sub" / "c.py")
        assert len({first, second, digest()}) == 3
    finally:
        monkeypatch.undo()
        code_hash.cache_clear()


def test_the_environment_names_what_doctor_prints():
    found = environment()
    assert found["cores"] == os.cpu_count() and found["free_disk_bytes"] > 0
    assert found["versions"]["python"] == found["python"]
