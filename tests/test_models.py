"""Scalar models, padding invariance, EMA, loading and saving; three architectures, LoRA."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from transformers import LlamaForCausalLM

from rlhf_lab import models as M
from rlhf_lab.errors import CheckpointError, InputError
from tiny_models import EOS, FAMILIES, PAD, causal_lm


def make(family: str, seed: int = 0, **shape: int) -> torch.nn.Module:
    return causal_lm(family, seed, vocab_size=64, **shape).double()


def lora(model: torch.nn.Module, trained: bool = True) -> torch.nn.Module:
    from peft import LoraConfig, get_peft_model

    names = [n for n, _ in model.named_modules()]
    targets = ["c_attn"] if any("c_attn" in n for n in names) else ["q_proj", "v_proj"]
    wrapped = get_peft_model(model, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
    if trained:  # B starts at 0: make the adapter matter
        torch.manual_seed(5)
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.3)
    return wrapped.eval()


@pytest.fixture(params=FAMILIES)
def model(request):
    return make(request.param)


def padded(row: list[int], left: int, right: int) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.tensor([[PAD] * left + row + [PAD] * right])
    mask = torch.tensor([[0] * left + [1] * len(row) + [0] * right])
    return tokens, mask


ROW = [5, 9, 33, 2, 60, 17]


def test_position_ids_count_real_tokens():
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])
    assert M.position_ids(mask).tolist() == [[0, 0, 0, 1], [0, 1, 2, 2]]


def test_align_moves_real_tokens_to_the_front():
    tokens = torch.tensor([[9, 9, 3, 4, 9, 9], [5, 6, 7, 9, 9, 9]])
    mask = torch.tensor([[0, 0, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]])
    found, lengths = M.align(tokens, mask)
    assert lengths.tolist() == [2, 3]
    assert found[0, :2].tolist() == [3, 4]
    assert found[1].tolist() == [5, 6, 7]


def test_score_does_not_depend_on_padding_or_on_the_batch(model):
    scalar = M.ScalarModel.from_policy(model, 0)
    alone = scalar.scores(*padded(ROW, 0, 0))
    for left, right in [(3, 0), (0, 4), (2, 2)]:
        torch.testing.assert_close(
            scalar.scores(*padded(ROW, left, right)), alone, rtol=0, atol=1e-9
        )
    tokens = torch.full((3, 9), 7)
    tokens[1, 3:] = torch.tensor(ROW)
    mask = torch.ones(3, 9, dtype=torch.int64)
    mask[1, :3] = 0
    torch.testing.assert_close(scalar.scores(tokens, mask)[1:2], alone, rtol=0, atol=1e-9)
    other = scalar.scores(*padded([*ROW[:-1], 18], 0, 0))
    assert (other - alone).abs() > 1e-3


def test_forward_gives_a_scalar_everywhere_for_left_padded_rows_too(model):
    scalar = M.ScalarModel.from_policy(model, 0)
    plain = scalar(torch.tensor([ROW]))
    tokens, mask = padded(ROW, 3, 0)
    found = scalar(tokens, mask)
    assert found.shape == (1, 9)
    torch.testing.assert_close(found[:, 3:], plain, rtol=0, atol=1e-9)


def test_bias_shifts_every_score(model):
    scalar = M.ScalarModel.from_policy(model, 0)
    before = scalar.scores(*padded(ROW, 0, 0))
    scalar.bias.fill_(-2.5)
    torch.testing.assert_close(scalar.scores(*padded(ROW, 0, 0)), before - 2.5)
    assert "bias" not in M.trainable(scalar)


def test_head_scale_and_seed():
    policy = make("gpt2")
    a, b = M.ScalarModel.from_policy(policy, 3), M.ScalarModel.from_policy(policy, 3)
    assert torch.equal(a.head.weight, b.head.weight)
    assert not torch.equal(a.head.weight, M.ScalarModel.from_policy(policy, 4).head.weight)
    weights = torch.cat([M.ScalarModel.from_policy(policy, s).head.weight for s in range(60)])
    # 1,920 draws: the standard error of a deviation is 1.6 %, five of them are 8 %
    assert weights.std().item() == pytest.approx(1 / 33**0.5, rel=0.08)
    assert a.head.bias.item() == 0


def test_from_policy_and_copy_share_nothing(model):
    scalar = M.ScalarModel.from_policy(model, 0)
    copied = scalar.copy()
    with torch.no_grad():
        for weight in scalar.parameters():
            weight.add_(1.0)
    for a, b in zip(model.base_model.parameters(), copied.backbone.parameters(), strict=True):
        assert torch.equal(a, b)


def test_scalar_model_survives_disk(model, tmp_path):
    scalar = M.ScalarModel.from_policy(model, 0)
    scalar.bias.fill_(0.125)
    scalar.save(tmp_path / "rm")
    scalar.save(tmp_path / "rm")  # replaces
    loaded = M.ScalarModel.load(tmp_path / "rm", dtype=torch.float64)
    assert {p.name for p in tmp_path.iterdir()} == {"rm"}
    inputs = padded(ROW, 2, 0)
    assert torch.equal(loaded.scores(*inputs), scalar.scores(*inputs))
    told = json.loads((tmp_path / "rm/scalar.json").read_text())
    assert told == scalar.shape == {"kind": "rlhf_lab.ScalarModel", "width": 32}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_weights_are_loaded_in_the_type_asked_for_float32_by_default(tmp_path, dtype):
    scalar = M.ScalarModel.from_policy(make("gpt2"), 0)  # float64
    scalar.bias.fill_(0.1)
    scalar.save(tmp_path / "rm")
    loaded = M.ScalarModel.load(tmp_path / "rm", dtype=dtype)
    plain = M.ScalarModel.load(tmp_path / "rm")
    for name, weight in scalar.named_parameters():
        assert torch.equal(loaded.get_parameter(name), weight.to(dtype)), name
        assert loaded.get_parameter(name).dtype == dtype
        assert torch.equal(plain.get_parameter(name), weight.float()), name
    assert loaded.bias.dtype == torch.float32 and torch.equal(loaded.bias, scalar.bias)


def test_shipped_reward_models_are_loaded_by_name(tmp_path, monkeypatch):
    """From the package's own folder, whatever lies under that name where the user is."""
    assert M.EXAMINERS == {"tiny": "tiny-examiner", "base": "base-examiner"}
    scalar, other = (M.ScalarModel.from_policy(make("gpt2", s).float(), s) for s in (0, 1))
    scalar.save(tmp_path / "assets/tiny-examiner")
    other.save(tmp_path / "tiny-examiner")
    monkeypatch.setattr(M, "ASSETS", tmp_path / "assets")
    monkeypatch.chdir(tmp_path)
    inputs = padded(ROW, 0, 0)
    assert torch.equal(M.ScalarModel.load("tiny-examiner").scores(*inputs), scalar.scores(*inputs))
    assert torch.equal(M.ScalarModel.load("./tiny-examiner").scores(*inputs), other.scores(*inputs))
    with pytest.raises(CheckpointError, match="base-examiner"):
        M.ScalarModel.load("base-examiner")


