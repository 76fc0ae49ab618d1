"""What the chapter on GPT-4 prints of predicted losses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from benchmarks import predicted_loss
from rlhf_lab.lineage.predictable import LossLaw
from rlhf_lab.models import ASSETS


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(predicted_loss.FOLDER / f"{name}.csv")


def test_the_prediction_is_what_the_finished_runs_give():
    """Made again from the published losses; the smaller ones are those that were shipped."""
    runs = read("runs")
    assert runs.preset.to_list() == [*predicted_loss.TRAINED, predicted_loss.NEXT]
    for row in runs.itertuples():
        assert row.loss == pytest.approx(predicted_loss.final_loss(row.preset), rel=1e-5)
    short = read("short").loss.to_numpy()
    runs.loc[runs.preset == predicted_loss.NEXT, "loss"] = np.nan  # it is not looked at
    again = predicted_loss.predictions(runs, short, predicted_loss.Config().draws)
    pd.testing.assert_frame_equal(again, read("prediction"), rtol=2e-3, check_dtype=False)


def test_the_precision_of_the_target_is_the_one_on_its_card():
    card = (ASSETS / predicted_loss.NEXT / "README.md").read_text(encoding="utf-8")
    assert f"precision={predicted_loss.HALF}" in card
    both, short = read("precision"), read("short")
    assert both.seed.to_list() == short.seed.to_list() == list(predicted_loss.SEEDS)
    assert both.float32.to_list() == pytest.approx(short.loss.to_list(), rel=1e-5)
    assert (both.float32 != both[predicted_loss.HALF]).all()


def test_weights_are_counted_as_by_hand():
    runs = read("runs").set_index("preset")
    width, layers, vocabulary = 128, 4, 1280
    per_layer = 12 * width**2 + 13 * width  # matrices; biases and two norms
    assert runs.in_blocks["tiny"] == layers * per_layer
    assert runs.with_output["tiny"] == layers * per_layer + vocabulary * width


def test_without_noise_the_law_is_met():
    law = LossLaw(a=1e8, b=-0.6, c=0.8)
    runs = read("runs")
    runs["loss"] = [law.loss(c) for c in runs.flops[:3]] + [np.nan]
    same = np.full(5, 2.0)
    found = predicted_loss.predictions(runs, same, draws=3)
    own = found[(found.target == "base") & (found["count"] == predicted_loss.ALL)].iloc[0]
    assert own.low == pytest.approx(own.high) == pytest.approx(law.loss(runs.flops[3]), rel=1e-6)


@pytest.mark.slow
def test_a_short_run_on_tiny_settings():
    config = dataclasses.replace(predicted_loss.Config(), steps=2)
    found = predicted_loss.short_run(config, seed=1)
    assert found["steps"] == 2 and 6 < found["loss"] < 8
