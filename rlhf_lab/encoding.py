"""Records as tokens: sequences, padding, batches, blocks.

Text protocol: a training sequence is ``prompt + completion + EOS``. The two texts are tokenised
apart and their ids joined, so that the boundary between prompt and completion is exact whatever
the tokenizer would have merged across it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlhf_lab.data import as_demonstrations, as_rankings
from rlhf_lab.errors import InputError

IGNORED = -100
"""Label of a position that carries no loss (the convention of torch's cross-entropy)."""


# --- texts ------------------------------------------------------------------------------------


class Encoded(NamedTuple):
    """Token ids of one sequence; those from ``start`` on are the completion, EOS included."""

    ids: list[int]
    start: int


def require_special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """Ids of EOS and pad, which must exist and differ.

    With pad = EOS no mask derived from ids can tell the end of a text from filling, and the
    model never learns to stop.

    Raises:
        InputError: when either is missing or both are the same.
    """
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    if eos is None:
        raise InputError(
            "tokenizer", "no EOS token", "a tokenizer with one", "set tokenizer.eos_token"
        )
    if pad is None or pad == eos:
        raise InputError(
            "tokenizer",
            f"pad token {tokenizer.pad_token!r}, EOS token {tokenizer.eos_token!r}",
            "a pad token that is not EOS",
            "load the model with rlhf_lab.models.load_policy, which adds one",
        )
    return int(eos), int(pad)


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int | None = None
) -> list[list[int]]:
    """Token ids of prompts, with BOS where the tokenizer adds one, never with EOS.

    Args:
        max_length: longest prompt allowed, in tokens.

    Raises:
        InputError: for an empty prompt, one that holds the pad token, or one that is too long.
    """
    if not texts:
        return []
    rows = tokenizer(list(texts), padding=False, truncation=False)["input_ids"]
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    for index, (text, ids) in enumerate(zip(texts, rows, strict=True)):
        if ids and ids[-1] == eos and not text.endswith(str(tokenizer.eos_token)):
            ids.pop()
        if not text:
            raise InputError(f"prompt {index}", text, "a text of at least one token", "remove it")
        if pad is not None and pad in ids:
            raise InputError(
                f"prompt {index}",
                text,
                f"a text without the pad token {tokenizer.pad_token!r}",
                "remove it from the text",
            )
        if max_length is not None and len(ids) > max_length:
            raise InputError(
                f"prompt {index}",
                f"{len(ids)} tokens: {text}",
                f"at most {max_length} tokens",
                "shorten the prompt or raise the limit",
            )
    return rows


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, text: str, max_length: int | None = None
) -> list[int]:
    """Token ids of one prompt; see :func:`encode_prompts`."""
    return encode_prompts(tokenizer, [text], max_length)[0]


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    max_length: int,
    *,
    names: Sequence[str] | None = None,
    allow_empty: bool = False,
) -> list[Encoded]:
    """Token ids of ``prompt + completion + EOS``, pair by pair.

    Args:
        names: what errors call the rows; "row 0" and so on when left out.
        allow_empty: an empty completion is an answer (a policy may stop at once), not an error.

    Raises:
        InputError: naming the row whose sequence is longer than ``max_length``, whose prompt is
            empty, or whose completion is empty.
    """
    eos, _ = require_special_tokens(tokenizer)
    names = names or [f"row {index}" for index in range(len(prompts))]
    unique = list(dict.fromkeys(prompts))
    heads = dict(zip(unique, encode_prompts(tokenizer, unique), strict=True))
    tails = _encode_raw(tokenizer, completions)
    encoded = []
    for name, prompt, tail in zip(names, prompts, tails, strict=True):
        if not tail and not allow_empty:
            raise InputError(name, "", "a completion of some text", "remove the row")
        ids = heads[prompt] + tail
        ids += [] if tail and tail[-1] == eos else [eos]
        _check_length(len(ids), max_length, name)
        encoded.append(Encoded(ids, len(heads[prompt])))
    return encoded


def encode_pair(
    tokenizer: PreTrainedTokenizerBase, prompt: str, completion: str, max_length: int
) -> Encoded:
    """Token ids of one ``prompt + completion + EOS``; see :func:`encode_pairs`."""
    return encode_pairs(tokenizer, [prompt], [completion], max_length)[0]


def encode_texts(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    max_length: int,
    *,
    names: Sequence[str],
) -> list[Encoded]:
    """Token ids of ``text + EOS``, BOS where the tokenizer adds one; ``start`` is 0.

    Raises:
        InputError: naming the row that is empty or longer than ``max_length``.
    """
    eos, _ = require_special_tokens(tokenizer)
    for name, text in zip(names, texts, strict=True):
        if not text:
            raise InputError(name, text, "some text", "remove the row")
    encoded = []
    for name, ids in zip(names, encode_prompts(tokenizer, texts), strict=True):
        whole = ids if ids[-1] == eos else [*ids, eos]
        _check_length(len(whole), max_length, name)
        encoded.append(Encoded(whole, 0))
    return encoded


def _encode_mixed(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    max_length: int,
    names: Sequence[str],
    allow_empty: bool = False,
) -> list[Encoded]:
    """:func:`encode_pairs` where there is a prompt, :func:`encode_texts` where there is none."""
    paired = [i for i, prompt in enumerate(prompts) if prompt]
    single = [i for i, prompt in enumerate(prompts) if not prompt]
    pairs = encode_pairs(
        tokenizer,
        [prompts[i] for i in paired],
        [completions[i] for i in paired],
        max_length,
        names=[names[i] for i in paired],
        allow_empty=allow_empty,
    )
    texts = encode_texts(
        tokenizer,
        [completions[i] for i in single],
        max_length,
        names=[names[i] for i in single],
    )
    found = dict(zip(paired, pairs, strict=True)) | dict(zip(single, texts, strict=True))
    return [found[i] for i in range(len(prompts))]


