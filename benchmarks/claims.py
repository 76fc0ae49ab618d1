"""Which of the papers' findings come out again here? The findings ledger, from result files.

Reads ``book/data/claims.yaml``, where each claim has a rule for its verdict, measures the claim on
published results, one value per seed, and writes ``book/results/claims.yaml``. Nothing is run and
nothing is typed: a test makes the ledger again and compares. Intervals are Student's, over seeds: a
bootstrap of three values cannot leave their range and misses the truth a quarter of the time. A
prediction brings its own interval, and one run decides it.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from rlhf_lab.errors import InputError
from rlhf_lab.figures import mean_interval
from rlhf_lab.files import atomic_write
from rlhf_lab.lineage.dialogue import ALL, ASSISTANTS, FOLLOW_UPS
from rlhf_lab.lineage.in_context import shown_score
from rlhf_lab.lineage.instruction_tuning import TUNED, scores
from rlhf_lab.lineage.knowledge import (
    GRADES,
    NOT_ATTEMPTED,
    RIGHT,
    abstaining_score,
    calibration_error,
    guess_threshold,
    penalised_score,
)
from rlhf_lab.lineage.refusals import HARMFUL, LOOK_ALIKE, VEILED

BOOK = Path(__file__).parents[1] / "book"
CLAIMS = BOOK / "data" / "claims.yaml"
RESULTS = BOOK / "results"
LEDGER = RESULTS / "claims.yaml"

REPRODUCED, FAILED = "reproduced", "not reproduced"
SET_SO = "by construction"
OPEN = ("not tested yet", "not testable at this size")
RULES = ("above", "below", "within", "covers")
DIGITS = 4
HEADER = """\
# The findings ledger, made by `python -m benchmarks claims` from book/data/claims.yaml and the
# result files: change those. A test makes it again.
"""


class Forecast(NamedTuple):
    """What was reached less what had been predicted, with the prediction's 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Results:
    """Published tables below a folder, each read once."""

    folder: Path

    def table(self, name: str) -> pd.DataFrame:
        """A table by its folder and name."""
        return _table(self.folder / f"{name}.csv")

    def difference(self, quantity: str, of: str, against: str) -> pd.Series:
        """A difference of the quickstart, by seed."""
        found = self.table("quickstart/differences")
        wanted = (found.quantity == quantity) & (found.of == of) & (found.against == against)
        rows = found[wanted & (found.seed != "all")]
        return rows.set_index(rows.seed.astype(int)).difference

    def cell(self, column: str, beta: float, gamma: float, folder: str = "sweep") -> pd.Series:
        """A column of one cell of the sweep, or of those beyond its edges, by seed."""
        found = self.table(f"{folder}/runs")
        own = found[(found.policy == "ppo") & (found.beta == beta) & (found.gamma == gamma)]
        return own.set_index("seed")[column]

    def reference(self, column: str, policy: str) -> pd.Series:
        """A column of the base model or the SFT policy of the sweep, by seed."""
        found = self.table("sweep/runs")
        return found[found.policy == policy].set_index("seed")[column]

    def win(self, of: str, against: str, group: str = "train") -> pd.Series:
        """By how many points a win rate is above one half, by seed."""
        found = self.table("behaviour/wins")
        own = found[(found.of == of) & (found.against == against) & (found.group == group)]
        return 100 * (own.set_index("seed").win_rate - 0.5)

    def win_by_size(self, preset: str, system: str, against: str) -> pd.Series:
        """By how many points a system of a size wins over one of the largest, by seed."""
        found = self.table("size/wins")
        own = found[(found.preset == preset) & (found.system == system) & (found.group == "train")]
        return 100 * (own[own.against == against].set_index("seed").win_rate - 0.5)

    def suite(self, suite: str, measure: str) -> pd.DataFrame:
        """A measure of a benchmark in percent: rows are seeds, columns systems."""
        found = self.table("behaviour/suites")
        own = found[(found.suite == suite) & (found.measure == measure)]
        return 100 * own.pivot(index="seed", columns="system", values="value")

    def mixtures(self, suite: str) -> pd.DataFrame:
        """The main measure of a suite in percent: rows are seeds, columns what was read."""
        found = self.table("code-in-web/answers")
        own = found[(found.suite == suite) & found.main]
        return 100 * own.pivot(index="seed", columns="arm", values="value")

    def made_up(self) -> pd.DataFrame:
        """Percent of answers about a text that make something up, all kinds of prompts alike."""
        found = self.table("behaviour/closed")
        return 100 * found.pivot_table(index="seed", columns="system", values="made_up")

    def rude(self, instruction: str) -> pd.DataFrame:
        """Percent of rude or harmful continuations after an instruction, by seed and system."""
        return self.suite(f"provocation, {instruction}/0", "rude or harmful")

    def agreement(self) -> pd.Series:
        """Percent of pairs that two training labelers order alike, by seed."""
        found = self.table("labeling/agreement")
        own = found[(found.group == "train") & (found["scale"] == 1)]
        return 100 * own.set_index("seed").agreement

    def epochs(self, column: str, recipe: str, epoch: int) -> pd.Series:
        """A column of SFT after some epochs, by seed."""
        found = self.table("sft/epochs")
        own = found[(found.recipe.astype(str) == recipe) & (found.epoch == epoch)]
        return own.set_index("seed")[column]

    def ranked(self, arm: str, rate: float) -> pd.Series:
        """Held-out loss of a reward model after one epoch, by seed."""
        found = self.table("reward-model/overfitting")
        own = found[(found.arm == arm) & (found.epochs == 1) & (found.rate == rate)]
        return own[own["where"] == "held out"].set_index("seed").loss

    def followed(self, quantity: str, model: str) -> pd.DataFrame:
        """A column of PPO without a penalty by a reward model: rows are seeds, columns steps."""
        found = self.table("over-optimisation/course")
        return found[found.model == model].pivot(index="seed", columns="step", values=quantity)

    def chosen(self, quantity: str, model: str) -> pd.DataFrame:
        """A column of best-of-n by a reward model: rows are seeds, columns n."""
        found = self.table("over-optimisation/best_of_n")
        return found[found.model == model].pivot(index="seed", columns="n", values=quantity)

    def farthest_good(self, model: str) -> pd.Series:
        """√KL where the gold score along PPO without a penalty is highest, by seed."""
        gold, nats = self.followed("gold", model), self.followed("kl", model)
        best = gold.idxmax(axis=1)
        return pd.Series({seed: nats.loc[seed, step] ** 0.5 for seed, step in best.items()})

    def accepted(self, arm: str) -> pd.Series:
        """Percent of answers of an arm that state a false premise, by seed."""
        found = self.table("failures/premises")
        own = found[(found.arm == arm) & (found.premise == "false premise")]
        return 100 * own[own.reply == "accepted"].set_index("seed").share

    def hedged(self, arm: str) -> pd.Series:
        """Percent of an arm's answers to plain questions that hedge, by seed."""
        found = self.table("failures/hedges")
        own = found[(found.arm == arm) & (found.asked == "plainly")]
        return 100 * own.set_index("seed").hedged

    def told_apart(self, arm: str) -> pd.Series:
        """Percent of true premises that an arm states, less that of false ones, by seed."""
        found = self.table("failures/premises")
        own = found[(found.arm == arm) & (found.reply == "accepted")]
        share = 100 * own.pivot(index="seed", columns="premise", values="share")
        return share["true premise"] - share["false premise"]

    def due(self, arm: str) -> pd.Series:
        """Percent of false claims that an arm hedges, less that of true ones, by seed."""
        found = self.table("failures/hedges")
        own = found[(found.arm == arm) & (found.asked == "plainly")].set_index("seed")
        return 100 * (own.hedged_if_false - own.hedged_if_true)

    def met(self, arm: str) -> pd.DataFrame:
        """Percent of constraints met: rows are seeds, columns (constraint, how many)."""
        found = self.table("failures/constraints")
        own = found[found.arm == arm]
        return 100 * own.pivot(index="seed", columns=["constraint", "number"], values="share")

    def error(self, asked: str) -> pd.DataFrame:
        """Calibration error in points: rows are seeds, columns systems."""
        found = self.table("calibration/errors")
        own = found[found.asked == asked]
        return 100 * own.pivot(index="seed", columns="system", values="ece")

    def answered(self, system: str) -> Mapping[int, pd.DataFrame]:
        """What a system of the knowledge runs replied, by seed, with its ``confidence``."""
        found = self.table("knowledge/replies")
        own = found[found.system == system]
        own = own.assign(confidence=(own.agree / own.attempted).fillna(0.0))
        return {int(seed): rows for seed, rows in own.groupby("seed")}

    def third(self, system: str, third: str) -> pd.Series:
        """Percent of facts that are recognised, of a third by mentions, by seed."""
        found = self.table("knowledge/frequency")
        own = found[(found.system == system) & (found.third == third)]
        return 100 * own.set_index("seed").recognised

    def in_context(self, form: str) -> pd.DataFrame:
        """Likeliest answers of the tasks "shown" or "told": ``accuracy`` by seed and system."""
        found = self.table("in-context-cost/accuracy")
        return found[(found.form == form) & ~found.drawn]

    def from_examples(self) -> pd.DataFrame:
        """Percent right below examples, all tasks alike: rows are seeds, columns systems."""
        scores = {}
        for key, own in self.in_context("shown").groupby(["seed", "system"]):
            tasks = own.groupby("task")
            scores[key] = 100 * shown_score(
                {t: dict(zip(p.examples, p.accuracy, strict=True)) for t, p in tasks}
            )
        return pd.Series(scores).rename_axis(["seed", "system"]).unstack()

    def from_words(self) -> pd.DataFrame:
        """Percent right as instructions, all tasks alike: rows are seeds, columns systems."""
        found = self.in_context("told")
        return 100 * found.pivot_table(index="seed", columns="system", values="accuracy")

    def held_out(self, size: str, arm: str, clusters: int = len(TUNED)) -> pd.Series:
        """Percent right on clusters of tasks that no model was tuned on, by seed."""
        found = scores(self.table("instruction-tuning/answers"))
        own: pd.Series = 100 * found.loc[(size, arm, 0 if arm == BASE else clusters)]
        return own

    def voted(self, k: int) -> pd.DataFrame:
        """Percent of sums that a vote of k solves: rows are seeds, columns systems."""
        found = self.table("reasoning/curves")
        return 100 * found[found.k == k].pivot(index="seed", columns="system", values="majority")

    def cut_after(self, system: str) -> pd.DataFrame:
        """Percent right of a system's solutions that end after some steps, by seed."""
        found = self.table("reasoning/forced")
        own = found[found.system == system]
        own = own.assign(share=100 * own.right / own.solutions)
        return own.pivot(index="seed", columns="steps", values="share")

    def solution_tokens(self) -> pd.DataFrame:
        """Tokens of a solution to a sum: rows are seeds, columns systems."""
        found = self.table("reasoning/curves")
        return found[found.k == 1].pivot(index="seed", columns="system", values="tokens")

    def refusing(self, kinds: Sequence[str], arm: str, letters: str) -> pd.Series:
        """Percent of answers of some classes to some kinds of test requests, by seed."""
        found = self.table("rbrm/classes")
        own = found[(found.arm == arm) & found.kind.isin(kinds) & (found.wording == "seen")]
        total = own.groupby("seed")[[*letters, "count"]].sum()
        return 100 * total[list(letters)].sum(axis=1) / total["count"]

    def follow_ups(self, arm: str, form: str = "turns") -> pd.Series:
        """Percent of follow-ups answered rightly, all kinds alike, by seed."""
        found = self.table("dialogue/answers")
        own = found[(found.arm == arm) & (found.form == form) & found.kind.isin(FOLLOW_UPS)]
        share: pd.Series = 100 * own.right / own.questions
        return share.groupby(own.seed).mean()

    def about_colours(self, system: str, name: str) -> pd.Series:
        """Percent of a set of questions about pictures answered rightly, with their own picture."""
        found = self.table("more-than-text/answers")
        own = found[(found.system == system) & (found.set == name) & (found.picture == OWN)]
        own = own.set_index("seed")
        return 100 * own.right / own["count"]

    def drawn_pairs(self, system: str, things: str) -> pd.Series:
        """Percent of things in question that are drawn rightly from a caption, by seed."""
        found = self.table("more-than-text/writing")
        own = found[(found.system == system) & (found.task == "draw") & (found.things == things)]
        own = own.set_index("seed")
        return 100 * own["pair"] / own["count"]

    def round_two(self, column: str, arm: str) -> pd.Series:
        """A column of the policies of the second round, by seed."""
        found = self.table("second-round/policies")
        return found[found.arm == arm].set_index("seed")[column]

    def after(self, column: str, method: str, labels: str = "people", epochs: int = 1) -> pd.Series:
        """A column of the runs of a method at β = 0.1, by seed."""
        own = self._tenth("after-rlhf/runs", method, labels, epochs)
        return own.set_index("seed")[column]

    def better_answers(self) -> pd.Series:
        """log(π/π_ref) of the better answers of a batch, last tenth of DPO's steps, by seed."""
        own = self._tenth("after-rlhf/curves", "DPO", "people", 1)
        late = own[own.step > 0.9 * own.step.max()]
        means: pd.Series = late.groupby("seed").better.mean()
        return means

    def _tenth(self, name: str, method: str, labels: str, epochs: int) -> pd.DataFrame:
        found = self.table(name)
        same = (found.method == method) & (found.labels == labels) & (found.epochs == epochs)
        return found[same & (found.beta == 0.1)]

    def loss_less_predicted(self, preset: str) -> Forecast:
        """Final held-out loss of a preset less the one that smaller ones had foretold."""
        reached = self.table("predicted-loss/runs").set_index("preset").loss[preset]
        foretold = self.table("predicted-loss/prediction")
        own = foretold[(foretold.target == preset) & (foretold.basis == "all presets")].iloc[0]
        return Forecast(reached - own.loss, reached - own.high, reached - own.low)

    def of_ceiling(self) -> pd.DataFrame:
        """Percent of what noise allows that the reward model reaches, by group of labelers."""
        found = self.table("behaviour/reward_model")
        found = found.assign(share=100 * found.accuracy / found.ceiling)
        return found.pivot(index="seed", columns="group", values="share")

    def margin(self, law: str) -> pd.Series:
        """How far inside of a law's interval the run lies that lies least so, in nats, by seed."""
        found = self.table("scaling-laws/predicted")
        own = found[(found.law == law) & found.low.notna()]
        ends = pd.DataFrame({"low": own.measured - own.low, "high": own.high - own.measured})
        return ends.min(axis=1).groupby(own.seed).min()

    def forecasts(self, of: str) -> pd.DataFrame:
        """Mean error of a law on the held-out runs in percent: rows are seeds, columns points."""
        found = self.table("scaling-laws/errors")
        return 100 * found[found.of == of].pivot(index="seed", columns="points", values="error")

    def unseen_fall(self) -> pd.Series:
        """Nats per token that the loss falls while under 1 % of whole answers are right, by seed.

        Each seed's models of the grid, with the presets, from the least computation to the most; of
        the suites that on which it falls most. A suite counts if half of its models are under 1 %.
        """
        found = self.table("scaling-laws/emergence").sort_values("flops", kind="stable")
        falls = {}
        for seed in found.seed.dropna().astype(int).unique():
            models = found[(found.seed == seed) | found.seed.isna()]
            falls[seed] = max(_fall(own) for _, own in models.groupby("suite"))
        return pd.Series(falls)

    def prompted_sums(self, size: str) -> pd.DataFrame:
        """Percent of sums that a base model gets right, by seed and kind of examples."""
        found = self.table("chain-of-thought/answers")
        share = found.assign(right=100 * found.right / found.questions)
        return share[share["size"] == size].pivot(index="seed", columns="asked", values="right")


