"""The ranking widget's file and records. The drawing itself: tests/browser/test_ranking.py."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.records import Ranking
from rlhf_lab.widgets import files, ranking
from rlhf_lab.world import World

WORLD = World(0)
PROMPT = WORLD.prompt(3)
QUALITIES = ("right", "wrong", "hedging", "partial", "rude", "questions")
TEXTS = [WORLD.answer(PROMPT, 0, quality) for quality in QUALITIES]


def test_the_file_has_the_answers_in_another_order_with_every_labelers_ranks() -> None:
    people = WORLD.labelers("heldout")[:3]
    published = ranking.ranking_data(WORLD, [(PROMPT, TEXTS)], labelers=people)
    (prompt,) = published["prompts"]
    assert (prompt["text"], prompt["kind"]) == (PROMPT.text, PROMPT.kind)
    assert sorted(prompt["completions"]) == sorted(TEXTS)
    assert published["labelers"] == [person.name for person in people]
    assert [len(ranks) for ranks in prompt["ranks"]] == [6, 6, 6]
    assert json.loads(json.dumps(published)) == published
    assert ranking.ranking_data(WORLD, [(PROMPT, TEXTS)], labelers=people) == published
    # The order does not follow that of the sources.
    firsts = {
        ranking.ranking_data(WORLD, [(PROMPT, TEXTS)], labelers=people, seed=seed)["prompts"][0][
            "completions"
        ][0]
        for seed in range(20)
    }
    assert len(firsts) >= 4


def test_labelers_mostly_put_the_better_answer_first() -> None:
    """What the widget calls the labelers is the world's labelers: gold and ranks agree."""
    published = ranking.ranking_data(WORLD, [(PROMPT, TEXTS)])
    (prompt,) = published["prompts"]
    gold = [WORLD.gold(PROMPT, text) for text in prompt["completions"]]
    alike = pairs = 0
    for ranks in prompt["ranks"]:
        for i, j in itertools.combinations(range(6), 2):
            if ranks[i] != ranks[j] and gold[i] != gold[j]:
                pairs += 1
                alike += (ranks[i] < ranks[j]) == (gold[i] > gold[j])
    assert pairs > 200
    assert alike / pairs > 0.7


def test_the_id_follows_what_is_shown_only() -> None:
    people = WORLD.labelers()
    one = ranking.ranking_data(WORLD, [(PROMPT, TEXTS)], labelers=people[:2])
    fewer = ranking.ranking_data(WORLD, [(PROMPT, TEXTS[:5])], labelers=people[:2])
    more = ranking.ranking_data(WORLD, [(PROMPT, TEXTS)], labelers=people[:3])
    assert one["id"] == more["id"] != fewer["id"]


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"answers": []}, "answers"),
        ({"labelers": WORLD.labelers()[:1]}, "labelers"),
        ({"answers": [(PROMPT, TEXTS[:3])]}, f"answers to {PROMPT.text!r}"),
        ({"answers": [(PROMPT, [*TEXTS[:3], TEXTS[0]])]}, f"answers to {PROMPT.text!r}"),
        ({"answers": [(PROMPT, [str(i) for i in range(10)])]}, f"answers to {PROMPT.text!r}"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], argument: str) -> None:
    arguments: dict[str, Any] = {"answers": [(PROMPT, TEXTS)]} | change
    with pytest.raises(InputError) as caught:
        ranking.ranking_data(WORLD, **arguments)
    assert caught.value.argument == argument


def test_records_of_a_reader() -> None:
    """Ties share a rank; ranks follow the order of the file; what is not done is no record."""
    published = ranking.ranking_data(WORLD, [(PROMPT, TEXTS), (WORLD.prompt(5), TEXTS)])
    done = {
        "order": [3, 0, 5, 1, 2, 4],
        "tied": [False, True, False, False, True, True],
        "done": True,
    }
    assert ranking.records(published, [None, {**done, "done": False}]) == []
    (record,) = ranking.records(published, [done, None])
    assert record == Ranking(
        PROMPT.text,
        tuple(published["prompts"][0]["completions"]),
        (0, 2, 2, 0, 2, 1),
        PROMPT.kind,
        "reader",
    )


