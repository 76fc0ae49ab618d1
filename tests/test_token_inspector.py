"""Rollouts as the token inspector's file. The drawing: tests/browser/test_token_inspector.py."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from rlhf_lab.config import PPOConfig
from rlhf_lab.errors import InputError
from rlhf_lab.models import PolicyLogits, ScalarModel
from rlhf_lab.rollout import Rollout, collect
from rlhf_lab.widgets import files, token_inspector
from rlhf_lab.widgets.token_inspector import logprobs_under, rollout_data
from tiny_models import EOS, PAD, causal_lm

PROMPTS = ["say cat", "cat", "say say cat", "é", "a\n", "cat cat"]
CONFIG = PPOConfig(
    batch_size=6, minibatches=1, gamma=0.0, beta=0.3, max_response_length=9, temperature=0.8
)
FIXTURE = Path(__file__).parent / "book/fixture/book/data/rollouts.json"


def model(seed: int, vocabulary: int) -> torch.nn.Module:
    made = causal_lm(seed=seed, vocab_size=vocabulary)
    with torch.no_grad():
        made.get_output_embeddings().weight.mul_(5)
    return made.double()


@pytest.fixture(scope="module")
def episodes(tokenizer: Any) -> tuple[Rollout, dict[str, torch.nn.Module]]:
    size = len(tokenizer)
    models = {"policy": model(0, size), "reference": model(1, size), "later": model(3, size)}
    models["value"] = ScalarModel.from_policy(model(2, size), 0)
    uniform = torch.rand(6, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    uniform[1, 3] = uniform[4, 0] = 1e-9  # draws the first token of the vocabulary, EOS
    rollout = collect(
        PolicyLogits(models["policy"]),
        PolicyLogits(models["reference"]),
        lambda _, responses, mask: (responses * mask).sum(1).double() / 100,
        models["value"],
        [tokenizer(text)["input_ids"] for text in PROMPTS],
        CONFIG,
        eos_token_id=EOS,
        pad_token_id=PAD,
        uniform=uniform,
    )
    return rollout, models


def test_numbers_of_a_row_from_the_models_alone(episodes: Any, tokenizer: Any) -> None:
    """Recomputed without the rollout's own numbers: one forward pass of each model per episode."""
    rollout, models = episodes
    updated = logprobs_under(PolicyLogits(models["later"]), rollout, CONFIG)
    published = rollout_data(rollout, tokenizer, CONFIG, updated_logprobs=updated)
    assert published["beta"] == 0.3
    assert len(published["rollouts"]) == 6
    lengths = set()
    for row, (shown, text) in enumerate(zip(published["rollouts"], PROMPTS, strict=True)):
        prompt = tokenizer(text)["input_ids"]
        n = len(shown["tokens"])
        lengths.add(n)
        response = rollout.response_ids[row, :n].tolist()
        tokens = torch.tensor([prompt + response])
        states = slice(len(prompt) - 1, len(prompt) + n - 1)
        at = (torch.arange(n), torch.tensor(response))
        logp, ref, later = (
            (models[name](tokens).logits / 0.8).log_softmax(-1)[0, states]
            for name in ("policy", "reference", "later")
        )
        reward = -0.3 * (logp[at] - ref[at])
        reward[-1] += sum(response) / 100
        expected = {
            "logprob": logp[at],
            "ref_logprob": ref[at],
            "kl": (logp.exp() * (logp - ref)).sum(-1),
            "entropy": -(logp.exp() * logp).sum(-1),
            "reward": reward,
            "value": models["value"](tokens)[0, states],
            "ratio": (later[at] - logp[at]).exp(),
        }
        for name, numbers in expected.items():
            # Six significant digits are published.
            assert shown[name] == pytest.approx(numbers.tolist(), rel=1e-5, abs=1e-8), name
        assert shown["prompt"] == text
        assert shown["score"] == pytest.approx(sum(response) / 100, rel=1e-5)
        assert shown["stopped"] == (response[-1] == EOS)
        # R_t = Â_t + V_t before whitening, computed forwards from its definition.
        deltas = [
            reward[t].item() + (shown["value"][t + 1] if t + 1 < n else 0.0) - shown["value"][t]
            for t in range(n)
        ]
        for t in range(n):
            advantage = sum(0.95 ** (k - t) * deltas[k] for k in range(t, n))
            assert shown["return"][t] == pytest.approx(advantage + shown["value"][t], abs=2e-4)
    assert lengths == {1, 4, 9}
    every = [number for shown in published["rollouts"] for number in shown["advantage"]]
    mean = sum(every) / len(every)
    assert mean == pytest.approx(0, abs=1e-4)
    assert sum(a * a for a in every) / len(every) == pytest.approx(1, abs=1e-3)
    assert json.loads(json.dumps(published, allow_nan=False)) == published


