"""The files of the drawings: modules, catalogues of labels, styles."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rlhf_lab.errors import InputError
from rlhf_lab.figures import THEMES, Theme

STATIC = Path(__file__).parent / "static"
MODULES = ("kit.js", "element.js", "ppo-clip.js")  # what a page may ask for

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
