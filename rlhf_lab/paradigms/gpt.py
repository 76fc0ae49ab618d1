"""A GPT from scratch that loads published GPT-2 weights and computes what transformers computes.

Modules and weights bear GPT-2's names, so that loading is one loop. Left out: dropout, a cache for
generation, and padding masks, which rows that are filled up on the right do not need.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rlhf_lab.errors import InputError

ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh"}  # GPT-2's own is an approximation of the first


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT, under the names of ``config.json``."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    activation_function: str
    layer_norm_epsilon: float


def attention(q: Tensor, k: Tensor, v: Tensor, visible: Tensor) -> Tensor:
    """``eq-gpt-attention``: means of ``v``, weighted by how ``q`` and ``k`` agree.

    Each is (B, H, T, d); ``visible`` (T, T) or (B, 1, T, T) says who sees whom.
    """
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.masked_fill(~visible, -torch.inf).softmax(-1) @ v


def causal(length: int) -> Tensor:
    """Every position sees itself and what comes before it, (T, T)."""
    return torch.ones(length, length, dtype=torch.bool).tril()


class Attention(nn.Module):
    """Attention with several heads, each in its part of the width."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        B, T, D = x.shape
        q, k, v = (
            part.view(B, T, self.heads, D // self.heads).transpose(1, 2)
            for part in self.c_attn(x).chunk(3, dim=-1)
        )
        return self.c_proj(attention(q, k, v, visible).transpose(1, 2).reshape(B, T, D))


class MLP(nn.Module):
    """Two layers that work on every position for itself."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.act = nn.GELU(approximate=ACTIVATIONS[config.activation_function])
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.c_proj(self.act(self.c_fc(x)))


class Block(nn.Module):
    """One layer, ``eq-gpt-block``: look around, then think; both add."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.attn(self.ln_1(x), visible)
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Two tables of embeddings, a stack of blocks, a last norm."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)

    def hidden(self, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        """What the last layer holds, (B, T, D); causal unless told otherwise."""
        visible = causal(tokens.shape[1]) if visible is None else visible
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.h:
            x = block(x, visible)
        return self.ln_f(x)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids (B, T) to logits of the next token, (B, T, V)."""
        return self.hidden(tokens) @ self.wte.weight.T


def load(folder: str | Path) -> GPT:
    """The GPT of a folder with ``config.json`` and ``model.safetensors``, in float32.

    Raises:
        InputError: when the folder holds no GPT-2, or one with an activation not known here.
    """
    settings = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    kind = settings.get("model_type"), settings.get("activation_function")
    if kind not in (known := [("gpt2", activation) for activation in ACTIVATIONS]):
        raise InputError("folder", str(folder), f"one of {known}", f"not {kind}")
    gpt = GPT(GPTConfig(**{field.name: settings[field.name] for field in fields(GPTConfig)}))
    weights = load_file(Path(folder) / "model.safetensors")
    for name, own in gpt.state_dict().items():
        stored = weights[f"transformer.{name}"]
        transposed = own.dim() == 2 and name.startswith("h.")  # GPT-2 stores (in, out)
        own.copy_(stored.T if transposed else stored)
    return gpt


def initialise(gpt: GPT, seed: int) -> GPT:
    """Random weights as GPT-2 began: N(0, 0.02²), smaller where a layer adds to the stream."""
    generator = torch.Generator().manual_seed(seed)
    for name, own in gpt.state_dict().items():
        layers = 2 * gpt.config.n_layer if name.endswith("c_proj.weight") else 1
        noise = 0.02 / layers**0.5 * torch.randn(own.shape, generator=generator)
        ones = torch.full_like(own, "ln_" in name and name.endswith("weight"))
        own.copy_(noise if own.dim() == 2 else ones)
    return gpt
