"""What the chapter on prompting prints: recomputed small by other ways, and whole as published."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import pandas as pd
import pytest
import torch

from benchmarks import prompting as published
from rlhf_lab.models import load_policy
from rlhf_lab.paradigms.data import fernwick_sentiment

SMALL = published.Measured(tested=8, pool=60, ordered=3, patterned=2, words=2)


@pytest.fixture(scope="module")
def tiny():
    return load_policy("tiny")


def next_word(tiny, text, *words):
    """log p of each word after a text, by transformers alone, one token at a time."""
    model, tokenizer = tiny
    found = []
    for word in words:
        ids, total = tokenizer(text)["input_ids"], 0.0
        for token in tokenizer(word)["input_ids"]:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
            total += float(logits.log_softmax(-1)[token])
            ids = [*ids, token]
        found.append(total)
    return found


@pytest.mark.parametrize("way", ["verdict own", "verdict swapped", "exam own"])
def test_a_row_of_reviews_again(tiny, way):
    """Accuracy, share of "good", mass and both corrections, one text at a time."""
    one = published.Run("reviews", "tiny", way, shots=0, seed=0)
    (row,) = published.measure_reviews(one, SMALL)
    form, words = {
        "verdict own": ("{}\nverdict:", (" bad", " good")),
        "verdict swapped": ("{}\nverdict:", (" good", " bad")),
        "exam own": ("is this review good or bad: {}\n", ("bad", "good")),
    }[way]
    test = fernwick_sentiment("test", 8)

    def good(text):
        bad, good = next_word(tiny, form.format(text), *words)
        return 1 / (1 + math.exp(bad - good)), math.exp(bad) + math.exp(good)

    found = [good(text) for text in test.texts]
    prior = sum(good(text)[0] for text in ("N/A", "[MASK]", "")) / 3
    mean = sum(p for p, _ in found) / 8
    for name, limit in {"": 0.5, "content_free_": prior, "texts_": mean}.items():
        said = ["good" if p > limit else "bad" for p, _ in found]
        assert row[f"{name}good"] == said.count("good") / 8
        right = sum(a == b for a, b in zip(said, test.labels, strict=True))
        assert row[f"{name}accuracy"] == right / 8
    assert row["prior_good"] == pytest.approx(prior, abs=1e-4)
    assert row["mass"] == pytest.approx(sum(m for _, m in found) / 8, rel=1e-3)


def test_orders_are_all_and_of_the_same_examples(tiny):
    one = published.Run("orders", "tiny", "", shots=4, seed=1)
    rows = published.measure_orders(one, SMALL)
    assert len(rows) == 24
    assert sorted(row["pattern"] for row in rows) == sorted(
        "".join(order) for order in itertools.permutations("bbgg")
    )
    classifier = published.asking(one, SMALL)
    prompts = fernwick_sentiment("test", 3)
    lines = [f"{text}\nverdict: {label}.\n" for text, label in classifier.examples]
    right = 0
    for text, label in zip(prompts.texts, prompts.labels, strict=True):
        bad, good = next_word(tiny, f"{''.join(lines)}{text}\nverdict:", " bad", " good")
        right += (good > bad) == (label == "good")
    assert rows[0]["accuracy"] == pytest.approx(right / 3)


def test_patterns_hold_their_labels(tiny):
    rows = published.measure_patterns(published.Run("patterns", "tiny", "", 2, 0), SMALL)
    assert [row["pattern"] for row in rows] == ["bb", "bg", "gb", "gg"]
    assert all(-20 < row["log_odds"] < 20 and 0 <= row["good"] <= 1 for row in rows)


@pytest.mark.parametrize("names", published.NAMES)
def test_a_list_asks_for_words_that_it_does_not_show(names, monkeypatch):
    seen = []

    class Watched(published.PromptClassifier):
        def predict(self, texts):
            seen.append((self.examples, list(texts), self.verbaliser))
            return super().predict(texts)

    monkeypatch.setattr(published, "PromptClassifier", Watched)
    rows = published.measure_lists(published.Run("lists", "tiny", names, 6, 0), SMALL)
    assert len(rows) == len(seen) == 6  # pairs of four classes
    for examples, asked, words in seen:
        assert len(examples) == 6 and len(asked) == 4
        assert not {word for word, _ in examples} & set(asked)
        assert len({own for (own,) in words.values()}) == 2
        assert all(word in published.CLASSES[kind] for word, kind in examples)


def test_effect_of_a_position_by_least_squares(monkeypatch):
    """Made-up scores in place of a model's: a linear rule comes back with its coefficients."""

    class Made(published.PromptClassifier):
        def scores(self, texts):
            signs = [1.0 if name == self.labels[0] else -1.0 for _, name in self.examples]
            odds = 0.3 + 0.1 * signs[0] + 0.2 * signs[1] + 0.5 * signs[2] + 0.7 * signs[3]
            return torch.tensor([[odds, 0.0]]).repeat(len(texts), 1)

    monkeypatch.setattr(published, "PromptClassifier", Made)
    one = published.Run("list_patterns", "tiny", "sounds", 4, 0)
    found = [row["effect"] for row in published.measure_list_patterns(one, SMALL)]
    assert found == pytest.approx([0.2, 0.4, 1.0, 1.4], abs=1e-6)


def test_all_orders_of_a_list(monkeypatch):
    """A rule that follows the last example is right on half, whatever the order."""
    orders = set()

    class Last(published.PromptClassifier):
        def predict(self, texts):
            orders.add(tuple(self.examples))
            return [self.examples[-1][1]] * len(texts)

    monkeypatch.setattr(published, "PromptClassifier", Last)
    one = published.Run("list_orders", "tiny", "sounds", 4, 0)
    rows = published.measure_list_orders(one, SMALL)
    assert len(orders) == 6 * 24
    assert all(row["lowest"] == row["highest"] == row["balanced"] == 0.5 for row in rows)


@pytest.mark.parametrize("method", [published.COUNTED, published.FINE_TUNED])
def test_other_methods_see_balanced_examples(method):
    small = dataclasses.replace(SMALL, steps=2)
    (row,) = published.measure_labels(published.Run("labels", method, "", 4, 0), small)
    assert row["labels"] == 4 and 0 <= row["accuracy"] <= 1


def test_every_run_of_the_plan_is_published():
    about = json.loads((published.FOLDER / "manifest.json").read_text(encoding="utf-8"))
    settings, names = published.Measured(), list(about["parameters"])
    assert about["config"]["Measured"]["tested"] == settings.tested
    planned = list(published.work(settings, names))
    assert len(set(planned)) == len(planned)
    rows_of = {
        "orders": 24, "patterns": 16, "lists": 6, "words": 12, "list_patterns": 4,
        "list_orders": 6,
    }  # fmt: skip
    for table in published.MEASURES:
        found = pd.read_csv(published.FOLDER / f"{table}.csv")
        runs = [one for one in planned if one.table == table]
        assert len(found) == len(runs) * rows_of.get(table, 1)
        assert not found.isna().any().any()
