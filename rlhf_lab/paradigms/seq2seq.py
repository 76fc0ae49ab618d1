"""Sequence to sequence: an LSTM reads a sentence, another one writes it, with attention or without.

Without attention all that the writer knows of the source is the reader's last state, a vector of
fixed size. With attention it looks at the reader's states anew for every word that it writes. Both
kinds of score, additive and dot product, are pure functions here. The state of the decoder asks
*after* it has read the last word, as in Luong et al. (2015), and not before, as in Bahdanau et al.
(2015): a whole sentence is then trained at once, without a loop over its words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms.recurrent import PAD, Sentences, Vocabulary, padded

ATTENTIONS = ("none", "dot", "additive")
BEGIN, END = "<s>", "</s>"


def dot_scores(queries: Tensor, keys: Tensor) -> Tensor:
    """Scaled dot products of each query with each key: ``eq-dot-score``.

    Args:
        queries: (B, T, H), states of the decoder.
        keys: (B, S, H), states of the encoder.

    Returns:
        (B, T, S).

    Source: Luong, Pham and Manning (2015), "dot"; the root of H is that of Vaswani et al. (2017).
    """
    return queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5


def additive_scores(
    queries: Tensor, keys: Tensor, query_map: Tensor, key_map: Tensor, direction: Tensor
) -> Tensor:
    """A small network's opinion of each query with each key: ``eq-additive-score``.

    Args:
        queries: (B, T, H), states of the decoder.
        keys: (B, S, H), states of the encoder.
        query_map: W, (A, H).
        key_map: U, (A, H).
        direction: v, (A,).

    Returns:
        (B, T, S).

    Source: Bahdanau, Cho and Bengio (2015), appendix A.1.2.
    """
    asked, offered = queries @ query_map.T, keys @ key_map.T
    return torch.tanh(asked[:, :, None] + offered[:, None]) @ direction


def attend(scores: Tensor, values: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Weights that sum to 1 over the source, and the mean of the values by them: ``eq-attention``.

    Args:
        scores: (B, T, S).
        values: (B, S, H), states of the encoder.
        mask: (B, S), 1 at words; padding gets no weight. None where nothing is padded.

    Returns:
        Contexts (B, T, H) and weights (B, T, S).
    """
    if mask is not None:
        scores = scores.masked_fill(~mask.bool()[:, None], -torch.inf)
    weights = scores.softmax(-1)
    return weights @ values, weights


class Read(NamedTuple):
    """What the encoder makes of a batch: states (B, S, H), and its last h and c, (1, B, H) each."""

    states: Tensor
    last: tuple[Tensor, Tensor]


def alike(lengths: Sequence[int], size: int, steps: int) -> Iterator[list[int]]:
    """Indices of ``steps`` batches, each of sources of one length, so that nothing is padded.

    A length is drawn as often as sources have it; a batch is smaller where there are fewer.
    """
    by_length: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        by_length.setdefault(length, []).append(i)
    for draw in torch.randint(len(lengths), (steps,)).tolist():
        rows = by_length[lengths[draw]]
        yield [rows[i] for i in torch.randperm(len(rows))[:size].tolist()]


