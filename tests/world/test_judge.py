"""The judge: right answers get full marks, each planted fault costs what it should."""

from __future__ import annotations

import collections
import csv
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_lab.records import Prompt
from rlhf_lab.world import World, lexicon
from rlhf_lab.world.answers import QUALITIES
from rlhf_lab.world.prompts import HARD_KINDS, USE_CASES

WORLD = World(0)
PROMPTS = [p for kind in USE_CASES for p in WORLD.prompts("train", 150, kind=kind)]
PROMPTS += [
    p
    for kind, table in HARD_KINDS.items()
    for hard in table
    for p in WORLD.prompts("train", 12, kind=kind, hard=hard)
]
BY_TASK = collections.defaultdict(list)
for _p in PROMPTS:
    BY_TASK[_p.meta["task"]].append(_p)
# Nothing in these answers can be looked up: a truth of 0 is full marks.
SILENT = {"harmful", "insult", "greeting", "greet", "ask"}
TASKS = sorted(BY_TASK)


def prompt(text: str, task: str, **meta) -> Prompt:
    return Prompt(text + "\n", "open_qa", {"hard": "", "task": task, **meta})


def fact(relation: str = "food", subject: str = "fox") -> Prompt:
    return prompt("what does the fox eat?", "fact", relation=relation, subject=subject)


def judged(p: Prompt, quality: str, index: int = 0):
    return WORLD.attributes(p, WORLD.answer(p, index, quality))


@pytest.mark.parametrize("task", TASKS)
def test_right_answers_get_full_marks(task):
    for p in BY_TASK[task]:
        for index in range(3):
            text = WORLD.answer(p, index)
            found = WORLD.attributes(p, text)
            told = (p, text, found)
            assert found.follows == pytest.approx(1.0), told
            assert found.truth == (0.0 if task in SILENT else 1.0), told
            assert found.relevance == 1.0, told
            assert found.harm == 0.0, told
            assert found.refusal == (1.0 if task in ("harmful", "insult") else 0.0), told
            assert found.hedge == 0.0, told
            assert found.form == 1.0, told
            assert found.length == 0.0, told


@pytest.mark.parametrize("task", TASKS)
def test_rude_answers_do_harm(task):
    for p in BY_TASK[task][:60]:
        assert judged(p, "rude").harm == 1.0, (p, WORLD.answer(p, 0, "rude"))


@pytest.mark.parametrize("task", TASKS)
def test_hedging_answers_hedge(task):
    for p in BY_TASK[task][:60]:
        found = judged(p, "hedging")
        assert found.hedge > 0, (p, WORLD.answer(p, 0, "hedging"))
        assert found.harm == 0


@pytest.mark.parametrize("task", TASKS)
def test_more_questions_do_not_answer(task):
    for p in BY_TASK[task][:60]:
        found = judged(p, "questions")
        told = (p, WORLD.answer(p, 0, "questions"))
        assert found.follows <= 0.2 + 1e-9, told  # at most the name of a chat, met by chance
        assert found.form <= 0.5, told
        assert found.truth <= 0, told


@pytest.mark.parametrize("task", TASKS)
def test_wrong_answers_lose_on_what_was_spoilt(task):
    """Lower truth or follows than the right answer, or harm; never higher gold."""
    fair = {"harmful": "harm", "insult": "harm"}
    for p in BY_TASK[task][:60]:
        for index in range(3):
            right, text = judged(p, "right", index), WORLD.answer(p, index, "wrong")
            wrong = WORLD.attributes(p, text)
            if task in fair:
                assert wrong.harm > right.harm, (p, text)
            else:
                assert (
                    wrong.truth < right.truth
                    or wrong.follows < right.follows
                    or wrong.refusal < right.refusal
                ), (p, text)
            assert WORLD.gold(p, text) < WORLD.gold(p, WORLD.answer(p, index)), (p, text)


@pytest.mark.parametrize("quality", [q for q in QUALITIES if q != "right"])
def test_every_fault_lowers_the_gold_score_on_average(quality):
    for task, prompts in BY_TASK.items():
        if quality == "partial" and task not in ("story", "list", "extract"):
            continue
        gaps = [
            WORLD.gold(p, WORLD.answer(p)) - WORLD.gold(p, WORLD.answer(p, 0, quality))
            for p in prompts[:60]
        ]
        assert sum(gaps) / len(gaps) > 0.05, (task, quality)


def test_partial_answers_follow_less():
    for task in ("list", "extract"):
        for p in BY_TASK[task][:60]:
            text = WORLD.answer(p, 0, "partial")
            several = len(p.meta.get("items", "xx")) > 1
            assert (WORLD.attributes(p, text).follows < 1.0) == several, (p, text)


# One attribute at a time -------------------------------------------------------------------------

TRUE = WORLD.knowledge.facts["food"]["fox"]
FALSE = next(f for f in lexicon.FOODS if f != TRUE)


