"""What the chapter on failures prints: its arms on tiny settings, and its tables by other means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from small_chain import small_chain

from benchmarks import failure_arms as arms
from benchmarks import failures as published
from rlhf_lab.data import write_jsonl
from rlhf_lab.evaluate import answers
from rlhf_lab.failures import PREMISE_REPLIES, constraints, hedges, premise_reply
from rlhf_lab.models import ScalarModel, load_policy
from rlhf_lab.pipeline import Chain
from rlhf_lab.records import Ranking
from rlhf_lab.world import World

WORLD = World(0)
SMALL = arms.Config(prompts=4, in_text=3, usual=4, shown=2, best_of=2, more=4)


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(published.FOLDER / f"{name}.csv", keep_default_na=False, na_values=["nan"])


@pytest.fixture(scope="module")
def chain(fernwick_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Its answers have been ranked already: right, hedged and wrong ones."""
    folder = tmp_path_factory.mktemp("chain")
    ScalarModel.from_policy(load_policy(fernwick_model)[0], seed=0).save(folder / "start")
    config = small_chain(fernwick_model, evaluation_prompts=4, steps=1)
    made = Chain(replace(config, reward_start=str(folder / "start")), folder / "chain", quiet=True)
    found = []
    for prompt in WORLD.prompts("train", made.config.rankings, arms.RANKING_START):
        texts = dict.fromkeys(
            WORLD.answer(prompt, 0, quality) for quality in ("right", "hedging", "wrong")
        )
        found.append(Ranking(prompt.text, tuple(texts), tuple(range(len(texts))), prompt.kind))
    write_jsonl(folder / "chain" / "rankings.jsonl", found)
    return made


def test_right_answers_fail_nowhere_and_hedged_ones_hedge() -> None:
    questions = arms.asked(WORLD, SMALL)
    right = arms.measure(WORLD, questions, lambda ps: [WORLD.answer(p) for p in ps], 2)
    replies = {(r["premise"], r["reply"]): r["share"] for r in right["premises"]}
    assert replies[arms.FALSE, "corrected"] == replies[arms.TRUE, "accepted"] == 1
    assert all(row["hedged"] == 0 and row["right"] == 1 for row in right["hedges"])
    unknown = {row["asked"]: row["unknown"] for row in right["hedges"]}
    assert unknown == {arms.PLAIN: 0, arms.BAIT: 0, arms.IN_TEXT: 0, arms.NOT_IN_TEXT: 1}
    assert all(row["share"] == 1 for row in right["constraints"])
    evasive = arms.measure(WORLD, questions, lambda ps: ["nobody can be sure."] * len(ps), 2)
    assert all(row["hedged"] == 1 and row["right"] == 0 for row in evasive["hedges"])
    assert evasive["usual"][0]["gold"] < right["usual"][0]["gold"]
    assert len(right["answers"]) == 2 * (len(questions) - 1)


def test_constraints_are_counted_by_their_number() -> None:
    prompts = arms.asked(WORLD, SMALL)[arms.STORY]
    texts = [WORLD.answer(p) if i % 2 else "" for i, p in enumerate(prompts)]
    rows = pd.DataFrame(arms.by_number(WORLD, prompts, texts))
    for number, part in rows.groupby("number"):
        own = [i for i, p in enumerate(prompts) if len(constraints(p)) == number]
        share = sum(i % 2 for i in own) / len(own)
        shares = part.set_index("constraint").share
        assert shares["all"] == shares["each"] == pytest.approx(share)
        assert shares["all, if independent"] <= share + 1e-9


def test_further_demonstrations_are_of_the_kind_that_an_arm_names(chain: Chain) -> None:
    before = {d.prompt for d in chain.demonstrations}
    found = {arm: arms.demonstrations(chain, arm, SMALL) for arm in arms.SHOWN_MORE}
    for arm, own in found.items():
        assert len(own) == SMALL.more and not before & {d.prompt for d in own}, arm
    false = [d.prompt for d in found[arms.MORE_FALSE]]
    balanced = [d.prompt for d in found[arms.BALANCED]]
    assert all(text.startswith("why ") for text in false + balanced)
    assert balanced[:2] == false[:2] and not set(balanced[2:]) & set(false)
    doubtful = arms.demonstrations(chain, arms.HEDGING, SMALL)
    assert [hedges(d.completion) for d in doubtful][1::2] == [True, True]