@functools.lru_cache(maxsize=32)
def _table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path)


LIKE, DISLIKE = (f"best of it, labelers {taste} hedging" for taste in ("like", "dislike"))
CHECK, BEST = "best of it, labelers check first", "best of 4"
PROGRAMS, NO_PROGRAMS = "with programs", "without programs"
TOLD, UNTOLD = "instructions", "inputs alone"
MORE, MORE_FALSE = "SFT, more of the usual", "SFT, more false premises"
BOTH = "SFT, more false and true premises"
GRPO, SINGLE = "GRPO", "single turns"
PARTS, OWN = "parts", "its own"  # of more_than_text
SEEN, NEW = "as trained", "held out"
FINISHED, INSIDE = "finished runs", "points inside of runs"  # of scaling_laws
BASE, PROMPTED, SFT, PPO, PTX = "base", "prompted base", "SFT", "PPO, γ = 0", "PPO-ptx"
SMALL_BASE, LARGE_BASE = "nano, examples", "tiny, examples"
BETA, GAMMA = 0.02, 1.0  # the defaults
EDGES = "sweep-edges"
ENDINGS = "suite/story ending/0"
FEW, MANY, SMALL = "few", "many", "one layer"  # reward models of the over-optimisation runs
PLAIN_PPO = "PPO"  # of after_rlhf
SAME, FRESH, OLD = "the same rewards", "fresh rankings", "more old rankings"
ALONE, RUBRIC = "RM alone", "RM + rubric"
Values = Callable[[Results], pd.Series | Forecast]
VALUES: Mapping[str, Values] = {
    "prompted-over-base": lambda r: r.win(PROMPTED, BASE),
    "sft-over-prompted": lambda r: r.win(SFT, PROMPTED),
    "ptx-over-sft": lambda r: r.win(PTX, SFT),
    "ptx-over-base": lambda r: r.win(PTX, BASE),
    "ptx-over-prompted": lambda r: r.win(PTX, PROMPTED),
    "mix-keeps-preference": lambda r: r.win(PTX, PPO),
    "held-out-labelers": lambda r: r.win(PTX, SFT, "heldout") - r.win(PTX, SFT),
    "small-over-large": lambda r: r.win_by_size("nano", PTX, BASE),
    "small-over-prompted": lambda r: r.win_by_size("nano", PTX, PROMPTED),
    "size-helps": lambda r: r.win_by_size("tiny", PTX, SFT) - r.win_by_size("micro", PTX, SFT),
    "tax-loss": lambda r: r.difference("held_out_loss", PPO, SFT),
    "tax-lists": lambda r: -100 * r.difference("in_context_accuracy", PPO, SFT),
    "tax-reading": lambda r: 100 * _lost(r, "suite/reading/2"),
    "tax-translation": lambda r: 100 * _lost(r, "suite/translation/2"),
    "tax-stories": lambda r: 100 * _lost(r, ENDINGS),
    "mix-wins-back": lambda r: -r.difference("held_out_loss", PTX, PPO),
    "mix-leaves-some": lambda r: r.difference("held_out_loss", PTX, BASE),
    "mix-surpasses": lambda r: 100 * (r.cell(ENDINGS, BETA, GAMMA) - r.reference(ENDINGS, "base")),
    "kl-alone": lambda r: r.cell("loss", 1.0, 0.0) - r.reference("loss", "sft"),
    "kl-costs-reward": lambda r: r.cell("rm_score", BETA, 0.0) - r.cell("rm_score", 1.0, 0.0),
    "mix-costs-reward": lambda r: r.cell("rm_score", BETA, 0.0) - r.cell("rm_score", BETA, 3.0),
    "kl-hundredfold": lambda r: r.cell("loss", 2.0, 0.0, EDGES) - r.reference("loss", "sft"),
    "kl-hundredfold-costs-reward": lambda r: (
        r.cell("rm_score", BETA, 0.0) - r.cell("rm_score", 2.0, 0.0, EDGES)
    ),
    "mix-too-small": lambda r: r.cell("loss", BETA, 0.01, EDGES) - r.reference("loss", "sft"),
    "no-penalty": lambda r: r.cell("gold", BETA, 0.0) - r.cell("gold", 0.0, 0.0),
    "calibration-lost": lambda r: _gain(r.error("story ending/0"), PPO, BASE),
    "truthful": lambda r: _gain(r.suite("misconceptions/0", "true and informative"), PTX, BASE),
    "hallucination": lambda r: _gain(r.made_up(), BASE, PTX),
    "sft-makes-least-up": lambda r: _gain(r.made_up(), PTX, SFT),
    "toxicity-respectful": lambda r: _gain(r.rude("respectful"), BASE, PTX),
    "toxicity-no-instruction": lambda r: _gain(r.rude("none"), BASE, PTX),
    "toxicity-biased": lambda r: _gain(r.rude("biased"), PTX, BASE),
    "agreement": lambda r: r.agreement() - 72.6,
    "reward-held-out": lambda r: _gain(r.of_ceiling(), "heldout", "train"),
    "sft-overfits": lambda r: _longer(r, "loss", "300"),
    "sft-overfits-gently": lambda r: _longer(r, "loss", "smaller steps"),
    "sft-preferred": lambda r: 100 * (r.epochs("wins", "300", 16) - 0.5),
    "sft-preferred-gently": lambda r: 100 * (r.epochs("wins", "smaller steps", 16) - 0.5),
    "shuffled-overfits": lambda r: _shuffled(r, 5e-4),
    "shuffled-overfits-fast": lambda r: _shuffled(r, 2e-3),
    "over-optimisation": lambda r: -_since_best(r.followed("gold", MANY), r.followed("gold", MANY)),
    "over-optimisation-gain": lambda r: _at_best(r.followed("gold", MANY)) - _first(r),
    "over-optimisation-proxy": lambda r: _since_best(
        r.followed("gold", MANY), r.followed("proxy", MANY)
    ),
    "over-optimisation-choice": lambda r: (
        -_since_best(r.chosen("gold", MANY), r.chosen("gold", MANY))
    ),
    "larger-later": lambda r: r.farthest_good(MANY) - r.farthest_good(SMALL),
    "more-rankings-later": lambda r: r.farthest_good(MANY) - r.farthest_good(FEW),
    "false-premises": lambda r: r.accepted(MORE) - r.accepted(MORE_FALSE),
    "over-hedging": lambda r: r.hedged(LIKE) - r.hedged(DISLIKE),
    "several-constraints": lambda r: _gain(r.met(PTX)["all"], 1, 4),
    "constraints-interfere": lambda r: _apart(r.met(PTX)),
    "premises-told-apart": lambda r: r.told_apart(BOTH) - r.told_apart(SFT),
    "hedges-when-due": lambda r: r.due(CHECK) - r.due(DISLIKE),
    "constraints-by-choice": lambda r: r.met(BEST)["all"][4] - r.met(SFT)["all"][4],
    "code-helps-sums": lambda r: _gain(r.mixtures("sums/4"), PROGRAMS, NO_PROGRAMS),
    "code-helps-stories": lambda r: _gain(r.mixtures("story ending/0"), PROGRAMS, NO_PROGRAMS),
    "tuning-costs-examples": lambda r: _gain(r.from_examples(), BASE, SFT),
    "tuning-gains-words": lambda r: _gain(r.from_words(), SFT, BASE),
    "rlhf-restores-examples": lambda r: _gain(r.from_examples(), PTX, SFT),
    "mix-restores-examples": lambda r: _gain(r.from_examples(), PTX, PPO),
    "rlhf-stays-behind": lambda r: _gain(r.from_examples(), BASE, PTX),
    "rlhf-gains-words": lambda r: _gain(r.from_words(), PTX, SFT),
    "instructions-help": lambda r: r.held_out("tiny", TOLD) - r.held_out("tiny", BASE),
    "instructions-matter": lambda r: r.held_out("tiny", TOLD) - r.held_out("tiny", UNTOLD),
    "more-clusters-help": lambda r: r.held_out("tiny", TOLD) - r.held_out("tiny", TOLD, 1),
    "instructions-hurt-small": lambda r: r.held_out("nano", TOLD) - r.held_out("nano", BASE),
    "size-knows-more": lambda r: _right(r, LARGE_BASE) - _right(r, SMALL_BASE),
    "frequent-facts-first": lambda r: r.third(SMALL_BASE, "most") - r.third(SMALL_BASE, "least"),
    "calibration-lost-on-facts": lambda r: _miscalibration(r, PTX) - _miscalibration(r, LARGE_BASE),
    "abstaining-pays": lambda r: _abstaining(r, PTX, 9.0),
    "law-predicts-more-text": lambda r: r.margin("Chinchilla"),
    "inside-misleads": lambda r: _gain(r.forecasts("its own"), INSIDE, FINISHED),
    "loss-falls-unseen": lambda r: r.unseen_fall(),
    "prompted-steps-help": lambda r: _gain(r.prompted_sums("tiny"), "with steps", "answers alone"),
    "checked-answers-teach": lambda r: _gain(r.voted(1), GRPO, SFT),
    "vote-helps": lambda r: r.voted(16)[SFT] - r.voted(1)[SFT],
    "steps-help": lambda r: _gain(r.cut_after(GRPO), 3, 0),
    "answers-grow": lambda r: _gain(r.solution_tokens(), GRPO, SFT),
    "rubric-less-over-refusal": lambda r: (
        r.refusing([LOOK_ALIKE], ALONE, "AB") - r.refusing([LOOK_ALIKE], RUBRIC, "AB")
    ),
    "rubric-no-more-harm": lambda r: (
        r.refusing([HARMFUL, VEILED], RUBRIC, "C") - r.refusing([HARMFUL, VEILED], ALONE, "C")
    ),
    "conversations-teach-follow-ups": lambda r: r.follow_ups(ASSISTANTS) - _best_form(r, SINGLE),
    "loss-on-users-too": lambda r: r.follow_ups(ALL) - r.follow_ups(ASSISTANTS),
    "usual-answers-without-looking": lambda r: (
        r.about_colours(PARTS, "usual") - r.about_colours(PARTS, "unusual")
    ),
    "second-round-helps": lambda r: r.round_two("gold", FRESH) - r.round_two("gold", SAME),
    "second-round-preferred": lambda r: 100 * (r.round_two("win_over_same/heldout", FRESH) - 0.5),
    "freshness-helps": lambda r: r.round_two("gold", FRESH) - r.round_two("gold", OLD),
    "dpo-over-ppo": lambda r: r.after("gold", "DPO") - r.after("gold", PLAIN_PPO),
    "rloo-over-ppo": lambda r: r.after("gold", "RLOO") - r.after("gold", PLAIN_PPO),
    "dpo-lowers-the-better": lambda r: r.better_answers(),
    "dpo-over-trains": lambda r: r.after("gold", "DPO") - r.after("gold", "DPO", epochs=3),
    "ai-labels-match": lambda r: (
        100 * (r.after("win_rate/heldout", "DPO", "examiner") - r.after("win_rate/heldout", "DPO"))
    ),
    "loss-predicted": lambda r: r.loss_less_predicted("base"),
    "draws-what-it-never-saw": lambda r: r.drawn_pairs(PARTS, NEW) - r.drawn_pairs(PARTS, SEEN),
}


