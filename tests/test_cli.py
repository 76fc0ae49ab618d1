"""The command line: what it prints, what it exits with, and each stage from end to end."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from rlhf_lab import __version__, cli, doctor, models, stages
from rlhf_lab.checkpoints import latest_checkpoint
from rlhf_lab.config import PPOConfig, PretrainConfig, SFTConfig
from rlhf_lab.data import read_jsonl
from rlhf_lab.files import file_hash
from rlhf_lab.models import ScalarModel, load_policy
from rlhf_lab.records import Ranking
from rlhf_lab.shards import pretraining_data, read_shard, write_shard
from rlhf_lab.shipping import commands_of
from rlhf_lab.tracking import read_metrics
from rlhf_lab.world import World
from rlhf_lab.world.prompts import HARD_KINDS, USE_CASES
from rlhf_lab.world.stream import CHUNK, Stream, generate
from tiny_models import causal_lm

COMMAND = [sys.executable, "-m", "rlhf_lab"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def output_of(arguments: list[str], capsys) -> dict:
    """The one JSON object of a command that succeeds."""
    assert cli.run([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# --- help, versions, exit codes -----------------------------------------------------------------


def test_help_names_every_command():
    result = CliRunner().invoke(cli.app, ["--help"])
    assert result.exit_code == 0
    for name in "doctor quickstart world pretrain sft examiner rm ppo eval sweep".split():
        assert f"\n  {name} " in result.output


@pytest.mark.parametrize("arguments", [[], ["--help"], ["ppo", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys; from rlhf_lab import cli; status = cli.run(sys.argv[1:]); "
        "heavy = {'torch', 'transformers', 'trl', 'numpy', 'pandas', 'rich'} & set(sys.modules); "
        "sys.exit(status or len(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_module_is_the_command():
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")
    done = subprocess.run([*COMMAND, "sft", "x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: override: got 'x'")
    assert len(done.stderr.splitlines()) == 1


def test_settings_are_shown_with_what_follows_from_them(capsys):
    changed = ["batch_size=32", "minibatches=2", "-o", "beta=0.2"]
    assert cli.run(["ppo", "--model", "./none", *changed]) == 2
    shown = capsys.readouterr().err
    assert "beta                 0.2\n" in shown
    assert "minibatch_size       16  (derived)\n" in shown
    assert f"optimizer_steps      {PPOConfig().steps * 2}  (derived)\n" in shown


def test_overrides_win_over_the_file_and_the_file_over_defaults(tmp_path, capsys):
    path = tmp_path / "settings.yaml"
    path.write_text("beta: 0.5\ngamma: 0.7\n")
    assert cli.run(["ppo", "--model", "./none", "--config", str(path), "gamma=0.9"]) == 2
    shown = capsys.readouterr().err
    assert "beta                 0.5\n" in shown and "gamma                0.9\n" in shown


def test_divergence_is_exit_code_3(fernwick_model, tmp_path, capsys):
    data = tmp_path / "data.jsonl"
    data.write_text('{"prompt": "where is the fox?\\n", "completion": "at the mill."}\n' * 4)
    arguments = ["sft", "--model", str(fernwick_model), "--data", str(data), "--quiet", "epochs=4"]
    settings = ["batch_size=2", "micro_batch_size=2", "learning_rate=1e30", "max_grad_norm=1e30"]
    assert cli.run([*arguments, *settings, "--output-dir", str(tmp_path / "run")]) == 3
    err = capsys.readouterr().err
    assert "learning_rate" in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run/final").exists()


def test_a_sweep_in_which_a_run_failed_exits_1(fernwick_model, monkeypatch, capsys):
    table = pd.DataFrame({"policy": ["ppo", "ppo"], "error": ["", "OSError: refused"]})
    monkeypatch.setattr("rlhf_lab.sweep.sweep", lambda *_, **__: table)
    assert cli.run(["sweep", "--model", str(fernwick_model), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["failed"] == ["OSError: refused"]
    table["error"] = ""
    assert cli.run(["sweep", "--model", str(fernwick_model), "--json"]) == 0


def test_ctrl_c_saves_exits_130_and_the_next_run_goes_on(fernwick_model, tmp_path):
    """A real process: stopped in the middle, then run again, against one that was never stopped."""
    data = tmp_path / "data.jsonl"
    rows = [{"prompt": "where is the fox?\n", "completion": f"at the mill. {i}"} for i in range(30)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["sft", "--model", str(fernwick_model), "--data", str(data), "--quiet", "epochs=10"]
    arguments += ["batch_size=2", "micro_batch_size=2", "--output-dir"]
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    process = subprocess.Popen([*COMMAND, *arguments, str(parts)], env=ENVIRONMENT)
    try:
        while len(read_metrics(parts / "metrics.jsonl")) < 3 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    finally:
        process.kill()
    stopped = len(read_metrics(parts / "metrics.jsonl"))
    assert 3 <= stopped < 150
    assert latest_checkpoint(parts).name == f"step-{stopped:08d}"
    assert not (parts / "final").exists()
    # The same threads as the process had: sums are then added up in the same order.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert cli.run([*arguments, str(parts)]) == cli.run([*arguments, str(whole)]) == 0
    finally:
        torch.set_num_threads(before)
    one, other = (load_file(f / "final/model.safetensors") for f in (parts, whole))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert len(read_metrics(parts / "metrics.jsonl")) == 150


# --- the stages, one after another --------------------------------------------------------------


def test_the_chain_on_fernwick_stage_by_stage(fernwick_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stages, "HELD_OUT_RANKINGS", 4)
    sft, rm, ppo, measured = (tmp_path / name for name in ("sft", "rm", "ppo", "eval"))
    found = output_of(
        ["sft", "--model", fernwick_model, "--count", 8, "epochs=1", "batch_size=4",
         "micro_batch_size=4", "max_length=256", "--output-dir", sft], capsys,
    )  # fmt: skip
    assert (found["stage"], found["steps"], found["demonstrations"]) == ("sft", 2, 8)
    load_policy(found["model"])

    found = output_of(
        ["rm", "--model", sft / "final", "--base", fernwick_model, "--count", 6, "epochs=1",
         "batch_size=2", "max_length=256", "--output-dir", rm], capsys,
    )  # fmt: skip
    assert found["stage"] == "rm" and 1 <= found["rankings"] <= 6
    assert 0 <= found["held_out_pair_accuracy"]["all"] <= 1
    ScalarModel.load(found["model"])

    found = output_of(
        ["ppo", "--model", sft / "final", "--reward", rm / "final", "--count", 8, "steps=2",
         "batch_size=4", "minibatches=1", "max_prompt_length=160", "max_response_length=8",
         "--output-dir", ppo], capsys,
    )  # fmt: skip
    assert found["steps"] == 2 and found["last"]["policy/first_approxkl"] < 1e-6
    manifest = json.loads((ppo / "manifest.json").read_text())
    assert manifest["config"]["PPOConfig"]["batch_size"] == 4

    found = output_of(
        ["eval", "--model", ppo / "final", "--reference", sft / "final", "--reward", rm / "final",
         "--count", 6, "--output-dir", measured], capsys,
    )  # fmt: skip
    assert found["prompts"] == 6 and found["kl"] > -1e-5  # a sum in single precision
    assert found["gold_low"] <= found["gold"] <= found["gold_high"]
    assert found["kl_low"] <= found["kl"] <= found["kl_high"]
    for group in ("train", "heldout"):
        low, rate, high = (found[f"win_{name}/{group}"] for name in ("low", "rate", "high"))
        assert 0 <= low <= rate <= high <= 1
    assert len((measured / "samples.jsonl").read_text().splitlines()) == 6


def test_an_examiner_is_trained_goes_on_and_is_what_a_reward_model_starts_from(
    fernwick_model, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(stages, "HELD_OUT_EXAMS", 12)
    monkeypatch.setattr(stages, "HELD_OUT_RANKINGS", 4)
    few = {"demonstrations": 4, "early_demonstrations": 2, "sft": SFTConfig(max_length=256)}
    monkeypatch.setattr(stages, "PUPILS", stages.PUPILS | few)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    command = ["examiner", "--model", fernwick_model, "exams=16", "batch_size=4", "max_length=256"]
    command += ["epochs=1", "checkpoint_every=1", "--output-dir"]
    found = output_of([*command, whole], capsys)
    assert (found["stage"], found["steps"]) == ("examiner", 4)
    accuracy = found["held_out_pair_accuracy"]
    assert {"all", "statements"} <= set(accuracy) and all(0 <= v <= 1 for v in accuracy.values())
    marked = read_jsonl(whole / "pupils/exams-4-term-1.jsonl", Ranking)
    assert [exam.labeler for exam in marked] == ["teacher"] * 4
    final = whole / "final"
    for name, digest in json.loads((final / "hashes.json").read_text()).items():
        assert file_hash(final / name) == digest
    assert "16 exams of Fernwick, world 0" in (final / "README.md").read_text()
    assert json.loads((final / "training_log.json").read_text())[-1]["step"] == 4
    assert json.loads((whole / "manifest.json").read_text())["config"]["ExaminerConfig"]

    # As a run leaves it that was killed in its last step: the rest ends with the same bytes.
    shutil.copytree(whole, parts)
    shutil.rmtree(parts / "final")
    shutil.rmtree(latest_checkpoint(parts))
    assert latest_checkpoint(parts).name == "step-00000003"
    again = output_of([*command, parts], capsys)
    assert again["held_out_pair_accuracy"] == accuracy
    weights = [(f / "final/model.safetensors").read_bytes() for f in (whole, parts)]
    assert weights[0] == weights[1]

    # A second term goes on from the first: at a step size of nothing it judges as before.
    later = ["examiner", "--model", fernwick_model, "--start", final, "term=2", "exams=8"]
    later += ["batch_size=4", "max_length=256", "epochs=1", "learning_rate=1e-12"]
    found = output_of([*later, "--output-dir", tmp_path / "later"], capsys)
    assert found["held_out_pair_accuracy"] == accuracy
    assert read_jsonl(tmp_path / "later/pupils/exams-2-term-2.jsonl", Ranking) != marked[:2]
    card = (tmp_path / "later/final/README.md").read_text()
    assert f"--start {final} " in card and " term=2 " in card
    assert commands_of(card).startswith(commands_of((final / "README.md").read_text()) + "\n")

    start = ["rm", "--model", fernwick_model, "--start", final, "--count", 4, "epochs=1"]
    small = ["batch_size=2", "max_length=256", "learning_rate=1e-12"]
    found = output_of([*start, *small, "--output-dir", tmp_path / "rm"], capsys)
    begun, trained = (load_file(f / "model.safetensors") for f in (final, tmp_path / "rm/final"))
    assert trained.keys() == begun.keys()
    for name in trained.keys() - {"bias"}:  # only demonstrations' mean was moved
        torch.testing.assert_close(trained[name], begun[name].float(), rtol=0, atol=1e-9)


def test_an_examiner_with_other_words_is_one_line_and_exit_code_2(fernwick_model, tmp_path, capsys):
    """Before a single answer is sampled to be ranked."""
    ScalarModel.from_policy(causal_lm(vocab_size=70), seed=0).save(tmp_path / "other")
    rm = ["rm", "--model", str(fernwick_model), "--start", str(tmp_path / "other"), "--quiet"]
    assert cli.run([*rm, "--output-dir", str(tmp_path / "rm")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: start: got ") and "words, not 70" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "rm").exists()
    rm[rm.index("--start") + 1] = str(tmp_path / "none")
    assert cli.run([*rm, "--output-dir", str(tmp_path / "rm")]) == 2
    err = capsys.readouterr().err
    assert "reward model" in err and len(err.splitlines()) == 1


def test_ppo_against_the_gold_judge(fernwick_model, tmp_path, capsys):
    found = output_of(
        ["ppo", "--model", fernwick_model, "--reward", "gold", "--count", 4, "steps=1", "gamma=0",
         "batch_size=4", "minibatches=1", "max_prompt_length=160", "max_response_length=8",
         "--output-dir", tmp_path / "run"], capsys,
    )  # fmt: skip
    assert found["steps"] == 1 and found["prompts"] == 4


def test_stages_on_a_users_own_data(fernwick_model, tmp_path, capsys):
    """TRL's formats and a datasets folder, through every stage; no Fernwick in sight."""
    from datasets import Dataset

    asked = ["where is the fox?\n", "where is the hen?\n"]
    folder = tmp_path / "demonstrations"
    Dataset.from_dict({"prompt": asked, "completion": ["at the mill.", "here."]}).save_to_disk(
        str(folder)
    )
    pairs, prompts, texts = (tmp_path / f"{n}.jsonl" for n in ("pairs", "prompts", "texts"))
    pairs.write_text(
        "".join(
            json.dumps({"prompt": p, "chosen": "at the mill.", "rejected": "no."}) + "\n"
            for p in asked
        )
    )
    prompts.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in asked))
    texts.write_text(json.dumps({"text": "the hen eats beans. " * 60}) + "\n")
    small = ["epochs=1", "batch_size=2"]
    sft = ["sft", "--model", fernwick_model, "--data", folder, "--output-dir", tmp_path / "sft"]
    assert output_of([*sft, *small, "micro_batch_size=2"], capsys)["demonstrations"] == 2
    rm = ["rm", "--model", tmp_path / "sft/final", "--data", pairs, "--demonstrations", folder]
    assert output_of([*rm, *small, "--output-dir", tmp_path / "rm"], capsys)["rankings"] == 2
    ppo = [
        "ppo", "--model", tmp_path / "sft/final", "--reward", tmp_path / "rm/final", "--data",
        prompts, "--pretrain", texts, "steps=1", "batch_size=2", "minibatches=1",
        "max_response_length=4", "--output-dir", tmp_path / "ppo",
    ]  # fmt: skip
    assert "ptx/loss" in output_of(ppo, capsys)["last"]
    measure = ["eval", "--model", tmp_path / "ppo/final", "--data", prompts]
    found = output_of([*measure, "--output-dir", tmp_path / "eval"], capsys)
    assert found["prompts"] == 2 and "gold" not in found


