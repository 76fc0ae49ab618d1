"""Ranking widget: the reader is the labeler. What it shows, and who it compares the reader with.

The drawing itself is ``static/ranking.js``. It shows a published file, JSON with these fields:

- ``format``: :data:`FORMAT`; ``id``: changes with any prompt or answer, and names the reader's
  rankings in the browser;
- ``labelers``: the names of the people the reader is compared with;
- ``prompts``: for each ``text``, ``kind``, ``completions`` (K texts, all different, in an order
  that says nothing about who wrote them) and ``ranks``: one list of K ranks for each labeler, in
  the order of ``labelers``; lower is better, equal ranks are ties.

The reader's own rankings are kept as ``{"order", "tied", "done"}`` for each prompt: indices of
completions, best first; for each place of that order whether it is as good as the one above; and
whether the reader has finished. :func:`records` and the drawing turn them into
:class:`~rlhf_lab.records.Ranking`, which ``train_reward_model`` reads.
"""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from rlhf_lab.errors import InputError
from rlhf_lab.figures import bars_with_intervals
from rlhf_lab.records import Prompt, Ranking
from rlhf_lab.widgets.files import content_id
from rlhf_lab.world import Labeler, World

NAME = "ranking"
FORMAT = "rlhf_lab.ranking/1"
FEWEST, MOST = 4, 9  # answers per prompt: as in the paper (Ouyang et al. 2022, §3.5)
READER = "reader"  # the labeler's name in the rankings that a reader exports


def ranking_data(
    world: World,
    answers: Sequence[tuple[Prompt, Sequence[str]]],
    *,
    labelers: Sequence[Labeler] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The published file: answers in an order that hides their source, ranked by labelers.

    Args:
        world: measures the answers.
        answers: prompts, each with its answers; of equal answers the first is kept.
        labelers: who ranks them; default: the world's training labelers.
        seed: of the order of the answers and of the labelers' noise.

    Raises:
        InputError: for no prompt, fewer than two labelers, or a prompt without 4 to 9 different
            answers.
    """
    people = world.labelers() if labelers is None else labelers
    if len(people) < 2:
        raise InputError("labelers", len(people), "two or more", "pass a whole group")
    if not answers:
        raise InputError("answers", answers, "one prompt or more", "give prompts with answers")
    prompts = []
    for prompt, texts in answers:
        rng = random.Random(f"ranking:{seed}:{prompt.text}")
        distinct = list(dict.fromkeys(texts))
        if not FEWEST <= len(distinct) <= MOST:
            raise InputError(
                f"answers to {prompt.text!r}",
                f"{len(distinct)} different ones",
                f"{FEWEST} to {MOST}",
                "sample more, or leave some out",
            )
        rng.shuffle(distinct)
        ranks = [list(p.rank(prompt, distinct, world.judge, rng).ranks) for p in people]
        prompts.append(
            {"text": prompt.text, "kind": prompt.kind, "completions": distinct, "ranks": ranks}
        )
    shown = [[prompt["text"], prompt["completions"]] for prompt in prompts]
    return {
        "format": FORMAT,
        "id": content_id(shown),
        "labelers": [person.name for person in people],
        "prompts": prompts,
    }


def data(published: Mapping[str, Any]) -> dict[str, Any]:
    """What the drawing gets: the published file, and a reader who has ranked nothing yet."""
    nothing = [None] * len(published["prompts"])
    return {**published, "state": {"prompt": 0, "rankings": nothing}}


def records(
    published: Mapping[str, Any], rankings: Sequence[Mapping[str, Any] | None]
) -> list[Ranking]:
    """The rankings that a reader has finished, as the drawing exports them.

    Args:
        published: as :func:`ranking_data` makes it.
        rankings: one for each prompt, None where there is none; see the module's docstring.
    """
    finished = []
    for prompt, ranking in zip(published["prompts"], rankings, strict=True):
        if ranking is None or not ranking["done"]:
            continue
        groups = itertools.accumulate(0 if tied else 1 for tied in ranking["tied"])
        rank_of = {i: group - 1 for i, group in zip(ranking["order"], groups, strict=True)}
        texts = tuple(prompt["completions"])
        ranks = tuple(rank_of[i] for i in range(len(texts)))
        finished.append(Ranking(prompt["text"], texts, ranks, prompt["kind"], READER))
    return finished


def share_alike(one: Sequence[Sequence[int]], two: Sequence[Sequence[int]]) -> float | None:
    """Share of pairs of answers that two people order alike; None without a pair.

    Pairs that either of them calls a tie are left out, as in
    :func:`rlhf_lab.world.labelers.agreement`.

    Args:
        one: ranks of each person's answers, one list for each prompt; ``two`` alike.
    """
    alike = pairs = 0
    for mine, theirs in zip(one, two, strict=True):
        for i, j in itertools.combinations(range(len(mine)), 2):
            if mine[i] != mine[j] and theirs[i] != theirs[j]:
                pairs += 1
                alike += (mine[i] < mine[j]) == (theirs[i] < theirs[j])
    return alike / pairs if pairs else None


def agreement_with(
    ranks: Sequence[Sequence[int]], others: Sequence[Sequence[Sequence[int]]]
) -> float | None:
    """Mean over other people of :func:`share_alike`; None when there is no pair with anybody."""
    shares = [share_alike(ranks, other) for other in others]
    known = [share for share in shares if share is not None]
    return statistics.fmean(known) if known else None


def agreement_among(prompts: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Each labeler's agreement with the others over some published prompts."""
    count = len(prompts[0]["ranks"])
    people = [[prompt["ranks"][person] for prompt in prompts] for person in range(count)]
    return [agreement_with(people[i], people[:i] + people[i + 1 :]) for i in range(count)]


def still(labels: Mapping[str, str], given: Mapping[str, Any]) -> go.Figure:
    """How far the labelers agree on each prompt: for print, and where no script runs."""
    rows = []
    for number, prompt in enumerate(given["prompts"], start=1):
        shares = [share for share in agreement_among([prompt]) if share is not None]
        if shares:
            rows.append((str(number), 100 * statistics.fmean(shares)))
    mean = statistics.fmean(share for _, share in rows)
    low, high = min(share for _, share in rows), max(share for _, share in rows)
    values = {"mean": f"{mean:.0f}", "low": f"{low:.0f}", "high": f"{high:.0f}"}
    return bars_with_intervals(
        pd.DataFrame(rows, columns=[labels["still_x"], labels["still_y"]]),
        x=labels["still_x"],
        y=labels["still_y"],
        title=labels["title"].format(**values),
        alt=labels["alt"].format(**values, prompts=len(rows), labelers=len(given["labelers"])),
        x_label=labels["still_x"],
        y_label=labels["still_y"],
    )
