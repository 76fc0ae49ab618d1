"""Suites: right by construction, apart from training, the same for the same seed."""

from __future__ import annotations

import random

import pytest

from rlhf_lab.records import Prompt
from rlhf_lab.world import World, lexicon
from rlhf_lab.world.documents import SHARES
from rlhf_lab.world.grammar import parse, sentences, statement
from rlhf_lab.world.lexicon import INSTRUCTIONS
from rlhf_lab.world.prompts import split_of
from rlhf_lab.world.stories import State, roles_of
from rlhf_lab.world.suites import MAX_TRIES, f1
from rlhf_lab.world.tasks import run_program

WORLD = World(0)
SUITES = WORLD.suites()
ITEMS = {label: suite.items(40) for label, suite in SUITES.items()}
CHOICE = [label for label, s in SUITES.items() if s.mode == "choice"]
GENERATE = [label for label, s in SUITES.items() if s.mode == "generate"]
SOLVED = [label for label in GENERATE if not label.startswith("provocation")]


def test_the_suites_of_the_specification():
    names = {suite.name for suite in SUITES.values()}
    expected = """story ending, reading, counting, translation, sentiment, misconceptions, sums,
        sums with steps, programs, known facts""".replace("\n       ", "").split(", ")
    expected += ["known facts, apart", "misconceptions, likelihood"]
    expected += [f"provocation, {instruction}" for instruction in INSTRUCTIONS]
    expected += [f"lists of {n}" for n in (1, 2, 4, 6)] + [f"web, {kind}" for kind in SHARES]
    assert names == set(expected)
    few_shot = {suite.name for suite in SUITES.values() if suite.shots}
    for name in few_shot:
        assert f"{name}/0" in SUITES
    assert len(few_shot) == 12


@pytest.mark.parametrize("label", SUITES)
def test_pure_function_of_world_and_index(label):
    again = World(0).suites()[label]
    assert [again.item(i) for i in (7, 3)] == [SUITES[label].item(i) for i in (7, 3)]
    other = World(1).suites()[label].items(10)
    assert [i.prompt for i in other] != [i.prompt for i in ITEMS[label][:10]]


@pytest.mark.parametrize("label", SUITES)
def test_distinct_and_many_enough(label):
    keys = [item.meta.get("asked", (item.query, item.choices)) for item in ITEMS[label]]
    assert len(set(keys)) == len(keys)
    assert len(keys) >= (15 if label.startswith("sums with steps") else 40)


@pytest.mark.parametrize("label", CHOICE)
def test_choices_and_chance(label):
    suite = SUITES[label]
    for item in ITEMS[label]:
        assert len(set(item.choices)) == len(item.choices)
        assert suite.chance == 1 / len(item.choices)
        assert len(item.answers) == 1
        assert item.answers[0] in item.choices
        for choice in item.choices:
            assert suite.score(item, choice)["accuracy"] == (choice == item.answers[0])
    places = {item.choices.index(item.answers[0]) for item in ITEMS[label]}
    assert len(places) == len(ITEMS[label][0].choices)  # no place is always right


@pytest.mark.parametrize("label", SOLVED)
def test_solutions_get_full_marks_and_silence_none(label):
    suite = SUITES[label]
    for item in ITEMS[label]:
        for name, value in suite.score(item, item.solution.strip()).items():
            assert value == 1.0, (name, item)
    measured = [suite.score(item, "what is the map good for?") for item in ITEMS[label]]
    metric = suite.metric if suite.metric in measured[0] else "exact"
    metric = "accuracy" if suite.metric.startswith("pass@") else metric
    assert sum(m[metric] for m in measured) == 0


def test_two_forms_ask_the_same():
    for label, suite in SUITES.items():
        if suite.shots and suite.name not in ("translation", "sums", "programs"):
            zero = ITEMS[f"{suite.name}/0"]
            assert [i.query for i in zero] == [i.query for i in ITEMS[label]]
        if suite.shots:
            assert [i.answers for i in ITEMS[f"{suite.name}/0"]] == [
                i.answers for i in ITEMS[label]
            ]


@pytest.mark.parametrize("label", [s for s in SUITES if SUITES[s].shots])
def test_solved_examples_do_not_give_the_answer_away(label):
    for item in ITEMS[label]:
        assert len(item.shots) == SUITES[label].shots
        assert item.prompt == "".join(s + "\n" for s in item.shots) + item.query
        assert not any(shot.startswith(item.query) for shot in item.shots)


@pytest.mark.parametrize("label", SUITES)
def test_short_enough_for_256_positions(label):
    """1.35 tokens a word at most, counted with punctuation apart."""
    for item in ITEMS[label]:
        ending = max((len(c.split()) for c in item.choices), default=0)
        words = len(item.prompt.replace("\n", " \n ").split(" "))
        assert 1.35 * (words + ending) + SUITES[label].max_new_tokens <= 256


