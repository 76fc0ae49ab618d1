"""Seeds, checkpoints, trackers, manifests: exactness, crash safety, and clear refusals."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from rlhf_lab import runtime as R
from rlhf_lab.config import SFTConfig
from rlhf_lab.errors import CheckpointError, InputError

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


# --- seeds, devices, generators --------------------


def test_one_seed_governs_all_three_generators():
    def draw():
        R.seed_everything(3)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    assert draw() == draw()


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_refuses_is_refused_by_name(seed):
    with pytest.raises(InputError, match="^seed"):
        R.seed_everything(seed)


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert R.select_device("auto") == R.select_device("cpu") == torch.device("cpu")
    for wrong in ("cuda", "cuda:0", "mps", "tpu", ""):
        with pytest.raises(InputError, match="^device"):
            R.select_device(wrong)


def test_generators_resume_where_they_were_after_a_trip_through_a_checkpoint(tmp_path):
    R.seed_everything(0)
    random.gauss(0, 1)  # leaves a second value in the cache of both python and NumPy
    np.random.randn()
    tensors, state = R.rng_state()
    path = R.save_checkpoint(tmp_path, 1, tensors, {"rng": state})

    def draw():
        return (
            [random.gauss(0, 1) for _ in range(3)],
            np.random.randn(3).tolist(),
            torch.rand(3).tolist(),
        )

    expected = draw()
    assert draw() != expected
    tensors, loaded = R.load_checkpoint(path)
    R.set_rng_state(tensors, loaded["rng"])
    assert draw() == expected


# --- checkpoints --------------------


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path):
    path = R.save_checkpoint(tmp_path, 12, TENSORS, STATE)
    assert path.name == "step-00000012"
    assert sorted(p.name for p in path.iterdir()) == ["state.json", "tensors.safetensors"]
    tensors, state = R.load_checkpoint(path)
    assert tensors.keys() == TENSORS.keys()
    assert all(same_bits(tensors[name], TENSORS[name]) for name in TENSORS)
    assert state == {**STATE, "step": 12}


def test_tied_tensors_are_saved_under_both_names(tmp_path):
    weight = torch.randn(4, 2)
    saved = {"one": weight, "two": weight, "part": weight[1:3]}
    tensors, _ = R.load_checkpoint(R.save_checkpoint(tmp_path, 0, saved, {}))
    assert all(same_bits(tensors[name], value) for name, value in saved.items())


def test_only_the_newest_are_kept_and_stale_temporaries_go(tmp_path):
    (tmp_path / ".tmp-step-00000009-1").mkdir()
    (tmp_path / "notes").mkdir()
    for step in (1, 2, 3, 4):
        R.save_checkpoint(tmp_path, step, TENSORS, STATE, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes", "step-00000003", "step-00000004"]
    assert R.latest_checkpoint(tmp_path).name == "step-00000004"
    R.save_checkpoint(tmp_path, 2, TENSORS, STATE)  # a run begun again from an earlier step
    assert R.latest_checkpoint(tmp_path).name == "step-00000002"
    R.clear_checkpoints(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes"]
    assert R.latest_checkpoint(tmp_path) is None


def test_no_folder_means_no_checkpoint(tmp_path):
    assert R.latest_checkpoint(tmp_path / "absent") is None


def test_saving_a_step_again_replaces_it(tmp_path):
    R.save_checkpoint(tmp_path, 1, TENSORS, {"v": 1})
    R.save_checkpoint(tmp_path, 1, TENSORS, {"v": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    assert R.load_checkpoint(R.latest_checkpoint(tmp_path))[1]["v"] == 2


@pytest.mark.parametrize("name", ["mkdir", "rename", "write_text"])
@pytest.mark.parametrize("call", [1, 2])
def test_a_crash_between_any_two_file_operations_leaves_a_whole_checkpoint(
    tmp_path, monkeypatch, name, call
):
    R.save_checkpoint(tmp_path, 1, TENSORS, {"v": "old"}, keep=1)
    count = 0
    original = getattr(R.Path, name)

    class Killed(BaseException):
        """Nothing in the package can catch it, as nothing can catch SIGKILL."""

    def dying(self, *args, **kwargs):
        nonlocal count
        count += 1
        if count == call:
            raise Killed
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(R.Path, name, dying)
        patch.setattr(R.shutil, "rmtree", lambda *a, **k: None)  # the dead clean up nothing
        with contextlib.suppress(Killed):
            R.save_checkpoint(tmp_path, 1, TENSORS, {"v": "new"}, keep=1)
    tensors, state = R.load_checkpoint(R.latest_checkpoint(tmp_path))
    assert state["v"] in ("old", "new") and same_bits(tensors["a"], TENSORS["a"])
    R.save_checkpoint(tmp_path, 2, TENSORS, {"v": "next"}, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000002"]


WRITER = """
import sys, torch
from rlhf_lab.runtime import latest_checkpoint, load_checkpoint, save_checkpoint
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
        tensors, state = R.load_checkpoint(R.latest_checkpoint(tmp_path))
        assert torch.equal(tensors["a"], torch.full((200_000,), state["n"]))
        writer.send_signal(signal.SIGCONT)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    tensors, state = R.load_checkpoint(R.latest_checkpoint(tmp_path))
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
    path = R.save_checkpoint(tmp_path, 3, TENSORS, {"v": 1})
    damage(kind, path)
    with pytest.raises(CheckpointError, match="step-00000003") as error:
        R.load_checkpoint(path)
    assert "\n" not in str(error.value) and "delete this folder" in str(error.value)


