"""Programs to be written from examples: what is right, what is new, and what Python says to it."""

from __future__ import annotations

import itertools

import pytest
import torch

from rlhf_lab.errors import InputError
from rlhf_lab.language_model import answers
from rlhf_lab.lineage import micro_programs as mp
from rlhf_lab.lineage.human_eval import score
from rlhf_lab.models import load_policy


def test_programs_by_what_they_do():
    """The same function, the same entry; by lists that the module has not drawn."""
    entry = {program: name for name, same in mp.functions().items() for program in same}
    assert entry[("reverse", "double")] == entry[("double", "reverse")]
    assert entry[("take 2", "take 3")] == entry[("take 2",)]
    assert entry[("reverse", "sort")] == entry[("sort",)]
    assert ("keep even", "keep odd") not in entry  # empties every list
    every = [list(v) for v in itertools.product(range(4), repeat=3)]
    for program in (("sort", "take 2"), ("add 1", "double"), ("keep odd", "reverse")):
        for other in itertools.permutations(mp.COMMANDS, 2):
            if other in entry and entry[other] == entry[program]:
                alike = [mp.run_program(list(p), v) for p in (program, other) for v in every]
                assert alike[: len(every)] == alike[len(every) :]


def test_splits_share_no_function():
    split = {s: {p for same in mp.programs(s) for p in same} for s in ("train", "valid", "test")}
    assert sum(map(len, split.values())) == len(set.union(*split.values()))
    written = [mp.parse(d.completion) for d in mp.demonstrations("train", 200)]
    assert set(written) <= split["train"]
    tests = mp.tasks("test", 30)
    assert {task.program for task in tests} <= split["test"]
    assert len({task.program for task in tests}) == 30
    assert sorted({len(task.program) for task in tests}) == [2, 3, 4]
    assert tests[:20] == mp.tasks("test", 20)


def test_words_name_every_step():
    every = {phrase: command for command, some in mp.PHRASES.items() for phrase in some}
    assert len(every) == 3 * len(mp.COMMANDS) == sum(map(len, mp.PHRASES.values()))
    turned = 0
    for task in mp.tasks("train", 80):
        text, _, other = task.text.rstrip(".").partition(", and do not ")
        assert not other or every[other] not in task.program
        last, _, first = text.partition(", but before that ")
        steps = [*first.split(", then "), last] if first else last.split(", then ")
        assert tuple(every[step] for step in steps) == task.program
        turned += bool(first)
    assert 10 < turned < 30  # three in ten of those with more than one step


def test_a_task_is_right_by_its_tests():
    for task in mp.tasks("test", 30):
        assert task.passes(mp.show_program(task.program))
        assert task.fits(mp.show_program(task.program))
        assert not task.passes("reverse then")
        assert not task.passes("")
        lists = [a for a, _ in (*task.shown, *task.tests)]
        assert len(set(lists)) == mp.SHOWN + mp.TESTS
        assert all(b for _, b in (*task.shown, *task.tests))


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("reverse then take 2.", ("reverse", "take 2")),
        (" sort.", ("sort",)),
        ("sort", ("sort",)),
        ("sort then", None),
        ("take 4.", None),
        ("", None),
        ("sort. sort.", None),
    ],
)
def test_what_is_a_program(text, program):
    assert mp.parse(text) == program


def test_python_agrees_with_the_interpreter():
    """A right and a wrong body for each of some tasks, in the sandbox."""
    some = mp.tasks("test", 4)
    problems = [mp.problem(task, str(i)) for i, task in enumerate(some)]
    tried = [("reverse", "add 1"), *(task.program for task in some)]
    samples = [(p.task_id, mp.completion(program)) for p in problems for program in tried]
    right = [sum(t.passes(mp.show_program(program)) for program in tried) for t in some]
    assert list(score(problems, samples).right) == right
    assert min(right) >= 1
    for command in mp.COMMANDS:  # each command alone
        values = [5, 2, 8, 3, 3]
        space: dict = {}
        exec(f"def program(values):\n{mp.completion((command,))}", space)
        assert space["program"](values) == mp.run_program([command], values)


def test_attempts_are_draws_at_their_temperature():
    """Against the sampler that reads the prompt for each row; at next to no heat, the likeliest."""
    policy, tokenizer = load_policy("tiny")
    policy.eval()
    prompt = mp.tasks("test", 1)[0].prompt
    cold, warm = mp.attempts(policy, tokenizer, prompt, 6, [1e-4, 1.0], seed=3)
    greedy = answers(policy, tokenizer, [prompt], greedy=True, max_new_tokens=20)
    assert set(cold) == set(greedy)
    assert len(set(warm)) > 1
    uniform = torch.rand(12, 20, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    from rlhf_lab.generation import sample

    ids = torch.tensor([tokenizer(prompt)["input_ids"]] * 6)
    drawn, _, _ = sample(
        policy, ids, torch.ones_like(ids), max_new_tokens=20, uniform=uniform[6:],
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    assert warm == tokenizer.batch_decode(drawn, skip_special_tokens=True)


def test_errors_name_the_argument():
    with pytest.raises(InputError, match="split"):
        mp.tasks("exam", 3)
    with pytest.raises(InputError, match="count"):
        mp.tasks("test", 10_000)
