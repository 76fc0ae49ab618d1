"""What the chapter on SFT prints, recomputed token by token and answer by answer."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch

from benchmarks import fine_tuned as published
from benchmarks import sft
from rlhf_lab.config import SFTConfig
from rlhf_lab.encoding import encode_pair
from rlhf_lab.evaluate import answers, rm_scores
from rlhf_lab.models import ScalarModel, load_policy
from rlhf_lab.world import World

SETTINGS = published.Measured(
    held_out=6, valid=3, prompts=5, temperatures=(0.0, 1.0), candidates=2, choices=2, documents=4,
    lists=3, ptx_documents=40,
    sft=SFTConfig(batch_size=4, micro_batch_size=4, learning_rate=1e-2, max_length=256),
)  # fmt: skip
RECIPE = published.Recipe(demonstrations=8, epochs=2, at=(1, 2), special=(2,))


@pytest.fixture(scope="module")
def start(fernwick_model):
    policy, tokenizer = load_policy(fernwick_model)
    return published.Start(policy, tokenizer, ScalarModel.from_policy(policy, seed=0), World(0))


@pytest.fixture(scope="module")
def run(start):
    return published.measure(start, "x", RECIPE, 1, SETTINGS)


def test_losses_token_by_token(start):
    watch = published.Watch(start, "x", RECIPE, 0, SETTINGS)
    found = watch.losses()
    logps, entropies, right = [], [], []
    for d, is_right in zip(watch.held_out, watch.right, strict=True):
        row = encode_pair(start.tokenizer, d.prompt, d.completion, 256)
        assert row.ids[-1] == start.tokenizer.eos_token_id
        table = start.base(input_ids=torch.tensor([row.ids])).logits[0].double().log_softmax(-1)
        for t in range(row.start, len(row.ids)):
            logps.append(table[t - 1, row.ids[t]].item())
            entropies.append(-(table[t - 1].exp() * table[t - 1]).sum().item())
            right.append(bool(is_right))
    n = len(logps)
    assert found["loss"] == pytest.approx(-sum(logps) / n, rel=1e-4)
    assert found["entropy"] == pytest.approx(sum(entropies) / n, rel=1e-4)
    assert any(right) and not all(right)
    split = found["loss_right"] * sum(right) + found["loss_others"] * (n - sum(right))
    assert split / n == pytest.approx(found["loss"], rel=1e-4)
    rare = [p for p in logps if p < math.log(published.RARE)]
    assert found["surprising"] == pytest.approx(len(rare) / n, abs=1e-6)
    assert found["surprises"] == pytest.approx(-sum(rare) / n, rel=1e-4)
    assert found["loss_at_best"] <= found["loss"] + 1e-6


def test_a_run_is_looked_at_after_its_epochs(start, run):
    assert [row["epoch"] for row in run["epochs"]] == [1, 2]
    assert run["epochs"][0]["wins"] == 0.5  # against itself
    assert run["epochs"][1]["trained_loss"] < run["epochs"][0]["trained_loss"]
    assert [row["epoch"] for row in run["choices"]] == [2]
    at_one = [row for row in run["temperatures"] if row["temperature"] == 1.0]
    assert at_one[0]["gold"] == pytest.approx(run["epochs"][1]["gold"])
    assert at_one[0]["epoch"] == 2


def test_the_last_look_is_at_the_policy_that_is_trained(start, run):
    """The same run without anybody watching, and its answers."""
    policy = copy.deepcopy(start.base)
    mine = published.Watch(start, "x", RECIPE, 1, SETTINGS).demonstrations
    config = dataclasses.replace(SETTINGS.sft, seed=1, epochs=2)
    published.train_sft(policy, start.tokenizer, mine, config, quiet=True)
    prompts = start.world.prompts("test", 5)
    said = answers(policy, start.tokenizer, prompts, seed=1)
    gold = [start.world.gold(p, s) for p, s in zip(prompts, said, strict=True)]
    scores = rm_scores(start.examiner, start.tokenizer, prompts, said)
    assert run["epochs"][1]["gold"] == pytest.approx(sum(gold) / 5)
    assert run["epochs"][1]["rm_score"] == pytest.approx(sum(scores) / 5, abs=1e-5)


def test_choices_by_hand(start):
    watch = published.Watch(start, "x", RECIPE, 0, SETTINGS)
    said = iter(["a.", "a.", "b.", "c."])
    watch.write = lambda prompts, temperature=1.0: [next(said) for _ in prompts]
    watch.scores = lambda prompts, texts: [1.0, 1.0, 0.0, 2.0]
    found = watch.choices()
    assert found["different"] == 3 / 4 and found["all_alike"] == 1 / 2
    golds = [start.world.gold(watch.prompts[i], s) for i, s in ((0, "a."), (1, "c."))]
    assert found["gold_of_best"] == pytest.approx(sum(golds) / 2, abs=1e-6)


def test_the_mix_is_trained_on(start, run):
    """Half of the rows are text of the web; without them an epoch has half as many steps."""
    recipe = dataclasses.replace(RECIPE, special=(), epochs=1, at=(1,), web=True)
    plain, mixed = (
        published.measure(start, "x", dataclasses.replace(recipe, mix=mix), 1, SETTINGS)["epochs"]
        for mix in (0.0, 0.5)
    )
    assert len(plain) == len(mixed) == 1
    assert mixed[0]["web_loss"] < plain[0]["web_loss"]


def test_every_recipe_is_looked_at_within_its_run():
    for recipe in sft.RECIPES.values():
        assert max(recipe.at) <= recipe.epochs
        assert set(recipe.special) <= set(recipe.at)
