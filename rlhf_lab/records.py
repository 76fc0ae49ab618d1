"""Records that every stage exchanges: prompts, demonstrations, rankings. No tensors, no models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlhf_lab.errors import InputError


@dataclass(frozen=True)
class Prompt:
    """What a user asks. ``meta`` holds what a gold labeler needs to judge an answer."""

    text: str
    kind: str = "other"
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Demonstration:
    """A labeler's answer to a prompt."""

    prompt: str
    completion: str
    kind: str = "other"


@dataclass(frozen=True)
class Ranking:
    """K answers to one prompt with their ranks: lower is better, equal ranks are ties.

    Raises:
        InputError: when K < 2, or the number of ranks is not K.
    """

    prompt: str
    completions: tuple[str, ...]
    ranks: tuple[int, ...]
    kind: str = "other"
    labeler: str = ""

    def __post_init__(self) -> None:
        if len(self.completions) < 2:
            raise InputError(
                "completions", self.completions, "K >= 2 completions", "rank at least two answers"
            )
        if len(self.ranks) != len(self.completions):
            raise InputError(
                "ranks",
                self.ranks,
                f"{len(self.completions)} ranks, one per completion",
                "give each completion one rank",
            )

    @property
    def pairs(self) -> int:
        """Pairs of answers with different ranks."""
        return sum(better < worse for better in self.ranks for worse in self.ranks)

    def without_duplicates(self) -> Ranking | None:
        """The first of each set of equal completions; None when no pair is left.

        Equal texts get equal scores, so a pair of them only pushes both sides apart by noise.
        """
        first: dict[str, int] = {}
        for text, rank in zip(self.completions, self.ranks, strict=True):
            first.setdefault(text, rank)
        if len(set(first.values())) < 2:
            return None
        return dataclasses.replace(self, completions=tuple(first), ranks=tuple(first.values()))
