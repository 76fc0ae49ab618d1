"""GSM8K's format: a solution in sentences, its calculations in brackets, its answer behind ####.

8.5 thousand school problems written by people, MIT licence (Cobbe et al. 2021, arXiv 2110.14168). A
problem is a line of JSON with ``question`` and ``answer``. In the answer a calculation stands as
``<<48/2=24>>`` before its result, where a calculator takes over when a model writes it; the last
line is ``#### 72``. Anything in this form is read here, our own problems included.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from rlhf_lab.errors import InputError
from rlhf_lab.lineage.human_eval import json_rows
from rlhf_lab.lineage.long_sums import LongSum
from rlhf_lab.paradigms.data import real_file

URL = "https://raw.githubusercontent.com/openai/grade-school-math/master/grade_school_math/data/"
SHA256 = {
    "train": "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
    "test": "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
}
_ANSWER = re.compile(r"#### *\$?(-?[\d,]*\.?\d+)")
_CALCULATION = re.compile(r"<<([^<>]*)>>")
_SUM = re.compile(r"[-+*/().\d\s]{1,120}")


@dataclass(frozen=True)
class Problem:
    """One problem; the names are those of the format."""

    question: str
    answer: str


@dataclass(frozen=True)
class Calculation:
    """What stands between the brackets.

    Attributes:
        text: as written, ``"48/2=24"``.
        holds: whether the left side is the right side, to the digits that are written; None when
            either side cannot be read.
    """

    text: str
    holds: bool | None


def gsm8k(split: str) -> list[Problem]:
    """The problems of a split: from ``$RLHF_LAB_DATA/gsm8k/<split>.jsonl``, or downloaded once.

    Args:
        split: "train" (7,473 problems) or "test" (1,319).

    Raises:
        InputError: for another split, or when the file can neither be found nor downloaded, or is
            another one.
    """
    if split not in SHA256:
        raise InputError("split", split, f"one of {', '.join(SHA256)}", "choose a split")
    name = f"{split}.jsonl"
    return read_problems(real_file("gsm8k", name, URL + name, SHA256[split]).decode())


def read_problems(text: str) -> list[Problem]:
    """Problems from lines of JSON.

    Raises:
        InputError: for a line that lacks a field.
    """
    rows = json_rows(text, ["question", "answer"])
    return [Problem(row["question"], row["answer"]) for row in rows]


def final_answer(text: str) -> Fraction | None:
    """The number behind the last ``####``, thousands with or without commas; None without one."""
    found = _ANSWER.findall(text)
    return _number(found[-1].replace(",", "")) if found else None


def is_right(problem: Problem, text: str) -> bool:
    """Whether a solution ends in the answer of the problem. 5 and 5.0 are one answer.

    Raises:
        InputError: for a problem whose own answer cannot be read.
    """
    wanted = final_answer(problem.answer)
    if wanted is None:
        raise InputError("answer", problem.answer, "a last line #### and a number", "correct it")
    return final_answer(text) == wanted


def calculations(text: str) -> list[Calculation]:
    """The calculations of a solution, in order, each of them checked."""
    return [Calculation(inner, _holds(inner)) for inner in _CALCULATION.findall(text)]


def _holds(text: str) -> bool | None:
    left, equals, right = text.partition("=")
    value, result = _value(left), _number(right.strip())
    if not equals or value is None or result is None:
        return None
    digits = len(right.strip().partition(".")[2])
    return abs(value - result) * 10**digits <= (Fraction(1, 2) if digits else 0)


def _number(text: str) -> Fraction | None:
    if not re.fullmatch(r"-?(\d{1,30}\.?\d{0,30}|\.\d{1,30})", text):
        return None
    return Fraction(Decimal(text))


def _value(text: str) -> Fraction | None:
    """A sum of numbers with + - * / and brackets, exactly; None when it is anything else."""
    if not _SUM.fullmatch(text):
        return None
    # Python reads no number that begins with a zero, as in 05.
    plain = re.sub(r"(?<![\d.])0+(?=\d)", "", text.strip())
    try:
        return _evaluated(ast.parse(plain, mode="eval").body, plain)
    except (SyntaxError, ZeroDivisionError):
        return None


def _evaluated(node: ast.expr, source: str) -> Fraction | None:
    if isinstance(node, ast.Constant):
        return _number(ast.get_source_segment(source, node) or "")
    if isinstance(node, ast.UnaryOp):
        inside = _evaluated(node.operand, source)
        if inside is None:
            return None
        return -inside if isinstance(node.op, ast.USub) else inside
    if not isinstance(node, ast.BinOp):
        return None
    left, right = _evaluated(node.left, source), _evaluated(node.right, source)
    if left is None or right is None:
        return None
    match node.op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
    return None  # powers and whole-number division are none of the format's


def score(problems: Iterable[Problem], texts: Iterable[str]) -> float:
    """The share of solutions that end in the right answer, one for each problem.

    Raises:
        InputError: without problems, or for another number of solutions.
    """
    verdicts = [is_right(*pair) for pair in zip(problems, texts, strict=True)]
    if not verdicts:
        raise InputError("problems", [], "at least one", "score some problems")
    return sum(verdicts) / len(verdicts)


def as_gsm8k(problem: LongSum) -> Problem:
    """A sum of several numbers in GSM8K's format, solved."""
    lines = []
    for step in problem.steps:
        left, _, result = step.removesuffix(".").partition(" = ")
        lines.append(f"{left} = <<{left.replace(' ', '')}={result}>>{result}.")
    return Problem(
        f"What is {problem.text.strip()[:-1]}?", "\n".join([*lines, f"#### {problem.answer}"])
    )
