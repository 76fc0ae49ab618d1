"""The equations against TRL 1.12.0, the last release with PPO: its own statements, from its file.

TRL is read where ``python -m benchmarks versus_trl`` puts it (``.ci/run`` does too); without it
these tests are skipped. Where definitions agree, results agree to 1e-12 in float64. Where not:

- TRL puts the score one token *behind* EOS where there is room, and keeps a value there; ours
  stands on EOS. Same where a response fills its row, and the same recursion on TRL's own mask.
- TRL whitens with the variance over n − 1, we with that over n: √(n / (n − 1)) between them.
- TRL's approximate KL is a mean over all slots, pads included; ours over valid tokens.
- TRL divides logits by τ + 1e-7; we by τ.
- TRL averages the means of micro-batches; we divide by the tokens of the minibatch.
"""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from rlhf_lab import objectives as O

FILE = Path(__file__).parents[1] / "benchmarks/.trl-1.12/trl/experimental/ppo/ppo_trainer.py"
pytestmark = pytest.mark.skipif(
    not FILE.exists(), reason="TRL 1.12 is not there: `python -m benchmarks versus_trl` gets it"
)
LENGTHS, WIDTH = [6, 3, 1, 5], 6
SINGLE = 1e-7  # TRL counts clipped tokens in float32
ARGS = SimpleNamespace(
    kl_estimator="k1", kl_coef=0.3, whiten_rewards=False, gamma=0.97, lam=0.9,
    cliprange=0.2, cliprange_value=0.15,
)  # fmt: skip


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def normal(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (len(LENGTHS), WIDTH)), generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def functions() -> dict[str, Any]:
    """TRL's masked statistics; the module itself would need TRL 1.12 as the installed one."""
    tree = ast.parse(FILE.read_text(encoding="utf-8"))
    wanted = ("masked_mean", "masked_var", "masked_whiten")
    tree.body = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in wanted]
    found: dict[str, Any] = {"torch": torch, "np": None, "empty_cache": lambda: None}
    exec(compile(tree, FILE, "exec"), found)
    return found


