"""Told or shown: one question asked in words, and below solved examples that say nothing in words.

Whoever wants something of a language model can tell it or show it. Six tasks whose solved examples
can be counted, four of which have an instruction, too, with the very same question below it; and
two numbers about several models: what each makes of examples, and what share of a cost a later one
has won back. A task is a :class:`~rlhf_lab.world.suites.Suite`, and
:func:`~rlhf_lab.evaluate.run_suite` asks it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from rlhf_lab.errors import InputError
from rlhf_lab.lineage.knowledge import RIGHT, given_answer, grade
from rlhf_lab.records import Prompt
from rlhf_lab.world import documents, lexicon
from rlhf_lab.world.grammar import RELATIONS, fill
from rlhf_lab.world.knowledge import Knowledge
from rlhf_lab.world.prompts import split_of
from rlhf_lab.world.suites import Item, Make, Score, Suite, matches

if TYPE_CHECKING:
    from rlhf_lab.world import World

LABELS, PAIRS, FACTS, TRANSLATIONS, SUMS, PROGRAMS = TASKS = (
    "labels", "pairs", "facts", "translations", "sums", "programs",
)  # fmt: skip
IN_WORDS = (FACTS, TRANSLATIONS, SUMS, PROGRAMS)
"""Tasks that can be told."""
LONGEST = 8  # lines above the question of a list
LISTED = ("home", "food", "colour", "sound", "friend", "skill")  # what the web's lists are about
CLASSES = (lexicon.ANIMALS, lexicon.OBJECTS, lexicon.FOODS, lexicon.PLACES)
# Public suites that the other tasks are forms of: a name, shots of the few-shot form, its measure.
_SUITES = {
    TRANSLATIONS: ("translation", 2, "exact"),
    SUMS: ("sums", 4, "accuracy"),
    PROGRAMS: ("programs", 4, "accuracy"),
}

_OTHER_WORDS = {
    TRANSLATIONS: "please put into plain words",
    SUMS: "please work out",
    PROGRAMS: "please run this",
}


# --- tasks --------------------------------------------------------------------------------------


def shown(world: World, task: str, examples: int, *, seed: int = 0, drawn: bool = False) -> Suite:
    """A task below some solved examples, with no word about what is wanted.

    Of a seed, the question is the same for all numbers of examples, and fewer examples are the
    first of more (those of ``pairs`` in another order, for one of them is asked for).

    Args:
        world: whose facts, words and combinations; questions are held-out ones, as in its suites.
        task: one of :data:`TASKS`. ``labels``: two classes of words, two sounds, paired anew.
            ``pairs``: two words without a reason, of which one pair comes back. ``facts``: one
            relation, named nowhere. ``translations``, ``sums``, ``programs``: as on the web.
        examples: at most :data:`LONGEST`; for ``pairs`` one at least.
        seed: draws questions and examples.
        drawn: one answer at temperature 1 in place of the likeliest.

    Returns:
        Measures ``accuracy`` and ``in form``: whether the answer is of the kind that stands in the
        examples, right or wrong.

    Raises:
        InputError: for an unknown task or another number of examples.
    """
    _require_task(task, TASKS)
    least = int(task == PAIRS)
    if not least <= examples <= LONGEST:
        raise InputError("examples", examples, f"{least} to {LONGEST}", "show fewer or more")
    if task in _SUITES:
        name, shots, measure = _SUITES[task]
        suite = world.suites()[f"{name}/{shots}"]
        made = replace(suite, shots=examples, score=_scored(suite.score, measure, world, task))
    else:
        k = world.knowledge
        make = {LABELS: _labels, PAIRS: _pairs, FACTS: _facts}[task](k, examples)
        score = _scored(matches, "accuracy", world, task)
        made = Suite(f"{task}, {examples}", 0, "generate", "accuracy", 0.0, "in-context learning",
                     world.seed, make, score, max_new_tokens=6)  # fmt: skip
    return replace(made, metric="accuracy", seed=seed, samples=int(drawn))


def told(
    world: World, task: str, *, seed: int = 0, drawn: bool = False, reworded: bool = False
) -> Suite:
    """The questions of :func:`shown`, each as an instruction, without examples.

    An answer may be a sentence. It counts as :func:`shown` counts, and one about a fact as
    :func:`rlhf_lab.lineage.knowledge.grade` does.

    Args:
        world, seed, drawn: as there.
        task: one of :data:`IN_WORDS`.
        reworded: the same wish in words that stand in no demonstration and nowhere on the web.

    Raises:
        InputError: for a task that cannot be told.
    """
    _require_task(task, IN_WORDS)
    if task in _SUITES:
        name, _, measure = _SUITES[task]
        suite = world.suites()[f"{name}/0"]
        made = replace(suite, score=_scored(suite.score, measure, world, task))
    else:
        make = _facts(world.knowledge, None)
        made = Suite(f"{task}, told", 0, "generate", "accuracy", 0.0, "LAMA", world.seed, make,
                     _score_told_fact(world), max_new_tokens=20)  # fmt: skip
    if reworded:
        made = replace(made, make=_reworded(made.make, task))
    return replace(made, metric="accuracy", seed=seed, samples=int(drawn))


def _reworded(make: Make, task: str) -> Make:
    """Another instruction for the same question, as in :mod:`rlhf_lab.world.prompts`."""

    def another(rng: random.Random, split: str) -> Item:
        item = make(rng, split)
        if task == FACTS:
            relation, subject = item.meta["relation"], item.meta["subject"]
            return replace(
                item, query=fill(RELATIONS[relation].held_out_question, relation, subject) + "\n"
            )
        said = item.query if task == SUMS else item.query.split(": ", 1)[1]
        return replace(item, query=f"{_OTHER_WORDS[task]}: {said}")

    return another


def _require_task(task: str, allowed: tuple[str, ...]) -> None:
    if task not in allowed:
        raise InputError("task", task, f"one of {', '.join(allowed)}", "choose one of them")


def _listing(lines: list[tuple[str, str]], form: tuple[str, ...], examples: int) -> Item:
    """All lines but the last are solved, and of these the first ``examples`` are shown."""
    *solved, (asked, answer) = lines
    query = "\n".join([*(f"{a}: {b}" for a, b in solved[:examples]), f"{asked}:"])
    whole = " ".join(f"{a} {b}" for a, b in lines)  # the same question, however many are shown
    return Item(query, f" {answer}", (answer,), (), {"asked": whole, "form": form})


def _labels(_: Knowledge, examples: int) -> Make:
    """Lines such as "drum: la". The first two show both classes."""

    def make(rng: random.Random, _split: str) -> Item:
        classes = rng.sample(CLASSES, 2)
        sounds = rng.sample(documents.LABEL_SOUNDS, 2)
        words = [rng.sample(words, LONGEST + 1) for words in classes]
        sides = [*rng.sample((0, 1), 2), *rng.choices((0, 1), k=LONGEST - 1)]
        lines = [(words[side][i], sounds[side]) for i, side in enumerate(sides)]
        return _listing(lines, documents.LABEL_SOUNDS, examples)

    return make


def _pairs(_: Knowledge, examples: int) -> Make:
    """Lines such as "fox: drum" without any reason; the first word of one comes back."""

    def make(rng: random.Random, _split: str) -> Item:
        words = rng.sample(lexicon.ANIMALS + lexicon.OBJECTS, 2 * LONGEST)
        pairs = list(zip(words[::2], words[1::2], strict=True))
        order = random.Random(f"{rng.random()}:{examples}")
        above = order.sample(pairs[:examples], examples)
        asked = " ".join(words)
        item = _listing([*above, pairs[0]], lexicon.ANIMALS + lexicon.OBJECTS, examples)
        return replace(item, meta={**item.meta, "asked": asked})

    return make


def _facts(k: Knowledge, examples: int | None) -> Make:
    """Lines such as "fox: berries"; with None a question. Misconceptions are not asked for."""
    false = {(relation, subject) for relation, subject, _ in k.misconceptions}

    def make(rng: random.Random, split: str) -> Item:
        while True:
            relation = rng.choice(LISTED)
            subjects = rng.sample(k.inhabitants, LONGEST + 1)
            asked = (relation, subjects[-1])
            held_out = split_of("open_qa", *asked) != "train"  # few exist, so both splits serve
            if held_out == (split != "train") and asked not in false:
                break
        lines = [(s, k.values(relation, s)[0]) for s in subjects]
        question = fill(rng.choice(RELATIONS[relation].questions), *asked) + "\n"
        if examples is not None:
            return _listing(lines, tuple(str(v) for v in k.facts[relation].values()), examples)
        meta = {"task": "fact", "hard": "", "relation": relation, "subject": subjects[-1]}
        meta["asked"] = " ".join(f"{a} {b}" for a, b in lines)
        return Item(question, "", (lines[-1][1],), (), meta)

    return make


# --- scores -------------------------------------------------------------------------------------


def _scored(score: Score, measure: str, world: World, task: str) -> Score:
    """A suite's own score under the name ``accuracy``, with ``in form`` beside it."""
    in_form = _FORMS[task](world.knowledge)

    def both(item: Item, text: str) -> dict[str, float]:
        right = score(item, text)[measure]
        return {"accuracy": right, "in form": float(right > 0 or in_form(item, _bare(text)))}

    return both


