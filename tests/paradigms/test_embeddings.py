"""Word vectors: objectives and gradients against autograd, loops and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms import embeddings as words

TEXTS = [
    "the fox eats berries.".split(),
    "the owl eats nuts and the fox sleeps .".split(),
    ["owl"],
]


@pytest.fixture
def vocabulary():
    return words.Vocabulary.of(TEXTS)


def doubles(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_words_of_a_text():
    said = words.words_of("The fox: 12 apples,\nfox-hill [ 3 ].")
    assert said == "the fox : 12 apples , fox - hill [ 3 ] .".split()


def test_vocabulary_counts_and_unknown_words():
    found = words.Vocabulary.of(TEXTS, minimum=2)
    assert found.words[:2] == (words.EDGE, words.UNKNOWN)
    assert set(found.words[2:]) == {"the", "fox", "owl", "eats"}
    counts = dict(zip(found.words, found.counts.tolist(), strict=True))
    assert counts == {
        words.EDGE: 0, words.UNKNOWN: 5, "the": 3, "fox": 2, "owl": 2, "eats": 2,
    }  # fmt: skip
    assert found.encode([["fox", "nuts"]]) == [[found.words.index("fox"), 1]]


def test_neighbourhoods_by_loop(vocabulary):
    ids = vocabulary.encode(TEXTS)
    middle, around = words.neighbourhoods(ids, 2, 1)
    wanted = []
    for text in ids:
        line = [0, 0, *text, 0]
        wanted += [
            (line[i], [line[i - 2], line[i - 1], line[i + 1]]) for i in range(2, len(line) - 1)
        ]
    assert list(zip(middle.tolist(), around.tolist(), strict=True)) == wanted


@pytest.mark.parametrize("by_distance", [True, False])
def test_cooccurrence_by_loop(vocabulary, by_distance):
    ids, size = vocabulary.encode(TEXTS), len(vocabulary)
    wanted = torch.zeros(size, size)
    for text in ids:
        for i, one in enumerate(text):
            for j, other in enumerate(text):
                if 0 < abs(i - j) <= 3:
                    wanted[one, other] += 1 / abs(i - j) if by_distance else 1
    found = words.cooccurrence(ids, size, 3, by_distance=by_distance)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_ppmi_by_loop():
    counts = torch.tensor([[0.0, 4, 1], [4, 2, 0], [1, 0, 8]])
    found = words.ppmi(counts)
    for i in range(3):
        for j in range(3):
            n, total = counts[i, j].item(), counts.sum().item()
            row, column = counts[i].sum().item(), counts[:, j].sum().item()
            wanted = max(0.0, math.log(n * total / (row * column))) if n else 0.0
            assert found[i, j].item() == pytest.approx(wanted, abs=1e-6)


def test_skip_gram_loss_word_by_word():
    """A plain transcription of Mikolov et al. 2013b, equation 4."""
    predicting, outputs = doubles(3, 4), doubles(3, 6, 4, seed=1)

    def log_sigmoid(x):
        return -math.log(1 + math.exp(-x))

    total = 0.0
    for b in range(3):
        scores = [sum(p * o for p, o in zip(predicting[b].tolist(), row, strict=True))
                  for row in outputs[b].tolist()]  # fmt: skip
        total -= log_sigmoid(scores[0]) + sum(log_sigmoid(-s) for s in scores[1:])
    found = words.negative_sampling_loss(predicting, outputs)
    assert found.item() == pytest.approx(total / 3, rel=1e-12)


def test_skip_gram_gradient_is_that_of_the_objective():
    predicting, outputs = doubles(5, 7).requires_grad_(), doubles(5, 4, 7, seed=1).requires_grad_()
    words.negative_sampling_loss(predicting, outputs).backward()
    with torch.no_grad():
        by_predicting, by_outputs = words.negative_sampling_gradient(predicting, outputs)
    assert torch.allclose(by_predicting, predicting.grad, rtol=0, atol=1e-14)
    assert torch.allclose(by_outputs, outputs.grad, rtol=0, atol=1e-14)


@pytest.mark.parametrize("cbow", [False, True])
def test_a_step_moves_the_tables_as_autograd_says(vocabulary, monkeypatch, cbow):
    """One step of plain gradient descent; a word that stands twice in a batch gets both parts."""
    ids, drawn = vocabulary.encode(TEXTS), []
    config = words.EmbeddingConfig(
        dimension=3, window=2, negatives=2, epochs=1, batch_size=1000, learning_rate=0.5,
        subsample=1.0,
    )  # fmt: skip
    size = len(vocabulary)

    def record(predicting, outputs):
        drawn.append((predicting.clone(), outputs.clone()))
        return real(predicting, outputs)

    real, searchsorted = words.negative_sampling_gradient, torch.searchsorted
    inputs = []

    def keep_inputs(vectors, around):
        inputs.append(around)
        return cbow_vector(vectors, around)

    cbow_vector = words.cbow_vector
    noise = []

    def keep_noise(*args):
        noise.append(searchsorted(*args))
        return noise[-1]

    monkeypatch.setattr(words, "negative_sampling_gradient", record)
    monkeypatch.setattr(words, "cbow_vector", keep_inputs)
    monkeypatch.setattr(torch, "searchsorted", keep_noise)
    monkeypatch.setattr(torch.optim, "Adam", torch.optim.SGD)
    train = words.train_cbow if cbow else words.train_skipgram
    word, output = train(ids, vocabulary, config)

    # The same start and the same draws, differentiated by autograd through both look-ups.
    first = torch.rand(size, 3, generator=torch.Generator().manual_seed(0))
    start = ((first - 0.5) / 3).requires_grad_()
    end = torch.zeros(size, 3, requires_grad=True)
    assert len(inputs) == len(noise) == 1
    predicting = cbow_vector(start, inputs[0])
    assert torch.allclose(predicting, drawn[0][0])
    observed = _observed(ids, inputs[0], cbow, vocabulary)
    outputs = torch.cat([observed[:, None], noise[0]], 1)
    words.negative_sampling_loss(predicting, end[outputs]).backward()
    assert torch.allclose(word.vectors, (start - 0.5 * start.grad).detach(), atol=1e-6)
    assert torch.allclose(output.vectors, (end - 0.5 * end.grad).detach(), atol=1e-6)
    assert output.vectors.abs().max() > 1e-3


def _observed(ids, inputs, cbow, vocabulary):
    """The words to predict, drawn once more with the trainer's own generator."""
    generator = torch.Generator().manual_seed(0)
    torch.rand(len(vocabulary), 3, generator=generator)
    keep = words.keep_probability(vocabulary.counts, 1.0)
    again, observed = words._examples(ids, keep, 2, generator, cbow=cbow)
    order = torch.randperm(len(observed), generator=generator)
    assert torch.equal(again[order], inputs)
    return observed[order]


