"""Exams that a teacher has marked: answers to one question, put in order of what they are worth.

They teach a reward model to judge before it meets labelers. The teacher makes no mistakes and has
no tastes of her own: she marks as the mean labeler would without noise. Her exams ask for every
fact of Fernwick and for every use case, and hold every way of being wrong that we have seen small
policies take.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from rlhf_lab.errors import InputError
from rlhf_lab.records import Prompt, Ranking
from rlhf_lab.world.answers import (
    changed_story,
    false_value,
    has_part,
    story_changes,
    write_answer,
)
from rlhf_lab.world.grammar import parse, statement
from rlhf_lab.world.judge import Judge
from rlhf_lab.world.knowledge import Knowledge
from rlhf_lab.world.labelers import MEAN_LABELER
from rlhf_lab.world.mistakes import mistake, nonsense
from rlhf_lab.world.prompts import draw_fact, make_prompt

# Percent of the exams: statements to tell apart, or answers to a prompt of a use case.
STATEMENTS = "statements"
EXAMS = {
    STATEMENTS: 14, "generation": 19, "open_qa": 16, "brainstorming": 11, "chat": 8, "rewrite": 9,
    "other": 6, "closed_qa": 5, "extract": 5, "classification": 4, "summarisation": 3,
}  # fmt: skip
# Every term asks by its own mix. The second returns to what the first leaves weak: exact tasks,
# where one word decides, and facts that a conversation or a list hides.
TERMS = {1: EXAMS, 2: {**EXAMS, "other": 36, "chat": 32, "open_qa": 28, "brainstorming": 22}}
# How often an exam holds an answer of this quality, besides a right one.
OTHERS = {
    "partial": 0.5, "wrong": 0.6, "mistaken": 0.8, "beside the point": 0.35, "garbled": 0.5,
    "hedging": 0.12, "rude": 0.1, "questions": 0.05,
}  # fmt: skip
# What is wrong with a story, as weights; a request names few of them.
STORY_CHANGES = {"mood": 6, "course": 3, "thing": 2, "place": 2, "other": 2, "hero": 1}
MOST_CHANGES = 3
MOST_FALSE = 3
NONSENSE = 0.15  # share of false statements in which somebody eats a ladder, say
WHICH = "which is true?\n"
TEACHER = "teacher"
MARK = 0.05  # utility points; what differs by less has the same mark


def stream(name: str, term: int) -> tuple[str, ...]:
    """What the random numbers of a term are seeded by, so that no term repeats another.

    Raises:
        InputError: for an unknown term.
    """
    if term not in TERMS:
        allowed = f"one of {', '.join(map(str, TERMS))}"
        raise InputError("term", term, allowed, "choose a term that exams are written for")
    return (name,) if term == 1 else (name, f"term {term}")


def draw_use_case(rng: random.Random, term: int = 1) -> str:
    """A use case as often as the exams of a term ask for it."""
    kinds = {kind: weight for kind, weight in TERMS[term].items() if kind != STATEMENTS}
    return rng.choices(list(kinds), weights=list(kinds.values()))[0]


def mark(judge: Judge, prompt: Prompt, completions: Sequence[str]) -> Ranking:
    """Put completions in the order of the teacher's marks; equal marks tie."""
    worth = [round(MEAN_LABELER.value(judge(prompt, text)) / MARK) for text in completions]
    order = sorted(set(worth), reverse=True)
    ranks = tuple(order.index(value) for value in worth)
    return Ranking(prompt.text, tuple(completions), ranks, prompt.kind, TEACHER)


def make_exam(k: Knowledge, rng: random.Random, split: str = "train", term: int = 1) -> Ranking:
    """Two or more answers, the right one first, with the marks of a teacher as ranks.

    Statements are drawn from all facts, as the web is; prompts only from those of ``split``.
    """
    mix = TERMS[term]
    if rng.random() * sum(mix.values()) < mix[STATEMENTS]:
        marks: dict[str, int] = {}
        while len(set(marks.values())) < 2:  # all alike when a false statement came out as true
            marks = _statements(k, rng)
        return Ranking(WHICH, tuple(marks), tuple(marks.values()), STATEMENTS, TEACHER)
    kind, judge = draw_use_case(rng, term), Judge(k)
    found: list[str] = []
    while len(found) < 2:  # alone when every wrong answer came out as a right one
        prompt = make_prompt(k, rng, split=split, kind=kind)
        found = _answers(k, rng, prompt, judge)
    return mark(judge, prompt, found)


