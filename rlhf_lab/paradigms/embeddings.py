"""One vector per word: counts, NNLM, CBOW, skip-gram and GloVe, each with its objective.

A vocabulary of a thousand words makes two things simple that millions of words forbid: tables of
all pairs of words are kept whole (:func:`cooccurrence`), and an optimiser's step touches every row.
Left out for that reason: hierarchical softmax, and sparse updates across processes.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rlhf_lab.errors import InputError

WORD = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")
EDGE, UNKNOWN = "<edge>", "<unknown>"  # beyond a text's ends; a word that the vocabulary lacks


def words_of(text: str) -> list[str]:
    """Words, numbers and single signs of a text, in lower case."""
    return WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words with their numbers, the most frequent first.

    Attributes:
        words: word by number; the first two are :data:`EDGE` and :data:`UNKNOWN`.
        counts: how often each occurred, (V,) float; 0 for EDGE.
    """

    words: tuple[str, ...]
    counts: Tensor

    @classmethod
    def of(cls, texts: Iterable[Sequence[str]], minimum: int = 1) -> Vocabulary:
        """The words that occur ``minimum`` times or more in texts that are cut into words."""
        found = Counter(word for text in texts for word in text)
        kept = [(word, n) for word, n in found.most_common() if n >= minimum]
        rest = sum(found.values()) - sum(n for _, n in kept)
        counts = torch.tensor([0, rest, *(n for _, n in kept)], dtype=torch.float32)
        return cls((EDGE, UNKNOWN, *(word for word, _ in kept)), counts)

    def __len__(self) -> int:
        return len(self.words)

    def numbers(self) -> dict[str, int]:
        """Number by word."""
        return {word: number for number, word in enumerate(self.words)}

    def encode(self, texts: Iterable[Sequence[str]]) -> list[list[int]]:
        """Texts as numbers; words that are not in the vocabulary become UNKNOWN."""
        numbers = self.numbers()
        return [[numbers.get(word, 1) for word in text] for text in texts]


class WordVectors:
    """One vector per word, and how near they are.

    Args:
        words: V words.
        vectors: (V, d).

    Raises:
        InputError: when the two differ in length.
    """

    def __init__(self, words: Sequence[str], vectors: Tensor) -> None:
        if len(words) != len(vectors):
            raise InputError("vectors", len(vectors), f"{len(words)} rows", "one row per word")
        self.words = tuple(words)
        self.vectors = vectors
        self.number = {word: i for i, word in enumerate(self.words)}
        self.directions = F.normalize(vectors, dim=-1)

    def __getitem__(self, word: str) -> Tensor:
        return self.vectors[self._of([word])[0]]

    def _of(self, words: Sequence[str]) -> list[int]:
        missing = [word for word in words if word not in self.number]
        if missing:
            raise InputError("word", missing[0], "a word of the vocabulary", "choose another word")
        return [self.number[word] for word in words]

    def among(self, words: Sequence[str]) -> WordVectors:
        """The vectors of some words only."""
        return WordVectors(words, self.vectors[self._of(words)])

    def nearest(self, vector: Tensor, count: int = 5, but: Sequence[str] = ()) -> list[str]:
        """The ``count`` words whose vectors have the highest cosine with ``vector``.

        Args:
            vector: (d,).
            but: words to leave out.
        """
        cosines = self.directions @ F.normalize(vector, dim=-1)
        cosines[[self.number[word] for word in but if word in self.number]] = -math.inf
        return [self.words[i] for i in cosines.topk(count).indices.tolist()]

    def neighbours(self, word: str, count: int = 5) -> list[str]:
        """The ``count`` words nearest to a word, without itself."""
        return self.nearest(self[word], count, but=(word,))

    def analogy(self, a: str, b: str, c: str, count: int = 1) -> list[str]:
        """Words for "a is to b as c is to …": nearest to b − a + c (``eq-analogy``).

        Each of the three is scaled to length 1 first, and none of them is an answer.
        """
        one, other, third = self.directions[self._of([a, b, c])]
        return self.nearest(other - one + third, count, but=(a, b, c))


