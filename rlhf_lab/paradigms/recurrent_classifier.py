"""A classifier of whole texts without feature templates: a BiLSTM whose states are pooled.

The same parts as the taggers of :mod:`rlhf_lab.paradigms.recurrent`; only the end differs. A tagger
scores every word's state, this one the largest value that each number of the state has anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms.recurrent import PAD, UNKNOWN, BiLSTM, Vocabulary, batches, padded


def words_and_marks(text: str) -> list[str]:
    """Words in lower case, and every other mark by itself: "So-so, isn't it" has eight."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


class BiLSTMClassifier(nn.Module):
    """Learned word vectors, a BiLSTM, the maximum over words, a linear layer of label scores.

    Args:
        size: of word vectors, D.
        hidden: numbers per word after the BiLSTM, H.
        steps: updates of Adam.
        batch_size: texts in each.
        learning_rate: falls linearly to 0.
        unknown: share of training words that are replaced by "unknown".
        seed: of weights, order and replaced words.

    Source: Conneau et al. (2017), §3.2.2, for the maximum over a BiLSTM's states.
    """

    def __init__(
        self,
        *,
        size: int = 32,
        hidden: int = 48,
        steps: int = 300,
        batch_size: int = 16,
        learning_rate: float = 1e-2,
        unknown: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if hidden < 2 or hidden % 2:
            raise InputError("hidden", hidden, "an even number", "half of it is each direction's")
        if not 0 <= unknown < 1:
            raise InputError("unknown", unknown, "0 <= unknown < 1", "give a share of words")
        self.size, self.hidden, self.steps, self.batch_size = size, hidden, steps, batch_size
        self.learning_rate, self.unknown, self.seed = learning_rate, unknown, seed
        self.labels: list[str] = []

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> Self:
        """Train from new weights.

        Raises:
            InputError: for no texts, a text without words, or another number of labels.
        """
        rows = [words_and_marks(text) for text in texts]
        if not rows or len(rows) != len(labels) or not all(rows):
            raise InputError("texts", len(rows), f"{len(labels)} texts with words", "drop the rest")
        torch.manual_seed(self.seed)
        self.labels = sorted(set(labels))
        self.words = Vocabulary([word for row in rows for word in row])
        self.embedding = nn.Embedding(len(self.words), self.size, padding_idx=PAD)
        self.body = BiLSTM(self.size, self.hidden)
        self.score = nn.Linear(self.hidden, len(self.labels))
        numbers = [self.words.ids(row) for row in rows]
        goals = torch.tensor([self.labels.index(label) for label in labels])
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        for step, chosen in enumerate(batches(len(rows), self.batch_size, self.steps)):
            optimizer.param_groups[0]["lr"] = self.learning_rate * (1 - step / self.steps)
            ids = padded([numbers[i] for i in chosen])
            lost = (torch.rand(ids.shape) < self.unknown) & (ids > 0)
            loss = cross_entropy(self(ids.masked_fill(lost, UNKNOWN)), goals[chosen])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()
        return self

    def forward(self, ids: Tensor) -> Tensor:
        """Indices of words (B, T), 0 beyond a text's end, to scores of labels (B, K)."""
        states = self.body(self.embedding(ids), (ids > 0).sum(1))
        return self.score(states.masked_fill((ids == PAD)[:, :, None], -torch.inf).amax(1))

    @torch.no_grad()
    def predict(self, texts: Sequence[str]) -> list[str]:
        """The likeliest label of each text.

        Raises:
            InputError: before :meth:`fit`.
        """
        if not self.labels:
            raise InputError("classifier", "not fitted", "one with weights", "call fit first")
        rows = [self.words.ids(words_and_marks(text)) or [UNKNOWN] for text in texts]
        return [self.labels[int(self(padded([row])).argmax())] for row in rows]

    def parameter_count(self) -> int:
        """Numbers that training may change."""
        return sum(p.numel() for p in self.parameters())
