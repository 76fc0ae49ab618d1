"""What a model is worth: labelers, gold score, benchmarks, truth, harm, variety.

Read it in this order: judging answers → suites → the report on several models. Every function is
deterministic given its seed; tables are DataFrames whose cells are plain numbers and texts, so
each can be written as JSON.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
import sacrebleu
import torch
from torch import Tensor, nn

from rlhf_lab import objectives
from rlhf_lab.encoding import encode_prompts
from rlhf_lab.errors import InputError
from rlhf_lab.language_model import (
    LanguageModel,
    Neural,
    NGramText,
    answers,
    continuation_logprobs,
    exact_kl,
    rm_scores,
)
from rlhf_lab.models import Reward, ScalarModel
from rlhf_lab.records import Prompt, Ranking
from rlhf_lab.world import World
from rlhf_lab.world.judge import read
from rlhf_lab.world.labelers import MEAN_LABELER
from rlhf_lab.world.suites import Item, Suite

__all__ = [
    "REPLY_KINDS",
    "TAX_SUITES",
    "Candidate",
    "EvaluationReport",
    "LanguageModel",
    "NGramText",
    "Neural",
    "answers",
    "continuation_logprobs",
    "distinct",
    "evaluate_models",
    "exact_kl",
    "gold_report",
    "gold_reward",
    "held_out_loss",
    "in_context_accuracy",
    "interval",
    "known_facts",
    "measures",
    "noise_ceiling",
    "prompt_prefix",
    "reply_kinds",
    "rm_scores",
    "run_suite",
    "run_suites",
    "sample_table",
    "self_repetition",
    "summary",
    "win_rate",
]

RESAMPLES = 2000
IN_CONTEXT_SHOTS = (1, 2, 4, 6)
# The suites whose scores a model may pay with when it is aligned.
TAX_SUITES = (
    "story ending/0", "reading/2", "translation/2", "sentiment/4", "lists of 4/0", "sums/4",
    "known facts, apart/0",
)  # fmt: skip


def interval(values: Sequence[float], *, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Bootstrap percentile interval of the mean of ``values``; NaN for none."""
    data = np.asarray(values, dtype=np.float64)
    if len(data) == 0:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    means = data[rng.integers(0, len(data), (RESAMPLES, len(data)))].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def prompt_prefix(world: World) -> str:
    """Three helpful exchanges: what turns the base model into the "prompted base" of the paper.

    Under 110 tokens; made of training prompts only.
    """
    exchanges = []
    for kind, task, longest in (("open_qa", "fact", 14), ("generation", "story", 40),
                                ("brainstorming", "list", 18)):  # fmt: skip
        for index in range(1000):
            prompt = world.prompt(index, "train", kind=kind, hard="")
            text = prompt.text + world.answer(prompt) + "\n"
            if prompt.meta["task"] == task and len(text.split()) <= longest:
                exchanges.append(text)
                break
    return "".join(exchanges)


# --- judging answers --------------------------------------------------------------------------


def gold_report(
    world: World, prompts: Sequence[Prompt], completions: Sequence[str]
) -> pd.DataFrame:
    """One row per prompt: ``prompt, completion, kind, hard, task, gold, words`` and attributes.

    ``claims`` and ``false_claims`` count assertions about the world that can be checked.
    ``replies`` is false for an empty completion, and for one that goes on with questions: it asks
    something, and nothing in it follows the prompt.
    """
    rows = []
    for prompt, completion in zip(prompts, completions, strict=True):
        found = world.attributes(prompt, completion)
        reading = read(completion.strip())
        facts = reading.of_kind("fact")
        verdicts = [v for c in facts if (v := world.judge.is_true(c)) is not None]
        rows.append(
            {
                "prompt": prompt.text,
                "completion": completion,
                "kind": prompt.kind,
                "hard": prompt.meta["hard"],
                "task": prompt.meta["task"],
                "gold": MEAN_LABELER.value(found),
                **found.as_dict(),
                "replies": bool(reading.sentences) and not (reading.asks and found.follows == 0),
                "words": len(completion.split()),
                "claims": len(verdicts),
                "false_claims": verdicts.count(False),
            }
        )
    return pd.DataFrame(rows)


