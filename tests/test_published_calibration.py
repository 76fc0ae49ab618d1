"""What the chapter on GPT-4 prints of calibration."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks import behaviour, calibration, sweep
from rlhf_lab.models import load_policy
from rlhf_lab.world import World


def errors() -> pd.DataFrame:
    return pd.read_csv(calibration.FOLDER / "errors.csv")


def test_the_policies_are_those_of_the_published_sweep():
    """The same questions are answered equally well: 100 story endings, four policies, each seed."""
    runs = pd.read_csv(sweep.FOLDER / "runs.csv")
    found = errors()
    own = found[found.asked == "story ending/0"].set_index(["system", "seed"]).swept
    usual = runs[(runs.beta == behaviour.PPO.beta) | runs.beta.isna()]
    for system, policy, gamma in [
        ("base", "base", None), ("SFT", "sft", None),
        *((name, "ppo", gamma) for name, gamma in behaviour.GAMMAS.items()),
    ]:  # fmt: skip
        part = usual[usual.policy == policy]
        part = part if gamma is None else part[part.gamma == gamma]
        swept = part.set_index("seed")["suite/story ending/0"]
        for seed in calibration.SEEDS:
            assert own[system, seed] == pytest.approx(swept[seed], abs=1e-6)


def test_each_error_is_the_one_of_its_table():
    """The weighted mean of the printed gaps, in other words than the package's."""
    bins = pd.read_csv(calibration.FOLDER / "reliability.csv")
    found = errors().set_index(["seed", "system", "asked"])
    for key, part in bins.groupby(["seed", "system", "asked"]):
        weights = part["count"] / part["count"].sum()
        gap = (weights * (part.share - part.confidence).abs()).sum()
        assert gap == pytest.approx(found.ece[key], abs=1e-4)
        assert ((part.confidence * 10).astype(int).clip(upper=9) == part["bin"]).all()


def test_one_policy_on_tiny_settings():
    model, tokenizer = load_policy("nano")
    config = calibration.Config(suites=("story ending/0",), questions=6, documents=2)
    row, tokens = calibration.measure(World(0), model, tokenizer, config)
    assert row["count"] == 6 and sum(line["count"] for line in row["reliability"]) == 24
    assert tokens["asked"] == calibration.TOKENS and 0 <= tokens["ece"] <= 1
