"""Tests of the lab *One of k programs*: what is wanted stands here or is counted here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from rlhf_lab.checks import called, check, near
from rlhf_lab.lineage.human_eval import Problem

Passes = Callable[[Problem, str], bool]
Estimate = Callable[[int, int, int], float]
Benchmark = Callable[[Sequence[tuple[int, int]], int], float]
Choose = Callable[[Sequence[str], Callable[[str], bool]], str]

_TWICE = Problem(
    "twice",
    'def twice(x):\n    """Two times x."""\n',
    "twice",
    "    return 2 * x\n",
    "def check(candidate):\n    assert candidate(3) == 6\n    assert candidate(0) == 0",
)


# --- passes(problem, completion) -> bool ----------------------------------------------------------


def _verdict(passes: Passes, completion: str) -> bool:
    found = called(passes, _TWICE, completion)
    assert isinstance(found, bool), (
        f"passes should return True or False, and returned {found!r}: compare the verdict"
    )
    return found


@check
def a_right_body_passes(passes: Passes) -> None:
    """The author's body, and one that ends without a line break."""
    for body in ("    return 2 * x\n", "    return x + x"):
        assert _verdict(passes, body), (
            f"the body {body!r} solves the problem and should pass. Print the program that you "
            "run: do line breaks stand between its pieces?"
        )


@check
def a_wrong_body_does_not(passes: Passes) -> None:
    """Right for one of the tests; wrong for both; no Python."""
    for body in ("    return x + 3\n", "    return None\n", "    return (\n"):
        assert not _verdict(passes, body), (
            f"the body {body!r} should not pass: is check called with the function, after the "
            "tests are defined?"
        )


@check
def whoever_leaves_early_has_not_passed(passes: Passes) -> None:
    """Ends that look like success from outside."""
    for body in ("    import sys\n    sys.exit(0)\n", "    import os\n    os._exit(0)\n"):
        assert not _verdict(passes, body), (
            f"the body {body!r} ends the process before its tests are through, and should not "
            'pass: only the verdict "passed" is a pass'
        )


# --- estimate(n, c, k) -> float -------------------------------------------------------------------


@check
def two_of_ten_by_hand(estimate: Estimate) -> None:
    """Of 252 sets of five, 56 have no right sample."""
    hint = (
        "of the 252 sets of five samples 56 have none of the two right ones. 0.6723 is "
        "1 - (1 - c/n)^k, which is too low on average"
    )
    near(called(estimate, 10, 2, 5), 1 - 56 / 252, "estimate(10, 2, 5)", hint)
    near(
        called(estimate, 4, 1, 1), 0.25, "estimate(4, 1, 1)", "one sample is right c/n of the time"
    )


@check
def sure_things(estimate: Estimate) -> None:
    """None right, all right, and fewer wrong ones than draws."""
    near(called(estimate, 8, 0, 8), 0.0, "estimate(8, 0, 8)", "no sample is right")
    near(called(estimate, 8, 8, 1), 1.0, "estimate(8, 8, 1)", "every sample is right")
    hint = "only two samples are wrong: of any three one is right"
    near(called(estimate, 8, 6, 3), 1.0, "estimate(8, 6, 3)", hint)


@check
def it_is_unbiased(estimate: Estimate) -> None:
    """Its mean over all outcomes of six samples, each right with probability 0.3."""
    for k in range(1, 7):
        mean = sum(
            math.comb(6, c) * 0.3**c * 0.7 ** (6 - c) * called(estimate, 6, c, k) for c in range(7)
        )
        hint = "over all outcomes of six samples the mean has to be 1 - (1 - p)^k, with p = 0.3"
        near(mean, 1 - 0.7**k, f"the mean for k = {k}", hint)


@check
def many_samples(estimate: Estimate) -> None:
    """One right among very many: k/n, whatever n."""
    hint = "multiply k numbers below 1 in place of dividing two numbers beyond all floats"
    try:
        found = called(estimate, 100_000, 1, 5_000)
    except OverflowError as error:
        raise AssertionError(f"estimate(100000, 1, 5000) overflows ({error}): {hint}") from None
    near(found, 0.05, "estimate(100000, 1, 5000)", hint, tolerance=1e-9)


# --- benchmark(counts, k) -> float ----------------------------------------------------------------


@check
def half_solved_always(benchmark: Benchmark) -> None:
    """Two tasks always, two never."""
    counts = [(10, 10), (10, 0), (10, 10), (10, 0)]
    hint = (
        "two of the four tasks are never solved, however often one tries. Close to 1 it is when "
        "the counts are added up first: then it is pass@k of one average task"
    )
    near(called(benchmark, counts, 5), 0.5, "pass@5", hint)


@check
def every_task_counts_once(benchmark: Benchmark) -> None:
    """Tasks with unequal numbers of samples."""
    hint = "(1/4 + 1/100) / 2: a task with more samples is known better, and counts no more"
    near(called(benchmark, [(4, 1), (100, 1)], 1), 0.13, "pass@1", hint)


@check
def it_grows_with_k(benchmark: Benchmark) -> None:
    """Against sets that are counted."""
    counts = [(6, 1), (6, 3), (5, 0)]
    for k in range(1, 6):
        wanted = 0.0
        for n, c in counts:
            sets = list(itertools.combinations([i < c for i in range(n)], k))
            wanted += sum(map(any, sets)) / len(sets) / len(counts)
        near(
            called(benchmark, counts, k),
            wanted,
            f"pass@{k}",
            "take pass_at_k of each task, then the mean",
        )


# --- choose(samples, fits) -> text ----------------------------------------------------------------


def _chosen(choose: Choose, samples: list[str], fitting: set[str], wanted: str, hint: str) -> None:
    before = list(samples)
    found = called(choose, samples, lambda text: text in fitting)
    assert samples == before, "the list of samples was changed: later cells use it again"
    assert found == wanted, (
        f"of {before}, of which {sorted(fitting) or 'none'} fit, {wanted!r} should be chosen, and "
        f"{found!r} was: {hint}"
    )


@check
def what_does_not_fit_is_not_chosen(choose: Choose) -> None:
    """The most frequent does not fit."""
    hint = "a text that does not do what the prompt shows is wrong for sure"
    _chosen(choose, ["a", "b", "a", "a"], {"b"}, "b", hint)


@check
def the_most_frequent_that_fits(choose: Choose) -> None:
    """Two fit; the second was written more often."""
    hint = "among those that fit, count how often each was written"
    _chosen(choose, ["a", "b", "c", "c", "a", "c", "a", "a"], {"b", "c"}, "c", hint)


@check
def nothing_fits(choose: Choose) -> None:
    """Something has to be handed over all the same."""
    hint = "where none fits, the most frequent of all is chosen"
    _chosen(choose, ["a", "b", "b"], set(), "b", hint)


@check
def the_first_of_equals(choose: Choose) -> None:
    """Written equally often; order and not alphabet decides."""
    hint = "of equally frequent ones the one that was written first"
    _chosen(choose, ["z", "b", "b", "z", "x"], {"b", "z"}, "z", hint)
    _chosen(choose, ["z", "b"], set(), "z", hint)
