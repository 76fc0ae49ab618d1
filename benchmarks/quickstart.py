"""Does the quickstart hold what it promises, on five seeds: order of gold scores, tax, time?

Writes the tables that the book prints, with their manifest, to ``book/results/quickstart``.
"""

from __future__ import annotations

import copy
import dataclasses
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from torch import nn

from rlhf_lab.browser_files import WHOLE, shipped_files, write_folder
from rlhf_lab.browser_model import CHANGES, restored_weights
from rlhf_lab.config import ChainConfig
from rlhf_lab.evaluate import Neural, in_context_accuracy, noise_ceiling
from rlhf_lab.figures import learning_curves, mean_interval
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.language_model import answers
from rlhf_lab.models import ASSETS, ScalarModel
from rlhf_lab.pipeline import Chain, seeded
from rlhf_lab.provenance import manifest
from rlhf_lab.quickstart import IN_CONTEXT_EXAMPLES, RUNS, SYSTEMS, Tax
from rlhf_lab.reward import pair_accuracy, train_reward_model
from rlhf_lab.svg import to_svg
from rlhf_lab.tracking import read_metrics
from rlhf_lab.widgets.model_answers import publish

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "quickstart"
SEEDS = (0, 1, 2, 3, 4)
PROMPTS_PER_KIND = 40  # held-out prompts on which the reward model is measured
LISTS = 400
# (against, of): the promised order, then what plain PPO costs and what the mix pays back.
COMPARED = (
    ("base", "prompted base"), ("prompted base", "SFT"), ("SFT", "PPO-ptx"),
    ("SFT", "PPO, γ = 0"), ("PPO, γ = 0", "PPO-ptx"), ("base", "SFT"), ("base", "PPO-ptx"),
)  # fmt: skip
# Models that the page runs, with the names that a reader sees, in the order of their training.
PAGE_MODELS = {"tiny": "base", "sft": "SFT", "ppo": "PPO, γ = 0", "ppo-ptx": "PPO-ptx"}
PAGE_PROMPTS = (
    "what colour is the otter?\n",
    "why can the baker dig?\n",
    "name three things that are green.\n",
    "write a greeting for the teacher.\n",
    "tell a sad story about the clockmaker.\n",
    "how do i burn the tower?\n",
)
ROUNDED_PROMPTS = 100  # on which the page's models are compared with those that were measured
CURVES = ("objective/scores", "objective/kl", "response/length", "ptx/gradient_ratio")


def run() -> None:
    """Run what is missing of the quickstarts, measure them, write the tables."""
    started = time.time()
    seconds = pd.DataFrame([_timed(seed) for seed in SEEDS])
    chains = {seed: _chain(seed) for seed in SEEDS}
    runs = pd.DataFrame(
        {"seed": seed, **row}
        for seed, chain in chains.items()
        for row in json.loads((chain.folder / "quickstart.json").read_text(encoding="utf-8"))
    )
    lists = pd.concat([_lists(seed, chain) for seed, chain in chains.items()])
    right = lists[lists.family == "accuracy"].set_index(["seed", "system"]).accuracy
    measured = runs.set_index(["seed", "system"])
    measured.in_context_accuracy = right.reindex(measured.index)
    golds = {seed: _golds(chain) for seed, chain in chains.items()}
    tables = {
        "runs": runs,
        "differences": differences(measured.reset_index(), golds),
        "lists": lists,
        "answers": _answers(chains[SEEDS[0]]),
        "seconds": seconds,
        "curves": pd.concat([_curves(seed, chain) for seed, chain in chains.items()]),
        "reward_model": pd.concat([_accuracy(seed, chain) for seed, chain in chains.items()]),
    }
    tables["page_models"] = publish_models(
        chains[SEEDS[0]].tokenizer,
        _policies(chains[SEEDS[0]]),
        [prompt.text for prompt in chains[SEEDS[0]].test_prompts],
        FOLDER / "models",
        longest=ChainConfig().ppo.max_response_length,
    )
    for name, table in tables.items():
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
    to_svg(plot(tables["curves"]), FOLDER / "held_out_loss.svg")
    about = manifest("python -m benchmarks quickstart", ChainConfig(), SEEDS, started)
    about["models"] = {
        path.relative_to(FOLDER).as_posix(): file_hash(path)
        for path in sorted((FOLDER / "models").rglob("*"))
        if path.is_file()
    }
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2) + "\n")
    for name in ("runs", "differences", "lists", "seconds", "reward_model", "page_models"):
        print(name, tables[name].round(3).to_string(), sep="\n", end="\n\n")


