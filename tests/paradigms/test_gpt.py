"""The GPT from scratch against transformers, a loop over positions, and what a mask must do."""

from __future__ import annotations

import inspect
import json
import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from rlhf_lab.errors import InputError
from rlhf_lab.models import ASSETS, load_policy
from rlhf_lab.paradigms import gpt
from rlhf_lab.world import World


@pytest.fixture(scope="module")
def tokens():
    """Eight texts of the web, cut to one length."""
    _, tokenizer = load_policy("tiny")
    rows = (tokenizer(d.text)["input_ids"] for d in World(0).documents(60, split="test"))
    return torch.tensor([row[:32] for row in rows if len(row) >= 32][:8])


@torch.no_grad()
def test_the_shipped_model_says_what_transformers_says(tokens):
    """To 1e-5 in single precision, relative to the largest logit; to 1e-10 in double precision."""
    ours, (theirs, _) = gpt.load(ASSETS / "tiny"), load_policy("tiny")
    wanted = theirs(input_ids=tokens).logits
    assert (ours(tokens) - wanted).abs().max() < 1e-5 * wanted.abs().max()
    wanted = theirs.double()(input_ids=tokens).logits
    assert (ours.double()(tokens) - wanted).abs().max() < 1e-10


@torch.no_grad()
def test_gpt2_of_another_shape(tmp_path):
    """Random weights large enough that every part matters, GPT-2's own activation."""
    config = GPT2Config(
        vocab_size=50, n_positions=12, n_embd=24, n_layer=3, n_head=6, initializer_range=0.5,
        activation_function="gelu_new",
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(config).eval()
    for name, weight in theirs.named_parameters():
        if "bias" in name or "ln_" in name:
            weight += 0.3 * torch.randn_like(weight)
    theirs.save_pretrained(tmp_path)
    shown = torch.randint(50, (4, 12))
    wanted = theirs.double()(input_ids=shown).logits
    assert (gpt.load(tmp_path).double()(shown) - wanted).abs().max() < 1e-10


def test_it_is_short():
    assert len(inspect.getsource(gpt).splitlines()) < 150


def test_attention_position_by_position():
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 5, 4, generator=generator, dtype=torch.float64)
    found = gpt.attention(q, k, v, gpt.causal(5))
    for b in range(2):
        for head in range(3):
            for t in range(5):
                agree = [float(q[b, head, t] @ k[b, head, s]) / 2 for s in range(t + 1)]
                total = sum(math.exp(a) for a in agree)
                mean = sum(math.exp(a) / total * v[b, head, s] for s, a in enumerate(agree))
                assert torch.allclose(found[b, head, t], mean, rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_mask_decides_who_hears_of_a_change(tokens):
    model, row = gpt.load(ASSETS / "tiny"), tokens[:1]
    other = row.clone()
    other[0, 20] = 7
    moved = (model.hidden(other) - model.hidden(row)).abs().amax(-1)[0]
    assert (moved[:20] == 0).all() and (moved[20:] > 1e-4).all()
    everyone = torch.ones(32, 32, dtype=torch.bool)
    moved = (model.hidden(other, everyone) - model.hidden(row, everyone)).abs().amax(-1)[0]
    assert (moved > 1e-4).all()


def test_random_weights_as_in_gpt2():
    model = gpt.initialise(gpt.load(ASSETS / "tiny"), seed=0)
    weights = model.state_dict()
    assert float(weights["h.1.mlp.c_fc.weight"].std()) == pytest.approx(0.02, rel=0.02)
    assert float(weights["h.1.mlp.c_proj.weight"].std()) == pytest.approx(0.02 / 8**0.5, rel=0.02)
    assert (weights["h.0.ln_1.weight"] == 1).all() and (weights["h.0.ln_1.bias"] == 0).all()
    assert (weights["h.2.attn.c_attn.bias"] == 0).all()
    again = gpt.initialise(gpt.load(ASSETS / "tiny"), seed=0).state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights)


@pytest.mark.parametrize("wrong", [{"model_type": "bert"}, {"activation_function": "relu"}])
def test_other_models_are_refused(tmp_path, wrong):
    settings = json.loads((ASSETS / "tiny" / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(settings | wrong), encoding="utf-8")
    with pytest.raises(InputError, match="not"):
        gpt.load(tmp_path)
