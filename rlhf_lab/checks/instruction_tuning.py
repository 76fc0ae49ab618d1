"""Tests of the lab *Asked for something else*: what is wanted stands here, or is counted here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rlhf_lab.checks import check, near
from rlhf_lab.lineage.instruction_tuning import HELD_OUT, TUNED

MayTune = Callable[[Mapping[str, str], Sequence[str], Sequence[tuple[str, str]]], Iterable[str]]
Rates = Callable[[Mapping[str, int], int], Mapping[str, float]]
Rouge = Callable[[str, str], float]
Like = Callable[[str, str], float]
Novel = Callable[..., Iterable[str]]
Counts = tuple[int, int, int]
Apart = Callable[[Counts, Counts], Mapping[str, float]]


# --- may_tune(clusters, held_out, near) -> kinds --------------------------------------------------

_CLUSTERS = {
    "anli": "inference", "rte": "inference", "mrpc": "paraphrase", "sst": "sentiment",
    "imdb": "sentiment", "wmt": "translation",
}  # fmt: skip


def _left(
    answer: MayTune, held_out: list[str], pairs: list[tuple[str, str]], wanted: list[str], hint: str
) -> None:
    found = answer(dict(_CLUSTERS), list(held_out), list(pairs))
    assert isinstance(found, list | tuple), (
        f"may_tune returns a list of kinds; this returned a {type(found).__name__}"
    )
    assert list(found) == wanted, (
        f"with {held_out} held out and {pairs or 'nothing'} near, {wanted} may be tuned on, and "
        f"not {list(found)}: {hint}"
    )


@check
def whole_clusters_go(answer: MayTune) -> None:
    """Both kinds of a cluster; nothing is near."""
    hint = "no kind of a held-out cluster is shown, and all others are, in their order"
    _left(answer, ["inference"], [], ["mrpc", "sst", "imdb", "wmt"], hint)
    _left(answer, ["sentiment", "translation"], [], ["anli", "rte", "mrpc"], hint)


@check
def near_clusters_go_too(answer: MayTune) -> None:
    """A pair, named either way round; a pair that is not concerned."""
    wanted = ["sst", "imdb", "wmt"]
    hint = "a cluster that is near to a held-out one is not shown either, whichever is named first"
    _left(answer, ["inference"], [("inference", "paraphrase")], wanted, hint)
    _left(answer, ["inference"], [("paraphrase", "inference")], wanted, hint)
    everything = ["mrpc", "sst", "imdb", "wmt"]
    hint = "neither cluster of this pair is held out, so both may be shown"
    _left(answer, ["inference"], [("paraphrase", "translation")], everything, hint)


@check
def nearness_is_not_handed_on(answer: MayTune) -> None:
    """Inference is near paraphrase, which is near translation."""
    pairs = [("inference", "paraphrase"), ("paraphrase", "translation")]
    hint = "translation is near to paraphrase, which is not asked for: it may be shown"
    _left(answer, ["inference"], pairs, ["sst", "imdb", "wmt"], hint)


# --- mixing_rates(sizes, maximum) -> shares -------------------------------------------------------


def _rates(answer: Rates, sizes: dict[str, int], maximum: int) -> Mapping[str, float]:
    try:
        found = answer(dict(sizes), maximum)
    except ZeroDivisionError:
        raise AssertionError("it divides by 0, though there is something to draw from") from None
    assert isinstance(found, Mapping), (
        f"mixing_rates returns a dictionary; this returned a {type(found).__name__}"
    )
    assert set(found) == set(sizes), (
        f"there is a share for each of {', '.join(sizes)}, and for nothing else; this has "
        f"{', '.join(map(str, found)) or 'none'}"
    )
    return found


@check
def shares_add_up(answer: Rates) -> None:
    """One size above the maximum."""
    found = _rates(answer, {"large": 900, "small": 100}, 300)
    hint = "300 of the large one count and 100 of the small one: divide by 400, what counts of all"
    near(sum(found.values()), 1.0, "the sum of all shares", hint)


@check
def sizes_count_up_to_the_maximum(answer: Rates) -> None:
    """One above, one at, one below the maximum."""
    found = _rates(answer, {"large": 30_000, "middle": 3_000, "small": 1_000}, 3_000)
    hint = "of the large one 3,000 count, as many as of the middle one, and of the small one 1,000"
    for name, wanted in {"large": 3 / 7, "middle": 3 / 7, "small": 1 / 7}.items():
        near(found[name], wanted, f"the share of {name!r}", hint)


@check
def nothing_is_drawn_from_nothing(answer: Rates) -> None:
    """A data set without a row."""
    found = _rates(answer, {"empty": 0, "full": 50}, 10)
    near(found["empty"], 0.0, "the share of an empty data set", "there is nothing to be drawn")


# --- rouge_l(first, second) -> float --------------------------------------------------------------


def _rouge(answer: Rouge, first: str, second: str, wanted: float, hint: str) -> None:
    try:
        found = answer(first, second)
    except ZeroDivisionError:
        raise AssertionError(
            f"it divides by 0 for {first!r} and {second!r}: two empty texts have 0"
        ) from None
    near(found, wanted, f"ROUGE-L of {first!r} and {second!r}", hint)


@check
def gaps_are_allowed(answer: Rouge) -> None:
    """Three words in order, with another one between."""
    hint = "'name', 'red' and 'things' stand in both in this order: 2 · 3 / (4 + 4)"
    _rouge(answer, "name two red things", "name very red things", 0.75, hint)
    _rouge(answer, "name red things", "name red things", 1.0, "the whole text is common")


@check
def order_counts(answer: Rouge) -> None:
    """The same words backwards."""
    hint = "all words are common, but only one at a time can be taken without turning the order"
    _rouge(answer, "fox sees owl", "owl sees fox", 1 / 3, hint)


@check
def both_lengths_count(answer: Rouge) -> None:
    """A short text in a long one, both ways round."""
    hint = "one word is common, of 1 and of 5: 2 · 1 / (1 + 5)"
    _rouge(answer, "run", "run this program for me", 1 / 3, hint)
    _rouge(answer, "run this program for me", "run", 1 / 3, hint)


@check
def words_may_come_back(answer: Rouge) -> None:
    """An early match that blocks a longer one."""
    hint = "'b c d' is common; who takes 'a' at its first chance has passed them by"
    _rouge(answer, "a b c d", "b c d a", 0.75, hint)
    _rouge(answer, "the the the", "the fox the", 2 / 3, "a word counts once for each place")


@check
def empty_texts_have_nothing_in_common(answer: Rouge) -> None:
    """No words on one side, and on both."""
    _rouge(answer, "", "name two things", 0.0, "nothing is common")
    _rouge(answer, "", "", 0.0, "nothing is common")


# --- novel(candidates, pool, like, limit) -> kept -------------------------------------------------


def _tens(first: str, second: str) -> float:
    """A likeness for the checks: texts are numbers, and 10 apart is not alike at all."""
    return max(0.0, 1 - abs(int(first) - int(second)) / 10)


def _kept(
    answer: Novel, candidates: list[str], pool: list[str], wanted: list[str], hint: str
) -> None:
    found = answer(list(candidates), list(pool), _tens, 0.7)
    assert isinstance(found, list | tuple), (
        f"novel returns a list of texts; this returned a {type(found).__name__}"
    )
    assert list(found) == wanted, (
        f"of {candidates}, beside a pool of {pool}, {wanted} should be kept, and not {list(found)} "
        f"(numbers that are 3 or less apart are too alike here): {hint}"
    )


@check
def what_is_there_already_is_dropped(answer: Novel) -> None:
    """Each candidate is compared with all of the pool."""
    hint = "21 is like 20, and 41 like 40: one that is too alike is enough"
    _kept(answer, ["21", "30", "41"], ["20", "40"], ["30"], hint)


@check
def what_was_kept_is_there(answer: Novel) -> None:
    """Three candidates that are like each other."""
    hint = (
        "once 50 is kept, 51 and 52 are like something that is there; 54 is like 51 alone, which "
        "was dropped, and stays"
    )
    _kept(answer, ["50", "51", "54", "52"], ["20"], ["50", "54"], hint)


@check
def at_the_limit_is_too_alike(answer: Novel) -> None:
    """A likeness of exactly the limit."""

    def halves(*_texts: str) -> float:
        return 0.5

    found = list(answer(["a"], ["b"], halves, 0.5))
    assert found == [], (
        f"a likeness of 0.5 with a limit of 0.5 is not below it, and {found} was kept: keep what "
        "is below the limit"
    )


@check
def the_pool_stays_as_it_was(answer: Novel) -> None:
    """The caller's lists are not written into."""
    pool, candidates = ["20"], ["30", "40"]
    answer(candidates, pool, _tens, 0.7)
    assert (pool, candidates) == (["20"], ["30", "40"]), (
        f"the pool was ['20'] and the candidates ['30', '40'] before the call, and are {pool} and "
        f"{candidates} after it: keep what is kept in a list of its own"
    )


