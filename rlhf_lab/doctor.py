"""``rlhf-lab doctor``: is this machine fit? Versions, device, assets, a real training."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from packaging.requirements import Requirement
from packaging.version import Version
from transformers import GPT2Config, GPT2LMHeadModel

from rlhf_lab import models
from rlhf_lab.config import PPOConfig, RMConfig, SFTConfig
from rlhf_lab.errors import CheckpointError, DivergenceError, InputError
from rlhf_lab.files import file_hash
from rlhf_lab.pretrain import train_tokenizer
from rlhf_lab.provenance import environment
from rlhf_lab.records import Demonstration, Ranking
from rlhf_lab.runtime import select_device

CORE = ("torch", "transformers", "trl", "accelerate", "tokenizers", "safetensors", "datasets")
OPTIONAL = {
    "peft": "LoRA policies",
    "gguf": "GGUF models",
    "tensorboard": "tracker",
    "wandb": "tracker",
}
ENOUGH_MEMORY = 2 << 30
ENOUGH_DISK = 1 << 30


@dataclass(frozen=True)
class Check:
    """One line of the report; ``status`` is "ok", "note" (works without) or "broken"."""

    name: str
    status: str
    found: str
    fix: str = ""


def examine() -> dict[str, Any]:
    """Every check, JSON-ready: ``healthy``, ``checks`` and ``environment``."""
    checks = [*_versions(), *_machine(), *_assets(), _writing(), *_optional(), _training()]
    return {
        "healthy": all(check.status != "broken" for check in checks),
        "checks": [asdict(check) for check in checks],
        "environment": environment(),
    }


def _requirements() -> dict[str, Requirement]:
    lines = importlib.metadata.requires("rlhf-lab") or []
    parsed = [Requirement(line) for line in lines]
    return {r.name: r for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})}


def _versions() -> list[Check]:
    required = _requirements()
    checks = [Check("python", "ok", environment()["python"])]
    for name in CORE:
        bounds = required[name].specifier
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            checks.append(Check(name, "broken", "missing", f"pip install '{name}{bounds}'"))
            continue
        fits = bounds.contains(Version(found).base_version, prereleases=True)
        fix = "" if fits else f"pip install '{name}{bounds}'"
        checks.append(Check(name, "ok" if fits else "broken", f"{found} (needs {bounds})", fix))
    return checks


def total_memory() -> int:
    """Bytes of main memory, or of what a container may use of it; 0 where nobody tells."""
    limits = []
    with contextlib.suppress(OSError, ValueError, AttributeError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, ValueError):  # "max" when there is no limit
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits, default=0)


def _machine() -> list[Check]:
    found = environment()
    memory, disk = total_memory(), found["free_disk_bytes"]
    return [
        Check("device", "ok", f"{select_device('auto')}: {found['device']}"),
        Check("threads", "ok", f"{found['threads']} of {found['cores']} cores"),
        _amount("memory", memory, ENOUGH_MEMORY, "the tiny preset needs about 1 GB"),
        _amount("free disk", disk, ENOUGH_DISK, "free some space for checkpoints"),
    ]


def _amount(name: str, size: int, enough: int, fix: str) -> Check:
    if size == 0:
        return Check(name, "note", "unknown")
    status = "ok" if size >= enough else "note"
    return Check(name, status, f"{size / 2**30:.1f} GiB", "" if status == "ok" else fix)


def _assets() -> list[Check]:
    # `tiny` is what everything starts from; the others can be done without.
    presets = [
        _asset(f"model {name}", name, f"pretrain --preset {name}", needed=name == "tiny")
        for name in models.PRESETS
    ]
    examiners = [
        _asset(f"examiner {preset}", name, f"examiner --model {preset}")
        for preset, name in models.EXAMINERS.items()
    ]
    return presets + examiners


def _asset(label: str, name: str, command: str, *, needed: bool = False) -> Check:
    """A shipped model against its hashes; ``command`` would make it anew."""
    folder = models.ASSETS / name
    fix = f"install the package again, or run `rlhf-lab {command}`"
    if not folder.exists() and not needed:
        return Check(label, "note", "not shipped with this version", fix)
    try:
        hashes = json.loads((folder / "hashes.json").read_text(encoding="utf-8"))
        wrong = [file for file, digest in hashes.items() if file_hash(folder / file) != digest]
    except (OSError, json.JSONDecodeError):
        return Check(label, "broken", "missing or incomplete", fix)
    if wrong:
        return Check(label, "broken", f"altered: {', '.join(wrong)}", fix)
    size = (folder / "model.safetensors").stat().st_size
    digest = hashes["model.safetensors"][:12]
    return Check(label, "ok", f"{size / 2**20:.1f} MiB, sha256 {digest}…")


def _writing() -> Check:
    try:
        with tempfile.NamedTemporaryFile(dir=Path.cwd()):
            pass
    except OSError as error:
        return Check("write access", "broken", str(error.strerror), "change to another folder")
    return Check("write access", "ok", "this folder can be written")


def _optional() -> list[Check]:
    checks = []
    for name, purpose in OPTIONAL.items():
        if importlib.util.find_spec(name) is None:
            fix = f"pip install {name}, if you want it"
            checks.append(Check(name, "note", f"not installed ({purpose})", fix))
        else:
            found = importlib.metadata.version(name)
            checks.append(Check(name, "ok", f"{found} ({purpose})"))
    return checks


# --- self-test ----------------------------------------------------------------------------------


def _training() -> Check:
    """A step of each stage on a random model, on the device that would be used."""
    started = time.perf_counter()
    try:
        train_a_little()
    except (InputError, CheckpointError, DivergenceError, RuntimeError, OSError) as error:
        reason = re.sub(r"\s+", " ", str(error))[:160]
        return Check("self-test", "broken", reason, "install the versions of constraints.txt")
    seconds = time.perf_counter() - started
    return Check("self-test", "ok", f"SFT, reward model and PPO-ptx step in {seconds:.1f} s")


def train_a_little() -> list[dict[str, Any]]:
    """One step of SFT, reward model and PPO-ptx on a random model; their last metrics."""
    from rlhf_lab.ppo import PPOTrainer
    from rlhf_lab.reward import train_reward_model
    from rlhf_lab.sft import train_sft

    device = select_device("auto")
    texts = ["where is the fox?\n", "what does the hen eat?\n"]
    tokenizer = train_tokenizer(texts, 270)

    def policy() -> Any:
        torch.manual_seed(0)
        shape = GPT2Config(
            vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=64,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        )  # fmt: skip
        return GPT2LMHeadModel(shape).to(device)

    model = policy()
    demonstrations = [Demonstration(text, "at the mill.") for text in texts]
    rankings = [Ranking(text, ("at the mill.", "ask a fool."), (0, 1)) for text in texts]
    settings = SFTConfig(epochs=1, batch_size=2, micro_batch_size=2)
    sft = train_sft(model, tokenizer, demonstrations, settings, quiet=True)
    reward = models.ScalarModel.from_policy(model, seed=0)
    ranked = RMConfig(epochs=1, batch_size=2)
    rm = train_reward_model(reward, tokenizer, rankings, ranked, quiet=True)
    blocks = torch.arange(2 * 32).view(2, 32) + 2
    config = PPOConfig(steps=1, batch_size=2, minibatches=1, max_response_length=8, gamma=0.3)
    reference = policy()
    reference.load_state_dict(model.state_dict())
    trainer = PPOTrainer(
        model, reference, models.reward_function(reward), reward.copy(), tokenizer, texts, blocks,
        config, quiet=True,
    )  # fmt: skip
    return [history[-1] for history in (sft, rm, trainer.train())]


def as_text(result: dict[str, Any]) -> str:
    """The report of :func:`examine`, to be read."""
    checks = [Check(**row) for row in result["checks"]]
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        line = f"{check.status:<6}  {check.name:<{width}}  {check.found}"
        lines.append(f"{line}  -> {check.fix}" if check.fix else line)
    broken = sum(check.status == "broken" for check in checks)
    lines += ["", "everything works" if not broken else f"{broken} broken: see the fixes above"]
    return "\n".join(lines)
