"""The process that a stage runs in: its device, its random generators, and Ctrl-C."""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlhf_lab.errors import InputError

# --- devices and generators -------------------------------------------------------------------


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


def cpu_threads(device: str) -> int:
    """Threads that torch uses when ``device`` is the CPU; 1 on any other device."""
    return torch.get_num_threads() if select_device(device).type == "cpu" else 1


def seed_everything(seed: int) -> None:
    """Seed python, NumPy's global generator and torch (every device)."""
    if not 0 <= seed < 2**32:
        raise InputError("seed", seed, "0 to 2**32 - 1", "choose a smaller non-negative seed")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def rng_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
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


# --- Ctrl-C -----------------------------------------------------------------------------------


@dataclass
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