class Translator(nn.Module):
    """Encoder and decoder, trained on pairs of sentences, writing greedily.

    Args:
        attention: "none", "dot" or "additive".
        size: of word vectors, D.
        hidden: of both LSTMs, H; the encoder's has H / 2 in each direction.
        steps: updates of Adam.
        batch_size: pairs in each.
        learning_rate: falls linearly to 0.
        seed: of weights and order.

    Source: Sutskever, Vinyals and Le (2014); Bahdanau, Cho and Bengio (2015).
    """

    def __init__(
        self,
        attention: str = "dot",
        *,
        size: int = 32,
        hidden: int = 64,
        steps: int = 1000,
        batch_size: int = 32,
        learning_rate: float = 5e-3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if attention not in ATTENTIONS:
            raise InputError("attention", attention, f"one of {', '.join(ATTENTIONS)}", "choose")
        if hidden < 2 or hidden % 2:
            raise InputError("hidden", hidden, "an even number", "half of it is each direction's")
        self.attention, self.size, self.hidden = attention, size, hidden
        self.steps, self.batch_size = steps, batch_size
        self.learning_rate, self.seed = learning_rate, seed
        self.fitted = False

    def fit(self, sources: Sentences, targets: Sentences) -> Self:
        """Train from new weights.

        Raises:
            InputError: for no pairs, another number of targets, or an empty sentence.
        """
        if not sources or len(sources) != len(targets) or not all(sources):
            raise InputError(
                "targets", len(targets), f"one for each of {len(sources)} sources", "pair them up"
            )
        torch.manual_seed(self.seed)
        self._build(sources, targets)
        read = [self.source_words.ids(s) for s in sources]
        write = [self.target_words.ids([BEGIN, *t, END]) for t in targets]
        lengths = [len(s) for s in sources]
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        for step, rows in enumerate(alike(lengths, self.batch_size, self.steps)):
            optimizer.param_groups[0]["lr"] = self.learning_rate * (1 - step / self.steps)
            source = torch.tensor([read[i] for i in rows])
            loss = self.loss(source, padded([write[i] for i in rows]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()
        self.fitted = True
        return self

    def _build(self, sources: Sentences, targets: Sentences) -> None:
        self.source_words = Vocabulary(sorted({w for s in sources for w in s}))
        self.target_words = Vocabulary([BEGIN, END, *sorted({w for t in targets for w in t})])
        self.words = [BEGIN, BEGIN, *self.target_words.index]  # padding and unknown: never written
        d, h = self.size, self.hidden
        self.source_vectors = nn.Embedding(len(self.source_words), d, padding_idx=PAD)
        self.target_vectors = nn.Embedding(len(self.target_words), d, padding_idx=PAD)
        self.encoder = nn.LSTM(d, h // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.LSTM(d, h, batch_first=True)
        if self.attention == "additive":
            self.query_map, self.key_map = nn.Linear(h, h, bias=False), nn.Linear(h, h, bias=False)
            self.direction = nn.Linear(h, 1, bias=False)
        self.mix = nn.Linear(h if self.attention == "none" else 2 * h, h)
        self.output = nn.Linear(h, len(self.target_words))

    def encode(self, ids: Tensor) -> Read:
        """Read sources of one length, (B, S) indices."""
        states, last = self.encoder(self.source_vectors(ids))
        hidden, cell = (torch.cat([x[0], x[1]], dim=1)[None] for x in last)
        return Read(states, (hidden, cell))

    def decode(
        self, ids: Tensor, read: Read, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor]]:
        """Scores of the word after each target word, (B, T, V).

        Args:
            ids: (B, T), target words so far, or only the last with the state that came before.
            read: of :meth:`encode`.
            state: h and c of the decoder before these words.

        Returns:
            The scores, attention's weights (B, T, S) or None, and the state after these words.
        """
        states, state = self.decoder(self.target_vectors(ids), state)
        if self.attention == "none":
            return self.output(self.mix(states).tanh()), None, state
        context, weights = attend(self._scores(states, read.states), read.states)
        mixed = self.mix(torch.cat([states, context], dim=-1)).tanh()
        return self.output(mixed), weights, state

    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        if self.attention == "dot":
            return dot_scores(queries, keys)
        return additive_scores(
            queries, keys, self.query_map.weight, self.key_map.weight, self.direction.weight[0]
        )

    def loss(self, sources: Tensor, targets: Tensor) -> Tensor:
        """Mean −log p of the target words, the end's mark among them: ``eq-seq2seq``.

        Args:
            sources: (B, S) indices, of one length.
            targets: (B, T) indices that begin with the mark of the beginning, 0 beyond the end's.
        """
        read = self.encode(sources)
        scores, _, _ = self.decode(targets[:, :-1], read, read.last)
        return cross_entropy(scores.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=PAD)

    def _check_fitted(self) -> None:
        if not self.fitted:
            raise InputError("translator", "not fitted", "one with weights", "call fit first")

    @torch.no_grad()
    def predict(self, sources: Sentences) -> list[list[str]]:
        """The likeliest word at each step, until the end's mark or twice as many as the source.

        Raises:
            InputError: before :meth:`fit`.
        """
        self._check_fitted()
        found: list[list[str]] = [[] for _ in sources]
        for length in sorted({len(source) for source in sources}):
            rows = [i for i, source in enumerate(sources) if len(source) == length]
            written = self._write([self.source_words.ids(sources[i]) for i in rows])
            for i, ids in zip(rows, written, strict=True):
                found[i] = self._words(ids)
        return found

    def _write(self, sources: list[list[int]]) -> list[list[int]]:
        """Indices written for sources of one length."""
        read = self.encode(torch.tensor(sources))
        last = torch.full((len(sources), 1), self.target_words.index[BEGIN])
        state, written = read.last, last[:, :0]
        for _ in range(2 * len(sources[0])):
            scores, _, state = self.decode(last, read, state)
            scores[:, :, :3] = -torch.inf  # padding, unknown and the beginning are no words
            last = scores.argmax(-1)
            written = torch.cat([written, last], 1)
            if bool((written == self.target_words.index[END]).any(1).all()):
                break
        return written.tolist()

    def _words(self, ids: Sequence[int]) -> list[str]:
        words = [self.words[i] for i in ids]
        return words[: words.index(END)] if END in words else words

    @torch.no_grad()
    def attention_map(self, source: Sequence[str], target: Sequence[str]) -> NDArray[np.float64]:
        """The weight of each source word while each target word is written, (T, S).

        Raises:
            InputError: before :meth:`fit`, or for a translator without attention.
        """
        self._check_fitted()
        if self.attention == "none":
            raise InputError("attention", "none", "dot or additive", "train one with attention")
        read = self.encode(torch.tensor([self.source_words.ids(source)]))
        ids = torch.tensor([self.target_words.ids([BEGIN, *target])])
        _, weights, _ = self.decode(ids[:, :-1], read, read.last)
        assert weights is not None
        return weights[0].double().numpy()

    def parameter_count(self) -> int:
        """Numbers that training changes."""
        return sum(p.numel() for p in self.parameters())
