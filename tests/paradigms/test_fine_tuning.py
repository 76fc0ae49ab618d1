"""Input transformations by hand, what is trained and what is not, and the losses against peers."""

from __future__ import annotations

import pytest
import torch

from rlhf_lab.errors import InputError
from rlhf_lab.models import ASSETS, load_policy
from rlhf_lab.paradigms import fine_tuning as ft
from rlhf_lab.paradigms import gpt

TASKS = {
    "classification": ("the soup was good.",),
    "entailment": ("the fox is red.", "the fox is blue."),
    "similarity": ("the fox is red.", "the fox wears red."),
    "choice": ("the fox is red.", "what colour is the fox?", "red.", "blue."),
}
QUICK = ft.Training(steps=3, batch_size=2, learning_rate=1e-3)


def scores(network, texts):
    """(N, K) of a classifier."""
    with torch.no_grad():
        return network._scores(network._features([network._streams(row) for row in texts]))


def fitted(task="classification", training=QUICK, seed=0):
    texts = [TASKS[task], tuple(reversed(TASKS[task]))]
    labels = ["0", "1"]
    return ft.FineTunedClassifier(task, training=training, seed=seed).fit(texts, labels)


def test_streams_by_hand():
    _, tokenizer = load_policy("tiny")
    ids = {text: tokenizer(text)["input_ids"] for texts in TASKS.values() for text in texts}
    start, delimiter, extract = 1280, 1281, 1282

    def stream(*texts):
        row = [start]
        for text in texts:
            row += [*ids[text], delimiter]
        return [*row[:-1], extract]

    one, two = TASKS["similarity"]
    text, question, red, blue = TASKS["choice"]
    wanted = {
        "classification": [stream(*TASKS["classification"])],
        "entailment": [stream(*TASKS["entailment"])],
        "similarity": [stream(one, two), stream(two, one)],
        "choice": [stream(text, question, red), stream(text, question, blue)],
    }
    for task, texts in TASKS.items():
        assert ft.FineTunedClassifier(task)._streams(texts) == wanted[task]
    assert ft.FineTunedClassifier()._streams("the soup was good.") == wanted["classification"]


def test_no_text_of_a_similar_pair_is_the_first():
    network, (one, two) = fitted("similarity"), TASKS["similarity"]
    found = scores(network, [(one, two), (two, one)])
    assert torch.allclose(found[0], found[1], rtol=0, atol=1e-5)


def test_options_are_scored_each_for_itself():
    network, (text, question, red, blue) = fitted("choice"), TASKS["choice"]
    found = scores(network, [(text, question, red, blue), (text, question, blue, red)])
    assert torch.allclose(found[0], found[1].flip(0), rtol=0, atol=1e-5)
    assert abs(found[0, 0] - found[0, 1]) > 1e-4


def test_filling_changes_nothing():
    network, texts = fitted(), ["red.", "the soup was good, and so on."]
    together = scores(network, texts)
    for i, text in enumerate(texts):
        assert torch.allclose(scores(network, [text])[0], together[i], rtol=0, atol=1e-5)


def test_how_many_numbers_are_trained():
    """Counted from the shapes: width 128, vocabulary 1,280 and three, 256 positions, 4 layers."""
    body = 1283 * 128 + 256 * 128 + 4 * (12 * 128**2 + 13 * 128) + 2 * 128
    head = 2 * 128 + 2
    lora = 4 * 4 * (128 + 384)
    for trained, wanted in {"all": body + head, "head": head, "lora": lora + head}.items():
        training = ft.Training(trained=trained, steps=1, batch_size=2)
        assert fitted(training=training).trained_parameters == wanted


@pytest.mark.parametrize("trained", ["head", "lora"])
def test_what_is_frozen_stays(trained):
    network = fitted(training=ft.Training(trained=trained, steps=3, batch_size=2))
    before = ft.with_new_tokens(gpt.load(ASSETS / "tiny"), 3, 0).state_dict()
    after = {name.replace(".layer.", "."): w for name, w in network.body.state_dict().items()}
    assert all(torch.equal(after[name], before[name]) for name in before)


@torch.no_grad()
def test_lora_begins_as_the_layer_and_can_be_merged():
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(6, 4), torch.randn(3, 6)
    lora = ft.LoRA(layer, rank=2, alpha=8.0, seed=0)
    assert torch.equal(lora(x), layer(x))
    lora.b.normal_()
    by_hand = x @ (layer.weight + 4.0 * lora.b @ lora.a).T + layer.bias
    assert torch.allclose(lora(x), by_hand, rtol=0, atol=1e-5)
    assert torch.allclose(lora.merged()(x), by_hand, rtol=0, atol=1e-5)
    assert torch.linalg.matrix_rank(lora.merged().weight - layer.weight, atol=1e-5) == 2