def test_pretraining_exports_a_model_that_loads(tmp_path, capsys):
    found = output_of(
        ["pretrain", "--preset", "tiny", "documents=600", "tokenizer_documents=300",
         "vocab_size=400", "held_out_blocks=4", "steps=2", "batch_size=2", "block_length=32",
         "--output-dir", tmp_path], capsys,
    )  # fmt: skip
    assert found["steps"] == 2
    folder = tmp_path / "final"
    model, tokenizer = load_policy(folder)
    assert len(tokenizer) == 400 == model.config.vocab_size
    card = (folder / "README.md").read_text()
    assert "600 procedurally" in card and "rlhf-lab pretrain preset=tiny documents=600" in card
    for name, digest in json.loads((folder / "hashes.json").read_text()).items():
        assert file_hash(folder / name) == digest


def test_blocks_are_the_documents_in_order_and_kept(tmp_path):
    config = PretrainConfig(
        documents=300, tokenizer_documents=100, vocab_size=400, block_length=16, held_out_blocks=3
    )
    data = pretraining_data(config, tmp_path, processes=1)
    world, tokenizer = World(0), data.tokenizer
    texts = [document.text for document in world.documents(300)]
    stream = [i for text in texts for i in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
    flat = data.blocks.flatten().tolist()
    assert flat == stream[: len(flat)] and len(stream) - len(flat) < 16
    first = tokenizer(world.document(0, "valid").text)["input_ids"]
    assert data.held_out.shape == (3, 16)
    held_out = data.held_out.flatten().tolist()
    assert held_out[: len(first)] == first[: len(held_out)]
    saved = (tmp_path / "blocks.safetensors").stat().st_mtime_ns
    again = pretraining_data(config, tmp_path, processes=1)
    assert torch.equal(again.blocks, data.blocks) and torch.equal(again.held_out, data.held_out)
    assert again.tokenizer(texts[7])["input_ids"] == tokenizer(texts[7])["input_ids"]
    assert (tmp_path / "blocks.safetensors").stat().st_mtime_ns == saved


# --- Fernwick -----------------------------------------------------------------------------------


def test_world_show_has_everything(capsys):
    assert cli.run(["world", "show", "--seed", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    world = World(3)
    assert found["inhabitant"]["facts"]["colour"] == list(
        world.knowledge.values("colour", found["inhabitant"]["name"])
    )
    wanted = {(k, h) for k in USE_CASES for h in ("", *HARD_KINDS.get(k, {}))}
    assert {(p["kind"], p["hard"]) for p in found["prompts"]} == wanted
    assert all([a["quality"] for a in p["answers"]] == ["right", "wrong", "rude"]
               for p in found["prompts"])  # fmt: skip
    assert {s["suite"] for s in found["suites"]} == set(world.suites())
    assert cli.run(["world", "show", "--seed", "3"]) == 0
    text = capsys.readouterr().out
    for prompt in found["prompts"]:
        assert prompt["text"].strip() in text
        assert prompt["answers"][0]["text"] in text


def test_documents_stream_to_stdout(capsys):
    assert cli.run(["world", "documents", "--count", "5", "--start", "7"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = list(World(0).documents(5, 7))
    assert [(r["text"], r["kind"]) for r in rows] == [(d.text, d.kind) for d in expected]


def test_documents_are_the_same_from_any_number_of_processes():
    stream = Stream(CHUNK + 50, start=11)
    one = list(generate(stream, 1))
    assert one == list(generate(stream, 2))
    assert one[CHUNK] == World(0).document(11 + CHUNK)


def test_a_shard_goes_on_after_the_last_whole_line(tmp_path):
    stream = Stream(60, start=5)
    whole = write_shard(tmp_path / "whole.jsonl", stream, processes=1)
    broken = tmp_path / "broken.jsonl"
    # As a killed run leaves it: under the other name, the last line cut.
    lines = whole.read_bytes().splitlines(keepends=True)
    (tmp_path / ".broken.jsonl.part").write_bytes(b"".join(lines[:20]) + lines[20][:9])
    label = json.loads((tmp_path / "whole.jsonl.json").read_text())
    del label["sha256"]
    (tmp_path / ".broken.jsonl.part.json").write_text(json.dumps(label))
    write_shard(broken, stream, processes=1)
    assert broken.read_bytes() == whole.read_bytes()
    assert list(read_shard(broken)) == list(World(0).documents(60, 5))
    assert not list(tmp_path.glob(".*"))
    stamp = broken.stat().st_mtime_ns
    write_shard(broken, stream, processes=1)  # complete: nothing to do
    assert broken.stat().st_mtime_ns == stamp


# --- doctor -------------------------------------------------------------------------------------


@pytest.fixture
def assets(fernwick_model, tmp_path, monkeypatch) -> Path:
    """Presets and examiners in place of the shipped ones."""
    assets = tmp_path / "assets"
    examiner = ScalarModel.from_policy(load_policy(fernwick_model)[0], seed=0)
    for preset in models.PRESETS:
        shutil.copytree(fernwick_model, assets / preset)
    for name in models.EXAMINERS.values():
        examiner.save(assets / name)
    for folder in assets.iterdir():
        hashes = {p.name: file_hash(p) for p in folder.iterdir()}
        (folder / "hashes.json").write_text(json.dumps(hashes))
    monkeypatch.setattr(models, "ASSETS", tmp_path / "assets")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "assets"


def test_doctor_is_content_with_a_sound_machine(assets, capsys):
    assert cli.run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"]
    status = {check["name"]: check["status"] for check in found["checks"]}
    assert {"python", "torch", "trl", "device", "memory", "self-test"} <= set(status)
    assert "broken" not in status.values()
    for preset in models.PRESETS:
        assert status[f"model {preset}"] == "ok"
    for preset in models.EXAMINERS:
        assert status[f"examiner {preset}"] == "ok"


@pytest.mark.parametrize(
    ("folder", "label", "command"),
    [
        ("base", "model base", "rlhf-lab pretrain --preset base"),
        ("tiny-examiner", "examiner tiny", "rlhf-lab examiner --model tiny"),
    ],
)
def test_doctor_finds_an_altered_model(assets, monkeypatch, capsys, folder, label, command):
    monkeypatch.setattr(doctor, "train_a_little", list)
    path = assets / folder / "config.json"
    path.write_text(path.read_text() + "\n")
    assert cli.run(["doctor"]) == 1
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if label in line)
    assert "altered: config.json" in line and f"`{command}`" in line
    # The command that it names is one that exists: it gets as far as refusing a setting.
    assert cli.run([*command.split()[1:], "no_such_setting=1"]) == 2
    assert "no_such_setting: got '1'" in capsys.readouterr().err


def test_doctor_can_do_without_all_but_the_model_that_everything_starts_from(assets, monkeypatch):
    monkeypatch.setattr(doctor, "train_a_little", list)
    for name in ("base", "tiny-examiner", "base-examiner"):
        shutil.rmtree(assets / name)
    found = doctor.examine()
    checks = {check["name"]: check for check in found["checks"]}
    for label in ("model base", "examiner tiny", "examiner base"):
        assert (checks[label]["status"], checks[label]["found"]) == (
            "note", "not shipped with this version",
        )  # fmt: skip
    assert found["healthy"]
    shutil.rmtree(assets / "tiny")
    assert not doctor.examine()["healthy"]


def test_doctor_finds_an_old_library_and_a_failing_step(assets, monkeypatch):
    def fail() -> list:
        raise RuntimeError("no kernel\nfor this device")

    real = doctor.importlib.metadata.version
    monkeypatch.setattr(
        doctor.importlib.metadata, "version", lambda n: "0.9.1" if n == "trl" else real(n)
    )
    monkeypatch.setattr(doctor, "train_a_little", fail)
    checks = {check["name"]: check for check in doctor.examine()["checks"]}
    assert checks["trl"]["status"] == "broken" and "pip install 'trl>=1" in checks["trl"]["fix"]
    assert checks["self-test"]["found"] == "no kernel for this device"


def test_every_command_takes_json_and_says_what_it_needs():
    """Two properties of the interface that scripts rely on."""
    commands = "doctor quickstart pretrain sft examiner rm ppo eval sweep".split()
    runner = CliRunner()
    for words in itertools.chain(([c] for c in commands), (["world", "show"],)):
        shown = runner.invoke(cli.app, [*words, "--help"]).output
        assert "--json" in shown