def test_begin_as_copies_one_row_and_nothing_else(model):
    scalar = M.ScalarModel.from_policy(model, 0)
    policy = {name: weight.clone() for name, weight in model.state_dict().items()}
    expected = {name: value.clone() for name, value in scalar.state_dict().items()}
    names = ("wte.weight", "embed_tokens.weight", "embed_in.weight")
    (table,) = (value for name, value in expected.items() if name.endswith(names))
    assert not torch.equal(table[EOS], table[40])
    table[EOS] = table[40]
    scalar.begin_as(EOS, 40)
    assert all(torch.equal(v, expected[name]) for name, v in scalar.state_dict().items())
    assert all(torch.equal(v, policy[name]) for name, v in model.state_dict().items())
    ends = [scalar.scores(*padded([*ROW, last], 0, 0)) for last in (EOS, 40)]
    assert torch.equal(*ends)  # at the end of a text, as behind the other token
    scalar.scores(*padded([*ROW, EOS], 0, 0)).sum().backward()
    moved = scalar.backbone.get_input_embeddings().weight.grad.abs().sum(1)
    assert moved[EOS] > 0 == moved[40]  # a start only: each is trained by itself


def test_a_reward_model_of_another_vocabulary_is_refused():
    policy, wider = make("gpt2"), causal_lm(vocab_size=65)
    scalar = M.ScalarModel.from_policy(policy, 0)
    M.require_same_vocabulary(scalar, policy, "start", "folder")
    with pytest.raises(InputError, match=r"65 words, not 64") as error:
        M.require_same_vocabulary(scalar, wider, "start", "folder")
    assert (error.value.argument, error.value.value) == ("start", "folder")
    assert "\n" not in str(error.value)


