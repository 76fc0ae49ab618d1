"""What the chapter on reward models prints, against loops, enumerations and the package's loss."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import reward_model as published
from benchmarks.labeling import remembering
from rlhf_lab.config import RMConfig
from rlhf_lab.models import ScalarModel
from rlhf_lab.objectives import kwise_ranking_loss
from rlhf_lab.records import Ranking
from rlhf_lab.world import World, lexicon
from tiny_models import causal_lm

SETTINGS = published.Measured(
    prompts=8, held_out=6, epochs=(1, 2), sizes=(4, 8), passes=1, noises=(1.0, 8.0), pairs=3,
    rm=RMConfig(batch_size=4, learning_rate=0.01, max_length=512),
)  # fmt: skip


@pytest.fixture(scope="module")
def given(tokenizer):
    policy = causal_lm(vocab_size=len(tokenizer), positions=512)
    examiner = ScalarModel.from_policy(policy, seed=3)
    world = World(0)
    return published.Start(policy, policy, examiner, tokenizer, world, remembering(world))


def test_pairs_of_a_ranking_by_hand():
    ranked = [
        Ranking("p", ("a", "b", "c", "a"), (1, 0, 1, 2), "chat", "x"),
        Ranking("q", ("a", "b"), (0, 0)),
    ]
    found = published.as_pairs(ranked)
    assert [one.completions for one in found] == [("b", "a"), ("b", "c")]
    assert all(one.ranks == (0, 1) and one.prompt == "p" for one in found)


def test_margins_and_their_quality_are_those_of_the_training_loss(given):
    ranked = published.learned_on(given, 5, SETTINGS, seed=0)
    pairs = published.margins(published.scored(given.examiner, given.tokenizer, ranked), ranked)
    scores, ranks, group, right = [], [], [], []
    for number, one in enumerate(ranked):
        rows = [given.tokenizer(one.prompt)["input_ids"] + given.tokenizer(text)["input_ids"]
                for text in one.completions]  # fmt: skip
        ends = [torch.tensor([[*row, given.tokenizer.eos_token_id]]) for row in rows]
        with torch.no_grad():
            own = [float(given.examiner(row)[0, -1]) for row in ends]
        scores += own
        ranks += one.ranks
        group += [number] * len(own)
        right += [
            own[i] > own[j]
            for i, j in itertools.permutations(range(len(own)), 2)
            if one.ranks[i] < one.ranks[j]
        ]
    found = published.quality(pairs)
    wanted = kwise_ranking_loss(*map(torch.tensor, (scores, ranks, group)))
    assert found["loss"] == pytest.approx(float(wanted), abs=1e-5)
    assert found["accuracy"] == pytest.approx(np.mean(right), abs=1e-9)


def test_temperature_is_found_again():
    """Choices made with probability σ(margin / 3) ask for a temperature of 3."""
    rng = np.random.default_rng(0)
    margin = rng.normal(0, 4, 20_000)
    chosen = rng.random(len(margin)) < 1 / (1 + np.exp(-margin / 3))
    signs = np.where(chosen, 1, -1)
    pairs = pd.DataFrame({"prompt": np.arange(len(margin)), "margin": signs * margin})
    found = published.tempered(pairs)
    assert found["temperature"] == pytest.approx(3, rel=0.1)
    assert found["fitted_loss"] < found["loss"]


def test_reliability_by_hand():
    margin = np.log([1.5, 4.0, 1 / 4, 4.0, 19.0])  # as sure as 0.6, 0.8 three times, 0.95
    low, high = published.reliability(pd.DataFrame({"prompt": 0, "margin": margin}), 2)
    assert low == {"bin": 0, "pairs": 1, "predicted": pytest.approx(0.6), "observed": 1.0}
    assert high["pairs"] == 4
    assert high["predicted"] == pytest.approx((3 * 0.8 + 0.95) / 4)
    assert high["observed"] == 0.75


def test_answers_differ_in_one_thing():
    world = World(0)
    found = published.differing(world, 12, seed=0)
    assert {row[0] for row in found} == set(published.DEFECTS)
    for thing, prompt, first, other in found:
        one, two = world.judge(prompt, first).as_dict(), world.judge(prompt, other).as_dict()
        changed = {name for name in one if abs(one[name] - two[name]) > 1e-9}
        if thing == "other words":
            assert not changed
            continue
        assert one["follows"] == one["truth"] == one["form"] == 1
        assert changed == {
            "rude": {"harm"}, "hedging": {"hedge"}, "no full stop": {"form"},
            "said twice": {"form"}, "wrong fact": {"truth"},
        }[thing]  # fmt: skip
    rude = [other for thing, _, _, other in found if thing == "rude"]
    assert all(any(word in text for word in lexicon.RUDE_WORDS) for text in rude)


def test_all_tables_of_a_small_run(given):
    before = [weight.clone() for weight in given.examiner.parameters()]
    found = {name: pd.DataFrame(rows) for part in published.PARTS.values()
             for name, rows in part(given, 1, SETTINGS).items()}  # fmt: skip
    assert set(found) == set(published.KEYS)
    usual = found["overfitting"][found["overfitting"].rate == SETTINGS.rm.learning_rate]
    arms = usual.drop_duplicates(["arm", "epochs"]).set_index(["arm", "epochs"])
    together, spread, single = published.TOGETHER, published.SPREAD, published.SINGLE
    assert arms.steps[together, 2] == 2 * arms.steps[together, 1] == 2 * arms.steps[spread, 1]
    assert arms.steps[single, 1] > arms.steps[spread, 1]
    assert arms.forwards[single, 1] == 2 * arms.pairs[single, 1]
    assert found["reliability"].groupby("epochs").pairs.sum().nunique() == 1
    assert list(found["growth"].rankings) == [0, 4, 8]
    assert found["growth"].accuracy.between(0, 1).all()
    defects = found["defects"]
    assert len(defects) == 3 * len(published.DEFECTS)
    gold = defects.groupby("defect").gold.mean()
    assert gold["other words"] == pytest.approx(0)
    assert gold.drop("other words").min() > 0.3
    assert all(map(torch.equal, before, given.examiner.parameters()))
