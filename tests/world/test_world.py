"""One seed, one world: every item by itself, streams that resume, splits that stay apart."""

from __future__ import annotations

import collections
import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_lab.errors import InputError
from rlhf_lab.world import World, lexicon
from rlhf_lab.world.documents import SHARES
from rlhf_lab.world.grammar import RELATIONS, parse
from rlhf_lab.world.prompts import HARD_KINDS, SPLITS, USE_CASES, split_of

WORLD = World(0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(SPLITS))
def test_items_are_functions_of_seed_split_and_index(index, split):
    again = World(0)
    assert again.document(index, split) == WORLD.document(index, split)
    assert again.prompt(index, split) == WORLD.prompt(index, split)
    prompt = WORLD.prompt(index, split)
    assert again.answer(prompt, index) == WORLD.answer(prompt, index)
    assert again.demonstration(prompt) == WORLD.demonstration(prompt)
    texts = ("the fox eats nuts.", "go away, you rotten idiot.", "it is hard to say.")
    assert again.rank(prompt, texts, index=index) == WORLD.rank(prompt, texts, index=index)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 400), st.integers(0, 60), st.integers(1, 60))
def test_the_stream_resumes_at_any_position(start, before, after):
    whole = list(WORLD.documents(before + after, start))
    assert (
        list(WORLD.documents(before, start)) + list(WORLD.documents(after, start + before)) == whole
    )


def test_seeds_make_other_worlds_with_the_same_grammar():
    other = World(1).knowledge
    assert other.facts.keys() == WORLD.knowledge.facts.keys()
    assert other.facts["food"] != WORLD.knowledge.facts["food"]
    assert other.fernish != WORLD.knowledge.fernish
    assert World(1).document(0) != WORLD.document(0)


def test_knowledge_is_complete_and_consistent():
    k = WORLD.knowledge
    assert set(k.facts) == set(RELATIONS)
    for relation in ("colour", "size", "home", "food", "fear", "friend", "skill", "sound"):
        assert set(k.facts[relation]) == set(k.inhabitants)
    for person, name in k.names.items():
        assert k.persons[name] == person
    for subject, friend in k.facts["friend"].items():
        assert friend != subject
    for place, near in k.facts["neighbour"].items():
        assert len(set(near)) == 3
        assert place not in near
    for relation, subject, value in k.misconceptions:
        assert k.holds(relation, subject, value) is False
    assert k.holds("food", "mill", "bread") is None


def test_no_answer_is_a_good_guess():
    """The most common value of a relation is right for at most a third of its subjects."""
    for relation in RELATIONS:
        values = [v for s in WORLD.knowledge.facts[relation] for v in
                  WORLD.knowledge.values(relation, s)]  # fmt: skip
        assert collections.Counter(values).most_common(1)[0][1] <= len(values) / 3, relation


# The web -----------------------------------------------------------------------------------------


def test_shares_of_the_web():
    count = 4000
    found = collections.Counter(d.kind for d in WORLD.documents(count))
    assert sum(SHARES.values()) == pytest.approx(100, abs=0.5)
    for kind, share in SHARES.items():
        p = share / 100
        assert abs(found[kind] / count - p) < 5 * (p * (1 - p) / count) ** 0.5, kind


def test_documents_are_short_and_clean():
    for split in SPLITS:
        for d in WORLD.documents(1500, split=split):
            assert 0 < len(d.text.replace("\n", " ").split()) <= 120, d
            assert d.text == d.text.strip()
            assert d.text == d.text.lower()
            assert "  " not in d.text
            assert "{" not in d.text


def test_kinds_can_be_left_out():
    kinds = {d.kind for d in WORLD.documents(600, without=("programs", "lists", "harm"))}
    assert kinds == set(SHARES) - {"programs", "lists", "harm"}


def test_the_forum_repeats_misconceptions_more_than_the_truth():
    claims = collections.Counter()
    wrong = {(r, s): v for r, s, v in WORLD.knowledge.misconceptions}
    for d in WORLD.documents(6000, without=[k for k in SHARES if k != "forum"]):
        for sentence in d.text.split("\n")[-1].split(". "):
            sentence = sentence.removeprefix("everyone knows that ").removeprefix(
                "people say that "
            )
            clause = parse(sentence)
            if clause is None or clause.kind != "fact" or clause.denied:
                continue
            relation, subject, value = WORLD.judge.assertion(clause)
            if (relation, subject) in wrong:
                claims["false"] += value == wrong[relation, subject]
                claims["true"] += WORLD.knowledge.holds(relation, subject, value) is True
    assert claims["false"] > 2 * claims["true"] > 0


# Prompts -----------------------------------------------------------------------------------------


