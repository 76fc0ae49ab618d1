"""One row of numbers about a policy, measured alike for every policy of a comparison."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from rlhf_lab.evaluate import (
    TAX_SUITES,
    Neural,
    answers,
    exact_kl,
    gold_report,
    held_out_loss,
    measures,
    rm_scores,
    run_suite,
    summary,
    win_rate,
)
from rlhf_lab.models import ScalarModel
from rlhf_lab.records import Prompt
from rlhf_lab.world import World


@dataclass(frozen=True)
class Yardstick:
    """What policies of one seed are measured with.

    Attributes:
        reference: the SFT policy, for KL and win rates.
        prompts: test prompts; every policy answers them with the same random numbers (``seed``).
        questions: per benchmark suite; documents: held out, for the loss.
    """

    world: World
    tokenizer: Any
    reference: nn.Module
    reward_model: ScalarModel
    prompts: Sequence[Prompt]
    max_new_tokens: int = 48
    seed: int = 0
    questions: int = 100
    documents: int = 300

    def answers(self, policy: nn.Module) -> list[str]:
        """A policy's answers to the prompts."""
        return answers(
            policy,
            self.tokenizer,
            self.prompts,
            max_new_tokens=self.max_new_tokens,
            seed=self.seed,
        )

    @functools.cached_property
    def reference_answers(self) -> list[str]:
        """The reference's answers to the prompts."""
        return self.answers(self.reference)

    def measure(
        self, policy: nn.Module, samples: int = 0
    ) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """A row about a policy, and its answers to the first ``samples`` kinds of prompts.

        Columns: ``gold`` with its interval over prompts and the others of
        :func:`rlhf_lab.evaluate.summary`; ``rm_score``; ``kl``: exact KL to the reference, nats per
        response; ``win_rate/<group>``, ``win_low/<group>``, ``win_high/<group>``: against the
        reference, by training and by held-out labelers; ``loss`` and ``loss/<kind>``: nats per
        token of held-out documents; ``suite/<name>/<shots>``: suites of the alignment tax.
        """
        completions = self.answers(policy)
        report = gold_report(self.world, self.prompts, completions)
        scores = rm_scores(self.reward_model, self.tokenizer, self.prompts, completions)
        kl = exact_kl(
            policy,
            self.reference,
            self.tokenizer,
            self.prompts,
            completions,
            max_new_tokens=self.max_new_tokens,
        )
        row = summary(report)
        row |= {"rm_score": statistics.fmean(scores), "kl": statistics.fmean(kl)}
        for group in ("train", "heldout"):
            against = self.reference_answers
            wins = win_rate(self.world, self.prompts, completions, against, group=group).iloc[0]
            for column, name in (
                ("win_rate", "win_rate"),
                ("win_low", "low"),
                ("win_high", "high"),
            ):
                row[f"{column}/{group}"] = wins[name]
        row |= self._pretraining(policy)
        chosen = [
            {
                "kind": self.prompts[i].kind,
                "prompt": self.prompts[i].text,
                "completion": completions[i],
                "gold": round(report["gold"][i], 3),
                "rm_score": round(scores[i], 3),
            }
            for i in _of_each_kind(self.prompts, samples)
        ]
        return {name: float(value) for name, value in row.items()}, chosen

    def _pretraining(self, policy: nn.Module) -> dict[str, float]:
        """What alignment may cost."""
        model = Neural(policy, self.tokenizer)
        losses = held_out_loss(model, self.world, count=self.documents)
        row = {
            "loss" if kind == "all" else f"loss/{kind}": nats
            for kind, nats in zip(losses["kind"], losses["nats_per_token"], strict=True)
        }
        suites = self.world.suites()
        for label in TAX_SUITES:
            found = run_suite(suites[label], model, count=self.questions)
            row[f"suite/{label}"] = measures(suites[label], found)[suites[label].metric][0]
        return row


def _of_each_kind(prompts: Sequence[Prompt], count: int) -> list[int]:
    """Places of the first prompts of different kinds, then of any."""
    first = {prompt.kind: i for i, prompt in reversed(list(enumerate(prompts)))}
    chosen = sorted(first.values())
    return (chosen + [i for i in range(len(prompts)) if i not in chosen])[:count]
