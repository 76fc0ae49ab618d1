"""Small tasks with exact answers: lists, reviews, Old Fernish, sums, list programs, extraction."""

from __future__ import annotations

import random
from collections.abc import Mapping

from rlhf_lab.world import lexicon
from rlhf_lab.world.grammar import phrases_of, sentences
from rlhf_lab.world.knowledge import Knowledge

MAIN_EVENTS = frozenset(("find_here", "buy", "give", "steal", "lose", "break", "mend"))


def fitting(k: Knowledge, category: str, value: str) -> tuple[str, ...]:
    """Every entity that belongs to a category of the brainstorming prompts."""
    if category == "animals":
        return lexicon.ANIMALS
    if category == "foods":
        return lexicon.FOODS
    if category == "places":
        return lexicon.PLACES
    return k.subjects(category, value)


def review(rng: random.Random) -> tuple[str, str, str]:
    """A review of two or three clauses, its verdict, the place. After "but" the last clause wins.

    Negation turns a word round ("not good" is bad). Without "but" both clauses agree.
    """
    place = rng.choice(("inn", "market", "school", "cottage", "harbour", "mill", "library"))
    label = rng.choice(("good", "bad"))
    first, last = rng.sample(lexicon.REVIEW_TOPICS, 2)

    def clause(topic: str, verdict: str) -> str:
        negated = rng.random() < 0.3
        words = lexicon.POSITIVE if (verdict == "good") != negated else lexicon.NEGATIVE
        return f"the {topic} was {'not ' if negated else ''}{rng.choice(words)}"

    contrast = rng.random() < 0.5
    opposite = "bad" if label == "good" else "good"
    opening = clause(first, opposite if contrast else label)
    text = f"at the {place} {opening} {'but' if contrast else 'and'} {clause(last, label)}."
    return text, label, place


_TRANSLATED_VERBS = ("eats", "sees", "likes", "finds", "carries", "wants", "sells", "hides", "has")


def parallel(k: Knowledge, rng: random.Random) -> tuple[str, str]:
    """A plain sentence and the same in Old Fernish: adjective after noun, verb last."""
    who = rng.choice(lexicon.ANIMALS + lexicon.PEOPLE)
    what = rng.choice(lexicon.OBJECTS)
    verb = rng.choice(_TRANSLATED_VERBS[1:])
    adjective = rng.choice(lexicon.COLOURS + lexicon.SIZES) if rng.random() < 0.6 else ""
    second = rng.choice(lexicon.COLOURS + lexicon.SIZES) if rng.random() < 0.3 else ""
    place = rng.choice(lexicon.PLACES) if rng.random() < 0.4 else ""
    plain = ["the", *([adjective] if adjective else []), who, verb, "the"]
    plain += [*([second] if second else []), what]
    old = ["the", who, *([adjective] if adjective else []), "the", what]
    old += [second] if second else []
    if place:
        plain += [lexicon.PREPOSITIONS[place], "the", place]
        old += ["the", place, lexicon.PREPOSITIONS[place]]
    old.append(verb)
    return " ".join(plain) + ".", " ".join(k.fernish[w] for w in old) + "."


def sum_steps(a: int, b: int, sign: str) -> list[str]:
    """The written steps of a sum or difference across ten, or none when it does not cross."""
    if sign == "+" and a < 10 < a + b:
        first = 10 - a
        return [f"{a} + {first} = 10.", f"10 + {b - first} = {a + b}."]
    if sign == "-" and a > 10 > a - b:
        first = a - 10
        return [f"{a} - {first} = 10.", f"10 - {b - first} = {a - b}."]
    return []


def draw_sum(rng: random.Random) -> tuple[int, int, str]:
    """Two numbers and a sign, with a result between 0 and 20."""
    if rng.random() < 0.55:
        a = rng.randint(0, 20)
        return a, rng.randint(0, 20 - a), "+"
    a = rng.randint(0, 20)
    return a, rng.randint(0, a), "-"


def sum_question(rng: random.Random) -> tuple[str, list[str]]:
    """A question in words or digits and every accepted answer."""
    a, b, sign = draw_sum(rng)
    result = a + b if sign == "+" else a - b
    word = "plus" if sign == "+" else "minus"
    names = lexicon.NUMBERS
    if rng.random() < 0.5:
        question = f"what is {names[a]} {word} {names[b]}?"
    else:
        question = f"what is {a} {sign} {b}?"
    return question, [
        f"{names[result]}.", f"{result}.", f"{a} {sign} {b} = {result}.",
        f"{names[a]} {word} {names[b]} is {names[result]}.",
    ]  # fmt: skip


COMMANDS = (
    "reverse", "double", "keep even", "keep odd", "take 2", "take 3", "drop 1", "drop 2", "sort",
    "add 1",
)  # fmt: skip


def run_program(commands: list[str], values: list[int]) -> list[int]:
    """The list language: each command turns one list into another, left to right."""
    for command in commands:
        name, _, argument = command.partition(" ")
        if name == "reverse":
            values = values[::-1]
        elif name == "double":
            values = [2 * v for v in values]
        elif name == "sort":
            values = sorted(values)
        elif name == "keep":
            values = [v for v in values if v % 2 == (argument == "odd")]
        elif name == "take":
            values = values[: int(argument)]
        elif name == "drop":
            values = values[int(argument) :]
        else:
            values = [v + int(argument) for v in values]
    return values


def show_list(values: list[int]) -> str:
    """``"[ 3 5 8 ]"``."""
    return " ".join(["[", *map(str, values), "]"])


def program(rng: random.Random) -> tuple[str, str]:
    """A program on a list of numbers up to 10, and its result with full stop."""
    commands = rng.sample(COMMANDS, rng.choice((1, 1, 2)))
    values = [rng.randint(0, 9) for _ in range(rng.randint(3, 5))]
    text = " then ".join(commands)
    return f"{text} {show_list(values)}", f"{show_list(run_program(commands, values))}."


_WHAT = {"places": ("P", "L"), "things": ("O",), "characters": ("I",)}


def mentioned(text: str, what: str) -> tuple[str, ...]:
    """Distinct entities of a class in a text, in order of first mention."""
    found: dict[str, None] = {}
    for sentence in sentences(text):
        _, phrases = phrases_of(sentence.rstrip(".").replace(",", "").split())
        for phrase in phrases:
            if phrase.kind in _WHAT[what]:
                found[phrase.entity] = None
    return tuple(found)


def entities(text: str, persons: Mapping[str, str]) -> set[str]:
    """Every entity named in a text, first names resolved."""
    found: set[str] = set()
    for sentence in sentences(text):
        _, phrases = phrases_of(sentence.rstrip(".?!").replace(",", "").split())
        found.update(persons.get(p.entity, p.entity) for p in phrases if p.kind in "IPLOF")
    return found
