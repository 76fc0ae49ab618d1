"""One method of Part I, fitted to some labels and tested: the rows of benchmarks.one_task."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sklearn.dummy import DummyClassifier

from benchmarks.one_task_prompts import VERDICT, VERDICTS, PromptTagger
from rlhf_lab.models import ASSETS, load_policy
from rlhf_lab.paradigms import text_features
from rlhf_lab.paradigms.crf import DEFAULT_TEMPLATES, CRFTagger
from rlhf_lab.paradigms.data import (
    Labelled,
    Tagged,
    fernwick_sentiment,
    fernwick_tagging,
    uci_sentiment,
    ud_english_ewt,
)
from rlhf_lab.paradigms.fine_tuning import Encoder, FineTunedClassifier, FineTunedTagger, Training
from rlhf_lab.paradigms.lookup import LookupTagger
from rlhf_lab.paradigms.prompting import PromptClassifier
from rlhf_lab.paradigms.recurrent import NeuralTagger
from rlhf_lab.paradigms.recurrent_classifier import BiLSTMClassifier
from rlhf_lab.paradigms.scoring import accuracy, token_accuracy

SENTIMENT, TAGGING = TASKS = "sentiment", "tagging"
FERNWICK, ENGLISH = DATA = "Fernwick", "English"
BASELINE, PLAIN, FEATURES, NETWORK = "baseline", "plain features", "features", "network"
RANDOM, TUNED, PROMPTED = "not pre-trained", "fine-tuned", "prompted"
METHODS = (BASELINE, PLAIN, FEATURES, NETWORK, RANDOM, TUNED, PROMPTED)

# The code that a method's results depend on, beside the data and this module.
MODULES = {
    BASELINE: ("lookup",),
    PLAIN: ("crf", "text_features"),
    FEATURES: ("crf", "text_features"),
    NETWORK: ("recurrent", "recurrent_classifier"),
    RANDOM: ("fine_tuning",),
    TUNED: ("fine_tuning",),
    PROMPTED: ("prompting",),
}

THE_WORD = "U02:%x[0,0]\n"  # the plain template


@dataclass(frozen=True)
class Config:
    """What is trained and tested.

    Steps, updates, rates and the CRF's penalty were chosen on texts of the training pool that
    nothing was fitted to; no test text took part.

    Attributes:
        sizes: labelled texts or sentences of the trained methods.
        steps: of fine-tuning, with 8 examples each, by size.
        updates: of the networks from nothing, with 16 examples each, by size.
        examples: labelled texts in a prompt, as many as its context holds, and sentences.
        of_random: the size for the network that was not pre-trained.
        pool, reserve: texts of Fernwick that labels and test texts are drawn from.
        texts, sentences: that each seed tests.
        fits: pieces of the base model that a real text has at most.
        short: pieces that a solved example has at most.
        rate: peak learning rate of the fine-tuned body.
        random_rate: of the same body from random weights.
        l2: penalty of the CRF's weights.
    """

    sizes: tuple[int, ...] = (16, 64, 256, 1024)
    steps: tuple[int, ...] = (80, 160, 320, 640)
    updates: tuple[int, ...] = (160, 320, 640, 960)
    examples: tuple[tuple[int, ...], ...] = ((0, 4), (0, 4, 16))
    of_random: int = 256
    pool: int = 1500
    reserve: int = 800
    texts: int = 300
    sentences: int = 100
    fits: int = 100
    short: int = 30
    rate: float = 5e-4
    random_rate: float = 1e-3
    l2: float = 0.003


class Method(Protocol):
    """What every method of Part I can do."""

    def fit(self, given: Any, labels: Any) -> Any:
        """Learn."""

    def predict(self, given: Any) -> Any:
        """Answer."""


# --- data -------------------------------------------------------------------------------------


@functools.cache
def splits(task: str, data: str, config: Config) -> tuple[Any, Any, float]:
    """Examples to learn from, examples to be tested on, and the share that was too long for it."""
    if data == FERNWICK:
        make: Callable[[str, int], Any] = (
            fernwick_sentiment if task == SENTIMENT else functools.partial(fernwick_tagging, "pos")
        )
        return make("train", config.pool), make("test", config.reserve), 0.0
    if task == SENTIMENT:
        both: list[Any] = [uci_sentiment("train"), uci_sentiment("test")]
    else:
        both = [ud_english_ewt("dev"), ud_english_ewt("test")]
    kept = [own.take([i for i in range(len(own)) if _fits(own, i, config)]) for own in both]
    return kept[0], kept[1], 1 - sum(map(len, kept)) / sum(map(len, both))


def _fits(own: Labelled | Tagged, i: int, config: Config) -> bool:
    text = own.texts[i] if isinstance(own, Labelled) else " ".join(own.sentences[i])
    return _pieces(text.lower()) <= config.fits


@functools.cache
def _encoder() -> Encoder:
    return Encoder(ASSETS / "tiny")


def _pieces(text: str) -> int:
    return len(_encoder().tokenizer.encode(text).ids)


@functools.cache
def _policy() -> tuple[Any, Any]:
    return load_policy("tiny")


# --- methods ----------------------------------------------------------------------------------


def method(task: str, name: str, labels: int, seed: int, config: Config) -> Method:
    """An unfitted method."""
    texts = task == SENTIMENT
    if name == BASELINE:
        return DummyClassifier() if texts else LookupTagger()
    if name in (PLAIN, FEATURES):
        if texts:
            return text_features.feature_classifier(expert=name == FEATURES)
        templates = DEFAULT_TEMPLATES if name == FEATURES else THE_WORD
        return CRFTagger(templates, l2=config.l2, max_iterations=80)
    place = config.sizes.index(labels) if labels in config.sizes else 0
    if name == NETWORK:
        settings: dict[str, Any] = {"steps": config.updates[place], "batch_size": 16, "seed": seed}
        if texts:
            return BiLSTMClassifier(**settings)
        return NeuralTagger(crf=True, characters=True, **settings)
    if name == PROMPTED:
        if texts:
            return PromptClassifier(
                VERDICTS, VERDICT, model=_policy(), shots=labels, choose="balanced", seed=seed
            )
        return PromptTagger(_policy())
    start = "tiny" if name == TUNED else None
    rate = config.rate if name == TUNED else config.random_rate
    training = Training(steps=config.steps[place], learning_rate=rate)
    if texts:
        return FineTunedClassifier(start=start, training=training, seed=seed)
    return FineTunedTagger(start, training, seed)


def measure(
    task: str, data: str, name: str, labels: int, seed: int, config: Config
) -> dict[str, Any]:
    """Fit once, test once: the row of one run. The seed also draws what is tested."""
    pool, reserve, _ = splits(task, data, config)
    test = reserve.sample(config.texts if task == SENTIMENT else config.sentences, seed)
    train = _shown(pool, task, name, labels, seed, config)
    given, right = _sides(train, name)
    asked, truth = _sides(test, name)
    model = method(task, name, labels, seed, config)
    began = time.process_time()
    model.fit(given, right)
    fitted = time.process_time()
    found = list(model.predict(asked))
    ended = time.process_time()
    row: dict[str, Any] = {"task": task, "data": data, "method": name, "labels": labels}
    row |= {"seed": seed, "tested": len(test)}
    row |= _scores(task, train, test, truth, found)
    row |= {"fit_seconds": fitted - began, "predict_seconds": ended - fitted}
    return row | dict(zip(("trained", "parameters"), _parameters(model), strict=True))


def _shown(
    pool: Any, task: str, name: str, labels: int, seed: int, config: Config
) -> Labelled | Tagged:
    """The labelled examples of a run; those of a prompt are short, and there may be none."""
    if name != PROMPTED:
        return pool.sample(labels, seed)
    drawn = pool.sample(len(pool), seed)
    if task == TAGGING:
        return drawn.take(range(labels))
    some = range(min(200, len(drawn)))
    short = [i for i in some if _pieces(drawn.texts[i].lower()) <= config.short]
    return drawn.take(_balanced(drawn, short, labels))


def _balanced(drawn: Labelled, those: list[int], count: int) -> list[int]:
    """The first few of those, as many of each label."""
    found: list[int] = []
    for label in sorted(set(drawn.labels)):
        found += [i for i in those if drawn.labels[i] == label][: count // 2]
    return found


def _sides(examples: Labelled | Tagged, name: str) -> tuple[Sequence[Any], Sequence[Any]]:
    """What is read and what is to be said; the base model knows no capital letters."""
    lower = name in (PROMPTED, TUNED, RANDOM)
    if isinstance(examples, Labelled):
        texts = [t.lower() for t in examples.texts] if lower else list(examples.texts)
        return texts, list(examples.labels)
    sentences = examples.sentences
    if lower:
        sentences = tuple(tuple(word.lower() for word in s) for s in sentences)
    return sentences, examples.tags


def _scores(
    task: str, train: Any, test: Any, truth: Sequence[Any], found: Sequence[Any]
) -> dict[str, float]:
    """Accuracy; on clear and on mixed texts of Fernwick; on words that no label has shown."""
    if task == SENTIMENT:
        row = {"accuracy": accuracy(truth, found)}
        for wording in sorted({*test.wordings} - {""}):
            part = [i for i, own in enumerate(test.wordings) if own == wording]
            row[wording] = accuracy([truth[i] for i in part], [found[i] for i in part])
        return row
    known = {word.lower() for sentence in train.sentences for word in sentence}
    new = [word.lower() not in known for sentence in test.sentences for word in sentence]
    pairs = [pair for own in zip(truth, found, strict=True) for pair in zip(*own, strict=True)]
    part = [pair for pair, is_new in zip(pairs, new, strict=True) if is_new]
    return {
        "accuracy": token_accuracy(truth, found),
        "unknown": accuracy([t for t, _ in part], [g for _, g in part]),
        "unknown_share": len(part) / len(pairs),
    }


def _parameters(model: Any) -> tuple[int, int]:
    """How many numbers the labels decided, and how many the fitted method holds."""
    if isinstance(model, DummyClassifier):
        return 1, 1
    if isinstance(model, LookupTagger):
        return (len(model.tags),) * 2
    if isinstance(model, CRFTagger):
        return (len(model.state_weights) + len(model.transition_weights),) * 2
    if isinstance(model, BiLSTMClassifier | NeuralTagger):
        return (model.parameter_count(),) * 2
    if isinstance(model, FineTunedClassifier | FineTunedTagger):
        held = [p for part in (model.body, model.head) for p in part.parameters()]
        return model.trained_parameters, sum(p.numel() for p in held)
    if isinstance(model, PromptClassifier | PromptTagger):
        return 0, sum(p.numel() for p in _policy()[0].parameters())
    weights = model[-1].coef_.size + model[-1].intercept_.size
    return weights, weights
