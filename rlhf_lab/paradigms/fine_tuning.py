"""Fine-tuning a GPT as GPT-1 was: a task becomes a sequence of tokens, and a small head reads it.

Each of four input transformations turns an example into one or more *streams*, lists of texts that
are written one after the other: start, text, delimiter, text, extract. What the last layer holds at
the extract token is the feature that the head reads. Source: Radford et al. 2018, §3.2 and §3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from rlhf_lab.errors import InputError
from rlhf_lab.models import ASSETS
from rlhf_lab.optimization import warmup_cosine
from rlhf_lab.paradigms import gpt

Texts = Sequence[str]
Stream = tuple[str, ...]

# --- input transformations --------------------------------------------------------------------


def classification(texts: Texts) -> list[Stream]:
    """(text,) as one stream."""
    (text,) = texts
    return [(text,)]


def entailment(texts: Texts) -> list[Stream]:
    """(premise, hypothesis) as one stream: which is which matters."""
    premise, hypothesis = texts
    return [(premise, hypothesis)]


def similarity(texts: Texts) -> list[Stream]:
    """(one, other) as two streams, one for each order: neither text is the first."""
    one, other = texts
    return [(one, other), (other, one)]


def choice(texts: Texts) -> list[Stream]:
    """(text, question, option, ...) as one stream for each option."""
    text, question, *options = texts
    return [(text, question, option) for option in options]


TRANSFORMATIONS: dict[str, Callable[[Texts], list[Stream]]] = {
    "classification": classification,
    "entailment": entailment,
    "similarity": similarity,
    "choice": choice,
}


class Encoder:
    """Texts as token ids, with three tokens that the language model has never seen.

    Attributes:
        start, delimiter, extract: their ids, behind the vocabulary.
    """

    def __init__(self, folder: str | Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        size = self.tokenizer.get_vocab_size()
        self.start, self.delimiter, self.extract = size, size + 1, size + 2

    def stream(self, texts: Stream) -> list[int]:
        """start, text, delimiter, text, ..., extract."""
        ids = [self.start]
        for i, text in enumerate(texts):
            ids += [self.delimiter] * (i > 0) + self.tokenizer.encode(text).ids
        return [*ids, self.extract]

    def words(self, sentence: Sequence[str]) -> tuple[list[int], list[int]]:
        """start and the pieces of all words, and where the last piece of each word stands."""
        ids, last = [self.start], []
        for i, word in enumerate(sentence):
            ids += self.tokenizer.encode(f" {word}" if i else word).ids
            last.append(len(ids) - 1)
        return ids, last


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of different lengths as one (N, T), filled with 0 behind their ends."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])


# --- what is trained --------------------------------------------------------------------------


class LoRA(nn.Module):
    """``eq-lora``: a linear layer that stays as it is, plus a trained matrix of low rank.

    Source: Hu et al. 2022, §4.1: ``a`` starts as noise and ``b`` at 0, so that the first step
    starts from the pretrained layer.
    """

    def __init__(self, layer: nn.Linear, rank: int, alpha: float, seed: int) -> None:
        super().__init__()
        self.layer, self.scale = layer, alpha / rank
        noise = torch.randn(rank, layer.in_features, generator=torch.Generator().manual_seed(seed))
        self.a = nn.Parameter(noise / math.sqrt(layer.in_features))
        self.b = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return self.layer(x) + self.scale * (x @ self.a.T @ self.b.T)

    def merged(self) -> nn.Linear:
        """One plain layer that computes the same, for when training is over."""
        layer = nn.Linear(self.layer.in_features, self.layer.out_features)
        layer.weight.data = self.layer.weight.data + self.scale * self.b.data @ self.a.data
        layer.bias.data = self.layer.bias.data.clone()
        return layer


def with_new_tokens(model: gpt.GPT, count: int, seed: int) -> gpt.GPT:
    """``count`` more rows of embeddings, drawn as GPT-1 drew its own: N(0, 0.02²)."""
    generator = torch.Generator().manual_seed(seed)
    new = 0.02 * torch.randn(count, model.config.n_embd, generator=generator)
    model.wte = nn.Embedding.from_pretrained(torch.cat([model.wte.weight.data, new]), freeze=False)
    return model


def language_model_loss(logits: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """L1 of GPT-1: mean cross-entropy of each next token, in nats.

    Args:
        logits: (N, T, V); tokens: (N, T).
        mask: (N, T), 1 where there is a token and no filling.
    """
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
    counted = mask[:, 1:].to(losses.dtype)
    return (losses * counted).sum() / counted.sum()


def task_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """``eq-task-loss``: mean of -log softmax at the label; scores (N, K), labels (N,)."""
    return F.cross_entropy(scores, labels)


def joint_loss(task: Tensor, language_model: Tensor, weight: float) -> Tensor:
    """``eq-auxiliary-loss``: the task's loss plus ``weight`` times the language model's."""
    return task + weight * language_model


# --- the classifier ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """How a network is fine-tuned.

    Attributes:
        trained: "all" weights, the "head" alone, or the head and "lora" matrices.
        learning_rate: of the body (or LoRA), the peak of a cosine with warm-up.
        head_rate: the same for the head, which starts from nothing and has further to go.
        steps, batch_size: of examples.
        rank, alpha: of LoRA, on the layers that make queries, keys and values.
        auxiliary: weight of the language model's loss.
    """

    trained: str = "all"
    learning_rate: float = 3e-4
    head_rate: float = 5e-3
    steps: int = 150
    batch_size: int = 8
    rank: int = 4
    alpha: float = 8.0
    auxiliary: float = 0.0

    def __post_init__(self) -> None:
        if self.trained not in ("all", "head", "lora"):
            raise InputError("trained", self.trained, "all, head or lora", "choose one of them")
        if self.auxiliary and self.trained == "head":
            raise InputError(
                "auxiliary", self.auxiliary, "0 with a frozen body", "train all, or lora"
            )


class FineTuned:
    """What a classifier and a tagger have in common: a body, a head, and how they are trained.

    Attributes:
        body: the GPT; head: what reads it. Both exist after ``fit``.
    """

    def __init__(self, start: str | Path | None, training: Training, seed: int) -> None:
        self.start, self.training, self.seed = start, training, seed
        named = "tiny" if start is None else start
        self.folder = ASSETS / named if str(named) == "tiny" else Path(named)
        self.encoder = Encoder(self.folder)

    def _prepare(self, outputs: int) -> None:
        """A fresh body and head, of which only what is to be trained takes gradients."""
        self.body = gpt.load(self.folder)
        if self.start is None:
            gpt.initialise(self.body, self.seed)
        with_new_tokens(self.body, 3, self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        self.head = nn.Linear(self.body.config.n_embd, outputs)
        self.head.weight.data = 0.02 * torch.randn(self.head.weight.shape, generator=generator)
        self.head.bias.data.zero_()
        self.body.requires_grad_(self.training.trained == "all")
        if self.training.trained == "lora":
            for i, block in enumerate(self.body.h):
                attn = cast(Any, block).attn
                attn.c_attn = LoRA(
                    attn.c_attn, self.training.rank, self.training.alpha, self.seed + i
                )

    @property
    def trained_parameters(self) -> int:
        """How many numbers ``fit`` changes."""
        return sum(p.numel() for p in self._trained())

    def _trained(self) -> list[nn.Parameter]:
        return [p for m in (self.body, self.head) for p in m.parameters() if p.requires_grad]

    def _train(self, count: int, loss_of: Callable[[list[int]], Tensor]) -> None:
        """Adam on batches of examples, each seen equally often, in an order of the seed."""
        training, trained = self.training, self._trained()
        peaks = (self.body, training.learning_rate), (self.head, training.head_rate)
        optimizer = torch.optim.Adam(
            [
                {"params": [p for p in part.parameters() if p.requires_grad], "peak": peak}
                for part, peak in peaks
            ],
            lr=0.0,
        )
        generator = torch.Generator().manual_seed(self.seed)
        order: list[int] = []
        for step in range(training.steps):
            while len(order) < training.batch_size:
                order += torch.randperm(count, generator=generator).tolist()
            batch, order = order[: training.batch_size], order[training.batch_size :]
            fraction = warmup_cosine(step, training.steps, training.steps // 10)
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * fraction
            optimizer.zero_grad()
            loss_of(batch).backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()


class FineTunedClassifier(FineTuned):
    """A GPT with a head, for one of GPT-1's four kinds of task.

    Args:
        task: "classification", "entailment", "similarity" or "choice".
        start: "tiny", a folder with a GPT-2, or None for random weights of the size of "tiny".
        training: what is trained, and how.
        seed: of new weights and of the order of examples.

    Raises:
        InputError: for an unknown task.
    """

    def __init__(
        self,
        task: str = "classification",
        start: str | Path | None = "tiny",
        training: Training = Training(),
        seed: int = 0,
    ) -> None:
        super().__init__(start, training, seed)
        if task not in TRANSFORMATIONS:
            raise InputError("task", task, f"one of {', '.join(TRANSFORMATIONS)}", "choose one")
        self.task = task

    def fit(self, texts: Sequence[str | Texts], labels: Sequence[str]) -> FineTunedClassifier:
        """Train on texts (or tuples of texts) with their labels.

        A label of "choice" is the number of the right option, as a string.
        """
        self.labels = sorted(set(labels))
        self._prepare(1 if self.task == "choice" else len(self.labels))
        streams = [self._streams(row) for row in texts]
        goals = torch.tensor(
            [int(x) if self.task == "choice" else self.labels.index(x) for x in labels]
        )
        frozen = self._features(streams) if self.training.trained == "head" else None

        def loss_of(batch: list[int]) -> Tensor:
            if frozen is not None:
                return task_loss(self._scores(frozen[batch]), goals[batch])
            rows = [row for i in batch for row in streams[i]]
            tokens = padded(rows)
            hidden = self.body.hidden(tokens)
            loss = task_loss(self._scores(self._read(hidden, rows, len(batch))), goals[batch])
            if not self.training.auxiliary:
                return loss
            logits = hidden @ self.body.wte.weight.T
            mask = padded([[1] * len(row) for row in rows])
            known = language_model_loss(logits, tokens, mask)
            return joint_loss(loss, known, self.training.auxiliary)

        self._train(len(streams), loss_of)
        return self

    @torch.no_grad()
    def scores(self, texts: Sequence[str | Texts]) -> Tensor:
        """Logits (N, K) of the labels, in the order of ``labels``, or of the options."""
        return self._scores(self._features([self._streams(row) for row in texts]))

    def predict(self, texts: Sequence[str | Texts]) -> list[str]:
        """The likeliest label of each."""
        best = self.scores(texts).argmax(-1).tolist()
        return [str(i) if self.task == "choice" else self.labels[i] for i in best]

    def _streams(self, texts: str | Texts) -> list[list[int]]:
        transform = TRANSFORMATIONS[self.task]
        given = (texts,) if isinstance(texts, str) else texts
        return [self.encoder.stream(stream) for stream in transform(given)]

    def _read(self, hidden: Tensor, rows: Sequence[Sequence[int]], examples: int) -> Tensor:
        """Features (N, S, D) of N examples with S streams each: what stands at the last token."""
        at = torch.tensor([len(row) - 1 for row in rows])
        return hidden[torch.arange(len(rows)), at].view(examples, -1, hidden.shape[-1])

    @torch.no_grad()
    def _features(self, streams: Sequence[list[list[int]]], together: int = 64) -> Tensor:
        """Features (N, S, D) of all examples."""
        found = []
        for first in range(0, len(streams), together):
            some = streams[first : first + together]
            rows = [row for example in some for row in example]
            found.append(self._read(self.body.hidden(padded(rows)), rows, len(some)))
        return torch.cat(found)

    def _scores(self, features: Tensor) -> Tensor:
        """(N, S, D) to (N, K): a score of each option, or of each class for the streams' sum."""
        if self.task == "choice":
            return self.head(features).squeeze(-1)
        return self.head(features.sum(1))


