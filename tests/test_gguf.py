"""A GGUF file as ``--model``: read as plain float32 weights that save and train."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rlhf_lab.config import SFTConfig
from rlhf_lab.models import load_policy, save_policy
from rlhf_lab.pretrain import train_tokenizer
from rlhf_lab.records import Demonstration
from rlhf_lab.sft import train_sft
from tiny_models import causal_lm

gguf = pytest.importorskip("gguf")
TEXTS = ["where is the fox?\n", "at the mill. ask a fool. the hen eats beans."]
# What llama.cpp calls the weights of a layer.
NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip


def named(name: str) -> str:
    """A Llama weight of transformers by its name in a GGUF file."""
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    name = name.removesuffix(".weight")
    if name in whole:
        return f"{whole[name]}.weight"
    _, _, layer, part = name.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.weight"


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries and keys in the order of llama.cpp's rotary embedding."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def write_gguf(path: Path, model, tokenizer) -> None:
    config = model.config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    words = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(words["vocab"], key=words["vocab"].get))
    special = (tokenizer.eos_token, tokenizer.pad_token)
    kinds = [gguf.TokenType.CONTROL if w in special else gguf.TokenType.NORMAL
             for w in sorted(words["vocab"], key=words["vocab"].get)]  # fmt: skip
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in words["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_bos_token_id(tokenizer.eos_token_id)
    for name, weight in model.state_dict().items():
        array = weight.numpy()
        if "q_proj" in name or "k_proj" in name:
            array = interleaved(array, config.num_attention_heads)
        writer.add_tensor(named(name), np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    tokenizer = train_tokenizer(TEXTS, 280)
    model = causal_lm("llama", vocab_size=len(tokenizer))
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    write_gguf(path, model, tokenizer)
    return path, model, tokenizer


def test_weights_and_words_are_those_that_were_written(made):
    path, model, tokenizer = made
    found, read = load_policy(path)
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        assert read(text, add_special_tokens=False)["input_ids"] == ids
        rows = torch.tensor([ids])
        with torch.no_grad():
            logits = found(rows).logits[..., : len(tokenizer)]
            torch.testing.assert_close(logits, model(rows).logits, rtol=0, atol=1e-5)
    assert read.pad_token_id != read.eos_token_id == tokenizer.eos_token_id
    assert {p.dtype for p in found.parameters()} == {torch.float32}


def test_it_saves_and_trains(made, tmp_path):
    """Read the plain way, transformers 5 calls it quantised: it would do neither."""
    found, tokenizer = load_policy(made[0])
    before = {name: p.detach().clone() for name, p in found.named_parameters()}
    rows = [Demonstration(TEXTS[0], "at the mill.")] * 2
    config = SFTConfig(epochs=1, batch_size=2, micro_batch_size=2)
    train_sft(found, tokenizer, rows, config, quiet=True)
    assert all(not torch.equal(p, before[name]) for name, p in found.named_parameters())
    save_policy(found, tokenizer, tmp_path / "saved")
    again, _ = load_policy(tmp_path / "saved")
    for one, other in zip(found.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
