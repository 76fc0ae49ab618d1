"""The chain: what its reward model starts from."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rlhf_lab import pipeline
from rlhf_lab.config import ChainConfig
from rlhf_lab.errors import CheckpointError, InputError
from rlhf_lab.models import ScalarModel, load_policy
from rlhf_lab.pipeline import Chain, reward_start
from tiny_models import causal_lm


@pytest.fixture
def assets(tmp_path, monkeypatch):
    """A package that ships no examiner yet."""
    monkeypatch.setattr(pipeline, "ASSETS", tmp_path / "assets")
    return tmp_path / "assets"


def test_a_reward_model_starts_as_told_or_as_examiner_or_as_sft_policy(assets):
    models = ("tiny", "base", "some/model")
    assert [reward_start(ChainConfig(model=model)) for model in models] == ["sft"] * 3
    (assets / "tiny-examiner").mkdir(parents=True)
    starts = [reward_start(ChainConfig(model=model)) for model in models]
    assert starts == ["tiny-examiner", "sft", "sft"]
    for told in ("sft", "runs/rm/final"):
        for model in models:
            assert reward_start(ChainConfig(model=model, reward_start=told)) == told


@pytest.fixture
def begun(fernwick_model, tmp_path, monkeypatch):
    """Give the reward model that a chain with this start begins to train."""
    seen = []
    monkeypatch.setattr(
        pipeline, "train_reward_model", lambda model, *_, **__: seen.append(model.copy())
    )

    def begin(start: str) -> tuple[Chain, ScalarModel]:
        config = ChainConfig(model=str(fernwick_model), reward_start=start, seed=5)
        chain = Chain(config, tmp_path / "chain", quiet=True)
        # Neither is made: what is trained on does not matter here.
        chain.sft, chain.rankings, chain.demonstrations = load_policy(fernwick_model)[0], [], []
        _ = chain.reward_model
        return chain, seen[-1]

    return begin


def assert_same(model: ScalarModel, other: ScalarModel) -> None:
    weights, others = model.state_dict(), other.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.parametrize("start", ["", "sft"])
def test_without_an_examiner_it_begins_as_the_sft_policy(begun, start):
    chain, model = begun(start)
    seed = chain.config.rm.seed + 5
    assert_same(model, ScalarModel.from_policy(chain.sft, seed=seed))


def test_it_begins_as_the_model_in_a_folder(begun, fernwick_model, tmp_path):
    examiner = ScalarModel.from_policy(load_policy(fernwick_model)[0], seed=9)
    examiner.save(tmp_path / "examiner")
    _, model = begun(str(tmp_path / "examiner"))
    assert_same(model, examiner)


def test_a_start_that_cannot_be_used_is_refused(begun, tmp_path):
    with pytest.raises(CheckpointError, match="nothing"):
        begun(str(tmp_path / "nothing"))


def test_a_start_with_other_words_is_refused(begun, tmp_path):
    ScalarModel.from_policy(causal_lm(vocab_size=70), seed=0).save(tmp_path / "other")
    with pytest.raises(InputError, match="words, not 70") as error:
        begun(str(tmp_path / "other"))
    assert error.value.argument == "reward_start"
    assert not (tmp_path / "chain/rm/final").exists()


def test_another_start_is_another_chain(begun, fernwick_model, tmp_path):
    """The folder keeps one result: it is not handed out for another start."""
    chain, _ = begun("sft")
    other = dataclasses.replace(chain.config, reward_start=str(fernwick_model))
    with pytest.raises(CheckpointError, match="reward_start"):
        Chain(other, chain.folder)
