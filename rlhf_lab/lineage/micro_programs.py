"""Fernwick's list programs the other way round: a description is given, a program to be written.

The web shows programs with what they do (:func:`rlhf_lab.world.tasks.program`). A task here says in
words what is to be done, as a docstring does, with an example. Unit tests decide, on lists that
the prompt does not show: any program that passes them all is right, however it is worded. The split
is by *function*: no program that does the same as a test task's occurs in training.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from rlhf_lab.errors import InputError
from rlhf_lab.generation import choose
from rlhf_lab.lineage.human_eval import Problem
from rlhf_lab.models import unwrap
from rlhf_lab.records import Demonstration
from rlhf_lab.world.prompts import check_split
from rlhf_lab.world.tasks import COMMANDS, run_program, show_list

Program = tuple[str, ...]
Example = tuple[tuple[int, ...], tuple[int, ...]]

LONGEST = 4  # commands of a program
SHOWN, TESTS = 1, 8  # examples in a prompt, and unit tests
REVERSED, DISTRACTED = 0.3, 0.2  # share of texts with the last step first; that say what not to do
QUESTION = "which program?\n"
PHRASES = {
    "reverse": ("reverse it", "reverse the list", "turn it in reverse"),
    "double": ("double each number", "double them all", "make each one double"),
    "keep even": ("keep the even ones", "keep even numbers only", "of these keep the even"),
    "keep odd": ("keep the odd ones", "keep odd numbers only", "of these keep the odd"),
    "take 2": ("take the first 2", "take 2 from the front", "of these take only 2"),
    "take 3": ("take the first 3", "take 3 from the front", "of these take only 3"),
    "drop 1": ("drop the first 1", "drop 1 at the front", "of these drop 1"),
    "drop 2": ("drop the first 2", "drop 2 at the front", "of these drop 2"),
    "sort": ("sort it", "sort the list", "put it in order by sort"),
    "add 1": ("add 1 to each", "add 1 to them all", "to each number add 1"),
}
_LAST = {"train": 14, "valid": 16, "test": 20}  # of 20 places
_PYTHON = {
    "reverse": "values[::-1]",
    "double": "[2 * v for v in values]",
    "keep even": "[v for v in values if v % 2 == 0]",
    "keep odd": "[v for v in values if v % 2 == 1]",
    "take 2": "values[:2]",
    "take 3": "values[:3]",
    "drop 1": "values[1:]",
    "drop 2": "values[2:]",
    "sort": "sorted(values)",
    "add 1": "[v + 1 for v in values]",
}


@dataclass(frozen=True)
class Task:
    """A program to be written.

    Attributes:
        text: what it has to do, in words.
        program: one that does it, step by step as the words say.
        shown: the example in the prompt, (list, what becomes of it); tests: those that decide.
    """

    text: str
    program: Program
    shown: tuple[Example, ...]
    tests: tuple[Example, ...]

    @property
    def prompt(self) -> str:
        """The description, the example and the question."""
        lines = [f"{show_list(list(a))} -> {show_list(list(b))}." for a, b in self.shown]
        return "\n".join([self.text, *lines, QUESTION])

    def fits(self, text: str) -> bool:
        """Whether a program does what the prompt shows."""
        return _does(text, self.shown)

    def passes(self, text: str) -> bool:
        """Whether a program passes the unit tests."""
        return _does(text, self.tests)


def parse(text: str) -> Program | None:
    """The commands of a program such as ``"reverse then take 2."``; None when it is none."""
    commands = tuple(text.strip().removesuffix(".").split(" then "))
    return commands if all(command in COMMANDS for command in commands) else None


def show_program(program: Program) -> str:
    """``"reverse then take 2."``."""
    return " then ".join(program) + "."


def _does(text: str, examples: Sequence[Example]) -> bool:
    program = parse(text)
    return program is not None and all(_of(program, a) == b for a, b in examples)


def _of(program: Program, values: Sequence[int]) -> tuple[int, ...]:
    return tuple(run_program(list(program), list(values)))


@functools.cache
def functions() -> dict[str, tuple[Program, ...]]:
    """Programs of up to :data:`LONGEST` different commands by what they do, the shortest first.

    Two do the same when they agree on forty lists. Left out is what empties half of them.
    """
    rng = random.Random("micro-programs")
    results: dict[Program, list[list[int]]] = {(): [list(_list(rng)) for _ in range(40)]}
    found: dict[str, list[Program]] = {}
    for length in range(1, LONGEST + 1):
        for program in itertools.permutations(COMMANDS, length):
            *before, last = program
            values = [run_program([last], list(v)) for v in results[tuple(before)]]
            results[program] = values
            if sum(map(bool, values)) > len(values) / 2:
                found.setdefault(repr(values), []).append(program)
    return {hashlib.sha256(k.encode()).hexdigest(): tuple(v) for k, v in found.items()}


@functools.cache
def programs(split: str) -> tuple[tuple[Program, ...], ...]:
    """The functions of a split, each as the programs that compute it.

    Raises:
        InputError: for an unknown split.
    """
    check_split(split)
    own = []
    for name, same in functions().items():
        place = int(name[:8], 16) % 20
        if split == next(part for part, last in _LAST.items() if place < last):
            own.append(same)
    return tuple(own)


def tasks(split: str, count: int, seed: int = 0) -> list[Task]:
    """Tasks whose programs have one to four commands, outside training two to four, as often each.

    Args:
        split: "train", "valid" or "test"; outside training no program comes twice.
        count: how many; seed: which.

    Raises:
        InputError: for an unknown split, or more tasks than there are programs.
    """
    rng = random.Random(f"micro-programs:{split}:{seed}")
    pool: dict[int, list[Program]] = {n: [] for n in range(1 + (split != "train"), LONGEST + 1)}
    for program in itertools.chain.from_iterable(programs(split)):
        if len(program) in pool:
            pool[len(program)].append(program)
    most = len(pool) * min(map(len, pool.values()))
    if count < 1 or (split != "train" and count > most):
        raise InputError("count", count, f"1 to {most}", "ask for fewer tasks")
    found = []
    for number in range(count):
        some = pool[min(pool) + number % len(pool)]
        place = rng.randrange(len(some))
        program = some[place] if split == "train" else some.pop(place)
        found.append(_task(program, rng))
    return found


def _task(program: Program, rng: random.Random) -> Task:
    lists: dict[tuple[int, ...], None] = {}
    while len(lists) < SHOWN + TESTS:
        values = _list(rng)
        if _of(program, values):  # what comes out empty tells too little
            lists[values] = None
    examples = tuple((values, _of(program, values)) for values in lists)
    return Task(_describe(program, rng), program, examples[:SHOWN], examples[SHOWN:])


def _describe(program: Program, rng: random.Random) -> str:
    *steps, last = (rng.choice(PHRASES[command]) for command in program)
    if steps and rng.random() < REVERSED:
        text = f"{last}, but before that {', then '.join(steps)}"
    else:
        text = ", then ".join([*steps, last])
    if rng.random() < DISTRACTED:
        other = rng.choice([command for command in COMMANDS if command not in program])
        text += f", and do not {PHRASES[other][0]}"
    return text + "."


def _list(rng: random.Random) -> tuple[int, ...]:
    return tuple(rng.randint(0, 9) for _ in range(rng.randint(3, 5)))


def demonstrations(split: str, count: int, seed: int = 0) -> list[Demonstration]:
    """Tasks with their programs: what a model is fine-tuned on."""
    return [
        Demonstration(task.prompt, show_program(task.program), "program")
        for task in tasks(split, count, seed)
    ]


@torch.no_grad()
def attempts(
    policy: nn.Module,
    tokenizer: Any,
    prompt: str,
    count: int,
    temperatures: Sequence[float],
    *,
    seed: int = 0,
    max_new_tokens: int = 20,
) -> list[list[str]]:
    """``count`` programs for a prompt at each temperature; equal beginnings are computed once.

    Args:
        policy: a causal language model in evaluation mode.
        temperatures: above 0.
        max_new_tokens: the longest program, EOS included; what is cut off is no program.

    Returns:
        one list of texts for each temperature.
    """
    model, device = cast(Any, unwrap(policy)), next(policy.parameters()).device
    tokens = torch.tensor([tokenizer(prompt, add_special_tokens=False)["input_ids"]], device=device)
    rows, eos = count * len(temperatures), tokenizer.eos_token_id
    heat = torch.tensor(temperatures, device=device).repeat_interleave(count)[:, None]
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(rows, max_new_tokens, generator=generator, dtype=torch.float64).to(device)
    found = torch.full((rows, max_new_tokens), eos, device=device)
    writing = torch.arange(rows, device=device)  # rows that have not ended
    beginning = torch.zeros_like(writing)  # which of the different beginnings each has
    read = model(input_ids=tokens, use_cache=True)
    for place in range(max_new_tokens):
        logits = read.logits[beginning, -1] / heat[writing]
        drawn = choose(logits, uniform[writing, place])
        found[writing, place] = drawn
        more = drawn != eos
        writing, drawn, beginning = writing[more], drawn[more], beginning[more]
        if len(writing) == 0 or place + 1 == max_new_tokens:
            break
        pairs = torch.stack([beginning, drawn], 1)
        different, beginning = pairs.unique(dim=0, return_inverse=True)
        cache = read.past_key_values
        cache.batch_select_indices(different[:, 0])
        read = model(input_ids=different[:, 1:], past_key_values=cache, use_cache=True)
    texts = tokenizer.batch_decode(found, skip_special_tokens=True)
    return [texts[i : i + count] for i in range(0, rows, count)]


def completion(program: Program) -> str:
    """The body of a Python function that does what a program does."""
    lines = [f"    values = {_PYTHON[command]}\n" for command in program]
    return "".join([*lines, "    return values\n"])


def problem(task: Task, task_id: str) -> Problem:
    """A task in HumanEval's format."""
    shown = "".join(f"    >>> program({list(a)})\n    {list(b)}\n" for a, b in task.shown)
    asked = "".join(f"    assert candidate({list(a)}) == {list(b)}\n" for a, b in task.tests)
    return Problem(
        task_id,
        f'def program(values):\n    """{task.text[0].upper()}{task.text[1:]}\n\n{shown}    """\n',
        "program",
        completion(task.program),
        f"def check(candidate):\n{asked}",
    )
