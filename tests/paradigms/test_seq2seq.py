"""Scores, attention and translators against slow definitions; the dialect against its rules."""

import itertools
import math

import numpy as np
import pytest
import torch

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms import seq2seq
from rlhf_lab.paradigms.data import SENTENCE_BEGINNING, split_of
from rlhf_lab.paradigms.dialect import dictionary, old_fernish, origins, word_for_word
from rlhf_lab.paradigms.seq2seq import BEGIN, END, Translator

RNG = np.random.default_rng(0)
QUERIES, KEYS = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 5, 4))


def tensors(*arrays):
    return [torch.tensor(a) for a in arrays]


def test_scores_number_by_number():
    w, u, v = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 4)), RNG.normal(size=6)
    dots = seq2seq.dot_scores(*tensors(QUERIES, KEYS))
    added = seq2seq.additive_scores(*tensors(QUERIES, KEYS, w, u, v))
    for b in range(2):
        for t in range(3):
            for s in range(5):
                dot = sum(q * k for q, k in zip(QUERIES[b, t], KEYS[b, s], strict=True))
                assert dots[b, t, s].item() == pytest.approx(dot / math.sqrt(4), abs=1e-12)
                one = sum(
                    v[a] * math.tanh(sum(w[a, i] * QUERIES[b, t, i] + u[a, i] * KEYS[b, s, i]
                                         for i in range(4)))
                    for a in range(6)
                )  # fmt: skip
                assert added[b, t, s].item() == pytest.approx(one, abs=1e-12)


def test_attention_by_hand_and_nothing_for_padding():
    scores = RNG.normal(size=(2, 3, 5))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    values = torch.tensor(KEYS)
    context, weights = seq2seq.attend(torch.tensor(scores), values, mask)
    for b, length in enumerate((5, 2)):
        for t in range(3):
            exps = [math.exp(x) for x in scores[b, t, :length]]
            for s in range(length):
                assert weights[b, t, s].item() == pytest.approx(exps[s] / sum(exps), abs=1e-12)
            wanted = sum(e / sum(exps) * KEYS[b, s] for s, e in enumerate(exps))
            np.testing.assert_allclose(context[b, t], wanted, atol=1e-12)
    assert (weights[1, :, 2:] == 0).all()
    unmasked, _ = seq2seq.attend(torch.tensor(scores[:1]), values[:1])
    torch.testing.assert_close(unmasked, context[:1])


PAIRS = old_fernish("train", 8, (1, 1))


@pytest.fixture(scope="module", params=seq2seq.ATTENTIONS)
def model(request):
    chosen = Translator(request.param, steps=120, batch_size=8, learning_rate=0.02, seed=1)
    return chosen.fit(PAIRS.sources, PAIRS.targets)


def test_a_translator_learns_its_pairs_and_its_seed_decides(model):
    assert model.predict(PAIRS.sources) == [list(target) for target in PAIRS.targets]
    one, two = (
        Translator(model.attention, steps=2, seed=4).fit(PAIRS.sources, PAIRS.targets)
        for _ in range(2)
    )
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_loss_is_the_words_written_one_by_one(model):
    """Every probability from a decoder that is fed one word at a time."""
    source, target = PAIRS.sources[0], PAIRS.targets[0]
    ids = model.target_words.ids([BEGIN, *target, END])
    read = model.encode(torch.tensor([model.source_words.ids(source)]))
    state, total = read.last, 0.0
    for before, after in itertools.pairwise(ids):
        scores, weights, state = model.decode(torch.tensor([[before]]), read, state)
        total -= scores[0, 0].log_softmax(-1)[after].item()
        if model.attention != "none":
            assert weights.sum().item() == pytest.approx(1, abs=1e-5)
    # A second pair of the same length, shorter in the target: its padding must not count.
    loss = model.loss(
        torch.tensor([model.source_words.ids(source)] * 2),
        torch.tensor([ids, [*ids[:4], *[0] * (len(ids) - 4)]]),
    )
    short = model.loss(torch.tensor([model.source_words.ids(source)]), torch.tensor([ids[:4]]))
    n = len(ids) - 1
    assert loss.item() == pytest.approx((total + 3 * short.item()) / (n + 3), abs=1e-4)


def test_only_attention_has_a_map(model):
    source, target = PAIRS.sources[0], PAIRS.targets[0]
    if model.attention == "none":
        with pytest.raises(InputError, match="dot or additive"):
            model.attention_map(source, target)
        return
    weights = model.attention_map(source, target)
    assert weights.shape == (len(target), len(source))
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)


def test_batches_hold_one_length_and_reach_every_row():
    lengths = [3, 3, 5, 3, 5, 9]
    torch.manual_seed(0)
    seen = set()
    for rows in seq2seq.alike(lengths, 2, 60):
        assert len({lengths[i] for i in rows}) == 1 and len(rows) == len(set(rows)) <= 2
        seen |= set(rows)
    assert seen == set(range(6))


def test_wrong_arguments_say_why():
    for call, name in (
        (lambda: Translator("loud"), "attention"),
        (lambda: Translator(hidden=3), "hidden"),
        (lambda: Translator().fit([], []), "targets"),
        (lambda: Translator().fit([[]], [["a"]]), "targets"),
        (lambda: Translator().predict([["a"]]), "translator"),
        (lambda: old_fernish("train", 0), "count"),
        (lambda: old_fernish("train", 1, (2, 1)), "clauses"),
        (lambda: origins(PAIRS.sources[0], ["elsewhere"]), "target"),
    ):
        with pytest.raises(InputError) as error:
            call()
        assert error.value.argument == name


def test_old_fernish_has_the_same_words_in_the_order_of_its_grammar():
    data = old_fernish("test", 60, (1, 3))
    verbs = {"sees", "likes", "finds", "carries", "wants", "sells", "hides", "has"}
    assert len(set(data.sources)) == 60 and data.clauses[:4] == (1, 2, 3, 1)
    for source, target, clauses in zip(data.sources, data.targets, data.clauses, strict=True):
        assert split_of(" ".join(target), SENTENCE_BEGINNING) == "test"
        literal = word_for_word(source)
        assert sorted(literal) == sorted(target)
        places = origins(source, target)
        assert sorted(places) == list(range(len(source)))
        assert [literal[place] for place in places] == list(target)
        parts = " ".join(literal[:-1]).split(" and ")
        assert len(parts) == clauses and literal[-1] == target[-1] == "."
        assert all(part.split()[-1] in verbs for part in parts)


def test_the_words_are_the_worlds_and_splits_share_no_beginning():
    words = dictionary()
    assert word_for_word(("kleka", "unheard", ".")) == [words["kleka"], "unheard", "."]
    train, test = (old_fernish(s, 150) for s in ("train", "test"))
    heads = [{t[:SENTENCE_BEGINNING] for t in d.targets} for d in (train, test)]
    assert not heads[0] & heads[1]
    assert {w for s in old_fernish("train", 3000).sources for w in s} >= {
        w for s in test.sources for w in s
    }
