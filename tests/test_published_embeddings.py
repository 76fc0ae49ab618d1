"""What the chapter on embeddings prints: its scores by hand, and its tables on small settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import embeddings as published
from rlhf_lab.paradigms import word_truth as truth
from rlhf_lab.paradigms.contextual import BiLMConfig
from rlhf_lab.paradigms.embeddings import EmbeddingConfig, WordVectors, words_of
from rlhf_lab.paradigms.frozen import FrozenTagger, one_hot, window_features
from rlhf_lab.world import World, lexicon
from rlhf_lab.world.documents import Document

SMALL = published.Measured(
    documents=(30, 60), minimum=1, bilm_documents=10, searched=150, plain_documents=40,
    sentences=(5, 8), test_sentences=10,
    vectors=EmbeddingConfig(dimension=8, window=2, epochs=1, hidden=8, glove_steps=3),
    bilm=BiLMConfig(dimension=4, epochs=1),
)  # fmt: skip


def test_kinds_are_told_apart_by_nearest_neighbours():
    names = ["fox", "owl", "red", "blue", "bread", "the"]  # bread has two kinds, "the" none
    table = torch.tensor([[1.0, 0.1], [1, 0.05], [0.9, 0.1], [0, 1], [1, 0.1], [1, 0.1]])
    # fox and red are nearest to each other, owl to fox, blue to red: two of four are right.
    vectors = WordVectors(names, table)
    assert truth.kind_accuracy(vectors) == 2 / 4


def test_analogies_question_by_question():
    torch.manual_seed(0)
    pairs = [("cook", "kate"), ("tinker", "will"), ("baker", "mira"), ("smith", "jon")]
    names = [w for pair in pairs for w in pair] + ["the", "fox", "lamp"]
    vectors = WordVectors(names, torch.randn(len(names), 3))
    right = kind = among = count = 0
    values = [b for _, b in pairs]
    for a, b in pairs:
        for c, d in pairs:
            if a == c:
                continue
            count += 1
            found = vectors.analogy(a, b, c)[0]
            right += found == d
            kind += found in values
            ranked = vectors.analogy(a, b, c, len(names) - 3)
            among += next(w for w in ranked if w in values) == d
    told = truth.analogies(vectors, pairs)
    assert (told.right, told.right_kind, told.right_among) == pytest.approx(
        (right / count, kind / count, among / count)
    )
    assert told.chance == 1 / 3


def test_rank_of_facts_by_hand():
    words = WordVectors(["fox", "owl"], torch.eye(2))
    contexts = WordVectors(["mill", "lake", "wood"], torch.tensor([[3.0, 1], [2, 2], [1, 3]]))
    pairs = [("fox", "mill"), ("owl", "lake"), ("owl", "wood")]
    # fox: mill beats both; owl: lake beats mill only; owl: wood beats both.
    assert truth.fact_rank(words, contexts, pairs) == pytest.approx((1 + 1 / 2 + 1) / 3)


def test_pairs_are_facts_of_the_world():
    world = World(0)
    for person, name in truth.pairs_of(world, "name"):
        assert world.knowledge.holds("name", person, name)
    assert all(" " not in value for _, value in truth.pairs_of(world, "skill"))


def test_senses_of_occurrences():
    documents = [
        Document("the green cook can cook. cook well?", "encyclopaedia"),
        Document("the bread was cold.", "reviews"),
        Document("it is often cold by the mill.", "encyclopaedia"),
        Document("fox: cook", "lists"),
    ]
    found = [(o.text, o.word, o.sense) for o in truth.occurrences(documents)]
    assert found == [
        (0, "green", "colour"), (0, "cook", "person"), (0, "cook", "skill"),
        (0, "well", "place"), (1, "bread", "reviewed"), (1, "cold", "verdict"),
        (2, "cold", "weather"), (2, "mill", "place"), (3, "fox", "animal"),
    ]  # fmt: skip
    for o in truth.occurrences(documents):
        assert words_of(documents[o.text].text)[o.place] == o.word


def test_one_vector_cannot_tell_two_senses():
    """Whatever a probe says of a vector that is the same everywhere, it is half right."""
    kinds = [(word, "person") for word in lexicon.PEOPLE if word != "cook"]
    kinds += [(word, "skill") for word in truth.KINDS["skill"] if word not in truth.SENSES]
    kinds += [("cook", "person"), ("cook", "skill")]
    places = [truth.Occurrence(text, 0, w, s) for w, s in kinds for text in range(5)]
    rng = np.random.default_rng(0)
    table = {w: rng.normal(size=3) for w, _ in kinds}
    same = np.stack([table[o.word] for o in places])
    assert all(published.probe(places, same, "cook", 0, own=own) == 0.5 for own in (True, False))
    told = same + np.array([[9.0 * (o.sense == "skill"), 0, 0] for o in places])
    assert all(published.probe(places, told, "cook", 0, own=own) == 1 for own in (True, False))


def test_a_tagger_on_vectors_reaches_words_without_labels():
    shown = [["the", "fox", "eats"], ["the", "owl", "sleeps"]] * 3
    tags = [["DET", "NOUN", "VERB"]] * 6
    kind = {"the": [1.0, 0, 0], "fox": [0, 1, 0], "owl": [0, 1, 0], "hen": [0, 1, 0]}
    kind |= {"eats": [0, 0, 1], "sleeps": [0, 0, 1], "runs": [0, 0, 1]}
    names = ["<edge>", "<unknown>", *kind]
    vectors = WordVectors(names, torch.tensor([[0.0, 0, 0]] * 2 + list(kind.values())))
    test = [["hen", "runs"]]
    good = FrozenTagger(window_features(vectors, 0)).fit(shown, tags).predict(test)
    assert good == [["NOUN", "VERB"]]
    hot = window_features(one_hot(shown), 0)
    assert hot(test)[0].sum() == 0
    assert [row.tolist() for row in hot([["owl"]])] != [row.tolist() for row in hot([["fox"]])]


def test_all_tables_of_a_small_run():
    tables = published.measure(1, SMALL)
    intrinsic = tables["intrinsic"]
    assert list(intrinsic.method) == list(published.METHODS) * 2
    ranked = intrinsic.homes_rank.notna()
    assert set(intrinsic[ranked].method) == {"CBOW", "skip-gram"}
    senses = tables["senses"].dropna(subset="accuracy")
    assert (senses[senses.model == "skip-gram"].accuracy == 0.5).all()
    lowest = senses[(senses.model == "biLM") & (senses.layer == 0)]
    assert (lowest.accuracy == 0.5).all()
    assert set(tables["tagging"].sentences) == {5, 8}
    assert tables["projection"].empty  # drawn for the first seed
    first = published.measure(0, SMALL)
    assert set(first["projection"].word) >= {"fox", "red"}
    assert not first["intrinsic"].kind.equals(intrinsic.kind)
