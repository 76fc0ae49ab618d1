"""The prompts of benchmarks.one_task: what is asked, and by which words it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlhf_lab.paradigms.prompting import PromptClassifier

VERDICTS = {"bad": " bad", "good": " good"}
VERDICT = "{text}\nverdict:"
# A word of the kind stands for it: names such as "adjective" never occur in Fernwick's web.
NAMES = {
    "ADJ": " good", "ADP": " in", "ADV": " very", "AUX": " will", "CCONJ": " and", "DET": " the",
    "INTJ": " no", "NOUN": " thing", "NUM": " one", "PART": " not", "PRON": " it",
    "PROPN": " name", "PUNCT": ".", "SCONJ": " that", "SYM": " +", "VERB": " give", "X": " x",
}  # fmt: skip
NAMED = "{text}:"


class PromptTagger:
    """A :class:`PromptClassifier` that is asked for the name of every word's tag.

    The examples are words of the labelled sentences, as many of each tag as of any other.
    """

    def __init__(self, words: int, model: tuple[Any, Any], seed: int) -> None:
        self.words, self.model, self.seed = words, model, seed

    def fit(
        self, sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]
    ) -> PromptTagger:
        """Choose the examples; no sentences, no examples, and all tags there are."""
        words = [word.lower() for sentence in sentences for word in sentence]
        flat = [tag for own in tags for tag in own]
        self.classifier = PromptClassifier(
            NAMES, NAMED, model=self.model, shots=min(self.words, len(words)), choose="balanced",
            seed=self.seed,
        )  # fmt: skip
        self.classifier.fit(words, flat)
        return self

    def predict(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """A tag for each word; a word is asked about once."""
        distinct = sorted({word.lower() for sentence in sentences for word in sentence})
        found = dict(zip(distinct, self.classifier.predict(distinct), strict=True))
        return [[found[word.lower()] for word in sentence] for sentence in sentences]
