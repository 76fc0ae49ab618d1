"""Files of records, and the reading order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf_lab.data import IndexSampler, read_jsonl, write_jsonl
from rlhf_lab.errors import InputError
from rlhf_lab.records import Demonstration, Prompt, Ranking

# --- files of JSON lines ----------------------------------------------------------------------

RECORDS = [
    Prompt("Where?\u2028\n", "qa", {"key": [1, {"deep": None}]}),
    Demonstration("p", "c\x85d", "rewrite"),
    Ranking("p", ("a", "é", "\U0001f600"), (1, 0, 1), "qa", "l3"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: type(r).__name__)
def test_records_survive_their_file(tmp_path, record):
    path = write_jsonl(tmp_path / "r.jsonl", [record, record])
    assert read_jsonl(path, type(record)) == [record, record]


def test_defaults_may_be_left_out_and_blank_lines_are_skipped(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('\n{"text": "a"}\n\n')
    assert read_jsonl(path, Prompt) == [Prompt("a")]


@pytest.mark.parametrize(
    ("kind", "line", "match"),
    [
        (Prompt, "{", "JSON"),
        (Prompt, "[]", "object"),
        (Prompt, "{}", "text"),
        (Prompt, '{"text": 1}', "line 2, text"),
        (Prompt, '{"text": "a", "meta": []}', "line 2, meta"),
        (Prompt, '{"text": "a", "wrong": 1}', "no field but"),
        (Demonstration, '{"prompt": "a"}', "completion"),
        (Ranking, '{"prompt": "a", "completions": "ab", "ranks": [0, 1]}', "completions"),
        (Ranking, '{"prompt": "a", "completions": ["a", 2], "ranks": [0, 1]}', "completions"),
        (Ranking, '{"prompt": "a", "completions": ["a", "b"], "ranks": [0, 1.5]}', "ranks"),
        (Ranking, '{"prompt": "a", "completions": ["a", "b"], "ranks": [0, true]}', "ranks"),
        (Ranking, '{"prompt": "a", "completions": ["a"], "ranks": [0]}', "K >= 2"),
    ],
)
def test_a_wrong_line_is_named_by_its_number(tmp_path, kind, line, match):
    path = tmp_path / "r.jsonl"
    good = {Prompt: RECORDS[0], Demonstration: RECORDS[1], Ranking: RECORDS[2]}[kind]
    write_jsonl(path, [good])
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=match) as error:
        read_jsonl(path, kind)
    assert "line 2" in str(error.value) and "\n" not in str(error.value)


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="check the path"):
        read_jsonl(tmp_path / "absent", Prompt)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InputError, match="UTF-8"):
        read_jsonl(tmp_path / "binary", Prompt)


# --- the reading order ------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 2**31))
def test_each_epoch_reads_every_item_once(n, batch_size, seed):
    sampler = IndexSampler(n, batch_size, seed)
    steps = -(-3 * n // batch_size)
    stream = torch.cat([sampler.indices(step) for step in range(steps)])
    assert len(stream) == steps * batch_size
    for epoch in range(3):
        assert sorted(stream[epoch * n : (epoch + 1) * n].tolist()) == list(range(n))


def test_a_batch_depends_on_its_step_alone():
    fresh = IndexSampler(10, 4, 7)
    used = IndexSampler(10, 4, 7)
    for step in (9, 0, 5, 2):
        used.indices(step)
    for step in range(12):
        assert torch.equal(used.indices(step), fresh.indices(step))


def test_epochs_and_seeds_differ():
    def order(seed, step):
        return IndexSampler(50, 50, seed).indices(step).tolist()

    assert len({tuple(order(seed, step)) for seed in range(3) for step in range(3)}) == 9


def test_processes_share_a_batch_without_overlap():
    whole = IndexSampler(10, 6, 3).indices(4)
    parts = [IndexSampler(10, 6, 3, rank, 3).indices(4) for rank in range(3)]
    assert sorted(torch.cat(parts).tolist()) == sorted(whole.tolist())
    assert all(len(part) == 2 for part in parts)


def test_impossible_samplers_are_refused():
    with pytest.raises(InputError, match="^n:"):
        IndexSampler(0, 2, 0)
    for size, world in ((0, 1), (5, 2)):
        with pytest.raises(InputError, match="batch_size"):
            IndexSampler(4, size, 0, 0, world)


def test_every_permutation_is_about_as_likely():
    counts = {}
    for seed in range(1200):
        key = tuple(IndexSampler(3, 3, seed).indices(0).tolist())
        counts[key] = counts.get(key, 0) + 1
    chi_square = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert len(counts) == 6 and chi_square < 20.5  # 5 degrees of freedom: p = 0.001