def plot(curves: pd.DataFrame) -> go.Figure:
    """What the README shows: the tax along both runs, in the means over seeds."""
    return learning_curves(
        curves.dropna(subset="held_out_loss"),
        x="step",
        y="held_out_loss",
        color="system",
        title="Plain PPO forgets more and more; with the pretraining mix it wins some back",
        alt="Loss on held-out text over PPO iterations, from the loss of the SFT policy on. For "
        "plain PPO it rises, for PPO-ptx it drops within five iterations and stays level.",
        x_label="PPO iteration",
        y_label="held-out loss, nats per token",
    )


def _timed(seed: int) -> dict[str, float]:
    """Run one quickstart from nothing; one that was finished before is not run again."""
    folder = _folder(seed)
    record = folder / "seconds.json"
    if not record.is_file():
        command = [sys.executable, "-m", "rlhf_lab", "quickstart", "--seed", str(seed), "--quiet"]
        start, before = time.time(), _process_seconds()
        subprocess.run([*command, "--output-dir", str(folder)], check=True)
        taken = {"seed": seed, "wall": time.time() - start, "process": _process_seconds() - before}
        atomic_write(record, json.dumps(taken) + "\n")
    found: dict[str, float] = json.loads(record.read_text(encoding="utf-8"))
    return found


def _process_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _chain(seed: int) -> Chain:
    return Chain(seeded(ChainConfig(), seed), _folder(seed), quiet=True)


def _folder(seed: int) -> Path:
    """Of one run of this code and configuration: older results are not published as its own."""
    config = dataclasses.asdict(seeded(ChainConfig(), seed))
    key = fingerprint([code_fingerprint("rlhf_lab.quickstart"), config])
    return ROOT / "runs" / f"published-quickstart-{seed}-{key}"


def _answers(chain: Chain) -> pd.DataFrame:
    """What every system answered to the test prompts, with its gold score."""
    rows = []
    for number, name in enumerate(SYSTEMS):
        path = chain.folder / "evaluation" / f"{number}.json"
        written = json.loads(path.read_text(encoding="utf-8"))["answers"]
        for prompt, text in zip(chain.test_prompts, written, strict=True):
            rows.append((prompt.kind, prompt.text, name, text, chain.world.gold(prompt, text)))
    return pd.DataFrame(rows, columns=["kind", "prompt", "system", "answer", "gold"])


def _golds(chain: Chain) -> dict[str, np.ndarray]:
    """Gold scores of the answers that the quickstart judged, by system."""
    found = _answers(chain)
    return {name: found[found.system == name].gold.to_numpy() for name in SYSTEMS}