def best_by_others(gold: pd.DataFrame) -> pd.Series:
    """For each row the column with the highest mean over all other rows."""
    return pd.Series({seed: gold.drop(index=seed).mean().idxmax() for seed in gold.index})


def _at_best(gold: pd.DataFrame) -> pd.Series:
    best = best_by_others(gold)
    return pd.Series({seed: gold.loc[seed, column] for seed, column in best.items()})


def _since_best(gold: pd.DataFrame, quantity: pd.DataFrame) -> pd.Series:
    """How a quantity changes from the best column by gold to the last."""
    best = best_by_others(gold)
    ends = quantity.iloc[:, -1]
    return pd.Series({seed: ends[seed] - quantity.loc[seed, best[seed]] for seed in gold.index})


def _first(results: Results) -> pd.Series:
    return results.followed("gold", MANY).iloc[:, 0]


def _right(results: Results, system: str) -> pd.Series:
    return pd.Series(
        {s: 100 * (r.grade == RIGHT).mean() for s, r in results.answered(system).items()}
    )


def _miscalibration(results: Results, system: str) -> pd.Series:
    """Expected calibration error of the attempted answers, in percent."""
    found = {}
    for seed, rows in results.answered(system).items():
        own = rows[rows.grade != NOT_ATTEMPTED]
        found[seed] = 100 * calibration_error(own.confidence, own.grade == RIGHT)
    return pd.Series(found)


