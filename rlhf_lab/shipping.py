"""Models for shipping: float16 weights, model card, training log, and the hash of every file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from rlhf_lab.config import ExaminerConfig, PretrainConfig, fields_with_help
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.models import ScalarModel


def export_policy(
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: str | Path,
    card: str,
    log: Sequence[dict[str, Any]] = (),
) -> Path:
    """Write a base model: float16 weights, configuration, tokenizer, card, hashes.

    Files: ``model.safetensors``, ``config.json``, ``tokenizer.json``, ``tokenizer_config.json``,
    ``README.md`` (the card), ``training_log.json``, ``hashes.json`` (SHA-256 of each).
    """
    settings = {**_plain(model.config), "architectures": [type(model).__name__]}
    tokenizer_settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": tokenizer.eos_token,
        "pad_token": tokenizer.pad_token,
        "clean_up_tokenization_spaces": False,
        "model_max_length": model.config.n_positions,
    }
    return _write(
        Path(folder),
        {name: p.detach().half() for name, p in model.named_parameters()},
        {"config.json": settings, "tokenizer_config.json": tokenizer_settings},
        {"tokenizer.json": tokenizer.backend_tokenizer.to_str(pretty=False), "README.md": card},
        log,
    )


def export_scalar(
    model: ScalarModel, folder: str | Path, card: str, log: Sequence[dict[str, Any]] = ()
) -> Path:
    """Write a reward model that :meth:`ScalarModel.load` reads; its weights in float16.

    Files: as :func:`export_policy`, with ``scalar.json`` in place of the tokenizer.
    """
    weights = {name: value.detach() for name, value in model.state_dict().items()}
    halves = {n: w if n == "bias" else w.half() for n, w in weights.items()}
    settings = _plain(model.backbone.config)
    return _write(
        Path(folder),
        halves,
        {"config.json": settings, "scalar.json": model.shape},
        {"README.md": card},
        log,
    )


def _plain(config: Any) -> dict[str, Any]:
    """A transformers configuration without the version that wrote it."""
    return {k: v for k, v in config.to_diff_dict().items() if k != "transformers_version"}


def _write(
    folder: Path,
    weights: Mapping[str, Tensor],
    settings: Mapping[str, Mapping[str, Any]],
    texts: Mapping[str, str],
    log: Sequence[dict[str, Any]],
) -> Path:
    contiguous = {name: tensor.cpu().contiguous() for name, tensor in weights.items()}
    atomic_write(folder / "model.safetensors", save(contiguous, metadata={"format": "pt"}))
    for name, values in settings.items():
        atomic_write(folder / name, json.dumps(values, indent=2, sort_keys=True) + "\n")
    for name, text in texts.items():
        atomic_write(folder / name, text)
    atomic_write(folder / "training_log.json", json.dumps(list(log)) + "\n")
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != "hashes.json")
    hashes = {p.name: file_hash(p) for p in files}
    atomic_write(folder / "hashes.json", json.dumps(hashes, indent=2) + "\n")
    return folder


# --- model cards --------------------------------------------------------------------------------


def _changed(config: Any, *besides: str) -> list[str]:
    """``name=value`` of the fields that differ from their defaults."""
    return [
        f"{name}={getattr(config, name)}"
        for name, default, _ in fields_with_help(type(config))
        if getattr(config, name) != default and name not in besides
    ]


def base_card(
    config: PretrainConfig, source: str | None, tokens: int, history: Sequence[dict[str, Any]]
) -> str:
    """Model card of a base model: what it is, how it was made, what it must not be used for.

    Args:
        source: name of the user's texts; None for Fernwick's web.
    """
    losses = [row["held_out_loss"] for row in history if "held_out_loss" in row]
    loss = f"{losses[-1]:.3f} nats per token" if losses else "not measured"
    changed = _changed(config, "preset")
    command = shlex.join(["rlhf-lab", "pretrain", f"preset={config.preset}", *changed])
    read = (
        f"the web of Fernwick, world {config.world_seed}: {config.documents:,} procedurally "
        "generated English-like documents, no text by people"
        if source is None
        else f"`{source}`"
    )
    return f"""---
license: mit
language: en
library_name: transformers
pipeline_tag: text-generation
---

# rlhf_lab {config.preset}

A small GPT-2 for *From Feature Templates to Aligned Models*: the base model that SFT, reward
modelling and PPO-ptx start from.

| | |
|---|---|
| data | {read} |
| tokens of data | {tokens:,} |
| training | {config.steps:,} steps of {config.batch_size} blocks of {config.block_length} tokens |
| vocabulary | byte-level BPE, {config.vocab_size:,} tokens |
| held-out loss | {loss} |
| seeds | weights and data order {config.seed}, world {config.world_seed} |
| weights | float16, safetensors |

Made by

```
{command}
```

`training_log.json` holds the loss curve, `hashes.json` the SHA-256 of every file.

A base model, not an assistant: asked a question it may go on with more questions, be rude, hedge
or repeat a misconception, as its web does. It knows nothing about the world outside Fernwick.
Meant for teaching and research at small scale only.
"""


def commands_of(card: str) -> str:
    """The commands, one a line, by which a card says that its model was made; "" if none."""
    return card.partition("Made by\n\n```\n")[2].partition("\n```")[0]


def examiner_card(
    config: ExaminerConfig,
    base: str,
    accuracy: Mapping[str, float],
    start: str | None = None,
    start_card: str = "",
) -> str:
    """Model card of an examiner.

    Args:
        base: the base model that it, or the first in its line, started from.
        accuracy: share of pairs ordered as the teacher did, by kind and for ``"all"``.
        start: the examiner that it started from, if any; start_card: that one's card.
    """
    begun = ["--start", start] if start else []
    own = shlex.join(["rlhf-lab", "examiner", "--model", base, *begun, *_changed(config)])
    commands = "\n".join(filter(None, [commands_of(start_card), own]))
    rows = "\n".join(
        f"| {kind.replace('_', ' ')} | {100 * share:.1f} % |" for kind, share in accuracy.items()
    )
    return f"""---
license: mit
language: en
---

# rlhf_lab {base} examiner

A reward model for *From Feature Templates to Aligned Models* that has read marked exams and never
met a labeler: what the reward model of step 2 starts from. The paper's started from a model that
was fine-tuned on public question sets (Ouyang et al. 2022, appendix C.2).

| | |
|---|---|
| data | {config.exams:,} exams of Fernwick, world {config.world_seed}, term {config.term} |
| answered by policies | {100 * config.pupil_share:g} % of them |
| passes over the data | {config.epochs:g} |
| started from | {f"an examiner, {start}" if start else base} |
| seeds | head and data order {config.seed}, world {config.world_seed} |
| weights | float16, safetensors |

Made by

```
{commands}
```

Pairs of answers to {len(accuracy) - 1} kinds of held-out exams that it orders as the teacher does:

| kind | share of pairs |
|---|---|
{rows}

`training_log.json` holds the loss curve, `hashes.json` the SHA-256 of every file. It knows every
fact of Fernwick and nothing about the world outside. Meant for teaching and research at small
scale only.
"""
