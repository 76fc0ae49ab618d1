"""What is published for a page's models, and what the page gets. What it does: tests/browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.widgets import files, model_answers

NAMES = ["tiny", "sft", "ppo", "ppo-ptx"]


@pytest.fixture
def published(published_models: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(published_models, tmp_path / "models") / model_answers.FILE


def test_the_page_gets_names_sizes_and_prompts(published: Path, tmp_path: Path) -> None:
    data = model_answers.data(published)
    assert [model["name"] for model in data["models"]] == NAMES
    assert [model.get("base") for model in data["models"]] == [None, "tiny", "tiny", "tiny"]
    assert data["reference"] == "sft"
    assert data["maxNewTokens"] == 16
    assert data["folder"] == "../models/small/"
    model_answers.write_site(published, tmp_path / "site")
    for model in data["models"]:
        folder = tmp_path / "site/models/small" / model["name"]
        weighed = sum(p.stat().st_size for p in folder.iterdir() if p.name != "index.json")
        assert weighed == model["bytes"] <= 3_000_000
    assert sum(model["bytes"] for model in data["models"][1:]) <= 4_000_000
    for example in data["examples"]:
        assert list(example["answers"]) == NAMES


def test_published_answers_are_those_of_the_rounded_models(published: Path, tmp_path: Path) -> None:
    from rlhf_lab.browser_model import restored_weights
    from rlhf_lab.language_model import answers
    from rlhf_lab.models import load_policy

    model_answers.write_site(published, tmp_path)
    folder = tmp_path / "models/small"
    policy, tokenizer = load_policy("tiny")
    policy.load_state_dict(restored_weights(folder / "ppo", folder / "tiny"), strict=False)
    examples = json.loads(published.read_text(encoding="utf-8"))["examples"]
    prompts = [example["prompt"] for example in examples]
    expected = answers(policy, tokenizer, prompts, max_new_tokens=16, greedy=True)
    assert [example["answers"]["ppo"] for example in examples] == expected


def change(path: Path, **fields: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | fields), encoding="utf-8")


def test_what_does_not_fit_together_is_refused(published: Path) -> None:
    weights = published.parent / "ppo/difference.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"x")
    with pytest.raises(InputError, match=r"difference\.safetensors"):
        model_answers.data(published)
    weights.write_bytes(whole)
    index = published.parent / "ppo/index.json"
    kept = index.read_bytes()
    change(index, base_sha256="0" * 64)
    with pytest.raises(InputError) as caught:
        model_answers.data(published)
    assert caught.value.argument == "ppo"
    # Published against another base than the package ships.
    models = json.loads(published.read_text(encoding="utf-8"))["models"]
    models[2]["index"]["base_sha256"] = "0" * 64
    change(published, models=models)
    with pytest.raises(InputError) as caught:
        model_answers.data(published)
    assert caught.value.argument == "base of ppo"
    index.write_bytes(kept)
    shutil.rmtree(published.parent / "sft")
    with pytest.raises(InputError, match="exported model"):
        model_answers.data(published)


def test_the_page_is_built_without_torch() -> None:
    code = "import sys, rlhf_lab.widgets.model_answers; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_labels_are_those_of_the_catalogue() -> None:
    """No text in the code, no label that nothing shows, and a sentence for each error."""
    catalogue = files.labels("model-answers")
    source = (files.STATIC / "model-answers.js").read_text(encoding="utf-8")
    errors = (files.STATIC / "language-model/errors.js").read_text(encoding="utf-8")
    codes = set(re.findall(r'^ \* - "([\w-]+)":', errors, re.MULTILINE)) - {"cancelled"}
    assert len(codes) == 8
    used = set(re.findall(r"labels\.(\w+)", source)) | {f"error_{code}" for code in codes}
    assert used == catalogue.keys() - {"title", "alt", "still", "show_data", "download_csv"}


def test_styles_have_no_colour_of_their_own() -> None:
    styles = (files.STATIC / "model-answers.css").read_text(encoding="utf-8")
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgb\(", styles)
    known = set(re.findall(r"(--rl-[\w-]+):", files.palette_css()))
    assert set(re.findall(r"var\((--rl-[\w-]+)\)", styles)) - known == {"--rl-share"}


def test_styles_leave_those_of_other_drawings_alone() -> None:
    """On a page with both, a name that means two things would be drawn as a mixture."""
    own, shared = (
        set(re.findall(r"\.(rl-[\w-]+)", (files.STATIC / name).read_text(encoding="utf-8")))
        for name in ("model-answers.css", "explorer.css")
    )
    assert own & shared == {"rl-explorer", "rl-button", "rl-heading", "rl-slider"}
