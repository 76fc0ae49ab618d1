"""The drawings as widgets of Jupyter and Colab. Needs the extra [labs], for anywidget.

In a notebook::

    from rlhf_lab.widgets.live import PPOClipExplorer

    explorer = PPOClipExplorer(epsilon=0.1)
    explorer  # draws it; a slider that moves changes explorer.ratio, and the other way round

The reader as a labeler, and a reward model trained on what they say::

    widget = RankingWidget(ranking_data(world, answers))
    widget  # ... and in a later cell:
    train_reward_model(model, tokenizer, widget.records(), config)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anywidget
import traitlets

from rlhf_lab.records import Ranking
from rlhf_lab.widgets import ppo_clip, ranking, token_inspector
from rlhf_lab.widgets.files import STATIC, bundle, labels, language_tag, palette_css


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
