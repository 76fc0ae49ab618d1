"""What the grammar writes, it reads back: every template, for many subjects and values."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_lab.world import lexicon
from rlhf_lab.world.grammar import (
    CONNECTORS,
    EVENTS,
    FILLERS,
    RELATIONS,
    fill,
    indefinite,
    join,
    located,
    parse,
    sentences,
    the,
)
from rlhf_lab.world.knowledge import make_knowledge
from rlhf_lab.world.stories import Event
from rlhf_lab.world.tasks import mentioned

KNOWLEDGE = make_knowledge(0)
CAST = lexicon.ANIMALS + lexicon.PEOPLE
TEMPLATES = [
    (relation.name, template, denied)
    for relation in RELATIONS.values()
    for denied, group in ((False, relation.statements), (True, relation.denials))
    for template in group
]


@pytest.mark.parametrize("relation, template, denied", TEMPLATES)
def test_every_fact_template_of_every_subject(relation, template, denied):
    values = sorted({v for s in KNOWLEDGE.facts[relation] for v in KNOWLEDGE.values(relation, s)})
    rng = random.Random(template)
    for subject in KNOWLEDGE.facts[relation]:
        for value in {*KNOWLEDGE.values(relation, subject), *rng.sample(values, 2)} - {subject}:
            clause = parse(fill(template, relation, subject, value) + ".")
            assert clause is not None, fill(template, relation, subject, value)
            found = (
                clause.kind,
                clause.name,
                clause.roles["S"].entity,
                clause.roles["O"].entity,
                clause.denied,
            )
            assert found == ("fact", relation, subject, value, denied)


@pytest.mark.parametrize(
    "name, template", [(n, t) for n, templates in EVENTS.items() for t in templates]
)
def test_every_event_template(name, template):
    rng = random.Random(template)
    things = (*lexicon.OBJECTS, *(lexicon.FOODS if "{x}" in template else ()))
    for _ in range(40):
        a, b = rng.sample(CAST, 2)
        thing, place = rng.choice(things), rng.choice(lexicon.PLACES)
        food, number = rng.choice(lexicon.FOODS), rng.choice(lexicon.NUMBERS)
        mood = rng.choice(list(lexicon.MOODS))
        sentence = template.format(
            A=the(a), B=the(b), X=f"the {thing}", x=indefinite(thing), P=the(place),
            L=located(place), N=number, F=food, D=rng.choice(lexicon.MOODS[mood]),
        )  # fmt: skip
        slots = {"A": a, "B": b, "X": thing, "x": thing, "P": place, "L": place, "N": number,
                 "F": food, "D": mood}  # fmt: skip
        expected = {s.upper(): v for s, v in slots.items() if f"{{{s}}}" in template}
        clause = parse(sentence)
        assert clause is not None, sentence
        assert (clause.kind, clause.name) == ("event", name), sentence
        assert {r: p.entity for r, p in clause.roles.items()} == expected, sentence


def test_names_stand_for_people():
    clause = parse("mira gave the key to the fox.")
    assert clause is not None
    assert clause.roles["A"].entity == "mira"


@pytest.mark.parametrize("connector", CONNECTORS)
def test_connectors_are_taken_off(connector):
    clause = parse(f"{connector} the fox found a key.")
    assert clause is not None
    assert clause.name == "find_here"


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6))
def test_flags_do_not_change_what_is_said(seed):
    rng = random.Random(seed)
    relation, template, denied = rng.choice(TEMPLATES)
    subject = rng.choice(list(KNOWLEDGE.facts[relation]))
    value = rng.choice(KNOWLEDGE.values(relation, subject))
    plain = fill(template, relation, subject, value)
    opener, tail = rng.choice(lexicon.HEDGE_OPENERS), rng.choice(lexicon.RUDE_TAILS)
    hedged, rude = parse(f"{opener} {plain}."), parse(f"{plain}, {tail}")
    addressed = parse(f"{plain}, mira.")
    for clause in (hedged, rude, addressed):
        assert clause is not None
        assert (clause.name, clause.roles["S"].entity, clause.roles["O"].entity) == (
            relation, subject, value,
        )  # fmt: skip
        assert clause.denied == denied
    assert hedged.hedged
    assert not hedged.rude
    assert rude.rude
    assert not rude.hedged
    assert addressed.extra == (("addressed", "mira", ""),)


@pytest.mark.parametrize(
    "text",
    [
        "the fox eats", "eats the fox berries", "the fox the fox eats berries", "berries eats fox",
        "the fox lives at the wood", "the fox is", "colour of the fox red is", "the", "xyzzy",
        "the fox gave the key", "the fox gave to the owl", "what does the fox eat?",
        "the fox eats berries nuts", "the stone eats berries",
    ],
)  # fmt: skip
def test_ungrammatical_text_is_not_understood(text):
    assert parse(text) is None


def test_fillers_raise_their_flag():
    for text, flag in FILLERS.items():
        clause = parse(text + ".")
        assert clause is not None
        assert (clause.kind, clause.name) == ("filler", flag)
        assert clause.hedged == (flag == "hedge")
        assert clause.rude == (flag == "rude")


def test_pronouns_need_a_subject():
    assert parse("it lives in the wood.") is None
    clause = parse("it lives in the wood.", "fox")
    assert clause is not None
    assert clause.roles["S"].entity == "fox"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(lexicon.OBJECTS), min_size=1, max_size=5, unique=True))
def test_lists_are_joined_and_found_again(items):
    text = join([the(i) for i in items]) + "."
    assert set(mentioned(f"the fox found {text}", "things")) == set(items)
    assert text.count(",") == max(0, len(items) - 2)


def test_sentences_keep_every_character_but_space():
    text = "the fox ran. did it? yes! and then"
    assert sentences(text) == ["the fox ran.", "did it?", "yes!", "and then"]
    assert sentences("  ") == []


def test_event_texts_are_read_back():
    rng = random.Random(0)
    event = Event("give", {"A": "fox", "B": "owl", "X": "key"})
    for _ in range(20):
        clause = parse(event.text(rng, "then"))
        assert clause is not None
        assert {r: p.entity for r, p in clause.roles.items()} == dict(event.roles)


def test_words_have_one_class():
    """A noun of two classes could not be read back."""
    nouns = (*CAST, *lexicon.PLACES, *lexicon.OBJECTS, *lexicon.FOODS, *lexicon.NAMES)
    assert len(set(nouns)) == len(nouns)


def test_enough_of_everything():
    """The sizes that the specification asks for."""
    assert len(CAST) >= 60
    assert len(lexicon.PLACES) >= 24
    assert len(lexicon.OBJECTS) + len(lexicon.FOODS) >= 50
    assert sum(map(len, EVENTS.values())) >= 40
    assert len(lexicon.NAMES) >= 24
    assert len(KNOWLEDGE.misconceptions) >= 24
    for relation in RELATIONS.values():
        assert len(relation.statements) >= 4
    assert len(KNOWLEDGE.fernish) >= 190
    assert len(set(KNOWLEDGE.fernish.values())) == len(KNOWLEDGE.fernish)