def test_agreement_by_hand() -> None:
    # Pairs of two people: (0,1) alike, (0,2) not, (1,2) a tie of the second.
    assert ranking.share_alike([[0, 1, 2]], [[1, 2, 0]]) == pytest.approx(1 / 3)
    assert ranking.share_alike([[0, 1, 2]], [[1, 2, 2]]) == 1.0
    assert ranking.share_alike([[0, 1]], [[0, 0]]) is None
    # Over prompts pairs count, not prompts: 1 of 1 and 0 of 3.
    assert ranking.share_alike([[0, 1], [0, 1, 2]], [[0, 1], [2, 1, 0]]) == 0.25
    # Over people shares count; who shares no pair is left out.
    others = [[[0, 1, 2]], [[0, 0, 0]], [[2, 1, 0]], [[0, 2, 1]]]
    assert ranking.agreement_with([[0, 1, 2]], others) == pytest.approx((1 + 0 + 2 / 3) / 3)
    among = ranking.agreement_among([{"ranks": [[0, 1], [0, 1], [1, 0]]}])
    assert among == [0.5, 0.5, 0.0]


def test_the_still_drawing_shows_the_agreement_of_each_prompt() -> None:
    labels = files.labels("ranking")
    published = ranking.ranking_data(
        WORLD, [(PROMPT, TEXTS), (WORLD.prompt(5), TEXTS)], labelers=WORLD.labelers()[:4]
    )
    figure = ranking.still(labels, ranking.data(published))
    rows = figure.layout.meta["data"]
    for row, prompt in zip(rows, published["prompts"], strict=True):
        shares = []
        for one, two in itertools.permutations(prompt["ranks"], 2):
            pairs = [
                (one[i] - one[j]) * (two[i] - two[j])
                for i, j in itertools.combinations(range(len(one)), 2)
            ]
            decided = [p for p in pairs if p]
            shares.append(sum(p > 0 for p in decided) / len(decided))
        expected = 100 * sum(shares) / len(shares)
        assert row[labels["still_y"]] == pytest.approx(expected, abs=1e-9)
    assert "{" not in figure.layout.title.text + figure.layout.meta["alt"]


def test_a_file_survives_the_disk_and_others_are_refused(tmp_path: Path) -> None:
    published = ranking.ranking_data(WORLD, [(PROMPT, TEXTS)], labelers=WORLD.labelers()[:2])
    path = files.write_published(tmp_path / "ranking.json", published)
    assert files.read_published(path, ranking.FORMAT) == published
    with pytest.raises(InputError) as caught:
        files.read_published(path, "rlhf_lab.token_inspector/1")
    assert caught.value.value == ranking.FORMAT
    for content in (b"[]", b"{", b"\xff"):
        path.write_bytes(content)
        with pytest.raises(InputError):
            files.read_published(path, ranking.FORMAT)
    with pytest.raises(InputError, match="check the path"):
        files.read_published(tmp_path / "none.json", ranking.FORMAT)


def test_needs_neither_jupyter_nor_torch() -> None:
    code = (
        "import sys, rlhf_lab.widgets.ranking, rlhf_lab.widgets.token_inspector;"
        "print({'anywidget', 'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_widget_of_a_notebook_returns_records() -> None:
    pytest.importorskip("anywidget", reason="needs the extra [labs]")
    from rlhf_lab.widgets.live import RankingWidget

    published = ranking.ranking_data(WORLD, [(PROMPT, TEXTS)], labelers=WORLD.labelers()[:2])
    widget = RankingWidget(published)
    assert widget.records() == []
    assert widget.fixed == published
    order = [5, 4, 3, 2, 1, 0]
    widget.set_state({"rankings": [{"order": order, "tied": [False] * 6, "done": True}]})
    assert [record.ranks for record in widget.records()] == [(5, 4, 3, 2, 1, 0)]
