"""What the chapter on knowledge prints: published rows against the models and the world."""

from __future__ import annotations

import dataclasses
import random

import pandas as pd
import pytest

from benchmarks import knowledge
from rlhf_lab.lineage.knowledge import GRADES, fact_questions
from rlhf_lab.world import World
from rlhf_lab.world.judge import read as read_text

WORLD = World(0)
ASKED = fact_questions(WORLD, knowledge.HELD_OUT)


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(knowledge.FOLDER / f"{name}.csv")


def test_every_system_answers_every_question_once():
    rows = read("replies")
    cells = rows.groupby(["system", "seed"]).question.apply(list)
    assert len(cells) == len(knowledge.SYSTEMS) * len(knowledge.SEEDS)
    assert all(sorted(own) == list(range(len(ASKED))) for own in cells)
    samples = knowledge.Config().samples
    assert set(rows.grade) <= set(GRADES)
    assert (rows.agree <= rows.attempted).all() and (rows.attempted <= samples).all()
    assert (rows.right + rows.wrong == rows.attempted).all()
    assert (rows.agree[rows.grade == "not attempted"] == 0).all()


def test_published_rows_come_out_again():
    """The likeliest replies of the smallest model to some of the questions."""
    config = dataclasses.replace(knowledge.Config(), questions=12, samples=1)
    name = next(iter(knowledge.FEW_SHOT))
    system, tokenizer = knowledge._system(name, 1, config)
    again = knowledge.replies(WORLD, system, tokenizer, config, seed=1)
    rows = read("replies")
    rows = rows[(rows.system == name) & (rows.seed == 1)].set_index("question").grade
    assert [row["grade"] for row in again] == rows[:12].to_list()


class Oracle:
    """A language model that finds true statements likely."""

    def logprobs(self, pairs):
        judge = WORLD.judge
        facts = [read_text(text).of_kind("fact")[0] for _, text in pairs]
        return [0.0 if judge.is_true(fact) else -1.0 for fact in facts]


def test_what_is_recognised_is_one_truth_among_four():
    assert knowledge.recognised(WORLD, Oracle(), ASKED, 0) == [True] * len(ASKED)
    rng = random.Random(0)
    for prompt in ASKED[::7]:
        texts = knowledge._statements(WORLD, prompt, rng)
        facts = [read_text(text).of_kind("fact")[0] for text in texts]
        assert [WORLD.judge.is_true(f) for f in facts] == [True, False, False, False], texts


def test_mentions_are_counted_in_the_web():
    """Every sentence that says it, in whole documents; a lie or a denial is no mention."""
    few = knowledge.mentions(WORLD, 300).set_index(["relation", "subject"]).mentions
    assert few.sum() > 200
    text = " ".join(d.text for d in WORLD.documents(300))
    relation, subject = few.idxmax()
    value = WORLD.knowledge.values(relation, subject)[0]
    assert subject in text and value in text
    full = read("mentions").set_index(["relation", "subject"]).mentions
    assert len(full) == len(fact_questions(WORLD)) and full.min() > 0
    scale = full.sum() / few.sum()
    assert scale == pytest.approx(knowledge.Config().documents / 300, rel=0.2)


def test_thirds_are_cut_within_each_relation():
    counted = read("mentions")
    facts = counted.assign(seed=0, system="x", grade="wrong", recognised=True)
    facts.loc[facts.mentions >= facts.groupby("relation").mentions.transform("median"), "grade"] = (
        "right"
    )
    facts = facts.drop(columns=["split", "mentions"])
    found = knowledge.by_frequency(facts, counted).set_index("third")
    assert found.facts.sum() == len(counted)
    assert found.right["least"] == 0 and found.right["most"] == 1 and 0 < found.right["middle"] < 1
    assert (found[list(GRADES)].sum(axis=1) == 1).all()
    published = read("frequency")
    assert published.groupby("third").facts.first().sum() == len(counted)
