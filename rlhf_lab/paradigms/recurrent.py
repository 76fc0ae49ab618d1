"""Taggers without feature templates: a window of words, a bidirectional LSTM, and a CRF on top.

All three score every tag at every word (the *emissions*) from learned word vectors and differ only
in what a score may depend on: the words within a radius, the whole sentence, or the tags beside it
too. Sums over tag sequences are :mod:`rlhf_lab.paradigms.lattice` for one sentence; here stands the
batched form that gradients flow through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms.lattice import viterbi

PAD, UNKNOWN = 0, 1
Sentences = Sequence[Sequence[str]]


def lstm_step(
    x: Tensor, hidden: Tensor, cell: Tensor, inputs: Tensor, recurrent: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """One step of an LSTM: ``eq-lstm``.

    Args:
        x: (B, D), the word's vector.
        hidden: (B, H), h of the step before.
        cell: (B, H), c of the step before.
        inputs: (4H, D), the matrices W, in PyTorch's order: i, f, g, o.
        recurrent: (4H, H), the matrices U.
        bias: (4H,).

    Returns:
        h (B, H), c (B, H), and the gates by name: "input", "forget", "output", each (B, H).

    Source: Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000).
    """
    i, f, g, o = (x @ inputs.T + hidden @ recurrent.T + bias).chunk(4, dim=-1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cell = f * cell + i * g
    return o * cell.tanh(), cell, {"input": i, "forget": f, "output": o}


def crf_log_partition(emissions: Tensor, transitions: Tensor, mask: Tensor) -> Tensor:
    """log Z of each sentence of a batch, (B,): the forward sums, which gradients flow through.

    Args:
        emissions: (B, T, L) in nats.
        transitions: (L, L), from, to.
        mask: (B, T), 1 at words; a sentence's words come first.
    """
    alpha = emissions[:, 0]
    for t in range(1, emissions.shape[1]):
        arriving = torch.logsumexp(alpha[:, :, None] + transitions, dim=1) + emissions[:, t]
        alpha = torch.where(mask[:, t, None].bool(), arriving, alpha)
    return torch.logsumexp(alpha, dim=1)


def crf_log_likelihood(
    emissions: Tensor, transitions: Tensor, tags: Tensor, mask: Tensor
) -> Tensor:
    """log p(y | x) of the tags of each sentence, (B,): ``eq-bilstm-crf``.

    Args:
        emissions: (B, T, L) in nats.
        transitions: (L, L), from, to.
        tags: (B, T) indices; what stands where the mask is 0 does not count.
        mask: (B, T), 1 at words.
    """
    real = mask.to(emissions.dtype)
    score = (emissions.gather(2, tags[:, :, None])[:, :, 0] * real).sum(1)
    score = score + (transitions[tags[:, :-1], tags[:, 1:]] * real[:, 1:]).sum(1)
    return score - crf_log_partition(emissions, transitions, mask)


def is_legal(tags: Sequence[str]) -> bool:
    """Whether each ``I-X`` of a sentence follows ``B-X`` or ``I-X``."""
    before = ("O", *tags[:-1])
    return all(follows(one, two) for one, two in zip(before, tags, strict=True))


def follows(before: str, tag: str) -> bool:
    """Whether BIO allows ``tag`` right after ``before``."""
    return not tag.startswith("I-") or before in (f"B-{tag[2:]}", tag)


class Vocabulary:
    """Strings and their indices; 0 is padding, 1 whatever was not in the training set."""

    def __init__(self, strings: Sequence[str]) -> None:
        self.index = {s: i for i, s in enumerate(dict.fromkeys(strings), start=2)}

    def __len__(self) -> int:
        return len(self.index) + 2

    def ids(self, strings: Sequence[str]) -> list[int]:
        """The index of each string."""
        return [self.index.get(s, UNKNOWN) for s in strings]


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of indices as one (B, T) tensor, filled up with 0."""
    out = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.tensor(row)
    return out


class Window(nn.Module):
    """Sees the words at most ``radius`` away: (B, T, D) to (B, T, H)."""

    def __init__(self, size: int, hidden: int, radius: int) -> None:
        super().__init__()
        self.layer = nn.Conv1d(size, hidden, 2 * radius + 1, padding=radius)

    def forward(self, vectors: Tensor, _lengths: Tensor) -> Tensor:
        """Mix; a window needs no lengths, since the vector of padding is 0."""
        return self.layer(vectors.transpose(1, 2)).transpose(1, 2).tanh()


