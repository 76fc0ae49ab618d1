"""The drawings as widgets of Jupyter and Colab. Needs the extra [labs], for anywidget.

In a notebook::

    from rlhf_lab.widgets.live import PPOClipExplorer

    explorer = PPOClipExplorer(epsilon=0.1)
    explorer  # draws it; a slider that moves changes explorer.ratio, and the other way round

The reader as a labeler, and a reward model trained on what they say::

    widget = RankingWidget(ranking_data(world, answers))
    widget  # ... and in a later cell:
    train_reward_model(model, tokenizer, widget.records(), config)

A published sweep, and points of the reader's own on it::

    BetaGammaExplorer("book/results/sweep")

What is known of published models::

    LineageTimeline("book/data/models.yaml")
"""

from __future__ import annotations

import atexit
import dataclasses
import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf_lab.errors import InputError
from rlhf_lab.records import Ranking
from rlhf_lab.sweep_process import SweepProcess, published_config
from rlhf_lab.widgets import (
    beta_gamma,
    chooser,
    lineage,
    over_optimisation,
    ppo_clip,
    ranking,
    token_inspector,
)
from rlhf_lab.widgets.files import STATIC, bundle, labels, language_tag, palette_css
from rlhf_lab.widgets.model_facts import read_model_facts
from rlhf_lab.widgets.sweep_data import fitted, read_sweep

try:
    import anywidget
    import traitlets
except ImportError:
    raise InputError(
        "anywidget", "not installed", "the extra [labs]", "pip install 'rlhf-lab[labs]'"
    ) from None

POLL_SECONDS = 0.5  # between two looks at a training


class Explorer(anywidget.AnyWidget):
    """What all drawings share. A subclass has one trait for each value of its drawing's state."""

    _css = palette_css() + (STATIC / "explorer.css").read_text(encoding="utf-8")

    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    fixed = traitlets.Dict().tag(sync=True)
    labels = traitlets.Dict().tag(sync=True)
    language = traitlets.Unicode().tag(sync=True)

    def __init__(self, name: str, data: dict[str, Any], language: str) -> None:
        super().__init__(
            names=list(data["state"]),
            fixed={name: value for name, value in data.items() if name != "state"},
            labels=labels(name, language),
            language=language_tag(language),
            **data["state"],
        )


class PPOClipExplorer(Explorer):
    """The clipped objective of one token over its probability ratio.

    Args:
        ratio, epsilon, advantage: as in :func:`rlhf_lab.widgets.ppo_clip.data`.
        language: of the labels.

    Raises:
        InputError: a value outside of its slider, or a language without labels.
    """

    _esm = bundle(f"{ppo_clip.NAME}.js", "notebook.js")

    ratio = traitlets.Float().tag(sync=True)
    epsilon = traitlets.Float().tag(sync=True)
    advantage = traitlets.Float().tag(sync=True)

    def __init__(
        self,
        *,
        ratio: float = 1.35,
        epsilon: float = 0.2,
        advantage: float = 1.0,
        language: str = "en",
    ) -> None:
        state = ppo_clip.data(ratio=ratio, epsilon=epsilon, advantage=advantage)
        super().__init__(ppo_clip.NAME, state, language)


