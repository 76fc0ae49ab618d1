"""Judges against slow sums and a model that is made up; ranks and agreement by enumeration."""

from __future__ import annotations

import copy
import itertools
import math
import random

import pytest
import torch

from rlhf_lab.errors import InputError
from rlhf_lab.lineage.ai_feedback import (
    PRINCIPLE,
    PromptedJudge,
    likelihood_judge,
    pair_agreement,
    ranked_by,
    scalar_judge,
)
from rlhf_lab.models import ScalarModel
from rlhf_lab.records import Ranking
from tiny_models import FAMILIES, causal_lm

ASKED = ["what is a cat?\n", "say\n", "what is a cat?\n"]
SAID = ["an animal.", "", "a very long answer, much longer than others."]


def policy(family="gpt2", seed=0):
    return causal_lm(family, seed, vocab_size=264).double()


# --- ranks ----------------------------------------------------------------------------------------


def test_more_is_better_and_equal_scores_are_ties():
    asked = []

    def judge(prompts, completions):
        asked.append((list(prompts), list(completions)))
        return [float(len(text)) for text in completions]

    rankings = [
        Ranking("p\n", ("aa", "b", "cc", "dddd"), (3, 0, 1, 2), "kind", "Ann"),
        Ranking("q\n", ("x", "yyy"), (0, 0)),
    ]
    found = ranked_by(judge, rankings, "length")
    assert asked == [(["p\n"] * 4 + ["q\n"] * 2, ["aa", "b", "cc", "dddd", "x", "yyy"])]
    assert found == [
        Ranking("p\n", ("aa", "b", "cc", "dddd"), (1, 2, 1, 0), "kind", "length"),
        Ranking("q\n", ("x", "yyy"), (1, 0), "other", "length"),
    ]
    assert rankings[0].labeler == "Ann" and rankings[0].ranks == (3, 0, 1, 2)


def test_ranks_order_as_scores_do_in_every_pair():
    rng = random.Random(0)
    scores = [rng.choice([-1.5, 0.0, 0.25, 7.0]) for _ in range(9)]
    texts = tuple("abcdefghi")
    (found,) = ranked_by(lambda p, c: scores, [Ranking("p", texts, tuple(range(9)))], "x")
    for i, j in itertools.product(range(9), repeat=2):
        assert (found.ranks[i] < found.ranks[j]) == (scores[i] > scores[j])
        assert (found.ranks[i] == found.ranks[j]) == (scores[i] == scores[j])
    assert min(found.ranks) == 0


# --- agreement ------------------------------------------------------------------------------------


def test_agreement_is_that_of_enumeration():
    rng = random.Random(1)
    ones, others, marks = [], [], []
    for number in range(20):
        size = rng.randint(2, 6)
        texts = tuple(rng.choice("abcdefgh") for _ in range(size))
        mine, theirs = (tuple(rng.randrange(3) for _ in range(size)) for _ in range(2))
        ones.append(Ranking(f"{number}", texts, mine, labeler="Ann"))
        others.append(Ranking(f"{number}", texts, theirs, labeler="Bob"))
        for i, j in itertools.combinations(range(size), 2):
            if texts[i] == texts[j] or mine[i] == mine[j]:
                continue
            if theirs[i] == theirs[j]:
                marks.append(0.5)
            else:
                marks.append(float((mine[i] < mine[j]) == (theirs[i] < theirs[j])))
    assert set(marks) == {0.0, 0.5, 1.0}
    found = pair_agreement(ones, others)
    assert found == pytest.approx(sum(marks) / len(marks), abs=1e-12)


def test_agreement_of_the_same_the_reverse_and_one_who_ties_all():
    one = Ranking("p", ("a", "b", "c"), (0, 1, 2))
    for ranks, wanted in (
        ((0, 1, 2), 1.0),
        ((2, 1, 0), 0.0),
        ((5, 5, 5), 0.5),
        ((0, 0, 1), 2.5 / 3),
    ):
        assert pair_agreement([one], [Ranking("p", one.completions, ranks)]) == wanted


ONE, TIED = Ranking("p", ("a", "b"), (0, 1)), Ranking("p", ("a", "b"), (1, 1))


@pytest.mark.parametrize(
    ("ones", "others", "argument"),
    [
        ([ONE], [Ranking("q", ("a", "b"), (0, 1))], "others"),
        ([ONE], [Ranking("p", ("b", "a"), (0, 1))], "others"),
        ([ONE, ONE], [ONE], "others"),
        ([ONE], [ONE, ONE], "others"),
        ([TIED], [ONE], "ones"),
        ([Ranking("p", ("a", "a"), (0, 1))], [Ranking("p", ("a", "a"), (0, 1))], "ones"),
        ([], [], "ones"),
    ],
)
def test_agreement_needs_the_same_answers_and_a_pair(ones, others, argument):
    with pytest.raises(InputError) as error:
        pair_agreement(ones, others)
    assert error.value.argument == argument


# --- judges ---------------------------------------------------------------------------------------


