"""Tests of the lab *A picture in the stream*: small pictures and rows, counted out here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlhf_lab.checks import called, check, returned, same

Cut = Callable[[Tensor, int], Tensor]
Codes = Callable[[Tensor, Tensor], Tensor]
Row = Callable[[list[int], list[tuple[list[int], list[int]]]], Sequence[list[int]]]
Vectors = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]


# --- cut(pixels, size) -> (squares, size * size * C) ----------------------------------------------


@check
def squares_hold_together(cut: Cut) -> None:
    """A picture of 4 x 4 numbers in four squares."""
    pixels = torch.arange(16.0).reshape(4, 4, 1)
    wanted = torch.tensor([[0.0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]])
    hint = "the first square has the two left pixels of the first two lines, not four of the first"
    same(called(cut, pixels, 2), wanted, "cut of the numbers 0 to 15", hint)


@check
def squares_come_in_reading_order(cut: Cut) -> None:
    """Two lines of three squares: a picture that is not square itself."""
    pixels = torch.arange(24.0).reshape(4, 6, 1)
    wanted = [
        [float(pixels[2 * r + y, 2 * c + x, 0]) for y in range(2) for x in range(2)]
        for r in range(2)
        for c in range(3)
    ]
    hint = "from left to right, then the next line of squares; height and width may differ"
    same(called(cut, pixels, 2), torch.tensor(wanted), "cut of 4 x 6 pixels", hint)


@check
def colours_stay_with_their_pixel(cut: Cut) -> None:
    """Three channels: a pixel's numbers stand next to each other."""
    pixels = torch.arange(48.0).reshape(4, 4, 3)
    first = [float(pixels[y, x, c]) for y in range(2) for x in range(2) for c in range(3)]
    found = called(cut, pixels, 2)
    hint = "red, green and blue of one pixel, then those of the next"
    same(found[:1], torch.tensor([first]), "the first square of three colours", hint)


# --- codes_of(squares, entries) -> (N,) -----------------------------------------------------------


@check
def the_nearest_entry_is_taken(codes_of: Codes) -> None:
    """Three squares, three entries."""
    entries = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    squares = torch.tensor([[0.9, 0.2], [-0.7, 0.1], [0.2, 0.6]])
    found = called(codes_of, squares, entries)
    same(found, torch.tensor([0, 2, 1]), "codes_of", "one number for each square: of which entry?")


@check
def long_entries_win_nothing(codes_of: Codes) -> None:
    """An entry far away in the direction of everything."""
    entries = torch.tensor([[0.4, 0.4], [5.0, 5.0]])
    squares = torch.tensor([[0.5, 0.5], [1.0, 1.0]])
    hint = "near is not the same as a large inner product: bright entries are not near to all"
    same(called(codes_of, squares, entries), torch.tensor([0, 0]), "codes_of", hint)


@check
def whole_numbers_come_out(codes_of: Codes) -> None:
    """Codes are looked up later; of equals the first is taken."""
    entries = torch.tensor([[1.0], [3.0], [3.0]])
    found = called(codes_of, torch.tensor([[2.0], [3.0]]), entries)
    whole = isinstance(found, Tensor) and not found.is_floating_point()
    assert whole, "codes are numbers of entries, whole ones: argmin gives them"
    same(found, torch.tensor([0, 1]), "codes_of", "of two entries equally near the first is taken")


# --- row(picture, pairs) -> ids, targets ----------------------------------------------------------

_PICTURE = [90, 91, 92]
_PAIRS = [([1, 2, 3], [7]), ([4, 5], [8, 9])]
_IDS = [90, 91, 92, 1, 2, 3, 7, 4, 5, 8, 9]
_NONE = -100


def _row(row: Row) -> tuple[list[int], list[int]]:
    found = row(list(_PICTURE), [(list(q), list(a)) for q, a in _PAIRS])
    returned(found, 2, "row should return two lists, tokens and targets")
    ids, targets = ([int(x) for x in part] for part in found)
    return ids, targets


