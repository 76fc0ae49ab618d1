"""LSTM steps, the CRF layer's sums, taggers: against PyTorch, the lattice and single sentences."""

import numpy as np
import pytest
import torch
from torch import nn

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms import lattice
from rlhf_lab.paradigms.data import fernwick_tagging
from rlhf_lab.paradigms.recurrent import (
    BiLSTM,
    NeuralTagger,
    crf_log_likelihood,
    crf_log_partition,
    is_legal,
    lstm_step,
    padded,
    turn_round,
)


def test_a_step_is_pytorchs():
    cell = nn.LSTMCell(5, 3).double()
    x, h, c = (torch.randn(4, n, dtype=torch.float64) for n in (5, 3, 3))
    found, memory, gates = lstm_step(
        x, h, c, cell.weight_ih, cell.weight_hh, cell.bias_ih + cell.bias_hh
    )
    wanted, wanted_memory = cell(x, (h, c))
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)
    torch.testing.assert_close(memory, wanted_memory, atol=1e-12, rtol=0)
    candidate = (memory - gates["forget"] * c) / gates["input"]
    assert (candidate.abs() <= 1).all()
    torch.testing.assert_close(gates["output"] * memory.tanh(), found)


def test_the_body_is_pytorchs_on_packed_sentences():
    body = BiLSTM(4, 6)
    theirs = nn.LSTM(4, 3, batch_first=True, bidirectional=True)
    for name, tensor in theirs.named_parameters():
        part = body.homeward if name.endswith("_reverse") else body.outward
        tensor.data = dict(part.named_parameters())[name.removesuffix("_reverse")].data
    vectors, lengths = torch.randn(3, 7, 4), torch.tensor([7, 2, 5])
    packed = nn.utils.rnn.pack_padded_sequence(
        vectors, lengths, batch_first=True, enforce_sorted=False
    )
    wanted, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    found = body(vectors, lengths)
    for i, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[i, :length], wanted[i, :length], atol=1e-6, rtol=0)


def test_turned_round_within_its_length():
    rows = torch.tensor([[[1], [2], [3], [0]], [[4], [0], [0], [0]]])
    assert turn_round(rows, torch.tensor([3, 1]))[:, :, 0].tolist() == [[3, 2, 1, 0], [4, 0, 0, 0]]


def test_sums_of_a_batch_are_the_lattices():
    generator = torch.Generator().manual_seed(0)
    emissions = torch.randn(3, 6, 4, generator=generator, dtype=torch.float64)
    transitions = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    tags = torch.randint(4, (3, 6), generator=generator)
    lengths = [6, 1, 4]
    mask = torch.arange(6)[None] < torch.tensor(lengths)[:, None]
    emissions.requires_grad_()
    transitions.requires_grad_()
    found = crf_log_likelihood(emissions, transitions, tags, mask)
    z = crf_log_partition(emissions, transitions, mask)
    found.sum().backward()
    by_transition = np.zeros((4, 4))
    for i, length in enumerate(lengths):
        e, a = emissions[i, :length].detach().numpy(), transitions.detach().numpy()
        path = tags[i, :length].tolist()
        assert found[i].item() == pytest.approx(lattice.log_probability(e, a, path), abs=1e-12)
        assert z[i].item() == pytest.approx(lattice.log_partition(e, a), abs=1e-12)
        by_emission, one = lattice.log_probability_gradient(e, a, path)
        by_transition += one
        np.testing.assert_allclose(emissions.grad[i, :length], by_emission, atol=1e-12)
        assert (emissions.grad[i, length:] == 0).all()
    np.testing.assert_allclose(transitions.grad, by_transition, atol=1e-12)


def test_what_bio_allows():
    assert is_legal(["O", "B-PER", "I-PER", "I-PER", "B-PER"])
    assert not is_legal(["I-PER"])
    assert not is_legal(["O", "I-PER"])
    assert not is_legal(["B-LOC", "I-PER"])


@pytest.fixture(scope="module")
def data():
    return fernwick_tagging("entities", "train", 12)


@pytest.mark.parametrize("settings", [{"radius": 2}, {}, {"crf": True}, {"characters": True}])
def test_a_tagger_learns_its_sentences_and_its_seed_decides(data, settings):
    def fitted():
        model = NeuralTagger(steps=60, batch_size=12, unknown=0.0, seed=3, **settings)
        return model.fit(data.sentences, data.tags)

    model = fitted()
    assert model.predict(data.sentences) == [list(tags) for tags in data.tags]
    again = fitted()
    for one, two in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    assert bool(model.transitions.any()) == ("crf" in settings)


def test_a_batch_scores_each_sentence_as_alone_and_a_window_ends(data):
    for radius in (None, 1):
        model = NeuralTagger(radius=radius, characters=True, steps=1).fit(data.sentences, data.tags)
        together = model.emissions(
            padded([model.words.ids(s) for s in data.sentences]), data.sentences
        )
        for i, sentence in enumerate(data.sentences):
            alone, _ = model.lattice(sentence)
            np.testing.assert_allclose(together[i, : len(sentence)].detach(), alone, atol=1e-5)
    words = list(data.sentences[0])  # "who is tiny in size ?"
    changed = [*words[:-1], "size"]
    one, two = model.lattice(words)[0], model.lattice(changed)[0]
    assert (one[:-2] == two[:-2]).all() and (one[-2] != two[-2]).any()


def test_only_legal_sequences_when_asked(data):
    model = NeuralTagger(steps=1).fit(data.sentences, data.tags)
    with torch.no_grad():
        inside = [label.startswith("I-") for label in model.labels]
        model.score.bias += 9 * torch.tensor(inside)
    assert not any(is_legal(tags) for tags in model.predict(data.sentences))
    assert all(is_legal(tags) for tags in model.predict(data.sentences, legal=True))


def test_wrong_arguments_say_why(data):
    for call, name in (
        (lambda: NeuralTagger(radius=-1), "radius"),
        (lambda: NeuralTagger(hidden=5), "hidden"),
        (lambda: NeuralTagger(unknown=1.0), "unknown"),
        (lambda: NeuralTagger().fit([], []), "tags"),
        (lambda: NeuralTagger().fit([["a"]], [["O", "O"]]), "tags"),
        (lambda: NeuralTagger().predict([["a"]]), "tagger"),
    ):
        with pytest.raises(InputError) as error:
            call()
        assert error.value.argument == name
