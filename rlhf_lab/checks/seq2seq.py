"""Tests of the lab *A translator that looks back*: worked by hand, or by trying every sequence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rlhf_lab.checks import called, check, returned, same

Attend = Callable[[Tensor, Tensor, Tensor | None], Sequence[Tensor]]
Shift = Callable[[Sequence[Sequence[int]], int, int], Sequence[Tensor]]
Step = Callable[[Sequence[int]], Tensor]
Beam = Callable[[Step, int, int, int, int], Sequence[int]]
Used = Callable[[Callable[[Tensor], Tensor], int], Tensor]

# --- attend(queries (B, T, H), keys (B, S, H), mask (B, S) or None) -> contexts, weights ----------


def _attends(
    attend: Attend, queries: Tensor, keys: Tensor, mask: Tensor | None, weights: Tensor, hint: str
) -> None:
    found: Any = called(attend, queries, keys, mask)
    returned(found, 2, "return the contexts (B, T, H) and the weights (B, T, S)")
    same(found[1], weights, "weights", hint)
    contexts = torch.zeros_like(queries)
    for b, t, s in itertools.product(*map(range, weights.shape)):
        contexts[b, t] += weights[b, t, s] * keys[b, s]
    same(found[0], contexts, "contexts", "each is the mean of the keys by its row of weights")


def _rows(*rows: Sequence[float]) -> Tensor:
    return torch.tensor([rows], dtype=torch.float64)


_ONE = math.e**2 / (math.e**2 + 1)  # of a score 2 beside a score 0


@check
def one_question_and_two_words(attend: Attend) -> None:
    """Four numbers, so the root is 2."""
    hint = "the product 4 over the root of 4 is 2, the other score 0, and e² / (e² + 1) is 0.881"
    keys = _rows((1, 1, 1, 1), (0, 0, 0, 0))
    _attends(attend, _rows((1, 1, 1, 1)), keys, None, _rows((_ONE, 1 - _ONE)), hint)


@check
def each_question_has_weights_of_its_own(attend: Attend) -> None:
    """Three questions, two words."""
    hint = "a row of weights is one question's; it sums to 1 over the words of the source"
    queries = _rows((2, 2, 0, 0), (0, 0, 0, 0), (0, 0, 2, 2))
    keys = _rows((1, 1, 0, 0), (0, 0, 1, 1))
    wanted = _rows((_ONE, 1 - _ONE), (0.5, 0.5), (1 - _ONE, _ONE))
    _attends(attend, queries, keys, None, wanted, hint)


@check
def filling_gets_no_weight(attend: Attend) -> None:
    """Two sentences, the second of which is shorter."""
    hint = (
        "where the mask is False the weight is 0, and the others still sum to 1: filling has to be "
        "out of the softmax, not only out of its result"
    )
    keys = torch.cat([_rows((1, 1, 1, 1), (0, 0, 0, 0), (0, 0, 0, 0))] * 2)
    queries = torch.ones(2, 1, 4, dtype=torch.float64)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    three = math.e**2 + 2
    wanted = torch.cat(
        [_rows((math.e**2 / three, 1 / three, 1 / three)), _rows((_ONE, 1 - _ONE, 0))]
    )
    _attends(attend, queries, keys, mask, wanted, hint)


@check
def filling_may_be_loud(attend: Attend) -> None:
    """A key behind the end that would win against anybody."""
    hint = "whatever stands at filling must not matter: -inf is below every score, -100 is not"
    keys = _rows((1, 1, 1, 1), (0, 0, 0, 0), (900, 900, 900, 900))
    mask = torch.tensor([[True, True, False]])
    wanted = _rows((_ONE, 1 - _ONE, 0))
    _attends(attend, _rows((1, 1, 1, 1)), keys, mask, wanted, hint)


# --- shift(rows, begin, end) -> inputs, labels (B, T + 1) -----------------------------------------


def _shifts(
    shift: Shift,
    rows: list[list[int]],
    marks: tuple[int, int],
    inputs: list[list[int]],
    labels: list[list[int]],
    hint: str,
) -> None:
    found: Any = shift([list(row) for row in rows], *marks)
    returned(found, 2, "return inputs and labels")
    for name, got, right in zip(("inputs", "labels"), found, (inputs, labels), strict=True):
        what = f"{name} of {rows}"
        same(got, torch.tensor(right), what, hint)
        assert got.dtype == torch.long, f"{what} should be whole numbers, and are {got.dtype}"


@check
def each_word_is_predicted_from_those_before_it(shift: Shift) -> None:
    """One sentence of three words."""
    hint = "at each place the input is the word before, and the label the word that has to come"
    _shifts(shift, [[5, 6, 7]], (2, 3), [[2, 5, 6, 7]], [[5, 6, 7, 3]], hint)


@check
def sentences_are_filled_at_their_ends(shift: Shift) -> None:
    """The shorter one first."""
    hint = "inputs are filled with 0, labels with -100, which cross_entropy leaves out"
    inputs, labels = [[2, 5, 0, 0], [2, 6, 7, 8]], [[5, 3, -100, -100], [6, 7, 8, 3]]
    _shifts(shift, [[5], [6, 7, 8]], (2, 3), inputs, labels, hint)


@check
def marks_may_look_like_filling(shift: Shift) -> None:
    """Begin and end are 0, too."""
    hint = (
        "here the marks are 0, as the filling is (T5 begins with its pad, GPT-2 has none but the "
        "end): know filling by where it stands, not by its number, or no end is ever learned"
    )
    inputs, labels = [[0, 5, 0, 0], [0, 6, 7, 8]], [[5, 0, -100, -100], [6, 7, 8, 0]]
    _shifts(shift, [[5], [6, 7, 8]], (0, 0), inputs, labels, hint)


# --- beam(step, start, end, width, limit) -> words ------------------------------------------------

_START, _END = 2, 3


def _machine(table: Mapping[tuple[int, ...], Mapping[int, float]], words: int = 6) -> Step:
    """Log-probabilities after each beginning; any other beginning is followed by the end."""

    def step(said: Sequence[int]) -> Tensor:
        assert isinstance(said, list | tuple), "step takes a list of words"
        so_far = tuple(int(word) for word in said)
        assert so_far[0] == _START, f"step was called with {so_far}, which has no {_START} in front"
        assert _END not in so_far, f"step was called with {so_far}, which has ended with {_END}"
        shares = torch.zeros(words, dtype=torch.float64)
        for word, share in table.get(so_far[1:], {_END: 1.0}).items():
            shares[word] = share
        return shares.log()

    return step


def _finds(beam: Beam, step: Step, width: int, limit: int, wanted: Sequence[int], why: str) -> None:
    found: Any = beam(step, _START, _END, width, limit)
    assert isinstance(found, list | tuple | Tensor), (
        f"return the words as a list; this is a {type(found).__name__}"
    )
    words = [int(word) for word in found]
    assert words == list(wanted), (
        f"with width {width} the words should be {list(wanted)}, and are {words}: {why}"
    )


_GARDEN = {(): {4: 0.6, 5: 0.4}, (4,): {4: 0.5, 5: 0.5}, (5,): {5: 0.9, _END: 0.1}}


@check
def width_one_is_greedy(beam: Beam) -> None:
    """The likeliest word at each step, until the end."""
    table = {(): {4: 0.6, 5: 0.4}, (4,): {5: 0.55, 4: 0.45}, (5,): {5: 1.0}}
    _finds(beam, _machine(table), 1, 8, (4, 5), "the likeliest word at each step, without marks")


@check
def two_get_out_of_the_garden(beam: Beam) -> None:
    """The likelier first word leads to less."""
    why = "4 begins with 0.6 and goes on with 0.5, which makes 0.3; 5, 5 has 0.4 · 0.9 = 0.36"
    _finds(beam, _machine(_GARDEN), 2, 8, (5, 5), why)


@check
def what_has_ended_stays_in_the_race(beam: Beam) -> None:
    """A short sentence that is likelier than all longer ones."""
    table = {
        (): {4: 0.6, 5: 0.4}, (4,): {_END: 0.4, 4: 0.3, 5: 0.3}, (5,): {5: 1.0},
        (5, 5): {_END: 0.5, 4: 0.5},
    }  # fmt: skip
    why = (
        "4 and then the end has 0.6 · 0.4 = 0.24, all that go on have 0.2 at most. A sentence that "
        "has ended keeps its sum and is compared with the others; nothing is divided by a length"
    )
    _finds(beam, _machine(table), 2, 8, (4,), why)
    late = {(): {4: 0.5, 5: 0.5}, (4,): {_END: 0.2, 4: 0.8}, (5,): {_END: 0.1, 5: 0.9}}
    why = "the first sentence to end is not the best: go on until none that is kept can go on"
    _finds(beam, _machine(late), 3, 8, (5, 5), why)


@check
def at_the_limit_it_stops(beam: Beam) -> None:
    """A machine that never ends."""
    table = {
        said: {4: 0.7, 5: 0.3} for n in range(5) for said in itertools.product((4, 5), repeat=n)
    }
    why = "after limit = 3 words it stops, and what has not ended counts as it is"
    _finds(beam, _machine(table), 2, 3, (4, 4, 4), why)


@check
def a_wide_beam_finds_the_best_of_all(beam: Beam) -> None:
    """Five random machines, every sequence of three."""
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        table: dict[tuple[int, ...], dict[int, float]] = {}
        for n in range(3):
            for so_far in itertools.product((4, 5), repeat=n):
                drawn = torch.rand(3, generator=generator, dtype=torch.float64) + 0.05
                shares = (drawn / drawn.sum()).tolist()
                table[so_far] = dict(zip((_END, 4, 5), shares, strict=True))
        every = {}
        for n in range(4):
            for words in itertools.product((4, 5), repeat=n):
                path = [*words, _END] if n < 3 else [*words]
                parts = [table[words[:i]][word] for i, word in enumerate(path)]
                every[words] = math.prod(parts)
        best = max(every, key=lambda words: every[words])
        _finds(beam, _machine(table), 27, 3, best, "nothing was cut away, so it is the best of all")


# --- used(logp, length) -> falls (T, S) -----------------------------------------------------------


def _source(falls: Tensor, together: float = 0.0) -> Callable[[Tensor], Tensor]:
    """A translator whose words lose ``falls`` (T, S) when places are covered."""

    def logp(mask: Tensor) -> Tensor:
        assert isinstance(mask, Tensor) and mask.dtype == torch.bool, (  # noqa: PT018
            "logp takes a tensor of bool: True where the decoder may look"
        )
        assert mask.shape == (falls.shape[1],), (
            f"logp takes a mask of {falls.shape[1]} places; this has the shape {tuple(mask.shape)}"
        )
        covered = (~mask).to(falls)
        lost = falls @ covered + together * (covered.sum() > 1)
        return -1.0 - torch.arange(len(falls)).to(falls) - lost

    return logp


_FALLS = torch.tensor([[3.0, 0.0, 0.5], [0.25, 2.0, 0.0]], dtype=torch.float64)


@check
def a_fall_for_each_word_and_place(used: Used) -> None:
    """Two words written, three places read."""
    hint = (
        "row t, column s: log p of word t when everything may be looked at, less log p when place "
        "s alone is covered. A fall is positive"
    )
    same(used(_source(_FALLS), 3), _FALLS, "falls", hint)


@check
def the_others_stay_open(used: Used) -> None:
    """Where covering two places is worse than twice covering one."""
    hint = "cover one place at a time, and open it again before you cover the next"
    same(used(_source(_FALLS, together=7.0), 3), _FALLS, "falls", hint)


@check
def a_place_can_be_in_the_way(used: Used) -> None:
    """A word that becomes likelier."""
    hint = "where a word becomes likelier without place s, its fall is negative: leave the sign"
    falls = torch.tensor([[1.0, -0.5], [-2.0, 0.0]], dtype=torch.float64)
    same(used(_source(falls), 2), falls, "falls", hint)
