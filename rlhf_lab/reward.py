"""Step 2: the reward model, from rankings of K completions per prompt.

All C(K,2) pairs of a prompt are one batch element: K forward passes, one per completion, give the
scores of all of its pairs, every prompt weighs alike whatever its K, and no completion takes part
in K − 1 separate updates. Source: Ouyang et al. 2022, §3.5, equation 1, and appendix C.2.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import trl
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from rlhf_lab.config import RMConfig
from rlhf_lab.encoding import (
    EncodedRanking,
    collate_rankings,
    encode_demonstrations,
    encode_rankings,
    pad_right,
    require_special_tokens,
)
from rlhf_lab.errors import InputError
from rlhf_lab.models import ScalarModel
from rlhf_lab.objectives import kwise_ranking_loss
from rlhf_lab.supervised import ScheduledTrainer, check_fits, stand_in, train
from rlhf_lab.tracking import Callback

logger = logging.getLogger(__name__)

TOKENS_PER_FORWARD = 4096
"""Padded tokens in one forward pass: enough to keep a device busy, few enough to sort well."""


# --- training ---------------------------------------------------------------------------------


class _Scorer(nn.Module):
    """A :class:`ScalarModel` with the face of a sequence classifier that TRL's trainer expects."""

    def __init__(self, scalar: ScalarModel) -> None:
        super().__init__()
        self.scalar = scalar
        config: Any = copy.deepcopy(scalar.backbone.config)
        config.num_labels = 1
        self.config = config

    def add_model_tags(self, tags: Sequence[str]) -> None:
        """Tags are for model cards on a hub; this model goes there under its own name or not."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Scores (N,) of sequences (N, T), computed from short ones to long ones."""
        order = attention_mask.sum(1).argsort()
        parts = []
        for chosen in _chunks(attention_mask.sum(1)[order].tolist()):
            rows = order[chosen]
            width = int(attention_mask[rows].sum(1).max())
            parts.append(self.scalar.scores(input_ids[rows, :width], attention_mask[rows, :width]))
        return torch.cat(parts)[order.argsort()]


def _chunks(lengths: Sequence[int]) -> list[slice]:
    """Slices of ascending ``lengths``, each of at most :data:`TOKENS_PER_FORWARD` padded tokens."""
    slices, start = [], 0
    for stop in range(1, len(lengths) + 1):
        full = stop == len(lengths) or (stop + 1 - start) * lengths[stop] > TOKENS_PER_FORWARD
        if full:
            slices.append(slice(start, stop))
            start = stop
    return slices


class KWiseRewardTrainer(ScheduledTrainer, trl.RewardTrainer):
    """``trl.RewardTrainer`` for K ranked completions in place of one chosen and one rejected.

    A batch holds ``input_ids`` and ``attention_mask`` (N, T) of the N completions of several
    prompts, right-padded, with ``ranks`` (N,) and ``group`` (N,).
    """

    # The loss is a mean over the prompts of this batch.
    loss_is_scaled_for_ga = False

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002 (the trainer passes it)
    ) -> Any:
        """The K-wise ranking loss of the batch, a scalar (``objectives.kwise_ranking_loss``)."""
        scores = model(inputs["input_ids"], inputs["attention_mask"])
        loss = kwise_ranking_loss(scores, inputs["ranks"], inputs["group"])
        correct, pairs = _correct_pairs(scores.detach(), inputs["ranks"], inputs["group"])
        self.ranking_metrics = {
            "loss": float(loss.detach()),  # transformers 4 rounds its own to four decimals
            "accuracy": float(correct / pairs),
            "score_mean": float(scores.detach().mean()),
            "score_std": float(scores.detach().std()),
        }
        return (loss, {"scores": scores}) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the share of pairs ordered rightly, and the scores' mean and deviation."""
        if "loss" in logs:
            logs |= self.ranking_metrics
        super().log(logs, start_time)


