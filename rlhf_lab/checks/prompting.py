"""Tests of the lab *Ask, do not train*: expected numbers stand here or are added up here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from rlhf_lab.checks import called, check, near, same

LogitsOf = Callable[[list[int]], Tensor]
WordLogprobs = Callable[[LogitsOf, Sequence[int], Sequence[int]], Tensor]
Score = Callable[[Sequence[Tensor], Sequence[Tensor], str], Tensor]
LabelProbabilities = Callable[[Tensor, Sequence[int]], Tensor]
Calibrated = Callable[[Tensor, Tensor], Tensor]
OrderReport = Callable[[Tensor, Tensor], Mapping[str, Any]]
Pull = Callable[[Tensor, Tensor], float]
Worth = Callable[[pd.DataFrame, float], float]


def _real(rows: Any) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


# --- word_logprobs(logits_of, prompt, word) -> (tokens of the word,) ------------------------------


def _bigrams(ids: list[int]) -> Tensor:
    """What follows a token, whatever came before; three words, and 3 more on all logits."""
    table = _real([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.6, 0.1]]).log() + 3
    return table[ids]


def _remembers(ids: list[int]) -> Tensor:
    """What is expected depends on everything so far; five words."""
    rows = []
    for t in range(len(ids)):
        sum_so_far = sum((i + 2) * (token + 1) for i, token in enumerate(ids[: t + 1]))
        rows.append([math.sin(sum_so_far * (word + 1)) for word in range(5)])
    return _real(rows)


def _logprobs(answer: WordLogprobs, logits_of: LogitsOf, prompt: list[int], word: list[int]) -> Any:
    before = list(prompt), list(word)
    found = answer(logits_of, prompt, word)
    assert (prompt, word) == before, (
        f"the lists were {before[0]} and {before[1]} before the call and are {prompt} and {word} "
        "now: make a new list, with + in place of +="
    )
    return found


@check
def the_place_before_expects_the_token(word_logprobs: WordLogprobs) -> None:
    """A prompt of two tokens, a word of one."""
    found = _logprobs(word_logprobs, _bigrams, [2, 1], [2])
    hint = (
        "the logits of the prompt's last token say what comes next. After token 1 the token 2 has "
        "probability 0.7; a softmax makes probabilities of logits"
    )
    same(found, _real([math.log(0.7)]), "the log-probabilities", hint)


@check
def later_tokens_know_the_earlier(word_logprobs: WordLogprobs) -> None:
    """A word of two tokens."""
    found = _logprobs(word_logprobs, _bigrams, [0, 2], [1, 0])
    hint = (
        "after the prompt's 2 the token 1 has probability 0.6; then, after that 1, the token 0 has "
        "0.1: the word's first token stands before its second"
    )
    same(found, _real([math.log(0.6), math.log(0.1)]), "the log-probabilities", hint)


@check
def the_whole_prompt_is_read(word_logprobs: WordLogprobs) -> None:
    """A model that forgets nothing; three tokens, one call for each."""
    prompt, word = [3, 0, 4, 1], [2, 2, 0]
    wanted = []
    for n, token in enumerate(word):
        row = _remembers(prompt + word[:n])[-1].tolist()
        wanted.append(row[token] - math.log(sum(math.exp(z) for z in row)))
    hint = "everything before a token is given: the prompt, then the word's own tokens, in order"
    found = _logprobs(word_logprobs, _remembers, prompt, word)
    same(found, _real(wanted), "the log-probabilities", hint)


# --- score(asked, unasked, way) -> (N, K) ---------------------------------------------------------

# Two texts; a word of one token and one of two, whose end is nearly foregone once it has begun.
_ASKED = [_real([[-1.0], [-2.0]]), _real([[-1.5, -0.1], [-1.2, -0.2]])]
_UNASKED = [_real([-3.0]), _real([-2.5, -0.1])]


def _score(score: Score, way: str) -> Any:
    before = [x.clone() for x in (*_ASKED, *_UNASKED)]
    found = score(list(_ASKED), list(_UNASKED), way)
    unchanged = all(
        torch.equal(a, b) for a, b in zip(before, (*_ASKED, *_UNASKED), strict=True)
    )  # fmt: skip
    assert unchanged, "a tensor that was given is not what it was: work on new ones"
    return found


@check
def every_token_has_to_be_paid(score: Score) -> None:
    """The log-probability of the whole word."""
    hint = "the logarithm of a product is a sum: over a word's tokens, a column for each word"
    same(_score(score, "sum"), _real([[-1.0, -1.6], [-2.0, -1.4]]), "the scores", hint)


@check
def a_mean_is_over_tokens(score: Score) -> None:
    """The same, per token."""
    hint = "each word's sum is divided by the number of its own tokens"
    same(_score(score, "mean"), _real([[-1.0, -0.8], [-2.0, -0.7]]), "the scores", hint)


@check
def a_gain_is_over_the_same_word_unasked(score: Score) -> None:
    """What the text adds to what the word has anyway."""
    hint = (
        "the first word has −3.0 without the text and −1.0 with it: the text gains it 2.0 nats. "
        "Whole words are compared, not means"
    )
    same(_score(score, "gain"), _real([[2.0, 1.0], [1.0, 1.2]]), "the scores", hint)


# --- label_probabilities(scores (N, W), owner) -> (N, K) ------------------------------------------


@check
def words_of_a_label_are_added(label_probabilities: LabelProbabilities) -> None:
    """Label 0 has two words, label 1 has one; together they have 0.8 of the probability."""
    scores = _real([[0.1, 0.3, 0.4], [0.2, 0.1, 0.1]]).log()
    found = called(label_probabilities, scores, [0, 0, 1])
    hint = (
        "the words of label 0 have 0.1 and 0.3, its own is 0.4, and so is that of label 1: of all "
        "that the labels have, each has one half"
    )
    same(found, _real([[0.5, 0.5], [0.75, 0.25]]), "the probabilities", hint)


@check
def labels_stand_in_the_order_of_their_numbers(label_probabilities: LabelProbabilities) -> None:
    """Words in no order, three labels."""
    scores = _real([[0.1, 0.2, 0.05, 0.05, 0.1]]).log()
    found = called(label_probabilities, scores, [2, 0, 1, 0, 2])
    hint = "owner says which label each column's word is of; column k of the result is label k"
    same(found, _real([[0.5, 0.1, 0.4]]), "the probabilities", hint)


@check
def small_probabilities_are_no_trouble(label_probabilities: LabelProbabilities) -> None:
    """Whole sentences as words: e to the −1000 is 0 in every precision."""
    scores = _real([[-1000.0, -1000.0, -1000.0]])
    found = called(label_probabilities, scores, [0, 1, 1])
    hint = "stay with logarithms until the last step: torch.logsumexp adds, a softmax normalises"
    same(found, _real([[1 / 3, 2 / 3]]), "the probabilities", hint)


# --- calibrated(probabilities (N, K), content_free (M, K)) -> (N, K) ------------------------------


def _softmax(row: Sequence[float]) -> list[float]:
    return [math.exp(x) / sum(math.exp(y) for y in row) for x in row]


@check
def each_is_divided_by_what_nothing_gets(calibrated: Calibrated) -> None:
    """Without a text the first label has 0.8."""
    found = called(calibrated, _real([[0.7, 0.3], [0.9, 0.1]]), _real([[0.8, 0.2]]))
    wanted = _real([_softmax([0.7 / 0.8, 0.3 / 0.2]), _softmax([0.9 / 0.8, 0.1 / 0.2])])
    hint = (
        "W is the diagonal matrix of 1 / 0.8 and 1 / 0.2, so Wp of the first text is 0.875, 1.5; a "
        "softmax makes probabilities of it"
    )
    same(found, wanted, "the probabilities", hint)


@check
def what_says_nothing_is_undecided(calibrated: Calibrated) -> None:
    """The content-free input itself, with four labels."""
    nothing = _real([[0.6, 0.2, 0.15, 0.05]])
    hint = "a text that gets what an empty one gets has told nothing: all labels are equally likely"
    same(called(calibrated, nothing, nothing), _real([[0.25] * 4]), "the probabilities", hint)


@check
def several_empty_texts_are_averaged(calibrated: Calibrated) -> None:
    """Two of them that disagree."""
    found = called(calibrated, _real([[0.5, 0.5]]), _real([[0.9, 0.1], [0.3, 0.7]]))
    hint = "the mean of their probabilities is 0.6, 0.4; then there is one W for all texts"
    same(found, _real([_softmax([0.5 / 0.6, 0.5 / 0.4])]), "the probabilities", hint)


# --- order_report(answers (O, N), truth (N,)) -> a dictionary -------------------------------------

NUMBERS = ("lowest", "highest", "undecided", "chosen")
# Three orders, six texts. Right: 4, 3 and 4 of six; on the first three 1, 3 and 2, so the second
# order would be chosen, and it is wrong on all of the others.
_TRUTH = torch.tensor([0, 1, 1, 0, 1, 0])
_ANSWERS = torch.tensor([[1, 0, 1, 0, 1, 0], [0, 1, 1, 1, 0, 1], [0, 1, 0, 0, 1, 1]])


def _report(answer: OrderReport) -> Mapping[str, Any]:
    found = called(answer, _ANSWERS, _TRUTH)
    assert isinstance(found, Mapping), (
        f"order_report returns a dictionary; this returned a {type(found).__name__}"
    )
    for name in NUMBERS:
        assert name in found, f"the dictionary has no {name!r}; it has to have {', '.join(NUMBERS)}"
    return found


@check
def the_worst_and_the_best_order(order_report: OrderReport) -> None:
    """Accuracies of 4, 3 and 4 of six."""
    found = _report(order_report)
    near(found["lowest"], 3 / 6, "lowest", "the accuracy of the worst order, over all texts")
    near(found["highest"], 4 / 6, "highest", "the accuracy of the best order, over all texts")


@check
def texts_that_depend_on_the_order(order_report: OrderReport) -> None:
    """One text of six has the same answer in all three orders, and a wrong one."""
    hint = "the share of texts whose answers are not all the same, right or wrong; five of six here"
    answers = torch.tensor([[1, 0, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 0, 1]])
    found = called(order_report, answers, _TRUTH)["undecided"]
    near(found, 5 / 6, "undecided", hint)


@check
def a_choice_is_tested_on_other_texts(order_report: OrderReport) -> None:
    """The order that is best on the first half is worst on the second."""
    hint = (
        "the first three texts choose the second order, which is right on all of them; what it is "
        "worth the last three say, on which it is always wrong"
    )
    near(_report(order_report)["chosen"], 0.0, "chosen", hint)
    answers = torch.tensor([[0, 1, 0, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0]])
    truth = torch.tensor([0, 1, 1, 0, 1, 1, 1])
    found = called(order_report, answers, truth)["chosen"]
    hint = "of seven texts the first three choose (7 // 2), here the first order: 3 of 4 right"
    near(found, 3 / 4, "chosen", hint)


# --- pull(answers (P, N), share (P,)) -> a slope --------------------------------------------------


@check
def a_slope_over_three_prompts(pull: Pull) -> None:
    """With 0, half and all examples of label 1, it is answered to 1, 2 and 4 of five texts."""
    answers = torch.tensor([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]])
    hint = (
        "the answers' shares are 0.2, 0.4 and 0.8; the line through them rises by 0.6 from 0 to 1"
    )
    near(called(pull, answers, _real([0.0, 0.5, 1.0])), 0.6, "the pull", hint)


@check
def who_is_not_pulled_has_none(pull: Pull) -> None:
    """Always the same answers; and always the majority's."""
    share = _real([0.0, 0.25, 0.75, 1.0])
    same_answers = torch.tensor([[1, 0, 1, 0]] * 4)
    near(called(pull, same_answers, share), 0.0, "the pull", "the answers ignore the mixture")
    follower = torch.tensor([[0] * 4, [1, 0, 0, 0], [1, 1, 1, 0], [1] * 4])
    near(called(pull, follower, share), 1.0, "the pull", "the answers' share is the examples'")


