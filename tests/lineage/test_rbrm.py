"""Rule-based rewards against loops and hand-made cases."""

from __future__ import annotations

import random

import pytest
import torch

from rlhf_lab.encoding import pad_left, pad_right
from rlhf_lab.errors import InputError
from rlhf_lab.lineage import rbrm
from rlhf_lab.lineage.refusals import CLASSES, KINDS, LOOK_ALIKE, VEILED, must_refuse, requests
from rlhf_lab.models import load_policy
from rlhf_lab.records import Prompt
from rlhf_lab.world import World

WORLD = World(0)
VEIL, ALIKE = (requests(WORLD, kind, "test", 1)[0] for kind in (VEILED, LOOK_ALIKE))
# Better to worse, as the rubric has it; equals stand together.
ORDER = {True: ("A", "B", "D", "C"), False: ("D", "AB", "C")}


def test_pairs_follow_the_order_and_never_cross_prompts() -> None:
    prompts = [p for p in (VEIL, ALIKE) for _ in CLASSES]
    letters = list(CLASSES) * 2
    wanted = set()
    for i in range(8):
        for j in range(8):
            groups = ORDER[must_refuse(prompts[i])]
            at = [next(n for n, g in enumerate(groups) if letters[k] in g) for k in (i, j)]
            if i // 4 == j // 4 and at[0] < at[1]:
                wanted.add((i, j))
    found = rbrm.ordered_pairs(prompts, letters)
    assert set(found) == wanted and len(found) == len(wanted) == 6 + 5


def test_the_hinge_against_a_loop() -> None:
    """To 1e-12."""
    better, worse = (torch.randn(50, dtype=torch.float64) for _ in range(2))
    for margin in (0.0, 1.0, 2.5):
        slow = [
            max(0.0, margin - (b - w)) for b, w in zip(better.tolist(), worse.tolist(), strict=True)
        ]
        found = float(rbrm.hinge_loss(better, worse, margin))
        assert found == pytest.approx(sum(slow) / 50, abs=1e-12)


def test_fitted_weights_repair_the_order_and_are_the_best_there_are() -> None:
    """A reward model that has it all the wrong way round; no neighbour has a lower loss."""
    rng = random.Random(0)
    prompts = [p for kind in KINDS for p in requests(WORLD, kind, "train", 5) for _ in CLASSES]
    letters = list(CLASSES) * (len(prompts) // 4)
    wrong = [
        rbrm.PLACES[must_refuse(p)][x] + 0.3 * rng.gauss(0, 1)
        for p, x in zip(prompts, letters, strict=True)
    ]
    weights = rbrm.fitted_weights(wrong, prompts, letters)
    pairs = rbrm.ordered_pairs(prompts, letters)

    def loss(w: dict[tuple[bool, str], float]) -> float:
        total = rbrm.total_reward(wrong, prompts, letters, w)
        hinge = sum(max(0.0, 1 - (total[i] - total[j])) for i, j in pairs) / len(pairs)
        return hinge + 1e-3 * sum(v * v for v in w.values())

    total = rbrm.total_reward(wrong, prompts, letters, weights)
    assert all(total[i] > total[j] for i, j in pairs)
    assert not any(wrong[i] > wrong[j] + 1 for i, j in pairs)
    for _ in range(100):
        near = {key: w + 0.2 * rng.gauss(0, 1) for key, w in weights.items()}
        assert loss(near) > loss(weights) - 1e-3


def test_a_reward_model_that_is_right_already_is_left_alone() -> None:
    prompts, letters = [VEIL] * 4 + [ALIKE] * 4, list(CLASSES) * 2
    right = [-3.0 * rbrm.PLACES[must_refuse(p)][x] for p, x in zip(prompts, letters, strict=True)]
    weights = rbrm.fitted_weights(right, prompts, letters)
    assert max(map(abs, weights.values())) < 0.01


def test_ungraded_prompts_keep_their_score() -> None:
    plain = Prompt("where is the fox?\n", "open_qa", {"hard": "", "task": "fact"})
    weights = {(True, "A"): 2.0, (False, "D"): 3.0}
    found = rbrm.total_reward([1.0] * 4, [VEIL, VEIL, ALIKE, plain], ["A", "C", "D", "D"], weights)
    assert found == [3.0, 1.0, 4.0, 1.0]


def test_the_reward_of_a_batch() -> None:
    """Prompts padded on the left, answers on the right; texts come back as they were written."""
    _, tokenizer = load_policy("nano")
    prompts = [VEIL, ALIKE, WORLD.prompt(0, kind="open_qa", hard="")]
    texts = ["it is wrong.", "ask the guard politely.", "the fox is red."]
    ids = tokenizer([p.text for p in prompts])["input_ids"]
    said = [[*row, tokenizer.eos_token_id] for row in tokenizer(texts)["input_ids"]]
    asked, _ = pad_left(ids, tokenizer.pad_token_id)
    response, mask = pad_right(said, tokenizer.pad_token_id)
    seen: list[tuple[list[Prompt], list[str], list[str]]] = []
    reward = rbrm.RubricReward(
        lambda p, r, m: m.sum(1).float(), tokenizer, prompts, lambda t: ["A", "D", "D"],
        {(True, "A"): 0.5, (False, "D"): 0.25}, lambda *batch: seen.append(batch),
    )  # fmt: skip
    lengths = torch.tensor([float(len(row)) for row in said])
    assert torch.equal(reward(asked, response, mask), lengths + torch.tensor([0.5, 0.25, 0.0]))
    assert seen == [(prompts, texts, ["A", "D", "D"])]
    with pytest.raises(InputError, match="prompt_ids"):
        reward(asked[:, -3:], response, mask)


class Reader:
    """Finds the letter likely that stands for the last word of the answer."""

    def logprobs(self, pairs: list[tuple[str, str]]) -> list[float]:
        self.pairs = pairs
        return [float(text.split()[-2][-1] == letter.strip(" .")) for text, letter in pairs]


def test_a_letter_grader_asks_for_every_letter() -> None:
    reader = Reader()
    grade = rbrm.LetterGrader(reader, [("so it is b", "B")])
    assert grade(["this is a", "\nthat\nis c", "and d"]) == ["A", "C", "D"]
    head, answer = reader.pairs[0]
    assert answer == " a." and head.startswith(rbrm.RUBRIC)
    assert head.endswith("letter: b.\nreply: this is a\nletter:")


def test_a_taught_grader_needs_all_letters() -> None:
    with pytest.raises(InputError, match="letters"):
        rbrm.TaughtGrader(["it is wrong."], ["A"])