class FineTunedTagger(FineTuned):
    """A GPT with a head that reads a tag at the last piece of each word.

    Args:
        start, training, seed: as for :class:`FineTunedClassifier`.
        causal: False lets every word see the whole sentence, in training as afterwards.
    """

    def __init__(
        self,
        start: str | Path | None = "tiny",
        training: Training = Training(),
        seed: int = 0,
        causal: bool = True,
    ) -> None:
        super().__init__(start, training, seed)
        self.causal = causal

    def fit(self, sentences: Sequence[Texts], tags: Sequence[Texts]) -> FineTunedTagger:
        """Train on sentences, lists of words, with a tag for each word."""
        self.tags = sorted({tag for row in tags for tag in row})
        self._prepare(len(self.tags))
        encoded = [self.encoder.words(sentence) for sentence in sentences]
        goals = [torch.tensor([self.tags.index(tag) for tag in row]) for row in tags]

        def loss_of(batch: list[int]) -> Tensor:
            scores = self._scores([encoded[i] for i in batch])
            return task_loss(torch.cat(scores), torch.cat([goals[i] for i in batch]))

        self._train(len(encoded), loss_of)
        return self

    @torch.no_grad()
    def predict(self, sentences: Sequence[Texts]) -> list[list[str]]:
        """A tag for each word of each sentence."""
        encoded = [self.encoder.words(sentence) for sentence in sentences]
        scores = [s for i in range(0, len(encoded), 64) for s in self._scores(encoded[i : i + 64])]
        return [[self.tags[i] for i in rows.argmax(-1).tolist()] for rows in scores]

    def _scores(self, encoded: Sequence[tuple[list[int], list[int]]]) -> list[Tensor]:
        """(words, K) for each sentence."""
        tokens = padded([ids for ids, _ in encoded])
        real = padded([[1] * len(ids) for ids, _ in encoded]).bool()
        hidden = self.body.hidden(tokens, None if self.causal else real[:, None, None])
        return [self.head(hidden[i, last]) for i, (_, last) in enumerate(encoded)]
