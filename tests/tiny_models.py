"""Random models small enough to be made anew by every test, and stand-ins for tokenizers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from rlhf_lab.pretrain import train_tokenizer

EOS, PAD = 0, 1  # as rlhf_lab.pretrain.train_tokenizer numbers them
FAMILIES = ("gpt2", "llama", "gpt_neox")
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}

# All that training on lists of ids asks of a tokenizer.
SPECIAL_TOKENS = SimpleNamespace(
    eos_token_id=EOS, pad_token_id=PAD, eos_token="<e>", pad_token="<p>"
)


def causal_lm(
    family: str = "gpt2",
    seed: int = 0,
    *,
    vocab_size: int,
    width: int = 32,
    layers: int = 2,
    heads: int = 2,
    positions: int = 64,
    **config: Any,
) -> PreTrainedModel:
    """A model of transformers with random weights, float32, in evaluation mode.

    GPT-2 keeps its dropout of 0.1, so that a test sees whether the package turns it off.

    Args:
        family: one of ``FAMILIES``.
        seed: of the weights.
        config: further fields of the family's configuration.
    """
    fields = {
        "vocab_size": vocab_size,
        "bos_token_id": None,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
    }
    if family == "gpt2":
        fields |= {"n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": positions}
    else:
        fields |= {
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "max_position_embeddings": positions,
        }
    config_class, model_class = {
        "gpt2": (GPT2Config, GPT2LMHeadModel),
        "llama": (LlamaConfig, LlamaForCausalLM),
        "gpt_neox": (GPTNeoXConfig, GPTNeoXForCausalLM),
    }[family]
    torch.manual_seed(seed)
    return model_class(config_class(**(fields | config))).eval()


def pad_is_eos() -> PreTrainedTokenizerFast:
    """A tokenizer that the package must refuse: no mask could tell a text's end from filling."""
    tokenizer = train_tokenizer(["a"], 258)
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
