"""One set of answers, several metrics: whole answers, tokens, and probabilities.

Greedy decoding writes an answer exactly if each of its tokens is the likeliest after those before
it, and sampling at temperature 1 writes it with the product of their probabilities. So one pass
over question and answer gives all the metrics, without a draw.

Left out: tasks with several right answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from rlhf_lab.world.suites import Item

WHOLE, TOKENS, PROBABILITY, NATS = METRICS = (
    "whole answers", "tokens", "chance of the whole answer", "nats per token",
)  # fmt: skip


@torch.no_grad()
def answer_tokens(model: nn.Module, tokenizer: Any, items: Sequence[Item]) -> pd.DataFrame:
    """How a model sees the solution of each question.

    Args:
        model: a causal language model.
        items: questions with a solution.

    Returns:
        one row per question: ``tokens`` of the solution, ``right`` ones (the likeliest at their
        place), ``nats`` of all together, −log of the chance that sampling writes it.
    """
    rows = []
    for item in items:
        context, tail = (
            tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (item.prompt, item.solution)
        )
        logits = model(torch.tensor([[*context, *tail]])).logits[0, len(context) - 1 : -1].float()
        targets = torch.tensor(tail)
        right = int((logits.argmax(dim=1) == targets).sum())
        nats = float(nn.functional.cross_entropy(logits, targets, reduction="sum"))
        rows.append({"tokens": len(tail), "right": right, "nats": nats})
    return pd.DataFrame(rows)


def metrics(answers: pd.DataFrame) -> dict[str, float]:
    """Four metrics of the same answers: two of the whole answer, two that give partial credit.

    Args:
        answers: rows of :func:`answer_tokens`.

    Returns:
        by name in :data:`METRICS`: share of answers that greedy decoding writes, share of tokens
        that are the likeliest, mean chance of the whole answer (``eq-exact-match``), and nats per
        token.

    Source: Schaeffer et al. (2023), §2.
    """
    tokens = answers.tokens.sum()
    return {
        WHOLE: float((answers.right == answers.tokens).mean()),
        TOKENS: float(answers.right.sum() / tokens),
        PROBABILITY: float(np.exp(-answers.nats).mean()),
        NATS: float(answers.nats.sum() / tokens),
    }
