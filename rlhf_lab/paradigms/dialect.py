"""Parallel text in Old Fernish, as long as one likes, with the word that each word comes from.

A clause is one of :func:`rlhf_lab.world.tasks.parallel`: other words, the adjective after its noun,
the place before its preposition, the verb last. Clauses are joined by "and". Each dialect word has
one plain word, so a dictionary gets every word right and the order wrong.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms.data import SENTENCE_BEGINNING, split_of
from rlhf_lab.world.knowledge import Knowledge, make_knowledge
from rlhf_lab.world.prompts import check_split
from rlhf_lab.world.tasks import parallel


@dataclass(frozen=True)
class Parallel:
    """Sentences of the dialect, the same in plain words, and how many clauses each has."""

    sources: tuple[tuple[str, ...], ...]
    targets: tuple[tuple[str, ...], ...]
    clauses: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.sources)


def old_fernish(
    split: str, count: int, clauses: tuple[int, int] = (1, 3), seed: int = 0
) -> Parallel:
    """Distinct sentences with their translations.

    Args:
        split: "train", "valid" or "test"; splits share no first four plain words.
        count: sentences.
        clauses: fewest and most clauses of a sentence; every number is equally frequent.
        seed: which Fernwick.

    Raises:
        InputError: for an unknown split, a count below 1, or no such range of clauses.
    """
    check_split(split)
    fewest, most = clauses
    if count < 1:
        raise InputError("count", count, "1 or more", "ask for at least one")
    if not 1 <= fewest <= most:
        raise InputError("clauses", clauses, "1 <= fewest <= most", "put the smaller number first")
    k = make_knowledge(seed)
    rng = random.Random(f"fernwick:{seed}:dialect:{split}:{fewest}:{most}")
    found: dict[tuple[str, ...], tuple[tuple[str, ...], int]] = {}
    while len(found) < count:
        number = fewest + len(found) % (most - fewest + 1)
        plain, old = _sentence(k, number, rng)
        if split_of(" ".join(plain), SENTENCE_BEGINNING) == split:
            found.setdefault(old, (plain, number))
    return Parallel(
        tuple(found),
        tuple(plain for plain, _ in found.values()),
        tuple(number for _, number in found.values()),
    )


def _sentence(
    k: Knowledge, clauses: int, rng: random.Random
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    plain: list[str] = []
    old: list[str] = []
    for i in range(clauses):
        one, other = parallel(k, rng)
        plain += ["and"] * (i > 0) + one.rstrip(".").split()
        old += [k.fernish["and"]] * (i > 0) + other.rstrip(".").split()
    return (*plain, "."), (*old, ".")


def dictionary(seed: int = 0) -> dict[str, str]:
    """Old Fernish word to plain word."""
    return {old: plain for plain, old in make_knowledge(seed).fernish.items()} | {".": "."}


def word_for_word(source: Sequence[str], seed: int = 0) -> list[str]:
    """A sentence in plain words and in the dialect's order; words of no dictionary stay."""
    words = dictionary(seed)
    return [words.get(word, word) for word in source]


def origins(source: Sequence[str], target: Sequence[str], seed: int = 0) -> list[int]:
    """For each plain word the place of the dialect word that it translates.

    Phrases keep their order, so of equal words the first comes from the first.

    Raises:
        InputError: when the target is no translation of the source.
    """
    places: dict[str, deque[int]] = defaultdict(deque)
    for place, word in enumerate(word_for_word(source, seed)):
        places[word].append(place)
    try:
        return [places[word].popleft() for word in target]
    except IndexError:
        raise InputError(
            "target", " ".join(target), "a translation of the source", "give a pair of old_fernish"
        ) from None
