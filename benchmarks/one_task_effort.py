"""What a person wrote down or chose for each method of benchmarks.one_task, counted in the code."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any

from benchmarks.one_task_prompts import GOES_ON, VERDICT, VERDICTS, WORDS
from benchmarks.one_task_runs import (
    BASELINE,
    FEATURES,
    NETWORK,
    PLAIN,
    PROMPTED,
    RANDOM,
    SENTIMENT,
    TAGGING,
    TASKS,
    THE_WORD,
    TUNED,
)
from rlhf_lab.paradigms import text_features
from rlhf_lab.paradigms.crf import DEFAULT_TEMPLATES, CRFTagger
from rlhf_lab.paradigms.fine_tuning import Training
from rlhf_lab.paradigms.prompting import PromptClassifier
from rlhf_lab.paradigms.recurrent import NeuralTagger
from rlhf_lab.paradigms.recurrent_classifier import BiLSTMClassifier
from rlhf_lab.paradigms.templates import FORMS, parse_templates


def decisions() -> list[dict[str, Any]]:
    """What a person wrote down or chose for each method, counted where it stands in the code.

    "about the task": templates, columns, phrases, words of a prompt and of labels. "about the
    method": settings of the constructor, whether or not they were left at their defaults; neither
    the seed nor the weights that are loaded are one.
    """
    wording = {SENTIMENT: (VERDICT, VERDICTS), TAGGING: (GOES_ON, WORDS)}
    rows = []
    for task in TASKS:
        texts = task == SENTIMENT
        prompt, words = wording[task]
        plain = {"lengths of word groups": len(text_features.LENGTHS)} if texts else {
            "templates": len(parse_templates(THE_WORD, len(FORMS))), "columns": 1
        }  # fmt: skip
        expert = _lexicon() if texts else {
            "templates": len(parse_templates(DEFAULT_TEMPLATES, len(FORMS))),
            "columns": len(FORMS),
        }  # fmt: skip
        told = {
            "words of the prompt": len(re.findall(r"\w+|[^\w\s]", prompt.replace("{text}", ""))),
            "words for labels": len(words),
        }
        features: Any = text_features.feature_classifier if texts else CRFTagger
        network: Any = BiLSTMClassifier if texts else NeuralTagger
        tuned = len(dataclasses.fields(Training)) + (not texts)  # and whether it is causal
        given = {
            BASELINE: ({}, 0),
            PLAIN: (plain, _settings(features)),
            FEATURES: (expert, _settings(features)),
            NETWORK: ({}, _settings(network)),
            RANDOM: ({}, tuned),
            TUNED: ({}, tuned),
            PROMPTED: (told, _settings(PromptClassifier)),
        }
        for name, (about, settings) in given.items():
            for what, count in about.items():
                rows.append((task, name, "the task", what, count))
            rows.append((task, name, "the method", "settings", settings))
    return [
        dict(zip(("task", "method", "about", "what", "count"), row, strict=True)) for row in rows
    ]


def _lexicon() -> dict[str, int]:
    return {
        "lengths of word groups": len(text_features.LENGTHS),
        "phrases": sum(
            len(own)
            for own in (text_features.NEGATIONS, text_features.CONCESSIONS, text_features.TURNS)
        ),
        "reach of a negation": 1,
    }


_NO_SETTINGS = {"self", "seed", "expert", "templates", "columns", "verbaliser", "template", "model"}


def _settings(made: Callable[..., Any]) -> int:
    """How many settings a constructor has."""
    return len(set(inspect.signature(made).parameters) - _NO_SETTINGS)
