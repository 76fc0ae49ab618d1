"""Instruction tuning in small: data sets, templates, and kinds of tasks that are kept away.

Wei et al. 2022 (FLAN) and Sanh et al. 2022 (T0) took data sets that had inputs and outputs, wrote
templates that say in words what is to be done, and tuned a language model on the result. Fernwick
has seventeen kinds of tasks in ten clusters; three clusters are held out. Here are the kinds with
their wordings, the two forms of an example (with an instruction and without), the mixing rates of
FLAN, and the filter by which Self-Instruct (Wang et al. 2023) keeps a model's own instructions.

Left out: a list of options after a classification, packing, and templates that turn a task around.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from rlhf_lab.errors import InputError
from rlhf_lab.evaluate import gold_report, reply_kinds
from rlhf_lab.records import Demonstration, Prompt
from rlhf_lab.world.answers import right_answer
from rlhf_lab.world.prompts import make_prompt

if TYPE_CHECKING:
    from rlhf_lab.world import World

LONGEST_INPUT = 38  # words; with two solved examples before it a question still fits
MAX_TRIES = 2000  # draws before a small pool of questions counts as used up
SIMILAR = 0.7  # ROUGE-L from which Self-Instruct takes two instructions for the same


@dataclass(frozen=True)
class TaskKind:
    """One data set: what is given, what is wanted, and how it can be asked for.

    Attributes:
        name: of the kind.
        cluster: kinds of one cluster are held out together.
        use_case: the prompts of Fernwick that the examples are taken from.
        known: templates that Fernwick's web uses as well, so that a base model has read them.
        new: templates that nobody in Fernwick uses.
    """

    name: str
    cluster: str
    use_case: str
    known: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def templates(self) -> tuple[str, ...]:
        """All of them."""
        return self.known + self.new


def _extraction(what: str) -> TaskKind:
    return TaskKind(
        what, "extraction", "extract",
        (f"list the {what} in this text: {{input}}", f"name the {what} in this text: {{input}}"),
        (f"please pick out the {what} in this text: {{input}}",
         f"which {what} are in this text: {{input}}"),
    )  # fmt: skip


def _question(name: str) -> TaskKind:
    new = ("please tell me: {input}", "answer this: {input}")
    return TaskKind(name, "closed-book questions", "open_qa", ("{input}",), new)


def _reading(name: str) -> TaskKind:
    return TaskKind(
        name, "reading", "closed_qa",
        ("read this: {input}", "here is a text: {input}"),
        ("from this text: {input}", "answer from the text: {input}"),
    )  # fmt: skip


KINDS = {
    kind.name: kind
    for kind in (
        _extraction("places"), _extraction("things"), _extraction("characters"),
        _question("fact"), _question("reverse"),
        TaskKind(
            "paraphrase", "rewriting", "rewrite",
            ("say this in other words: {input}", "write this in another way: {input}"),
            ("please put this another way: {input}", "the same in new words: {input}"),
        ),
        TaskKind(
            "mood", "rewriting", "rewrite",
            ("say this {how}: {input}", "write this {how}: {input}"),
            ("please tell it {how}: {input}", "tell this {how}: {input}"),
        ),
        TaskKind(
            "summary", "summarisation", "summarisation",
            ("say it in one sentence: {input}", "what happens here, in one sentence: {input}"),
            ("please sum this up: {input}", "in one sentence: {input}"),
        ),
        TaskKind(
            "list", "lists", "brainstorming",
            ("name {input}.", "list {input}.", "tell me {input}."),
            ("please give me {input}.", "think of {input}."),
        ),
        TaskKind(
            "sum", "arithmetic", "other",
            ("what is {input}?",),
            ("please work out: what is {input}?", "how much is {input}?"),
        ),
        TaskKind(
            "program", "programs", "other",
            ("run: {input}", "what does this give: {input}"),
            ("please run this: {input}", "work this out: {input}"),
        ),
        TaskKind(
            "review", "classification", "classification",
            ("is this review good or bad: {input}", "say if the review is good or bad: {input}"),
            ("please judge this review, good or bad: {input}",
             "good or bad? read this review: {input}"),
        ),
        TaskKind(
            "truth", "classification", "classification",
            ("true or false: {input}", "is this true or false: {input}"),
            ("please check this, true or false: {input}",
             "say if this holds, true or false: {input}"),
        ),
        _reading("owner"), _reading("where"), _reading("feel"),
        TaskKind(
            "translation", "translation", "other",
            ("what does this mean: {input}", "translate from old fernish: {input}"),
            ("please put into plain words: {input}", "say this old fernish plainly: {input}"),
        ),
    )
}  # fmt: skip
HELD_OUT = ("classification", "reading", "translation")
TUNED = tuple(dict.fromkeys(k.cluster for k in KINDS.values() if k.cluster not in HELD_OUT))


def kinds_of(clusters: Iterable[str]) -> list[TaskKind]:
    """The kinds of some clusters, in the order of :data:`KINDS`.

    Raises:
        InputError: for an unknown cluster.
    """
    wanted = set(clusters)
    if unknown := wanted - {kind.cluster for kind in KINDS.values()}:
        allowed = f"some of {', '.join((*TUNED, *HELD_OUT))}"
        raise InputError("clusters", sorted(unknown), allowed, "correct the list")
    return [kind for kind in KINDS.values() if kind.cluster in wanted]


# --- examples -----------------------------------------------------------------------------------


class Example(NamedTuple):
    """A row of a data set: what its templates may name, the output, and what a judge needs."""

    kind: TaskKind
    fields: Mapping[str, str]
    output: str
    source: Prompt

    def instruction(self, template: str) -> Prompt:
        """The row as an instruction, with a line break at its end."""
        text = template.format_map(self.fields)
        return Prompt(text + "\n", self.source.kind, self.source.meta)

    @property
    def bare(self) -> Prompt:
        """The row's input alone: a question keeps its question, all else is left unsaid."""
        return self.instruction("{input}")