def test_language_model_loss_against_transformers():
    """Texts of two lengths; transformers ignores labels of -100. To 1e-5 nats."""
    model, tokenizer = load_policy("tiny")
    texts = "the fox is red.", "the owl lives in the mill now."
    rows = [tokenizer(text)["input_ids"] for text in texts]
    tokens, mask = ft.padded(rows), ft.padded([[1] * len(row) for row in rows])
    wanted = model(input_ids=tokens, labels=tokens.masked_fill(mask == 0, -100)).loss
    logits = gpt.load(ASSETS / "tiny")(tokens)
    found = ft.language_model_loss(logits, tokens, mask)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-5)


def test_the_auxiliary_loss_is_added_with_its_weight():
    """The gradient of a step at λ = 0.5 is the task's plus half the language model's."""
    task = torch.tensor(2.0, requires_grad=True)
    known = torch.tensor(3.0, requires_grad=True)
    joint = ft.joint_loss(task, known, 0.5)
    joint.backward()
    assert joint == 3.5 and task.grad == 1 and known.grad == 0.5


def test_the_auxiliary_loss_reaches_the_language_model():
    """The same steps with it leave the text of the examples likelier than without."""
    texts = TASKS["entailment"]
    losses = []
    for weight in (0.0, 1.0):
        training = ft.Training(steps=8, batch_size=2, learning_rate=1e-3, auxiliary=weight)
        network = fitted("entailment", training)
        tokens = ft.padded(network._streams(texts))
        with torch.no_grad():
            logits = network.body(tokens)
        losses.append(float(ft.language_model_loss(logits, tokens, torch.ones_like(tokens))))
    assert losses[1] < losses[0] - 0.5


@pytest.mark.parametrize(("trained", "rate", "steps"), [("all", 1e-3, 12), ("head", 1e-2, 150),
                                                        ("lora", 1e-2, 12)])  # fmt: skip
def test_one_word_is_learned(trained, rate, steps):
    """Whether a text says good or bad; the rest of it is the same."""
    topics = ("soup", "bed", "room", "tea", "floor", "view", "music", "table")
    texts = [f"the {topic} was {word}." for topic in topics for word in ("good", "bad")]
    training = ft.Training(trained=trained, steps=steps, batch_size=6, learning_rate=rate)
    network = ft.FineTunedClassifier(training=training).fit(texts[:12], ["good", "bad"] * 6)
    assert network.predict(texts[12:]) == ["good", "bad"] * 2


def test_a_seed_decides_everything():
    one, again, other = (fitted(seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.head.weight, again.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)


SENTENCES = [("the", "fox", "met", "clara"), ("clara", "met", "the", "hedgehog"), ("the", "owl")]
TAGS = [("O", "INN", "O", "PER"), ("PER", "O", "O", "INN"), ("O", "INN")]


@pytest.mark.parametrize("causal", [True, False])
def test_tagger(causal):
    training = ft.Training(steps=15, batch_size=3, learning_rate=1e-3)
    tagger = ft.FineTunedTagger(training=training, causal=causal).fit(SENTENCES, TAGS)
    assert tagger.predict(SENTENCES) == [list(row) for row in TAGS]
    encoded = [tagger.encoder.words(sentence) for sentence in SENTENCES]
    with torch.no_grad():
        together = tagger._scores(encoded)
        for one, scores in zip(encoded, together, strict=True):
            assert torch.allclose(tagger._scores([one])[0], scores, rtol=0, atol=1e-4)


def test_only_a_tagger_that_looks_both_ways_knows_what_follows():
    for causal in (True, False):
        training = ft.Training(steps=1, batch_size=2)
        tagger = ft.FineTunedTagger(training=training, causal=causal).fit(SENTENCES, TAGS)
        with torch.no_grad():
            first, other = (
                tagger._scores([tagger.encoder.words(("the", "fox", word))])[0][1]
                for word in ("ran", "slept")
            )
        assert torch.equal(first, other) == causal


def test_a_word_ends_with_its_last_piece():
    encoder = ft.Encoder(ASSETS / "tiny")
    ids, last = encoder.words(("zyx", "fox"))
    assert last[-1] == len(ids) - 1 and last[0] > 1  # an unknown word has several pieces
    assert encoder.tokenizer.decode(ids[1 : last[0] + 1]) == "zyx"


@pytest.mark.parametrize("wrong", [
    lambda: ft.FineTunedClassifier("translation"),
    lambda: ft.Training(trained="nothing"),
    lambda: ft.Training(trained="head", auxiliary=0.5),
])  # fmt: skip
def test_settings_that_cannot_be_met(wrong):
    with pytest.raises(InputError):
        wrong()
