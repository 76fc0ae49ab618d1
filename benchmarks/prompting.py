"""What does a language model make of examples in its prompt, and what sways it that should not?

Writes the tables of the chapter *Pre-train, prompt, predict*, with their manifest, to
``book/results/prompting``. Nothing is trained, but for the networks of the comparison. A seed draws
the examples (and the words of a list); test texts stay. Runs that the same code has done before are
read from ``runs/``.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import Tensor

from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import ASSETS, PRESETS, load_policy
from rlhf_lab.paradigms.data import Labelled, fernwick_sentiment
from rlhf_lab.paradigms.fine_tuning import FineTunedClassifier, Training
from rlhf_lab.paradigms.prompting import (
    SCORINGS,
    PromptClassifier,
    contextual_calibration,
    label_probabilities,
)
from rlhf_lab.paradigms.scoring import accuracy
from rlhf_lab.provenance import manifest
from rlhf_lab.world import lexicon
from rlhf_lab.world.documents import LABEL_SOUNDS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "prompting"
SEEDS = (0, 1, 2, 3, 4)
LABELS = ("bad", "good")
# How a text is written before its label, and with which words: as reviews of the web are, as the
# web's exam asks, and in three ways that the web never saw.
TEMPLATES = {
    "verdict": ("{text}\nverdict:", " "),
    "exam": ("is this review good or bad: {text}\n", ""),
    "sentiment": ("review: {text}\nsentiment:", " "),
    "label": ("text: {text} label:", " "),
    "all in all": ("{text} all in all it was", " "),
}
WORDS = {
    "own": {"bad": "bad", "good": "good"},
    "swapped": {"bad": "good", "good": "bad"},
}
# Words for "bad" and "good" of unequal length, and ten words for each, of which none is the label.
VERBALISERS = {
    "one word each": {"bad": " bad", "good": " good"},
    "two for bad": {"bad": " not good", "good": " good"},
    "two for good": {"bad": " bad", "good": " not bad"},
    "ten words each": {
        "bad": tuple(f" {word}" for word in lexicon.NEGATIVE),
        "good": tuple(f" {word}" for word in lexicon.POSITIVE),
    },
}
CLASSES = {
    "animal": lexicon.ANIMALS,
    "object": lexicon.OBJECTS,
    "food": lexicon.FOODS,
    "place": lexicon.PLACES,
}
# What the classes of a list may be called: as on the web's lists, or by other words of Fernwick.
NAMES = {"sounds": LABEL_SOUNDS, "colours": lexicon.COLOURS}
FINE_TUNED, COUNTED = "all weights", "counts of words"


@dataclass(frozen=True)
class Measured:
    """How much is measured.

    Attributes:
        tested: texts whose labels are asked for; the same as in the chapter on fine-tuning.
        pool, longest: texts from which examples come, and the most tokens one may have, so that
            four fit beside a question.
        shots: examples before a text; listed: before a word of a list.
        words: asked for of each class of a list.
        ordered: texts asked in each order of four examples; patterned: under each pattern of
            their labels.
        labels: of the comparison.
        steps, rate: of fine-tuning on the fewest and on the next fewest, as in the chapter on it,
            which has the others.
    """

    tested: int = 150
    pool: int = 2000
    longest: int = 32
    shots: tuple[int, ...] = (0, 1, 2, 4)
    listed: tuple[int, ...] = (0, 1, 2, 4, 8, 16, 32)
    words: int = 8
    ordered: int = 100
    patterned: int = 60
    labels: tuple[int, ...] = (4, 16, 64, 256)
    steps: int = 40
    rate: float = 2e-4


@dataclass(frozen=True)
class Run:
    """One cell of a table.

    Attributes:
        table: a key of ``MEASURES``.
        model: a preset, or a method of the comparison.
        way: a template and a set of words, or nothing.
        shots: examples or labels; seed: of their draw.
    """

    table: str
    model: str
    way: str
    shots: int
    seed: int


def models() -> list[str]:
    """The presets whose weights are there, by size."""
    return [name for name in PRESETS if (ASSETS / name / "model.safetensors").is_file()]


def work(settings: Measured, names: Sequence[str]) -> Iterator[Run]:
    """All runs; what has no examples is done once."""
    for model in names:
        for way, shots in itertools.product(("verdict own", "verdict swapped"), settings.shots):
            seeds = SEEDS if shots else SEEDS[:1]
            yield from (Run("reviews", model, way, shots, seed) for seed in seeds)
        for template in TEMPLATES:
            if template != "verdict":
                yield Run("reviews", model, f"{template} own", 0, 0)
        for way, shots in itertools.product(NAMES, settings.listed):
            yield from (Run("lists", model, way, shots, seed) for seed in SEEDS)
        yield from (Run("patterns", model, "", 4, seed) for seed in SEEDS)
        yield from (Run("orders", model, "", 4, seed) for seed in SEEDS)
        for table in ("list_patterns", "list_orders"):
            yield from (Run(table, model, "sounds", 4, seed) for seed in SEEDS)
        yield Run("words", model, "", 0, 0)
    for labels, seed in itertools.product(settings.labels, SEEDS):
        yield Run("labels", COUNTED, "", labels, seed)
        if labels in settings.labels[:2]:
            yield Run("labels", FINE_TUNED, "", labels, seed)


def run() -> None:
    """Do the runs that are missing, write the tables."""
    started, settings, names = time.time(), Measured(), models()
    rows: dict[str, list[dict[str, Any]]] = {}
    seconds = 0.0
    for one in work(settings, names):
        found = _measured(one, settings)
        seconds += found["seconds"]
        rows.setdefault(one.table, []).extend(found["rows"])
    for table, found in rows.items():
        text = pd.DataFrame(found).to_csv(index=False, float_format="%.4g")
        atomic_write(FOLDER / f"{table}.csv", text)
    about = manifest("python -m benchmarks prompting", settings, SEEDS, started)
    about["parameters"] = {
        name: sum(p.numel() for p in _policy(name)[0].parameters()) for name in names
    }
    about["seconds_of_all_runs"] = round(seconds, 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _measured(one: Run, settings: Measured) -> dict[str, Any]:
    """The rows of one run, and its seconds of processor time."""
    key = _key("tiny" if one.table == "labels" else one.model, settings)
    name = "-".join(map(str, dataclasses.astuple(one))).replace(" ", "_")
    path = ROOT / "runs" / f"published-prompting-{key}" / f"{name}.json"
    if not path.is_file():
        began = time.process_time()
        rows = MEASURES[one.table](one, settings)
        spent = time.process_time() - began
        atomic_write(path, json.dumps({"rows": rows, "seconds": spent}))
        print(name, f"{spent:.1f} s", flush=True)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@functools.cache
def _key(weights: str, settings: Measured) -> str:
    """What a run depends on."""
    return fingerprint([
        code_fingerprint("benchmarks.prompting", "rlhf_lab.paradigms.prompting"),
        code_fingerprint("rlhf_lab.paradigms.data", "rlhf_lab.paradigms.fine_tuning"),
        file_hash(ASSETS / weights / "model.safetensors"),
        dataclasses.asdict(settings),
    ])  # fmt: skip


# --- reviews and stories ----------------------------------------------------------------------


@functools.cache
def _policy(name: str) -> tuple[Any, Any]:
    return load_policy(name)


@functools.cache
def tests(count: int) -> Labelled:
    """The texts that every method labels."""
    return fernwick_sentiment("test", count)


@functools.cache
def pool(count: int, longest: int) -> Labelled:
    """The training texts that are short enough to be examples."""
    every, tokenizer = fernwick_sentiment("train", count), _policy("tiny")[1]
    lengths = [len(ids) for ids in tokenizer(list(every.texts))["input_ids"]]
    return every.take([i for i, length in enumerate(lengths) if length <= longest])


def asking(one: Run, settings: Measured) -> PromptClassifier:
    """The classifier of a run, with its examples."""
    template, words = (one.way or "verdict own").rsplit(" ", 1)
    form, space = TEMPLATES[template]
    verbaliser = {label: space + word for label, word in WORDS[words].items()}
    classifier = PromptClassifier(
        verbaliser, form, model=_policy(one.model), shots=one.shots, choose="balanced",
        seed=one.seed,
    )  # fmt: skip
    known = pool(settings.pool, settings.longest)
    return classifier.fit(known.texts, known.labels)


def described(scores: Tensor, prior: Tensor, truth: Sequence[str]) -> dict[str, float]:
    """Accuracy and the share called good: as it is, and with two corrections.

    Args:
        scores: (N, 2), log-probabilities of the words of "bad" and "good".
        prior: (2,), for inputs without content. The other prior is the mean over the N texts.
    """
    p = label_probabilities(scores)
    found = {"mass": float(scores.exp().sum(1).mean()), "prior_good": float(prior[1])}
    found["mean_good"] = float(p[:, 1].mean())
    ways = {
        "": p,
        "content_free_": contextual_calibration(p, prior),
        "texts_": contextual_calibration(p, p.mean(0)),
    }
    for name, values in ways.items():
        said = [LABELS[i] for i in values.argmax(1).tolist()]
        found[f"{name}accuracy"] = accuracy(truth, said)
        found[f"{name}good"] = said.count("good") / len(said)
    return found


def measure_reviews(one: Run, settings: Measured) -> list[dict[str, Any]]:
    """One prompt on all test texts."""
    test, classifier = tests(settings.tested), asking(one, settings)
    scores = classifier.scores(test.texts)
    found = described(scores, classifier.prior(), test.labels)
    template, words = one.way.rsplit(" ", 1)
    clear = [i for i, wording in enumerate(test.wordings) if wording == "clear"]
    said = [LABELS[i] for i in scores.argmax(1).tolist()]
    found["clear"] = accuracy([test.labels[i] for i in clear], [said[i] for i in clear])
    row = {"model": one.model, "template": template, "words": words}
    return [row | {"shots": one.shots, "seed": one.seed} | found]


def measure_patterns(one: Run, settings: Measured) -> list[dict[str, Any]]:
    """Every pattern of two labels over the examples: how far each makes "good" likelier.

    A pattern's examples are the first of a seed that have its labels.
    """
    texts = tests(settings.patterned).texts
    classifier, known = asking(one, settings), pool(settings.pool, settings.longest)
    drawn = known.sample(len(known), one.seed)
    by_label = {y: [t for t, own in zip(drawn.texts, drawn.labels, strict=True) if own == y]
                for y in LABELS}  # fmt: skip
    rows = []
    for pattern in itertools.product(LABELS, repeat=one.shots):
        rest = {label: iter(own) for label, own in by_label.items()}
        classifier.examples = [(next(rest[label]), label) for label in pattern]
        scores = classifier.scores(texts)
        rows.append({
            "model": one.model,
            "seed": one.seed,
            "pattern": "".join(label[0] for label in pattern),
            "log_odds": float((scores[:, 1] - scores[:, 0]).mean()),
            "good": float((scores[:, 1] > scores[:, 0]).double().mean()),
        })  # fmt: skip
    return rows


def measure_orders(one: Run, settings: Measured) -> list[dict[str, Any]]:
    """The same four examples in all their orders."""
    test, classifier = tests(settings.ordered), asking(one, settings)
    rows = []
    for order in itertools.permutations(classifier.examples):
        classifier.examples = list(order)
        found = described(classifier.scores(test.texts), classifier.prior(), test.labels)
        pattern = "".join(label[0] for _, label in order)
        rows.append({"model": one.model, "seed": one.seed, "pattern": pattern} | found)
    return rows


def measure_words(one: Run, settings: Measured) -> list[dict[str, Any]]:
    """Words of unequal length, and several words, with each way of scoring; no examples."""
    test, rows = tests(settings.tested), []
    for name, words in VERBALISERS.items():
        for scoring in SCORINGS:
            classifier = PromptClassifier(words, model=_policy(one.model), scoring=scoring)
            classifier.fit((), ())
            found = described(classifier.scores(test.texts), classifier.prior(), test.labels)
            rows.append({"model": one.model, "verbaliser": name, "scoring": scoring} | found)
    return rows


# --- lists ------------------------------------------------------------------------------------


def measure_lists(one: Run, settings: Measured) -> list[dict[str, Any]]:
    """Lines such as "fox: la", of which only the examples say what they mean.

    For each pair of classes a seed draws two names, and which words are asked for. Fewer examples
    are the first of more.
    """
    rows = []
    for names in itertools.combinations(CLASSES, 2):
        rng = random.Random(f"prompting:{one.seed}:{names}")
        called = rng.sample(NAMES[one.way], 2)
        words = {name: rng.sample(CLASSES[name], len(CLASSES[name])) for name in names}
        asked = [(w, name) for name in names for w in words[name][: settings.words]]
        given = [(w, name) for name in names for w in words[name][settings.words :]]
        rng.shuffle(given)
        verbaliser = {name: f" {word}" for name, word in zip(names, called, strict=True)}
        classifier = PromptClassifier(
            verbaliser, "{text}:", model=_policy(one.model), shots=one.shots, choose="first", end=""
        ).fit([w for w, _ in given], [name for _, name in given])
        said = classifier.predict([w for w, _ in asked])
        row = {"model": one.model, "names": one.way, "shots": one.shots, "seed": one.seed}
        kinds = len({name for _, name in classifier.examples})
        right = accuracy([name for _, name in asked], said)
        rows.append(row | {"pair": " ".join(names), "kinds": kinds, "accuracy": right})
    return rows


def listing(one: Run, names: Sequence[str], rng: random.Random) -> PromptClassifier:
    """A classifier that calls two classes by two names; its examples are put in afterwards."""
    called = dict(zip(names, rng.sample(NAMES[one.way], 2), strict=True))
    verbaliser = {name: f" {word}" for name, word in called.items()}
    classifier = PromptClassifier(verbaliser, "{text}:", model=_policy(one.model), end="")
    return classifier.fit((), ())


def measure_list_patterns(one: Run, settings: Measured) -> list[dict[str, Any]]:
    """What each position's label does to words of a third class, which fit neither label.

    The effect is that of ``position-effect`` in the chapter, its sign that of the label: how much
    likelier, in nats, one label is than the other where it stands there.
    """
    effects: dict[int, list[float]] = {}
    for names in itertools.combinations(CLASSES, 2):
        rng = random.Random(f"prompting:patterns:{one.seed}:{names}")
        classifier = listing(one, names, rng)
        words = {name: rng.sample(CLASSES[name], one.shots) for name in names}
        others = [name for name in CLASSES if name not in names]
        asked = [word for name in others for word in rng.sample(CLASSES[name], settings.words)]
        first, second = (classifier.labels.index(name) for name in names)
        odds = {}
        for pattern in itertools.product(names, repeat=one.shots):
            classifier.examples = [(words[name][t], name) for t, name in enumerate(pattern)]
            scores = classifier.scores(asked)
            odds[pattern] = float((scores[:, first] - scores[:, second]).mean())
        for t in range(one.shots):
            gap = sum(
                value if pattern[t] == names[0] else -value for pattern, value in odds.items()
            )
            effects.setdefault(t, []).append(2 * gap / len(odds))
    row = {"model": one.model, "seed": one.seed}
    return [row | {"position": t + 1, "effect": sum(v) / len(v)} for t, v in effects.items()]


def measure_list_orders(one: Run, settings: Measured) -> list[dict[str, Any]]:
    """Two examples of each of two classes in all 24 orders, asked for words of both.

    ``balanced`` is the mean accuracy of the orders whose answers are the most evenly divided, which
    can be known without labels; after Lu et al. 2022, §3.
    """
    rows = []
    for names in itertools.combinations(CLASSES, 2):
        rng = random.Random(f"prompting:orders:{one.seed}:{names}")
        classifier = listing(one, names, rng)
        drawn = {name: rng.sample(CLASSES[name], 2 + settings.words) for name in names}
        asked = [(word, name) for name in names for word in drawn[name][2:]]
        examples = [(word, name) for name in names for word in drawn[name][:2]]
        found = []
        for order in itertools.permutations(examples):
            classifier.examples = list(order)
            said = classifier.predict([word for word, _ in asked])
            uneven = abs(said.count(names[0]) - len(said) / 2)
            found.append((uneven, accuracy([name for _, name in asked], said)))
        right = pd.Series([value for _, value in found])
        least = min(uneven for uneven, _ in found)
        best = pd.Series([value for uneven, value in found if uneven == least])
        row = {"model": one.model, "seed": one.seed, "pair": " ".join(names)}
        spread = {"lowest": right.min(), "mean": right.mean(), "highest": right.max()}
        rows.append(row | spread | {"deviation": right.std(), "balanced": best.mean()})
    return rows


# --- the same labels in other hands -----------------------------------------------------------


def measure_labels(one: Run, settings: Measured) -> list[dict[str, Any]]:
    """A network fine-tuned on balanced examples, or words counted on them."""
    known, test = pool(settings.pool, settings.longest), tests(settings.tested)
    draw = PromptClassifier(
        model=_policy("tiny"), shots=one.shots, choose="balanced", seed=one.seed
    )
    texts, labels = zip(*draw.fit(known.texts, known.labels).examples, strict=True)
    if one.model == COUNTED:
        method: Any = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000))
    else:
        training = Training(learning_rate=settings.rate, steps=settings.steps)
        method = FineTunedClassifier(training=training, seed=one.seed)
    said = list(method.fit(texts, labels).predict(test.texts))
    row = {"method": one.model, "labels": one.shots, "seed": one.seed}
    return [row | {"accuracy": accuracy(test.labels, said)}]


MEASURES = {
    "reviews": measure_reviews,
    "patterns": measure_patterns,
    "orders": measure_orders,
    "words": measure_words,
    "list_patterns": measure_list_patterns,
    "list_orders": measure_list_orders,
    "lists": measure_lists,
    "labels": measure_labels,
}
