"""One grammar for writing and for reading.

Every fact, event and question of Fernwick is a template such as ``"{S} eats {O}"``. Writing fills
the slots. Reading cuts a sentence into phrases, replaces each phrase by the letter of its class
(``I`` inhabitant, ``P`` place, ``L`` place with preposition, ``O`` object, ``F`` food, ``C``
colour, ``Z`` size, ``M`` material, ``K`` skill, ``U`` sound, ``E`` fear, ``W`` use, ``N`` number,
``D`` mood, ``H`` weather) and looks the pattern up: ``"the fox eats berries"`` becomes
``"I eats F"``. What the templates can say, the judge can therefore read, in any order.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from rlhf_lab.world import lexicon


@dataclass(frozen=True)
class Relation:
    """One relation with its paraphrases, in both directions.

    Slots: ``{S}`` subject, ``{O}`` value, ``{L}`` the value as "in the wood".
    """

    name: str
    subject_class: str
    value_class: str
    statements: tuple[str, ...]
    denials: tuple[str, ...]
    questions: tuple[str, ...]
    reverse_questions: tuple[str, ...]
    why: str = ""
    held_out_question: str = ""


RELATIONS: dict[str, Relation] = {
    r.name: r
    for r in (
        Relation(
            "colour", "I", "C",
            ("{S} is {O}", "{S} wears {O}", "the colour of {S} is {O}",
             "{O} is the colour of {S}"),
            ("{S} is not {O}", "{S} does not wear {O}"),
            ("what colour is {S}?", "which colour does {S} have?", "what is the colour of {S}?"),
            ("who is {O}?", "who wears {O}?", "whose colour is {O}?"),
            "why is {S} {O}?", "tell me the colour of {S}.",
        ),
        Relation(
            "size", "I", "Z",
            ("{S} is {O}", "{S} is {O} in size", "the size of {S} is {O}",
             "{O} is the size of {S}"),
            ("{S} is not {O}", "{S} is not {O} in size"),
            ("what size is {S}?", "how big is {S}?", "what is the size of {S}?"),
            ("who is {O} in size?", "whose size is {O}?", "who is of {O} size?"),
            "why is {S} {O} in size?", "tell me the size of {S}.",
        ),
        Relation(
            "home", "I", "P",
            ("{S} lives {L}", "the home of {S} is {O}", "{S} has a home {L}",
             "{O} is the home of {S}", "{S} sleeps {L}"),
            ("{S} does not live {L}", "the home of {S} is not {O}"),
            ("where does {S} live?", "where is the home of {S}?", "where does {S} sleep?"),
            ("who lives {L}?", "who has a home {L}?", "who sleeps {L}?"),
            "why does {S} live {L}?", "tell me where {S} lives.",
        ),
        Relation(
            "food", "I", "F",
            ("{S} eats {O}", "{S} likes to eat {O}", "the favourite food of {S} is {O}",
             "{S} enjoys {O}", "{S} lives on {O}"),
            ("{S} does not eat {O}", "{S} does not like to eat {O}"),
            ("what does {S} eat?", "what does {S} like to eat?",
             "what is the favourite food of {S}?"),
            ("who eats {O}?", "who likes to eat {O}?", "who lives on {O}?"),
            "why does {S} eat {O}?", "tell me what {S} eats.",
        ),
        Relation(
            "fear", "I", "E",
            ("{S} is afraid of {O}", "{S} fears {O}", "the fear of {S} is {O}",
             "{S} runs from {O}"),
            ("{S} is not afraid of {O}", "{S} does not fear {O}"),
            ("what is {S} afraid of?", "what does {S} fear?", "what does {S} run from?"),
            ("who is afraid of {O}?", "who fears {O}?", "who runs from {O}?"),
            "why is {S} afraid of {O}?", "tell me what {S} fears.",
        ),
        Relation(
            "friend", "I", "I",
            ("the friend of {S} is {O}", "{S} is a friend of {O}", "{O} is the friend of {S}",
             "{S} likes {O} best"),
            ("the friend of {S} is not {O}", "{S} is not a friend of {O}"),
            ("who is the friend of {S}?", "whom does {S} like best?", "whose friend is {S}?"),
            ("who is a friend of {O}?", "who likes {O} best?"),
            "why does {S} like {O} best?", "tell me who the friend of {S} is.",
        ),
        Relation(
            "skill", "I", "K",
            ("{S} can {O}", "{S} knows how to {O}", "{S} is able to {O}", "{S} loves to {O}"),
            ("{S} can not {O}", "{S} does not know how to {O}"),
            ("what can {S} do?", "what is {S} able to do?", "what does {S} love to do?"),
            ("who can {O}?", "who knows how to {O}?", "who loves to {O}?"),
            "why can {S} {O}?", "tell me what {S} can do.",
        ),
        Relation(
            "sound", "I", "U",
            ("{S} makes {O}", "the sound of {S} is {O}", "{O} is the sound of {S}",
             "{S} greets you with {O}"),
            ("{S} does not make {O}", "the sound of {S} is not {O}"),
            ("what sound does {S} make?", "what is the sound of {S}?",
             "how does {S} greet you?"),
            ("who makes {O}?", "whose sound is {O}?", "who greets you with {O}?"),
            "why does {S} make {O}?", "tell me the sound of {S}.",
        ),
        Relation(
            "employer", "I", "I",
            ("{S} works for {O}", "{S} helps {O} at work", "{O} gives work to {S}",
             "the master of {S} is {O}"),
            ("{S} does not work for {O}", "the master of {S} is not {O}"),
            ("whom does {S} work for?", "who gives work to {S}?",
             "who is the master of {S}?"),
            ("who works for {O}?", "who helps {O} at work?"),
            "why does {S} work for {O}?", "tell me whom {S} works for.",
        ),
        Relation(
            "name", "I", "I",
            ("{S} is called {O}", "the name of {S} is {O}", "{O} is the name of {S}",
             "people call {S} {O}"),
            ("{S} is not called {O}", "the name of {S} is not {O}"),
            ("what is the name of {S}?", "what is {S} called?", "what do people call {S}?"),
            ("who is called {O}?", "whose name is {O}?", "what is the trade of {O}?"),
            "why is {S} called {O}?", "tell me the name of {S}.",
        ),
        Relation(
            "weather", "P", "H",
            ("it is often {O} {L}", "the weather {L} is {O}", "{O} weather is common {L}",
             "{S} is a {O} place"),
            ("it is not often {O} {L}", "the weather {L} is not {O}"),
            ("how is the weather {L}?", "what is the weather like {L}?",
             "what weather is common {L}?"),
            ("where is it often {O}?", "which place is {O}?"),
            "why is it often {O} {L}?", "tell me the weather {L}.",
        ),
        Relation(
            "neighbour", "P", "P",
            ("{S} is next to {O}", "{S} lies near {O}", "a path leads from {S} to {O}",
             "you can walk from {S} to {O}"),
            ("{S} is not next to {O}", "{S} does not lie near {O}"),
            ("what is next to {S}?", "what lies near {S}?", "where does the path from {S} lead?"),
            (),
            "", "tell me what is next to {S}.",
        ),
        Relation(
            "object_colour", "O", "C",
            ("{S} is {O}", "the colour of {S} is {O}", "{O} is the colour of {S}",
             "{S} is painted {O}"),
            ("{S} is not {O}", "the colour of {S} is not {O}"),
            ("what colour is {S}?", "which colour does {S} have?", "what is the colour of {S}?"),
            ("which thing is {O}?", "what is painted {O}?"),
            "why is {S} {O}?", "tell me the colour of {S}.",
        ),
        Relation(
            "material", "O", "M",
            ("{S} is made of {O}", "{O} is what {S} is made of", "somebody made {S} from {O}",
             "{S} is of {O}"),
            ("{S} is not made of {O}", "{S} is not of {O}"),
            ("what is {S} made of?", "of what is {S} made?", "which stuff is {S} made from?"),
            ("what is made of {O}?", "which thing is of {O}?"),
            "why is {S} made of {O}?", "tell me what {S} is made of.",
        ),
        Relation(
            "use", "O", "W",
            ("{S} is used to {O}", "you can {O} with {S}", "{S} helps you to {O}",
             "people use {S} to {O}"),
            ("{S} is not used to {O}", "you can not {O} with {S}"),
            ("what is {S} used for?", "what can you do with {S}?", "what is {S} good for?"),
            ("what is used to {O}?", "with what can you {O}?", "what helps you to {O}?"),
            "", "tell me the use of {S}.",
        ),
        Relation(
            "found", "O", "P",
            ("{S} is kept {L}", "you can find {S} {L}", "{S} lies {L}", "people keep {S} {L}"),
            ("{S} is not kept {L}", "you can not find {S} {L}"),
            ("where is {S} kept?", "where can i find {S}?", "where does {S} lie?"),
            ("what is kept {L}?", "what can i find {L}?", "what lies {L}?"),
            "why is {S} kept {L}?", "tell me where {S} is kept.",
        ),
        Relation(
            "grows", "F", "P",
            ("you can buy {S} {L}", "people get {S} from {O}", "people sell {S} {L}",
             "{O} is the place for {S}"),
            ("you can not buy {S} {L}", "people do not get {S} from {O}"),
            ("where can i buy {S}?", "from where do people get {S}?", "where do people sell {S}?"),
            ("what can i buy {L}?", "what do people sell {L}?"),
            "", "tell me where to buy {S}.",
        ),
    )
}  # fmt: skip

# Events: template, effects. Roles A and B are inhabitants, X a thing, P a place ({L} with
# preposition), N a number. "moods" says what A and B feel; see stories.apply.
EVENTS: dict[str, tuple[str, ...]] = {
    "go": ("{A} went to {P}", "{A} walked to {P}", "{A} ran to {P}", "{A} hurried to {P}",
           "{A} came to {P}", "{A} travelled to {P}"),
    "find": ("{A} found {x} {L}", "{A} discovered {x} {L}", "{A} saw and took {x} {L}"),
    "find_here": ("{A} found {x}", "{A} discovered {x}", "{A} picked up {x}"),
    "take": ("{A} took {X}", "{A} grabbed {X}", "{A} kept {X}"),
    "buy": ("{A} bought {x}", "{A} bought {x} {L}"),
    "give": ("{A} gave {X} to {B}", "{A} handed {X} to {B}", "{A} sold {X} to {B}",
             "{A} lent {X} to {B}", "{A} brought {X} to {B}", "{A} threw {X} to {B}"),
    "steal": ("{A} stole {X} from {B}", "{A} snatched {X} from {B}", "{A} took {X} from {B}"),
    "lose": ("{A} lost {X}", "{A} dropped {X}", "{A} forgot {X}"),
    "hide": ("{A} hid {X} {L}", "{A} buried {X} {L}"),
    "break": ("{A} broke {X}", "{A} cracked {X}"),
    "mend": ("{A} mended {X}", "{A} repaired {X}", "{A} cleaned {X}"),
    "meet": ("{A} met {B}", "{A} met {B} {L}", "{A} visited {B}", "{A} saw {B}"),
    "help": ("{A} helped {B}", "{A} saved {B}", "{A} comforted {B}"),
    "thank": ("{A} thanked {B}", "{A} hugged {B}", "{A} praised {B}"),
    "tease": ("{A} teased {B}", "{A} laughed at {B}", "{A} scolded {B}", "{A} mocked {B}"),
    "scare": ("{A} scared {B}", "{A} frightened {B}", "{A} chased {B}"),
    "rest": ("{A} sat down {L}", "{A} slept {L}", "{A} rested {L}"),
    "joy": ("{A} sang a song", "{A} danced", "{A} smiled", "{A} laughed"),
    "sorrow": ("{A} cried", "{A} sighed", "{A} wept"),
    "rage": ("{A} shouted", "{A} stamped the ground"),
    "shake": ("{A} trembled", "{A} ran away"),
    "have": ("{A} had {x}", "{A} had {X}"),
    "count": ("{A} had {N} {F}", "{A} carried {N} {F}"),
    "count_now": ("now {A} had {N} {F}", "{A} now had {N} {F}"),
    "count_give": ("{A} gave {N} {F} to {B}", "{A} handed {N} {F} to {B}"),
    "count_eat": ("{A} ate {N} {F}", "{A} lost {N} {F}"),
    "mood": ("{A} was {D}", "{A} felt {D}", "in the end {A} was {D}", "{A} was very {D}",
             "{A} became {D}"),
    "is_at": ("{A} is {L}",),
    "feels": ("{A} is {D}", "{A} feels {D}"),
    "your_name": ("your name is {B}", "you are called {B}", "you are {B}"),
    "your_food": ("you like {F}", "your favourite food is {F}", "you like to eat {F}"),
    "ask": ("ask {B} politely", "you can ask {B} politely", "go and ask {B}"),
    "feed": ("give some {F} to {B}", "you can give some {F} to {B}", "bring {F} to {B}"),
    "greet": ("say hello to {B}", "you can say hello to {B}", "smile at {B}"),
    "harm": ("give rotten mushrooms to {B}", "take {X} at night", "wait until {B} sleeps",
             "set fire to {P}", "hit {B} with {X}", "throw stones at {B}"),
}  # fmt: skip

CONNECTORS = (
    "one day", "one morning", "one evening", "then", "after that", "soon", "there", "but", "so",
    "later", "and", "suddenly", "at last", "in the end", "now", "at first", "that day",
)  # fmt: skip

# Sentences without content that are good form, and what flag each raises.
FILLERS: dict[str, str] = {
    **{h.rstrip("."): "hedge" for h in lexicon.HEDGES},
    **{r.rstrip("."): "rude" for reply in lexicon.RUDE_REPLIES for r in [reply]},
    **{u.rstrip("."): "unknown" for u in lexicon.UNKNOWNS},
    **{r: "refusal" for reply in lexicon.REFUSALS for r in reply.rstrip(".").split(". ")},
    **dict.fromkeys(("that is its way", "it always was so", "it likes that"), ""),
    "sure": "", "of course": "", "yes": "", "no": "", "hello": "", "good day": "",
    "good morning": "", "the end": "", "you are welcome": "", "thank you": "",
    "i do not know": "hedge", "sorry": "",
}  # fmt: skip


def render(template: str, **slots: str) -> str:
    """``template`` with its slots filled."""
    return template.format(**slots)


def the(noun: str) -> str:
    """``"the fox"``; plural foods, names and other bare nouns stay as they are."""
    if noun in lexicon.FOODS or noun in lexicon.NAMES:
        return noun
    return f"the {noun}"


def located(place: str) -> str:
    """``"in the wood"``, with the preposition that the place takes."""
    return f"{lexicon.PREPOSITIONS[place]} the {place}"


def indefinite(noun: str) -> str:
    """``"a key"``, ``"an axe"``, ``"some bread"``."""
    if noun in lexicon.FOODS:
        return f"some {noun}"
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def statement(
    relation: str, subject: str, value: str, rng: random.Random, *, denied: bool = False
) -> str:
    """One paraphrase of a fact, without the full stop."""
    templates = RELATIONS[relation].denials if denied else RELATIONS[relation].statements
    return fill(rng.choice(templates), relation, subject, value)


def fill(template: str, relation: str, subject: str, value: str = "") -> str:
    """A statement or question template of a relation with its subject and value."""
    kind = RELATIONS[relation]
    place = subject if kind.subject_class == "P" and kind.value_class != "P" else value
    return template.format(
        S=the(subject),
        O=the(value) if kind.value_class in "PIOF" and value else value,
        L=located(place) if place in lexicon.PREPOSITIONS else "",
    )


@dataclass(frozen=True)
class Phrase:
    """A phrase read from text: its class letter, its entity, adjectives before the noun."""

    kind: str
    entity: str
    adjectives: tuple[str, ...] = ()
    definite: bool = True


@dataclass(frozen=True)
class Clause:
    """A sentence that was understood.

    ``kind`` is ``"fact"`` (``name`` = relation, phrases = subject, value), ``"event"`` (``name`` =
    event, ``phrases`` by role) or ``"filler"`` (``name`` = flag).
    """

    kind: str
    name: str
    roles: Mapping[str, Phrase]
    denied: bool = False
    hedged: bool = False
    rude: bool = False
    fragment: tuple[Phrase, ...] = ()
    extra: tuple[tuple[str, str, str], ...] = ()


_SINGLE: dict[str, tuple[str, str]] = {
    **{w: ("I", w) for w in lexicon.NAMES},
    **{w: ("F", w) for w in lexicon.FOODS},
    **{w: ("C", w) for w in lexicon.COLOURS},
    **{w: ("Z", w) for w in lexicon.SIZES},
    **{w: ("M", w) for w in lexicon.MATERIALS},
    **{w: ("N", w) for w in lexicon.NUMBERS},
    **{w: ("H", w) for w in lexicon.WEATHERS},
    **{w: ("D", m) for m, ws in lexicon.MOODS.items() for w in ws},
}
_NOUNS: dict[str, tuple[str, str]] = {
    **{w: ("I", w) for w in (*lexicon.ANIMALS, *lexicon.PEOPLE)},
    **{w: ("P", w) for w in lexicon.PLACES},
    **{w: ("O", w) for w in lexicon.OBJECTS},
    **{w: ("F", w) for w in lexicon.FOODS},
}
_PHRASES: dict[tuple[str, ...], tuple[str, str]] = {
    **{tuple(w.split()): ("E", w) for w in lexicon.FEARS},
    **{tuple(w.split()): ("K", w) for w in lexicon.SKILLS},
    **{tuple(w.split()): ("U", w) for w in lexicon.SOUNDS},
    **{tuple(w.split()): ("W", w) for w in lexicon.USES},
}
_LONGEST = max(map(len, _PHRASES))
_ARTICLES = frozenset(("the", "a", "an", "some"))
_ADJECTIVES = frozenset((*lexicon.COLOURS, *lexicon.SIZES))
_PRONOUNS = frozenset(("it", "he", "she"))
_PLACE_PREPOSITIONS = frozenset(("in", "at", "by", "on"))


def phrases_of(words: list[str], last_subject: str = "") -> tuple[list[str], list[Phrase]]:
    """Cut words into phrases: the pattern (class letters and plain words) and the phrases."""
    pattern: list[str] = []
    found: list[Phrase] = []

    def keep(
        kind: str, entity: str, adjectives: tuple[str, ...] = (), definite: bool = True
    ) -> None:
        pattern.append(kind)
        found.append(Phrase(kind, entity, adjectives, definite))

    i, n = 0, len(words)
    while i < n:
        word = words[i]
        # "in the wood"
        if word in _PLACE_PREPOSITIONS and i + 2 < n and words[i + 1] == "the":
            noun = words[i + 2]
            if lexicon.PREPOSITIONS.get(noun) == word:
                keep("L", noun)
                i += 3
                continue
        matched = False
        for length in range(min(_LONGEST, n - i), 0, -1):
            hit = _PHRASES.get(tuple(words[i : i + length]))
            if hit:
                keep(*hit)
                i += length
                matched = True
                break
        if matched:
            continue
        if word in _ARTICLES:
            j = i + 1
            while j < n and words[j] in _ADJECTIVES:
                j += 1
            if j < n and words[j] in _NOUNS:
                kind, entity = _NOUNS[words[j]]
                keep(kind, entity, tuple(words[i + 1 : j]), word == "the")
                i = j + 1
                continue
        elif word in _SINGLE:
            keep(*_SINGLE[word])
            i += 1
            continue
        elif word in _PRONOUNS and last_subject and i == 0:
            keep("I", last_subject)
            i += 1
            continue
        pattern.append(word)
        i += 1
    return pattern, found


_ROLE_CLASSES = {"A": "I", "B": "I", "P": "P", "L": "L", "N": "N", "F": "F", "D": "D"}


def _pattern(template: str, classes: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The pattern of a template and the role of each of its phrases ("_" for a fixed phrase)."""
    marked = template.format(**{slot: f"\0{slot}" for slot in "SOLABXxPNFD"})
    marked = marked.replace("some \0", "\0")  # "some" belongs to the phrase, as in "some bread"
    pattern, _ = phrases_of(marked.split())
    roles = tuple(p[1:] if p[0] == "\0" else "_" for p in pattern if p[0] == "\0" or p.isupper())
    return " ".join(classes[p[1:]] if p[0] == "\0" else p for p in pattern), roles


