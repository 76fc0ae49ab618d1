"""Feature templates, and the sums over the lattice, against enumeration and against CRFsuite."""

import itertools

import numpy as np
import pytest
import torch

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms import lattice
from rlhf_lab.paradigms.crf import CRFTagger
from rlhf_lab.paradigms.data import fernwick_tagging
from rlhf_lab.paradigms.lookup import LookupTagger
from rlhf_lab.paradigms.scoring import entity_scores, token_accuracy
from rlhf_lab.paradigms.templates import count_features, parse_templates, table

RNG = np.random.default_rng(0)
CASES = [(RNG.normal(size=(t, n)), RNG.normal(size=(n, n))) for t, n in ((1, 3), (2, 2), (5, 3))]


def every_path(emissions, transitions):
    """All paths with their scores, added up term by term."""
    length, labels = emissions.shape
    for path in itertools.product(range(labels), repeat=length):
        score = sum(emissions[t, path[t]] for t in range(length))
        score += sum(transitions[path[t - 1], path[t]] for t in range(1, length))
        yield path, score


@pytest.mark.parametrize("emissions, transitions", CASES)
def test_lattice_equals_enumeration(emissions, transitions):
    paths = list(every_path(emissions, transitions))
    length, labels = emissions.shape
    z = sum(np.exp(score) for _, score in paths)
    assert lattice.log_partition(emissions, transitions) == pytest.approx(np.log(z), abs=1e-12)
    single, pairs = np.zeros((length, labels)), np.zeros((length - 1, labels, labels))
    for path, score in paths:
        p = np.exp(score) / z
        assert lattice.path_score(emissions, transitions, path) == pytest.approx(score, abs=1e-12)
        assert lattice.log_probability(emissions, transitions, path) == pytest.approx(np.log(p))
        for t in range(length):
            single[t, path[t]] += p
        for t in range(1, length):
            pairs[t - 1, path[t - 1], path[t]] += p
    np.testing.assert_allclose(lattice.marginals(emissions, transitions), single, atol=1e-12)
    np.testing.assert_allclose(lattice.pair_marginals(emissions, transitions), pairs, atol=1e-12)
    best, score = max(paths, key=lambda item: item[1])
    found, its_score = lattice.viterbi(emissions, transitions)
    assert tuple(found) == best
    assert its_score == pytest.approx(score, abs=1e-12)


def test_forward_and_backward_agree_at_every_word():
    emissions, transitions = RNG.normal(size=(40, 5)), 30 * RNG.normal(size=(5, 5))
    alpha = lattice.forward(emissions, transitions)
    beta = lattice.backward(emissions, transitions)
    z = np.logaddexp.reduce(alpha + beta, axis=1)
    np.testing.assert_allclose(z, lattice.log_partition(emissions, transitions), rtol=1e-12)
    assert np.isfinite(z).all()


def test_gradient_equals_autograd_through_the_enumeration():
    emissions, transitions = CASES[2]
    e = torch.tensor(emissions, requires_grad=True)
    a = torch.tensor(transitions, requires_grad=True)
    tags = [2, 0, 0, 1, 2]
    scores = torch.stack([score for _, score in every_path(e, a)])
    wanted = dict(every_path(e, a))[tuple(tags)] - torch.logsumexp(scores, 0)
    wanted.backward()
    by_emission, by_transition = lattice.log_probability_gradient(emissions, transitions, tags)
    np.testing.assert_allclose(by_emission, e.grad, atol=1e-12)
    np.testing.assert_allclose(by_transition, a.grad, atol=1e-12)


@pytest.fixture(scope="module")
def fitted():
    data = fernwick_tagging("entities", "train", 120)
    return CRFTagger(max_iterations=40).fit(data.sentences, data.tags)


def test_our_sums_are_crfsuites_on_its_own_weights(fitted):
    for sentence in fernwick_tagging("entities", "test", 15).sentences:
        emissions, transitions = fitted.lattice(sentence)
        path, _ = lattice.viterbi(emissions, transitions)
        tags = [fitted.labels[i] for i in path]
        assert [tags] == fitted.predict([sentence])
        theirs = fitted._tagger  # set by predict to this sentence
        logp = lattice.log_probability(emissions, transitions, path)
        # CRFsuite prints its weights with six decimals, and computes with more.
        assert np.exp(logp) == pytest.approx(theirs.probability(tags), abs=1e-4)
        own = lattice.marginals(emissions, transitions)
        for t in range(len(sentence)):
            for j, label in enumerate(fitted.labels):
                assert own[t, j] == pytest.approx(theirs.marginal(label, t), abs=1e-4)


def test_fitting_learns_and_is_deterministic(fitted):
    data = fernwick_tagging("entities", "train", 120)
    again = CRFTagger(max_iterations=40).fit(data.sentences, data.tags)
    assert again.state_weights == fitted.state_weights
    assert token_accuracy(data.tags, fitted.predict(data.sentences)) > 0.98


