"""Groups of options: spread over a command in their place, and gathered again."""

from __future__ import annotations

import inspect
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from rlhf_lab import cli
from rlhf_lab.cli_options import Settings, Training, grouped
from rlhf_lab.config import PPOConfig


@pytest.fixture
def calls() -> list:
    return []


@pytest.fixture
def app(calls) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @grouped
    def command(
        settings: Settings,
        *,
        own: Annotated[int, typer.Option(help="Its own.")] = 3,
        training: Training,
    ) -> None:
        """What it does."""
        calls.append((settings, own, training))

    return app


def test_a_command_gets_its_groups_back(app, calls):
    arguments = ["a=1", "-o", "b=2", "--own", "4", "--device", "cpu", "--no-resume", "--json"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert CliRunner().invoke(app, []).exit_code == 0
    settings, own, training = calls[0]
    assert (settings.overrides, settings.option, own) == (["a=1"], ["b=2"], 4)
    assert training == Training(device="cpu", resume=False, as_json=True)
    assert training.silent and not Training().silent
    assert not calls[1][0].overrides and calls[1][1:] == (3, Training())


def test_options_are_shown_in_their_place(app):
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "What it does." in shown
    at = [shown.index(name) for name in ("--config", "--own", "--device", "--threads", "--quiet")]
    assert at == sorted(at)


def test_every_stage_takes_the_same_options():
    for command in (cli.pretrain, cli.sft, cli.rm, cli.ppo):
        names = list(inspect.signature(command).parameters)
        assert names[:3] == ["overrides", "option", "config_file"]
        assert names[-7:] == [
            "device", "output_dir", "resume", "tracker", "threads", "as_json", "quiet",
        ]  # fmt: skip


def test_what_is_said_last_wins(tmp_path):
    """A file below named options, those below overrides, those below -o."""
    path = tmp_path / "settings.yaml"
    path.write_text("beta: 0.1\ngamma: 0.1\nclip: 0.1\nseed: 1\n")
    given = Settings(["clip=0.3", "seed=3"], ["seed=4"], path)
    config = given.read(PPOConfig, "gamma=0.2", "clip=0.2", "seed=2")
    assert (config.beta, config.gamma, config.clip, config.seed) == (0.1, 0.2, 0.3, 4)