class BetaGammaExplorer(Explorer):
    """A published sweep behind two sliders; a reader trains points of their own.

    A point is trained as the published runs were, by ``rlhf-lab sweep`` in a process of its own.
    Its first one makes an SFT policy and a reward model too, which later ones find in ``work``.

    Args:
        sweep: folder with the tables and the manifest of ``rlhf-lab sweep``.
        work: folder for what is trained here.
        seed: of the points trained here; default: the first published one.
        language: of the labels.

    Raises:
        InputError: for a folder without a sweep, or a language without labels.
    """

    _esm = bundle(f"{beta_gamma.NAME}.js", "notebook.js")

    beta = traitlets.Float().tag(sync=True)
    gamma = traitlets.Float().tag(sync=True)
    view = traitlets.Unicode().tag(sync=True)
    measure = traitlets.Unicode().tag(sync=True)
    prompt = traitlets.Int().tag(sync=True)
    seed = traitlets.Int().tag(sync=True)
    request: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    progress: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    trained: traitlets.List[Any] = traitlets.List().tag(sync=True)

    def __init__(
        self,
        sweep: str | Path,
        *,
        work: str | Path = "runs/explorer",
        seed: int | None = None,
        language: str = "en",
    ) -> None:
        self._published = read_sweep(sweep)
        config = published_config(sweep)
        self._config = dataclasses.replace(
            config, seeds=(config.seeds[0] if seed is None else seed,)
        )
        self._work = Path(work)
        self._process: SweepProcess | None = None
        self._lock = threading.RLock()  # of _process, and of progress while there is one
        self._watcher: threading.Thread | None = None
        shown = beta_gamma.data(self._published)
        nothing = {"number": 0, "action": "", "beta": 0.0, "gamma": 0.0}
        shown["state"] |= {"request": nothing, "progress": _progress("idle"), "trained": []}
        super().__init__(beta_gamma.NAME, shown, language)

    @traitlets.validate("beta", "gamma")
    def _published_weight(self, proposal: Any) -> float:
        name, value = proposal["trait"].name, float(proposal["value"])
        runs = [*self._published["runs"], *self.trained]
        known = sorted({run[name] for run in runs})
        if value not in known:
            raise InputError(name, value, f"one of {known}", f"train({name}=..., ...) makes others")
        return value

    def train(self, beta: float, gamma: float) -> None:
        """Start to train a point; ``progress`` tells how far it is, ``trained`` has it at the end.

        Raises:
            InputError: for a weight below 0 or not finite, or while another point is trained.
        """
        if self._process is not None:
            raise InputError("train", (beta, gamma), "one point at a time", "wait, or cancel()")
        for name, value in (("beta", beta), ("gamma", gamma)):
            if not 0 <= value < math.inf:
                raise InputError(name, value, "a number of at least 0", "choose another weight")
        config = dataclasses.replace(self._config, betas=(beta,), gammas=(gamma,))
        self._process = SweepProcess(config, self._work)
        atexit.register(self._process.stop)
        self.progress = _progress("running")
        self._watcher = threading.Thread(target=self._watch, args=(self._process,), daemon=True)
        self._watcher.start()

    def cancel(self) -> None:
        """Stop the training; the same point goes on where it stopped when it is trained again."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                process.stop()
                self.progress = _progress("cancelled")

    def wait(self) -> None:
        """Return when no point is being trained."""
        if self._watcher is not None:
            self._watcher.join()

    @traitlets.observe("request")
    def _asked(self, change: Any) -> None:
        request = change["new"]
        if request["action"] == "cancel":
            self.cancel()
        elif request["action"] == "train":
            try:
                self.train(float(request["beta"]), float(request["gamma"]))
            except (InputError, TypeError) as error:  # an empty field is None
                if self._process is None:
                    self.progress = _progress("failed", message=str(error))

    def _watch(self, process: SweepProcess) -> None:
        """In a thread of its own: tell how far a training is, and take its point over."""
        pause = threading.Event()
        while process.is_running:
            stage = process.stage()
            with self._lock:
                if process is self._process:
                    self.progress = _progress("running", stage.name, stage.step, stage.steps)
            pause.wait(POLL_SECONDS)
        atexit.unregister(process.stop)
        with self._lock:
            if process is not self._process:
                return  # cancelled
            try:
                self._take_over(process)
            except InputError as error:
                self.progress = _progress("failed", message=str(error))
            finally:
                self._process = None

    def _take_over(self, process: SweepProcess) -> None:
        """Show the point of a process that has ended, or why there is none."""
        message = process.error()
        if message:
            self.progress = _progress("failed", message=message)
            return
        (run,) = fitted(read_sweep(self._work), self._published)
        same = ("beta", "gamma", "seed")
        others = [r for r in self.trained if any(r[name] != run[name] for name in same)]
        with self.hold_sync():
            self.trained = [*others, run]
            self.beta, self.gamma = run["beta"], run["gamma"]
            self.progress = _progress("done")


def _progress(
    status: str, stage: str = "start", step: int = 0, steps: int = 0, message: str = ""
) -> dict[str, Any]:
    """What the drawing shows of a training."""
    return {"status": status, "stage": stage, "step": step, "steps": steps, "message": message}


class OverOptimisationExplorer(Explorer):
    """Proxy and gold against √KL, for several reward models, with fitted forms.

    Args:
        published: what :func:`rlhf_lab.widgets.over_optimisation.published` returns.
        language: of the labels.

    Raises:
        InputError: for a language without labels.
    """

    _esm = bundle(f"{over_optimisation.NAME}.js", "notebook.js")

    model = traitlets.Unicode().tag(sync=True)
    method = traitlets.Unicode().tag(sync=True)
    stop = traitlets.Float().tag(sync=True)

    def __init__(self, published: Mapping[str, Any], *, language: str = "en") -> None:
        super().__init__(over_optimisation.NAME, over_optimisation.data(published), language)


class RankingWidget(Explorer):
    """Answers to rank: the reader is the labeler.

    Args:
        published: what :func:`rlhf_lab.widgets.ranking.ranking_data` returns.
        language: of the labels.

    Raises:
        InputError: for a language without labels.
    """

    _esm = bundle(f"{ranking.NAME}.js", "notebook.js")

    prompt = traitlets.Int().tag(sync=True)
    rankings: traitlets.List[Any] = traitlets.List().tag(sync=True)

    def __init__(self, published: Mapping[str, Any], *, language: str = "en") -> None:
        super().__init__(ranking.NAME, ranking.data(published), language)

    def records(self) -> list[Ranking]:
        """The rankings that are finished: what ``train_reward_model`` takes."""
        return ranking.records(self.fixed, self.rankings)


class TokenInspector(Explorer):
    """A rollout token by token.

    Args:
        published: what :func:`rlhf_lab.widgets.token_inspector.rollout_data` returns.
        language: of the labels.

    Raises:
        InputError: for a language without labels.
    """

    _esm = bundle(f"{token_inspector.NAME}.js", "notebook.js")

    rollout = traitlets.Int().tag(sync=True)
    token = traitlets.Int().tag(sync=True)
    quantity = traitlets.Unicode().tag(sync=True)

    def __init__(self, published: Mapping[str, Any], *, language: str = "en") -> None:
        super().__init__(token_inspector.NAME, token_inspector.data(published), language)


class LineageTimeline(Explorer):
    """Models and API names, their lines of descent, and how each of them is known.

    Args:
        path: of the model facts, ``book/data/models.yaml``.
        language: of the labels.

    Raises:
        InputError: for a file that is no sound one, or a language without labels.
    """

    _esm = bundle(f"{lineage.NAME}.js", "notebook.js")

    idea = traitlets.Unicode().tag(sync=True)
    evidence = traitlets.Unicode().tag(sync=True)
    entry = traitlets.Unicode().tag(sync=True)

    def __init__(self, path: str | Path, *, language: str = "en") -> None:
        shown = lineage.data(read_model_facts(path), language=language)
        super().__init__(lineage.NAME, shown, language)


class ModelChooser(Explorer):
    """Need, capability, cost and risk, asked of the models of a dated file.

    Args:
        path: of the model facts, ``book/data/models.yaml``.
        language: of the labels.

    Raises:
        InputError: for a file that is no sound one, or a language without labels.
    """

    _esm = bundle(f"{chooser.NAME}.js", "notebook.js")

    date = traitlets.Unicode().tag(sync=True)
    images = traitlets.Bool().tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)
    tokens_in = traitlets.Int().tag(sync=True)
    tokens_out = traitlets.Int().tag(sync=True)
    hidden = traitlets.Int().tag(sync=True)
    requests = traitlets.Int().tag(sync=True)
    error_cost = traitlets.Float().tag(sync=True)
    months = traitlets.Int().tag(sync=True)

    def __init__(self, path: str | Path, *, language: str = "en") -> None:
        shown = chooser.data(read_model_facts(path), language=language)
        super().__init__(chooser.NAME, shown, language)
