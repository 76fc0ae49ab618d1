"""Checkpoints: exactness, crash safety, damage, resuming under the same settings."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rlhf_lab.checkpoints import (
    clear_checkpoints,
    latest_checkpoint,
    load_checkpoint,
    load_optimizer_state,
    optimizer_state,
    prefixed,
    require_same_config,
    save_checkpoint,
    selected,
)
from rlhf_lab.config import SFTConfig
from rlhf_lab.errors import CheckpointError

TENSORS = {
    "a": torch.tensor([1.5, float("nan"), float("-inf"), 1e-45]),
    "b": torch.arange(6, dtype=torch.int64).view(2, 3).t(),  # not contiguous
    "c": torch.tensor(0.1, dtype=torch.float64),
    "d": torch.randn(3).to(torch.bfloat16),
    "e": torch.tensor([True, False]),
    "f": torch.arange(5, dtype=torch.uint8),
}

STATE = {"x": 0.1 + 0.2, "list": [1, 2.5, None, "déjà"], "nested": {"y": True}}


def same_bits(left, right):
    raw = [t.reshape(-1).contiguous().view(torch.uint8) for t in (left, right)]
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(*raw)


# --- folders ----------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path):
    path = save_checkpoint(tmp_path, 12, TENSORS, STATE)
    assert path.name == "step-00000012"
    assert sorted(p.name for p in path.iterdir()) == ["state.json", "tensors.safetensors"]
    tensors, state = load_checkpoint(path)
    assert tensors.keys() == TENSORS.keys()
    assert all(same_bits(tensors[name], TENSORS[name]) for name in TENSORS)
    assert state == {**STATE, "step": 12}


def test_tied_tensors_are_saved_under_both_names(tmp_path):
    weight = torch.randn(4, 2)
    saved = {"one": weight, "two": weight, "part": weight[1:3]}
    tensors, _ = load_checkpoint(save_checkpoint(tmp_path, 0, saved, {}))
    assert all(same_bits(tensors[name], value) for name, value in saved.items())


def test_only_the_newest_are_kept_and_stale_temporaries_go(tmp_path):
    (tmp_path / ".tmp-step-00000009-1").mkdir()
    (tmp_path / "notes").mkdir()
    for step in (1, 2, 3, 4):
        save_checkpoint(tmp_path, step, TENSORS, STATE, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes", "step-00000003", "step-00000004"]
    assert latest_checkpoint(tmp_path).name == "step-00000004"
    save_checkpoint(tmp_path, 2, TENSORS, STATE)  # a run begun again from an earlier step
    assert latest_checkpoint(tmp_path).name == "step-00000002"
    clear_checkpoints(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes"]
    assert latest_checkpoint(tmp_path) is None


def test_no_folder_means_no_checkpoint(tmp_path):
    assert latest_checkpoint(tmp_path / "absent") is None


def test_saving_a_step_again_replaces_it(tmp_path):
    save_checkpoint(tmp_path, 1, TENSORS, {"v": 1})
    save_checkpoint(tmp_path, 1, TENSORS, {"v": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    assert load_checkpoint(latest_checkpoint(tmp_path))[1]["v"] == 2


@pytest.mark.parametrize("name", ["mkdir", "rename", "write_text"])
@pytest.mark.parametrize("call", [1, 2])
def test_a_crash_between_any_two_file_operations_leaves_a_whole_checkpoint(
    tmp_path, monkeypatch, name, call
):
    save_checkpoint(tmp_path, 1, TENSORS, {"v": "old"}, keep=1)
    count = 0
    original = getattr(Path, name)

    class Killed(BaseException):
        """Nothing in the package can catch it, as nothing can catch SIGKILL."""

    def dying(self, *args, **kwargs):
        nonlocal count
        count += 1
        if count == call:
            raise Killed
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, name, dying)
        patch.setattr(shutil, "rmtree", lambda *a, **k: None)  # the dead clean up nothing
        with contextlib.suppress(Killed):
            save_checkpoint(tmp_path, 1, TENSORS, {"v": "new"}, keep=1)
    tensors, state = load_checkpoint(latest_checkpoint(tmp_path))
    assert state["v"] in ("old", "new") and same_bits(tensors["a"], TENSORS["a"])
    save_checkpoint(tmp_path, 2, TENSORS, {"v": "next"}, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000002"]


@pytest.mark.parametrize("saved", [0, 1, 2, 3])
def test_a_crash_while_an_old_one_is_deleted_leaves_no_half_of_it(tmp_path, monkeypatch, saved):
    """Found by SIGKILL: half of an abandoned later checkpoint looked like the newest one."""
    for step in (1, 2):
        save_checkpoint(tmp_path, step, TENSORS, {"v": step}, keep=2)

    class Killed(BaseException):
        pass

    def dying(folder, **_):
        for name in ("state.json", "tensors.safetensors"):
            (Path(folder) / name).unlink(missing_ok=True)
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", dying)
        with contextlib.suppress(Killed):
            save_checkpoint(tmp_path, saved, TENSORS, {"v": saved}, keep=1)
    for whole in tmp_path.glob("step-*"):
        assert same_bits(load_checkpoint(whole)[0]["a"], TENSORS["a"])
    save_checkpoint(tmp_path, saved, TENSORS, {"v": saved}, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == [f"step-{saved:08d}"]
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", dying)
        with contextlib.suppress(Killed):
            clear_checkpoints(tmp_path)
    assert latest_checkpoint(tmp_path) is None


WRITER = """
import sys, torch
from rlhf_lab.checkpoints import latest_checkpoint, load_checkpoint, save_checkpoint
step = 0
while True:
    step += 1
    save_checkpoint(sys.argv[1], step % 3, {"a": torch.full((200_000,), step)}, {"n": step}, keep=1)
    print(step, flush=True)
