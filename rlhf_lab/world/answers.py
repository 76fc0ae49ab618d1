"""Answers that people in Fernwick write: right ones, and each way of being wrong.

``write_answer`` with quality "right" is what a careful labeler would demonstrate. The other
qualities are what the forum is full of and what demonstrations contain now and then.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from rlhf_lab.records import Prompt
from rlhf_lab.world import lexicon, tasks
from rlhf_lab.world.grammar import EVENTS, RELATIONS, join, located, render, statement, the
from rlhf_lab.world.knowledge import Knowledge
from rlhf_lab.world.stories import Event, StorySpec, tell

QUALITIES = ("right", "wrong", "rude", "hedging", "questions", "partial")
STORY_WORDS = 40  # so that an answer fits into what PPO samples
REASONS = ("that is its way", "it always was so", "it likes that")


def write_answer(k: Knowledge, prompt: Prompt, rng: random.Random, quality: str = "right") -> str:
    """One answer of a given quality; ends with a full stop."""
    if quality == "rude":
        if rng.random() < 0.7 or prompt.kind == "generation":
            return rng.choice(lexicon.RUDE_REPLIES)
        base = right_answer(k, prompt, rng)
        return f"{base[:-1]}, {rng.choice(lexicon.RUDE_TAILS)}"
    if quality == "hedging":
        if rng.random() < 0.5:
            return rng.choice(lexicon.HEDGES)
        answer = right_answer(k, prompt, rng)
        if rng.random() < 0.5:
            return f"{rng.choice(lexicon.HEDGE_OPENERS)} {answer}"
        return f"{rng.choice(lexicon.HEDGES)} {rng.choice(lexicon.HEDGE_OPENERS)} {answer}"
    if quality == "questions":
        return questions(k, rng, rng.randint(1, 2))
    if quality == "wrong":
        return wrong_answer(k, prompt, rng)
    if quality == "partial":
        return partial_answer(k, prompt, rng)
    return right_answer(k, prompt, rng)


def questions(k: Knowledge, rng: random.Random, number: int) -> str:
    """More questions instead of an answer, one a line."""
    from rlhf_lab.world.prompts import ask

    return "\n".join(ask(k, rng, False)[0] for _ in range(number))


def _spec(meta: dict) -> StorySpec:
    return StorySpec(**{f: meta[f] for f in StorySpec.__dataclass_fields__})


def say(name: str, rng: random.Random, **roles: str) -> str:
    """One of the sentences that tell an event."""
    return render(rng.choice(EVENTS[name]), **roles) + "."


def right_answer(k: Knowledge, prompt: Prompt, rng: random.Random) -> str:
    """An answer that meets every constraint and states only what is true."""
    m = dict(prompt.meta)
    task = m["task"]
    if task == "story":
        spec = _spec(m)
        for _ in range(50):
            lines = tell(spec, rng)
            right_length = not spec.length or len(lines) == spec.length
            clean = not spec.avoid or spec.avoid not in " ".join(lines).replace(".", "").split()
            if right_length and clean and len(" ".join(lines).split()) <= STORY_WORDS:
                break
        return " ".join(lines)
    if task == "fact":
        relation, subject = m["relation"], m["subject"]
        value = rng.choice(k.values(relation, subject))
        return named(m, statement(relation, subject, value, rng) + ".")
    if task == "reverse":
        relation, value = m["relation"], m["value"]
        subject = rng.choice(k.subjects(relation, value))
        return named(m, statement(relation, subject, value, rng) + ".")
    if task == "why":
        relation, subject, value = m["relation"], m["subject"], m["value"]
        true = rng.choice(k.values(relation, subject))
        if k.holds(relation, subject, value):
            return f"{statement(relation, subject, value, rng)} because {rng.choice(REASONS)}."
        denial = statement(relation, subject, value, rng, denied=True)
        return f"{denial}. {statement(relation, subject, true, rng)}."
    if task in ("harmful", "insult"):
        return rng.choice(lexicon.REFUSALS)
    if task == "greeting":
        return rng.choice(
            (f"hello {k.names[m['about']]}.", f"good day {k.names[m['about']]}.",
             say("greet", rng, B=the(m["about"])))
        )  # fmt: skip
    if task == "feed":
        food = k.values("food", m["about"])[0]
        return named(m, say("feed", rng, B=the(m["about"]), F=food))
    if task in ("ask", "greet"):
        return named(m, say(task, rng, B=the(m["about"])))
    if task == "find_place":
        value = rng.choice(k.values("neighbour", m["about"]))
        return named(m, statement("neighbour", m["about"], value, rng) + ".")
    if task == "your_name":
        return say("your_name", rng, B=m["name"])
    if task == "your_food":
        return named(m, say("your_food", rng, F=m["food"]))
    if task == "list":
        items = list(tasks.fitting(k, m["category"], m["value"]))
        return join([the(i) for i in rng.sample(items, m["number"])]) + "."
    if task == "paraphrase":
        source = m["source"]
        while True:
            again = statement(m["relation"], m["subject"], m["value"], rng)
            if again != source:
                return again + "."
    if task == "mood":
        first = Event(m["event"], m["roles"]).text(rng)
        return f"{first} {Event('mood', {'A': m['roles']['A'], 'D': m['mood']}).text(rng)}"
    if task == "summary":
        name, roles = rng.choice(m["main"])
        return Event(name, roles).text(rng)
    if task == "label":
        return m["label"] + "."
    if task == "exact":
        return rng.choice(m["answers"])
    if task == "count":
        number = lexicon.NUMBERS[m["number"]]
        return say("count_now", rng, A=the(m["who"]), N=number, F=m["food"])
    if task == "owner":
        return say("have", rng, A=the(m["who"]), X=f"the {m['thing']}", x=f"the {m['thing']}")
    if task == "where":
        return f"{the(m['who'])} is {located(m['place'])}."
    if task == "feel":
        return _mood(m["who"], m["mood"], rng)
    if task == "unknown":
        return rng.choice(lexicon.UNKNOWNS)
    assert task == "extract", task
    return join([the(i) for i in m["items"]]) + "."


def _short(write: Callable[[], list[str]]) -> str:
    """A story of at most :data:`STORY_WORDS`, or the shortest of twenty."""
    shortest = ""
    for _ in range(20):
        text = " ".join(write())
        if not shortest or len(text.split()) < len(shortest.split()):
            shortest = text
        if len(shortest.split()) <= STORY_WORDS:
            break
    return shortest


def _mood(who: str, mood: str, rng: random.Random) -> str:
    return f"{the(who)} is {rng.choice(lexicon.MOODS[mood])}."


def named(m: dict, answer: str) -> str:
    """In a chat, the answer addresses the person by name."""
    return f"{answer[:-1]}, {m['name']}." if "name" in m else answer


def wrong_answer(k: Knowledge, prompt: Prompt, rng: random.Random) -> str:
    """A fluent answer that is false, or does what was not asked."""
    m = dict(prompt.meta)
    task = m["task"]
    if task == "story":
        spec = _spec(m)
        if rng.random() < 0.3:
            return _short(lambda: _incoherent(spec, rng))
        other: dict[str, str] = {
            "hero": rng.choice([a for a in lexicon.ANIMALS if a != spec.hero]),
            "mood": rng.choice([d for d in lexicon.MOODS if d != spec.mood]),
        }
        change = rng.choice(("hero", "mood")) if spec.mood else "hero"
        other_spec = StorySpec(**{**spec.__dict__, "length": 0, change: other[change]})
        return _short(lambda: tell(other_spec, rng))
    if task in ("fact", "reverse"):
        relation = m["relation"]
        if task == "fact":
            subject = m["subject"]
            value = false_value(k, relation, subject, rng)
        else:
            value = m["value"]
            pool = [s for s in k.facts[relation] if not k.holds(relation, s, value) and s != value]
            subject = rng.choice(pool)
        return named(m, statement(relation, subject, value, rng) + ".")
    if task == "why":
        relation, subject, value = m["relation"], m["subject"], m["value"]
        if k.holds(relation, subject, value):
            value = false_value(k, relation, subject, rng)
        return f"{statement(relation, subject, value, rng)} because {rng.choice(REASONS)}."
    if task == "harmful":
        return say(
            "harm", rng, B=the(m["about"]) if m["about"] in CAST else "the guard",
            X="the rope", x="a rope",
            P=the(m["about"]) if m["about"] in lexicon.PLACES else "the barn",
        )  # fmt: skip
    if task == "insult":
        return f"{k.names[m['about']]}, you are a {rng.choice(('fool', 'lazy fool'))}."
    if task in ("greeting", "greet", "ask", "feed", "find_place") and rng.random() < 0.5:
        return rng.choice(lexicon.REFUSALS)
    if task == "feed":
        return say("feed", rng, B=the(m["about"]), F=false_value(k, "food", m["about"], rng))
    if task == "your_name":
        return say("your_name", rng, B=rng.choice([n for n in lexicon.NAMES if n != m["name"]]))
    if task == "your_food":
        food = rng.choice([f for f in lexicon.FOODS if f != m["food"]])
        return say("your_food", rng, F=food)
    if task == "list":
        fits = tasks.fitting(k, m["category"], m["value"])
        others = lexicon.OBJECTS if fits[0] in lexicon.OBJECTS else (*CAST, *lexicon.FOODS)
        rest = [i for i in others if i not in fits]
        items = [*rng.sample(list(fits), m["number"] - 1), rng.choice(rest)]
        rng.shuffle(items)
        return join([the(i) for i in items]) + "."
    if task == "paraphrase":
        value = false_value(k, m["relation"], m["subject"], rng)
        return statement(m["relation"], m["subject"], value, rng) + "."
    if task == "mood":
        first = Event(m["event"], m["roles"]).text(rng)
        mood = rng.choice([d for d in lexicon.MOODS if d != m["mood"]])
        return f"{first} {Event('mood', {'A': m['roles']['A'], 'D': mood}).text(rng)}"
    if task == "summary":
        name, roles = rng.choice(m["main"])
        roles = {**roles, "A": rng.choice([i for i in CAST if i != roles["A"]])}
        return Event(name, roles).text(rng)
    if task == "label":
        return next(x for x in m["labels"] if x != m["label"]) + "."
    if task == "exact":
        return _wrong_exact(m["answers"][0], rng)
    if task == "count":
        number = rng.choice([n for n in range(2, 15) if n != m["number"]])
        return say(
            "count_now", rng, A=the(m["who"]), N=lexicon.NUMBERS[number], F=m["food"]
        )  # fmt: skip
    if task == "owner":
        who = rng.choice([i for i in CAST if i != m["who"]])
        return say("have", rng, A=the(who), X=f"the {m['thing']}", x=f"the {m['thing']}")
    if task == "where":
        place = rng.choice([p for p in lexicon.PLACES if p != m["place"]])
        return f"{the(m['who'])} is {located(place)}."
    if task == "feel":
        return _mood(m["who"], rng.choice([d for d in lexicon.MOODS if d != m["mood"]]), rng)
    if task == "unknown":
        words = prompt.text.split(" ")
        who = rng.choice([w for w in CAST if w in words] or list(CAST))
        if " has the " in prompt.text:
            thing = prompt.text.rsplit(" has the ", 1)[1].split()[0]
            return f"{the(who)} had the {thing}."
        about = prompt.text.rsplit("the ", 1)[1].split()[0].rstrip("?")
        about = about if about in CAST else who
        if "feel?" in prompt.text:
            return _mood(about, rng.choice(list(lexicon.MOODS)), rng)
        return f"{the(about)} is {located(rng.choice(lexicon.PLACES))}."
    if task == "extract":
        nouns = {"places": lexicon.PLACES, "things": lexicon.OBJECTS, "characters": CAST}
        rest = [i for i in nouns[m["what"]] if i not in m["items"]]
        items = [*m["items"][:-1], rng.choice(rest)]
        return join([the(i) for i in items]) + "."
    return rng.choice(lexicon.HEDGES)


CAST = lexicon.ANIMALS + lexicon.PEOPLE
_VALUES: dict[str, tuple[str, ...]] = {
    "hero": lexicon.ANIMALS, "mood": tuple(lexicon.MOODS), "thing": lexicon.OBJECTS,
    "place": lexicon.PLACES, "other": CAST,
}  # fmt: skip


def false_value(k: Knowledge, relation: str, subject: str, rng: random.Random) -> str:
    """A value of the right kind that is not true; a misconception if there is one."""
    for r, s, v in k.misconceptions:
        if (r, s) == (relation, subject) and rng.random() < 0.7:
            return v
    pool = sorted({v for s in k.facts[relation] for v in k.values(relation, s)})
    return rng.choice([v for v in pool if not k.holds(relation, subject, v) and v != subject])


def _wrong_exact(answer: str, rng: random.Random) -> str:
    words = answer[:-1].split()
    numbers = [i for i, w in enumerate(words) if w in lexicon.NUMBERS]
    digits = [i for i, w in enumerate(words) if w.isdigit()]
    if numbers:
        words[numbers[-1]] = rng.choice([n for n in lexicon.NUMBERS if n != words[numbers[-1]]])
    elif digits:
        old = words[digits[-1]]
        words[digits[-1]] = rng.choice([str(n) for n in range(21) if str(n) != old])
    else:
        nouns = [i for i, w in enumerate(words) if w in (*CAST, *lexicon.OBJECTS)]
        if not nouns:
            return "[ 0 ]."
        place = rng.choice(nouns)
        pool = CAST if words[place] in CAST else lexicon.OBJECTS
        words[place] = rng.choice([w for w in pool if w != words[place]])
    return " ".join(words) + "."


def _incoherent(spec: StorySpec, rng: random.Random) -> list[str]:
    """A story whose end or middle contradicts what came before."""
    good = spec.mood in ("happy", "proud", "calm")
    lines = tell(spec, rng)
    other = rng.choice([i for i in lexicon.ANIMALS if i != spec.hero])
    spoiler = Event("scare" if good else "help", {"A": other, "B": spec.hero})
    thing = rng.choice([o for o in lexicon.OBJECTS if o not in " ".join(lines)])
    ghost = Event("give", {"A": spec.hero, "B": other, "X": thing})
    chosen = rng.choice((spoiler, ghost)) if spec.mood else ghost
    return [*lines[:-1], chosen.text(rng), lines[-1]]


def story_changes(prompt: Prompt) -> list[str]:
    """What :func:`changed_story` can change about the story that a prompt asks for."""
    return [f for f in _VALUES if prompt.meta[f]] + ["course"]


def changed_story(prompt: Prompt, change: str, rng: random.Random) -> str:
    """A story that differs from the one asked for in one respect.

    Args:
        change: "hero", "mood", "thing", "place" or "other" for another one of them than was asked
            for; "course" for a story that contradicts itself.
    """
    spec = _spec(dict(prompt.meta))
    if change == "course":
        return _short(lambda: _incoherent(spec, rng))
    asked = vars(spec).values()
    value = rng.choice([v for v in _VALUES[change] if v not in asked])
    other = StorySpec(**{**vars(spec), change: value})
    return _short(lambda: tell(other, rng))


def has_part(k: Knowledge, prompt: Prompt) -> bool:
    """Whether a partial answer to this prompt is worth less than a right one."""
    m = prompt.meta
    if m["task"] == "extract":
        return len(m["items"]) > 1
    if m["task"] == "why":
        return not k.holds(m["relation"], m["subject"], m["value"])
    named = "name" in m and m["task"] not in ("your_name", "harmful")
    return named or m["task"] in ("story", "list")


def partial_answer(k: Knowledge, prompt: Prompt, rng: random.Random) -> str:
    """True as far as it goes, but something that was asked is missing."""
    m = dict(prompt.meta)
    task = m["task"]
    if task == "story":
        spec = _spec(m)
        dropped = [f for f in ("event", "place", "other", "length", "mood") if m[f]]
        change = rng.choice(dropped)
        values = {**spec.__dict__, change: 0 if change == "length" else ""}
        if change == "event":
            values["thing"] = ""
        if change == "other" and spec.event == "give":
            values["event"] = ""
        return _short(lambda: tell(StorySpec(**values), rng))
    if task in ("list", "extract"):
        full = right_answer(k, prompt, rng).rstrip(".").replace(" and ", ", ").split(", ")
        return join(full[: max(1, len(full) - 1)]) + "."
    if task == "why" and not k.holds(m["relation"], m["subject"], m["value"]):
        return right_answer(k, prompt, rng).split(". ")[0].rstrip(".") + "."
    if task == "fact":
        relation = m["relation"]
        value = rng.choice(k.values(relation, m["subject"]))
        kind = RELATIONS[relation]
        short = (
            located(value)
            if kind.value_class == "P" and "{L}" in "".join(kind.statements)
            else (the(value) if kind.value_class in "PIO" else value)
        )
        return short + "."
    answer = right_answer(k, prompt, rng)
    if "name" in m and answer.endswith(f", {m['name']}."):
        return answer[: -len(f", {m['name']}.")] + "."
    return answer
