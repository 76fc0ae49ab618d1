"""What a model knows, and whether it knows that: short answers, graded and weighed.

SimpleQA (Wei et al. 2024) asks for single facts and tells three grades apart: right, wrong, and not
attempted. Here are the questions and the grades in Fernwick, the scores that can be made of them,
the confidence from which guessing pays under a penalty, and three ways to look at a confidence.

Left out: confidence that a model states in words; Fernwick's models have no words for it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rlhf_lab.errors import InputError
from rlhf_lab.lineage.calibration import expected_calibration_error
from rlhf_lab.records import Prompt
from rlhf_lab.world.answers import right_answer
from rlhf_lab.world.grammar import RELATIONS, fill
from rlhf_lab.world.judge import read
from rlhf_lab.world.prompts import split_of

if TYPE_CHECKING:
    from rlhf_lab.world import World

RIGHT, WRONG, NOT_ATTEMPTED = GRADES = ("right", "wrong", "not attempted")
SPLITS = ("train", "valid", "test")
EXAMPLES = 4  # solved questions before the one that is asked
LONGEST_EXAMPLE = 15  # words, so that a prefix stays short
BINS = 5


# --- questions and grades -----------------------------------------------------------------------


def fact_questions(world: World, splits: Sequence[str] = SPLITS, *, seed: int = 0) -> list[Prompt]:
    """One question about each fact, misconceptions aside, in a wording that the seed draws.

    Args:
        world: whose facts.
        splits: of the questions; nobody asks for the facts of "valid" and "test" in training, not
            even on the forum, while the encyclopaedia states them all.
        seed: of the wordings.

    Raises:
        InputError: for an unknown split.
    """
    if unknown := set(splits) - set(SPLITS):
        raise InputError("splits", sorted(unknown), f"some of {SPLITS}", "correct the list")
    k, rng = world.knowledge, random.Random(f"fact questions:{world.seed}:{seed}")
    false = {(relation, subject) for relation, subject, _ in k.misconceptions}
    asked = []
    for relation in RELATIONS:
        for subject in k.facts[relation]:
            wording = rng.choice(RELATIONS[relation].questions)
            split = split_of("open_qa", relation, subject)
            if split in splits and (relation, subject) not in false:
                asked.append(_question(relation, subject, wording))
    return asked


def _question(relation: str, subject: str, wording: str) -> Prompt:
    meta = {"task": "fact", "hard": "", "relation": relation, "subject": subject}
    return Prompt(fill(wording, relation, subject) + "\n", "open_qa", meta)


def solved_questions(world: World, *, shots: int = EXAMPLES, seed: int = 0) -> str:
    """A few-shot prefix: questions about training facts of different relations, answered rightly.

    Args:
        world: whose facts.
        shots: how many.
        seed: draws them.
    """
    rng = random.Random(f"solved questions:{world.seed}:{seed}")
    pool = fact_questions(world, ("train",), seed=seed)
    rng.shuffle(pool)
    found: dict[str, str] = {}
    for prompt in pool:
        text = prompt.text + right_answer(world.knowledge, prompt, rng) + "\n"
        if len(found) < shots and len(text.split()) <= LONGEST_EXAMPLE:
            found.setdefault(prompt.meta["relation"], text)
    return "".join(found.values())


def given_answer(world: World, prompt: Prompt, text: str) -> frozenset[str]:
    """The values that a reply gives for what was asked; empty where it does not attempt it.

    Hedged and rude sentences count for what they say: only the fact is looked at. A denial ("the
    fox does not eat bread") gives no value.

    Args:
        world: the prompt's.
        prompt: a question about one fact.
        text: the reply.

    Raises:
        InputError: for a prompt that asks something else.
    """
    if prompt.meta.get("task") != "fact":
        raise InputError("prompt", prompt.text, "a question about a fact", "use fact_questions")
    relation, subject = prompt.meta["relation"], prompt.meta["subject"]
    reading = read(text.strip())
    found = [
        value
        for clause in reading.of_kind("fact")
        for about, who, value in [world.judge.assertion(clause)]
        if (about, who) == (relation, subject) and not clause.denied
    ]
    if not found:
        kind = RELATIONS[relation].value_class
        persons = {} if relation == "name" else world.knowledge.persons
        found = [
            persons.get(phrase.entity, phrase.entity)
            for clause in reading.of_kind("fragment")
            for phrase in clause.fragment
            if phrase.kind == kind or (kind, phrase.kind) == ("P", "L")
        ]
    return frozenset(found)


def grade(world: World, prompt: Prompt, text: str) -> str:
    """One of :data:`GRADES`, as SimpleQA grades.

    Right: the fact is given, and nothing that contradicts it. Wrong: a value is given that does not
    hold, hedged or not. Not attempted: no value is given.

    Raises:
        InputError: for a prompt that asks something else than a fact.
    """
    values = given_answer(world, prompt, text)
    if not values:
        return NOT_ATTEMPTED
    relation, subject = prompt.meta["relation"], prompt.meta["subject"]
    held = [world.knowledge.holds(relation, subject, value) for value in values]
    return RIGHT if all(held) else WRONG


# --- scores ---------------------------------------------------------------------------------------


def f_score(right: float, wrong: float, not_attempted: float) -> float:
    """F = 2r / (2r + 2w + n), SimpleQA's single number (``eq-simpleqa-f``).

    The harmonic mean of the share of all questions that are answered rightly and the share of the
    attempted ones; 0 without a right answer. Wei et al. 2024, appendix B.

    Args:
        right, wrong, not_attempted: numbers of questions, or shares of them.

    Raises:
        InputError: for no questions, or a negative number.
    """
    _require_counts(right, wrong, not_attempted)
    return 2 * right / (2 * right + 2 * wrong + not_attempted)


def penalised_score(right: float, wrong: float, not_attempted: float, penalty: float) -> float:
    """S_p = (r − p·w) / N: a point for a right answer, −p for a wrong one (``eq-penalised-score``).

    Args:
        right, wrong, not_attempted: numbers of questions, or shares of them.
        penalty: p, in points.

    Raises:
        InputError: for no questions, a negative number or a negative penalty.
    """
    _require_counts(right, wrong, not_attempted)
    _require_penalty(penalty)
    return (right - penalty * wrong) / (right + wrong + not_attempted)


def guess_threshold(penalty: float) -> float:
    """t = p / (1 + p): the chance of being right above which to answer (``eq-guess-threshold``).

    Kalai et al. 2025 (§4.2) say it the other way round: the penalty for a threshold t is t/(1 − t).

    Raises:
        InputError: for a negative penalty.
    """
    _require_penalty(penalty)
    return penalty / (1 + penalty)


def abstaining_score(
    confidence: Sequence[float], right: Sequence[bool], penalty: float, *, threshold: float
) -> float:
    """Mean score of answers given only above a threshold of confidence (``eq-abstaining-score``).

    Args:
        confidence: (N,), of each question; 0 where no answer is at hand.
        right: (N,), whether the answer that would be given is right.
        penalty: p, points lost by a wrong answer.
        threshold: answers whose confidence is not above it are held back.

    Raises:
        InputError: for lengths that differ, no questions or a negative penalty.
    """
    held, correct = _require_pairs(confidence, right)
    _require_penalty(penalty)
    points = np.where(correct, 1.0, -penalty)
    return float(np.where(held > threshold, points, 0.0).mean())


# --- confidence -----------------------------------------------------------------------------------


def agreement(answer: frozenset[str], samples: Sequence[frozenset[str]]) -> float:
    """Share of the sampled replies with an answer that give this one (``eq-answer-agreement``).

    Args:
        answer: of :func:`given_answer`.
        samples: the same of replies drawn independently of it; empty ones are left out.

    Returns:
        0 for an empty answer, and where no sample has one.
    """
    attempted = [sample for sample in samples if sample]
    if not answer or not attempted:
        return 0.0
    return sum(sample == answer for sample in attempted) / len(attempted)


def calibration_error(
    confidence: Sequence[float], right: Sequence[bool], *, bins: int = BINS
) -> float:
    """Mean distance of confidence and accuracy over equal bins (``eq-calibration-error``).

    The expected calibration error: answers are put into bins of confidence, and each bin counts
    for its share of the answers. With few answers to a bin it is above 0 by chance alone.

    Args:
        confidence: (N,), between 0 and 1.
        right: (N,).
        bins: B, of equal width.

    Raises:
        InputError: for lengths that differ, no answers or no bins.
    """
    held, correct = _require_pairs(confidence, right)
    if bins < 1:
        raise InputError("bins", bins, "at least 1", "ask for more bins")
    return expected_calibration_error(held, correct, bins)


def ranks_right(confidence: Sequence[float], right: Sequence[bool]) -> float:
    """How often a right answer has more confidence than a wrong one (``eq-ranks-right``).

    The area under the ROC curve: over all pairs of a right and a wrong answer, ties count half.
    One half says nothing, 1 puts every right answer above every wrong one.

    Returns:
        NaN where all answers are right, or all wrong.

    Raises:
        InputError: for lengths that differ or no answers.
    """
    held, correct = _require_pairs(confidence, right)
    above, below = held[correct], held[~correct]
    if not len(above) or not len(below):
        return float("nan")
    gap = above[:, None] - below[None, :]
    return float(((gap > 0) + (gap == 0) / 2).mean())


def _require_counts(*counts: float) -> None:
    if min(counts) < 0 or sum(counts) <= 0:
        raise InputError("counts", counts, "at least one question, none negative", "count again")


def _require_penalty(penalty: float) -> None:
    if not penalty >= 0:
        raise InputError("penalty", penalty, "at least 0", "say what a wrong answer costs")


def _require_pairs(
    confidence: Sequence[float], right: Sequence[bool]
) -> tuple[np.ndarray, np.ndarray]:
    held, correct = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
    if len(held) != len(correct) or not len(held):
        given = f"{len(held)} confidences for {len(correct)} answers"
        raise InputError("confidence", given, "as many as answers, at least one", "pass both")
    return held, correct
