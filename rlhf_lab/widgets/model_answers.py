"""Models that answer in the page: what is published for it, and what the page gets.

The drawing itself is ``static/model-answers.js``; it runs the models with the modules of
``static/language-model``. A published folder holds :data:`FILE`, JSON with these fields, and a
folder for each model but the base, which is a preset that the package ships:

- ``format``: :data:`FORMAT`; ``name``: of the whole, for example "quickstart";
- ``base``: the preset;
- ``models``: in the order of their training, for each its ``name`` (that of its folder), its
  ``title``, and its ``index`` (see :mod:`rlhf_lab.browser_files`), which the base lacks;
- ``reference``: name of the model that the others are compared with;
- ``max_new_tokens``: of an answer;
- ``examples``: for each ``prompt`` the ``answers`` by name of the model, at temperature 0.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlhf_lab.browser_files import (
    DIFFERENCE,
    WEIGHTS,
    WHOLE,
    download_bytes,
    read_index,
    shipped_files,
    write_folder,
)
from rlhf_lab.errors import InputError
from rlhf_lab.widgets.files import read_published, write_published

if TYPE_CHECKING:
    from torch import nn

NAME = "model-answers"
FORMAT = "rlhf_lab.model_answers/1"
FILE = "models.json"
SITE_FOLDER = "models"  # beside the folder of the modules
ASSETS = Path(__file__).parents[1] / "assets"


def publish(
    folder: str | Path,
    policies: Mapping[str, nn.Module],
    tokenizer: Any,
    *,
    name: str,
    titles: Mapping[str, str],
    base: str,
    reference: str,
    prompts: Sequence[str],
    max_new_tokens: int,
) -> Path:
    """Write the published folder, with the answers of the models as the page computes them.

    Args:
        folder: where to; made if needed.
        policies: trained from the base, by name.
        tokenizer: of all.
        name: of the whole.
        titles: what a reader calls each model, the base first and in the order to show.
        base: a preset that the package ships.
        reference: one of the policies.
        prompts: that a reader can choose.
        max_new_tokens: longest answer, in tokens.

    Returns:
        The path of :data:`FILE`, which is written last.

    Raises:
        InputError: for a policy that is no descendant of the base, or a folder that cannot be
            written.
    """
    # Here, because torch takes seconds to load, and a page needs none.
    import tempfile

    from rlhf_lab.browser_model import export_difference, restored_weights
    from rlhf_lab.language_model import answers
    from rlhf_lab.models import load_policy

    folder = Path(folder)
    model, _ = load_policy(base)
    written: dict[str, list[str]] = {}
    entries: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as start:
        write_folder(start, WHOLE, shipped_files(ASSETS / base))
        for key, title in titles.items():
            entry: dict[str, Any] = {"name": key, "title": title}
            if key != base:
                export_difference(policies[key], start, folder / key)
                model.load_state_dict(restored_weights(folder / key, start), strict=False)
                entry["index"] = read_index(folder / key, DIFFERENCE)
            written[key] = answers(
                model, tokenizer, prompts, max_new_tokens=max_new_tokens, greedy=True
            )
            entries.append(entry)
    examples = [
        {"prompt": prompt, "answers": {key: texts[i] for key, texts in written.items()}}
        for i, prompt in enumerate(prompts)
    ]
    return write_published(
        folder / FILE,
        {
            "format": FORMAT,
            "name": name,
            "base": base,
            "models": entries,
            "reference": reference,
            "max_new_tokens": max_new_tokens,
            "examples": examples,
        },
    )


def data(path: str | Path) -> dict[str, Any]:
    """What the drawing gets: the published file, less what only the build needs.

    Args:
        path: of :data:`FILE`.

    Returns:
        ``folder`` of the models, from the modules' own; ``models`` with ``name``, ``title``,
        ``bytes`` to fetch and, where its files are a difference, ``base``; ``reference``,
        ``maxNewTokens``, ``examples``.

    Raises:
        InputError: for a folder that is not as published, or another base than the package ships.
    """
    published = read_published(path, FORMAT)
    base = published["base"]
    files = shipped_files(ASSETS / base)
    shipped = hashlib.sha256(files[WEIGHTS]).hexdigest()
    models: list[dict[str, Any]] = []
    for model in published["models"]:
        name = model["name"]
        entry = {"name": name, "title": model["title"]}
        if name == base:
            models.append(entry | {"bytes": sum(map(len, files.values()))})
            continue
        index = read_index(Path(path).parent / name, DIFFERENCE)
        if index != model["index"]:
            raise InputError(name, "another model", f"that of {path}", "publish all models anew")
        if index["base_sha256"] != shipped:
            found = index["base_sha256"]
            raise InputError(f"base of {name}", found, shipped, "publish the models anew")
        models.append(entry | {"base": base, "bytes": download_bytes(index)})
    return {
        "folder": f"../{SITE_FOLDER}/{published['name']}/",
        "models": models,
        "reference": published["reference"],
        "maxNewTokens": published["max_new_tokens"],
        "examples": published["examples"],
    }


def write_site(path: str | Path, static: str | Path) -> None:
    """Copy the models of a published folder into a site, the base from the package.

    Args:
        path: of :data:`FILE`, which :func:`data` has found sound.
        static: the site's folder of assets, beside the modules' folder.
    """
    published = read_published(path, FORMAT)
    target = Path(static) / SITE_FOLDER / published["name"]
    for model in published["models"]:
        name = model["name"]
        if name == published["base"]:
            write_folder(target / name, WHOLE, shipped_files(ASSETS / name))
        else:
            shutil.copytree(Path(path).parent / name, target / name, dirs_exist_ok=True)
