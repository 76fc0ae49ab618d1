"""The baseline of every suite: an n-gram model with interpolated Kneser-Ney smoothing.

If it comes near a neural model on a suite, that suite is too easy (``python -m benchmarks suites``
says where it does). Of a word w after the history h, with h' the history without its oldest word:

    p(w | h) = max(c(hw) − D, 0) / c(h·)  +  D · N(h·) / c(h·) · p(w | h'),

c counts occurrences at the highest order and *distinct words to the left* below it, N(h·) is the
number of different words seen after h, and the recursion ends in 1/V. Each order has one discount,
D = n₁ / (n₁ + 2·n₂), with n_i the number of n-grams that are counted i times.

Source: Kneser and Ney 1995; Chen and Goodman 1999, section 2.7. Left out: three discounts per
order, pruning.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlhf_lab.errors import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Order:
    """The n-grams of one length n.

    An n-gram is known by its row in ``keys``. Its key is (row of its first n − 1 words) · V + last
    word; a single word is its own row. ``counts`` runs over ``keys``; ``total`` and ``kinds`` run
    over rows of (n − 1)-grams: the sum of the counts behind a history, and how many are not zero.
    """

    keys: Ints
    counts: Ints
    total: Ints
    kinds: Ints
    discount: float

    def rows(self, keys: Ints) -> Ints:
        """The row of each key, −1 where there is none (or where the key is negative)."""
        at = np.searchsorted(self.keys, keys)
        at[at == len(self.keys)] = 0
        return np.where(self.keys[at] == keys, at, -1)


class NGram:
    """An interpolated Kneser-Ney model over token ids; every token has a positive probability.

    Build it with :meth:`fit`.

    Attributes:
        vocab_size: V; ids are 0 … V − 1.
        eos: the token that ends a document and, repeated, stands before its first one.
    """

    def __init__(self, orders: Sequence[_Order], vocab_size: int, eos: int) -> None:
        self._orders = tuple(orders)
        self.vocab_size = vocab_size
        self.eos = eos

    @property
    def order(self) -> int:
        """Words in the longest n-gram, the predicted one included."""
        return len(self._orders)

    @classmethod
    def fit(
        cls, documents: Iterable[Sequence[int]], vocab_size: int, eos: int, order: int = 5
    ) -> NGram:
        """Count the n-grams of documents; EOS is added to each.

        Raises:
            InputError: for an order below 1, no document, or an id outside the vocabulary.
        """
        if order < 1:
            raise InputError("order", order, "1 or more", "use 5")
        pads = [eos] * (order - 1)
        flat: list[int] = []
        predicted: list[bool] = []
        for document in documents:
            flat += [*pads, *document, eos]
            predicted += [False] * len(pads) + [True] * (len(document) + 1)
        words = np.array(flat, dtype=np.int64)
        if len(words) == 0:
            raise InputError("documents", [], "at least one document", "give more text")
        if words.min() < 0 or words.max() >= vocab_size:
            raise InputError(
                "documents", f"ids {words.min()} to {words.max()}", f"ids 0 to {vocab_size - 1}",
                "encode the text with the tokenizer of this model",
            )  # fmt: skip
        real = np.array(predicted)
        # rows[n - 1][t]: the row of the n-gram that ends at t; −1 before there are n words.
        rows = [words]
        tables: list[Ints] = [np.arange(vocab_size)]
        firsts: list[Ints] = [np.zeros(0, dtype=np.int64)]
        for _ in range(1, order):
            before = np.concatenate([[-1], rows[-1][:-1]])
            usable = before >= 0
            keys, first, inverse = np.unique(
                (before * vocab_size + words)[usable], return_index=True, return_inverse=True
            )
            place = np.flatnonzero(usable)
            row = np.full(len(words), -1, dtype=np.int64)
            row[place] = inverse.reshape(-1)
            rows.append(row)
            tables.append(keys)
            firsts.append(place[first])
        orders = []
        for n in range(1, order + 1):
            ends = rows[n - 1]
            if n == order:
                counted = ends[real & (ends >= 0)]
            else:  # one for each different (n + 1)-gram that ends in this n-gram
                longer = firsts[n]
                counted = ends[longer[real[longer]]]
            counts = np.bincount(counted, minlength=len(tables[n - 1])).astype(np.int64)
            histories = len(tables[n - 2]) if n > 1 else 1
            history = tables[n - 1] // vocab_size
            total = np.bincount(history, weights=counts, minlength=histories).astype(np.int64)
            kinds = np.bincount(history, weights=counts > 0, minlength=histories).astype(np.int64)
            orders.append(_Order(tables[n - 1], counts, total, kinds, _discount(counts)))
        return cls(orders, vocab_size, eos)

    def token_logprobs(self, history: Sequence[int], tokens: Sequence[int]) -> Floats:
        """log p of each of ``tokens``, the first one after ``history``, in nats; (T,)."""
        size = self.order - 1
        start = list(history)[max(0, len(history) - size) :]
        line = np.array([-1] * (size - len(start)) + start + list(tokens), dtype=np.int64)
        windows = np.lib.stride_tricks.sliding_window_view(line, self.order)
        return np.log(self._probabilities(windows))

    def logprob(self, history: Sequence[int], tokens: Sequence[int]) -> float:
        """log p(tokens | history) in nats."""
        return float(self.token_logprobs(history, tokens).sum())

    def document_logprob(self, tokens: Sequence[int]) -> float:
        """log p of a document and its EOS, in nats."""
        return self.logprob([self.eos] * (self.order - 1), [*tokens, self.eos])

    def _probabilities(self, windows: Ints) -> Floats:
        """p of the last column given the others; (M, order) to (M,). −1 stands for no word."""
        word = windows[:, -1]
        p = np.full(len(windows), 1.0 / self.vocab_size)
        for n, table in enumerate(self._orders, 1):
            if n == 1:
                history = np.zeros(len(windows), dtype=np.int64)
            else:
                history = self._rows(windows[:, self.order - n : -1])
            known = history >= 0
            total = np.where(known, table.total[history], 0)
            kinds = np.where(known, table.kinds[history], 0)
            row = table.rows(np.where(known, history * self.vocab_size + word, -1))
            count = np.where(row >= 0, table.counts[row], 0)
            seen = total > 0
            kept = np.maximum(count - table.discount, 0) + table.discount * kinds * p
            p = np.where(seen, kept / np.maximum(total, 1), p)
        return p

    def _rows(self, grams: Ints) -> Ints:
        """The row of each (n − 1)-gram of (M, n − 1), −1 where it was never seen."""
        row = grams[:, 0]
        for column, table in enumerate(self._orders[1 : grams.shape[1]], 1):
            word = grams[:, column]
            row = table.rows(np.where(row >= 0, row * self.vocab_size + word, -1))
        return row

    def distribution(self, history: Sequence[int]) -> Floats:
        """p of every token after ``history``, (V,) float64."""
        recent = list(history)[max(0, len(history) - self.order + 1) :]
        p = np.full(self.vocab_size, 1.0 / self.vocab_size)
        for n, table in enumerate(self._orders, 1):
            if n - 1 > len(recent):
                break
            row = 0
            if n > 1:
                row = int(self._rows(np.array([recent[len(recent) - n + 1 :]]))[0])
            if row < 0 or table.total[row] == 0:
                continue
            p *= table.discount * table.kinds[row] / table.total[row]
            low, high = np.searchsorted(
                table.keys, [row * self.vocab_size, (row + 1) * self.vocab_size]
            )
            words = table.keys[low:high] - row * self.vocab_size
            p[words] += np.maximum(table.counts[low:high] - table.discount, 0) / table.total[row]
        return p

    def sample(
        self,
        history: Sequence[int],
        max_new_tokens: int,
        rng: np.random.Generator,
        *,
        greedy: bool = False,
        stop: Sequence[int] = (),
    ) -> list[int]:
        """A continuation without its EOS; also ends before any token of ``stop``."""
        line = list(history)
        for _ in range(max_new_tokens):
            p = self.distribution(line)
            drawn = np.searchsorted(p.cumsum(), rng.random() * p.sum(), side="right")
            token = int(p.argmax()) if greedy else min(int(drawn), self.vocab_size - 1)
            if token == self.eos or token in stop:
                break
            line.append(token)
        return line[len(history) :]


def _discount(counts: Ints) -> float:
    """n₁/(n₁ + 2·n₂), kept between 0.1 and 0.9 so that a few counts cannot silence an order."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    if once == 0:
        return 0.1
    return float(np.clip(once / (once + 2 * twice), 0.1, 0.9))