@check
def shares_need_not_be_even(pull: Pull) -> None:
    """Four prompts, two of them with the same mixture, and none without examples of label 1."""
    share = _real([0.25, 0.25, 0.5, 1.0])
    answers = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]])
    said = [0.25, 0.5, 0.0, 0.75]
    middle, height = sum(share.tolist()) / 4, sum(said) / 4
    above = sum((x - middle) * (y - height) for x, y in zip(share.tolist(), said, strict=True))
    below = sum((x - middle) ** 2 for x in share.tolist())
    hint = (
        "all prompts count: Σ (x − mean x)(y − mean y) / Σ (x − mean x)², not what lies between "
        "the first prompt and the last"
    )
    near(called(pull, answers, share), above / below, "the pull", hint)


# --- worth(runs, prompted) -> a number of labels --------------------------------------------------


def _runs(*rows: tuple[int, int, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["labels", "seed", "accuracy"])


# Means 0.5, 0.7 and 0.8, in no order.
RUNS = _runs(
    (32, 0, 0.75), (8, 1, 0.55), (128, 0, 0.8), (8, 0, 0.45), (32, 1, 0.65), (128, 1, 0.8)
)  # fmt: skip


@check
def between_two_sizes(worth: Worth) -> None:
    """0.6 is half way from 8 labels to 32, in doublings: 16."""
    hint = (
        "the means are 0.5 with 8 labels and 0.7 with 32; 0.6 is half way up, and half way from 8 "
        "to 32 in doublings is 16"
    )
    near(worth(RUNS.copy(), 0.6), 16.0, "the worth", hint)
    hint = "0.775 is three quarters of the way from 0.7 (32 labels) to 0.8 (128): 32 · 4^0.75"
    near(worth(RUNS.copy(), 0.775), 32 * 4**0.75, "the worth", hint)


@check
def a_size_that_reaches_it_is_enough(worth: Worth) -> None:
    """At the first size, or exactly at one."""
    hint = "the smallest size is already as good: with fewer labels nothing was measured"
    near(worth(RUNS.copy(), 0.4), 8.0, "the worth", hint)
    near(worth(RUNS.copy(), 0.7), 32.0, "the worth", "32 labels have exactly this mean accuracy")


@check
def what_is_never_reached_has_no_number(worth: Worth) -> None:
    """The prompt is better than all that was trained."""
    found = worth(RUNS.copy(), 0.9)
    assert found is not None, (
        "no size reaches 0.9, and worth returned None: is there a return of math.inf at its end?"
    )
    found = float(found)
    assert found == math.inf, (
        f"no size reaches 0.9, and the worth is {found:.4g}: return math.inf; a line that is drawn "
        "on beyond the last point is a guess"
    )


@check
def the_first_crossing_counts(worth: Worth) -> None:
    """A curve that falls back: 0.5, 0.7, 0.6, 0.9 with 4, 16, 64 and 256 labels."""
    runs = _runs((4, 0, 0.5), (16, 0, 0.7), (64, 0, 0.6), (256, 0, 0.9))
    hint = "the curve reaches 0.65 between 4 and 16 labels for the first time"
    near(worth(runs, 0.65), 4 * 4**0.75, "the worth", hint)
