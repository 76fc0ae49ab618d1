"""What the chapter on dialogue prints: the questions again, an arm when small."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from benchmarks import dialogue as published
from rlhf_lab.lineage.dialogue import ASSISTANTS, FOLLOW_UPS, MASKS, Message, encode_chat, whole
from rlhf_lab.models import load_policy
from rlhf_lab.world import World

WORLD, CONFIG = World(0), published.Config()
SMALL = dataclasses.replace(CONFIG, demonstrations=8, conversations=8, asked=2, kept=1)


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(published.FOLDER / f"{name}.csv", keep_default_na=False)


def test_every_arm_is_asked_the_same() -> None:
    rows = read("answers")
    cells = rows.groupby(["seed", "arm", "kind", "form"]).questions.agg(["size", "sum"])
    kinds = len(FOLLOW_UPS) + 1
    wanted = len(published.SEEDS) * len(published.ARMS) * kinds * len(published.FORMS)
    assert len(cells) == wanted and (cells["size"] == 1).all()
    assert (cells["sum"] == CONFIG.asked).all() and (rows.right <= rows.questions).all()


def test_published_questions_come_out_again() -> None:
    rows = read("samples")
    for kind, talks in published.questions(WORLD, "test", 0, CONFIG.kept).items():
        asked = [(t[-2].said, t[-2].answer, t[-1].said) for t in talks]
        for _, own in rows[rows.kind == kind].groupby(["arm", "form"]):
            found = own[["first", "answered", "follow_up"]].itertuples(index=False, name=None)
            assert list(found) == asked


def test_rows_of_the_arms_say_the_same() -> None:
    """Single turns and conversations have the same answers; and all of them fit."""
    tokenizer = load_policy("nano")[1]
    talks = published.training_rows(WORLD, ASSISTANTS, 1, SMALL)
    single = published.training_rows(WORLD, published.SINGLE, 1, SMALL)

    def said(rows: list[list[Message]]) -> list[str]:
        return [m["content"] for row in rows for m in row if m["role"] == "assistant"]

    assert said(talks[8:]) == said(single[8:]) and {len(row) for row in single} == {2}
    assert said(single[:8]) == [row[-1]["content"] for row in talks[:8]]
    for row in talks:
        encode_chat(row, tokenizer, CONFIG.sft.max_length)
    longest = max(
        len(encode_chat(whole(talk), tokenizer).ids)
        for own in published.questions(WORLD, "test", 0, CONFIG.asked).values()
        for talk in own
    )
    assert longest + CONFIG.max_new_tokens <= 256


@pytest.mark.parametrize("arm", [published.SINGLE, MASKS[0]])
def test_an_arm_on_tiny_settings(arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "MODEL", "nano")
    tables = published.measure(arm, 0, SMALL, "valid")
    rows = pd.DataFrame(tables["answers"])
    assert len(rows) == len(published.FORMS) * (len(FOLLOW_UPS) + 1)
    assert (rows.questions == 2).all() and tables["loss"][0]["nats"] > 0
    assert len(tables["samples"]) == 3 * (len(FOLLOW_UPS) + 1)