def make_example(world: World, kind: TaskKind, rng: random.Random, split: str = "train") -> Example:
    """One row, a function of the state of ``rng``."""
    while True:
        prompt = make_prompt(world.knowledge, rng, split=split, kind=kind.use_case, hard="")
        given = _input(prompt)
        if _kind(prompt) == kind.name and len(given.split()) <= LONGEST_INPUT:
            fields = {"input": given}
            if kind.name == "mood":
                fields["how"] = prompt.text.split(":")[0].split()[-1]
            return Example(kind, fields, right_answer(world.knowledge, prompt, rng), prompt)


def _kind(prompt: Prompt) -> str:
    """The name that a prompt of Fernwick has here; of a kind left out, that of its task."""
    meta = prompt.meta
    task = str(meta["task"])
    if task == "label":
        return "review" if "good" in meta["labels"] else "truth"
    if task == "extract":
        return str(meta["what"])
    if task == "exact":
        if "[" in prompt.text:
            return "program"
        return "translation" if ":" in prompt.text else "sum"
    return task


def _input(prompt: Prompt) -> str:
    """A prompt without the words that say what to do with it."""
    text = prompt.text.strip()
    if prompt.meta["task"] == "list":
        for head in ("name ", "list ", "tell me "):
            text = text.removeprefix(head)
        return text.rstrip(".")
    if _kind(prompt) == "sum":
        return text.removeprefix("what is ").rstrip("?")
    return text.split(": ", 1)[-1]


def mixture(
    world: World, kinds: Sequence[TaskKind], count: int, *, seed: int = 0, instructions: bool = True
) -> list[Demonstration]:
    """Training rows, every kind equally likely, every template of a kind, too.

    The same seed gives the same examples with instructions and without.

    Raises:
        InputError: for no kinds.
    """
    if not kinds:
        raise InputError("kinds", [], "one kind or more", "name clusters to tune on")
    rows = []
    for index in range(count):
        rng = random.Random(f"instruction tuning:{world.seed}:{seed}:{index}")
        example = make_example(world, rng.choice(kinds), rng)
        asked = example.instruction(rng.choice(example.kind.templates))
        shown = asked if instructions else example.bare
        rows.append(Demonstration(shown.text, example.output, example.kind.name))
    return rows


def questions(
    world: World, kind: TaskKind, count: int, *, seed: int = 0, split: str = "test"
) -> list[Example]:
    """Rows with different inputs; fewer when the split holds no more."""
    found: dict[str, Example] = {}
    for index in range(MAX_TRIES):
        if len(found) == count:
            break
        rng = random.Random(f"instruction question:{world.seed}:{split}:{kind.name}:{seed}:{index}")
        example = make_example(world, kind, rng, split)
        found.setdefault(example.fields["input"], example)
    return list(found.values())


