"""Supervised fine-tuning: the loss, exact resume, real architectures, LoRA, refusals."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import signal

import pytest
import torch
import transformers
from datasets import Dataset

from rlhf_lab.checkpoints import latest_checkpoint, load_checkpoint
from rlhf_lab.config import SFTConfig
from rlhf_lab.encoding import collate_completions, encode_demonstrations
from rlhf_lab.errors import CheckpointError, DivergenceError, InputError
from rlhf_lab.records import Demonstration
from rlhf_lab.sft import train_sft
from tiny_models import NO_DROPOUT, causal_lm, pad_is_eos

CONFIG = SFTConfig(
    epochs=4.0,
    batch_size=4,
    micro_batch_size=4,
    learning_rate=1e-2,
    max_length=40,
    checkpoint_every=3,
)
DEMONSTRATIONS = [
    Demonstration(f"say {word}\n", f"{word}{word[0] * n}")
    for n, word in enumerate(["cat", "dog", "owl", "bee", "ant", "fox", "elk", "hen"])
]


def gpt2(seed=0, **changes):
    return causal_lm(seed=seed, **({"vocab_size": 264} | NO_DROPOUT | changes))


def llama():
    return causal_lm("llama", vocab_size=264, num_key_value_heads=1)


def gpt_neox():
    return causal_lm("gpt_neox", vocab_size=264)


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def assert_same(left, right):
    left, right = weights(left), weights(right)
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


def completion_loss(model, tokenizer, rows):
    """Mean of −log p over completion tokens, token by token, without any library loss."""
    total, count = 0.0, 0
    for row in encode_demonstrations(rows, tokenizer, 40):
        logp = model(input_ids=torch.tensor([row.ids])).logits[0].double().log_softmax(-1)
        for t in range(max(1, row.start), len(row.ids)):
            total -= logp[t - 1, row.ids[t]].item()
            count += 1
    return total / count


def test_the_loss_is_the_mean_over_completion_tokens_with_eos(tokenizer):
    model = gpt2()
    expected = completion_loss(model, tokenizer, DEMONSTRATIONS)
    config = dataclasses.replace(CONFIG, epochs=1.0, batch_size=8, micro_batch_size=8)
    history = train_sft(model, tokenizer, DEMONSTRATIONS, config)
    assert len(history) == 1
    # float32 forward; the trainer of transformers 4 rounds what it logs to four decimals
    tolerance = 1e-6 * expected if int(transformers.__version__[0]) >= 5 else 5.1e-5
    assert history[0]["loss"] == pytest.approx(expected, abs=tolerance)


def test_the_update_is_adam_on_the_gradient_of_that_loss(tokenizer):
    """First step of AdamW from its definition: −lr · g / (|g| + ε), after clipping by norm."""
    model, own = gpt2(), gpt2()
    config = dataclasses.replace(
        CONFIG, epochs=1.0, batch_size=8, micro_batch_size=8, warmup_fraction=0.0
    )
    train_sft(model, tokenizer, DEMONSTRATIONS, config)
    rows = encode_demonstrations(DEMONSTRATIONS, tokenizer, 40)
    batch = collate_completions(rows, tokenizer.pad_token_id)
    logp = own(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    logp = logp[:, :-1].log_softmax(-1).gather(2, batch["input_ids"][:, 1:, None]).squeeze(2)
    learnt = batch["labels"][:, 1:] != -100
    (-(logp * learnt).sum() / learnt.sum()).backward()
    gradients = {n: p.grad for n, p in own.named_parameters()}
    norm = torch.cat([g.flatten() for g in gradients.values()]).norm()
    scale = min(1.0, 1.0 / (norm.item() + 1e-6))
    compared = 0
    for name, before in weights(own).items():
        g = gradients[name] * scale
        expected = before - config.learning_rate * g / (g.abs() + 1e-8)
        # Where |g| is near float32 noise its sign, and so the step, is not determined.
        clear = g.abs() > 1e-4
        compared += int(clear.sum())
        torch.testing.assert_close(weights(model)[name][clear], expected[clear], rtol=0, atol=2e-6)
    assert compared > 5000


@pytest.mark.parametrize("micro", [1, 2])
def test_micro_batches_do_not_change_the_run(tokenizer, micro):
    whole, parts = gpt2(), gpt2()
    config = dataclasses.replace(CONFIG, epochs=1.0, learning_rate=1e-4)
    rows = [
        dataclasses.replace(d, completion=d.completion * (i % 2 + 1))
        for i, d in enumerate(DEMONSTRATIONS)
    ]
    first = train_sft(whole, tokenizer, rows, config)
    second = train_sft(parts, tokenizer, rows, dataclasses.replace(config, micro_batch_size=micro))
    assert [r["loss"] for r in second] == pytest.approx([r["loss"] for r in first], rel=2e-6)
    assert [r["grad_norm"] for r in second] == pytest.approx(
        [r["grad_norm"] for r in first], rel=2e-5
    )


@pytest.mark.parametrize("make", [gpt2, llama, gpt_neox])
def test_it_learns_the_completions_on_models_of_other_families(tokenizer, make):
    model = make()
    rows = Dataset.from_list(
        [{"prompt": d.prompt, "completion": d.completion} for d in DEMONSTRATIONS]
    )
    before = completion_loss(model, tokenizer, DEMONSTRATIONS)
    config = dataclasses.replace(CONFIG, epochs=60.0, batch_size=8, micro_batch_size=8)
    history = train_sft(model, tokenizer, rows, config)
    assert completion_loss(model, tokenizer, DEMONSTRATIONS) < 0.5 < 5 < before
    assert [row["step"] for row in history] == list(range(1, 61))
    assert not model.training


def test_the_model_is_left_without_hooks_of_the_trainer(tokenizer):
    model = gpt2()
    train_sft(model, tokenizer, DEMONSTRATIONS, dataclasses.replace(CONFIG, epochs=1.0))
    assert "forward" not in vars(model)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.transformer.wte.weight.zero_()
    ids = torch.tensor([[3, 4, 5]])
    assert torch.all(copied(input_ids=ids).logits == 0)
    assert not torch.all(model(input_ids=ids).logits == 0)


def test_lora_trains_the_adapters_only_and_resumes(tmp_path, tokenizer):
    peft = pytest.importorskip("peft")

    def wrapped():
        torch.manual_seed(1)
        return peft.get_peft_model(
            llama(),
            peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
        )

    model = wrapped()
    before = weights(model)
    train_sft(model, tokenizer, DEMONSTRATIONS, CONFIG, output_dir=tmp_path / "whole")
    changed = {n for n, w in weights(model).items() if not torch.equal(w, before[n])}
    assert changed and all("lora_" in name for name in changed)
    tensors, _ = load_checkpoint(latest_checkpoint(tmp_path / "whole"))
    assert all("lora_" in n for n in tensors if n.startswith("model."))
    again = wrapped()
    interrupted(again, tokenizer, tmp_path / "parts")
    again = wrapped()
    train_sft(again, tokenizer, DEMONSTRATIONS, CONFIG, output_dir=tmp_path / "parts")
    assert_same(again, model)


def interrupted(model, tokenizer, folder, at=5):
    def crash(step, metrics):
        if step == at:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        train_sft(model, tokenizer, DEMONSTRATIONS, CONFIG, output_dir=folder, callback=crash)


def test_resuming_equals_never_stopping_bit_for_bit(tmp_path, tokenizer):
    whole = gpt2()
    history = train_sft(whole, tokenizer, DEMONSTRATIONS, CONFIG, output_dir=tmp_path / "whole")
    interrupted(gpt2(), tokenizer, tmp_path / "parts")
    assert latest_checkpoint(tmp_path / "parts").name == "step-00000003"
    parts = gpt2(seed=9)  # weights come from the checkpoint
    resumed = train_sft(parts, tokenizer, DEMONSTRATIONS, CONFIG, output_dir=tmp_path / "parts")
    assert_same(parts, whole)
    assert resumed == history and [row["step"] for row in history] == list(range(1, 9))
    lines = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history

    done = gpt2(seed=10)
    assert (
        train_sft(done, tokenizer, DEMONSTRATIONS, CONFIG, output_dir=tmp_path / "parts") == history
    )
    assert_same(done, whole)


def test_dropout_resumes_exactly_too(tmp_path, tokenizer):
    def make():
        return gpt2(resid_pdrop=0.3)

    whole = make()
    train_sft(whole, tokenizer, DEMONSTRATIONS, CONFIG, output_dir=tmp_path / "whole")
    interrupted(make(), tokenizer, tmp_path / "parts")
    parts = make()
    train_sft(parts, tokenizer, DEMONSTRATIONS, CONFIG, output_dir=tmp_path / "parts")
    assert_same(parts, whole)


def test_ctrl_c_saves_at_the_end_of_the_step(tmp_path, tokenizer):
    def press(step, metrics):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    model = gpt2()
    stopped = train_sft(
        model, tokenizer, DEMONSTRATIONS, CONFIG, output_dir=tmp_path, callback=press
    )
    assert [row["step"] for row in stopped] == [1, 2, 3]
    assert latest_checkpoint(tmp_path).name == "step-00000003"
    whole = gpt2()
    train_sft(whole, tokenizer, DEMONSTRATIONS, CONFIG)
    train_sft(model, tokenizer, DEMONSTRATIONS, CONFIG, output_dir=tmp_path)
    assert_same(model, whole)


def test_the_same_seed_gives_the_same_model_and_another_one_another_order(tokenizer):
    models = [gpt2(), gpt2(), gpt2()]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        train_sft(model, tokenizer, DEMONSTRATIONS, dataclasses.replace(CONFIG, seed=seed))
    assert_same(models[0], models[1])
    assert not torch.equal(models[0].lm_head.weight, models[2].lm_head.weight)


def test_pretraining_text_is_mixed_in_as_a_share_of_the_rows(tokenizer):
    blocks = torch.full((5, 16), 200, dtype=torch.int32)
    config = dataclasses.replace(CONFIG, pretrain_mix=0.5, epochs=10.0)
    model = gpt2()
    history = train_sft(model, tokenizer, DEMONSTRATIONS, config, pretrain=blocks)
    assert len(history) == 10 * (8 + 8) / 4
    with torch.no_grad():
        probability = model(input_ids=blocks[:1].long()).logits.softmax(-1)[0, :-1, 200]
    assert probability.min() > 0.5  # every token of a block is learnt, its first successor too
    for wrong in (None, blocks.float(), blocks[0], blocks[:0]):
        with pytest.raises(InputError, match="^pretrain"):
            train_sft(gpt2(), tokenizer, DEMONSTRATIONS, config, pretrain=wrong)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([], "at least one row"),
        ([{"question": "a", "answer": "b"}], "text columns prompt and completion"),
        ([Demonstration("a", "")], "completion"),
        ([Demonstration("a" * 60, "b")], "row 0.*62 tokens.*max_length = 40"),
    ],
)
def test_demonstrations_that_cannot_be_used(tokenizer, rows, match):
    with pytest.raises(InputError, match=match):
        train_sft(gpt2(), tokenizer, rows, CONFIG)


def test_pad_equal_to_eos_is_refused():
    with pytest.raises(InputError, match="pad token that is not EOS"):
        train_sft(gpt2(), pad_is_eos(), DEMONSTRATIONS, CONFIG)


def test_a_row_longer_than_the_context_is_refused(tokenizer):
    config = dataclasses.replace(CONFIG, max_length=100)
    with pytest.raises(InputError, match="context of 64 tokens"):
        train_sft(gpt2(), tokenizer, [Demonstration("a" * 70, "b")], config)


def test_a_tokenizer_of_another_model_is_refused(tokenizer):
    with pytest.raises(InputError, match="embeddings"):
        train_sft(gpt2(vocab_size=40), tokenizer, DEMONSTRATIONS, CONFIG)


def test_a_frozen_model_is_refused(tokenizer):
    with pytest.raises(InputError, match="no trainable"):
        train_sft(gpt2().requires_grad_(False), tokenizer, DEMONSTRATIONS, CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        {"micro_batch_size": 3},
        {"batch_size": 0},
        {"learning_rate": -1.0},
        {"epochs": 0.0},
        {"pretrain_mix": 1.0},
        {"warmup_fraction": 2.0},
        {"max_length": 0},
    ],
)
def test_configurations_that_make_no_sense(change):
    with pytest.raises(InputError, match=next(iter(change))):
        dataclasses.replace(CONFIG, **change)


def test_a_folder_that_cannot_be_written_fails_before_the_first_step(tmp_path, tokenizer):
    (tmp_path / "file").write_text("")
    seen = []
    with pytest.raises(InputError, match="output_dir"):
        train_sft(
            gpt2(),
            tokenizer,
            DEMONSTRATIONS,
            CONFIG,
            output_dir=tmp_path / "file",
            callback=lambda s, m: seen.append(s),
        )
    assert seen == []


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path, tokenizer):
    config = dataclasses.replace(CONFIG, epochs=1.0)
    train_sft(gpt2(), tokenizer, DEMONSTRATIONS, config, output_dir=tmp_path)
    with pytest.raises(CheckpointError, match="learning_rate"):
        other = dataclasses.replace(config, learning_rate=0.5)
        train_sft(gpt2(), tokenizer, DEMONSTRATIONS, other, output_dir=tmp_path)
    with pytest.raises(CheckpointError, match="parameters of this model"):
        train_sft(llama(), tokenizer, DEMONSTRATIONS, config, output_dir=tmp_path)
    with pytest.raises(CheckpointError, match="these data"):  # as many, in another order
        train_sft(gpt2(), tokenizer, DEMONSTRATIONS[::-1], config, output_dir=tmp_path)
    file = latest_checkpoint(tmp_path) / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="SHA-256"):
        train_sft(gpt2(), tokenizer, DEMONSTRATIONS, config, output_dir=tmp_path)
    again = train_sft(gpt2(), tokenizer, DEMONSTRATIONS, config, output_dir=tmp_path, resume=False)
    assert [row["step"] for row in again] == [1, 2]


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path, tokenizer):
    model = gpt2()

    def poison(step, metrics):
        if step == 3:
            with torch.no_grad():
                model.transformer.wte.weight[:] = float("nan")

    with pytest.raises(DivergenceError, match="SFT.*step 4"):
        train_sft(model, tokenizer, DEMONSTRATIONS, CONFIG, output_dir=tmp_path, callback=poison)
    tensors, state = load_checkpoint(latest_checkpoint(tmp_path))
    assert state["step"] == 3 and all(t.isfinite().all() for t in tensors.values())


def test_nothing_is_printed_and_nothing_is_left_in_the_working_folder(
    tmp_path, tokenizer, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    train_sft(gpt2(), tokenizer, DEMONSTRATIONS, dataclasses.replace(CONFIG, epochs=1.0))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().out == ""
