"""What the chapter on instruction tuning prints: run small, and whole as it is published."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from benchmarks import instruction_tuning as published
from rlhf_lab.lineage.instruction_tuning import HELD_OUT, TUNED, kinds_of
from rlhf_lab.world import World

SMALL = dataclasses.replace(
    published.Measured(), examples=32, questions=2, trained=1, few_shot=2, lists=4, kept=1
)


@pytest.mark.parametrize("arm", published.ARMS)
def test_a_run_asks_what_it_was_not_tuned_on(arm, monkeypatch):
    shown = []
    train = published.train_sft

    def spy(model, tokenizer, rows, config, **rest):
        shown.extend(rows)
        return train(model, tokenizer, rows, config, **rest)

    monkeypatch.setattr(published, "train_sft", spy)
    monkeypatch.setattr(published, "LARGEST", "nano")
    one = published.Run("nano", arm, 0 if arm == published.BASE else len(TUNED), 0)
    tables = published.measure(one, SMALL)
    answers = pd.DataFrame(tables["answers"])
    tuned_on = {row.kind for row in shown}
    held = {kind.name for kind in kinds_of(HELD_OUT)}
    assert len(shown) == (0 if arm == published.BASE else 32) and not tuned_on & held
    asked = answers[answers.cluster.isin(HELD_OUT)]
    assert set(asked.kind) == held and len(asked) == len(held) * 3  # two wordings, and examples
    assert set(answers[~answers.cluster.isin(HELD_OUT)].cluster) == set(TUNED)
    assert (answers.right <= answers.form).all() and (answers.form <= answers.questions).all()
    assert len(tables["samples"]) == len(held) * 2
    assert sum(row["lists"] for row in tables["lists"]) == 4


def test_both_wordings_ask_the_same():
    kind = kinds_of(HELD_OUT)[0]
    known, new, solved = (
        published._asked(World(0), kind, wording, shots, 3, 1)
        for wording, shots in (("known", 0), ("new", 0), ("known", 2))
    )
    for one, two, three in zip(known.texts, new.texts, solved.texts, strict=True):
        assert one != two and one.split(": ")[-1] == two.split(": ")[-1]
        assert three.endswith(one) and three.count("review") == 3
        assert sum(three.count(f"\n{label}.\n") for label in ("good", "bad")) == 2


def test_each_seed_begins_with_another_cluster():
    firsts = [published.clusters(1, seed)[0] for seed in published.SEEDS]
    assert len(set(firsts)) == len(firsts)
    for seed in published.SEEDS:
        assert set(published.clusters(len(TUNED), seed)) == set(TUNED)


def test_every_model_of_the_plan_is_published_once():
    answers = pd.read_csv(published.FOLDER / "answers.csv")
    held = answers[answers.cluster.isin(HELD_OUT) & (answers.shots == 0)]
    keys = ["size", "arm", "clusters", "seed"]
    found = held.groupby(keys).size()
    planned = {(r.size, r.arm, r.clusters, r.seed) for r in published.plan()}
    assert set(found.index) == planned and len(planned) == len(published.plan())
    assert (found == 2 * len(kinds_of(HELD_OUT))).all()
    assert not answers.duplicated([*keys, "kind", "wording", "shots"]).any()
    assert (answers.right <= answers.form).all() and (answers.form <= answers.questions).all()
