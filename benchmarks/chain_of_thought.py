"""Do written steps in the examples of a prompt help a base model that nobody taught to write them?

Writes the table of a section of the chapter *Scaling, measured*, with its manifest, to
``book/results/chain-of-thought``. The shipped base models are asked sums of four numbers below four
solved ones, with the answers alone or with all steps, and greedily go on. As a control each is
asked the single steps of the same sums below four solved steps. A seed changes examples and
questions; of each size there is one model.

Written before any run. Steps *help* a size if right answers with steps less those without lie above
0 with the whole interval over seeds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rlhf_lab.files import atomic_write
from rlhf_lab.language_model import answers
from rlhf_lab.lineage.long_sums import RIGHT, LongSum, answer_is_right, derivation, long_sums
from rlhf_lab.models import load_policy
from rlhf_lab.provenance import manifest

FOLDER = Path(__file__).parents[1] / "book" / "results" / "chain-of-thought"
SEEDS = (0, 1, 2)
SIZES = ("nano", "micro", "tiny")
ALONE, STEPS, SINGLE = ASKED = ("answers alone", "with steps", "single steps")


@dataclass(frozen=True)
class Measured:
    """What each size is asked on each seed.

    Attributes:
        questions: sums of four numbers, of the test split; examples: solved ones before each.
        longest: tokens of a reply.
    """

    questions: int = 120
    examples: int = 4
    longest: int = 32


def run() -> None:
    """Ask all models, write the table."""
    started, settings = time.time(), Measured()
    table = pd.DataFrame(
        row for size in SIZES for seed in SEEDS for row in asked(size, seed, settings)
    )
    atomic_write(FOLDER / "answers.csv", table.to_csv(index=False))
    about = manifest("python -m benchmarks chain_of_thought", settings, SEEDS, started)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    print(table.to_string())


def asked(size: str, seed: int, settings: Measured) -> list[dict[str, Any]]:
    """One size with one set of examples, asked in three ways.

    Returns:
        ``asked``; ``questions``; ``right``; and of replies with steps ``derived``, those whose
        steps are those of the problem and true.
    """
    model, tokenizer = load_policy(size)
    shown = long_sums("train", settings.examples, seed)
    problems = long_sums("test", settings.questions, seed)

    def replies(questions: Sequence[str], examples: Sequence[str]) -> list[str]:
        prefix = "".join(f"{example}\n" for example in examples)
        return answers(
            model, tokenizer, questions,
            prefix=prefix, greedy=True, max_new_tokens=settings.longest,
        )  # fmt: skip

    def bare(problem: LongSum) -> str:
        return problem.text.strip(".\n") + " ="

    said = {
        ALONE: replies([bare(p) for p in problems], [f"{bare(p)} {p.answer}." for p in shown]),
        STEPS: replies([p.text for p in problems], [p.text + p.solution for p in shown]),
    }
    steps = [step for problem in problems for step in problem.steps]
    ends = replies([step.split("=")[0] + "=" for step in steps], [p.steps[0] for p in shown])
    of_steps = [text.strip() == step.split("= ")[1] for text, step in zip(ends, steps, strict=True)]
    rows = [
        {
            "asked": how,
            "questions": len(problems),
            "right": sum(map(answer_is_right, problems, texts)),
            "derived": sum(
                derivation(*pair) == RIGHT for pair in zip(problems, texts, strict=True)
            ),
        }
        for how, texts in said.items()
    ]
    rows.append({"asked": SINGLE, "questions": len(steps), "right": sum(of_steps), "derived": 0})
    return [{"size": size, "seed": seed, **row} for row in rows]
