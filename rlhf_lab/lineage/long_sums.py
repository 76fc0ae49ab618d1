"""Sums of several numbers, solved in written steps, and what a checker can read of a solution.

GSM8K in spirit (Cobbe et al. 2021): an answer takes several calculations, one after the other. Each
of them is a sum or a difference within twenty, of which Fernwick's web is full; what has to be
learned is to write them down, in order, and to go on with what came out.

Left out: multiplication, stories around the numbers, and more than one way to an answer.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from rlhf_lab.errors import InputError
from rlhf_lab.records import Demonstration
from rlhf_lab.world.prompts import check_split, split_of

LARGEST = 20  # of all totals; Fernwick's web has no larger sums
MOST = 9  # of each number; a first number of two digits would shift all that follows
CHANGES = 3  # numbers that are added or taken away
RIGHT, WRONG, NONE = DERIVATIONS = ("right", "wrong", "none")
_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class LongSum:
    """A problem.

    Attributes:
        start: the first number.
        changes: what is added (above 0) and taken away (below 0), in order.
    """

    start: int
    changes: tuple[int, ...]

    @property
    def text(self) -> str:
        """The prompt: ``"4 + 8 - 3 + 2."`` and a line break."""
        return " ".join([str(self.start), *map(_signed, self.changes)]) + ".\n"

    @property
    def totals(self) -> tuple[int, ...]:
        """The first number, and what is reached after each change."""
        found = [self.start]
        for change in self.changes:
            found.append(found[-1] + change)
        return tuple(found)

    @property
    def answer(self) -> int:
        """What comes out."""
        return self.totals[-1]

    @property
    def steps(self) -> tuple[str, ...]:
        """The calculations of a written solution: ``"4 + 8 = 12."`` and so on."""
        return tuple(
            f"{before} {_signed(change)} = {before + change}."
            for before, change in zip(self.totals, self.changes, strict=False)
        )

    @property
    def solution(self) -> str:
        """All steps, and the answer behind ``so``."""
        return " ".join([*self.steps, self.bare_answer])

    @property
    def bare_answer(self) -> str:
        """The answer without a step: ``"so 11."``."""
        return f"so {self.answer}."


def _signed(change: int) -> str:
    return f"{'+' if change > 0 else '-'} {abs(change)}"


def long_sums(split: str, count: int, seed: int = 0, *, changes: int = CHANGES) -> list[LongSum]:
    """Problems of a split. A problem belongs to one split, and comes once outside of training.

    Args:
        split: "train", "valid" or "test".
        count: how many; seed: which.
        changes: numbers that are added or taken away.

    Raises:
        InputError: for an unknown split, a count below 1, or no change.
    """
    check_split(split)
    if count < 1:
        raise InputError("count", count, "1 or more", "ask for a problem")
    if changes < 1:
        raise InputError("changes", changes, "1 or more", "let something be added")
    rng = random.Random(f"long sums:{split}:{seed}")
    found: list[LongSum] = []
    seen: set[LongSum] = set()
    while len(found) < count:
        problem = _drawn(rng, changes)
        if split_of("long sum", problem.text) != split or (split != "train" and problem in seen):
            continue
        seen.add(problem)
        found.append(problem)
    return found


def _drawn(rng: random.Random, length: int) -> LongSum:
    start = total = rng.randint(2, MOST)
    changes = []
    for _ in range(length):
        possible = [c for c in range(-MOST, MOST + 1) if c and 0 <= total + c <= LARGEST]
        changes.append(rng.choice(possible))
        total += changes[-1]
    return LongSum(start, tuple(changes))


def solved(split: str, count: int, seed: int = 0, *, written: float = 0.5) -> list[Demonstration]:
    """Solved problems, what a model is fine-tuned on; the others have the answer alone.

    Args:
        written: share of solutions with steps, 0 to 1.

    Raises:
        InputError: for a share outside 0 to 1, and see :func:`long_sums`.
    """
    if not 0 <= written <= 1:
        raise InputError("written", written, "0 to 1", "pass a share")
    rng = random.Random(f"solved long sums:{split}:{seed}")
    return [
        Demonstration(
            problem.text,
            problem.solution if rng.random() < written else problem.bare_answer,
            "long sum",
        )
        for problem in long_sums(split, count, seed)
    ]


# --- what a checker reads -------------------------------------------------------------------------


def last_number(text: str) -> int | None:
    """The last whole number of a text, as most harnesses read an answer; None without one."""
    found = _NUMBER.findall(text)
    return int(found[-1][:9]) if found else None


def answer_is_right(problem: LongSum, text: str) -> bool:
    """Whether the last number is the answer. Nothing before it is read."""
    return last_number(text) == problem.answer


def answer_is_somewhere(problem: LongSum, text: str) -> bool:
    """Whether the answer's digits stand anywhere in a text: a checker that can be fooled."""
    return str(problem.answer) in text


def derivation(problem: LongSum, text: str) -> str:
    """What a solution does before its answer.

    Returns:
        "right" when its calculations are those of the problem, all of them, in order and true;
        "none" when nothing stands before the answer; "wrong" for everything else.
    """
    written = text.partition("so ")[0].strip()
    if not written:
        return NONE
    return RIGHT if written == " ".join(problem.steps) else WRONG


def first_steps(text: str, count: int) -> str:
    """The first sentences of a solution, at most ``count``, without its answer."""
    written = text.partition("so ")[0]
    return "".join(re.findall(r"[^.]*\.", written)[:count])
