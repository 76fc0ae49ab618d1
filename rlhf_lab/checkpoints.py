"""Checkpoints: whole or not there, exact, verified, and nothing pickled.

A checkpoint is a folder ``step-00000012`` holding ``tensors.safetensors`` and ``state.json``. It
appears under its name by one rename, after both files have reached the disk, so that a process
killed at any moment leaves either the old or the new checkpoint whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlhf_lab.errors import CheckpointError, InputError
from rlhf_lab.files import file_hash, sync, writing_to

Tensors = dict[str, Tensor]
FORMAT = 1
_STEP = re.compile(r"^step-(\d{8})(~?)$")  # "~" marks one that is being replaced


# --- folders ----------------------------------------------------------------------------------


def _checkpoints(folder: Path) -> dict[str, int]:
    """Names of checkpoint folders (replaced ones included) with their steps."""
    if not folder.is_dir():
        return {}
    matches = [_STEP.match(p.name) for p in folder.iterdir() if p.is_dir()]
    return {m.group(0): int(m.group(1)) for m in matches if m}


def _unshared(tensors: Mapping[str, Tensor]) -> Tensors:
    """Contiguous CPU tensors, none sharing memory: tied weights are stored once per name."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().to("cpu").contiguous()
        pointer = tensor.untyped_storage().data_ptr()
        result[name] = tensor.clone() if pointer in seen else tensor
        seen.add(pointer)
    return result


