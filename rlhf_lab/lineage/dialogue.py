"""Conversations: a chat format over a tokenizer as it is, its loss masks, and follow-up questions.

A user's turn ends with a line break and an assistant's with EOS, so that a conversation of one
exchange is the row ``prompt + completion + EOS`` of plain SFT, and a model that answers stops where
its turn ends. The order of the turns tells who speaks. Messages are those of transformers,
``{"role": "user" | "assistant", "content": text}``, and :data:`TEMPLATE` is the format for it.

Left out: system messages, tools, and names for the speakers.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlhf_lab.config import SFTConfig
from rlhf_lab.encoding import IGNORED, pad_right, require_special_tokens
from rlhf_lab.errors import InputError
from rlhf_lab.lineage.instruction_tuning import graded
from rlhf_lab.records import Demonstration, Prompt
from rlhf_lab.sft import train_rows
from rlhf_lab.world import lexicon
from rlhf_lab.world.answers import right_answer
from rlhf_lab.world.grammar import RELATIONS, fill, the
from rlhf_lab.world.prompts import ASKED, check_split, draw_category, list_of, split_of

if TYPE_CHECKING:
    from rlhf_lab.world import World

Message = Mapping[str, str]
USER, ASSISTANT = ROLES = ("user", "assistant")
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] + '\\n' }}{% else %}"
    "{% generation %}{{ m['content'] + eos_token }}{% endgeneration %}{% endif %}{% endfor %}"
)
ALL, ASSISTANTS, LAST = MASKS = ("all tokens", "assistant's turns", "last answer")


# --- the format ---------------------------------------------------------------------------------


class Chat(NamedTuple):
    """Token ids of a conversation, and for each token the number of its turn, from 0."""

    ids: list[int]
    turns: list[int]

    def learnt(self, mask: str = ASSISTANTS) -> list[bool]:
        """On which tokens the loss is (``eq-chat-loss``); turns of the assistant have odd numbers.

        Raises:
            InputError: for a mask that is none of :data:`MASKS`.
        """
        if mask not in MASKS:
            raise InputError("mask", mask, f"one of {', '.join(MASKS)}", "choose a mask")
        last = self.turns[-1]
        return [mask == ALL or t == last or (mask == ASSISTANTS and t % 2 == 1) for t in self.turns]


def check_messages(messages: Sequence[Message], eos: str) -> None:
    """Refuse what has no reading as turns.

    Raises:
        InputError: for no message, roles that do not take turns from the user on, an empty
            message, or one that holds the text of the token that ends a turn.
    """
    if not messages:
        raise InputError("messages", [], "a user's message at least", "begin with a user's message")
    for number, message in enumerate(messages):
        role, text = message["role"], message["content"]
        if role != ROLES[number % 2]:
            raise InputError(
                f"message {number}", role, ROLES[number % 2], "let user and assistant take turns"
            )
        if not text.strip():
            raise InputError(f"message {number}", text, "some text", "remove the exchange")
        if eos in text:
            raise InputError(
                f"message {number}", text, f"a text without {eos}, which would end the turn",
                "remove it: whoever may write it can write the other side's turns",
            )  # fmt: skip


def encode_chat(
    messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, max_length: int | None = None
) -> Chat:
    """A conversation as tokens. Turns are tokenised apart, so that no token lies in two of them.

    Args:
        max_length: most tokens allowed.

    Raises:
        InputError: for what :func:`check_messages` refuses, or a conversation that is too long.
    """
    eos, _ = require_special_tokens(tokenizer)
    check_messages(messages, str(tokenizer.eos_token))
    ids: list[int] = []
    turns: list[int] = []
    for number, message in enumerate(messages):
        ends = "\n" if message["role"] == USER else ""
        own = tokenizer(message["content"] + ends, add_special_tokens=False)["input_ids"]
        own = own if ends else [*own, eos]
        ids += own
        turns += [number] * len(own)
    if max_length is not None and len(ids) > max_length:
        fix = "leave out the oldest exchanges with fit_turns"
        raise InputError("messages", f"{len(ids)} tokens", f"at most {max_length}", fix)
    return Chat(ids, turns)


def chat_prompt(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> str:
    """The text after which the assistant's next turn comes.

    Raises:
        InputError: for what :func:`check_messages` refuses, or when it is the user's turn.
    """
    check_messages(messages, str(tokenizer.eos_token))
    if len(messages) % 2 == 0:
        raise InputError("messages", "an assistant's message", "a user's at the end", "ask first")
    ends = {USER: "\n", ASSISTANT: str(tokenizer.eos_token)}
    return "".join(m["content"] + ends[m["role"]] for m in messages)


def fit_turns(
    messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, room: int
) -> list[Message]:
    """The newest whole exchanges that fit: the oldest are left out until the rest does.

    Args:
        messages: user and assistant in turn, a user's message last.
        room: tokens that there are for them; leave those of the answer out of it.

    Raises:
        InputError: when the last message does not fit alone.
    """
    for first in range(0, len(messages), 2):
        kept = list(messages[first:])
        if len(encode_chat(kept, tokenizer).ids) <= room:
            return kept
    raise InputError("room", room, "as many tokens as the last message has", "shorten the message")


def as_chat(demonstration: Demonstration) -> list[Message]:
    """A demonstration of plain SFT as a conversation; one of the kind "chat" has three turns."""
    text = demonstration.prompt.removesuffix("\n")
    lines = text.split("\n") if demonstration.kind == "chat" else [text]
    return to_messages([*lines, demonstration.completion])


def to_messages(texts: Sequence[str]) -> list[Message]:
    """Texts that user and assistant said in turn, from the user on."""
    return [{"role": ROLES[i % 2], "content": text} for i, text in enumerate(texts)]


# --- training -----------------------------------------------------------------------------------


def collate_chats(rows: Sequence[Chat], pad: int, mask: str = ASSISTANTS) -> dict[str, Tensor]:
    """Batch of conversations, int64 (B, T), right-padded; labels outside the mask are IGNORED."""
    ids, attention = pad_right([row.ids for row in rows], pad)
    learnt, _ = pad_right([[int(x) for x in row.learnt(mask)] for row in rows], 0)
    labels = torch.where(learnt.bool(), ids, torch.tensor(IGNORED))
    return {"input_ids": ids, "attention_mask": attention, "labels": labels}


def train_chats(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Sequence[Message]],
    config: SFTConfig,
    *,
    mask: str = ASSISTANTS,
) -> list[dict[str, Any]]:
    """SFT on conversations, in place: lower ``eq-chat-loss``, the mean over the tokens of a mask.

    Args:
        model: a causal LM of transformers.
        conversations: messages, an assistant's last.
        mask: one of :data:`MASKS`.

    Returns:
        a row for each optimiser step, as :func:`rlhf_lab.sft.train_sft` has it.

    Raises:
        InputError: for conversations that cannot be read, or an unknown mask.
    """
    rows = [encode_chat(messages, tokenizer, config.max_length) for messages in conversations]
    rows[0].learnt(mask)
    collate = functools.partial(collate_chats, pad=tokenizer.pad_token_id, mask=mask)
    return train_rows(model, tokenizer, rows, collate, config)


@torch.no_grad()
def turn_loss(model: Any, tokenizer: Any, conversations: Sequence[Sequence[Message]]) -> float:
    """Mean loss on the user's turns but the first, in nats per token: how well it plays the user.

    A first turn is a prompt like any other; what comes later, only conversations teach.
    """
    total, count = 0.0, 0
    for messages in conversations:
        chat = encode_chat(messages, tokenizer)
        ids = torch.tensor([chat.ids])
        logp = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        own = torch.tensor([t % 2 == 0 and t > 0 for t in chat.turns[1:]])
        total, count = total - float(logp[own].sum()), count + int(own.sum())
    return total / count


# --- follow-ups ---------------------------------------------------------------------------------

FACTS = ("pronoun", "another", "correction")
LISTS = ("number", "others")
FOLLOW_UPS = (*FACTS, *LISTS)
FIRST = "first"
_ANOTHER = ("and {S}?", "what about {S}?", "and what about {S}?")
_CORRECTION = ("no, i meant {S}.", "sorry, i meant {S}.", "no, i asked about {S}.")
_NUMBER = ("make it {n}.", "no, {n} of them.", "{n} will do.")
_OTHERS = ("and {n} others?", "now {n} others.", "{n} more, please.")
_MAX_TRIES = 4000


@dataclass(frozen=True)
class Exchange:
    """A user's turn and a right answer to it.

    Attributes:
        said: what the user says.
        asked: what that means, in full, and all that the judge needs.
        answer: a right one.
        kind: :data:`FIRST`, or one of :data:`FOLLOW_UPS`.
        given: list items that an answer may not repeat, for the conversation has them.
    """

    said: str
    asked: Prompt
    answer: str
    kind: str = FIRST
    given: tuple[str, ...] = ()


def conversation(
    world: World,
    index: int,
    split: str = "train",
    *,
    kinds: Sequence[str] = (),
) -> tuple[Exchange, ...]:
    """The ``index``-th conversation of a split: a question and follow-ups that need it.

    What a follow-up asks for belongs to the split, as in single prompts; what is asked first, to
    the split or to training, whose questions no test asks.

    Args:
        kinds: of the follow-ups, in order; empty draws one or two about facts, or one about a list.

    Raises:
        InputError: for an unknown split or kind, or one that cannot follow the one before.
    """
    check_split(split)
    if set(kinds) - set(FOLLOW_UPS) or (len(kinds) > 1 and set(kinds) & set(LISTS)):
        allowed = f"one of {', '.join(LISTS)}, or any of {', '.join(FACTS)}"
        raise InputError("kinds", list(kinds), allowed, "correct the kinds")
    rng = random.Random(f"conversation:{world.seed}:{split}:{','.join(kinds)}:{index}")
    kinds = kinds or _drawn(rng)
    make = _about_lists if kinds[0] in LISTS else _about_facts
    for _ in range(_MAX_TRIES):
        found = make(world, rng, split, kinds)
        if found is not None:
            return found
    raise InputError("kinds", list(kinds), f"some that {split} has", "choose other kinds")


def _drawn(rng: random.Random) -> tuple[str, ...]:
    if rng.random() < 0.4:
        return (rng.choice(LISTS),)
    return tuple(rng.choices(FACTS, k=rng.randint(1, 2)))


Made = tuple[Exchange, ...] | None


def _about_facts(world: World, rng: random.Random, split: str, kinds: Sequence[str]) -> Made:
    relation = rng.choices(list(ASKED), weights=list(ASKED.values()))[0]
    subject = rng.choice(list(world.knowledge.facts[relation]))
    told = [_fact(world, rng, relation, subject, "", FIRST)]
    places = [(relation, subject)]
    for kind in kinds:
        if kind == "pronoun":
            if subject not in lexicon.ANIMALS or RELATIONS[relation].value_class == "I":
                return None  # "it" would have two animals to stand for
            others = [r for r in ASKED if subject in world.knowledge.facts[r] and r != relation]
            relation = rng.choice(others)
            wording = rng.choice(RELATIONS[relation].questions).replace("{S}", "it")
            said = f"and {wording}"
        else:
            others = [s for s in world.knowledge.facts[relation] if s != subject]
            subject = rng.choice(others)
            phrases = _ANOTHER if kind == "another" else _CORRECTION
            said = rng.choice(phrases).format(S=the(subject))
        told.append(_fact(world, rng, relation, subject, said, kind))
        places.append((relation, subject))
    false = {(r, s) for r, s, _ in world.knowledge.misconceptions}
    splits = [split_of("open_qa", *place) for place in places]
    if set(places) & false or len(set(places)) < len(places):
        return None
    return tuple(told) if _belongs(splits, split) else None


def _fact(
    world: World, rng: random.Random, relation: str, subject: str, said: str, kind: str
) -> Exchange:
    full = fill(rng.choice(RELATIONS[relation].questions), relation, subject)
    meta = {"task": "fact", "hard": "", "relation": relation, "subject": subject}
    asked = Prompt(full + "\n", "open_qa", meta)
    return Exchange(said or full, asked, right_answer(world.knowledge, asked, rng), kind)


def _about_lists(world: World, rng: random.Random, split: str, kinds: Sequence[str]) -> Made:
    k = world.knowledge
    category, value, fitting = draw_category(k, rng)
    first, second = rng.randint(2, 4), rng.randint(2, 4)
    (kind,) = kinds
    if first == second and kind == "number":
        return None
    if len(fitting) < (first + second if kind == "others" else max(first, second)):
        return None
    splits = [
        split_of("brainstorming", category, value, lexicon.NUMBERS[n]) for n in (first, second)
    ]
    if not _belongs(splits, split):
        return None
    asked = _list(category, value, first, rng)
    answer = right_answer(k, asked, rng)
    items = tuple(i for i in fitting if the(i) in _items(answer))
    again = _list(category, value, second, rng)
    phrases = _OTHERS if kind == "others" else _NUMBER
    said = rng.choice(phrases).format(n=lexicon.NUMBERS[second])
    given = items if kind == "others" else ()
    while True:
        reply = right_answer(k, again, rng)
        if not repeats(reply, given):
            break
    return (
        Exchange(asked.text.strip(), asked, answer),
        Exchange(said, again, reply, kind, given),
    )


def _list(category: str, value: str, number: int, rng: random.Random) -> Prompt:
    what = list_of(category, value, lexicon.NUMBERS[number])
    meta = {"task": "list", "hard": "", "category": category, "value": value, "number": number}
    return Prompt(f"{rng.choice(('name', 'list', 'tell me'))} {what}.\n", "brainstorming", meta)


def _items(text: str) -> list[str]:
    return text.strip().rstrip(".").replace(" and ", ", ").split(", ")


def repeats(answer: str, given: Sequence[str]) -> bool:
    """Whether a list names something that was given before."""
    return bool({the(item) for item in given} & set(_items(answer)))


def _belongs(splits: Sequence[str], split: str) -> bool:
    return splits[0] in {"train", split} and set(splits[1:]) == {split}


# --- what a model makes of them -----------------------------------------------------------------


def history(exchanges: Sequence[Exchange]) -> list[Message]:
    """Messages up to the last user's turn, answers as they are written there."""
    texts = [text for e in exchanges for text in (e.said, e.answer)]
    return to_messages(texts[:-1])


