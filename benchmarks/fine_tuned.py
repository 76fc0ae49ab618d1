"""What the chapter on SFT measures of one fine-tuning run, while it goes on."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rlhf_lab.config import SFTConfig
from rlhf_lab.encoding import Encoded, encode_demonstrations, pad_right
from rlhf_lab.evaluate import (
    Neural,
    answers,
    distinct,
    gold_report,
    held_out_loss,
    in_context_accuracy,
    reply_kinds,
    rm_scores,
    win_rate,
)
from rlhf_lab.models import PolicyLogits, ScalarModel
from rlhf_lab.objectives import entropy, token_logprobs
from rlhf_lab.pipeline import DEMONSTRATION_START, PTX_START, web_blocks
from rlhf_lab.records import Demonstration, Prompt
from rlhf_lab.sft import train_sft
from rlhf_lab.world import World

APART = 20_000  # prompts between the demonstrations of two seeds, as in the chain
EXAMPLES = 4  # in a list before the entry that is asked for
TEMPERATURES = [0.5 + 0.05 * i for i in range(41)]  # of which one makes the loss least
RARE = 0.01  # a token with less probability than this counts as a surprise


@dataclass(frozen=True)
class Recipe:
    """One way of fine-tuning, and when it is looked at.

    Attributes:
        demonstrations: how many there are.
        epochs: passes over them, under one cosine.
        at: epochs after which the policy is measured.
        seeds: how many runs.
        mix: share of rows that are pretraining text.
        special: epochs measured at other temperatures and by choices among many answers, too.
        web: also the loss on held-out documents, and lists.
    """

    demonstrations: int = 300
    epochs: int = 16
    at: tuple[int, ...] = (1, 2, 4, 16)
    seeds: int = 5
    mix: float = 0.0
    special: tuple[int, ...] = ()
    web: bool = False


@dataclass(frozen=True)
class Measured:
    """How much is measured of a policy.

    Attributes:
        held_out: demonstrations of the valid split whose loss is measured, and of those trained on.
        valid: prompts of the valid split, by whose scores an epoch may be chosen.
        prompts: of the test split, for everything else.
        temperatures: other than 1, for answers of special epochs; 0 takes the likeliest token.
        candidates: answers to each of ``choices`` prompts, of which the best is looked for.
    """

    held_out: int = 160
    valid: int = 48
    prompts: int = 128
    temperatures: tuple[float, ...] = (0.0, 0.5)
    candidates: int = 8
    choices: int = 16
    documents: int = 100
    lists: int = 60
    ptx_documents: int = 300
    sft: SFTConfig = field(default_factory=SFTConfig)


@dataclass(frozen=True)
class Start:
    """What every run starts from and is judged by."""

    base: nn.Module
    tokenizer: Any
    examiner: ScalarModel
    world: World


def measure(
    given: Start, name: str, recipe: Recipe, seed: int, settings: Measured
) -> dict[str, Any]:
    """Fine-tune once; the rows of each table, and the seconds of processor time that it took."""
    before, watch = time.process_time(), Watch(given, name, recipe, seed, settings)
    policy = copy.deepcopy(given.base)
    config = dataclasses.replace(
        settings.sft, seed=seed, epochs=recipe.epochs, pretrain_mix=recipe.mix
    )
    steps = {round(k * watch.rows(recipe) / config.batch_size): k for k in recipe.at}
    blocks = None
    if recipe.mix > 0:
        blocks = web_blocks(
            given.world, given.tokenizer, settings.ptx_documents, 64, start=PTX_START
        )

    def after(step: int, _: dict[str, Any]) -> None:
        if step in steps:
            watch.look(policy, steps[step])

    train_sft(
        policy,
        given.tokenizer,
        watch.demonstrations,
        config,
        pretrain=blocks,
        callback=after,
        quiet=True,
    )
    return {**watch.tables, "seconds": round(time.process_time() - before, 1)}


class Watch:
    """Measures copies of a policy as it is trained.

    Attributes:
        demonstrations: of this seed.
        tables: rows so far, by table.
    """

    def __init__(
        self, given: Start, name: str, recipe: Recipe, seed: int, settings: Measured
    ) -> None:
        self.given, self.recipe, self.settings = given, recipe, settings
        self.row = {"recipe": name, "seed": seed}
        self.seed = seed
        world = given.world
        self.demonstrations = world.demonstrations(
            "train", recipe.demonstrations, DEMONSTRATION_START + seed * APART
        )
        asked = world.prompts("valid", settings.held_out)
        self.held_out = [world.demonstration(prompt) for prompt in asked]
        said = [d.completion for d in self.held_out]
        self.right = torch.tensor(
            (reply_kinds(gold_report(world, asked, said)) == "right").tolist()
        )
        self.valid = asked[: settings.valid]
        self.prompts = world.prompts("test", settings.prompts)
        self.first: list[str] | None = None
        self.copy = copy.deepcopy(given.base).eval()
        names = ("epochs", "temperatures", "choices", "answers")
        self.tables: dict[str, list[dict[str, Any]]] = {name: [] for name in names}

    def rows(self, recipe: Recipe) -> int:
        """Of an epoch, pretraining text included."""
        return recipe.demonstrations + round(recipe.demonstrations * recipe.mix / (1 - recipe.mix))

    def look(self, policy: nn.Module, epoch: int) -> None:
        """Measure the policy as it is after an epoch."""
        # A copy: training hangs its own forward on the instance, and has dropout on.
        self.copy.load_state_dict(policy.state_dict())
        row = {**self.row, "epoch": epoch}
        found = {**self.losses(), **self.judged(row)}
        if self.recipe.web:
            found |= self.remembered()
        self.tables["epochs"].append({**row, **found})
        print(*row.values(), *(f"{found[k]:.2f}" for k in ("loss", "gold", "rm_score")), flush=True)
        if epoch in self.recipe.special:
            self.tables["temperatures"] += [
                {**row, **self.at_temperature(t)} for t in self.settings.temperatures
            ]
            self.tables["choices"].append({**row, **self.choices()})

    def losses(self) -> dict[str, float]:
        """On demonstrations, with what the model expects at their tokens."""
        logits, targets, owner = self.expected(self.held_out)
        logp = token_logprobs(logits, targets)
        right = self.right[owner]
        by_temperature = {t: -token_logprobs(logits, targets, t).mean() for t in TEMPERATURES}
        best = min(by_temperature, key=lambda t: float(by_temperature[t]))
        trained = self.demonstrations[: self.settings.held_out]
        own_logits, own_targets, _ = self.expected(trained)
        found: dict[str, Tensor | float] = {
            "loss": -logp.mean(),
            "trained_loss": -token_logprobs(own_logits, own_targets).mean(),
            "loss_right": -logp[right].mean(),
            "loss_others": -logp[~right].mean(),
            "surprises": -(logp * (logp.exp() < RARE)).mean(),
            "surprising": (logp.exp() < RARE).float().mean(),
            "median": -logp.median(),
            "accuracy": (logits.argmax(-1) == targets).float().mean(),
            "confidence": logits.softmax(-1).amax(-1).mean(),
            "entropy": entropy(logits).mean(),
            "best_temperature": best,
            "loss_at_best": by_temperature[best],
        }
        return {key: float(value) for key, value in found.items()}

    def judged(self, row: dict[str, Any]) -> dict[str, float]:
        """Answers: to prompts of the valid split by the examiner, to test prompts by everyone."""
        given, prompts = self.given, self.prompts
        both = self.write([*prompts, *self.valid])  # in one batch
        said, valid = both[: len(prompts)], both[len(prompts) :]
        if self.first is None:
            self.first = said
        report = gold_report(given.world, prompts, said)
        kinds = reply_kinds(report).value_counts(normalize=True)
        scores = self.scores(prompts, said)
        if self.recipe.special and self.seed == 0:
            self.tables["answers"] += [
                {**row, "prompt": prompt.text, "answer": text, "gold": gold, "rm_score": score}
                for prompt, text, gold, score in zip(
                    prompts, said, report["gold"], scores, strict=True
                )
            ]
        wins = win_rate(given.world, prompts, said, self.first, seed=self.seed)
        return {
            "valid_rm_score": _mean(self.scores(self.valid, valid)),
            "rm_score": _mean(scores),
            "gold": float(report["gold"].mean()),
            "wins": float(wins.win_rate[0]),
            **{kind: float(kinds.get(kind, 0.0)) for kind in ("right", "hedging", "rude")},
            "form": float(report["form"].mean()),
            "truth": float(report["truth"].mean()),
            "follows": float(report["follows"].mean()),
            "distinct_2": distinct(said, 2),
            "words": float(report["words"].mean()),
        }

    def at_temperature(self, temperature: float) -> dict[str, float]:
        """Gold score and reward model's score of answers at another temperature."""
        said = self.write(self.prompts, temperature)
        gold = gold_report(self.given.world, self.prompts, said)["gold"]
        return {
            "temperature": temperature,
            "gold": float(gold.mean()),
            "rm_score": _mean(self.scores(self.prompts, said)),
            "distinct_2": distinct(said, 2),
        }

    def choices(self) -> dict[str, float]:
        """Several answers a prompt: how unlike they are, and what the best by score is worth."""
        world, count = self.given.world, self.settings.candidates
        asked = [p for p in self.prompts[: self.settings.choices] for _ in range(count)]
        said = self.write(asked)
        scores = torch.tensor(self.scores(asked, said)).view(-1, count)
        gold = torch.tensor([world.gold(p, s) for p, s in zip(asked, said, strict=True)])
        gold = gold.view(-1, count)
        texts = [said[i : i + count] for i in range(0, len(said), count)]
        best = scores.argmax(1, keepdim=True)
        return {
            "gold": float(gold.mean()),
            "gold_of_best": float(gold.gather(1, best).mean()),
            "score_spread": float(scores.std(1).mean()),
            "different": sum(len(set(some)) for some in texts) / len(said),
            "all_alike": sum(len(set(some)) == 1 for some in texts) / len(texts),
        }

    def remembered(self) -> dict[str, float]:
        """What is left of pretraining: loss on documents, share of lists continued rightly."""
        world, settings = self.given.world, self.settings
        model = Neural(self.copy, self.given.tokenizer)
        lists = in_context_accuracy(model, world, examples=(EXAMPLES,), count=settings.lists)
        return {
            "web_loss": held_out_loss(model, world, count=settings.documents).nats_per_token[0],
            "lists": lists.set_index("family").accuracy["accuracy"],
        }

    def expected(self, demonstrations: Sequence[Demonstration]) -> tuple[Tensor, Tensor, Tensor]:
        """See :func:`expected`."""
        longest = self.settings.sft.max_length
        return expected(self.copy, self.given.tokenizer, demonstrations, longest)

    def write(self, prompts: Sequence[Prompt], temperature: float = 1.0) -> list[str]:
        """One sampled answer a prompt; the likeliest tokens at temperature 0."""
        greedy = temperature == 0
        return answers(
            self.copy, self.given.tokenizer, prompts, seed=self.seed,
            greedy=greedy, temperature=1.0 if greedy else temperature, batch_size=256,
        )  # fmt: skip

    def scores(self, prompts: Sequence[Prompt], said: Sequence[str]) -> list[float]:
        """Of the examiner."""
        return rm_scores(self.given.examiner, self.given.tokenizer, prompts, said)


@torch.no_grad()
def expected(
    policy: nn.Module,
    tokenizer: Any,
    demonstrations: Sequence[Demonstration],
    max_length: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """What the policy expects at each token of what labelers wrote, EOS included.

    Returns:
        logits (N, V), the tokens that came (N,), and the demonstration that each belongs to (N,).
    """
    rows: list[Encoded] = encode_demonstrations(demonstrations, tokenizer, max_length)
    logits, targets, owner = [], [], []
    forward = PolicyLogits(policy)
    for start in range(0, len(rows), 100):
        part = rows[start : start + 100]
        ids, mask = pad_right([row.ids for row in part], tokenizer.pad_token_id)
        begins = torch.tensor([row.start for row in part])[:, None]
        learnt = mask.bool() & (torch.arange(ids.shape[1]) >= begins)
        places = learnt.flatten().nonzero().squeeze(1)
        logits.append(forward(ids, places - 1))
        targets.append(ids.flatten()[places])
        owner.append(start + places // ids.shape[1])
    return torch.cat(logits), torch.cat(targets), torch.cat(owner)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
