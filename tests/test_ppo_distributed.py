"""Two gloo processes with half a batch each equal one process with the whole batch."""

from __future__ import annotations

import os
import socket

import pytest
import torch
from processes import bare_processes
from safetensors.torch import load_file, save_file

from rlhf_lab.errors import InputError
from rlhf_lab.models import ScalarModel
from rlhf_lab.ppo import PPOConfig, PPOTrainer
from rlhf_lab.tracking import read_metrics
from tiny_models import SPECIAL_TOKENS, causal_lm

WORDS = 16
PROMPTS = [[7, 3, 9, 12], [8], [4, 4, 6], [3, 15], [5, 11], [9, 9], [13], [2, 2, 2, 2, 6]]


def make(seed: int = 0) -> torch.nn.Module:
    return causal_lm(seed=seed, vocab_size=WORDS, width=16, positions=16).double()


def run(folder, name: str, **settings) -> PPOTrainer:
    defaults = {
        "steps": 3,
        "batch_size": 8,
        "minibatches": 2,
        "inner_epochs": 2,
        "max_response_length": 6,
        "learning_rate": 3e-3,
        "gamma": 0.4,
        "ptx_ratio": 0.5,
        "kl_controller": "adaptive",
        "warmup_steps": 0,
    }
    trainer = PPOTrainer(
        make(),
        make(),
        lambda p, r, m: ((r == 5) * m).sum(1).double(),
        ScalarModel.from_policy(make(1), 0),
        SPECIAL_TOKENS,
        PROMPTS,
        torch.randint(2, WORDS, (10, 6), generator=torch.Generator().manual_seed(9)),
        PPOConfig(**(defaults | settings)),
        output_dir=folder / "run",
        quiet=True,
    )
    trainer.train()
    tensors = {f"policy.{n}": p.detach() for n, p in trainer.policy.transformer.named_parameters()}
    tensors |= {f"value.{n}": p.detach() for n, p in trainer.value.named_parameters()}
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / f"{name}.safetensors")
    return trainer


def join(rank: int, port: int) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }


def leave(_trainer: PPOTrainer | None) -> None:
    """End this process while the trainer still lives, so that no group of gloo is destroyed.

    Its destructor waits for its threads and holds Python's lock meanwhile; a thread that is just
    letting go of a tensor waits for that lock (pytorch/pytorch#56297). One end in six hung.
    """
    torch.distributed.barrier()  # the other has read what this one sent
    os._exit(0)


def process(rank: int, port: int, folder, settings) -> None:
    join(rank, port)
    trainer = run(folder, f"rank{rank}", **settings)
    assert trainer.accelerator.num_processes == 2
    leave(trainer)


def refused(rank: int, port: int, folder) -> None:
    join(rank, port)
    with pytest.raises(InputError, match="minibatch_size"):
        run(folder, f"rank{rank}", batch_size=6, minibatches=2, gamma=0.0)
    leave(None)


def two(target, *arguments) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = bare_processes()
    children = [context.Process(target=target, args=(r, port, *arguments)) for r in range(2)]
    for child in children:
        child.start()
    try:
        for child in children:
            child.join(timeout=300)
        assert [child.exitcode for child in children] == [0, 0]
    finally:
        for child in children:  # one that waits for the other must not outlive the test
            child.kill()


@pytest.mark.parametrize("micro", [0, 1])
def test_two_processes_equal_one(tmp_path, micro):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    run(tmp_path / "one", "all", micro_batch_size=micro)
    two(process, tmp_path / "two", {"micro_batch_size": micro})
    one = load_file(tmp_path / "one" / "all.safetensors")
    ranks = [load_file(tmp_path / "two" / f"rank{r}.safetensors") for r in range(2)]
    for name, wanted in one.items():
        assert torch.equal(ranks[0][name], ranks[1][name])
        torch.testing.assert_close(ranks[0][name], wanted, rtol=0, atol=1e-9)
    rows = [read_metrics(tmp_path / n / "run" / "metrics.jsonl") for n in ("one", "two")]
    for a, b in zip(*rows, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            if not name.startswith("time/"):
                assert b[name] == pytest.approx(a[name], rel=1e-6, abs=1e-9), name


def test_a_minibatch_must_be_shared_out_evenly(tmp_path):
    two(refused, tmp_path)
