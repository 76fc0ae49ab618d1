"""The chat format against transformers' own and TRL's masks; follow-ups against their facts."""

from __future__ import annotations

import copy
import random

import pytest
import torch
import trl
from datasets import Dataset
from torch.nn.functional import cross_entropy

from rlhf_lab.config import SFTConfig
from rlhf_lab.encoding import IGNORED
from rlhf_lab.errors import InputError
from rlhf_lab.lineage.dialogue import (
    ALL,
    ASSISTANTS,
    FACTS,
    FOLLOW_UPS,
    LAST,
    LISTS,
    MASKS,
    TEMPLATE,
    Exchange,
    as_chat,
    as_lines,
    ask,
    chat_prompt,
    collate_chats,
    conversation,
    encode_chat,
    fit_turns,
    history,
    repeats,
    right,
    spelt_out,
    to_messages,
    train_chats,
    turn_loss,
    whole,
)
from rlhf_lab.models import load_policy
from rlhf_lab.records import Demonstration
from rlhf_lab.world import World, lexicon
from rlhf_lab.world.prompts import split_of

WORLD = World(0)
TALKS = [conversation(WORLD, i) for i in range(40)]
MODEL, TOKENIZER = load_policy("nano")
EOS = str(TOKENIZER.eos_token)


# --- the format -----------------------------------------------------------------------------------


def test_ids_and_mask_are_those_of_a_chat_template():
    """transformers renders one text, marks spans by characters, and tokenises it whole."""
    for talk in TALKS:
        chat = encode_chat(whole(talk), TOKENIZER)
        found = TOKENIZER.apply_chat_template(
            whole(talk), chat_template=TEMPLATE, tokenize=True, return_dict=True,
            return_assistant_tokens_mask=True,
        )  # fmt: skip
        assert found["input_ids"] == chat.ids
        assert list(map(bool, found["assistant_masks"])) == chat.learnt(ASSISTANTS)


def test_labels_are_those_of_trl(tmp_path):
    tokenizer = copy.deepcopy(TOKENIZER)
    tokenizer.chat_template = TEMPLATE
    rows = [whole(talk) for talk in TALKS[:4]]
    trainer = trl.SFTTrainer(
        model=copy.deepcopy(MODEL),
        args=trl.SFTConfig(
            output_dir=str(tmp_path), assistant_only_loss=True, per_device_train_batch_size=4,
            report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False,
        ),
        train_dataset=Dataset.from_dict({"messages": rows}),
        processing_class=tokenizer,
    )  # fmt: skip
    theirs = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    ours = collate_chats([encode_chat(row, TOKENIZER) for row in rows], TOKENIZER.pad_token_id)
    assert torch.equal(theirs["labels"], ours["labels"])
    assert torch.equal(theirs["input_ids"], ours["input_ids"])


@pytest.mark.parametrize("mask", MASKS)
def test_masks_are_what_a_reader_of_the_text_would_mark(mask):
    """Token by token from the text: what an assistant's turn is, ends with its EOS."""
    for talk in TALKS[:10]:
        chat, speaking, number, wanted = encode_chat(whole(talk), TOKENIZER), False, 0, []
        answers = chat.ids.count(TOKENIZER.eos_token_id)
        for token in chat.ids:
            mine = speaking and (mask != LAST or number == answers - 1)
            wanted.append(mask == ALL or mine)
            if speaking and token == TOKENIZER.eos_token_id:
                speaking, number = False, number + 1
            elif not speaking and TOKENIZER.decode([token]).endswith("\n"):
                speaking = True
        assert chat.learnt(mask) == wanted
    assert encode_chat(to_messages(["who?", "me."]), TOKENIZER).learnt(LAST) == (
        encode_chat(to_messages(["who?", "me."]), TOKENIZER).learnt(ASSISTANTS)
    )


def test_one_exchange_is_a_row_of_plain_sft():
    row = Demonstration("where does the fox live?\n", "in the wood.", "open_qa")
    ids = TOKENIZER(row.prompt + row.completion + EOS, add_special_tokens=False)["input_ids"]
    assert encode_chat(as_chat(row), TOKENIZER).ids == ids
    text = "hello, i am mira.\nhello mira. how can i help?\nwhat is my name?\n"
    talk = as_chat(Demonstration(text, "you are mira.", "chat"))
    assert [m["role"] for m in talk] == ["user", "assistant"] * 2
    assert as_lines(talk[:-1]) == text