def _statements(k: Knowledge, rng: random.Random) -> dict[str, int]:
    """One true statement, and false ones about the same thing in other words."""
    relation, subject, value = draw_fact(k, rng)
    marks = {f"{statement(relation, subject, value, rng)}.": 0}
    for _ in range(rng.randint(1, MOST_FALSE)):
        wrong = nonsense if rng.random() < NONSENSE else false_value
        other = wrong(k, relation, subject, rng)
        marks.setdefault(f"{statement(relation, subject, other, rng)}.", 1)
    if rng.random() < OTHERS["garbled"]:
        marks.setdefault(garbled(k, rng, marks, lambda text: parse(text) is not None), 2)
    return marks


def _answers(k: Knowledge, rng: random.Random, prompt: Prompt, judge: Judge) -> list[str]:
    """Answers to a prompt, the right one first.

    What was meant to be worse and came out without a fault, as a story may that leaves out what
    was asked and has it by chance, is no part of the exam.
    """
    story = prompt.meta["task"] == "story"

    def sound(text: str) -> bool:
        if prompt.meta["task"] == "exact":  # numbers and lists are no sentences
            return text in prompt.meta["answers"]
        return judge(prompt, text).form == 1.0

    right = write_answer(k, prompt, rng)
    found = [right]
    if story:
        changes = story_changes(prompt)
        weights = [STORY_CHANGES[change] for change in changes]
        for change in dict.fromkeys(rng.choices(changes, weights, k=rng.randint(1, MOST_CHANGES))):
            found.append(changed_story(prompt, change, rng))
    for quality, share in OTHERS.items():
        if rng.random() >= share or (story and quality == "wrong"):
            continue
        if quality == "partial" and not has_part(k, prompt):
            continue
        if quality == "mistaken":
            found.append(mistake(k, prompt, rng))
        elif quality == "garbled":
            found.append(garbled(k, rng, found, sound))
        elif quality == "beside the point":
            found.append(_beside_the_point(k, rng, prompt))
        else:
            found.append(write_answer(k, prompt, rng, quality))
    faultless = judge(prompt, right)
    others = [text for text in dict.fromkeys(found) if text and judge(prompt, text) != faultless]
    return [right, *others]


def _beside_the_point(k: Knowledge, rng: random.Random, prompt: Prompt) -> str:
    """A true statement about the same subject, or the right answer to another prompt."""
    relations = [r for r, facts in k.facts.items() if prompt.meta.get("subject") in facts]
    others = [r for r in relations if r != prompt.meta["relation"]]
    if others and rng.random() < 0.5:
        relation, subject = rng.choice(others), prompt.meta["subject"]
        return f"{statement(relation, subject, rng.choice(k.values(relation, subject)), rng)}."
    return write_answer(k, make_prompt(k, rng, kind=prompt.kind), rng)


def garbled(
    k: Knowledge, rng: random.Random, texts: Iterable[str], sound: Callable[[str], bool]
) -> str:
    """One of the sound ``texts``, spoilt until it is not: it has lost its grammar.

    Args:
        sound: whether a text is well formed. A change may leave it so: "the fox is red" is as good
            as "the fox wears red", and two words that are swapped may be the same.
    """
    text = rng.choice([text for text in texts if sound(text)])
    while True:
        spoilt = _spoilt(k, rng, text)
        if not sound(spoilt):
            return spoilt


def _spoilt(k: Knowledge, rng: random.Random, text: str) -> str:
    """A text with words lost, doubled, swapped, or of another sentence."""
    words = text.rstrip(".").split()
    other = statement(*draw_fact(k, rng), rng).split()
    at = rng.randrange(len(words))
    way = rng.randrange(5)
    if way == 0 and len(words) > 2:
        del words[at]
    elif way == 1:
        words[at:at] = words[max(0, at - rng.randint(1, 3)) : at + 1]
    elif way == 2 and len(words) > 2:
        at = max(at, 1)
        words[at - 1], words[at] = words[at], words[at - 1]
    elif way == 3:
        words[at] = rng.choice(other)
    else:
        words[at:] = other[rng.randrange(len(other)) :]
    return f"{' '.join(words)}."