def test_skip_gram_ends_at_the_shifted_pmi():
    """With as many dimensions as words, u·v = PMI − log K (Levy and Goldberg 2014).

    The expected objective over a table of counts is minimised, pair by pair.
    """
    counts = torch.tensor([[6.0, 3, 1], [3, 2, 5], [1, 5, 9]], dtype=torch.float64)
    negatives = 4
    rows, columns = counts.sum(1), counts.sum(0)
    share = columns / columns.sum()
    word, output = doubles(3, 3).requires_grad_(), doubles(3, 3, seed=1).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [word, output],
        max_iter=500,
        tolerance_grad=1e-12,
        tolerance_change=1e-15,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        total = torch.zeros((), dtype=torch.float64)
        for i in range(3):
            for j in range(3):
                one, other = word[i][None], output[j][None]
                hit = words.negative_sampling_loss(one, other[:, None])
                both = words.negative_sampling_loss(one, torch.stack([other, other], 1))
                total = total + counts[i, j] * hit + negatives * rows[i] * share[j] * (both - hit)
        total.backward()
        return total

    optimizer.step(closure)
    wanted = (counts * counts.sum() / (rows[:, None] * columns)).log() - math.log(negatives)
    assert torch.allclose((word @ output.T).detach(), wanted, atol=1e-4)