def with_examples(asked: Example, template: str, solved: Sequence[Example]) -> str:
    """Solved examples in the same wording, each with its output on a line of its own, then one."""
    shown = [f"{one.instruction(template).text}{one.output}\n" for one in solved]
    return "".join(shown) + asked.instruction(template).text


def graded(world: World, asked: Sequence[Prompt], replies: Sequence[str]) -> pd.DataFrame:
    """Two marks for the first line of each reply.

    Returns:
        ``form``: it is an answer of the kind that was asked for, a label for a label or a place for
        a place, right or not; ``right``: it does what was asked, says nothing false, and neither
        hedges nor is rude.
    """
    lines = [text.split("\n", 1)[0] for text in replies]
    report = gold_report(world, asked, lines)
    right = reply_kinds(report) == "right"
    return pd.DataFrame({"form": (report["follows"] > 0) | right, "right": right})


def scores(answers: pd.DataFrame, mark: str = "right") -> pd.Series:
    """The score of each model on held-out clusters, by size, arm, number of clusters and seed.

    The share of replies with a mark, averaged over wordings, then over the kinds of a cluster, then
    over clusters: a cluster counts the same however many kinds it has.

    Args:
        answers: counts of the benchmark ``instruction_tuning``; mark: "right" or "form".
    """
    own = answers[answers.cluster.isin(HELD_OUT) & (answers.shots == 0)]
    own = own.assign(share=own[mark] / own.questions)
    model = ["size", "arm", "clusters", "seed"]
    by_kind = own.groupby([*model, "cluster", "kind"]).share.mean()
    return by_kind.groupby([*model, "cluster"]).mean().groupby(model).mean()


# --- equations ----------------------------------------------------------------------------------


def form_and_skill(
    before: tuple[int, int, int], after: tuple[int, int, int]
) -> tuple[float, float]:
    """``eq-form-and-skill``: what of a gain in right replies is due to form, and what to skill.

    Where no reply is in form on one side, nothing is known of how many of these would be right, and
    the other side's share is taken; where none is on either side, both parts are 0.

    Args:
        before, after: replies, how many of them are in form, and how many are right.

    Returns:
        two shares, whose sum is the gain.
    """
    (n0, form0, right0), (n1, form1, right1) = before, after
    if not form0 and not form1:
        return 0.0, 0.0
    a1 = right1 / form1 if form1 else right0 / form0
    a0 = right0 / form0 if form0 else a1
    return (form1 / n1 - form0 / n0) * a0, form1 / n1 * (a1 - a0)


def mixing_rates(sizes: Sequence[int], maximum: int) -> list[float]:
    """``eq-mixing-rates``: how often each data set is drawn, by size up to a maximum.

    Source: Raffel et al. 2020 in the use of Wei et al. 2022, §2.4.

    Args:
        sizes: examples of each data set; maximum: what counts of a size.

    Raises:
        InputError: when nothing is left to draw from.
    """
    counted = [min(size, maximum) for size in sizes]
    total = sum(counted)
    if total <= 0:
        raise InputError("sizes, maximum", (list(sizes), maximum), "one above 0", "give examples")
    return [count / total for count in counted]


def rouge_l(first: str, second: str) -> float:
    """``eq-rouge-l``: twice the longest common subsequence of words over the words of both.

    Two empty texts have 0. Source: Wang et al. 2023, §2.2.
    """
    a, b = first.split(), second.split()
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, 1):
            above = row[j]
            row[j] = diagonal + 1 if word == other else max(above, row[j - 1])
            diagonal = above
    return 2 * row[-1] / (len(a) + len(b)) if a or b else 0.0


def novel(candidates: Iterable[str], pool: Sequence[str], limit: float = SIMILAR) -> list[str]:
    """The candidates that are like nothing in the pool; one that is kept belongs to the pool.

    Args:
        candidates: in the order in which they come; pool: what is there already; limit: a
            :func:`rouge_l` of this much or more is too like.
    """
    kept: list[str] = []
    for candidate in candidates:
        if all(rouge_l(candidate, other) < limit for other in (*pool, *kept)):
            kept.append(candidate)
    return kept
