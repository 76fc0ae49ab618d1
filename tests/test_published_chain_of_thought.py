"""What a section on chain of thought prints: counted rightly, and whole as it is published."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from benchmarks import chain_of_thought as cot
from rlhf_lab.lineage.long_sums import LongSum, long_sums

SMALL = cot.Measured(questions=5, examples=2)


def solver(mistakes: int) -> Any:
    """In place of a model: all replies are right but the first few; prompts are kept."""

    def replies(_: Any, __: Any, questions: Sequence[str], *, prefix: str, **___: Any) -> list[str]:
        asked.append((list(questions), prefix))
        said = []
        for text in questions:
            start, *rest = text.strip(".=\n ").replace("- ", "-").replace("+ ", "").split()
            problem = LongSum(int(start), tuple(map(int, rest)))
            whole = text.endswith("\n")
            said.append(problem.solution if whole else f" {problem.answer}.")
        return ["so 99." if i < mistakes else text for i, text in enumerate(said)]

    asked: list[tuple[list[str], str]] = []
    replies.asked = asked  # type: ignore[attr-defined]
    return replies


@pytest.mark.parametrize("mistakes", [0, 2])
def test_replies_are_counted_by_their_checkers(
    mistakes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = solver(mistakes)
    monkeypatch.setattr(cot, "answers", model)
    rows = {row["asked"]: row for row in cot.asked("nano", 1, SMALL)}
    assert [rows[how]["questions"] for how in cot.ASKED] == [5, 5, 15]
    assert [rows[how]["right"] for how in cot.ASKED] == [5 - mistakes, 5 - mistakes, 15 - mistakes]
    assert [rows[how]["derived"] for how in cot.ASKED] == [0, 5 - mistakes, 0]
    first = long_sums("train", 2, 1)[0]
    (alone, with_answers), (_, with_steps), (single, with_a_step) = model.asked
    assert with_answers.startswith(f"{first.text.strip()[:-1]} = {first.answer}.\n")
    assert with_steps.startswith(first.text + first.solution + "\n")
    assert with_a_step.startswith(first.steps[0] + "\n")
    assert not any(problem.text in with_steps for problem in long_sums("test", 5, 1))
    assert all(text.endswith(" =") for text in alone) and all(t.endswith("=") for t in single)


def test_every_cell_of_the_plan_is_published_once() -> None:
    table = pd.read_csv(cot.FOLDER / "answers.csv")
    rows = table[["size", "seed", "asked"]].itertuples(index=False, name=None)
    assert sorted(rows) == sorted(itertools.product(cot.SIZES, cot.SEEDS, cot.ASKED))
    assert (table[["right", "derived"]].max(axis=1) <= table.questions).all()
