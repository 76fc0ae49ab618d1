"""HumanEval's format: a function's beginning, and tests that a completed function has to pass.

164 problems written by hand, MIT licence (Chen et al. 2021, arXiv 2107.03374, §2.2). A problem is
a line of JSON with ``task_id``, ``prompt``, ``entry_point``, ``canonical_solution`` and ``test``,
which defines ``check``; a sample is one with ``task_id`` and ``completion``. Anything in this form
is scored here, our own tasks included.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rlhf_lab.errors import InputError
from rlhf_lab.lineage.sandbox import Outcome, run
from rlhf_lab.paradigms.data import real_file

URL = "https://github.com/openai/human-eval/raw/master/data/HumanEval.jsonl.gz"
SHA256 = "1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2"


@dataclass(frozen=True)
class Problem:
    """One problem; the names are those of the format.

    Attributes:
        prompt: imports, signature and docstring; a completion goes on from there.
        entry_point: name of the function that is tested.
        canonical_solution: the body that its author wrote.
        test: Python code that defines ``check(candidate)``.
    """

    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    test: str

    def program(self, completion: str) -> str:
        """The completed function and its tests, as one program."""
        return f"{self.prompt}{completion}\n{self.test}\ncheck({self.entry_point})\n"


def human_eval() -> list[Problem]:
    """The 164 problems: from ``$RLHF_LAB_DATA/humaneval/HumanEval.jsonl.gz``, or downloaded once.

    Raises:
        InputError: when the file can neither be found nor downloaded, or is another one.
    """
    data = real_file("humaneval", "HumanEval.jsonl", URL, SHA256)
    return read_problems(data.decode())


def read_problems(text: str) -> list[Problem]:
    """Problems from lines of JSON.

    Raises:
        InputError: for a line that lacks a field, or an identifier that comes twice.
    """
    names = list(Problem.__dataclass_fields__)
    problems = [Problem(*(row[name] for name in names)) for row in json_rows(text, names)]
    if len({problem.task_id for problem in problems}) < len(problems):
        raise InputError("task_id", "one that comes twice", "each once", "remove the copies")
    return problems


def read_samples(text: str) -> list[tuple[str, str]]:
    """(task_id, completion) from lines of JSON.

    Raises:
        InputError: for a line that lacks a field.
    """
    return [
        (row["task_id"], row["completion"]) for row in json_rows(text, ["task_id", "completion"])
    ]


def json_rows(text: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Objects from lines of JSON that each have texts under some names.

    Raises:
        InputError: for a line that lacks one.
    """
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not all(isinstance(row.get(n), str) for n in names):
            raise InputError(
                f"line {number}", line, f"a JSON object with texts {', '.join(names)}", "correct it"
            )
        found.append(row)
    return found


def check(problem: Problem, completion: str, **limits: Any) -> Outcome:
    """Run one completion against its tests; ``limits`` are those of the sandbox."""
    return run(problem.program(completion), **limits)


def score(
    problems: Sequence[Problem], samples: Iterable[tuple[str, str]], **limits: Any
) -> pd.DataFrame:
    """Run all samples; equal ones of a problem are run once.

    Returns:
        ``task_id, samples, right``, one row for each problem that has samples, in their order.

    Raises:
        InputError: for a sample of a problem that is not there.
    """
    known = {problem.task_id: problem for problem in problems}
    verdicts: dict[tuple[str, str], bool] = {}
    counts: dict[str, list[int]] = {}
    for task_id, completion in samples:
        if task_id not in known:
            raise InputError("task_id", task_id, "that of a problem", "score it with its problems")
        one = task_id, completion
        if one not in verdicts:
            verdicts[one] = check(known[task_id], completion, **limits).passed
        row = counts.setdefault(task_id, [0, 0])
        row[0] += 1
        row[1] += verdicts[one]
    rows = [(name, *counts[name]) for name in known if name in counts]
    return pd.DataFrame(rows, columns=["task_id", "samples", "right"])
