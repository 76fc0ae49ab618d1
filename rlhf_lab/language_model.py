"""A model as text in, text and probabilities out.

The rest of the package thinks in token ids; whoever evaluates thinks in texts. Here are the two
directions between them, batched by length, and the protocol by which a suite talks to a neural
model and to the n-gram baseline alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from rlhf_lab import objectives
from rlhf_lab.encoding import encode_prompts, pad_left, pad_right
from rlhf_lab.errors import InputError
from rlhf_lab.generation import sample
from rlhf_lab.models import PolicyLogits, ScalarModel, unwrap
from rlhf_lab.records import Prompt
from rlhf_lab.world import World
from rlhf_lab.world.ngram import NGram

TOKENS_PER_PASS = 4096  # tokens of one forward pass when probabilities are read


# --- writing ------------------------------------------------------------------------------------


@torch.no_grad()
def answers(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Prompt | str],
    *,
    max_new_tokens: int = 48,
    temperature: float = 1.0,
    greedy: bool = False,
    seed: int = 0,
    prefix: str = "",
    batch_size: int = 128,
) -> list[str]:
    """One answer per prompt, decoded, cut at EOS.

    Args:
        prefix: text before every prompt, such as :func:`prompt_prefix`; an answer then also ends
            at its first line break, where the next exchange would begin.
        batch_size: rows that are written together; the answers do not depend on it beyond
            rounding.

    Raises:
        InputError: for an empty prompt, or one without room for ``max_new_tokens``.
    """
    texts = [prefix + text for text in _texts(prompts)]
    found = _write(
        model,
        tokenizer,
        texts,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        greedy=greedy,
        seed=seed,
        line=bool(prefix),
        batch_size=batch_size,
    )
    return [f.split("\n", 1)[0] for f in found] if prefix else found


def _write(
    model: nn.Module,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    max_new_tokens: int,
    temperature: float,
    greedy: bool,
    seed: int,
    line: bool,
    batch_size: int = 128,
) -> list[str]:
    """Continuations of ``texts``; with ``line`` a row may stop at a line break instead of EOS."""
    rows = encode_prompts(tokenizer, texts)
    longest = max(map(len, rows), default=0) + max_new_tokens
    _require_room(model, longest, "shorten the prompts or lower max_new_tokens")
    eos, stop = tokenizer.eos_token_id, tokenizer.eos_token_id
    line_break = tokenizer("\n", add_special_tokens=False)["input_ids"]
    if line and len(line_break) == 1:
        stop = line_break[0]
    generator = torch.Generator().manual_seed(seed)
    # One row of numbers per prompt: neither sorting nor the batch size changes an answer.
    uniform = torch.rand(len(rows), max_new_tokens, generator=generator, dtype=torch.float64)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    device = next(model.parameters()).device
    out = [""] * len(rows)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        ids, mask = pad_left([rows[i] for i in chosen], tokenizer.pad_token_id)
        response, _, _ = sample(
            model,
            ids.to(device),
            mask.to(device),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            greedy=greedy,
            eos_token_id=stop,
            pad_token_id=tokenizer.pad_token_id,
            uniform=uniform[chosen],
        )
        for i, tokens in zip(chosen, response.tolist(), strict=True):
            for end in (eos, stop):
                if end in tokens:
                    tokens = tokens[: tokens.index(end)]
            out[i] = tokenizer.decode(tokens, skip_special_tokens=True)
    return out


def _require_room(model: nn.Module, longest: int, fix: str) -> None:
    positions = cast(Any, unwrap(model)).config.max_position_embeddings
    if longest > positions:
        found = f"{longest} tokens with the answer"
        raise InputError("prompts", found, f"at most {positions} tokens", fix)


# --- probabilities ----------------------------------------------------------------------------


def _passes(lengths: Sequence[int]) -> list[list[int]]:
    """Rows sorted by length, in groups of at most :data:`TOKENS_PER_PASS` padded tokens."""
    groups: list[list[int]] = [[]]
    for i in sorted(range(len(lengths)), key=lambda j: lengths[j]):
        if groups[-1] and (len(groups[-1]) + 1) * lengths[i] > TOKENS_PER_PASS:
            groups.append([])
        groups[-1].append(i)
    return [g for g in groups if g]


Pair = tuple[Sequence[int], Sequence[int]]
"""Token ids of a context, at least one, and of what follows it."""


@torch.no_grad()
def _sums(
    pairs: Sequence[Pair], pad: int, device: torch.device, of: Callable[..., Tensor]
) -> list[float]:
    """Σ_t of(ids (B, L), places (N,), targets (N,)) over the tokens that follow each context.

    ``places`` are flat positions in ``ids`` whose logits predict ``targets``.
    """
    rows = [[*context, *tail] for context, tail in pairs]
    totals = [0.0] * len(rows)
    for chosen in _passes([len(row) for row in rows]):
        ids, _ = pad_right([rows[i] for i in chosen], pad)
        spans = [
            (r, t) for r, i in enumerate(chosen) for t in range(len(pairs[i][0]), len(rows[i]))
        ]
        owner, steps = torch.tensor(spans, dtype=torch.long).reshape(-1, 2).T.to(device)
        ids = ids.to(device)
        values = of(ids, owner * ids.shape[1] + steps - 1, ids[owner, steps])
        sums = torch.zeros(len(chosen), dtype=values.dtype, device=device)
        for i, total in zip(chosen, sums.index_add_(0, owner, values).tolist(), strict=True):
            totals[i] = total
    return totals


def continuation_logprobs(model: nn.Module, pairs: Sequence[Pair], pad: int) -> list[float]:
    """log π(continuation | context) in nats, summed over tokens, for pairs of token ids.

    Raises:
        InputError: for a pair longer than the model's context.
    """
    longest = max((len(context) + len(tail) for context, tail in pairs), default=0)
    _require_room(model, longest, "shorten the prompts, or show fewer examples in them")
    logits = PolicyLogits(model)

    def logp(ids: Tensor, places: Tensor, targets: Tensor) -> Tensor:
        return objectives.token_logprobs(logits(ids, places), targets)

    return _sums(pairs, pad, next(model.parameters()).device, logp)


def exact_kl(
    policy: nn.Module,
    reference: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Prompt | str],
    completions: Sequence[str],
    *,
    max_new_tokens: int = 48,
) -> list[float]:
    """KL(policy ‖ reference) in nats per response: full vocabulary, summed over visited states.

    The completions should be samples of ``policy``. EOS belongs to a response unless it was cut
    off at ``max_new_tokens``.
    """
    contexts = encode_prompts(tokenizer, _texts(prompts))
    eos = tokenizer.eos_token_id
    tails = [[*t, eos] if len(t) < max_new_tokens else t for t in _encode(tokenizer, completions)]
    ours, theirs = PolicyLogits(policy), PolicyLogits(reference)

    def kl(ids: Tensor, places: Tensor, _: Tensor) -> Tensor:
        return objectives.exact_kl(ours(ids, places), theirs(ids, places))

    pairs = list(zip(contexts, tails, strict=True))
    return _sums(pairs, tokenizer.pad_token_id, next(policy.parameters()).device, kl)


@torch.no_grad()
def rm_scores(
    reward_model: ScalarModel,
    tokenizer: Any,
    prompts: Sequence[Prompt | str],
    completions: Sequence[str],
) -> list[float]:
    """The reward model's score of each prompt with its completion and EOS."""
    heads = encode_prompts(tokenizer, _texts(prompts))
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    tails = _encode(tokenizer, completions)
    rows = [[*head, *tail, eos] for head, tail in zip(heads, tails, strict=True)]
    device = next(reward_model.parameters()).device
    scores = [0.0] * len(rows)
    for chosen in _passes([len(row) for row in rows]):
        ids, mask = pad_right([rows[i] for i in chosen], pad)
        found = reward_model.scores(ids.to(device), mask.to(device))
        for i, score in zip(chosen, found.tolist(), strict=True):
            scores[i] = score
    return scores


