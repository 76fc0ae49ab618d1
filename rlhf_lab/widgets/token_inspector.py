"""Token inspector: one real rollout, token by token. What it shows, and how rollouts become data.

The drawing itself is ``static/token-inspector.js``. It shows a published file, JSON with these
fields:

- ``format``: :data:`FORMAT`;
- ``beta``, ``discount``, ``lam``, ``clip``, ``whiten_rewards``: as in
  :class:`~rlhf_lab.config.PPOConfig`, ``beta`` as it was for these rollouts;
- ``rollouts``: for each ``prompt``, ``score`` (r, less the penalty for a missing EOS),
  ``stopped`` (false: cut off at the limit), ``tokens``, and lists with one number for each token:
  ``logprob``, ``ref_logprob``, ``kl`` (exact, nats), ``entropy``, ``reward``, ``value``,
  ``advantage``, ``return`` as in :class:`~rlhf_lab.rollout.Rollout`, and ``ratio``
  (π_θ/π_old after an update) where it is known.

A token is ``{"text"}``; or ``{"bytes"}``, in hexadecimal, where it is a part of a character only;
or ``{"special"}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from rlhf_lab.errors import InputError
from rlhf_lab.figures import learning_curves

if TYPE_CHECKING:
    from torch import Tensor

    from rlhf_lab.config import PPOConfig
    from rlhf_lab.models import PolicyLogits
    from rlhf_lab.rollout import Rollout

NAME = "token-inspector"
FORMAT = "rlhf_lab.token_inspector/1"
DIGITS = 6  # significant ones of a published number
# Name in the file to name in the Rollout.
NUMBERS = {
    "logprob": "logprobs",
    "ref_logprob": "ref_logprobs",
    "kl": "kl",
    "entropy": "entropy",
    "reward": "rewards",
    "value": "values",
    "advantage": "advantages",
    "return": "returns",
}


def rollout_data(
    rollout: Rollout,
    tokenizer: Any,
    config: PPOConfig,
    *,
    rows: Sequence[int] | None = None,
    beta: float | None = None,
    updated_logprobs: Tensor | None = None,
) -> dict[str, Any]:
    """The published file: some episodes of a rollout.

    Args:
        rollout: as :func:`rlhf_lab.rollout.collect` returned it.
        tokenizer: a byte-level BPE, the policy's.
        config: with which the rollout was collected.
        rows: which episodes; default: all.
        beta: weight of the KL penalty in this rollout; default ``config.beta``.
        updated_logprobs: (B, T) log π_θ(y_t) after an update, see :func:`logprobs_under`.

    Raises:
        InputError: for a row that is not there, log-probabilities of another shape, or a tokenizer
            that is no byte-level BPE.
    """
    count = len(rollout.tokens)
    chosen = range(count) if rows is None else rows
    if not chosen or not all(0 <= row < count for row in chosen):
        raise InputError("rows", rows, f"rows of {count} episodes, from 0", "choose other rows")
    shape = rollout.logprobs.shape
    if updated_logprobs is not None and updated_logprobs.shape != shape:
        found, wanted = tuple(updated_logprobs.shape), f"the rollout's shape {tuple(shape)}"
        raise InputError("updated_logprobs", found, wanted, "compute them with logprobs_under")
    columns = {name: getattr(rollout, source) for name, source in NUMBERS.items()}
    if updated_logprobs is not None:
        columns["ratio"] = (updated_logprobs - rollout.logprobs).exp()
    decoder = type(tokenizer.backend_tokenizer.decoder).__name__
    if decoder != "ByteLevel":
        allowed = "a byte-level BPE (decoder ByteLevel)"
        raise InputError("tokenizer", decoder, allowed, "use a policy with such a tokenizer")
    episodes = []
    for row in chosen:
        start, length = int(rollout.prompt_lengths[row]), int(rollout.response_mask[row].sum())
        prompt = tokenizer.decode(rollout.tokens[row, :start], skip_special_tokens=True)
        numbers = {
            name: [_rounded(x) for x in column[row, :length].tolist()]
            for name, column in columns.items()
        }
        ids = rollout.response_ids[row, :length].tolist()
        episode = {
            "prompt": prompt,
            "score": _rounded(rollout.scores[row].item()),
            "stopped": bool(rollout.stopped[row]),
            "tokens": [_token(tokenizer, i) for i in ids],
        }
        episodes.append(episode | numbers)
    return {
        "format": FORMAT,
        "beta": config.beta if beta is None else beta,
        "discount": config.discount,
        "lam": config.lam,
        "clip": config.clip,
        "whiten_rewards": config.whiten_rewards,
        "rollouts": episodes,
    }


def logprobs_under(policy: PolicyLogits, rollout: Rollout, config: PPOConfig) -> Tensor:
    """log π(y_t) of a rollout's tokens under another policy, (B, T), 0 outside the responses."""
    # Here, because torch takes seconds to load, and a page that is not new needs none.
    import torch

    from rlhf_lab.objectives import token_logprobs
    from rlhf_lab.rollout import scatter

    found = torch.zeros_like(rollout.logprobs)
    with torch.no_grad():
        rows = torch.arange(len(rollout.tokens), device=found.device)
        for part in rollout.groups(rows, config.rows_per_pass):
            tokens, at, mask, drawn = rollout.states(part)
            flat = token_logprobs(policy(tokens, at), drawn, config.temperature)
            found[part, : mask.shape[1]] = scatter(flat, mask)
    return found


def data(published: Mapping[str, Any]) -> dict[str, Any]:
    """What the drawing gets: the published file, and the first token of the first rollout."""
    return {**published, "state": {"rollout": 0, "token": 0, "quantity": "reward"}}


def still(labels: Mapping[str, str], given: Mapping[str, Any]) -> go.Figure:
    """Reward, exact KL, value and advantage over the first rollout: for print, without scripts."""
    rollout = given["rollouts"][0]
    names = ("reward", "kl", "value", "advantage")
    x, y = labels["axis_position"], labels["still_y"]
    rows = [
        (position, labels[name], number)
        for name in names
        for position, number in enumerate(rollout[name], start=1)
    ]
    values = {
        "tokens": str(len(rollout["tokens"])),
        "last": f"{rollout['reward'][-1]:.2f}",
        "low": f"{min(rollout['reward'][:-1], default=0.0):.2f}",
        "high": f"{max(rollout['reward'][:-1], default=0.0):.2f}",
    }
    return learning_curves(
        pd.DataFrame(rows, columns=[x, "quantity", y]),
        x=x,
        y=y,
        color="quantity",
        title=labels["title"],
        alt=labels["alt"].format(**values),
        x_label=x,
        y_label=y,
    )


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def _token(tokenizer: Any, token: int) -> dict[str, str]:
    """A token as the file has it. Byte-level BPE writes each byte as one printable character."""
    added = tokenizer.added_tokens_decoder.get(token)
    if added is not None:
        return {"special" if added.special else "text": added.content}
    spelled = bytes(_BYTE_OF[c] for c in tokenizer.convert_ids_to_tokens(token))
    try:
        return {"text": spelled.decode("utf-8")}
    except UnicodeDecodeError:
        return {"bytes": spelled.hex(" ")}


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's: printable bytes stand for themselves, the others from U+0100 on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}


_BYTE_OF = _byte_alphabet()