def _score_told_fact(world: World) -> Score:
    def score(item: Item, text: str) -> dict[str, float]:
        prompt = Prompt(item.query, "open_qa", item.meta)
        right = grade(world, prompt, text) == RIGHT
        return {"accuracy": float(right), "in form": float(bool(given_answer(world, prompt, text)))}

    return score


def _bare(text: str) -> str:
    return " ".join(text.split()).rstrip(".").rstrip()


Form = Callable[[Item, str], bool]


def _of_the_list(_: Knowledge) -> Form:
    return lambda item, text: text in item.meta["form"]


def _number(_: Knowledge) -> Form:
    return lambda _item, text: any(w.isdecimal() or w in lexicon.NUMBERS for w in text.split())


def _list_of_numbers(_: Knowledge) -> Form:
    return lambda _item, text: text.startswith("[") and text.endswith("]")


def _plain_words(k: Knowledge) -> Form:
    return lambda _item, text: bool(text) and all(word in k.fernish for word in text.split())


_FORMS: Mapping[str, Callable[[Knowledge], Form]] = {
    LABELS: _of_the_list, PAIRS: _of_the_list, FACTS: _of_the_list, TRANSLATIONS: _plain_words,
    SUMS: _number, PROGRAMS: _list_of_numbers,
}  # fmt: skip


