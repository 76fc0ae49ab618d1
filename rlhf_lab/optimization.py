"""The optimiser and learning-rate schedule of the supervised stages."""

from __future__ import annotations

import math

import torch
from torch import nn


def adamw(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Fused AdamW over the trainable parameters, betas (0.9, 0.95).

    Weight decay acts on matrices, not on biases and norms. Source: Brown et al. 2020, appendix B
    (betas); Ouyang et al. 2022, appendix C (the same for SFT and RM).
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), eps=1e-8, fused=True)


def warmup_cosine(step: int, steps: int, warmup: int, final_fraction: float = 0.1) -> float:
    """Learning rate of ``step`` (counted from 0) as a fraction of the peak.

    Linear from 1/warmup to 1, then half a cosine that would reach ``final_fraction`` at ``steps``.
    Source: Ouyang et al. 2022, appendix C (cosine decay to 10 % for SFT and RM).
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return final_fraction + (1 - final_fraction) * 0.5 * (1 + math.cos(math.pi * done))
