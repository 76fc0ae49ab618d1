"""The knowledge base: who lives in Fernwick and what is true of them, as a function of a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from rlhf_lab.world import lexicon


@dataclass(frozen=True)
class Knowledge:
    """All facts of one world.

    ``facts[relation][subject]`` is the value, or a tuple of values where several hold at once
    (``neighbour``). Entities are named by their head noun: ``"fox"``, ``"baker"``, ``"mill"``.

    Attributes:
        names: person to first name.
        persons: first name to person.
        misconceptions: false facts (relation, subject, false value) that the forum repeats.
        fernish: plain word to Old Fernish word.
    """

    seed: int
    facts: Mapping[str, Mapping[str, str | tuple[str, ...]]]
    names: Mapping[str, str]
    persons: Mapping[str, str]
    misconceptions: tuple[tuple[str, str, str], ...]
    fernish: Mapping[str, str]
    inhabitants: tuple[str, ...] = field(default=lexicon.ANIMALS + lexicon.PEOPLE)

    def holds(self, relation: str, subject: str, value: str) -> bool | None:
        """Whether the fact is true; None when the relation says nothing about the subject."""
        known = self.facts[relation].get(subject)
        if known is None:
            return None
        return value in known if isinstance(known, tuple) else value == known

    def values(self, relation: str, subject: str) -> tuple[str, ...]:
        """Every true value, usually one."""
        known = self.facts[relation][subject]
        return known if isinstance(known, tuple) else (known,)

    def subjects(self, relation: str, value: str) -> tuple[str, ...]:
        """Every subject of which the relation holds with this value."""
        return tuple(s for s in self.facts[relation] if self.holds(relation, s, value))


def _spread(rng: random.Random, subjects: tuple[str, ...], values: tuple[str, ...]) -> dict:
    """Values dealt out evenly, so that no answer is a good guess for every subject."""
    deck: list[str] = []
    while len(deck) < len(subjects):
        deck.extend(rng.sample(values, len(values)))
    return dict(zip(subjects, deck, strict=False))


def make_knowledge(seed: int) -> Knowledge:
    """The world of ``seed``: the same grammar, other facts."""
    rng = random.Random(f"fernwick:knowledge:{seed}")
    animals, people = lexicon.ANIMALS, lexicon.PEOPLE
    inhabitants = animals + people
    names = dict(zip(people, rng.sample(lexicon.NAMES, len(people)), strict=True))

    friends = list(inhabitants)
    while any(a == b for a, b in zip(inhabitants, friends, strict=True)):
        rng.shuffle(friends)

    ring = rng.sample(lexicon.PLACES, len(lexicon.PLACES))
    size = len(ring)
    neighbours = {
        place: (ring[(i - 1) % size], ring[(i + 1) % size], ring[(i + size // 2) % size])
        for i, place in enumerate(ring)
    }
    facts: dict[str, dict] = {
        "colour": _spread(rng, inhabitants, lexicon.COLOURS),
        "size": _spread(rng, inhabitants, lexicon.SIZES),
        "home": _spread(rng, inhabitants, lexicon.PLACES),
        "food": _spread(rng, inhabitants, lexicon.FOODS),
        "fear": _spread(rng, inhabitants, lexicon.FEARS),
        "friend": dict(zip(inhabitants, friends, strict=True)),
        "skill": _spread(rng, inhabitants, lexicon.SKILLS),
        "sound": _spread(rng, inhabitants, lexicon.SOUNDS),
        "employer": _spread(rng, animals, people),
        "name": names,
        "weather": _spread(rng, lexicon.PLACES, lexicon.WEATHERS),
        "neighbour": neighbours,
        "object_colour": _spread(rng, lexicon.OBJECTS, lexicon.COLOURS),
        "material": _spread(rng, lexicon.OBJECTS, lexicon.MATERIALS),
        "use": {t: use for use, things in lexicon.USES.items() for t in things},
        "found": _spread(rng, lexicon.OBJECTS, lexicon.PLACES),
        "grows": _spread(rng, lexicon.FOODS, lexicon.PLACES),
    }

    misconceptions = []
    for relation in ("home", "food", "fear", "skill", "colour", "friend"):
        for subject in rng.sample(inhabitants, 5):
            true = facts[relation][subject]
            wrong = rng.choice([v for v in sorted(set(facts[relation].values())) if v != true])
            if wrong != subject:
                misconceptions.append((relation, subject, wrong))

    common = [
        *animals, *people, *lexicon.PLACES, *lexicon.COLOURS, *lexicon.SIZES, *lexicon.FOODS,
        *lexicon.OBJECTS, "the", "a", "eats", "sees", "likes", "finds", "carries", "wants",
        "sells", "hides", "has", "and", *lexicon.MATERIALS, *lexicon.NUMBERS[1:13], "in", "at",
        "by", "on",
    ]  # fmt: skip
    words = rng.sample(range(700), len(common))
    fernish = {w: lexicon.old_fernish_word(i) for w, i in zip(common, words, strict=True)}
    return Knowledge(
        seed=seed,
        facts=facts,
        names=names,
        persons={name: person for person, name in names.items()},
        misconceptions=tuple(misconceptions),
        fernish=fernish,
    )