def full_disk(monkeypatch, code):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(R.os, "fsync", fail)


@pytest.mark.parametrize(
    ("code", "fix"),
    [(errno.ENOSPC, "free disk space"), (errno.EROFS, "read-only"), (errno.EACCES, "may write")],
)
def test_a_disk_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch, code, fix):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        full_disk(patch, code)
        with pytest.raises(InputError, match=fix) as error:
            R.save_checkpoint(folder, 1, TENSORS, STATE)
        with pytest.raises(InputError, match=fix):
            R.atomic_write(folder / "x.json", "{}")
    assert str(folder) in str(error.value)
    assert list(folder.iterdir()) == []


def test_a_full_disk_seen_by_the_safetensors_writer_is_an_input_error(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise R.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(R, "save_file", fail)
    with pytest.raises(InputError, match="free disk space"):
        R.save_checkpoint(tmp_path, 1, TENSORS, STATE)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    for folder in (tmp_path / "run", tmp_path / "run" / "below"):
        with pytest.raises(InputError, match="a file has that name"):
            R.save_checkpoint(folder, 1, TENSORS, STATE)
    with pytest.raises(InputError, match="output_dir"):
        R.Tracker(tmp_path / "run", SFTConfig())


def test_atomic_write_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = R.atomic_write(tmp_path / "new" / "a.txt", "old ä")
    full_disk(monkeypatch, errno.ENOSPC)
    with pytest.raises(InputError):
        R.atomic_write(path, b"new")
    assert path.read_text(encoding="utf-8") == "old ä"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_resuming_under_another_configuration_names_the_field():
    saved = dataclasses.asdict(SFTConfig())
    R.require_same_config(saved, SFTConfig(), "x")
    R.require_same_config(saved, SFTConfig(checkpoint_every=7), "x", free=["checkpoint_every"])
    with pytest.raises(CheckpointError, match="set learning_rate to 0.0005"):
        R.require_same_config(saved, SFTConfig(learning_rate=1.0), "x")
    del saved["seed"]
    with pytest.raises(CheckpointError, match="seed"):
        R.require_same_config(saved, SFTConfig(), "x")


def test_prefixes_undo_each_other():
    both = {**R.prefixed("a", TENSORS), **R.prefixed("ab", {"z": torch.zeros(1)})}
    assert R.selected("a", both).keys() == TENSORS.keys()
    assert R.selected("ab", both).keys() == {"z"}


# --- optimiser --------------------


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
    tensors, state = R.optimizer_state(optimizer)
    saved = {**R.prefixed("m", model.state_dict()), **R.prefixed("o", tensors)}
    path = R.save_checkpoint(tmp_path, 3, saved, {"o": state})
    steps(model, optimizer, 4)

    again, fresh = make()
    tensors, state = R.load_checkpoint(path)
    again.load_state_dict(R.selected("m", tensors))
    R.load_optimizer_state(fresh, R.selected("o", tensors), state["o"])
    assert fresh.param_groups[0]["betas"] == (0.8, 0.95)
    steps(again, fresh, 4)
    for left, right in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(left, right)


def test_an_optimiser_of_another_model_is_refused():
    def adam(*sizes):
        return torch.optim.AdamW([torch.zeros(n, requires_grad=True) for n in sizes])

    with pytest.raises(CheckpointError, match="optimizer"):
        R.load_optimizer_state(adam(2), *R.optimizer_state(adam(2, 3)))


# --- trackers and progress --------------------


def test_metrics_are_rows_of_json_and_resume_drops_what_came_after(tmp_path):
    tracker = R.Tracker(tmp_path, SFTConfig())
    for step in (1, 2, 3):
        tracker.log(step, {"loss": torch.tensor(0.5), "n": np.int64(step), "bad": float("nan")})
    with open(tmp_path / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 4, "lo')  # killed in the middle of a line
    again = R.Tracker(tmp_path, SFTConfig(), resume_step=2)
    assert [row["step"] for row in again.history] == [1, 2]
    again.log(3, {"loss": 0.25})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == again.history
    assert rows[0] == {"step": 1, "loss": 0.5, "n": 1, "bad": None}
    assert rows[-1] == {"step": 3, "loss": 0.25}
    assert json.loads((tmp_path / "config.json").read_text()) == dataclasses.asdict(SFTConfig())
    assert R.Tracker(tmp_path, SFTConfig()).history == []
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_without_a_folder_or_off_the_main_process_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for tracker in (R.Tracker(None, SFTConfig()), R.Tracker("out", SFTConfig(), enabled=False)):
        tracker.log(1, {"loss": 1.0})
        assert tracker.history == [{"step": 1, "loss": 1.0}]
    assert list(tmp_path.iterdir()) == []


def test_trackers_that_cannot_be_had_are_refused(tmp_path, monkeypatch):
    import accelerate.tracking

    with pytest.raises(InputError, match="tensorboard.*wandb"):
        R.Tracker(tmp_path, SFTConfig(), ["sacred"])
    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", lambda: [])
    with pytest.raises(InputError, match="pip install wandb"):
        R.Tracker(tmp_path, SFTConfig(), ["wandb"])


def test_a_tracker_of_accelerate_receives_the_numbers(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = R.Tracker(tmp_path, SFTConfig(), ["tensorboard"])
    tracker.log(7, {"loss": 0.5, "note": "text is for the JSON lines only"})
    tracker.close()
    events = EventAccumulator(str(tmp_path / "rlhf_lab")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(7, 0.5)]


def test_progress_is_silent_unless_on_a_terminal(capfd):
    with R.Progress(2, "PPO") as progress:
        progress.update(kl=1.0, note="x")
    out, err = capfd.readouterr()
    assert out == err == ""


def test_progress_shows_its_fields_on_a_terminal(monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with R.Progress(2, "PPO") as progress:
        progress.update(kl=1.23456, tax="none")
    shown = capfd.readouterr().err
    assert "PPO" in shown and "kl 1.23" in shown and "tax none" in shown


# --- Ctrl-C --------------------


def test_the_first_interrupt_asks_and_the_second_raises(capsys):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), R.interruptible() as interrupt:
        assert not interrupt.requested
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert "press Ctrl-C again" in capsys.readouterr().err


def test_interruptible_does_nothing_outside_the_main_thread():
    seen = []

    def work():
        with R.interruptible() as interrupt:
            seen.append(interrupt.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


# --- manifests --------------------


def test_a_manifest_says_how_to_make_the_result_again():
    started = time.time() - 5
    made = R.manifest("rlhf-lab sft", SFTConfig(seed=4), [4], started)
    assert json.loads(json.dumps(made)) == made
    assert made["config"]["SFTConfig"]["seed"] == 4 and made["seeds"] == [4]
    assert made["versions"]["torch"] == torch.__version__
    assert 5 <= made["wall_seconds"] < 60 and made["process_seconds"] > 0
    assert made["peak_memory_bytes"] > 50e6
    assert len(made["code_sha256"]) == 64


def test_the_code_hash_follows_the_code(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "sub" / "b.py").write_text("2")
    monkeypatch.setattr(R, "__file__", str(tmp_path / "runtime.py"))

    def digest():
        R.code_hash.cache_clear()
        return R.code_hash()

    try:
        first = digest()
        (tmp_path / "notes.txt").write_text("not code")
        assert digest() == first
        (tmp_path / "sub" / "b.py").write_text("3")
        second = digest()
        (tmp_path / "sub" / "b.py").rename(tmp_path / "sub" / "c.py")
        assert len({first, second, digest()}) == 3
    finally:
        monkeypatch.undo()
        R.code_hash.cache_clear()


def test_the_environment_names_what_doctor_prints():
    found = R.environment()
    assert found["cores"] == os.cpu_count() and found["free_disk_bytes"] > 0
    assert found["versions"]["python"] == found["python"]