def _correct_pairs(scores: Tensor, ranks: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs that the scores order as the ranks do (a tie of scores counts half), and all pairs."""
    pairs = (group[:, None] == group[None, :]) & (ranks[:, None] < ranks[None, :])
    margin = scores[:, None] - scores[None, :]
    return (((margin > 0).float() + 0.5 * (margin == 0).float()) * pairs).sum(), pairs.sum()


def train_reward_model(
    model: ScalarModel,
    tokenizer: PreTrainedTokenizerBase,
    rankings: Sequence[Any],
    config: RMConfig,
    *,
    demonstrations: Sequence[Any] | None = None,
    output_dir: str | Path | None = None,
    callback: Callback | None = None,
    resume: bool = True,
    trackers: Sequence[str] = (),
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Train ``model`` in place on rankings, then set its mean score.

    Ties make no pair, and of equal completions only the first is kept; a ranking with no pair
    left is dropped, counted in ``dropped_prompts`` of the first row and in a warning.

    Args:
        model: from :meth:`ScalarModel.from_policy` of the SFT policy.
        rankings: :class:`~rlhf_lab.records.Ranking` records, K free to differ, or rows of TRL with
            ``chosen`` and ``rejected`` (K = 2), with or without ``prompt``, text or messages.
        demonstrations: their mean score becomes 0; None leaves the scores where they are.
        output_dir: folder of checkpoints and metrics; None writes nothing.
        callback: called with the step and its metrics after every step.
        resume: go on from the newest checkpoint of ``output_dir``, bit for bit as if never
            stopped; False removes what is there.
        trackers: further trackers of accelerate, by name.

    Returns:
        one row per optimiser step: ``loss`` (nats per pair), ``accuracy`` (share of pairs),
        ``score_mean``, ``score_std``, ``grad_norm``, ``lr``.

    Raises:
        InputError: for rankings, tokenizer or folder that cannot be used; too long rows are named.
        CheckpointError: when the newest checkpoint is damaged or of another run.
        DivergenceError: when the loss is not finite.
    """
    require_special_tokens(tokenizer)
    rows, dropped = encode_rankings(rankings, tokenizer, config.max_length)
    if dropped:
        logger.warning("%d of %d rankings have no pair and are left out", dropped, len(rankings))
    check_fits([s for row in rows for s in row.sequences], model.backbone, tokenizer)
    if demonstrations is not None:  # found wrong before the training, not after
        encode_demonstrations(demonstrations, tokenizer, config.max_length)
    collate = functools.partial(collate_rankings, pad=tokenizer.pad_token_id)

    def build(arguments: dict[str, Any], optimizers: tuple[Any, Any]) -> KWiseRewardTrainer:
        return KWiseRewardTrainer(
            model=_Scorer(model),
            args=trl.RewardConfig(**arguments),
            data_collator=collate,
            train_dataset=stand_in(rows),
            processing_class=tokenizer,
            optimizers=optimizers,
        )

    history = train(
        "reward model",
        build,
        model,
        rows,
        collate,
        config,
        config.batch_size,
        output_dir=output_dir,
        callback=callback,
        resume=resume,
        trackers=trackers,
        quiet=quiet,
        first_row={"dropped_prompts": dropped, "pairs": _count_pairs(rows)},
    )
    if demonstrations is not None:
        mean_zero_shift(model, tokenizer, demonstrations, config.max_length)
    return history


def _count_pairs(rows: Sequence[EncodedRanking]) -> int:
    return sum(a < b for row in rows for a in row.ranks for b in row.ranks)


# --- after training -----------------------------------------------------------------------------


@torch.no_grad()
def score_sequences(
    model: ScalarModel, tokenizer: PreTrainedTokenizerBase, sequences: Sequence[Sequence[int]]
) -> Tensor:
    """Scores, float32 (N,) on the CPU, of token-id rows of any length, in the order given."""
    device = next(model.parameters()).device
    lengths = torch.tensor([len(s) for s in sequences])
    order = lengths.argsort()
    scores = torch.empty(len(sequences))
    for chosen in _chunks(lengths[order].tolist()):
        index = order[chosen]
        ids, mask = pad_right([sequences[i] for i in index.tolist()], tokenizer.pad_token_id)
        scores[index] = model.scores(ids.to(device), mask.to(device)).float().cpu()
    return scores


def mean_zero_shift(
    model: ScalarModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Sequence[Any],
    max_length: int,
) -> float:
    """Move ``model.bias`` so that demonstrations score 0 on average.

    The loss does not see a common shift of all scores, so it must be set, not learnt.
    Source: Ouyang et al. 2022, §3.5.

    Returns:
        the mean score before, which was taken off.
    """
    rows = encode_demonstrations(demonstrations, tokenizer, max_length)
    mean = float(score_sequences(model, tokenizer, [row.ids for row in rows]).double().mean())
    with torch.no_grad():
        model.bias -= mean
    return mean


def standardise(
    model: ScalarModel,
    tokenizer: PreTrainedTokenizerBase,
    rankings: Sequence[Any],
    max_length: int,
) -> float:
    """Scale ``model.head`` so that the completions of ``rankings`` score with deviation 1.

    A model that never saw a doubtful comparison is as sure as it can be of everything. What it
    says of the order stays; how sure it is has to be learnt from people who disagree.

    Returns:
        the deviation before, by which scores were divided.

    Raises:
        InputError: when all scores are equal, or one is not a number.
    """
    rows, _ = encode_rankings(rankings, tokenizer, max_length)
    scores = score_sequences(model, tokenizer, [s for row in rows for s in row.sequences])
    deviation = float(scores.double().std())
    if not deviation > 0:
        raise InputError(
            "model", f"scores with deviation {deviation}", "scores that differ",
            "train it before it is standardised",
        )  # fmt: skip
    with torch.no_grad():
        for tensor in (model.head.weight, model.head.bias, model.bias):
            tensor /= deviation
    return deviation


def _scored_pairs(
    model: ScalarModel,
    tokenizer: PreTrainedTokenizerBase,
    rankings: Sequence[Any],
    max_length: int,
) -> pd.DataFrame:
    """One row per pair: prompt number, kind, score of the better minus score of the worse."""
    rows, _ = encode_rankings(rankings, tokenizer, max_length)
    scores = score_sequences(model, tokenizer, [s for row in rows for s in row.sequences]).numpy()
    records, start = [], 0
    for number, row in enumerate(rows):
        own = scores[start : start + len(row.ranks)]
        start += len(row.ranks)
        ranks = np.asarray(row.ranks)
        better, worse = np.nonzero(ranks[:, None] < ranks[None, :])
        records += [(number, row.kind, margin) for margin in own[better] - own[worse]]
    return pd.DataFrame(records, columns=["prompt", "kind", "margin"])


def pair_accuracy(
    model: ScalarModel,
    tokenizer: PreTrainedTokenizerBase,
    rankings: Sequence[Any],
    *,
    max_length: int,
    ceiling: Mapping[str, float] | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> pd.DataFrame:
    """Share of pairs ordered as the labeler did, per kind of prompt and for all.

    Args:
        ceiling: by kind (and ``"all"``), the accuracy of a judge who knows the true quality
            against these noisy labelers: no model can be expected to pass it.
        resamples: of the prompts, for the interval; pairs of one prompt are not independent.

    Returns:
        columns ``kind``, ``prompts``, ``pairs``, ``accuracy``, ``low`` and ``high`` (95 %
        percentile bootstrap over prompts), ``ceiling`` and ``of_ceiling`` (NaN when not given).
    """
    pairs = _scored_pairs(model, tokenizer, rankings, max_length)
    pairs["correct"] = np.where(pairs.margin == 0, 0.5, pairs.margin > 0)
    rng = np.random.default_rng(seed)
    records = []
    for kind in [*sorted(pairs.kind.unique()), "all"]:
        own = pairs if kind == "all" else pairs[pairs.kind == kind]
        sums = own.groupby("prompt").correct.agg(["sum", "count"]).to_numpy(dtype=float)
        drawn = sums[rng.integers(len(sums), size=(resamples, len(sums)))].sum(1)
        low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
        accuracy = own.correct.mean()
        top = (ceiling or {}).get(kind, float("nan"))
        records.append((kind, len(sums), len(own), accuracy, low, high, top, accuracy / top))
    names = ["kind", "prompts", "pairs", "accuracy", "low", "high", "ceiling", "of_ceiling"]
    return pd.DataFrame(records, columns=names)


def calibration_table(
    model: ScalarModel,
    tokenizer: PreTrainedTokenizerBase,
    rankings: Sequence[Any],
    *,
    max_length: int,
    bins: int = 5,
) -> pd.DataFrame:
    """How often the answer that the model favours was preferred, by how sure the model was.

    The model's probability for its favourite of a pair is σ of the absolute score difference
    (``eq-bradley-terry``), from 0.5 to 1.

    Returns:
        a row per bin with pairs in it: ``low`` and ``high`` (the bin), ``pairs``, ``predicted``
        (mean probability), ``observed`` (share of favourites that the labeler preferred, ties of
        scores half), ``standard_error`` of ``observed``.
    """
    pairs = _scored_pairs(model, tokenizer, rankings, max_length)
    margin = pairs.margin.to_numpy(dtype=float)
    predicted = 1 / (1 + np.exp(-np.abs(margin)))
    observed = np.where(margin == 0, 0.5, margin > 0)
    edges = np.linspace(0.5, 1, bins + 1)
    place = np.clip(np.digitize(predicted, edges) - 1, 0, bins - 1)
    records = []
    for index in range(bins):
        inside = place == index
        count = int(inside.sum())
        if count == 0:
            continue
        share = observed[inside].mean()
        error = (share * (1 - share) / count) ** 0.5
        records.append(
            (edges[index], edges[index + 1], count, predicted[inside].mean(), share, error)
        )
    names = ["low", "high", "pairs", "predicted", "observed", "standard_error"]
    return pd.DataFrame(records, columns=names)
