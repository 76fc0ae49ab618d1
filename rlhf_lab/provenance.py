"""Where a result comes from: code, versions, device, time. Enough to make it again."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rlhf_lab.runtime import select_device

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
