"""Policies for the page: files that the book's JavaScript reads (widgets/static/language-model).

A whole model is written in float16: 2 MB for ``tiny``. On an SFT model of that size and the answers
to 100 prompts, rounding to float16 moved a logit by 0.0025 (root mean square; at most 0.02) and
changed no greedy answer.

A model that was trained from another one is written as its difference from that one, a byte for
each weight: 1 MB. Training moves weights by a fiftieth of their size, so that a byte says as much
of the difference as float16 does of the weight: 0.0012 for SFT, 0.003 for both PPOs (at most
0.03), and still no answer changed. A byte for the weight itself moved logits by 0.06 (at most 0.5)
and changed 40 of SFT's 100 answers: the page would no longer show the model that the book measures.
``python -m benchmarks quickstart`` measures what it publishes.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from rlhf_lab.browser_files import (
    DIFFERENCE,
    WEIGHTS,
    WHOLE,
    page_config,
    read_index,
    shipped_files,
    write_folder,
)
from rlhf_lab.errors import InputError
from rlhf_lab.models import ASSETS, load_policy, merged_copy, unwrap

CHANGES = "difference.safetensors"
SCALE = ".scale"
LARGEST = 127  # of a whole number in one byte, to both sides


def export_for_browser(
    policy: nn.Module,
    tokenizer: Any,
    folder: str | Path,
    *,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write a GPT-2 policy, LoRA merged, so that a page can run it.

    Files: ``model.safetensors`` (names as in transformers, the tied unembedding once),
    ``config.json``, ``tokenizer.json``, and ``index.json`` with the size in bytes and the SHA-256
    of each. The index is written last and removed first: where it stands, the rest is complete.

    Args:
        policy: a ``GPT2LMHeadModel``, or one in a PEFT wrapper; its tokenizer: byte-level BPE.
        folder: where the files go; made if needed.
        dtype: float16, or float32 to compare implementations without rounding.

    Returns:
        The path of the index.

    Raises:
        InputError: for another architecture, a weight that float16 cannot hold, or a folder that
            cannot be written.
    """
    if dtype not in (torch.float16, torch.float32):
        raise InputError("dtype", dtype, "torch.float16 or torch.float32", "use torch.float16")
    plain = _plain(policy)
    settings = page_config(plain.config.to_dict()) | {"eos_token_id": tokenizer.eos_token_id}
    weights = {name: _finite(name, w.to(dtype)) for name, w in _weights(plain).items()}
    files = {
        "config.json": (json.dumps(settings, indent=2) + "\n").encode(),
        "tokenizer.json": tokenizer.backend_tokenizer.to_str(pretty=False).encode(),
        WEIGHTS: save(weights, metadata={"format": "pt"}),
    }
    return write_folder(folder, WHOLE, files)


def export_difference(policy: nn.Module, base: str | Path, folder: str | Path) -> Path:
    """Write how a GPT-2 policy, LoRA merged, differs from an exported one.

    A matrix becomes one byte per weight, round((w − w_base) / s), and a float32 scale
    s = max(abs(w − w_base)) / 127 for each of its rows; other weights become their difference in
    float32. Configuration and tokenizer must be those of the base, and are not written.

    Args:
        policy: of the architecture of the base.
        base: folder of a whole model.
        folder: where ``difference.safetensors`` and ``index.json`` go; made if needed.

    Returns:
        The path of the index.

    Raises:
        InputError: for a policy of other shapes, weights that are not finite, a folder that is no
            whole model, or one that cannot be written.
    """
    index, start = read_index(base, WHOLE), _read(Path(base) / WEIGHTS)
    weights = _weights(_plain(policy))
    shapes = {name: tuple(weight.shape) for name, weight in start.items()}
    if {name: tuple(weight.shape) for name, weight in weights.items()} != shapes:
        fix = "export the whole model"
        raise InputError("policy", "other names or shapes of weights", "those of the base", fix)
    changes: dict[str, Tensor] = {}
    for name, weight in weights.items():
        change = _finite(name, weight.float() - start[name])
        if change.ndim > 1:
            scale = (change.abs().amax(1) / LARGEST).clamp_min(torch.finfo(torch.float32).tiny)
            changes[name + SCALE] = scale
            change = (change / scale[:, None]).round().to(torch.int8)
        changes[name] = change.contiguous()
    files = {CHANGES: save(changes, metadata={"format": "pt"})}
    own = index["files"][WEIGHTS]["sha256"]
    return write_folder(folder, DIFFERENCE, files, base_sha256=own)


def restored_weights(folder: str | Path, base: str | Path) -> dict[str, Tensor]:
    """The weights that a page computes with from a difference: float32, bit for bit, by name.

    Raises:
        InputError: when a folder is not what it should be, or the difference is from another base.
    """
    index, from_base = read_index(folder, DIFFERENCE), read_index(base, WHOLE)
    expected = from_base["files"][WEIGHTS]["sha256"]
    if index["base_sha256"] != expected:
        fix = "export the difference anew"
        raise InputError("base", index["base_sha256"], expected, fix)
    start, changes = _read(Path(base) / WEIGHTS), load_file(Path(folder) / CHANGES)
    weights = {}
    for name, weight in start.items():
        change = changes[name].float()
        if name + SCALE in changes:
            change = changes[name + SCALE][:, None] * change
        weights[name] = weight + change
    return weights


def restored_policy(folder: str | Path, preset: str) -> tuple[Any, Any]:
    """A policy that a page runs, ready for use here, and its tokenizer.

    Args:
        folder: of its difference.
        preset: the shipped model that it was trained from.

    Raises:
        InputError: as :func:`restored_weights` and :func:`rlhf_lab.models.load_policy`.
    """
    policy, tokenizer = load_policy(preset)
    with tempfile.TemporaryDirectory() as base:
        write_folder(base, WHOLE, shipped_files(ASSETS / preset))
        policy.load_state_dict(restored_weights(folder, base), strict=False)  # one name is tied
    return policy, tokenizer


def _plain(policy: nn.Module) -> Any:
    """The model itself, without adapters."""
    return cast(Any, merged_copy(policy) if unwrap(policy) is not policy else policy)


def _read(path: Path) -> dict[str, Tensor]:
    return {name: weight.float() for name, weight in load_file(path).items()}


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Every weight once, by name."""
    return {
        name: parameter.detach().to("cpu", copy=True).contiguous()
        for name, parameter in model.named_parameters()
    }


def _finite(name: str, weight: Tensor) -> Tensor:
    if not bool(weight.isfinite().all()):
        fix = "train with weight decay or a smaller learning rate"
        raise InputError(f"policy.{name}", "infinite values", f"finite in {weight.dtype}", fix)
    return weight