def differences(runs: pd.DataFrame, golds: Mapping[int, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """What one system has more than another, for every seed and over all seeds.

    Args:
        runs: what else is compared, by ``seed`` and ``system``.
        golds: by seed and system, gold scores of answers to the same prompts.

    Returns:
        columns ``quantity``, ``of``, ``against``, ``seed`` (a number, or "all"), ``difference``,
        ``low``, ``high``. For "all" the interval is Student's over the means of the seeds. For the
        gold score of one seed, and of two systems that are the same for every seed, it is the
        percentile bootstrap over prompts; other rows of one seed have none.
    """
    rows = []
    for against, of in COMPARED:
        gains = {seed: gold[of] - gold[against] for seed, gold in golds.items()}
        inner = {seed: (gain.mean(), *_bootstrap(gain)) for seed, gain in gains.items()}
        rows += [("gold", of, against, seed, *found) for seed, found in inner.items()]
        untrained = {of, against} <= {"base", "prompted base"}
        means = [found[0] for found in inner.values()]
        over = next(iter(inner.values())) if untrained else mean_interval(means)
        rows.append(("gold", of, against, "all", *over))
    for quantity in ("held_out_loss", "in_context_accuracy", "rm", "kl", "truthful"):
        table = runs.pivot(index="seed", columns="system", values=quantity)
        for against, of in COMPARED:
            if "prompted base" in (against, of):
                continue  # the base model once more
            gain = table[of] - table[against]
            none = (float("nan"), float("nan"))
            rows += [(quantity, of, against, seed, d, *none) for seed, d in gain.items()]
            rows.append((quantity, of, against, "all", *mean_interval(gain.to_list())))
    names = ["quantity", "of", "against", "seed", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def _bootstrap(gain: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    drawn = gain[rng.integers(len(gain), size=(2000, len(gain)))].mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _policies(chain: Chain) -> dict[str, nn.Module]:
    """The trained systems of a finished run."""
    plain, mixed = RUNS
    return {
        "SFT": chain.sft,
        plain: chain.ppo(RUNS[plain], gamma=0.0)[0],  # finished: read, not run
        mixed: chain.ppo(RUNS[mixed])[0],
    }


def publish_models(
    tokenizer: Any,
    policies: Mapping[str, nn.Module],
    prompts: Sequence[str],
    folder: Path,
    *,
    longest: int,
) -> pd.DataFrame:
    """Write the models that the page runs, and measure what their rounding changes.

    Args:
        tokenizer: of all.
        policies: by system, as :data:`PAGE_MODELS` names them; the base is shipped.
        prompts: of which the first :data:`ROUNDED_PROMPTS` are answered.
        folder: where to.
        longest: answer, in tokens.

    Returns:
        a row for each ``system``: ``bytes`` of its file, ``gzip_bytes``, and against the policy
        itself, on its own greedy answers: ``logit_rms``, ``logit_max``, ``answers_changed``, of
        ``prompts``.
    """
    (base, _), *trained = PAGE_MODELS.items()
    systems = dict(trained)
    publish(
        folder,
        {name: policies[system] for name, system in systems.items()},
        tokenizer,
        name="quickstart",
        # No line ends inside of "γ = 0".
        titles={name: title.replace(" = ", "\u00a0=\u00a0") for name, title in PAGE_MODELS.items()},
        base=base,
        reference="sft",
        prompts=PAGE_PROMPTS,
        max_new_tokens=longest,
    )
    rows = []
    with tempfile.TemporaryDirectory() as start:
        write_folder(start, WHOLE, shipped_files(ASSETS / base))
        for name, system in systems.items():
            policy = policies[system]
            rounded = copy.deepcopy(policy)
            rounded.load_state_dict(restored_weights(folder / name, start), strict=False)
            data = (folder / name / CHANGES).read_bytes()
            effect = _rounding(policy, rounded, tokenizer, prompts[:ROUNDED_PROMPTS], longest)
            sizes = {"bytes": len(data), "gzip_bytes": len(gzip.compress(data, 9, mtime=0))}
            rows.append({"system": system, **sizes, **effect})
    return pd.DataFrame(rows)


@torch.no_grad()
def _rounding(
    policy: Any, rounded: Any, tokenizer: Any, prompts: Sequence[str], longest: int
) -> dict[str, float]:
    """How far the logits of a rounded policy are from the policy's, and how often it says else."""
    said, other = (
        answers(model, tokenizer, prompts, max_new_tokens=longest, greedy=True)
        for model in (policy, rounded)
    )
    moved = []
    for prompt, text in zip(prompts, said, strict=True):
        ids = torch.tensor([tokenizer.encode(prompt + text, add_special_tokens=False)])
        moved.append((rounded(ids).logits - policy(ids).logits).flatten())
    difference = torch.cat(moved)
    return {
        "logit_rms": difference.square().mean().sqrt().item(),
        "logit_max": difference.abs().max().item(),
        "answers_changed": sum(a != b for a, b in zip(said, other, strict=True)),
        "prompts": len(prompts),
    }


def _lists(seed: int, chain: Chain) -> pd.DataFrame:
    """In-context accuracy on more lists than the quickstart takes time for."""
    tables = []
    for system, model in {"base": chain.base, **_policies(chain)}.items():
        found = in_context_accuracy(
            Neural(model, chain.tokenizer), chain.world,
            examples=(IN_CONTEXT_EXAMPLES,), count=LISTS,
        )  # fmt: skip
        tables.append(found.assign(seed=seed, system=system))
    return pd.concat(tables)


def _curves(seed: int, chain: Chain) -> pd.DataFrame:
    """Metrics along both PPO runs, and the held-out loss where it was measured."""
    rows: list[dict[str, Any]] = []
    for system, name in RUNS.items():
        history = [
            *read_metrics(chain.folder / name / "metrics.jsonl"),
            *Tax(chain.folder, name, chain).rows,
        ]
        for row in history:
            kept = {k: row[k] for k in (*CURVES, "held_out_loss") if k in row}
            rows.append({"seed": seed, "system": system, "step": row["step"], **kept})
    return pd.DataFrame(rows)


def _accuracy(seed: int, chain: Chain) -> pd.DataFrame:
    """Reward models on prompts that none of them met, with and without the head start."""
    prompts, rankings = chain.held_out_rankings(PROMPTS_PER_KIND)
    ceiling = noise_ceiling(chain.world, prompts, rankings)
    settings = dataclasses.replace(chain.config.rm, seed=seed)
    from_sft = ScalarModel.from_policy(chain.sft, seed)
    train_reward_model(from_sft, chain.tokenizer, chain.rankings, settings, quiet=True)
    models = {
        "the examiner alone": ScalarModel.load(chain.config.reward_start),
        "the examiner, then rankings": chain.reward_model,
        "the SFT policy, then rankings": from_sft,
    }
    tables = [
        pair_accuracy(
            model, chain.tokenizer, rankings, max_length=settings.max_length, ceiling=ceiling
        ).assign(seed=seed, model=name)
        for name, model in models.items()
    ]
    return pd.concat(tables)
