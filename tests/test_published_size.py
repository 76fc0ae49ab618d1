"""What the chapter on results prints of models of three sizes."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks import behaviour, size
from rlhf_lab.models import load_policy
from rlhf_lab.world import World

WORLD = World(0)


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(size.FOLDER / f"{name}.csv", keep_default_na=False)


def test_published_scores_are_those_of_the_published_texts():
    said = read("answers")
    assert set(said.preset) == set(size.SMALLER) and set(said.seed) == set(size.SEEDS)
    assert (said.groupby(["preset", "seed", "system"]).prompt.nunique() == 256).all()
    prompts = WORLD.prompts("test", 256)
    for row in said.iloc[::250].itertuples():
        assert WORLD.gold(prompts[row.prompt], row.answer) == pytest.approx(row.gold, abs=1e-4)
    mean = said.groupby(["preset", "seed", "system"]).gold.mean()
    published = read("gold").set_index(["preset", "seed", "system"]).gold
    assert mean.to_list() == pytest.approx(published[mean.index].to_list(), abs=1e-4)


def test_published_win_rates_are_those_of_the_published_texts():
    """Of one seed; those of the largest size are what ``behaviour`` has published."""
    said = read("answers")
    one = pd.concat([said[said.seed == 1], size._largest().query("seed == 1")])
    made = size.wins(WORLD, WORLD.prompts("test", 256), one)
    keys = ["preset", "system", "against", "group"]
    published = read("wins").query("seed == 1").set_index(keys).win_rate
    assert len(made) == len(published)
    for row in made.itertuples():
        key = (row.preset, row.system, row.against, row.group)
        assert row.win_rate == pytest.approx(published[key], abs=1e-5)
    wins = pd.read_csv(behaviour.FOLDER / "wins.csv")
    same = wins[(wins.seed == 1) & (wins.of == "PPO-ptx") & (wins.against == "SFT")]
    for row in same.itertuples():
        own = published["tiny", "PPO-ptx", "SFT", row.group]
        assert row.win_rate == pytest.approx(own, abs=1e-5)


def test_published_sizes_are_those_of_the_shipped_models():
    for row in read("sizes").itertuples():
        model, _ = load_policy(row.preset)
        assert sum(p.numel() for p in model.parameters()) == int(row.parameters)
