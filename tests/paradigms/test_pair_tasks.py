"""Labels of the tasks on pairs, found again by reading what was written."""

from __future__ import annotations

from collections import Counter

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms import pair_tasks
from rlhf_lab.world.grammar import parse
from rlhf_lab.world.knowledge import make_knowledge

COUNT = 400
TASKS = (pair_tasks.entailment, pair_tasks.similarity, pair_tasks.choice)


def read(sentence):
    """Relation, subject and value of a sentence, by the grammar that the judge reads with."""
    clause = parse(sentence)
    assert clause is not None and clause.kind == "fact", sentence
    return clause.name, clause.roles["S"].entity, clause.roles["O"].entity


def test_entailment_read_again():
    found = pair_tasks.entailment("train", COUNT)
    for (premise, hypothesis), label in zip(found.texts, found.labels, strict=True):
        (_, who, what), (_, about, said) = read(premise), read(hypothesis)
        assert label == ("open" if about != who else "entailed" if said == what else "contradicted")


def test_similarity_read_again():
    found = pair_tasks.similarity("train", COUNT)
    for (one, other), label in zip(found.texts, found.labels, strict=True):
        assert one != other
        assert (read(one)[1:] == read(other)[1:]) == (label == "same")


def test_choice_read_again():
    found = pair_tasks.choice("train", COUNT)
    for (text, question, *options), label in zip(found.texts, found.labels, strict=True):
        _, who, what = read(text)
        assert f"the {who}" in question and options[int(label)] == f"{what}."
        assert len({*options}) == 2


def test_true_unless_a_label_forbids_it_or_all_is_invented():
    facts = make_knowledge(0).facts

    def true(sentence):
        relation, subject, value = read(sentence)
        return facts[relation][subject] == value

    found = pair_tasks.entailment("train", COUNT)
    share = {}
    for (premise, hypothesis), label in zip(found.texts, found.labels, strict=True):
        assert true(premise)
        share.setdefault(label, []).append(true(hypothesis))
    assert all(share["entailed"]) and not any(share["contradicted"])
    assert 0.35 < sum(share["open"]) / len(share["open"]) < 0.65
    invented = pair_tasks.similarity("train", COUNT, invented=True)
    assert sum(true(one) for one, _ in invented.texts) < 0.15 * COUNT


@pytest.mark.parametrize("invented", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_a_function_of_the_seed_whose_splits_share_nothing(task, invented):
    found = task("train", COUNT, invented=invented)
    assert found == task("train", COUNT, invented=invented)
    assert found != task("train", COUNT, seed=1, invented=invented)
    assert task("train", 50, invented=invented).texts == found.texts[:50]
    held_out = task("test", COUNT, invented=invented)
    assert not {texts[0] for texts in found.texts} & {texts[0] for texts in held_out.texts}
    shares = Counter(found.labels)
    assert min(shares.values()) > 0.8 * COUNT / len(shares)


def test_requests_that_cannot_be_met():
    with pytest.raises(InputError, match="split"):
        pair_tasks.choice("exam", 3)
    with pytest.raises(InputError, match="count"):
        pair_tasks.choice("train", 0)
