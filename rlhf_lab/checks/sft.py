"""Tests of the lab *Supervised fine-tuning by hand*: expected numbers stand here or in a loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rlhf_lab.checks import called, check, near, returned, same
from rlhf_lab.encoding import Encoded

Batch = Callable[[Sequence[Encoded], int], tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
Pack = Callable[[Sequence[Encoded]], tuple[Tensor, Tensor, Tensor, Tensor]]
Autopsy = Callable[[Tensor, Tensor], Mapping[str, float]]
Choices = Callable[[pd.DataFrame], pd.DataFrame]


def _real(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


# --- batch(rows, pad) -> tokens (B, T), counts (B, T) ---------------------------------------------


def _batch(batch: Batch, rows: Sequence[Encoded], pad: int) -> tuple[Any, Any]:
    found = _unchanged(batch, rows, pad)
    returned(found, 2, "batch returns two tensors: tokens, counts")
    _bool(found[1], "counts")
    return found[0], found[1]


def _bool(table: Any, name: str) -> None:
    """Later cells index with it: whole numbers would choose rows 0 and 1 again and again."""
    assert isinstance(table, Tensor), f"{name} should be a tensor, and is a {type(table).__name__}"
    assert table.dtype == torch.bool, (
        f"{name} should be of bool, and is of {table.dtype}: a comparison gives bool, and so does "
        ".bool()"
    )


def _unchanged(answer: Callable[..., Any], rows: Sequence[Encoded], *more: Any) -> Any:
    """What an answer returns for rows that it has to leave as they were."""
    before = [list(row.ids) for row in rows]
    found = answer(rows, *more)
    assert [row.ids for row in rows] == before, (
        "the lists of tokens are not what they were before the call, and later cells use them "
        "again: make new lists, with + in place of +="
    )
    return found


@check
def prompts_are_left_out(batch: Batch) -> None:
    """One row: a prompt of two tokens, an answer of one, EOS."""
    _, counts = _batch(batch, [Encoded([5, 6, 7, 2], 2)], 9)
    hint = "the first `start` tokens are the prompt; the answer and the EOS behind it count"
    same(counts, _real([0, 0, 1, 1]), "counts", hint)


@check
def short_rows_are_filled(batch: Batch) -> None:
    """Two rows, of three tokens and of five."""
    rows = [Encoded([5, 6, 2], 1), Encoded([5, 6, 7, 8, 2], 3)]
    tokens, counts = _batch(batch, rows, 9)
    wanted = _real([5, 6, 2, 9, 9], [5, 6, 7, 8, 2])
    same(tokens, wanted, "tokens", "short rows are filled at their end, with pad, to the longest")
    hint = "the filling is no text: it does not count"
    same(counts, _real([0, 1, 1, 0, 0], [0, 0, 0, 1, 1]), "counts", hint)


@check
def the_end_counts_whatever_pads_look_like(batch: Batch) -> None:
    """The pad token has the id of EOS, as with many tokenizers."""
    _, counts = _batch(batch, [Encoded([5, 6, 2], 1), Encoded([5, 2, 6, 8, 2], 1)], 2)
    hint = (
        "the pad here is token 2, and so is EOS: whether a place is filling follows from the "
        "length of its row, not from what stands there. Else the model never learns to stop"
    )
    same(counts, _real([0, 1, 1, 0, 0], [0, 1, 1, 1, 1]), "counts", hint)


# --- sft_loss(logits (B, T, V), tokens (B, T), counts (B, T)) -> scalar ---------------------------


def _log(*rows: list[list[float]]) -> Tensor:
    """Logits with these probabilities."""
    return torch.tensor(rows, dtype=torch.float64).log()


@check
def each_token_is_predicted_by_the_one_before(sft_loss: Loss) -> None:
    """A prompt of one token, an answer of two; three words."""
    logits = _log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1]])
    tokens, counts = torch.tensor([[0, 1, 2]]), torch.tensor([[False, True, True]])
    found = called(sft_loss, logits, tokens, counts)
    hint = (
        "logits[:, t] predict tokens[:, t + 1]: token 1 was expected with probability 0.25, token "
        "2 with 0.8, so the loss is −(log 0.25 + log 0.8) / 2"
    )
    near(found, -(math.log(0.25) + math.log(0.8)) / 2, "the loss", hint)


@check
def tokens_count_alike(sft_loss: Loss) -> None:
    """An answer of three tokens that cost log 2 each, and one of one that costs log 10."""
    likely, rare = [[0.5, 0.5]] * 4, [[0.9, 0.1]] * 4
    counts = torch.tensor([[False, True, True, True], [False, True, False, False]])
    found = sft_loss(_log(likely, rare), torch.ones(2, 4, dtype=torch.long), counts)
    hint = (
        "four tokens count: three cost log 2, one log 10. The mean of the two answers' means, and "
        "the mean over the whole rectangle, are other numbers"
    )
    near(found, (3 * math.log(2) + math.log(10)) / 4, "the loss", hint)


@check
def what_does_not_count_may_be_anything(sft_loss: Loss) -> None:
    """Behind the answer logits are no numbers; and the first token is marked, too."""
    logits = _log([[0.25, 0.75], [0.25, 0.75], [0.5, 0.5], [0.5, 0.5]])
    logits[0, 2:] = torch.nan
    tokens, counts = torch.tensor([[0, 1, 1, 0]]), torch.tensor([[True, True, True, False]])
    hint = (
        "two tokens are predicted and count; nothing predicts the first, so it is in neither the "
        "sum nor the number; and nan · 0 is nan, so choose what counts in place of multiplying"
    )
    near(sft_loss(logits, tokens, counts), -math.log(0.75), "the loss", hint)


@check
def its_gradient_is_expectation_less_event(sft_loss: Loss) -> None:
    """∂L/∂z = (π − 1[token]) / n where a counted token follows, 0 elsewhere."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    tokens = torch.randint(5, (2, 4), generator=generator)
    counts = torch.tensor([[False, False, True, True], [False, True, True, False]])
    loss = sft_loss(logits, tokens, counts)
    hint = "return what torch computed: a scalar tensor that still knows its logits"
    assert getattr(loss, "requires_grad", False), f"the loss cannot be followed: {hint}"
    loss.backward()
    wanted = torch.zeros(2, 4, 5, dtype=torch.float64)
    for row, column in ((0, 2), (0, 3), (1, 1), (1, 2)):
        size = [math.exp(float(z)) for z in logits[row, column - 1]]
        for word in range(5):
            expected = size[word] / sum(size)
            came = float(word == int(tokens[row, column]))
            wanted[row, column - 1, word] = (expected - came) / 4
    hint = (
        "it is (probability − 1) / n for the token that came and probability / n for the others, "
        "and 0 at logits that predict nothing that counts; n is 4 here"
    )
    same(logits.grad, wanted, "the gradient", hint)


