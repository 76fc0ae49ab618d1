"""Assets of other people, taken from installed packages, so that a page asks no other server.

MathJax comes from the wheel sphinx-mathjax-offline (whose own Sphinx hook is not used: it would
copy 24 MB), plotly.js from plotly's wheel: its version is the one that wrote the figures.
"""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

from rlhf_book import explorer
from rlhf_lab.figures import THEMES, theme_layout

MATHJAX = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions",
    "output/chtml.js",
    "output/chtml/fonts",
    "a11y/assistive-mml.js",  # MathML for screen readers
)


def add_static_path(app: Sphinx, config: Config) -> None:
    """Collect the assets beside the output folder and let Sphinx copy them into ``_static``."""
    folder = Path(app.outdir).parent / "static"
    mathjax = _package_files("sphinx-mathjax-offline", "static/mathjax")
    for name in MATHJAX:
        _copy(mathjax / name, folder / "vendor" / "mathjax" / name)
    plotly = _package_files("plotly", "plotly/package_data")
    _copy(plotly / "plotly.min.js", folder / "vendor" / "plotly" / "plotly.min.js")
    (folder / "figure-theme.js").write_text(theme_script(), encoding="utf-8")
    explorer.write_files(folder / explorer.FOLDER)
    config.html_static_path.append(str(folder))


def theme_script() -> str:
    """The themes of ``rlhf_lab.figures`` for the page's script: they are defined once, there."""
    themes = {
        name: {"layout": theme_layout(theme), "colors": [theme.text, *theme.colorway]}
        for name, theme in THEMES.items()
    }
    return f"window.rlThemes = {json.dumps(themes)};\n"


def _package_files(distribution: str, inside: str) -> Path:
    """Folder in an installed distribution, which need not be importable."""
    for file in metadata.files(distribution) or []:
        parts = file.as_posix()
        if f"{inside}/" in parts:
            located = Path(str(file.locate())).resolve()
            depth = len(Path(parts.split(f"{inside}/", 1)[1]).parts)
            return located.parents[depth - 1]
    raise FileNotFoundError(f"{inside} in {distribution}; reinstall it from constraints.txt")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)
