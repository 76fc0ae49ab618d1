"""The published sweep and the runs beyond its edges: whole, and one family."""

from __future__ import annotations

import itertools
import json

import pandas as pd
import pytest

from benchmarks import sweep, sweep_edges

PUBLISHED = [(sweep.FOLDER, sweep.PARTS), (sweep_edges.FOLDER, sweep_edges.PARTS)]


@pytest.mark.parametrize(("folder", "parts"), PUBLISHED, ids=["sweep", "edges"])
def test_every_cell_has_every_seed_once(folder, parts) -> None:
    runs = pd.read_csv(folder / "runs.csv")
    assert runs.error.isna().all()
    ppo = runs[runs.policy == "ppo"]
    wanted = [cell for part in parts for cell in itertools.product(*part)]
    assert sorted(ppo[["beta", "gamma", "seed"]].itertuples(index=False, name=None)) == sorted(
        wanted
    )
    about = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert about["seeds"] == list(sweep.CONFIG.seeds) and about["seconds_of_all_runs"] > 0
    assert [tuple(map(tuple, part.values())) for part in about["parts"]] == list(parts)


def test_the_edges_go_on_where_the_grid_ends() -> None:
    """Runs of one seed share their SFT policy, so less of either weight is between two cells."""
    grid, edges = (pd.read_csv(folder / "runs.csv") for folder, _ in PUBLISHED)
    assert list(grid.columns) == list(edges.columns)
    loss = pd.concat([grid, edges]).pivot_table(
        index="seed", columns=["beta", "gamma"], values=["loss", "kl"]
    )
    default = sweep.PPO.beta
    of_gamma = loss["loss"][default].loc[:, [0.0, 0.01, 0.03, 0.1, 1.0]]
    assert (of_gamma.mean().diff().dropna() < 0).all(), "the more mix, the less is forgotten"
    assert (loss["kl"][2.0, 0.0] < loss["kl"][default, 0.0] / 2).all(), "held by the penalty"