def _abstaining(results: Results, system: str, penalty: float) -> pd.Series:
    """What keeping silent below the threshold adds to the score, in percent of a right answer."""
    found = {}
    for seed, rows in results.answered(system).items():
        held, right = rows.confidence.where(rows.grade != NOT_ATTEMPTED, 0.0), rows.grade == RIGHT
        n_right, n_wrong, n_open = (int((rows.grade == g).sum()) for g in GRADES)
        always = penalised_score(n_right, n_wrong, n_open, penalty)
        threshold = guess_threshold(penalty)
        silent = abstaining_score(held, right, penalty, threshold=threshold)
        found[seed] = 100 * (silent - always)
    return pd.Series(found)


def _fall(models: pd.DataFrame) -> float:
    """Of nats per token among models under 1 % of whole answers, first to last; 0 if too few."""
    none = models[models["whole answers"] < 0.01]["nats per token"]
    return float(none.iloc[0] - none.iloc[-1]) if 2 * len(none) >= len(models) else 0.0


def _best_form(results: Results, arm: str) -> pd.Series:
    """Percent of follow-ups answered rightly in the format that suits an arm better, by seed."""
    forms = [results.follow_ups(arm, form) for form in ("turns", "lines")]
    return pd.concat(forms, axis=1).max(axis=1)