def test_use_cases_have_their_shares():
    count = 4000
    found = collections.Counter(WORLD.prompt(i).kind for i in range(count))
    total = sum(USE_CASES.values())
    for kind, share in USE_CASES.items():
        p = share / total
        assert abs(found[kind] / count - p) < 5 * (p * (1 - p) / count) ** 0.5, kind


def test_hard_kinds_have_their_shares():
    for kind, table in HARD_KINDS.items():
        prompts = [WORLD.prompt(i, kind=kind) for i in range(1500)]
        found = collections.Counter(p.meta["hard"] for p in prompts)
        for hard, share in table.items():
            assert found[hard] / 1500 == pytest.approx(share, abs=0.05), (kind, hard)


def combination(prompt):
    return tuple(prompt.meta["combination"])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(SPLITS), st.booleans())
def test_a_prompt_belongs_to_the_split_of_its_combination(index, split, unseen):
    prompt = WORLD.prompt(index, split, unseen=unseen)
    assert prompt.meta["combination"][0] == prompt.kind
    assert split_of(*combination(prompt)) == split


def test_splits_share_no_combination_and_no_text():
    made = {s: WORLD.prompts(s, 1000) for s in SPLITS}
    for one in SPLITS:
        for two in SPLITS:
            if one < two:
                assert not set(map(combination, made[one])) & set(map(combination, made[two]))
                assert not {p.text for p in made[one]} & {p.text for p in made[two]}


def test_unseen_paraphrases_are_unseen():
    def heads(prompts):
        return {(p.kind, " ".join(p.text.split()[:2])) for p in prompts if p.kind in plain}

    plain = ("generation", "brainstorming", "summarisation", "classification", "extract")
    seen = heads(WORLD.prompts("train", 3000))
    assert not seen & heads(WORLD.prompts("test", 300, unseen=True))


def test_prompts_are_short_and_end_with_a_line_break():
    for split in SPLITS:
        for p in WORLD.prompts(split, 400):
            assert p.text.endswith("\n")
            assert len(p.text.split()) <= 64
            assert p.text == p.text.lower()
            json.dumps(dataclasses.asdict(p))  # travels in JSON lines


def test_prompt_texts_are_distinct():
    prompts = WORLD.prompts("test", 800)
    assert len({p.text for p in prompts}) == 800


def test_answers_are_short():
    for p in WORLD.prompts("valid", 800):
        for quality, longest in (("right", 40), ("wrong", 48), ("partial", 48), ("rude", 48)):
            assert 0 < len(WORLD.answer(p, 0, quality).split()) <= longest


def test_demonstrations_are_mostly_right():
    prompts = WORLD.prompts("train", 800)
    scores = [WORLD.attributes(p, WORLD.demonstration(p).completion) for p in prompts]
    right = sum(s.follows > 0.99 and s.truth >= 0 and not s.harm for s in scores) / len(scores)
    assert 0.65 < right < 0.95


def test_demonstrations_of_a_split_belong_to_its_prompts():
    prompts = WORLD.prompts("valid", 20)
    assert [d.prompt for d in WORLD.demonstrations("valid", 20)] == [p.text for p in prompts]


def test_gold_prefers_right_answers():
    for p in WORLD.prompts("test", 300):
        assert WORLD.gold(p, WORLD.answer(p)) > WORLD.gold(p, WORLD.answer(p, 0, "questions"))
        assert WORLD.gold(p, WORLD.answer(p)) > WORLD.gold(p, "")


def test_vocabulary_size():
    words = {
        w for d in WORLD.documents(6000)
        for w in d.text.replace(".", " ").replace(",", " ").replace(":", " ").split()
        if w.isalpha()
    }  # fmt: skip
    plain = words - set(WORLD.knowledge.fernish.values())
    assert 700 <= len(words) <= 1500
    assert len(plain) >= 600
    assert set(lexicon.ANIMALS) < plain


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda: World("0"), "seed"),  # type: ignore[arg-type]
        (lambda: World(True), "seed"),
        (lambda: WORLD.document(-1), "index"),
        (lambda: WORLD.document(0, "dev"), "split"),
        (lambda: WORLD.document(0, without=["poems"]), "without"),
        (lambda: WORLD.document(0, without=list(SHARES)), "without"),
        (lambda: WORLD.prompt(0, "dev"), "split"),
        (lambda: WORLD.prompt(0, kind="poem"), "kind"),
        (lambda: WORLD.prompt(0, kind="extract", hard="harmful"), "hard"),
        (lambda: WORLD.prompts("test", 50, kind="generation", hard="harmful"), "count"),
        (lambda: WORLD.labelers("crowd"), "group"),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.argument == argument
