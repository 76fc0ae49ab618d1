"""Records, their files, their tokens, batches, and the reading order."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from rlhf_lab import data as D
from rlhf_lab.errors import InputError
from rlhf_lab.pretrain import train_tokenizer

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["where is the cat", "the cat is in the well\n"] * 10, 300)


@pytest.fixture(scope="module")
def chat(tokenizer):
    own = train_tokenizer(["where is the cat"] * 10, 300)
    own.chat_template = TEMPLATE
    return own


# --- records ----------------------------------------------------------------------------------


def test_pairs_are_those_of_different_rank():
    assert D.Ranking("p", ("a", "b", "c", "d"), (0, 1, 1, 2)).pairs == 5
    assert D.Ranking("p", ("a", "b"), (1, 1)).pairs == 0


def test_of_equal_completions_the_first_stays():
    ranking = D.Ranking("p", ("b", "a", "b", "c"), (2, 0, 1, 0), "qa", "l1")
    assert ranking.without_duplicates() == D.Ranking("p", ("b", "a", "c"), (2, 0, 0), "qa", "l1")
    assert D.Ranking("p", ("a", "a"), (0, 1)).without_duplicates() is None
    assert D.Ranking("p", ("a", "b"), (1, 1)).without_duplicates() is None


@pytest.mark.parametrize(
    ("completions", "ranks"),
    [((), ()), (("a",), (0,)), (("a", "b"), (0,)), (("a",) * 2, (0, 1, 2))],
)
def test_a_ranking_needs_two_answers_with_one_rank_each(completions, ranks):
    with pytest.raises(InputError, match="completions|ranks"):
        D.Ranking("p", completions, ranks)


RECORDS = [
    D.Prompt("Where?\u2028\n", "qa", {"key": [1, {"deep": None}]}),
    D.Demonstration("p", "c\x85d", "rewrite"),
    D.Ranking("p", ("a", "é", "\U0001f600"), (1, 0, 1), "qa", "l3"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: type(r).__name__)
def test_records_survive_their_file(tmp_path, record):
    path = D.write_jsonl(tmp_path / "r.jsonl", [record, record])
    assert D.read_jsonl(path, type(record)) == [record, record]


def test_defaults_may_be_left_out_and_blank_lines_are_skipped(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('\n{"text": "a"}\n\n')
    assert D.read_jsonl(path, D.Prompt) == [D.Prompt("a")]


@pytest.mark.parametrize(
    ("kind", "line", "match"),
    [
        (D.Prompt, "{", "JSON"),
        (D.Prompt, "[]", "object"),
        (D.Prompt, "{}", "text"),
        (D.Prompt, '{"text": 1}', "line 2, text"),
        (D.Prompt, '{"text": "a", "meta": []}', "line 2, meta"),
        (D.Prompt, '{"text": "a", "wrong": 1}', "no field but"),
        (D.Demonstration, '{"prompt": "a"}', "completion"),
        (D.Ranking, '{"prompt": "a", "completions": "ab", "ranks": [0, 1]}', "completions"),
        (D.Ranking, '{"prompt": "a", "completions": ["a", 2], "ranks": [0, 1]}', "completions"),
        (D.Ranking, '{"prompt": "a", "completions": ["a", "b"], "ranks": [0, 1.5]}', "ranks"),
        (D.Ranking, '{"prompt": "a", "completions": ["a", "b"], "ranks": [0, true]}', "ranks"),
        (D.Ranking, '{"prompt": "a", "completions": ["a"], "ranks": [0]}', "K >= 2"),
    ],
)
def test_a_wrong_line_is_named_by_its_number(tmp_path, kind, line, match):
    path = tmp_path / "r.jsonl"
    good = {D.Prompt: RECORDS[0], D.Demonstration: RECORDS[1], D.Ranking: RECORDS[2]}[kind]
    D.write_jsonl(path, [good])
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=match) as error:
        D.read_jsonl(path, kind)
    assert "line 2" in str(error.value) and "\n" not in str(error.value)


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="check the path"):
        D.read_jsonl(tmp_path / "absent", D.Prompt)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InputError, match="UTF-8"):
        D.read_jsonl(tmp_path / "binary", D.Prompt)


# --- tokens -----------------------------------------------------------------------------------


def test_the_boundary_is_exact_even_where_the_tokenizer_would_merge(tokenizer):
    whole = tokenizer("the cat")["input_ids"]
    encoded = D.encode_pair(tokenizer, "the c", "at", 20)
    assert tokenizer.decode(encoded.ids[: encoded.start]) == "the c"
    assert tokenizer.decode(encoded.ids[encoded.start : -1]) == "at"
    assert encoded.ids[-1] == tokenizer.eos_token_id and len(encoded.ids) > len(whole) + 1


def test_eos_is_not_added_twice(tokenizer):
    assert D.encode_pair(tokenizer, "a", "b<|endoftext|>", 9) == D.encode_pair(
        tokenizer, "a", "b", 9
    )


def test_a_tokenizer_that_adds_bos_keeps_it_on_prompts_only(tokenizer):
    from tokenizers.processors import TemplateProcessing

    own = train_tokenizer(["where is the cat"] * 10, 300)
    own.add_special_tokens({"bos_token": "<s>"})
    bos, eos = own.bos_token_id, own.eos_token_id
    own.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A <|endoftext|>", special_tokens=[("<s>", bos), ("<|endoftext|>", eos)]
    )
    encoded = D.encode_pair(own, "where", "cat", 20)
    assert encoded.ids[0] == bos and encoded.ids.count(bos) == 1
    assert encoded.ids.count(eos) == 1 and encoded.ids[-1] == eos


@pytest.mark.parametrize(
    ("prompt", "completion", "limit", "match"),
    [
        ("", "a", 9, "^prompt 0.*at least one token"),
        ("a<|pad|>", "a", 9, "pad token"),
        ("a", "", 9, "completion"),
        ("a", "bcd", 4, "5 tokens.*max_length = 4"),
    ],
)
def test_pairs_that_cannot_be_used_are_refused(tokenizer, prompt, completion, limit, match):
    with pytest.raises(InputError, match=match):
        D.encode_pair(tokenizer, prompt, completion, limit)


def test_a_long_prompt_is_named_by_its_number(tokenizer):
    assert D.encode_prompts(tokenizer, []) == []
    with pytest.raises(InputError, match="prompt 1.*at most 3"):
        D.encode_prompts(tokenizer, ["abc", "abcd"], 3)


@pytest.mark.parametrize("pad", [None, "<|endoftext|>"])
def test_pad_must_exist_and_differ_from_eos(pad):
    own = train_tokenizer(["a"], 258)
    own.pad_token = pad
    with pytest.raises(InputError, match="pad token that is not EOS"):
        D.encode_pair(own, "a", "b", 9)
    own.eos_token = None
    with pytest.raises(InputError, match="EOS"):
        D.encode_pair(own, "a", "b", 9)


# --- TRL's formats ----------------------------------------------------------------------------


def test_every_format_of_demonstrations_gives_the_same_sequences(tokenizer, chat):
    record = [D.Demonstration("where\n", "here")]
    rows = [{"prompt": "where\n", "completion": "here"}]
    expected = D.encode_demonstrations(record, tokenizer, 30)
    assert D.encode_demonstrations(rows, tokenizer, 30) == expected
    assert D.encode_demonstrations(Dataset.from_list(rows), tokenizer, 30) == expected
    text = D.encode_demonstrations([{"text": "where\nhere"}], tokenizer, 30)[0]
    assert text.start == 0 and tokenizer.decode(text.ids) == "where\nhere<|endoftext|>"

    user, assistant = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}
    [pair] = D.encode_demonstrations([{"prompt": [user], "completion": [assistant]}], chat, 60)
    assert chat.decode(pair.ids[: pair.start]) == "<user>hi\n<assistant>"
    assert chat.decode(pair.ids[pair.start :]) == "yo\n<|endoftext|>"
    [whole] = D.encode_demonstrations([{"messages": [user, assistant]}], chat, 60)
    assert whole.start == 0
    assert chat.decode(whole.ids) == "<user>hi\n<assistant>yo\n<|endoftext|>"


def test_rows_with_and_without_prompt_may_mix(tokenizer):
    rows = [{"text": "abc"}, D.Demonstration("a", "b")]
    first, second = D.encode_demonstrations(rows, tokenizer, 9)
    assert (first.start, second.start) == (0, 1)


def test_preference_rows_are_rankings_of_two(tokenizer, chat):
    explicit = [{"prompt": "q\n", "chosen": "good", "rejected": "bad"}]
    assert D.as_rankings(explicit, tokenizer) == [D.Ranking("q\n", ("good", "bad"), (0, 1))]
    [implicit], dropped = D.encode_rankings(
        [{"chosen": "q\ngood", "rejected": "q\nbad"}], tokenizer, 30
    )
    assert dropped == 0 and implicit.ranks == [0, 1]
    assert tokenizer.decode(implicit.sequences[0]) == "q\ngood<|endoftext|>"
    user = {"role": "user", "content": "hi"}
    answers = [[user, {"role": "assistant", "content": c}] for c in ("yo", "no")]
    [row], _ = D.encode_rankings([{"chosen": answers[0], "rejected": answers[1]}], chat, 60)
    assert [chat.decode(s) for s in row.sequences] == [
        f"<user>hi\n<assistant>{c}\n<|endoftext|>" for c in ("yo", "no")
    ]


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([], "at least one row"),
        ("text", "sequence"),
        ({"prompt": "a"}, "sequence"),
        (None, "sequence"),
        ([{"prompt": "a"}], "row 0.*prompt and completion"),
        ([{"prompt": "a", "completion": 3}], "row 0"),
        ([{"prompt": "a", "completion": None}], "row 0"),
        ([D.Demonstration("a", "b"), 7], "row 1.*int"),
        ([D.Demonstration("a", "b"), D.Demonstration("a", "b" * 99)], "row 1.*max_length"),
        ([D.Demonstration("a", "b"), {"text": ""}], "row 1"),
        ([{"messages": [{"role": "user", "content": "a"}]}], "chat template"),
    ],
)
def test_demonstrations_that_cannot_be_used_are_refused(tokenizer, rows, match):
    with pytest.raises(InputError, match=match) as error:
        D.encode_demonstrations(rows, tokenizer, 20)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([], "at least one row"),
        ([{"chosen": "a"}], "row 0.*chosen and rejected"),
        ([{"prompt": "p", "completion": "c"}], "row 0"),
        ([{"chosen": "a", "rejected": "a"}], "at least one pair"),
        ([D.Ranking("p", ("a", "b"), (1, 1))], "at least one pair"),
        ([D.Ranking("p", ("a", "b" * 99), (0, 1))], "row 0, completion 'bbb.*max_length"),
        ([D.Ranking("", ("", "b"), (0, 1))], "some text"),
    ],
)
def test_rankings_that_cannot_be_used_are_refused(tokenizer, rows, match):
    with pytest.raises(InputError, match=match):
        D.encode_rankings(rows, tokenizer, 20)


def test_stopping_at_once_is_an_answer_that_can_be_ranked(tokenizer):
    [row], _ = D.encode_rankings([D.Ranking("ab", ("", "c"), (1, 0))], tokenizer, 20)
    prompt = D.encode_prompt(tokenizer, "ab")
    assert row.sequences[0] == [*prompt, tokenizer.eos_token_id]


def test_errors_name_the_row_given_not_the_row_kept(tokenizer):
    tied = D.Ranking("p", ("a", "b"), (0, 0))
    with pytest.raises(InputError, match="rankings row 2"):
        D.encode_rankings([tied, tied, D.Ranking("p", ("c", "d" * 30), (0, 1))], tokenizer, 20)
    with pytest.raises(InputError, match="demonstrations row 1"):
        D.encode_demonstrations([{"text": "a"}, D.Demonstration("p", "d" * 30)], tokenizer, 20)


def test_rankings_without_a_pair_are_dropped_and_counted(tokenizer):
    rows = [
        D.Ranking("p", ("a", "b", "a"), (0, 1, 2), "x"),
        D.Ranking("p", ("a", "a"), (0, 1)),
        D.Ranking("p", ("a", "b", "c"), (4, 4, 4)),
    ]
    encoded, dropped = D.encode_rankings(rows, tokenizer, 20)
    assert dropped == 2
    assert encoded == [
        D.EncodedRanking([D.encode_pair(tokenizer, "p", c, 9).ids for c in "ab"], [0, 1], "x")
    ]


# --- batches ----------------------------------------------------------------------------------


def test_padding_on_either_side():
    ids, mask = D.pad_right([[5, 6, 7], [8]], 1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]] and mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    ids, mask = D.pad_left([[5, 6, 7], [8]], 1)
    assert ids.tolist() == [[5, 6, 7], [1, 1, 8]] and mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert ids.dtype == mask.dtype == torch.int64


def test_only_the_completion_is_learnt():
    batch = D.collate_completions([D.Encoded([4, 5, 6, 0], 2), D.Encoded([7, 0], 0)], 1)
    assert batch["labels"].tolist() == [[-100, -100, 6, 0], [7, 0, -100, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_groups_keep_the_prompts_apart():
    rows = [
        D.EncodedRanking([[5], [6, 7]], [1, 0], "a"),
        D.EncodedRanking([[8]] * 3, [0, 0, 1], "b"),
    ]
    batch = D.collate_rankings(rows, 1)
    assert batch["input_ids"].shape == (5, 2)
    assert batch["ranks"].tolist() == [1, 0, 0, 0, 1]
    assert batch["group"].tolist() == [0, 0, 1, 1, 1]


@given(
    st.lists(st.lists(st.integers(2, 50), max_size=7), max_size=12),
    st.integers(2, 9),
)
def test_blocks_are_the_documents_joined_by_eos(documents, length):
    flat = [token for ids in documents for token in [*ids, 0]]
    if len(flat) < length:
        with pytest.raises(InputError, match="texts"):
            D.pack_blocks(documents, length, 0)
        return
    blocks = D.pack_blocks(iter(documents), length, 0)
    assert blocks.dtype == torch.int32 and blocks.shape == (len(flat) // length, length)
    assert blocks.flatten().tolist() == flat[: blocks.numel()]


def test_blocks_of_one_token_are_refused():
    with pytest.raises(InputError, match="block_length"):
        D.pack_blocks([[1, 2]], 1, 0)


# --- the reading order ------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 2**31))
def test_each_epoch_reads_every_item_once(n, batch_size, seed):
    sampler = D.IndexSampler(n, batch_size, seed)
    steps = -(-3 * n // batch_size)
    stream = torch.cat([sampler.indices(step) for step in range(steps)])
    assert len(stream) == steps * batch_size
    for epoch in range(3):
        assert sorted(stream[epoch * n : (epoch + 1) * n].tolist()) == list(range(n))


def test_a_batch_depends_on_its_step_alone():
    fresh = D.IndexSampler(10, 4, 7)
    used = D.IndexSampler(10, 4, 7)
    for step in (9, 0, 5, 2):
        used.indices(step)
    for step in range(12):
        assert torch.equal(used.indices(step), fresh.indices(step))


def test_epochs_and_seeds_differ():
    def order(seed, step):
        return D.IndexSampler(50, 50, seed).indices(step).tolist()

    assert len({tuple(order(seed, step)) for seed in range(3) for step in range(3)}) == 9


def test_processes_share_a_batch_without_overlap():
    whole = D.IndexSampler(10, 6, 3).indices(4)
    parts = [D.IndexSampler(10, 6, 3, rank, 3).indices(4) for rank in range(3)]
    assert sorted(torch.cat(parts).tolist()) == sorted(whole.tolist())
    assert all(len(part) == 2 for part in parts)


def test_impossible_samplers_are_refused():
    with pytest.raises(InputError, match="^n:"):
        D.IndexSampler(0, 2, 0)
    for size, world in ((0, 1), (5, 2)):
        with pytest.raises(InputError, match="batch_size"):
            D.IndexSampler(4, size, 0, 0, world)


def test_every_permutation_is_about_as_likely():
    counts = {}
    for seed in range(1200):
        key = tuple(D.IndexSampler(3, 3, seed).indices(0).tolist())
        counts[key] = counts.get(key, 0) + 1
    chi_square = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert len(counts) == 6 and chi_square < 20.5  # 5 degrees of freedom: p = 0.001
