"""A conditional random field on feature templates, trained by CRFsuite.

The templates are ours (:mod:`rlhf_lab.paradigms.templates`), so are the sums over the lattice
(:mod:`rlhf_lab.paradigms.lattice`); ``python-crfsuite``, of the extra ``paradigms``, fits the
weights with L-BFGS. Nothing here is random: the same sentences give the same weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms.lattice import Array
from rlhf_lab.paradigms.templates import FORMS, Columns, parse_templates, table

# Templates on the columns of FORMS that suit most tagging tasks.
DEFAULT_TEMPLATES = """
# the word and its neighbours
U00:%x[-2,0]
U01:%x[-1,0]
U02:%x[0,0]
U03:%x[1,0]
U04:%x[2,0]
U05:%x[-1,0]/%x[0,0]
U06:%x[0,0]/%x[1,0]
# what it looks like
U10:%x[0,1]
U11:%x[0,2]
U12:%x[0,3]
U13:%x[0,4]
U14:%x[0,5]
# what its neighbours look like
U20:%x[-1,1]
U21:%x[1,1]
U22:%x[-1,5]/%x[0,5]
# the tag before
B
"""


class CRFTagger:
    """A linear-chain CRF on feature templates.

    Without a line ``B`` no score joins two tags, and every word is tagged for itself.

    Args:
        templates: a template file in CRF++'s format; of bigram templates only a bare ``B``.
        columns: what a word's row holds, by name; a function from the word to each cell.
        l1: weight of the sum of absolute weights, per training set.
        l2: weight of the sum of squared weights.
        max_iterations: of L-BFGS.

    Attributes:
        labels: the tags of the training set, in CRFsuite's order.
        state_weights: (feature string, tag) to weight.
        transition_weights: (tag before, tag) to weight.

    Raises:
        InputError: for templates that cannot be read, or a bigram template with macros.
    """

    def __init__(
        self,
        templates: str = DEFAULT_TEMPLATES,
        columns: Columns = FORMS,
        *,
        l1: float = 0.0,
        l2: float = 1.0,
        max_iterations: int = 100,
    ) -> None:
        self.columns = dict(columns)
        self.templates = parse_templates(templates, len(self.columns))
        for template in self.templates:
            if template.bigram and template.macros:
                raise InputError(
                    "templates",
                    template.text,
                    "of bigram templates, a bare B: CRFsuite has no others",
                    "write B",
                )
        self.l1, self.l2, self.max_iterations = l1, l2, max_iterations
        self.labels: list[str] = []
        self.state_weights: dict[tuple[str, str], float] = {}
        self.transition_weights: dict[tuple[str, str], float] = {}
        self.model = b""

    @property
    def chained(self) -> bool:
        """Whether tags depend on each other: whether there is a line ``B``."""
        return any(template.bigram for template in self.templates)

    def features(self, sentence: Sequence[str]) -> list[list[str]]:
        """The strings that the unigram templates expand to at each word."""
        rows = table(sentence, self.columns)
        unigrams = [template for template in self.templates if not template.bigram]
        return [[template.expand(rows, i) for template in unigrams] for i in range(len(rows))]

    def fit(self, sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> Self:
        """Fit the weights.

        Raises:
            InputError: for no sentences, or a sentence with another number of tags than words.
        """
        pycrfsuite = _pycrfsuite()
        _check(sentences, tags)
        trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
        trainer.set_params({"c1": self.l1, "c2": self.l2, "max_iterations": self.max_iterations})
        for sentence, own_tags in zip(sentences, tags, strict=True):
            for features, part in self._sequences(sentence, own_tags):
                trainer.append(features, part)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            trainer.train(str(path))
            self.model = path.read_bytes()
        self._tagger = pycrfsuite.Tagger()
        self._tagger.open_inmemory(self.model)
        info = self._tagger.info()
        self.labels = self._tagger.labels()
        self.state_weights = dict(info.state_features)
        self.transition_weights = dict(info.transitions)
        return self

    def _sequences(
        self, sentence: Sequence[str], tags: Sequence[str]
    ) -> list[tuple[list[list[str]], list[str]]]:
        features = self.features(sentence)
        if self.chained:
            return [(features, list(tags))]
        return [([own], [tag]) for own, tag in zip(features, tags, strict=True)]

    def predict(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """The best tags of each sentence.

        Raises:
            InputError: before :meth:`fit`.
        """
        self._fitted()
        if self.chained:
            return [list(self._tagger.tag(self.features(s))) for s in sentences]
        return [[self._tagger.tag([own])[0] for own in self.features(s)] for s in sentences]

    def lattice(self, sentence: Sequence[str]) -> tuple[Array, Array]:
        """Emissions (T, L) and transitions (L, L) of a sentence, tags ordered as ``labels``.

        An emission is the sum of the weights of the features that are on: ``eq-crf-emission``.

        Raises:
            InputError: before :meth:`fit`.
        """
        self._fitted()
        emissions = np.array(
            [
                [sum(self.state_weights.get((f, label), 0.0) for f in own) for label in self.labels]
                for own in self.features(sentence)
            ]
        )
        transitions = np.array(
            [
                [self.transition_weights.get((one, two), 0.0) for two in self.labels]
                for one in self.labels
            ]
        )
        return emissions, transitions

    def _fitted(self) -> None:
        if not self.model:
            raise InputError("tagger", "not fitted", "a tagger with weights", "call fit first")


def _check(sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> None:
    if not sentences or len(sentences) != len(tags):
        raise InputError(
            "tags", len(tags), f"tags of {len(sentences)} sentences, one or more", "tag each"
        )
    for i, (sentence, own) in enumerate(zip(sentences, tags, strict=True)):
        if len(sentence) != len(own) or not sentence:
            raise InputError(
                f"tags of sentence {i}", len(own), f"{len(sentence)}, one per word", "tag each word"
            )


def _pycrfsuite():  # type: ignore[no-untyped-def]
    try:
        import pycrfsuite
    except ImportError:
        raise InputError(
            "python-crfsuite",
            "not installed",
            "the extra paradigms",
            "pip install 'rlhf-lab[paradigms]'",
        ) from None
    return pycrfsuite
