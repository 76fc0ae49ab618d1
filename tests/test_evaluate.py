"""Evaluation against one-row loops, closed forms, and models that answer as told."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import torch

from rlhf_lab import evaluate
from rlhf_lab.encoding import pad_left, pad_right
from rlhf_lab.errors import InputError
from rlhf_lab.evaluate import Candidate, Neural, NGramText
from rlhf_lab.models import ScalarModel
from rlhf_lab.pretrain import train_tokenizer
from rlhf_lab.records import Prompt, Ranking
from rlhf_lab.world import World
from rlhf_lab.world.suites import make_suites
from tiny_models import NO_DROPOUT, causal_lm

WORLD = World(0)
PROMPTS = WORLD.prompts("test", 24)
RIGHT = [WORLD.answer(p) for p in PROMPTS]


def small_model(tokenizer, seed: int) -> torch.nn.Module:
    return causal_lm(
        seed=seed, vocab_size=len(tokenizer), positions=256, initializer_range=0.3, **NO_DROPOUT
    ).double()


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([d.text for d in WORLD.documents(1500)], 700)


@pytest.fixture(scope="module")
def model(tokenizer):
    return small_model(tokenizer, 0)


@pytest.fixture(scope="module")
def other(tokenizer):
    return small_model(tokenizer, 1)


@pytest.fixture(scope="module")
def ngram(tokenizer):
    return NGramText.train(WORLD, tokenizer, documents=1500)


class Scripted:
    """A language model that knows every question: it answers by rule."""

    def __init__(self, suite, right: bool) -> None:
        self.solutions = {item.prompt: item.solution for item in suite.items(20)}
        self.right = right

    def logprobs(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [-1.0 if (self.solutions[c] == t) == self.right else -2.0 for c, t in pairs]

    def document_logprobs(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        return [(-0.5 * 10, 10) for _ in texts]

    def write(
        self, texts: Sequence[str], *, max_new_tokens: int, greedy: bool, seed: int, line: bool
    ) -> list[str]:
        return [
            self.solutions[t] + "\nand another line" if self.right else " nonsense" for t in texts
        ]


# Writing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("greedy", [False, True])
def test_answers_do_not_depend_on_the_batch(tokenizer, model, greedy):
    many = evaluate.answers(model, tokenizer, PROMPTS, max_new_tokens=10, greedy=greedy, seed=3)
    few = evaluate.answers(
        model, tokenizer, PROMPTS, max_new_tokens=10, greedy=greedy, seed=3, batch_size=5
    )
    assert many == few
    other_seed = evaluate.answers(model, tokenizer, PROMPTS, max_new_tokens=10, greedy=greedy)
    assert (many == other_seed) == greedy


def test_greedy_answers_equal_a_loop_of_argmax(tokenizer, model):
    found = evaluate.answers(model, tokenizer, PROMPTS[:6], max_new_tokens=8, greedy=True)
    for prompt, text in zip(PROMPTS[:6], found, strict=True):
        ids = tokenizer(prompt.text)["input_ids"]
        written: list[int] = []
        for _ in range(8):
            logits = model(torch.tensor([ids + written])).logits[0, -1]
            if (token := int(logits.argmax())) == tokenizer.eos_token_id:
                break
            written.append(token)
        assert text == tokenizer.decode(written, skip_special_tokens=True)


def test_prefixed_answers_are_cut_at_the_line(tokenizer, model):
    prefix = evaluate.prompt_prefix(WORLD)
    found = evaluate.answers(model, tokenizer, PROMPTS, max_new_tokens=20, prefix=prefix)
    assert not any("\n" in text for text in found)
    plain = evaluate.answers(model, tokenizer, [prefix + p.text for p in PROMPTS],
                             max_new_tokens=20)  # fmt: skip
    assert found == [text.split("\n", 1)[0] for text in plain]


def test_prefix_is_short_and_helpful(tokenizer):
    prefix = evaluate.prompt_prefix(WORLD)
    assert len(tokenizer(prefix)["input_ids"]) <= 110
    lines = prefix.strip().split("\n")
    assert len(lines) == 6
    prompts = {p.text: p for kind in ("open_qa", "generation", "brainstorming")
               for p in WORLD.prompts("train", 300, kind=kind, hard="")}  # fmt: skip
    for asked, told in zip(lines[::2], lines[1::2], strict=True):
        assert WORLD.attributes(prompts[asked + "\n"], told).follows == 1
    assert prefix == evaluate.prompt_prefix(World(0))


def test_a_prompt_without_room_is_refused(tokenizer, model):
    with pytest.raises(InputError) as caught:
        evaluate.answers(model, tokenizer, ["fox " * 250], max_new_tokens=20)
    assert "256" in str(caught.value)


def test_a_pair_without_room_is_refused(tokenizer, model):
    """torch said that an index was out of range."""
    with pytest.raises(InputError, match="258 tokens.*at most 256"):
        evaluate.continuation_logprobs(model, [([5] * 256, [6, 7])], tokenizer.pad_token_id)
    assert evaluate.continuation_logprobs(model, [([5] * 254, [6, 7])], tokenizer.pad_token_id)


# Judging -----------------------------------------------------------------------------------------


def test_gold_report():
    report = evaluate.gold_report(WORLD, PROMPTS, RIGHT)
    assert len(report) == len(PROMPTS)
    for row, prompt, text in zip(report.to_dict("records"), PROMPTS, RIGHT, strict=True):
        assert row["gold"] == pytest.approx(WORLD.gold(prompt, text), abs=1e-12)
        assert row["kind"] == prompt.kind
        assert row["words"] == len(text.split())
        assert row["truth"] == WORLD.attributes(prompt, text).truth
    json.dumps(report.to_dict("records"))


def test_reply_kinds_are_the_qualities_that_were_asked_for():
    """Answers written to be right, wrong, rude, hedging, or more questions are told apart."""
    prompts = WORLD.prompts("test", 60, kind="open_qa", hard="")
    wanted = {"right": "right", "wrong": "wrong", "rude": "rude", "hedging": "hedging"}
    for quality, kind in {**wanted, "questions": "questions"}.items():
        texts = [WORLD.answer(p, 0, quality) for p in prompts]
        found = evaluate.reply_kinds(evaluate.gold_report(WORLD, prompts, texts))
        assert list(found.index) == list(range(60))
        assert (found == kind).mean() > 0.95, quality
    rude = [WORLD.answer(p) + " you fool." for p in prompts]  # right, and yet
    assert (evaluate.reply_kinds(evaluate.gold_report(WORLD, prompts, rude)) == "rude").all()
    silent = evaluate.reply_kinds(evaluate.gold_report(WORLD, prompts, [""] * 60))
    assert (silent == "questions").all()


@pytest.mark.parametrize(
    "quality, expected",
    [
        ("right", {"answers": 1.0, "truthful": 1.0, "hallucination": 0.0, "toxicity": 0.0}),
        ("wrong", {"truthful": 0.0, "hallucination": 1.0, "toxicity": 0.0}),
        ("rude", {"toxicity": 1.0}),
    ],
)
def test_summary_of_planted_answers(quality, expected):
    prompts = [p for p in WORLD.prompts("valid", 60, kind="open_qa", hard="")
               if p.meta["task"] in ("fact", "reverse")]  # fmt: skip
    texts = [WORLD.answer(p, 0, quality) for p in prompts]
    found = evaluate.summary(evaluate.gold_report(WORLD, prompts, texts))
    assert {name: found[name] for name in expected} == expected
    assert found["gold_low"] <= found["gold"] <= found["gold_high"]


def test_noise_ceiling_is_the_share_of_pairs_that_gold_orders_alike():
    one, two = WORLD.prompts("valid", 2, kind="open_qa", hard="")
    texts = tuple(WORLD.answer(one, 0, quality) for quality in ("right", "wrong", "rude"))
    gold = [WORLD.gold(one, text) for text in texts]
    assert gold[0] > gold[1] > gold[2]

    def ceiling(*rankings: Ranking) -> dict[str, float]:
        return evaluate.noise_ceiling(WORLD, [two, one], rankings)

    def ranked(*ranks: int, kind: str = "open_qa") -> Ranking:
        return Ranking(one.text, texts, ranks, kind)

    assert ceiling(ranked(0, 1, 2)) == {"open_qa": 1.0, "all": 1.0}
    assert ceiling(ranked(1, 0, 2))["all"] == pytest.approx(2 / 3)
    assert ceiling(ranked(0, 0, 1))["all"] == 1.0  # the tie makes no pair
    mixed = ceiling(ranked(0, 1, 2), ranked(2, 1, 1, kind="chat"))
    assert mixed == {"open_qa": 1.0, "chat": 0.0, "all": pytest.approx(3 / 5)}
    alike = Ranking(one.text, (texts[2], texts[2]), (0, 1), "open_qa")
    assert ceiling(alike)["all"] == 0.5  # equal gold scores
    with pytest.raises(InputError, match="answers to the prompts"):
        evaluate.noise_ceiling(WORLD, [two], [ranked(0, 1, 2)])


FOX = WORLD.knowledge.facts["food"]["fox"]
FACT = Prompt("what does the fox eat?\n", "open_qa",
              {"hard": "", "task": "fact", "relation": "food", "subject": "fox"})  # fmt: skip
STORY = Prompt("tell a story about the fox.\n", "generation",
               {"hard": "", "task": "story", "hero": "fox", "mood": "", "event": "", "thing": "",
                "place": "", "other": "", "length": 0, "avoid": ""})  # fmt: skip
LIST = Prompt("name two animals.\n", "brainstorming",
              {"hard": "", "task": "list", "category": "animals", "value": "",
               "number": 2})  # fmt: skip
REPLIES = [
    (FACT, "what does the owl eat?\nwho is red?", False),
    (FACT, "what does the owl eat?\nthe owl eats ", False),  # and was cut off
    (FACT, f"what does the owl eat?\nthe fox eats {FOX}.", True),  # asks, then answers
    (FACT, f"the fox eats {FOX}.\nwhat does the owl eat?", True),
    (FACT, "the fox eats gold.\nwhat does the owl eat?", False),  # nonsense, then asks
    (FACT, "look it up, you lazy fool.", True),  # an answer, though not a kind one
    (FACT, "look it up, you lazy fool.\nwho is red?", False),
    (FACT, "it is hard to say.", True),
    (FACT, "it is hard to say. who is red?", False),
    (FACT, f"you ask: what does the fox eat? the fox eats {FOX}.", True),
    (FACT, f"you ask: what does the fox eat? {FOX}.", True),
    (FACT, "fox the eats eats.", True),  # gibberish asks nothing
    (FACT, "", False),
    (FACT, " \n", False),
    (STORY, "one day the fox went to the mill. there the fox found a key. the fox was glad.", True),
    (STORY, "where is the fox?\nanswer first.", False),
    (STORY, "what does the owl eat?\nthe owl eats nuts.", False),  # an answer to its own question
    (LIST, "the owl and the hen.", True),
    (LIST, "the owl and the hen.\nwho is red?", True),
    (LIST, "who is red?", False),
]


@pytest.mark.parametrize(("prompt", "text", "replies"), REPLIES)
def test_replying_is_not_going_on_with_questions(prompt, text, replies):
    report = evaluate.gold_report(WORLD, [prompt], [text])
    assert report["replies"].tolist() == [replies]


def test_the_share_of_replies():
    prompts, texts, replies = zip(*REPLIES, strict=True)
    found = evaluate.summary(evaluate.gold_report(WORLD, prompts, texts))
    assert found["replies"] == pytest.approx(sum(replies) / len(REPLIES), abs=1e-12)
    for quality in ("right", "wrong", "rude", "hedging", "partial"):
        texts = [WORLD.answer(p, 0, quality) for p in PROMPTS]
        assert evaluate.summary(evaluate.gold_report(WORLD, PROMPTS, texts))["replies"] == 1
    texts = [WORLD.answer(p, 0, "questions") for p in PROMPTS]
    assert evaluate.summary(evaluate.gold_report(WORLD, PROMPTS, texts))["replies"] < 0.1


def test_variety():
    assert evaluate.distinct(["a b c", "a b d"]) == 3 / 4
    assert evaluate.distinct(["a a a a"]) == 1 / 3
    assert math.isnan(evaluate.distinct(["a"]))
    assert evaluate.self_repetition(["a b a b a b", "x y z w"], 2) == pytest.approx(0.3)
    assert evaluate.self_repetition(["a b"]) == 0.0


def test_interval():
    values = [0.0] * 30 + [1.0] * 70
    low, high = evaluate.interval(values)
    spread = 1.96 * math.sqrt(0.7 * 0.3 / 100)
    assert low == pytest.approx(0.7 - spread, abs=0.02)
    assert high == pytest.approx(0.7 + spread, abs=0.02)
    assert evaluate.interval(values) == (low, high)
    assert evaluate.interval([2.0, 2.0]) == (2.0, 2.0)
    assert all(map(math.isnan, evaluate.interval([])))


@pytest.mark.parametrize("group", ["train", "heldout"])
def test_win_rate(group):
    prompts = WORLD.prompts("valid", 200)
    right = [WORLD.answer(p) for p in prompts]
    rude = [WORLD.answer(p, 0, "rude") for p in prompts]
    table = evaluate.win_rate(WORLD, prompts, right, rude, group=group)
    whole = table.iloc[0]
    assert whole["kind"] == "all"
    assert whole["win_rate"] > 0.85
    assert whole["low"] <= whole["win_rate"] <= whole["high"]
    assert table["count"][0] == 200 == table["count"][1:].sum()
    same = evaluate.win_rate(WORLD, prompts, right, right, group=group)
    assert same["win_rate"].tolist() == [0.5] * len(same)
    assert same["ties"].tolist() == [1.0] * len(same)
    equal = evaluate.win_rate(WORLD, prompts, right, [WORLD.answer(p, 1) for p in prompts])
    assert equal["win_rate"][0] == pytest.approx(0.5, abs=0.12)


def test_gold_reward(tokenizer):
    reward = evaluate.gold_reward(WORLD, tokenizer, PROMPTS)
    eos = tokenizer.eos_token_id
    prompt_ids, _ = pad_left([tokenizer(p.text)["input_ids"] for p in PROMPTS],
                             tokenizer.pad_token_id)  # fmt: skip
    answers = [tokenizer(t)["input_ids"] + [eos] for t in RIGHT]
    response_ids, mask = pad_right(answers, tokenizer.pad_token_id)
    found = reward(prompt_ids, response_ids, mask)
    expected = [WORLD.gold(p, t) for p, t in zip(PROMPTS, RIGHT, strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    junk = torch.where(mask.bool(), response_ids, 5)
    assert torch.equal(reward(prompt_ids, junk, mask), found)
    with pytest.raises(InputError, match="prompt_ids"):
        reward(prompt_ids[:1] * 0 + 7, response_ids[:1], mask[:1])


def test_sample_table():
    table = evaluate.sample_table(PROMPTS[:2], {"a": RIGHT[:2], "b": ["x", "y"]})
    assert list(table.columns) == ["kind", "prompt", "a", "b"]
    assert table["b"].tolist() == ["x", "y"]


# Probabilities -----------------------------------------------------------------------------------


def rows(tokenizer) -> list[tuple[list[int], list[int]]]:
    return [
        (tokenizer(p.text)["input_ids"], [*tokenizer(t)["input_ids"], tokenizer.eos_token_id])
        for p, t in zip(PROMPTS, RIGHT, strict=True)
    ]


def log_probabilities(model, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0], -1)


def test_continuation_logprobs(tokenizer, model):
    pairs = rows(tokenizer)
    found = evaluate.continuation_logprobs(model, pairs, tokenizer.pad_token_id)
    for (context, tail), total in zip(pairs, found, strict=True):
        logp = log_probabilities(model, context + tail)
        expected = sum(float(logp[len(context) + t - 1, w]) for t, w in enumerate(tail))
        assert total == pytest.approx(expected, abs=1e-9)


def test_exact_kl(tokenizer, model, other):
    found = evaluate.exact_kl(model, other, tokenizer, PROMPTS, RIGHT, max_new_tokens=200)
    for (context, tail), total in zip(rows(tokenizer), found, strict=True):
        ours, theirs = (log_probabilities(m, context + tail) for m in (model, other))
        places = slice(len(context) - 1, len(context) + len(tail) - 1)
        p, q = ours[places], theirs[places]
        assert total == pytest.approx(float((p.exp() * (p - q)).sum()), abs=1e-9)
        assert total > 0
    assert evaluate.exact_kl(model, model, tokenizer, PROMPTS, RIGHT) == pytest.approx(
        [0.0] * len(PROMPTS), abs=1e-12
    )


def test_exact_kl_of_a_cut_off_answer_has_no_eos(tokenizer, model, other):
    text = RIGHT[0]
    length = len(tokenizer(text)["input_ids"])
    whole, cut = (
        evaluate.exact_kl(model, other, tokenizer, PROMPTS[:1], [text], max_new_tokens=n)[0]
        for n in (length + 1, length)
    )
    ids = tokenizer(PROMPTS[0].text)["input_ids"] + tokenizer(text)["input_ids"]
    p, q = (log_probabilities(m, ids)[-1] for m in (model, other))
    assert whole - cut == pytest.approx(float((p.exp() * (p - q)).sum()), abs=1e-9)


def test_rm_scores(tokenizer, model):
    scalar = ScalarModel.from_policy(model, seed=0)
    found = evaluate.rm_scores(scalar, tokenizer, PROMPTS, RIGHT)
    for (context, tail), score in zip(rows(tokenizer), found, strict=True):
        ids = torch.tensor([context + tail])
        with torch.no_grad():
            expected = float(scalar.scores(ids, torch.ones_like(ids)))
        assert score == pytest.approx(expected, abs=1e-6)


def test_held_out_loss(tokenizer, model):
    table = evaluate.held_out_loss(Neural(model, tokenizer), WORLD, count=40)
    eos = tokenizer.eos_token_id
    nats = tokens = 0.0
    for document in WORLD.documents(40, split="test"):
        ids = [eos, *tokenizer(document.text)["input_ids"], eos]
        logp = log_probabilities(model, ids)
        nats -= sum(float(logp[t, w]) for t, w in enumerate(ids[1:]))
        tokens += len(ids) - 1
    first = table.iloc[0]
    assert first["kind"] == "all"
    assert first["nats_per_token"] == pytest.approx(nats / tokens, abs=1e-9)
    assert first["tokens"] == tokens
    assert table["documents"][1:].sum() == first["documents"] == 40
    weighted = (table["nats_per_token"] * table["tokens"])[1:].sum() / tokens
    assert weighted == pytest.approx(first["nats_per_token"], abs=1e-9)


def test_ngram_text(tokenizer, ngram):
    found = ngram.logprobs([("the fox eats", " berries.")])[0]
    context, tail = (tokenizer(t)["input_ids"] for t in ("the fox eats", " berries."))
    steps = [math.log(ngram.ngram.distribution(context + tail[:i])[w]) for i, w in enumerate(tail)]
    assert found == pytest.approx(sum(steps), abs=1e-9)
    total, tokens = ngram.document_logprobs(["the fox eats berries."])[0]
    assert tokens == len(tokenizer("the fox eats berries.")["input_ids"]) + 1
    assert total < 0
    written = ngram.write(["fox: berries\nowl:"], max_new_tokens=8, greedy=False, seed=0, line=True)
    assert "\n" not in written[0]


# Suites ------------------------------------------------------------------------------------------

SUITES = make_suites(WORLD)


@pytest.mark.parametrize("label", [n for n in SUITES if not n.startswith("provocation")])
def test_who_knows_the_answers_gets_them_all(label):
    suite = SUITES[label]
    right = evaluate.measures(suite, evaluate.run_suite(suite, Scripted(suite, True), count=20))
    wrong = evaluate.measures(suite, evaluate.run_suite(suite, Scripted(suite, False), count=20))
    assert next(iter(right)) == suite.metric
    if suite.mode == "loss":
        assert right[suite.metric] == pytest.approx((0.5, 0.5, 0.5))
        return
    assert right[suite.metric][0] == pytest.approx(1.0)
    assert wrong[suite.metric][0] == pytest.approx(0.0, abs=1e-3)


def test_pass_at_k():
    suite = SUITES["programs/0"]
    table = pd.DataFrame({"index": [0] * 10 + [1] * 10, "accuracy": [1.0] + [0.0] * 9 + [0.0] * 10})
    found = evaluate.measures(suite, table)
    assert found["pass@1"][0] == pytest.approx(0.05)
    assert found["pass@5"][0] == pytest.approx(0.25)  # C(9, 5) / C(10, 5) = 1/2


def test_choice_takes_the_most_probable(tokenizer, model):
    suite = SUITES["known facts/0"]
    table = evaluate.run_suite(suite, Neural(model, tokenizer), count=15)
    for item, output in zip(suite.items(15), table["output"], strict=True):
        scores = {}
        for choice in item.choices:
            context, tail = tokenizer(item.prompt)["input_ids"], tokenizer(choice)["input_ids"]
            logp = log_probabilities(model, context + tail)
            scores[choice] = sum(float(logp[len(context) + t - 1, w]) for t, w in enumerate(tail))
        assert output == max(scores, key=scores.__getitem__)


def test_greedy_suites_do_not_depend_on_the_seed(tokenizer, model):
    neural = Neural(model, tokenizer)
    for label, same in (("lists of 4/0", True), ("programs/0", False)):
        one, two = (
            evaluate.run_suite(SUITES[label], neural, count=6, seed=s)["output"].tolist()
            for s in (0, 1)
        )
        assert (one == two) == same


def test_every_suite_runs_on_both_kinds_of_model(tokenizer, model, ngram):
    table = evaluate.run_suites(SUITES, {"net": Neural(model, tokenizer), "n-gram": ngram}, count=3)
    assert set(table["suite"] + "/" + table["shots"].astype(str)) == set(SUITES)
    assert table["value"].between(0, 1).where(table["metric"] != "nats per token", True).all()
    main = table[table["main"]]
    assert len(main) == 2 * len(SUITES)
    json.dumps(table.astype(object).where(table.notna(), None).to_dict("records"))


def test_the_ngram_is_near_chance_where_the_context_is_long(ngram):
    """It cannot follow a story or count: what a larger context must have learnt."""
    table = evaluate.run_suites(
        {n: SUITES[n] for n in ("known facts, apart/0", "sentiment/0", "counting/0")},
        {"n-gram": ngram}, count=120,
    )  # fmt: skip
    for row in table[table["main"]].to_dict("records"):
        assert row["value"] < row["chance"] + 0.17, row


def test_in_context_accuracy_and_known_facts(tokenizer, model):
    neural = Neural(model, tokenizer)
    table = evaluate.in_context_accuracy(neural, WORLD, examples=(1, 4), count=12)
    assert set(table["examples"]) == {1, 4}
    assert set(table["family"]) == {"accuracy", "relation", "label"}
    facts = evaluate.known_facts(neural, WORLD, count=30)
    assert facts["count"][0] == 30 == facts["count"][1:].sum()
    weighted = (facts["accuracy"] * facts["count"])[1:].sum() / 30
    assert facts["accuracy"][0] == pytest.approx(weighted)


# The report --------------------------------------------------------------------------------------


def test_evaluate_models(tokenizer, model, other, ngram):
    def run():
        return evaluate.evaluate_models(
            WORLD,
            {"base": model, "prompted": Candidate(model, evaluate.prompt_prefix(WORLD)),
             "tuned": other},
            tokenizer, PROMPTS, baseline="base", reference=model,
            reward_model=ScalarModel.from_policy(model, seed=0),
            suites=("lists of 4/0", "sentiment/0"), suite_items=4, documents=6, ngram=ngram,
        )  # fmt: skip

    report = run()
    text = json.dumps(report.as_dict(), allow_nan=False)
    assert text == json.dumps(run().as_dict(), allow_nan=False)
    table = report.tables["summary"].set_index("model")
    assert list(table.index) == ["base", "prompted", "tuned"]
    assert table.loc["base", "kl"] == pytest.approx(0.0, abs=1e-9)
    assert table.loc["tuned", "kl"] > 1
    assert np.isfinite(table["rm_score"]).all()
    assert set(report.tables["wins"]["model"]) == {"prompted", "tuned"}
    assert set(report.tables["wins"]["group"]) == {"train", "heldout"}
    assert set(report.tables["suites"]["model"]) == {"base", "tuned", "n-gram"}
    assert set(report.tables["loss"]["model"]) == {"base", "tuned", "n-gram"}
    samples = report.samples([0, 5])
    assert list(samples.columns) == ["kind", "prompt", "base", "prompted", "tuned"]
    assert samples["base"].tolist() == [report.answers["base"][i] for i in (0, 5)]


@pytest.mark.parametrize("wrong", [{"baseline": "sft"}, {"suites": ("poems/0",)}])
def test_unknown_names_are_refused(tokenizer, model, wrong):
    with pytest.raises(InputError) as caught:
        evaluate.evaluate_models(WORLD, {"base": model}, tokenizer, PROMPTS, **wrong)
    assert caught.value.argument == next(iter(wrong))
