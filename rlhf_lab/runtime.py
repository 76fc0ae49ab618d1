"""Devices, seeds, checkpoints, trackers, progress, manifests: what every stage needs around it.

A checkpoint is a folder ``step-00000012`` holding ``tensors.safetensors`` and ``state.json``. It
appears under its name by one rename, after both files have reached the disk, so that a process
killed at any moment leaves either the old or the new checkpoint whole. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import random
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlhf_lab.errors import CheckpointError, InputError

Tensors = dict[str, Tensor]
Callback = Callable[[int, dict[str, Any]], None]
"""Called as ``callback(step, metrics)`` after every logged step."""

FORMAT = 1
_STEP = re.compile(r"^step-(\d{8})(~?)$")  # "~" marks one that is being replaced


# --- seeds and devices ------------------------------------------------------------------------


def seed_everything(seed: int) -> None:
    """Seed python, NumPy's global generator and torch (every device)."""
    if not 0 <= seed < 2**32:
        raise InputError("seed", seed, "0 to 2**32 - 1", "choose a smaller non-negative seed")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def select_device(name: str = "auto") -> torch.device:
    """The device called ``name``; ``"auto"`` takes CUDA, then MPS, then the CPU.

    Raises:
        InputError: for an unknown name, or a device that this machine does not have.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, present in available.items() if present))
    kind = name.partition(":")[0]
    if kind not in available:
        raise InputError("device", name, "auto, cpu, cuda or mps", "choose one of these")
    if not available[kind]:
        present = ", ".join(k for k, there in available.items() if there)
        raise InputError("device", name, f"a device of this machine: {present}", "use auto or cpu")
    return torch.device(name)


def rng_state() -> tuple[Tensors, dict[str, Any]]:
    """State of every global generator: torch (CPU, CUDA if in use), python, NumPy.

    Returns:
        uint8 tensors by name, and values that JSON holds exactly.
    """
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for index, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"cuda.{index}"] = state
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return tensors, {
        "python": [version, list(words), gauss],
        "numpy": [name, np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
    }


def set_rng_state(tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Undo what happened to the global generators since :func:`rng_state`."""
    torch.set_rng_state(tensors["torch"].cpu())
    saved = [tensors[k].cpu() for k in sorted(k for k in tensors if k.startswith("cuda."))]
    if saved and torch.cuda.is_available() and len(saved) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(saved)
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))


# --- files ------------------------------------------------------------------------------------

_FIXES = {
    errno.ENOSPC: "free disk space or choose another folder",
    errno.EDQUOT: "free disk space or choose another folder",
    errno.EROFS: "choose a folder that is not read-only",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EEXIST: "a file has that name: choose another folder",
    errno.ENOTDIR: "a file has that name: choose another folder",
}