# --- taken_apart(before, after) -> form, skill ----------------------------------------------------


def _parts(answer: Apart, before: Counts, after: Counts) -> tuple[float, float]:
    try:
        found = answer(before, after)
    except ZeroDivisionError:
        raise AssertionError(
            f"it divides by 0 for {before} and {after}: where no reply is in form, nothing is "
            "known of how many of these are right"
        ) from None
    assert isinstance(found, Mapping), (
        f"taken_apart returns a dictionary; this returned a {type(found).__name__}"
    )
    for name in ("form", "skill"):
        assert name in found, f"the dictionary has no {name!r}"
    return found["form"], found["skill"]


@check
def the_parts_add_up(answer: Apart) -> None:
    """Different numbers of questions."""
    form, skill = _parts(answer, (100, 40, 20), (50, 45, 27))
    hint = (
        "0.54 of the replies are right after tuning, 0.2 before: the parts make up the difference"
    )
    near(form + skill, 0.34, "form and skill together", hint)


@check
def each_part_is_its_own(answer: Apart) -> None:
    """f from 0.4 to 0.9, a from 0.5 to 0.6; then one of them alone."""
    form, skill = _parts(answer, (100, 40, 20), (50, 45, 27))
    hint = "the form's change, 0.5, is weighed with how many in form were right before, 0.5"
    near(form, 0.25, "form", hint)
    near(skill, 0.09, "skill", "the change of a, 0.1, is weighed with the form after, 0.9")
    form, skill = _parts(answer, (10, 2, 1), (10, 10, 5))
    near(skill, 0.0, "skill", "half of the replies in form are right on either side")


