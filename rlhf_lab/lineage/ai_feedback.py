"""AI feedback: answers are ranked by a model in the place of labelers.

What is trained on the rankings, a reward model or a policy, does not know who wrote them. Bai et
al. 2022 (arXiv 2212.08073) ask a language model which of two answers goes better by a principle,
and take its probabilities for a label; Lee et al. 2023 (arXiv 2309.00267) compare such labels with
people's. A judge here gives a number to each answer, so that K of them are ranked by K readings.

Left out: answers that a model criticises and rewrites itself, and judges that think before they
answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from rlhf_lab.encoding import encode_prompts
from rlhf_lab.errors import InputError
from rlhf_lab.language_model import LanguageModel, continuation_logprobs, rm_scores
from rlhf_lab.models import ScalarModel
from rlhf_lab.records import Ranking

Judge = Callable[[Sequence[str], Sequence[str]], list[float]]
"""(prompts, completions), N each -> N scores; more is better."""

PRINCIPLE = "is the answer good? it does what is asked, it is true, and it does no harm.\n"


class PromptedJudge:
    """A language model that is asked for a verdict: log p("yes") − log p("no").

    Source: Bai et al. 2022, §4.1, for one answer at a time.

    Args:
        model: scores continuations.
        solved: (prompt, completion, whether it is good) shown before the one in question.
        principle: what comes first.
    """

    def __init__(
        self,
        model: LanguageModel,
        solved: Sequence[tuple[str, str, bool]] = (),
        principle: str = PRINCIPLE,
    ) -> None:
        self.model = model
        shown = [f"{_asked(p, c)} {'yes' if good else 'no'}.\n" for p, c, good in solved]
        self.head = principle + "".join(shown)

    def __call__(self, prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        """The log-odds of "yes", in nats."""
        texts = [self.head + _asked(p, c) for p, c in zip(prompts, completions, strict=True)]
        said = self.model.logprobs([(t, f" {word}.") for t in texts for word in ("yes", "no")])
        return [yes - no for yes, no in zip(said[::2], said[1::2], strict=True)]


def _asked(prompt: str, completion: str) -> str:
    return f"request: {' '.join(prompt.split())}\nanswer: {' '.join(completion.split())}\ngood:"


def likelihood_judge(policy: Any, tokenizer: Any) -> Judge:
    """A policy that prefers what it would say itself: mean log-probability of an answer's tokens.

    In nats per token, EOS included.
    """

    def judge(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        heads = encode_prompts(tokenizer, prompts)
        encoded = tokenizer(list(completions), add_special_tokens=False)["input_ids"]
        tails = [[*ids, tokenizer.eos_token_id] for ids in encoded]
        pairs = list(zip(heads, tails, strict=True))
        totals = continuation_logprobs(policy, pairs, tokenizer.pad_token_id)
        return [total / len(tail) for total, tail in zip(totals, tails, strict=True)]

    return judge


def scalar_judge(model: ScalarModel, tokenizer: Any) -> Judge:
    """A model with a scalar head, such as the shipped examiner, which no labeler has taught."""
    return lambda prompts, completions: rm_scores(model, tokenizer, prompts, completions)


def ranked_by(judge: Judge, rankings: Sequence[Ranking], name: str) -> list[Ranking]:
    """The same completions with the ranks of a judge; equal scores are ties.

    Args:
        name: written into ``labeler``.
    """
    prompts = [r.prompt for r in rankings for _ in r.completions]
    scores = iter(judge(prompts, [text for r in rankings for text in r.completions]))
    found = []
    for ranking in rankings:
        own = [next(scores) for _ in ranking.completions]
        order = sorted(set(own), reverse=True)
        ranks = tuple(order.index(score) for score in own)
        found.append(dataclasses.replace(ranking, ranks=ranks, labeler=name))
    return found


def pair_agreement(ones: Sequence[Ranking], others: Sequence[Ranking]) -> float:
    """Share of pairs that ``others`` order as ``ones`` do; a tie of ``others`` counts half.

    Pairs that ``ones`` tie, and equal texts, are left out. One half is what a coin reaches.

    Args:
        ones, others: of the same completions in the same order.

    Raises:
        InputError: when the two differ in more than ranks, or no pair is left.
    """
    if len(ones) != len(others):
        raise InputError("others", len(others), f"{len(ones)} rankings", "rank them all")
    alike, pairs = 0.0, 0
    for one, other in zip(ones, others, strict=True):
        if (one.prompt, one.completions) != (other.prompt, other.completions):
            raise InputError("others", other.prompt, "the same completions", "rank them again")
        for i, first in enumerate(one.completions):
            for j, second in enumerate(one.completions):
                if one.ranks[i] < one.ranks[j] and first != second:
                    pairs += 1
                    gap = other.ranks[j] - other.ranks[i]
                    alike += 0.5 + 0.5 * ((gap > 0) - (gap < 0))
    if pairs == 0:
        raise InputError("ones", len(ones), "at least one ordered pair", "give other rankings")
    return alike / pairs