def test_a_prompt_is_the_conversation_up_to_the_answer():
    for talk in TALKS[:10]:
        chat = encode_chat(whole(talk), TOKENIZER)
        before = [i for i, t in zip(chat.ids, chat.turns, strict=True) if t < chat.turns[-1]]
        assert TOKENIZER(chat_prompt(history(talk), TOKENIZER))["input_ids"] == before


@pytest.mark.parametrize("messages, found", [
    ([], "messages"),
    (to_messages(["who?", "me."])[1:], "message 0"),
    ([*to_messages(["who?"]), *to_messages(["and?"])], "message 1"),
    (to_messages(["who?", " "]), "message 1"),
    (to_messages([f"who?{EOS}", "me."]), "message 0"),
])  # fmt: skip
def test_what_cannot_be_read_as_turns_is_refused(messages, found):
    with pytest.raises(InputError, match=found):
        encode_chat(messages, TOKENIZER)


def test_more_is_refused():
    with pytest.raises(InputError, match="mask"):
        encode_chat(to_messages(["who?", "me."]), TOKENIZER).learnt("user")
    with pytest.raises(InputError, match="fit_turns"):
        encode_chat(to_messages(["who?", "me."]), TOKENIZER, 3)
    with pytest.raises(InputError, match="ask first"):
        chat_prompt(to_messages(["who?", "me."]), TOKENIZER)
    with pytest.raises(InputError, match="kinds"):
        conversation(WORLD, 0, kinds=("number", "pronoun"))
    with pytest.raises(InputError, match="split"):
        conversation(WORLD, 0, "exam")


def test_truncation_keeps_the_most_whole_exchanges():
    """Against trying every end of the conversation that begins with a user's turn."""
    texts = [f"{'what ' * (i % 3 + 1)}{i}?" for i in range(7)]
    messages = to_messages(texts)
    sizes = [len(encode_chat(messages[i:], TOKENIZER).ids) for i in range(0, 7, 2)]
    for room in range(sizes[-1], sizes[0] + 2):
        kept = fit_turns(messages, TOKENIZER, room)
        best = max(7 - 2 * i for i, size in enumerate(sizes) if size <= room)
        assert list(kept) == messages[7 - best :] and kept[0]["role"] == "user"
    with pytest.raises(InputError, match="room"):
        fit_turns(messages, TOKENIZER, sizes[-1] - 1)


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", MASKS)
def test_the_loss_is_that_of_its_tokens_one_by_one(mask):
    rows = [encode_chat(whole(talk), TOKENIZER) for talk in TALKS[:3]]
    batch = collate_chats(rows, TOKENIZER.pad_token_id, mask)
    with torch.no_grad():
        logits = MODEL(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    theirs = cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())
    terms = []
    for row in rows:
        learnt = row.learnt(mask)
        for t in range(1, len(row.ids)):
            if learnt[t]:
                with torch.no_grad():
                    last = MODEL(torch.tensor([row.ids[:t]])).logits[0, -1]
                terms.append(-float(last.log_softmax(-1)[row.ids[t]]))
    assert float(theirs) == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    assert int((batch["labels"] != IGNORED).sum()) - (3 if mask == ALL else 0) == len(terms)


def test_training_lowers_the_loss_and_a_copy_is_its_own():
    model = copy.deepcopy(MODEL)
    rows = [whole(talk) for talk in TALKS[:16]]
    config = SFTConfig(epochs=3.0, batch_size=8, micro_batch_size=8, learning_rate=1e-3)
    history_ = train_chats(model, TOKENIZER, rows, config)
    assert len(history_) == 6 and history_[-1]["loss"] < history_[0]["loss"]
    ids = torch.tensor([encode_chat(rows[0], TOKENIZER).ids])
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.get_input_embeddings().weight.zero_()
        assert not torch.allclose(other(ids).logits, model(ids).logits)
    with pytest.raises(InputError, match="mask"):
        train_chats(model, TOKENIZER, rows, config, mask="user")


