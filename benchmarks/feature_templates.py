"""What does each kind of feature template bring a CRF, in Fernwick and on UD English EWT?

Writes ``book/results/feature-templates``. The same template file, with some of its lines left out
or, in Fernwick, with a dictionary added, is trained on more and more sentences; training sets are
drawn anew for each of five seeds, and a smaller one is a part of the larger one. Entities and parts
of speech of Fernwick are tested on 500 sentences; parts of speech of EWT are trained on its dev
split and tested on its test split, which are read from ``RLHF_LAB_DATA`` or downloaded. The penalty
was chosen with all templates, of 0.003 to 1, on sentences of each training pool that nothing was
fitted to and on validation sentences of Fernwick: the smallest was best or level on all three tasks
(0.3, in use before, cost up to nine points of F1). What the same code has measured before is read
from ``runs/``.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.paradigms.crf import DEFAULT_TEMPLATES, CRFTagger
from rlhf_lab.paradigms.data import Tagged, fernwick_tagging, ud_english_ewt
from rlhf_lab.paradigms.dictionary import DICTIONARY_TEMPLATES, WITH_DICTIONARY
from rlhf_lab.paradigms.lookup import LookupTagger
from rlhf_lab.paradigms.scoring import accuracy, entity_scores, token_accuracy
from rlhf_lab.paradigms.templates import FORMS
from rlhf_lab.provenance import manifest, versions

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "feature-templates"
SEEDS = (0, 1, 2, 3, 4)
LOOKUP, ALL = "lookup", "all templates"
ENTITIES, POS, EWT = TASKS = ("Fernwick entities", "Fernwick parts of speech", "EWT")


def without(beginnings: str) -> str:
    """The default templates without the lines whose text begins in one of these ways."""
    left_out = tuple(beginnings.split())
    lines = DEFAULT_TEMPLATES.splitlines()
    return "\n".join(line for line in lines if not line.startswith(left_out))


TEMPLATES = {
    ALL: DEFAULT_TEMPLATES,
    "no tag before": without("B"),
    "no form": without("U1 U2"),
    "no neighbours": without("U00 U01 U03 U04 U05 U06 U2"),
    "the word alone": "U02:%x[0,0]\n",
    "with a dictionary": DICTIONARY_TEMPLATES,
}
# What is trained on each task's samples, and on the whole dev split of EWT.
ABLATION = tuple(name for name in TEMPLATES if name != "with a dictionary")
SAMPLED = {ENTITIES: tuple(TEMPLATES), POS: ABLATION, EWT: (ALL, "the word alone")}


@dataclass(frozen=True)
class Config:
    """What is trained and tested.

    Attributes:
        sizes: sentences of the training sets that are drawn.
        pool: sentences of Fernwick that they are drawn from; of EWT, all of its dev split.
        tested: sentences of Fernwick's test split.
        resamples: of EWT's test sentences, for intervals of the runs on the whole dev split.
    """

    sizes: tuple[int, ...] = (50, 200, 800)
    pool: int = 2000
    tested: int = 500
    max_iterations: int = 80
    l2: float = 0.003
    resamples: int = 1000


def run() -> None:
    """Measure what is missing, write the tables and their manifest."""
    started, config = time.time(), Config()
    rows: list[dict[str, Any]] = []
    for task in TASKS:
        pool, test = splits(task, config)
        for seed in SEEDS:
            for size in config.sizes:
                found = _measured(config, task, pool.sample(size, seed), test, seed)
                print(pd.DataFrame(found).round(3).to_string(), flush=True)
                rows += found
    pool, test = splits(EWT, config)
    whole = _whole(config, pool, test)
    for name, table in (("scores", pd.DataFrame(rows)), ("ewt", whole)):
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.5g"))
        print(table.groupby(list(table.columns[:2])).mean(numeric_only=True).round(3).to_string())
    about = manifest("python -m benchmarks feature_templates", config, SEEDS, started)
    about["versions"] |= versions(("python-crfsuite",))
    about["templates"] = TEMPLATES
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")


def splits(task: str, config: Config) -> tuple[Tagged, Tagged]:
    """The sentences to train on and those to test on."""
    if task == EWT:
        return ud_english_ewt("dev"), ud_english_ewt("test")
    kind = "entities" if task == ENTITIES else "pos"
    return (
        fernwick_tagging(kind, "train", config.pool),
        fernwick_tagging(kind, "test", config.tested),
    )


def predictions(
    config: Config, names: Iterable[str], train: Tagged, test: Tagged
) -> Iterable[tuple[str, list[list[str]], int]]:
    """Each method with its tags of the test sentences and the number of its weights."""
    lookup = LookupTagger().fit(train.sentences, train.tags)
    yield LOOKUP, lookup.predict(test.sentences), len(lookup.tags)
    for name in names:
        columns = WITH_DICTIONARY if TEMPLATES[name] == DICTIONARY_TEMPLATES else FORMS
        crf = CRFTagger(
            TEMPLATES[name], columns, l2=config.l2, max_iterations=config.max_iterations
        )
        crf.fit(train.sentences, train.tags)
        weights = len(crf.state_weights) + len(crf.transition_weights)
        yield name, crf.predict(test.sentences), weights


def score(train: Tagged, test: Tagged, predicted: list[list[str]]) -> dict[str, float]:
    """Accuracy over all words, over known and over unknown ones; F1 where there are entities."""
    known = {word.lower() for sentence in train.sentences for word in sentence}
    words = [word.lower() in known for sentence in test.sentences for word in sentence]
    flat = [
        (true, guess)
        for tags, guesses in zip(test.tags, predicted, strict=True)
        for true, guess in zip(tags, guesses, strict=True)
    ]
    row = {"accuracy": token_accuracy(test.tags, predicted)}
    for name, wanted in (("known", True), ("unknown", False)):
        part = [pair for pair, seen in zip(flat, words, strict=True) if seen == wanted]
        row[name] = accuracy([t for t, _ in part], [g for _, g in part]) if part else float("nan")
    row["unknown_share"] = 1 - sum(words) / len(words)
    if any(tag.startswith("B-") for tags in test.tags for tag in tags):
        row["f1"] = entity_scores(test.tags, predicted).f1
    return row


def _measured(
    config: Config, task: str, train: Tagged, test: Tagged, seed: int
) -> list[dict[str, Any]]:
    path = _work(config) / f"{task}-{len(train)}-{seed}.json"
    if not path.is_file():
        rows = [
            {"task": task, "templates": name, "sentences": len(train), "seed": seed}
            | score(train, test, predicted)
            | {"weights": weights}
            for name, predicted, weights in predictions(config, SAMPLED[task], train, test)
        ]
        atomic_write(path, json.dumps(rows))
    return json.loads(path.read_text(encoding="utf-8"))


def _whole(config: Config, train: Tagged, test: Tagged) -> pd.DataFrame:
    """The whole dev split: accuracy and its loss against all templates, with 95 % intervals over
    resampled test sentences.
    """
    path = _work(config) / "ewt-whole.json"
    if not path.is_file():
        atomic_write(path, json.dumps(_whole_rows(config, train, test)))
    return pd.DataFrame(json.loads(path.read_text(encoding="utf-8")))


def _whole_rows(config: Config, train: Tagged, test: Tagged) -> list[dict[str, Any]]:
    rows, right = [], {}
    for name, predicted, weights in predictions(config, ABLATION, train, test):
        right[name] = [
            sum(t == g for t, g in zip(*pair, strict=True))
            for pair in zip(test.tags, predicted, strict=True)
        ]
        about = {"templates": name, "sentences": len(train), "words": sum(map(len, train.tags))}
        rows.append(about | score(train, test, predicted) | {"weights": weights})
    lengths = np.array([len(tags) for tags in test.tags])
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(lengths), size=(config.resamples, len(lengths)))
    shares = {n: np.array(r)[drawn].sum(1) / lengths[drawn].sum(1) for n, r in right.items()}
    for row in rows:
        share = shares[row["templates"]]
        row["low"], row["high"] = np.quantile(share, (0.025, 0.975)).tolist()
        lost = shares[ALL] - share
        row["lost_low"], row["lost_high"] = np.quantile(lost, (0.025, 0.975)).tolist()
    return rows


def _work(config: Config) -> Path:
    modules = ("data", "dictionary", "lookup", "scoring")
    code = [code_fingerprint(*(f"rlhf_lab.paradigms.{m}" for m in modules))]
    code.append(file_hash(Path(__file__)))
    key = fingerprint([*code, dataclasses.asdict(config)])
    return ROOT / "runs" / f"published-feature-templates-{key}"