@check
def nobody_in_form(answer: Apart) -> None:
    """No reply in form before, after, or at all."""
    form, skill = _parts(answer, (10, 0, 0), (10, 8, 6))
    hint = "nothing is known of a before, so take that of after, 0.75: the gain, 0.6, is all form"
    near(form, 0.6, "form", hint)
    near(skill, 0.0, "skill", hint)
    form, skill = _parts(answer, (10, 8, 6), (10, 0, 0))
    near(form, -0.6, "form", "none is in form after: the loss is all form")
    near(skill, 0.0, "skill", "none is in form after: the loss is all form")
    for part in _parts(answer, (10, 0, 0), (10, 0, 0)):
        near(part, 0.0, "each part", "nobody was in form on either side")


# --- experiment: a cluster, a number, an expectation ----------------------------------------------

EXPECTED = ("more", "fewer", "same")


@check
def experiment_is_complete(experiment: Mapping[str, Any]) -> None:
    """A cluster, a number, an expectation."""
    assert isinstance(experiment, Mapping), "experiment is a dictionary"
    for name in ("held_out", "tuned", "expected"):
        assert name in experiment, (
            f"experiment has no {name!r}; it has held_out, tuned and expected"
        )
    clusters = (*TUNED, *HELD_OUT)
    assert experiment["held_out"] in clusters, (
        f"{experiment['held_out']!r} is no cluster of Fernwick; there is {', '.join(clusters)}"
    )
    assert experiment["expected"] in EXPECTED, (
        f"you expect {experiment['expected']!r}: write one of {', '.join(EXPECTED)}"
    )


@check
def something_is_left_to_tune_on(experiment: Mapping[str, Any]) -> None:
    """One to nine of the other clusters."""
    tuned = experiment["tuned"]
    most = len(TUNED) + len(HELD_OUT) - 1
    whole = isinstance(tuned, int) and not isinstance(tuned, bool)
    assert whole, f"tuned is {tuned!r}: write a whole number"
    assert 1 <= tuned <= most, (
        f"tuned is {tuned!r}: besides the one that is held out there are {most} clusters, so write "
        f"a whole number from 1 to {most}"
    )
