"""What the chapter *Scaling, measured* prints."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import scaling_laws
from rlhf_lab.lineage.emergence import NATS, PROBABILITY, TOKENS, WHOLE, answer_tokens, metrics
from rlhf_lab.lineage.scaling_laws import fit_chinchilla, fit_kaplan
from rlhf_lab.models import load_policy
from rlhf_lab.shards import PretrainingData
from rlhf_lab.world.suites import Item
from tiny_models import causal_lm


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(scaling_laws.FOLDER / f"{name}.csv")


def test_the_grid_is_whole_and_its_computation_that_of_its_weights():
    config, runs = scaling_laws.Config(), read("runs")
    wanted = scaling_laws.in_order(config)
    each = config.recipe.batch_size * config.recipe.block_length
    found = list(zip(runs["size"], runs.tokens // each, runs.seed, strict=True))
    assert found == wanted
    assert {seeds for _, seeds in config.steps} == {3}, "no cell has less"
    assert np.allclose(runs.flops, 6.0 * runs.with_output * runs.tokens, rtol=1e-5)
    width, layers, _ = dict(config.sizes)["pico"]
    own = runs[runs["size"] == "pico"].iloc[0]
    assert own.in_blocks == layers * (12 * width**2 + 13 * width)
    assert own.with_output == own.in_blocks + 1280 * width


def test_the_laws_are_those_of_the_published_losses():
    """Each fit is made again, and those of the held-out amount are in none of them."""
    runs = read("runs")
    seen = scaling_laws.fitted(runs, read("inside"))
    assert runs.tokens.max() not in seen[scaling_laws.FINISHED].tokens.to_list()
    assert len(seen[scaling_laws.INSIDE]) == len(seen[scaling_laws.FINISHED]) == 27
    for name, fit, column in (
        ("kaplan", fit_kaplan, "in_blocks"), ("chinchilla", fit_chinchilla, "with_output"),
    ):  # fmt: skip
        table = read(name)
        for kind, points in seen.items():
            own = table[table.points == kind].set_index("draw")
            draws = scaling_laws.Config().draws if kind == scaling_laws.FINISHED else 0
            assert own.index.to_list() == list(range(draws + 1))
            law = fit(*(points[c].to_numpy(float) for c in (column, "tokens", "loss")))
            for constant, value in dataclasses.asdict(law).items():
                assert own[constant][0] == pytest.approx(value, rel=0.02, abs=0.02), constant


def test_what_is_promised_is_the_laws():
    """The fits' promises by hand; a run of the fitted amounts is off its cell by the noise."""
    runs, found = read("runs"), read("predicted")
    largest = runs.tokens.max()
    sizes = runs.drop_duplicates("size").set_index("size")
    law = read("chinchilla").set_index(["points", "draw"]).loc[(scaling_laws.FINISHED, 0)]
    own = found[(found.law == "Chinchilla") & (found.points == scaling_laws.FINISHED)]
    assert len(own) == 9 and (own.groupby("size").low.nunique() == 1).all()
    for row in own.itertuples():
        by_size = law.A / sizes.with_output[row.size] ** law.alpha
        assert row.loss == pytest.approx(law.E + by_size + law.B / largest**law.beta, rel=1e-3)
        assert row.low < row.loss < row.high
    measured = runs[runs.tokens == largest].set_index(["size", "seed"]).loss
    assert (
        found.set_index(["size", "seed"]).measured.to_dict().items() <= measured.to_dict().items()
    )
    assert found[found.points == scaling_laws.INSIDE].low.isna().all()
    seen = runs[runs.tokens < largest]
    each = [np.log(cell.loss).var(ddof=1) for _, cell in seen.groupby(["size", "tokens"])]
    noise, freedom = scaling_laws.spread(seen)
    assert freedom == 18 and noise == pytest.approx(np.mean(each) ** 0.5)


def test_the_errors_of_each_seed_are_those_of_its_own_points():
    runs, inside = read("runs"), read("inside")
    again = scaling_laws.errors(runs, inside)
    table = read("errors")
    assert again.drop(columns="error").equals(table.drop(columns="error")) and len(table) == 18
    assert again.error.to_numpy() == pytest.approx(table.error.to_numpy(), abs=0.003)
    altered = runs.assign(loss=runs.loss.where((runs.seed != 1) | (runs.tokens > 3e5), 9.0))
    moved = scaling_laws.errors(altered, inside).error != again.error
    fitted_to = moved & (again.points == scaling_laws.FINISHED)
    assert moved.equals(fitted_to)
    assert not moved[(again.of == "its own") & (again.seed != 1)].any()
    assert not moved[(again.of == "the others") & (again.seed == 1)].any()


def test_each_model_of_the_grid_is_asked_and_the_presets_once():
    found = read("emergence")
    for _, own in found.groupby("suite"):
        assert own.seed.value_counts().to_dict() == {0: 12, 1: 12, 2: 12}
        assert own[own.seed.isna()].model.tolist() == list(scaling_laws.PRESETS)


def test_the_presets_are_the_shipped_ones():
    found = read("emergence").drop_duplicates("model").set_index("model").loss
    for preset in scaling_laws.PRESETS:
        assert found[preset] == pytest.approx(scaling_laws.final_loss(preset), rel=1e-5)


class Spelled:
    """One token per letter."""

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [ord(letter) % 16 for letter in text]}


def test_metrics_against_a_loop_over_tokens():
    """Every token is asked for by itself, as a sampler would."""
    model = causal_lm(vocab_size=16).eval()
    item = Item("what?", " abc")
    found = answer_tokens(model, Spelled(), [item])
    ids, right, chance = Spelled()("what?", False)["input_ids"], 0, 1.0
    for token in Spelled()(" abc", False)["input_ids"]:
        with torch.no_grad():
            odds = model(torch.tensor([ids])).logits[0, -1].softmax(0)
        right, chance = right + int(odds.argmax() == token), chance * float(odds[token])
        ids = [*ids, token]
    assert found.right[0] == right and found.tokens[0] == 4
    measured = metrics(found)
    assert measured[PROBABILITY] == pytest.approx(chance, rel=1e-5)
    assert measured[NATS] == pytest.approx(-np.log(chance) / 4, rel=1e-5)
    assert measured[TOKENS] == right / 4 and measured[WHOLE] == float(right == 4)


@pytest.mark.slow
def test_a_run_on_tiny_settings():
    config = scaling_laws.Config()
    recipe = dataclasses.replace(
        scaling_laws.recipe_of(config, 4, 1, 1e-3), log_every=2, evaluate_every=2
    )
    blocks = torch.randint(0, 1280, (16, recipe.block_length), dtype=torch.int32)
    data = PretrainingData(load_policy("nano")[1], blocks[:12], blocks[12:])
    model, found = scaling_laws.grid_run(
        scaling_laws.model_config(config, "pico"), "pico", recipe, data
    )
    assert found["run"]["tokens"] == 4 * 512 and 6 < found["run"]["loss"] < 8
    assert [row["tokens"] for row in found["inside"]] == [2 * 512]
    assert scaling_laws.counted(model)["in_blocks"] == found["run"]["in_blocks"]
