"""Does a language model know how often it is right? Confidence, reliability and its error.

A model that chooses among continuations, or predicts a token, states probabilities. It is
calibrated when of all predictions that it makes with probability p the share p comes true. Arrays
are NumPy's; probabilities are between 0 and 1. Left out: bins of equal counts, and every estimate
of the error that corrects for the number of predictions (:func:`error_if_calibrated` shows how
much of it is their number).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from torch import nn

from rlhf_lab.errors import InputError
from rlhf_lab.language_model import LanguageModel
from rlhf_lab.models import PolicyLogits
from rlhf_lab.world.suites import Item

BINS = 10
TEMPERATURES = (0.05, 20.0)  # between which one is looked for


def expected_calibration_error(
    confidence: np.ndarray, correct: np.ndarray, bins: int = BINS
) -> float:
    """Mean distance of accuracy and confidence in a bin, over predictions (label ``eq-ece``).

    Args:
        confidence: (n,) probabilities that the model stated.
        correct: (n,) 0 or 1, what came true.
        bins: of equal width between 0 and 1.

    Raises:
        InputError: arrays of different shape, none at all, or a probability outside of 0 to 1.

    Source: Guo et al. (2017), equation 3.
    """
    table = reliability(confidence, correct, bins)
    gaps = (table.share - table.confidence).abs()
    return float((gaps * table["count"]).sum() / table["count"].sum())


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """One row per bin that has predictions: ``bin`` (from 0), ``count``, ``confidence``, ``share``.

    ``confidence`` is the bin's mean, ``share`` how much of it came true. Arguments and errors are
    those of :func:`expected_calibration_error`.
    """
    stated, true = np.asarray(confidence, float), np.asarray(correct, float)
    if stated.ndim != 1 or stated.shape != true.shape or not len(stated):
        raise InputError(
            "confidence", f"{stated.shape} with correct {true.shape}", "two arrays (n,), n > 0",
            "flatten both",
        )  # fmt: skip
    if not np.all((stated >= 0) & (stated <= 1)):
        raise InputError("confidence", stated, "probabilities from 0 to 1", "check their softmax")
    place = np.minimum((stated * bins).astype(int), bins - 1)
    table = pd.DataFrame({"bin": place, "confidence": stated, "share": true})
    found = table.groupby("bin").agg(
        count=("share", "size"), confidence=("confidence", "mean"), share=("share", "mean")
    )
    return found.reset_index()


def choice_logprobs(model: LanguageModel, items: Sequence[Item]) -> tuple[np.ndarray, np.ndarray]:
    """What a model thinks of the choices of multiple-choice questions.

    Args:
        model: any that a suite can ask.
        items: questions with equally many choices.

    Returns:
        log-probabilities (N, K) in nats, each summed over the tokens of a choice, and the places
        (N,) of the right choices.
    """
    pairs = [(item.prompt, choice) for item in items for choice in item.choices]
    found = np.array(model.logprobs(pairs)).reshape(len(items), -1)
    right = np.array([item.choices.index(item.answers[0]) for item in items])
    return found, right


def choice_probabilities(logprobs: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """p_k ∝ exp(l_k/τ) over the choices of each question (label ``eq-choice-confidence``).

    Args:
        logprobs: (N, K), in nats.
        temperature: τ > 0.
    """
    if not temperature > 0:
        raise InputError("temperature", temperature, "above 0", "1 leaves the model as it is")
    scaled = logprobs / temperature
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
    return probabilities


def all_choices(probabilities: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every choice of every question as a prediction: confidence and whether it is the right one.

    Args:
        probabilities: (N, K).
        right: (N,) places of the right choices.
    """
    correct = np.arange(probabilities.shape[1]) == right[:, None]
    return probabilities.ravel(), correct.ravel().astype(float)


def top_choices(probabilities: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest choice of every question alone; arguments as :func:`all_choices`."""
    return probabilities.max(axis=1), (probabilities.argmax(axis=1) == right).astype(float)


def fitted_temperature(logprobs: np.ndarray, right: np.ndarray) -> float:
    """The temperature under which the right choices are likeliest (arguments as above)."""

    def loss(log_temperature: float) -> float:
        chances = choice_probabilities(logprobs, float(np.exp(log_temperature)))
        return float(-np.log(chances[np.arange(len(right)), right] + 1e-300).mean())

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def error_if_calibrated(
    probabilities: np.ndarray, *, draws: int = 200, seed: int = 0, bins: int = BINS
) -> float:
    """Mean error over all choices that chance alone leaves, were the probabilities exact.

    Args:
        probabilities: (N, K).
        draws: of a right choice for every question, each choice with its own probability.
    """
    rng = np.random.default_rng(seed)
    edges = probabilities.cumsum(axis=1)
    found = []
    for _ in range(draws):
        drawn = (rng.random((len(edges), 1)) * edges[:, -1:] > edges).sum(axis=1)
        found.append(expected_calibration_error(*all_choices(probabilities, drawn), bins))
    return float(np.mean(found))


@torch.no_grad()
def next_tokens(
    model: nn.Module, tokenizer: Any, texts: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest next token at each place of documents: its probability, and whether it comes.

    A document begins and ends with an end-of-text token, which is predicted at its end.
    """
    logits, device = PolicyLogits(model), next(model.parameters()).device
    eos = tokenizer.eos_token_id
    stated, true = [], []
    for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]:
        row = torch.tensor([[eos, *ids, eos]], device=device)
        places = torch.arange(row.shape[1] - 1, device=device)
        chances = logits(row, places).float().softmax(-1)
        top, token = chances.max(-1)
        stated += top.tolist()
        true += (token == row[0, 1:]).float().tolist()
    return np.array(stated), np.array(true)
