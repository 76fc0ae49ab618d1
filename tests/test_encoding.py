"""Sequences of tokens, every format of rows, padding, batches, blocks."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from rlhf_lab.data import as_rankings
from rlhf_lab.encoding import (
    Encoded,
    EncodedRanking,
    collate_completions,
    collate_rankings,
    encode_demonstrations,
    encode_pair,
    encode_prompt,
    encode_prompts,
    encode_rankings,
    pack_blocks,
    pad_left,
    pad_right,
)
from rlhf_lab.errors import InputError
from rlhf_lab.pretrain import train_tokenizer
from rlhf_lab.records import Demonstration, Ranking

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


# --- texts ------------------------------------------------------------------------------------


def test_the_boundary_is_exact_even_where_the_tokenizer_would_merge(tokenizer):
    whole = tokenizer("the cat")["input_ids"]
    encoded = encode_pair(tokenizer, "the c", "at", 20)
    assert tokenizer.decode(encoded.ids[: encoded.start]) == "the c"
    assert tokenizer.decode(encoded.ids[encoded.start : -1]) == "at"
    assert encoded.ids[-1] == tokenizer.eos_token_id and len(encoded.ids) > len(whole) + 1


def test_eos_is_not_added_twice(tokenizer):
    assert encode_pair(tokenizer, "a", "b<|endoftext|>", 9) == encode_pair(tokenizer, "a", "b", 9)


def test_a_tokenizer_that_adds_bos_keeps_it_on_prompts_only(tokenizer):
    from tokenizers.processors import TemplateProcessing

    own = train_tokenizer(["where is the cat"] * 10, 300)
    own.add_special_tokens({"bos_token": "<s>"})
    bos, eos = own.bos_token_id, own.eos_token_id
    own.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A <|endoftext|>", special_tokens=[("<s>", bos), ("<|endoftext|>", eos)]
    )
    encoded = encode_pair(own, "where", "cat", 20)
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
        encode_pair(tokenizer, prompt, completion, limit)


def test_a_long_prompt_is_named_by_its_number(tokenizer):
    assert encode_prompts(tokenizer, []) == []
    with pytest.raises(InputError, match="prompt 1.*at most 3"):
        encode_prompts(tokenizer, ["abc", "abcd"], 3)


@pytest.mark.parametrize("pad", [None, "<|endoftext|>"])
def test_pad_must_exist_and_differ_from_eos(pad):
    own = train_tokenizer(["a"], 258)
    own.pad_token = pad
    with pytest.raises(InputError, match="pad token that is not EOS"):
        encode_pair(own, "a", "b", 9)
    own.eos_token = None
    with pytest.raises(InputError, match="EOS"):
        encode_pair(own, "a", "b", 9)


# --- records ----------------------------------------------------------------------------------


def test_every_format_of_demonstrations_gives_the_same_sequences(tokenizer, chat):
    record = [Demonstration("where\n", "here")]
    rows = [{"prompt": "where\n", "completion": "here"}]
    expected = encode_demonstrations(record, tokenizer, 30)
    assert encode_demonstrations(rows, tokenizer, 30) == expected
    assert encode_demonstrations(Dataset.from_list(rows), tokenizer, 30) == expected
    text = encode_demonstrations([{"text": "where\nhere"}], tokenizer, 30)[0]
    assert text.start == 0 and tokenizer.decode(text.ids) == "where\nhere<|endoftext|>"

    user, assistant = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}
    [pair] = encode_demonstrations([{"prompt": [user], "completion": [assistant]}], chat, 60)
    assert chat.decode(pair.ids[: pair.start]) == "<user>hi\n<assistant>"
    assert chat.decode(pair.ids[pair.start :]) == "yo\n<|endoftext|>"
    [whole] = encode_demonstrations([{"messages": [user, assistant]}], chat, 60)
    assert whole.start == 0
    assert chat.decode(whole.ids) == "<user>hi\n<assistant>yo\n<|endoftext|>"


def test_rows_with_and_without_prompt_may_mix(tokenizer):
    rows = [{"text": "abc"}, Demonstration("a", "b")]
    first, second = encode_demonstrations(rows, tokenizer, 9)
    assert (first.start, second.start) == (0, 1)


def test_preference_rows_are_rankings_of_two(tokenizer, chat):
    explicit = [{"prompt": "q\n", "chosen": "good", "rejected": "bad"}]
    assert as_rankings(explicit, tokenizer) == [Ranking("q\n", ("good", "bad"), (0, 1))]
    [implicit], dropped = encode_rankings(
        [{"chosen": "q\ngood", "rejected": "q\nbad"}], tokenizer, 30
    )
    assert dropped == 0 and implicit.ranks == [0, 1]
    assert tokenizer.decode(implicit.sequences[0]) == "q\ngood<|endoftext|>"
    user = {"role": "user", "content": "hi"}
    answers = [[user, {"role": "assistant", "content": c}] for c in ("yo", "no")]
    [row], _ = encode_rankings([{"chosen": answers[0], "rejected": answers[1]}], chat, 60)
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
        ([Demonstration("a", "b"), 7], "row 1.*int"),
        ([Demonstration("a", "b"), Demonstration("a", "b" * 99)], "row 1.*max_length"),
        ([Demonstration("a", "b"), {"text": ""}], "row 1"),
        ([{"messages": [{"role": "user", "content": "a"}]}], "chat template"),
    ],
)
def test_demonstrations_that_cannot_be_used_are_refused(tokenizer, rows, match):
    with pytest.raises(InputError, match=match) as error:
        encode_demonstrations(rows, tokenizer, 20)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([], "at least one row"),
        ([{"chosen": "a"}], "row 0.*chosen and rejected"),
        ([{"prompt": "p", "completion": "c"}], "row 0"),
        ([{"chosen": "a", "rejected": "a"}], "at least one pair"),
        ([Ranking("p", ("a", "b"), (1, 1))], "at least one pair"),
        ([Ranking("p", ("a", "b" * 99), (0, 1))], "row 0, completion 'bbb.*max_length"),
        ([Ranking("", ("", "b"), (0, 1))], "some text"),
    ],
)
def test_rankings_that_cannot_be_used_are_refused(tokenizer, rows, match):
    with pytest.raises(InputError, match=match):
        encode_rankings(rows, tokenizer, 20)


def test_stopping_at_once_is_an_answer_that_can_be_ranked(tokenizer):
    [row], _ = encode_rankings([Ranking("ab", ("", "c"), (1, 0))], tokenizer, 20)
    prompt = encode_prompt(tokenizer, "ab")
    assert row.sequences[0] == [*prompt, tokenizer.eos_token_id]


def test_errors_name_the_row_given_not_the_row_kept(tokenizer):
    tied = Ranking("p", ("a", "b"), (0, 0))
    with pytest.raises(InputError, match="rankings row 2"):
        encode_rankings([tied, tied, Ranking("p", ("c", "d" * 30), (0, 1))], tokenizer, 20)
    with pytest.raises(InputError, match="demonstrations row 1"):
        encode_demonstrations([{"text": "a"}, Demonstration("p", "d" * 30)], tokenizer, 20)


def test_rankings_without_a_pair_are_dropped_and_counted(tokenizer):
    rows = [
        Ranking("p", ("a", "b", "a"), (0, 1, 2), "x"),
        Ranking("p", ("a", "a"), (0, 1)),
        Ranking("p", ("a", "b", "c"), (4, 4, 4)),
    ]
    encoded, dropped = encode_rankings(rows, tokenizer, 20)
    assert dropped == 2
    assert encoded == [
        EncodedRanking([encode_pair(tokenizer, "p", c, 9).ids for c in "ab"], [0, 1], "x")
    ]


# --- batches ----------------------------------------------------------------------------------


def test_padding_on_either_side():
    ids, mask = pad_right([[5, 6, 7], [8]], 1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]] and mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    ids, mask = pad_left([[5, 6, 7], [8]], 1)
    assert ids.tolist() == [[5, 6, 7], [1, 1, 8]] and mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert ids.dtype == mask.dtype == torch.int64


def test_only_the_completion_is_learnt():
    batch = collate_completions([Encoded([4, 5, 6, 0], 2), Encoded([7, 0], 0)], 1)
    assert batch["labels"].tolist() == [[-100, -100, 6, 0], [7, 0, -100, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_groups_keep_the_prompts_apart():
    rows = [
        EncodedRanking([[5], [6, 7]], [1, 0], "a"),
        EncodedRanking([[8]] * 3, [0, 0, 1], "b"),
    ]
    batch = collate_rankings(rows, 1)
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
            pack_blocks(documents, length, 0)
        return
    blocks = pack_blocks(iter(documents), length, 0)
    assert blocks.dtype == torch.int32 and blocks.shape == (len(flat) // length, length)
    assert blocks.flatten().tolist() == flat[: blocks.numel()]


def test_blocks_of_one_token_are_refused():
    with pytest.raises(InputError, match="block_length"):
        pack_blocks([[1, 2]], 1, 0)
