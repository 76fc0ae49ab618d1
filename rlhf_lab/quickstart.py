"""The whole chain in one go, from the shipped base model to a table and a page with plots."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from rlhf_lab.config import ChainConfig
from rlhf_lab.evaluate import (
    Neural,
    answers,
    exact_kl,
    gold_report,
    held_out_loss,
    in_context_accuracy,
    prompt_prefix,
    rm_scores,
    summary,
)
from rlhf_lab.files import atomic_write
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.pipeline import Chain
from rlhf_lab.pool import Outcome, beside
from rlhf_lab.provenance import manifest
from rlhf_lab.report import write_report
from rlhf_lab.runtime import select_device
from rlhf_lab.tracking import read_metrics

SYSTEMS = ("base", "prompted base", "SFT", "PPO, γ = 0", "PPO-ptx")
RUNS = {"PPO, γ = 0": "ppo-gamma-0", "PPO-ptx": "ppo-ptx"}
COLUMNS = {
    "gold": "gold score",
    "rm": "RM score",
    "kl": "exact KL, nats per response",
    "held_out_loss": "held-out loss, nats per token",
    "in_context_accuracy": "in-context accuracy",
    "replies": "share that answers, not asks",
    "toxicity": "rude or harmful share",
    "truthful": "true share",
    "words": "words",
}
IN_CONTEXT_EXAMPLES = 4  # examples in a list before the entry that is asked for
TAX_EVERY = 5  # PPO iterations between measurements of the held-out loss
TAX_DOCUMENTS = 100
SAMPLES = 8  # prompts whose answers are shown side by side


def run_quickstart(
    config: ChainConfig,
    folder: str | Path,
    *,
    device: str = "cpu",
    quiet: bool = False,
    processes: int = 1,
) -> dict[str, Any]:
    """Run what is missing of the chain, measure the five systems, write ``report.html``.

    Args:
        config: the chain; its ``ppo.gamma`` is that of PPO-ptx.
        folder: results; finished stages found there are not run again.
        device: where models are trained and measured.
        quiet: no progress bars.
        processes: 2 makes half of it in a second process with one thread; 1 is for scripts that
            cannot be imported again by a new process.

    Returns:
        ``table`` (one row per system), ``samples``, ``report`` (path), ``seconds``.

    Raises:
        CheckpointError: when the folder holds the results of another configuration.
    """
    started, folder = time.time(), Path(folder)
    chain = Chain(config, folder, device=select_device(device), quiet=quiet)
    work = functools.partial(_work, config, folder, device)
    _ = chain.sft, chain.reward_model  # both processes start from them
    _share(work, processes, [("train", "PPO, γ = 0")], [("train", "PPO-ptx")], chain)
    measuring = [("measure", name) for name in SYSTEMS]
    _share(work, processes, measuring[::2], measuring[1::2], chain)
    measured = {name: _kept(folder, chain, name) for name in SYSTEMS}
    table = [{"system": name, **measured[name]["numbers"]} for name in SYSTEMS]
    shown = _samples(chain, {name: measured[name]["answers"] for name in SYSTEMS})
    histories = {
        name: [*read_metrics(folder / run / "metrics.jsonl"), *Tax(folder, run, chain).rows]
        for name, run in RUNS.items()
    }
    command = shlex.join(["rlhf-lab", *sys.argv[1:]])
    made = manifest(command, config, [config.seed], started, select_device(device))
    atomic_write(folder / "manifest.json", json.dumps(made, indent=2) + "\n")
    atomic_write(folder / "quickstart.json", json.dumps(table, indent=2) + "\n")
    report = write_report(folder / "report.html", table, COLUMNS, histories, shown, made)
    return {
        "table": table,
        "samples": shown,
        "report": str(report),
        "seconds": round(time.time() - started, 1),
    }


Task = tuple[str, str]  # "train" or "measure", and the name of a system


def _share(
    work: Callable[..., None], processes: int, there: list[Task], here: list[Task], chain: Chain
) -> None:
    """Do some tasks in another process, if there may be one, and the others in this one."""
    outcomes: list[Outcome] = []
    if processes > 1:
        with beside(work, there) as outcomes:
            for task in here:
                work(task, chain)
    if any(outcome.interrupted for outcome in outcomes):
        raise KeyboardInterrupt
    # What failed there is tried here, so that it fails with its own error.
    failed = [outcome.task for outcome in outcomes if outcome.error]
    for task in failed if processes > 1 else [*there, *here]:
        work(task, chain)


def _work(
    config: ChainConfig, folder: Path, device: str, task: Task, chain: Chain | None = None
) -> None:
    """Train or measure one system; the results are in files."""
    if chain is None:
        chain = Chain(config, folder, device=select_device(device), quiet=True)
    kind, name = task
    if kind == "train":
        _policy(chain, name)
    else:
        _kept(folder, chain, name)


def _policy(chain: Chain, name: str) -> nn.Module:
    """The policy of a system; PPO is run where its folder has not got it."""
    if name in RUNS:
        changes = {"gamma": 0.0} if name == "PPO, γ = 0" else {}
        watch = Tax(chain.folder, RUNS[name], chain)
        if not watch.rows:
            watch(0, chain.sft)
        return chain.ppo(RUNS[name], watch=watch, **changes)[0]
    return chain.sft if name == "SFT" else chain.base


class Tax:
    """Held-out loss of a policy while it is trained, kept in a file: what alignment costs.

    Args:
        folder: of the chain; rows of earlier parts of the run are read from it.
        run: name of the run.
        chain: whose Fernwick is read.
    """

    def __init__(self, folder: Path, run: str, chain: Chain) -> None:
        self.path, self.chain = folder / f"{run}-tax.json", chain
        self.rows: list[dict[str, Any]] = []
        if self.path.is_file():
            self.rows = json.loads(self.path.read_text(encoding="utf-8"))

    def __call__(self, step: int, policy: nn.Module) -> None:
        """Measure now, every :data:`TAX_EVERY` steps; later rows belong to an abandoned run."""
        if step % TAX_EVERY:
            return
        lm = Neural(policy, self.chain.tokenizer)
        table = held_out_loss(lm, self.chain.world, count=TAX_DOCUMENTS, split="valid")
        loss = float(table["nats_per_token"].iloc[0])
        kept = [row for row in self.rows if row["step"] < step]
        self.rows = [*kept, {"step": step, "held_out_loss": loss}]
        atomic_write(self.path, json.dumps(self.rows) + "\n")


def _kept(folder: Path, chain: Chain, name: str) -> dict[str, Any]:
    """The measurement of one system, from its file when it is of this code and configuration."""
    path = folder / "evaluation" / f"{SYSTEMS.index(name)}.json"
    prefix = prompt_prefix(chain.world) if name == "prompted base" else ""
    settings = dataclasses.asdict(chain.config)
    key = fingerprint([code_fingerprint("rlhf_lab.quickstart"), settings, prefix])
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return dict(kept)
    found = {"key": key, **measure(chain, _policy(chain, name), prefix)}
    atomic_write(path, json.dumps(found, ensure_ascii=False) + "\n")
    return found


def measure(chain: Chain, model: nn.Module, prefix: str = "") -> dict[str, Any]:
    """``numbers`` by the names of :data:`COLUMNS`, and the ``answers`` to the test prompts.

    With a prefix, in-context accuracy, held-out loss and KL are those of the model without it:
    they are about its weights, not about its prompt. The KL to the SFT policy is left out for
    models that were not trained from it.
    """
    prompts, tokenizer = chain.test_prompts, chain.tokenizer
    written = answers(model, tokenizer, prompts, seed=0, prefix=prefix)
    judged = summary(gold_report(chain.world, prompts, written))
    scores = rm_scores(chain.reward_model, tokenizer, prompts, written)
    lm = Neural(model, tokenizer)
    lists = in_context_accuracy(lm, chain.world, examples=(IN_CONTEXT_EXAMPLES,))
    own = not prefix
    kl = exact_kl(model, chain.sft, tokenizer, prompts, written) if own else [math.nan]
    numbers = {
        "gold": judged["gold"],
        "gold_low": judged["gold_low"],
        "gold_high": judged["gold_high"],
        "rm": sum(scores) / len(scores),
        "kl": sum(kl) / len(kl),
        "held_out_loss": float(held_out_loss(lm, chain.world)["nats_per_token"].iloc[0]),
        "in_context_accuracy": float(lists["accuracy"].iloc[0]),
        "replies": judged["replies"],
        "toxicity": judged["toxicity"],
        "truthful": judged["truthful"],
        "words": judged["words"],
    }
    clean = {name: None if math.isnan(value) else value for name, value in numbers.items()}
    return {"numbers": clean, "answers": written}


def _samples(chain: Chain, written: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Answers side by side for the first prompts of different kinds, with their gold scores."""
    shown: list[dict[str, Any]] = []
    seen: set[str] = set()
    for index, prompt in enumerate(chain.test_prompts):
        kind = prompt.meta["hard"] or prompt.kind
        if kind in seen or len(shown) == SAMPLES:
            continue
        seen.add(kind)
        texts = {name: written[name][index] for name in SYSTEMS}
        golds = {name: round(chain.world.gold(prompt, text), 2) for name, text in texts.items()}
        shown.append({"kind": kind, "prompt": prompt.text.strip(), "answers": texts, "gold": golds})
    return shown


def cell(row: Mapping[str, Any], column: str) -> str:
    """One number of the table as text; the gold score with its interval."""
    value = row[column]
    if value is None:
        return "–"
    if column == "gold":
        return f"{value:.2f} [{row['gold_low']:.2f}, {row['gold_high']:.2f}]"
    if column in ("in_context_accuracy", "replies", "toxicity", "truthful"):
        return f"{100 * value:.0f} %"
    return f"{value:.1f}" if column == "words" else f"{value:.2f}"


def as_text(result: Mapping[str, Any]) -> str:
    """The table and where the page is, to be read in a terminal."""
    header = ["", "gold [95 %]", *"RM KL loss in-context answers rude true words".split()]
    rows = [[row["system"], *(cell(row, column) for column in COLUMNS)] for row in result["table"]]
    widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]
    lines = []
    for line in [header, *rows]:
        first = f"{line[0]:<{widths[0]}}"
        rest = [f"{text:>{width}}" for text, width in zip(line[1:], widths[1:], strict=True)]
        lines.append("  ".join([first, *rest]))
    lines += ["", f"{result['seconds']} s; plots and samples: {result['report']}"]
    return "\n".join(lines)