# --- pack(rows) -> tokens, positions, counts (T,), sees (T, T) ------------------------------------


def _three() -> list[Encoded]:
    return [Encoded([5, 6, 2], 1), Encoded([7, 8, 9, 2], 2), Encoded([4, 2], 1)]


def _pack(pack: Pack, rows: Sequence[Encoded]) -> tuple[Any, Any, Any, Any]:
    found = _unchanged(pack, rows)
    returned(found, 4, "pack returns four tensors: tokens, positions, counts, sees")
    tokens, positions, counts, sees = found
    _bool(counts, "counts")
    _bool(sees, "sees")
    return tokens, positions, counts, sees


@check
def texts_stand_one_behind_the_other(pack: Pack) -> None:
    """Three rows, without filling."""
    tokens, _, counts, _ = _pack(pack, _three())
    hint = "all tokens of the first row, then those of the second, and so on; nothing between"
    same(tokens, _real([5, 6, 2, 7, 8, 9, 2, 4, 2])[0], "tokens", hint)
    hint = "each row has a prompt of its own, whose tokens do not count"
    same(counts, _real([0, 1, 1, 0, 0, 1, 1, 0, 1])[0], "counts", hint)


@check
def positions_begin_anew(pack: Pack) -> None:
    """A text has the positions that it has alone."""
    _, positions, _, _ = _pack(pack, _three())
    hint = "the first token of each text is at position 0, as it is in a row of its own"
    same(positions, _real([0, 1, 2, 0, 1, 2, 3, 0, 1])[0], "positions", hint)


