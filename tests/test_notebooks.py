"""The first cell of every notebook: when it installs the package, and what."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rlhf_lab import notebooks

ROOT = Path(__file__).parents[1]
LABS = {"rlhf-lab": "0.1.0", "anywidget": "0.9.18"}


def installed_by(cell: str, here: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the cell asks pip for in an environment of these distributions."""

    def version(name: str) -> str:
        if name not in here:
            raise importlib.metadata.PackageNotFoundError(name)
        return here[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    asked: list[str] = []
    code, count = re.subn(r"%pip install --quiet (.*)", r"pip(\1)", cell)
    assert count == 1
    exec(compile(code, "cell", "exec"), {"pip": asked.append})  # our own text
    return asked


@pytest.mark.parametrize(
    ("extra", "here", "asked"),
    [
        ("", {}, "rlhf-lab==0.1.0"),
        ("", {"rlhf-lab": "0.0.9"}, "rlhf-lab==0.1.0"),
        ("", {"rlhf-lab": "0.1.0"}, None),
        ("labs", {}, "rlhf-lab[labs]==0.1.0"),
        ("labs", {"rlhf-lab": "0.1.0"}, "rlhf-lab[labs]==0.1.0"),
        ("labs", {**LABS, "rlhf-lab": "0.0.9"}, "rlhf-lab[labs]==0.1.0"),
        ("labs", LABS, None),
        ("paradigms", LABS, "rlhf-lab[paradigms]==0.1.0"),
        ("paradigms", {**LABS, "python-crfsuite": "1", "scikit-learn": "1"}, None),
        ("labs,paradigms", LABS, "rlhf-lab[labs,paradigms]==0.1.0"),
    ],
)
def test_installs_what_is_missing_and_only_then(
    extra: str, here: dict[str, str], asked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = notebooks.install_cell("", "0.1.0", extra)
    assert installed_by(cell, here, monkeypatch) == ([] if asked is None else [asked])


def test_what_it_looks_for_is_what_the_extras_bring() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra, names in notebooks.BRINGS.items():
        brought = {re.split(r"\W*>", text)[0] for text in project["optional-dependencies"][extra]}
        assert set(names) <= brought


def test_widgets_without_anywidget_say_what_to_install() -> None:
    """For a reader who has passed over the first cell, or is without a network."""
    code = "import sys; sys.modules['anywidget'] = None; import rlhf_lab.widgets.live"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith("allowed: the extra [labs]; fix: pip install 'rlhf-lab[labs]'")
