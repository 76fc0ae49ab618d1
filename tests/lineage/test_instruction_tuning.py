"""Kinds of tasks against the world's own prompts; equations against slow ones."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import pandas as pd
import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.lineage import instruction_tuning as it
from rlhf_lab.world import World
from rlhf_lab.world.prompts import split_of

WORLD = World(0)


@pytest.mark.parametrize("kind", it.KINDS.values(), ids=list(it.KINDS))
def test_rows_are_the_worlds_prompts_taken_apart(kind):
    """One of the known wordings gives back the prompt; a right output is judged right."""
    rows = it.questions(WORLD, kind, 8)
    assert len({row.fields["input"] for row in rows}) == 8
    for row in rows:
        assert row.source.text in {row.instruction(t).text for t in kind.known}
        assert not {row.instruction(t).text for t in kind.new} & {row.source.text, row.bare.text}
        assert split_of(*row.source.meta["combination"]) == "test"
        assert row.bare.text.strip() in row.source.text
    marks = it.graded(WORLD, [row.source for row in rows], [f"{r.output}\nso?" for r in rows])
    assert marks.to_numpy().all()


def test_form_and_right_are_two_things():
    asked = it.questions(WORLD, it.KINDS["review"], 1)[0]
    wrong = {"good.": "bad.", "bad.": "good."}[asked.output]
    replies = [wrong, "where does the fox live?", "perhaps good."]
    marks = it.graded(WORLD, [asked.source] * 3, replies)
    assert marks.right.tolist() == [False, False, False]
    assert marks.form.tolist() == [True, False, True]


def test_clusters_are_held_out_whole():
    assert {k.cluster for k in it.KINDS.values()} == {*it.TUNED, *it.HELD_OUT}
    held = it.kinds_of(it.HELD_OUT)
    assert [k.name for k in held] == ["review", "truth", "owner", "where", "feel", "translation"]
    with pytest.raises(InputError, match="clusters"):
        it.kinds_of(["poems"])
    words = [t.split("{")[0] for k in held for t in k.templates]
    rows = it.mixture(WORLD, it.kinds_of(it.TUNED), 120, seed=1)
    assert not [r for r in rows if r.prompt.startswith(tuple(words))]
    assert {r.kind for r in rows} == {k.name for k in it.kinds_of(it.TUNED)}


def test_the_same_examples_with_instructions_and_without():
    kinds = it.kinds_of(it.TUNED)
    told, untold = (it.mixture(WORLD, kinds, 60, seed=2, instructions=i) for i in (True, False))
    assert [r.completion for r in told] == [r.completion for r in untold]
    for one, other in zip(told, untold, strict=True):
        assert other.prompt.strip() in one.prompt
    assert sum(a.prompt == b.prompt for a, b in zip(told, untold, strict=True)) < 12  # questions
    with pytest.raises(InputError, match="kinds"):
        it.mixture(WORLD, [], 1)


def test_solved_examples_stand_before_the_question():
    kind = it.KINDS["translation"]
    one, two, asked = it.questions(WORLD, kind, 3)
    text = it.with_examples(asked, kind.known[0], [one, two])
    head = kind.known[0].split("{")[0]
    assert text.count(head) == 3 and text.endswith(f"{head}{asked.fields['input']}\n")
    assert f"\n{one.output}\n" in text and f"\n{two.output}\n" in text


def _longest(a: list[str], b: list[str]) -> int:
    """The longest common subsequence, by trying all."""
    for size in range(len(a), 0, -1):
        if set(itertools.combinations(a, size)) & set(itertools.combinations(b, size)):
            return size
    return 0


def test_rouge_l_against_enumeration():
    rng = random.Random(0)
    for _ in range(60):
        a, b = ([rng.choice("xyz") for _ in range(rng.randint(0, 6))] for _ in range(2))
        total = len(a) + len(b)
        wanted = Fraction(2 * _longest(a, b), total) if total else 0
        assert it.rouge_l(" ".join(a), " ".join(b)) == pytest.approx(float(wanted), abs=1e-12)
    # precision 3/4 and recall 3/5, and their harmonic mean
    assert it.rouge_l("name two red things", "name two very red animals") == pytest.approx(2 / 3)


def test_what_is_kept_belongs_to_the_pool():
    pool = ["name two things made of wood."]
    new = ["who lives in the mill?", "who lives in the barn?", "name two things made of iron."]
    assert it.novel(new, pool) == ["who lives in the mill?"]
    assert it.novel(new, pool, limit=1.0) == new
    assert it.novel(["run: sort", "run: sort"], []) == ["run: sort"]


def test_a_gain_falls_into_form_and_skill():
    form, skill = it.form_and_skill((100, 40, 20), (50, 45, 27))
    assert (form, skill) == (pytest.approx((0.9 - 0.4) * 0.5), pytest.approx(0.9 * (0.6 - 0.5)))
    assert form + skill == pytest.approx(27 / 50 - 20 / 100)
    assert it.form_and_skill((10, 0, 0), (10, 8, 6)) == (pytest.approx(0.6), 0.0)
    assert it.form_and_skill((10, 8, 6), (10, 0, 0)) == (pytest.approx(-0.6), 0.0)
    assert it.form_and_skill((10, 0, 0), (10, 0, 0)) == (0.0, 0.0)


def test_mixing_rates():
    assert it.mixing_rates([30_000, 3_000, 1_000], 3_000) == pytest.approx([3 / 7, 3 / 7, 1 / 7])
    assert it.mixing_rates([1, 3], 10) == [0.25, 0.75]
    with pytest.raises(InputError, match="maximum"):
        it.mixing_rates([5], 0)


def test_scores_weigh_clusters_alike():
    rows = [
        ("classification", "review", "known", 4), ("classification", "review", "new", 2),
        ("classification", "truth", "known", 1), ("classification", "truth", "new", 1),
        ("reading", "owner", "known", 0), ("reading", "owner", "new", 2),
        ("translation", "translation", "known", 3), ("translation", "translation", "new", 3),
        ("lists", "list", "known", 4),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["cluster", "kind", "wording", "right"])
    about = {"size": "tiny", "arm": "base", "clusters": 0, "seed": 0, "shots": 0, "questions": 4}
    table = pd.concat([table.assign(**about), table.assign(**about | {"shots": 2, "right": 4})])
    wanted = ((3 / 4 + 1 / 4) / 2 + 1 / 4 + 3 / 4) / 3
    assert it.scores(table).to_dict() == {("tiny", "base", 0, 0): pytest.approx(wanted)}
