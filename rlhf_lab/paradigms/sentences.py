"""Sentences of Fernwick whose parts of speech and named entities are known by construction.

The sentences are those that the grammar of Fernwick can write (:mod:`rlhf_lab.world.grammar`), with
true facts in them; a tag comes from the slot that a word fills. Three kinds of names make it a task
and not a look-up:

- ``PER``: a first name, or a first name and a trade: "mira", "mira baker"; but "the baker" is none;
- ``LOC``: a place called after who lives there: "fox hill"; but "the hill" is none;
- ``INN``: an inn called after an animal: "the red fox", which is also what a red fox is called.

No word has a capital letter, and some words are two parts of speech: "will" the man and the
auxiliary, "saw" the tool and the verb, "cook" the trade, the name and the skill. Some nouns and
names never occur in the training split (:func:`held_out_words`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

from rlhf_lab.world import lexicon
from rlhf_lab.world.grammar import EVENTS, RELATIONS, Relation
from rlhf_lab.world.knowledge import Knowledge, make_knowledge

ENTITY_TYPES = ("PER", "LOC", "INN")


class Token(NamedTuple):
    """A word with its part of speech (UD's universal tags) and its entity tag (BIO)."""

    word: str
    pos: str
    entity: str = "O"


# The words that templates are made of. What depends on its neighbours is in _pos_of.
_WORDS = {
    "ADJ": "able afraid big common favourite good",
    "ADP": "at by down for from in near of on to up with",
    "ADV": "away best how next now often politely soon then there later very where why",
    "AUX": "can does is was will",
    "CCONJ": "and but",
    "DET": "a an some the whose",
    "NOUN": "colour day end evening food friend ground home master morning name path people "
    "place size song sound stuff thing trade weather wood",
    "NUM": "one",
    "PART": "not",
    "PRON": "i it me somebody what which who whom you",
    "VERB": "ate became bought broke brought buried buy call called came carried chased cleaned "
    "comforted cracked cried danced discovered dropped eat eats enjoys fears feels felt find "
    "forgot found frightened gave get give gives go grabbed greet greets had handed has have "
    "helped helps hid hide hugged hurried keep kept knows laughed lead leads lent lie lies "
    "likes live lives lost love loves made makes make meet mended met mocked painted picked "
    "praised ran repaired rested run runs sang sat saved saw scared scolded sell shouted sighed "
    "sleep sleeps slept smiled snatched sold stamped stole took teased tell thanked threw "
    "travelled trembled used visited walk walked wear wears went wept works",
}
_POS = {word: pos for pos, words in reversed(_WORDS.items()) for word in words.split()}
_VERB_AFTER = {"fear": ("does",), "work": ("does",), "use": ("people",)}

_EVENTS = (
    "go", "find", "find_here", "take", "buy", "give", "steal", "lose", "hide", "break", "mend",
    "meet", "help", "thank", "tease", "scare", "rest", "joy", "sorrow", "rage", "shake", "have",
    "count", "count_give", "count_eat", "mood", "is_at", "feels",
)  # fmt: skip
_FUTURE = (
    "{A} will give {X} to {B}", "{A} will go to {P}", "{A} will meet {B} {L}",
    "{A} will {V} {L}", "{A} will {V} for {B}", "will {A} sell {X} to {B}?",
    "will {A} walk to {P}?", "will {A} {V} {L}?", "where will {A} hide {X}?",
    "why will {A} {V} {L}?",
)  # fmt: skip
# Verbs, most of which are also things, foods or trades.
_VERBS = ("cook", "fish", "saw", "whistle", "drum", "hammer", "paint", "sing", "dance")
_OPENINGS = ("one day", "one morning", "one evening", "then", "soon", "later", "now")
_PLAIN_VALUES = {"C": "ADJ", "Z": "ADJ", "M": "NOUN", "H": "ADJ", "F": "NOUN", "N": "NUM"}


@cache
def held_out_words() -> frozenset[str]:
    """A quarter of all names, animals, trades, places, things and foods: never in training."""
    rng = random.Random("fernwick:held-out words")
    template_words = set(_POS) | set(_VERBS) | {"fear", "work", "use", "do", "like"}
    groups = (
        lexicon.NAMES, lexicon.ANIMALS, lexicon.PEOPLE, lexicon.PLACES, lexicon.OBJECTS,
        lexicon.FOODS,
    )  # fmt: skip
    chosen: set[str] = set()
    for group in groups:
        free = [word for word in group if word not in template_words]
        chosen.update(rng.sample(free, len(group) // 4))
    return frozenset(chosen)


class SentenceWriter:
    """Writes tagged sentences about one Fernwick.

    Args:
        seed: which Fernwick; 0 is the one that the shipped models know.
    """

    def __init__(self, seed: int = 0) -> None:
        self.knowledge: Knowledge = make_knowledge(seed)

    def sentence(self, rng: random.Random) -> list[Token]:
        """One sentence, with its final mark."""
        clause, mark = self._clause(rng)
        if mark == "." and rng.random() < 0.3:
            clause = [*_plain(rng.choice(_OPENINGS)), *clause]
        if mark == "." and rng.random() < 0.25:
            more, mark = self._clause(rng, asking=False)
            clause = [*clause, *_plain(rng.choice(("and", "but"))), *more]
        return [*clause, Token(mark, "PUNCT")]

    def _clause(self, rng: random.Random, *, asking: bool = True) -> tuple[list[Token], str]:
        roll = rng.random()
        if roll < 0.4:
            return self._fact(rng, asking=asking and rng.random() < 0.4)
        if roll < 0.85:
            template = rng.choice(EVENTS[rng.choice(_EVENTS)])
        else:
            template = rng.choice([t for t in _FUTURE if asking or "?" not in t])
        return self._fill(template, self._event_slots(rng))

    # Facts -----------------------------------------------------------------------------------

    def _fact(self, rng: random.Random, *, asking: bool) -> tuple[list[Token], str]:
        relation = RELATIONS[rng.choice(list(RELATIONS))]
        subject = rng.choice(list(self.knowledge.facts[relation.name]))
        value = rng.choice(self.knowledge.values(relation.name, subject))
        questions = [*relation.questions, *relation.reverse_questions, relation.held_out_question]
        template = rng.choice(questions if asking else [*relation.statements])
        slots: dict[str, Callable[[], list[Token]]] = {
            "S": lambda: self._subject(relation, subject, rng),
            "O": lambda: self._value(relation.value_class, value, rng),
            "L": lambda: self._located(subject if relation.subject_class == "P" else value, rng),
        }
        verbal = "O" if relation.value_class in "KW" else ""
        return self._fill(template, slots, verbal)

    def _subject(self, relation: Relation, subject: str, rng: random.Random) -> list[Token]:
        if relation.subject_class == "I":
            return self._inhabitant(subject, rng, named=relation.name != "name")
        if relation.subject_class == "P":
            return self._place(subject, rng)
        if relation.subject_class == "O":
            return [*_plain("the"), Token(subject, "NOUN")]
        return [Token(subject, "NOUN")]

    def _value(self, kind: str, value: str, rng: random.Random) -> list[Token]:
        if kind == "I":
            if value in self.knowledge.persons:
                return [Token(value, "PROPN", "B-PER")]
            return self._inhabitant(value, rng)
        if kind == "P":
            return self._place(value, rng)
        if kind in _PLAIN_VALUES:
            return [Token(value, _PLAIN_VALUES[kind])]
        return _phrase(value, verbal=kind in "KW")

    # Events ----------------------------------------------------------------------------------

    def _event_slots(self, rng: random.Random) -> dict[str, Callable[[], list[Token]]]:
        a, b = rng.sample(self.knowledge.inhabitants, 2)
        thing, place = rng.choice(lexicon.OBJECTS), rng.choice(lexicon.PLACES)
        mood = rng.choice(lexicon.MOODS[rng.choice(list(lexicon.MOODS))])
        return {
            "A": lambda: self._inhabitant(a, rng),
            "B": lambda: self._inhabitant(b, rng),
            "X": lambda: self._thing(thing, rng, definite=True),
            "x": lambda: self._thing(thing, rng, definite=False),
            "P": lambda: self._place(place, rng),
            "L": lambda: self._located(place, rng),
            "N": lambda: [Token(rng.choice(lexicon.NUMBERS[2:13]), "NUM")],
            "F": lambda: [Token(rng.choice(lexicon.COUNTABLE_FOODS), "NOUN")],
            "D": lambda: [Token(mood, "ADJ")],
            "V": lambda: [Token(rng.choice(_VERBS), "VERB")],
        }

    # Phrases ---------------------------------------------------------------------------------

    def _inhabitant(self, who: str, rng: random.Random, *, named: bool = True) -> list[Token]:
        name = self.knowledge.names.get(who)
        if name and named and rng.random() < 0.7:
            first = Token(name, "PROPN", "B-PER")
            return [first] if rng.random() < 0.5 else [first, Token(who, "PROPN", "I-PER")]
        adjectives: list[str] = []
        if rng.random() < 0.2:
            adjectives.append(self._known("size", who))
        if rng.random() < 0.45:
            adjectives.append(self._known("colour", who))
        return [*_plain("the"), *(Token(w, "ADJ") for w in adjectives), Token(who, "NOUN")]

    def _place(self, place: str, rng: random.Random) -> list[Token]:
        roll = rng.random()
        called = self.knowledge.subjects("home", place)
        if roll < 0.35 and called:
            after = rng.choice(called)
            return [Token(after, "PROPN", "B-LOC"), Token(place, "PROPN", "I-LOC")]
        if roll < 0.6:
            return self._inn(rng)
        return [*_plain("the"), Token(place, "NOUN")]

    def _inn(self, rng: random.Random) -> list[Token]:
        animal = rng.choice(lexicon.ANIMALS)
        return [
            Token("the", "DET", "B-INN"),
            Token(self._known("colour", animal), "PROPN", "I-INN"),
            Token(animal, "PROPN", "I-INN"),
        ]

    def _located(self, place: str, rng: random.Random) -> list[Token]:
        phrase = self._place(place, rng)
        inn = phrase[0].entity == "B-INN"
        return [Token("at" if inn else lexicon.PREPOSITIONS[place], "ADP"), *phrase]

    def _thing(self, thing: str, rng: random.Random, *, definite: bool) -> list[Token]:
        words = [Token(thing, "NOUN")]
        roll = rng.random()
        if roll < 0.2:
            words.insert(0, Token(self._known("material", thing), "NOUN"))
        elif roll < 0.4:
            words.insert(0, Token(self._known("object_colour", thing), "ADJ"))
        article = "the" if definite else "an" if words[0].word[0] in "aeiou" else "a"
        return [*_plain(article), *words]

    def _known(self, relation: str, subject: str) -> str:
        return self.knowledge.values(relation, subject)[0]

    def _fill(
        self,
        template: str,
        slots: Mapping[str, Callable[[], list[Token]]],
        verbal: str = "",
    ) -> tuple[list[Token], str]:
        mark = "?" if template.endswith("?") else "."
        parts = template.rstrip("?.").split()
        out: list[Token] = []
        for i, part in enumerate(parts):
            following = parts[i + 1] if i + 1 < len(parts) else ""
            if part.startswith("{"):
                out += slots[part[1]]()
            else:
                out.append(Token(part, _pos_of(part, parts[:i], following, verbal)))
        return out, mark


def _pos_of(word: str, before: list[str], following: str, verbal: str) -> str:
    """The part of speech of a word of a template, by its neighbours where it has several."""
    previous = before[-1] if before else ""
    if word == "to":
        verb = following == f"{{{verbal}}}" or _POS.get(following) == "VERB" or following == "do"
        return "PART" if verb and previous != "next" else "ADP"
    if word == "do":
        return "AUX" if previous in ("what", "where", "not") else "VERB"
    if word == "like":
        return "ADP" if previous == "weather" else "VERB"
    if word in _VERB_AFTER:
        return "VERB" if set(before) & set(_VERB_AFTER[word]) else "NOUN"
    if word in ("what", "which") and _POS.get(following) == "NOUN":
        return "DET"
    return _POS[word]


_IN_PHRASES = {
    "the": "DET", "a": "DET", "deep": "ADJ", "loud": "ADJ", "high": "ADJ", "warm": "ADJ",
    "fast": "ADV", "for": "ADP",
}  # fmt: skip


def _phrase(value: str, *, verbal: bool) -> list[Token]:
    """A value of several words, "deep water" or "light a room"."""
    words = value.split()
    tokens = [Token(w, _IN_PHRASES.get(w, "NOUN")) for w in words]
    if verbal:
        tokens[0] = Token(words[0], "VERB")
    return tokens


def _plain(words: str) -> list[Token]:
    return [Token(word, _POS[word]) for word in words.split()]