def test_damaged_scalar_model(tmp_path):
    M.ScalarModel.from_policy(make("gpt2"), 0).save(tmp_path / "rm")
    weights = tmp_path / "rm" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="ScalarModel.save"):
        M.ScalarModel.load(tmp_path / "rm")
    with pytest.raises(CheckpointError):
        M.ScalarModel.load(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_lora_policy_is_merged_into_the_scalar_model(kind):
    wrapped = lora(make(kind))
    scalar = M.ScalarModel.from_policy(wrapped, 0)
    tokens = torch.tensor([ROW])
    hidden = wrapped(input_ids=tokens, output_hidden_states=True).hidden_states[-1]
    wanted = hidden @ scalar.head.weight[0]
    torch.testing.assert_close(scalar(tokens), wanted, rtol=0, atol=1e-9)
    assert all(p.requires_grad for p in scalar.parameters())
    assert isinstance(wrapped, type(lora(make(kind))))  # the original keeps its adapter


def test_policy_logits_equal_the_whole_forward(model):
    tokens = torch.tensor([ROW, ROW[::-1]])
    logits = M.PolicyLogits(model)
    assert logits.direct
    whole = model(input_ids=tokens).logits
    torch.testing.assert_close(logits(tokens), whole, rtol=0, atol=1e-12)
    at = torch.tensor([2, 5, 7])
    torch.testing.assert_close(logits(tokens, at), whole.flatten(0, 1)[at], rtol=0, atol=1e-12)


def test_policy_logits_of_lora_and_of_a_model_that_caps_its_logits():
    tokens, at = torch.tensor([ROW]), torch.tensor([1, 4])
    wrapped = lora(make("llama"))
    logits = M.PolicyLogits(wrapped)
    assert logits.direct
    torch.testing.assert_close(logits(tokens), wrapped(input_ids=tokens).logits)

    class Capped(LlamaForCausalLM):
        def forward(self, *args, **kwargs):
            out = super().forward(*args, **kwargs)
            out.logits = 0.1 * torch.tanh(out.logits / 0.1)
            return out

    capped = Capped(make("llama").config).double().eval()
    logits = M.PolicyLogits(capped)
    assert not logits.direct
    whole = capped(input_ids=tokens).logits
    torch.testing.assert_close(logits(tokens, at), whole[0, at])


def test_reward_function_equals_scores_one_by_one(model):
    scalar = M.ScalarModel.from_policy(model, 0)
    prompts = torch.tensor([[PAD, PAD, 4, 5], [6, 7, 8, 9], [PAD, 3, PAD, 2]])
    responses = torch.tensor([[8, EOS, PAD], [9, 9, 9], [EOS, PAD, PAD]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]])
    found = M.reward_function(scalar, batch_size=2)(prompts, responses, mask)
    rows = [[4, 5, 8, EOS], [6, 7, 8, 9, 9, 9, 9], [3, PAD, 2, EOS]]
    wanted = torch.cat([scalar.scores(*padded(row, 0, 0)) for row in rows])
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-6)  # scores are float32
    assert not found.requires_grad


