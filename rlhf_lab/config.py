"""Settings of every stage: frozen dataclasses, each field with its help text.

Batch arithmetic is derived here and stored nowhere. A configuration is checked when it is made,
so that a wrong value fails before any work starts. ``load`` reads YAML and dotted overrides;
``describe`` prints what was resolved.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from rlhf_lab.errors import InputError

T = TypeVar("T")


def _field(default: Any, help: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help})


def _require(ok: bool, argument: str, value: object, allowed: str, fix: str) -> None:
    if not ok:
        raise InputError(argument, value, allowed, fix)


def _positive(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(value > 0, name, value, "a number above 0", f"set {name} to a positive number")


def _not_negative(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(value >= 0, name, value, "a number of at least 0", f"set {name} to 0 or more")


def _seed(config: Any) -> None:
    _require(
        0 <= config.seed < 2**31, "seed", config.seed, "0 to 2**31 - 1", "choose another seed"
    )  # fmt: skip


def _unit_interval(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(0 <= value <= 1, name, value, "0 to 1", f"choose {name} between 0 and 1")


def _divides(small: int, large: int, argument: str, of: str) -> int:
    if small <= 0 or large % small:
        raise InputError(
            argument,
            small,
            f"a positive divisor of {of} = {large}",
            f"choose {argument} so that {of} is a whole multiple of it",
        )
    return large // small


@dataclass(frozen=True)
class PretrainConfig:
    """Next-token training of a base model from random weights."""

    preset: str = _field("tiny", "architecture: 'nano', 'micro', 'tiny' or 'base'")
    seed: int = _field(0, "seed of weights, data order and dropout")
    world_seed: int = _field(0, "seed of the Fernwick world whose web is read")
    documents: int = _field(900_000, "documents of the web that the blocks are made of")
    tokenizer_documents: int = _field(40_000, "the first of them, which train the tokenizer")
    vocab_size: int = _field(1280, "tokens of the vocabulary: EOS, pad, 256 bytes, merges")
    held_out_blocks: int = _field(256, "blocks of the valid split for the held-out loss")
    steps: int = _field(17_500, "optimiser steps")
    batch_size: int = _field(8, "token blocks per step")
    block_length: int = _field(256, "tokens per block: every position that the model has")
    learning_rate: float = _field(2e-3, "peak learning rate")
    warmup_steps: int = _field(200, "steps of linear warm-up")
    final_fraction: float = _field(0.1, "learning rate at the end, as a fraction of the peak")
    weight_decay: float = _field(0.01, "AdamW weight decay, on matrices only")
    max_grad_norm: float = _field(1.0, "gradient norm at which the gradient is clipped")
    precision: str = _field("float32", "of the passes: 'float32' or 'bfloat16' (weights stay 32)")
    log_every: int = _field(20, "steps between rows of metrics")
    evaluate_every: int = _field(500, "steps between measurements of the held-out loss")
    checkpoint_every: int = _field(500, "steps between checkpoints")

    def __post_init__(self) -> None:
        _seed(self)
        _positive(self, "steps", "batch_size", "block_length", "learning_rate", "max_grad_norm")
        _positive(self, "log_every", "evaluate_every", "checkpoint_every")
        _positive(self, "documents", "tokenizer_documents", "held_out_blocks")
        _require(
            self.vocab_size >= 258, "vocab_size", self.vocab_size, "at least 258",
            "leave room for 256 bytes, EOS and pad",
        )  # fmt: skip
        _not_negative(self, "warmup_steps", "weight_decay")
        _unit_interval(self, "final_fraction")
        _require(
            self.precision in ("float32", "bfloat16"), "precision", self.precision,
            "'float32' or 'bfloat16'", "choose one of these",
        )  # fmt: skip

    @property
    def tokens(self) -> int:
        """Tokens read in the whole run."""
        return self.steps * self.batch_size * self.block_length


@dataclass(frozen=True)
class SFTConfig:
    """Step 1: supervised fine-tuning on demonstrations."""

    seed: int = _field(0, "seed of data order")
    epochs: float = _field(2.0, "passes over the demonstrations")
    batch_size: int = _field(32, "demonstrations per optimiser step")
    micro_batch_size: int = _field(32, "demonstrations per forward pass")
    learning_rate: float = _field(5e-4, "peak learning rate")
    warmup_fraction: float = _field(0.05, "share of the steps spent on linear warm-up")
    weight_decay: float = _field(0.0, "AdamW weight decay")
    max_grad_norm: float = _field(1.0, "gradient norm at which the gradient is clipped")
    max_length: int = _field(160, "tokens of prompt and completion together, EOS included")
    pretrain_mix: float = _field(0.0, "share of rows that are pretraining blocks, 0 to below 1")
    checkpoint_every: int = _field(0, "steps between checkpoints; 0 for the last step only")

    def __post_init__(self) -> None:
        _seed(self)
        _positive(self, "epochs", "batch_size", "learning_rate", "max_grad_norm", "max_length")
        _not_negative(self, "weight_decay", "checkpoint_every")
        _unit_interval(self, "warmup_fraction")
        _require(
            0 <= self.pretrain_mix < 1,
            "pretrain_mix",
            self.pretrain_mix,
            "0 to below 1",
            "choose a smaller share, for example 0.1",
        )
        _ = self.accumulation_steps

    @property
    def accumulation_steps(self) -> int:
        """Forward passes per optimiser step."""
        return _divides(self.micro_batch_size, self.batch_size, "micro_batch_size", "batch_size")


@dataclass(frozen=True)
class RMConfig:
    """Step 2: the K-wise reward model."""

    seed: int = _field(0, "seed of the new head and of data order")
    epochs: float = _field(1.0, "passes over the rankings")
    batch_size: int = _field(16, "prompts per optimiser step, each with all of its completions")
    learning_rate: float = _field(3e-4, "peak learning rate")
    warmup_fraction: float = _field(0.05, "share of the steps spent on linear warm-up")
    weight_decay: float = _field(0.0, "AdamW weight decay")
    max_grad_norm: float = _field(1.0, "gradient norm at which the gradient is clipped")
    max_length: int = _field(160, "tokens of prompt and completion together, EOS included")
    checkpoint_every: int = _field(0, "steps between checkpoints; 0 for the last step only")

    def __post_init__(self) -> None:
        _seed(self)
        _positive(self, "epochs", "batch_size", "learning_rate", "max_grad_norm", "max_length")
        _not_negative(self, "weight_decay", "checkpoint_every")
        _unit_interval(self, "warmup_fraction")


@dataclass(frozen=True)
class ExaminerConfig(RMConfig):
    """Before step 2: a reward model that learns to judge from marked exams."""

    world_seed: int = _field(0, "seed of the Fernwick world whose exams are marked")
    term: int = _field(1, "mix of the exams: 1 has all kinds, 2 more of those that are hard")
    exams: int = _field(128_000, "marked exams")
    pupil_share: float = _field(0.25, "share of the exams whose answers policies wrote")
    epochs: float = _field(2.0, "passes over the exams")
    batch_size: int = _field(64, "exams per optimiser step, each with all of its answers")
    learning_rate: float = _field(1e-3, "peak learning rate")
    weight_decay: float = _field(0.01, "AdamW weight decay, on matrices only")
    checkpoint_every: int = _field(250, "steps between checkpoints; 0 for the last step only")

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self, "exams", "term")
        _unit_interval(self, "pupil_share")


@dataclass(frozen=True)
class PPOConfig:
    """Step 3: PPO-ptx. ``gamma = 0`` is the paper's "PPO", above 0 its "PPO-ptx"."""

    seed: int = _field(0, "seed of prompts, sampling, minibatches and the ptx stream")
    steps: int = _field(90, "PPO iterations: sample a batch, update on it")
    batch_size: int = _field(64, "episodes per iteration, over all processes")
    minibatches: int = _field(4, "optimiser steps per inner epoch")
    inner_epochs: int = _field(1, "passes over each batch of episodes")
    micro_batch_size: int = _field(0, "episodes per forward pass; 0 for 16, or a minibatch if less")
    max_prompt_length: int = _field(64, "longest prompt in tokens; a longer one is an error")
    max_response_length: int = _field(48, "longest response in tokens, EOS included")
    temperature: float = _field(1.0, "softmax temperature of sampling and of every log-prob")
    beta: float = _field(0.02, "weight of the KL penalty per token, in nats")
    kl_controller: str = _field("fixed", "'fixed', or 'adaptive' (Ziegler et al. 2019, §2.2)")
    kl_target: float = _field(6.0, "adaptive: target KL in nats per response")
    kl_horizon: int = _field(10_000, "adaptive: episodes over which beta adapts")
    gamma: float = _field(1.0, "weight of the pretraining gradient")
    ptx_ratio: float = _field(0.5, "pretraining blocks per episode")
    clip: float = _field(0.2, "probability ratio is clipped to 1 ± clip")
    value_clip: float = _field(0.2, "value may move this far from its rollout value")
    discount: float = _field(1.0, "discount of GAE")
    lam: float = _field(0.95, "lambda of GAE")
    whiten_rewards: bool = _field(False, "divide rewards by their deviation (changes beta)")
    missing_eos_penalty: float = _field(0.0, "subtracted from the score of a truncated response")
    learning_rate: float = _field(5e-4, "policy learning rate, constant after warm-up")
    value_learning_rate: float = _field(3e-4, "value learning rate, constant after warm-up")
    warmup_steps: int = _field(5, "iterations of warm-up from a tenth of the peak")
    adam_beta1: float = _field(0.9, "Adam's first decay")
    adam_beta2: float = _field(0.95, "Adam's second decay")
    adam_epsilon: float = _field(1e-5, "Adam's epsilon")
    max_grad_norm: float = _field(1.0, "norm at which g_PG + gamma·g_ptx is clipped")
    ema_decay: float = _field(0.985, "decay of the weight average, per optimiser step; 0 is off")
    checkpoint_every: int = _field(10, "iterations between checkpoints; 0 for none")
    keep_checkpoints: int = _field(2, "checkpoints kept, the newest first")

    def __post_init__(self) -> None:
        _seed(self)
        _positive(self, "steps", "batch_size", "minibatches", "inner_epochs", "temperature")
        _positive(self, "max_prompt_length", "max_response_length", "kl_target", "kl_horizon")
        _positive(self, "clip", "value_clip", "adam_epsilon", "max_grad_norm", "keep_checkpoints")
        _not_negative(
            self, "seed", "beta", "gamma", "ptx_ratio", "micro_batch_size", "warmup_steps"
        )
        _not_negative(self, "learning_rate", "value_learning_rate", "checkpoint_every")
        _unit_interval(self, "discount", "lam", "ema_decay", "adam_beta1", "adam_beta2")
        for name in ("adam_beta1", "adam_beta2"):  # at 1 Adam would never move
            value = getattr(self, name)
            _require(value < 1, name, value, "below 1", f"choose {name} smaller, such as 0.9")
        _require(
            self.kl_controller in ("fixed", "adaptive"),
            "kl_controller",
            self.kl_controller,
            "'fixed' or 'adaptive'",
            "choose one of the two",
        )
        _ = self.micro_batches
        if self.gamma > 0:
            _positive(self, "ptx_ratio")
            whole = self.ptx_ratio * self.minibatch_size
            _require(
                abs(whole - round(whole)) < 1e-9 and round(whole) >= 1,
                "ptx_ratio",
                self.ptx_ratio,
                f"a multiple of 1 / minibatch_size = 1/{self.minibatch_size}",
                "choose ptx_ratio so that every minibatch has a whole number of blocks",
            )

    @property
    def minibatch_size(self) -> int:
        """Episodes per optimiser step."""
        return _divides(self.minibatches, self.batch_size, "minibatches", "batch_size")

    @property
    def rows_per_pass(self) -> int:
        """Episodes per forward pass: similar in length, so that few rows hold few pads."""
        return self.micro_batch_size or min(self.minibatch_size, 16)

    @property
    def micro_batches(self) -> int:
        """Forward passes per optimiser step."""
        if self.micro_batch_size:
            _divides(
                self.micro_batch_size, self.minibatch_size, "micro_batch_size", "minibatch_size"
            )
        return -(-self.minibatch_size // self.rows_per_pass)

    @property
    def ptx_minibatch_size(self) -> int:
        """Pretraining blocks per optimiser step; 0 when gamma is 0."""
        return round(self.ptx_ratio * self.minibatch_size) if self.gamma > 0 else 0

    @property
    def optimizer_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.steps * self.inner_epochs * self.minibatches


@dataclass(frozen=True)
class ChainConfig:
    """The whole road on Fernwick: base → SFT → rankings → reward model → PPO-ptx."""

    seed: int = _field(0, "seed of every stage; a stage's own seed is added to it")
    world_seed: int = _field(0, "seed of the Fernwick world; shipped models know world 0")
    model: str = _field("tiny", "base model: a preset, hub id, local folder or GGUF file")
    demonstrations: int = _field(1200, "demonstrations written by labelers")
    reward_start: str = _field(
        "", "what the reward model starts from: 'sft' or a folder; nothing: the preset's examiner, "
        "or the SFT policy of a model without one"
    )  # fmt: skip
    rankings: int = _field(1000, "prompts whose completions labelers rank")
    k_min: int = _field(4, "fewest completions ranked per prompt")
    k_max: int = _field(9, "most completions ranked per prompt")
    early_demonstrations: int = _field(300, "demonstrations of the early SFT policy ranked too")
    sft_share: float = _field(0.5, "share of ranked completions that the SFT policy wrote")
    early_share: float = _field(0.1, "share that the early SFT policy wrote")
    written_share: float = _field(0.3, "share that people wrote; the base model writes the rest")
    prompts: int = _field(4000, "prompts that PPO draws from")
    ptx_documents: int = _field(6000, "documents of the web that PPO-ptx goes on reading")
    ptx_block_length: int = _field(64, "tokens per pretraining block")
    evaluation_prompts: int = _field(256, "test prompts on which policies are compared")
    sft: SFTConfig = dataclasses.field(default=SFTConfig(), metadata={"help": "step 1"})
    rm: RMConfig = dataclasses.field(
        default=RMConfig(learning_rate=1e-4), metadata={"help": "step 2"}
    )
    ppo: PPOConfig = dataclasses.field(default=PPOConfig(), metadata={"help": "step 3"})

    def __post_init__(self) -> None:
        _seed(self)
        _positive(self, "demonstrations", "rankings", "early_demonstrations", "prompts")
        _positive(self, "ptx_documents", "ptx_block_length", "evaluation_prompts")
        _unit_interval(self, "sft_share", "early_share", "written_share")
        total = self.sft_share + self.early_share + self.written_share
        _require(
            total <= 1 + 1e-9, "sft_share + early_share + written_share", total,
            "at most 1", "lower one of the shares",
        )  # fmt: skip
        _require(
            2 <= self.k_min <= self.k_max, "k_min", self.k_min,
            f"2 to k_max = {self.k_max}", "rank at least two completions",
        )  # fmt: skip


@dataclass(frozen=True)
class SweepConfig:
    """PPO-ptx over a grid of beta × gamma × seed, on one SFT policy and reward model per seed."""

    betas: tuple[float, ...] = _field((0.0, 0.02, 0.1, 0.3, 1.0), "weights of the KL penalty")
    gammas: tuple[float, ...] = _field((0.0, 0.1, 1.0, 3.0), "weights of the ptx gradient")
    seeds: tuple[int, ...] = _field((0, 1, 2), "seeds of the whole chain")
    processes: int = _field(0, "runs at a time, each with one thread; 0 for one per core")
    evaluate: bool = _field(True, "measure gold score, KL, losses and suites of every policy")
    questions: int = _field(100, "questions per benchmark suite")
    documents: int = _field(300, "held-out documents whose loss is measured")
    samples: int = _field(6, "test prompts whose answers are kept for reading")
    chain: ChainConfig = dataclasses.field(
        default=ChainConfig(ppo=PPOConfig(steps=45)),
        metadata={"help": "every stage, PPO half as long; the grid replaces seed and weights"},
    )

    def __post_init__(self) -> None:
        _not_negative(self, "processes", "samples")
        _positive(self, "questions", "documents")
        for name in ("betas", "gammas", "seeds"):
            values = getattr(self, name)
            _require(
                0 < len(values) == len(set(values)) and min(values) >= 0, name, values,
                "one or more different numbers of at least 0", "correct the list",
            )  # fmt: skip
        for gamma in self.gammas:
            dataclasses.replace(self.chain.ppo, gamma=gamma)  # refuses what PPO would refuse

    @property
    def runs(self) -> int:
        """PPO runs of the whole grid."""
        return len(self.betas) * len(self.gammas) * len(self.seeds)


def fields_with_help(kind: type) -> list[tuple[str, Any, str]]:
    """Name, default and help text of every field of a configuration class, in order."""
    return [(f.name, f.default, f.metadata["help"]) for f in dataclasses.fields(kind)]


def _converted(argument: str, value: Any, kind: Any) -> Any:
    """``value`` (text, YAML scalar or list) as ``kind``: bool, int, float, str or tuple of one."""
    if typing.get_origin(kind) is tuple:
        items = value.split(",") if isinstance(value, str) else value
        items = items if isinstance(items, list | tuple) else [items]
        return tuple(_converted(argument, item, typing.get_args(kind)[0]) for item in items)
    if isinstance(kind, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        raise InputError(argument, value, "true or false", "write true or false")
    if isinstance(value, bool | list | dict) or value is None:
        raise InputError(argument, value, f"a {kind.__name__}", "give a single value")
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            argument, value, f"a {kind.__name__}", f"write {argument} as a {kind.__name__}"
        ) from None
    if kind is int and float(value) != number:
        raise InputError(argument, value, "a whole number", f"round {argument} to a whole number")
    if kind is float and not math.isfinite(number):
        raise InputError(argument, value, "a finite number", f"write a number for {argument}")
    return number


def with_overrides(config: T, values: dict[str, Any]) -> T:
    """A copy of ``config`` with some fields replaced; names and types are checked.

    Raises:
        InputError: for an unknown name, a value of the wrong type, or one that the class refuses.
    """
    kind = type(config)
    hints = typing.get_type_hints(kind)
    known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for path, value in values.items():
        name, _, rest = path.partition(".")
        nested = dataclasses.is_dataclass(hints.get(name))
        if name not in known or (rest and not nested):
            raise InputError(
                path, value, f"a field of {kind.__name__}: {', '.join(known)}", "correct the name"
            )
        if not nested:
            changes[name] = _converted(name, value, hints[name])
        elif rest or isinstance(value, dict):
            part = changes.get(name, getattr(config, name))
            changes[name] = with_overrides(part, {rest: value} if rest else value)
        else:
            raise InputError(path, value, "a mapping", f"write {name}.field=value")
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def parse_overrides(items: Sequence[str]) -> dict[str, str]:
    """``["ppo.beta=0.1"]`` as ``{"ppo.beta": "0.1"}``."""
    parsed = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise InputError("override", item, "name=value", "write it as for example beta=0.1")
        parsed[name.strip()] = value.strip()
    return parsed


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file as a mapping.

    Raises:
        InputError: when the file is missing, not YAML, or not a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            "config", str(path), "a readable YAML file", f"check the path ({error.strerror})"
        ) from None
    except UnicodeDecodeError:
        raise InputError("config", str(path), "UTF-8 text", "save the file as UTF-8") from None
    try:
        data = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)  # only some of its errors know the place
        place = f"{path}, line {mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or str(error)
        raise InputError("config", place, "valid YAML", f"correct it ({reason})") from None
    if not isinstance(data, dict):
        raise InputError("config", str(path), "a mapping of names to values", "write name: value")
    return data


def load(kind: type[T], path: str | Path | None = None, overrides: Sequence[str] = ()) -> T:
    """A configuration from defaults, then a YAML file, then ``name=value`` overrides."""
    config = kind()
    if path is not None:
        config = with_overrides(config, read_yaml(path))
    return with_overrides(config, parse_overrides(overrides))


def describe(config: Any) -> str:
    """The resolved values, one per line, derived batch arithmetic last."""
    kind = type(config)
    names = [f.name for f in dataclasses.fields(kind)]
    derived = [n for n, v in vars(kind).items() if isinstance(v, property)]
    width = max(map(len, [*names, *derived]))
    lines = [f"{n:<{width}}  {getattr(config, n)}" for n in names]
    return "\n".join(lines + [f"{n:<{width}}  {getattr(config, n)}  (derived)" for n in derived])