class BiLSTM(nn.Module):
    """Sees the whole sentence, from the left and from the right: (B, T, D) to (B, T, H).

    The second LSTM reads each sentence turned round within its own length, so that padding comes
    last for both. That is three times as fast on a CPU as PyTorch's packed sequences.
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.outward = nn.LSTM(size, hidden // 2, batch_first=True)
        self.homeward = nn.LSTM(size, hidden // 2, batch_first=True)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Mix sentences of (B,) ``lengths``; what comes out beyond them means nothing."""
        turned = turn_round(self.homeward(turn_round(vectors, lengths))[0], lengths)
        return torch.cat([self.outward(vectors)[0], turned], dim=2)


def turn_round(rows: Tensor, lengths: Tensor) -> Tensor:
    """Each sentence of (B, T, D) from its last word to its first; padding stays where it is."""
    places = torch.arange(rows.shape[1]).expand(rows.shape[:2])
    mirrored = lengths[:, None] - 1 - places
    index = torch.where(mirrored >= 0, mirrored, places)
    return rows.gather(1, index[:, :, None].expand_as(rows))


class Characters(nn.Module):
    """A word's vector from its letters: a BiLSTM's states at both ends, (N, C) to (N, D)."""

    def __init__(self, letters: int, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, size, padding_idx=PAD)
        self.body = BiLSTM(size, size)

    def forward(self, letters: Tensor) -> Tensor:
        """Read words given as indices of their letters, 0 beyond a word's end."""
        lengths = (letters > 0).sum(1)
        states = self.body(self.embedding(letters), lengths)
        half = states.shape[2] // 2
        ends = states[torch.arange(len(states)), lengths - 1]
        return torch.cat([ends[:, :half], states[:, 0, half:]], dim=1)