# --- models as suites see them ----------------------------------------------------------------


class LanguageModel(Protocol):
    """What a suite asks of a model; :class:`Neural` and :class:`NGramText` are the two kinds."""

    def logprobs(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """log p(continuation | context) in nats for pairs of texts."""

    def document_logprobs(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """For each document log p with its EOS, after an EOS, and the number of tokens."""

    def write(
        self, texts: Sequence[str], *, max_new_tokens: int, greedy: bool, seed: int, line: bool
    ) -> list[str]:
        """Continuations at temperature 1 or greedy, cut at EOS; ``line``: stop at a line break."""


@dataclass(frozen=True)
class Neural:
    """A causal LM of transformers with its tokenizer; ``prefix`` goes before every query."""

    model: nn.Module
    tokenizer: Any
    prefix: str = ""

    def logprobs(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """See :class:`LanguageModel`."""
        contexts = encode_prompts(self.tokenizer, [self.prefix + c for c, _ in pairs])
        tails = _encode(self.tokenizer, [t for _, t in pairs])
        pad = self.tokenizer.pad_token_id
        return continuation_logprobs(self.model, list(zip(contexts, tails, strict=True)), pad)

    def document_logprobs(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """See :class:`LanguageModel`."""
        eos, pad = self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
        pairs = [([eos], [*ids, eos]) for ids in _encode(self.tokenizer, texts)]
        found = continuation_logprobs(self.model, pairs, pad)
        return [(total, len(ids)) for total, (_, ids) in zip(found, pairs, strict=True)]

    def write(
        self, texts: Sequence[str], *, max_new_tokens: int, greedy: bool, seed: int, line: bool
    ) -> list[str]:
        """See :class:`LanguageModel`."""
        return _write(
            self.model,
            self.tokenizer,
            [self.prefix + text for text in texts],
            max_new_tokens=max_new_tokens,
            temperature=1.0,
            greedy=greedy,
            seed=seed,
            line=line,
        )


@dataclass(frozen=True)
class NGramText:
    """The n-gram baseline, reading and writing text through a tokenizer."""

    ngram: NGram
    tokenizer: Any

    @classmethod
    def train(cls, world: World, tokenizer: Any, *, documents: int = 20_000) -> NGramText:
        """Count the first training documents of a world."""
        texts = [d.text for d in world.documents(documents)]
        ids = _encode(tokenizer, texts)
        return cls(NGram.fit(ids, len(tokenizer), tokenizer.eos_token_id), tokenizer)

    def logprobs(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """See :class:`LanguageModel`."""
        contexts = _encode(self.tokenizer, [c for c, _ in pairs])
        tails = _encode(self.tokenizer, [t for _, t in pairs])
        return [self.ngram.logprob(c, t) for c, t in zip(contexts, tails, strict=True)]

    def document_logprobs(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """See :class:`LanguageModel`."""
        rows = _encode(self.tokenizer, texts)
        return [(self.ngram.document_logprob(row), len(row) + 1) for row in rows]

    def write(
        self, texts: Sequence[str], *, max_new_tokens: int, greedy: bool, seed: int, line: bool
    ) -> list[str]:
        """See :class:`LanguageModel`."""
        stop = self.tokenizer("\n", add_special_tokens=False)["input_ids"] if line else ()
        rng = np.random.default_rng(seed)
        return [
            self.tokenizer.decode(
                self.ngram.sample(row, max_new_tokens, rng, greedy=greedy, stop=stop)
            )
            for row in _encode(self.tokenizer, texts)
        ]


def _encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    return cast(list[list[int]], tokenizer(list(texts), add_special_tokens=False)["input_ids"])


def _texts(prompts: Sequence[Prompt | str]) -> list[str]:
    return [p.text if isinstance(p, Prompt) else p for p in prompts]
