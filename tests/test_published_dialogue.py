"""What the chapter on dialogue prints: the questions again, an arm of each benchmark when small."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from small_chain import small_chain

from benchmarks import dialogue as published
from benchmarks import second_round
from rlhf_lab.evaluate import answers, gold_report
from rlhf_lab.lineage.dialogue import ASSISTANTS, FOLLOW_UPS, MASKS, Message, encode_chat, whole
from rlhf_lab.models import load_policy, save_policy
from rlhf_lab.pipeline import Chain
from rlhf_lab.world import World
from tiny_models import causal_lm

WORLD, CONFIG = World(0), published.Config()
SMALL = dataclasses.replace(CONFIG, demonstrations=8, conversations=8, asked=2, kept=1)


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(published.FOLDER / f"{name}.csv", keep_default_na=False)


def test_every_arm_is_asked_the_same() -> None:
    rows = read("answers")
    cells = rows.groupby(["seed", "arm", "kind", "form"]).questions.agg(["size", "sum"])
    kinds = len(FOLLOW_UPS) + 1
    wanted = len(published.SEEDS) * len(published.ARMS) * kinds * len(published.FORMS)
    assert len(cells) == wanted and (cells["size"] == 1).all()
    assert (cells["sum"] == CONFIG.asked).all() and (rows.right <= rows.questions).all()


def test_published_questions_come_out_again() -> None:
    rows = read("samples")
    for kind, talks in published.questions(WORLD, "test", 0, CONFIG.kept).items():
        asked = [(t[-2].said, t[-2].answer, t[-1].said) for t in talks]
        for _, own in rows[rows.kind == kind].groupby(["arm", "form"]):
            found = own[["first", "answered", "follow_up"]].itertuples(index=False, name=None)
            assert list(found) == asked


def test_rows_of_the_arms_say_the_same() -> None:
    """Single turns and conversations have the same answers; and all of them fit."""
    tokenizer = load_policy("nano")[1]
    talks = published.training_rows(WORLD, ASSISTANTS, 1, SMALL)
    single = published.training_rows(WORLD, published.SINGLE, 1, SMALL)

    def said(rows: list[list[Message]]) -> list[str]:
        return [m["content"] for row in rows for m in row if m["role"] == "assistant"]

    assert said(talks[8:]) == said(single[8:]) and {len(row) for row in single} == {2}
    assert said(single[:8]) == [row[-1]["content"] for row in talks[:8]]
    for row in talks:
        encode_chat(row, tokenizer, CONFIG.sft.max_length)
    longest = max(
        len(encode_chat(whole(talk), tokenizer).ids)
        for own in published.questions(WORLD, "test", 0, CONFIG.asked).values()
        for talk in own
    )
    assert longest + CONFIG.max_new_tokens <= 256


@pytest.mark.parametrize("arm", [published.SINGLE, MASKS[0]])
def test_an_arm_on_tiny_settings(arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "MODEL", "nano")
    tables = published.measure(arm, 0, SMALL, "valid")
    rows = pd.DataFrame(tables["answers"])
    assert len(rows) == len(published.FORMS) * (len(FOLLOW_UPS) + 1)
    assert (rows.questions == 2).all() and tables["loss"][0]["nats"] > 0
    assert len(tables["samples"]) == 3 * (len(FOLLOW_UPS) + 1)


def test_a_second_round_on_tiny_settings(fernwick_model: Path, tmp_path: Path) -> None:
    tokenizer = load_policy(str(fernwick_model))[1]
    model = causal_lm(vocab_size=len(tokenizer), positions=512)
    folder = save_policy(model, tokenizer, tmp_path / "model")
    config = small_chain(folder, evaluation_prompts=4, steps=1)
    chain = Chain(dataclasses.replace(config, reward_start="sft"), tmp_path / "chain", quiet=True)
    small = second_round.Config(rankings=4, steps=2, every=1, asked=4, ranked=3)
    bench = second_round.Bench(chain, chain.sft, small, tmp_path)
    rows = {second_round.START: bench.start()}
    rows |= {arm: bench.arm(arm) for arm in second_round.ARMS}
    gold = gold_report(
        WORLD, chain.test_prompts, answers(chain.sft, chain.tokenizer, chain.test_prompts)
    ).gold
    start = rows[second_round.START]["policies"][0]
    assert start["gold_of_sweep"] == pytest.approx(gold.mean()) and start["kl"] < 1e-6
    same, fresh, more = (rows[arm] for arm in second_round.ARMS)
    assert same["policies"][0]["win_over_same/heldout"] == 0.5
    assert [len(r["curves"]) for r in (same, fresh, more)] == [2, 2, 2]
    assert not same["rankings"] and fresh["rankings"][0]["prompts"] <= 4
    scores = [r["curves"][0]["objective/scores"] for r in (same, fresh, more)]
    lengths = [r["curves"][0]["objective/kl"] for r in (same, fresh, more)]
    assert len(set(scores)) == 3 and lengths[0] == lengths[1] == lengths[2]  # one batch
