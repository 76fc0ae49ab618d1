"""A run that was stopped, interrupted or killed ends bit for bit like one that was not."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from processes import bare_processes

from rlhf_lab.checkpoints import latest_checkpoint, load_checkpoint
from rlhf_lab.errors import CheckpointError
from rlhf_lab.models import ScalarModel
from rlhf_lab.ppo import PPOConfig, PPOTrainer
from rlhf_lab.tracking import read_metrics
from tiny_models import SPECIAL_TOKENS, causal_lm

WORDS = 16
PROMPTS = [[7, 3, 9], [8], [4, 4, 6], [3, 15], [5, 11], [9, 9], [13]]
BLOCKS = torch.randint(2, WORDS, (10, 6), generator=torch.Generator().manual_seed(9))
SETTINGS = {
    "minibatches": 2,
    "batch_size": 4,
    "max_response_length": 4,
    "gamma": 0.3,
    "kl_controller": "adaptive",
    "kl_target": 0.01,
    "kl_horizon": 50,
    "warmup_steps": 3,
    "learning_rate": 3e-3,
    "checkpoint_every": 1,
}


def make() -> torch.nn.Module:
    return causal_lm(vocab_size=WORDS, width=8, layers=1, heads=1, positions=16)


def trainer(folder, steps, callback=None, *, read=(PROMPTS, BLOCKS), **settings) -> PPOTrainer:
    return PPOTrainer(
        make(),
        make(),
        lambda p, r, m: ((r == 5) * m).sum(1).float(),
        ScalarModel.from_policy(make(), 0),
        SPECIAL_TOKENS,
        *read,
        PPOConfig(**(SETTINGS | {"steps": steps} | settings)),
        output_dir=folder,
        callback=callback,
        quiet=True,
    )


def final(folder):
    path = latest_checkpoint(folder)
    assert path is not None
    tensors, state = load_checkpoint(path)
    rows = read_metrics(folder / "metrics.jsonl")
    timeless = [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]
    return tensors, state["step"], state["beta"], timeless


def assert_same(one, other):
    assert one[1:] == other[1:]
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(tensor, other[0][name]) for name, tensor in one[0].items())


def test_n_plus_n_is_2n(tmp_path):
    trainer(tmp_path / "whole", 6).train()
    trainer(tmp_path / "parts", 3).train()
    history = trainer(tmp_path / "parts", 6).train()
    assert [row["step"] for row in history] == [1, 2, 3, 4, 5, 6]
    whole, parts = final(tmp_path / "whole"), final(tmp_path / "parts")
    assert_same(whole, parts)
    kinds = {name.split(".")[0] for name in whole[0]}
    assert kinds == {"policy", "value", "policy_optimizer", "value_optimizer", "ema"}
    assert whole[2] != PPOConfig().beta  # the controller has moved


def test_a_finished_run_is_not_run_again(tmp_path):
    trainer(tmp_path, 2).train()
    before = final(tmp_path)
    again = trainer(tmp_path, 2)
    history = again.train()
    assert_same(before, final(tmp_path))
    assert len(history) == 2
    weight = dict(again.policy.named_parameters())["transformer.wte.weight"]
    assert torch.equal(weight, before[0]["policy.transformer.wte.weight"])


def test_resume_off_starts_again(tmp_path):
    trainer(tmp_path, 2).train()
    first = final(tmp_path)
    assert len(trainer(tmp_path, 2).train(resume=False)) == 2
    assert_same(first, final(tmp_path))


def test_ctrl_c_saves_at_the_end_of_the_iteration(tmp_path):
    def interrupt(step, row):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    history = trainer(tmp_path / "cut", 5, interrupt, checkpoint_every=0).train()
    assert [row["step"] for row in history] == [1, 2]
    trainer(tmp_path / "cut", 5, checkpoint_every=0).train()
    trainer(tmp_path / "whole", 5, checkpoint_every=0).train()
    assert_same(final(tmp_path / "whole"), final(tmp_path / "cut"))


def test_refuses_checkpoints_of_another_configuration_or_model(tmp_path):
    trainer(tmp_path, 1).train()
    with pytest.raises(CheckpointError, match="beta"):
        trainer(tmp_path, 2, beta=0.7).train()
    frozen = trainer(tmp_path, 2)
    frozen.policy.transformer.wpe.weight.requires_grad_(False)
    with pytest.raises(CheckpointError, match="same models"):
        frozen.train()
    for read in ((PROMPTS[::-1], BLOCKS), (PROMPTS, BLOCKS[1:])):
        with pytest.raises(CheckpointError, match="these data"):
            trainer(tmp_path, 2, read=read).train()


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json"])
def test_refuses_damaged_checkpoints(tmp_path, file):
    trainer(tmp_path, 1).train()
    path = latest_checkpoint(tmp_path)
    assert path is not None
    content = bytearray((path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (path / file).write_bytes(content)
    with pytest.raises(CheckpointError):
        trainer(tmp_path, 2).train()


def train_until(folder: Path, steps: int, last: int) -> None:
    def wait(step: int, _row: object) -> None:
        if step >= last:  # on a busy machine the test may see its target late
            time.sleep(600)

    torch.set_num_threads(1)  # as here, so that sums are the same
    trainer(folder, steps, wait).train()


def test_killed_at_20_random_moments(tmp_path):
    """SIGKILL anywhere in an iteration or in a checkpoint's writing."""
    steps, kills = 60, 20
    chance = random.Random(0)
    context = bare_processes()
    folder = tmp_path / "killed"
    started = time.perf_counter()
    trainer(tmp_path / "whole", steps).train()
    one_step = (time.perf_counter() - started) / steps

    def done() -> int:
        with contextlib.suppress(FileNotFoundError):  # a folder renamed under our eyes
            path = latest_checkpoint(folder)
            return int(path.name[5:13]) if path else 0
        return 0

    for _ in range(kills):
        target = min(done() + chance.randint(1, 3), steps - 2)
        child = context.Process(target=train_until, args=(folder, steps, target + 2))
        child.start()
        while child.is_alive() and done() < target:
            time.sleep(one_step / 50)
        time.sleep(chance.random() * one_step)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert child.exitcode == -signal.SIGKILL
    assert 20 <= done() < steps
    trainer(folder, steps).train()
    assert_same(final(tmp_path / "whole"), final(folder))
    assert not [p for p in folder.iterdir() if "tmp" in p.name]
    assert json.loads((folder / "config.json").read_text())["steps"] == steps