def test_the_users_loss_is_on_later_turns_of_the_user():
    rows = [whole(conversation(WORLD, i, kinds=FACTS[:2])) for i in range(3)]
    terms = []
    for row in rows:
        chat = encode_chat(row, TOKENIZER)
        with torch.no_grad():
            logp = MODEL(torch.tensor([chat.ids])).logits[0].log_softmax(-1)
        terms += [
            -float(logp[t - 1, chat.ids[t]])
            for t in range(len(chat.ids))
            if chat.turns[t] in (2, 4)
        ]
    assert turn_loss(MODEL, TOKENIZER, rows) == pytest.approx(sum(terms) / len(terms), rel=1e-5)


# --- follow-ups -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FOLLOW_UPS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_follow_ups_need_what_came_before(kind, split):
    for index in range(12):
        first, last = conversation(WORLD, index, split, kinds=(kind,))
        assert (first.kind, last.kind) == ("first", kind)
        old, new = first.asked.meta, last.asked.meta
        if kind in LISTS:
            assert (old["category"], old["value"]) == (new["category"], new["value"])
            assert not new["value"] or new["value"] not in last.said
            number = lexicon.NUMBERS[new["number"]]
            assert split_of("brainstorming", new["category"], new["value"], number) == split
        elif kind == "pronoun":
            assert old["subject"] == new["subject"] and old["relation"] != new["relation"]
            assert new["subject"] not in last.said and " it" in last.said
        else:
            assert old["relation"] == new["relation"] and old["subject"] != new["subject"]
            assert old["subject"] not in last.said.replace("?", "").replace(".", "").split()
        if kind in FACTS:
            assert split_of("open_qa", new["relation"], new["subject"]) == split
            assert split_of("open_qa", old["relation"], old["subject"]) in ("train", split)


def test_written_answers_are_right_and_others_are_not():
    talks = [conversation(WORLD, i, "test", kinds=(k,)) for i in range(6) for k in FOLLOW_UPS]
    last = [talk[-1] for talk in talks]
    assert all(right(WORLD, last, [e.answer for e in last]))
    shifted = [talks[(i + 5) % len(talks)][-1].answer for i in range(len(talks))]
    wrong = [a != b for a, b in zip(shifted, (e.answer for e in last), strict=True)]
    marks = right(WORLD, last, shifted)
    facts = [i for i, e in enumerate(last) if e.kind in FACTS and wrong[i]]
    assert sum(marks[i] for i in facts) < len(facts) / 4
    assert not any(right(WORLD, last, ["", *["i do not know."] * (len(last) - 1)]))


def test_others_may_not_be_named_again():
    talk = conversation(WORLD, 0, "train", kinds=("others",))
    assert len(talk[1].given) == talk[0].asked.meta["number"]
    assert not repeats(talk[1].answer, talk[1].given) and repeats(talk[0].answer, talk[1].given)
    listed = Exchange("now two others.", talk[1].asked, "", "others", ("fox",))
    assert repeats("the owl and the fox.", listed.given)
    assert not repeats("the owl and the foxglove.", listed.given)


def test_conversations_are_functions_of_their_place():
    again = World(0)
    random.random()
    assert [conversation(again, i) for i in range(5)] == TALKS[:5]
    assert conversation(WORLD, 1) != conversation(WORLD, 2)
    kinds = {e.kind for talk in TALKS for e in talk[1:]}
    assert kinds == set(FOLLOW_UPS) and {len(talk) for talk in TALKS} == {2, 3}


def test_a_reader_who_knows_all_is_always_right():
    talks = [conversation(WORLD, i, "valid", kinds=(k,)) for i in range(3) for k in FOLLOW_UPS]
    said = {as_lines(history(talk)): talk[-1].answer for talk in talks}
    found = ask(WORLD, lambda prompts: [said[p] for p in prompts], talks, as_lines)
    assert all(mark for _, mark in found)
    for talk in talks:
        assert [d.completion for d in spelt_out(talk)] == [e.answer for e in talk]
        assert all(d.prompt.endswith("\n") for d in spelt_out(talk))