@check
def nobody_sees_the_future_or_another_text(pack: Pack) -> None:
    """Place by place."""
    _, _, _, sees = _pack(pack, _three())
    text = [i for i, row in enumerate(_three()) for _ in row.ids]
    size = range(len(text))
    wanted = _real(*[[float(text[i] == text[j] and j <= i) for j in size] for i in size])
    hint = (
        "sees[i, j] says whether token i may look at token j: itself and what stands before it in "
        "the same text, and nothing of another one"
    )
    same(sees, wanted, "sees", hint)


@check
def a_first_token_is_predicted_by_nothing(pack: Pack) -> None:
    """Texts without a prompt: their first token has another text's EOS before it."""
    _, _, counts, _ = _pack(pack, [Encoded([5, 6, 2], 0), Encoded([7, 8, 2], 0)])
    hint = (
        "in a packed row the logits before a text's first token are those of another text's last: "
        "that token does not count, prompt or not"
    )
    same(counts, _real([0, 1, 1, 0, 1, 1])[0], "counts", hint)


# --- autopsy(logits (N, V), tokens (N,)) -> a dictionary of four numbers --------------------------

NUMBERS = ("perplexity", "accuracy", "confidence", "surprises")
# Four tokens over three words. What came had probability 0.5, 0.2, 0.005 and 0.5.
SEEN = torch.tensor(
    [[0.5, 0.3, 0.2], [0.7, 0.2, 0.1], [0.005, 0.015, 0.98], [0.25, 0.25, 0.5]], dtype=torch.float64
)
CAME = torch.tensor([0, 1, 0, 2])


def _autopsy(autopsy: Autopsy) -> Mapping[str, Any]:
    found = called(autopsy, SEEN.log() + 1, CAME)  # logits, of which a softmax is to be taken
    assert isinstance(found, Mapping), (
        f"autopsy returns a dictionary; this returned a {type(found).__name__}"
    )
    for name in NUMBERS:
        assert name in found, f"the dictionary has no {name!r}; it has to have {', '.join(NUMBERS)}"
    return found


@check
def perplexity_is_of_the_mean(autopsy: Autopsy) -> None:
    """e to the mean loss: the geometric mean of 1/π."""
    wanted = (0.5 * 0.2 * 0.005 * 0.5) ** (-1 / 4)
    hint = "it is the exponential of the mean loss in nats, not the mean of exponentials"
    near(_autopsy(autopsy)["perplexity"], wanted, "the perplexity", hint, 1e-5)


@check
def right_and_sure_are_two_things(autopsy: Autopsy) -> None:
    """The first guess is right twice of four; it gets 0.5, 0.7, 0.98 and 0.5."""
    found = _autopsy(autopsy)
    hint = "in two of the four places the likeliest word is the one that came"
    near(found["accuracy"], 0.5, "the accuracy", hint)
    hint = "it is the mean probability of the likeliest word, whether that one came or not"
    near(found["confidence"], (0.5 + 0.7 + 0.98 + 0.5) / 4, "the confidence", hint)


@check
def surprises_are_a_part_of_the_loss(autopsy: Autopsy) -> None:
    """One token of four had less than a hundredth."""
    hint = (
        "one token had a probability below 0.01 and cost −log 0.005; divided by the number of all "
        "tokens, it is that part of the mean loss"
    )
    near(_autopsy(autopsy)["surprises"], -math.log(0.005) / 4, "surprises", hint)


# --- choices(looks) -> by_loss, by_score, gain; a row for each seed -------------------------------


def _looks(seed: int, *rows: tuple[int, float, float, float]) -> pd.DataFrame:
    columns = ["epoch", "loss", "valid_score", "gold"]
    return pd.DataFrame(rows, columns=columns).assign(seed=seed)


FIRST = _looks(3, (4, 0.9, 0.5, 2.5), (1, 0.7, 0.1, 2.0), (2, 0.8, 0.4, 2.9), (8, 1.1, 0.2, 2.1))
SECOND = _looks(5, (1, 0.9, 0.3, 1.0), (2, 0.6, 0.2, 1.5), (4, 0.8, 0.1, 3.0), (8, 1.0, -0.2, 2.0))