def run(functions: dict[str, Any], first: str, last: str, **names: Any) -> dict[str, Any]:
    """TRL's statements from the line that holds ``first`` to that before ``last``."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if first in line)
    stop = next(i for i, line in enumerate(lines) if i > start and last in line)
    scope = {**functions, "args": ARGS, **names}
    exec(textwrap.dedent("\n".join(lines[start:stop])), scope)
    return scope


def episodes(lengths: list[int]) -> dict[str, Tensor]:
    """What TRL has before its fourth step; its ``sequence_lengths`` are places of last tokens."""
    last = torch.tensor(lengths) - 1
    place = torch.arange(WIDTH).expand(len(lengths), -1)
    padding, behind = place > last[:, None], place > last[:, None] + 1
    return {
        "responses": torch.zeros(len(lengths), WIDTH),
        "logprobs": normal(0).masked_fill(padding, 1.0),
        "ref_logprobs": normal(1).masked_fill(padding, 1.0),
        "values": normal(2).masked_fill(behind, 0),
        "scores": normal(3, len(lengths)),
        "sequence_lengths": last,
        "sequence_lengths_p1": last + 1,
        "padding_mask": padding,
        "padding_mask_p1": behind,
    }


def collected(functions: dict[str, Any], lengths: list[int]) -> dict[str, Any]:
    return run(functions, "# 4. compute rewards", "# Do multiple epochs", **episodes(lengths))


def test_rewards_advantages_and_returns_of_full_rows(functions):
    """No room behind EOS: everything is alike but the variance that whitens."""
    theirs = collected(functions, [WIDTH] * 4)
    mask = ~theirs["padding_mask"]
    rewards = O.shaped_rewards(
        theirs["scores"], theirs["logprobs"], theirs["ref_logprobs"], mask, ARGS.kl_coef
    )
    close(rewards, theirs["rewards"])
    advantages, returns = O.gae(rewards, theirs["values"], mask, ARGS.gamma, ARGS.lam)
    close(returns, theirs["returns"])
    n = int(mask.sum())
    white = O.masked_whiten(advantages, mask) * ((n - 1) / n) ** 0.5
    torch.testing.assert_close(white, theirs["advantages"], rtol=0, atol=1e-7)  # 1e-8 in the root


def test_the_score_behind_eos_is_the_one_difference_of_short_rows(functions):
    theirs = collected(functions, LENGTHS)
    mask = ~theirs["padding_mask"]
    ours = O.shaped_rewards(
        theirs["scores"], theirs["logprobs"], theirs["ref_logprobs"], mask, ARGS.kl_coef
    )
    moved = theirs["rewards"].clone()
    for row, length in enumerate(LENGTHS):
        if length < WIDTH:
            assert moved[row, length] == theirs["scores"][row]
            moved[row, length - 1] += moved[row, length].item()
            moved[row, length] = 0
    close(ours, moved)
    behind = ~theirs["padding_mask_p1"]
    _, returns = O.gae(theirs["rewards"], theirs["values"], behind, ARGS.gamma, ARGS.lam)
    close(returns, theirs["returns"].masked_fill(~behind, 0))


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_kl_estimates(functions, kind):
    found = run(
        functions, "logr = ref_logprobs - logprobs", "non_score_reward",
        args=SimpleNamespace(kl_estimator=kind), logprobs=normal(0), ref_logprobs=normal(1),
    )  # fmt: skip
    close(O.kl_estimate(normal(0), normal(1), kind), found["kl"])


def test_losses_and_clipped_shares(functions):
    padding = episodes(LENGTHS)["padding_mask"]
    logp, old_logp = (normal(s).masked_fill(padding, 1.0) for s in (4, 5))
    values, old_values, returns, advantages = (normal(s).masked_fill(padding, 0) for s in range(4))
    logits = normal(6, *padding.shape, 9)
    theirs = run(
        functions, "vpredclipped = torch.clamp(", "loss = pg_loss",
        vpred=values, mb_values=old_values, mb_return=returns, padding_mask_p1=padding,
        new_logprobs=logp, mb_logprobs=old_logp, mb_advantage=advantages, padding_mask=padding,
        micro_batch_inds=slice(None),
    )  # fmt: skip
    theirs = run(theirs, "pg_clipfrac = masked_mean(", "approxkl_stats[", logits=logits)
    loss, stats = O.ppo_policy_loss(logp, old_logp, advantages, ~padding, ARGS.cliprange)
    close(loss, theirs["pg_loss"])
    assert float(stats["clipfrac"]) == pytest.approx(float(theirs["pg_clipfrac"]), abs=SINGLE)
    assert 0 < stats["clipfrac"] < 1
    close(stats["approxkl"] * sum(LENGTHS) / padding.numel(), theirs["approxkl"])
    loss, stats = O.ppo_value_loss(values, old_values, returns, ~padding, ARGS.cliprange_value)
    close(loss, theirs["vf_loss"])
    assert float(stats["clipfrac"]) == pytest.approx(float(theirs["vf_clipfrac"]), abs=SINGLE)
    close(O.entropy(logits), theirs["entropy"])


def test_masked_means_and_whitening(functions):
    x, mask = 3 * normal(0) + 7, ~episodes(LENGTHS)["padding_mask"]
    close(O.masked_mean(x, mask), functions["masked_mean"](x, mask))
    n = int(mask.sum())
    for shift in (True, False):
        theirs = functions["masked_whiten"](x, mask, shift_mean=shift)
        if not shift:
            theirs = theirs - O.masked_mean(x, mask)
        ours = O.masked_whiten(x, mask) * ((n - 1) / n) ** 0.5
        torch.testing.assert_close(ours[mask], theirs[mask], rtol=0, atol=1e-7)
