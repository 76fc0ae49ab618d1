"""The files of the drawings: modules, catalogues of labels, styles, published data."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf_lab.errors import InputError
from rlhf_lab.figures import THEMES, Theme
from rlhf_lab.files import atomic_write

STATIC = Path(__file__).parent / "static"
DRAWINGS = (
    "ppo-clip", "beta-gamma", "over-optimisation", "ranking", "token-inspector", "lineage",
    "chooser",
)  # fmt: skip
ON_PAGES = ("model-answers",)  # drawings without a host in notebooks, where Python runs models
RUNTIME = "language-model"  # folder of the modules that run models
# What drawings import.
PARTS = ("kit.js", "panels.js", "stops.js", "sweep-data.js", "beta-gamma-charts.js")
# What a page may ask for.
MODULES = ("element.js", *PARTS, *(f"{name}.js" for name in (*DRAWINGS, *ON_PAGES)))

# Where a page says that it is dark: the book, JupyterLab, Colab.
DARK = ('[data-theme="dark"]', '[data-jp-theme-light="false"]', '[theme="dark"]')

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)


def labels(name: str, language: str = "en") -> dict[str, str]:
    """Every text of a drawing in a language, by its name in the code.

    Args:
        name: the drawing, for example ``"ppo-clip"``.
        language: a file of ``static/labels``, such as ``"en"`` or ``"zh_CN"``.

    Raises:
        InputError: there is no catalogue of this language, or no such drawing in it.
    """
    catalogues = {path.stem: path for path in sorted((STATIC / "labels").glob("*.json"))}
    if language not in catalogues:
        allowed = ", ".join(catalogues)
        raise InputError("language", language, allowed, "add its file to rlhf_lab/widgets/static")
    catalogue = json.loads(catalogues[language].read_text(encoding="utf-8"))
    drawings = [key for key in catalogue if key != "common"]
    if name not in drawings:
        raise InputError("name", name, ", ".join(drawings), "name one of them")
    return {**catalogue["common"], **catalogue[name]}


def language_tag(language: str) -> str:
    """What HTML and JavaScript call a language (BCP 47): ``zh_CN`` is ``zh-CN`` there."""
    return language.replace("_", "-")


def write_published(path: str | Path, published: Mapping[str, Any]) -> Path:
    """Write the data of a drawing as JSON, atomically.

    Raises:
        InputError: when the folder cannot be written.
    """
    return atomic_write(path, json.dumps(published, ensure_ascii=False, allow_nan=False) + "\n")


def read_published(path: str | Path, expected: str) -> dict[str, Any]:
    """Read what :func:`write_published` has written.

    Args:
        path: the file.
        expected: its ``format``.

    Raises:
        InputError: when it cannot be read, is no JSON, or is of another format.
    """
    try:
        published = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        reason = f"check the path ({error.strerror})"
        raise InputError("data", str(path), "a readable file", reason) from None
    except ValueError as error:  # neither UTF-8 nor JSON
        raise InputError("data", str(path), "a file of JSON", f"write it anew: {error}") from None
    found = published.get("format") if isinstance(published, dict) else None
    if found != expected:
        raise InputError(f"format of {path}", found, expected, "name the file of this drawing")
    return published


def content_id(content: object) -> str:
    """Twelve hexadecimal digits that change with a JSON-ready value."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def palette_css() -> str:
    """The colours of :data:`rlhf_lab.figures.THEMES` as custom properties, light and dark."""
    dark = ", ".join(f"{where} .rl-explorer" for where in DARK)
    return _rule(".rl-explorer", THEMES["light"]) + _rule(dark, THEMES["dark"])


def _rule(selector: str, theme: Theme) -> str:
    colors = {"text": theme.text, "background": theme.background, "grid": theme.grid}
    colors |= {f"series-{i}": color for i, color in enumerate(theme.colorway, start=1)}
    lines = "".join(f"  --rl-{name}: {color};\n" for name, color in colors.items())
    return f"{selector} {{\n{lines}}}\n"


def bundle(*names: str) -> str:
    """Modules of ``static`` as the text of a single one; what they import comes before them.

    anywidget loads one text, in which ``./kit.js`` would mean nothing. The modules therefore share
    one scope, and no two of them may give the same name to a thing at their top level.
    """
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        if name in texts:
            return
        source = (STATIC / name).read_text(encoding="utf-8")
        for imported in _IMPORT.findall(source):
            add(imported)
        texts[name] = _IMPORT.sub("", source)

    for name in names:
        add(name)
    return "\n".join(texts.values())
