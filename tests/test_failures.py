"""The three failures, counted on answers that were written by hand."""

from __future__ import annotations

from itertools import product

import pytest

from rlhf_lab import failures
from rlhf_lab.errors import InputError
from rlhf_lab.records import Prompt
from rlhf_lab.world import World
from rlhf_lab.world.answers import REASONS
from rlhf_lab.world.grammar import statement

WORLD = World(0)
FALSE = WORLD.prompts("test", 40, kind="open_qa", hard="false premise")
MANY = [p for p in WORLD.prompts("test", 40, kind="generation", hard="constraints")
        if p.meta["task"] == "story"]  # fmt: skip


def said(prompt: Prompt, value: str, denied: bool = False) -> str:
    m, rng = prompt.meta, WORLD._rng("test of failures")
    return statement(m["relation"], m["subject"], value, rng, denied=denied)


def test_replies_to_a_premise():
    for prompt in FALSE:
        m = prompt.meta
        known = WORLD.knowledge.values(m["relation"], m["subject"])
        wrong = next(
            v for s in WORLD.knowledge.facts[m["relation"]]
            for v in WORLD.knowledge.values(m["relation"], s)
            if v not in (*known, m["value"], m["subject"])
        )  # fmt: skip
        denial = said(prompt, m["value"], denied=True)
        replies = {
            f"{said(prompt, m['value'])} because {REASONS[0]}.": "accepted",
            f"{denial}. {said(prompt, known[0])}.": "corrected",
            f"{said(prompt, known[0])}.": "corrected",
            f"{denial}.": "denied",
            f"{said(prompt, wrong)}.": "another claim",
            f"{denial}. {said(prompt, m['value'])}.": "accepted",
            "nobody can be sure.": "no claim",
            "": "no claim",
        }
        for text, reply in replies.items():
            assert failures.premise_reply(WORLD, prompt, text) == reply, text


def test_a_true_premise_can_be_denied_but_not_corrected():
    for prompt in FALSE[:10]:
        twin = failures.true_twin(WORLD, prompt)
        m = twin.meta
        assert WORLD.knowledge.holds(m["relation"], m["subject"], m["value"])
        assert twin.text != prompt.text and twin.text.startswith("why ")
        right = WORLD.answer(twin)
        assert failures.premise_reply(WORLD, twin, right) == "accepted"
        denial = f"{said(twin, m['value'], denied=True)}."
        assert failures.premise_reply(WORLD, twin, denial) == "denied"
        assert failures.premise_reply(WORLD, twin, WORLD.answer(prompt)) != "corrected"


def test_right_answers_correct_and_wrong_ones_accept():
    for prompt in FALSE:
        assert failures.premise_reply(WORLD, prompt, WORLD.answer(prompt)) == "corrected"
        wrong = WORLD.answer(prompt, 0, "wrong")
        assert failures.premise_reply(WORLD, prompt, wrong) == "accepted"


def test_a_question_without_bait_is_asked_plainly():
    for prompt in WORLD.prompts("test", 20, kind="open_qa", hard="hedge bait"):
        plain = failures.without_bait(prompt)
        assert prompt.text.endswith(plain.text) and plain.text != prompt.text
        assert plain.meta["hard"] == "" and plain.meta["task"] == prompt.meta["task"]
    with pytest.raises(InputError, match="hedge bait"):
        failures.without_bait(plain)


def test_hedges():
    prompt = WORLD.prompt(0, "test", kind="open_qa", hard="hedge bait")
    for index in range(12):
        assert failures.hedges(WORLD.answer(prompt, index, "hedging"))
        assert not failures.hedges(WORLD.answer(prompt, index))
    assert not failures.hedges("")


def test_right_stories_meet_all_constraints():
    seen = set()
    for prompt in MANY:
        met = failures.constraints_met(WORLD, prompt, WORLD.answer(prompt))
        assert tuple(met) == failures.constraints(prompt) and all(met.values())
        seen |= set(met)
        assert not any(failures.constraints_met(WORLD, prompt, "nobody can be sure.").values())
    assert seen == set(failures.CONSTRAINTS)


def test_one_constraint_broken_is_one_constraint_broken():
    for prompt in MANY:
        story, m = WORLD.answer(prompt), prompt.meta
        if m["length"]:
            longer = f"{story} {story.rsplit('. ', 1)[-1]}"
            met = failures.constraints_met(WORLD, prompt, longer)
            assert not met.pop("length") and all(met.values())
        if m["avoid"]:
            met = failures.constraints_met(WORLD, prompt, f"the {m['avoid']} is happy. {story}")
            assert not met["avoid"]


def test_the_share_met_agrees_with_the_judges():
    """The judge also counts the hero and an ending."""
    for prompt, quality in product(MANY, ("right", "wrong", "partial")):
        text = WORLD.answer(prompt, 1, quality)
        met = failures.constraints_met(WORLD, prompt, text)
        follows = WORLD.attributes(prompt, text).follows
        judged = round(follows * (len(met) + 2))
        assert sum(met.values()) <= judged <= sum(met.values()) + 2


def test_all_met_if_independent_by_counting_cases():
    """Rates in quarters, so that 64 equally likely cases can be counted."""
    quarters = (3, 2, 1)
    cases = [all(c < q for c, q in zip(case, quarters, strict=True))
             for case in product(range(4), repeat=3)]  # fmt: skip
    found = failures.all_met_if_independent([q / 4 for q in quarters])
    assert found == pytest.approx(sum(cases) / len(cases), abs=1e-12)
    assert failures.all_met_if_independent([]) == 1.0
    with pytest.raises(InputError, match="percent"):
        failures.all_met_if_independent([90, 50])


@pytest.mark.parametrize("call", [failures.true_twin, failures.premise_reply])
def test_other_prompts_are_refused(call):
    other = WORLD.prompt(0, "test", kind="brainstorming")
    arguments = (WORLD, other) if call is failures.true_twin else (WORLD, other, "yes.")
    with pytest.raises(InputError, match="why"):
        call(*arguments)
    with pytest.raises(InputError, match="story"):
        failures.constraints(other)