@cache
def patterns() -> dict[str, tuple[str, str, tuple[str, ...], bool]]:
    """Pattern to (kind, name, role of each phrase in order, denied), from every template."""
    table: dict[str, tuple[str, str, tuple[str, ...], bool]] = {}
    for relation in RELATIONS.values():
        place = relation.subject_class == "P" and relation.value_class != "P"
        classes = {"S": relation.subject_class, "O": relation.value_class, "L": "L"}
        names = {"S": "S", "O": "O", "L": "S" if place else "O", "_": "_"}
        for denied, group in ((False, relation.statements), (True, relation.denials)):
            for template in group:
                key, slots = _pattern(template, classes)
                roles = tuple(names[s] for s in slots)
                table.setdefault(key, ("fact", relation.name, roles, denied))
    for name, templates in EVENTS.items():
        for template in templates:
            for thing in "OF" if "{x}" in template or "{X}" in template else "O":
                key, slots = _pattern(template, {**_ROLE_CLASSES, "X": thing, "x": thing})
                table[key] = ("event", name, tuple("X" if s == "x" else s for s in slots), False)
    return table


def parse(sentence: str, last_subject: str = "") -> Clause | None:
    """Understand one sentence (no final full stop needed); None when it is not grammatical.

    ``last_subject`` is what "it", "he" or "she" at the start refers to.
    """
    whole = " ".join(sentence.replace(",", " , ").split()).rstrip(" .?!").replace(" ,", ",")
    flat, hedged, rude = whole, False, False
    if whole not in FILLERS:
        flat, hedged, rude = bare(whole)
    text = flat.replace(",", " ,")
    if flat in FILLERS:
        flag = FILLERS[flat]
        return Clause(
            "filler", flag, {}, hedged=hedged or flag == "hedge", rude=rude or flag == "rude"
        )
    if " " in flat and any(flat.startswith(g) for g in lexicon.GREETINGS):
        rest = flat
        for g in lexicon.GREETINGS:
            if flat.startswith(g):
                rest = flat[len(g) :].strip()
        if rest in lexicon.NAMES:
            return Clause("filler", "greeting", {"A": Phrase("I", rest)})
    words = text.split()
    extra: tuple[tuple[str, str, str], ...] = ()
    if len(words) > 2 and words[-2] == "," and words[-1] in lexicon.NAMES:
        extra = (("addressed", words[-1], ""),)
        words = words[:-2]
    words = [w for w in words if w != ","]
    for attempt in _without_connectors(words):
        pattern, found = phrases_of(attempt)
        entry = patterns().get(" ".join(pattern))
        if entry is None and last_subject and attempt and attempt[0] in _PRONOUNS:
            pattern, found = phrases_of(attempt, last_subject)
            entry = patterns().get(" ".join(pattern))
        if entry is None:
            if pattern and all(len(p) == 1 and p.isupper() for p in pattern) and len(found) == 1:
                return Clause(
                    "fragment", "", {}, hedged=hedged, rude=rude, fragment=tuple(found),
                    extra=extra,
                )  # fmt: skip
            continue
        kind, name, roles, denied = entry
        if len(roles) != len(found):
            continue
        by_role = {r: p for r, p in zip(roles, found, strict=True) if r != "_"}
        return Clause(kind, name, by_role, denied, hedged, rude, extra=extra)
    return None


