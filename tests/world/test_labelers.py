"""Labelers: order, ties, groups, agreement; calibration on real samples when they are there."""

from __future__ import annotations

import json
import math
import random
import statistics
from pathlib import Path

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.records import Prompt
from rlhf_lab.world import World
from rlhf_lab.world.judge import Attributes
from rlhf_lab.world.labelers import (
    HEDGE_LOVERS,
    LABELERS_PER_GROUP,
    MEAN_LABELER,
    NOISE,
    WEIGHTS,
    Labeler,
    agreement,
    ceiling_bounds,
    make_labelers,
)

WORLD = World(0)
SAMPLES = Path(__file__).parent.parent / "data" / "sft_samples.jsonl"
# Ouyang et al. 2022, section 3.4: how often labelers of a group agree with each other.
PAPER = {"train": 0.726, "heldout": 0.773}
PROMPT = Prompt("x\n", "open_qa", {})


def stub(_: Prompt, text: str) -> Attributes:
    """A judge for texts that are numbers."""
    return Attributes(truth=float(text))


def quiet(weights=WEIGHTS) -> Labeler:
    return Labeler("quiet", weights, 0.0)


def test_value_is_the_weighted_sum():
    attributes = Attributes(1.0, -0.5, 0.5, 1.0, -1.0, 0.25, 0.75, 0.1)
    expected = 1.5 - 0.625 + 0.25 - 1.5 - 1.0 - 0.1875 + 0.5625 - 0.05
    assert MEAN_LABELER.value(attributes) == pytest.approx(expected, abs=1e-12)


def test_ranks_follow_utility_and_near_equals_tie():
    ranking = quiet().rank(PROMPT, ["0.6", "0.9", "0.61", "-0.5"], stub, random.Random(0))
    assert ranking.ranks == (1, 0, 1, 2)
    assert ranking.labeler == "quiet"


def test_noise_has_the_stated_scale():
    labeler = Labeler("noisy", WEIGHTS, 1.1)
    rng = random.Random(0)
    felt = [labeler.utility(Attributes(truth=1.0), rng) for _ in range(4000)]
    assert statistics.mean(felt) == pytest.approx(WEIGHTS["truth"], abs=0.06)
    assert statistics.stdev(felt) == pytest.approx(1.1, rel=0.04)


def test_groups_are_different_people_and_functions_of_the_seed():
    train, heldout = make_labelers(0, "train"), make_labelers(0, "heldout")
    assert len(train) == len(heldout) == LABELERS_PER_GROUP
    assert not {p.name for p in train} & {p.name for p in heldout}
    assert make_labelers(0, "train") == train
    assert make_labelers(1, "train") != train
    lovers = [p for p in train if p.weights["hedge"] > 0]
    assert len(lovers) == round(HEDGE_LOVERS * LABELERS_PER_GROUP)
    assert all(p.weights["hedge"] < 0 for p in heldout)


def test_weights_lie_around_the_mean():
    people = [p for seed in range(10) for p in make_labelers(seed, "heldout")]
    for name, weight in WEIGHTS.items():
        logs = [math.log(p.weights[name] / weight) for p in people]
        assert statistics.mean(logs) == pytest.approx(0, abs=0.05)


def test_evaluations_put_truth_and_harm_first():
    for plain, strict in zip(
        make_labelers(0, "train"), make_labelers(0, "train", evaluating=True), strict=True
    ):
        changed = {a for a in WEIGHTS if strict.weights[a] != plain.weights[a]}
        assert changed == {"truth", "harm"}
        assert strict.weights["truth"] == pytest.approx(1.5 * plain.weights["truth"])


def test_agreement_of_quiet_and_of_opposed_people():
    answers = [(PROMPT, ["1", "0", "-1"])] * 30
    assert agreement(answers, stub, [quiet(), quiet()]) == 1.0
    opposed = quiet({**WEIGHTS, "truth": -1.25})
    assert agreement(answers, stub, [quiet(), opposed]) == 0.0


def test_agreement_leaves_out_ties_and_equal_texts():
    assert math.isnan(agreement([(PROMPT, ["1", "1"])], stub, [quiet(), quiet()]))
    assert math.isnan(agreement([(PROMPT, ["0.6", "0.61"])], stub, [quiet(), quiet()]))


def test_agreement_is_what_the_noise_says():
    """Two answers a distance d apart, noise τ: both right or both wrong.

    P(one is right) = Φ(d/(τ√2)) up to the rounding that makes ties.
    """
    noise, distance = 1.0, WEIGHTS["truth"] * 0.8
    people = [Labeler("a", WEIGHTS, noise), Labeler("b", WEIGHTS, noise)]
    right = statistics.NormalDist().cdf(distance / (noise * math.sqrt(2)))
    expected = right**2 + (1 - right) ** 2
    found = agreement([(PROMPT, ["0.8", "0"])] * 4000, stub, people)
    assert found == pytest.approx(expected, abs=0.03)


def test_agreement_bounds_the_noise_ceiling():
    """For any mixture of easy and hard pairs; both ends are reached, as the docstring says."""
    rng = random.Random(0)
    for _ in range(300):
        chances = [rng.betavariate(rng.random() + 0.1, rng.random() + 0.1) for _ in range(40)]
        share = statistics.mean(p * p + (1 - p) ** 2 for p in chances)
        ceiling = statistics.mean(max(p, 1 - p) for p in chances)
        low, high = ceiling_bounds(share)
        assert low - 1e-12 <= ceiling <= high + 1e-12
    # Half of the pairs certain, half a coin toss: agreement and ceiling 3/4.
    assert ceiling_bounds(0.75)[0] == 0.75
    # All pairs at 0.9: agreement 0.82.
    assert ceiling_bounds(0.82)[1] == pytest.approx(0.9, abs=1e-12)
    assert ceiling_bounds(1.0) == (1.0, 1.0)
    assert ceiling_bounds(0.5) == (0.5, 0.5)


@pytest.mark.parametrize("share", [0.49, 1.01, 72.6, math.nan])
def test_no_labelers_agree_so(share):
    with pytest.raises(InputError, match="agreement"):
        ceiling_bounds(share)


def test_bad_input():
    with pytest.raises(InputError):
        make_labelers(0, "crowd")
    with pytest.raises(InputError):
        quiet().rank(PROMPT, ["1"], stub, random.Random(0))
    with pytest.raises(InputError):
        agreement([], stub, [quiet()])


def test_noise_is_larger_in_training():
    assert NOISE["train"] > NOISE["heldout"] > 0


@pytest.mark.skipif(not SAMPLES.exists(), reason="tests/data/sft_samples.jsonl is not there")
@pytest.mark.parametrize("group", ["train", "heldout"])
def test_calibrated_to_the_paper(group):
    """On pairs of SFT samples two labelers agree as often as the paper's, within 3 points.

    Each line: {"prompt": {"text", "kind", "meta"}, "completions": [...]}.
    """
    rows = [json.loads(line) for line in SAMPLES.read_text(encoding="utf-8").splitlines()]
    answers = [(Prompt(**row["prompt"]), row["completions"]) for row in rows]
    found = [agreement(answers, WORLD.judge, WORLD.labelers(group), seed=seed) for seed in range(5)]
    assert statistics.mean(found) == pytest.approx(PAPER[group], abs=0.03)
