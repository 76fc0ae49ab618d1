"""Stories: events with effects on a state, written forward and checked when read.

A story is coherent when no event contradicts the state: nobody gives away what they do not have,
nobody is glad right after being robbed, and counts add up.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rlhf_lab.world import lexicon
from rlhf_lab.world.grammar import EVENTS, Clause, Phrase, indefinite, located, the

GOOD_MOODS = ("happy", "proud", "calm")
BAD_MOODS = ("sad", "angry", "afraid")


@dataclass
class State:
    """What holds after the events so far.

    Attributes:
        place: inhabitant to place.
        owner: thing to inhabitant, or None when nobody has it.
        thing_place: thing to the place where it was left or found.
        feeling: inhabitant to +1 or -1 after the last event that touched them.
        mood: inhabitant to mood word class.
        count: (inhabitant, food) to number.
        contradictions: one line for each event that the state did not allow.
    """

    place: dict[str, str] = field(default_factory=dict)
    owner: dict[str, str | None] = field(default_factory=dict)
    thing_place: dict[str, str] = field(default_factory=dict)
    feeling: dict[str, int] = field(default_factory=dict)
    mood: dict[str, str] = field(default_factory=dict)
    count: dict[tuple[str, str], int] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)

    def _wrong(self, reason: str) -> None:
        self.contradictions.append(reason)

    def _at(self, who: str, place: str) -> None:
        if self.place.get(who, place) != place:
            self._wrong(f"{who} is at the {self.place[who]}, not at the {place}")
        self.place[who] = place

    def _needs(self, who: str, thing: str) -> None:
        if self.owner.get(thing) != who:
            self._wrong(f"{who} does not have the {thing}")

    def apply(self, event: str, roles: Mapping[str, str]) -> None:
        """Change the state by one event; ``roles`` maps A, B, X, L, P, N, F, D to entities."""
        a = roles.get("A", "")
        b = roles.get("B", "")
        thing = roles.get("X", "")
        if b and a == b:
            self._wrong(f"{a} cannot do that to itself")
            return
        if event == "go":
            self.place[a] = roles["P"]
        elif event in ("find", "find_here", "buy"):
            if "L" in roles:
                self._at(a, roles["L"])
            if self.owner.get(thing) not in (None, a):
                self._wrong(f"{self.owner[thing]} has the {thing}")
            self._hand(thing, a)
            self.feeling[a] = 1
        elif event == "take":
            if thing not in self.owner or self.owner[thing] not in (None, a):
                self._wrong(f"{a} cannot take the {thing}")
            self._hand(thing, a)
        elif event == "give":
            self._needs(a, thing)
            self._hand(thing, b)
            self.feeling[b] = 1
        elif event == "steal":
            self._needs(b, thing)
            self._hand(thing, a)
            self.feeling[b] = -1
        elif event in ("lose", "hide", "break"):
            self._needs(a, thing)
            if event != "break":
                if "L" in roles:
                    self._at(a, roles["L"])
                self.owner[thing] = None
                if a in self.place:
                    self.thing_place[thing] = self.place[a]
            if event != "hide":
                self.feeling[a] = -1
        elif event == "mend":
            self._needs(a, thing)
            self.feeling[a] = 1
        elif event == "meet":
            if "L" in roles:
                self._at(a, roles["L"])
        elif event == "help":
            self.feeling[a] = self.feeling[b] = 1
        elif event == "thank":
            self.feeling[b] = 1
        elif event in ("tease", "scare"):
            self.feeling[b] = -1
        elif event == "rest":
            self._at(a, roles["L"])
            self.feeling.setdefault(a, 1)
        elif event in ("joy", "sorrow", "rage", "shake"):
            wanted = 1 if event == "joy" else -1
            if self.feeling.get(a, wanted) != wanted:
                self._wrong(f"{a} has no reason for this")
            self.feeling[a] = wanted
        elif event == "have":
            if self.owner.get(thing, a) != a:
                self._wrong(f"{a} does not have the {thing}")
            self.owner[thing] = a
        elif event == "count":
            self.count[a, roles["F"]] = lexicon.NUMBERS.index(roles["N"])
        elif event == "count_now":
            self._counted(a, roles)
        elif event in ("count_give", "count_eat"):
            key = (a, roles["F"])
            number = lexicon.NUMBERS.index(roles["N"])
            if event == "count_eat" and self.count.get(key, 0) < number:
                self._wrong(f"{a} does not have so many {roles['F']}")
            if key in self.count:
                self.count[key] = max(0, self.count[key] - number)
            if b and (b, roles["F"]) in self.count:
                self.count[b, roles["F"]] += number
        elif event == "mood":
            mood = roles["D"]
            wanted = 1 if mood in GOOD_MOODS else -1
            if self.feeling.get(a, wanted) != wanted:
                self._wrong(f"{a} has no reason to be {mood}")
            self.feeling[a] = wanted
            self.mood[a] = mood

    def _hand(self, thing: str, who: str) -> None:
        self.owner[thing] = who
        self.thing_place.pop(thing, None)

    def _counted(self, who: str, roles: Mapping[str, str]) -> None:
        key = (who, roles["F"])
        number = lexicon.NUMBERS.index(roles["N"])
        if key in self.count and self.count[key] != number:
            self._wrong(f"{who} has {self.count[key]} {roles['F']}, not {number}")
        self.count[key] = number


def roles_of(clause: Clause, persons: Mapping[str, str]) -> dict[str, str]:
    """Role letters to entities, with first names resolved to persons."""

    def entity(phrase: Phrase) -> str:
        return persons.get(phrase.entity, phrase.entity)

    return {role: entity(phrase) for role, phrase in clause.roles.items()}


@dataclass(frozen=True)
class Event:
    """One event of a story: its name and who or what plays each role."""

    name: str
    roles: Mapping[str, str]

    def text(self, rng: random.Random, connector: str = "") -> str:
        """A sentence with full stop. ``x`` is a thing mentioned for the first time."""
        fitting = [
            t
            for t in EVENTS[self.name]
            if ("{L}" in t) == ("L" in self.roles) or "{L}" not in "".join(EVENTS[self.name])
        ]
        template = rng.choice(fitting or list(EVENTS[self.name]))
        roles = self.roles
        thing = roles.get("X", "")
        sentence = template.format(
            A=the(roles.get("A", "")),
            B=the(roles.get("B", "")),
            X=f"the {thing}",
            x=indefinite(thing) if thing else "",
            P=the(roles.get("P", "")),
            L=located(roles["L"]) if "L" in roles else "",
            N=roles.get("N", ""),
            F=roles.get("F", ""),
            D=rng.choice(lexicon.MOODS[roles["D"]]) if "D" in roles else "",
        )
        if connector and not sentence.startswith("in the end"):
            sentence = f"{connector} {sentence}"
        return sentence + "."


@dataclass(frozen=True)
class StorySpec:
    """What a story must contain; an empty field is free.

    Attributes:
        hero: inhabitant the story is about.
        mood: how the hero feels at the end.
        event: what the hero does with ``thing``: find, lose, give, buy or mend.
        place: where it happens.
        other: another inhabitant who must appear.
        length: number of sentences.
        avoid: an inhabitant or a thing that must not be mentioned.
    """

    hero: str
    mood: str = ""
    event: str = ""
    thing: str = ""
    place: str = ""
    other: str = ""
    length: int = 0
    avoid: str = ""


def tell(spec: StorySpec, rng: random.Random) -> list[str]:
    """A coherent story that meets every constraint of ``spec``, as sentences."""
    hero = spec.hero
    banned = {hero, spec.avoid}
    other = spec.other or rng.choice([i for i in _CAST if i not in banned])
    place = spec.place or rng.choice(lexicon.PLACES)
    mood = spec.mood or rng.choice((*GOOD_MOODS, *BAD_MOODS))
    thing = spec.thing or rng.choice([o for o in lexicon.OBJECTS if o != spec.avoid])
    event = spec.event
    events: list[Event] = [Event("go", {"A": hero, "P": place})]
    if event in ("", "find", "lose", "give", "mend") and not (not event and rng.random() < 0.35):
        events.append(Event("find_here", {"A": hero, "X": thing}))
        has_thing = True
    elif event == "buy":
        events.append(Event("buy", {"A": hero, "X": thing}))
        has_thing = True
    else:
        has_thing = False
    met = False
    if event == "lose":
        events.append(Event("lose", {"A": hero, "X": thing}))
        has_thing = False
    elif event == "give":
        events.append(Event("give", {"A": hero, "B": other, "X": thing}))
        has_thing, met = False, True
    elif event == "mend":
        events.append(Event("mend", {"A": hero, "X": thing}))
    cause = _cause(mood, hero, other, thing, place, has_thing and event != "mend", rng)
    needs_other = bool(spec.other) and not met and not any("B" in e.roles for e in cause)
    if needs_other and not any(other == r for e in cause for r in e.roles.values()):
        events.append(Event("meet", {"A": hero, "B": other}))
    events.extend(cause)
    ending = Event("mood", {"A": hero, "D": mood})
    if spec.length:
        events = _fit(events, replace(spec, mood=mood), other)
    chosen = [*events, ending]
    connectors = ["one day", "there", "then", "after that", "soon", "later", "at last"]
    out = []
    for i, e in enumerate(chosen):
        connector = ""
        if i == 0:
            connector = rng.choice(("one day", "one morning", "one evening", ""))
        elif i == len(chosen) - 1:
            connector = rng.choice(("", "so", "at last"))
        elif rng.random() < 0.6:
            connector = rng.choice(connectors[1:-1]) if i > 1 else rng.choice(("there", "then"))
        out.append(e.text(rng, connector))
    return out


_CAST = lexicon.ANIMALS + lexicon.PEOPLE


def _cause(
    mood: str, hero: str, other: str, thing: str, place: str, has: bool, rng: random.Random
) -> list[Event]:
    """Events after which the hero has reason for the mood."""
    robbed = Event("steal", {"A": other, "B": hero, "X": thing})
    choices: dict[str, list[list[Event]]] = {
        "happy": [
            [Event("help", {"A": other, "B": hero})],
            [Event("thank", {"A": other, "B": hero})],
        ],
        "proud": [
            [Event("help", {"A": hero, "B": other})],
            [Event("thank", {"A": other, "B": hero})],
        ],
        "calm": [[Event("rest", {"A": hero, "L": place})]],
        "sad": [[Event("tease", {"A": other, "B": hero})]],
        "angry": [[Event("tease", {"A": other, "B": hero})]],
        "afraid": [[Event("scare", {"A": other, "B": hero})]],
    }
    options = choices[mood]
    if has:
        options = options + {
            "happy": [[Event("mend", {"A": hero, "X": thing})]],
            "proud": [[Event("mend", {"A": hero, "X": thing})]],
            "sad": [[robbed], [Event("lose", {"A": hero, "X": thing})]],
            "angry": [[robbed]],
        }.get(mood, [])
    if mood == "calm":
        return (
            [Event("help", {"A": other, "B": hero}), *choices["calm"][0]]
            if not has
            else (choices["calm"][0])
        )
    return rng.choice(options)


def _fit(events: list[Event], spec: StorySpec, other: str) -> list[Event]:
    """As many events as ``spec.length`` leaves room for, the ending counted."""
    want = spec.length - 1
    while len(events) > want:
        removable = [i for i, e in enumerate(events) if _removable(i, events, spec)]
        if not removable:
            break
        events = [e for i, e in enumerate(events) if i != removable[0]]
    while len(events) < want:
        events = [*events[:1], Event("meet", {"A": spec.hero, "B": other}), *events[1:]]
        if len(events) < want:
            events = [*events, Event("mood", {"A": spec.hero, "D": spec.mood})]
            break
    return events


def _removable(index: int, events: list[Event], spec: StorySpec) -> bool:
    rest = events[:index] + events[index + 1 :]
    state = State()
    for e in rest:
        state.apply(e.name, e.roles)
    if spec.mood:
        state.apply("mood", {"A": spec.hero, "D": spec.mood})
    if state.contradictions:
        return False
    names = {e.name for e in rest}
    if spec.event == "find" and not names & {"find_here", "find"}:
        return False
    if spec.event and spec.event != "find" and spec.event not in names:
        return False
    entities = {v for e in rest for v in e.roles.values()}
    needed = {spec.place, spec.other, spec.hero} - {""}
    return needed <= entities


def wander(
    rng: random.Random, length: int, *, cast: int = 2
) -> tuple[list[Event], State, list[str]]:
    """A longer coherent story: ``length`` events of up to ``cast`` inhabitants, then moods.

    Returns the events, the final state, and the people in it.
    """
    people = rng.sample(_CAST, cast)
    place = rng.choice(lexicon.PLACES)
    events: list[Event] = []
    state = State()

    def do(name: str, **roles: str) -> None:
        event = Event(name, roles)
        state.apply(name, roles)
        events.append(event)

    hero = people[0]
    do("go", A=hero, P=place)
    things = rng.sample(lexicon.OBJECTS, 3)
    while len(events) < length - 1:
        a, b = rng.sample(people, 2)
        owned = [t for t, o in state.owner.items() if o == a]
        free = [t for t in things if t not in state.owner]
        roll = rng.random()
        if roll < 0.22 and free:
            do("find_here" if a in state.place else "buy", A=a, X=free[0])
        elif roll < 0.42 and owned:
            do("give", A=a, B=b, X=rng.choice(owned))
        elif roll < 0.5 and owned:
            do("steal", A=b, B=a, X=rng.choice(owned))
        elif roll < 0.56 and owned:
            do(rng.choice(("lose", "mend", "break")), A=a, X=rng.choice(owned))
        elif roll < 0.6:
            do("go", A=a, P=rng.choice(lexicon.PLACES))
        elif roll < 0.65 and a in state.place:
            do("rest", A=a, L=state.place[a])
        elif roll < 0.86:
            do(rng.choice(("meet", "help", "thank", "tease", "scare")), A=a, B=b)
        elif a in state.feeling:
            good = state.feeling[a] > 0
            do("joy" if good else rng.choice(("sorrow", "rage", "shake")), A=a)
        else:
            do("meet", A=a, B=b)
    felt = [p for p in people if p in state.feeling] or [hero]
    who = rng.choice(felt)
    good = state.feeling.get(who, 1) > 0
    do("mood", A=who, D=rng.choice(GOOD_MOODS if good else BAD_MOODS))
    return events, state, people


def write(events: list[Event], rng: random.Random) -> list[str]:
    """The sentences of a sequence of events."""
    out = []
    for i, event in enumerate(events):
        connector = ""
        if i == 0:
            connector = rng.choice(("one day", "one morning", "one evening"))
        elif rng.random() < 0.4:
            connector = rng.choice(("then", "after that", "soon", "later"))
        out.append(event.text(rng, connector))
    return out


def count_story(rng: random.Random) -> tuple[list[str], str, str, int]:
    """A story about numbers of things: its sentences, the owner, the food, the final number."""
    a, b = rng.sample(_CAST, 2)
    food = rng.choice(lexicon.COUNTABLE_FOODS)
    number = rng.randint(4, 10)
    state = State()
    steps: list[tuple[str, dict[str, str]]] = [
        ("count", {"A": a, "N": lexicon.NUMBERS[number], "F": food})
    ]
    for _ in range(rng.randint(1, 2)):
        if rng.random() < 0.5 and number <= 14:
            change = rng.randint(2, 5)
            number += change
            steps.append(("count_give", {"A": b, "B": a, "N": lexicon.NUMBERS[change], "F": food}))
        elif number > 4:
            change = rng.randint(2, number - 2)
            number -= change
            name = rng.choice(("count_eat", "count_give"))
            roles = {"A": a, "N": lexicon.NUMBERS[change], "F": food}
            if name == "count_give":
                roles["B"] = b
            steps.append((name, roles))
    for name, roles in steps:
        state.apply(name, roles)
    lines = [Event(name, roles).text(rng) for name, roles in steps]
    return lines, a, food, number
