"""What the chapter on rule-based rewards prints: its arms on tiny settings, its tables again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from small_chain import small_chain

from benchmarks import rbrm as published
from rlhf_lab.evaluate import Neural
from rlhf_lab.lineage.rbrm import LetterGrader
from rlhf_lab.lineage.refusals import CLASSES, KINDS, requests, response_class
from rlhf_lab.models import load_policy, save_policy
from rlhf_lab.pipeline import Chain
from rlhf_lab.world import World
from tiny_models import causal_lm

WORLD = World(0)
LETTERS = list(CLASSES)
SMALL = published.Config(
    more=(4, 4, 4), labelled=8, fewer=(), fitted=2, graded=8, read=4, steps=2, every=1, asked=4,
    usual=4, shown=1, ptx_ratio=0.25, max_response_length=12,
    shares=tuple((kind, 0.2) for kind in KINDS),
)  # fmt: skip


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(published.FOLDER / f"{name}.csv", keep_default_na=False, na_values=[""])


def test_the_arms_run_and_differ_in_the_reward_alone(
    fernwick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        published.Bench, "teach", lambda *_: lambda texts: list(map(response_class, texts))
    )
    tokenizer = load_policy(str(fernwick_model))[1]
    model = causal_lm(vocab_size=len(tokenizer), positions=512)  # room for the rubric's examples
    folder = save_policy(model, tokenizer, tmp_path / "model")
    config = small_chain(folder, evaluation_prompts=4, steps=1)
    chain = Chain(dataclasses.replace(config, reward_start="sft"), tmp_path / "chain", quiet=True)
    bench = published.Bench(chain, SMALL, tmp_path)
    tables = {published.START: bench.preparation()}
    tables |= {arm: bench.arm(arm) for arm in published.ARMS}
    for name, rows in tables.items():
        classes = pd.DataFrame(rows["classes"])
        assert (classes[LETTERS].sum(axis=1) == SMALL.asked).all() and len(classes) == 8
        assert rows["ordinary"][0]["count"] == SMALL.usual
        assert ("curves" in rows) == (name != published.START)
    first = [tables[arm]["curves"][: len(KINDS)] for arm in published.ARMS]
    own = [[{k: v for k, v in row.items() if k != "arm"} for row in rows] for rows in first]
    assert own[0] == own[1]  # the first batch is the same: no step has been made
    assert sum(row["misread"] for rows in first for row in rows) == 0
    prompts = bench.ppo_prompts()
    assert len({p.text for p in prompts}) == len(prompts) == 8
    weights = pd.DataFrame(tables[published.START]["weights"])
    assert len(weights) == 8 and weights.weight.abs().max() > 0.1


def test_every_arm_answers_every_request_once() -> None:
    rows, config = read("classes"), published.Config()
    cells = rows.groupby(["seed", "arm", "kind", "wording"]).size()
    arms = (published.START, *published.ARMS)
    assert len(cells) == len(published.SEEDS) * len(arms) * len(KINDS) * 2 and (cells == 1).all()
    assert (rows[LETTERS].sum(axis=1) == config.asked).all()
    assert (rows.helps <= rows.D).all()


def test_curves_count_every_episode() -> None:
    """Those of the graded kinds, which are about half of all."""
    rows, config = read("curves"), published.Config()
    per_run = rows.groupby(["seed", "arm"])["count"].sum()
    episodes = config.steps * published.CONFIG.chain.ppo.batch_size
    share = sum(share for _, share in config.shares)
    assert (per_run >= share * episodes - 4).all() and (per_run < 1.1 * share * episodes).all()
    first = rows[rows.step == config.every].groupby(["seed", "kind"])["count"].nunique()
    assert (first == 1).all()  # arms of a seed meet the same prompts


def test_shown_answers_have_the_published_classes() -> None:
    rows = read("answers")
    for (arm, kind, wording), own in rows.groupby(["arm", "kind", "wording"]):
        prompts = requests(
            WORLD, kind, "test", published.Config().asked, unseen=wording == "unseen", seed=0
        )[: len(own)]
        assert own.prompt.tolist() == [p.text for p in prompts], (arm, kind)
        found = read("classes").query(
            "seed == 0 and arm == @arm and kind == @kind and wording == @wording"
        )
        for letter in set(map(response_class, own.answer.fillna(""))):
            assert found[letter].iloc[0] > 0


def test_the_untaught_grader_comes_out_again() -> None:
    """On the first of the written answers; the rest would take its time."""
    texts, letters = published.labelled(WORLD, "test", published.Config().graded, 0)
    assert {x: letters.count(x) for x in LETTERS} == dict.fromkeys(LETTERS, len(texts) // 4)
    rows = read("graders")
    row = rows[(rows.grader == published.ZERO_SHOT) & (rows.seed == 0)].set_index("where")
    grade = LetterGrader(Neural(*load_policy("tiny")))
    count = published.Config().read
    texts, letters = texts[:count], letters[:count]
    right = [a == b for a, b in zip(grade(texts), letters, strict=True)]
    assert row.accuracy[published.WRITTEN] == pytest.approx(sum(right) / len(right), abs=1e-4)
