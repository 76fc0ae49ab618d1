"""Pretraining: the loss, the schedule, exact resume, the tokenizer."""

from __future__ import annotations

import dataclasses
import json
import math
import random

import pytest
import torch
from transformers import GPT2Config

from rlhf_lab import pretrain as P
from rlhf_lab.checkpoints import latest_checkpoint, load_checkpoint
from rlhf_lab.config import PretrainConfig
from rlhf_lab.errors import CheckpointError, DivergenceError, InputError

CONFIG = PretrainConfig(
    steps=8,
    batch_size=4,
    block_length=16,
    warmup_steps=2,
    log_every=2,
    evaluate_every=4,
    checkpoint_every=4,
)


@pytest.fixture(scope="module")
def tokenizer():
    return P.train_tokenizer(["the cat sat on the mat", "a dog ran"] * 20, 300)


@pytest.fixture
def architecture(tokenizer):
    config = P.architecture("tiny", tokenizer)
    config.n_embd, config.n_layer, config.n_head = 32, 2, 2
    return config


@pytest.fixture
def blocks():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(2, 258, (24, 16), generator=generator, dtype=torch.int32)


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_loss_is_the_mean_of_minus_log_p_of_each_next_token(architecture, blocks):
    model = P.GPT2LMHeadModel(architecture).double().eval()
    logp = model(input_ids=blocks.long()).logits.log_softmax(-1)
    by_hand = [-logp[b, t - 1, blocks[b, t].long()] for b in range(24) for t in range(1, 16)]
    expected = torch.stack(by_hand).mean()
    # block_loss computes in float32 at least from float16 up; float64 logits pass through float()
    torch.testing.assert_close(P.block_loss(model, blocks).double(), expected, rtol=1e-6, atol=1e-6)
    assert P.held_out_loss(model, blocks, batch_size=7) == pytest.approx(expected.item(), abs=1e-5)


def test_learning_rate_warms_up_peaks_and_ends_at_the_final_fraction():
    config = dataclasses.replace(CONFIG, steps=102, warmup_steps=2, learning_rate=1.0)
    assert P.learning_rate(0, config) == 0.5
    assert P.learning_rate(1, config) == P.learning_rate(2, config) == 1.0
    assert P.learning_rate(52, config) == pytest.approx(0.55, abs=1e-12)  # half of the cosine
    assert P.learning_rate(102, config) == pytest.approx(0.1, abs=1e-12)


def test_weight_decay_spares_biases_and_norms(architecture):
    model = P.GPT2LMHeadModel(architecture)
    decayed, spared = P.adamw(model, 1e-3, 0.1).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    assert decayed["weight_decay"] == 0.1 and spared["weight_decay"] == 0.0
    assert all("weight" in names[id(p)] and "ln_" not in names[id(p)] for p in decayed["params"])
    assert all("bias" in names[id(p)] or "ln_" in names[id(p)] for p in spared["params"])
    assert len(names) == len(decayed["params"]) + len(spared["params"])


def test_it_learns_a_deterministic_sequence(tokenizer, architecture):
    cycle = torch.arange(10, 18).repeat(4)[:16].to(torch.int32).repeat(8, 1)
    config = dataclasses.replace(CONFIG, steps=60, learning_rate=1e-2, log_every=60)
    _, history = P.pretrain(cycle, architecture, config, tokenizer=tokenizer, held_out=cycle)
    assert history[-1]["held_out_loss"] < 0.05 < math.log(300)


def test_resuming_equals_never_stopping_bit_for_bit(tmp_path, tokenizer, architecture, blocks):
    def run(folder, callback=None):
        return P.pretrain(
            blocks,
            architecture,
            CONFIG,
            tokenizer=tokenizer,
            output_dir=folder,
            held_out=blocks[:4],
            callback=callback,
        )

    whole, whole_history = run(tmp_path / "whole")

    def crash(step, metrics):
        if step == 6:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "parts", crash)
    assert latest_checkpoint(tmp_path / "parts").name == "step-00000004"
    parts, parts_history = run(tmp_path / "parts")

    for name, expected in weights(whole).items():
        assert torch.equal(weights(parts)[name], expected), name

    def without_speed(rows):
        return [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in rows]

    assert without_speed(parts_history) == without_speed(whole_history)
    lines = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 6, 8]
    assert "held_out_loss" in whole_history[1] and "held_out_loss" not in whole_history[0]


def test_in_bfloat16_only_the_passes_are_rounded(tokenizer, architecture, blocks):
    config = dataclasses.replace(CONFIG, steps=1, log_every=1, precision="bfloat16")
    model, history = P.pretrain(blocks, architecture, config, tokenizer=tokenizer, held_out=blocks)

    torch.manual_seed(config.seed)  # the same step by hand
    again = P.GPT2LMHeadModel(architecture).train()
    batch = blocks[P.IndexSampler(len(blocks), config.batch_size, config.seed).indices(0)]
    inputs, targets = batch.long(), batch[:, 1:].long()
    with torch.autocast("cpu", torch.bfloat16):
        logits = again(input_ids=inputs).logits
    assert logits.dtype == torch.bfloat16
    loss = -logits[:, :-1].float().log_softmax(-1).gather(-1, targets[..., None]).mean()
    assert history[0]["loss"] == pytest.approx(loss.item(), abs=1e-6)
    whole = P.block_loss(again, batch).item()
    assert history[0]["loss"] != whole  # float32 says something else, in the fourth digit
    assert history[0]["loss"] == pytest.approx(whole, abs=1e-2)

    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert history[0]["held_out_loss"] == P.held_out_loss(model, blocks)  # in float32