def test_other_tastes_move_hedges_and_nothing_else(chain: Chain) -> None:
    """Without noise: those who like hedging put a hedged answer above the same one unhedged."""
    prompt = WORLD.prompt(1, "test", kind="open_qa", hard="")
    right, wrong = WORLD.answer(prompt), WORLD.answer(prompt, 0, "wrong")
    gains = {}
    for taste in arms.TASTES:
        judge = arms.eyes(WORLD, taste)
        for person in arms.people(WORLD, taste, 0.75):
            for name, text in {"right": right, "wrong": wrong}.items():
                gain = person.value(judge(prompt, f"perhaps {text}")) - person.value(
                    judge(prompt, text)
                )
                gains.setdefault((taste, name), set()).add(round(gain, 9))
    assert gains == {
        (arms.DISLIKING, "right"): {-0.75}, (arms.DISLIKING, "wrong"): {-0.75},
        (arms.LIKING, "right"): {0.75}, (arms.LIKING, "wrong"): {0.75},
        (arms.CHECKING, "right"): {-0.75}, (arms.CHECKING, "wrong"): {0.75},
    }  # fmt: skip
    first, second, third = (arms.ranked_again(chain, taste, SMALL) for taste in arms.TASTES)
    for own, more in zip(chain.rankings, first, strict=True):
        *same, added = more.completions
        assert tuple(same) == own.completions
        assert any(added.endswith(f" {text}") for text in same) and hedges(added)
    for other in (second, third):
        for name in ("labeler", "completions"):
            assert [getattr(r, name) for r in other] == [getattr(r, name) for r in first]
    assert [r.ranks for r in second] != [r.ranks for r in first]


def test_the_arms_run(chain: Chain) -> None:
    questions = {k: v[:2] for k, v in arms.asked(WORLD, SMALL).items()}
    judges = {
        "usual": chain.reward_model,
        "other": arms.taught(chain, arms.LIKING, SMALL),
    }
    picks = arms.best(chain.sft, chain, questions, {**judges, "first": None}, 2)
    flat = [p for group in questions.values() for p in group]
    assert [len(pick(flat)) for pick in picks.values()] == [16, 16, 16]
    few = {kind: questions[kind] for kind in arms.DOUBTFUL}
    found = arms.measure(WORLD, few, lambda ps: ["perhaps."] * len(ps), 1)
    assert len(found["hedges"]) == 4 and not found["premises"] + found["usual"]
    before = chain.sft.get_input_embeddings().weight.clone()
    shown = arms.shown_more(chain, arms.MORE, SMALL)
    assert (chain.sft.get_input_embeddings().weight == before).all()
    assert (shown.get_input_embeddings().weight != before).any()


def test_the_best_is_the_best(chain: Chain) -> None:
    """A judge who likes long answers gets the longest of each prompt's."""
    questions = {arms.PLAIN: arms.asked(WORLD, SMALL)[arms.PLAIN]}
    flat = questions[arms.PLAIN]
    said = answers(chain.sft, chain.tokenizer, [p for p in flat for _ in range(3)], seed=0)
    scores = [float(len(text)) for text in said]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms, "rm_scores", lambda *_: scores)
        pick = arms.best(chain.sft, chain, questions, {"long": chain.reward_model}, 3)["long"]
        found = pick(flat)
    assert found == [max(said[i : i + 3], key=len) for i in range(0, len(said), 3)]


def test_published_shares_add_up() -> None:
    premises = read("premises")
    totals = premises.groupby(["seed", "arm", "premise"]).share.sum()
    assert totals.to_numpy() == pytest.approx(1, abs=2e-4)
    about = json.loads((published.FOLDER / "manifest.json").read_text(encoding="utf-8"))
    seeds = set(about["seeds"])
    for name in arms.TABLES[:-1]:
        table = read(name)
        assert set(table.seed) == seeds
        assert table.groupby("arm").seed.nunique().eq(len(seeds)).all()


def test_published_answers_are_counted_as_they_read() -> None:
    """Answers to the first prompts, read here again, fit the shares of all of them."""
    said, premises, hedged = read("answers"), read("premises"), read("hedges")
    questions = arms.asked(WORLD, arms.Config())
    known = {p.text: p for group in questions.values() for p in group}
    first = premises[premises.seed == 0].set_index(["arm", "premise", "reply"]).share
    for row in said[said.kind.isin([arms.FALSE, arms.TRUE])].itertuples():
        reply = premise_reply(WORLD, known[row.prompt], row.answer)
        assert reply in PREMISE_REPLIES and first[row.arm, row.kind, reply] > 0
    shares = hedged[hedged.seed == 0].set_index(["arm", "asked"]).hedged
    for row in said[said.kind.isin([arms.PLAIN, arms.BAIT])].itertuples():
        share = shares[row.arm, row.kind]
        assert share > 0 if hedges(row.answer) else share < 1
