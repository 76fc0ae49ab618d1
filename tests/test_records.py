"""Records: what a ranking holds, and what becomes of equal answers."""

from __future__ import annotations

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.records import Ranking


def test_pairs_are_those_of_different_rank():
    assert Ranking("p", ("a", "b", "c", "d"), (0, 1, 1, 2)).pairs == 5
    assert Ranking("p", ("a", "b"), (1, 1)).pairs == 0


def test_of_equal_completions_the_first_stays():
    ranking = Ranking("p", ("b", "a", "b", "c"), (2, 0, 1, 0), "qa", "l1")
    assert ranking.without_duplicates() == Ranking("p", ("b", "a", "c"), (2, 0, 0), "qa", "l1")
    assert Ranking("p", ("a", "a"), (0, 1)).without_duplicates() is None
    assert Ranking("p", ("a", "b"), (1, 1)).without_duplicates() is None


@pytest.mark.parametrize(
    ("completions", "ranks"),
    [((), ()), (("a",), (0,)), (("a", "b"), (0,)), (("a",) * 2, (0, 1, 2))],
)
def test_a_ranking_needs_two_answers_with_one_rank_each(completions, ranks):
    with pytest.raises(InputError, match="completions|ranks"):
        Ranking("p", completions, ranks)
