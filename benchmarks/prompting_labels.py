"""What do the examples of a prompt buy in other hands: fine-tuned on, or their words counted?

Writes the table of *What labels buy* in the chapter *Pre-train, prompt, predict*, with its
manifest, to ``book/results/prompting-labels``. The texts are those from which prompts draw their
examples, balanced; fine-tuning on more of them than a prompt could hold is in
``benchmarks.fine_tuning``.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from benchmarks import prompting
from rlhf_lab.files import atomic_write
from rlhf_lab.models import load_policy
from rlhf_lab.paradigms.fine_tuning import FineTunedClassifier, Training
from rlhf_lab.paradigms.prompting import PromptClassifier
from rlhf_lab.paradigms.scoring import accuracy
from rlhf_lab.provenance import manifest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "prompting-labels"
SEEDS = prompting.SEEDS
FINE_TUNED, COUNTED = "all weights", "counts of words"


@dataclass(frozen=True)
class Measured:
    """What is compared.

    Attributes:
        tested, pool, longest: as for prompts.
        counted, tuned: numbers of labelled examples, of each method.
        steps, rate: of fine-tuning. The rate is that of the chapter on it; with so few examples
            the steps are 40 passes or more.
    """

    tested: int = prompting.Measured.tested
    pool: int = prompting.Measured.pool
    longest: int = prompting.Measured.longest
    counted: tuple[int, ...] = (4, 16, 64, 256)
    tuned: tuple[int, ...] = (4, 16)
    steps: int = 80
    rate: float = 5e-4


def run() -> None:
    """Train all, write the table."""
    started, settings = time.time(), Measured()
    rows = [
        measure(method, labels, seed, settings)
        for method, sizes in ((COUNTED, settings.counted), (FINE_TUNED, settings.tuned))
        for labels in sizes
        for seed in SEEDS
    ]
    table = pd.DataFrame(rows)
    atomic_write(FOLDER / "labels.csv", table.to_csv(index=False, float_format="%.4g"))
    print(table.groupby(["method", "labels"], sort=False).accuracy.mean().round(3).to_string())
    about = manifest("python -m benchmarks prompting_labels", settings, SEEDS, started)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def measure(method: str, labels: int, seed: int, settings: Measured) -> dict[str, Any]:
    """A network fine-tuned on balanced examples, or words counted on them."""
    known = prompting.pool(settings.pool, settings.longest)
    test = prompting.tests(settings.tested)
    draw = PromptClassifier(model=load_policy("tiny"), shots=labels, choose="balanced", seed=seed)
    texts, truths = zip(*draw.fit(known.texts, known.labels).examples, strict=True)
    if method == COUNTED:
        made: Any = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000))
    else:
        training = Training(learning_rate=settings.rate, steps=settings.steps)
        made = FineTunedClassifier(training=training, seed=seed)
    said = list(made.fit(texts, truths).predict(test.texts))
    row = {"method": method, "labels": labels, "seed": seed}
    return row | {"accuracy": accuracy(test.labels, said)}
