"""What an installation promises: metadata, light imports, one lock."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import rlhf_lab

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE
    )
}


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(line) for lines in (PROJECT["dependencies"], *extras) for line in lines]


def test_version_is_the_installed_one() -> None:
    assert metadata.version("rlhf-lab") == rlhf_lab.__version__
    assert f"version: {rlhf_lab.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'trl', 'datasets', 'pandas', 'plotly'}"
    code = f"import sys, rlhf_lab; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_requirement_is_locked_at_a_version_it_allows() -> None:
    for requirement in requirements():
        locked = LOCK.get(canonicalize_name(requirement.name))
        assert locked is not None, f"{requirement.name} is missing in constraints.txt"
        assert locked in requirement.specifier, f"{requirement} but {locked} is locked"


def test_nbgraders_environment_is_locked_and_agrees_with_the_lock() -> None:
    lines = (ROOT / "requirements-instructor.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    names = {canonicalize_name(pin.split("==")[0]) for pin in pins}
    assert "nbgrader" in names
    assert not names & LOCK.keys()  # what both need has one version, in constraints.txt


def test_lock_has_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) == len(LOCK)
    assert not [name for name in LOCK if name.startswith("nvidia")]
    assert not [version for version in LOCK.values() if version.local]


def test_lock_is_closed() -> None:
    """Whatever a locked package needs is locked too, at a version that it allows."""
    for name in LOCK:
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # another platform's package
        for line in needs:
            need = Requirement(line)
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            key = canonicalize_name(need.name)
            if key in ("pip", "setuptools") or key.startswith(("nvidia", "cuda", "triton")):
                continue
            assert key in LOCK, f"{name} needs {need}"
            assert need.specifier.contains(LOCK[key], prereleases=True), f"{name} needs {need}"


@pytest.mark.parametrize("name", ["LICENSE", "LICENSE-text", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_the_usual_files_are_there(name: str) -> None:
    assert (ROOT / name).read_text().strip()


def test_readme_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    targets = re.findall(r"\]\(([^)#]+)", text) + re.findall(r'src="([^"]+)"', text)
    local = [target for target in targets if "://" not in target]
    assert local
    assert not [target for target in local if not (ROOT / target).exists()]


def test_every_benchmark_is_listed_once() -> None:
    """The table of benchmarks/README.md has a row for each that ``python -m benchmarks`` knows."""
    folder = ROOT / "benchmarks"
    known = re.findall(r'^    "(\w+)": \w+,$', (folder / "__main__.py").read_text("utf-8"), re.M)
    rows = re.findall(r"^\| `(\w+)` \|", (folder / "README.md").read_text("utf-8"), re.M)
    assert len(known) > 30
    assert sorted(rows) == sorted(known)
