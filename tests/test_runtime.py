"""Devices, seeds, random generators, Ctrl-C."""

from __future__ import annotations

import random
import signal
import threading

import numpy as np
import pytest
import torch

from rlhf_lab.checkpoints import load_checkpoint, save_checkpoint
from rlhf_lab.errors import InputError
from rlhf_lab.runtime import interruptible, rng_state, seed_everything, select_device, set_rng_state

# --- devices and generators -------------------------------------------------------------------


def test_one_seed_governs_all_three_generators():
    def draw():
        seed_everything(3)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    assert draw() == draw()


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_refuses_is_refused_by_name(seed):
    with pytest.raises(InputError, match="^seed"):
        seed_everything(seed)


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert select_device("auto") == select_device("cpu") == torch.device("cpu")
    for wrong in ("cuda", "cuda:0", "mps", "tpu", ""):
        with pytest.raises(InputError, match="^device"):
            select_device(wrong)


def test_generators_resume_where_they_were_after_a_trip_through_a_checkpoint(tmp_path):
    seed_everything(0)
    random.gauss(0, 1)  # leaves a second value in the cache of both python and NumPy
    np.random.randn()
    tensors, state = rng_state()
    path = save_checkpoint(tmp_path, 1, tensors, {"rng": state})

    def draw():
        return (
            [random.gauss(0, 1) for _ in range(3)],
            np.random.randn(3).tolist(),
            torch.rand(3).tolist(),
        )

    expected = draw()
    assert draw() != expected
    tensors, loaded = load_checkpoint(path)
    set_rng_state(tensors, loaded["rng"])
    assert draw() == expected


# --- Ctrl-C -----------------------------------------------------------------------------------


def test_the_first_interrupt_asks_and_the_second_raises(capsys):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible() as interrupt:
        assert not interrupt.requested
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert "press Ctrl-C again" in capsys.readouterr().err


def test_interruptible_does_nothing_outside_the_main_thread():
    seen = []

    def work():
        with interruptible() as interrupt:
            seen.append(interrupt.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
