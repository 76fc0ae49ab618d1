"""The models that come with the package: whole, small, of one family, and as their cards say."""

from __future__ import annotations

import json

import pytest

from rlhf_lab.evaluate import gold_report, in_context_accuracy, reply_kinds
from rlhf_lab.files import file_hash
from rlhf_lab.language_model import Neural, answers
from rlhf_lab.models import ASSETS, PRESETS, load_policy
from rlhf_lab.world import World

SHIPPED = [name for name in PRESETS if (ASSETS / name).is_dir()]
TO_TRAIN = [name for name in SHIPPED if name in ("tiny", "base")]  # what post-training starts from


def test_all_together_are_a_small_download():
    files = [path for path in ASSETS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 25e6


@pytest.mark.parametrize("folder", sorted(p.name for p in ASSETS.iterdir() if p.is_dir()))
def test_each_file_is_the_one_that_was_made(folder):
    hashes = json.loads((ASSETS / folder / "hashes.json").read_text(encoding="utf-8"))
    assert {"model.safetensors", "config.json", "README.md", "training_log.json"} <= set(hashes)
    for name, digest in hashes.items():
        assert file_hash(ASSETS / folder / name) == digest, name


@pytest.mark.parametrize("preset", SHIPPED)
def test_a_preset_has_one_tokenizer_and_a_card_that_tells_its_loss(preset):
    tokenizers = {(ASSETS / name / "tokenizer.json").read_bytes() for name in (SHIPPED[0], preset)}
    assert len(tokenizers) == 1
    log = json.loads((ASSETS / preset / "training_log.json").read_text(encoding="utf-8"))
    losses = [row["held_out_loss"] for row in log if "held_out_loss" in row]
    assert len(losses) >= 10 and losses[-1] == min(losses)
    card = (ASSETS / preset / "README.md").read_text(encoding="utf-8")
    assert f"{losses[-1]:.3f} nats per token" in card
    assert f"rlhf-lab pretrain preset={preset}" in card


@pytest.mark.parametrize("preset", TO_TRAIN)
def test_a_base_model_learns_from_examples_and_fails_on_instructions(preset):
    """GPT-3's strength and its failures: no less than 90 % of lists, and prompts not answered."""
    world, (model, tokenizer) = World(0), load_policy(preset)
    lists = in_context_accuracy(Neural(model, tokenizer), world, examples=(4,), count=100)
    assert lists.set_index("family").accuracy["accuracy"] >= 0.9
    prompts = [world.prompt(index, "test") for index in range(150)]
    said = answers(model, tokenizer, prompts)
    kinds = reply_kinds(gold_report(world, prompts, said)).value_counts(normalize=True)
    for failure in ("questions", "rude", "hedging"):
        assert kinds[failure] >= 0.02, kinds