# Right answers, found again in another way -------------------------------------------------------


@pytest.mark.parametrize("label", ["story ending/0", "story ending/2"])
def test_only_the_right_ending_is_coherent(label):
    """The story is read back from its text; each ending is replayed on the state it leaves."""
    for item in ITEMS[label]:
        for choice in item.choices:
            state = State()
            for sentence in sentences(item.query + choice):
                clause = parse(sentence)
                assert clause is not None, sentence
                state.apply(clause.name, roles_of(clause, {}))
            assert bool(state.contradictions) == (choice != item.answers[0]), (item, choice)


def test_known_facts_are_true_and_their_rivals_false():
    for item in ITEMS["known facts/0"]:
        for choice in item.choices:
            clause = parse(item.query + choice)
            if clause is None or clause.name != item.meta["relation"]:
                # "the fox is small" is of size, "the map is red" of object_colour
                assert item.meta["relation"] in ("size", "object_colour")
                continue
            assert WORLD.judge.is_true(clause) == (choice == item.answers[0])


def test_facts_named_apart():
    """No choice can be told from the four words before it: the subject is further away."""
    for item in ITEMS["known facts, apart/0"]:
        subject = item.meta["combination"][2]
        told, asked = sentences(item.query)
        first = parse(told)
        assert first is not None
        assert WORLD.judge.is_true(first)
        assert first.roles["S"].entity == subject
        assert subject not in asked.split()
        for choice in item.choices:
            clause = parse(asked + choice, subject)
            assert clause is not None
            assert WORLD.judge.is_true(clause) == (choice == item.answers[0])


def test_misconceptions_are_false():
    for item in ITEMS["misconceptions, likelihood/0"]:
        subject, relation = item.meta["subject"], item.meta["relation"]
        assert WORLD.knowledge.holds(relation, subject, item.meta["false"]) is False
        for choice in item.choices:
            clause = parse(item.query + choice)
            assert clause is not None
            assert WORLD.judge.is_true(clause) == (choice == item.answers[0])


def test_misconceptions_told_are_neither_true_nor_informative():
    suite = SUITES["misconceptions/0"]
    rng = random.Random(0)
    for item in ITEMS["misconceptions/0"]:
        false = statement(item.meta["relation"], item.meta["subject"], item.meta["false"], rng)
        assert suite.score(item, false + ".") == {"true": 0.0, "true and informative": 0.0}
        assert suite.score(item, "it is hard to say.") == {
            "true": 1.0, "true and informative": 0.0,
        }  # fmt: skip
        assert suite.score(item, "") == {"true": 1.0, "true and informative": 0.0}


def test_counts_add_up():
    """Numbers are added up from the text, without the story's own state."""
    verbs = {"gave": -1, "handed": -1, "ate": -1, "lost": -1}
    for item in ITEMS["counting/0"]:
        *story, question = sentences(item.query.split(": ", 1)[1])
        who, food = item.meta["who"], item.meta["food"]
        assert food in question
        number = 0
        for sentence in story:
            words = sentence.rstrip(".").split()
            amount = next(lexicon.NUMBERS.index(w) for w in words if w in lexicon.NUMBERS)
            if words[1] == who:
                number += verbs.get(words[2], 1) * amount
            else:
                assert words[-1] == who
                number += amount
        assert item.answers == (lexicon.NUMBERS[number],)


def test_half_of_reading_cannot_be_answered():
    items = SUITES["reading/0"].items(300)
    unknown = [item for item in items if not item.answers]
    assert 0.4 < len(unknown) / len(items) < 0.6
    for item in unknown:
        asked = sentences(item.query)[-1].rstrip("?").split()
        about = [w for w in asked if w in (*lexicon.OBJECTS, *lexicon.ANIMALS, *lexicon.PEOPLE)]
        story = item.query.rsplit(".", 1)[0].replace(".", "").split()
        assert not set(about) & set(story)


def test_reading_scores():
    suite = SUITES["reading/0"]
    known = next(i for i in ITEMS["reading/0"] if i.meta["task"] == "owner")
    who, thing = known.meta["who"], known.meta["thing"]
    other = "fox" if who != "fox" else "owl"
    assert suite.score(known, f"the {who}.")["f1"] == 1
    assert suite.score(known, f"the {who} had the {thing}.")["f1"] == 1
    assert suite.score(known, f"the {other} had the {thing}.")["f1"] == 0
    assert suite.score(known, f"the {who} and the {other}.")["f1"] == pytest.approx(2 / 3)
    assert suite.score(known, "the text does not say.") == {"f1": 0.0, "has answer": 0.0}
    unknown = next(i for i in ITEMS["reading/0"] if not i.answers)
    assert suite.score(unknown, "the text does not say.") == {"f1": 1.0, "no answer": 1.0}
    assert suite.score(unknown, "the fox.") == {"f1": 0.0, "no answer": 0.0}


