"""The prompts of benchmarks.one_task: what is asked, and by which words it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlhf_lab.paradigms.prompting import PromptClassifier

VERDICTS = {"bad": " bad", "good": " good"}
VERDICT = "{text}\nverdict:"
# The base model has never read "adjective". It is asked which word comes next, and words stand for
# their kind: these, and those that labelled sentences show.
WORDS = {
    "ADJ": " good", "ADP": " in", "ADV": " very", "AUX": " will", "CCONJ": " and", "DET": " the",
    "INTJ": " no", "NOUN": " thing", "NUM": " one", "PART": " not", "PRON": " it",
    "PROPN": " name", "PUNCT": ".", "SCONJ": " that", "SYM": " +", "VERB": " give", "X": " x",
}  # fmt: skip
GOES_ON = "{text}"


class PromptTagger:
    """A :class:`PromptClassifier` that is asked, at every word, what kind of word would come there.

    It reads what stands before a word, and never the word itself: a prompt is read from left to
    right. A tag's words are one of :data:`WORDS` and whatever labelled sentences show with that
    tag, if it is a single piece of the model.
    """

    def __init__(self, model: tuple[Any, Any]) -> None:
        self.model = model

    def fit(
        self, sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]
    ) -> PromptTagger:
        """Collect the words of every tag."""
        words = {tag: {word: None} for tag, word in WORDS.items()}
        for sentence, own in zip(sentences, tags, strict=True):
            for word, tag in zip(sentence, own, strict=True):
                written = word.lower() if tag == "PUNCT" else f" {word.lower()}"
                if len(self.model[1](written)["input_ids"]) == 1:
                    words[tag][written] = None
        verbaliser = {tag: list(own) for tag, own in words.items()}
        self.classifier = PromptClassifier(verbaliser, GOES_ON, model=self.model).fit((), ())
        return self

    def predict(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """A tag for each word."""
        before = [
            " ".join([".", *(word.lower() for word in sentence[:i])])
            for sentence in sentences
            for i in range(len(sentence))
        ]
        found = iter(self.classifier.predict(before))
        return [[next(found) for _ in sentence] for sentence in sentences]
