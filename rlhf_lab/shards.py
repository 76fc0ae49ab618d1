"""Documents of Fernwick in a file, and pretraining blocks made of them.

A shard is a file of JSON lines, one document each, beside a ``.json`` that says which stretch of
which world it holds. It grows under another name, so that a run that was cut off goes on after
the last whole line, and appears under its own name when it is complete.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from rlhf_lab.config import PretrainConfig
from rlhf_lab.encoding import pack_blocks
from rlhf_lab.errors import InputError
from rlhf_lab.files import atomic_write, file_hash, writing_to
from rlhf_lab.fingerprint import code_fingerprint
from rlhf_lab.pretrain import train_tokenizer, wrap_tokenizer
from rlhf_lab.world.documents import Document
from rlhf_lab.world.stream import CHUNK, Stream, generate

VALID_DOCUMENTS = 2000


def _label(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _request(stream: Stream) -> dict[str, Any]:
    return {**dataclasses.asdict(stream), "world_code": code_fingerprint("rlhf_lab.world")}


def write_shard(path: str | Path, stream: Stream, *, processes: int | None = None) -> Path:
    """Write the documents of ``stream``; a complete shard of the same stream is left as it is.

    Raises:
        InputError: when the file is there already and holds something else, or cannot be written.
    """
    path = Path(path)
    request = _request(stream)
    if path.exists():
        if not path.is_file() or _read_label(path) != {**request, "sha256": file_hash(path)}:
            raise InputError(
                "output", str(path), "a new file, or one holding these same documents",
                "choose another name, or delete the file",
            )  # fmt: skip
        return path
    part = path.with_name(f".{path.name}.part")
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            done = _resume_part(part, request)
            rest = dataclasses.replace(
                stream, start=stream.start + done, count=max(1, stream.count - done)
            )
            if done < stream.count:
                _append(part, rest, processes)
        except OSError:  # a full disk is not helped by a file that nobody sees
            for leftover in (part, _label(part)):
                with contextlib.suppress(OSError):
                    leftover.unlink()
            raise
    atomic_write(_label(path), json.dumps({**request, "sha256": file_hash(part)}) + "\n")
    with writing_to(path.parent):
        os.replace(part, path)
        _label(part).unlink()
    return path


def _resume_part(part: Path, request: dict[str, Any]) -> int:
    """Whole lines of an unfinished shard of the same stream; another one is begun anew."""
    if not part.exists() or _read_label(part) != request:
        part.unlink(missing_ok=True)
        atomic_write(_label(part), json.dumps(request) + "\n")
        part.touch()
        return 0
    done, size = 0, 0
    with open(part, "r+b") as file:
        for line in file:
            if line.endswith(b"\n"):
                done, size = done + 1, size + len(line)
        file.truncate(size)
    return done


def _append(part: Path, stream: Stream, processes: int | None) -> None:
    with open(part, "a", encoding="utf-8") as file:
        documents = generate(stream, processes)
        while chunk := list(itertools.islice(documents, CHUNK)):
            file.write("".join(as_line(document) for document in chunk))
            file.flush()
        os.fsync(file.fileno())


def as_line(document: Document) -> str:
    """One document as a line of JSON."""
    return json.dumps({"text": document.text, "kind": document.kind}, ensure_ascii=False) + "\n"


def _read_label(path: Path) -> Any:
    try:
        return json.loads(_label(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return None


def read_shard(path: str | Path) -> Iterator[Document]:
    """The documents of a shard, in order.

    Raises:
        InputError: when the file is missing, or is not the one that was written.
    """
    path = Path(path)
    label = _read_label(path)
    if not path.is_file() or not isinstance(label, dict) or "sha256" not in label:
        raise InputError(
            "shard", str(path), "a file made by `rlhf-lab world documents --output`", "make it"
        )
    if label["sha256"] != file_hash(path):
        raise InputError(
            "shard", str(path), "a file whose SHA-256 is the one beside it", "delete and remake it"
        )
    with open(path, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield Document(row["text"], row["kind"])


# --- pretraining data ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class PretrainingData:
    """A tokenizer, with the blocks int32 (N, L) to train on and those (M, L) held out."""

    tokenizer: PreTrainedTokenizerFast
    blocks: Tensor
    held_out: Tensor


def _encoded(tokenizer: PreTrainedTokenizerFast, texts: Iterator[str]) -> Iterator[Any]:
    """Token ids, int32, of each text; thousands at a time, which the tokenizer spreads out."""
    while chunk := list(itertools.islice(texts, CHUNK)):
        for encoding in tokenizer.backend_tokenizer.encode_batch(chunk, add_special_tokens=False):
            yield np.asarray(encoding.ids, dtype=np.int32)


def blocks_of(
    tokenizer: PreTrainedTokenizerFast, texts: Iterator[str], block_length: int
) -> Tensor:
    """Texts as packed blocks int32 (N, ``block_length``), EOS after each text."""
    return pack_blocks(_encoded(tokenizer, texts), block_length, int(tokenizer.eos_token_id))


def pretraining_data(
    config: PretrainConfig,
    folder: str | Path | None = None,
    *,
    texts: Iterator[str] | None = None,
    held_out_texts: Iterator[str] | None = None,
    processes: int | None = None,
) -> PretrainingData:
    """Everything that :func:`rlhf_lab.pretrain.pretrain` reads, from Fernwick's web.

    The tokenizer is trained on the first ``config.tokenizer_documents`` texts; the blocks are
    those of the first ``config.documents``, in order.

    Args:
        config: the recipe.
        folder: keeps the blocks of Fernwick in ``blocks.safetensors`` and reads them next time.
        texts: other texts in place of Fernwick's web, with ``held_out_texts``.
        processes: how many write documents; None for one per core.
    """
    cache = None if folder is None or texts is not None else Path(folder) / "blocks.safetensors"
    key = json.dumps(
        {
            "world_code": code_fingerprint("rlhf_lab.world"),
            "world_seed": config.world_seed,
            "documents": config.documents,
            "tokenizer_documents": config.tokenizer_documents,
            "vocab_size": config.vocab_size,
            "block_length": config.block_length,
        },
        sort_keys=True,
    )
    kept = None if cache is None else _read_blocks(cache, key)
    if kept is not None:
        return kept
    if texts is None:
        stream = Stream(config.documents, world_seed=config.world_seed)
        texts = (document.text for document in generate(stream, processes))
        valid = Stream(VALID_DOCUMENTS, split="valid", world_seed=config.world_seed)
        held_out_texts = (document.text for document in generate(valid, 1))
    first = list(itertools.islice(texts, config.tokenizer_documents))
    tokenizer = train_tokenizer(first, config.vocab_size)
    blocks = blocks_of(tokenizer, itertools.chain(first, texts), config.block_length)
    held_out = blocks_of(tokenizer, held_out_texts or iter(()), config.block_length)
    data = PretrainingData(tokenizer, blocks, held_out[: config.held_out_blocks])
    if cache is not None:
        _write_blocks(cache, key, data)
    return data


def _write_blocks(cache: Path, key: str, data: PretrainingData) -> None:
    tensors = {"blocks": data.blocks, "held_out": data.held_out.contiguous()}
    about = {"recipe": key, "tokenizer": data.tokenizer.backend_tokenizer.to_str()}
    atomic_write(cache, save(tensors, metadata=about))


def _read_blocks(cache: Path, key: str) -> PretrainingData | None:
    """What was kept, or None when there is nothing, or nothing made by this recipe."""
    try:
        with safe_open(cache, framework="pt") as file:
            about = file.metadata() or {}
            if about.get("recipe") != key:
                return None
            blocks, held_out = file.get_tensor("blocks"), file.get_tensor("held_out")
    except (OSError, SafetensorError):
        return None
    tokenizer = wrap_tokenizer(Tokenizer.from_str(about["tokenizer"]))
    return PretrainingData(tokenizer, blocks, held_out)
