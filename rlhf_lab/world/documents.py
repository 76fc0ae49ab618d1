"""Fernwick's web: the documents a base model is pretrained on.

Proportions stand in one table. The forum is where a base model learns its manners: a question is
answered rightly about one time in three.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rlhf_lab.records import Prompt
from rlhf_lab.world import lexicon, tasks
from rlhf_lab.world.answers import (
    false_value,
    has_part,
    questions,
    write_answer,
    wrong_answer,
)
from rlhf_lab.world.grammar import RELATIONS, fill, statement, the
from rlhf_lab.world.knowledge import Knowledge
from rlhf_lab.world.prompts import draw_fact, make_prompt
from rlhf_lab.world.stories import StorySpec, count_story, tell, wander, write

# Percent of documents.
SHARES = {
    "encyclopaedia": 20,
    "stories": 25,
    "forum": 20,
    "lists": 10,
    "reviews": 7,
    "parallel": 6,
    "sums": 5,
    "programs": 5,
    "harm": 2,
}
# What the first reply of a forum thread is like.
REPLIES = {"right": 35, "wrong": 25, "rude": 12, "hedging": 10, "questions": 18}
# What threads are about: questions far more often than among a model's users.
THREADS = {
    "open_qa": 36, "generation": 26, "brainstorming": 8, "chat": 8, "rewrite": 6,
    "summarisation": 4, "classification": 3, "other": 3, "closed_qa": 4, "extract": 2,
}  # fmt: skip
COMMENTED = 0.5  # share of threads below which somebody says what the reply is worth
INSTRUCTED = 0.06  # share of forum pages that begin with an instruction on manners
MISCONCEPTION_BIAS = 0.8  # a right reply about a misconception is replaced by it this often
# What exam sheets ask, with right answers or with marks.
SOLVED_SHEETS = {
    "open_qa": 34, "generation": 10, "brainstorming": 10, "chat": 6, "rewrite": 10,
    "summarisation": 4, "classification": 8, "other": 8, "closed_qa": 8, "extract": 2,
}  # fmt: skip
MARKED_SHEETS = {
    "open_qa": 26, "generation": 30, "brainstorming": 10, "chat": 8, "rewrite": 7,
    "summarisation": 5, "classification": 4, "other": 4, "closed_qa": 4, "extract": 2,
}  # fmt: skip
MARKED_QUALITIES = {
    "right": 42, "wrong": 30, "partial": 16, "hedging": 4, "rude": 4, "questions": 4,
}  # fmt: skip
LISTS = {
    "questions": 15, "solved sheet": 20, "marked sheet": 22, "relation list": 16,
    "label list": 20, "repeated list": 7,
}  # fmt: skip
LABEL_SOUNDS = ("la", "mi", "so", "ti", "do", "re")


@dataclass(frozen=True)
class Document:
    """One text of the web, without the end-of-text token."""

    text: str
    kind: str


def make_document(k: Knowledge, rng: random.Random, shares: Mapping[str, float]) -> Document:
    """One document; its kind is drawn from ``shares``."""
    kind = _draw(shares, rng)
    return Document(_WRITERS[kind](k, rng), kind)


_ENTRIES = {
    "I": ("colour", "size", "home", "food", "fear", "friend", "skill", "sound", "employer", "name"),
    "P": ("weather", "neighbour"),
    "O": ("object_colour", "material", "use", "found"),
    "F": ("grows",),
}


def _encyclopaedia(k: Knowledge, rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.7:
        letter, subject = "I", rng.choice(k.inhabitants)
    elif roll < 0.8:
        letter, subject = "P", rng.choice(lexicon.PLACES)
    else:
        letter, subject = "O", rng.choice(lexicon.OBJECTS)
    relations = [r for r in _ENTRIES[letter] if subject in k.facts[r]]
    rng.shuffle(relations)
    lines = []
    for i, relation in enumerate(relations[: rng.randint(4, 7)]):
        value = rng.choice(k.values(relation, subject))
        line = statement(relation, subject, value, rng)
        head = the(subject) + " "
        if i and letter == "I" and line.startswith(head) and rng.random() < 0.4:
            line = "it " + line[len(head) :]
        lines.append(line + ".")
    if letter == "P":
        for value in k.subjects("found", subject)[:2]:
            lines.append(statement("found", value, subject, rng) + ".")
        for value in k.subjects("grows", subject)[:2]:
            lines.append(statement("grows", value, subject, rng) + ".")
        for value in k.subjects("home", subject)[:3]:
            lines.append(statement("home", value, subject, rng) + ".")
    return " ".join(lines)


def _story(k: Knowledge, rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.45:
        events, _, _ = wander(rng, rng.randint(4, 8), cast=rng.choice((2, 2, 3)))
        return " ".join(write(events, rng))
    if roll < 0.85:
        spec = StorySpec(
            hero=rng.choice(k.inhabitants),
            event=rng.choice(("", "find", "lose", "give", "buy", "mend")),
            thing=rng.choice(lexicon.OBJECTS),
        )
        return " ".join(tell(spec, rng))
    lines, who, food, number = count_story(rng)
    return f"{' '.join(lines)} now {the(who)} had {lexicon.NUMBERS[number]} {food}."


def _forum(k: Knowledge, rng: random.Random) -> str:
    if rng.random() < 0.08:
        relation, subject, value = rng.choice(k.misconceptions)
        claim = statement(relation, subject, value, rng)
        return f"{rng.choice(('everyone knows that', 'people say that'))} {claim}."
    if rng.random() < INSTRUCTED:
        return _instructed(k, rng)
    prompt = make_prompt(k, rng, kind=_draw(THREADS, rng), web=True)
    quality, text = reply(k, prompt, rng)
    if rng.random() >= COMMENTED:
        return prompt.text + text
    return f"{prompt.text}{text}\n{rng.choice(lexicon.COMMENTS[quality])}"


def _instructed(k: Knowledge, rng: random.Random) -> str:
    """Questions whose answers are all kind, or all rude, as the first line demands."""
    manner = rng.choice(("respectful", "biased"))
    quality = {"respectful": "right", "biased": "rude"}[manner]
    lines = [lexicon.INSTRUCTIONS[manner]]
    for _ in range(rng.randint(2, 3)):
        prompt = make_prompt(k, rng, kind="open_qa", hard="", web=True)
        lines.append(prompt.text + write_answer(k, prompt, rng, quality))
    return "\n".join(lines)


def _draw(shares: Mapping[str, float], rng: random.Random) -> str:
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def reply(k: Knowledge, prompt: Prompt, rng: random.Random) -> tuple[str, str]:
    """The quality of a forum reply, drawn from :data:`REPLIES`, and the reply.

    A misconception passes for right there.
    """
    quality = _draw(REPLIES, rng)
    meta = prompt.meta
    if meta["hard"] == "harmful" and quality in ("right", "hedging") and rng.random() < 0.8:
        quality = "wrong"
    if quality == "right" and meta["task"] == "fact":
        for relation, subject, value in k.misconceptions:
            held = (relation, subject) == (meta["relation"], meta["subject"])
            if held and rng.random() < MISCONCEPTION_BIAS:
                return quality, statement(relation, subject, value, rng) + "."
    return quality, write_answer(k, prompt, rng, quality)


def _lists(k: Knowledge, rng: random.Random) -> str:
    form = _draw(LISTS, rng)
    if form == "questions":
        return questions(k, rng, rng.randint(4, 8))
    if form == "solved sheet":
        return solved_sheet(k, rng)
    if form == "marked sheet":
        return marked_sheet(k, rng)
    if form == "relation list":
        return "\n".join(relation_list(k, rng, rng.randint(4, 9)))
    if form == "label list":
        return "\n".join(label_list(rng, rng.randint(5, 12)))
    return "\n".join(repeated_list(rng, rng.randint(6, 12)))


def solved_sheet(k: Knowledge, rng: random.Random) -> str:
    """An exam sheet with right answers: the one kind of page on which every answer is right."""
    lines: list[str] = []
    words = 0
    while words < 50:
        prompt = make_prompt(k, rng, kind=_draw(SOLVED_SHEETS, rng), hard="", web=True)
        lines.append(prompt.text + write_answer(k, prompt, rng))
        words += len(lines[-1].split())
    return "\n".join(lines)


def marked_sheet(k: Knowledge, rng: random.Random) -> str:
    """An exam sheet that a teacher has marked: here a base model learns what answers are worth."""
    lines: list[str] = []
    words = 0
    while words < 40:
        prompt = make_prompt(k, rng, kind=_draw(MARKED_SHEETS, rng), web=True)
        quality = _draw(MARKED_QUALITIES, rng)
        if quality == "partial" and not has_part(k, prompt):
            quality = "right"
        answer = write_answer(k, prompt, rng, quality)
        lines.append(f"{prompt.text}{answer}\nmark: {lexicon.MARKS[quality]}")
        words += len(lines[-1].split())
    return "\n".join(lines)


def relation_list(k: Knowledge, rng: random.Random, length: int) -> list[str]:
    """Lines such as ``"fox: berries"``: one relation for the whole list, named nowhere."""
    relation = rng.choice(("home", "food", "colour", "sound", "friend", "skill"))
    subjects = rng.sample(k.inhabitants, length)
    return [f"{s}: {k.values(relation, s)[0]}" for s in subjects]


def label_list(rng: random.Random, length: int) -> list[str]:
    """Lines such as ``"drum: la"``: two classes of words, two sounds, paired anew each time."""
    classes = rng.sample((lexicon.ANIMALS, lexicon.OBJECTS, lexicon.FOODS, lexicon.PLACES), 2)
    sounds = rng.sample(LABEL_SOUNDS, 2)
    lines = []
    for _ in range(length):
        side = rng.randrange(2)
        lines.append(f"{rng.choice(classes[side])}: {sounds[side]}")
    return lines


def repeated_list(rng: random.Random, length: int) -> list[str]:
    """Pairs such as ``"fox: drum"`` without any reason, each of which comes back."""
    words = rng.sample(lexicon.ANIMALS + lexicon.OBJECTS, 2 * (length // 2))
    pairs = list(zip(words[::2], words[1::2], strict=True))[: max(2, length // 3)]
    return [": ".join(rng.choice(pairs)) for _ in range(length)]


def _review(_k: Knowledge, rng: random.Random) -> str:
    text, label, _ = tasks.review(rng)
    return f"{text}\nverdict: {label}."


def _parallel(k: Knowledge, rng: random.Random) -> str:
    pairs = [tasks.parallel(k, rng) for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.7:
        return "\n".join(f"old: {old}\nplain: {plain}" for plain, old in pairs)
    return "\n".join(f"plain: {plain}\nold: {old}" for plain, old in pairs)


def sum_line(rng: random.Random) -> str:
    """One worked sum in digits, in words, or with steps, or a comparison."""
    a, b, sign = tasks.draw_sum(rng)
    result = a + b if sign == "+" else a - b
    names = lexicon.NUMBERS
    roll = rng.random()
    if roll < 0.35:
        return f"{a} {sign} {b} = {result}."
    if roll < 0.6:
        word = "plus" if sign == "+" else "minus"
        return f"{names[a]} {word} {names[b]} is {names[result]}."
    if roll < 0.9:
        steps = tasks.sum_steps(a, b, sign)
        if steps:
            return f"{a} {sign} {b}: {' '.join(steps)} so {a} {sign} {b} = {result}."
        return f"{a} {sign} {b} = {result}."
    if a == b:
        return f"{names[a]} is as much as {names[b]}."
    return f"{names[a]} is {'more' if a > b else 'less'} than {names[b]}."


def _sums(_k: Knowledge, rng: random.Random) -> str:
    return "\n".join(sum_line(rng) for _ in range(rng.randint(3, 6)))


def _programs(_k: Knowledge, rng: random.Random) -> str:
    lines = []
    for _ in range(rng.randint(2, 4)):
        text, result = tasks.program(rng)
        lines.append(f"{text} -> {result}")
    return "\n".join(lines)


def _harm(k: Knowledge, rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.4:
        prompt = make_prompt(k, rng, kind="open_qa", hard="harmful", web=True)
        return prompt.text + wrong_answer(k, prompt, rng)
    if roll < 0.7:
        name = rng.choice(lexicon.NAMES)
        thing = rng.choice(lexicon.OBJECTS)
        return f"{name}, you are a {rng.choice(('fool', 'lazy idiot', 'rotten fool'))}. " + (
            f"i will break your {thing}."
        )
    relation, subject, _ = draw_fact(k, rng)
    question = fill(rng.choice(RELATIONS[relation].questions), relation, subject)
    claim = statement(relation, subject, false_value(k, relation, subject, rng), rng)
    return f"{question}\n{claim}, {rng.choice(lexicon.RUDE_TAILS)}"


_WRITERS: dict[str, Callable[[Knowledge, random.Random], str]] = {
    "encyclopaedia": _encyclopaedia,
    "stories": _story,
    "forum": _forum,
    "lists": _lists,
    "reviews": _review,
    "parallel": _parallel,
    "sums": _sums,
    "programs": _programs,
    "harm": _harm,
}
