"""What the chapter on over-optimisation prints, on models whose answers are recomputed here."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import blind_spot, followed
from benchmarks import over_optimisation as published
from benchmarks.labeling import remembering
from benchmarks.reward_model import Start
from rlhf_lab.config import PPOConfig, RMConfig
from rlhf_lab.errors import InputError
from rlhf_lab.evaluate import answers, rm_scores
from rlhf_lab.models import ScalarModel
from rlhf_lab.widgets import over_optimisation as explorer
from rlhf_lab.world import World
from tiny_models import causal_lm

SETTINGS = followed.Measured(
    prompts=8, tests=10, at=(0, 1, 2), pooled=2, pool=8, n=(1, 2, 8), shown=3,
    rm=RMConfig(batch_size=4, learning_rate=0.01, max_length=512, epochs=1),
    ppo=PPOConfig(
        steps=2, batch_size=4, minibatches=1, beta=0.0, gamma=0.0, learning_rate=0.02,
        checkpoint_every=0, max_prompt_length=200, max_response_length=6, warmup_steps=0,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def given(tokenizer):
    policy = causal_lm(vocab_size=len(tokenizer), positions=512)
    examiner = ScalarModel.from_policy(policy, seed=3)
    world = World(0)
    return Start(policy, policy, examiner, tokenizer, world, remembering(world))


def test_the_examiner_followed_and_chosen_by(given, monkeypatch, tmp_path):
    judged = given.world.gold
    # A random model's answers are all worth 0: let them differ where best-of-n looks.
    monkeypatch.setattr(World, "gold", lambda _, __, text: float(len(text) % 3))
    before = [weight.clone() for weight in given.sft.parameters()]
    found = followed.measure(given, followed.Taught(), 0, SETTINGS, tmp_path)
    json.dumps(found)
    course = pd.DataFrame(found["course"])
    assert course["step"].tolist() == [0, 1, 2]
    assert course["kl"][0] == pytest.approx(0, abs=1e-6) and course["kl"][2] > 0
    tests = followed.short_prompts(given.world, "test", 10, 0)
    said = answers(given.sft, given.tokenizer, tests, max_new_tokens=6, seed=0)
    gold = [judged(p, s) for p, s in zip(tests, said, strict=True)]
    assert course["gold"][0] == pytest.approx(np.mean(gold))
    scores = rm_scores(given.examiner, given.tokenizer, tests, said)
    assert course["proxy"][0] == pytest.approx(np.mean(scores), abs=1e-6)
    shown = pd.DataFrame(found["answers"])
    assert len(shown) == 6 and shown[shown.step == 0].answer.tolist() == said[:3]
    assert all(map(torch.equal, before, given.sft.parameters()))

    best = pd.DataFrame(found["best_of_n"]).set_index("n")
    assert best.kl[1] == 0 and best.proxy.is_monotonic_increasing
    pools = followed.pooled(given, tests[:2], 0, SETTINGS, tmp_path)
    every = [[0.0] * 8 for _ in pools]
    for row, pool in zip(every, pools, strict=True):
        assert sum(pool.counts) == 8
        row[:] = pool.spread(pool.gold).tolist()
    assert best.gold[1] == pytest.approx(np.mean(every))
    top = [
        max(followed.scored(given, given.examiner, prompt, pool))
        for prompt, pool in zip(tests, pools, strict=False)
    ]
    assert best.proxy[8] == pytest.approx(np.mean(top), abs=1e-5)


def test_a_shortened_reward_model_has_the_lowest_layers(given):
    taught = dataclasses.replace(published.REWARD_MODELS[published.SMALL], rankings=4)
    model, history = followed.reward_model(given, taught, 0, SETTINGS)
    whole = ScalarModel.from_policy(given.sft, 0)
    assert len(model.backbone.h) == 1 < len(whole.backbone.h)
    assert len(history) == 1
    fresh = ScalarModel.from_policy(given.sft, 0)
    followed.shorten(fresh, 1)
    lowest = whole.backbone.h[0].state_dict()
    assert all(map(torch.equal, fresh.backbone.h[0].state_dict().values(), lowest.values()))
    assert len(given.sft.transformer.h) == 2  # the policy keeps its own


def test_fewer_rankings_are_the_first_of_more(given):
    few, more = (followed.rankings(given, followed.Taught(count), seed=1) for count in (3, 6))
    assert more[: len(few)] == few and len(more) > len(few)


def test_only_borrowed_answers_differ_in_topic(given):
    """Manners alone: who is neither rude nor hedging has answered; borrowed answers have not."""
    world = given.world
    plain, topic = (
        blind_spot.rankings(given, dataclasses.replace(shown, rankings=20), 0)
        for shown in (published.SHOWN[published.BLIND], published.SHOWN[published.SIGHTED])
    )
    prompts = {
        p.text: p for p in followed.short_prompts(world, "train", 20, followed.RANKING_START)
    }
    unanswered = {}
    for name, ranked in (("plain", plain), ("topic", topic)):
        found = [
            a.follows < 0.5
            for one in ranked
            for text in one.completions
            for a in (world.judge(prompts[one.prompt], text),)
            if not a.harm and not a.hedge and a.refusal == 0
        ]
        unanswered[name] = np.mean(found)
    assert unanswered["plain"] < 0.05 and unanswered["topic"] > 0.3
    assert [one.prompt for one in plain] == [one.prompt for one in topic]


def test_picks_are_the_favourites_of_the_pool(given, tmp_path):
    shown = dataclasses.replace(published.SHOWN[published.BLIND], rankings=4)
    found = blind_spot.measure(given, shown, 0, SETTINGS, tmp_path)
    rows = pd.DataFrame(found["blind"]).set_index("n")
    assert rows.index.tolist() == [1, 2, 8] and rows.proxy.is_monotonic_increasing
    tests = followed.short_prompts(given.world, "test", 2, 0)
    for prompt, pick in zip(tests, found["picks"], strict=True):
        assert pick["prompt"] == prompt.text
        assert pick["gold"] == pytest.approx(given.world.gold(prompt, pick["answer"]))
    assert rows.gold[8] == pytest.approx(np.mean([pick["gold"] for pick in found["picks"]]))


def test_the_explorer_has_gains_since_the_first_policy():
    course = pd.DataFrame({
        "model": "few", "seed": [0, 0, 1, 1], "step": [0, 5, 0, 5], "kl": [0.0, 4.0, 0.0, 9.0],
        "proxy": [1.0, 3.0, 0.0, 4.0], "gold": [2.0, 1.0, 2.5, 3.0],
    })  # fmt: skip
    best = course.rename(columns={"step": "n"}).replace({"n": {0: 1, 5: 2}})
    made = explorer.published(course, best, {"few": {"rankings": 60, "layers": 0}})
    rl = [point for point in made["points"] if point["method"] == "rl"]
    assert [(p["seed"], p["at"], p["kl"], p["proxy"], p["gold"]) for p in rl] == [
        (0, 5, 4.0, 2.0, -1.0), (1, 5, 9.0, 4.0, 0.5)
    ]  # fmt: skip
    with pytest.raises(InputError, match="many"):
        explorer.published(course, best, {"many": {"rankings": 1, "layers": 0}})


def test_every_place_is_within_the_run():
    settings = followed.Measured()
    assert settings.at[0] == 0 and settings.at[-1] == settings.ppo.steps
    assert settings.n[-1] == settings.pool
    assert settings.pooled * len(published.SEEDS) <= settings.tests
    assert settings.ppo.beta == settings.ppo.gamma == 0
