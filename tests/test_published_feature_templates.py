"""What the chapter on feature templates prints: scores worked by hand, files that are whole."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from benchmarks import feature_templates as published
from rlhf_lab.paradigms.crf import CRFTagger
from rlhf_lab.paradigms.data import Tagged, fernwick_tagging
from rlhf_lab.paradigms.templates import FORMS, parse_templates

SMALL = published.Config(sizes=(10, 20), pool=40, tested=30, max_iterations=10, resamples=200)


def test_scores_of_a_case_worked_by_hand():
    train = Tagged((("the", "fox"),), (("O", "O"),))
    test = Tagged((("The", "owl", "saw", "mira"), ("fox",)), (("O", "O", "O", "B-PER"), ("O",)))
    row = published.score(train, test, [["O", "B-PER", "O", "B-PER"], ["O"]])
    # known: The, fox; unknown: owl (wrong), saw, mira.
    assert row == pytest.approx(
        {"accuracy": 4 / 5, "known": 1, "unknown": 2 / 3, "unknown_share": 3 / 5, "f1": 2 / 3}
    )


def test_what_is_left_out_is_what_the_name_says():
    full = {t.text for t in parse_templates(published.TEMPLATES[published.ALL], len(FORMS))}
    left = {
        name: full - {t.text for t in parse_templates(published.TEMPLATES[name], len(FORMS))}
        for name in published.ABLATION
    }
    assert left["no tag before"] == {"B"}
    for text in left["no form"]:
        assert any(col > 0 for _, col in parse_templates(text, len(FORMS))[0].macros)
    for text in left["no neighbours"]:
        assert any(row != 0 for row, _ in parse_templates(text, len(FORMS))[0].macros)
    kept = full - left["no neighbours"]
    assert all(m[0] == 0 for t in kept for m in parse_templates(t, len(FORMS))[0].macros)
    assert full - left["the word alone"] == {"U02:%x[0,0]"}


def test_a_run_is_measured_once_and_its_intervals_hold_its_mean(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "ROOT", tmp_path)
    (tmp_path / "runs").mkdir()
    train, test = published.splits(published.ENTITIES, SMALL)
    assert (len(train), len(test)) == (40, 30)
    sample = train.sample(20, 1)
    rows = published._measured(SMALL, published.ENTITIES, sample, test, 1)
    assert [row["templates"] for row in rows] == [published.LOOKUP, *published.TEMPLATES]
    assert len({row["accuracy"] for row in rows}) > 2
    monkeypatch.setattr(CRFTagger, "fit", lambda *_: pytest.fail("trained again"))
    assert published._measured(SMALL, published.ENTITIES, sample, test, 1) == rows
    monkeypatch.undo()
    for row in published._whole_rows(SMALL, sample, test):
        assert row["low"] <= row["accuracy"] <= row["high"]
        assert row["words"] == sum(map(len, sample.tags))
        if row["templates"] == published.ALL:
            assert row["lost_low"] == row["lost_high"] == 0


def test_published_tables_are_whole():
    scores = pd.read_csv(published.FOLDER / "scores.csv")
    about = json.loads((published.FOLDER / "manifest.json").read_text(encoding="utf-8"))
    config = published.Config()
    assert about["templates"] == published.TEMPLATES
    for task in published.TASKS:
        rows = scores[scores.task == task]
        wanted = {published.LOOKUP, *published.SAMPLED[task]}
        counts = rows.groupby(["templates", "sentences"])["seed"].nunique()
        assert set(rows.templates) == wanted
        assert set(rows.sentences) == set(config.sizes)
        assert (counts == len(published.SEEDS)).all()
        assert len(rows) == counts.sum()
    ewt = pd.read_csv(published.FOLDER / "ewt.csv")
    assert list(ewt.templates) == [published.LOOKUP, *published.ABLATION]
    assert set(ewt.sentences) == {2001}


def test_a_published_row_comes_out_again():
    scores = pd.read_csv(published.FOLDER / "scores.csv")
    config = published.Config()
    train = fernwick_tagging("entities", "train", config.pool).sample(50, 0)
    test = fernwick_tagging("entities", "test", config.tested)
    found = {
        name: published.score(train, test, tags)
        for name, tags, _ in published.predictions(config, ["the word alone"], train, test)
    }
    for name, row in found.items():
        same = (scores.task == published.ENTITIES) & (scores.sentences == 50) & (scores.seed == 0)
        told = scores[same & (scores.templates == name)].iloc[0]
        assert row["f1"] == pytest.approx(told.f1, abs=1e-3)
        assert row["accuracy"] == pytest.approx(told.accuracy, abs=1e-3)
