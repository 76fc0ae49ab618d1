"""What the chapter on methods after PPO prints: its arms on tiny settings, its tables as a plan."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_chain import small_chain

from benchmarks import after_rlhf as published
from benchmarks.after_rlhf import ARMS, DPO, EXAMINER, GRPO, PEOPLE, PPO, RLOO, SFT, Arm
from rlhf_lab.lineage.dpo import DPOConfig
from rlhf_lab.models import load_policy, save_policy
from rlhf_lab.pipeline import Chain
from rlhf_lab.yardstick import Yardstick
from tiny_models import causal_lm

ARM = [field.name for field in dataclasses.fields(Arm)]


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(published.FOLDER / f"{name}.csv", keep_default_na=False, na_values=[""])


@pytest.fixture
def chain(fernwick_model: Path, tmp_path: Path) -> Chain:
    tokenizer = load_policy(str(fernwick_model))[1]
    model = causal_lm(vocab_size=len(tokenizer), positions=256)
    folder = save_policy(model, tokenizer, tmp_path / "model")
    config = small_chain(folder, evaluation_prompts=4, steps=2)
    return Chain(dataclasses.replace(config, reward_start="sft"), tmp_path / "chain", quiet=True)


def test_the_arms_run(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each starts from the SFT policy, moves away from it, and leaves it as it was."""
    monkeypatch.setattr(Yardstick, "_pretraining", lambda *_: {})
    settings = published.Measured(
        ppo=dataclasses.replace(chain.config.ppo, gamma=0.0, checkpoint_every=0),
        group=2,
        dpo=DPOConfig(batch_size=2, max_length=256, learning_rate=1e-3),
        kept=1,
    )
    found: dict[str, Any] = {}
    for method, beta in ((SFT, 0.0), (PPO, 0.1), (RLOO, 0.1), (GRPO, 0.1), (DPO, 0.1)):
        found[method] = published.measured(chain, Arm(method, beta), settings)
        row = found[method]["runs"][0]
        assert row["drawn"] == (8 if method in (PPO, RLOO, GRPO) else 0)
        assert (row["kl"] == 0) == (method == SFT)
        assert len(found[method]["answers"]) == 1
    assert [len(found[m]["curves"]) for m in found] == [0, 2, 2, 2, 2]
    first = [found[m]["curves"][0] for m in (PPO, RLOO, GRPO)]
    assert all(row["kl"] == pytest.approx(0, abs=1e-6) for row in first)
    assert first[1] == first[2] != first[0]  # the same prompts and draws
    assert found[DPO]["curves"][0]["loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_a_judge_changes_the_order_and_nothing_else(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shortest(prompts: Any, completions: Any) -> list[float]:
        return [-float(len(text)) for text in completions]

    monkeypatch.setattr(published, "judges_of", lambda *_: {EXAMINER: shortest})
    settings = published.Measured()
    people = published.labelled(chain, PEOPLE, settings)
    judged = published.labelled(chain, EXAMINER, settings)
    assert people is chain.rankings and len(judged) == len(people)
    for one, other in zip(people, judged, strict=True):
        assert (one.prompt, one.completions) == (other.prompt, other.completions)
        lengths = [len(text) for text in other.completions]
        assert [sorted(set(lengths)).index(n) for n in lengths] == list(other.ranks)


def test_every_run_of_the_plan_is_published_once() -> None:
    runs = read("runs")
    planned = [
        (seed, *dataclasses.astuple(arm))
        for seed, arm in itertools.product(published.SEEDS, ARMS)
        if seed < 3 or arm in published.CLAIMED
    ]
    assert len(planned) == 3 * len(ARMS) + 2 * len(published.CLAIMED)
    rows = runs[["seed", *ARM]].itertuples(index=False, name=None)
    assert sorted(rows) == sorted(planned)
    own = runs[runs.method == SFT]
    assert (own.kl == 0).all() and (own["win_rate/heldout"] == 0.5).all()
    assert (runs[runs.method != SFT].kl > 0).all()
    judges = read("judges")
    assert judges.groupby("judge").seed.nunique().eq(len(published.SEEDS)).all()
    assert (judges.agreement < judges.ceiling).all()


def test_the_policies_are_those_of_the_sweep() -> None:
    """The SFT policy of a seed has the gold that the published sweep has for it."""
    swept = pd.read_csv(published.FOLDER.parent / "sweep" / "runs.csv")
    swept = swept[swept.policy == "sft"].set_index("seed").gold
    ours = read("runs").query("method == 'SFT'").set_index("seed").gold
    assert len(swept) >= 3
    for seed, gold in swept.items():
        assert ours[seed] == pytest.approx(gold, abs=1e-3)


def test_all_start_where_sft_ended() -> None:
    curves = read("curves")
    first = curves[curves.step == 1]
    drawn = first[first.method.isin([PPO, RLOO, GRPO])]
    assert (drawn.kl.abs() < 1e-4).all()
    for _, rows in drawn[drawn.method != PPO].groupby("seed"):
        assert rows.score.nunique() == 1  # the same prompts and draws, whatever the method and β
    assert first[first.method == DPO].loss.sub(math.log(2)).abs().max() < 1e-4