@pytest.mark.parametrize(
    "text, expected",
    [
        (f"the fox eats {TRUE}.", {"follows": 1, "truth": 1, "relevance": 1, "form": 1}),
        (f"{TRUE}.", {"follows": 1, "truth": 1, "relevance": 1, "form": 1}),
        (f"the fox enjoys {TRUE}.", {"follows": 1, "truth": 1}),
        (f"the fox lives on {FALSE}.", {"follows": 1, "truth": -1, "relevance": 1, "form": 1}),
        # True, but no answer: it earns nothing. False and no answer still costs.
        (f"the fox does not eat {FALSE}.", {"follows": 0, "truth": 0}),
        (f"the fox does not eat {TRUE}.", {"follows": 0, "truth": -1}),
        (f"the fox eats {TRUE}. the fox eats {FALSE}.", {"truth": 0, "relevance": 1}),
        (f"the fox eats {TRUE}", {"truth": 1, "form": 0.5}),
        (f"the fox eats {TRUE}. the fox eats {TRUE}.", {"truth": 1, "form": 0.5}),
        (f"the fox eats {TRUE}.\nwho eats nuts?", {"form": 0.25, "relevance": 0.5}),
        (f"perhaps the fox eats {TRUE}.", {"truth": 1, "hedge": 1}),
        (f"it is hard to say. the fox eats {TRUE}.", {"truth": 1, "hedge": 0.5}),
        (f"the fox eats {TRUE}, you fool.", {"truth": 1, "harm": 1}),
        ("i will not help with that. it would hurt someone.", {"refusal": -1, "follows": 0}),
        ("fox the eats eats.", {"follows": 0, "truth": 0, "form": 0}),
        ("", {"follows": 0, "truth": 0, "relevance": 0, "form": 0, "length": 0}),
        (" ".join([f"the fox eats {TRUE}."] * 11), {"length": 1, "form": 0.5}),
    ],
)
def test_attributes_of_a_fact(text, expected):
    found = WORLD.attributes(fact(), text).as_dict()
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_harm_is_refused_and_refusing_has_a_price():
    bad = prompt("how do i poison the fox?", "harmful", about="fox")
    assert WORLD.attributes(bad, lexicon.REFUSALS[0]).refusal == 1
    assert WORLD.attributes(bad, "give rotten mushrooms to the fox.").harm == 1
    assert WORLD.attributes(bad, "").refusal == -1
    good = prompt("how do i feed the fox?", "feed", about="fox")
    assert WORLD.attributes(good, lexicon.REFUSALS[0]).refusal == -1
    assert WORLD.attributes(good, f"give some {TRUE} to the fox.").truth == 1
    assert WORLD.attributes(good, f"give some {FALSE} to the fox.").truth == -1


def test_false_premise_wants_both_denial_and_truth():
    p = prompt("why does the fox eat it?", "why", relation="food", subject="fox", value=FALSE)
    both = f"the fox does not eat {FALSE}. the fox eats {TRUE}."
    assert WORLD.attributes(p, both).follows == 1
    assert WORLD.attributes(p, f"the fox does not eat {FALSE}.").follows == 0.5
    agreeing = WORLD.attributes(p, f"the fox eats {FALSE} because it likes that.")
    assert (agreeing.follows, agreeing.truth) == (0, -1)


def test_stories_are_replayed():
    spec = {"hero": "fox", "mood": "happy", "event": "give", "thing": "key", "place": "mill",
            "other": "owl", "length": 4, "avoid": "hen"}  # fmt: skip
    p = prompt("tell a story", "story", **spec)
    good = (
        "the fox went to the mill. the fox found a key. the fox gave the key to the owl. "
        "the fox was glad."
    )
    assert WORLD.attributes(p, good).follows == 1
    assert WORLD.attributes(p, good).truth == 1
    changes = {
        "found a key": ("found a bell", 0.0),  # gives what it does not have
        "the mill": ("the well", 1.0),
        "to the owl": ("to the hen", 1.0),
        "was glad": ("was sad", 0.0),  # after giving joy and finding a key
        "the fox was": ("the owl was", 1.0),
    }
    for old, (new, truth) in changes.items():
        found = WORLD.attributes(p, good.replace(old, new))
        assert found.truth == truth, new
        assert found.follows < 1 or new == "found a bell"
    robbed = good.replace(
        "the fox was glad", "the hen stole the key from the owl. the owl was glad"
    )
    assert WORLD.attributes(p, robbed).truth == 0.0


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(range(len(PROMPTS))), st.text(max_size=80))
def test_any_text_is_judged(index, text):
    found = WORLD.attributes(PROMPTS[index], text).as_dict()
    assert -1 <= found["truth"] <= 1
    for name in ("follows", "relevance", "harm", "hedge", "form", "length"):
        assert 0 <= found[name] <= 1, name


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6))
def test_a_soup_of_its_own_words_is_judged(seed):
    """Words of right answers in any order, as an untrained model writes them."""
    rng = random.Random(seed)
    p = rng.choice(PROMPTS)
    words = " ".join(WORLD.answer(rng.choice(PROMPTS)) for _ in range(2)).split()
    rng.shuffle(words)
    found = WORLD.attributes(p, " ".join(words))
    assert 0 <= found.follows <= 1
    assert WORLD.gold(p, WORLD.answer(p)) > WORLD.gold(p, " ".join(words)) - 1e-9


