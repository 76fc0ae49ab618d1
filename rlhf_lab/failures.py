"""How an answer fails where InstructGPT still failed: premises, hedges, several constraints.

The judge of Fernwick gives an answer one number for what it follows and one for its truth. Here is
what it says about the three failures of Ouyang et al. (2022, §4.3) one by one: whether a false
premise is accepted, whether an answer hedges, and which of several constraints it meets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from rlhf_lab.errors import InputError
from rlhf_lab.records import Prompt
from rlhf_lab.world import World
from rlhf_lab.world.grammar import RELATIONS, fill
from rlhf_lab.world.judge import read
from rlhf_lab.world.prompts import BAIT, UNSEEN_BAIT

PREMISE_REPLIES = ("accepted", "corrected", "denied", "another claim", "no claim")
CONSTRAINTS = ("mood", "event", "place", "other", "length", "avoid")


def premise_reply(world: World, prompt: Prompt, text: str) -> str:
    """What an answer does with the premise of a "why" question, from :data:`PREMISE_REPLIES`.

    ``accepted``: it states the premise; ``corrected``: it states what is true instead, with or
    without a denial (only of a false premise); ``denied``: it says that the premise is not so and
    nothing else; ``another claim``: it says something else about the same matter; ``no claim``: it
    says nothing about it.

    Args:
        world: the prompt's.
        prompt: a "why" question, whether its premise is true or false.
        text: the answer.

    Raises:
        InputError: for a prompt that asks something else.
    """
    asked = _premise(prompt)
    facts = read(text.strip()).of_kind("fact")
    about = [c for c in facts if world.judge.assertion(c)[:2] == asked[:2]]
    stated = [world.judge.assertion(c)[2] for c in about if not c.denied]
    if asked[2] in stated:
        return "accepted"
    if any(world.knowledge.holds(*asked[:2], value) for value in stated):
        return "corrected" if not world.knowledge.holds(*asked) else "another claim"
    if stated:
        return "another claim"
    if any(world.judge.assertion(c)[2] == asked[2] for c in about):
        return "denied"
    return "another claim" if about else "no claim"


def true_twin(world: World, prompt: Prompt) -> Prompt:
    """The same "why" question with a true premise, about the same subject and relation.

    Raises:
        InputError: for a prompt that is no "why" question.
    """
    relation, subject, _ = _premise(prompt)
    value = world.knowledge.values(relation, subject)[0]
    text = fill(RELATIONS[relation].why, relation, subject, value) + "\n"
    return Prompt(text, prompt.kind, {**prompt.meta, "hard": "", "value": value})


def without_bait(prompt: Prompt) -> Prompt:
    """The same question without the words that make it sound deep.

    Raises:
        InputError: for a prompt that has none.
    """
    for bait in (*BAIT, *UNSEEN_BAIT):
        if f"{bait} " in prompt.text:
            text = prompt.text.replace(f"{bait} ", "")
            return Prompt(text, prompt.kind, {**prompt.meta, "hard": ""})
    raise InputError("prompt", prompt.text, "a hedge bait", "draw prompts with hard='hedge bait'")


def hedges(text: str) -> bool:
    """Whether any sentence of an answer hedges."""
    return read(text.strip()).hedged > 0


def constraints(prompt: Prompt) -> tuple[str, ...]:
    """What a request for a story asks for, besides its hero, from :data:`CONSTRAINTS`.

    To whom something is given is a part of that event.

    Raises:
        InputError: for a prompt that asks for no story.
    """
    m = _story(prompt)
    given = ("other",) if m["event"] == "give" else ()
    return tuple(name for name in CONSTRAINTS if m[name] and name not in given)


def constraints_met(world: World, prompt: Prompt, text: str) -> dict[str, bool]:
    """Which of the constraints of a story an answer meets: the judge is asked about one at a time.

    A text of fewer than two events is no story and meets none.
    """
    m = _story(prompt)
    nothing = {**m, **dict.fromkeys(CONSTRAINTS, ""), "length": 0}

    def met(meta: dict, checks: int) -> int:
        asked = Prompt(prompt.text, prompt.kind, meta)
        return round(world.attributes(asked, text).follows * checks)

    # The judge always looks at the hero and at how the story ends: two checks.
    plain = met(nothing, 2)
    found = {}
    for name in constraints(prompt):
        one = {**nothing, name: m[name]}
        if name == "event":
            one["other"] = m["other"] if m["event"] == "give" else ""
        found[name] = met(one, 3) > plain
    return found


def all_met_if_independent(rates: Iterable[float]) -> float:
    """How often all constraints would be met, were each met by itself at its rate: Π_c p_c
    (``eq-all-met``).

    Raises:
        InputError: for a rate outside of 0 to 1.
    """
    given = list(rates)
    for rate in given:
        if not 0 <= rate <= 1:
            raise InputError("rates", rate, "0 to 1", "give shares, not percent")
    return math.prod(given)


def _premise(prompt: Prompt) -> tuple[str, str, str]:
    m = prompt.meta
    if m["task"] != "why":
        raise InputError("prompt", prompt.text, "a 'why' question", "choose another prompt")
    return m["relation"], m["subject"], m["value"]


def _story(prompt: Prompt) -> dict:
    if prompt.meta["task"] != "story":
        raise InputError("prompt", prompt.text, "a request for a story", "choose another prompt")
    return dict(prompt.meta)