@check
def everything_is_in_the_row(row: Row) -> None:
    """The picture, then question and answer in turn."""
    ids, _ = _row(row)
    assert ids == _IDS, (
        f"the tokens should be {_IDS}, and are {ids}: each answer follows its own question"
    )


@check
def only_answers_are_predicted(row: Row) -> None:
    """Three tokens belong to answers."""
    _, targets = _row(row)
    assert len(targets) == len(_IDS), (
        f"there should be {len(_IDS)} targets, one at each token, and there are {len(targets)}"
    )
    counted = [t for t in targets if t != _NONE]
    assert counted == [7, 8, 9], (
        f"the tokens to be predicted should be [7, 8, 9], all of both answers, and are {counted}"
    )


@check
def one_place_before_it_stands(row: Row) -> None:
    """At the end of the question the answer is predicted."""
    _, targets = _row(row)
    wanted = [_NONE] * 5 + [7, _NONE, _NONE, 8, 9, _NONE]
    assert targets == wanted, (
        f"the targets should be {wanted}, and are {targets}: the answer is predicted at the token "
        "before it; at its own place it would only have to be copied"
    )


@check
def nothing_given_is_changed(row: Row) -> None:
    """A picture is used for several rows."""
    picture, pairs = [90, 91], [([1], [2])]
    row(picture, pairs)
    unchanged = picture == [90, 91] and pairs == [([1], [2])]
    assert unchanged, (
        f"the picture's list became {picture}: += on it changes it for the next row too. Copy it"
    )
    ids, targets = row([90], [])
    assert (list(ids), list(targets)) == ([90], [_NONE]), (
        f"a picture without questions should give [90] and [-100], and gives {ids} and {targets}"
    )


# --- vectors_of(ids, table, squares, matrix, patch) -> (T, d) -------------------------------------

_TABLE = torch.tensor([[1.0, 2.0], [3.0, 4.0], [50.0, 60.0]])
_TOKENS = torch.tensor([0, 2, 1, 2, 0])
_SQUARES = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]])
_MATRIX = torch.tensor([[1.0, 0.5], [-1.0, 0.25], [2.0, 0.0]])


def _vectors(vectors_of: Vectors) -> Tensor:
    return called(vectors_of, _TOKENS, _TABLE.clone(), _SQUARES, _MATRIX, 2)


@check
def words_come_from_the_table(vectors_of: Vectors) -> None:
    """Tokens that are words."""
    found = _vectors(vectors_of)
    fits = isinstance(found, Tensor) and found.shape == (5, 2)
    assert fits, (
        "vectors_of should return a tensor (T, d), here (5, 2), and returned "
        f"{tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__}"
    )
    wanted = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    same(found[[0, 2, 4]], wanted, "vectors of words", "the table's row for each token")


@check
def patches_come_through_the_matrix(vectors_of: Vectors) -> None:
    """Two patches, in order, and nothing of the token's own row."""
    wanted = torch.tensor([[5.0, 0.5], [-1.0, 0.25]])  # 1 + 2 * 2, 0.5; the matrix's second row
    hint = "the p-th square times the matrix, in place of the row for the token and not added to it"
    same(_vectors(vectors_of)[[1, 3]], wanted, "vectors of patches", hint)


@check
def a_row_without_a_picture_passes(vectors_of: Vectors) -> None:
    """Words alone: no patch, no square."""
    nothing = torch.empty(0, 3)
    try:
        found = called(vectors_of, torch.tensor([1, 1]), _TABLE.clone(), nothing, _MATRIX, 2)
    except (IndexError, RuntimeError) as error:
        raise AssertionError(
            f"a row without a picture raises {type(error).__name__} ({error}): text alone is one"
        ) from None
    wanted = torch.tensor([[3.0, 4.0], [3.0, 4.0]])
    same(found, wanted, "vectors of a row without a picture", "no patch, nothing to fill in")
