"""What is true of Fernwick's words, and how much of it a set of word vectors knows.

In a generated world the kind of a word, its facts and its sense at a place of a text are no matter
of opinion: the word lists, the knowledge base and the templates say them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from rlhf_lab.paradigms.embeddings import WordVectors, words_of
from rlhf_lab.world import World, lexicon
from rlhf_lab.world.documents import Document

KINDS: Mapping[str, tuple[str, ...]] = {
    "animal": lexicon.ANIMALS,
    "person": lexicon.PEOPLE,
    "name": lexicon.NAMES,
    "place": lexicon.PLACES,
    "colour": lexicon.COLOURS,
    "size": lexicon.SIZES,
    "food": lexicon.FOODS,
    "object": lexicon.OBJECTS,
    "material": lexicon.MATERIALS,
    "weather": lexicon.WEATHERS,
    "skill": tuple(skill for skill in lexicon.SKILLS if " " not in skill),
    "mood": tuple(word for words in lexicon.MOODS.values() for word in words),
    "manner": tuple(lexicon.MOOD_ADVERBS.values()),
    "number": lexicon.NUMBERS,
    "verdict": lexicon.POSITIVE + lexicon.NEGATIVE,
    "reviewed": lexicon.REVIEW_TOPICS,
}


def kinds_of() -> dict[str, tuple[str, ...]]:
    """The kinds of every word that has one, in the order of :data:`KINDS`."""
    found: dict[str, tuple[str, ...]] = {}
    for kind, words in KINDS.items():
        for word in words:
            found[word] = (*found.get(word, ()), kind)
    return found


def plain_kinds(known: Iterable[str]) -> dict[str, str]:
    """Kind by word, of the ``known`` words that have exactly one."""
    kinds, known = kinds_of(), set(known)
    return {word: of[0] for word, of in kinds.items() if len(of) == 1 and word in known}


def kind_accuracy(vectors: WordVectors) -> float:
    """Share of words of one kind whose nearest neighbour among them is of the same kind."""
    kinds = plain_kinds(vectors.words)
    mine = vectors.among(list(kinds))
    cosines = (mine.directions @ mine.directions.T).fill_diagonal_(-2)
    labels = list(kinds.values())
    nearest = cosines.argmax(1).tolist()
    return sum(labels[i] == labels[j] for i, j in enumerate(nearest)) / len(labels)


def pairs_of(world: World, relation: str) -> list[tuple[str, str]]:
    """Pairs of single words that stand in a relation: a fact, or ``"manner"`` (sad, sadly).

    Args:
        relation: ``"name"``, ``"home"``, ``"food"``, ``"colour"`` or another one of the knowledge
            base with one value per subject.
    """
    if relation == "manner":
        return list(lexicon.MOOD_ADVERBS.items())
    facts = world.knowledge.facts[relation].items()
    return [(of, value) for of, value in facts if isinstance(value, str) and " " not in value]


@dataclass(frozen=True)
class Analogies:
    """How analogies over the pairs of one relation come out.

    Attributes:
        right: share answered by the right word, among all words of the vocabulary.
        right_kind: share answered by some value of the relation.
        right_among: share that is right when only the relation's values may answer.
        chance: what a guess among these values would get.
    """

    right: float
    right_kind: float
    right_among: float
    chance: float


def analogies(vectors: WordVectors, pairs: Sequence[tuple[str, str]]) -> Analogies:
    """All questions "a is to b as c is to …" from two pairs (a, b), (c, d) with b ≠ d.

    Pairs with a word that has no vector are left out; all is NaN when no question remains. The
    rule is that of :meth:`~rlhf_lab.paradigms.embeddings.WordVectors.analogy`.
    """
    known = [pair for pair in pairs if all(word in vectors.number for word in pair)]
    values = list(dict.fromkeys(value for _, value in known))
    if len(values) < 2:
        return Analogies(math.nan, math.nan, math.nan, math.nan)
    columns = torch.tensor([vectors.number[value] for value in values])
    right = right_kind = right_among = count = 0
    for a, b in known:
        others = [(c, d) for c, d in known if c != a and d != b]
        c, d = (torch.tensor([vectors.number[pair[i]] for pair in others]) for i in (0, 1))
        one, two = vectors.number[a], vectors.number[b]
        targets = vectors.directions[two] - vectors.directions[one] + vectors.directions[c]
        scores = targets @ vectors.directions.T
        scores[:, [one, two]] = -torch.inf
        scores.scatter_(1, c[:, None], -torch.inf)
        answer = scores.argmax(1)
        count += len(others)
        right += int((answer == d).sum())
        right_kind += int(torch.isin(answer, columns).sum())
        right_among += int((columns[scores[:, columns].argmax(1)] == d).sum())
    return Analogies(right / count, right_kind / count, right_among / count, 1 / (len(values) - 1))


def fact_rank(words: WordVectors, contexts: WordVectors, pairs: Sequence[tuple[str, str]]) -> float:
    """Share of the other values that the true value beats, mean over subjects; a guess gets 1/2.

    A subject's values are ordered by the product of its vector in ``words`` with theirs in
    ``contexts``: what skip-gram itself holds likely next to the subject.
    """
    known = [p for p in pairs if p[0] in words.number and p[1] in contexts.number]
    values = list(dict.fromkeys(value for _, value in known))
    if len(values) < 2:
        return math.nan
    table = torch.stack([words[of] for of, _ in known]) @ contexts.among(values).vectors.T
    true = torch.tensor([values.index(value) for _, value in known])
    beaten = table < table.gather(1, true[:, None])
    return float(beaten.double().mean()) * len(values) / (len(values) - 1)


# --- words with two senses ------------------------------------------------------------------------

SENSES: Mapping[str, tuple[str, str]] = {
    "cook": ("person", "skill"),
    "whistle": ("object", "skill"),
    "cold": ("weather", "verdict"),
    "warm": ("weather", "verdict"),
    "bread": ("food", "reviewed"),
}
_VERB_AFTER = frozenset(("can", "to"))
_DESCRIBING = frozenset(lexicon.COLOURS + lexicon.SIZES + ("a", "the"))


@dataclass(frozen=True)
class Occurrence:
    """One place at which a word stands.

    Attributes:
        text: number of the text.
        place: number of the word in it.
        word: the word.
        sense: its kind there.
    """

    text: int
    place: int
    word: str
    sense: str


def occurrences(documents: Sequence[Document]) -> list[Occurrence]:
    """Every place where a word of :data:`KINDS` stands with a sense that is beyond doubt.

    A word of one kind has it everywhere. For one with two, reviews speak of what is reviewed and
    give verdicts, other texts of weather and food; and after "can" or "to" stands a skill, after an
    article or what describes a thing, a person or an object. Other places, and lists, where a word
    may stand for either, are left out.
    """
    plain, found = plain_kinds(kinds_of()), []
    for number, document in enumerate(documents):
        words = words_of(document.text)
        for place, word in enumerate(words):
            sense: str | None = plain.get(word)
            if word in SENSES:
                sense = _sense(word, words[place - 1] if place else "", document.kind)
            if sense:
                found.append(Occurrence(number, place, word, sense))
    return found


def _sense(word: str, before: str, kind: str) -> str | None:
    first, second = SENSES[word]
    if second == "skill":
        if before in _VERB_AFTER:
            return second
        return first if before in _DESCRIBING else None
    if kind == "reviews":
        return second
    return first if kind in ("encyclopaedia", "stories") else None
