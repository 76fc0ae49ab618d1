"""Models of the three steps: any causal LM as policy, a scalar head for reward and value, EMA.

Everything here works on the layout "one row per sequence, right-padded, real tokens from column 0".
In that layout the causal mask alone is right: no real token can look at a pad behind it. So no
padding mask is needed, positions are 0, 1, 2 … in every row, and the fast causal attention kernel
applies. :func:`align` brings left-padded rows into it. Dropout is off: models stay in eval mode.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers.activations import NewGELUActivation
from transformers.utils import is_peft_available

from rlhf_lab.errors import CheckpointError, InputError
from rlhf_lab.files import writing_to

ASSETS = Path(__file__).parent / "assets"
PRESETS = ("nano", "micro", "tiny", "base")  # the ladder, by size
EXAMINERS = {"tiny": "tiny-examiner", "base": "base-examiner"}  # reward models that can judge
PAD = "<|pad|>"

Reward = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(prompt ids (B, P) left-padded, response ids (B, T), response mask (B, T)) -> scores (B,)."""


def position_ids(mask: Tensor) -> Tensor:
    """Position of every token, counted over real tokens: cumsum of the mask − 1, at least 0.

    Args:
        mask: (B, T) 0/1 or bool.

    Returns:
        (B, T) int64. GPT-2 gives wrong probabilities under left padding without it.
    """
    return (mask.long().cumsum(1) - 1).clamp(min=0)


