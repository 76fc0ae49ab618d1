"""One vector per word *and place*: states of a bidirectional language model, and of a policy.

As in ELMo (Peters et al. 2018) two LSTMs read a text, one from each end, and what they remember at
a word is the word's vector there. Left out: vectors built from letters, a second layer, and the
projections and residuals of the original.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms.embeddings import WORD


@dataclass(frozen=True)
class BiLMConfig:
    """How a :class:`BiLM` is trained.

    Attributes:
        dimension: of the word vectors and of each direction's state, d.
        epochs: passes over the texts.
        batch_size: texts per step.
        learning_rate: of Adam; it falls linearly to zero.
        seed: of the first weights and of the order.
    """

    dimension: int = 64
    epochs: int = 4
    batch_size: int = 16
    learning_rate: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("dimension", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(name, getattr(self, name), "1 or more", "choose a larger number")


class BiLM(nn.Module):
    """Two language models that share word vectors and output: one reads on, one reads back.

    Args:
        size: number of words, V; number 0 marks a text's ends.
        dimension: d.
    """

    def __init__(self, size: int, dimension: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(size, dimension)
        nn.init.normal_(self.vectors.weight, std=0.1)
        # One layer: its two directions do not see each other.
        self.lstm = nn.LSTM(dimension, dimension, batch_first=True, bidirectional=True)
        self.output = nn.Linear(dimension, size)

    def forward(self, texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Read texts, with an EDGE put to each end of them.

        Returns:
            numbers (B, T), states of the model that reads on and of the one that reads back, each
            (B, T, d) and after reading the word at that place, and a mask (B, T) of text and edges.
        """
        rows = [torch.tensor([0, *text, 0]) for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        numbers = pad_sequence(rows, batch_first=True)
        packed = pack_padded_sequence(
            self.vectors(numbers), lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        on, back = states.chunk(2, dim=-1)
        mask = torch.arange(numbers.shape[1]) < lengths[:, None]
        return numbers, on, back, mask

    def loss(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Nats per predicted word, both directions together: ``eq-bilm`` over their number."""
        numbers, on, back, mask = self(texts)
        both = mask[:, :-1] & mask[:, 1:]
        states = torch.cat([on[:, :-1][both], back[:, 1:][both]])
        targets = torch.cat([numbers[:, 1:][both], numbers[:, :-1][both]])
        return F.cross_entropy(self.output(states), targets)

    @torch.no_grad()
    def layers(self, texts: Sequence[Sequence[int]]) -> list[Tensor]:
        """What ELMo has of each word: its vector twice, and both states side by side.

        Returns:
            for each text (2, W, 2d): layer 0, the same wherever the word stands, and layer 1.
        """
        numbers, on, back, _ = self(texts)
        vectors = self.vectors(numbers)
        both = torch.stack([vectors.repeat(1, 1, 2), torch.cat([on, back], -1)], 1)
        return [row[:, 1 : 1 + len(text)] for row, text in zip(both, texts, strict=True)]


def train_bilm(texts: Sequence[Sequence[int]], size: int, config: BiLMConfig) -> BiLM:
    """A :class:`BiLM` of texts.

    Args:
        texts: numbers of words.
        size: of the vocabulary, V.
    """
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = BiLM(size, config.dimension)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    total, step = config.epochs * math.ceil(len(texts) / config.batch_size), 0
    for _ in range(config.epochs):
        for rows in torch.randperm(len(texts), generator=generator).split(config.batch_size):
            optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - step / total)
            optimizer.zero_grad()
            model.loss([texts[i] for i in rows.tolist()]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
    return model.eval()


def elmo_mix(layers: Tensor, weights: Tensor, scale: Tensor) -> Tensor:
    """One vector per word from all layers, ``eq-elmo`` (Peters et al. 2018, equation 1).

    Args:
        layers: (L + 1, …, d).
        weights: (L + 1,) any numbers; their softmax weighs the layers.
        scale: a number, for the task as a whole.

    Returns:
        (…, d).
    """
    return scale * torch.tensordot(weights.softmax(0), layers, dims=1)


@torch.no_grad()
def policy_layers(policy: nn.Module, tokenizer: Any, text: str) -> Tensor:
    """States of a causal language model at the last token of each word.

    Args:
        policy: a causal language model of ``transformers``.
        tokenizer: its own, a fast one.
        text: as :func:`~rlhf_lab.paradigms.embeddings.words_of` reads it; no longer than the
            model's context.

    Returns:
        (L + 1, W, d): the layer below the first block, then after each of the L blocks.

    Raises:
        InputError: when the text has no word.
    """
    ends = [found.end() for found in WORD.finditer(text.lower())]
    if not ends:
        raise InputError("text", text, "at least one word", "leave empty texts out")
    encoded = tokenizer(text, return_offsets_mapping=True)
    spans = encoded["offset_mapping"]
    last = [next(i for i, (a, b) in enumerate(spans) if a < end <= b) for end in ends]
    ids = torch.tensor([encoded["input_ids"]])
    found = policy(input_ids=ids, output_hidden_states=True).hidden_states
    return torch.cat(found)[:, last]