def whole(exchanges: Sequence[Exchange]) -> list[Message]:
    """All messages."""
    return [*history(exchanges), {"role": ASSISTANT, "content": exchanges[-1].answer}]


def as_lines(messages: Sequence[Message]) -> str:
    """Turns on lines of their own, as Fernwick's web has them: without the token between them."""
    return "".join(m["content"] + "\n" for m in messages)


def spelt_out(exchanges: Sequence[Exchange]) -> list[Demonstration]:
    """The same questions one by one, each in full, with the same answers."""
    return [Demonstration(e.asked.text, e.answer, e.asked.kind) for e in exchanges]


def right(world: World, exchanges: Sequence[Exchange], replies: Sequence[str]) -> list[bool]:
    """Whether replies do what was meant, by Fernwick's judge, and repeat nothing that was given."""
    marks = graded(world, [e.asked for e in exchanges], replies).right
    return [
        bool(mark) and not repeats(reply.split("\n", 1)[0], e.given)
        for mark, e, reply in zip(marks, exchanges, replies, strict=True)
    ]


def ask(
    world: World,
    write: Callable[[list[str]], list[str]],
    conversations: Sequence[Sequence[Exchange]],
    form: Callable[[list[Message]], str],
) -> list[tuple[str, bool]]:
    """Answers to the last turns, the turns before being as written, and whether each is right.

    Args:
        write: one reply to each prompt.
        form: the text that is shown of a history.
    """
    said = write([form(history(own)) for own in conversations])
    marks = right(world, [own[-1] for own in conversations], said)
    return list(zip(said, marks, strict=True))


__all__ = [
    "ALL", "ASSISTANTS", "FACTS", "FIRST", "FOLLOW_UPS", "LAST", "LISTS", "MASKS",
    "TEMPLATE", "Chat", "Exchange", "Message", "as_chat", "as_lines", "ask", "chat_prompt",
    "check_messages", "collate_chats", "conversation", "encode_chat", "fit_turns", "history",
    "repeats", "right", "spelt_out", "to_messages", "train_chats", "turn_loss", "whole",
]  # fmt: skip
