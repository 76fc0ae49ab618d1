"""What the chapter on dialogue prints of a second round: its arms on tiny settings, its tables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from small_chain import small_chain

from benchmarks import second_round as published
from benchmarks import sweep
from benchmarks.second_round import ARMS, FRESH, MORE, SAME, START
from rlhf_lab.evaluate import answers, gold_report
from rlhf_lab.models import load_policy, save_policy
from rlhf_lab.pipeline import Chain
from tiny_models import causal_lm

SMALL = published.Config(rankings=4, steps=2, every=1, asked=4, ranked=3)
ALL = (START, *ARMS)


def read(name: str, folder: Path = published.FOLDER) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values=[""])


@pytest.fixture
def bench(fernwick_model: Path, tmp_path: Path) -> published.Bench:
    """On a random model; the policy of round 1 is the early SFT policy."""
    tokenizer = load_policy(str(fernwick_model))[1]
    model = causal_lm(vocab_size=len(tokenizer), positions=512)
    folder = save_policy(model, tokenizer, tmp_path / "model")
    config = small_chain(folder, evaluation_prompts=4, steps=1)
    chain = Chain(dataclasses.replace(config, reward_start="sft"), tmp_path / "chain", quiet=True)
    return published.Bench(chain, chain.early_sft, SMALL, tmp_path)


def check(folder: Path, config: published.Config, seeds: Sequence[int]) -> None:
    """Every run of the plan stands once in each table, and what is alike by design is alike."""
    policies = read("policies", folder).set_index(["seed", "arm"])
    assert policies.index.tolist() == [(seed, arm) for seed in seeds for arm in ALL]
    of = {arm: policies.xs(arm, level="arm") for arm in ALL}
    for group in ("train", "heldout"):
        assert (of[START][f"win_over_first/{group}"] == 0.5).all()
        assert (of[SAME][f"win_over_same/{group}"] == 0.5).all()
        assert of[START][f"win_over_same/{group}"].isna().all()
    assert policies.gold_of_sweep.notna().sum() == len(seeds)
    for arm in (START, SAME):
        assert (of[arm].rm == of[arm].old_rm).all()
    for arm in (FRESH, MORE):
        assert (of[arm].rm != of[arm].old_rm).all()

    kinds = read("kinds", folder)
    assert not kinds.duplicated(["seed", "arm", "kind"]).any()
    kinds["sum"] = kinds.gold * kinds.prompts
    sums = kinds.groupby(["seed", "arm"])[["sum", "prompts"]].sum().loc[policies.index]
    assert (sums.prompts == config.asked).all()
    assert (sums["sum"] / sums.prompts).to_numpy() == pytest.approx(policies.gold, abs=1e-3)

    curves = read("curves", folder).groupby(["seed", "arm"], sort=False).step.agg(list)
    steps = list(range(config.every, config.steps + 1, config.every))
    assert curves.index.tolist() == [(seed, arm) for seed in seeds for arm in ARMS]
    assert all(found == steps for found in curves)

    tested = read("accuracy", folder).set_index(["seed", "arm", "answers"])
    assert len(tested) == len(seeds) * len(ARMS) * 2 and not tested.index.duplicated().any()
    assert (tested.groupby(["seed", "answers"]).pairs.nunique() == 1).all()  # the same rankings
    ranked = read("rankings", folder).set_index(["seed", "arm"])
    assert ranked.index.tolist() == [(seed, arm) for seed in seeds for arm in (FRESH, MORE)]
    assert (ranked.prompts <= config.rankings).all() and (ranked.pairs >= ranked.prompts).all()

    orders = read("orders", folder).set_index(["seed", "arm", "answers"])
    assert len(orders) == len(ranked) * 2 and not orders.index.duplicated().any()
    accuracy = tested.accuracy.unstack("arm")
    for arm in (FRESH, MORE):  # no more can be gained or lost than was turned round
        moved = (accuracy[arm] - accuracy[SAME]).abs()
        assert (moved <= orders.otherwise.xs(arm, level="arm")[moved.index] + 1e-4).all()


def test_the_arms_run_and_differ_in_the_reward_alone(
    bench: published.Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "Config": lambda: SMALL, "SEEDS": (0,), "FOLDER": tmp_path / "results",
        "ROOT": tmp_path, "_bench": lambda *_: bench,
    }.items():  # fmt: skip
        monkeypatch.setattr(published, name, value)
    published.run()
    check(published.FOLDER, SMALL, (0,))
    curves = read("curves", published.FOLDER).query("step == 1")
    assert curves["objective/kl"].nunique() == 1 and (curves["objective/kl"] > 0).all()
    assert curves["objective/scores"].nunique() == 3  # one batch, three reward models
    texts = answers(bench.first, bench.tokenizer, bench.chain.test_prompts)
    gold = gold_report(bench.world, bench.chain.test_prompts, texts).gold.mean()
    start = read("policies", published.FOLDER).iloc[0]
    assert start.gold_of_sweep == pytest.approx(gold, abs=1e-4)
    again = json.loads(next(tmp_path.glob("runs/*/3-seed-0.json")).read_text())
    monkeypatch.setattr(published, "_bench", None)  # what is there is read
    assert published._measured(MORE, 0, SMALL) == again


def test_new_rankings_differ_in_who_wrote(bench: published.Bench) -> None:
    """Both arms rank answers to the same prompts, those of the old rankings are others."""
    prompts = {prompt.text for prompt in bench.world.prompts("train", 4, 1_500_000)}
    texts = {}
    for arm in (FRESH, MORE):
        found = bench.new_rankings(arm)
        assert {ranking.prompt for ranking in found} <= prompts
        texts[arm] = {text for ranking in found for text in ranking.completions}
        assert bench.new_rankings(arm) == found
    assert texts[FRESH] != texts[MORE]
    assert bench.reward_model(SAME) is bench.chain.reward_model


def test_every_run_of_the_plan_is_published_once() -> None:
    check(published.FOLDER, published.Config(), published.SEEDS)


def test_round_two_starts_from_a_policy_like_the_sweeps() -> None:
    """Of the same settings and seeds; on one machine they are the same to the last digit."""
    swept = pd.read_csv(sweep.FOLDER / "runs.csv").set_index("seed")
    cell = (swept.beta == sweep.PPO.beta) & (swept.gamma == sweep.PPO.gamma)
    start = read("policies").query("arm == @START").set_index("seed").gold_of_sweep
    assert start.to_dict() == pytest.approx(swept.gold[cell][start.index].to_dict(), abs=0.25)
    assert (start > swept.gold[swept.policy == "sft"][start.index]).all()
