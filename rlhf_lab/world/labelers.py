"""Labelers: people who score the same attributes with weights of their own, and with noise.

Utility of labeler l for an answer: sum over attributes of weight times value, plus Gaussian noise
of standard deviation tau. Groups differ as in the paper (Ouyang et al. 2022, §3.4, §5.3): training
labelers put helpfulness first, evaluation puts truth and harmlessness first, and held-out
labelers never ranked training data. Some training labelers like hedging.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rlhf_lab.errors import InputError
from rlhf_lab.records import Prompt, Ranking
from rlhf_lab.world.judge import Attributes

# The mean labeler. Units are utility points; the gold score is this sum without noise.
WEIGHTS = {
    "follows": 1.5,
    "truth": 1.25,
    "relevance": 0.5,
    "harm": -1.5,
    "refusal": 1.0,
    "hedge": -0.75,
    "form": 0.75,
    "length": -0.5,
}
GROUPS = ("train", "heldout")
# Noise, set so that two labelers of a group agree on pairs of SFT samples as often as the paper's
# (72.6 % training, 77.3 % held-out); measured by tests/world/test_labelers.py.
NOISE = {"train": 0.52, "heldout": 0.37}
SPREAD = 0.2  # log standard deviation of a labeler's weights around the mean
HEDGE_LOVERS = 0.15  # share of training labelers who reward hedging
TIE_STEP = 0.25  # utilities are rounded to this before ranking, so near-equals tie
LABELERS_PER_GROUP = 20


@dataclass(frozen=True)
class Labeler:
    """One person: a name, weights for each attribute, and the noise of a single judgement.

    Judges by the utility of ``eq-labeler-utility``.
    """

    name: str
    weights: Mapping[str, float]
    noise: float

    def value(self, attributes: Attributes) -> float:
        """Noiseless utility."""
        return sum(self.weights[a] * v for a, v in attributes.as_dict().items())

    def utility(self, attributes: Attributes, rng: random.Random) -> float:
        """u = Σ_a w_a·x_a + τ·ε with ε ~ N(0, 1): utility as felt once (``eq-labeler-utility``)."""
        return self.value(attributes) + rng.gauss(0.0, self.noise)

    def rank(
        self,
        prompt: Prompt,
        completions: Sequence[str],
        judge: Callable[[Prompt, str], Attributes],
        rng: random.Random,
    ) -> Ranking:
        """Rank K completions, best first at rank 0; equal utilities after rounding tie.

        Raises:
            InputError: for fewer than two completions.
        """
        felt = [self.utility(judge(prompt, c), rng) for c in completions]
        rounded = [round(u / TIE_STEP) for u in felt]
        order = sorted(set(rounded), reverse=True)
        ranks = tuple(order.index(u) for u in rounded)
        return Ranking(prompt.text, tuple(completions), ranks, prompt.kind, self.name)


MEAN_LABELER = Labeler("mean", WEIGHTS, 0.0)


def make_labelers(seed: int, group: str, *, evaluating: bool = False) -> tuple[Labeler, ...]:
    """The labelers of a group.

    Args:
        seed: the world's seed.
        group: "train" or "heldout".
        evaluating: instructions of final evaluations: truth and harm weigh half as much again.

    Raises:
        InputError: for an unknown group.
    """
    if group not in GROUPS:
        raise InputError("group", group, f"one of {', '.join(GROUPS)}", "choose a group")
    people = []
    for i in range(LABELERS_PER_GROUP):
        rng = random.Random(f"fernwick:labeler:{seed}:{group}:{i}")
        weights = {a: w * rng.lognormvariate(0.0, SPREAD) for a, w in WEIGHTS.items()}
        if group == "train" and i < round(HEDGE_LOVERS * LABELERS_PER_GROUP):
            weights["hedge"] = 0.3
        if evaluating:
            for attribute in ("truth", "harm"):
                weights[attribute] *= 1.5
        people.append(Labeler(f"{group}-{i:02d}", weights, NOISE[group]))
    return tuple(people)


def agreement(
    answers: Sequence[tuple[Prompt, Sequence[str]]],
    judge: Callable[[Prompt, str], Attributes],
    labelers: Sequence[Labeler],
    *,
    seed: int = 0,
) -> float:
    """Share of pairs of answers that two labelers, drawn anew for each prompt, order alike.

    Where a labeler drawn at random prefers the first answer of pair i with probability p_i, its
    expectation is the mean over pairs of p_i² + (1 − p_i)² (label ``eq-agreement``).

    Pairs that either of them calls a tie are left out, and so are equal texts. NaN without pairs.

    Args:
        answers: prompts, each with two or more answers.
        judge: measures an answer.
        labelers: at least two.
        seed: decides who judges and their noise.

    Raises:
        InputError: for fewer than two labelers.
    """
    if len(labelers) < 2:
        raise InputError("labelers", len(labelers), "two or more", "pass a whole group")
    alike = pairs = 0
    for index, (prompt, texts) in enumerate(answers):
        rng = random.Random(f"agreement:{seed}:{index}:{prompt.text}")
        distinct = list(dict.fromkeys(texts))
        if len(distinct) < 2:
            continue
        one, two = (
            person.rank(prompt, distinct, judge, rng).ranks for person in rng.sample(labelers, 2)
        )
        for i, j in itertools.combinations(range(len(distinct)), 2):
            if one[i] != one[j] and two[i] != two[j]:
                pairs += 1
                alike += (one[i] < one[j]) == (two[i] < two[j])
    return alike / pairs if pairs else math.nan


def ceiling_bounds(agreement: float) -> tuple[float, float]:
    """Between which shares of pairs the best possible judge agrees with one labeler.

    A ≤ E[max(p, 1 − p)] ≤ (1 + √(2A − 1))/2 for the agreement A of two labelers who are drawn
    independently for each pair, on the pairs that both put in order (``eq-agreement-ceiling``). The
    lower end is reached when every pair is either certain or a coin toss, the upper one when all
    pairs are equally hard.

    Args:
        agreement: A, 0.5 to 1; below 0.5 no such labelers exist.

    Raises:
        InputError: for an agreement outside of that range.
    """
    if not 0.5 <= agreement <= 1:
        raise InputError("agreement", agreement, "0.5 to 1", "give a share of pairs, not percent")
    return agreement, (1 + math.sqrt(2 * agreement - 1)) / 2