def test_it_tags_names_that_it_has_never_seen():
    train, test = (fernwick_tagging("entities", split, 300) for split in ("train", "test"))
    crf = CRFTagger(l2=0.3).fit(train.sentences, train.tags)
    lookup = LookupTagger().fit(train.sentences, train.tags)
    crf_f1, lookup_f1 = (
        entity_scores(test.tags, t.predict(test.sentences)).f1 for t in (crf, lookup)
    )
    assert crf_f1 > lookup_f1 + 0.1


def test_lookup_takes_the_most_frequent_tag():
    tagger = LookupTagger().fit([["A", "saw"], ["saw", "a", "saw"]], [["D", "V"], ["N", "D", "N"]])
    assert tagger.predict([["a", "saw", "owl"]]) == [["D", "N", "D"]]
    rare = LookupTagger().fit([["a", "a", "owl"]], [["D", "D", "N"]])
    assert rare.predict([["fox"]]) == [["N"]]
    with pytest.raises(InputError):
        LookupTagger().fit([], [])


def test_without_b_every_word_is_tagged_for_itself():
    data = fernwick_tagging("entities", "train", 60)
    tagger = CRFTagger("U00:%x[0,0]", max_iterations=20).fit(data.sentences, data.tags)
    assert not tagger.transition_weights
    sentence = data.sentences[0]
    apart = [tagger.predict([[word]])[0][0] for word in sentence]
    assert tagger.predict([sentence]) == [apart]


def test_templates_expand_as_the_manual_of_crfpp_says():
    """The example of CRF++'s manual: "He reckons the current account", at "the"."""
    rows = [["He", "PRP"], ["reckons", "VBZ"], ["the", "DT"], ["current", "JJ"], ["account", "NN"]]
    lines = (
        ("U:%x[0,0]", "U:the"), ("U:%x[0,1]", "U:DT"), ("U:%x[-1,0]", "U:reckons"),
        ("U:%x[-2,1]", "U:PRP"), ("U:%x[0,0]/%x[0,1]", "U:the/DT"),
        ("U:ABC%x[0,1]123", "U:ABCDT123"), ("U:%x[-3,0]", "U:_B-1"), ("U:%x[4,0]", "U:_B+2"),
    )  # fmt: skip
    for line, wanted in lines:
        (template,) = parse_templates(f"# a comment\n\n{line}\n", 2)
        assert template.expand(rows, 2) == wanted


def test_features_are_counted_as_crfpp_counts_them():
    tables = [[["the"], ["fox"]], [["the"], ["owl"]]]
    counted = count_features(
        parse_templates("U00:%x[0,0]\nU01:%x[-1,0]\nB\nB1:%x[0,0]", 1), tables, labels=5
    )
    # the, fox, owl; _B-1, the.
    assert [(e.strings, e.features) for e in counted] == [(3, 15), (2, 10), (1, 25), (3, 75)]


def test_columns_say_what_a_word_looks_like():
    assert table(["UD-2.16"]) == [["ud-2.16", ".16", "16", "6", "ud-", "X-9.9"]]
    assert table(["fox", "ran"], {"length": lambda word: str(len(word))}) == [["3"], ["3"]]


@pytest.mark.parametrize(
    "templates, says",
    [
        ("U00:%x[0,0]\nX01:%x[0,0]", "template line 2.*U .unigram. or B"),
        ("U00:%x[0]", r"template line 1.*%x\[row,col\]"),
        ("U00:%x[0,7]", "columns 0 to 5"),
        ("U00:%x[-9,0]", "rows from -4 to 4"),
        ("U00:", "a macro in a unigram template"),
        ("B\n# again\nB", "template line 3.*each line once"),
        ("# nothing\n", "at least one template"),
        ("U00:%x[0,0]\nB:%x[0,0]", "a bare B"),
    ],
)
def test_a_template_that_cannot_be_read_says_why(templates, says):
    with pytest.raises(InputError, match=says):
        CRFTagger(templates)


def test_wrong_data_and_shapes_say_why():
    for call, name in (
        (lambda: CRFTagger().fit([], []), "tags"),
        (lambda: CRFTagger().fit([["a", "b"]], [["O"]]), "tags of sentence 0"),
        (lambda: CRFTagger().predict([["a"]]), "tagger"),
        (lambda: lattice.viterbi([1.0, 2.0], [[0.0]]), "emissions"),
        (lambda: lattice.forward([[1.0, 2.0]], [[0.0]]), "transitions"),
        (lambda: lattice.path_score([[1.0]], [[0.0]], [0, 0]), "tags"),
    ):
        with pytest.raises(InputError) as error:
            call()
        assert error.value.argument == name
