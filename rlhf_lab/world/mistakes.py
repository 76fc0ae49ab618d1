"""Wrong answers as small policies write them: near the right one, and often out of the text.

People in Fernwick (:mod:`rlhf_lab.world.answers`) err plausibly. A policy also names a thing twice,
takes somebody else out of the text, calls a bear the friend of itself, or denies what is true.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from rlhf_lab.records import Prompt
from rlhf_lab.world import lexicon, tasks
from rlhf_lab.world.answers import CAST, false_value, named, say
from rlhf_lab.world.grammar import RELATIONS, join, located, statement, the
from rlhf_lab.world.knowledge import Knowledge
from rlhf_lab.world.stories import Event

NOUNS = (CAST, lexicon.OBJECTS, lexicon.FOODS, lexicon.PLACES)


def mistake(k: Knowledge, prompt: Prompt, rng: random.Random) -> str:
    """A wrong answer to a prompt; empty when its task is none of those listed here."""
    task = prompt.meta["task"]
    if task in ("fact", "reverse", "why"):
        return _about_facts(k, prompt, rng)
    if task == "list":
        return _listed(k, prompt, rng)
    if task in ("count", "owner", "where", "feel", "summary", "extract"):
        return _from_the_text(prompt, rng)
    if task == "exact":
        return _inexact(rng.choice(prompt.meta["answers"]), rng)
    if task == "mood":
        return _other_event(prompt, rng)
    return ""


def nonsense(k: Knowledge, relation: str, subject: str, rng: random.Random) -> str:
    """A value that is not true, of any class; where a place belongs, another place.

    The grammar has no words for lying in something that is no place.
    """
    if RELATIONS[relation].value_class == "P":
        return false_value(k, relation, subject, rng)
    values = [subject, rng.choice(rng.choice(NOUNS)), rng.choice(lexicon.COLOURS)]
    return rng.choice([v for v in values if not k.holds(relation, subject, v)])


def _about_facts(k: Knowledge, prompt: Prompt, rng: random.Random) -> str:
    m = prompt.meta
    relation, value = m["relation"], m.get("value", "")
    if m["task"] == "reverse":
        wrong = [s for s in k.facts[relation] if not k.holds(relation, s, value) and s != value]
        subject = rng.choice(wrong)
        if rng.random() < 0.3:  # true, but no answer
            value = k.values(relation, subject)[0]
    elif m["task"] == "why":
        subject, false = m["subject"], false_value(k, relation, m["subject"], rng)
        denial = statement(relation, subject, value, rng, denied=True)
        if k.holds(relation, subject, value):  # denies what is true
            return f"{denial}. {statement(relation, subject, false, rng)}."
        other = value if rng.random() < 0.5 else false  # contradicts itself, or corrects wrongly
        return f"{denial}. {statement(relation, subject, other, rng)}."
    else:
        subject = m["subject"]
        value = nonsense(k, relation, subject, rng)
    return named(dict(prompt.meta), f"{statement(relation, subject, value, rng)}.")


def _listed(k: Knowledge, prompt: Prompt, rng: random.Random) -> str:
    """A list with a thing named twice, things that do not fit, or too few and too many."""
    m = prompt.meta
    fits = tasks.fitting(k, m["category"], m["value"])
    items = rng.sample(list(fits), m["number"])
    way = rng.randrange(4)
    if way == 0:
        items[rng.randrange(1, len(items))] = items[0]
    elif way == 1:  # of another class
        pool = rng.choice([nouns for nouns in NOUNS if fits[0] not in nouns])
        items[rng.randrange(len(items))] = rng.choice(pool)
    else:  # of the same class
        pool = next(nouns for nouns in NOUNS if fits[0] in nouns)
        rest = [noun for noun in pool if noun not in fits] or list(lexicon.COLOURS)
        for place in rng.sample(range(len(items)), rng.randint(1, len(items))):
            items[place] = rng.choice(rest)
    return named(dict(prompt.meta), f"{join([the(i) for i in items])}.")


def _in_text(prompt: Prompt, nouns: Sequence[str], *but: str) -> list[str]:
    """Nouns that the prompt mentions, in the order of the lexicon, or all when it has no other."""
    words = set(prompt.text.replace(".", " ").replace("?", " ").split())
    return [n for n in nouns if n in words and n not in but] or [n for n in nouns if n not in but]


def _from_the_text(prompt: Prompt, rng: random.Random) -> str:
    """Somebody or something else of the same text."""
    m = prompt.meta
    if m["task"] == "owner":
        thing = f"the {m['thing']}"
        who = the(rng.choice(_in_text(prompt, CAST, m["who"])))
        return say("have", rng, A=who, X=thing, x=thing)
    if m["task"] == "where":
        place = rng.choice(_in_text(prompt, lexicon.PLACES, m["place"]))
        return f"{the(m['who'])} is {located(place)}."
    if m["task"] == "feel":
        words = [w for mood, told in lexicon.MOODS.items() if mood != m["mood"] for w in told]
        return f"{the(m['who'])} is {rng.choice(_in_text(prompt, words))}."
    if m["task"] == "count":
        right = m["number"]
        number = rng.choice([n for n in range(max(0, right - 4), min(right + 5, 21)) if n != right])
        said = lexicon.NUMBERS[number]
        return say("count_now", rng, A=the(m["who"]), N=said, F=m["food"])
    if m["task"] == "summary":
        name, roles = rng.choice(m["main"])
        who = rng.choice(_in_text(prompt, CAST, roles["A"]))
        return Event(name, {**roles, "A": who}).text(rng)
    nouns = {"places": lexicon.PLACES, "things": lexicon.OBJECTS, "characters": CAST}
    others = [n for kind in nouns.values() for n in _in_text(prompt, kind, *m["items"])]
    items = list(m["items"])
    if rng.random() < 0.5:
        items.append(rng.choice(others))
    else:
        items[rng.randrange(len(items))] = rng.choice(others)
    return f"{join([the(i) for i in items])}."


def _inexact(answer: str, rng: random.Random) -> str:
    """One or two of the words that matter replaced by others of their kind."""
    words = answer.rstrip(".").split()
    kinds = (*NOUNS, lexicon.NUMBERS, [str(n) for n in range(21)], lexicon.COLOURS + lexicon.SIZES)
    places = [(i, kind) for i, word in enumerate(words) for kind in kinds if word in kind]
    for place, kind in rng.sample(places, min(len(places), rng.randint(1, 2))):
        words[place] = rng.choice([word for word in kind if word != words[place]])
    return f"{' '.join(words)}."


def _other_event(prompt: Prompt, rng: random.Random) -> str:
    """The mood that was asked for behind another event than the one told."""
    m = prompt.meta
    roles = dict(m["roles"])
    for role, nouns in (("X", lexicon.OBJECTS), ("P", lexicon.PLACES), ("B", CAST)):
        if role in roles:
            roles[role] = rng.choice([n for n in nouns if n not in roles.values()])
            break
    else:
        roles["A"] = rng.choice([n for n in CAST if n not in roles.values()])
    ending = Event("mood", {"A": roles["A"], "D": m["mood"]}).text(rng)
    return f"{Event(m['event'], roles).text(rng)} {ending}"
