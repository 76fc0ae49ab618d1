"""One stage of the chain as the command line runs it: inputs from Fernwick or from files, a
trained model in ``<output_dir>/final``, and a manifest from which the run can be made again.
"""

from __future__ import annotations

import copy
import json
import logging
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from rlhf_lab import strict_json
from rlhf_lab.config import (
    ChainConfig,
    ExaminerConfig,
    PPOConfig,
    PretrainConfig,
    RMConfig,
    SFTConfig,
)
from rlhf_lab.data import as_prompts, read_jsonl, write_jsonl
from rlhf_lab.encoding import encode_prompts
from rlhf_lab.errors import InputError
from rlhf_lab.evaluate import (
    Neural,
    answers,
    exact_kl,
    gold_report,
    gold_reward,
    held_out_loss,
    in_context_accuracy,
    interval,
    rm_scores,
    run_suites,
    summary,
    win_rate,
)
from rlhf_lab.files import atomic_write
from rlhf_lab.models import (
    Reward,
    ScalarModel,
    load_policy,
    require_same_vocabulary,
    reward_function,
    save_policy,
    scalar_folder,
)
from rlhf_lab.pipeline import (
    DEMONSTRATION_START,
    PPO_START,
    PTX_START,
    RANKING_START,
    Chain,
    sample_rankings,
    web_blocks,
)
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.pretrain import pretrain, require_preset
from rlhf_lab.provenance import manifest
from rlhf_lab.records import Ranking
from rlhf_lab.reward import pair_accuracy, standardise, train_reward_model
from rlhf_lab.runtime import completing, select_device
from rlhf_lab.sft import train_sft
from rlhf_lab.shards import blocks_of, pretraining_data
from rlhf_lab.shipping import base_card, examiner_card, export_policy, export_scalar
from rlhf_lab.sources import read_rows, texts_of
from rlhf_lab.tracking import Progress
from rlhf_lab.world import World

# A chain with a seed of its own, so that its policies are not those that readers train.
PUPILS: dict[str, Any] = {
    "seed": 1000, "k_min": 3, "k_max": 6,
    "sft_share": 0.6, "early_share": 0.2, "written_share": 0.1,
}  # fmt: skip
LOGGED = 10  # an examiner's log keeps every tenth step
HELD_OUT_EXAMS = 3000  # of the valid split
HELD_OUT_RANKINGS = 128  # prompts of the valid split on which a reward model is measured
DEFAULTS = ChainConfig()


@dataclass(frozen=True)
class Run:
    """What every stage is told besides its configuration.

    Attributes:
        output_dir: folder of checkpoints, metrics, manifest and the final model.
        model: preset, hub id, local folder or GGUF file.
        device: "auto", "cpu", "cuda" or "mps".
        data: file or folder of the user's records; None for Fernwick.
        count: how many records are taken from Fernwick; None for the chain's default.
        world_seed: which Fernwick.
        resume: go on from the newest checkpoint of ``output_dir``.
        trackers: further trackers of accelerate.
        quiet: no progress bar.
    """

    output_dir: Path
    model: str = "tiny"
    device: str = "auto"
    data: Path | None = None
    count: int | None = None
    world_seed: int = 0
    resume: bool = True
    trackers: tuple[str, ...] = ()
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise InputError("count", self.count, "at least 1", "ask for one record or more")

    @property
    def training(self) -> dict[str, Any]:
        """Arguments that every training function takes."""
        return {"output_dir": self.output_dir, "trackers": self.trackers, "quiet": self.quiet}

    def load(self) -> tuple[Any, Any]:
        """The model on its device, and its tokenizer."""
        return load_policy(self.model, device=select_device(self.device))

    def demonstrations(self) -> Sequence[Any]:
        """Records of step 1."""
        if self.data is not None:
            return read_rows(self.data)
        count = self.count or DEFAULTS.demonstrations
        return World(self.world_seed).demonstrations("train", count, DEMONSTRATION_START)


