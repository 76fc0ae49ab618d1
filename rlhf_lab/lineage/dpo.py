"""Direct preference optimisation: rankings train the policy itself, without a reward model.

The policy that is best for a reward under a KL penalty is known in closed form. Read backwards it
gives each policy a reward for which it would be the best:

    r̂(x, y) = β·log(π(y|x)/π_ref(y|x))                           (label ``eq-implicit-reward``)

up to a number that depends on the prompt alone. Put into the loss of a reward model, it leaves one
that has the policy in it and nothing else. Source: Rafailov et al. 2023 (arXiv 2305.18290), §4.

Batches, schedule, checkpoints and resume are those of :mod:`rlhf_lab.reward`: all answers of a
prompt are one batch element. Left out: label smoothing, IPO, KTO, and Plackett–Luce in place of
pairs.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import trl
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from rlhf_lab.config import RMConfig
from rlhf_lab.data import as_rankings
from rlhf_lab.encoding import (
    EncodedRanking,
    collate_rankings,
    encode_prompts,
    encode_rankings,
    require_special_tokens,
)
from rlhf_lab.errors import InputError
from rlhf_lab.language_model import continuation_logprobs
from rlhf_lab.models import PolicyLogits, unwrap
from rlhf_lab.objectives import kwise_ranking_loss, token_logprobs
from rlhf_lab.reward import KWiseRewardTrainer
from rlhf_lab.supervised import check_fits, stand_in, train
from rlhf_lab.tracking import Callback

# --- the equations --------------------------------------------------------------------------------


def implicit_reward(logp: Tensor, ref_logp: Tensor, beta: float) -> Tensor:
    """r̂ = β·(log π(y|x) − log π_ref(y|x)) (label ``eq-implicit-reward``).

    Source: Rafailov et al. 2023, §4.

    Args:
        logp, ref_logp: (N,) log-probabilities of whole responses, EOS included, in nats.
        beta: above 0, reward per nat.

    Raises:
        InputError: for a β that is not above 0.
    """
    if not beta > 0:
        raise InputError("beta", beta, "a number above 0", "use the weight of a KL penalty")
    return beta * (logp - ref_logp)


def dpo_loss(logp: Tensor, ref_logp: Tensor, ranks: Tensor, group: Tensor, beta: float) -> Tensor:
    """L = −mean over prompts of mean over pairs (w ≻ l) of log σ(r̂_w − r̂_l) (label ``eq-dpo``).

    The loss of the K-wise reward model (``eq-kwise-loss``) with the implicit reward for its score.
    With K = 2 it is the loss of the paper; the gradient flows through ``logp`` only.

    Source: Rafailov et al. 2023, equation 7.

    Args:
        logp, ref_logp, beta: see :func:`implicit_reward`.
        ranks: (N,) lower is better; group: (N,) int, equal numbers share a prompt.
    """
    return kwise_ranking_loss(implicit_reward(logp, ref_logp.detach(), beta), ranks, group)


# --- training -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DPOConfig(RMConfig):
    """Settings of :class:`~rlhf_lab.config.RMConfig`, a step size for policies, and β."""

    learning_rate: float = 1e-4
    beta: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        implicit_reward(torch.zeros(1), torch.zeros(1), self.beta)


class _Row(NamedTuple):
    """A ranking, the tokens of its prompt, and log π_ref of each response."""

    ranking: EncodedRanking
    start: int
    ref_logprobs: list[float]


def _collate(rows: Sequence[_Row], pad: int) -> dict[str, Tensor]:
    """The batch of the reward model, with ``starts`` and ``ref`` (N,)."""
    batch = collate_rankings([row.ranking for row in rows], pad)
    return batch | {
        "starts": torch.tensor([row.start for row in rows])[batch["group"]],
        "ref": torch.tensor([x for row in rows for x in row.ref_logprobs]),
    }


def response_logprobs(logits: PolicyLogits, ids: Tensor, mask: Tensor, starts: Tensor) -> Tensor:
    """log π(y|x) in nats, (N,): summed over the tokens of each response, EOS included.

    Args:
        ids, mask: (N, T) right-padded; starts: (N,) tokens of each prompt, at least 1.
    """
    said = mask.bool() & (torch.arange(ids.shape[1], device=ids.device) >= starts[:, None])
    row, column = said.nonzero(as_tuple=True)
    logp = token_logprobs(logits(ids, row * ids.shape[1] + column - 1), ids[row, column])
    return logp.new_zeros(len(ids)).index_add(0, row, logp)


class _Policy(nn.Module):
    """A policy with the face that TRL's reward trainer expects of its model."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.logits = PolicyLogits(policy)
        config: Any = copy.deepcopy(unwrap(policy).config)
        config.num_labels = 1
        self.config = config

    def add_model_tags(self, tags: Sequence[str]) -> None:
        """Tags are for model cards on a hub."""

    def forward(self, ids: Tensor, mask: Tensor, starts: Tensor) -> Tensor:
        """log π(y|x) of each row, (N,), from short rows to long ones."""
        order = mask.sum(1).argsort()
        parts = []
        for rows in order.split(32):
            width = int(mask[rows].sum(1).max())
            chosen = ids[rows, :width], mask[rows, :width], starts[rows]
            parts.append(response_logprobs(self.logits, *chosen))
        return torch.cat(parts)[order.argsort()]


