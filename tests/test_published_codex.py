"""What the chapter on Codex prints: recomputed small, and whole as it is published."""

from __future__ import annotations

import dataclasses
import itertools

import pandas as pd
import pytest

from benchmarks import code_in_web, codex, human_eval
from rlhf_lab.config import PretrainConfig
from rlhf_lab.lineage import micro_programs
from rlhf_lab.lineage.human_eval import Problem
from rlhf_lab.models import load_policy

SMALL = codex.Measured(demonstrations=32, tasks=3, samples=5, temperatures=(0.5, 1.5))
SMALL_WEB = code_in_web.Measured(
    pretraining=PretrainConfig(preset="nano", steps=2, batch_size=2, block_length=64),
    documents=20,
    suites=("sums/4", "web, sums/0"),
    questions=3,
)


def test_samples_are_counted_by_their_tests():
    found = codex.programs(0, SMALL)
    counts, samples = pd.DataFrame(found["counts"]), pd.DataFrame(found["samples"])
    assert len(counts) == 3 * 2
    assert set(samples.task) == {SMALL.kept}
    task = micro_programs.tasks("test", 3)[SMALL.kept]
    for temperature, own in samples.groupby("temperature"):
        row = counts[(counts.task == SMALL.kept) & (counts.temperature == temperature)].iloc[0]
        texts = own.program.repeat(own["count"])
        assert len(texts) == row.samples == SMALL.samples
        programs = [micro_programs.parse(text) for text in texts]
        passed = [
            program is not None
            and all(tuple(micro_programs.run_program([*program], [*a])) == b for a, b in task.tests)
            for program in programs
        ]
        assert row.right == sum(passed)
        assert row.broken == sum(program is None for program in programs)
    assert not codex.programs(1, dataclasses.replace(SMALL, tasks=2))["samples"]


@pytest.mark.parametrize("arm", code_in_web.ARMS)
def test_arms_differ_in_what_they_read_and_in_nothing_else(arm, monkeypatch):
    read = {}
    train = code_in_web.pretrain

    def spy(blocks, preset, config, **rest):
        read["tokens"], read["config"] = blocks, config
        return train(blocks, preset, config, **rest)

    monkeypatch.setattr(code_in_web, "pretrain", spy)
    rows = pd.DataFrame(code_in_web.trained(arm, 1, SMALL_WEB))
    text = "".join(load_policy("tiny")[1].batch_decode(read["tokens"]))
    assert read["tokens"].shape == (4, 64)
    assert read["config"] == dataclasses.replace(SMALL_WEB.pretraining, seed=1)
    assert ("] -> [" in text) <= (arm == code_in_web.WITH)
    assert "old:" not in text
    assert "verdict" not in text
    assert set(rows[rows.main].suite) == set(SMALL_WEB.suites)
    # The loss of guessing among 1,280 tokens is 7.15; two steps change little.
    assert 6.5 < rows[rows.suite == "web, sums/0"].value.item() < 7.5


def test_every_run_of_the_plan_is_published_once():
    settings = codex.Measured()
    counts = pd.read_csv(codex.FOLDER / "counts.csv")
    planned = itertools.product(codex.SEEDS, range(settings.tasks), settings.temperatures)
    rows = counts[["seed", "task", "temperature"]].itertuples(index=False, name=None)
    assert sorted(rows) == sorted(planned)
    assert (counts.samples == settings.samples).all()
    assert (counts.both <= counts[["right", "fit"]].min(axis=1)).all()
    assert (counts[["right", "fit"]].max(axis=1) <= counts.samples - counts.broken).all()


def test_every_model_of_the_plan_is_published_once():
    table = pd.read_csv(code_in_web.FOLDER / "answers.csv")
    main = table[table.main]
    suites = code_in_web.Measured().suites
    planned = itertools.product(code_in_web.SEEDS, code_in_web.ARMS, suites)
    rows = main[["seed", "arm", "suite"]].itertuples(index=False, name=None)
    assert sorted(rows) == sorted(planned)


def test_both_completions_of_a_problem_get_the_sandbox_s_verdict():
    checks = "def check(candidate):\n    assert candidate(3) == 6"
    right = Problem("a", "def twice(x):\n", "twice", "    return 2 * x\n", checks)
    wrong = Problem("b", "def twice(x):\n", "twice", "    while True: x += 1\n", checks)
    found = human_eval.verdicts([right, wrong], human_eval.Measured(seconds=1))
    assert found.to_dict("records") == [
        {"task_id": "a", "reference": "passed", "nothing": "wrong"},
        {"task_id": "b", "reference": "time", "nothing": "wrong"},
    ]


def test_every_reference_solution_of_human_eval_passed_and_nothing_did_not():
    """As published; ``tests/lineage/test_pass_at_k.py`` runs them where the file is at hand."""
    table = pd.read_csv(human_eval.FOLDER / "verdicts.csv")
    assert list(table.task_id) == [f"HumanEval/{i}" for i in range(164)]
    assert (table.reference == "passed").all()
    assert set(table.nothing) <= {"wrong", "error"}
