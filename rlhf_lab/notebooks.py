"""What a notebook of this project needs to run anywhere: the package, and results that it reads.

Two kinds are made: one of every executed page of the book, and the labs. Same input, same bytes.
"""

from __future__ import annotations

import base64
import io
import json
import posixpath
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

INSTALL = """\
# Run this first: it installs rlhf_lab {version} unless it is there.
from importlib.metadata import PackageNotFoundError, version

try:
{extras}    installed = version("rlhf-lab")
except PackageNotFoundError:
    installed = None
if installed != "{version}":
    %pip install --quiet "{requirement}"
"""

# What an extra brings that its notebooks cannot do without, by the names of the package index.
BRINGS = {
    "labs": ("anywidget",),
    "paradigms": ("python-crfsuite", "scikit-learn"),
}

UNPACK = """\
# The published results that this notebook reads, put where it looks for them.
import base64, io, os, zipfile
from pathlib import Path

if not all(Path(name).is_file() for name in {names}):
    archive = zipfile.ZipFile(io.BytesIO(base64.b64decode("{data}")))
    archive.extractall("rlhf-lab-{version}")
    os.chdir("rlhf-lab-{version}/{folder}")
"""


def requirement(repository: str, version: str, extra: str = "") -> str:
    """What pip installs: a release of the package index, or its tag in the repository.

    Args:
        repository: its address, or nothing while it has none.
        version: of the release.
        extra: of the package that the notebook needs, several with commas, or nothing.
    """
    name = f"rlhf-lab[{extra}]" if extra else "rlhf-lab"
    return f"{name} @ git+{repository}@v{version}" if repository else f"{name}=={version}"


def install_cell(repository: str, version: str, extra: str = "") -> str:
    """Code that installs the release that the notebook was written for, where it is missing.

    So it does where the release is there without what an extra brings.

    Args:
        repository: as in :func:`requirement`.
        version: of the release.
        extra: as in :func:`requirement`.
    """
    names = [(each, name) for each in extra.split(",") if each for name in BRINGS[each]]
    extras = "".join(f'    version("{name}")  # of the extra [{each}]\n' for each, name in names)
    wanted = requirement(repository, version, extra)
    return INSTALL.format(version=version, extras=extras, requirement=wanted)


def unpacking(root: Path, folder: str, names: Sequence[str], version: str) -> str:
    """Code that brings the files that a notebook reads; nothing where it reads none.

    Args:
        root: folder of the sources.
        folder: where the notebook's relative paths start from, below ``root``.
        names: of the files, from ``root``.
        version: of the release.
    """
    if not names:
        return ""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(_entry(f"{folder}/"), "")
        for name in sorted(names):
            archive.writestr(_entry(name), (root / name).read_bytes())
    data = base64.b64encode(out.getvalue()).decode()
    shown = json.dumps([posixpath.relpath(name, folder) for name in sorted(names)])
    return UNPACK.format(names=shown, data=data, version=version, folder=folder)


def _entry(name: str) -> zipfile.ZipInfo:
    """A place in the archive without the file's time and system; bzip2 has one output only."""
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.compress_type = zipfile.ZIP_BZIP2
    return entry


def folded() -> dict[str, Any]:
    """Metadata by which JupyterLab and Colab fold a cell's code."""
    return {"jupyter": {"source_hidden": True}, "cellView": "form"}


def about(name: str) -> dict[str, Any]:
    """Metadata of a notebook: its kernel, and its file name in Colab."""
    return {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
        "colab": {"name": f"{name}.ipynb", "toc_visible": True},
    }
