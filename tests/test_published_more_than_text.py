"""What the chapter *More than text* prints: recomputed small, and whole as it is published."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from benchmarks import more_than_text as study
from rlhf_lab.lineage import scenes
from rlhf_lab.lineage.multimodal import Training
from rlhf_lab.lineage.scenes import Scene, Thing

SMALL = study.Measured(
    training=Training(width=16, layers=1, heads=2, steps=2, batch_size=8),
    watched=(1, 2), validation=3, tests=4, written=3, kept=2, early=1,
)  # fmt: skip


@pytest.mark.parametrize("system", [study.BLIND, study.PARTS])
def test_a_system_is_trained_and_measured(system):
    found = study.measured(0, system, SMALL)
    learning, answers = pd.DataFrame(found["learning"]), pd.DataFrame(found["answers"])
    assert learning.groupby("step").size().to_dict() == {1: 6, 2: 6}
    assert (answers["count"] == 4).all() and (answers.right <= 4).all()
    pictures = {"none"} if system == study.BLIND else {study.OWN, study.OTHER}
    assert set(answers.picture) == pictures
    tasks = {row["task"] for row in found["writing"]}
    assert ("draw" in tasks) == (system == study.PARTS) == bool(found["codebooks"])
    assert {row["step"] for row in found["said"]} == {1, 2}
    assert study.measured(0, system, SMALL) == found


def test_what_is_written_is_compared_thing_by_thing():
    new = Thing("box", "blue", "north")
    wanted = [Scene((Thing("key", "blue", "west"), new))] * 3
    other = Thing("key", "blue", "west")
    read = [frozenset([other, new]), frozenset([other, Thing("box", "red", "north")]), None]
    row = study.compared(read, wanted, study.NEW)
    assert (row["right"], row["pair"], row["kind"], row["colour"]) == (1, 1, 2, 1)
    row = study.compared(read, wanted, study.SEEN)
    assert (row["pair"], row["kind"], row["colour"]) == (2, 2, 2)


def test_drawings_survive_as_text():
    pixels = scenes.picture(scenes.scene("test", 0), noise=0.0)
    assert np.abs(study.from_text(study.as_text(pixels)) - pixels).max() <= 1 / 255


def test_the_published_tables_are_whole():
    settings = study.Measured()
    read = {name: pd.read_csv(study.FOLDER / f"{name}.csv") for name in study.TABLES}
    planned = set(itertools.product(study.SEEDS, study.SYSTEMS))
    for name in ("learning", "answers", "writing"):
        assert set(zip(read[name].seed, read[name].system, strict=True)) == planned
    assert (read["answers"]["count"] == settings.tests).all()
    sizes = read["answers"].groupby(["seed", "system", "picture"]).set.apply(sorted)
    assert all(own == sorted(scenes.SETS) for own in sizes)
    assert sorted(read["learning"].step.unique()) == list(settings.watched)
    for row in read["drawings"].itertuples():
        things = scenes.read_picture(study.from_text(row.pixels))
        assert (things == scenes.read_caption(row.caption)) == row.right
