"""What the chapter on fine-tuning prints: recomputed small, and whole as it is published."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
import torch

from benchmarks import fine_tuning as published
from benchmarks import fine_tuning_trials as trials
from rlhf_lab.models import ASSETS, load_policy
from rlhf_lab.paradigms import gpt, pair_tasks
from rlhf_lab.paradigms.fine_tuning import FineTunedClassifier
from rlhf_lab.world import World

SMALL = published.Measured(
    pool=12, pairs_pool=12, tested=6, pairs_tested=6, fitted=3, documents=3, head_steps=2
)  # fmt: skip


@pytest.mark.parametrize("method", [*published.METHODS, published.AUXILIARY])
def test_one_run_again(method):
    """The same network by hand, from the same draw of examples."""
    one = published.Run("choice", method, labels=6, steps=2, seed=1)
    found = published.measure(one, SMALL)
    known, test = pair_tasks.choice("train", 12), pair_tasks.choice("test", 6)
    drawn = torch.randperm(12, generator=torch.Generator().manual_seed(1))[:6].tolist()
    start = None if method == published.SCRATCH else "tiny"
    network = FineTunedClassifier("choice", start, published.training_of(one, SMALL), seed=1)
    network.fit([known.texts[i] for i in drawn], [known.labels[i] for i in drawn])
    right = sum(a == b for a, b in zip(network.predict(test.texts), test.labels, strict=True))
    assert found["accuracy"] == right / 6
    assert found["trained"] == network.trained_parameters
    assert found["web_loss"] == pytest.approx(published.web_loss(network.body, 3))


def test_loss_on_the_web_is_that_of_transformers():
    """Token by token over all texts, each behind the token that ends a text. To 1e-5 nats."""
    theirs, tokenizer = load_policy("tiny")
    total = count = 0
    for document in World(0).documents(3, split="valid"):
        ids = torch.tensor([[0, *tokenizer(document.text)["input_ids"]][:256]])
        with torch.no_grad():
            logp = theirs(input_ids=ids).logits.log_softmax(-1)[0, :-1]
        total -= float(logp.gather(1, ids[0, 1:, None]).sum())
        count += ids.shape[1] - 1
    assert published.web_loss(gpt.load(ASSETS / "tiny"), 3) == pytest.approx(
        total / count, abs=1e-5
    )


def test_names_alone_are_right_on_one_half():
    """Somebody who says the same wherever both texts are about one inhabitant, on each task."""
    for task, answer in {"entailment": "entailed", "similarity": "same", "choice": "0"}.items():
        found = getattr(pair_tasks, task)("test", 40)
        assert published.compared(found.texts, found.labels, [answer] * 40) == 0.5
        assert published.compared(found.texts, found.labels, found.labels) == 1
    others = ("the fox can cook.", "the hen loves to cook.")
    same = ("the fox can cook.", "it is easy for the fox to cook.")
    found = published.compared([others, same], ["different", "same"], ["same", "same"])
    assert found == 1  # the first pair is not about one inhabitant


def test_a_trial_is_asked_about_texts_that_it_has_not_seen(monkeypatch):
    """Learnt from and asked about are parts of the training pool, and no text is in both."""
    seen: list[list[str]] = []

    class Watched(FineTunedClassifier):
        def fit(self, texts, labels):
            seen.append(list(texts))
            return super().fit(texts, labels)

        def predict(self, texts):
            seen.append(list(texts))
            return super().predict(texts)

    monkeypatch.setattr(trials, "FineTunedClassifier", Watched)
    small = trials.Measured(pool=20, validated=8)
    row = trials.measure(trials.Trial("classification", published.HEAD, 12, 2, 0.0), small)
    learnt, again, asked = map(set, seen)
    assert again <= learnt and len(learnt) == 12 and len(asked) == 8 and not learnt & asked
    assert learnt | asked == {*published.examples("classification", "train", 20)[0]}
    assert 0 <= row["accuracy"] <= 1


def test_every_trial_is_published():
    table = pd.read_csv(trials.FOLDER / "trials.csv")
    names = ["task", "method", "labels", "steps", "rate", "head_rate"]
    rows = list(table[names].itertuples(index=False, name=None))
    assert rows == [dataclasses.astuple(trial) for trial in trials.Measured().trials]


def test_every_run_of_the_plan_is_published_once():
    table = pd.read_csv(published.FOLDER / "runs.csv")
    planned = [
        (r.task, r.method, r.labels, r.seed)
        for seed in published.SEEDS
        for r in published.work(published.Measured(), seed)
    ]
    rows = table[["task", "method", "labels", "seed"]].itertuples(index=False, name=None)
    assert sorted(rows) == sorted(planned)
    assert len({*planned}) == len(planned)
    frozen = table[table.method == published.HEAD].web_loss
    assert frozen.nunique() == 1  # a body that was not touched