def _chosen(
    choices: Choices, looks: pd.DataFrame, wanted: dict[int, tuple[int, int, float]]
) -> None:
    found = choices(looks)
    assert isinstance(found, pd.DataFrame), (
        f"choices returns a DataFrame; this returned a {type(found).__name__}"
    )
    for column in ("by_loss", "by_score", "gain"):
        assert column in found.columns, f"the table has no column {column!r}"
    assert sorted(found.index) == sorted(wanted), (
        f"the rows are called {list(found.index)}: there is one for each seed, {list(wanted)}"
    )
    for seed, (by_loss, by_score, gain) in wanted.items():
        row = found.loc[seed]
        hint = "the epoch whose loss is least in this seed"
        near(row["by_loss"], by_loss, f"by_loss of seed {seed}", hint)
        hint = "the epoch with the highest valid_score in this seed; gold has no say"
        near(row["by_score"], by_score, f"by_score of seed {seed}", hint)
        hint = "the gold score at the epoch that the score chose, less that at the loss's epoch"
        near(row["gain"], gain, f"the gain of seed {seed}", hint)


@check
def two_rules_choose(choices: Choices) -> None:
    """One seed; the rows are in no order, and gold is best at an epoch that neither rule takes."""
    _chosen(choices, FIRST, {3: (1, 4, 0.5)})


@check
def each_seed_chooses_for_itself(choices: Choices) -> None:
    """Two seeds, the second of which would choose otherwise in each respect."""
    looks = pd.concat([FIRST, SECOND], ignore_index=True)
    _chosen(choices, looks, {3: (1, 4, 0.5), 5: (2, 1, -0.5)})


@check
def rows_may_share_a_label(choices: Choices) -> None:
    """Two tables put together as they are: each label of a row is there twice."""
    _chosen(choices, pd.concat([SECOND, FIRST]), {3: (1, 4, 0.5), 5: (2, 1, -0.5)})


# --- experiment: one change, and what is expected of it -------------------------------------------

SETTINGS = ("learning_rate", "demonstrations")


@check
def experiment_is_complete(experiment: Mapping[str, Any], looks: pd.DataFrame) -> None:
    """Two settings and an epoch."""
    assert isinstance(experiment, Mapping), "experiment is a dictionary"
    for name in (*SETTINGS, "least_loss_at"):
        assert name in experiment, (
            f"experiment has no {name!r}; it has two settings and least_loss_at"
        )
        value = experiment[name]
        known = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        finite = known and math.isfinite(value)
        assert finite, f"experiment[{name!r}] is {value!r}: write a number"
    epochs = sorted(set(looks["epoch"].tolist()))
    assert experiment["least_loss_at"] in epochs, (
        f"you expect the least loss at epoch {experiment['least_loss_at']}; a run is looked at "
        f"after {', '.join(map(str, epochs))}"
    )


@check
def one_thing_changes(experiment: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Another step size or other demonstrations, not both."""
    changed = [name for name in SETTINGS if experiment[name] != usual[name]]
    assert len(changed) == 1, (
        f"{len(changed)} settings differ from the usual ones ({', '.join(changed) or 'none'}): "
        "change one of the two, or you cannot say what made the difference"
    )
    count, rate = experiment["demonstrations"], experiment["learning_rate"]
    assert count in range(16, 641), (
        f"{count} demonstrations: take a whole number from 16 to 640, of which 640 take minutes"
    )
    assert 0 < rate <= 0.01, f"a learning rate of {rate}: take one above 0, and 0.01 at most"


@check
def the_run_is_of_this_experiment(experiment: Mapping[str, Any], own: pd.DataFrame) -> None:
    """What was trained is what was announced."""
    for name in SETTINGS:
        trained = own[name].unique().tolist()
        assert trained == [experiment[name]], (
            f"you announced {name} = {experiment[name]}, and trained with {trained}"
        )
    assert own["loss"].map(math.isfinite).all(), "a loss of the run is not finite"