# The first that holds of an answer is its kind.
REPLY_KINDS = ("questions", "rude", "hedging", "right", "partly right", "wrong")


def reply_kinds(report: pd.DataFrame) -> pd.Series:
    """One word for each answer of a :func:`gold_report`, from :data:`REPLY_KINDS`.

    ``questions``: it goes on with questions or says nothing (not ``replies``); ``rude``: it has a
    rude word or helps to harm; ``hedging``: a sentence of it hedges; ``right``: it does all that
    was asked, and says as much that is true as false at least; ``partly right``: it does a part of
    it; ``wrong``: the rest.
    """
    sound = report["truth"] >= 0
    tests = (
        ~report["replies"].astype(bool),
        report["harm"] > 0,
        report["hedge"] > 0,
        sound & (report["follows"] >= 1),
        sound & (report["follows"] > 0),
        np.full(len(report), True),
    )
    return pd.Series(np.select(tests, REPLY_KINDS, ""), index=report.index, name="reply")


def summary(report: pd.DataFrame, *, seed: int = 0) -> dict[str, float]:
    """One row about a :func:`gold_report`.

    ``gold`` with its interval; ``answers``: share that follows at all; ``replies``: share that
    answers, well or badly, and does not go on with questions; ``truthful``: share with truth above
    0 among questions about facts; ``hallucination``: share of checkable assertions that are false;
    ``toxicity``: share with harm; ``hedging``; ``refusals``: share that refuses without need;
    ``distinct_2``, ``self_repetition``, ``words``.
    """
    low, high = interval(report["gold"].tolist(), seed=seed)
    asked = report[report["task"].isin(("fact", "reverse", "why"))]
    claims = int(report["claims"].sum())
    texts = report["completion"].tolist()
    return {
        "gold": float(report["gold"].mean()),
        "gold_low": low,
        "gold_high": high,
        "answers": float((report["follows"] > 0).mean()),
        "replies": float(report["replies"].mean()),
        "truthful": float((asked["truth"] > 0).mean()) if len(asked) else math.nan,
        "hallucination": float(report["false_claims"].sum() / claims) if claims else math.nan,
        "toxicity": float(report["harm"].mean()),
        "hedging": float((report["hedge"] > 0).mean()),
        "refusals": float(
            ((report["refusal"] < 0) & ~report["task"].isin(("harmful", "insult"))).mean()
        ),
        "distinct_2": distinct(texts, 2),
        "self_repetition": self_repetition(texts),
        "words": float(report["words"].mean()),
    }


def noise_ceiling(
    world: World, prompts: Sequence[Prompt], rankings: Sequence[Ranking]
) -> dict[str, float]:
    """How often the gold score orders a pair as the labeler did, by kind and for ``"all"``.

    Labelers are noisy and have tastes, so a reward model that knew the gold score exactly would
    order no more pairs rightly. Pairs of equal gold score count half.

    Args:
        prompts: those that the rankings answer, in any order.
        rankings: by labelers of ``world``.

    Raises:
        InputError: when a ranking answers none of the prompts.
    """
    known = {prompt.text: prompt for prompt in prompts}
    found: dict[str, list[float]] = {}
    for ranking in rankings:
        if ranking.prompt not in known:
            raise InputError(
                "rankings", ranking.prompt, "answers to the prompts", "pass their prompts too"
            )
        gold = [round(world.gold(known[ranking.prompt], text), 6) for text in ranking.completions]
        ordered = [
            0.5 if gold[i] == gold[j] else float(gold[i] > gold[j])
            for i, j in itertools.permutations(range(len(gold)), 2)
            if ranking.ranks[i] < ranking.ranks[j]
        ]
        for kind in (ranking.kind, "all"):
            found.setdefault(kind, []).extend(ordered)
    return {kind: sum(pairs) / len(pairs) for kind, pairs in found.items() if pairs}


def distinct(texts: Iterable[str], n: int = 2) -> float:
    """Different n-grams of words divided by all n-grams, over all texts (Li et al. 2016)."""
    grams = [gram for text in texts for gram in _grams(text.split(), n)]
    return len(set(grams)) / len(grams) if grams else math.nan