def _state_hash(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def save_checkpoint(
    folder: str | Path,
    step: int,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write ``folder/step-<step>`` atomically, then remove all but the newest ``keep``.

    Checkpoints of a later step are removed too: they belong to a run that was abandoned.

    Args:
        tensors: by name, any dtype and device, stored bit for bit.
        state: values that JSON can hold; floats are kept exactly.

    Raises:
        InputError: when the folder cannot be written; nothing is left behind.
    """
    folder = Path(folder)
    final = folder / f"step-{step:08d}"
    replaced = folder / f"{final.name}~"
    temporary = folder / f".tmp-{final.name}-{os.getpid()}"
    state = json.loads(json.dumps(dict(state)))
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(".tmp-step-*"):
            shutil.rmtree(stale)
        try:
            temporary.mkdir()
            save_file(_unshared(tensors), temporary / "tensors.safetensors")
            header = {
                "format": FORMAT,
                "step": step,
                "tensors_sha256": file_hash(temporary / "tensors.safetensors"),
                "state_sha256": _state_hash(state),
                "state": state,
            }
            (temporary / "state.json").write_text(json.dumps(header), encoding="utf-8")
            for part in ("tensors.safetensors", "state.json", "."):
                sync(temporary / part)
            if final.exists():  # no rename replaces a full folder: step aside, findable
                if replaced.exists():
                    _remove(folder, replaced.name)
                final.rename(replaced)
            temporary.rename(final)
            sync(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        older = sorted({s for s in _checkpoints(folder).values() if s < step}, reverse=True)
        kept = {final.name, *(f"step-{s:08d}" for s in older[: keep - 1])}
        for name in _checkpoints(folder).keys() - kept:
            _remove(folder, name)
    return final


def _remove(folder: Path, name: str) -> None:
    """Delete a checkpoint; renamed first, so that a kill leaves no half of it under its name."""
    doomed = folder / f".tmp-{name}-removed-{os.getpid()}"
    (folder / name).rename(doomed)
    shutil.rmtree(doomed)


def latest_checkpoint(folder: str | Path) -> Path | None:
    """The checkpoint of the highest step, or None. Unfinished ones are never seen."""
    folder = Path(folder)
    found = _checkpoints(folder)
    if not found:
        return None
    # At equal steps a whole new one wins over the one that it replaces.
    return folder / max(found, key=lambda name: (found[name], not name.endswith("~")))


def load_checkpoint(path: str | Path) -> tuple[Tensors, dict[str, Any]]:
    """Tensors (on the CPU) and state of one checkpoint, both verified by their SHA-256.

    Returns:
        the tensors, and the state with ``state["step"]`` set.

    Raises:
        CheckpointError: when it is missing, truncated, altered, or of another format.
    """
    path = Path(path)

    def damaged(allowed: str) -> CheckpointError:
        return CheckpointError(
            "checkpoint",
            str(path),
            allowed,
            "delete this folder to go on from an older checkpoint, or start with resume off",
        )

    try:
        header = json.loads((path / "state.json").read_text(encoding="utf-8"))
        digest = file_hash(path / "tensors.safetensors")
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        raise damaged("a folder with a readable state.json and tensors.safetensors") from None
    expected = {"format", "step", "tensors_sha256", "state_sha256", "state"}
    if not isinstance(header, dict) or not expected <= header.keys():
        raise damaged(f"a state.json with {', '.join(sorted(expected))}")
    if header["format"] != FORMAT:
        raise damaged(f"checkpoint format {FORMAT}, not {header['format']}")
    named = _STEP.match(path.name)
    if named is not None and header["step"] != int(named.group(1)):
        raise damaged("a state.json of the step that the folder is named after")
    if header["tensors_sha256"] != digest or header["state_sha256"] != _state_hash(header["state"]):
        raise damaged("files whose SHA-256 agree with those in state.json")
    tensors = load_file(path / "tensors.safetensors")
    return tensors, {**header["state"], "step": header["step"]}


def clear_checkpoints(folder: str | Path) -> None:
    """Remove every checkpoint of ``folder``: what a run with ``resume=False`` does first."""
    folder = Path(folder)
    with writing_to(folder):
        for name in _checkpoints(folder):
            _remove(folder, name)


@contextlib.contextmanager
def alone_in(folder: str | Path | None) -> Iterator[None]:
    """Keep other processes from training into ``folder``; None keeps nobody from anything.

    Two that did would cut each other's metrics and leave checkpoints of both. The lock is on
    ``folder/.lock``, which goes when the context ends; a process that is killed leaves the file,
    but no lock. A file system without locks has none.

    Raises:
        InputError: when another process is training into this folder, or it cannot be written.
    """
    if folder is None:
        yield
        return
    folder = Path(folder)
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = FileLock(folder / ".lock", timeout=0)
    with contextlib.ExitStack() as stack:
        with writing_to(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with contextlib.suppress(NotImplementedError):
                    stack.enter_context(lock)
            except Timeout:
                raise InputError(
                    "output_dir", str(folder), "a folder that no other process trains into",
                    "wait until that run has ended, or choose another folder",
                ) from None  # fmt: skip
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (folder / ".lock").unlink()
                for path in new:
                    path.rmdir()  # stays if anything is in it, and so do those above


# --- what goes into them ----------------------------------------------------------------------


def require_same_config(
    saved: Mapping[str, Any], config: Any, path: str | Path, *, free: Sequence[str] = ()
) -> None:
    """Refuse to resume under other settings, naming the first field that differs.

    Args:
        saved: ``dataclasses.asdict`` of the configuration that made the checkpoint.
        config: the configuration dataclass of this run.
        free: fields that may change without changing a step already taken.

    Raises:
        CheckpointError: when a field outside ``free`` differs.
    """
    now = json.loads(json.dumps(dataclasses.asdict(config)))
    for name in now.keys() | saved.keys():
        if name not in free and now.get(name) != saved.get(name):
            raise CheckpointError(
                "checkpoint",
                str(path),
                f"one made with {name} = {now.get(name)!r}, not {saved.get(name)!r}",
                f"set {name} to {saved.get(name)!r}, choose another folder, or turn resume off",
            )


def require_same_data(saved: Mapping[str, Any], data: str, path: str | Path) -> None:
    """Refuse to resume on other data: half of a run on each would pass for a run.

    Args:
        saved: the state of the checkpoint, with a fingerprint under ``data``.
        data: that of what this run reads.

    Raises:
        CheckpointError: when they differ.
    """
    if saved.get("data") != data:
        raise CheckpointError(
            "checkpoint", str(path), "one made with these data",
            "pass the data that the run began with, choose another folder, or turn resume off",
        )  # fmt: skip


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """The tensors under ``prefix.name``; :func:`selected` undoes it."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def selected(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """The tensors whose name begins with ``prefix.``, without it."""
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[Tensors, dict[str, Any]]:
    """State of an optimiser as flat tensors and JSON, exact and without pickle."""
    state = optimizer.state_dict()
    tensors: Tensors = {}
    values: dict[str, Any] = {}
    for index, entry in state["state"].items():
        for name, value in entry.items():
            (tensors if isinstance(value, Tensor) else values)[f"{index}.{name}"] = value
    groups = []
    for number, group in enumerate(state["param_groups"]):
        groups.append({k: v for k, v in group.items() if not isinstance(v, Tensor)})
        for name, value in group.items():
            if isinstance(value, Tensor):  # a learning rate on the device (capturable)
                tensors[f"group{number}.{name}"] = value
    return tensors, {"groups": groups, "values": values}


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    """Put back what :func:`optimizer_state` took from an optimiser over the same parameters.

    Raises:
        CheckpointError: when the parameter groups differ in number or size.
    """
    current = optimizer.state_dict()["param_groups"]
    groups = [dict(group) for group in state["groups"]]
    sizes = [len(group["params"]) for group in groups]
    if sizes != [len(group["params"]) for group in current]:
        raise CheckpointError(
            "optimizer",
            f"{sizes} parameters",
            f"{[len(g['params']) for g in current]} parameters, as in this model",
            "resume with the model that made the checkpoint",
        )
    entries: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **state["values"]}.items():
        head, _, name = key.partition(".")
        if head.startswith("group"):
            groups[int(head.removeprefix("group"))][name] = value
        else:
            entries.setdefault(int(head), {})[name] = value
    for group, now in zip(groups, current, strict=True):
        for name, value in now.items():
            if isinstance(value, tuple):  # JSON made a list of it
                group[name] = tuple(group[name])
    optimizer.load_state_dict({"state": entries, "param_groups": groups})
