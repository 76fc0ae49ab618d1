"""The n-gram baseline against sums over the vocabulary and a literal reading of the formula."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_lab.errors import InputError
from rlhf_lab.world import World
from rlhf_lab.world.ngram import NGram

V, EOS = 6, 0
DOCUMENTS = [[1, 2, 3], [1, 2, 3, 4], [2, 3, 1, 2], [4, 4, 1, 2, 3], [3], [1, 2, 4, 1, 2, 3]]


def by_definition(documents: Sequence[Sequence[int]], order: int):
    """Interpolated Kneser-Ney from dictionaries, one n-gram at a time."""
    raw: dict[int, Counter] = defaultdict(Counter)
    for document in documents:
        line = (EOS,) * (order - 1) + tuple(document) + (EOS,)
        for end in range(order - 1, len(line)):
            for n in range(1, order + 1):
                raw[n][line[end - n + 1 : end + 1]] += 1
    counts: dict[int, Counter] = {order: raw[order]}
    for n in range(1, order):
        counts[n] = Counter(gram[1:] for gram in raw[n + 1])
    discount = {}
    for n, table in counts.items():
        once, twice = (sum(c == i for c in table.values()) for i in (1, 2))
        discount[n] = min(max(once / (once + 2 * twice), 0.1), 0.9) if once else 0.1

    def probability(word: int, history: tuple[int, ...]) -> float:
        history = history[max(0, len(history) - order + 1) :]
        p = 1 / V
        for n in range(1, len(history) + 2):
            h = history[len(history) - n + 1 :]
            behind = {g[-1]: c for g, c in counts[n].items() if g[:-1] == h}
            total = sum(behind.values())
            if total:
                d = discount[n]
                p = max(behind.get(word, 0) - d, 0) / total + d * len(behind) / total * p
        return p

    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_equals_the_formula(order):
    model = NGram.fit(DOCUMENTS, V, EOS, order)
    expected = by_definition(DOCUMENTS, order)
    histories = [(), (1,), (1, 2), (5,), (5, 1, 2), (4, 4, 1, 2), (EOS,) * 4, (3, 3, 3, 3, 1, 2)]
    for history in histories:
        for word in range(V):
            found = model.logprob(history, [word])
            assert found == pytest.approx(math.log(expected(word, history)), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, V - 1), max_size=8), min_size=1, max_size=8),
    st.lists(st.integers(0, V - 1), max_size=7),
    st.integers(1, 5),
)
def test_sums_to_one_and_every_word_is_possible(documents, history, order):
    model = NGram.fit(documents, V, EOS, order)
    p = model.distribution(history)
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert p.min() > 0
    assert np.log(p) == pytest.approx([model.logprob(history, [w]) for w in range(V)], abs=1e-10)


def test_sequence_is_the_sum_of_its_steps():
    model = NGram.fit(DOCUMENTS, V, EOS)
    line = DOCUMENTS[5]
    steps = [model.logprob([4, *line[:i]], [w]) for i, w in enumerate(line)]
    assert model.token_logprobs([4], line) == pytest.approx(steps, abs=1e-12)
    start = [EOS] * 4
    assert model.document_logprob([1, 2]) == pytest.approx(
        sum(model.logprob([*start, *[1, 2, EOS][:i]], [w]) for i, w in enumerate([1, 2, EOS])),
        abs=1e-12,
    )


def test_samples_follow_the_distribution():
    model = NGram.fit(DOCUMENTS, V, EOS)
    rng = np.random.default_rng(0)
    drawn = Counter(tuple(model.sample([1], 1, rng)) for _ in range(4000))
    p = model.distribution([1])
    for word in range(1, V):
        spread = math.sqrt(p[word] * (1 - p[word]) / 4000)
        assert abs(drawn[(word,)] / 4000 - p[word]) < 5 * spread
    assert drawn[()] > 0  # EOS ends a sample and is not part of it


def test_greedy_sample_and_stop():
    model = NGram.fit([[1, 2, 3, 4]] * 5, V, EOS)
    rng = np.random.default_rng(0)
    assert model.sample([1], 9, rng, greedy=True) == [2, 3, 4]
    assert model.sample([1], 9, rng, greedy=True, stop=[3]) == [2]
    assert model.sample([1], 2, rng, greedy=True) == [2, 3]


def test_learns_the_web():
    """Held-out words cost far less than a uniform guess, and order 5 beats order 1."""
    texts = [d.text.split() for d in World(0).documents(2000)]
    held_out = [d.text.split() for d in World(0).documents(200, split="test")]
    names = {w: i + 2 for i, w in enumerate(sorted({w for t in texts for w in t}))}
    ids = [[names[w] for w in t] for t in texts]
    test = [[names.get(w, 1) for w in t] for t in held_out]
    size = len(names) + 2

    def nats(order: int) -> float:
        model = NGram.fit(ids, size, EOS, order)
        return -sum(model.document_logprob(t) for t in test) / sum(len(t) + 1 for t in test)

    assert nats(5) < 0.7 * nats(1) < 0.7 * math.log(size)


@pytest.mark.parametrize(
    "documents, order, argument",
    [
        ([], 5, "documents"),
        ([[1, V]], 5, "documents"),
        ([[-1]], 5, "documents"),
        ([[1]], 0, "order"),
    ],
)
def test_bad_input(documents, order, argument):
    with pytest.raises(InputError) as caught:
        NGram.fit(documents, V, EOS, order)
    assert caught.value.argument == argument
