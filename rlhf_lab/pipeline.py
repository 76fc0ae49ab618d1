"""The chain of InstructGPT on Fernwick: base → SFT → rankings → reward model → PPO-ptx.

Each stage is a plain function from models and records to a model. :class:`Chain` runs them in
order, keeps every result in a folder, and skips what is already there, so that a run that was cut
off goes on where it stopped, and a sweep shares one SFT policy and one reward model.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from rlhf_lab.checkpoints import require_same_config
from rlhf_lab.config import ChainConfig, PPOConfig
from rlhf_lab.data import read_jsonl, write_jsonl
from rlhf_lab.encoding import encode_prompts, pack_blocks
from rlhf_lab.evaluate import answers, noise_ceiling
from rlhf_lab.files import atomic_write
from rlhf_lab.models import (
    ASSETS,
    EXAMINERS,
    ScalarModel,
    load_policy,
    require_same_vocabulary,
    reward_function,
    save_policy,
)
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.records import Demonstration, Prompt, Ranking
from rlhf_lab.reward import pair_accuracy, train_reward_model
from rlhf_lab.runtime import completing
from rlhf_lab.sft import train_sft
from rlhf_lab.tracking import Callback
from rlhf_lab.world import World
from rlhf_lab.world.prompts import USE_CASES

# Prompts of each stage come from different stretches of the training split.
DEMONSTRATION_START = 0
RANKING_START = 1_000_000
PPO_START = 2_000_000
PEOPLE = "people"
# Percent of the completions that people write for ranking; see rlhf_lab.world.answers.
WRITTEN_QUALITIES = {"right": 40, "wrong": 35, "partial": 15, "hedging": 5, "rude": 5}
# Documents that PPO-ptx reads; pretraining reads from the start of the stream.
PTX_START = 100_000_000


def sample_rankings(
    world: World,
    writers: Mapping[str, nn.Module],
    shares: Mapping[str, float],
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    k_min: int = 4,
    k_max: int = 9,
    max_new_tokens: int = 48,
    seed: int = 0,
    rank: Callable[[Prompt, Sequence[str]], Ranking] | None = None,
) -> list[Ranking]:
    """K completions per prompt from several policies, each ranked by one labeler.

    InstructGPT ranked samples "mostly from supervised policies, some from PPO policies" (Ouyang
    et al. 2022, §3.1). A reward model only learns to see mistakes that it has seen, so the writers
    should err in different ways. Small policies seldom err about facts in a fluent sentence, so
    some completions may come from people instead (ours, not the paper's).

    Args:
        world: whose labelers rank.
        writers: name to policy.
        shares: name to probability of writing a completion: the names of ``writers``, and
            "people" for answers of any quality that inhabitants of Fernwick write.
        tokenizer: of all writers.
        prompts: what they answer.
        k_min, k_max: K is drawn evenly from this range for each prompt.
        max_new_tokens: longest completion, in tokens.
        seed: of K, of the choice of writers and of sampling.
        rank: puts the completions of a prompt in order; None for a training labeler each.

    Returns:
        One ranking per prompt whose completions are not all alike.
    """
    rng = random.Random(f"rankings:{seed}")
    names = list(shares)
    drawn = [
        rng.choices(names, weights=[shares[n] for n in names], k=rng.randint(k_min, k_max))
        for _ in prompts
    ]
    completions: list[list[str]] = [[] for _ in prompts]
    for number, name in enumerate(names):
        rows = [i for i, writers_of in enumerate(drawn) for w in writers_of if w == name]
        if name == PEOPLE:
            for order, row in enumerate(rows):
                text = _written(world, prompts[row], order, seed)
                if text not in completions[row]:
                    completions[row].append(text)
            continue
        texts = answers(
            writers[name], tokenizer, [prompts[i] for i in rows],
            max_new_tokens=max_new_tokens, seed=seed * 1000 + number,
        )  # fmt: skip
        for row, text in zip(rows, texts, strict=True):
            if text not in completions[row]:
                completions[row].append(text)
    rank = rank or functools.partial(world.rank, index=seed)
    return [
        rank(prompt, found)
        for prompt, found in zip(prompts, completions, strict=True)
        if len(found) > 1
    ]


def _written(world: World, prompt: Prompt, order: int, seed: int) -> str:
    """An answer that a person wrote, of a quality drawn from :data:`WRITTEN_QUALITIES`."""
    rng = random.Random(f"written:{seed}:{order}:{prompt.text}")
    qualities = list(WRITTEN_QUALITIES)
    quality = rng.choices(qualities, weights=list(WRITTEN_QUALITIES.values()))[0]
    return world.answer(prompt, rng.randrange(1000), quality)


def web_blocks(
    world: World,
    tokenizer: PreTrainedTokenizerBase,
    count: int,
    block_length: int,
    *,
    start: int = 0,
    split: str = "train",
    without: Sequence[str] = (),
) -> Tensor:
    """``count`` documents of the web as token blocks (N, ``block_length``), int32."""
    texts = [d.text for d in world.documents(count, start, split, without=without)]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return pack_blocks(ids, block_length, tokenizer.eos_token_id)


def reward_start(config: ChainConfig) -> str:
    """What the reward model starts from: "sft", a shipped examiner, or a folder."""
    examiner = EXAMINERS.get(config.model, "")
    shipped = bool(examiner) and (ASSETS / examiner).is_dir()
    return config.reward_start or (examiner if shipped else "sft")


class Chain:
    """One run of the chain in a folder; every stage is made once and then read back.

    Args:
        config: what to run.
        folder: where results are kept; made when missing.
        device: where models are trained.
        quiet: no progress bars.
        callback: called with (stage name, step, metrics) as training goes on.

    Raises:
        CheckpointError: when the folder holds the results of other settings; PPO's may differ,
            for its runs have names, and checkpoints that are checked.
    """

    def __init__(
        self,
        config: ChainConfig,
        folder: str | Path,
        *,
        device: str | torch.device = "cpu",
        quiet: bool = False,
        callback: Any = None,
    ) -> None:
        self.config = config = dataclasses.replace(config, reward_start=reward_start(config))
        self.device = device
        self.folder = Path(folder)
        self.quiet = quiet
        self.callback = callback
        self.world = World(config.world_seed)
        self.base, self.tokenizer = load_policy(config.model, device=device)
        self._require_own_folder()

    def _require_own_folder(self) -> None:
        path = self.folder / "chain.json"
        if path.exists():
            saved = json.loads(path.read_text(encoding="utf-8"))
            require_same_config(saved, self.config, path, free=("ppo", "evaluation_prompts"))
        else:
            atomic_write(path, json.dumps(dataclasses.asdict(self.config), indent=2) + "\n")

    def _report(self, stage: str) -> Callback | None:
        return None if self.callback is None else functools.partial(self.callback, stage)

    # Data --------------------------------------------------------------------------------

    @functools.cached_property
    def demonstrations(self) -> list[Demonstration]:
        """What labelers wrote; the same for every seed of a world unless the count differs."""
        start = DEMONSTRATION_START + self.config.seed * 20_000
        return self.world.demonstrations("train", self.config.demonstrations, start)

    @functools.cached_property
    def ppo_prompts(self) -> list[Prompt]:
        """Prompts without answers, which PPO answers itself."""
        return self.world.prompts("train", self.config.prompts, PPO_START)

    @functools.cached_property
    def test_prompts(self) -> list[Prompt]:
        """Prompts of the test split, seen by no stage."""
        return self.world.prompts("test", self.config.evaluation_prompts)

    @functools.cached_property
    def ptx_blocks(self) -> Tensor:
        """The pretraining stream of PPO-ptx."""
        c = self.config
        return web_blocks(
            self.world, self.tokenizer, c.ptx_documents, c.ptx_block_length, start=PTX_START
        )

    # Stages ------------------------------------------------------------------------------

    @functools.cached_property
    def sft(self) -> nn.Module:
        """Step 1."""
        return self._policy("sft", self._train_sft)

    @functools.cached_property
    def early_sft(self) -> nn.Module:
        """A policy after a small part of step 1, whose mistakes are worth ranking."""
        return self._policy("early-sft", self._train_early_sft)

    def _train_sft(self, folder: Path) -> nn.Module:
        policy = copy.deepcopy(self.base)
        settings = dataclasses.replace(
            self.config.sft, seed=self.config.sft.seed + self.config.seed
        )
        train_sft(
            policy, self.tokenizer, self.demonstrations, settings,
            output_dir=folder, quiet=self.quiet, callback=self._report("sft"),
        )  # fmt: skip
        return policy

    def _train_early_sft(self, folder: Path) -> nn.Module:
        policy = copy.deepcopy(self.base)
        settings = dataclasses.replace(
            self.config.sft, seed=self.config.sft.seed + self.config.seed, epochs=1.0
        )
        train_sft(
            policy, self.tokenizer, self.demonstrations[: self.config.early_demonstrations],
            settings, output_dir=folder, quiet=True,
        )  # fmt: skip
        return policy

    @functools.cached_property
    def rankings(self) -> list[Ranking]:
        """Comparisons by the training labelers."""
        path = self.folder / "rankings.jsonl"
        if path.exists():
            return read_jsonl(path, Ranking)
        c = self.config
        prompts = self.world.prompts("train", c.rankings, RANKING_START + c.seed * 20_000)
        found = self.ranked(prompts)
        write_jsonl(path, found)
        return found

    def ranked(
        self,
        prompts: Sequence[Prompt],
        rank: Callable[[Prompt, Sequence[str]], Ranking] | None = None,
    ) -> list[Ranking]:
        """K answers to each prompt, ranked by a training labeler or by ``rank``."""
        c = self.config
        return sample_rankings(
            self.world,
            {"sft": self.sft, "early": self.early_sft, "base": self.base},
            {
                "sft": c.sft_share,
                "early": c.early_share,
                PEOPLE: c.written_share,
                "base": max(0.0, 1 - c.sft_share - c.early_share - c.written_share),
            },
            self.tokenizer,
            prompts,
            k_min=c.k_min,
            k_max=c.k_max,
            max_new_tokens=c.ppo.max_response_length,
            seed=c.seed,
            rank=rank,
        )

    def held_out_rankings(self, per_kind: int) -> tuple[list[Prompt], list[Ranking]]:
        """Prompts of the valid split, ``per_kind`` of each use case, and their rankings."""
        prompts = [
            prompt
            for kind in USE_CASES
            for prompt in self.world.prompts("valid", per_kind, kind=kind)
        ]
        return prompts, self.ranked(prompts)

    def reward_accuracy(self, per_kind: int = 20) -> pd.DataFrame:
        """Pairs that the reward model orders as held-out labelings do, against their noise.

        Returns:
            :func:`rlhf_lab.reward.pair_accuracy` with its ``ceiling``.
        """
        prompts, rankings = self.held_out_rankings(per_kind)
        return pair_accuracy(
            self.reward_model, self.tokenizer, rankings,
            max_length=self.config.rm.max_length,
            ceiling=noise_ceiling(self.world, prompts, rankings),
        )  # fmt: skip

    @functools.cached_property
    def reward_model(self) -> ScalarModel:
        """Step 2, shifted so that demonstrations score 0 on average."""
        folder = self.folder / "rm"
        if (folder / "final").exists():
            return ScalarModel.load(folder / "final", device=self.device)
        settings = dataclasses.replace(self.config.rm, seed=self.config.rm.seed + self.config.seed)
        model = self._unranked_reward_model(settings.seed)
        rankings = self.rankings
        with completing():
            train_reward_model(
                model, self.tokenizer, rankings, settings,
                demonstrations=self.demonstrations, output_dir=folder, quiet=self.quiet,
                callback=self._report("rm"),
            )  # fmt: skip
        model.save(folder / "final")
        return model

    def _unranked_reward_model(self, seed: int) -> ScalarModel:
        """What the reward model starts from."""
        start = self.config.reward_start
        if start == "sft":
            return ScalarModel.from_policy(self.sft, seed=seed)
        model = ScalarModel.load(start, device=self.device)
        require_same_vocabulary(model, self.base, "reward_start", start)
        return model

    def ppo(
        self,
        name: str = "ppo-ptx",
        *,
        watch: Callable[[int, nn.Module], None] | None = None,
        **changes: Any,
    ) -> tuple[nn.Module, list[dict[str, Any]]]:
        """Step 3: a policy (its weight average) and the history of the run.

        Args:
            name: folder of the run.
            watch: called with the step and the policy after every iteration.
            changes: fields of :class:`PPOConfig` other than those of the chain's configuration.
        """
        settings = self.ppo_config(**changes)
        inner = self._report(name)

        def report(step: int, row: dict[str, Any]) -> None:
            if inner is not None:
                inner(step, row)
            if watch is not None:
                watch(step, trainer.policy)

        trainer = PPOTrainer(
            copy.deepcopy(self.sft),
            self.sft,
            reward_function(self.reward_model),
            self.reward_model.copy(),
            self.tokenizer,
            encode_prompts(self.tokenizer, [p.text for p in self.ppo_prompts]),
            self.ptx_blocks if settings.gamma > 0 else None,
            settings,
            output_dir=self.folder / name,
            callback=report,
            quiet=self.quiet,
        )
        with completing():
            history = trainer.train()
        return trainer.averaged_policy(), history

    def ppo_config(self, **changes: Any) -> PPOConfig:
        """The PPO settings of this chain's seed, with some fields changed."""
        merged = {"seed": self.config.ppo.seed + self.config.seed, **changes}
        return dataclasses.replace(self.config.ppo, **merged)

    def _policy(self, name: str, make: Any) -> nn.Module:
        folder = self.folder / name
        if (folder / "final").exists():
            return load_policy(str(folder / "final"), device=self.device)[0]
        with completing():
            policy = make(folder).eval()
        save_policy(policy, self.tokenizer, folder / "final")
        return policy


def seeded(config: ChainConfig, seed: int) -> ChainConfig:
    """The same chain with another seed for every stage."""
    return dataclasses.replace(config, seed=seed)
