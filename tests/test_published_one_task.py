"""What the last chapter of Part I prints: runs by hand on tiny settings, and whole files."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from benchmarks import one_task as published
from benchmarks import one_task_effort as effort
from benchmarks import one_task_prompts as prompts
from benchmarks import one_task_runs as runs
from rlhf_lab.paradigms.crf import DEFAULT_TEMPLATES
from rlhf_lab.paradigms.data import Labelled, Tagged, fernwick_sentiment, fernwick_tagging
from rlhf_lab.paradigms.lookup import LookupTagger
from rlhf_lab.paradigms.prompting import PromptClassifier
from rlhf_lab.paradigms.scoring import accuracy, token_accuracy

SMALL = runs.Config(
    sizes=(16,), steps=(2,), updates=(2,), of_random=16, pool=60, reserve=30, texts=8, sentences=6,
)  # fmt: skip


@pytest.mark.parametrize("task", runs.TASKS)
def test_every_method_answers_the_same_examples(task):
    """A row of each; the baseline and the prompt are worked out again without the module."""
    rows = {}
    for name in runs.METHODS:
        labels = 4 if name == runs.PROMPTED else 16
        rows[name] = runs.measure(task, runs.FERNWICK, name, labels, 3, SMALL)
        assert 0 <= rows[name]["accuracy"] <= 1
        assert rows[name]["trained"] <= rows[name]["parameters"] or name == runs.TUNED
    trained = {name: row["trained"] for name, row in rows.items()}
    assert trained[runs.PROMPTED] == 0 < trained[runs.BASELINE]
    assert trained[runs.TUNED] == trained[runs.RANDOM] == rows[runs.TUNED]["parameters"]
    if task == runs.SENTIMENT:
        test = fernwick_sentiment("test", 30).sample(8, 3)
        train = fernwick_sentiment("train", 60).sample(16, 3)
        most = max(sorted(set(train.labels)), key=train.labels.count)
        assert rows[runs.BASELINE]["accuracy"] == accuracy(test.labels, [most] * 8)
        zero = PromptClassifier(prompts.VERDICTS).fit((), ())
        row = runs.measure(task, runs.FERNWICK, runs.PROMPTED, 0, 3, SMALL)
        assert row["accuracy"] == accuracy(test.labels, zero.predict(test.texts))
    else:
        test = fernwick_tagging("pos", "test", 30).sample(6, 3)
        train = fernwick_tagging("pos", "train", 60).sample(16, 3)
        found = LookupTagger().fit(train.sentences, train.tags).predict(test.sentences)
        assert rows[runs.BASELINE]["accuracy"] == token_accuracy(test.tags, found)


def test_scores_by_hand():
    train = Tagged((("the", "fox"),), (("DET", "NOUN"),))
    test = Tagged((("The", "owl", "ran"),), (("DET", "NOUN", "VERB"),))
    row = runs._scores(runs.TAGGING, train, test, test.tags, [["DET", "NOUN", "NOUN"]])
    assert row == pytest.approx({"accuracy": 2 / 3, "unknown": 1 / 2, "unknown_share": 2 / 3})
    texts = Labelled(("a", "b", "c"), ("good", "bad", "bad"), ("clear", "clear", "mixed"))
    row = runs._scores(runs.SENTIMENT, texts, texts, texts.labels, ["good", "good", "bad"])
    assert row == pytest.approx({"accuracy": 2 / 3, "clear": 1 / 2, "mixed": 1})


def test_examples_of_a_prompt_are_short_and_of_both_labels():
    pool = fernwick_sentiment("train", 200)
    shown = runs._shown(pool, runs.SENTIMENT, runs.PROMPTED, 4, 1, SMALL)
    assert sorted(shown.labels) == ["bad", "bad", "good", "good"]
    assert all(runs._pieces(text) <= SMALL.short for text in shown.texts)
    assert not len(runs._shown(pool, runs.SENTIMENT, runs.PROMPTED, 0, 1, SMALL))


def test_what_a_person_wrote_is_counted_where_it_stands():
    table = pd.DataFrame(effort.decisions())
    count = table.set_index(["task", "method", "what"])["count"]
    lines = [line for line in DEFAULT_TEMPLATES.splitlines() if line and line[0] in "UB"]
    assert count[runs.TAGGING, runs.FEATURES, "templates"] == len(lines)
    assert count[runs.TAGGING, runs.PROMPTED, "words for labels"] == 17  # UD's parts of speech
    assert count[runs.SENTIMENT, runs.PROMPTED, "words of the prompt"] == 2  # verdict, colon
    # l1, l2 and max_iterations; strength; nine and six of the networks
    assert count[runs.TAGGING, runs.FEATURES, "settings"] == 3
    assert count[runs.SENTIMENT, runs.FEATURES, "settings"] == 1
    assert count[runs.TAGGING, runs.NETWORK, "settings"] == 9
    assert count[runs.SENTIMENT, runs.NETWORK, "settings"] == 6
    assert set(table.method) == set(runs.METHODS)


def test_a_run_is_measured_once(tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    for module in ("runs", "prompts"):
        shutil.copy(published.ROOT / f"benchmarks/one_task_{module}.py", tmp_path / "benchmarks")
    monkeypatch.setattr(published, "ROOT", tmp_path)
    published._code.cache_clear()
    one = (runs.SENTIMENT, runs.FERNWICK, runs.PLAIN, 16, 0, SMALL)
    row = published.measured(*one)
    monkeypatch.setattr(published, "measure", lambda *_: pytest.fail("measured again"))
    assert published.measured(*one) == row


def test_the_files_have_every_run_once_and_are_of_this_code():
    table = pd.read_csv(published.FOLDER / "runs.csv")
    about = json.loads((published.FOLDER / "manifest.json").read_text(encoding="utf-8"))
    keys = ["task", "data", "method", "labels", "seed"]
    planned = sorted(published.plan(published.CONFIGS))
    assert sorted(table[keys].itertuples(index=False, name=None)) == planned
    assert about["seeds"] == list(published.SEEDS)
    assert about["pretraining"] == published.pretraining()
    told = pd.read_csv(published.FOLDER / "decisions.csv")
    pd.testing.assert_frame_equal(told, pd.DataFrame(effort.decisions()))
