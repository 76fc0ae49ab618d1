"""Which suites need more than counted words? An n-gram model beside the shipped base models on all.

Writes ``book/results/suites``: every suite of the world in every form, by its own metric. N-grams
are counted on the documents that the neural models have read, which takes 12 GB of memory, and on
few of them. A seed changes the questions, the solved examples before them, random numbers, and
which few documents; the other models stay.

Written before the first run, after a trial on questions of seed 0: the n-gram model *reaches*
``tiny`` on a suite unless ``tiny`` is better with the whole interval over seeds of the paired
difference; it comes *near* if it goes more than half of the way from chance to ``tiny``. Either way
the suite is too easy. Rudeness is left out of both, being no ability, and losses out of the second.
(The first run counted few documents only; all were added when story endings turned out to depend
on it. Seen afterwards: where ``tiny`` is at chance, it is reached although the suite is hard.)
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rlhf_lab.config import PretrainConfig
from rlhf_lab.evaluate import LanguageModel, Neural, NGramText, run_suites
from rlhf_lab.files import atomic_write
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import load_policy
from rlhf_lab.provenance import manifest
from rlhf_lab.world import World
from rlhf_lab.world.ngram import NGram

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "suites"
SEEDS = (0, 1, 2, 3, 4)
SIZES = ("nano", "micro", "tiny", "base")
COUNTERS = NGRAM, FEWER = ("5-gram", "5-gram of few documents")
COLUMNS = ["suite", "shots", "metric", "value", "low", "high", "chance", "questions"]


@dataclass(frozen=True)
class Config:
    """How much is read and asked.

    Attributes:
        order: of the n-gram model.
        counted: documents that n-grams are counted on: all that the neural models have read.
        fewer: documents of the other n-gram model, anew for each seed.
        questions: of each suite; fewer where the test split holds no more.
    """

    order: int = 5
    counted: int = PretrainConfig().documents
    fewer: int = 50_000
    questions: int = 100


def run() -> None:
    """Ask every model on every seed, write the table and its manifest."""
    started, config = time.time(), Config()
    found = {
        (name, seed): _scored(name, seed, config) for name in (*COUNTERS, *SIZES) for seed in SEEDS
    }
    table = pd.DataFrame(
        {"model": name, "seed": seed, **row}
        for (name, seed), one in found.items()
        for row in one["rows"]
    )
    atomic_write(FOLDER / "suites.csv", table.to_csv(index=False, float_format="%.6g"))
    about = manifest("python -m benchmarks suites", config, SEEDS, started)
    about["seconds_of_all_runs"] = round(sum(one["seconds"] for one in found.values()), 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")
    keys = ["suite", "shots"]
    means = table.pivot_table(index=keys, columns="model", values="value", sort=False)
    print(means.round(3).to_string())


def _scored(name: str, seed: int, config: Config) -> dict[str, Any]:
    """The ``rows`` of one model on one seed, and their ``seconds``; read where this code made them.

    An interval that is not known, as of BLEU, is None.
    """
    code = code_fingerprint("benchmarks.suites", "rlhf_lab.evaluate")
    key = fingerprint([code, dataclasses.asdict(config)])
    path = ROOT / "runs" / f"suites-{key}" / f"{name}-seed-{seed}.json"
    if not path.is_file():
        before = time.process_time()
        table = scores(World(0), language_model(name, seed, config), seed, config.questions)
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        seconds = time.process_time() - before
        atomic_write(path, json.dumps({"rows": rows, "seconds": seconds}, allow_nan=False))
        print(f"{name}, seed {seed}: {seconds:.0f} s", flush=True)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def language_model(name: str, seed: int, config: Config) -> LanguageModel:
    """A shipped base model, or one of n-grams, counted on documents of the training split."""
    if name in SIZES:
        return Neural(*load_policy(name))
    if name == NGRAM:
        return _counted(config.order, config.counted, 0)
    return _counted(config.order, config.fewer, config.fewer * seed)


@functools.lru_cache(maxsize=1)
def _counted(order: int, count: int, start: int) -> NGramText:
    _, tokenizer = load_policy("tiny")
    texts = [d.text for d in World(0).documents(count, start)]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return NGramText(NGram.fit(ids, len(tokenizer), tokenizer.eos_token_id, order=order), tokenizer)


def scores(
    world: World, model: LanguageModel, seed: int, questions: int, *labels: str
) -> pd.DataFrame:
    """One row for each suite, or for those of ``labels``, with its own metric.

    ``low`` and ``high`` are a bootstrap interval over questions.
    """
    suites = {
        label: dataclasses.replace(suite, seed=seed)
        for label, suite in world.suites().items()
        if not labels or label in labels
    }
    table = run_suites(suites, {"": model}, count=questions, seed=seed)
    return table.loc[table["main"], COLUMNS].reset_index(drop=True)
