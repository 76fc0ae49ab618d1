"""The folder of a model that a page runs: its files, and an index with their sizes and hashes.

What reads them is ``widgets/static/language-model/loader.js``. Nothing here needs torch, so that
the book is built without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf_lab.errors import InputError
from rlhf_lab.files import atomic_write, writing_to

INDEX = "index.json"
WHOLE = "rlhf_lab.browser_model/1"
DIFFERENCE = "rlhf_lab.browser_difference/1"
WEIGHTS = "model.safetensors"

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh")
_NEEDED = {
    "model_type": ("gpt2",),
    "activation_function": ACTIVATIONS,
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}
_CONFIG_FIELDS = (
    "vocab_size",
    "n_positions",
    "n_embd",
    "n_layer",
    "n_head",
    "activation_function",
    "layer_norm_epsilon",
)


def write_folder(folder: str | Path, kind: str, files: Mapping[str, bytes], **more: Any) -> Path:
    """Write the files, and then the index, which is removed first: where it stands, all is whole.

    Args:
        folder: made if needed.
        kind: :data:`WHOLE` or :data:`DIFFERENCE`.
        files: content by name.
        more: further entries of the index.

    Returns:
        The path of the index.

    Raises:
        InputError: when the folder cannot be written.
    """
    entries = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    folder = Path(folder)
    with writing_to(folder):
        (folder / INDEX).unlink(missing_ok=True)
    for name, data in files.items():
        atomic_write(folder / name, data)
    index = {"format": kind, **more, "files": entries}
    return atomic_write(folder / INDEX, json.dumps(index, indent=2) + "\n")


def read_index(folder: str | Path, kind: str) -> dict[str, Any]:
    """Read the index of a folder, whose files must have the sizes and hashes that it names.

    Raises:
        InputError: when it cannot be read, is of another kind, or a file is not as it says.
    """
    folder = Path(folder)
    fix = "export the model anew"
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        contents = {name: (folder / name).read_bytes() for name in index.get("files", ())}
    except (OSError, ValueError) as error:
        raise InputError("folder", str(folder), "an exported model", f"{fix} ({error})") from None
    if index.get("format") != kind:
        raise InputError(f"format of {folder}", index.get("format"), kind, fix)
    for name, data in contents.items():
        found = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if found != index["files"][name]:
            raise InputError(str(folder / name), "another file", "that of the index", fix)
    return dict(index)


def download_bytes(index: Mapping[str, Any]) -> int:
    """What a reader fetches of a folder, besides its index, before compression."""
    return sum(int(entry["bytes"]) for entry in index["files"].values())


def page_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a transformers configuration that the page reads.

    Raises:
        InputError: for a model that the page's forward pass would get wrong: the answer would look
            right.
    """
    for name, allowed in _NEEDED.items():
        value = config[name]
        if value not in allowed:
            wanted = " or ".join(map(str, allowed))
            raise InputError(f"policy.config.{name}", value, wanted, "train with that setting")
    settings = {name: config[name] for name in _CONFIG_FIELDS}
    settings["n_inner"] = config["n_inner"] or 4 * config["n_embd"]
    return settings


def shipped_files(shipped: str | Path) -> dict[str, bytes]:
    """What a page reads of a model that lies in a folder of transformers, without loading it.

    Args:
        shipped: with ``model.safetensors`` in float16 or float32, ``config.json`` and
            ``tokenizer.json``.

    Returns:
        The files of a :data:`WHOLE` model: content by name.

    Raises:
        InputError: for a model that the page cannot run.
    """
    shipped = Path(shipped)
    config = json.loads((shipped / "config.json").read_text(encoding="utf-8"))
    settings = page_config(config) | {"eos_token_id": config["eos_token_id"]}
    return {
        "config.json": (json.dumps(settings, indent=2) + "\n").encode(),
        "tokenizer.json": (shipped / "tokenizer.json").read_bytes(),
        WEIGHTS: (shipped / WEIGHTS).read_bytes(),
    }