def silence_libraries() -> None:
    """No progress bars and advice of transformers on the terminal: errors come from here."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("rlhf_lab").setLevel(logging.WARNING)


def _finish(
    stage: str,
    run: Run,
    config: Any,
    started: float,
    history: Sequence[dict[str, Any]],
    **extra: Any,
) -> dict[str, Any]:
    """Write the manifest, and give the summary that is printed."""
    command = shlex.join(["rlhf-lab", *sys.argv[1:]])
    made = manifest(command, config, [config.seed], started, select_device(run.device))
    atomic_write(run.output_dir / "manifest.json", json.dumps(made, indent=2) + "\n")
    return {
        "stage": stage,
        "output_dir": str(run.output_dir),
        "model": str(run.output_dir / "final"),
        "steps": history[-1]["step"] if history else 0,
        "seconds": round(time.time() - started, 1),
        "last": history[-1] if history else {},
        **extra,
    }


# --- step 0 -------------------------------------------------------------------------------------


def run_pretrain(config: PretrainConfig, run: Run) -> dict[str, Any]:
    """Tokenizer, blocks, training, and the export of a model with its card."""
    require_preset(config.preset)  # before a minute of writing documents
    started, device = time.time(), select_device(run.device)
    texts = None if run.data is None else texts_of(read_rows(run.data))
    if texts is None:
        data = pretraining_data(config, run.output_dir)
    else:
        # One text in fifty, at least one, is held out; the others are read.
        held_out = texts[::50]
        read = [text for i, text in enumerate(texts) if i % 50] or texts
        data = pretraining_data(config, texts=iter(read), held_out_texts=iter(held_out))
    with completing():
        model, history = pretrain(
            data.blocks, config.preset, config,
            tokenizer=data.tokenizer, held_out=data.held_out, device=device, resume=run.resume,
            **run.training,
        )  # fmt: skip
    source = None if run.data is None else run.data.name
    card = base_card(config, source, int(data.blocks.numel()), history)
    export_policy(model, data.tokenizer, run.output_dir / "final", card, history)
    return _finish("pretrain", run, config, started, history, tokens=int(data.blocks.numel()))


def run_examiner(config: ExaminerConfig, run: Run, start: str | None = None) -> dict[str, Any]:
    """A reward model that has learned to judge from marked exams, and its export with a card.

    Args:
        start: an examiner that goes on learning; None for the policy, which begins.
    """
    started = time.time()
    policy, tokenizer = run.load()
    world = World(config.world_seed)
    if start is None:
        model = ScalarModel.from_policy(policy, config.seed)
        full_stop = tokenizer(".", add_special_tokens=False)["input_ids"][-1]
        model.begin_as(tokenizer.eos_token_id, full_stop)
    else:
        model = ScalarModel.load(start, device=select_device(run.device))
        require_same_vocabulary(model, policy, "start", start)
    exams = _exams(world, config, run)
    with completing():
        history = train_reward_model(
            model, tokenizer, exams, config, resume=run.resume, **run.training
        )
    standardise(model, tokenizer, exams[:HELD_OUT_EXAMS], config.max_length)
    held_out = [world.exam(index, "valid") for index in range(HELD_OUT_EXAMS)]
    table = pair_accuracy(model, tokenizer, held_out, max_length=config.max_length)
    accuracy = dict(zip(table.kind, table.accuracy.round(4), strict=True))
    card = examiner_card(config, run.model, accuracy, start, _card_of(start))
    export_scalar(model, run.output_dir / "final", card, history[::-LOGGED][::-1])
    return _finish("examiner", run, config, started, history, held_out_pair_accuracy=accuracy)


def _card_of(examiner: str | None) -> str:
    """The model card of a shipped examiner or of one in a folder; "" where there is none."""
    if examiner is None:
        return ""
    card = scalar_folder(examiner) / "README.md"
    return card.read_text(encoding="utf-8") if card.is_file() else ""


def _exams(world: World, config: ExaminerConfig, run: Run) -> list[Ranking]:
    """Marked exams: those whose answers the teacher writes herself, then those of pupils."""
    by_pupils = round(config.exams * config.pupil_share)
    exams = []
    with Progress(config.exams - by_pupils, "exams", quiet=run.quiet) as progress:
        for index in range(config.exams - by_pupils):
            exams.append(world.exam(index, term=config.term))
            progress.update()
    return exams + _pupils_exams(world, by_pupils, config, run)


def _pupils_exams(world: World, count: int, config: ExaminerConfig, run: Run) -> list[Ranking]:
    """What the policies of a chain answer, marked by the teacher; no labeler has a part in it.

    A reward model will be asked about mistakes like theirs, which nobody can think of beforehand.
    """
    path = run.output_dir / "pupils" / f"exams-{count}-term-{config.term}.jsonl"
    if count == 0:
        return []
    if not path.exists():
        settings = ChainConfig(model=run.model, world_seed=config.world_seed, **PUPILS)
        device = select_device(run.device)
        pupils = Chain(settings, path.parent, device=device, quiet=run.quiet)
        prompts = [world.exam_prompt(index, term=config.term) for index in range(count)]
        write_jsonl(path, pupils.ranked(prompts, world.mark))
    return read_jsonl(path, Ranking)


# --- step 1 -------------------------------------------------------------------------------------


def run_sft(config: SFTConfig, run: Run) -> dict[str, Any]:
    """Supervised fine-tuning; with ``pretrain_mix`` above 0 Fernwick's web is mixed in."""
    started = time.time()
    policy, tokenizer = run.load()
    rows = run.demonstrations()
    blocks = None
    if config.pretrain_mix > 0 and run.data is None:
        world = World(run.world_seed)
        blocks = web_blocks(
            world, tokenizer, DEFAULTS.ptx_documents, DEFAULTS.ptx_block_length, start=PTX_START
        )
    with completing():
        history = train_sft(
            policy, tokenizer, rows, config, pretrain=blocks, resume=run.resume, **run.training
        )
    save_policy(policy, tokenizer, run.output_dir / "final")
    return _finish("sft", run, config, started, history, demonstrations=len(rows))