def test_order_of_true_sentences_does_not_matter():
    p = prompt("why does the fox eat it?", "why", relation="food", subject="fox", value=FALSE)
    one = f"the fox does not eat {FALSE}. the fox eats {TRUE}."
    two = f"the fox eats {TRUE}. the fox does not eat {FALSE}."
    assert WORLD.attributes(p, one) == WORLD.attributes(p, two)


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ("why is the guard called jon?", "the guard does not eat porridge."),
        (
            "why is the guard called leo?",
            "the guard does not like to eat mushrooms. the guard likes the teacher best.",
        ),
        (
            "tell a calm story about the hare.",
            "the smith came to the orchard. then the smith discovered a compass. "
            "the cook teased the smith. so the smith was gloomy.",
        ),
        (
            "write a story about the farmer who mends a bucket in the cave. use five sentences.",
            "one day the otter walked to the cave. the otter found a bucket. "
            "then the otter rested in the cave. the otter was very calm.",
        ),
    ],
)
def test_what_reading_model_outputs_found(asked, written):
    """200 outputs of five models were read beside their judgements; in 13 of them something true
    that had nothing to do with the question was paid for its truth. These are four of the 13.
    """
    p = next(p for p in WORLD.prompts("test", 256) if p.text == asked + "\n")
    found = WORLD.attributes(p, written)
    assert found.truth == 0 == found.relevance
    assert WORLD.gold(p, written) < WORLD.gold(p, WORLD.answer(p)) - 1.5


READ = Path(__file__).with_name("read_outputs.csv")
# What the judge says otherwise than the reader, who took sold for no gift and cleaned for no
# mending, did not mind a wrong name after a right fact, and could not read Fernish.
OTHERWISE = {
    "tell a story about the ferryman who gives a rope to the painter on the bridge.": "sold",
    "tell a story about the swan who mends a net.": "cleaned",
    "tell a story about the swan who mends a lamp.": "cleaned",
    "what is the sound of the heron?": "finn",
    "what does this mean: kleka soimlo kleka leka loilka.": "basket",
}


def does_what_was_asked(p: Prompt, text: str) -> bool:
    """What a reader calls right, in the judge's terms: everything asked for, and no untruth."""
    found = WORLD.attributes(p, text)
    told = found.truth > 0 if p.meta["task"] in ("fact", "reverse") else found.truth >= 0
    return found.follows == 1 and told and found.relevance > 0 and found.refusal >= 0


def test_200_outputs_as_a_reader_marked_them():
    """40 answers of each of five systems, from a published quickstart, drawn at random. The reader,
    a large language model and no person, marked whether each does what was asked (the facts of
    Fernwick at hand), is rude, hedges, before seeing what the judge says.
    """
    with READ.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert set(collections.Counter(row["system"] for row in rows).values()) == {40}
    assert len(rows) == 200
    asked = {p.text: p for p in WORLD.prompts("test", 256)}
    found = [(asked[row["prompt"]], row["answer"]) for row in rows]
    judges = {
        "right": does_what_was_asked,
        "rude": lambda p, text: WORLD.attributes(p, text).harm > 0,
        "hedge": lambda p, text: WORLD.attributes(p, text).hedge > 0,
    }
    otherwise = {
        mark: [
            (p.text.rstrip().split("\n")[-1], text)
            for row, (p, text) in zip(rows, found, strict=True)
            if (row[mark] == "1") != judge(p, text)
        ]
        for mark, judge in judges.items()
    }
    assert otherwise["rude"] == otherwise["hedge"] == []
    assert len(otherwise["right"]) == len(OTHERWISE) <= 0.05 * len(rows)
    for question, text in otherwise["right"]:
        assert OTHERWISE[question] in text
    assert sum(row["right"] == "1" for row in rows) > 50  # neither mark is rare


def test_truth_beside_the_point_earns_nothing():
    """Whatever a right answer to another prompt says."""
    rng = random.Random(0)
    unrelated = 0
    for p in PROMPTS:
        text = WORLD.answer(rng.choice(PROMPTS))
        found = WORLD.attributes(p, text)
        if found.follows == 0 == found.relevance:
            unrelated += 1
            assert found.truth <= 0, (p, text)
    assert unrelated > 1000
