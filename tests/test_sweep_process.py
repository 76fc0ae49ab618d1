"""A point trained from a notebook: in a process of its own, stopped and continued, as published."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_chain import small_chain

from rlhf_lab import sweep_process
from rlhf_lab.config import ChainConfig, SweepConfig
from rlhf_lab.errors import InputError
from rlhf_lab.sweep import sweep
from rlhf_lab.sweep_process import Stage, SweepProcess, published_config
from rlhf_lab.widgets.sweep_data import fitted, read_sweep

SIZE = {"questions": 2, "documents": 4, "samples": 2}


@pytest.fixture(scope="module")
def config(fernwick_model: Path) -> ChainConfig:
    return small_chain(fernwick_model, evaluation_prompts=6, steps=4, checkpoint_every=1)


@pytest.fixture(scope="module")
def published(config: ChainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "sweep"
    sweep(config, (0.0, 0.5), (1.0,), (0,), folder, processes=0, quiet=True, **SIZE)
    return folder


@pytest.fixture
def widget(published: Path, tmp_path: Path) -> Any:
    pytest.importorskip("anywidget", reason="needs the extra [labs]")
    from rlhf_lab.widgets.live import BetaGammaExplorer

    return BetaGammaExplorer(published, work=tmp_path / "work")


def ask(widget: Any, action: str, beta: Any = 0.0, gamma: Any = 0.0) -> None:
    """What the page's buttons do."""
    number = widget.request["number"] + 1
    widget.request = {"number": number, "action": action, "beta": beta, "gamma": gamma}


def test_the_configuration_of_a_published_sweep(config: ChainConfig, published: Path) -> None:
    found = published_config(published)
    assert found.chain == dataclasses.replace(config)
    assert (found.betas, found.gammas, found.seeds) == ((0.0, 0.5), (1.0,), (0,))
    with pytest.raises(InputError, match="manifest"):
        published_config(published.parent)


def test_a_point_is_what_the_sweep_would_have_made(
    widget: Any, config: ChainConfig, published: Path, tmp_path: Path
) -> None:
    """Stopped at once and trained again: the same numbers and answers, to the last digit."""
    ask(widget, "train", 0.1, 0.5)
    first = widget._process
    assert widget.progress["status"] == "running"
    ask(widget, "train", 0.2, 0.5)  # a second wish changes nothing
    assert widget._process is first
    ask(widget, "cancel")
    assert not first.is_running
    assert widget.progress["status"] == "cancelled"
    widget.wait()
    assert widget.trained == []
    ask(widget, "train", 0.1, 0.5)
    widget.wait()
    assert widget.progress["status"] == "done", widget.progress
    sweep(config, (0.1,), (0.5,), (0,), tmp_path / "same", processes=0, quiet=True, **SIZE)
    expected = fitted(read_sweep(tmp_path / "same"), read_sweep(published))
    assert widget.trained == expected
    assert (widget.beta, widget.gamma) == (0.1, 0.5)
    with pytest.raises(InputError) as caught:
        widget.beta = 0.07
    assert caught.value.argument == "beta"


@pytest.mark.parametrize("weights", [(-0.1, 1.0), (None, 1.0), (float("inf"), 0.0)])
def test_bad_weights_are_refused_in_words(widget: Any, weights: Any) -> None:
    ask(widget, "train", *weights)
    assert widget.progress["status"] == "failed"
    assert widget.progress["message"]
    assert widget._process is None


def test_a_failure_is_told(widget: Any, published: Path, tmp_path: Path) -> None:
    from rlhf_lab.widgets.live import BetaGammaExplorer

    folder = tmp_path / "elsewhere"
    shutil.copytree(published, folder, ignore=shutil.ignore_patterns("work"))
    about = json.loads((folder / "manifest.json").read_text())
    about["config"]["SweepConfig"]["chain"]["model"] = str(tmp_path / "absent")
    (folder / "manifest.json").write_text(json.dumps(about))
    broken = BetaGammaExplorer(folder, work=tmp_path / "broken")
    broken.train(0.1, 0.5)
    broken.wait()
    assert broken.progress["status"] == "failed"
    assert "absent" in broken.progress["message"]


def test_stages_are_read_from_the_logs(
    config: ChainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(
        sweep_process.subprocess, "Popen", lambda command, **_: started.append(command)
    )

    def log(folder: str, rows: int) -> None:
        path = tmp_path / "work" / folder / "metrics.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"step": 1}\n' * rows)

    log("chain-seed-0-a/sft", 6)  # of an earlier point
    process = SweepProcess(SweepConfig(betas=(0.1,), gammas=(1.0,), chain=config), tmp_path)
    assert process.stage() == Stage("start")
    log("chain-seed-0-a/rm", 2)
    assert process.stage() == Stage("rm", 2)
    log("ppo-beta-0.1-gamma-1-seed-0-b", 3)
    assert process.stage() == Stage("ppo", 3, 4)
    log("ppo-beta-0.1-gamma-1-seed-0-b", 4)
    assert process.stage() == Stage("evaluation")
    settings = json.loads((tmp_path / "sweep.yaml").read_text())
    assert settings["betas"] == [0.1]
    assert started[0][started[0].index("--model") + 1] == config.model