# --- step 2 -------------------------------------------------------------------------------------


def run_rm(
    config: RMConfig,
    run: Run,
    *,
    start: str | None = None,
    base: str | None = None,
    demonstrations: Path | None = None,
) -> dict[str, Any]:
    """The reward model, from Fernwick's labelers or from the user's rankings.

    Args:
        start: reward model that it starts from, an examiner or a folder; None for the policy.
        base: a second writer of the answers that labelers rank: a weaker model makes other
            mistakes.
        demonstrations: a file whose mean score becomes 0; on Fernwick they are written anew.
    """
    started = time.time()
    policy, tokenizer = run.load()
    if start is None:
        model = ScalarModel.from_policy(policy, config.seed)
    else:
        model = ScalarModel.load(start, device=select_device(run.device))
        require_same_vocabulary(model, policy, "start", start)
    zero: Sequence[Any] | None = None if demonstrations is None else read_rows(demonstrations)
    held_out: Sequence[Any] = ()
    if run.data is not None:
        rankings: Sequence[Any] = read_rows(run.data)
    else:
        world = World(run.world_seed)
        writers, shares = {"model": policy}, {"model": 1.0}
        if base is not None:
            writers["base"] = load_policy(base, device=select_device(run.device))[0]
            shares = {"model": 0.7, "base": 0.3}
        prompts = world.prompts("train", run.count or DEFAULTS.rankings, RANKING_START)
        rankings = sample_rankings(world, writers, shares, tokenizer, prompts, seed=config.seed)
        held_out = sample_rankings(
            world, writers, shares, tokenizer, world.prompts("valid", HELD_OUT_RANKINGS),
            seed=config.seed,
        )  # fmt: skip
        if zero is None:
            zero = world.demonstrations("train", 300, DEMONSTRATION_START)
    with completing():
        history = train_reward_model(
            model, tokenizer, rankings, config,
            demonstrations=zero, resume=run.resume, **run.training,
        )  # fmt: skip
    model.save(run.output_dir / "final")
    extra: dict[str, Any] = {"rankings": len(rankings)}
    if held_out:
        table = pair_accuracy(model, tokenizer, held_out, max_length=config.max_length)
        extra["held_out_pair_accuracy"] = dict(
            zip(table.kind, table.accuracy.round(4), strict=True)
        )
    return _finish("rm", run, config, started, history, **extra)


# --- step 3 -------------------------------------------------------------------------------------


def run_ppo(
    config: PPOConfig,
    run: Run,
    *,
    reward: str,
    reference: str | None = None,
    pretrain_data: Path | None = None,
) -> dict[str, Any]:
    """PPO-ptx from an SFT policy.

    Args:
        reward: folder of a reward model, or "gold" for Fernwick's own judge.
        reference: the model that the KL is measured to; None for the policy as it begins.
        pretrain_data: texts of the ptx stream; None for Fernwick's web, unless prompts are the
            user's, who then has to say what pretraining text goes with them.
    """
    started, device = time.time(), select_device(run.device)
    policy, tokenizer = run.load()
    frozen = (
        copy.deepcopy(policy) if reference is None else load_policy(reference, device=device)[0]
    )
    world = World(run.world_seed)
    if run.data is not None:
        if reward == "gold":
            raise InputError(
                "reward", "gold", "a reward model for prompts of --data", "train one with rm"
            )
        texts = as_prompts(read_rows(run.data), tokenizer)
    else:
        asked = world.prompts("train", run.count or DEFAULTS.prompts, PPO_START)
        texts = [prompt.text for prompt in asked]
    score: Reward
    if reward == "gold":
        score = gold_reward(world, tokenizer, asked)
        value = ScalarModel.from_policy(policy, config.seed)
    else:
        scalar = ScalarModel.load(reward, device=device)
        score, value = reward_function(scalar), scalar.copy()
        require_same_vocabulary(scalar, policy, "reward", reward)
    blocks = None
    if config.gamma > 0 and pretrain_data is not None:
        rows = texts_of(read_rows(pretrain_data), "pretrain")
        blocks = blocks_of(tokenizer, iter(rows), DEFAULTS.ptx_block_length)
    elif config.gamma > 0 and run.data is None:
        blocks = web_blocks(
            world, tokenizer, DEFAULTS.ptx_documents, DEFAULTS.ptx_block_length, start=PTX_START
        )
    trainer = PPOTrainer(
        policy, frozen, score, value, tokenizer, encode_prompts(tokenizer, texts), blocks, config,
        **run.training,
    )  # fmt: skip
    with completing():
        history = trainer.train(resume=run.resume)
    save_policy(trainer.averaged_policy(), tokenizer, run.output_dir / "final")
    return _finish("ppo", run, config, started, history, prompts=len(texts))


