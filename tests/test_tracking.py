"""Trackers, the rows that they keep, and the progress bar."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from rlhf_lab.config import SFTConfig
from rlhf_lab.errors import InputError
from rlhf_lab.tracking import Progress, Tracker


def test_metrics_are_rows_of_json_and_resume_drops_what_came_after(tmp_path):
    tracker = Tracker(tmp_path, SFTConfig())
    for step in (1, 2, 3):
        tracker.log(step, {"loss": torch.tensor(0.5), "n": np.int64(step), "bad": float("nan")})
    with open(tmp_path / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 4, "lo')  # killed in the middle of a line
    again = Tracker(tmp_path, SFTConfig(), resume_step=2)
    assert [row["step"] for row in again.history] == [1, 2]
    again.log(3, {"loss": 0.25})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == again.history
    assert rows[0] == {"step": 1, "loss": 0.5, "n": 1, "bad": None}
    assert rows[-1] == {"step": 3, "loss": 0.25}
    assert json.loads((tmp_path / "config.json").read_text()) == dataclasses.asdict(SFTConfig())
    assert Tracker(tmp_path, SFTConfig()).history == []
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_without_a_folder_or_off_the_main_process_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for tracker in (Tracker(None, SFTConfig()), Tracker("out", SFTConfig(), enabled=False)):
        tracker.log(1, {"loss": 1.0})
        assert tracker.history == [{"step": 1, "loss": 1.0}]
    assert list(tmp_path.iterdir()) == []


def test_trackers_that_cannot_be_had_are_refused(tmp_path, monkeypatch):
    import accelerate.tracking

    with pytest.raises(InputError, match="tensorboard.*wandb"):
        Tracker(tmp_path, SFTConfig(), ["sacred"])
    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", lambda: [])
    with pytest.raises(InputError, match="pip install wandb"):
        Tracker(tmp_path, SFTConfig(), ["wandb"])


def test_a_tracker_of_accelerate_receives_the_numbers(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = Tracker(tmp_path, SFTConfig(), ["tensorboard"])
    tracker.log(7, {"loss": 0.5, "note": "text is for the JSON lines only"})
    tracker.close()
    events = EventAccumulator(str(tmp_path / "rlhf_lab")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(7, 0.5)]


def test_progress_is_silent_unless_on_a_terminal(capfd):
    with Progress(2, "PPO") as progress:
        progress.update(kl=1.0, note="x")
    out, err = capfd.readouterr()
    assert out == err == ""


def test_progress_shows_its_fields_on_a_terminal(monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress(2, "PPO") as progress:
        progress.update(kl=1.23456, tax="none")
    shown = capfd.readouterr().err
    assert "PPO" in shown and "kl 1.23" in shown and "tax none" in shown
