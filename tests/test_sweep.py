"""Sweeps: the grid, what is shared and what is skipped, failures, death at any moment."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from rlhf_lab.checkpoints import latest_checkpoint
from rlhf_lab.config import ChainConfig, PPOConfig, RMConfig, SFTConfig, SweepConfig, load
from rlhf_lab.errors import InputError
from rlhf_lab.fingerprint import code_fingerprint, fingerprint, tensor_fingerprint
from rlhf_lab.models import save_policy
from rlhf_lab.pool import run_tasks
from rlhf_lab.pretrain import train_tokenizer
from rlhf_lab.runtime import Interrupt
from rlhf_lab.sweep import Cell, Grid, sweep
from rlhf_lab.tracking import read_metrics
from rlhf_lab.world import World
from tiny_models import causal_lm

TABLES = ("runs.csv", "curves.csv", "samples.json")
GRID = {"betas": (0.0, 0.5), "gammas": (0.0, 1.0), "seeds": (0,)}
SIZE = {"questions": 2, "documents": 4, "samples": 2}


@pytest.fixture(scope="module")
def chain_config(tmp_path_factory):
    """A chain over a random GPT-2 with two layers of 32."""
    torch.set_num_threads(1)  # as in the processes of a sweep, so that sums are the same
    tokenizer = train_tokenizer([d.text for d in World(0).documents(200)], 600)
    model = causal_lm(vocab_size=len(tokenizer), positions=512)
    folder = tmp_path_factory.mktemp("models") / "base"
    save_policy(model, tokenizer, folder)
    return ChainConfig(
        model=str(folder),
        demonstrations=8,
        rankings=6,
        early_demonstrations=8,
        prompts=16,
        ptx_documents=10,
        ptx_block_length=16,
        evaluation_prompts=6,
        sft=SFTConfig(epochs=1, batch_size=8, micro_batch_size=8, max_length=400),
        rm=RMConfig(batch_size=4, max_length=400),
        ppo=PPOConfig(
            steps=4,
            batch_size=4,
            minibatches=1,
            max_prompt_length=300,
            max_response_length=6,
            learning_rate=1e-3,
            ema_decay=0.0,
            checkpoint_every=1,
        ),
    )


@pytest.fixture(scope="module")
def finished(chain_config, tmp_path_factory):
    """A sweep that nothing disturbed: its folder and what it returned."""
    folder = tmp_path_factory.mktemp("sweep") / "undisturbed"
    return folder, sweep(chain_config, **GRID, folder=folder, processes=0, quiet=True, **SIZE)


def grid(chain_config, folder):
    return Grid(SweepConfig(**GRID, **SIZE, chain=chain_config), folder.resolve())


def same_tables(folder, other):
    assert [(folder / t).read_bytes() for t in TABLES] == [(other / t).read_bytes() for t in TABLES]


# --- the grid ---------------------------------------------------------------------------------


def test_one_row_per_run_and_reference(finished):
    folder, runs = finished
    cells = [(p, b, g) for p, b, g in zip(runs.policy, runs.beta, runs.gamma, strict=True)]
    assert cells[2:] == [("ppo", 0.0, 0.0), ("ppo", 0.5, 0.0), ("ppo", 0.0, 1.0), ("ppo", 0.5, 1.0)]
    assert runs.policy.tolist()[:2] == ["base", "sft"]
    assert (runs.error == "").all()
    on_disk = pd.read_csv(folder / "runs.csv", keep_default_na=False, na_values=[""])
    assert on_disk.columns.tolist() == runs.columns.tolist()
    assert on_disk.gold.tolist() == pytest.approx(runs.gold.tolist(), rel=1e-5)


def test_columns_say_what_they_measure(finished):
    _, runs = finished
    sft, ppo = runs[runs.policy == "sft"].iloc[0], runs[runs.policy == "ppo"]
    assert sft.kl == pytest.approx(0, abs=1e-6)  # float32 rounding of a KL of a policy to itself
    assert sft["win_rate/train"] == sft["win_rate/heldout"] == 0.5
    assert (ppo.kl > 1e-6).all()
    assert (ppo.gold_low <= ppo.gold).all() and (ppo.gold <= ppo.gold_high).all()
    assert ppo.gradient_ratio.notna().tolist() == [False, False, True, True]
    assert len({*ppo["loss"]}) == 4  # every cell ends elsewhere


def test_cells_differ_by_their_weights_alone(finished, chain_config):
    folder, _ = finished
    cells = [c for c in grid(chain_config, folder).cells if c.policy == "ppo"]
    logs = [read_metrics(grid(chain_config, folder).run_folder(c) / "metrics.jsonl") for c in cells]
    first = [(log[0]["objective/scores"], log[0]["response/length"]) for log in logs]
    assert len(set(first)) == 1  # same prompts, same random numbers, same models
    assert [log[0]["objective/beta"] for log in logs] == [0.0, 0.5, 0.0, 0.5]
    assert ["ptx/loss" in log[0] for log in logs] == [False, False, True, True]


def test_curves_samples_and_manifest(finished, chain_config):
    folder, runs = finished
    curves = pd.read_csv(folder / "curves.csv")
    assert len(curves) == 4 * chain_config.ppo.steps
    last = curves[curves.step == 4]["objective/kl"].tolist()
    assert last == pytest.approx(runs.train_kl.dropna().tolist(), rel=1e-4)
    samples = json.loads((folder / "samples.json").read_text("utf-8"))
    assert len(samples) == 6 * SIZE["samples"]
    assert len({s["prompt"] for s in samples}) == SIZE["samples"]
    about = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert about["runs"] == {"wanted": 6, "done": 6, "failed": 0, "missing": 0}
    assert about["config"]["SweepConfig"]["chain"]["ppo"]["steps"] == 4


def test_finished_runs_are_skipped(finished, chain_config):
    folder, runs = finished
    work = {p: p.stat().st_mtime_ns for p in (folder / "work").rglob("*")}
    before = {t: (folder / t).read_bytes() for t in TABLES}
    called = []
    again = sweep(
        chain_config,
        **GRID,
        folder=folder,
        processes=0,
        quiet=True,
        callback=lambda *a: called.append(a),
        **SIZE,
    )
    assert not called
    assert {p: p.stat().st_mtime_ns for p in (folder / "work").rglob("*")} == work
    assert before == {t: (folder / t).read_bytes() for t in TABLES}
    pd.testing.assert_frame_equal(again, runs)


def test_folders_are_named_by_what_they_depend_on(finished, chain_config):
    folder, _ = finished
    cell = Cell("ppo", 0, 0.5, 1.0)
    one = grid(chain_config, folder)
    slower = dataclasses.replace(chain_config.ppo, learning_rate=1e-5)
    other = grid(dataclasses.replace(chain_config, ppo=slower), folder)
    assert one.chain_folder(0) == other.chain_folder(0)  # shared: PPO comes after it
    assert one.run_folder(cell) != other.run_folder(cell)
    more = grid(dataclasses.replace(chain_config, demonstrations=9), folder)
    assert more.chain_folder(0) != one.chain_folder(0)
    assert more.result(cell) is None
    rarely = dataclasses.replace(chain_config.ppo, checkpoint_every=3)
    assert grid(dataclasses.replace(chain_config, ppo=rarely), folder).run_folder(
        cell
    ) == one.run_folder(cell)


def test_a_chain_is_named_by_what_its_reward_model_starts_from(chain_config, tmp_path):
    def name(start: str) -> str:
        config = dataclasses.replace(chain_config, reward_start=start)
        return grid(config, tmp_path).chain_folder(0).name

    weights = tmp_path / "examiner/model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    start = str(weights.parent)
    one = name(start)
    assert name("") == name("sft") != one == name(start)
    weights.write_bytes(b"two")  # by its files, wherever they lie
    assert name(start) != one
    shutil.copytree(weights.parent, tmp_path / "copy")
    assert name(str(tmp_path / "copy")) == name(start)


# --- failures ---------------------------------------------------------------------------------


def test_a_failed_cell_is_recorded_and_tried_again(finished, chain_config, tmp_path):
    clean, _ = finished
    (tmp_path / "work").mkdir()
    chain = grid(chain_config, clean).chain_folder(0)
    (tmp_path / "work" / chain.name).symlink_to(chain)
    blocked = grid(chain_config, tmp_path).run_folder(Cell("ppo", 0, 0.5, 0.0))
    blocked.write_text("a file where a folder should be")
    run = {"folder": tmp_path, "processes": 0, "quiet": True, **GRID, **SIZE}
    runs = sweep(chain_config, **run)
    failed = runs[runs.error != ""]
    assert failed[["beta", "gamma"]].to_numpy().tolist() == [[0.5, 0.0]]
    assert "output_dir" in failed.error.item()
    assert failed.gold.isna().all() and runs[runs.error == ""].gold.notna().all()
    about = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    assert about["runs"] == {"wanted": 6, "done": 5, "failed": 1, "missing": 0}
    blocked.unlink()
    sweep(chain_config, **run)
    same_tables(tmp_path, clean)


def test_a_killed_sweep_goes_on_and_ends_the_same(finished, chain_config, tmp_path):
    clean, _ = finished
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from rlhf_lab.config import *
            from rlhf_lab.sweep import sweep
            if __name__ == "__main__":
                sweep({chain_config!r}, **{GRID!r}, folder={str(tmp_path / "out")!r},
                      processes=1, quiet=True, **{SIZE!r})
            """
        )
    )
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    training = None
    while training is None:  # until the first PPO run has a checkpoint
        assert process.poll() is None, "the sweep ended before it could be killed"
        runs = (tmp_path / "out" / "work").glob("ppo-*")
        training = next((r for r in runs if latest_checkpoint(r) is not None), None)
        time.sleep(0.001)
    worker = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)  # the parent alone: its worker must notice
    process.wait()
    assert worker
    while any(Path(f"/proc/{pid}").exists() and alive(pid) for pid in worker):
        time.sleep(0.01)
    assert not (training / "result.json").exists()
    assert not (tmp_path / "out" / "runs.csv").exists()
    sweep(chain_config, **GRID, folder=tmp_path / "out", processes=0, quiet=True, **SIZE)
    same_tables(tmp_path / "out", clean)


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def alive(pid):
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_pool_outlives_the_death_of_a_process(tmp_path):
    good = [f"open({str(tmp_path / name)!r}, 'w').close()" for name in "abc"]
    bad, dead, after = "1 / 0", "import os; os.kill(os.getpid(), 9)", f"pass # after {good[0]}"
    orphan = "pass # needs bad"
    needs = {after: good[0], orphan: bad}
    tasks = [good[0], bad, dead, good[1], after, orphan, good[2]]
    outcomes = {o.task: o for o in run_tasks(exec, tasks, 1, Interrupt(), needs.get)}
    assert {o.task: o.error for o in outcomes.values() if o.error} == {
        bad: "ZeroDivisionError: division by zero",
        dead: "its process ended with exit code -9",
        orphan: "1 / 0 failed: ZeroDivisionError: division by zero",
    }
    assert outcomes.keys() == set(tasks)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