def test_chosen_rows_without_an_update(episodes: Any, tokenizer: Any) -> None:
    rollout, _ = episodes
    every = rollout_data(rollout, tokenizer, CONFIG)
    some = rollout_data(rollout, tokenizer, CONFIG, rows=[4, 1], beta=0.7)
    assert some["rollouts"] == [every["rollouts"][4], every["rollouts"][1]]
    assert some["beta"] == 0.7
    assert "ratio" not in some["rollouts"][0]


def test_tokens_spell_the_response(episodes: Any, tokenizer: Any) -> None:
    """Joined, the pieces give the bytes of the response, parts of characters included."""
    rollout, _ = episodes
    ids = tokenizer("say é ☃\n cat")["input_ids"]
    row = [*ids, EOS]
    width = len(row)
    wide = {
        name: torch.zeros(1, width)
        for name in ("logprobs", "ref_logprobs", "values", "kl", "entropy", "rewards")
    }
    made = dataclasses.replace(
        rollout,
        tokens=torch.tensor([[ids[0], *row]]),
        prompt_lengths=torch.tensor([1]),
        response_ids=torch.tensor([row]),
        response_mask=torch.ones(1, width, dtype=torch.int64),
        scores=torch.ones(1),
        stopped=torch.tensor([True]),
        advantages=torch.zeros(1, width),
        returns=torch.zeros(1, width),
        **wide,
    )
    tokens = rollout_data(made, tokenizer, CONFIG)["rollouts"][0]["tokens"]
    assert tokens[-1] == {"special": tokenizer.eos_token}
    spelled = b"".join(
        bytes.fromhex(t["bytes"]) if "bytes" in t else t["text"].encode() for t in tokens[:-1]
    )
    assert spelled.decode() == "say é ☃\n cat"
    assert {"bytes": "c3"} in tokens
    assert {"text": "\n"} in tokens


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"rows": [6]}, "rows"),
        ({"rows": [-1]}, "rows"),
        ({"rows": []}, "rows"),
        ({"updated_logprobs": torch.zeros(6, 2)}, "updated_logprobs"),
    ],
)
def test_bad_input_is_named(
    episodes: Any, tokenizer: Any, change: dict[str, Any], argument: str
) -> None:
    with pytest.raises(InputError) as caught:
        rollout_data(episodes[0], tokenizer, CONFIG, **change)
    assert caught.value.argument == argument


def test_another_kind_of_tokenizer_is_refused(episodes: Any) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"a": 0, "<e>": 1}, unk_token="a"))
    other = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<e>")
    with pytest.raises(InputError) as caught:
        rollout_data(episodes[0], other, CONFIG)
    assert caught.value.argument == "tokenizer"


def test_the_small_books_file_is_of_this_format(episodes: Any, tokenizer: Any) -> None:
    """It is made by hand, tests/book/make_rollouts.py: here it must not fall behind."""
    kept = files.read_published(FIXTURE, token_inspector.FORMAT)
    zeros = torch.zeros_like(episodes[0].logprobs)
    made = rollout_data(episodes[0], tokenizer, CONFIG, updated_logprobs=zeros)
    assert kept.keys() == made.keys()
    for rollout in kept["rollouts"]:
        assert rollout.keys() == made["rollouts"][0].keys()
        for t, reward in enumerate(rollout["reward"]):
            last = t == len(rollout["reward"]) - 1
            moved = rollout["logprob"][t] - rollout["ref_logprob"][t]
            expected = -kept["beta"] * moved + (rollout["score"] if last else 0)
            assert math.isclose(reward, expected, rel_tol=1e-4, abs_tol=2e-6)


def test_the_still_drawing_has_the_first_rollouts_numbers() -> None:
    labels = files.labels("token-inspector")
    published = files.read_published(FIXTURE, token_inspector.FORMAT)
    figure = token_inspector.still(labels, token_inspector.data(published))
    rows = figure.layout.meta["data"]
    first = published["rollouts"][0]
    for name in ("reward", "kl", "value", "advantage"):
        found = [row[labels["still_y"]] for row in rows if row["quantity"] == labels[name]]
        assert found == first[name]
    assert "{" not in figure.layout.title.text + figure.layout.meta["alt"]


def test_the_widget_of_a_notebook() -> None:
    pytest.importorskip("anywidget", reason="needs the extra [labs]")
    from rlhf_lab.widgets.live import TokenInspector

    published = files.read_published(FIXTURE, token_inspector.FORMAT)
    widget = TokenInspector(published)
    assert widget.fixed == published
    assert (widget.rollout, widget.token, widget.quantity) == (0, 0, "reward")
