"""A tagger on top of vectors that were made without its labels and that stay as they are.

This is the second paradigm at its smallest: unlabelled text makes the vectors, a few labelled
sentences fit a linear classifier on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms.contextual import BiLM
from rlhf_lab.paradigms.embeddings import Vocabulary, WordVectors

Sentences = Sequence[Sequence[str]]
Features = Callable[[Sentences], list[np.ndarray]]
"""Sentences of W words to one array (W, F) for each."""


def window_features(vectors: WordVectors, reach: int = 1) -> Features:
    """The vectors of each word and of ``reach`` words to each side, in a row.

    Args:
        vectors: with EDGE and UNKNOWN as their first two words.
    """
    table = vectors.vectors.numpy()

    def features(sentences: Sentences) -> list[np.ndarray]:
        found = []
        for sentence in sentences:
            numbers = [vectors.number.get(word, 1) for word in sentence]
            padded = [0] * reach + numbers + [0] * reach
            parts = [table[padded[i : i + len(numbers)]] for i in range(2 * reach + 1)]
            found.append(np.concatenate(parts, axis=1))
        return found

    return features


def one_hot(sentences: Sentences) -> WordVectors:
    """A vector for each word of some sentences that says nothing but which word it is.

    Any other word has the vector of UNKNOWN, which is zero: no label has spoken of it.
    """
    vocabulary = Vocabulary.of(sentences)
    table = torch.eye(len(vocabulary))
    table[1] = 0
    return WordVectors(vocabulary.words, table)


def bilm_features(model: BiLM, vocabulary: Vocabulary) -> Features:
    """Both layers of a :class:`~rlhf_lab.paradigms.contextual.BiLM` at each word, side by side."""

    def features(sentences: Sentences) -> list[np.ndarray]:
        layers = model.layers(vocabulary.encode(sentences))
        return [torch.cat(list(found), -1).numpy() for found in layers]

    return features


class FrozenTagger:
    """Logistic regression on fixed features of each word.

    Args:
        features: of sentences; see :func:`window_features`.
        strength: of the pull towards zero, scikit-learn's 1/C.
        seed: of the optimiser.
    """

    def __init__(self, features: Features, strength: float = 1.0, seed: int = 0) -> None:
        if not strength > 0:
            raise InputError("strength", strength, "above 0", "choose a positive number")
        self.features = features
        regression = LogisticRegression(C=1 / strength, max_iter=300, random_state=seed)
        self.model = make_pipeline(StandardScaler(), regression)

    def fit(self, sentences: Sentences, tags: Sequence[Sequence[str]]) -> FrozenTagger:
        """Learn from sentences and one tag per word.

        Raises:
            InputError: when a sentence has another number of tags.
        """
        for sentence, own in zip(sentences, tags, strict=True):
            if len(sentence) != len(own):
                raise InputError("tags", list(own), f"{len(sentence)} tags", "one tag per word")
        labels = [tag for own in tags for tag in own]
        self.model.fit(np.concatenate(self.features(sentences)), labels)
        return self

    def predict(self, sentences: Sentences) -> list[list[str]]:
        """One tag per word."""
        return [self.model.predict(found).tolist() for found in self.features(sentences)]
