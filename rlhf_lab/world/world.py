"""``World``: everything about one Fernwick, as a pure function of its seed.

Each item has an index, and item ``i`` can be made without making the ones before it, so a stream
resumes at any position.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from rlhf_lab.errors import InputError
from rlhf_lab.records import Demonstration, Prompt, Ranking
from rlhf_lab.world import documents as web
from rlhf_lab.world import exams
from rlhf_lab.world.answers import write_answer
from rlhf_lab.world.judge import Attributes, Judge
from rlhf_lab.world.knowledge import make_knowledge
from rlhf_lab.world.labelers import MEAN_LABELER, Labeler, make_labelers
from rlhf_lab.world.prompts import check_split, make_prompt
from rlhf_lab.world.suites import Suite, make_suites

# What demonstrations are like: people err too, and the reward model has something to add.
DEMONSTRATED = {"right": 70, "partial": 12, "wrong": 10, "hedging": 5, "rude": 3}


class World:
    """One Fernwick.

    Args:
        seed: another seed gives another world with the same grammar.

    Attributes:
        knowledge: all facts.
        judge: ``judge(prompt, completion) -> Attributes``.

    Raises:
        InputError: when the seed is not a whole number.
    """

    def __init__(self, seed: int = 0) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise InputError("seed", seed, "a whole number", "pass an int")
        self.seed = seed
        self.knowledge = make_knowledge(seed)
        self.judge = Judge(self.knowledge)

    def _rng(self, *path: object) -> random.Random:
        return random.Random(":".join(map(str, ("fernwick", self.seed, *path))))

    # The web -------------------------------------------------------------------------------

    def document(
        self, index: int, split: str = "train", *, without: Sequence[str] = ()
    ) -> web.Document:
        """The ``index``-th document of the web.

        Args:
            index: position in the stream, from 0.
            split: "train", "valid" or "test".
            without: kinds to leave out; the others keep their proportions.

        Raises:
            InputError: for a negative index, an unknown split or kind, or no kind left.
        """
        check_split(split)
        if index < 0:
            raise InputError("index", index, "0 or more", "count documents from 0")
        unknown = set(without) - set(web.SHARES)
        shares = {kind: share for kind, share in web.SHARES.items() if kind not in without}
        if unknown or not shares:
            raise InputError(
                "without", list(without), f"some of {', '.join(web.SHARES)}", "correct the list"
            )
        return web.make_document(self.knowledge, self._rng("document", split, index), shares)

    def documents(
        self, count: int, start: int = 0, split: str = "train", *, without: Sequence[str] = ()
    ) -> Iterator[web.Document]:
        """``count`` documents from position ``start``."""
        for index in range(start, start + count):
            yield self.document(index, split, without=without)

    # Prompts and answers -------------------------------------------------------------------

    def prompt(
        self,
        index: int,
        split: str = "train",
        *,
        kind: str = "",
        hard: str | None = None,
        unseen: bool = False,
    ) -> Prompt:
        """The ``index``-th prompt of a split; see :func:`rlhf_lab.world.prompts.make_prompt`."""
        rng = self._rng("prompt", split, kind, hard, unseen, index)
        return make_prompt(self.knowledge, rng, split=split, kind=kind, hard=hard, unseen=unseen)

    def prompts(
        self,
        split: str,
        count: int,
        start: int = 0,
        *,
        kind: str = "",
        hard: str | None = None,
        unseen: bool = False,
    ) -> list[Prompt]:
        """``count`` prompts with distinct texts, from position ``start`` of the stream.

        Raises:
            InputError: when the split holds fewer distinct prompts of this kind.
        """
        found: dict[str, Prompt] = {}
        index = start
        while len(found) < count:
            if index > start + 50 * count + 1000:
                raise InputError(
                    "count", count, f"at most {len(found)} distinct prompts", "ask for fewer"
                )
            made = self.prompt(index, split, kind=kind, hard=hard, unseen=unseen)
            found.setdefault(made.text, made)
            index += 1
        return list(found.values())

    def answer(self, prompt: Prompt, index: int = 0, quality: str = "right") -> str:
        """An answer of a given quality (:data:`rlhf_lab.world.answers.QUALITIES`)."""
        rng = self._rng("answer", prompt.text, quality, index)
        return write_answer(self.knowledge, prompt, rng, quality)

    def demonstration(self, prompt: Prompt, index: int = 0) -> Demonstration:
        """What one labeler wrote for a prompt: mostly right, see :data:`DEMONSTRATED`."""
        rng = self._rng("demonstration", prompt.text, index)
        quality = rng.choices(list(DEMONSTRATED), weights=list(DEMONSTRATED.values()))[0]
        text = write_answer(self.knowledge, prompt, rng, quality)
        return Demonstration(prompt.text, text, prompt.kind)

    def demonstrations(self, split: str, count: int, start: int = 0) -> list[Demonstration]:
        """Demonstrations for the first ``count`` prompts of a split."""
        return [self.demonstration(p) for p in self.prompts(split, count, start)]

    # Judgement -----------------------------------------------------------------------------

    def attributes(self, prompt: Prompt, completion: str) -> Attributes:
        """What the judge measures about an answer."""
        return self.judge(prompt, completion)

    def gold(self, prompt: Prompt, completion: str) -> float:
        """The mean labeler's noiseless utility, in utility points."""
        return MEAN_LABELER.value(self.judge(prompt, completion))

    def labelers(self, group: str = "train", *, evaluating: bool = False) -> tuple[Labeler, ...]:
        """The labelers of a group; see :func:`rlhf_lab.world.labelers.make_labelers`."""
        return make_labelers(self.seed, group, evaluating=evaluating)

    def rank(
        self, prompt: Prompt, completions: Sequence[str], *, group: str = "train", index: int = 0
    ) -> Ranking:
        """A ranking of K completions by one labeler of the group, drawn by prompt and index."""
        rng = self._rng("ranking", group, prompt.text, index)
        labeler = rng.choice(self.labelers(group))
        return labeler.rank(prompt, completions, self.judge, rng)

    def exam(self, index: int, split: str = "train", term: int = 1) -> Ranking:
        """The ``index``-th marked exam of a split; see :mod:`rlhf_lab.world.exams`.

        Args:
            term: 1 or 2; the second asks more for what is hard.

        Raises:
            InputError: for an unknown split or term.
        """
        check_split(split)
        rng = self._rng(*exams.stream("exam", term), split, index)
        return exams.make_exam(self.knowledge, rng, split, term)

    def exam_prompt(self, index: int, split: str = "train", term: int = 1) -> Prompt:
        """The ``index``-th prompt, use cases as often as the exams of a term ask for them.

        Raises:
            InputError: for an unknown split or term.
        """
        check_split(split)
        rng = self._rng(*exams.stream("exam prompt", term), split, index)
        return make_prompt(self.knowledge, rng, split=split, kind=exams.draw_use_case(rng, term))

    def mark(self, prompt: Prompt, completions: Sequence[str]) -> Ranking:
        """Completions with a teacher's marks; see :func:`rlhf_lab.world.exams.mark`."""
        return exams.mark(self.judge, prompt, completions)

    # Benchmarks ----------------------------------------------------------------------------

    def suites(self) -> dict[str, Suite]:
        """Every benchmark in its zero-shot and few-shot form, by "name/shots"."""
        return make_suites(self)