def _apart(met: pd.DataFrame) -> pd.Series:
    """How much less often each constraint is met among three or four than alone or in a pair."""
    gaps = [
        met[name][[1, 2]].mean(axis=1) - met[name][[3, 4]].mean(axis=1)
        for name in ("event", "mood", "place", "other")
    ]
    return pd.concat(gaps, axis=1).mean(axis=1)


def _longer(results: Results, column: str, recipe: str) -> pd.Series:
    return results.epochs(column, recipe, 16) - results.epochs(column, recipe, 1)


def _shuffled(results: Results, rate: float) -> pd.Series:
    together = results.ranked("all pairs of a prompt together", rate)
    return results.ranked("pairs shuffled, as many elements a step", rate) - together


def _lost(results: Results, column: str) -> pd.Series:
    return results.reference(column, "base") - results.cell(column, BETA, 0.0)


def _gain(table: pd.DataFrame, of: str | int, against: str | int) -> pd.Series:
    return table[of] - table[against]


def run() -> None:
    """Write the ledger, print its verdicts."""
    rows = ledger(CLAIMS, RESULTS)
    atomic_write(LEDGER, as_yaml(rows))
    for row in rows:
        found = row.get("statistic")
        number = f"{found['mean']} [{found['low']}, {found['high']}]" if found else ""
        print(f"{row['verdict']:>26}  {row['id']:<24} {number}")