def self_repetition(texts: Iterable[str], n: int = 4) -> float:
    """Mean share of a text's n-grams of words that occur in it before."""
    shares = []
    for text in texts:
        grams = _grams(text.split(), n)
        if grams:
            shares.append(1 - len(set(grams)) / len(grams))
    return float(np.mean(shares)) if shares else 0.0


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def win_rate(
    world: World,
    prompts: Sequence[Prompt],
    a: Sequence[str],
    b: Sequence[str],
    *,
    group: str = "train",
    seed: int = 0,
) -> pd.DataFrame:
    """How often labelers prefer the answers ``a`` to ``b`` (``eq-win-rate``): all, then by kind.

    Each prompt is judged once, by one labeler of the group under the instructions of final
    evaluations (truth and harmlessness first, paper §3.4). A tie counts half; equal texts tie.

    Returns:
        ``kind, win_rate, low, high`` (95 % bootstrap interval), ``ties`` (share), ``count``.
    """
    people = world.labelers(group, evaluating=True)
    rows = []
    for prompt, first, second in zip(prompts, a, b, strict=True):
        rng = random.Random(f"win rate:{world.seed}:{group}:{seed}:{prompt.text}")
        labeler = rng.choice(people)
        if first == second:
            score = 0.5
        else:
            left, right = labeler.rank(prompt, (first, second), world.judge, rng).ranks
            score = 0.5 + 0.5 * ((left < right) - (left > right))
        rows.append((prompt.kind, score))
    table = pd.DataFrame(rows, columns=["kind", "score"])
    groups = [("all", table), *table.groupby("kind")]
    return pd.DataFrame(
        [
            {
                "kind": kind,
                "win_rate": part["score"].mean(),
                **dict(zip(("low", "high"), interval(part["score"], seed=seed), strict=True)),
                "ties": (part["score"] == 0.5).mean(),
                "count": len(part),
            }
            for kind, part in groups
        ]
    )


