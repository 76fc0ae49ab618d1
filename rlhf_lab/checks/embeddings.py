"""Tests of the lab *Words by their company*: what is wanted is written down or looped over here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from rlhf_lab.checks import called, check, near, returned, same

Pairs = Callable[[Sequence[int], Sequence[bool], Sequence[int]], Iterable[Sequence[int]]]
Gradients = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Sequence[Tensor]]
Noise = Callable[[Tensor, float], Tensor]
Score = Callable[[Tensor, Tensor, Sequence[float], bool], float]
Around = Callable[[Tensor, Sequence[int], int, int], Tensor]


def _table(*rows: Sequence[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


# --- pairs(text, kept, widths) -> (word, neighbour), … --------------------------------------------


def _pairs(
    pairs: Pairs,
    text: list[int],
    kept: list[bool],
    widths: list[int],
    wanted: set[tuple[int, int]],
    hint: str,
) -> None:
    found = pairs(list(text), list(kept), list(widths))
    assert isinstance(found, Iterable), (
        f"return a list of pairs (word, neighbour); this is a {type(found).__name__}"
    )
    mine = []
    for pair in found:
        assert len(pair) == 2, f"every pair has a word and one neighbour; this has {len(pair)}"
        mine.append((int(pair[0]), int(pair[1])))
    about = f"text {text}, kept {kept}, widths {widths}"
    missing, more = sorted(wanted - {*mine}), sorted({*mine} - wanted)
    off = f"missing {missing}, too many {more}"
    assert {*mine} == wanted, f"{about}: {off}: {hint}"
    twice = sorted({pair for pair in mine if mine.count(pair) > 1})
    assert not twice, f"{about}: the pairs {twice} come more than once: {hint}"


@check
def neighbours_stand_within_the_width(pairs: Pairs) -> None:
    """The width is that of the word that predicts."""
    hint = (
        "word i is paired with what stands at most widths[i] places before or after it; beyond an "
        "end there is nobody, and a negative index reads from the other end"
    )
    every = [True] * 4
    near_by = {(5, 6), (6, 5), (6, 7), (7, 6), (7, 8), (8, 7)}
    _pairs(pairs, [5, 6, 7, 8], every, [1, 1, 1, 1], near_by, hint)
    _pairs(pairs, [5, 6, 7, 8], every, [3, 1, 1, 1], near_by | {(5, 7), (5, 8)}, hint)


@check
def a_text_has_two_ends(pairs: Pairs) -> None:
    """A window that reaches beyond both."""
    hint = "a window that reaches far beyond both ends has the whole text, each place once"
    wanted = {(a, b) for a in (5, 6, 7) for b in (5, 6, 7) if a != b}
    _pairs(pairs, [5, 6, 7], [True] * 3, [4, 4, 4], wanted, hint)
    _pairs(pairs, [5], [True], [4], set(), "a word alone has no neighbour")


@check
def what_is_dropped_leaves_no_gap(pairs: Pairs) -> None:
    """The window is laid over what is left."""
    hint = (
        "7 is dropped, and then 5 and 6 are neighbours: drop words before the window is laid. Each "
        "word keeps its own width all the same"
    )
    wanted = {(5, 6), (6, 5), (6, 8), (8, 6), (8, 5)}
    _pairs(pairs, [5, 7, 6, 8], [True, False, True, True], [1, 1, 1, 2], wanted, hint)


@check
def a_word_may_stand_beside_itself(pairs: Pairs) -> None:
    """The same word at two places."""
    found = [(int(a), int(b)) for a, b in pairs([5, 5], [True, True], [1, 1])]
    assert found == [(5, 5), (5, 5)], (
        f"text [5, 5] has the pair (5, 5) twice, once for each place, and {found} was found: leave "
        "out the place itself, not the word"
    )


# --- gradients(word, output, w, c, n) -> two tables (V, d) ----------------------------------------

_WORD = _table((0, 0), (1, 0), (0, 2), (1, 1))
_OUTPUT = _table((0, 0), (0, 1), (math.log(3), 0), (0, -math.log(3)))
_EMPTY = torch.empty(1, 0, dtype=torch.long)


def _by_loop(word: Tensor, output: Tensor, w: Tensor, c: Tensor, n: Tensor) -> tuple[Tensor, ...]:
    """A pair and a drawn word at a time."""
    into, out = torch.zeros_like(word), torch.zeros_like(output)
    for i, j, drawn in zip(w.tolist(), c.tolist(), n.tolist(), strict=True):
        for u, real in ((j, 1.0), *((k, 0.0) for k in drawn)):
            z = sum(float(a) * float(b) for a, b in zip(word[i], output[u], strict=True))
            error = (1 / (1 + math.exp(-z)) - real) / len(w)
            into[i] += error * output[u]
            out[u] += error * word[i]
    return into, out


def _gradients(gradients: Gradients, batch: Sequence[Tensor], hint: str) -> None:
    found: Any = called(gradients, _WORD.clone(), _OUTPUT.clone(), *batch)
    returned(found, 2, "return the gradients of both tables")
    wanted = _by_loop(_WORD, _OUTPUT, *batch)
    for name, got, right in zip(("by word", "by output"), found, wanted, strict=True):
        same(got, right, f"the gradient {name}", hint)


@check
def one_pair_and_nobody_drawn(gradients: Gradients) -> None:
    """K = 0: a quarter short, and everybody else left alone."""
    found: Any = called(
        gradients, _WORD.clone(), _OUTPUT.clone(), torch.tensor([1]), torch.tensor([2]), _EMPTY
    )
    returned(found, 2, "return the gradients of both tables")
    hint = (
        "word 1 and output 2 have the product log 3, so σ is ¾ and falls short by ¼: each gets "
        "-¼ of the other's vector, and all other rows are zero"
    )
    into, out = torch.zeros(2, 4, 2, dtype=torch.float64)
    into[1, 0], out[2, 0] = -math.log(3) / 4, -0.25
    same(found[0], into, "the gradient by word", hint)
    same(found[1], out, "the gradient by output", hint)


@check
def drawn_words_push_away(gradients: Gradients) -> None:
    """One pair, two drawn words."""
    batch = torch.tensor([3]), torch.tensor([1]), torch.tensor([[2, 3]])
    hint = "for a drawn word the error is σ itself, for the real neighbour it is σ - 1"
    _gradients(gradients, batch, hint)


@check
def the_loss_is_a_mean_over_pairs(gradients: Gradients) -> None:
    """Two pairs that share no word."""
    batch = torch.tensor([1, 3]), torch.tensor([2, 1]), torch.tensor([[0], [3]])
    hint = "the loss is the mean over the pairs of the batch: divide by their number, not by K"
    _gradients(gradients, batch, hint)


@check
def what_comes_twice_gets_both(gradients: Gradients) -> None:
    """A word in two pairs, one drawn twice, and one drawn that is the neighbour itself."""
    hint = (
        "words come more than once in this batch, and table[rows] += x keeps only one of the "
        "additions to a row. index_add_ makes them all"
    )
    batch = torch.tensor([1, 1, 3]), torch.tensor([2, 3, 2]), torch.tensor([[1, 1], [2, 3], [1, 2]])
    _gradients(gradients, batch, hint)


# --- noise(counts, power) -> shares (V,) ----------------------------------------------------------


def _noise(noise: Noise, counts: Sequence[float], power: float, wanted: Any, hint: str) -> None:
    found = called(noise, torch.tensor(counts), power)
    right = torch.tensor(wanted, dtype=torch.float64)
    same(found, right, f"noise({list(counts)}, {power})", hint)


@check
def the_power_evens_out(noise: Noise) -> None:
    """Sixteen to one becomes eight to one."""
    hint = "counts to the power, divided by their sum"
    _noise(noise, (16.0, 1.0), 0.75, (8 / 9, 1 / 9), hint)
    _noise(noise, (81.0, 16.0, 1.0), 0.75, (27 / 36, 8 / 36, 1 / 36), hint)


@check
def the_power_may_be_another(noise: Noise) -> None:
    """Shares of counts themselves, and a number below them."""
    hint = "the second argument is the power: at 1 these are the shares of the text"
    _noise(noise, (6.0, 3.0, 1.0), 1.0, (0.6, 0.3, 0.1), hint)
    _noise(noise, (9.0, 1.0), 0.5, (0.75, 0.25), hint)


@check
def who_never_occurred_is_never_drawn(noise: Noise) -> None:
    """Nought to the power of nought is 1."""
    hint = "a word with the count 0 gets no share at any power, and 0 ** 0 is 1"
    _noise(noise, (0.0, 16.0, 1.0), 0.75, (0, 8 / 9, 1 / 9), hint)
    _noise(noise, (0.0, 5.0, 3.0), 0.0, (0, 0.5, 0.5), hint)


# --- score(vectors, questions, rule, forbid) -> share ---------------------------------------------

_PARALLELOGRAM = (-1.0, 1.0, 1.0)
# Row 1 is row 0 and a step along the last axis, and so is row 3 from row 2; 4 goes the other way.
_CORNERS = _table((1, 0, 0), (1, 0, 1), (0, 1, 0), (0, 1, 1), (0.1, 0.1, -1))
_QUESTION = torch.tensor([[0, 1, 2, 3]])


@check
def a_parallelogram_ends_at_its_corner(score: Score) -> None:
    """Answers right and wrong, and a share of both."""
    hint = "the answer is the row with the highest cosine to the sum of the rule's parts"
    near(score(_CORNERS, _QUESTION, _PARALLELOGRAM, True), 1, "the score", hint)
    wrong = torch.tensor([[0, 1, 2, 4]])
    near(score(_CORNERS, wrong, _PARALLELOGRAM, True), 0, "the score", "4 is not that corner")
    both = torch.cat([_QUESTION, wrong, _QUESTION, wrong])
    near(score(_CORNERS, both, _PARALLELOGRAM, True), 0.5, "the score", "2 of 4 are right")


@check
def the_rule_says_what_is_added(score: Score) -> None:
    """Without a, and from c alone."""
    vectors = _table((1, 0), (0, 1), (0.6, 0.8), (0.8, 0.6), (-1, 0.1))
    question = torch.tensor([[4, 1, 0, 2], [4, 1, 0, 3]])  # b + c lies between 2 and 3
    hint = "multiply the vectors of a, b and c by the three numbers of the rule"
    near(score(vectors, question[:1], (0, 1.1, 1), True), 1, "the score", hint)
    near(score(vectors, question[1:], (0, 0, 1), True), 1, "the score", hint)
    near(score(vectors, question[:1], (0, 0, 1), True), 0, "the score", hint)


@check
def only_its_own_words_are_forbidden(score: Score) -> None:
    """What is forbidden in one question is the answer of another."""
    hint = "a, b and c are forbidden in their own question and allowed in all the others"
    two = torch.tensor([[0, 1, 2, 3], [2, 3, 0, 1]])
    near(score(_CORNERS, two, _PARALLELOGRAM, True), 1, "the score", hint)
    hint = "with forbid=False the nearest word of all is the answer, c if it is c"
    near(score(_CORNERS, _QUESTION, (0, 0, 1), False), 0, "the score", hint)
    itself = torch.tensor([[0, 1, 2, 2]])
    near(score(_CORNERS, itself, (0, 0, 1), False), 1, "the score", hint)


@check
def lengths_do_not_count(score: Score) -> None:
    """The same directions, of other lengths."""
    hint = "scale every vector to length 1 first, those of the answers and those of a, b and c"
    lengths = torch.tensor([7.0, 0.2, 3.0, 0.5, 50.0], dtype=torch.float64)
    vectors = torch.cat([_CORNERS * lengths[:, None], _table((-50, 50, 0))])
    near(score(vectors, _QUESTION, _PARALLELOGRAM, True), 1, "the score", hint)


# --- around(vectors, text, i, reach) -> (d,) ------------------------------------------------------

_NUMBERS = _table((8, 0), (0, 8), (4, 4), (1, 3), (5, 1))


def _around(around: Around, text: list[int], i: int, reach: int, wanted: Any, hint: str) -> None:
    found = called(around, _NUMBERS.clone(), list(text), i, reach)
    what = f"around at place {i} of {text}, reach {reach}"
    same(found, torch.tensor(wanted, dtype=torch.float64), what, hint)


@check
def the_mean_of_what_stands_around(around: Around) -> None:
    """Both sides, without the word itself."""
    hint = "the mean of the vectors at most reach places before and after, without place i"
    _around(around, [0, 4, 1, 3], 1, 1, (4, 4), hint)
    _around(around, [0, 4, 1, 3, 0], 2, 2, (22 / 4, 4 / 4), hint)


@check
def a_place_at_the_end_has_fewer_neighbours(around: Around) -> None:
    """Divided by how many there are."""
    hint = "at an end there are fewer neighbours, and the mean is over those that there are"
    _around(around, [3, 0, 1], 0, 2, (4, 4), hint)
    _around(around, [3, 0, 1, 4], 1, 2, (2, 4), f"{hint}, and text[-1:1] holds nothing")
    _around(around, [0, 1, 2, 3], 3, 2, (2, 6), hint)


@check
def a_word_all_alone(around: Around) -> None:
    """No neighbour: zero, not nan."""
    hint = "where nothing stands around, the vector is zero; a mean of nothing is nan"
    _around(around, [3], 0, 2, (0, 0), hint)


@check
def the_same_word_beside_it_counts(around: Around) -> None:
    """The place is left out, not the word."""
    hint = "leave out the place, not the word: it may stand there a second time"
    _around(around, [3, 3, 0], 0, 2, (4.5, 1.5), hint)
