"""A sweep in a process of its own: for a notebook, which has to go on answering while it runs.

The process is the command line's, so what it makes is what ``rlhf-lab sweep`` makes. It may be
stopped at any moment; the next one with the same settings goes on where it was.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rlhf_lab.config import SweepConfig, with_overrides
from rlhf_lab.errors import InputError
from rlhf_lab.files import atomic_write

STAGES = {"sft": "sft", "early-sft": "sft", "rm": "rm"}  # folder of a chain to stage


@dataclass(frozen=True)
class Stage:
    """Where a sweep is: ``"start"``, ``"sft"``, ``"rm"``, ``"ppo"`` or ``"evaluation"``.

    ``steps`` is 0 where it is not known how many there will be.
    """

    name: str
    step: int = 0
    steps: int = 0


def published_config(folder: str | Path) -> SweepConfig:
    """The configuration of a published sweep, from its manifest.

    Raises:
        InputError: when there is no manifest of a sweep, or it has a setting that is unknown here.
    """
    path = Path(folder) / "manifest.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))["config"]["SweepConfig"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        fix = f"name the folder of a sweep ({type(error).__name__}: {error})"
        raise InputError("sweep", str(path), "a manifest of rlhf-lab sweep", fix) from None
    return with_overrides(SweepConfig(), settings)


class SweepProcess:
    """``rlhf-lab sweep`` as a child of this process, started at once.

    Args:
        config: what to run; one run at a time.
        folder: where its tables and its ``work`` go, and ``sweep.log`` with what it says.
    """

    def __init__(self, config: SweepConfig, folder: str | Path) -> None:
        self.config = dataclasses.replace(config, processes=1)
        self.folder = Path(folder).resolve()
        settings = self.folder / "sweep.yaml"  # JSON is YAML
        atomic_write(settings, json.dumps(dataclasses.asdict(self.config), indent=1) + "\n")
        command = [sys.executable, "-m", "rlhf_lab", "sweep", "--config", str(settings)]
        command += ["--model", config.chain.model, "--output-dir", str(self.folder), "--quiet"]
        self._before = self._logs()
        with open(self.folder / "sweep.log", "wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it now and wait until it has ended; harmless when it has."""
        self._process.terminate()
        self._process.wait()

    def error(self) -> str:
        """Why it failed, or nothing: to be asked when it has ended."""
        if self._process.wait() != 0:
            said = (self.folder / "sweep.log").read_text(encoding="utf-8", errors="replace")
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            return lines[-1] if lines else f"exit code {self._process.returncode}"
        errors = pd.read_csv(self.folder / "runs.csv")["error"].dropna()
        return "" if errors.empty else str(errors.iloc[0])

    def stage(self) -> Stage:
        """Where it is, from the rows that it has logged since it began."""
        grown = {
            path: size for path, size in self._logs().items() if self._before.get(path) != size
        }
        if not grown:
            return Stage("start")
        latest = max(grown, key=lambda path: path.stat().st_mtime_ns)
        lines = latest.read_text(encoding="utf-8").splitlines()
        if latest.parent.name in STAGES:
            return Stage(STAGES[latest.parent.name], len(lines))
        steps = self.config.chain.ppo.steps
        return Stage("ppo", len(lines), steps) if len(lines) < steps else Stage("evaluation")

    def _logs(self) -> dict[Path, Any]:
        """Every log of metrics with what tells that it has changed."""
        found = (self.folder / "work").glob("**/metrics.jsonl")
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}