class MadeUp:
    """A language model whose probability of "yes" grows with the letters of the last answer."""

    def __init__(self):
        self.asked = []

    @staticmethod
    def yes(context):
        answer = context.rsplit("answer: ", 1)[1].removesuffix("\ngood:")
        return len(answer) / (len(answer) + 5)

    def logprobs(self, pairs):
        self.asked += pairs
        return [
            math.log({" yes.": self.yes(context), " no.": 1 - self.yes(context)}[tail] or 1e-9)
            for context, tail in pairs
        ]


def test_a_prompted_judge_asks_and_reads_log_odds():
    model = MadeUp()
    judge = PromptedJudge(model, [("how\nmany?\n", "two.", True), ("who?", "no one", False)])
    found = judge(["what is  it?\n", "again?"], ["a cat\nand a dog ", "yes"])
    head = (
        PRINCIPLE + "request: how many?\nanswer: two.\ngood: yes.\n"
        "request: who?\nanswer: no one\ngood: no.\n"
    )
    texts = [
        head + "request: what is it?\nanswer: a cat and a dog\ngood:",
        head + "request: again?\nanswer: yes\ngood:",
    ]
    assert model.asked == [(text, word) for text in texts for word in (" yes.", " no.")]
    assert found == pytest.approx([math.log(15 / 5), math.log(3 / 5)], abs=1e-12)


def test_a_prompted_judge_without_examples_and_with_another_principle():
    model = MadeUp()
    assert PRINCIPLE.endswith("\n")
    PromptedJudge(model)(["a"], ["bc"])
    PromptedJudge(model, principle="is it short?\n")(["a"], ["bc"])
    asked = "request: a\nanswer: bc\ngood:"
    assert [text for text, _ in model.asked[::2]] == [PRINCIPLE + asked, "is it short?\n" + asked]
    with pytest.raises(ValueError, match="zip"):
        PromptedJudge(model)(["a", "b"], ["c"])


def _slow_mean(model, head, tail):
    total, ids = 0.0, [*head, *tail]
    for t in range(len(head), len(ids)):
        with torch.no_grad():
            row = model(input_ids=torch.tensor([ids[:t]])).logits[0, -1].tolist()
        total += row[ids[t]] - math.log(sum(map(math.exp, row)))
    return total / len(tail)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_likelihood_judge_gives_the_mean_over_tokens_and_eos(tokenizer, family):
    model = policy(family)
    wanted = [
        _slow_mean(
            model, tokenizer(p)["input_ids"], [*tokenizer(c)["input_ids"], tokenizer.eos_token_id]
        )
        for p, c in zip(ASKED, SAID, strict=True)
    ]
    found = likelihood_judge(model, tokenizer)(ASKED, SAID)
    assert found == pytest.approx(wanted, abs=1e-9)


def test_a_tokenizer_that_adds_bos_adds_it_before_the_prompt_only(tokenizer):
    from tokenizers.processors import TemplateProcessing

    own = copy.deepcopy(tokenizer)
    own.add_special_tokens({"bos_token": "<s>"})
    own.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", own.bos_token_id)]
    )
    model = policy()
    head, tail = ([*tokenizer(text)["input_ids"]] for text in (ASKED[0], SAID[0]))
    wanted = _slow_mean(model, [own.bos_token_id, *head], [*tail, own.eos_token_id])
    found = likelihood_judge(model, own)(ASKED[:1], SAID[:1])
    assert found == pytest.approx([wanted], abs=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_scalar_judge_gives_the_score_at_the_end_token(tokenizer, family):
    model = ScalarModel.from_policy(policy(family), 0)
    model.bias.fill_(0.5)
    wanted = []
    for prompt, completion in zip(ASKED, SAID, strict=True):
        ids = tokenizer(prompt)["input_ids"] + tokenizer(completion)["input_ids"]
        ids = torch.tensor([[*ids, tokenizer.eos_token_id]])
        with torch.no_grad():
            hidden = model.backbone(input_ids=ids).last_hidden_state[0, -1]
        wanted.append(float(hidden @ model.head.weight[0].detach()) + 0.5)
    assert scalar_judge(model, tokenizer)(ASKED, SAID) == pytest.approx(wanted, abs=1e-9)


def test_judges_rank_by_what_they_say(tokenizer):
    """All three through the same door."""
    rankings = [Ranking(p, ("a cat.", "b", "a", "a cat."), (0, 1, 2, 3)) for p in ("x\n", "y\n")]
    model = policy()
    for judge in (
        likelihood_judge(model, tokenizer),
        scalar_judge(ScalarModel.from_policy(model, 0), tokenizer),
        PromptedJudge(MadeUp()),
    ):
        for ranking, found in zip(rankings, ranked_by(judge, rankings, "judge"), strict=True):
            scores = judge([ranking.prompt] * 4, list(ranking.completions))
            assert found.ranks[0] == found.ranks[3]  # one text, one score
            best = min(range(4), key=found.ranks.__getitem__)
            assert scores[best] == pytest.approx(max(scores), abs=1e-9)
