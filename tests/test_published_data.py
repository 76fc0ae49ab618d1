"""What the chapters on data print, from answers and questions that are known."""

from __future__ import annotations

import random

import pytest
import torch

from benchmarks import imitation, labeling, leakage
from rlhf_lab.evaluate import noise_ceiling
from rlhf_lab.records import Prompt
from rlhf_lab.widgets import ranking
from rlhf_lab.widgets.files import read_published
from rlhf_lab.world import World
from rlhf_lab.world.judge import Attributes

WORLD = World(0)
PROMPTS = WORLD.prompts("valid", 40)
QUALITIES = ("right", "wrong", "rude", "hedging")
ANSWERS = [(p, list({WORLD.answer(p, 0, q): 0 for q in QUALITIES})) for p in PROMPTS]
JUDGE = labeling.remembering(WORLD)


def test_the_ceiling_is_that_of_the_package():
    people = WORLD.labelers()
    ranked = labeling.rankings(JUDGE, ANSWERS, people, seed=1)
    found = labeling.pair_share(
        labeling.golds(JUDGE, ANSWERS), [[-rank for rank in one.ranks] for one in ranked]
    )
    assert found == pytest.approx(noise_ceiling(WORLD, PROMPTS, ranked)["all"], abs=1e-12)


def test_without_noise_a_labeler_agrees_with_itself():
    people = labeling.with_noise(WORLD.labelers(), 0.0, "train")
    rng = random.Random(0)
    pairs = list(labeling.both_order(JUDGE, ANSWERS, people, rng, twice=True))
    assert len(pairs) > 60
    assert all(alike == 1.0 for alike, _ in pairs)
    loud = labeling.with_noise(WORLD.labelers(), 40.0, "train")
    noisy = list(labeling.both_order(JUDGE, ANSWERS, loud, rng, twice=True))
    assert sum(alike for alike, _ in noisy) / len(noisy) == pytest.approx(0.5, abs=0.12)


def test_a_linear_reward_finds_the_weights():
    """Noiseless rankings by the truth of numbers: its weight is positive, the others stay small."""

    def judge(_: Prompt, text: str) -> Attributes:
        return Attributes(truth=float(text), form=float(text) ** 2)

    rng = random.Random(0)
    texts = [[f"{rng.uniform(-1, 1):.3f}" for _ in range(5)] for _ in range(60)]
    answers = [(Prompt(str(i), "open_qa", {}), some) for i, some in enumerate(texts)]
    ranked = labeling.rankings(
        judge, answers, [labeling.Labeler("x", {**dict.fromkeys(Attributes().as_dict(), 0.0),
                                                "truth": 10.0}, 0.0)], 0,
    )  # fmt: skip
    penalty = labeling.Config().penalty
    weights = labeling.fit(judge, answers, ranked, penalty)
    names = list(Attributes().as_dict())
    assert weights[names.index("truth")] > 5
    assert abs(weights[names.index("form")]) < 1
    assert torch.count_nonzero(weights) == 2  # what does not differ has no weight
    # The gradient of loss plus penalty is zero at the optimum.
    inputs = torch.cat([labeling.features(judge, p, some) for p, some in answers])
    leaf = weights.clone().requires_grad_()
    ranks = torch.tensor([rank for one in ranked for rank in one.ranks])
    group = torch.arange(60).repeat_interleave(5)
    loss = labeling.kwise_ranking_loss(inputs @ leaf, ranks, group) + penalty * leaf.square().sum()
    assert torch.autograd.grad(loss, leaf)[0].abs().max() < 1e-4


def test_scores_order_pairs():
    assert labeling.pair_share([[3.0, 2.0, 1.0]], [[3.0, 2.0, 1.0]]) == 1.0
    assert labeling.pair_share([[3.0, 2.0, 1.0]], [[1.0, 2.0, 3.0]]) == 0.0
    assert labeling.pair_share([[0.0, 0.0]], [[1.0, 2.0]]) == 0.5
    assert labeling.pair_share([[1.0, 2.0, 9.0]], [[1.0, 2.0, 2.0]]) == 1.0  # two pairs of three


def test_the_published_ranking_is_the_worlds():
    """Texts, kinds and everybody's ranks, made again from the published answers."""
    path = labeling.FOLDER / "ranking.json"
    published = read_published(path, ranking.FORMAT)
    assert published == ranking.ranking_data(WORLD, labeling.for_readers(WORLD))
    kinds = [prompt["kind"] for prompt in published["prompts"]]
    assert len(kinds) == len(set(kinds)) >= 6
    assert len(published["labelers"]) == 20


def test_replies_of_the_web_follow_their_question():
    known = imitation.questions(WORLD)
    pages = "".join(f"{d.text}\n\n" for d in WORLD.documents(300, 50_000_000))
    found = list(zip(*imitation.replies_on_the_web(WORLD, 300), strict=True))
    assert len(found) > 30
    for prompt, text in found:
        assert known[prompt.text] == prompt
        assert f"{prompt.text}{text}\n" in pages
    asked = next(iter(known.values()))
    rows = imitation.shares(
        WORLD, [asked] * 4, [WORLD.answer(asked) + "\nmore?", "", "what is red?", "you fool."],
        model="x", seed=3, loss=1.0,
    )  # fmt: skip
    found = {row["reply"]: row["share"] for row in rows}
    assert found == {
        "questions": 0.5, "rude": 0.25, "hedging": 0.0, "right": 0.25, "partly right": 0.0,
        "wrong": 0.0,
    }  # fmt: skip


def test_only_a_split_at_random_leaks():
    splits = leakage.both_splits(WORLD, 200, seed=0)
    texts = [
        sorted(p.text for part in splits[name] for p in part)
        for name in (leakage.AT_RANDOM, leakage.BY_COMBINATION)
    ]
    assert [len(t) for t in texts] == [180, 180]
    for name, (train, test) in splits.items():
        known = {(p.meta["relation"], p.meta.get("subject"), p.meta.get("value")) for p in train}
        twice = sum(
            (p.meta["relation"], p.meta.get("subject"), p.meta.get("value")) in known for p in test
        )
        assert leakage.leaks(WORLD, train, test)["seen"] == pytest.approx(twice / len(test))
        assert (twice == 0) == (name == leakage.BY_COMBINATION)


def test_the_answer_book_copies_the_nearest():
    train = WORLD.prompts("train", 50, kind="open_qa", hard="")
    copied = leakage.answer_book(WORLD, train, train)
    assert copied == [WORLD.demonstration(prompt).completion for prompt in train]


def test_shared_beginnings_by_hand():
    """Five questions about three things; first words shared by two that differ and two alike."""
    asked = [
        ("what colour is the owl?", "owl"), ("what colour is the fox?", "fox"),
        ("what colour has the fox?", "fox"), ("where is the hen?", "hen"),
        ("which is the hen's home?", "hen"),
    ]  # fmt: skip
    prompts = [Prompt(text, "open_qa", {"combination": ["open_qa", who]}) for text, who in asked]
    two = leakage.shared_beginning(prompts, 2)
    assert two["dropped"] == pytest.approx(2 / 5)
    assert two["caught"] == pytest.approx(1 / 2)
    assert two["alike"] == pytest.approx(1 / 3)
    three = leakage.shared_beginning(prompts, 3)
    assert (three["caught"], three["alike"]) == (0.0, 0.0)
