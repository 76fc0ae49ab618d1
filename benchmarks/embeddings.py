"""What do word vectors know of Fernwick, by method and number of documents, and what do they lack?

Writes the tables of the chapter on embeddings, with their manifest, to ``book/results/embeddings``.
A seed changes the documents, first weights and all that is drawn. What the same code has measured
before is read from ``runs/``.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rlhf_lab.files import atomic_write
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import load_policy
from rlhf_lab.paradigms import embeddings as words
from rlhf_lab.paradigms import word_truth as truth
from rlhf_lab.paradigms.contextual import BiLM, BiLMConfig, policy_layers, train_bilm
from rlhf_lab.paradigms.data import fernwick_tagging
from rlhf_lab.paradigms.frozen import FrozenTagger, bilm_features, one_hot, window_features
from rlhf_lab.paradigms.scoring import token_accuracy
from rlhf_lab.paradigms.sentences import held_out_words
from rlhf_lab.provenance import manifest
from rlhf_lab.world import World

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "embeddings"
SEEDS = range(5)
TABLES = ("intrinsic", "senses", "tagging", "projection")
COUNTS, NNLM, CBOW, SKIPGRAM, GLOVE = "counts", "NNLM", "CBOW", "skip-gram", "GloVe"
LEARNED = {"own places": True, "other words": False}  # from which a probe learns
METHODS = (COUNTS, NNLM, CBOW, SKIPGRAM, GLOVE)


@dataclass(frozen=True)
class Measured:
    """Settings of all measurements."""

    documents: tuple[int, ...] = (150, 500, 1500)
    minimum: int = 1  # occurrences that make a word part of the vocabulary
    bilm_documents: int = 700
    searched: int = 2500  # held-out documents in which words with two senses are looked for
    plain_documents: int = 50  # held-out documents from which the probes learn
    sentences: tuple[int, ...] = (10, 30, 100)
    test_sentences: int = 150
    vectors: words.EmbeddingConfig = field(default_factory=words.EmbeddingConfig)
    bilm: BiLMConfig = field(default_factory=BiLMConfig)


@dataclass(frozen=True)
class Trained:
    """All that one seed trains on its most documents."""

    vocabulary: words.Vocabulary
    vectors: dict[str, words.WordVectors]
    bilm: BiLM


def run() -> None:
    """Measure what is missing of all seeds, write the tables."""
    started, settings = time.time(), Measured()
    found = [_measured(seed, settings) for seed in SEEDS]
    for name in TABLES:
        table = pd.concat([tables[name] for tables in found])
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.4g"))
    shown = pd.read_csv(FOLDER / "intrinsic.csv").groupby(["documents", "method"], sort=False)
    print(shown[["kind", "names", "seconds"]].mean().round(3).to_string())
    about = manifest("python -m benchmarks embeddings", settings, SEEDS, started)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")


def _measured(seed: int, settings: Measured) -> dict[str, pd.DataFrame]:
    """The tables of one seed; what the same code has measured before is read."""
    code = code_fingerprint("benchmarks.embeddings")
    of_package = code_fingerprint(
        "rlhf_lab.paradigms.word_truth", "rlhf_lab.paradigms.frozen", "rlhf_lab.paradigms.data"
    )
    key = fingerprint([code, of_package, dataclasses.asdict(settings)])
    folder = ROOT / "runs" / f"published-embeddings-{seed}-{key}"
    if not all((folder / f"{name}.csv").is_file() for name in TABLES):
        for name, table in measure(seed, settings).items():
            atomic_write(folder / f"{name}.csv", table.to_csv(index=False))
        print(f"seed {seed}", flush=True)
    return {name: pd.read_csv(folder / f"{name}.csv") for name in TABLES}


def measure(seed: int, settings: Measured) -> dict[str, pd.DataFrame]:
    """All tables of one seed."""
    world = World(0)
    intrinsic, trained = train_all(world, seed, settings)
    return {
        "intrinsic": pd.DataFrame(intrinsic),
        "senses": pd.DataFrame(senses(world, trained, seed, settings)),
        "tagging": pd.DataFrame(tagging(trained, seed, settings)),
        "projection": projection(trained.vectors[SKIPGRAM], seed),
    }


# --- what the vectors of each method know ---------------------------------------------------------


def train_all(world: World, seed: int, settings: Measured) -> tuple[list[dict[str, Any]], Trained]:
    """Rows of all methods at all sizes, and what was trained on most documents."""
    most = max(settings.documents)
    texts = [words.words_of(d.text) for d in world.documents(most, start=seed * most)]
    vectors = dataclasses.replace(settings.vectors, seed=seed)
    rows: list[dict[str, Any]] = []
    for count in settings.documents:
        vocabulary = words.Vocabulary.of(texts[:count], settings.minimum)
        ids = vocabulary.encode(texts[:count])
        kept = {}
        for method in METHODS:
            begun = time.process_time()
            made, contexts = train(method, ids, vocabulary, vectors)
            seconds = time.process_time() - begun
            facts = about(world, made, contexts)
            rows.append(
                {"seed": seed, "documents": count, "words": sum(map(len, ids)), "method": method}
                | facts
                | {"seconds": seconds}
            )
            kept[method] = made
    bilm = dataclasses.replace(settings.bilm, seed=seed)
    return rows, Trained(
        vocabulary, kept, train_bilm(ids[: settings.bilm_documents], len(vocabulary), bilm)
    )


def train(
    method: str,
    ids: Sequence[Sequence[int]],
    vocabulary: words.Vocabulary,
    config: words.EmbeddingConfig,
) -> tuple[words.WordVectors, words.WordVectors | None]:
    """Word vectors, and output vectors where the method has some."""
    if method == COUNTS:
        return words.count_vectors(ids, vocabulary, config), None
    if method == NNLM:
        return words.train_nnlm(ids, vocabulary, config)[0], None
    if method == GLOVE:
        return words.train_glove(ids, vocabulary, config), None
    return (words.train_cbow if method == CBOW else words.train_skipgram)(ids, vocabulary, config)


def about(
    world: World, vectors: words.WordVectors, contexts: words.WordVectors | None
) -> dict[str, float]:
    """What vectors know: see :mod:`rlhf_lab.paradigms.word_truth`."""
    found: dict[str, float] = {"kind": truth.kind_accuracy(vectors)}
    for relation, name in {"name": "names", "home": "homes"}.items():
        pairs = truth.pairs_of(world, relation)
        told = truth.analogies(vectors, pairs)
        found |= {
            name: told.right,
            f"{name}_kind": told.right_kind,
            f"{name}_among": told.right_among,
            f"{name}_rank": truth.fact_rank(vectors, contexts, pairs) if contexts else np.nan,
        }
    return found


def projection(vectors: words.WordVectors, seed: int) -> pd.DataFrame:
    """Words with a kind on the two principal axes of their vectors; of the first seed only."""
    if seed:
        return pd.DataFrame(columns=["word", "kind", "x", "y", "explained"])
    kinds = {w: "/".join(k) for w, k in truth.kinds_of().items() if w in vectors.number}
    axes = PCA(2, random_state=0)
    points = axes.fit_transform(vectors.among(list(kinds)).directions.numpy())
    return pd.DataFrame(
        {"word": list(kinds), "kind": list(kinds.values()), "x": points[:, 0], "y": points[:, 1]}
    ).assign(explained=axes.explained_variance_ratio_.sum())


# --- which sense, here? ---------------------------------------------------------------------------


def senses(world: World, trained: Trained, seed: int, settings: Measured) -> list[dict[str, Any]]:
    """Balanced accuracy of the sense of each ambiguous word, by model and layer.

    A probe learns either from other places of the word, or from words that are of one of its two
    kinds only: then it never sees a label of the word that it is asked about.
    """
    start = seed * settings.searched
    held_out = list(world.documents(settings.searched, start, split="valid"))
    places = truth.occurrences(held_out)
    chosen = {o.text for o in places if o.word in truth.SENSES}
    chosen |= set(range(settings.plain_documents))
    places = [o for o in places if o.text in chosen]
    policy, tokenizer = load_policy("tiny")
    cut = {i: words.words_of(held_out[i].text) for i in sorted(chosen)}
    own = dict(zip(cut, trained.bilm.layers(trained.vocabulary.encode(cut.values())), strict=True))
    static = trained.vectors[SKIPGRAM]
    states = {
        "skip-gram": {
            i: static.vectors[[static.number.get(w, 1) for w in text]][None]
            for i, text in cut.items()
        },
        "biLM": own,
        "tiny": {i: policy_layers(policy, tokenizer, held_out[i].text) for i in cut},
    }
    rows = []
    for model, found in states.items():
        for layer in range(len(next(iter(found.values())))):
            vectors = np.stack([found[o.text][layer, o.place].numpy() for o in places])
            for word in truth.SENSES:
                row = {"seed": seed, "model": model, "layer": layer, "word": word}
                row["places"] = sum(o.word == word for o in places)
                for learned, own in LEARNED.items():
                    accuracy = probe(places, vectors, word, seed, own=own)
                    rows.append(row | {"learned": learned, "accuracy": accuracy})
    return rows


def probe(
    places: Sequence[truth.Occurrence], vectors: np.ndarray, word: str, seed: int, *, own: bool
) -> float:
    """Balanced accuracy of a linear probe on the places of a word with two senses.

    Args:
        places: N occurrences.
        vectors: (N, F).
        word: one of :data:`~rlhf_lab.paradigms.word_truth.SENSES`.
        own: learn from the word's places in other documents, the even ones for the odd ones and
            the other way round; else from all words that are of one of the two kinds only.

    Returns:
        NaN where a sense is missing.
    """
    labels, text = np.array([o.sense for o in places]), np.array([o.text for o in places])
    same = np.array([o.word == word for o in places])
    if own:
        folds = [(same & (text % 2 == i), same & (text % 2 != i)) for i in range(2)]
    else:
        plain = np.array([o.word not in truth.SENSES for o in places])
        folds = [(plain & np.isin(labels, truth.SENSES[word]), same)]
    found = []
    for learn, asked in folds:
        if len(set(labels[learn])) < 2 or len(set(labels[asked])) < 2:
            return float("nan")
        regression = LogisticRegression(class_weight="balanced", max_iter=300, random_state=seed)
        model = make_pipeline(StandardScaler(), regression).fit(vectors[learn], labels[learn])
        found.append(balanced_accuracy_score(labels[asked], model.predict(vectors[asked])))
    return float(np.mean(found))


# --- few labels -----------------------------------------------------------------------------------


def tagging(trained: Trained, seed: int, settings: Measured) -> list[dict[str, Any]]:
    """Share of right parts of speech by features and number of labelled sentences."""
    pool = fernwick_tagging("pos", "train", 2 * max(settings.sentences))
    test = fernwick_tagging("pos", "test", settings.test_sentences)
    unseen = [[word in held_out_words() for word in sentence] for sentence in test.sentences]
    rows = []
    for count in settings.sentences:
        shown = pool.sample(count, seed)
        features = {
            "words alone": window_features(one_hot(shown.sentences)),
            "counts": window_features(trained.vectors[COUNTS]),
            "skip-gram": window_features(trained.vectors[SKIPGRAM]),
            "biLM": bilm_features(trained.bilm, trained.vocabulary),
        }
        for name, made in features.items():
            tagger = FrozenTagger(made, seed=seed).fit(shown.sentences, shown.tags)
            told = tagger.predict(test.sentences)
            right = [
                t == p
                for truths, found, new in zip(test.tags, told, unseen, strict=True)
                for t, p, is_new in zip(truths, found, new, strict=True)
                if is_new
            ]
            rows.append(
                {"seed": seed, "sentences": count, "features": name}
                | {"accuracy": token_accuracy(test.tags, told), "unseen": float(np.mean(right))}
            )
    return rows