def test_a_run_does_not_resume_in_another_precision(tmp_path, tokenizer, architecture, blocks):
    P.pretrain(blocks, architecture, CONFIG, tokenizer=tokenizer, output_dir=tmp_path)
    other = dataclasses.replace(CONFIG, precision="bfloat16")
    with pytest.raises(CheckpointError, match="precision"):
        P.pretrain(blocks, architecture, other, tokenizer=tokenizer, output_dir=tmp_path)


def test_a_finished_run_is_not_repeated(tmp_path, tokenizer, architecture, blocks):
    args = (blocks, architecture, CONFIG)
    first, _ = P.pretrain(*args, tokenizer=tokenizer, output_dir=tmp_path)
    steps = []
    again, history = P.pretrain(
        *args, tokenizer=tokenizer, output_dir=tmp_path, callback=lambda s, m: steps.append(s)
    )
    assert steps == [] and history[-1]["step"] == 8
    assert all(torch.equal(weights(again)[n], w) for n, w in weights(first).items())


def test_another_configuration_cannot_resume(tmp_path, tokenizer, architecture, blocks):
    P.pretrain(blocks, architecture, CONFIG, tokenizer=tokenizer, output_dir=tmp_path)
    other = dataclasses.replace(CONFIG, learning_rate=1e-4)
    with pytest.raises(CheckpointError, match="learning_rate"):
        P.pretrain(blocks, architecture, other, tokenizer=tokenizer, output_dir=tmp_path)
    with pytest.raises(CheckpointError, match="these data"):
        P.pretrain(blocks[1:], architecture, CONFIG, tokenizer=tokenizer, output_dir=tmp_path)
    _, history = P.pretrain(
        blocks, architecture, other, tokenizer=tokenizer, output_dir=tmp_path, resume=False
    )
    assert [row["step"] for row in history] == [2, 4, 6, 8]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    tmp_path, tokenizer, architecture, blocks
):
    wild = dataclasses.replace(CONFIG, learning_rate=1e30, checkpoint_every=1, log_every=8)
    with pytest.raises(DivergenceError, match="learning_rate"):
        P.pretrain(blocks, architecture, wild, tokenizer=tokenizer, output_dir=tmp_path)
    tensors, _ = load_checkpoint(latest_checkpoint(tmp_path))
    assert all(t.isfinite().all() for t in tensors.values())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda b: b.float(), "integers"),
        (lambda b: b[:, :8], "block_length"),
        (lambda b: b[0], "block_length"),
        (lambda b: b[:0], "at least one block"),
        (lambda b: b + 1000, "vocab|ids"),
        (lambda b: b - 1000, "ids"),
    ],
)
def test_wrong_blocks_are_refused(tokenizer, architecture, blocks, change, match):
    with pytest.raises(InputError, match=match):
        P.pretrain(change(blocks), architecture, CONFIG, tokenizer=tokenizer)


def test_blocks_longer_than_the_context_are_refused(tokenizer, architecture):
    long = dataclasses.replace(CONFIG, block_length=512)
    with pytest.raises(InputError, match="256 positions"):
        P.pretrain(torch.zeros(4, 512, dtype=torch.int32), architecture, long, tokenizer=tokenizer)


def test_an_unknown_preset_is_refused(tokenizer):
    with pytest.raises(InputError, match="nano, micro, tiny, base"):
        P.architecture("huge", tokenizer)


def test_presets_are_gpt2_without_dropout(tokenizer):
    for name in P.ARCHITECTURES:
        config = P.architecture(name, tokenizer)
        assert isinstance(config, GPT2Config) and config.resid_pdrop == 0.0
        assert config.n_embd % config.n_head == 0 and config.vocab_size == len(tokenizer)


def test_every_text_round_trips(tokenizer):
    rng = random.Random(0)
    for _ in range(300):
        pairs = [(rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)) for _ in range(20)]
        text = "".join(chr(rng.choice(pair)) for pair in pairs) + rng.choice(
            ["", " ", "\n", "  a", " ,"]
        )
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == text
        assert not {tokenizer.eos_token_id, tokenizer.pad_token_id} & set(ids)


def test_special_tokens_have_ids_0_and_1_and_all_bytes_are_known(tokenizer):
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1)
    assert tokenizer.unk_token is None and len(tokenizer) >= 258
    assert tokenizer("the cat")["input_ids"] != tokenizer(" the cat")["input_ids"]


def test_a_vocabulary_without_room_for_the_bytes_is_refused():
    with pytest.raises(InputError, match="258"):
        P.train_tokenizer(["a"], 200)