@dataclass(frozen=True)
class EmbeddingConfig:
    """How vectors are trained; one set of settings for all methods.

    Attributes:
        dimension: of the vectors, d.
        window: words to each side that count as context.
        negatives: words drawn for each observed one, K.
        epochs: passes over the texts.
        batch_size: predictions per step.
        learning_rate: of Adam; it falls linearly to zero.
        subsample: words more frequent than this share are dropped at random (1 drops none).
        hidden: units of the NNLM's hidden layer.
        glove_steps: steps on the whole table of counts.
        glove_rate: their size.
        glove_cutoff: count from which on a pair has full weight.
        seed: of the first weights and of everything drawn.
    """

    dimension: int = 48
    window: int = 4
    negatives: int = 5
    epochs: int = 5
    batch_size: int = 1024
    learning_rate: float = 1e-2
    subsample: float = 2e-3
    hidden: int = 64
    glove_steps: int = 60
    glove_rate: float = 0.02
    glove_cutoff: float = 100.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("dimension", "window", "negatives", "epochs", "batch_size", "hidden"):
            if getattr(self, name) < 1:
                raise InputError(name, getattr(self, name), "1 or more", "choose a larger number")
        for name in ("learning_rate", "subsample", "glove_cutoff"):
            if not getattr(self, name) > 0:
                raise InputError(name, getattr(self, name), "above 0", "choose a positive number")


# --- who stands next to whom ----------------------------------------------------------------------


def neighbourhoods(
    texts: Sequence[Sequence[int]], before: int, after: int
) -> tuple[Tensor, Tensor]:
    """Every word of the texts with the words around it.

    Args:
        texts: numbers of words; nothing reaches from one text into another.
        before, after: how many words to the left and to the right.

    Returns:
        words (N,), and the words around them (N, before + after), left to right; EDGE, number 0,
        beyond the ends.
    """
    edge = [0] * max(before, after)
    line = list(edge)
    for text in texts:
        line += [*text, *edge]
    words = torch.tensor(line)
    windows = words.unfold(0, before + 1 + after, 1)
    kept = windows[windows[:, before] > 0]
    return kept[:, before], torch.cat([kept[:, :before], kept[:, before + 1 :]], 1)


def cooccurrence(
    texts: Sequence[Sequence[int]], size: int, window: int, *, by_distance: bool = True
) -> Tensor:
    """How often each word stands within ``window`` words of each other, X (V, V).

    Args:
        size: number of words, V.
        by_distance: a pair that is m words apart counts 1/m, as in GloVe; else 1.
    """
    words, around = neighbourhoods(texts, 0, window)
    counts = torch.zeros(size * size, dtype=torch.float64)
    for distance in range(1, window + 1):
        other = around[:, distance - 1]
        inside = other > 0
        weight = torch.full((int(inside.sum()),), 1 / distance if by_distance else 1.0)
        counts.index_add_(0, (words * size + other)[inside], weight.double())
    table = counts.view(size, size).float()
    return table + table.T


def ppmi(counts: Tensor) -> Tensor:
    """Positive pointwise mutual information of a table of counts, ``eq-ppmi``.

    Args:
        counts: (V, V), not negative.

    Returns:
        (V, V); 0 for pairs that never met.
    """
    total = counts.sum()
    expected = counts.sum(1, keepdim=True) * counts.sum(0, keepdim=True) / total
    return torch.where(counts > 0, (counts / expected).log(), 0.0).clamp_min(0)


def count_vectors(
    texts: Sequence[Sequence[int]], vocabulary: Vocabulary, config: EmbeddingConfig
) -> WordVectors:
    """The table of :func:`ppmi`, cut down to its d strongest directions: no training at all."""
    table = ppmi(cooccurrence(texts, len(vocabulary), config.window, by_distance=False))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        left, strength, _ = torch.svd_lowrank(table, q=config.dimension, niter=6)
    return WordVectors(vocabulary.words, left * strength.sqrt())


# --- NNLM: predict the next word ------------------------------------------------------------------


class NNLM(nn.Module):
    """The next word from the vectors of the ones before it, ``eq-nnlm``.

    Left out: the optional connections from the vectors straight to the output.

    Args:
        size: number of words, V.
        config: dimension, window (words before), hidden units.
    """

    def __init__(self, size: int, config: EmbeddingConfig) -> None:
        super().__init__()
        self.vectors = nn.Embedding(size, config.dimension)
        nn.init.normal_(self.vectors.weight, std=0.1)
        self.hidden = nn.Linear(config.window * config.dimension, config.hidden)
        self.output = nn.Linear(config.hidden, size)

    def forward(self, before: Tensor) -> Tensor:
        """Logits (B, V) for the words after ``before`` (B, n)."""
        logits: Tensor = self.output(self.hidden(self.vectors(before).flatten(1)).tanh())
        return logits


