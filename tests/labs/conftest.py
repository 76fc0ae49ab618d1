"""The labs of this repository, and a repository of its own with the sweep of the small book."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="needs the extra [labs]")

from rlhf_lab.labs.masters import Master, read_master

ROOT = Path(__file__).parents[2]


def masters() -> list[Master]:
    return [read_master(path) for path in sorted((ROOT / "labs/source").glob("*.md"))]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What labs are made from: their sources, the settings, and results that are cheap to read."""
    root = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "_config.yml", root)
    shutil.copytree(ROOT / "labs/source", root / "labs/source")
    results = root / "book/results"
    shutil.copytree(ROOT / "tests/book/fixture/book/results/sweep", results / "sweep")
    for name in (
        "quickstart/runs.csv",
        "sft/epochs.csv",
        "over-optimisation/best_of_n.csv",
        "over-optimisation/course.csv",
        "scaling-laws/runs.csv",
        "scaling-laws/inside.csv",
    ):
        (results / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "book/results" / name, results / name)
    return root