# --- what several models make of it -------------------------------------------------------------


def shown_score(accuracy: Mapping[str, Mapping[int, float]]) -> float:
    """S: mean accuracy over the numbers of examples above 0, then over tasks (``eq-shown-score``).

    Args:
        accuracy: for each task, accuracy by the number of examples. What is done without examples
            does not count, for nothing has been shown yet.

    Raises:
        InputError: for no task, or one without examples.
    """
    by_task = [[a for n, a in own.items() if n > 0] for own in accuracy.values()]
    if not by_task or not all(by_task):
        given = {task: sorted(own) for task, own in accuracy.items()}
        raise InputError("accuracy", given, "a task, each with examples", "measure with examples")
    return sum(sum(own) / len(own) for own in by_task) / len(by_task)


def won_back(base: float, tuned: float, later: float) -> float:
    """R = (S_later − S_tuned) / (S_base − S_tuned): share of a cost won back (``eq-won-back``).

    Args:
        base, tuned, later: the same score of a model, of what tuning made of it, and of a later
            model, above the tuned one if something was won back.

    Returns:
        1 if the later model is as good as the base, 0 if as the tuned one; it may lie outside.

    Raises:
        InputError: where tuning has cost nothing, so that there is nothing to win back.
    """
    if not base > tuned:
        given = f"{tuned:g} after tuning, {base:g} before"
        raise InputError("tuned", given, "below base", "there is no cost: report the differences")
    return (later - tuned) / (base - tuned)