def train_nnlm(
    texts: Sequence[Sequence[int]], vocabulary: Vocabulary, config: EmbeddingConfig
) -> tuple[WordVectors, NNLM]:
    """The input vectors of an :class:`NNLM`, and the model itself."""
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = NNLM(len(vocabulary), config)
    words, before = neighbourhoods(texts, config.window, 0)
    steps = config.epochs * math.ceil(len(words) / config.batch_size)
    optimizer, schedule = _adam(list(model.parameters()), config.learning_rate, steps)
    for _ in range(config.epochs):
        for rows in torch.randperm(len(words), generator=generator).split(config.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(model(before[rows]), words[rows]).backward()
            optimizer.step()
            schedule.step()
    return WordVectors(vocabulary.words, model.vectors.weight.detach()), model


def _adam(
    parameters: list[Tensor], rate: float, steps: int
) -> tuple[torch.optim.Adam, torch.optim.lr_scheduler.LambdaLR]:
    optimizer = torch.optim.Adam(parameters, lr=rate)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / max(steps, 1))
    return optimizer, falling


# --- CBOW and skip-gram: tell real neighbours from drawn ones -------------------------------------


def negative_sampling_loss(predicting: Tensor, outputs: Tensor) -> Tensor:
    """Telling the observed word from K drawn ones: ``eq-skip-gram``, mean over the batch.

    With the vector of one word as ``predicting`` this is skip-gram, with :func:`cbow_vector` it is
    CBOW (Mikolov et al. 2013b, equation 4). Float64 in gives float64 out.

    Args:
        predicting: (B, d).
        outputs: (B, 1 + K, d) output vectors: the observed word's, then the drawn ones'.
    """
    scores = (outputs @ predicting[:, :, None]).squeeze(-1)
    observed, drawn = scores[:, 0], scores[:, 1:]
    return -(F.logsigmoid(observed) + F.logsigmoid(-drawn).sum(1)).mean()


