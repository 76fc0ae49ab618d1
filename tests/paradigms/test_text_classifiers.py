"""Features that an expert marks, and a BiLSTM over whole texts."""

import numpy as np
import pytest
import torch
from torch import nn

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms.data import fernwick_sentiment
from rlhf_lab.paradigms.recurrent_classifier import BiLSTMClassifier, words_and_marks
from rlhf_lab.paradigms.scoring import accuracy
from rlhf_lab.paradigms.text_features import feature_classifier, marked


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The soup was not bad and warm.", "the soup was not bad_not and_not warm_not ."),
        ("not a big red dog barked", "not a_not big_not red_not dog barked"),
        ("It isn't bad, it is good", "it isn ' t bad_not , it is good"),
        ("although it was bad, it is good", "although it_off was_off bad_off , it is good"),
        ("good, even if bad.", "good , even if bad_off ."),
        ("it was bad but it is good", "it_off was_off bad_off but it is good"),
        ("we came. it was bad but good", "we came . it_off was_off bad_off but good"),
    ],
)
def test_what_is_marked(text, wanted):
    assert marked(text) == wanted.split()


def test_marks_tell_texts_apart_that_have_the_same_words():
    pairs = [("bad", "good"), ("good", "bad")] * 8
    texts = [f"the bed was {a} and the soup was not {b}." for a, b in pairs]
    labels = ["bad", "good"] * 8
    assert list(feature_classifier().fit(texts, labels).predict(texts)) == labels
    model = feature_classifier(expert=False).fit(texts[:2], labels[:2])
    names = model[0].get_feature_names_out()
    assert "not good" in names and not any("_" in name for name in names)


def test_words_and_marks():
    assert words_and_marks("So-so, isn't it") == ["so", "-", "so", ",", "isn", "'", "t", "it"]


def test_a_bilstm_learns_and_is_a_function_of_its_seed():
    data = fernwick_sentiment("train", 60)
    kw = {"steps": 60, "size": 16, "hidden": 16, "unknown": 0.1}
    model = BiLSTMClassifier(**kw, seed=1).fit(data.texts, data.labels)
    again = BiLSTMClassifier(**kw, seed=1).fit(data.texts, data.labels)
    other = BiLSTMClassifier(**kw, seed=2).fit(data.texts, data.labels)
    assert accuracy(data.labels, model.predict(data.texts)) > 0.8  # a coin: 0.5
    assert torch.equal(model.score.weight, again.score.weight)
    assert not torch.equal(model.score.weight, other.score.weight)
    assert model.parameter_count() == sum(p.numel() for p in again.parameters())


def test_scores_are_those_of_pytorchs_own_bidirectional_lstm():
    """The text by itself through nn.LSTM, a maximum by numpy; to 1e-6. Padding changes nothing."""
    data = fernwick_sentiment("train", 8)
    model = BiLSTMClassifier(steps=2, size=8, hidden=6).fit(data.texts, data.labels)
    lstm = nn.LSTM(8, 3, batch_first=True, bidirectional=True)
    for suffix, part in (("", model.body.outward), ("_reverse", model.body.homeward)):
        for name, value in part.named_parameters():
            getattr(lstm, name + suffix).data = value.data
    rows = [model.words.ids(words_and_marks(text)) for text in data.texts[:3]]
    longest = max(map(len, rows))
    padded = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    with torch.no_grad():
        together = model(padded)
        for row, scores in zip(rows, together, strict=True):
            states = lstm(model.embedding(torch.tensor([row])))[0][0].numpy().max(0)
            wanted = model.score.weight.numpy() @ states + model.score.bias.numpy()
            np.testing.assert_allclose(scores.numpy(), wanted, atol=1e-6)


def test_what_cannot_be_classified():
    with pytest.raises(InputError, match="texts with words"):
        BiLSTMClassifier().fit(["good", " "], ["good", "bad"])
    with pytest.raises(InputError, match="call fit first"):
        BiLSTMClassifier().predict(["good"])
    with pytest.raises(InputError, match="even"):
        BiLSTMClassifier(hidden=3)
    model = BiLSTMClassifier(steps=1).fit(["good", "bad"], ["good", "bad"])
    assert model.predict([""])[0] in ("bad", "good")