def _encode_raw(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    return tokenizer(list(texts), add_special_tokens=False, padding=False)["input_ids"]


def _check_length(length: int, max_length: int, row: str) -> None:
    if length > max_length:
        raise InputError(
            row,
            f"{length} tokens with EOS",
            f"at most max_length = {max_length} tokens",
            "shorten the row or raise max_length",
        )


# --- records ----------------------------------------------------------------------------------


class EncodedRanking(NamedTuple):
    """K sequences of one prompt; ``ranks[i] < ranks[j]`` when i was preferred to j."""

    sequences: list[list[int]]
    ranks: list[int]
    kind: str


def encode_demonstrations(
    demonstrations: Sequence[Any], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[Encoded]:
    """Sequences for supervised fine-tuning, in the order given.

    Args:
        demonstrations: whatever :func:`~rlhf_lab.data.as_demonstrations` takes. One without a
            prompt trains on every token (``start`` is 0).

    Raises:
        InputError: for no rows, wrong columns, or a row longer than ``max_length``.
    """
    records = as_demonstrations(demonstrations, tokenizer)
    return _encode_mixed(
        tokenizer,
        [record.prompt for record in records],
        [record.completion for record in records],
        max_length,
        [f"demonstrations row {index}" for index in range(len(records))],
    )


def encode_rankings(
    rankings: Sequence[Any], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[list[EncodedRanking], int]:
    """Sequences for reward modelling, duplicates dropped.

    Returns:
        the rankings that have a pair left, and how many had none (all ties or duplicates).

    Raises:
        InputError: for no rows, wrong columns, a sequence longer than ``max_length``, or when no
            ranking at all has a pair left.
    """
    records = as_rankings(rankings, tokenizer)
    distinct = [record.without_duplicates() for record in records]
    usable = [(row, record) for row, record in enumerate(distinct) if record is not None]
    if not usable:
        raise InputError(
            "rankings",
            f"{len(records)} rankings of equal or tied answers",
            "at least one pair of different answers with different ranks",
            "rank some answers above others",
        )
    flat = [(row, record, text) for row, record in usable for text in record.completions]
    encoded = _encode_mixed(
        tokenizer,
        [record.prompt for _, record, _ in flat],
        [text for _, _, text in flat],
        max_length,
        [f"rankings row {row}, completion {text[:20]!r}" for row, _, text in flat],
        allow_empty=True,
    )
    sequences = iter(encoded)
    result = [
        EncodedRanking(
            [next(sequences).ids for _ in record.completions], list(record.ranks), record.kind
        )
        for _, record in usable
    ]
    return result, len(records) - len(usable)


# --- batches ----------------------------------------------------------------------------------


def pad_right(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids (B, T) and mask (B, T), both int64, filled at the end to the longest row."""
    return _padded(rows, pad, left=False)


def pad_left(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids (B, T) and mask (B, T), both int64, filled at the beginning to the longest row."""
    return _padded(rows, pad, left=True)


def _padded(rows: Sequence[Sequence[int]], pad: int, left: bool) -> tuple[Tensor, Tensor]:
    width = max(len(row) for row in rows)
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for index, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[index, place] = row
        mask[index, place] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def collate_completions(rows: Sequence[Encoded], pad: int) -> dict[str, Tensor]:
    """Batch for next-token training with loss on the completions only.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, int64 (B, T), right-padded; labels of
        prompt and padding are :data:`IGNORED`.
    """
    ids, mask = pad_right([row.ids for row in rows], pad)
    starts = torch.tensor([row.start for row in rows])[:, None]
    learnt = mask.bool() & (torch.arange(ids.shape[1]) >= starts)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": torch.where(learnt, ids, torch.tensor(IGNORED)),
    }


def collate_rankings(rows: Sequence[EncodedRanking], pad: int) -> dict[str, Tensor]:
    """Batch of all completions of several prompts, K free to differ.

    Returns:
        ``input_ids`` and ``attention_mask`` int64 (N, T), right-padded; ``ranks`` and ``group``
        int64 (N,), where equal ``group`` means the same prompt.
    """
    ids, mask = pad_right([s for row in rows for s in row.sequences], pad)
    sizes = torch.tensor([len(row.sequences) for row in rows])
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "ranks": torch.tensor([rank for row in rows for rank in row.ranks]),
        "group": torch.repeat_interleave(torch.arange(len(rows)), sizes),
    }


def pack_blocks(texts: Iterable[Sequence[int]], block_length: int, eos: int) -> Tensor:
    """Documents joined, EOS after each, cut into blocks; a last part block is dropped.

    Returns:
        int32 (N, block_length).

    Raises:
        InputError: when there are too few tokens for one block.
    """
    if block_length < 2:
        raise InputError("block_length", block_length, "at least 2 tokens", "choose longer blocks")
    parts: list[np.ndarray] = []
    end = np.array([eos], dtype=np.int32)
    for ids in texts:
        parts += [np.asarray(ids, dtype=np.int32), end]
    flat = np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
    count = len(flat) // block_length
    if count == 0:
        raise InputError(
            "texts",
            f"{len(flat)} tokens",
            f"at least block_length = {block_length} tokens",
            "give more text or a smaller block_length",
        )
    return torch.from_numpy(flat[: count * block_length].reshape(count, block_length).copy())
