"""What the chapter on bugs reads from its benchmark, on very small settings."""

from __future__ import annotations

import pytest

from benchmarks import bug_clinic as published
from rlhf_lab import clinic
from rlhf_lab.config import PPOConfig

SMALL = published.Measured(
    prompts=4, documents=10, examined_length=4,
    ppo=PPOConfig(
        steps=2, batch_size=4, minibatches=1, micro_batch_size=2, ptx_ratio=1.0,
        max_response_length=6, learning_rate=1e-4, warmup_steps=0, checkpoint_every=0,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def found():
    given = published.start(SMALL)
    names = (published.SOUND, "late index", "summed mix")
    return {name: published.measure(given, name, 1, SMALL) for name in names}


def test_every_run_has_its_curve_and_its_gold_score(found):
    for name, tables in found.items():
        assert [(row["bug"], row["step"]) for row in tables["curves"]] == [(name, 1), (name, 2)]
        assert set(published.CURVES) < set(tables["curves"][0])
    sound, late = (found[name]["curves"][0] for name in (published.SOUND, "late index"))
    # The same policy, prompts and random numbers: the first answers are the same.
    assert sound["gold"] == late["gold"]
    assert sound["objective/scores"] == pytest.approx(late["objective/scores"], abs=1e-6)


def test_only_what_has_noise_is_examined_again(found):
    for tables in found.values():
        asked = [row["examination"] for row in tables["examinations"]]
        assert asked == [e.__name__ for e in clinic.LIMITS if e in clinic.NOISY]


def test_the_mix_is_summed_in_one_loop_only(found):
    sound, ill = (
        found[name]["curves"][0]["ptx/gradient_ratio"] for name in (published.SOUND, "summed mix")
    )
    assert ill == pytest.approx(2 * sound, rel=1e-3)  # two micro-batches


def test_the_chapter_has_a_name_for_every_bug():
    assert next(iter(published.BUGS)) == published.SOUND
    assert len(published.BUGS) == 10
