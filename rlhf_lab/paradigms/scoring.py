"""How good predictions are: the share of right words, and precision and recall of entities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rlhf_lab.errors import InputError

Tags = Sequence[Sequence[str]]


class Span(NamedTuple):
    """An entity: its type and its first and one-past-last word."""

    kind: str
    start: int
    end: int


class EntityScores(NamedTuple):
    """Share of predicted entities that are right, of true ones found, and their harmonic mean."""

    precision: float
    recall: float
    f1: float


def accuracy(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Share of equal labels.

    Raises:
        InputError: for no labels, or another number of predictions.
    """
    if not truth or len(truth) != len(predicted):
        raise InputError(
            "predicted", len(predicted), f"{len(truth)} labels, one or more", "predict every text"
        )
    return sum(t == p for t, p in zip(truth, predicted, strict=True)) / len(truth)


def token_accuracy(truth: Tags, predicted: Tags) -> float:
    """Share of words with the right tag.

    Raises:
        InputError: when a sentence has another number of tags.
    """
    _check(truth, predicted)
    return accuracy([t for tags in truth for t in tags], [t for tags in predicted for t in tags])


def spans(tags: Sequence[str]) -> list[Span]:
    """The entities of a sentence in BIO tags.

    A tag ``I-X`` that follows neither ``B-X`` nor ``I-X`` begins an entity, as in CoNLL's scorer.
    """
    found: list[Span] = []
    start, kind = 0, ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if kind and (prefix != "I" or name != kind):
            found.append(Span(kind, start, i))
            kind = ""
        if prefix in ("B", "I") and not kind:
            start, kind = i, name
    return found


def entity_scores(truth: Tags, predicted: Tags) -> EntityScores:
    """Precision, recall and F1 over whole entities: type, beginning and end have to be right.

    All are 0 when nothing is right.

    Raises:
        InputError: when a sentence has another number of tags.
    """
    _check(truth, predicted)
    true = {(i, span) for i, tags in enumerate(truth) for span in spans(tags)}
    found = {(i, span) for i, tags in enumerate(predicted) for span in spans(tags)}
    right = len(true & found)
    if not right:
        return EntityScores(0.0, 0.0, 0.0)
    precision, recall = right / len(found), right / len(true)
    return EntityScores(precision, recall, 2 * precision * recall / (precision + recall))


def _check(truth: Tags, predicted: Tags) -> None:
    lengths = [len(tags) for tags in truth]
    if lengths != [len(tags) for tags in predicted]:
        raise InputError(
            "predicted",
            [len(tags) for tags in predicted][:10],
            f"one tag for each word: {lengths[:10]}",
            "predict the same sentences",
        )
