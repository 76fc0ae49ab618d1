"""Grades and scores of short answers against slow definitions."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from rlhf_lab.errors import InputError
from rlhf_lab.lineage.knowledge import (
    GRADES,
    abstaining_score,
    agreement,
    calibration_error,
    f_score,
    fact_questions,
    given_answer,
    grade,
    guess_threshold,
    penalised_score,
    ranks_right,
    solved_questions,
)
from rlhf_lab.world import World
from rlhf_lab.world.prompts import split_of

WORLD = World(0)


def test_questions_are_each_fact_once_without_misconceptions():
    asked = fact_questions(WORLD)
    about = [(p.meta["relation"], p.meta["subject"]) for p in asked]
    false = {m[:2] for m in WORLD.knowledge.misconceptions}
    every = {(r, s) for r, facts in WORLD.knowledge.facts.items() for s in facts}
    assert len(about) == len(set(about)) and set(about) == every - false
    held_out = fact_questions(WORLD, ("valid", "test"))
    splits = {split_of("open_qa", p.meta["relation"], p.meta["subject"]) for p in held_out}
    assert splits == {"valid", "test"} and 0.1 < len(held_out) / len(asked) < 0.3
    # a wording does not depend on which splits are asked for
    texts = {p.text for p in asked}
    assert {p.text for p in held_out} < texts
    assert texts != {p.text for p in fact_questions(WORLD, seed=1)}
    with pytest.raises(InputError, match="splits"):
        fact_questions(WORLD, ("exam",))


def test_examples_are_right_and_about_training_facts():
    lines = solved_questions(WORLD, seed=3).splitlines()
    known = {p.text.strip(): p for p in fact_questions(WORLD, ("train",), seed=3)}
    assert len(lines) == 8
    pairs = list(zip(lines[::2], lines[1::2], strict=True))
    assert all(grade(WORLD, known[q], a) == "right" for q, a in pairs)
    assert len({known[q].meta["relation"] for q, _ in pairs}) == 4


@pytest.mark.parametrize("quality", ["right", "wrong", "questions"])
def test_grades_agree_with_the_judge(quality):
    """The judge reads all that an answer says; on plain answers both must agree."""
    seen = Counter()
    for prompt in fact_questions(WORLD)[::5]:
        text = WORLD.answer(prompt, 0, quality)
        found = WORLD.attributes(prompt, text)
        judged = GRADES[2] if not found.follows else GRADES[0 if found.truth > 0 else 1]
        assert grade(WORLD, prompt, text) == judged, (prompt.text, text)
        seen[judged] += 1
    expected = {"right": "right", "wrong": "wrong", "questions": "not attempted"}[quality]
    assert seen[expected] == seen.total()


def test_grades_of_odd_replies():
    prompt = next(p for p in fact_questions(WORLD) if p.meta["relation"] == "food")
    who = prompt.meta["subject"]
    true = WORLD.knowledge.values("food", who)[0]
    false = next(v for v in WORLD.knowledge.facts["food"].values() if v != true)
    graded = {
        f"the {who} eats {true}.": "right",
        f"{true}.": "right",
        f"perhaps the {who} eats {true}.": "right",
        f"the {who} eats {true}, you fool.": "right",
        f"perhaps the {who} eats {false}.": "wrong",
        f"the {who} eats {true}. the {who} eats {false}.": "wrong",
        f"the {who} does not eat {false}.": "not attempted",
        "i do not know.": "not attempted",
        "it is hard to say.": "not attempted",
        "": "not attempted",
    }
    assert {text: grade(WORLD, prompt, text) for text in graded} == graded
    assert given_answer(WORLD, prompt, f"the {who} eats {true}.") == {true}
    with pytest.raises(InputError, match="prompt"):
        grade(WORLD, WORLD.prompts("test", 1, kind="generation")[0], "yes.")


def test_f_score_is_the_harmonic_mean():
    for right, wrong, none in itertools.product(range(4), repeat=3):
        if right + wrong + none == 0:
            continue
        overall = Fraction(right, right + wrong + none)
        attempted = Fraction(right, right + wrong) if right + wrong else Fraction(0)
        both = overall + attempted
        mean = 2 * overall * attempted / both if both else Fraction(0)
        assert f_score(right, wrong, none) == pytest.approx(float(mean), abs=1e-15)
    with pytest.raises(InputError, match="counts"):
        f_score(0, 0, 0)


def test_f_score_of_the_benchmarks_paper():
    """GPT-4o and o1-preview in table 3 of Wei et al. 2024, as far as it prints digits."""
    assert 100 * f_score(38.2, 60.8, 1.0) == pytest.approx(38.4, abs=0.05)
    assert 100 * f_score(42.7, 48.1, 9.2) == pytest.approx(44.8, abs=0.05)


def test_the_threshold_is_where_guessing_is_worth_nothing():
    for penalty in (0.0, 1 / 3, 1.0, 3.0, 9.0):
        t = guess_threshold(penalty)
        assert t * 1 - (1 - t) * penalty == pytest.approx(0, abs=1e-12)
        assert penalised_score(t, 1 - t, 0, penalty) == pytest.approx(0, abs=1e-12)
        assert t / (1 - t) == pytest.approx(penalty)  # as Kalai et al. say it
    with pytest.raises(InputError, match="penalty"):
        guess_threshold(-1)


def test_abstaining_question_by_question():
    rng = np.random.default_rng(0)
    confidence, right = rng.integers(0, 17, 200) / 16, rng.random(200) < 0.6
    for penalty, threshold in ((1.0, 0.5), (9.0, 0.9), (0.0, -1.0)):
        points = 0.0
        for held, correct in zip(confidence, right, strict=True):
            if held > threshold:
                points += 1 if correct else -penalty
        found = abstaining_score(confidence, right, penalty, threshold=threshold)
        assert found == pytest.approx(points / 200, abs=1e-12)
    # a model whose confidence is its chance of being right does best at t = p / (1 + p)
    chance = np.repeat(np.arange(1, 20) / 20, 20)
    right = np.tile(np.arange(20), 19) < 20 * chance
    scores = {t: abstaining_score(chance, right, 3.0, threshold=t) for t in (0.5, 0.75, 0.9)}
    assert max(scores, key=lambda t: scores[t]) == guess_threshold(3.0)


def test_agreement_counts_replies_with_an_answer():
    bread, fish = frozenset({"bread"}), frozenset({"fish"})
    assert agreement(bread, [bread, fish, frozenset(), bread]) == pytest.approx(2 / 3)
    assert agreement(bread, [frozenset()]) == agreement(frozenset(), [bread]) == 0


def test_calibration_error_bin_by_bin():
    rng = random.Random(0)
    confidence = [rng.randint(0, 16) / 16 for _ in range(300)]
    right = [rng.random() < c**2 for c in confidence]
    total = 0.0
    for b in range(5):
        inside = [i for i, c in enumerate(confidence) if min(int(c * 5), 4) == b]
        if inside:
            mean = sum(confidence[i] for i in inside) / len(inside)
            accuracy = sum(right[i] for i in inside) / len(inside)
            total += len(inside) / 300 * abs(mean - accuracy)
    assert calibration_error(confidence, right, bins=5) == pytest.approx(total, abs=1e-12)
    assert calibration_error([0.0, 1.0], [False, True]) == 0
    with pytest.raises(InputError, match="confidence"):
        calibration_error([0.5], [])


def test_ranks_right_is_the_area_under_the_curve():
    rng = np.random.default_rng(1)
    confidence, right = rng.integers(0, 8, 120) / 8, rng.random(120) < 0.7
    assert ranks_right(confidence, right) == pytest.approx(roc_auc_score(right, confidence))
    assert np.isnan(ranks_right([0.5, 0.7], [True, True]))
