"""What the chapter on architectures prints: its scores by hand, on tiny settings."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks import architecture_runs as runs
from benchmarks import architectures as published
from rlhf_lab.paradigms.data import fernwick_tagging
from rlhf_lab.paradigms.dialect import Parallel, origins
from rlhf_lab.paradigms.recurrent import NeuralTagger
from rlhf_lab.paradigms.scoring import entity_scores, token_accuracy

TAGGING = runs.Tagging(
    steps=(3, 4), brief=2, sizes=(10, 20), radii=(1,), pool=40, tested=12, probed=400
)
TRANSLATION = runs.Translation(steps=(2, 3, 4), pairs=20, clauses=2, longest=2, each=3, batch=4)


def test_what_the_probe_asks():
    sentences, starts, inns = runs.probe(1500)
    assert len(sentences) > 20 and any(inns) and not all(inns)
    for words, start, inn in zip(sentences, starts, inns, strict=True):
        assert words[start - 1 : start + 1] == ("to", "the")
        left = words[: start - 1]
        assert ("from" in left) or not inn  # what makes it an inn is there, further left


@pytest.mark.parametrize("name", [runs.CRF, runs.BILSTM_CRF, "window 1", *runs.BRIEF])
def test_scores_of_a_tagger_trained_again(name):
    (row,) = runs.measure(TAGGING, name, 20, 1)
    train = fernwick_tagging("entities", "train", 40).sample(20, 1)
    test = fernwick_tagging("entities", "test", 12)
    model = runs.tagger(name, 20, 1, TAGGING).fit(train.sentences, train.tags)
    found = model.predict(test.sentences)
    assert row["f1"] == entity_scores(test.tags, found).f1
    assert row["accuracy"] == token_accuracy(test.tags, found)
    assert ("legal_f1" in row) == (name in ("window 1", "BiLSTM, brief"))
    if isinstance(model, NeuralTagger):
        crf = name in ("BiLSTM-CRF", "BiLSTM-CRF, brief")
        assert (model.radius, model.crf) == (1 if name == "window 1" else None, crf)
        assert (model.steps, model.seed) == (2 if "brief" in name else 4, 1)


def test_a_small_training_set_has_its_own_number_of_updates():
    assert runs.tagger(runs.BILSTM, 10, 0, TAGGING).steps == 3
    assert runs.tagger("BiLSTM, letters", 7, 0, runs.English(steps=5)).steps == 5


def test_a_translators_rows():
    rows = runs.measure(TRANSLATION, "dot", 20, 0)
    assert [row["clauses"] for row in rows] == [1, 2]
    assert 0 < rows[0]["literal_chrf"] < 100
    source, target = runs.shown()
    weights = np.array(rows[0]["map"])
    assert weights.shape == (len(target) + 1, len(source))
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-3)
    table = published._maps(rows)
    assert len(table) == weights.size and "map" not in rows[0]
    assert table[-1]["written"] == "</s>" and table[-1]["read"] == "."


def test_aligned_is_the_share_of_words_at_their_origin():
    source, target = runs.shown()

    class Oracle:
        def __init__(self, wrong):
            self.wrong = wrong

        def attention_map(self, source, target):
            weights = np.eye(len(source))[origins(source, target)]
            weights[: self.wrong] = np.roll(weights[: self.wrong], 1, axis=1)
            return weights

    pair = Parallel((source,), (target,), (1,))
    assert runs.aligned(Oracle(0), pair) == 1
    assert runs.aligned(Oracle(2), pair) == pytest.approx(1 - 2 / len(target))


def test_scores_by_hand():
    pair = Parallel((("a", "b"), ("c", ".")), (("b", "a"), ("d", ".")), (1, 1))
    found = runs.scores(pair, [["b", "a"], ["d", "d"]])
    assert found["exact"] == 0.5 and found["words"] == 2 and found["chrf"] < 100
    assert runs.scores(pair, [["b", "a"], ["d", "."]])["chrf"] == 100


def test_the_files_have_every_arm_and_seed():
    about = json.loads((published.FOLDER / "manifest.json").read_text(encoding="utf-8"))
    assert len(about["seeds"]) == 5
    tagging, translation = (
        pd.read_csv(published.FOLDER / f"{part}.csv") for part in ("tagging", "translation")
    )
    wanted = {(*arm, s) for arm in published.arms("tagging") for s in published.SEEDS}
    assert set(zip(tagging.method, tagging.sentences, tagging.seed, strict=True)) == wanted
    assert len(tagging) == len(wanted)
    brief = pd.read_csv(published.FOLDER / "translation_brief.csv")
    for table, part in ((translation, "translation"), (brief, "translation_brief")):
        seeds = about["config"][part]["seeds"]
        found = table.groupby(["attention", "clauses"]).seed.nunique()
        assert len(found) == 3 * 5 and found.eq(seeds).all()
    ewt = pd.read_csv(published.FOLDER / "ewt.csv").groupby("method").seed.nunique()
    seeds = about["config"]["ewt"]["seeds"]
    assert ewt.to_dict() == {runs.CRF: 1, runs.BILSTM: seeds, "BiLSTM, letters": seeds}
