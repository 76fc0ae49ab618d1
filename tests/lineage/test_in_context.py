"""Tasks that are told and shown, against what their prompts say; scores, against sums by hand."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.lineage.in_context import (
    FACTS,
    IN_WORDS,
    LABELS,
    LISTED,
    LONGEST,
    PAIRS,
    TASKS,
    shown,
    shown_score,
    told,
    won_back,
)
from rlhf_lab.lineage.knowledge import fact_questions
from rlhf_lab.world import World, lexicon
from rlhf_lab.world.prompts import split_of

WORLD = World(0)
COUNT = 12


def lines(task: str, examples: int, seed: int = 0) -> list[list[str]]:
    return [item.query.split("\n") for item in shown(WORLD, task, examples, seed=seed).items(COUNT)]


@pytest.mark.parametrize("task", [LABELS, FACTS])
def test_fewer_lines_are_the_first_of_more(task):
    for many, few in zip(lines(task, LONGEST), lines(task, 2), strict=True):
        assert few == [*many[:2], many[-1]] and len(many) == LONGEST + 1
        assert len({line.split(":")[0] for line in many}) == len(many)  # the asked word is new
    assert [one[-1:] for one in lines(task, 3)] == lines(task, 0)
    assert lines(task, 2) != lines(task, 2, seed=1)


@pytest.mark.parametrize("task", sorted(set(TASKS) - {LABELS, FACTS, PAIRS}))
def test_suites_keep_their_question_below_more_examples(task):
    few, many = (shown(WORLD, task, n, seed=3).items(COUNT) for n in (1, 3))
    for one, other in zip(few, many, strict=True):
        assert one.query == other.query and one.shots == other.shots[:1] and len(other.shots) == 3
        assert one.prompt.endswith("\n" + one.query)


def test_a_label_can_be_known_from_two_lines_alone():
    """A reader who takes the label of a word of the same class is always right."""
    classes = (lexicon.ANIMALS, lexicon.OBJECTS, lexicon.FOODS, lexicon.PLACES)
    for item in shown(WORLD, LABELS, 2, seed=1).items(COUNT):
        *solved, last = (line.split(":") for line in item.query.split("\n"))
        same = [
            label.strip()
            for word, label in solved
            for own in classes
            if word in own and last[0] in own
        ]
        assert same == list(item.answers)


def test_a_pair_is_looked_up_and_stands_anywhere():
    places = set()
    for item in shown(WORLD, PAIRS, 4).items(COUNT):
        *solved, last = item.query.split("\n")
        known = dict(line.split(": ") for line in solved)
        assert item.answers == (known[last.rstrip(":")],)
        places.add(list(known).index(last.rstrip(":")))
    assert len(places) > 2
    one, two = (shown(WORLD, PAIRS, n).items(COUNT) for n in (1, 2))
    assert [i.answers for i in one] == [i.answers for i in two]


def test_facts_are_held_out_and_the_same_in_both_forms():
    false = {m[:2] for m in WORLD.knowledge.misconceptions}
    wordings = {p.text for s in range(40) for p in fact_questions(WORLD, ("valid", "test"), seed=s)}
    pairs = zip(
        told(WORLD, FACTS, seed=2).items(COUNT), shown(WORLD, FACTS, 4, seed=2).items(COUNT),
        strict=True,
    )  # fmt: skip
    for in_words, in_lines in pairs:
        relation, subject = in_words.meta["relation"], in_words.meta["subject"]
        assert in_lines.query.endswith(f"\n{subject}:") and relation in LISTED
        assert WORLD.knowledge.holds(relation, subject, in_lines.answers[0])
        assert in_words.query in wordings
        assert (relation, subject) not in false
        assert split_of("open_qa", relation, subject) != "train"


@pytest.mark.parametrize("task", IN_WORDS)
def test_right_answers_score_in_both_forms_and_noise_in_none(task):
    for suite in (told(WORLD, task), shown(WORLD, task, 2)):
        for item in suite.items(4):
            right = item.solution or f"the answer is {item.answers[0]}."
            if task == FACTS and suite.mode == "generate" and "?" in item.query:
                right = WORLD.answer(next(
                    p for p in fact_questions(WORLD, ("valid", "test"))
                    if (p.meta["relation"], p.meta["subject"])
                    == (item.meta["relation"], item.meta["subject"])
                ))  # fmt: skip
            assert suite.score(item, right) == {"accuracy": 1.0, "in form": 1.0}, right
            noise = "look it up, you fool."
            assert suite.score(item, noise) == {"accuracy": 0.0, "in form": 0.0}


@pytest.mark.parametrize(
    ("task", "wrong"),
    [(LABELS, "zz"), (PAIRS, "mill"), (FACTS, "seven"), ("sums", "none"), ("programs", "3 5"),
     ("translations", "blah")],
)  # fmt: skip
def test_form_is_told_apart_from_content(task, wrong):
    suite = shown(WORLD, task, 2)
    first, *rest = suite.items(20)
    assert suite.score(first, wrong)["in form"] == 0
    others = [suite.score(first, item.answers[0]) for item in rest]
    wrong_ones = [found["in form"] for found in others if found["accuracy"] == 0]
    # Another list of facts is about another relation, most of the time.
    assert all(wrong_ones) if task != FACTS else {0.0, 1.0} == set(wrong_ones)


@pytest.mark.parametrize("task", IN_WORDS)
def test_other_words_ask_for_the_same(task):
    """Every wording for unseen prompts of the world, and the same accepted answers."""
    usual, other = (
        told(WORLD, task, seed=1, reworded=r).items(COUNT) for r in (False, True)
    )  # fmt: skip
    kind = "open_qa" if task == FACTS else "other"
    unseen = [WORLD.prompt(i, "test", kind=kind, unseen=True).text for i in range(400)]
    beginnings = {text.split()[0] for text in unseen}
    for one, two in zip(usual, other, strict=True):
        assert one.answers == two.answers and one.query != two.query
        assert two.query.split()[0] in beginnings and two.query.endswith("\n")


def test_drawn_answers_are_one_sample_each():
    assert shown(WORLD, LABELS, 8, drawn=True).samples == 1
    assert told(WORLD, "sums", drawn=True).samples == 1 and told(WORLD, "sums").samples == 0


def test_scores_by_hand():
    rng = random.Random(0)
    table = {t: {n: Fraction(rng.randrange(9), 8) for n in (0, 1, 4)} for t in "abc"}
    by_hand = sum((own[1] + own[4]) / 2 for own in table.values()) / 3
    assert shown_score(table) == by_hand  # what is done without examples does not count
    assert won_back(Fraction(9, 10), Fraction(5, 10), Fraction(8, 10)) == Fraction(3, 4)
    with pytest.raises(InputError, match="with examples"):
        shown_score({"a": {0: 1.0}})
    with pytest.raises(InputError, match="no cost"):
        won_back(0.5, 0.5, 0.6)


def test_what_cannot_be_asked_is_said():
    with pytest.raises(InputError, match="task"):
        told(WORLD, LABELS)
    with pytest.raises(InputError, match="task"):
        shown(WORLD, "riddles", 2)
    with pytest.raises(InputError, match="examples"):
        shown(WORLD, PAIRS, 0)
    with pytest.raises(InputError, match="examples"):
        shown(WORLD, LABELS, LONGEST + 1)
