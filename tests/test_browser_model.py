"""Files for the page. That a page computes the right thing from them: tests/browser."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rlhf_lab.browser_files import WHOLE, shipped_files, write_folder
from rlhf_lab.browser_model import (
    export_difference,
    export_for_browser,
    restored_policy,
    restored_weights,
)
from rlhf_lab.errors import InputError
from rlhf_lab.models import ASSETS, load_policy, merged_copy
from tiny_models import causal_lm

ROOT = Path(__file__).parents[1]


@pytest.fixture
def policy(tokenizer: Any) -> Any:
    return causal_lm(vocab_size=len(tokenizer))


def test_the_index_tells_size_and_hash_of_every_file(
    policy: Any, tokenizer: Any, tmp_path: Path
) -> None:
    path = export_for_browser(policy, tokenizer, tmp_path / "new" / "model")
    index = json.loads(path.read_text(encoding="utf-8"))
    assert index["format"] == "rlhf_lab.browser_model/1"
    assert {p.name for p in path.parent.iterdir()} == {"index.json", *index["files"]}
    for name, entry in index["files"].items():
        data = (path.parent / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_every_weight_is_there_once(
    policy: Any, tokenizer: Any, tmp_path: Path, dtype: torch.dtype
) -> None:
    export_for_browser(policy, tokenizer, tmp_path, dtype=dtype)
    found = load_file(tmp_path / "model.safetensors")
    expected = {name: p.detach().to(dtype) for name, p in policy.named_parameters()}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    assert policy.lm_head.weight.dtype == torch.float32  # the policy itself is left alone


def test_what_the_configuration_leaves_to_defaults_is_written_out(
    policy: Any, tokenizer: Any, tmp_path: Path
) -> None:
    export_for_browser(policy, tokenizer, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8")) == {
        "vocab_size": len(tokenizer),
        "n_positions": 64,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "n_inner": 128,
        "eos_token_id": tokenizer.eos_token_id,
    }


def test_tiny_fits_the_budget_of_a_page(tmp_path: Path) -> None:
    policy, tokenizer = load_policy("tiny")
    path = export_for_browser(policy, tokenizer, tmp_path)
    files = json.loads(path.read_text(encoding="utf-8"))["files"]
    assert sum(entry["bytes"] for entry in files.values()) <= 3_000_000


def test_adapters_are_merged(policy: Any, tokenizer: Any, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra [peft]")
    wrapped = peft.get_peft_model(policy, peft.LoraConfig(r=2, target_modules=["c_attn"]))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.5)
    export_for_browser(wrapped, tokenizer, tmp_path, dtype=torch.float32)
    found = load_file(tmp_path / "model.safetensors")
    merged = dict(merged_copy(wrapped).named_parameters())
    assert found.keys() == merged.keys()
    assert all(torch.equal(found[name], weight) for name, weight in merged.items())


@pytest.mark.parametrize(
    ("config", "argument"),
    [
        ({"activation_function": "relu"}, "activation_function"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"scale_attn_weights": False}, "scale_attn_weights"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
    ],
)
def test_what_the_page_cannot_compute_is_refused(
    tokenizer: Any, tmp_path: Path, config: dict[str, Any], argument: str
) -> None:
    policy = causal_lm(vocab_size=len(tokenizer), **config)
    with pytest.raises(InputError) as caught:
        export_for_browser(policy, tokenizer, tmp_path)
    assert caught.value.argument == f"policy.config.{argument}"
    assert list(tmp_path.iterdir()) == []


def test_other_architectures_and_dtypes_are_refused(
    policy: Any, tokenizer: Any, tmp_path: Path
) -> None:
    llama = causal_lm("llama", vocab_size=len(tokenizer))
    with pytest.raises(InputError, match="llama"):
        export_for_browser(llama, tokenizer, tmp_path)
    with pytest.raises(InputError, match="bfloat16"):
        export_for_browser(policy, tokenizer, tmp_path, dtype=torch.bfloat16)


def test_a_weight_beyond_float16_is_named(policy: Any, tokenizer: Any, tmp_path: Path) -> None:
    with torch.no_grad():
        policy.transformer.h[1].mlp.c_fc.bias[3] = 70_000
    with pytest.raises(InputError, match=r"transformer\.h\.1\.mlp\.c_fc\.bias"):
        export_for_browser(policy, tokenizer, tmp_path)
    export_for_browser(policy, tokenizer, tmp_path, dtype=torch.float32)


def test_an_export_that_breaks_off_leaves_no_index(
    policy: Any, tokenizer: Any, tmp_path: Path
) -> None:
    export_for_browser(policy, tokenizer, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").mkdir()  # nothing can be written there
    with pytest.raises(InputError, match="output_dir"):
        export_for_browser(policy, tokenizer, tmp_path)
    assert not (tmp_path / "index.json").exists()
    assert not list(tmp_path.glob("*.tmp"))


def test_a_folder_that_is_a_file(policy: Any, tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("")
    with pytest.raises(InputError, match="output_dir"):
        export_for_browser(policy, tokenizer, tmp_path / "model")


def test_a_shipped_model_is_copied_as_it_would_be_exported(tmp_path: Path) -> None:
    policy, tokenizer = load_policy("tiny")
    export_for_browser(policy, tokenizer, tmp_path / "exported")
    write_folder(tmp_path / "copied", WHOLE, shipped_files(ASSETS / "tiny"))
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("exported", "copied"))
    assert one.keys() == two.keys()
    assert all(torch.equal(weight, two[name]) for name, weight in one.items())
    one, two = (
        json.loads((tmp_path / name / "config.json").read_text()) for name in ("exported", "copied")
    )
    assert one == two


def test_a_published_policy_is_ready_for_use() -> None:
    """Its weights are float16 of the shipped ones and whole numbers times a scale of each row."""
    folder = ROOT / "book/results/quickstart/models/sft"
    policy, _ = restored_policy(folder, "tiny")
    base, _ = load_policy("tiny")
    changes = load_file(folder / "difference.safetensors")
    shipped = dict(base.named_parameters())
    for name, weight in policy.named_parameters():
        change = changes[name].float()
        if change.ndim > 1:
            change = change * changes[f"{name}.scale"][:, None]
        assert torch.equal(weight, shipped[name].half().float() + change), name
    assert policy.lm_head.weight is policy.transformer.wte.weight


class TestDifferences:
    @pytest.fixture
    def base(self, policy: Any, tokenizer: Any, tmp_path: Path) -> Path:
        export_for_browser(policy, tokenizer, tmp_path / "base")
        return tmp_path / "base"

    @pytest.fixture
    def trained(self, policy: Any) -> Any:
        """The policy moved, most rows by about 0.01, one of them not at all."""
        generator = torch.Generator().manual_seed(1)
        row = policy.transformer.wte.weight[5].detach().half().float()
        with torch.no_grad():
            for weight in policy.parameters():
                weight += 0.01 * torch.randn(weight.shape, generator=generator)
            policy.transformer.wte.weight[5] = row
        return policy

    def test_every_weight_comes_back_within_half_a_step(
        self, base: Path, trained: Any, tmp_path: Path
    ) -> None:
        export_difference(trained, base, tmp_path / "new")
        found = restored_weights(tmp_path / "new", base)
        start = load_file(base / "model.safetensors")
        for name, weight in trained.named_parameters():
            change = (weight - start[name].float()).abs()
            step = change.amax(1, keepdim=True) / 127 if weight.ndim > 1 else 0 * change
            assert ((found[name] - weight).abs() <= step / 2 + 1e-7).all(), name

    def test_a_model_that_is_the_base_is_restored_exactly(
        self, base: Path, policy: Any, tmp_path: Path
    ) -> None:
        start = {k: v.float() for k, v in load_file(base / "model.safetensors").items()}
        policy.load_state_dict(start, strict=False)
        export_difference(policy, base, tmp_path / "new")
        found = restored_weights(tmp_path / "new", base)
        assert all(torch.equal(found[name], weight) for name, weight in start.items())

    def test_it_is_a_quarter_of_the_weights(self, base: Path, trained: Any, tmp_path: Path) -> None:
        export_difference(trained, base, tmp_path / "new")
        size = (tmp_path / "new/difference.safetensors").stat().st_size
        assert size < 0.4 * 4 * sum(weight.numel() for weight in trained.parameters())

    def test_another_base_or_a_changed_file_is_refused(
        self, base: Path, trained: Any, tokenizer: Any, tmp_path: Path
    ) -> None:
        export_difference(trained, base, tmp_path / "new")
        export_for_browser(trained, tokenizer, tmp_path / "other")
        with pytest.raises(InputError) as caught:
            restored_weights(tmp_path / "new", tmp_path / "other")
        assert caught.value.argument == "base"
        path = tmp_path / "new/difference.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(InputError, match=r"difference\.safetensors"):
            restored_weights(tmp_path / "new", base)
        with pytest.raises(InputError, match="browser_difference"):
            export_difference(trained, tmp_path / "new", tmp_path / "third")

    def test_a_policy_of_other_shapes_is_refused(
        self, base: Path, tokenizer: Any, tmp_path: Path
    ) -> None:
        wider = causal_lm(vocab_size=len(tokenizer), width=64)
        with pytest.raises(InputError) as caught:
            export_difference(wider, base, tmp_path / "new")
        assert caught.value.argument == "policy"
        assert not (tmp_path / "new").exists()

    def test_weights_that_are_not_finite_are_refused(
        self, base: Path, trained: Any, tmp_path: Path
    ) -> None:
        with torch.no_grad():
            trained.transformer.ln_f.bias[0] = float("nan")
        with pytest.raises(InputError, match=r"transformer\.ln_f\.bias"):
            export_difference(trained, base, tmp_path / "new")