# --- evaluation ---------------------------------------------------------------------------------


def run_eval(
    run: Run,
    *,
    reference: str | None = None,
    reward: str | None = None,
    suites: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure one model: on Fernwick against the gold standard, on other prompts without one.

    Args:
        reference: exact KL is measured to it, and on Fernwick labelers of both groups compare its
            answers with the model's; reward: folder of a reward model.
        suites: run every benchmark suite too.
        seed: of the answers, 0 to 2**32 - 1.
    """
    if not 0 <= seed < 2**32:
        raise InputError("seed", seed, "0 to 2**32 - 1", "choose another seed")
    started, device = time.time(), select_device(run.device)
    model, tokenizer = run.load()
    other = None if reference is None else load_policy(reference, device=device)[0]
    if other is not None:
        _require_same_words(other, model, str(reference))
    result: dict[str, Any] = {"stage": "eval", "model": run.model}
    if run.data is not None:
        asked: Sequence[Any] = as_prompts(read_rows(run.data), tokenizer)
    else:
        world = World(run.world_seed)
        asked = world.prompts("test", run.count or DEFAULTS.evaluation_prompts)
    written = answers(model, tokenizer, asked, seed=seed)
    if run.data is None:
        lm = Neural(model, tokenizer)
        result |= summary(gold_report(world, asked, written), seed=seed)
        result["held_out_loss"] = float(held_out_loss(lm, world)["nats_per_token"].iloc[0])
        lists = in_context_accuracy(lm, world, examples=(4,))
        result["in_context_accuracy"] = float(lists["accuracy"].iloc[0])
        if suites:
            table = run_suites(world.suites(), {"model": lm}, seed=seed)
            main = table[table["main"]]
            result["suites"] = {
                f"{row.suite}/{row.shots}": round(row.value, 4) for row in main.itertuples()
            }
    else:
        result["words"] = sum(len(text.split()) for text in written) / len(written)
    if reward is not None:
        scalar = ScalarModel.load(reward, device=device)
        require_same_vocabulary(scalar, model, "reward", reward)
        scores = rm_scores(scalar, tokenizer, asked, written)
        result["rm"] = sum(scores) / len(scores)
        result["rm_low"], result["rm_high"] = interval(scores, seed=seed)
    if other is not None:
        kl = exact_kl(model, other, tokenizer, asked, written)
        result["kl"] = sum(kl) / len(kl)
        result["kl_low"], result["kl_high"] = interval(kl, seed=seed)
        if run.data is None:
            against = answers(other, tokenizer, asked, seed=seed)
            for group in ("train", "heldout"):
                wins = win_rate(world, asked, written, against, group=group, seed=seed).iloc[0]
                for name, column in (("rate", "win_rate"), ("low", "low"), ("high", "high")):
                    result[f"win_{name}/{group}"] = float(wins[column])
    prompts = [getattr(prompt, "text", prompt) for prompt in asked]
    rows = [
        json.dumps({"prompt": p, "completion": c}, ensure_ascii=False) + "\n"
        for p, c in zip(prompts, written, strict=True)
    ]
    atomic_write(run.output_dir / "samples.jsonl", "".join(rows))
    result |= {
        "prompts": len(prompts),
        "samples": str(run.output_dir / "samples.jsonl"),
        "seconds": round(time.time() - started, 1),
    }
    atomic_write(run.output_dir / "eval.json", strict_json.dumps(result, indent=2) + "\n")
    return result


def _require_same_words(reference: Any, model: Any, source: str) -> None:
    """Refuse a reference that reads other token ids than the model writes.

    Raises:
        InputError: when their vocabularies differ in size.
    """
    own, other = (m.get_input_embeddings().weight.shape[0] for m in (model, reference))
    if own != other:
        raise InputError(
            "reference", source, f"a model with the {own} words of --model, not {other}",
            "use the model that this one was trained from",
        )  # fmt: skip


def set_threads(threads: int) -> None:
    """Cores that torch may use; 0 leaves it to torch.

    Raises:
        InputError: for a negative number.
    """
    if threads < 0:
        raise InputError("threads", threads, "0 (torch decides) or more", "name a number of cores")
    if threads:
        torch.set_num_threads(threads)
