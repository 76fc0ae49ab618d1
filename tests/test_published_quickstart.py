"""What the book prints of the quickstart, from numbers and models that are known."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import quickstart as published
from rlhf_lab.models import load_policy
from rlhf_lab.widgets import model_answers

SYSTEMS = ("base", "prompted base", "SFT", "PPO, γ = 0", "PPO-ptx")
GAINS = {0: 0.5, 1: 0.75, 2: 0.25}  # of each system on the one before, by seed
STUDENT = 4.302652729911275  # 97.5 % quantile with 2 degrees of freedom


def scores(seed: int) -> dict[str, np.ndarray]:
    """Every system gains the same on the one before: on half of the prompts twice as much."""
    start = np.random.default_rng(seed).normal(size=64)
    gain = np.where(np.arange(64) % 2, 2 * GAINS[seed], 0.0)
    return {name: start + number * gain for number, name in enumerate(SYSTEMS)}


@pytest.fixture(scope="module")
def table():
    runs = pd.DataFrame(
        {"seed": seed, "system": name, "held_out_loss": 1 + gain * number,
         "in_context_accuracy": 1 - 0.1 * gain * number, "rm": number, "kl": 0.0, "truthful": 0.5}
        for seed, gain in GAINS.items()
        for number, name in enumerate(SYSTEMS)
    )  # fmt: skip
    return published.differences(runs, {seed: scores(seed) for seed in GAINS})


def rows(table, quantity, of, against):
    own = table[(table.quantity == quantity) & (table.of == of) & (table.against == against)]
    return own.set_index("seed")


def test_gold_is_compared_on_the_same_prompts(table):
    """Half of 64 prompts gain 2g, the others nothing: the deviation of the mean is g / 8."""
    own = rows(table, "gold", "PPO, γ = 0", "SFT")
    for seed, gain in GAINS.items():
        row = own.loc[seed]
        assert row.difference == pytest.approx(gain, abs=1e-12)
        assert row.difference - row.low == pytest.approx(1.96 * gain / 8, rel=0.15)
        assert row.high - row.difference == pytest.approx(1.96 * gain / 8, rel=0.15)
    half = STUDENT * 0.25 / 3**0.5
    found = own.loc["all", ["difference", "low", "high"]].to_list()
    assert found == pytest.approx([0.5, 0.5 - half, 0.5 + half], rel=1e-9)


def test_two_untrained_systems_are_the_same_for_all_seeds(table):
    """Three equal differences say nothing about the next prompts: those of the first seed do."""
    own = rows(table, "gold", "prompted base", "base")
    names = ["difference", "low", "high"]
    assert own.loc["all", names].to_list() == own.loc[0, names].to_list()


def test_losses_and_lists_are_compared_by_seed(table):
    own = rows(table, "held_out_loss", "PPO-ptx", "SFT")
    assert own.loc[[0, 1, 2], "difference"].to_list() == pytest.approx([1.0, 1.5, 0.5], abs=1e-12)
    assert own.loc[[0, 1, 2], "low"].isna().all()
    half = STUDENT * 0.5 / 3**0.5
    found = own.loc["all", ["difference", "low", "high"]].to_list()
    assert found == pytest.approx([1.0, 1 - half, 1 + half], rel=1e-9)
    lists = rows(table, "in_context_accuracy", "PPO, γ = 0", "SFT").loc["all"]
    assert lists.difference == pytest.approx(-0.05, abs=1e-12)
    assert set(table[table.quantity != "gold"].against) == {"base", "SFT", "PPO, γ = 0"}


def test_models_of_the_page_and_what_their_rounding_changes(tmp_path):
    """A policy that is the base is not rounded; one far from it, by more than a near one."""
    _, tokenizer = load_policy("tiny")
    policies = {}
    for system, scale in (("SFT", 0.0), ("PPO, γ = 0", 0.005), ("PPO-ptx", 0.05)):
        policies[system], _ = load_policy("tiny")
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in policies[system].parameters():
                weight += scale * torch.randn(weight.shape, generator=generator)
    folder = tmp_path / "models"
    prompts = ["who is red?\n", "what is 1 + 1?\n"]
    table = published.publish_models(tokenizer, policies, prompts, folder, longest=8)
    table = table.set_index("system")
    data = model_answers.data(folder / model_answers.FILE)
    titles = [model["title"].replace("\u00a0", " ") for model in data["models"]]
    assert titles == ["base", *policies]
    assert [example["prompt"] for example in data["examples"]] == list(published.PAGE_PROMPTS)
    for model, system in zip(data["models"][1:], policies, strict=True):
        content = (folder / model["name"] / "difference.safetensors").read_bytes()
        assert table.bytes[system] == len(content) == model["bytes"]
        assert abs(table.gzip_bytes[system] - len(gzip.compress(content))) < 0.05 * len(content)
    assert table.loc["SFT", ["logit_rms", "logit_max", "answers_changed"]].to_list() == [0, 0, 0]
    assert 0 < table.logit_rms["PPO, γ = 0"] < table.logit_rms["PPO-ptx"]
    assert (table.logit_rms <= table.logit_max).all()
    assert (table.prompts == len(prompts)).all()
