"""What the chapter on failures trains and measures: arms that differ in one thing each.

An arm is a way to an answer. Some are policies of the published sweep; some are its SFT policies
shown more demonstrations of one kind; and some choose the best of several answers of an SFT policy,
by a reward model taught by labelers of one taste.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import nn

from rlhf_lab.evaluate import answers, gold_report, rm_scores
from rlhf_lab.failures import (
    PREMISE_REPLIES,
    all_met_if_independent,
    constraints_met,
    premise_reply,
    true_twin,
    without_bait,
)
from rlhf_lab.models import ScalarModel
from rlhf_lab.pipeline import DEMONSTRATION_START, RANKING_START, Chain
from rlhf_lab.records import Demonstration, Prompt, Ranking
from rlhf_lab.reward import train_reward_model
from rlhf_lab.sft import train_sft
from rlhf_lab.world import Labeler, World
from rlhf_lab.world.judge import Attributes, read
from rlhf_lab.world.lexicon import HEDGE_OPENERS

APART = 20_000  # prompts between the demonstrations, and the rankings, of two seeds of a chain
MORE_START = 10_000  # where further demonstrations begin, after those of the chain
FALSE, TRUE = "false premise", "true premise"
PLAIN, BAIT = "plainly", "with bait"
IN_TEXT, NOT_IN_TEXT = "in the text", "not in the text"
STORY, USUAL = "story", "usual"
FURTHER = (FALSE, TRUE, STORY, USUAL)  # asked after further demonstrations
DOUBTFUL = (PLAIN, BAIT, IN_TEXT, NOT_IN_TEXT)  # asked where hedging is in question
TABLES = ("premises", "hedges", "constraints", "usual", "answers")

MORE, MORE_FALSE = "SFT, more of the usual", "SFT, more false premises"
BALANCED = "SFT, more false and true premises"
SHOWN_MORE = (MORE, MORE_FALSE, BALANCED)
HEDGING = "SFT, more plain questions, half hedged"
DISLIKING, LIKING, CHECKING = "dislike hedging", "like hedging", "check first"
TASTES = (DISLIKING, LIKING, CHECKING)


@dataclass(frozen=True)
class Config:
    """How much is asked, and by how much arms differ.

    Attributes:
        prompts: test prompts of each kind that provokes a failure.
        in_text: about a given text that has the answer, and as many about one that has not.
        usual: test prompts in the usual mix.
        shown: of each kind, the first of which the answers are kept.
        best_of: answers of which the best is chosen.
        more: demonstrations on which the SFT policy is trained further.
        rankings: of the chain's, that labelers of one taste put in order again.
        liking: weight of a hedge with those who like it; with all others it is minus that.
        rate: learning rate of a reward model that learns from them. At the chain's own, a fifth of
            it, the taste that the examiner has stays about as it was.
    """

    prompts: int = 100
    in_text: int = 60
    usual: int = 100
    shown: int = 3
    best_of: int = 4
    more: int = 240
    rankings: int = 250
    liking: float = 0.75
    rate: float = 5e-4


Rows = dict[str, list[dict[str, Any]]]
Write = Callable[[Sequence[Prompt]], list[str]]


# --- what is asked, and how answers are counted ---------------------------------------------------


def asked(world: World, config: Config) -> dict[str, list[Prompt]]:
    """Test prompts by kind; those with a true premise and those without bait are twins."""
    false = world.prompts("test", config.prompts, kind="open_qa", hard="false premise")
    bait = world.prompts("test", config.prompts, kind="open_qa", hard="hedge bait")
    return {
        FALSE: false,
        TRUE: [true_twin(world, prompt) for prompt in false],
        PLAIN: [without_bait(prompt) for prompt in bait],
        BAIT: bait,
        IN_TEXT: world.prompts("test", config.in_text, kind="closed_qa", hard=""),
        NOT_IN_TEXT: world.prompts("test", config.in_text, kind="closed_qa", hard="unanswerable"),
        STORY: [*story_prompts(world, "test", config.prompts, 0, ""),
                *story_prompts(world, "test", config.prompts, 0, "constraints")],
        USUAL: world.prompts("test", config.usual),
    }  # fmt: skip


def story_prompts(world: World, split: str, count: int, first: int, hard: str) -> list[Prompt]:
    """Requests for stories; insults and greetings are asked for by the same use case."""
    found = world.prompts(split, 2 * count + 20, first, kind="generation", hard=hard)
    return [prompt for prompt in found if prompt.meta["task"] == "story"][:count]


def measure(
    world: World, questions: Mapping[str, Sequence[Prompt]], write: Write, shown: int
) -> Rows:
    """Ask some kinds of prompts or all, and count, by table.

    ``premises``: share of each reply; ``hedges``: shares that hedge, that are right, that say that
    the text does not tell, and that hedge among answers whose claims are true or false;
    ``constraints``: by their number, share of each that is met, of all of them together
    (``each``), of requests of which all are met, and what that would be if each were met by itself
    as often as it is; ``usual``: the gold score; ``answers`` to the first prompts of each kind.
    """
    texts = iter(write([prompt for group in questions.values() for prompt in group]))
    said = {kind: [next(texts) for _ in group] for kind, group in questions.items()}
    rows: Rows = {table: [] for table in TABLES}
    for kind, group in questions.items():
        if kind in (FALSE, TRUE):
            rows["premises"] += replies(world, kind, group, said[kind])
        elif kind == STORY:
            rows["constraints"] = by_number(world, group, said[kind])
        elif kind == USUAL:
            report = gold_report(world, group, said[kind])
            rows["usual"] = [{"gold": float(report.gold.mean()), "count": len(report)}]
            continue
        else:
            found = hedging(gold_report(world, group, said[kind]))
            rows["hedges"].append({"asked": kind, **found})
        rows["answers"] += [
            {"kind": kind, "prompt": prompt.text, "answer": text}
            for prompt, text in list(zip(group, said[kind], strict=True))[part(kind, shown)]
        ]
    return rows


def replies(
    world: World, kind: str, prompts: Sequence[Prompt], texts: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of ``premises`` about one kind."""
    found = [premise_reply(world, p, text) for p, text in zip(prompts, texts, strict=True)]
    return [
        {"premise": kind, "reply": reply, "share": found.count(reply) / len(found),
         "count": len(found)}
        for reply in PREMISE_REPLIES
    ]  # fmt: skip