"""


def test_sigkill_at_random_moments_never_leaves_a_broken_checkpoint(tmp_path):
    rng = random.Random(0)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    for _ in range(3):
        writer.stdout.readline()
    for _ in range(8):  # stop the writer at a random moment and look, as after a kill there
        time.sleep(rng.uniform(0, 0.02))
        writer.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, writer.pid, os.WSTOPPED | os.WNOWAIT)
        tensors, state = load_checkpoint(latest_checkpoint(tmp_path))
        assert torch.equal(tensors["a"], torch.full((200_000,), state["n"]))
        writer.send_signal(signal.SIGCONT)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    tensors, state = load_checkpoint(latest_checkpoint(tmp_path))
    assert torch.equal(tensors["a"], torch.full((200_000,), state["n"]))


def damage(kind, path):
    tensors, state = path / "tensors.safetensors", path / "state.json"
    if kind == "no state":
        state.unlink()
    if kind == "no tensors":
        tensors.unlink()
    if kind == "truncated tensors":
        tensors.write_bytes(tensors.read_bytes()[:-7])
    if kind == "one bit":
        raw = bytearray(tensors.read_bytes())
        raw[-1] ^= 1
        tensors.write_bytes(raw)
    if kind == "truncated state":
        state.write_text(state.read_text()[:-9])
    if kind == "edited state":
        state.write_text(state.read_text().replace('"v": 1', '"v": 2'))
    if kind == "empty object":
        state.write_text("{}")
    if kind == "a list":
        state.write_text("[]")
    if kind == "not text":
        state.write_bytes(b"\xff\xfe\x00")
    if kind == "other format":
        state.write_text(state.read_text().replace('"format": 1', '"format": 99'))


@pytest.mark.parametrize(
    "kind",
    [
        "no state",
        "no tensors",
        "truncated tensors",
        "one bit",
        "truncated state",
        "edited state",
        "empty object",
        "a list",
        "not text",
        "other format",
    ],
)
def test_damage_is_one_line_that_names_the_checkpoint(tmp_path, kind):
    path = save_checkpoint(tmp_path, 3, TENSORS, {"v": 1})
    damage(kind, path)
    with pytest.raises(CheckpointError, match="step-00000003") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value) and "delete this folder" in str(error.value)


# --- what goes into them ----------------------------------------------------------------------


def test_resuming_under_another_configuration_names_the_field():
    saved = dataclasses.asdict(SFTConfig())
    require_same_config(saved, SFTConfig(), "x")
    require_same_config(saved, SFTConfig(checkpoint_every=7), "x", free=["checkpoint_every"])
    with pytest.raises(CheckpointError, match="set learning_rate to 0.0005"):
        require_same_config(saved, SFTConfig(learning_rate=1.0), "x")
    del saved["seed"]
    with pytest.raises(CheckpointError, match="seed"):
        require_same_config(saved, SFTConfig(), "x")


def test_prefixes_undo_each_other():
    both = {**prefixed("a", TENSORS), **prefixed("ab", {"z": torch.zeros(1)})}
    assert selected("a", both).keys() == TENSORS.keys()
    assert selected("ab", both).keys() == {"z"}


@pytest.mark.parametrize("fused", [False, True])
def test_an_optimiser_goes_on_exactly_as_if_never_saved(tmp_path, fused):
    def make():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))
        groups = [
            {"params": model[0].parameters(), "weight_decay": 0.1},
            {"params": model[1].parameters()},
        ]
        return model, torch.optim.AdamW(groups, lr=0.1, betas=(0.8, 0.95), fused=fused)

    def steps(model, optimizer, count):
        generator = torch.Generator().manual_seed(1)
        for _ in range(count):
            optimizer.zero_grad()
            model(torch.randn(5, 3, generator=generator)).square().mean().backward()
            optimizer.step()

    model, optimizer = make()
    steps(model, optimizer, 3)
    tensors, state = optimizer_state(optimizer)
    saved = {**prefixed("m", model.state_dict()), **prefixed("o", tensors)}
    path = save_checkpoint(tmp_path, 3, saved, {"o": state})
    steps(model, optimizer, 4)

    again, fresh = make()
    tensors, state = load_checkpoint(path)
    again.load_state_dict(selected("m", tensors))
    load_optimizer_state(fresh, selected("o", tensors), state["o"])
    assert fresh.param_groups[0]["betas"] == (0.8, 0.95)
    steps(again, fresh, 4)
    for left, right in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(left, right)


def test_an_optimiser_of_another_model_is_refused():
    def adam(*sizes):
        return torch.optim.AdamW([torch.zeros(n, requires_grad=True) for n in sizes])

    with pytest.raises(CheckpointError, match="optimizer"):
        load_optimizer_state(adam(2), *optimizer_state(adam(2, 3)))