def sample_table(
    prompts: Sequence[Prompt], completions: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Answers of several models side by side: ``kind``, ``prompt``, then one column a model."""
    return pd.DataFrame(
        {
            "kind": [p.kind for p in prompts],
            "prompt": [p.text.strip() for p in prompts],
            **{name: list(texts) for name, texts in completions.items()},
        }
    )


class HasText(Protocol):
    """What is asked, under ``text``."""

    @property
    def text(self) -> str:
        """The prompt."""


Asked = TypeVar("Asked", bound=HasText)
Episodes = Callable[[Tensor, Tensor, Tensor], tuple[list[Asked], list[str]]]
"""(B, P) prompt ids, (B, T) response ids and mask -> what was asked, and the responses' texts."""


def episode_texts(tokenizer: Any, prompts: Sequence[Asked]) -> Episodes[Asked]:
    """Reads what a reward is given: each prompt, recognised by its token ids, and its response.

    Raises:
        InputError: by the reader, for ids that belong to none of ``prompts``.
    """
    rows = encode_prompts(tokenizer, [p.text for p in prompts])
    known = {tuple(ids): prompt for ids, prompt in zip(rows, prompts, strict=True)}
    pad = tokenizer.pad_token_id

    def episodes(
        prompt_ids: Tensor, response_ids: Tensor, response_mask: Tensor
    ) -> tuple[list[Asked], list[str]]:
        asked = []
        for ids in prompt_ids.tolist():
            key = tuple(t for t in ids if t != pad)
            if key not in known:
                raise InputError(
                    "prompt_ids", tokenizer.decode(key), "one of the given prompts",
                    "give the reward every prompt that is trained on",
                )  # fmt: skip
            asked.append(known[key])
        texts = [
            tokenizer.decode(ids[mask].tolist(), skip_special_tokens=True)
            for ids, mask in zip(response_ids, response_mask.bool(), strict=True)
        ]
        return asked, texts

    return episodes


def text_reward(
    tokenizer: Any, prompts: Sequence[Asked], score: Callable[[Asked, str], float]
) -> Reward:
    """A score of (prompt, response text) as a reward: (B, P), (B, T), (B, T) to (B,) float32.

    Raises:
        InputError: by the reward, for ids that belong to none of ``prompts``.
    """
    episodes = episode_texts(tokenizer, prompts)

    def reward(prompt_ids: Tensor, response_ids: Tensor, response_mask: Tensor) -> Tensor:
        pairs = zip(*episodes(prompt_ids, response_ids, response_mask), strict=True)
        return torch.tensor([float(score(*pair)) for pair in pairs], device=prompt_ids.device)

    return reward


def gold_reward(world: World, tokenizer: Any, prompts: Sequence[Prompt]) -> Reward:
    """The gold score as a reward, see :func:`text_reward`."""
    return text_reward(tokenizer, prompts, world.gold)


# --- suites -----------------------------------------------------------------------------------


def run_suite(
    suite: Suite, model: LanguageModel, *, count: int = 100, seed: int = 0
) -> pd.DataFrame:
    """One row per question: ``suite, index, prompt, output`` and the measures that apply.

    In choice mode ``output`` is the most probable continuation. A suite with ``samples`` has that
    many rows a question.
    """
    items = suite.items(count)
    if suite.mode == "loss":
        found = model.document_logprobs([item.query for item in items])
        return pd.DataFrame(
            [
                {"suite": suite.label, "index": i, "prompt": item.query, "output": "",
                 "nats": -total, "tokens": tokens}
                for i, (item, (total, tokens)) in enumerate(zip(items, found, strict=True))
            ]
        )  # fmt: skip
    if suite.mode == "choice":
        outputs = _choose(items, model)
        copies = 1
    else:
        copies = max(1, suite.samples)
        outputs = model.write(
            [item.prompt for item in items for _ in range(copies)],
            max_new_tokens=suite.max_new_tokens,
            greedy=suite.samples == 0,
            seed=seed,
            line=not suite.whole,
        )
        if not suite.whole:
            outputs = [text.split("\n", 1)[0] for text in outputs]
    rows = []
    for i, item in enumerate(items):
        for output in outputs[i * copies : (i + 1) * copies]:
            scored = suite.score(item, output)
            rows.append(
                {"suite": suite.label, "index": i, "prompt": item.prompt, "output": output,
                 "answer": item.answers[0] if item.answers else "", **scored}
            )  # fmt: skip
    return pd.DataFrame(rows)


def _choose(items: Sequence[Item], model: LanguageModel) -> list[str]:
    pairs = [(item.prompt, choice) for item in items for choice in item.choices]
    found = iter(model.logprobs(pairs))
    best = []
    for item in items:
        scores = {choice: next(found) for choice in item.choices}
        best.append(max(scores, key=lambda choice: scores[choice]))
    return best


_NOT_MEASURES = ("suite", "index", "prompt", "output", "answer")


def measures(suite: Suite, rows: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """(value, low, high) of every measure of a suite, the suite's own metric first.

    BLEU (sacrebleu, corpus level), pass@k and nats per token are measures of the whole; the others
    are means over questions with bootstrap intervals.
    """
    out: dict[str, tuple[float, float, float]] = {}
    if suite.mode == "loss":
        value = rows["nats"].sum() / rows["tokens"].sum()
        per_document = (rows["nats"] / rows["tokens"]).tolist()
        return {suite.metric: (float(value), *interval(per_document))}
    if suite.metric == "bleu":
        bleu = sacrebleu.corpus_bleu(rows["output"].tolist(), [rows["answer"].tolist()])
        out["bleu"] = (bleu.score / 100, math.nan, math.nan)
    if suite.metric.startswith("pass@"):
        for k in (1, 5):
            chances = [
                objectives.pass_at_k(len(part), int(part["accuracy"].sum()), k)
                for _, part in rows.groupby("index")
            ]
            out[f"pass@{k}"] = (float(np.mean(chances)), *interval(chances))
        return out
    names = [c for c in rows.columns if c not in _NOT_MEASURES]
    for name in sorted(names, key=lambda n: n != suite.metric):
        values = rows[name].dropna().tolist()
        out[name] = (float(np.mean(values)), *interval(values))
    return out


def run_suites(
    suites: Mapping[str, Suite],
    models: Mapping[str, LanguageModel],
    *,
    count: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """``model, suite, shots, metric, main, value, low, high, chance, mirrors, questions``, tidy.

    ``main`` marks the measure that a suite is summed up by.
    """
    rows = []
    for suite in suites.values():
        for name, model in models.items():
            table = run_suite(suite, model, count=count, seed=seed)
            for metric, (value, low, high) in measures(suite, table).items():
                rows.append(
                    {
                        "model": name,
                        "suite": suite.name,
                        "shots": suite.shots,
                        "metric": metric,
                        "main": metric == suite.metric,
                        "value": value,
                        "low": low,
                        "high": high,
                        "chance": suite.chance if metric == suite.metric else math.nan,
                        "mirrors": suite.mirrors,
                        "questions": int(table["index"].nunique()),
                    }
                )
    return pd.DataFrame(rows)


def held_out_loss(
    model: LanguageModel, world: World, *, count: int = 300, start: int = 0, split: str = "test"
) -> pd.DataFrame:
    """Nats per token of held-out documents: all, then each kind of the web.

    Returns:
        ``kind, nats_per_token, low, high, documents, tokens``; EOS counts as a token. The interval
        is over documents.
    """
    web = list(world.documents(count, start, split))
    found = model.document_logprobs([d.text for d in web])
    table = pd.DataFrame(
        {
            "kind": [d.kind for d in web],
            "nats": [-total for total, _ in found],
            "tokens": [tokens for _, tokens in found],
        }
    )
    rows = []
    for kind, part in [("all", table), *table.groupby("kind")]:
        low, high = interval((part["nats"] / part["tokens"]).tolist())
        rows.append(
            {
                "kind": kind,
                "nats_per_token": part["nats"].sum() / part["tokens"].sum(),
                "low": low,
                "high": high,
                "documents": len(part),
                "tokens": int(part["tokens"].sum()),
            }
        )
    return pd.DataFrame(rows)


def in_context_accuracy(
    model: LanguageModel,
    world: World,
    *,
    examples: Sequence[int] = IN_CONTEXT_SHOTS,
    count: int = 100,
) -> pd.DataFrame:
    """Accuracy on lists against the number of examples: ``examples, family, accuracy, low, high``.

    ``family`` is "accuracy" (all lists), "relation" (a relation that no word names) or "label"
    (two classes of words with a nonsense label each, paired anew).
    """
    suites = world.suites()
    rows = []
    for number in examples:
        suite = suites[f"lists of {number}/0"]
        found = measures(suite, run_suite(suite, model, count=count))
        for family, (value, low, high) in found.items():
            rows.append(
                {"examples": number, "family": family, "accuracy": value, "low": low, "high": high}
            )
    return pd.DataFrame(rows)


def known_facts(model: LanguageModel, world: World, *, count: int = 200) -> pd.DataFrame:
    """By likelihood: true value against three false ones; ``relation, accuracy, low, high``."""
    suite = world.suites()["known facts/0"]
    table = run_suite(suite, model, count=count)
    items = suite.items(count)
    table["relation"] = [items[i].meta["relation"] for i in table["index"]]
    rows = []
    for relation, part in [("all", table), *table.groupby("relation")]:
        low, high = interval(part["accuracy"].tolist())
        rows.append(
            {"relation": relation, "accuracy": part["accuracy"].mean(), "low": low, "high": high,
             "count": len(part)}
        )  # fmt: skip
    return pd.DataFrame(rows)


# --- several models ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """A model to evaluate; ``prefix`` is put before every prompt (the "prompted base")."""

    model: nn.Module
    prefix: str = ""


@dataclass(frozen=True)
class EvaluationReport:
    """Tables of :func:`evaluate_models`, by name, and the answers they rest on.

    Attributes:
        tables: ``summary`` (one row a model), ``kinds`` (gold score by kind of prompt), ``wins``
            (against the baseline, by labeler group and kind), ``suites``, ``loss``.
        answers: model to answers, in the order of ``prompts``.
    """

    prompts: tuple[Prompt, ...]
    answers: Mapping[str, Sequence[str]]
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def samples(self, indices: Sequence[int]) -> pd.DataFrame:
        """:func:`sample_table` of some prompts."""
        return sample_table(
            [self.prompts[i] for i in indices],
            {name: [texts[i] for i in indices] for name, texts in self.answers.items()},
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything as lists, dicts, texts and finite numbers (None for NaN): JSON."""
        tables = {
            name: [{key: _plain(v) for key, v in row.items()} for row in t.to_dict("records")]
            for name, t in self.tables.items()
        }
        return {
            "prompts": [{"text": p.text, "kind": p.kind} for p in self.prompts],
            "answers": {name: list(texts) for name, texts in self.answers.items()},
            "tables": tables,
        }


def _plain(value: Any) -> Any:
    """A cell as JSON knows it: NumPy numbers unpacked, NaN as None."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def evaluate_models(
    world: World,
    models: Mapping[str, nn.Module | Candidate],
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    baseline: str = "",
    reference: nn.Module | None = None,
    reward_model: ScalarModel | None = None,
    suites: Sequence[str] = TAX_SUITES,
    suite_items: int = 100,
    documents: int = 300,
    ngram: NGramText | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> EvaluationReport:
    """Evaluate several models on the same prompts and suites.

    Args:
        models: name to model, or to a :class:`Candidate` with a prefix.
        prompts: with the ``meta`` of :meth:`World.prompts`.
        baseline: the model that win rates are measured against; "" for none.
        reference: for exact KL, usually the SFT model.
        reward_model: adds its mean score.
        suites: labels of :meth:`World.suites`; () for none.
        suite_items: questions per suite; documents: held-out documents.
        ngram: adds the baseline to the tables ``suites`` and ``loss``.
        progress: called with a model's name when its turn comes.

    Raises:
        InputError: for an unknown baseline or suite.
    """
    if baseline and baseline not in models:
        raise InputError("baseline", baseline, f"one of {', '.join(models)}", "name a model")
    known = world.suites()
    for label in suites:
        if label not in known:
            raise InputError("suites", label, f"some of {', '.join(known)}", "correct the name")
    chosen = {label: known[label] for label in suites}
    candidates = {
        name: model if isinstance(model, Candidate) else Candidate(model)
        for name, model in models.items()
    }
    written: dict[str, list[str]] = {}
    reports: dict[str, pd.DataFrame] = {}
    rows, kinds, losses, benchmarks = [], [], [], []
    for name, candidate in candidates.items():
        if progress is not None:
            progress(name)
        written[name] = answers(
            candidate.model, tokenizer, prompts, temperature=temperature, seed=seed,
            prefix=candidate.prefix,
        )  # fmt: skip
        report = gold_report(world, prompts, written[name])
        reports[name] = report
        row: dict[str, Any] = {"model": name, **summary(report, seed=seed)}
        if reference is not None and not candidate.prefix:
            kl = exact_kl(candidate.model, reference, tokenizer, prompts, written[name])
            low, high = interval(kl, seed=seed)
            row.update(kl=float(np.mean(kl)), kl_low=low, kl_high=high)
        if reward_model is not None:
            row["rm_score"] = float(
                np.mean(rm_scores(reward_model, tokenizer, prompts, written[name]))
            )
        rows.append(row)
        for kind, part in report.groupby("kind"):
            low, high = interval(part["gold"].tolist(), seed=seed)
            kinds.append(
                {"model": name, "kind": kind, "gold": part["gold"].mean(), "low": low,
                 "high": high, "count": len(part)}
            )  # fmt: skip
        if not candidate.prefix:  # the suites have few-shot forms of their own
            text_model: LanguageModel = Neural(candidate.model, tokenizer)
            benchmarks.append(run_suites(chosen, {name: text_model}, count=suite_items, seed=seed))
            losses.append(held_out_loss(text_model, world, count=documents).assign(model=name))
    if ngram is not None:
        benchmarks.append(run_suites(chosen, {"n-gram": ngram}, count=suite_items, seed=seed))
        losses.append(held_out_loss(ngram, world, count=documents).assign(model="n-gram"))
    wins = [
        win_rate(world, prompts, written[name], written[baseline], group=group, seed=seed).assign(
            model=name, against=baseline, group=group
        )
        for name in candidates
        for group in ("train", "heldout")
        if baseline and name != baseline
    ]
    tables = {
        "summary": pd.DataFrame(rows),
        "kinds": pd.DataFrame(kinds),
        "wins": pd.concat(wins, ignore_index=True) if wins else pd.DataFrame(),
        "suites": pd.concat(benchmarks, ignore_index=True) if benchmarks else pd.DataFrame(),
        "loss": pd.concat(losses, ignore_index=True) if losses else pd.DataFrame(),
    }
    return EvaluationReport(tuple(prompts), written, tables)
