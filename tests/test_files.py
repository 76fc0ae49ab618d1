"""Files are whole or not there; a folder that cannot be written is one line with a fix."""

from __future__ import annotations

import errno
import os

import pytest
import torch
from safetensors import SafetensorError

from rlhf_lab import checkpoints
from rlhf_lab.checkpoints import save_checkpoint
from rlhf_lab.config import SFTConfig
from rlhf_lab.errors import InputError
from rlhf_lab.files import atomic_write
from rlhf_lab.tracking import Tracker

TENSORS = {"a": torch.ones(2)}


def full_disk(monkeypatch, code):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)


def test_atomic_write_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = atomic_write(tmp_path / "new" / "a.txt", "old ä")
    full_disk(monkeypatch, errno.ENOSPC)
    with pytest.raises(InputError):
        atomic_write(path, b"new")
    assert path.read_text(encoding="utf-8") == "old ä"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("code", "fix"),
    [(errno.ENOSPC, "free disk space"), (errno.EROFS, "read-only"), (errno.EACCES, "may write")],
)
def test_a_disk_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch, code, fix):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        full_disk(patch, code)
        with pytest.raises(InputError, match=fix) as error:
            save_checkpoint(folder, 1, TENSORS, {})
        with pytest.raises(InputError, match=fix):
            atomic_write(folder / "x.json", "{}")
    assert str(folder) in str(error.value)
    assert list(folder.iterdir()) == []


def test_a_full_disk_seen_by_the_safetensors_writer_is_an_input_error(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoints, "save_file", fail)
    with pytest.raises(InputError, match="free disk space"):
        save_checkpoint(tmp_path, 1, TENSORS, {})
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    for folder in (tmp_path / "run", tmp_path / "run" / "below"):
        with pytest.raises(InputError, match="a file has that name"):
            save_checkpoint(folder, 1, TENSORS, {})
    with pytest.raises(InputError, match="output_dir"):
        Tracker(tmp_path / "run", SFTConfig())
