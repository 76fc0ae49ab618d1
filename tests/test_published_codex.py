"""What the chapter on Codex prints: recomputed small, and whole as it is published."""

from __future__ import annotations

import dataclasses
import itertools

import pandas as pd
import pytest

from benchmarks import codex as published
from rlhf_lab.config import PretrainConfig
from rlhf_lab.lineage import micro_programs
from rlhf_lab.models import load_policy

SMALL = published.Measured(
    demonstrations=32,
    tasks=3,
    kept=2,
    samples=5,
    temperatures=(0.5, 1.5),
    pretraining=PretrainConfig(preset="nano", steps=2, batch_size=2, block_length=64),
    documents=60,
    suites=("sums/4", "web, sums/0"),
    questions=3,
)


def test_samples_are_counted_by_their_tests():
    found = published.programs(0, SMALL)
    counts, samples = pd.DataFrame(found["counts"]), pd.DataFrame(found["samples"])
    assert len(counts) == 3 * 2
    assert set(samples.task) == {SMALL.kept}
    task = micro_programs.tasks("test", 3)[SMALL.kept]
    for temperature, own in samples.groupby("temperature"):
        row = counts[(counts.task == SMALL.kept) & (counts.temperature == temperature)].iloc[0]
        texts = own.program.repeat(own["count"])
        assert len(texts) == row.samples == SMALL.samples
        passed = [
            (program := micro_programs.parse(text)) is not None
            and all(tuple(micro_programs.run_program([*program], [*a])) == b for a, b in task.tests)
            for text in texts
        ]
        assert row.right == sum(passed)
        assert row.broken == sum(micro_programs.parse(text) is None for text in texts)
    assert "samples" in published.programs(1, dataclasses.replace(SMALL, tasks=1))
    assert not published.programs(1, dataclasses.replace(SMALL, tasks=1))["samples"]


@pytest.mark.parametrize("arm", published.ARMS)
def test_arms_differ_in_what_they_read_and_in_nothing_else(arm, monkeypatch):
    read = {}

    def spy(blocks, preset, config, **rest):
        read["tokens"], read["config"] = blocks, config
        return published_pretrain(blocks, preset, config, **rest)

    published_pretrain = published.pretrain
    monkeypatch.setattr(published, "pretrain", spy)
    rows = pd.DataFrame(published.mixture(arm, 1, SMALL)["reasoning"])
    tokenizer = load_policy("tiny")[1]
    text = "".join(tokenizer.batch_decode(read["tokens"]))
    assert read["tokens"].shape == (4, 64)
    assert read["config"] == dataclasses.replace(SMALL.pretraining, seed=1)
    assert ("] -> [" in text) <= (arm != published.WITHOUT)
    assert set(rows[rows.main].suite) == set(SMALL.suites)
    # As much as the loss of guessing among 1,280 tokens, after two steps.
    assert 6.5 < rows[rows.suite == "web, sums/0"].value.item() < 7.5


def test_every_run_of_the_plan_is_published_once():
    settings = published.Measured()
    counts = pd.read_csv(published.FOLDER / "counts.csv")
    planned = itertools.product(published.SEEDS, range(settings.tasks), settings.temperatures)
    rows = counts[["seed", "task", "temperature"]].itertuples(index=False, name=None)
    assert sorted(rows) == sorted(planned)
    assert (counts.samples == settings.samples).all()
    assert (counts.both <= counts[["right", "fit"]].min(axis=1)).all()
    assert (counts[["right", "fit"]].max(axis=1) <= counts.samples - counts.broken).all()
    reasoning = pd.read_csv(published.FOLDER / "reasoning.csv")
    main = reasoning[reasoning.main]
    planned = itertools.product(published.SEEDS, published.ARMS, settings.suites)
    rows = main[["seed", "arm", "suite"]].itertuples(index=False, name=None)
    assert sorted(rows) == sorted(planned)