def test_dropout_is_off_and_gelu_keeps_its_values():
    model = make("gpt2", layers=1, positions=16)
    tokens = torch.tensor([ROW])
    wanted = model(input_ids=tokens).logits
    prepared = M._prepare(model)
    torch.testing.assert_close(prepared(input_ids=tokens).logits, wanted, rtol=0, atol=1e-12)
    assert torch.equal(prepared.train()(tokens).logits, prepared.eval()(tokens).logits)
    assert not any("NewGELU" in type(m).__name__ for m in prepared.modules())


def test_ema_is_the_recursion_and_copies_back():
    model = make("gpt2")
    start = {n: p.detach().clone() for n, p in M.trainable(model).items()}
    ema = M.EMA(model, 0.9)
    for step in (1.0, 2.0):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(step)
        ema.update(model)
    target = copy.deepcopy(model)
    ema.copy_to(target)
    for name, weight in M.trainable(target).items():
        one = 0.9 * start[name] + 0.1 * (start[name] + 1)
        torch.testing.assert_close(weight, 0.9 * one + 0.1 * (start[name] + 3))
    current = M.EMA(model, 0.0)
    with torch.no_grad():
        model.lm_head.weight.add_(1)
    current.update(model)
    name = next(n for n in current.shadow if "wte" in n)
    assert torch.equal(current.shadow[name], model.lm_head.weight)


# --- loading ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<|endoftext|>": 0, "<|pad|>": 1, "<unk>": 2, "a": 3, "b": 4}
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()

    def build(**special):
        return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", **special)

    return build


def save(folder, tokenizer, vocab=64, model=None):
    model = model or causal_lm(  # with GPT-2's own special tokens, as GPT2Config has them
        layers=1, positions=16, vocab_size=vocab, eos_token_id=50256, pad_token_id=None
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def test_load_and_save_policy(tmp_path, tokenizer):
    ready = tokenizer(eos_token="<|endoftext|>", pad_token="<|pad|>")
    made = save(tmp_path / "sft", ready)
    model, loaded = M.load_policy(tmp_path / "sft")
    assert loaded.pad_token_id == 1 != loaded.eos_token_id == 0
    assert model.config.pad_token_id == 1
    assert not model.training
    tokens = torch.tensor([[3, 4, 3]])
    torch.testing.assert_close(model(tokens).logits, made.eval()(tokens).logits, rtol=0, atol=1e-5)
    M.save_policy(lora(model), loaded, tmp_path / "ppo")
    again, _ = M.load_policy(tmp_path / "ppo")
    torch.testing.assert_close(again(tokens).logits, model(tokens).logits, rtol=0, atol=1e-5)
    assert {p.name for p in tmp_path.iterdir()} == {"sft", "ppo"}


@pytest.mark.parametrize("pad", [None, "<|endoftext|>"])
@pytest.mark.parametrize("vocab", [3, 64])
def test_a_missing_pad_token_is_added_and_not_sampled(tmp_path, tokenizer, pad, vocab):
    special = {"eos_token": "<|endoftext|>"} | ({"pad_token": pad} if pad else {})
    save(tmp_path / "m", tokenizer(**special), vocab=max(vocab, 5))
    model, loaded = M.load_policy(tmp_path / "m")
    assert loaded.pad_token_id not in (None, loaded.eos_token_id)
    assert model.get_input_embeddings().weight.shape[0] > loaded.pad_token_id
    p = model(torch.tensor([[3, 4]])).logits.softmax(-1)
    assert torch.isfinite(p).all()
    assert p[..., loaded.pad_token_id].max() < 0.5


def test_load_errors_are_one_line(tmp_path, tokenizer):
    with pytest.raises(InputError, match="check the path"):
        M.load_policy(tmp_path / "missing")
    with pytest.raises(InputError, match="check the path"):
        M.load_policy(tmp_path / "missing.gguf")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        M.load_policy(tmp_path / "empty")
    save(tmp_path / "cut", tokenizer(eos_token="<|endoftext|>", pad_token="<|pad|>"))
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(InputError) as error:
        M.load_policy(tmp_path / "cut")
    assert "\n" not in str(error.value)
    save(tmp_path / "endless", tokenizer(pad_token="<|pad|>"))
    with pytest.raises(InputError, match="EOS"):
        M.load_policy(tmp_path / "endless")
