"""The tables that the book prints of the quickstart, from gold scores that are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import quickstart as published

GAINS = {0: 0.5, 1: 0.75, 2: 0.25}  # of each step up, by seed


def scores(seed: int) -> dict[str, np.ndarray]:
    """Every system gains the same on the one before, on half of the prompts nothing."""
    start = np.random.default_rng(seed).normal(size=64)
    gain = np.where(np.arange(64) % 2, 2 * GAINS[seed], 0.0)
    order = enumerate((*published.ORDER, "PPO, γ = 0"))
    return {name: start + number * gain for number, name in order}


def test_gaps_are_paired_by_prompt_and_their_mean_has_students_interval(monkeypatch):
    monkeypatch.setattr(published, "_golds", scores)
    table = published.gaps({seed: seed for seed in GAINS})
    assert list(zip(table.worse[::4], table.better[::4], strict=True)) == [
        ("base", "prompted base"), ("prompted base", "SFT"), ("SFT", "PPO-ptx"),
    ]  # fmt: skip
    for seed, gain in GAINS.items():
        own = table[table.seed == seed]
        assert own.gain.to_numpy() == pytest.approx([gain] * 3, abs=1e-12)
        # Half of 64 prompts gain 2g, the others nothing: the mean's deviation is g / 8.
        assert (own.gain - own.low).to_numpy() == pytest.approx([1.96 * gain / 8] * 3, rel=0.15)
        assert (own.high - own.gain).to_numpy() == pytest.approx([1.96 * gain / 8] * 3, rel=0.15)
    over_seeds = table[table.seed == "all"]
    assert over_seeds.gain.to_numpy() == pytest.approx([0.5] * 3, abs=1e-12)
    half = 4.302652729911275 * 0.25 / 3**0.5  # t with 2 degrees of freedom
    assert (over_seeds.gain - over_seeds.low).to_numpy() == pytest.approx([half] * 3, rel=1e-9)
