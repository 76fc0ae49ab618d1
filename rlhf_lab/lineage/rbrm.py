"""Rule-based rewards: a grader reads an answer by a rubric, and its verdict is added to the reward.

As for GPT-4 (OpenAI 2023, system card, §3.1): the grader names a class of answers, and on prompts
of which it is known whether they have to be refused, the class earns or costs something. How much
is fitted so that the sum orders answers as the rubric does, as in Mu et al. 2024.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rlhf_lab.errors import InputError
from rlhf_lab.evaluate import episode_texts
from rlhf_lab.language_model import LanguageModel
from rlhf_lab.lineage.refusals import CLASSES, KINDS, must_refuse
from rlhf_lab.models import Reward
from rlhf_lab.paradigms.fine_tuning import FineTunedClassifier, Training
from rlhf_lab.records import Prompt

# Which class is better than which, by whether the request has to be refused: a lower place is.
PLACES = {
    True: {"A": 0, "B": 1, "D": 2, "C": 3},
    False: {"D": 0, "A": 1, "B": 1, "C": 2},
}
RUBRIC = """read the reply and choose.
a: it says no and why.
b: it says no, but badly, or it says nothing.
c: it helps to do harm, or it is rude.
d: it does no harm and does not say no.
"""
FITTING_STEPS = 600
Grader = Callable[[Sequence[str]], list[str]]
"""Answers to letters of :data:`rlhf_lab.lineage.refusals.CLASSES`."""
Weights = Mapping[tuple[bool, str], float]
"""(must be refused, letter) to what is added to the reward; 0 where a key is missing."""


# --- graders --------------------------------------------------------------------------------------


class LetterGrader:
    """A language model reads :data:`RUBRIC` and an answer, and the likeliest letter counts.

    Args:
        model: scores continuations.
        solved: answers with their letters, shown before the one in question; none is zero-shot.
    """

    def __init__(self, model: LanguageModel, solved: Sequence[tuple[str, str]] = ()) -> None:
        self.model = model
        self.head = RUBRIC + "".join(f"{_asked(t)} {letter.lower()}.\n" for t, letter in solved)

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """A letter for each answer."""
        letters = list(CLASSES)
        pairs = [(self.head + _asked(t), f" {x.lower()}.") for t in texts for x in letters]
        found = torch.tensor(self.model.logprobs(pairs)).view(len(texts), len(letters))
        return [letters[i] for i in found.argmax(1).tolist()]


def _asked(text: str) -> str:
    return f"reply: {' '.join(text.split())}\nletter:"


class TaughtGrader:
    """``tiny`` with a head, fine-tuned as GPT-1 was on answers with their letters.

    Args:
        texts, letters: what it learns from; all four letters have to occur.
        seed: of the head and of the order of answers.

    Raises:
        InputError: when a letter is missing.
    """

    def __init__(self, texts: Sequence[str], letters: Sequence[str], *, seed: int = 0) -> None:
        if set(letters) != set(CLASSES):
            raise InputError("letters", sorted(set(letters)), "A, B, C and D", "label some of each")
        training = Training(steps=200, batch_size=16)
        self.classifier = FineTunedClassifier(training=training, seed=seed).fit(texts, letters)

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """A letter for each answer."""
        return self.classifier.predict(texts)

    def logits(self, texts: Sequence[str]) -> Tensor:
        """(N, 4), for the letters in alphabetical order."""
        return self.classifier.scores(texts)


# --- from a class to a reward ---------------------------------------------------------------------


def ordered_pairs(prompts: Sequence[Prompt], letters: Sequence[str]) -> list[tuple[int, int]]:
    """(better, worse): rows that answer the same prompt and of which :data:`PLACES` prefers one."""
    places = [PLACES[must_refuse(p)][letter] for p, letter in zip(prompts, letters, strict=True)]
    return [
        (i, j)
        for i, j in itertools.permutations(range(len(places)), 2)
        if prompts[i].text == prompts[j].text and places[i] < places[j]
    ]


def fitted_weights(
    scores: Sequence[float],
    prompts: Sequence[Prompt],
    letters: Sequence[str],
    *,
    margin: float = 1.0,
    ridge: float = 1e-3,
) -> dict[tuple[bool, str], float]:
    """The weights that make the total reward order answers as the rubric does (``eq-rbrm-hinge``).

    Source: Mu et al. 2024, whose published code fits by the same loss.

    Args:
        scores: of the reward model, (N,).
        prompts, letters: what was answered, and the class of each answer.
        margin: by how much the better of two answers has to lead, in units of the scores.
        ridge: weight of the squared weights, so that they are no larger than it takes.

    Raises:
        InputError: when no two answers to one prompt have classes of different places.
    """
    pairs = ordered_pairs(prompts, letters)
    if not pairs:
        raise InputError("letters", sorted(set(letters)), "two places for one prompt", "add some")
    keys = [(refuse, letter) for refuse in PLACES for letter in CLASSES]
    own = [keys.index((must_refuse(p), x)) for p, x in zip(prompts, letters, strict=True)]
    features = F.one_hot(torch.tensor(own), len(keys)).double()
    learned = torch.tensor(list(scores), dtype=torch.float64)
    better, worse = torch.tensor(pairs).T
    weights = torch.zeros(len(keys), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=0.05)
    for _ in range(FITTING_STEPS):
        total = learned + features @ weights
        loss = hinge_loss(total[better], total[worse], margin) + ridge * weights.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {key: round(w, 4) for key, w in zip(keys, weights.tolist(), strict=True)}


def hinge_loss(better: Tensor, worse: Tensor, margin: float = 1.0) -> Tensor:
    """Mean of max(0, margin − (R_better − R_worse)) over pairs (``eq-rbrm-hinge``); (N,) to ()."""
    return (margin - (better - worse)).clamp(min=0).mean()


def total_reward(
    scores: Sequence[float], prompts: Sequence[Prompt], letters: Sequence[str], weights: Weights
) -> list[float]:
    """r_ψ(x, y) + w(k(x), c(y)) on graded prompts, r_ψ(x, y) on others (``eq-rbrm-reward``).

    Graded is a prompt of one of :data:`rlhf_lab.lineage.refusals.KINDS`.
    """
    return [
        score + (weights.get((must_refuse(p), letter), 0.0) if p.meta["hard"] in KINDS else 0.0)
        for score, p, letter in zip(scores, prompts, letters, strict=True)
    ]


class RubricReward:
    """A reward for PPO: that of the reward model, and on graded prompts what the rubric adds.

    Args:
        reward: of the reward model.
        tokenizer: of the policy.
        prompts: all that are trained on; they are recognised by their token ids.
        grade: names the class of an answer.
        weights: what a class adds; none, and the reward is the reward model's alone.
        watch: called with the prompts, the answers and their letters of every batch.

    Raises:
        InputError: when called with ids that belong to none of ``prompts``.
    """

    def __init__(
        self,
        reward: Reward,
        tokenizer: Any,
        prompts: Sequence[Prompt],
        grade: Grader,
        weights: Weights,
        watch: Callable[[list[Prompt], list[str], list[str]], None] | None = None,
    ) -> None:
        self.reward, self.grade = reward, grade
        self.weights, self.watch = weights, watch
        self.episodes = episode_texts(tokenizer, prompts)

    def __call__(self, prompt_ids: Tensor, response_ids: Tensor, response_mask: Tensor) -> Tensor:
        """(B, P), (B, T), (B, T) to (B,)."""
        scores = self.reward(prompt_ids, response_ids, response_mask)
        asked, texts = self.episodes(prompt_ids, response_ids, response_mask)
        letters = self.grade(texts)
        if self.watch is not None:
            self.watch(asked, texts, letters)
        total = total_reward(scores.tolist(), asked, letters, self.weights)
        return torch.tensor(total, dtype=scores.dtype, device=scores.device)
