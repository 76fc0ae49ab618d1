"""Tests of the lab *A tagger from templates*: what is wanted stands here or is added up here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlhf_lab.checks import called, check, same
from rlhf_lab.errors import InputError
from rlhf_lab.paradigms.templates import FORMS, Template, parse_templates, table

Expand = Callable[[str, Sequence[Sequence[str]], int], str]
Forward = Callable[[Tensor, Tensor], Tensor]
Viterbi = Callable[[Tensor, Tensor], Sequence[int]]

_ROWS = [["mira", "PROPN"], ["met", "VERB"], ["the", "DET"], ["fox", "NOUN"]]


def _log(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


# The lattice of the chapter, tags N and O; its transitions are not symmetric.
_EMISSIONS = _log((1, 2), (1, 2), (1, 4))
_TRANSITIONS = _log((1, 4), (3, 1))


def _random(words: int, tags: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(words + tags, tags, generator=generator, dtype=torch.float64)
    return drawn[:words], drawn[words:]


def _score(e: Tensor, a: Tensor, path: Sequence[int]) -> float:
    inside = sum(float(e[t, tag]) for t, tag in enumerate(path))
    return inside + sum(float(a[i, j]) for i, j in itertools.pairwise(path))


# --- expand(template, rows, i) -> str -------------------------------------------------------------


def _expands(expand: Expand, template: str, i: int, wanted: str, hint: str) -> None:
    found = expand(template, [list(row) for row in _ROWS], i)
    assert found == wanted, (
        f"{template} at word {i} should become {wanted!r}, and is {found!r}: {hint}"
    )


@check
def a_cell_takes_the_place_of_its_macro(expand: Expand) -> None:
    """One macro, and what stands around it."""
    hint = "the macro's first number is a row counted from word i, the second a column"
    _expands(expand, "U02:%x[0,0]", 1, "U02:met", hint)
    _expands(expand, "U07:%x[-1,1]", 2, "U07:VERB", hint)
    _expands(expand, "U08:<%x[1,0]>", 2, "U08:<fox>", "what stands around the macro stays")


@check
def every_macro_is_replaced(expand: Expand) -> None:
    """Two macros, one of them twice."""
    hint = "a template may have several macros, and the same one more than once"
    _expands(expand, "U05:%x[-1,0]/%x[0,1]", 3, "U05:the/NOUN", hint)
    _expands(expand, "U06:%x[0,0]/%x[0,0]", 3, "U06:fox/fox", hint)


@check
def beyond_the_sentence(expand: Expand) -> None:
    """Rows before the first and after the last word."""
    _expands(expand, "U00:%x[-2,0]", 1, "U00:_B-1", "one row before the first is _B-1")
    _expands(expand, "U00:%x[-2,0]", 0, "U00:_B-2", "two rows before the first is _B-2")
    _expands(expand, "U04:%x[1,1]", 3, "U04:_B+1", "one row after the last is _B+1")
    _expands(expand, "U04:%x[2,0]", 3, "U04:_B+2", "two rows after the last is _B+2")


# --- forward(e (T, L), a (L, L)) -> alpha (T, L) --------------------------------------------------


@check
def three_words_by_hand(forward: Forward) -> None:
    """The factors of the chapter."""
    found = called(forward, _EMISSIONS, _TRANSITIONS)
    hint = (
        "as factors they are 1, 2; 7, 12; 43, 160. Where 7 is something else, look whether you "
        "add up over the tag before: a[i, j] is the score of j after i"
    )
    same(found, _log((1, 2), (7, 12), (43, 160)), "alpha", hint)


@check
def the_first_word_has_nothing_before_it(forward: Forward) -> None:
    """A sentence of one word."""
    e, a = _random(1, 3, seed=1)
    same(called(forward, e, a), e, "alpha of one word", "it is the word's emissions")


@check
def the_last_row_adds_up_all_paths(forward: Forward) -> None:
    """Against the sum over 81 paths of four words."""
    e, a = _random(4, 3, seed=2)
    wanted = [
        [
            math.log(
                sum(
                    math.exp(_score(e, a, (*path, tag)))
                    for path in itertools.product(range(3), repeat=t)
                )
            )
            for tag in range(3)
        ]
        for t in range(4)
    ]
    hint = "alpha[t, j] is the log-sum of the scores of all beginnings that end in j at word t"
    same(called(forward, e, a), torch.tensor(wanted, dtype=torch.float64), "alpha", hint)


@check
def large_scores_stay_finite(forward: Forward) -> None:
    """Scores of a thousand, which no exponential survives."""
    e, a = 1000 + torch.zeros(3, 2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    rows = [[1000.0 * (t + 1) + t * math.log(2)] * 2 for t in range(3)]
    wanted = torch.tensor(rows, dtype=torch.float64)
    hint = "stay in logarithms: torch.logsumexp takes the largest score out before it adds up"
    same(called(forward, e, a), wanted, "alpha", hint, tolerance=1e-6)


# --- viterbi(e (T, L), a (L, L)) -> T tags --------------------------------------------------------


def _tags(found: object, count: int) -> list[int]:
    assert isinstance(found, list | tuple | Tensor), (
        f"return the path as a list of {count} tags; this is a {type(found).__name__}"
    )
    path = [int(tag) for tag in found]
    assert len(path) == count, f"the path should have {count} tags, and has {len(path)}: one a word"
    return path


@check
def the_best_path_is_not_the_best_tags(viterbi: Viterbi) -> None:
    """Word by word one would choose 1 1 1."""
    path = _tags(called(viterbi, _EMISSIONS, _TRANSITIONS), 3)
    assert path != [1, 1, 1], (
        "the path should be [1, 0, 1], and is [1, 1, 1], the best tag of each word: what leads "
        "there counts, too"
    )
    assert path == [1, 0, 1], f"the path should be [1, 0, 1], with a weight of 96, and is {path}"


@check
def it_reads_from_the_first_word_to_the_last(viterbi: Viterbi) -> None:
    """Three words whose tags are beyond doubt."""
    e = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 0, 9]], dtype=torch.float64)
    path = _tags(called(viterbi, e, torch.zeros(3, 3, dtype=torch.float64)), 3)
    assert path == [0, 1, 2], (
        f"the path should be [0, 1, 2], and is {path}: the pointers are followed from the last "
        "word to the first, so the list is the wrong way round until it is reversed"
    )


@check
def no_path_scores_more(viterbi: Viterbi) -> None:
    """Twenty lattices, all paths of each."""
    for seed in range(20):
        e, a = _random(4, 3, seed)
        path = _tags(called(viterbi, e, a), 4)
        best = max(itertools.product(range(3), repeat=4), key=lambda p: _score(e, a, p))
        assert path == list(best), (
            f"a path with {_score(e, a, path):.3f} was found where {list(best)} has "
            f"{_score(e, a, best):.3f}: at each word keep the best predecessor of *each* tag"
        )


# --- templates: a text in CRF++'s format ----------------------------------------------------------


def _parsed(templates: str) -> list[Template]:
    try:
        return parse_templates(templates, len(FORMS))
    except InputError as error:
        raise AssertionError(f"the file cannot be read: {error}") from None


def _seen(templates: str, sentence: str, word: str) -> set[str]:
    words = sentence.split()
    rows = table(words)
    i = words.index(word)
    return {t.expand(rows, i) for t in _parsed(templates) if not t.bigram}


_INN, _FOX = "the owl slept at the red fox .", "the owl met the red fox ."


@check
def the_file_can_be_read(templates: str) -> None:
    """Its format, and that neighbouring tags are joined."""
    assert any(t.bigram for t in _parsed(templates)), (
        "no line joins neighbouring tags: without B an I-INN cannot know of the B-INN before it"
    )


@check
def each_word_of_an_inn_sees_the_preposition(templates: str) -> None:
    """Both sentences are the same from "the red fox" on."""
    for word in ("red", "fox"):
        other = _seen(templates, _FOX, word)
        new = _seen(templates, _INN, word) - other
        assert any("at" in feature.partition(":")[2].split("/") for feature in new), (
            f'at "{word}" no feature has the word "at", which stands before "the": "{_INN}" and '
            f'"{_FOX}" look alike there. Features that differ: {sorted(new) or "none"}'
        )


@check
def colours_are_not_written_into_the_file(templates: str) -> None:
    """A blue owl is an inn as well."""
    one = _seen(templates, _INN, "fox")
    two = _seen(templates, "the owl slept at the blue fox .", "fox")
    shared = {f for f in one & two if "at" in f.partition(":")[2].split("/")}
    assert shared, (
        'no feature that has "at" is the same for "at the red fox" and "at the blue fox": with the '
        "colour in it a line has to see every colour in training"
    )


@check
def the_word_itself_is_asked(templates: str) -> None:
    """A file without %x[0,…] knows no word."""
    one, two = (_seen(templates, f"the owl met {name} .", name) for name in ("mira", "nobody"))
    assert one != two, "no line looks at the word itself: add U02:%x[0,0]"
