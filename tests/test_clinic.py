"""Every planted bug moves its examination beyond noise, and the sound loop moves none."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math

import pytest
import torch

from rlhf_lab import clinic, objectives, rollout
from rlhf_lab.checks import bug_clinic
from rlhf_lab.config import PPOConfig
from rlhf_lab.encoding import encode_prompts
from rlhf_lab.errors import InputError
from rlhf_lab.models import ScalarModel, load_policy, reward_function
from rlhf_lab.pipeline import web_blocks
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.world import World

PPO = PPOConfig(
    batch_size=16, minibatches=1, ptx_ratio=0.5, max_response_length=14, learning_rate=0.0,
    checkpoint_every=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def parts():
    """The base model, its judge, prompts and pretraining blocks, and an older checkpoint."""
    policy, tokenizer = load_policy("tiny")
    world = World(0)
    older = copy.deepcopy(policy)
    with torch.no_grad():
        older.transformer.wpe.weight.mul_(0.9)
    texts = [prompt.text for prompt in world.prompts("train", 32)]
    return {
        "policy": policy,
        "older": older,
        "examiner": ScalarModel.load("tiny-examiner"),
        "tokenizer": tokenizer,
        "prompts": encode_prompts(tokenizer, texts),
        "blocks": web_blocks(world, tokenizer, 20, 64),
    }


@pytest.fixture(scope="module")
def make(parts):
    def trainer(**changes):
        return PPOTrainer(
            copy.deepcopy(parts["policy"]),
            parts["policy"],
            reward_function(parts["examiner"]),
            parts["examiner"].copy(),
            parts["tokenizer"],
            parts["prompts"],
            parts["blocks"],
            dataclasses.replace(PPO, **changes),
            quiet=True,
        )

    return trainer


BUGS = {
    "top_k_sampler": clinic.missing_tail,
    "dropout_in_rollout": clinic.replay,
    "late_index": clinic.rescored,
    "unmasked_whitening": clinic.centred,
    "stale_reference": clinic.kl_at_start,
    "flipped_kl": clinic.charge,
    "misplaced_score": clinic.score_place,
    "leaking_value": clinic.foresight,
    "summed_ptx": clinic.micro_batches,
}


def planted(name, parts):
    bug = getattr(clinic, name)
    return bug(parts["older"]) if name == "stale_reference" else bug()


@pytest.mark.parametrize("examination", clinic.LIMITS, ids=lambda e: e.__name__)
def test_the_sound_loop_moves_nothing(make, examination):
    assert 0 <= examination(make) <= clinic.LIMITS[examination]


@pytest.mark.parametrize("name", BUGS)
def test_each_bug_moves_its_examination_beyond_noise(make, parts, name):
    examination = BUGS[name]
    limit = clinic.LIMITS[examination]
    with planted(name, parts):
        found = examination(make)
    # Three times what a sampler may do by chance; ten times what rounding may do at most.
    assert found > (3 if examination is clinic.missing_tail else 10) * limit


@pytest.mark.parametrize("name", ["dropout_in_rollout", "late_index"])
def test_surprise_is_moved_by_tokens_that_the_policy_did_not_draw(make, parts, name):
    torch.manual_seed(0)
    with planted(name, parts):
        assert clinic.surprise(make) > clinic.LIMITS[clinic.surprise]


@pytest.mark.parametrize("name", BUGS)
def test_the_first_ratio_sees_none_of_them(make, parts, name):
    with planted(name, parts):
        assert clinic.first_ratio(make) <= clinic.LIMITS[clinic.first_ratio]


def test_the_first_ratio_sees_dropout_in_the_update_alone(make):
    def awake(**changes):
        trainer = make(**changes)
        update = trainer._update

        def update_in_training_mode(*args):
            for layer in trainer.policy.modules():
                if isinstance(layer, torch.nn.Dropout):
                    layer.p = 0.02
            trainer.policy.train()
            return update(*args)

        trainer._update = update_in_training_mode
        return trainer

    with pytest.raises(InputError, match="approx-KL .* before the first step"):
        clinic.first_ratio(awake)


def test_sizes_that_are_known_beforehand(make):
    with clinic.summed_ptx():
        pieces = PPO.ptx_minibatch_size / 2
        assert clinic.micro_batches(make) == pytest.approx(math.log(pieces), abs=1e-4)
    with clinic.misplaced_score():
        assert clinic.score_place(make) == pytest.approx(1, abs=1e-5)
    found = clinic.episodes(clinic.moved(make()))
    with clinic.flipped_kl():
        paid = 2 * (found.logprobs - found.ref_logprobs).abs().max()
        assert clinic.charge(make) == pytest.approx(float(paid), rel=1e-4)


def test_a_bug_leaves_nothing_behind(parts):
    before = (
        rollout.sample, rollout.response_states, objectives.masked_whiten,
        objectives.shaped_rewards, PPOTrainer.__init__, PPOTrainer._backward_ptx,
    )  # fmt: skip
    for name in BUGS:
        with contextlib.suppress(ZeroDivisionError), planted(name, parts):
            raise ZeroDivisionError
    after = (
        rollout.sample, rollout.response_states, objectives.masked_whiten,
        objectives.shaped_rewards, PPOTrainer.__init__, PPOTrainer._backward_ptx,
    )  # fmt: skip
    assert before == after


# --- the ward of the lab --------------------------------------------------------------------------


def bed_of(condition):
    return bug_clinic.PATIENTS[bug_clinic._BEDS.index(condition)]


@pytest.mark.parametrize("condition", ["KL sign", "late value", "summed mix"])
def test_a_patient_alarms_the_examination_that_the_lab_names(make, condition):
    examination = getattr(clinic, bug_clinic._ALARMS[condition])
    with bug_clinic.patient(bed_of(condition)):
        assert examination(make) > 10 * clinic.LIMITS[examination]


@pytest.mark.parametrize("condition", ["moving reference", "neighbour's score"])
def test_two_patients_pass_all_eleven(make, condition):
    with bug_clinic.patient(bed_of(condition)):
        found = {examination: examination(make) for examination in clinic.LIMITS}
    assert all(0 <= number <= clinic.LIMITS[e] for e, number in found.items())


def test_a_reference_that_moves_along_is_never_left(make):
    with bug_clinic.patient(bed_of("moving reference")):
        moved = make(learning_rate=1e-3, warmup_steps=0)
        moved.iterate(0)
        assert moved.iterate(1)["objective/kl"] == 0
    sound = make(learning_rate=1e-3, warmup_steps=0)
    sound.iterate(0)
    assert sound.iterate(1)["objective/kl"] > 1e-3


def test_an_answer_gets_its_neighbours_score(make):
    with bug_clinic.patient(bed_of("neighbour's score")):
        ill = clinic.episodes(make(), 4)
    sound = clinic.episodes(make(), 4)
    assert torch.equal(ill.response_ids, sound.response_ids)
    assert torch.equal(ill.scores, sound.scores[[3, 0, 1, 2]])