def test_pool_stops_when_it_is_asked_to(tmp_path):
    interrupt = Interrupt()
    outcomes = []
    for outcome in run_tasks(exec, ["pass", "pass # 2", "pass # 3"], 0, interrupt):
        outcomes.append(outcome)
        interrupt.requested = True
    assert [o.task for o in outcomes] == ["pass"]
    cut_short = next(run_tasks(exec, ["raise KeyboardInterrupt"], 0, Interrupt()))
    assert cut_short.interrupted and not cut_short.error


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"betas": ()}, "betas"),
        ({"betas": (0.1, -0.1)}, "betas"),
        ({"gammas": (1.0, 1.0)}, "gammas"),
        ({"seeds": (-1,)}, "seeds"),
        ({"questions": 0}, "questions"),
    ],
)
def test_impossible_grids_are_refused_before_any_work(chain_config, tmp_path, changes, named):
    with pytest.raises(InputError) as error:
        sweep(chain_config, **{**GRID, **changes}, folder=tmp_path / "out", processes=0)
    assert error.value.argument == named
    assert not (tmp_path / "out").exists()


# --- settings and fingerprints ------------------------------------------------------------------


def test_lists_come_from_yaml_and_from_the_command_line(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("betas: [0, 0.1]\nseeds: 3\nchain: {ppo: {steps: 7}}\n")
    config = load(SweepConfig, path, ["gammas=0,1,3", "chain.model=base"])
    assert (config.betas, config.gammas, config.seeds) == ((0.0, 0.1), (0.0, 1.0, 3.0), (3,))
    assert (config.chain.ppo.steps, config.chain.model, config.runs) == (7, "base", 6)
    with pytest.raises(InputError, match="betas"):
        load(SweepConfig, None, ["betas=0,high"])


def test_code_fingerprint_follows_imports_but_not_prose(tmp_path, monkeypatch):
    package = tmp_path / "leaf_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "top.py").write_text("from leaf_package import leaf\n")
    leaf = package / "leaf.py"
    (package / "stranger.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    prints = []
    for text in ("x = 1\n", '"""Prose."""\n\nx = 1  # more prose\n', "x = 2\n"):
        leaf.write_text(text)
        prints.append(code_fingerprint("leaf_package.top"))
    assert prints[0] == prints[1] != prints[2]
    (package / "stranger.py").write_text("x = 2\n")
    assert code_fingerprint("leaf_package.top") == prints[2]


def test_fingerprints_tell_values_apart():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})
    x = torch.arange(4.0)
    names = {tensor_fingerprint(t) for t in (x, x.view(2, 2), x.double(), x + 1, -x.flip(0))}
    assert len(names) == 5
