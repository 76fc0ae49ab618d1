"""What the first chapter of Part IV prints: published rows against the sweep and the models."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from benchmarks import behaviour, in_context_cost, sweep
from rlhf_lab.encoding import encode_prompts
from rlhf_lab.evaluate import Neural, run_suite
from rlhf_lab.lineage.in_context import shown, told
from rlhf_lab.models import load_policy
from rlhf_lab.world import World

WORLD = World(0)
CONFIG = in_context_cost.Config()


def accuracy() -> pd.DataFrame:
    return pd.read_csv(in_context_cost.FOLDER / "accuracy.csv")


def test_the_policies_are_those_of_the_published_sweep():
    """The sweep's sums are done equally well by each policy of each seed."""
    runs = pd.read_csv(sweep.FOLDER / "runs.csv")
    found = accuracy()
    own = found[found.form == in_context_cost.SWEPT].set_index(["system", "seed"]).accuracy
    usual = runs[(runs.beta == behaviour.PPO.beta) | runs.beta.isna()]
    for system, policy, gamma in [
        ("base", "base", None), ("SFT", "sft", None),
        *((name, "ppo", gamma) for name, gamma in behaviour.GAMMAS.items()),
    ]:  # fmt: skip
        part = usual[usual.policy == policy]
        part = part if gamma is None else part[part.gamma == gamma]
        swept = part.set_index("seed")[f"suite/{in_context_cost.SWEPT_SUITE}"]
        for seed in in_context_cost.SEEDS:
            assert own[system, seed] == pytest.approx(swept[seed], abs=1e-4)


def test_every_policy_is_asked_the_same():
    found = accuracy()
    columns = ["task", "form", "examples", "drawn", "questions"]
    cells = found.groupby(["seed", "system"])
    asked = {key: own[columns].to_numpy().tolist() for key, own in cells}
    assert len(asked) == len(in_context_cost.SEEDS) * len(in_context_cost.SYSTEMS)
    assert all(rows == next(iter(asked.values())) for rows in asked.values())
    rows = found[found.form != in_context_cost.SWEPT]
    assert (rows.in_form >= rows.accuracy).all()


def test_published_rows_come_out_again():
    model, tokenizer = load_policy("tiny")
    base = Neural(model, tokenizer)
    found = accuracy()
    rows = found[(found.system == "base") & (found.seed == 1)]
    for form, suite in {
        "shown": shown(WORLD, "labels", 2, seed=1),
        "told": told(WORLD, "sums", seed=1, drawn=True),
    }.items():
        examples = 2 if form == "shown" else 0
        row = rows[(rows.form == form) & (rows.task == suite.name.split(",")[0])]
        row = row[(row.examples == examples) & (row.drawn == bool(suite.samples))]
        again = run_suite(suite, base, count=CONFIG.questions, seed=1)
        assert again["accuracy"].mean() == pytest.approx(row.accuracy.item(), abs=1e-4)
        assert len(again) == row.questions.item()


def test_all_that_is_shown_fits():
    model, tokenizer = load_policy("tiny")
    for row, suite in in_context_cost.asked(WORLD, CONFIG, 0):
        if row["examples"] == CONFIG.examples[row["task"]][-1] and not row["drawn"]:
            items = suite.items(CONFIG.questions)
            longest = max(map(len, encode_prompts(tokenizer, [item.prompt for item in items])))
            assert longest + suite.max_new_tokens <= model.config.max_position_embeddings


def test_one_policy_on_tiny_settings():
    small = {task: numbers[-1:] for task, numbers in CONFIG.examples.items()}
    config = dataclasses.replace(CONFIG, questions=3, examples=small, kept=1)
    tables = in_context_cost.measure(WORLD, Neural(*load_policy("nano")), config, seed=1)
    rows, said = (pd.DataFrame(tables[name]) for name in ("accuracy", "answers"))
    assert len(rows) == 2 * 6 + 3 * 4 + 1 and len(said) == 6 + 2 * 4
    drawn = rows.drawn.to_numpy(dtype=bool)
    assert np.isfinite(rows.accuracy).all() and (rows.questions[drawn] == 3).all()
