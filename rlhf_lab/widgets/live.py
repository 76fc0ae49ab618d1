"""The drawings as widgets of Jupyter and Colab. Needs the extra [labs], for anywidget.

In a notebook::

    from rlhf_lab.widgets.live import PPOClipExplorer

    explorer = PPOClipExplorer(epsilon=0.1)
    explorer  # draws it; a slider that moves changes explorer.ratio, and the other way round
"""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from rlhf_lab.widgets import ppo_clip
from rlhf_lab.widgets.files import STATIC, bundle, labels, language_tag, palette_css


class Explorer(anywidget.AnyWidget):
    """What all drawings share. A subclass has one trait for each value of its drawing's state."""

    _css = palette_css() + (STATIC / "explorer.css").read_text(encoding="utf-8")

    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    ranges = traitlets.Dict().tag(sync=True)
    labels = traitlets.Dict().tag(sync=True)
    language = traitlets.Unicode().tag(sync=True)

    def __init__(self, name: str, data: dict[str, Any], language: str) -> None:
        super().__init__(
            names=list(data["state"]),
            ranges=data["ranges"],
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
