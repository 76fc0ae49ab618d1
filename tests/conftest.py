"""Fixtures of more than one file.

What loads transformers is imported inside its fixture: many tests can do without, and it is slow.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from filelock import FileLock

from rlhf_lab.labs.editions import write_students
from rlhf_lab.widgets.files import write_published

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Some tests fork, and a child that inherits the locks of torch's OpenMP threads may wait for ever.
torch.set_num_threads(1)
# Tests run side by side, one a core. With more threads than cores in kernels and commands, OpenMP
# spins while it waits: labs took four times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent

# What a model may say that a page must never run.
HOSTILE_ANSWER = (
    "<img src=x onerror=window.ran=1></script><script>window.ran=1</script> [a](javascript:ran=1)"
)

Build = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def extension() -> Iterator[Any]:
    """The modules of rlhf_book by name; it is importable while a book is built, and here."""
    path = str(ROOT / "book" / "_ext")
    sys.path.insert(0, path)
    yield lambda name: importlib.import_module(f"rlhf_book.{name}")
    sys.path.remove(path)


@pytest.fixture(scope="session")
def build_book() -> Build:
    """Build a book with this repository's configuration; warnings are errors, as in `make book`."""

    def build(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        run = "from jupyter_book.cli.main import main; main()"
        command = [sys.executable, "-c", run, "build", str(folder)]
        return subprocess.run(
            [*command, "-W", "--keep-going", *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            cwd=folder,  # where no other rlhf_lab lies than the one that is tested
            env=os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"} | environment,
        )

    return build


@pytest.fixture(scope="session")
def published_ranking() -> dict[str, Any]:
    """Prompts with four to nine answers that Fernwick's people wrote; one answer is hostile."""
    from rlhf_lab.widgets.ranking import ranking_data
    from rlhf_lab.world import World

    world = World(0)
    qualities = ("right", "wrong", "hedging", "partial", "rude", "questions")
    answers = []
    for prompt, count in zip(world.prompts("valid", 6), (5, 4, 9, 5, 6, 4), strict=True):
        texts = dict.fromkeys(world.answer(prompt, i // 6, qualities[i % 6]) for i in range(24))
        answers.append((prompt, list(texts)[:count]))
    answers[1][1][3] = HOSTILE_ANSWER
    return ranking_data(world, answers)


@pytest.fixture(scope="session")
def published_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of three models that differ from ``tiny`` by noise; one example is hostile."""
    from rlhf_lab.models import load_policy
    from rlhf_lab.widgets.model_answers import publish

    generator = torch.Generator().manual_seed(0)
    policies = {}
    for name, scale in (("sft", 0.01), ("ppo", 0.03), ("ppo-ptx", 0.02)):
        policies[name], tokenizer = load_policy("tiny")
        with torch.no_grad():
            for weight in policies[name].parameters():
                weight += scale * torch.randn(weight.shape, generator=generator)
    folder = tmp_path_factory.mktemp("published") / "models"
    publish(
        folder, policies, tokenizer,
        name="small",
        titles={"tiny": "base", "sft": "SFT", "ppo": "PPO, γ = 0", "ppo-ptx": "PPO-ptx"},
        base="tiny",
        reference="sft",
        prompts=("what colour is the otter?\n", f"{HOSTILE_ANSWER}\n"),
        max_new_tokens=16,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def new_book(
    tmp_path_factory: pytest.TempPathFactory,
    published_ranking: dict[str, Any],
    published_models: Path,
) -> Callable[[], Path]:
    """Make an unbuilt copy of the small book in tests/book/fixture, with the real configuration."""

    def new() -> Path:
        folder = tmp_path_factory.mktemp("book")
        shutil.copytree(ROOT / "tests/book/fixture", folder, dirs_exist_ok=True)
        for name in ("_config.yml", "conf.py", "constraints.txt"):
            shutil.copy(ROOT / name, folder)
        for name in ("_ext", "_static"):
            shutil.copytree(
                ROOT / "book" / name,
                folder / "book" / name,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        shutil.copy(ROOT / "book/references.bib", folder / "book")
        write_published(folder / "book/data/ranking.json", published_ranking)
        shutil.copy(ROOT / "book/data/models.yaml", folder / "book/data")
        shutil.copytree(published_models, folder / "book/data/models")
        write_students(folder)
        return folder

    return new


@pytest.fixture(scope="session")
def small_site(
    new_book: Callable[[], Path],
    build_book: Build,
    tmp_path_factory: pytest.TempPathFactory,
    worker_id: str,
) -> Path:
    """The small book, built once for all processes of a run: the folder of its pages."""
    pytest.importorskip("jupyter_book", reason="needs the extra [book]")
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":  # a process of several, each with a folder of its own inside
        shared = shared.parent
    record = shared / "small-site"
    with FileLock(f"{record}.lock"):
        if not record.exists():
            folder = new_book()
            done = build_book(folder)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
            record.write_text(str(folder / "_build" / "html"))
    return Path(record.read_text())


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """The bytes, the two special tokens, and hardly a merge: 262 tokens."""
    from rlhf_lab.pretrain import train_tokenizer

    return train_tokenizer(["say cat"] * 5, 262)


@pytest.fixture(scope="session")
def fernwick_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random model with a tokenizer of Fernwick, small but with room for its prompts.

    Every test of the run reads it: copy it to change it.
    """
    from rlhf_lab.models import save_policy
    from rlhf_lab.pretrain import train_tokenizer
    from rlhf_lab.world import World
    from tiny_models import causal_lm

    tokenizer = train_tokenizer([d.text for d in World(0).documents(1500)], 900)
    model = causal_lm(vocab_size=len(tokenizer), positions=256)
    return save_policy(model, tokenizer, tmp_path_factory.mktemp("fernwick") / "model")
