"""What a run shows while it trains: rows of metrics in a file, trackers, and a progress bar."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from torch import Tensor

from rlhf_lab.errors import InputError
from rlhf_lab.files import atomic_write, writing_to

Callback = Callable[[int, dict[str, Any]], None]
"""Called as ``callback(step, metrics)`` after every logged step."""


def _plain(value: Any) -> Any:
    """A metric as JSON holds it: 0-dim tensors and NumPy scalars as numbers, NaN as None."""
    if isinstance(value, Tensor | np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Tracker:
    """Metrics of one run: always kept in ``history``, and in ``metrics.jsonl`` under a folder.

    Args:
        output_dir: folder of ``metrics.jsonl`` and ``config.json``; None keeps both in memory.
        config: the resolved configuration, a dataclass.
        names: further trackers of accelerate, for example ``("tensorboard", "wandb")``.
        resume_step: keep the rows up to this step, drop later ones; None starts an empty file.
        enabled: False on all but the main process: then nothing is written.

    Raises:
        InputError: for a tracker that is unknown or not installed, or a folder that cannot be
            written.
    """

    def __init__(
        self,
        output_dir: str | Path | None,
        config: Any,
        names: Sequence[str] = (),
        *,
        resume_step: int | None = None,
        enabled: bool = True,
    ) -> None:
        self.history: list[dict[str, Any]] = []
        self._path: Path | None = None
        self._others: list[Any] = []
        if not enabled:
            return
        kinds = [_tracker_class(name) for name in names]  # before anything is written
        settings = dataclasses.asdict(config)
        if output_dir is not None:
            folder = Path(output_dir)
            self._path = folder / "metrics.jsonl"
            if resume_step is not None:
                self.history = [r for r in read_metrics(self._path) if r["step"] <= resume_step]
            atomic_write(self._path, "".join(json.dumps(r) + "\n" for r in self.history))
            atomic_write(folder / "config.json", json.dumps(settings, indent=2) + "\n")
        self._others = [_start_tracker(kind, output_dir or ".", settings) for kind in kinds]

    def log(self, step: int, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Append one row ``{"step": step, **metrics}``, and return it."""
        row = {"step": step, **{name: _plain(value) for name, value in metrics.items()}}
        self.history.append(row)
        if self._path is not None:
            with writing_to(self._path.parent), open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        numbers = {k: v for k, v in row.items() if isinstance(v, int | float)}
        for tracker in self._others:
            tracker.log(numbers, step=step)
        return row

    def close(self) -> None:
        """Finish the further trackers."""
        for tracker in self._others:
            tracker.finish()
        self._others = []


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a ``metrics.jsonl``; a last line cut short by a crash is left out."""
    path = Path(path)
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _tracker_class(name: str) -> Any:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known = sorted(LOGGER_TYPE_TO_CLASS)
    if name not in known:
        raise InputError("tracker", name, ", ".join(known), "choose one of these")
    if name not in {str(getattr(t, "value", t)) for t in get_available_trackers()}:
        raise InputError("tracker", name, "an installed tracker", f"pip install {name}")
    return LOGGER_TYPE_TO_CLASS[name]


def _start_tracker(kind: Any, folder: str | Path, settings: dict[str, Any]) -> Any:
    tracker = kind("rlhf_lab", str(folder)) if kind.requires_logging_directory else kind("rlhf_lab")
    tracker.start()
    tracker.store_init_configuration(settings)
    return tracker


class Progress:
    """One progress bar with fields and the time left; silent unless on a terminal.

    >>> with Progress(total=10, description="PPO", quiet=True) as progress:
    ...     progress.update(reward=0.5, kl=1.2)
    """

    def __init__(self, total: int, description: str, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task(description, total=total, shown="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, advance: int = 1, **fields: float | str) -> None:
        """Move on by ``advance`` steps and show ``fields`` after the bar."""
        shown = "  ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in fields.items()
        )
        self._bar.update(self._task, advance=advance, shown=shown)
