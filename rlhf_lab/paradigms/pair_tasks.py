"""Tasks on more than one text, made from Fernwick's facts: entailment, similarity, choice.

Each is a pure function of a seed. Every label can be found by reading the texts of its example and
nothing else. What is said is true in Fernwick wherever the label allows it, so somebody who knows
the village may also answer by heart; ``invented=True`` writes the same sentences with values drawn
anew, and then only reading helps.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms.data import split_of
from rlhf_lab.world.grammar import RELATIONS, fill, statement
from rlhf_lab.world.knowledge import Knowledge, make_knowledge
from rlhf_lab.world.prompts import check_split

ENTAILMENT = ("contradicted", "entailed", "open")
SIMILARITY = ("different", "same")
SPOKEN_OF = ("home", "food", "fear", "skill", "sound", "colour")
Example = tuple[tuple[str, ...], str]


@dataclass(frozen=True)
class Examples:
    """Tuples of texts, as a task's input transformation takes them, with a label each."""

    texts: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)


def entailment(split: str, count: int, seed: int = 0, *, invented: bool = False) -> Examples:
    """(premise, hypothesis): is the second "entailed" by the first, "contradicted", or "open"?

    An inhabitant has one home, one food and so on: whoever lives in the mill does not live in the
    wood. An open hypothesis speaks of somebody else; half of them are true.

    Args:
        split: "train", "valid" or "test"; they share no premise.
        count: distinct examples.
        seed: which Fernwick.
        invented: draw all values anew.

    Raises:
        InputError: for an unknown split, or a count below 1.
    """
    return _examples("entailment", split, count, seed, invented, _entailment)


def similarity(split: str, count: int, seed: int = 0, *, invented: bool = False) -> Examples:
    """(one sentence, another): do they say the "same", or something "different"?

    They differ in who is spoken of, and then both are true, or in what is said of one inhabitant.
    Arguments and errors are those of :func:`entailment`.
    """
    return _examples("similarity", split, count, seed, invented, _similarity)


def choice(split: str, count: int, seed: int = 0, *, invented: bool = False) -> Examples:
    """(text, question, option, option): the label is the number of the right option, from 0.

    The right option stands in the text. Arguments and errors are those of :func:`entailment`.
    """
    return _examples("choice", split, count, seed, invented, _choice)


class _Village:
    """Who has which value, from the facts or drawn anew each time."""

    def __init__(self, knowledge: Knowledge, invented: bool) -> None:
        self.inhabitants, self.invented = knowledge.inhabitants, invented
        self.facts = {name: knowledge.facts[name] for name in SPOKEN_OF}
        self.all = {name: sorted(map(str, {*own.values()})) for name, own in self.facts.items()}

    def value(self, rng: random.Random, relation: str, subject: str) -> str:
        drawn = rng.choice(self.all[relation])
        return drawn if self.invented else str(self.facts[relation][subject])

    def other(self, rng: random.Random, relation: str, value: str) -> str:
        return rng.choice([v for v in self.all[relation] if v != value])


def _examples(
    task: str,
    split: str,
    count: int,
    seed: int,
    invented: bool,
    make: Callable[[random.Random, _Village], Example],
) -> Examples:
    check_split(split)
    if count < 1:
        raise InputError("count", count, "1 or more", "ask for at least one")
    rng = random.Random(f"fernwick:{seed}:{task}:{split}:{invented}")
    village = _Village(make_knowledge(seed), invented)
    found: dict[tuple[str, ...], str] = {}
    while len(found) < count:
        texts, label = make(rng, village)
        if split_of(texts[0], len(texts[0])) == split:
            found.setdefault(texts, label)
    return Examples(tuple(found), tuple(found.values()))


def _entailment(rng: random.Random, village: _Village) -> Example:
    relation, label = rng.choice(SPOKEN_OF), rng.choice(ENTAILMENT)
    subject, somebody = rng.sample(village.inhabitants, 2)
    value = village.value(rng, relation, subject)
    about, said = subject, value
    if label == "open":
        about, said = somebody, village.value(rng, relation, somebody)
    if label == "contradicted" or (label == "open" and rng.random() < 0.5):
        said = village.other(rng, relation, said)
    return _two_ways(rng, relation, (subject, value), (about, said)), label


def _similarity(rng: random.Random, village: _Village) -> Example:
    relation, label = rng.choice(SPOKEN_OF), rng.choice(SIMILARITY)
    subject, somebody = rng.sample(village.inhabitants, 2)
    value = village.value(rng, relation, subject)
    about, said = subject, value
    if label == "different" and rng.random() < 0.5:
        about, said = somebody, village.value(rng, relation, somebody)
    elif label == "different":
        said = village.other(rng, relation, value)
    return _two_ways(rng, relation, (subject, value), (about, said)), label


def _two_ways(
    rng: random.Random, relation: str, one: tuple[str, str], other: tuple[str, str]
) -> tuple[str, str]:
    """Two sentences about a subject and a value each, worded differently."""
    first, second = rng.sample(RELATIONS[relation].statements, 2)
    return f"{fill(first, relation, *one)}.", f"{fill(second, relation, *other)}."


def _choice(rng: random.Random, village: _Village) -> Example:
    relation, subject = rng.choice(SPOKEN_OF), rng.choice(village.inhabitants)
    value = village.value(rng, relation, subject)
    options = rng.sample([value, village.other(rng, relation, value)], 2)
    question = fill(rng.choice(RELATIONS[relation].questions), relation, subject)
    texts = (f"{statement(relation, subject, value, rng)}.", question)
    return (*texts, *(f"{option}." for option in options)), str(options.index(value))
