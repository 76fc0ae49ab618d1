"""What the chapter on o1 and o3 prints: recomputed small, and whole as it is published."""

from __future__ import annotations

import dataclasses
import itertools

import pandas as pd
import pytest

from benchmarks import reasoning
from rlhf_lab.config import PPOConfig, SFTConfig
from rlhf_lab.lineage import long_sums
from rlhf_lab.lineage.reasoning import GRPOSettings

SMALL = reasoning.Measured(
    demonstrations=16,
    sft=SFTConfig(epochs=1, learning_rate=1e-3, batch_size=16, micro_batch_size=16, max_length=48),
    problems=8,
    ppo=PPOConfig(steps=1, batch_size=8, minibatches=1, beta=0.0, gamma=0.0, ema_decay=0.0),
    grpo=GRPOSettings(steps=1, problems=2, group=4, minibatches=1),
    tests=8,
    samples=3,
    votes=(1, 3),
    cut=1,
)


@pytest.mark.parametrize("system", [reasoning.PPO, reasoning.GRPO])
def test_a_system_is_trained_and_solves_the_tests(system, tmp_path):
    found = reasoning.measured(0, system, SMALL, tmp_path / "sft")
    tables = {name: pd.DataFrame(rows) for name, rows in found.items()}
    assert len(tables["training"]) == 1
    assert tables["training"].reward.between(0, 1).all()
    assert tables["answers"].samples.sum() == 8 * 3
    kinds = [f"right, steps {kind}" for kind in long_sums.DERIVATIONS]
    assert (tables["answers"][kinds].sum(axis=1) == tables["answers"].right).all()
    assert list(tables["forced"].steps) == list(range(4))
    assert tables["samples"]["count"].sum() == 3
    again = reasoning.measured(0, system, SMALL, tmp_path / "sft")
    assert again == found


def test_curves_count_what_the_texts_say():
    """Against solutions that are written here: votes, choices and checks by hand."""
    from rlhf_lab.models import load_policy

    policy, tokenizer = load_policy("nano")
    problems = long_sums.long_sums("test", 2)
    texts = [
        [problems[0].solution, problems[0].bare_answer, "so 99."],
        ["so 98.", "so 98.", problems[1].bare_answer],
    ]
    lengths = [[10, 4, 4], [4, 4, 4]]
    settings = dataclasses.replace(SMALL, votes=(1, 3))
    rows = reasoning.curves(policy, tokenizer, problems, texts, lengths, settings)
    one, three = rows
    assert (
        one["majority"] == one["checked"] == one["likeliest"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    )
    assert one["tokens"] == pytest.approx(5) and three["tokens"] == pytest.approx(15)
    assert three["majority"] == pytest.approx(0.5)  # 2 of 3 votes, 1 of 3
    assert three["checked"] == 1.0
    scores = reasoning.mean_logprobs(policy, tokenizer, problems, texts)
    best = [long_sums.last_number(own[max(range(3), key=lambda i: s[i])])
            for own, s in zip(texts, scores, strict=True)]  # fmt: skip
    right = [number == p.answer for number, p in zip(best, problems, strict=True)]
    assert three["likeliest"] == pytest.approx(sum(right) / 2)
    row = reasoning.counted(problems, texts, lengths)
    assert (row["right"], row["right, steps right"], row["right, steps none"]) == (3, 1, 2)
    assert row["tokens"] == pytest.approx(5) and row["with steps"] == 1


def test_every_run_of_the_plan_is_published_once():
    settings = reasoning.Measured()
    answers = pd.read_csv(reasoning.FOLDER / "answers.csv")
    planned = itertools.product(reasoning.SEEDS, reasoning.SYSTEMS)
    rows = answers[["seed", "system"]].itertuples(index=False, name=None)
    assert sorted(rows) == sorted(planned)
    drawn = answers.groupby(["seed", "system"]).samples.sum()
    assert (drawn == settings.tests * settings.samples).all()
    curves = pd.read_csv(reasoning.FOLDER / "curves.csv")
    assert len(curves) == len(reasoning.SEEDS) * len(reasoning.SYSTEMS) * len(settings.votes)
    # One answer is one answer, by whatever it is chosen.
    one = curves[curves.k == 1].set_index(["seed", "system"])
    share = answers.groupby(["seed", "system"]).right.sum() / drawn
    for how in ("majority", "likeliest", "checked"):
        assert (one[how] - share).abs().max() < 1e-4
    training = pd.read_csv(reasoning.FOLDER / "training.csv")
    steps = training.groupby(["seed", "system"]).step.max()
    assert set(steps.index.get_level_values(1)) == set(reasoning.SYSTEMS) - {reasoning.SFT}
    assert (steps == settings.ppo.steps).all() and settings.grpo.steps == settings.ppo.steps
