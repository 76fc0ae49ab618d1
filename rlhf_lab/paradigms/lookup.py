"""The simplest tagger: each word has the tag that it had most often."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Self

from rlhf_lab.errors import InputError


class LookupTagger:
    """A dictionary of tags. A word that it does not know gets the tag most frequent among words
    that occurred once. Of equally frequent tags the first in the alphabet is taken.
    """

    def fit(self, sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> Self:
        """Count.

        Raises:
            InputError: for no words.
        """
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for sentence, own in zip(sentences, tags, strict=True):
            for word, tag in zip(sentence, own, strict=True):
                counts[word.lower()][tag] += 1
        if not counts:
            raise InputError("sentences", len(sentences), "at least one word", "give some data")
        rare = Counter(tag for seen in counts.values() if seen.total() == 1 for tag in seen)
        self.unknown = _most(rare or sum(counts.values(), Counter()))
        self.tags = {word: _most(seen) for word, seen in counts.items()}
        return self

    def predict(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """The tags of each sentence."""
        return [[self.tags.get(w.lower(), self.unknown) for w in s] for s in sentences]


def _most(counts: Counter[str]) -> str:
    return min(counts, key=lambda tag: (-counts[tag], tag))