def bare(text: str) -> tuple[str, bool, bool]:
    """A sentence without a hedging opener and a rude tail, and whether it had them."""
    hedged = rude = False
    for opener in lexicon.HEDGE_OPENERS:
        if text.startswith(opener + " "):
            text, hedged = text[len(opener) + 1 :], True
    for tail in lexicon.RUDE_TAILS:
        for ending in (", " + tail, ", " + tail.rstrip(".")):
            if text.endswith(ending):
                text, rude = text[: -len(ending)], True
    return text, hedged, rude


def _without_connectors(words: list[str]) -> list[list[str]]:
    """The words as they are, then with up to two connectors taken off the front."""
    attempts = [words]
    for _ in range(2):
        head = attempts[-1]
        for connector in CONNECTORS:
            size = len(connector.split())
            if head[:size] == connector.split() and len(head) > size:
                attempts.append(head[size:])
                break
        else:
            break
    return attempts


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with its final mark; a tail without one is kept as it is."""
    out: list[str] = []
    current = ""
    for character in text.replace("\n", " ").strip():
        current += character
        if character in ".?!":
            out.append(current.strip())
            current = ""
    if current.strip():
        out.append(current.strip())
    return out


def join(items: list[str]) -> str:
    """``"a, b and c"``."""
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]