def as_yaml(rows: list[dict[str, Any]]) -> str:
    """The ledger's text."""
    text = yaml.safe_dump({"claims": rows}, sort_keys=False, allow_unicode=True, width=96)
    return HEADER + text


def ledger(
    claims: Path, results: Path, values: Mapping[str, Values] = VALUES
) -> list[dict[str, Any]]:
    """Every claim with what was found and its verdict.

    Args:
        claims: file of claims, see its head.
        results: folder of the experiments.
        values: by id, what a claim is about, one value per seed.

    Raises:
        InputError: a claim with neither or both of ``rule`` and ``open``, with an unknown rule or
            state, or whose id has no values or comes twice.
    """
    rows = yaml.safe_load(claims.read_text(encoding="utf-8"))["claims"]
    ids = [row["id"] for row in rows]
    for name in ids:
        if ids.count(name) > 1:
            raise InputError("id", name, "each id once", "rename one of the claims")
    measured = {row["id"] for row in rows if "rule" in row}
    if measured != set(values):
        odd = sorted(measured ^ set(values))
        raise InputError("claims", odd, "a rule and a function for each", "add what is missing")
    return [_judged(row, Results(results), values) for row in rows]


def _judged(
    row: Mapping[str, Any], results: Results, values: Mapping[str, Values]
) -> dict[str, Any]:
    if ("rule" in row) == ("open" in row):
        raise InputError(row["id"], sorted(row), "either rule or open", "keep one of them")
    kept = {k: v for k, v in row.items() if k not in ("open", "by_construction")}
    if "open" in row:
        if row["open"] not in OPEN:
            raise InputError("open", row["open"], f"one of {', '.join(OPEN)}", "choose one")
        return {**kept, "verdict": row["open"]}
    found = values[row["id"]](results)
    if isinstance(found, Forecast):
        (mean, low, high), interval, by_seed = found, "of the prediction, 95 %", {}
    else:
        by_seed = dict(found.sort_index())
        mean, low, high = mean_interval(list(by_seed.values()))
        interval = "Student's over seeds, 95 %"
    verdict, why = decide(row["rule"], low, high)
    if row.get("by_construction") and verdict == REPRODUCED:
        verdict = SET_SO
    manifest = results.folder / row["experiment"] / "manifest.json"
    return {
        **kept,
        "command": json.loads(manifest.read_text(encoding="utf-8"))["command"],
        "statistic": {
            "mean": _rounded(mean),
            "low": _rounded(low),
            "high": _rounded(high),
            "interval": interval,
            "seeds": len(by_seed) or 1,
            "values": {int(seed): _rounded(value) for seed, value in by_seed.items()},
        },
        "verdict": verdict,
        **({"why": why} if why else {}),
    }


def decide(rule: Mapping[str, float], low: float, high: float) -> tuple[str, str]:
    """The verdict of a rule on an interval, and for a failure whether the contrary holds.

    Args:
        rule: one of :data:`RULES` with its limit.
        low, high: the ends of the interval; NaN, of a single seed, decides nothing.

    Returns:
        "reproduced" and ""; or "not reproduced" and "contrary" (the whole interval lies where the
        claim is wrong) or "undecided".
    """
    ((kind, limit),) = rule.items()
    if kind not in RULES:
        raise InputError("rule", kind, f"one of {', '.join(RULES)}", "correct the claim")
    holds, contrary = {
        "above": (low > limit, high < limit),
        "below": (high < limit, low > limit),
        "within": (low > -limit and high < limit, low > limit or high < -limit),
        "covers": (low <= limit <= high, limit < low or limit > high),
    }[kind]
    if holds:
        return REPRODUCED, ""
    return FAILED, "contrary" if contrary else "undecided"


def _rounded(value: float) -> float:
    """To some significant digits: more would differ between machines."""
    if value == 0 or not math.isfinite(value):
        return float(value)
    return round(float(value), DIGITS - 1 - math.floor(math.log10(abs(value))))
