"""Word problems of Fernwick, solved in written steps, and what a checker can read of a solution.

GSM8K in spirit (Cobbe et al. 2021): somebody has some things, gets and loses some, and the
question is how many are left. Every step is a sum or a difference within twenty, which the web of
Fernwick is full of; what has to be learned is to write the steps down, in order, and to keep count.

Left out: multiplication, and problems with more than one way to solve them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf_lab.errors import InputError
from rlhf_lab.records import Demonstration
from rlhf_lab.world import lexicon
from rlhf_lab.world.prompts import check_split, split_of

LARGEST = 20  # of all totals; Fernwick's web has no larger sums
MOST = 9  # that comes or goes at once
CHANGES = (2, 3, 4, 5)  # events of a problem, equally often
GAINS = ("it finds {n}.", "it buys {n}.", "the {friend} gives it {n}.")
LOSSES = ("it loses {n}.", "it sells {n}.", "it eats {n}.", "it gives {n} to the {friend}.")
RIGHT, WRONG, NONE = DERIVATIONS = ("right", "wrong", "none")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class WordSum:
    """A problem.

    Attributes:
        text: the story and the question, with a line break at its end.
        start: how many things there are at first.
        changes: what comes (above 0) and goes (below 0), in order.
    """

    text: str
    start: int
    changes: tuple[int, ...]

    @property
    def totals(self) -> tuple[int, ...]:
        """How many there are at first and after each change."""
        found = [self.start]
        for change in self.changes:
            found.append(found[-1] + change)
        return tuple(found)

    @property
    def answer(self) -> int:
        """How many there are at last."""
        return self.totals[-1]

    @property
    def steps(self) -> tuple[str, ...]:
        """The sums of a written solution: ``"3 + 5 = 8."`` and so on."""
        return tuple(
            f"{before} {'+' if change > 0 else '-'} {abs(change)} = {before + change}."
            for before, change in zip(self.totals, self.changes, strict=False)
        )

    @property
    def solution(self) -> str:
        """All steps, and the answer behind ``so``."""
        return " ".join([*self.steps, self.bare_answer])

    @property
    def bare_answer(self) -> str:
        """The answer without a step: ``"so 8."``."""
        return f"so {self.answer}."


def word_sums(
    split: str, count: int, seed: int = 0, *, changes: Sequence[int] = CHANGES
) -> list[WordSum]:
    """Problems of a split; their numbers of changes take turns.

    A chain of numbers belongs to one split, whatever the story around it: nothing that is asked in
    a test was solved in training. Outside training no chain comes twice.

    Args:
        split: "train", "valid" or "test".
        count: how many; seed: which.
        changes: events of a problem, in turn.

    Raises:
        InputError: for an unknown split, a count below 1, or problems without changes.
    """
    check_split(split)
    if count < 1:
        raise InputError("count", count, "1 or more", "ask for a problem")
    if not changes or min(changes) < 1:
        raise InputError("changes", tuple(changes), "numbers of at least 1", "let something happen")
    rng = random.Random(f"word sums:{split}:{seed}")
    found: list[WordSum] = []
    seen: set[tuple[int, ...]] = set()
    while len(found) < count:
        chain = _chain(rng, changes[len(found) % len(changes)])
        if split_of("word sum", *map(str, chain)) != split or (split != "train" and chain in seen):
            continue
        seen.add(chain)
        found.append(_told(rng, chain))
    return found


def _chain(rng: random.Random, length: int) -> tuple[int, ...]:
    total = rng.randint(2, 12)
    chain = [total]
    for _ in range(length):
        possible = [c for c in range(-MOST, MOST + 1) if c and 0 <= total + c <= LARGEST]
        chain.append(rng.choice(possible))
        total += chain[-1]
    return tuple(chain)


def _told(rng: random.Random, chain: tuple[int, ...]) -> WordSum:
    who, friend = rng.sample(lexicon.ANIMALS, 2)
    what = rng.choice(lexicon.COUNTABLE_FOODS)
    start, *changes = chain
    events = [
        rng.choice(GAINS if change > 0 else LOSSES).format(n=abs(change), friend=friend)
        for change in changes
    ]
    story = " ".join([f"the {who} has {start} {what}.", *events])
    return WordSum(f"{story}\nhow many {what} has it now?\n", start, tuple(changes))


def solved(split: str, count: int, seed: int = 0, *, written: float = 0.5) -> list[Demonstration]:
    """Solved problems, what a model is fine-tuned on; the others have the answer alone.

    Args:
        written: share of solutions with steps, 0 to 1.

    Raises:
        InputError: for a share outside 0 to 1, and see :func:`word_sums`.
    """
    if not 0 <= written <= 1:
        raise InputError("written", written, "0 to 1", "pass a share")
    rng = random.Random(f"solved word sums:{split}:{seed}")
    return [
        Demonstration(
            problem.text,
            problem.solution if rng.random() < written else problem.bare_answer,
            "word sum",
        )
        for problem in word_sums(split, count, seed)
    ]


# --- what a checker reads -------------------------------------------------------------------------


def last_number(text: str) -> int | None:
    """The last whole number of a text, as most harnesses read an answer; None without one."""
    found = _NUMBER.findall(text)
    return int(found[-1][:9]) if found else None


def answer_is_right(problem: WordSum, text: str) -> bool:
    """Whether the last number is the answer. Nothing before it is read."""
    return last_number(text) == problem.answer


def answer_is_somewhere(problem: WordSum, text: str) -> bool:
    """Whether the answer's digits stand anywhere in a text: a checker that can be fooled."""
    return str(problem.answer) in text


def derivation(problem: WordSum, text: str) -> str:
    """What a solution does before its answer.

    Returns:
        "right" when its sums are those of the problem, all of them, in order and true; "none" when
        there is no sum; "wrong" for everything else.
    """
    written = text.partition("so ")[0].strip()
    if not written:
        return NONE
    return RIGHT if written == " ".join(problem.steps) else WRONG


def first_steps(text: str, count: int) -> str:
    """The first sentences of a solution, at most ``count``, without its answer."""
    written = text.partition("so ")[0]
    return "".join(re.findall(r"[^.]*\.", written)[:count])
