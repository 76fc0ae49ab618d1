"""Scores against one pass a token, calibration against the paper's formula, choices by hand."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from rlhf_lab.errors import InputError
from rlhf_lab.models import load_policy
from rlhf_lab.paradigms import prompting as pr
from rlhf_lab.paradigms.prompting import PromptClassifier
from tiny_models import FAMILIES, PAD, causal_lm

TEXTS = ["at the inn the bed was warm.", "the soup was cold and the owl was rude.", "it was late."]
LABELS = ["good", "bad", "bad"]
WORDS = {"good": (" good", " warm and kind"), "bad": " warm and cold"}


@pytest.fixture(scope="module")
def tiny():
    return load_policy("tiny")


def slowly(tiny, prompt, word):
    """log p of each token of a word: one whole pass a token, nothing batched, float64 softmax."""
    model, tokenizer = tiny
    ids = tokenizer(prompt)["input_ids"]
    found = []
    for token in tokenizer(word)["input_ids"]:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1].double()
        found.append(float(logits[token] - logits.logsumexp(0)))
        ids = [*ids, token]
    return found


def test_every_word_token_by_token(tiny):
    """Words of 1 and 3 tokens, two that share a beginning, prompts of unequal lengths; to 1e-4."""
    _, tokenizer = tiny
    words = [" good", " warm and kind", " warm and cold", " warm"]
    ids = [tokenizer(w)["input_ids"] for w in words]
    assert [len(w) for w in ids] == [1, 3, 3, 1]
    prompts = [f"{text}\nverdict:" for text in TEXTS]
    found = pr.word_logprobs(
        tiny[0], [tokenizer(p)["input_ids"] for p in prompts], ids, tokenizer.pad_token_id
    )
    for word, values in zip(words, found, strict=True):
        for prompt, row in zip(prompts, values.tolist(), strict=True):
            assert row == pytest.approx(slowly(tiny, prompt, word), abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_shared_beginning_is_read_once_and_changes_nothing(family):
    """Random ids in three architectures against whole passes, one token at a time; to 1e-5."""
    model = causal_lm(family, vocab_size=50).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    prompts = [[7, 8, 9, 10, 11], [7, 8, 9, 12], [7, 8, 9, 10, 11, 13, 14]]
    words = [[20], [21, 22, 23], [21, 22, 24], [25, 26]]
    found = pr.word_logprobs(model, prompts, words, PAD)
    for word, values in zip(words, found, strict=True):
        for prompt, row in zip(prompts, values.tolist(), strict=True):
            for t, token in enumerate(word):
                with torch.no_grad():
                    logits = model(input_ids=torch.tensor([[*prompt, *word[:t]]])).logits[0, -1]
                assert row[t] == pytest.approx(logits.log_softmax(0)[token].item(), abs=1e-5)


def test_more_rows_than_a_pass_holds(tiny, monkeypatch):
    """In double precision: how single precision rounds depends on the rows of a pass."""
    model, tokenizer = copy.deepcopy(tiny[0]).double(), tiny[1]
    prompts = [tokenizer(text)["input_ids"] for text in TEXTS]
    words = [tokenizer(w)["input_ids"] for w in (" good", " warm and kind")]
    whole = pr.word_logprobs(model, prompts, words, tokenizer.pad_token_id)
    monkeypatch.setattr(pr, "ROWS_PER_PASS", 1)
    single = pr.word_logprobs(model, prompts, words, tokenizer.pad_token_id)
    for one, other in zip(whole, single, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scoring", pr.SCORINGS)
def test_probabilities_of_labels_by_hand(tiny, scoring):
    """The definitions in plain Python on the slow log-probabilities; several words are added."""
    classifier = PromptClassifier(WORDS, model=tiny, shots=2, choose="first", scoring=scoring)
    classifier.fit(TEXTS, LABELS)
    score = {
        "sum": sum, "mean": lambda values: sum(values) / len(values), "first": lambda v: v[0]
    }[scoring]  # fmt: skip
    for text, row in zip(TEXTS, classifier.predict_proba(TEXTS).tolist(), strict=True):
        prompt = (
            f"{TEXTS[0]}\nverdict: good.\n{TEXTS[1]}\nverdict: warm and cold.\n{text}\nverdict:"
        )
        assert classifier.prompt(text) == prompt
        bad = math.exp(score(slowly(tiny, prompt, " warm and cold")))
        good = sum(math.exp(score(slowly(tiny, prompt, word))) for word in WORDS["good"])
        assert row == pytest.approx([bad / (bad + good), good / (bad + good)], abs=1e-4)
        assert sum(row) == pytest.approx(1, abs=1e-12)


def test_calibration_is_the_papers_formula(tiny):
    """q = softmax(W p + b), W = diag(p_cf)⁻¹, b = 0, with NumPy; Zhao et al. 2021, §5."""
    plain = PromptClassifier(model=tiny, shots=2, seed=1).fit(TEXTS, LABELS)
    calibrated = PromptClassifier(model=tiny, shots=2, seed=1, calibrate=True).fit(TEXTS, LABELS)
    p_cf = np.mean([plain.predict_proba([x])[0].numpy() for x in ("N/A", "[MASK]", "")], axis=0)
    w = np.linalg.inv(np.identity(2) * p_cf)
    for p, q in zip(plain.predict_proba(TEXTS), calibrated.predict_proba(TEXTS), strict=True):
        logits = np.matmul(w, p.numpy()) + np.zeros(2)
        wanted = np.exp(logits) / np.exp(logits).sum()
        assert q.numpy() == pytest.approx(wanted, abs=1e-6)


def test_what_calibration_promises(tiny):
    """The input it was made with comes out as a draw, and a label it disliked can now win."""
    classifier = PromptClassifier(model=tiny, content_free=("N/A",), calibrate=True)
    classifier.fit(TEXTS, LABELS)
    assert classifier.predict_proba(["N/A"])[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)
    p, prior = torch.tensor([[0.7, 0.3]]), torch.tensor([0.8, 0.2])
    assert pr.contextual_calibration(p, prior).argmax() == 1


def test_choices():
    texts, labels = [str(i) for i in range(12)], ["a"] * 9 + ["b"] * 3
    kinds = {"a": " good", "b": " bad"}

    def chosen(shots, choose, seed=0):
        classifier = PromptClassifier(kinds, shots=shots, choose=choose, seed=seed)
        return classifier.fit(texts, labels).examples

    assert chosen(3, "first") == [("0", "a"), ("1", "a"), ("2", "a")]
    assert chosen(2, "random") == chosen(5, "random")[:2]
    assert len(set(chosen(12, "random"))) == 12
    assert chosen(5, "random", seed=1) != chosen(5, "random", seed=2)
    counts = [sorted(y for _, y in chosen(6, "balanced", seed)) for seed in range(5)]
    assert counts == [["a"] * 3 + ["b"] * 3] * 5
    orders = {tuple(y for _, y in chosen(4, "balanced", seed)) for seed in range(20)}
    assert len(orders) > 3  # the labels do not stand in turn
    assert sum(y == "b" for _, y in chosen(8, "balanced")) == 3  # there are no more


def test_without_examples(tiny):
    classifier = PromptClassifier({"good": " good", "bad": " bad"}, model=tiny).fit((), ())
    assert classifier.labels == ["bad", "good"] and classifier.prompt("x") == "x\nverdict:"
    assert classifier.predict(["at the inn the bed was bad and the soup was cold."]) == ["bad"]
    assert classifier.predict(()) == []


def test_braces_in_a_text_are_text(tiny):
    classifier = PromptClassifier({"a": " a"}, "{text} is {b}:", model=tiny).fit((), ())
    assert classifier.prompt("{x} {text}") == "{x} {text} is {b}:"


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: PromptClassifier(template="verdict:"), "template"),
        (lambda: PromptClassifier(scoring="product"), "scoring"),
        (lambda: PromptClassifier(choose="best"), "choose"),
        (lambda: PromptClassifier({"good": ()}), "verbaliser"),
        (lambda: PromptClassifier({"good": ""}), "verbaliser"),
        (lambda: PromptClassifier({"good": " good"}).fit(["x"], ["bad"]), "labels"),
        (lambda: PromptClassifier().fit((), ()), "labels"),
        (lambda: PromptClassifier().fit(["x"], []), "labels"),
        (lambda: PromptClassifier(shots=4).fit(TEXTS, LABELS), "shots"),
        (lambda: PromptClassifier(shots=-1).fit(TEXTS, LABELS), "shots"),
    ],
)
def test_wrong_arguments(make, named):
    with pytest.raises(InputError, match=named):
        make()


def test_a_prompt_longer_than_the_model(tiny):
    """256 positions: the last token of a word needs none, since nothing is read off it."""
    _, tokenizer = tiny
    classifier = PromptClassifier({"a": " warm and kind"}, "{text}", model=tiny).fit((), ())
    word = " good"
    assert len(tokenizer(word * 254)["input_ids"]) == 254
    assert classifier.predict([word * 254]) == ["a"]
    with pytest.raises(InputError, match="257 tokens with 0 examples"):
        classifier.predict([word * 255])