@contextlib.contextmanager
def writing_to(folder: str | Path) -> Iterator[None]:
    """Turn a failure to write into one line that names the folder and the fix.

    Raises:
        InputError: in place of any ``OSError`` (disk full, read-only, no permission, not a folder).
    """
    try:
        try:
            yield
        except SafetensorError as error:  # its writer hides the errno in the text
            code = re.search(r"os error (\d+)", str(error))
            if code is None:
                raise
            raise OSError(int(code.group(1)), str(error)) from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        fix = _FIXES.get(error.errno or 0, "choose another folder")
        raise InputError(
            "output_dir", str(folder), "a folder that can be written", f"{fix} ({reason})"
        ) from None


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder, and needs no such call
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: str | Path, data: bytes | str) -> Path:
    """Write a file so that it is either absent, old, or complete. Text is UTF-8.

    Raises:
        InputError: when the folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)
    return path


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _state_hash(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


# --- checkpoints ------------------------------------------------------------------------------


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
                _sync(temporary / part)
            if final.exists():  # no rename replaces a full folder: step aside, findable
                if replaced.exists():
                    shutil.rmtree(replaced)
                final.rename(replaced)
            temporary.rename(final)
            _sync(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        older = sorted({s for s in _checkpoints(folder).values() if s < step}, reverse=True)
        kept = {final.name, *(f"step-{s:08d}" for s in older[: keep - 1])}
        for name in _checkpoints(folder).keys() - kept:
            shutil.rmtree(folder / name)
    return final


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
            shutil.rmtree(folder / name)


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


# --- trackers and progress --------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A metric as JSON holds it: 0-dim tensors and NumPy scalars as numbers, NaN as None."""
    if isinstance(value, Tensor | np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Tracker:
    """Metrics of one run: always kept in ``history``, and in ``metrics.jsonl`` under a folder.

    Args:
        output_dir: folder of ``metrics.jsonl`` and ``config.json``; None keeps both in memory.
        config: the resolved configuration, a dataclass.
        names: further trackers of accelerate, for example ``("tensorboard", "wandb")``.
        resume_step: keep the rows up to this step, drop later ones; None starts an empty file.
        enabled: False on all but the main process: then nothing is written.

    Raises:
        InputError: for a tracker that is unknown or not installed, or a folder that cannot be
            written.
    """

    def __init__(
        self,
        output_dir: str | Path | None,
        config: Any,
        names: Sequence[str] = (),
        *,
        resume_step: int | None = None,
        enabled: bool = True,
    ) -> None:
        self.history: list[dict[str, Any]] = []
        self._path: Path | None = None
        self._others: list[Any] = []
        if not enabled:
            return
        kinds = [_tracker_class(name) for name in names]  # before anything is written
        settings = dataclasses.asdict(config)
        if output_dir is not None:
            folder = Path(output_dir)
            self._path = folder / "metrics.jsonl"
            if resume_step is not None:
                self.history = [r for r in read_metrics(self._path) if r["step"] <= resume_step]
            atomic_write(self._path, "".join(json.dumps(r) + "\n" for r in self.history))
            atomic_write(folder / "config.json", json.dumps(settings, indent=2) + "\n")
        self._others = [_start_tracker(kind, output_dir or ".", settings) for kind in kinds]

    def log(self, step: int, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Append one row ``{"step": step, **metrics}``, and return it."""
        row = {"step": step, **{name: plain(value) for name, value in metrics.items()}}
        self.history.append(row)
        if self._path is not None:
            with writing_to(self._path.parent), open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        numbers = {k: v for k, v in row.items() if isinstance(v, int | float)}
        for tracker in self._others:
            tracker.log(numbers, step=step)
        return row

    def close(self) -> None:
        """Finish the further trackers."""
        for tracker in self._others:
            tracker.finish()
        self._others = []


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a ``metrics.jsonl``; a last line cut short by a crash is left out."""
    path = Path(path)
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _tracker_class(name: str) -> Any:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known = sorted(LOGGER_TYPE_TO_CLASS)
    if name not in known:
        raise InputError("tracker", name, ", ".join(known), "choose one of these")
    if name not in {str(getattr(t, "value", t)) for t in get_available_trackers()}:
        raise InputError("tracker", name, "an installed tracker", f"pip install {name}")
    return LOGGER_TYPE_TO_CLASS[name]


def _start_tracker(kind: Any, folder: str | Path, settings: dict[str, Any]) -> Any:
    tracker = kind("rlhf_lab", str(folder)) if kind.requires_logging_directory else kind("rlhf_lab")
    tracker.start()
    tracker.store_init_configuration(settings)
    return tracker


class Progress:
    """One progress bar with fields and the time left; silent unless on a terminal.

    >>> with Progress(total=10, description="PPO", quiet=True) as progress:
    ...     progress.update(reward=0.5, kl=1.2)
    """

    def __init__(self, total: int, description: str, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task(description, total=total, shown="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, advance: int = 1, **fields: float | str) -> None:
        """Move on by ``advance`` steps and show ``fields`` after the bar."""
        shown = "  ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in fields.items()
        )
        self._bar.update(self._task, advance=advance, shown=shown)


@dataclasses.dataclass
class Interrupt:
    """Whether the user asked a run to stop at the end of this step."""

    requested: bool = False


_interrupts: list[Interrupt] = []  # of the contexts that are open, outermost first


@contextlib.contextmanager
def interruptible() -> Iterator[Interrupt]:
    """The first Ctrl-C sets ``requested``, a second one raises ``KeyboardInterrupt``.

    A context inside another shares its :class:`Interrupt`, so that whoever runs several stages
    sees that one of them was asked to stop. Outside the main thread, where python delivers no
    signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Interrupt()
        return
    if _interrupts:
        yield _interrupts[-1]
        return
    interrupt = Interrupt()

    def stop(_signum: int, _frame: FrameType | None) -> None:
        if interrupt.requested:
            raise KeyboardInterrupt
        interrupt.requested = True
        sys.stderr.write("stopping after this step; press Ctrl-C again to stop now\n")

    before = signal.signal(signal.SIGINT, stop)
    _interrupts.append(interrupt)
    try:
        yield interrupt
    finally:
        _interrupts.pop()
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def completing() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` at the end if a Ctrl-C made the training inside stop early.

    A trainer that is asked to stop saves and returns. What follows it (export, the next stage)
    must then not take its model for a finished one.
    """
    with interruptible() as interrupt:
        yield
    if interrupt.requested:
        raise KeyboardInterrupt


# --- manifests --------------------------------------------------------------------------------

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "accelerate",
    "trl",
    "peft",
    "datasets",
    "numpy",
    "pandas",
)


@functools.cache
def code_hash() -> str:
    """SHA-256 over every python file of the package, names included."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of python and of those ``packages`` that are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def peak_memory() -> int:
    """Most bytes that this process has held in memory; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {os.cpu_count()} cores)"


def manifest(
    command: str,
    config: Any,
    seeds: Sequence[int],
    started: float,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """What a result file needs so that the run can be made again.

    Args:
        command: the command line that made the result.
        config: one configuration dataclass, or several by name.
        seeds: every seed of the run.
        started: ``time.time()`` when the run began.

    Returns:
        JSON-ready: command, config, seeds, code hash, versions, device, threads, wall seconds,
        process seconds (this process and its finished children, all cores), peak memory in bytes.
    """
    device = torch.device(device)
    configs = config if isinstance(config, Mapping) else {type(config).__name__: config}
    times = os.times()
    return {
        "command": command,
        "config": {name: dataclasses.asdict(value) for name, value in configs.items()},
        "seeds": list(seeds),
        "code_sha256": code_hash(),
        "versions": versions(),
        "device": _device_name(device),
        "threads": torch.get_num_threads(),
        "wall_seconds": round(time.time() - started, 3),
        "process_seconds": round(
            times.user + times.system + times.children_user + times.children_system, 3
        ),
        "peak_memory_bytes": peak_memory(),
        "peak_device_memory_bytes": (
            torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
        ),
    }


def environment() -> dict[str, Any]:
    """What ``rlhf-lab doctor`` prints: python, system, cores, devices, versions, free disk."""
    free = shutil.disk_usage(Path.cwd()).free
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": _device_name(select_device("auto")),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "free_disk_bytes": free,
        "offline": os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"),
        "versions": versions(),
    }
