"""Policies for the page: files that the book's JavaScript reads (book/_static/language-model).

Weights are float16: 2 MB for ``tiny``. On an SFT model of that size and the answers to 100 prompts,
rounding to float16 moved a logit by 0.002 (root mean square; at most 0.015) and no greedy answer.
Eight bits with a scale per output would halve the file, but moved logits by 0.047 (at most 0.36)
and changed 15 of the 100 answers: the page would no longer show the model that the book measures.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save
from torch import nn

from rlhf_lab.errors import InputError
from rlhf_lab.files import atomic_write, writing_to
from rlhf_lab.models import merged_copy, unwrap

FORMAT = "rlhf_lab.browser_model/1"
INDEX = "index.json"
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh")
_CONFIG_FIELDS = (
    "vocab_size",
    "n_positions",
    "n_embd",
    "n_layer",
    "n_head",
    "activation_function",
    "layer_norm_epsilon",
)


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
    plain = cast(Any, merged_copy(policy) if unwrap(policy) is not policy else policy)
    _require_supported(plain.config)
    settings = {name: getattr(plain.config, name) for name in _CONFIG_FIELDS}
    settings["n_inner"] = plain.config.n_inner or 4 * plain.config.n_embd
    settings["eos_token_id"] = tokenizer.eos_token_id
    files = {
        "config.json": (json.dumps(settings, indent=2) + "\n").encode(),
        "tokenizer.json": tokenizer.backend_tokenizer.to_str(pretty=False).encode(),
        "model.safetensors": save(_weights(plain, dtype), metadata={"format": "pt"}),
    }
    entries = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    folder = Path(folder)
    with writing_to(folder):
        (folder / INDEX).unlink(missing_ok=True)
    for name, data in files.items():
        atomic_write(folder / name, data)
    index = {"format": FORMAT, "files": entries}
    return atomic_write(folder / INDEX, json.dumps(index, indent=2) + "\n")


def _require_supported(config: Any) -> None:
    """Refuse what the page's forward pass leaves out: a wrong answer there would look right."""
    if config.model_type != "gpt2":
        raise InputError("policy", config.model_type, "gpt2", "the page runs only GPT-2 models")
    needed = {
        "activation_function": ACTIVATIONS,
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True,),
    }
    for name, allowed in needed.items():
        value = getattr(config, name)
        if value not in allowed:
            wanted = " or ".join(map(str, allowed))
            raise InputError(f"policy.config.{name}", value, wanted, "train with that setting")


def _weights(model: nn.Module, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Every weight once, by name."""
    weights = {}
    for name, parameter in model.named_parameters():
        weights[name] = parameter.detach().to("cpu", dtype, copy=True).contiguous()
        if not bool(weights[name].isfinite().all()):
            fix = "train with weight decay or a smaller learning rate"
            raise InputError(f"policy.{name}", "infinite values", f"finite in {dtype}", fix)
    return weights