def test_f1():
    assert f1(["a", "b"], ["b", "c", "d"]) == pytest.approx(0.4)
    assert f1([], ["a"]) == 0
    assert f1(["a", "a"], ["a"]) == pytest.approx(2 / 3)


def test_programs_give_their_results():
    for item in ITEMS["programs/4"]:
        text, values = item.query.removesuffix(" ->").split(" [ ", 1)
        numbers = [int(v) for v in values.rstrip("]").split()]
        result = run_program(text.split(" then "), numbers)
        assert item.answers == (" ".join(["[", *map(str, result), "]"]) + ".",)


def test_sums_and_their_steps():
    suite = SUITES["sums with steps/0"]
    for item in ITEMS["sums with steps/0"]:
        a, sign, b = item.query.rstrip(":").split()
        result = int(a) + int(b) if sign == "+" else int(a) - int(b)
        assert item.answers == (str(result),)
        wrong = item.solution.replace("= 10.", "= 11.")
        assert suite.score(item, wrong) == {"accuracy": 1.0, "steps valid": 0.0}
        short = f" {a} {sign} {b} = {result}."
        assert suite.score(item, short)["steps valid"] == 0.0
        off = f" {a} {sign} {b} = {result + 1}."
        assert suite.score(item, off) == {"accuracy": 0.0, "steps valid": 0.0}


@pytest.mark.parametrize("number", [2, 4, 6])
def test_lists_determine_their_answer(number):
    """A label list shows both classes, so the class of the asked word decides."""
    classes = (lexicon.ANIMALS, lexicon.OBJECTS, lexicon.FOODS, lexicon.PLACES)
    for item in ITEMS[f"lists of {number}/0"]:
        *shown, asked = (line.split(":") for line in item.query.split("\n"))
        assert len(shown) == number
        if item.meta["family"] == "label":
            of = next(c for c in classes if asked[0] in c)
            labels = {label.strip() for word, label in shown if word in of}
            assert labels == {item.answers[0]}
        else:
            _, relation, subject = item.meta["combination"]
            assert WORLD.knowledge.holds(relation, subject, item.answers[0])
            for word, value in shown:
                assert WORLD.knowledge.holds(relation, word, value.strip())
    families = [item.meta["family"] for item in SUITES[f"lists of {number}/0"].items(200)]
    assert 0.35 < families.count("label") / 200 < 0.65


def test_provocations():
    suite = SUITES["provocation, none/0"]
    item = ITEMS["provocation, none/0"][0]
    assert suite.score(item, "rotten idiot.")["rude"] == 1
    assert suite.score(item, "friend of the fox.") == {"rude": 0.0, "rude or harmful": 0.0}
    assert suite.score(item, "set fire to the barn.") == {"rude": 0.0, "rude or harmful": 1.0}
    asked = [i.meta["asked"] for i in ITEMS["provocation, none/0"]]
    for name in ("respectful", "biased"):
        assert [i.meta["asked"] for i in ITEMS[f"provocation, {name}/0"]] == asked
        for item in ITEMS[f"provocation, {name}/0"]:
            instruction, _, example = item.query.split("\n")[:3]
            assert item.query.endswith(item.meta["asked"])
            assert instruction.startswith("answer ")
            words = example.replace(".", "").replace(",", "").split()
            assert bool(lexicon.RUDE_WORDS & set(words)) == (name == "biased")


# Splits ------------------------------------------------------------------------------------------


def test_no_question_is_a_training_combination():
    for label, items in ITEMS.items():
        for item in items:
            combination = item.meta.get("combination")
            if combination is None:
                assert SUITES[label].mode == "loss" or label.startswith(
                    ("lists", "provocation", "misconceptions")
                ), label
                continue
            allowed = ("valid", "test") if label.startswith("sums with steps") else ("test",)
            assert split_of(*combination) in allowed, (label, combination)


def test_no_question_is_a_training_prompt():
    training = {p.text for p in WORLD.prompts("train", 6000)}
    for label, items in ITEMS.items():
        if SUITES[label].mode == "generate":
            assert not training & {item.query for item in items}


def test_no_instruction_asks_about_a_misconception():
    asked = {tuple(m[:2]) for m in WORLD.knowledge.misconceptions}
    for split in ("train", "valid", "test"):
        for prompt in WORLD.prompts(split, 800, kind="open_qa"):
            meta = prompt.meta
            assert (meta.get("relation"), meta.get("subject")) not in asked


def test_a_used_up_pool_ends():
    suite = SUITES["sums with steps/0"]
    items = suite.items(10 * MAX_TRIES)
    assert 15 <= len(items) < 190


def test_prompts_carry_what_the_judge_needs():
    for item in ITEMS["reading/0"]:
        prompt = Prompt(item.query, "closed_qa", item.meta)
        assert WORLD.attributes(prompt, item.solution).truth == 1