def align(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the real tokens of each row to the front, and cut off columns of pads only.

    Args:
        tokens: (B, T) int64; mask: (B, T), any mixture of pads and real tokens.

    Returns:
        tokens (B, L), L the longest row, pads behind; lengths (B,) int64.
    """
    lengths = mask.long().sum(1)
    order = torch.sort((mask == 0).byte(), dim=1, stable=True).indices
    return tokens.gather(1, order)[:, : int(lengths.max())], lengths


def accepted(model: nn.Module, **arguments: Any) -> dict[str, Any]:
    """Those arguments that the forward of a transformers model knows.

    BLOOM and MPT, for one, have no ``position_ids``: their positions come from the mask.
    """
    known = inspect.signature(model.forward).parameters
    return {name: value for name, value in arguments.items() if name in known}


def unwrap(model: nn.Module) -> nn.Module:
    """The transformers model inside a PEFT wrapper (its LoRA layers stay in place), or itself."""
    if is_peft_available():
        from peft import PeftModel

        if isinstance(model, PeftModel):
            return cast(nn.Module, model.get_base_model())
    return model


def merged_copy(model: nn.Module) -> nn.Module:
    """A deep copy without wrapper: LoRA weights are merged into the matrices they adapt."""
    copied = copy.deepcopy(model)
    if unwrap(copied) is not copied:
        return cast(nn.Module, cast(Any, copied).merge_and_unload())
    return copied


def _prepare(model: nn.Module) -> nn.Module:
    """Dropout off for good, and GPT-2's GELU in one kernel in place of eight (equal to 1e-6)."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))
    return model.eval()


@contextlib.contextmanager
def _new_folder(folder: str | Path) -> Iterator[Path]:
    """A temporary folder that takes the place of ``folder`` when everything in it is written."""
    folder = Path(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    replaced = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    with writing_to(folder):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            for path in (*temporary.iterdir(), temporary):
                descriptor = os.open(path, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
            if folder.exists():
                folder.rename(replaced)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(replaced, ignore_errors=True)


# --- policies ---------------------------------------------------------------------------------


def load_policy(
    source: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[Any, Any]:
    """A causal LM and its tokenizer, dropout off, with a pad token that is not its EOS token.

    Args:
        source: a shipped preset ("nano", "micro", "tiny", "base"), a hub id, a local folder, or a
            ``.gguf`` file. Only safetensors and GGUF weights are read, and no code from a model's
            repository is run.
        device: where the model goes; dtype: of its weights.

    Raises:
        InputError: when there is no such model, it is damaged, or it has no EOS token.
    """
    name, options = str(source), {}
    if name in PRESETS:
        name = str(ASSETS / name)
    if name.endswith(".gguf"):
        options["gguf_file"] = Path(name).name
        name = str(Path(name).parent)
    local = Path(name).is_dir()
    looks_local = options or str(source) in PRESETS or name.startswith((".", "~", os.sep))
    if looks_local and not (Path(name) / options.get("gguf_file", "")).exists():
        raise InputError("model", str(source), "an existing file or folder", "check the path")
    weights: dict[str, Any] = {"use_safetensors": True, **options}
    if options:
        weights = dict(options)
        if int(transformers.__version__.split(".")[0]) >= 5:
            # Otherwise transformers 5 calls the model quantised: it would neither save nor train.
            weights["quantization_config"] = transformers.GgufConfig(dequantize=True)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local, **options)
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype, local_files_only=local, **weights
        )
    except (
        OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError, struct.error,
    ) as error:  # fmt: skip
        reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise InputError(
            "model",
            str(source),
            "'tiny', 'base', a hub id, a folder with config, tokenizer and safetensors, or a GGUF",
            f"check the name and the files ({reason})",
        ) from None
    _set_pad_token(model, tokenizer, str(source))
    return _prepare(model).to(device), tokenizer


def _set_pad_token(model: Any, tokenizer: Any, source: str) -> None:
    if not tokenizer("a", add_special_tokens=False)["input_ids"]:
        # Without its files transformers makes an empty tokenizer, and says nothing.
        raise InputError(
            "model", source, "a model with its tokenizer", "put the tokenizer's files beside it"
        )
    if tokenizer.eos_token_id is None:
        raise InputError(
            "model", source, "a tokenizer with an EOS token", "set eos_token in its files"
        )
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": PAD})
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        # The mean row gives a new token the mean logit, so it is not sampled. A zero row would win:
        # GPT-2's logits are far below 0.
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            with torch.no_grad():
                layer.weight[rows:] = layer.weight[:rows].mean(0)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.eos_token_id = tokenizer.eos_token_id
    tokenizer.padding_side = "left"


def save_policy(model: nn.Module, tokenizer: Any, folder: str | Path) -> Path:
    """Write a policy, LoRA merged, and its tokenizer so that :func:`load_policy` reads them.

    Raises:
        InputError: when the folder cannot be written; an older one then stays as it was.
    """
    plain = merged_copy(model) if unwrap(model) is not model else model
    with _new_folder(folder) as temporary:
        cast(Any, plain).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    return Path(folder)


class PolicyLogits(nn.Module):
    """A policy that computes its unembedding only where a logit is asked for.

    At d = 128 and 1,600 words the unembedding is a fifth of all arithmetic and its output most of
    the memory, yet PPO needs it at response tokens only. A model whose logits are more than
    ``head(hidden)`` (soft-capped, scaled, prompt-tuned) is found out by a trial at construction,
    and runs whole.
    """

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        self.policy = policy
        self.direct = False
        device = next(policy.parameters()).device
        trial = torch.arange(4, device=device)[None]
        with torch.no_grad():
            whole = self(trial)
            self.direct = True
            self.direct = bool(torch.allclose(self(trial), whole, rtol=1e-3, atol=1e-4))

    def forward(self, tokens: Tensor, at: Tensor | None = None) -> Tensor:
        """Logits (N, V) at the flat positions ``at`` (N,) of ``tokens`` (B, L); all: (B, L, V)."""
        # A mask of ones says that nothing is padded: the causal kernel applies, no warning comes.
        mask = torch.ones_like(tokens)
        model = cast(Any, unwrap(self.policy))
        positions = accepted(model, position_ids=position_ids(mask))
        inputs = {"input_ids": tokens, "attention_mask": mask, "use_cache": False, **positions}
        if not self.direct:
            logits = self.policy(**inputs).logits
            return logits if at is None else logits.flatten(0, 1)[at]
        hidden = model.base_model(**inputs).last_hidden_state
        if at is not None:
            hidden = hidden.flatten(0, 1).index_select(0, at)
        return cast(Tensor, model.get_output_embeddings()(hidden))


# --- a scalar per token: reward model and value function ----------------------------------------


class ScalarModel(nn.Module):
    """A transformer without its unembedding, and a linear head that reads one number per token.

    ``bias`` is a buffer, not a weight: the shift that makes demonstrations score 0 on average.

    Source: Ouyang et al. 2022, §3.5 ("SFT model with the final unembedding layer removed").
    """

    bias: Tensor

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone = _prepare(backbone)
        weight = next(backbone.parameters())
        self.head = nn.Linear(width, 1, device=weight.device, dtype=weight.dtype)
        self.register_buffer("bias", torch.zeros((), device=weight.device, dtype=torch.float32))

    @classmethod
    def from_policy(cls, policy: nn.Module, seed: int) -> ScalarModel:
        """A copy of a policy's body with a new head: weights ~ N(0, 1/(d + 1)), bias 0.

        Source of the scale: the published code of Stiennon et al. 2020.
        """
        model = cast(Any, merged_copy(policy))
        width = model.get_output_embeddings().weight.shape[1]
        scalar = cls(model.base_model, width).requires_grad_(True)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(1, width, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            scalar.head.weight.copy_(noise / (width + 1) ** 0.5)
            scalar.head.bias.zero_()
        return scalar

    def begin_as(self, token: int, other: int) -> None:
        """Let ``token`` start with the embedding of ``other``.

        At the end token, where scores are read, a base model has nothing to say about the text
        before it: it begins another document. Behind a full stop it does.
        """
        rows = cast(Any, self.backbone).get_input_embeddings().weight
        with torch.no_grad():
            rows[token] = rows[other]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """The scalar at every position, (B, T) to (B, T), ``bias`` added.

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T); leave it out for rows whose real tokens begin at column 0.
            position_ids: (B, T); from the mask when left out.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if position_ids is None:
            position_ids = (attention_mask.long().cumsum(1) - 1).clamp(min=0)
        hidden = self.backbone(
            input_ids=input_ids,
            attention_mask=attention_mask,
            use_cache=False,
            **accepted(self.backbone, position_ids=position_ids),
        ).last_hidden_state
        values = self.head(hidden).squeeze(-1)
        return cast(Tensor, values + self.bias.to(values.dtype))

    def scores(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The scalar at the last real token, (B, T) to (B,); the same for any padding."""
        tokens, lengths = align(input_ids, attention_mask)
        return self(tokens).gather(1, lengths[:, None] - 1).squeeze(1)

    def copy(self) -> ScalarModel:
        """An independent copy: how the value function starts as the reward model."""
        return copy.deepcopy(self)

    def save(self, folder: str | Path) -> Path:
        """Write config.json, scalar.json and model.safetensors; all or nothing."""
        state = {
            name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()
        }
        with _new_folder(folder) as temporary:
            cast(Any, self.backbone).config.save_pretrained(temporary)
            save_file(state, temporary / "model.safetensors")
            (temporary / "scalar.json").write_text(json.dumps(self.shape), encoding="utf-8")
        return Path(folder)

    @property
    def shape(self) -> dict[str, Any]:
        """What ``scalar.json`` says."""
        return {"kind": "rlhf_lab.ScalarModel", "width": self.head.in_features}

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> ScalarModel:
        """Read what :meth:`save` wrote; "tiny-examiner" and "base-examiner" are shipped ones.

        Raises:
            CheckpointError: when a file is missing, damaged, or of another model.
        """
        folder = scalar_folder(folder)
        try:
            shape = json.loads((folder / "scalar.json").read_text(encoding="utf-8"))
            state = load_file(folder / "model.safetensors")
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            model = cls(AutoModel.from_config(config).to(dtype), shape["width"])
            model.load_state_dict(state)
            if not all(bool(value.isfinite().all()) for value in state.values()):
                raise ValueError("a weight is not finite")
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(
                "reward model",
                str(folder),
                "a folder written by ScalarModel.save",
                f"train it again ({str(error).strip().splitlines()[0][:160]})",
            ) from None
        return model.to(device)


def scalar_folder(name: str | Path) -> Path:
    """Where a :class:`ScalarModel` lies: the package's own folder of a shipped one, or as named."""
    return ASSETS / name if name in EXAMINERS.values() else Path(name)


def require_same_vocabulary(scalar: ScalarModel, policy: Any, argument: str, source: str) -> None:
    """Refuse a reward model that cannot read what the policy writes.

    Raises:
        InputError: when their vocabularies differ in size.
    """
    own = cast(Any, scalar.backbone).get_input_embeddings().weight.shape[0]
    words = policy.get_input_embeddings().weight.shape[0]
    if own != words:
        raise InputError(
            argument, source, f"a reward model with the policy's {words} words, not {own}",
            "train the reward model from this policy",
        )  # fmt: skip


def reward_function(model: ScalarModel, batch_size: int = 32) -> Reward:
    """The reward callable of a reward model: scores of prompt + response at the last real token.

    Prompt pads are recognised as the leading columns of the model's pad id; rows are scored in
    order of length, ``batch_size`` at a time, so that little of the work is padding.
    """
    pad = cast(Any, model.backbone).config.pad_token_id
    if pad is None:
        fix = "make it from a policy of load_policy"
        raise InputError("model", "no pad_token_id", "a configuration with one", fix)

    @torch.no_grad()
    def reward(prompt_ids: Tensor, response_ids: Tensor, response_mask: Tensor) -> Tensor:
        prompt_mask = (prompt_ids != pad).long().cummax(1).values
        tokens = torch.cat([prompt_ids, response_ids], 1)
        tokens, lengths = align(tokens, torch.cat([prompt_mask, response_mask.long()], 1))
        scores = torch.empty(len(tokens), device=tokens.device)
        for rows in lengths.argsort().split(batch_size):
            end = int(lengths[rows].max())
            values = model(tokens[rows, :end])
            scores[rows] = values.gather(1, lengths[rows, None] - 1).squeeze(1).to(scores.dtype)
        return scores

    return reward


class EMA:
    """Exponential moving average of a model's trainable weights: s ← d·s + (1 − d)·θ.

    Source: Ouyang et al. 2022, appendix C.4 (d = 0.992). Here once per optimiser step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {n: p.detach().clone() for n, p in trainable(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the weights of ``model``; decay 0 copies them."""
        for name, parameter in trainable(model).items():
            self.shadow[name].lerp_(parameter, 1 - self.decay)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Overwrite the trainable weights of ``model`` with the average."""
        for name, parameter in trainable(model).items():
            parameter.copy_(self.shadow[name])


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights that an optimiser may change, by name; a tied weight once."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