class _DPOTrainer(KWiseRewardTrainer):
    """The trainer of the reward model, with the implicit reward for its score."""

    beta: float

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002 (the trainer passes it)
    ) -> Any:
        """:func:`dpo_loss` of the batch, a scalar."""
        ref, ranks, group = inputs["ref"], inputs["ranks"], inputs["group"]
        logp = model(inputs["input_ids"], inputs["attention_mask"], inputs["starts"])
        loss = dpo_loss(logp, ref, ranks, group, self.beta)
        moved = (logp - ref).detach()
        better, worse = _pairs(ranks, group)
        gap = moved[better] - moved[worse]
        best = torch.full_like(ranks, int(ranks.max())).scatter_reduce(0, group, ranks, "amin")
        self.ranking_metrics = {
            "loss": float(loss.detach()),
            "accuracy": float((0.5 + 0.5 * gap.sign()).mean()),
            "first": float(moved[ranks == best[group]].mean()),
            "better": float(moved[better].mean()),
            "worse": float(moved[worse].mean()),
        }
        return (loss, {"logp": logp}) if return_outputs else loss


def _pairs(ranks: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Places (P,) of the better and of the worse answer of each pair."""
    ordered = (group[:, None] == group[None, :]) & (ranks[:, None] < ranks[None, :])
    better, worse = ordered.nonzero(as_tuple=True)
    return better, worse


def train_dpo(
    policy: Any,
    reference: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    rankings: Sequence[Any],
    config: DPOConfig,
    *,
    output_dir: str | Path | None = None,
    callback: Callback | None = None,
    resume: bool = True,
    trackers: Sequence[str] = (),
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Train ``policy`` in place on rankings; nothing is sampled.

    Args:
        policy: a causal LM of transformers; reference: π_ref, a copy of it that stays as it is.
        rankings: as for :func:`rlhf_lab.reward.train_reward_model`, each with a prompt.
        output_dir, callback, resume, trackers, quiet: see there.

    Returns:
        one row per optimiser step: ``loss`` (nats per pair); ``accuracy``, the share of pairs whose
        better answer has gained more, half of those that gained alike; ``first``, ``better`` and
        ``worse``, mean log(π/π_ref) of the first answers of rankings and of both answers of pairs,
        in nats per response; ``grad_norm``, ``lr``. The first also has
        ``dropped_prompts``, rankings without a pair.

    Raises:
        InputError: for rankings, models, tokenizer or folder that cannot be used.
        CheckpointError: when the newest checkpoint is damaged or of another run.
        DivergenceError: when the loss is not finite.
    """
    _, pad = require_special_tokens(tokenizer)
    if unwrap(reference) is unwrap(policy):
        fix = "pass copy.deepcopy(policy), made before training"
        raise InputError("reference", "the policy itself", "a frozen copy of the policy", fix)
    rows, dropped = _encode(rankings, tokenizer, reference, config.max_length)
    check_fits([s for row in rows for s in row.ranking.sequences], unwrap(policy), tokenizer)

    def build(arguments: dict[str, Any], optimizers: tuple[Any, Any]) -> _DPOTrainer:
        trainer = _DPOTrainer(
            model=cast(Any, _Policy(policy)),
            args=trl.RewardConfig(**arguments),
            data_collator=functools.partial(_collate, pad=pad),
            train_dataset=stand_in(rows),
            processing_class=tokenizer,
            optimizers=optimizers,
        )
        trainer.beta = config.beta
        return trainer

    return train(
        "DPO",
        build,
        policy,
        rows,
        functools.partial(_collate, pad=pad),
        config,
        config.batch_size,
        output_dir=output_dir,
        callback=callback,
        resume=resume,
        trackers=trackers,
        quiet=quiet,
        first_row={"dropped_prompts": dropped},
        data=[row.ranking for row in rows],
    )


def _encode(
    rankings: Sequence[Any], tokenizer: Any, reference: nn.Module, max_length: int
) -> tuple[list[_Row], int]:
    """Rankings as rows, and how many had no pair."""
    prompts = []
    for number, ranking in enumerate(as_rankings(rankings, tokenizer)):
        if ranking.without_duplicates() is None:
            continue
        if not ranking.prompt:
            fix = "a response is judged by its probability after a prompt; give one"
            raise InputError(f"rankings row {number}", "", "a prompt of some text", fix)
        prompts.append(ranking.prompt)
    rows, dropped = encode_rankings(rankings, tokenizer, max_length)
    starts = list(map(len, encode_prompts(tokenizer, prompts)))
    cut = [(s[:n], s[n:]) for row, n in zip(rows, starts, strict=True) for s in row.sequences]
    found = iter(continuation_logprobs(reference.eval(), cut, tokenizer.pad_token_id))
    return [
        _Row(row, n, [next(found) for _ in row.sequences])
        for row, n in zip(rows, starts, strict=True)
    ], dropped