def test_cbow_vector_is_the_mean_of_what_is_there():
    vectors = doubles(5, 2)
    found = words.cbow_vector(vectors, torch.tensor([[0, 3, 4], [0, 0, 0]]))
    assert torch.allclose(found[0], (vectors[3] + vectors[4]) / 2)
    assert torch.equal(found[1], torch.zeros(2, dtype=torch.float64))


def test_frequent_words_are_dropped_and_drawn_less():
    counts = torch.tensor([0.0, 16, 1, 83])
    assert words.keep_probability(counts, 0.04).tolist() == pytest.approx(
        [1, 0.5, 1, math.sqrt(0.04 / 0.83)], rel=1e-5
    )
    noise = words.noise_distribution(counts)
    assert noise[1] / noise[2] == pytest.approx(8)
    assert noise[0] == 0 and noise.sum() == pytest.approx(1)


def test_nnlm_is_the_written_formula():
    config = words.EmbeddingConfig(dimension=2, window=3, hidden=4)
    model = words.NNLM(6, config).double()
    before = torch.tensor([[0, 5, 2]])
    x = torch.cat([model.vectors.weight[i] for i in before[0]])
    inner = torch.tanh(model.hidden.bias + model.hidden.weight @ x)
    wanted = model.output.bias + model.output.weight @ inner
    assert torch.allclose(model(before)[0], wanted, atol=1e-12)


def test_nnlm_learns_what_comes_next(vocabulary):
    ids = vocabulary.encode([["the", "fox"], ["owl", "eats"]] * 20)
    config = words.EmbeddingConfig(dimension=4, window=1, hidden=8, epochs=60, batch_size=40)
    _, model = words.train_nnlm(ids, vocabulary, config)
    numbers = vocabulary.numbers()
    after = model(torch.tensor([[numbers["the"]], [numbers["owl"]]])).argmax(1).tolist()
    assert after == [numbers["fox"], numbers["eats"]]


def test_glove_loss_pair_by_pair():
    counts = torch.tensor([[0.0, 30, 2], [30, 100, 0], [2, 0, 400]], dtype=torch.float64)
    word, context, a, b = (
        doubles(3, 2),
        doubles(3, 2, seed=1),
        doubles(3, seed=2),
        doubles(3, seed=3),
    )
    wanted = 0.0
    for i in range(3):
        for j in range(3):
            x = counts[i, j].item()
            if x:
                weight = (x / 100) ** 0.75 if x < 100 else 1.0
                error = (word[i] @ context[j] + a[i] + b[j]).item() - math.log(x)
                wanted += weight * error**2
    found = words.glove_loss(word, context, a, b, counts, 100.0)
    assert found.item() == pytest.approx(wanted, rel=1e-12)


def test_nearest_and_analogy_by_hand():
    table = torch.tensor([[1.0, 0], [1, 0.1], [0, 2], [0.9, 1], [-1, 0]])
    vectors = words.WordVectors("a b c d e".split(), table)
    assert vectors.neighbours("a", 2) == ["b", "d"]
    # c − a + b points to (0.0, 1.1): c itself is no answer.
    assert vectors.analogy("a", "c", "b") == ["d"]
    with pytest.raises(InputError, match="'zebra'"):
        vectors.neighbours("zebra")


def test_same_seed_same_vectors(vocabulary):
    ids = vocabulary.encode(TEXTS)
    config = words.EmbeddingConfig(dimension=3, window=2, epochs=1, glove_steps=2)
    for train in (words.train_skipgram, words.train_cbow, words.train_nnlm):
        assert torch.equal(*(train(ids, vocabulary, config)[0].vectors for _ in range(2)))
    for train in (words.train_glove, words.count_vectors):
        assert torch.equal(*(train(ids, vocabulary, config).vectors for _ in range(2)))


@pytest.mark.parametrize("wrong", [{"dimension": 0}, {"subsample": 0.0}, {"window": -1}])
def test_settings_that_cannot_be(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        words.EmbeddingConfig(**wrong)
