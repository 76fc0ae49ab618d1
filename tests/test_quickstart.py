"""The whole chain with tiny settings: the table, the page, and what a second run leaves alone."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import signal
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from small_chain import small_chain

from rlhf_lab import pipeline, quickstart
from rlhf_lab.config import ChainConfig
from rlhf_lab.errors import CheckpointError
from rlhf_lab.evaluate import Neural, held_out_loss
from rlhf_lab.models import load_policy
from rlhf_lab.quickstart import COLUMNS, SYSTEMS, Tax, as_text, run_quickstart
from rlhf_lab.report import write_report
from rlhf_lab.tracking import read_metrics
from rlhf_lab.world.prompts import USE_CASES


@pytest.fixture(scope="module")
def config(fernwick_model) -> ChainConfig:
    """Every stage once, on a random model."""
    return small_chain(fernwick_model, evaluation_prompts=12, steps=5, checkpoint_every=2)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    return folder, run_quickstart(config, folder, quiet=True)


def test_the_table_has_every_system_and_number(finished):
    folder, result = finished
    assert [row["system"] for row in result["table"]] == list(SYSTEMS)
    for row in result["table"]:
        assert set(COLUMNS) <= set(row)
        assert row["gold_low"] <= row["gold"] <= row["gold_high"]
        assert 0 <= row["replies"] <= 1
    rows = {row["system"]: row for row in result["table"]}
    assert rows["SFT"]["kl"] == pytest.approx(0, abs=1e-9)
    assert rows["PPO-ptx"]["kl"] > 1e-3
    assert rows["prompted base"]["kl"] is None
    # The prompt changes what is written, not what the weights have learnt.
    assert rows["prompted base"]["held_out_loss"] == rows["base"]["held_out_loss"]
    assert json.loads((folder / "quickstart.json").read_text()) == result["table"]
    text = as_text(result)
    assert all(name in text for name in SYSTEMS)


def test_gamma_is_what_the_runs_differ_in(finished, config):
    folder, _ = finished
    settings = [
        json.loads((folder / name / "config.json").read_text()) for name in quickstart.RUNS.values()
    ]
    assert [s.pop("gamma") for s in settings] == [0.0, config.ppo.gamma]
    assert settings[0] == settings[1]


def test_the_tax_is_measured_while_it_is_paid(finished, config):
    folder, _ = finished
    for run in quickstart.RUNS.values():
        rows = json.loads((folder / f"{run}-tax.json").read_text())
        assert [row["step"] for row in rows] == [0, 5]
        assert all(math.isfinite(row["held_out_loss"]) for row in rows)


def test_tax_forgets_the_rows_of_an_abandoned_run(finished, config, tmp_path):
    folder, _ = finished
    chain = pipeline.Chain(config, folder, quiet=True)
    path = tmp_path / "run-tax.json"
    path.write_text(
        json.dumps([{"step": 0, "held_out_loss": 9.0}, {"step": 10, "held_out_loss": 8}])
    )
    tax = Tax(tmp_path, "run", chain)
    tax(4, chain.base)
    assert [row["step"] for row in tax.rows] == [0, 10]
    tax(5, chain.base)
    expected = held_out_loss(
        Neural(chain.base, chain.tokenizer), chain.world, count=quickstart.TAX_DOCUMENTS,
        split="valid",
    )  # fmt: skip
    assert tax.rows[1:] == [{"step": 5, "held_out_loss": expected["nats_per_token"].iloc[0]}]
    assert json.loads(path.read_text()) == tax.rows


def test_two_processes_do_what_one_does(finished, config, tmp_path):
    """Both with one thread: the second process has no more, and sums depend on their number."""
    folder, first = finished
    shutil.copytree(folder / "sft", tmp_path / "sft")
    shutil.copytree(folder / "rm", tmp_path / "rm")
    again = run_quickstart(config, tmp_path, quiet=True, processes=2)
    assert again["table"] == first["table"]
    assert again["samples"] == first["samples"]


def test_what_fails_in_the_second_process_fails_with_its_own_error(finished, config, tmp_path):
    folder, _ = finished
    shutil.copytree(folder, tmp_path / "run")
    last = max((tmp_path / "run/ppo-gamma-0").glob("step-*"))
    (last / "tensors.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="SHA-256"):
        run_quickstart(config, tmp_path / "run", quiet=True, processes=2)


def test_the_reward_model_is_measured_on_every_use_case(finished, config):
    folder, _ = finished
    table = pipeline.Chain(config, folder, quiet=True).reward_accuracy(per_kind=2)
    assert {*table.kind} == {*USE_CASES, "all"}
    assert table.ceiling.between(0.5, 1).all()  # by gold, not by chance
    assert table.of_ceiling.to_list() == pytest.approx((table.accuracy / table.ceiling).to_list())


def test_a_second_run_trains_and_measures_nothing(finished, config, monkeypatch):
    folder, first = finished

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("was done already")

    monkeypatch.setattr(pipeline, "train_sft", refuse)
    monkeypatch.setattr(pipeline, "train_reward_model", refuse)
    monkeypatch.setattr(pipeline, "sample_rankings", refuse)
    monkeypatch.setattr(pipeline.PPOTrainer, "iterate", refuse)
    monkeypatch.setattr(quickstart, "measure", refuse)
    again = run_quickstart(config, folder, quiet=True)
    assert again["table"] == first["table"]
    assert again["samples"] == first["samples"]


def test_a_stage_that_was_cut_off_is_finished(finished, config, tmp_path):
    """The folder as a run leaves it that was killed in PPO: the rest gives the same result."""
    folder, first = finished
    copied = tmp_path / "run"
    shutil.copytree(folder, copied)
    last = max((copied / "ppo-ptx").glob("step-*"))
    shutil.rmtree(last)
    shutil.rmtree(copied / "evaluation")
    again = run_quickstart(config, copied, quiet=True)
    assert again["table"] == first["table"]
    assert len(read_metrics(copied / "ppo-ptx/metrics.jsonl")) == config.ppo.steps


def test_ctrl_c_in_a_stage_leaves_no_finished_model(config, tmp_path):
    def press(stage: str, step: int, metrics: dict) -> None:
        if stage == "sft":
            os.kill(os.getpid(), signal.SIGINT)

    chain = pipeline.Chain(config, tmp_path, quiet=True, callback=press)
    with pytest.raises(KeyboardInterrupt):
        _ = chain.sft
    assert not (tmp_path / "sft/final").exists()
    resumed = pipeline.Chain(config, tmp_path, quiet=True).sft
    whole = pipeline.Chain(config, tmp_path / "whole", quiet=True).sft
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)


def test_another_configuration_is_refused(finished, config):
    folder, _ = finished
    other = dataclasses.replace(config, demonstrations=9)
    with pytest.raises(CheckpointError, match="demonstrations"):
        run_quickstart(other, folder, quiet=True)


# --- the page -----------------------------------------------------------------------------------


class Page(HTMLParser):
    """Tags and what they point to; open tags must be closed in order."""

    VOID = frozenset(("meta", "link", "br", "hr", "img", "input"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_asks_nobody_for_anything(finished):
    folder, _ = finished
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert "script" not in page.tags and "img" not in page.tags and "iframe" not in page.tags
    pointing = [v for n, v in page.attributes if n in ("src", "href", "action", "srcset", "data")]
    assert all(value.startswith(("data:", "#")) for value in pointing)
    policy = [v for n, v in page.attributes if n == "content" and "default-src" in v]
    assert policy and "default-src 'none'" in policy[0]
    assert "url(" not in (folder / "report.html").read_text(encoding="utf-8").replace("url(#", "")


def test_the_page_shows_curves_tables_and_answers(finished):
    folder, result = finished
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    text = " ".join(page.text)
    assert page.tags.count("svg") == 3 == page.tags.count("figure")
    assert page.tags.count("details") == 3  # the data of each figure as a table
    for words in ("RM score", "exact KL to SFT", "alignment tax", "The five systems"):
        assert words in text
    labels = [v for n, v in page.attributes if n == "aria-label"]
    assert sum("From first to last" in label for label in labels) == 3
    for sample in result["samples"]:
        assert sample["prompt"] in text
    assert "@media (prefers-color-scheme: dark)" in (folder / "report.html").read_text()


def test_what_a_model_wrote_cannot_become_markup(finished, tmp_path):
    _, result = finished
    evil = '<script>alert("x")</script><img src=x onerror=y> & "quotes"'
    samples = [
        {
            "kind": "<b>", "prompt": evil, "gold": dict.fromkeys(SYSTEMS, 0.0),
            "answers": dict.fromkeys(SYSTEMS, evil),
        }
    ]  # fmt: skip
    histories = {"PPO-ptx": [{"step": 1, "objective/scores": 0.5, "objective/kl": 0.0}]}
    manifest = {
        "command": evil, "versions": {"python": "3"}, "seeds": [0], "device": "cpu",
        "wall_seconds": 1.0, "code_sha256": "0" * 64,
    }  # fmt: skip
    path = write_report(
        tmp_path / "report.html", result["table"], COLUMNS, histories, samples, manifest
    )
    page = Page(Path(path).read_text(encoding="utf-8"))
    assert page.open == []
    assert "script" not in page.tags and "img" not in page.tags
    assert sum(evil in piece for piece in page.text) == len(SYSTEMS) + 2  # prompt and command too


def test_a_shipped_style_chain_uses_the_saved_models(finished, config):
    """What the table measured is what lies in the folder."""
    folder, result = finished
    chain = pipeline.Chain(config, folder, quiet=True)
    model, tokenizer = load_policy(folder / "sft/final")
    loss = held_out_loss(Neural(model, tokenizer), chain.world)["nats_per_token"].iloc[0]
    assert result["table"][2]["held_out_loss"] == pytest.approx(loss, rel=1e-5)
