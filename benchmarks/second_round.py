"""Does a second round of rankings and PPO help, and is it because the rankings are fresh?

Writes ``book/results/second-round``. Round 1 is the sweep's PPO-ptx at the default β and γ
(``runs/sweep``; what is missing of it is run). From its policy three arms go on with PPO-ptx for
two thirds as many episodes, the same prompts in the same order, towards

- *the same* reward model as in round 1: the control;
- one trained on the old rankings and on as many *fresh* ones, of answers of the round-1 policy and,
  in the share that they had in round 1, of people;
- one trained on the old rankings and on as many *more* of the old kind: other answers of the old
  writers to the prompts of the fresh rankings.

New reward models start where the first one started, the examiner, and see every ranking once. The
arms start from the round-1 policy: each is to differ from the control in the reward alone. The
reference of the KL penalty stays SFT, and each value network starts from its arm's reward model.

Written before the first run, each rule with its whole interval over seeds: *the second round helps*
if the gold score of *fresh* lies above that of *the same*; *labelers agree* if held-out labelers
prefer the answers of *fresh* to those of *the same* in more than half of the comparisons; *it is
the freshness* if the gold score of *fresh* lies above that of *more*. All on the same test prompts.

Added when that had been measured, to understand it: the table ``orders``.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from benchmarks.sweep import CONFIG, chain_of, policy_of
from rlhf_lab.checkpoints import clear_checkpoints
from rlhf_lab.data import read_jsonl, write_jsonl
from rlhf_lab.encoding import encode_prompts
from rlhf_lab.evaluate import (
    answers,
    exact_kl,
    gold_report,
    noise_ceiling,
    rm_scores,
    win_rate,
)
from rlhf_lab.files import atomic_write
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.models import ScalarModel, load_policy, reward_function, save_policy
from rlhf_lab.pipeline import PEOPLE, RANKING_START, Chain, sample_rankings
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.provenance import manifest
from rlhf_lab.records import Prompt, Ranking
from rlhf_lab.reward import pair_accuracy, train_reward_model
from rlhf_lab.runtime import completing

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "second-round"
SEEDS = CONFIG.seeds[:3]
START = "round 1"
SAME, FRESH, MORE = ARMS = ("the same rewards", "fresh rankings", "more old rankings")
ORDERS = "orders"
PARTS = (START, *ARMS, ORDERS)
TABLES = ("policies", "kinds", "curves", "accuracy", "rankings", ORDERS)
Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Config:
    """How much is ranked, trained and asked.

    Attributes:
        rankings: prompts that are ranked anew.
        steps: of PPO, in round 2; every: so many are one row of the curves.
        asked: test prompts.
        ranked: held-out prompts whose rankings test the reward models.
    """

    rankings: int = CONFIG.chain.rankings
    steps: int = 30
    every: int = 5
    asked: int = 512
    ranked: int = 200


def run() -> None:
    """Train and measure what is missing, write the tables."""
    started, config = time.time(), Config()
    found: Rows = {table: [] for table in TABLES}
    for seed in SEEDS:
        for part in PARTS:
            for table, rows in _measured(part, seed, config).items():
                found[table] += [{"seed": seed, "arm": part, **row} for row in rows]
    for name, rows in found.items():
        table = pd.DataFrame(rows)
        atomic_write(FOLDER / f"{name}.csv", table.to_csv(index=False, float_format="%.5g"))
        keys = [c for c in ("arm", "kind", "answers") if c in table]
        if name != "curves":
            means = table.groupby(keys, sort=False).mean(numeric_only=True)
            print(name, means.round(3).to_string(), sep="\n")
    about = manifest(
        "python -m benchmarks second_round", {"Config": config, "SweepConfig": CONFIG}, SEEDS,
        started,
    )  # fmt: skip
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _measured(part: str, seed: int, config: Config) -> Rows:
    """The rows of one part of a seed, by table; read where the same code has made them."""
    folder = ROOT / "runs" / f"second-round-{_key(config)}"
    path = folder / f"{PARTS.index(part)}-seed-{seed}.json"
    if not path.is_file():
        before = time.process_time()
        bench = _bench(seed, config, folder)
        special = {START: bench.start, ORDERS: bench.orders}
        rows = special[part]() if part in special else bench.arm(part)
        atomic_write(path, json.dumps(rows, ensure_ascii=False))
        print(f"{part}, seed {seed}: {time.process_time() - before:.0f} s", flush=True)
    found: Rows = json.loads(path.read_text(encoding="utf-8"))
    return found


def _key(config: Config) -> str:
    code = code_fingerprint("rlhf_lab.pipeline", "rlhf_lab.evaluate")
    return fingerprint([code, dataclasses.asdict(config), dataclasses.asdict(CONFIG)])


@functools.lru_cache(maxsize=1)
def _bench(seed: int, config: Config, folder: Path) -> Bench:
    chain = chain_of(seed)
    return Bench(chain, policy_of("PPO-ptx", chain), config, folder)


class Bench:
    """What all arms of a seed share.

    Args:
        chain: whose SFT policy, rankings and reward model round 1 had.
        first: the policy of round 1.
        folder: where reward models, policies and checkpoints are kept.
    """

    def __init__(self, chain: Chain, first: nn.Module, config: Config, folder: Path) -> None:
        self.chain, self.first, self.config, self.folder = chain, first.eval(), config, folder
        self.world, self.tokenizer, self.seed = chain.world, chain.tokenizer, chain.config.seed

    # Rankings and reward models ----------------------------------------------------------------

    def new_rankings(self, arm: str) -> list[Ranking]:
        """What an arm's reward model is trained on beside the old rankings."""
        path = self.folder / f"rankings-{ARMS.index(arm)}-seed-{self.seed}.jsonl"
        if not path.is_file():
            write_jsonl(path, self._ranked_anew(arm))
        return read_jsonl(path, Ranking)

    def _ranked_anew(self, arm: str) -> list[Ranking]:
        first = RANKING_START + 500_000 + 20_000 * self.seed
        prompts = self.world.prompts("train", self.config.rankings, first)
        if arm == MORE:
            return self.chain.ranked(prompts)
        written = self.chain.config.written_share
        return self._own(prompts, {START: 1 - written, PEOPLE: written})

    def _own(self, prompts: Sequence[Prompt], shares: dict[str, float]) -> list[Ranking]:
        """Rankings of answers of the round-1 policy, and of people if they have a share."""
        c = self.chain.config
        return sample_rankings(
            self.world, {START: self.first}, shares, self.tokenizer, prompts,
            k_min=c.k_min, k_max=c.k_max, max_new_tokens=c.ppo.max_response_length, seed=self.seed,
        )  # fmt: skip

    def reward_model(self, arm: str) -> ScalarModel:
        """Of an arm; the control has the chain's."""
        if arm == SAME:
            return self.chain.reward_model
        folder = self.folder / f"rm-{ARMS.index(arm)}-seed-{self.seed}"
        if not folder.is_dir():
            c = self.chain.config
            settings = dataclasses.replace(c.rm, seed=c.rm.seed + self.seed)
            model = self.chain._unranked_reward_model(settings.seed)
            rankings = [*self.chain.rankings, *self.new_rankings(arm)]
            with completing():
                train_reward_model(
                    model, self.tokenizer, rankings, settings,
                    demonstrations=self.chain.demonstrations, quiet=True,
                )  # fmt: skip
            model.save(folder)
        return ScalarModel.load(folder)

    @functools.cached_property
    def tests(self) -> dict[str, list[Ranking]]:
        """Held-out rankings: of answers of the round-1 policy, and of the old writers."""
        asked = self.test_prompts
        return {START: self._own(asked, {START: 1.0}), "old writers": self.chain.ranked(asked)}

    @functools.cached_property
    def test_prompts(self) -> list[Prompt]:
        """Of the held-out rankings."""
        return self.world.prompts("valid", self.config.ranked, 20_000 * self.seed)

    # PPO ---------------------------------------------------------------------------------------

    def trained(self, arm: str) -> tuple[nn.Module, list[dict[str, Any]]]:
        """The policy of round 2 and the history of its run."""
        folder = self.folder / f"ppo-{ARMS.index(arm)}-seed-{self.seed}"
        model = self.reward_model(arm)
        settings = self.chain.ppo_config(
            seed=100 + self.seed, steps=self.config.steps, checkpoint_every=15
        )
        trainer = PPOTrainer(
            copy.deepcopy(self.first),
            self.chain.sft,
            reward_function(model),
            model.copy(),
            self.tokenizer,
            encode_prompts(self.tokenizer, [p.text for p in self.chain.ppo_prompts]),
            self.chain.ptx_blocks,
            settings,
            output_dir=folder,
            quiet=True,
        )
        with completing():
            history = trainer.train()
        policy = trainer.averaged_policy().eval()
        save_policy(policy, self.tokenizer, folder / "final")
        clear_checkpoints(folder)
        return policy, history

    def arm(self, arm: str) -> Rows:
        """Round 2 with one reward: the policy, its run, and what its reward model is worth."""
        policy, history = self.trained(arm)
        rows = self.asked(arm, policy)
        every, names = self.config.every, ("objective/scores", "objective/kl")
        parts = [history[i : i + every] for i in range(0, len(history), every)]
        rows["curves"] = [
            {"step": part[-1]["step"], **{n: statistics.fmean(r[n] for r in part) for n in names}}
            for part in parts
        ]
        return rows

    # Measuring ---------------------------------------------------------------------------------

    @functools.cached_property
    def prompts(self) -> list[Prompt]:
        """That every policy answers, with the same random numbers."""
        return self.world.prompts("test", self.config.asked)

    def answers(self, policy: nn.Module) -> list[str]:
        """To them."""
        return answers(policy, self.tokenizer, self.prompts, seed=self.seed)

    @functools.cached_property
    def first_texts(self) -> list[str]:
        """Of the policy of round 1."""
        return self.answers(self.first)

    @functools.cached_property
    def control_texts(self) -> list[str]:
        """Of the control, which is there before the other arms."""
        name = f"ppo-{ARMS.index(SAME)}-seed-{self.seed}"
        return self.answers(load_policy(self.folder / name / "final")[0])

    def start(self) -> Rows:
        """The policy of round 1, and its gold score on the sweep's prompts, beside the sweep's."""
        rows = self.asked(SAME, self.first)
        swept = answers(self.first, self.tokenizer, self.chain.test_prompts, seed=self.seed)
        gold = gold_report(self.world, self.chain.test_prompts, swept).gold.mean()
        rows["policies"][0]["gold_of_sweep"] = float(gold)
        rows["accuracy"], rows["rankings"] = [], []
        return rows

    def asked(self, arm: str, policy: nn.Module) -> Rows:
        """A policy on test prompts, and the reward model of an arm on held-out rankings."""
        world, tokenizer = self.world, self.tokenizer
        texts = self.answers(policy)
        report = gold_report(world, self.prompts, texts)
        model = self.reward_model(arm)
        row: dict[str, Any] = {
            "gold": float(report.gold.mean()),
            "words": float(report.words.mean()),
        }
        rivals = {"first": self.first_texts}
        if policy is not self.first:
            rivals["same"] = self.control_texts
        for name, other in rivals.items():
            for group in ("train", "heldout"):
                wins = win_rate(world, self.prompts, texts, other, group=group)
                row[f"win_over_{name}/{group}"] = float(wins.win_rate.iloc[0])
        row["rm"] = statistics.fmean(rm_scores(model, tokenizer, self.prompts, texts))
        row["old_rm"] = statistics.fmean(
            rm_scores(self.chain.reward_model, tokenizer, self.prompts, texts)
        )
        row["kl"] = statistics.fmean(
            exact_kl(policy, self.chain.sft, tokenizer, self.prompts, texts)
        )
        longest = self.chain.config.rm.max_length
        kinds = report.groupby("kind").gold.agg(["mean", "count"]).reset_index()
        accuracy = [
            {"answers": name, "pairs": int(every.pairs), "accuracy": float(every.accuracy)}
            for name, rankings in self.tests.items()
            for every in [pair_accuracy(model, tokenizer, rankings, max_length=longest).iloc[-1]]
        ]
        counted = [] if arm == SAME else self.new_rankings(arm)
        return {
            "policies": [row],
            "kinds": kinds.rename(columns={"mean": "gold", "count": "prompts"}).to_dict("records"),
            "curves": [],
            "accuracy": accuracy,
            "rankings": [
                {"prompts": len(counted), "pairs": sum(r.pairs for r in counted)}
            ] if counted else [],
        }  # fmt: skip

    def orders(self) -> Rows:
        """Pairs of the held-out rankings that a new reward model orders otherwise than the old one.

        ``otherwise``: their share; ``ceiling``: accuracy of a judge who knows the gold score.
        """
        rows = []
        for name, rankings in self.tests.items():
            ceiling = noise_ceiling(self.world, self.test_prompts, rankings)["all"]
            old = self._margins(SAME, rankings)
            for arm in (FRESH, MORE):
                turned = [a * b < 0 for a, b in zip(old, self._margins(arm, rankings), strict=True)]
                otherwise = statistics.fmean(turned)
                rows.append(
                    {"arm": arm, "answers": name, "otherwise": otherwise, "ceiling": ceiling}
                )
        return {ORDERS: rows}

    def _margins(self, arm: str, rankings: Sequence[Ranking]) -> list[float]:
        """Differences of the scores of all pairs whose ranks differ."""
        model, found = self.reward_model(arm), []
        for r in rankings:
            scores = rm_scores(model, self.tokenizer, [r.prompt] * len(r.ranks), r.completions)
            pairs = itertools.combinations(range(len(r.ranks)), 2)
            found += [scores[i] - scores[j] for i, j in pairs if r.ranks[i] != r.ranks[j]]
        return found
