"""An execution cache that cannot serve outputs of older code.

jupyter-cache compares code cells only: after an edit of ``rlhf_lab`` or of a result file it would
show old numbers without a word. So the cache lives in a folder named by a hash over everything that
an output can depend on besides its own cells: package files (weights included), published results,
and the versions of Python and of the package's dependencies.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

import rlhf_lab

KEPT = 4  # caches of other branches and of the edit before, so that going back is quick


def set_cache_path(app: Sphinx, config: Config) -> None:
    """Point myst-nb to the cache of the present package, results and versions."""
    package = Path(rlhf_lab.__file__).parent  # the one that the chapters import
    results = Path(app.srcdir) / "book" / "results"
    key = digest([package, results], dependencies("rlhf-lab"))
    # The folder of the outputs, which --path-output may have moved.
    folder = Path(app.outdir).parent / ".jupyter_cache"
    prune(folder, keep=KEPT, current=key)
    config.nb_execution_cache_path = str(folder / key)


def digest(folders: Iterable[Path], versions: Iterable[str]) -> str:
    """Hash of all files below the folders, names included, and of the versions."""
    state = hashlib.sha256("\n".join(versions).encode())
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if "__pycache__" in path.parts or not path.is_file():
                continue
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            name = path.relative_to(folder.parent).as_posix()
            state.update(f"\n{name} {content}".encode())
    return state.hexdigest()[:16]


def dependencies(package: str) -> list[str]:
    """``name==version`` of Python and of the package's direct dependencies without extras."""
    names = {
        re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        for requirement in metadata.requires(package) or []
        if "extra ==" not in requirement
    }
    found = [f"{name}=={metadata.version(name)}" for name in sorted(names)]
    return [f"python=={platform.python_version()}", *found]


def prune(folder: Path, *, keep: int, current: str) -> None:
    """Delete all caches but the current one and the ``keep`` used last before it."""
    if not folder.is_dir():
        return
    others = [path for path in folder.iterdir() if path.is_dir() and path.name != current]
    for path in sorted(others, key=lambda p: p.stat().st_mtime, reverse=True)[keep:]:
        shutil.rmtree(path)