class NeuralTagger(nn.Module):
    """Learned word vectors, a body that mixes them, a linear layer of tag scores, perhaps a CRF.

    Args:
        radius: the body is a :class:`Window` of this radius; None for a :class:`BiLSTM`.
        crf: score pairs of tags too, and train the probability of whole sequences.
        characters: also read the letters of each word.
        size: of word vectors, D.
        hidden: numbers per word after the body, H (half of them from each direction).
        steps: updates of Adam.
        batch_size: sentences in each.
        learning_rate: falls linearly to 0.
        unknown: share of training words that are replaced by "unknown", so that its vector learns.
        seed: of weights, order and replaced words.

    Attributes:
        labels: the tags of the training set, sorted; the order of all scores.
        transitions: (L, L); zeros without a CRF.

    Source: Huang, Xu and Yu (2015); letters as in Lample et al. (2016).
    """

    def __init__(
        self,
        *,
        radius: int | None = None,
        crf: bool = False,
        characters: bool = False,
        size: int = 32,
        hidden: int = 48,
        steps: int = 300,
        batch_size: int = 32,
        learning_rate: float = 1e-2,
        unknown: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if radius is not None and radius < 0:
            raise InputError("radius", radius, "0 or more, or None", "count words to each side")
        if hidden < 2 or hidden % 2:
            raise InputError("hidden", hidden, "an even number", "half of it is each direction's")
        if not 0 <= unknown < 1:
            raise InputError("unknown", unknown, "0 <= unknown < 1", "give a share of words")
        self.radius, self.crf, self.characters = radius, crf, characters
        self.size, self.hidden, self.steps, self.batch_size = size, hidden, steps, batch_size
        self.learning_rate, self.unknown, self.seed = learning_rate, unknown, seed
        self.labels: list[str] = []

    def fit(self, sentences: Sentences, tags: Sentences) -> Self:
        """Train from new weights.

        Raises:
            InputError: for no sentences, or a sentence with another number of tags than words.
        """
        if not sentences or [len(s) for s in sentences] != [len(t) for t in tags]:
            raise InputError(
                "tags", len(tags), f"a tag for each word of {len(sentences)} sentences", "tag each"
            )
        torch.manual_seed(self.seed)
        self._build(sentences, tags)
        words = [self.words.ids(s) for s in sentences]
        targets = [[self.labels.index(t) for t in row] for row in tags]
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        for step, rows in enumerate(batches(len(sentences), self.batch_size, self.steps)):
            optimizer.param_groups[0]["lr"] = self.learning_rate * (1 - step / self.steps)
            ids = padded([words[i] for i in rows])
            lost = (torch.rand(ids.shape) < self.unknown) & (ids > 0)
            scores = self.emissions(ids.masked_fill(lost, UNKNOWN), [sentences[i] for i in rows])
            loss = self._loss(scores, padded([targets[i] for i in rows]), ids > 0)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()
        return self

    def _build(self, sentences: Sentences, tags: Sentences) -> None:
        self.words = Vocabulary([w for s in sentences for w in s])
        self.labels = sorted({t for row in tags for t in row})
        width = self.size
        self.embedding = nn.Embedding(len(self.words), self.size, padding_idx=PAD)
        if self.characters:
            self.alphabet = Vocabulary(sorted({c for s in sentences for w in s for c in w}))
            self.speller = Characters(len(self.alphabet), self.size)
            width += self.size
        self.body = (
            BiLSTM(width, self.hidden)
            if self.radius is None
            else Window(width, self.hidden, self.radius)
        )
        self.score = nn.Linear(self.hidden, len(self.labels))
        self.transitions = nn.Parameter(
            torch.zeros(len(self.labels), len(self.labels)), requires_grad=self.crf
        )

    def emissions(self, ids: Tensor, sentences: Sentences) -> Tensor:
        """The score of every tag at every word, (B, T, L): ``eq-bilstm-emission``.

        Args:
            ids: (B, T) indices of words, 0 beyond a sentence's end.
            sentences: the same words, for the letters in them.
        """
        vectors = self.embedding(ids)
        if self.characters:
            spelled = Vocabulary(sorted({w for s in sentences for w in s}))
            letters = padded([self.alphabet.ids(word) for word in spelled.index])
            table = torch.cat([vectors.new_zeros(2, self.size), self.speller(letters)])
            vectors = torch.cat([vectors, table[padded([spelled.ids(s) for s in sentences])]], 2)
        return self.score(self.body(vectors, (ids > 0).sum(1)))

    def _loss(self, scores: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Mean per word, so that both kinds of loss have steps of one size."""
        if self.crf:
            return -crf_log_likelihood(scores, self.transitions, targets, mask).sum() / mask.sum()
        return cross_entropy(scores[mask], targets[mask])

    @torch.no_grad()
    def lattice(self, sentence: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Emissions (T, L) and transitions (L, L) of a sentence, tags ordered as ``labels``.

        Raises:
            InputError: before :meth:`fit`.
        """
        if not self.labels:
            raise InputError("tagger", "not fitted", "a tagger with weights", "call fit first")
        scores = self.emissions(padded([self.words.ids(sentence)]), [sentence])[0]
        return scores.double().numpy(), self.transitions.double().numpy()

    def predict(self, sentences: Sentences, *, legal: bool = False) -> list[list[str]]:
        """The best tags of each sentence, by Viterbi; without a CRF the best tag of each word.

        Args:
            sentences: lists of words.
            legal: search only among the sequences that BIO allows.

        Raises:
            InputError: before :meth:`fit`.
        """
        found = []
        for sentence in sentences:
            scores, transitions = self.lattice(sentence)
            if legal:
                scores, transitions = self._forbid(scores, transitions)
            found.append([self.labels[i] for i in viterbi(scores, transitions)[0]])
        return found

    def _forbid(
        self, scores: NDArray[np.float64], transitions: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The same scores, −∞ for what BIO does not allow."""
        allowed = [[follows(one, two) for two in self.labels] for one in self.labels]
        scores = scores.copy()
        scores[0, [not follows("O", tag) for tag in self.labels]] = -np.inf
        return scores, np.where(allowed, transitions, -np.inf)

    def parameter_count(self) -> int:
        """Numbers that training may change."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def batches(rows: int, size: int, steps: int) -> Iterator[list[int]]:
    """Indices of ``steps`` batches: every row once, in a new order, before any row comes again."""
    waiting: list[int] = []
    for _ in range(steps):
        while len(waiting) < size:
            waiting += torch.randperm(rows).tolist()
        yield waiting[:size]
        waiting = waiting[size:]


def unknown_words(train: Sentences, sentences: Sentences) -> list[list[bool]]:
    """For each word whether it never occurs in ``train``."""
    seen = Counter(w for s in train for w in s)
    return [[w not in seen for w in s] for s in sentences]
