"""Two estimates of pass@k against enumeration, and HumanEval's format."""

from __future__ import annotations

import itertools
import json
import math
import os
import random

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.lineage.human_eval import human_eval, read_problems, read_samples, score
from rlhf_lab.lineage.pass_at_k import expected, mean_pass_at_k, naive_pass_at_k
from rlhf_lab.objectives import pass_at_k


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_estimates_against_all_draws(n):
    """All k-subsets for the unbiased one, all k-tuples for the naive one. To 1e-12."""
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        samples = [i < c for i in range(n)]
        subsets = [any(s) for s in itertools.combinations(samples, k)]
        assert pass_at_k(n, c, k) == pytest.approx(sum(subsets) / len(subsets), abs=1e-12)
        if k <= 4:
            tuples = [any(s) for s in itertools.product(samples, repeat=k)]
            assert naive_pass_at_k(n, c, k) == pytest.approx(sum(tuples) / len(tuples), abs=1e-12)


def test_large_counts_neither_overflow_nor_cancel():
    """Against whole numbers of any length. Relative 1e-12."""
    for n, c, k in ((200, 3, 100), (5000, 1, 2500), (100_000, 7, 10)):
        exact = 1 - math.comb(n - c, k) / math.comb(n, k) if n < 1000 else None
        if exact is not None:
            assert pass_at_k(n, c, k) == pytest.approx(exact, rel=1e-12)
    assert pass_at_k(5000, 1, 2500) == pytest.approx(0.5, rel=1e-12)  # k/n for one right
    assert naive_pass_at_k(10**9, 1, 1) == pytest.approx(1e-9, rel=1e-12)


@pytest.mark.parametrize(("n", "k", "p"), [(5, 1, 0.3), (8, 4, 0.1), (10, 10, 0.05), (20, 7, 0.5)])
def test_one_is_unbiased_the_other_too_low(n, k, p):
    """The mean over all outcomes against the truth 1 - (1-p)^k. To 1e-12."""
    truth = 1 - (1 - p) ** k
    assert expected(pass_at_k, n, k, p) == pytest.approx(truth, abs=1e-12)
    draws = itertools.product([True, False], repeat=n) if n <= 10 else ()
    mean = sum(
        math.prod(p if right else 1 - p for right in draw) * naive_pass_at_k(n, sum(draw), k)
        for draw in draws
    )
    naive = expected(naive_pass_at_k, n, k, p)
    if n <= 10:
        assert naive == pytest.approx(mean, abs=1e-12)
    assert naive < truth - 0.005 if k > 1 else naive == pytest.approx(truth, abs=1e-12)


def test_the_mean_over_problems():
    assert mean_pass_at_k(10, [0, 10, 1], 5) == pytest.approx((0 + 1 + 0.5) / 3, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: naive_pass_at_k(0, 0, 1), "n"),
        (lambda: naive_pass_at_k(3, 4, 1), "c"),
        (lambda: naive_pass_at_k(3, 1, 0), "k"),
        (lambda: expected(pass_at_k, 3, 1, 1.5), "p"),
        (lambda: mean_pass_at_k(3, [], 1), "right"),
        (lambda: read_problems('{"task_id": "a"}'), "line 1"),
        (lambda: read_problems("\nnonsense"), "line 2"),
        (lambda: read_problems(f"{LINE}\n{LINE}"), "task_id"),
        (lambda: read_samples('{"task_id": 3, "completion": ""}'), "line 1"),
        (lambda: score(read_problems(LINE), [("other", "")]), "task_id"),
    ],
)
def test_errors_name_the_argument(call, argument):
    with pytest.raises(InputError) as error:
        call()
    assert error.value.argument == argument


LINE = json.dumps(
    {
        "task_id": "twice",
        "prompt": 'def twice(x):\n    """Two times x."""\n',
        "entry_point": "twice",
        "canonical_solution": "    return 2 * x\n",
        "test": "def check(candidate):\n    assert candidate(3) == 6\n    assert candidate(0) == 0",
    }
)


def test_samples_are_scored_by_what_they_do():
    problems = read_problems(LINE + "\n\n")
    said = ["    return x + x\n", "    return x + 3\n", "    return", "    return x + x\n", "  ("]
    lines = "\n".join(json.dumps({"task_id": "twice", "completion": s}) for s in said)
    found = score(problems, read_samples(lines))
    assert found.to_dict("records") == [{"task_id": "twice", "samples": 5, "right": 2}]


@pytest.mark.skipif(
    not os.environ.get("RLHF_LAB_DATA"), reason="RLHF_LAB_DATA does not name a folder of real data"
)
def test_reference_solutions_of_human_eval_pass_and_nothing_does_not():
    problems = human_eval()
    assert len(problems) == 164
    found = score(problems, [(p.task_id, p.canonical_solution) for p in problems])
    assert list(found.right) == [1] * 164
    assert mean_pass_at_k(1, list(found.right), 1) == 1.0
    some = random.Random(0).sample(problems, 10)
    assert score(some, [(p.task_id, "    return None\n") for p in some]).right.sum() == 0