def negative_sampling_gradient(predicting: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of :func:`negative_sampling_loss`, by hand: ``eq-skip-gram-gradient``.

    Args:
        predicting, outputs: as there.

    Returns:
        gradients by ``predicting`` (B, d) and by ``outputs`` (B, 1 + K, d).
    """
    errors = (outputs @ predicting[:, :, None]).squeeze(-1).sigmoid()
    errors[:, 0] -= 1
    errors /= len(predicting)
    by_predicting = (errors[:, None, :] @ outputs).squeeze(1)
    return by_predicting, errors[:, :, None] * predicting[:, None, :]


def cbow_vector(vectors: Tensor, around: Tensor) -> Tensor:
    """The mean of the vectors of the words around, ``eq-cbow``.

    Args:
        vectors: (V, d).
        around: (B, m) numbers of words; EDGE, number 0, does not count.

    Returns:
        (B, d); zero where there is no word around.
    """
    counted = (around > 0).to(vectors.dtype)[:, :, None]
    return (vectors[around] * counted).sum(1) / counted.sum(1).clamp_min(1)


def keep_probability(counts: Tensor, threshold: float) -> Tensor:
    """With which probability an occurrence of each word is kept (Mikolov et al. 2013b, §2.3).

    Args:
        counts: (V,).
        threshold: share t of all words; a word of share f stays with probability √(t/f), at most 1.
    """
    share = counts / counts.sum()
    return (threshold / share.clamp_min(1e-12)).sqrt().clamp_max(1)


def noise_distribution(counts: Tensor) -> Tensor:
    """From what negatives are drawn: shares of counts to the power 3/4 (same paper, §2.2)."""
    weights = counts**0.75
    return weights / weights.sum()


def train_skipgram(
    texts: Sequence[Sequence[int]], vocabulary: Vocabulary, config: EmbeddingConfig
) -> tuple[WordVectors, WordVectors]:
    """Skip-gram with negative sampling, by the hand-written gradient.

    Returns:
        word vectors, which are the ones to use, and output vectors.
    """
    return _train_pairs(texts, vocabulary, config, cbow=False)


def train_cbow(
    texts: Sequence[Sequence[int]], vocabulary: Vocabulary, config: EmbeddingConfig
) -> tuple[WordVectors, WordVectors]:
    """CBOW with negative sampling; word vectors and output vectors."""
    return _train_pairs(texts, vocabulary, config, cbow=True)


def _train_pairs(
    texts: Sequence[Sequence[int]], vocabulary: Vocabulary, config: EmbeddingConfig, *, cbow: bool
) -> tuple[WordVectors, WordVectors]:
    generator = torch.Generator().manual_seed(config.seed)
    size = len(vocabulary)
    word = (torch.rand(size, config.dimension, generator=generator) - 0.5) / config.dimension
    output = torch.zeros(size, config.dimension)
    keep = keep_probability(vocabulary.counts, config.subsample)
    steps_to_draw = noise_distribution(vocabulary.counts).cumsum(0)
    optimizer = torch.optim.Adam([word, output], lr=config.learning_rate)
    for epoch in range(config.epochs):
        inputs, observed = _examples(texts, keep, config.window, generator, cbow=cbow)
        batches = torch.randperm(len(observed), generator=generator).split(config.batch_size)
        for step, rows in enumerate(batches):
            done = (epoch + step / len(batches)) / config.epochs
            optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - done)
            uniform = torch.rand(len(rows), config.negatives, generator=generator)
            drawn = torch.searchsorted(steps_to_draw, uniform).clamp_max(size - 1)
            outputs = torch.cat([observed[rows, None], drawn], 1)
            around = inputs[rows]
            by_word, by_output = negative_sampling_gradient(
                cbow_vector(word, around), output[outputs]
            )
            word.grad, output.grad = torch.zeros_like(word), torch.zeros_like(output)
            share = (around > 0).float()
            share /= share.sum(1, keepdim=True)
            to_words = share[:, :, None] * by_word[:, None, :]
            word.grad.index_add_(0, around.flatten(), to_words.flatten(0, 1))
            output.grad.index_add_(0, outputs.flatten(), by_output.flatten(0, 1))
            optimizer.step()
    return WordVectors(vocabulary.words, word), WordVectors(vocabulary.words, output)


def _examples(
    texts: Sequence[Sequence[int]],
    keep: Tensor,
    window: int,
    generator: torch.Generator,
    *,
    cbow: bool,
) -> tuple[Tensor, Tensor]:
    """Numbers of the words that predict (N, m) and of the words predicted (N,).

    Frequent words are dropped before windows are laid, and each window has a width of its own, 1 to
    ``window``, so that near words count more.
    """
    flat = torch.tensor([number for text in texts for number in text])
    kept = torch.rand(len(flat), generator=generator) < keep[flat]
    pieces = zip(flat.split(lengths := [len(t) for t in texts]), kept.split(lengths), strict=True)
    words, around = neighbourhoods([t[k].tolist() for t, k in pieces], window, window)
    width = torch.randint(1, window + 1, (len(words), 1), generator=generator)
    distance = torch.cat([torch.arange(window, 0, -1), torch.arange(1, window + 1)])
    around = around * (distance <= width)
    if cbow:
        some = (around > 0).any(1)
        return around[some], words[some]
    pairs = around > 0
    return words[:, None].expand_as(around)[pairs][:, None], around[pairs]


# --- GloVe: fit the logarithm of the counts -------------------------------------------------------


def glove_loss(
    word: Tensor,
    context: Tensor,
    word_bias: Tensor,
    context_bias: Tensor,
    counts: Tensor,
    cutoff: float,
) -> Tensor:
    """Weighted squared distance from the logarithms of all counts, ``eq-glove``.

    Pennington et al. 2014, equations 8 and 9, with their exponent 3/4. A sum, not a mean.

    Args:
        word, context: (V, d) vectors.
        word_bias, context_bias: (V,).
        counts: X (V, V); pairs that never met have no part in it.
        cutoff: count from which on a pair has weight 1.
    """
    met = counts > 0
    weight = torch.where(met, (counts / cutoff).clamp_max(1) ** 0.75, 0.0)
    target = torch.where(met, counts, 1.0).log()
    error = word @ context.T + word_bias[:, None] + context_bias[None, :] - target
    return (weight * error.square()).sum()


def train_glove(
    texts: Sequence[Sequence[int]], vocabulary: Vocabulary, config: EmbeddingConfig
) -> WordVectors:
    """The sum of GloVe's word and context vectors, fitted to the whole table at once."""
    counts = cooccurrence(texts, len(vocabulary), config.window)
    generator = torch.Generator().manual_seed(config.seed)
    size = len(vocabulary)
    shapes = [(size, config.dimension), (size, config.dimension), (size,), (size,)]
    word, context, word_bias, context_bias = (
        ((torch.rand(shape, generator=generator) - 0.5) / config.dimension).requires_grad_()
        for shape in shapes
    )
    weights = [word, context, word_bias, context_bias]
    optimizer, schedule = _adam(weights, config.glove_rate, config.glove_steps)
    for _ in range(config.glove_steps):
        optimizer.zero_grad()
        loss = glove_loss(word, context, word_bias, context_bias, counts, config.glove_cutoff)
        loss.backward()
        optimizer.step()
        schedule.step()
    return WordVectors(vocabulary.words, (word + context).detach())
