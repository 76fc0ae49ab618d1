"""Scenes against their own reading, against Fernwick's facts, and against plain counting."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.lineage import scenes
from rlhf_lab.lineage.scenes import Thing
from rlhf_lab.world import World

MANY = [scenes.scene("train", i) for i in range(400)]


def test_usual_colours_are_fernwicks():
    colours = World(0).knowledge.facts["object_colour"]
    assert {kind: colours[kind] for kind in scenes.KINDS} == scenes.USUAL


def test_training_shows_every_pair_but_those_held_out():
    shown = Counter((t.kind, t.colour) for s in MANY for t in s.things)
    every = set(itertools.product(scenes.KINDS, scenes.COLOURS))
    assert set(shown) == every - scenes.HELD_OUT and len(scenes.HELD_OUT) == len(scenes.KINDS)
    usual = sum(n for (kind, colour), n in shown.items() if scenes.USUAL[kind] == colour)
    assert usual / shown.total() == pytest.approx(scenes.USUAL_SHARE, abs=0.05)


def test_quarters_of_a_pair_held_out_are_seen_in_other_things():
    """Else no codebook of quarters could draw it."""
    for kind, colour in scenes.HELD_OUT:
        others = {
            quarter
            for other in scenes.KINDS
            if (other, colour) not in scenes.HELD_OUT
            for quarter in scenes.SHAPES[other]
        }
        assert set(scenes.SHAPES[kind]) <= others, (kind, colour)


def test_a_picture_is_read_back_and_so_is_a_caption():
    for about in ("as trained", "usual", "unusual", "held out"):
        for i in range(60):
            shown = scenes.scene("test", i, about=about)
            assert scenes.read_picture(scenes.picture(shown)) == frozenset(shown.things)
            assert scenes.read_caption(scenes.caption(shown)) == frozenset(shown.things)
    assert scenes.read_caption("red box.") is None and scenes.read_caption("red box north") is None
    assert scenes.read_caption("box red north.") is None


def test_all_things_look_different():
    cells = [scenes.cell(k, c) for k in scenes.KINDS for c in scenes.COLOURS]
    apart = [float(((a - b) ** 2).mean()) for a, b in itertools.combinations(cells, 2)]
    assert min(apart) > scenes.TOLERANCE / 2 > 3 * scenes.NOISE**2
    mixed = scenes.picture(scenes.scene("test", 0), noise=0.0)
    mixed[:4, :4] = np.where(scenes.shape("ring")[..., None], scenes.RGB["red"], scenes.GROUND)
    mixed[2:4, :4] = scenes.RGB["blue"]
    there = [t for t in scenes.read_picture(mixed) if t.place == "north-west"]
    assert there == [Thing(scenes.UNKNOWN, scenes.UNKNOWN, "north-west")]


def test_answers_are_true_of_the_scene():
    """Counted here from the things, for every question."""
    column = {place: i % 3 for i, place in enumerate(scenes.PLACES)}
    for shown in MANY[:150]:
        for question in scenes.questions(shown, "colour"):
            kind = question.text.split()[-1][:-1]
            assert [t.colour for t in shown.things if t.kind == kind] == [question.answer]
        for question in scenes.questions(shown, "kind"):
            colour = question.text.split()[-1][:-1]
            assert [t.kind for t in shown.things if t.colour == colour] == [question.answer]
        (count,) = scenes.questions(shown, "count")
        assert scenes.NUMBERS.index(count.answer) + 1 == len(shown.things)
        sides = scenes.questions(shown, "side")
        assert sum(q.answer == "yes" for q in sides) * 2 == len(sides)
        for question in sides:
            a, _, _, b = question.text[:-1].split()
            at = {t.kind: column[t.place] for t in shown.things}
            assert (at[a] < at[b]) == (question.answer == "yes")


@pytest.mark.parametrize("name", scenes.SETS)
def test_a_set_asks_what_its_name_says(name):
    pairs = scenes.asked(name, 40, split="valid", seed=3)
    assert pairs == scenes.asked(name, 40, split="valid", seed=3)
    assert len({q.answer for _, q in pairs}) > 1
    for shown, question in pairs:
        pair = (question.text.split()[-1][:-1], question.answer)
        if name == "usual":
            assert scenes.USUAL[pair[0]] == pair[1]
        elif name == "unusual":
            assert scenes.USUAL[pair[0]] != pair[1] and pair not in scenes.HELD_OUT
        elif name == "held out":
            assert pair in scenes.HELD_OUT
        else:
            assert question.about == name
            assert not any((t.kind, t.colour) in scenes.HELD_OUT for t in shown.things)


def test_sounds_are_read_back_whatever_their_phase():
    for i in range(30):
        heard = scenes.spectrum(scenes.sound("test", i))
        assert scenes.read_sound(heard) == scenes.sound_caption(i)
    assert scenes.read_sound(np.zeros((8, 17), dtype=np.float32)) == ""
    strikes = scenes.pitches("test", 2)
    assert sum(p is not None for p in strikes) == 3, "the bell strikes three"


def test_a_drawing_says_what_it_shows():
    text = scenes.picture_svg(scenes.picture(scenes.scene("test", 0)), 'a "<box>"')
    assert text.count("<rect") == 144 and "<box>" not in text and "&lt;box&gt;" in text


def test_what_cannot_be_asked_for():
    for call in (
        lambda: scenes.scene("exam", 0),
        lambda: scenes.scene("train", 0, about="held out"),
        lambda: scenes.scene("test", 0, about="odd"),
        lambda: scenes.questions(MANY[0], "size"),
        lambda: scenes.asked("size", 1),
        lambda: scenes.read_picture(np.zeros((4, 4, 3))),
        lambda: scenes.pitches("exam", 0),
    ):
        with pytest.raises(InputError):
            call()
