"""Models as they are shipped: what is written loads again, and every file has its hash."""

from __future__ import annotations

import json
import re
import shlex

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf_lab.config import ExaminerConfig, PretrainConfig, load
from rlhf_lab.files import file_hash
from rlhf_lab.models import ScalarModel, load_policy
from rlhf_lab.shipping import base_card, commands_of, examiner_card, export_policy, export_scalar
from tiny_models import FAMILIES, causal_lm

LOG = [{"step": 1, "loss": 2.0}, {"step": 10, "loss": 0.5}]
ROWS = torch.tensor([[5, 9, 33, 0], [7, 7, 60, 0]])


def policy(family: str = "gpt2", seed: int = 0):
    return causal_lm(family, seed, vocab_size=262)


def halved(weights: dict) -> dict:
    """Through float16 and back by NumPy: rounded once."""
    return {n: torch.tensor(w.numpy().astype("float16").astype("float32"))
            for n, w in weights.items()}  # fmt: skip


def assert_labelled(folder, card: str) -> None:
    """Hashes of every file but their own, the card and the log, and no version of a library."""
    files = {path.name for path in folder.iterdir()}
    hashes = json.loads((folder / "hashes.json").read_text())
    assert set(hashes) == files - {"hashes.json"}
    assert all(file_hash(folder / name) == digest for name, digest in hashes.items())
    assert (folder / "README.md").read_text() == card
    assert json.loads((folder / "training_log.json").read_text()) == LOG
    for name in files - {"model.safetensors"}:
        assert "transformers_version" not in (folder / name).read_text(), name


def test_a_base_model_loads_with_plain_transformers(tmp_path, tokenizer):
    model = policy()
    folder = export_policy(model, tokenizer, tmp_path / "out", "# card\n", LOG)
    assert_labelled(folder, "# card\n")
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    again = AutoTokenizer.from_pretrained(folder)
    wanted = halved(dict(model.state_dict()))
    assert all(torch.equal(p, wanted[name]) for name, p in loaded.named_parameters())
    assert loaded.config.n_embd == 32 and loaded.config.pad_token_id == 1
    text = "the cat\n  déjà vu "
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert (again.eos_token_id, again.pad_token_id) == (0, 1)
    assert again.decode(again(text)["input_ids"]) == text
    ours, _ = load_policy(folder)
    torch.testing.assert_close(ours(ROWS).logits, loaded.eval()(ROWS).logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_reward_model_comes_back_in_float32_rounded_once(tmp_path, family):
    model = ScalarModel.from_policy(policy(family), 3)
    model.bias.fill_(0.1)  # a shift, not a weight: it is kept whole
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    folder = export_scalar(model, tmp_path / "out", "# card\n", LOG)
    assert_labelled(folder, "# card\n")
    assert not {path.name for path in folder.iterdir()} & {"tokenizer.json", "tokenizer.model"}
    stored = load_file(folder / "model.safetensors")
    assert {n for n, w in stored.items() if w.dtype != torch.float16} == {"bias"}
    loaded = ScalarModel.load(folder)
    wanted = halved(kept) | {"bias": kept["bias"]}
    assert loaded.state_dict().keys() == wanted.keys()
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, wanted[name]), name
    model.load_state_dict(wanted)
    mask = torch.ones_like(ROWS)
    assert torch.equal(loaded.scores(ROWS, mask), model.scores(ROWS, mask))
    assert loaded.backbone.config.pad_token_id == 1


def test_exporting_again_gives_the_same_bytes_and_leaves_the_model_alone(tmp_path):
    model = ScalarModel.from_policy(policy(), 0)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    folders = [export_scalar(model, tmp_path / name, "# card\n", LOG) for name in "ab"]
    hashes = [(folder / "hashes.json").read_text() for folder in folders]
    assert hashes[0] == hashes[1]
    export_scalar(ScalarModel.from_policy(policy(seed=1), 1), folders[1], "# card\n", LOG)
    assert_labelled(folders[1], "# card\n")  # in place of an older one
    assert (folders[1] / "hashes.json").read_text() != hashes[0]
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, kept[name]), name


# --- cards --------------------------------------------------------------------------------------


def command_of(card: str) -> list[str]:
    """The words of the command that a card says its model was made by."""
    (block,) = re.findall(r"\n```\n(.*)\n```\n", card)
    return shlex.split(block)


def test_the_command_on_a_base_models_card_is_its_configuration():
    config = PretrainConfig(preset="base", steps=7, learning_rate=1e-4, world_seed=3)
    card = base_card(config, None, 12_345, [{"held_out_loss": 2.5}, {"held_out_loss": 1.25}, {}])
    words = command_of(card)
    assert words[:2] == ["rlhf-lab", "pretrain"]
    assert load(PretrainConfig, None, words[2:]) == config
    assert "1.250 nats" in card and "12,345" in card and "Fernwick, world 3" in card
    own = base_card(config, "my texts.jsonl", 5, [])
    assert "`my texts.jsonl`" in own and "Fernwick, world" not in own and "not measured" in own


def test_the_command_on_an_examiners_card_is_its_configuration():
    config = ExaminerConfig(exams=50, batch_size=5, seed=2, pupil_share=0.125)
    accuracy = {"open_qa": 0.75, "statements": 0.9876, "all": 0.8}
    card = examiner_card(config, "my model", accuracy)
    words = command_of(card)
    assert words[:4] == ["rlhf-lab", "examiner", "--model", "my model"]
    assert load(ExaminerConfig, None, words[4:]) == config
    assert "| open qa | 75.0 % |" in card and "| statements | 98.8 % |" in card
    assert "12.5 % of them" in card
    assert "50 exams" in card and "2 kinds of held-out exams" in card
    config = ExaminerConfig(term=2, exams=70)
    card = examiner_card(config, "tiny", accuracy, "an examiner")
    words = command_of(card)
    assert words[:6] == ["rlhf-lab", "examiner", "--model", "tiny", "--start", "an examiner"]
    assert load(ExaminerConfig, None, words[6:]) == config
    assert "# rlhf_lab tiny examiner" in card and "term 2" in card
    third = examiner_card(config, "tiny", accuracy, "runs/second", card)
    assert commands_of(third).splitlines() == [
        commands_of(card), commands_of(card).replace("'an examiner'", "runs/second"),
    ]  # fmt: skip
    assert commands_of("# A card of no commands\n") == ""
