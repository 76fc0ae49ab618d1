"""Classifying by asking: a prompt, words for the labels, and the probabilities of a language model.

Nothing is trained. A *template* writes a text so that a label is what would come next, a
*verbaliser* says by which words, and ``fit`` chooses the solved examples that stand before the
question. Sources: Brown et al. 2020, §2 (examples in the prompt); Liu et al. 2023, §2 and §5
(templates and verbalisers); Zhao et al. 2021, §5 (contextual calibration).
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from rlhf_lab.encoding import encode_prompts, pad_right
from rlhf_lab.errors import InputError
from rlhf_lab.models import accepted, load_policy, unwrap

SCORINGS = ("sum", "mean", "first")
CHOICES = ("random", "balanced", "first")
CONTENT_FREE = ("N/A", "[MASK]", "")
"""Inputs that say nothing; Zhao et al. 2021, §5."""
ROWS_PER_PASS = 32

Verbaliser = Mapping[str, str | Sequence[str]]
"""For each label its word, or several of them; with the space that goes before a word."""
Ids = Sequence[int]


# --- equations --------------------------------------------------------------------------------


@torch.no_grad()
def word_logprobs(
    model: nn.Module, prompts: Sequence[Ids], words: Sequence[Ids], pad: int
) -> list[Tensor]:
    """log p(token | prompt, the word's earlier tokens) in nats, after every prompt, of every word.

    What all prompts begin with is read once. Words of one token cost one pass over the rest of a
    prompt together, since all of them are read off the same distribution; so do words that differ
    in their last token only.

    Args:
        prompts: N lists of token ids, none of them empty; words: K lists, none empty.
        pad: id of the filling.

    Returns:
        K tensors (N, tokens of the word), float64.
    """
    heads = {tuple(word[:-1]) for word in words}
    needed = [h for h in heads if not any(h == other[: len(h)] and h != other for other in heads)]
    shared = _shared_beginning(prompts)
    rows = [(i, [*prompts[i][shared:], *head]) for i in range(len(prompts)) for head in needed]
    rows.sort(key=lambda row: len(row[1]))
    found = [torch.zeros(len(prompts), len(word), dtype=torch.float64) for word in words]
    read = _read(model, prompts[0][:shared]) if shared else None
    for first in range(0, len(rows), ROWS_PER_PASS):
        some = rows[first : first + ROWS_PER_PASS]
        logits = _logits_after(model, read, shared, [ids for _, ids in some], pad)
        for (i, ids), own in zip(some, logits, strict=True):
            at = len(prompts[i]) - shared
            logp = own[at - 1 : len(ids)].double().log_softmax(-1).cpu()
            for word, values in zip(words, found, strict=True):
                if list(word[:-1]) == ids[at : at + len(word) - 1]:
                    values[i] = logp[range(len(word)), list(word)]
    return found


def _shared_beginning(prompts: Sequence[Ids]) -> int:
    """How many tokens all prompts begin with; each keeps one or more of its own."""
    alike = itertools.takewhile(lambda column: len({*column}) == 1, zip(*prompts, strict=False))
    return min(sum(1 for _ in alike), min(map(len, prompts)) - 1)


def _read(model: nn.Module, ids: Ids) -> Any:
    """The keys and values of a text: solved examples are read once, not before every question."""
    device = next(model.parameters()).device
    return model(input_ids=torch.tensor([list(ids)], device=device), use_cache=True).past_key_values


def _logits_after(
    model: nn.Module, read: Any, shared: int, rows: Sequence[Ids], pad: int
) -> Tensor:
    """(rows, T, V): what is expected at each place of the rows, ``shared`` tokens before them."""
    ids, mask = pad_right(rows, pad)
    cache = copy.deepcopy(read)
    if cache is not None:
        cache.batch_repeat_interleave(len(rows))
    # Filling stands behind everything, so the causal mask alone keeps it from being seen.
    whole = torch.ones(len(rows), shared + ids.shape[1], dtype=mask.dtype)
    positions = torch.arange(shared, shared + ids.shape[1]).expand(len(rows), -1)
    given = {"input_ids": ids, "attention_mask": whole, "position_ids": positions}
    device = next(model.parameters()).device
    inputs = accepted(unwrap(model), **{name: value.to(device) for name, value in given.items()})
    return cast(Tensor, model(**inputs, past_key_values=cache, use_cache=cache is not None).logits)


def word_score(logprobs: Tensor, scoring: str = "sum") -> Tensor:
    """``eq-word-score``: (N, tokens of a word) to (N,).

    Args:
        scoring: "sum" is the word's own log-probability; "mean" divides it by the number of its
            tokens; "first" takes that of its first token and forgets the others.
    """
    if scoring == "first":
        return logprobs[:, 0]
    return logprobs.mean(1) if scoring == "mean" else logprobs.sum(1)


def label_probabilities(scores: Tensor) -> Tensor:
    """``eq-label-probability``: scores (N, K) to probabilities (N, K) among the labels."""
    return scores.softmax(-1)


def contextual_calibration(probabilities: Tensor, content_free: Tensor) -> Tensor:
    """``eq-contextual-calibration``: softmax(W p) with W = diag(p of a content-free input)⁻¹.

    The largest entry is that of p / content_free. Source: Zhao et al. 2021, §5.

    Args:
        probabilities: (N, K), rows sum to 1; content_free: (K,), above 0, sums to 1.
    """
    return (probabilities / content_free).softmax(-1)


# --- the classifier ---------------------------------------------------------------------------


class PromptClassifier:
    """A causal language model that labels texts by what it would write next.

    Args:
        verbaliser: the words of each label; None takes a space and the label itself. Of several
            words the probabilities are added, and examples show the first.
        template: holds ``{text}``, and ends where a label's word would come.
        model: what :func:`~rlhf_lab.models.load_policy` reads (a preset, a hub id, a folder, a
            GGUF file), or a model and its tokenizer that are loaded already.
        shots: solved examples in the prompt.
        choose: which ones ``fit`` takes: "random"; "balanced", as many of each label as of any
            other, or one more; or the "first" ones, in the order given.
        scoring: how a word of several tokens is scored, see :func:`word_score`.
        calibrate: whether probabilities are corrected, see :func:`contextual_calibration`.
        content_free: the texts by which they are.
        instruction: what stands before everything else, with its line break.
        end: what follows a label in an example.
        separator: what stands between examples.
        seed: of the choice.

    Attributes:
        labels: sorted; examples: (text, label) in the order of the prompt. Both exist after
            ``fit``, and ``examples`` may be put in another order.

    Raises:
        InputError: for a template without ``{text}``, an unknown way of scoring or choosing, a
            label without a word, or a model that cannot be loaded.
    """

    labels: list[str]
    examples: list[tuple[str, str]]

    def __init__(
        self,
        verbaliser: Verbaliser | None = None,
        template: str = "{text}\nverdict:",
        *,
        model: str | Path | tuple[Any, Any] = "tiny",
        shots: int = 0,
        choose: str = "random",
        scoring: str = "sum",
        calibrate: bool = False,
        content_free: Sequence[str] = CONTENT_FREE,
        instruction: str = "",
        end: str = ".",
        separator: str = "\n",
        seed: int = 0,
    ) -> None:
        if "{text}" not in template:
            raise InputError("template", template, "a text that holds {text}", "add {text}")
        for name, value, allowed in (("choose", choose, CHOICES), ("scoring", scoring, SCORINGS)):
            if value not in allowed:
                raise InputError(name, value, f"one of {', '.join(allowed)}", "choose one of them")
        self.model, self.tokenizer = model if isinstance(model, tuple) else load_policy(model)
        self.verbaliser = None if verbaliser is None else self._words(verbaliser)
        self.template, self.instruction = template, instruction
        self.end, self.separator = end, separator
        self.shots, self.choose, self.seed = shots, choose, seed
        self.scoring, self.calibrate, self.content_free = scoring, calibrate, tuple(content_free)

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> PromptClassifier:
        """Choose the examples. Without any, and with a verbaliser, ``fit((), ())`` will do.

        Of a seed, fewer random examples are the first of more.

        Raises:
            InputError: for fewer texts than shots, another number of labels, a label that has no
                word, or no label at all.
        """
        if len(texts) != len(labels):
            raise InputError("labels", len(labels), f"{len(texts)}, one for each text", "add them")
        if not 0 <= self.shots <= len(texts):
            raise InputError(
                "shots", self.shots, f"0 to {len(texts)}, the texts given", "give more texts"
            )
        if self.verbaliser is None:
            words = self._words({label: f" {label}" for label in set(labels)})
        else:
            words = self.verbaliser
        unknown = sorted(set(labels) - set(words))
        if unknown or not words:
            raise InputError(
                "labels", unknown, f"those with a word: {sorted(words)}", "add them to verbaliser"
            )
        self.words, self.labels = words, sorted(words)
        chosen = self._chosen(labels)
        self.examples = [(texts[i], labels[i]) for i in chosen]
        return self

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The likeliest label of each."""
        return [self.labels[i] for i in self.predict_proba(texts).argmax(-1).tolist()]

    def predict_proba(self, texts: Sequence[str]) -> Tensor:
        """(N, K), float64: how likely each label is among all of them, in the order of ``labels``.

        Raises:
            InputError: for a prompt with more tokens than the model has positions.
        """
        found = label_probabilities(self.scores(texts))
        return contextual_calibration(found, self.prior()) if self.calibrate else found

    def prior(self) -> Tensor:
        """(K,): how likely each label is for a text that says nothing; the mean over several."""
        return label_probabilities(self.scores(self.content_free)).mean(0)

    def scores(self, texts: Sequence[str]) -> Tensor:
        """(N, K), float64: the score of each label in nats, before normalisation.

        Of several words it is log Σ exp of their scores.
        """
        encoded = {label: [self._ids(word) for word in self.words[label]] for label in self.labels}
        words = [ids for own in encoded.values() for ids in own]
        prompts = encode_prompts(self.tokenizer, [self.prompt(text) for text in texts])
        if not prompts:
            return torch.zeros(0, len(self.labels), dtype=torch.float64)
        self._check_room(prompts, max(map(len, words)))
        pad = cast(int, self.tokenizer.pad_token_id)
        logprobs = word_logprobs(self.model, prompts, words, pad)
        of_words = torch.stack([word_score(own, self.scoring) for own in logprobs], dim=1)
        parts = of_words.split([len(own) for own in encoded.values()], dim=1)
        return torch.stack([part.logsumexp(1) for part in parts], dim=1)

    def prompt(self, text: str) -> str:
        """What the model reads: instruction, solved examples, the question."""
        solved = [self._asked(x) + self.words[y][0] + self.end for x, y in self.examples]
        return self.instruction + self.separator.join([*solved, self._asked(text)])

    def _asked(self, text: str) -> str:
        return self.template.replace("{text}", text)

    def _ids(self, word: str) -> list[int]:
        return cast(list[int], self.tokenizer(word, add_special_tokens=False)["input_ids"])

    def _words(self, verbaliser: Verbaliser) -> dict[str, tuple[str, ...]]:
        """Every label with a tuple of words, none of which is empty."""
        words = {y: (w,) if isinstance(w, str) else tuple(w) for y, w in verbaliser.items()}
        for label, own in words.items():
            if not own or not all(self._ids(word) for word in own):
                raise InputError(
                    f"verbaliser[{label!r}]", own, "one or more words", "name a word of the label"
                )
        return words

    def _chosen(self, labels: Sequence[str]) -> list[int]:
        """Which texts become examples, in the order of the prompt."""
        order = list(range(len(labels)))
        if self.choose == "first":
            return order[: self.shots]
        rng = random.Random(f"prompt:{self.seed}")
        rng.shuffle(order)
        if self.choose == "random":
            return order[: self.shots]
        # The n-th text of every label comes before the (n+1)-th of any.
        seen: dict[str, int] = {}
        turn = {}
        for i in order:
            turn[i] = seen[labels[i]] = seen.get(labels[i], 0) + 1
        chosen = sorted(order, key=lambda i: turn[i])[: self.shots]
        rng.shuffle(chosen)
        return chosen

    def _check_room(self, prompts: Sequence[Ids], longest_word: int) -> None:
        config = cast(Any, unwrap(self.model)).config
        positions = getattr(config, "max_position_embeddings", None)
        longest = max(map(len, prompts)) + longest_word - 1
        if positions is not None and longest > positions:
            raise InputError(
                "texts",
                f"a prompt of {longest} tokens with {len(self.examples)} examples",
                f"at most {positions} tokens",
                "lower shots, or choose shorter examples",
            )