def part(kind: str, shown: int) -> slice:
    """The first; of the requests for stories the last, which ask for several things."""
    return slice(-shown, None) if kind == STORY else slice(shown)


def hedging(report: pd.DataFrame) -> dict[str, float]:
    """Shares of the answers of a gold report; NaN where there is none to count."""
    hedge = report.hedge > 0
    unknown = report.completion.map(says_unknown)
    right = (report.truth > 0) & (report.follows > 0)
    return {
        "hedged": float(hedge.mean()),
        "right": float(right.mean()),
        "unknown": float(unknown.mean()),
        "hedged_if_true": float(hedge[report.truth > 0].mean()),
        "hedged_if_false": float(hedge[report.truth < 0].mean()),
        "gold": float(report.gold.mean()),
        "count": len(report),
    }


def says_unknown(text: str) -> bool:
    """Whether an answer says that the text does not tell."""
    return read(text.strip()).flag("unknown")


def by_number(world: World, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[dict]:
    """The rows of ``constraints``."""
    found = [constraints_met(world, p, t) for p, t in zip(prompts, texts, strict=True)]
    rows = []
    for number in sorted({len(met) for met in found}):
        own = [met for met in found if len(met) == number]
        flat = pd.DataFrame([(name, ok) for met in own for name, ok in met.items()],
                            columns=["constraint", "met"])  # fmt: skip
        rates = flat.groupby("constraint").met.agg(["mean", "size"])
        shares = {name: (row["mean"], row["size"]) for name, row in rates.iterrows()}
        shares["each"] = (flat.met.mean(), len(flat))
        shares["all"] = (sum(all(met.values()) for met in own) / len(own), len(own))
        apart = [all_met_if_independent([rates["mean"][name] for name in met]) for met in own]
        shares["all, if independent"] = (sum(apart) / len(own), len(own))
        rows += [
            {"number": number, "constraint": name, "share": float(share), "count": int(count)}
            for name, (share, count) in shares.items()
        ]
    return rows


# --- arms: more demonstrations --------------------------------------------------------------------


def demonstrations(chain: Chain, arm: str, config: Config) -> list[Demonstration]:
    """As many in each arm, to prompts that follow those of the chain or are all of one hard kind.

    With true premises the first half of the false ones stays, and each of them gets its twin.
    """
    world, count = chain.world, config.more
    first = DEMONSTRATION_START + chain.config.seed * APART + MORE_START
    if arm == MORE:
        mine = world.prompts("train", count, first)
    elif arm == HEDGING:
        mine = world.prompts("train", count, first, kind="open_qa", hard="")
        return [
            hedged(world, p, i) if i % 2 else world.demonstration(p) for i, p in enumerate(mine)
        ]
    else:
        mine = world.prompts("train", count, first, kind="open_qa", hard="false premise")
    if arm == BALANCED:
        half = mine[: count // 2]
        mine = [*half, *(true_twin(world, prompt) for prompt in half)]
    # Two false premises may have one true twin: another labeler answers it then.
    return [world.demonstration(prompt, index) for index, prompt in enumerate(mine)]


def hedged(world: World, prompt: Prompt, index: int) -> Demonstration:
    """A right answer with a hedge before it."""
    opener = HEDGE_OPENERS[index // 2 % len(HEDGE_OPENERS)]
    return Demonstration(prompt.text, f"{opener} {world.answer(prompt)}", prompt.kind)


def shown_more(chain: Chain, arm: str, config: Config) -> nn.Module:
    """The chain's SFT policy, trained further by the same settings on those of an arm alone."""
    policy = copy.deepcopy(chain.sft)
    settings = chain.config.sft
    settings = dataclasses.replace(settings, seed=settings.seed + chain.config.seed)
    mine = demonstrations(chain, arm, config)
    train_sft(policy, chain.tokenizer, mine, settings, quiet=True)
    return policy.eval()


# --- arms: other labelers -------------------------------------------------------------------------


def people(world: World, taste: str, liking: float) -> list[Labeler]:
    """The training labelers, all with one weight for a hedge."""
    weight = liking if taste == LIKING else -liking
    return [
        dataclasses.replace(person, weights={**person.weights, "hedge": weight})
        for person in world.labelers()
    ]


def eyes(world: World, taste: str) -> Callable[[Prompt, str], Attributes]:
    """What the labelers look at.

    Those who check first know whether an answer is true: a hedge before something false is welcome
    to them, as much as another one is not.
    """

    def checked(prompt: Prompt, text: str) -> Attributes:
        found = world.judge(prompt, text)
        return dataclasses.replace(found, hedge=-found.hedge) if found.truth < 0 else found

    return checked if taste == CHECKING else world.judge


def ranked_again(chain: Chain, taste: str, config: Config) -> list[Ranking]:
    """Answers of the chain's rankings, put in order by labelers of one taste.

    Of each prompt one answer comes a second time, with a hedge before it: among the answers of our
    policies hedges are rare. The labeler of a prompt and the noise of each judgement do not depend
    on the taste.
    """
    world, seed = chain.world, chain.config.seed
    first = RANKING_START + seed * APART
    known = {p.text: p for p in world.prompts("train", chain.config.rankings, first)}
    labelers, judge = people(world, taste, config.liking), eyes(world, taste)
    again = []
    for old in chain.rankings[: config.rankings]:
        rng = random.Random(f"ranked again:{seed}:{old.prompt}")
        person = rng.choice(labelers)
        texts = (*old.completions, f"{rng.choice(HEDGE_OPENERS)} {rng.choice(old.completions)}")
        again.append(person.rank(known[old.prompt], texts, judge, rng))
    return again


def taught(chain: Chain, taste: str, config: Config) -> ScalarModel:
    """What the chain's reward model started from, after those rankings."""
    settings = chain.config.rm
    settings = dataclasses.replace(
        settings, seed=settings.seed + chain.config.seed, learning_rate=config.rate
    )
    model = ScalarModel.load(chain.config.reward_start)
    mine = ranked_again(chain, taste, config)
    train_reward_model(model, chain.tokenizer, mine, settings, quiet=True)
    return model


def best(
    policy: nn.Module,
    chain: Chain,
    questions: Mapping[str, Sequence[Prompt]],
    judges: Mapping[str, ScalarModel | None],
    count: int,
) -> dict[str, Write]:
    """For each reward model, who gives the one of ``count`` answers that it finds best.

    None takes the first.
    """
    prompts = [p for group in questions.values() for p in group for _ in range(count)]
    said = answers(policy, chain.tokenizer, prompts, seed=chain.config.seed)
    rows = [range(i, i + count) for i in range(0, len(said), count)]

    def pick(judge: ScalarModel | None, _: Sequence[Prompt]) -> list[str]:
        if judge is None:
            return said[::count]
        scores = rm_scores(judge, chain.tokenizer, prompts, said)
        return [said[max(row, key=scores.__getitem__)] for row in rows]

    return {name: functools.partial(pick, judge) for name, judge in judges.items()}
