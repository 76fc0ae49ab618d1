"""Calibration: the error against its definition, questions against probabilities by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlhf_lab.encoding import encode_prompts
from rlhf_lab.errors import InputError
from rlhf_lab.evaluate import Neural, run_suite
from rlhf_lab.lineage import calibration
from rlhf_lab.models import load_policy
from rlhf_lab.world import World

RNG = np.random.default_rng(0)


def literal_error(confidence, correct, bins):
    """Equation 3 of Guo et al., word by word: bins ((m−1)/M, m/M], no probability on an edge."""
    total = 0.0
    for m in range(bins):
        inside = [i for i, p in enumerate(confidence) if m / bins < p <= (m + 1) / bins]
        if inside:
            accuracy = sum(correct[i] for i in inside) / len(inside)
            stated = sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - stated)
    return total


@pytest.mark.parametrize("bins", [1, 5, 10])
def test_the_error_is_the_sum_over_bins(bins: int) -> None:
    confidence, correct = RNG.random(300), RNG.integers(0, 2, 300)
    found = calibration.expected_calibration_error(confidence, correct, bins)
    assert found == pytest.approx(literal_error(confidence, correct, bins), abs=1e-12)


def test_certainty_falls_into_the_last_bin() -> None:
    table = calibration.reliability(np.array([1.0, 0.95, 0.0]), np.array([1, 0, 0]), 10)
    assert table["bin"].tolist() == [0, 9] and table["count"].tolist() == [1, 2]
    assert table.share.tolist() == [0.0, 0.5]


@pytest.mark.parametrize(
    ("confidence", "correct"), [([0.5], [1, 0]), ([], []), ([1.2], [1]), ([[0.5]], [[1]])]
)
def test_what_is_no_probability_is_refused(confidence, correct) -> None:
    with pytest.raises(InputError, match="^confidence"):
        calibration.expected_calibration_error(np.array(confidence), np.array(correct))


def test_choices_are_weighed_by_their_probability() -> None:
    logprobs = np.log(np.array([[0.02, 0.06], [0.3, 0.1]]))
    assert calibration.choice_probabilities(logprobs) == pytest.approx(
        np.array([[0.25, 0.75], [0.75, 0.25]])
    )
    hot = calibration.choice_probabilities(logprobs, 2.0)
    assert hot[0] == pytest.approx(np.sqrt([0.25, 0.75]) / np.sqrt([0.25, 0.75]).sum())
    with pytest.raises(InputError, match="^temperature"):
        calibration.choice_probabilities(logprobs, 0.0)
    right = np.array([1, 1])
    confidence, correct = calibration.all_choices(hot, right)
    assert len(confidence) == 4 and correct.tolist() == [0, 1, 0, 1]
    confidence, correct = calibration.top_choices(hot, right)
    assert correct.tolist() == [1, 0] and (confidence > 0.5).all()


def test_a_temperature_that_was_put_in_is_found_again() -> None:
    true = RNG.normal(size=(20_000, 4)) * 2
    chances = calibration.choice_probabilities(true)
    right = (RNG.random((len(true), 1)) > chances.cumsum(1)).sum(1)
    assert calibration.fitted_temperature(2.5 * true, right) == pytest.approx(2.5, rel=0.05)
    error = calibration.expected_calibration_error(*calibration.all_choices(chances, right))
    assert error == pytest.approx(calibration.error_if_calibrated(chances), abs=0.003)
    sharp = calibration.choice_probabilities(2.5 * true)
    assert calibration.expected_calibration_error(*calibration.all_choices(sharp, right)) > 0.05


def test_a_model_is_asked_as_a_suite_asks_it() -> None:
    model, tokenizer = load_policy("nano")
    suite = World(0).suites()["story ending/0"]
    items = suite.items(4)
    logprobs, right = calibration.choice_logprobs(Neural(model, tokenizer), items)
    chosen = [item.choices[k] for item, k in zip(items, logprobs.argmax(1), strict=True)]
    assert chosen == run_suite(suite, Neural(model, tokenizer), count=4)["output"].tolist()
    assert [i.choices[k] for i, k in zip(items, right, strict=True)] == [
        i.answers[0] for i in items
    ]


def test_next_tokens_are_those_of_the_whole_model() -> None:
    model, tokenizer = load_policy("nano")
    text = "the cat has a red ball."
    stated, true = calibration.next_tokens(model, tokenizer, [text])
    eos = tokenizer.eos_token_id
    row = torch.tensor([[eos, *encode_prompts(tokenizer, [text])[0], eos]])
    with torch.no_grad():
        chances = model(row).logits.softmax(-1)[0, :-1]
    assert stated == pytest.approx(chances.max(-1).values.numpy(), abs=1e-5)
    assert true.tolist() == (chances.argmax(-1) == row[0, 1:]).float().tolist()
