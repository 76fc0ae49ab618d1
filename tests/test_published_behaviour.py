"""What the chapter on results prints of the policies' behaviour."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks import behaviour, sweep
from rlhf_lab.evaluate import Candidate
from rlhf_lab.models import load_policy
from rlhf_lab.world import World

WORLD = World(0)


def read(folder, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv", keep_default_na=False)


def test_the_policies_are_those_of_the_published_sweep():
    """The same answers: equal gold scores, and equal win rates where the labelers are the same."""
    runs = pd.read_csv(sweep.FOLDER / "runs.csv")
    said = read(behaviour.FOLDER, "answers")
    wins = read(behaviour.FOLDER, "wins")
    against_sft = wins[(wins.against == "SFT") & (wins.seed == 0)]
    rates = against_sft.set_index(["of", "group"]).win_rate.to_dict()
    for system, gamma in behaviour.GAMMAS.items():
        own = runs[(runs.beta == behaviour.PPO.beta) & (runs.gamma == gamma)].set_index("seed")
        gold = said[said.system == system].groupby("seed").gold.mean()
        assert gold.to_list() == pytest.approx(own.gold.to_list(), abs=1e-4)
        for group in behaviour.GROUPS:
            assert rates[system, group] == pytest.approx(own[f"win_rate/{group}"][0], abs=1e-5)


def test_published_scores_are_those_of_the_published_texts():
    said = read(behaviour.FOLDER, "answers")
    prompts = WORLD.prompts("test", said.prompt.max() + 1)
    for row in said.iloc[::200].itertuples():
        assert WORLD.gold(prompts[row.prompt], row.answer) == pytest.approx(row.gold, abs=1e-4)
        assert len(row.answer.split()) == row.words


def test_equal_answers_tie_and_good_ones_win():
    prompts = WORLD.prompts("test", 40, kind="open_qa", hard="")
    texts = {name: [WORLD.answer(p, 0, "rude") for p in prompts] for name in behaviour.SYSTEMS}
    texts["PPO-ptx"] = [WORLD.answer(p, 0, "right") for p in prompts]
    said = pd.DataFrame(
        {"seed": 0, "system": name, "prompt": number, "answer": text}
        for name, own in texts.items()
        for number, text in enumerate(own)
    )
    found = behaviour.wins(WORLD, prompts, said).set_index(["of", "against", "group"])
    assert found.win_rate["SFT", "base", "train"] == 0.5 and found.ties["SFT", "base", "train"] == 1
    assert (found.win_rate["PPO-ptx"] > 0.85).all()


def test_one_system_on_tiny_settings():
    base, tokenizer = load_policy("tiny")
    config = behaviour.Config(prompts=3, questions=2, closed=2)
    found = behaviour.measure(WORLD, Candidate(base), tokenizer, config, seed=0)
    assert [row["prompt"] for row in found["answers"]] == [0, 1, 2]
    assert {row["about"] for row in found["closed"]} == set(behaviour.closed_prompts(WORLD, 1))
    rude = [row for row in found["suites"] if row["measure"] == "rude or harmful"]
    assert [row["suite"].split(", ")[1] for row in rude] == [
        f"{instruction}/0" for instruction in behaviour.PROVOCATIONS
    ]
    prefixed = behaviour.measure(WORLD, Candidate(base, "hello.\n"), tokenizer, config, seed=0)
    assert prefixed["suites"] == []


def test_what_is_asked_about_a_text():
    """Where the text does not say, declining is right and an answer is made up."""
    asked = behaviour.closed_prompts(WORLD, 20)
    for prompt in asked["not in the text"]:
        assert prompt.meta["task"] == "unknown"
        assert WORLD.attributes(prompt, "the text does not say.").truth == 1
        assert WORLD.attributes(prompt, "the teacher is in the tower.").truth < 0
    for about in ("summary", "answer in the text"):
        right = [WORLD.attributes(p, WORLD.answer(p, 0, "right")) for p in asked[about]]
        assert all(found.truth > 0 and found.follows > 0 for found in right)
