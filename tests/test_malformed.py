"""What users get wrong, over all stages: one line that names cause and fix, exit code 2, no traces.

Each case is a command line in a folder with good and bad files. Before and after it the folder must
hold the same files.
"""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from rlhf_lab import checkpoints, cli
from rlhf_lab.config import PPOConfig, PretrainConfig, SFTConfig
from rlhf_lab.errors import InputError
from rlhf_lab.models import ScalarModel, save_policy
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.pretrain import pretrain, train_tokenizer
from rlhf_lab.records import Demonstration, Ranking
from rlhf_lab.sft import train_sft
from tiny_models import causal_lm, pad_is_eos

PROMPT = "where is the fox?\n"
GOOD = {"prompt": PROMPT, "completion": "at the mill."}
RANKED = {"prompt": PROMPT, "completions": ["at the mill.", "ask a fool."], "ranks": [0, 1]}
SMALL = ["batch_size=2", "epochs=1"]
SFT = ["sft", "--model", "model", "--data", "good.jsonl", *SMALL, "micro_batch_size=2"]
RM = ["rm", "--model", "model", "--data", "rankings.jsonl", *SMALL]
PPO = [
    "ppo", "--model", "model", "--reward", "reward", "--data", "prompts.jsonl", "steps=1",
    "batch_size=2", "minibatches=1", "max_response_length=4", "max_prompt_length=32", "gamma=0",
]  # fmt: skip
PRETRAIN = [
    "pretrain", "--data", "texts.jsonl", "vocab_size=260", "batch_size=2", "steps=1",
    "block_length=8",
]  # fmt: skip


def tokenizer_of(size: int):
    return train_tokenizer([PROMPT, "at the mill. ask a fool. no. the hen eats beans."], size)


def policy(tokenizer):
    return causal_lm(vocab_size=len(tokenizer))


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """Good and bad inputs of every kind."""
    root = tmp_path_factory.mktemp("inputs")
    tokenizer, other = tokenizer_of(264), tokenizer_of(270)
    model = policy(tokenizer)
    save_policy(model, tokenizer, root / "model")
    save_policy(policy(other), other, root / "other")
    scalar = ScalarModel.from_policy(model, 0)
    scalar.save(root / "reward")
    ScalarModel.from_policy(policy(other), 0).save(root / "other-reward")
    with torch.no_grad():
        scalar.head.weight[0, 0] = float("nan")
    scalar.save(root / "nan-reward")

    def damaged(name: str, source: str, file: str, change: Callable[[bytes], bytes]) -> None:
        shutil.copytree(root / source, root / name)
        path = root / name / file
        path.write_bytes(change(path.read_bytes()))

    damaged("truncated", "model", "model.safetensors", lambda b: b[: len(b) // 2])
    damaged("garbage", "model", "model.safetensors", lambda b: b"\xff" * 100)
    damaged("bad-config", "model", "config.json", lambda b: b[:20])
    damaged("bad-tokenizer", "model", "tokenizer.json", lambda b: b[:20])
    damaged("truncated-reward", "reward", "model.safetensors", lambda b: b[:-100])
    damaged("no-eos", "model", "tokenizer_config.json", lambda b: _without(b, "eos_token"))
    shutil.copytree(root / "model", root / "pickled")
    (root / "pickled/model.safetensors").rename(root / "pickled/pytorch_model.bin")
    shutil.copytree(root / "model", root / "no-tokenizer")
    for path in (root / "no-tokenizer").glob("tokenizer*"):
        path.unlink()
    (root / "empty").mkdir()
    (root / "file").write_text("not a folder")

    long = "the hen eats beans. " * 20
    files = {
        "good.jsonl": lines(GOOD, GOOD),
        "rankings.jsonl": lines(RANKED, RANKED),
        "prompts.jsonl": lines({"prompt": PROMPT}, {"prompt": PROMPT}),
        "texts.jsonl": lines(*[{"text": "the hen eats beans. at the mill."}] * 4),
        "short.jsonl": lines({"text": "no."}),
        "empty.jsonl": b"",
        "blank.jsonl": b"\n\n",
        "latin.jsonl": '{"prompt": "caf\u00e9", "completion": "oui"}\n'.encode("latin-1"),
        "broken.jsonl": lines(GOOD) + b'{"prompt": "where\n',
        "list.jsonl": lines(GOOD, [1, 2]),
        "columns.jsonl": lines({"question": "where?", "answer": "there."}),
        "mixed.jsonl": lines(GOOD, {"prompt": PROMPT, "completion": 7}),
        "null.jsonl": lines(GOOD, {"prompt": PROMPT, "completion": None}),
        "no-completion.jsonl": lines(GOOD, {"prompt": PROMPT, "completion": ""}),
        "long.jsonl": lines(GOOD, {"prompt": PROMPT, "completion": long}),
        "padded.jsonl": lines(GOOD, {"prompt": "a <|pad|> b\n", "completion": "no."}),
        "chat.jsonl": lines({"messages": [{"role": "user", "content": "hi"},
                                          {"role": "assistant", "content": "no."}]}),
        "one.jsonl": lines({**RANKED, "completions": ["a"], "ranks": [0]}),
        "ties.jsonl": lines({**RANKED, "ranks": [1, 1]}),
        "equal.jsonl": lines({**RANKED, "completions": ["no.", "no."]}),
        "ranks.jsonl": lines({**RANKED, "ranks": [0]}),
        "float-ranks.jsonl": lines({**RANKED, "ranks": [0.5, 1.0]}),
        "nan-ranks.jsonl": lines({**RANKED, "ranks": [float("nan"), 1]}),
        "number-answers.jsonl": lines({**RANKED, "completions": [1, 2]}),
        "extra.jsonl": lines({**RANKED, "score": 3}),
        "only-chosen.jsonl": lines({"prompt": PROMPT, "chosen": "no."}),
        "empty-prompt.jsonl": lines({"prompt": PROMPT}, {"prompt": ""}),
        "long-prompt.jsonl": lines({"prompt": PROMPT}, {"prompt": long}),
        "number-prompt.jsonl": lines({"prompt": 5}),
        "list.yaml": b"- 1\n- 2\n",
        "broken.yaml": b"beta: [0.1\n",
        "latin.yaml": "note: caf\u00e9\n".encode("latin-1"),
        "unknown.yaml": b"betta: 0.1\n",
        "infinite.yaml": b"steps: .inf\n",
        "null.yaml": b"beta:\n",
        "wrong.yaml": b"beta: {a: 1}\n",
        "bad.gguf": b"GGUF but no more",
    }  # fmt: skip
    for name, content in files.items():
        (root / name).write_bytes(content)
    return root


def _without(data: bytes, name: str) -> bytes:
    settings = json.loads(data)
    del settings[name]
    return json.dumps(settings).encode()


@pytest.fixture(scope="session")
def workplace(prepared, tmp_path_factory) -> Path:
    """The prepared folder with a finished SFT run and damaged copies of it."""
    root = tmp_path_factory.mktemp("work") / "work"
    shutil.copytree(prepared, root)
    tokenizer = tokenizer_of(264)
    rows = [Demonstration(PROMPT, "at the mill.")] * 2
    config = SFTConfig(epochs=1, batch_size=2, micro_batch_size=2)
    train_sft(policy(tokenizer), tokenizer, rows, config, output_dir=root / "done", quiet=True)
    for name, file in (("cut", "tensors.safetensors"), ("altered", "state.json")):
        shutil.copytree(root / "done", root / name)
        path = root / name / "step-00000001" / file
        data = path.read_bytes()
        path.write_bytes(data[:-10] if name == "cut" else data.replace(b'"step": 1', b'"step": 2'))
    shutil.copytree(root / "done", root / "gone")
    (root / "gone/step-00000001/state.json").unlink()
    return root


def listing(root: Path) -> dict[str, int]:
    return {str(p.relative_to(root)): p.stat().st_size for p in sorted(root.rglob("*"))}


@dataclass(frozen=True)
class Case:
    """A command line, and words that its error must hold: what is wrong, and a way out."""

    name: str
    arguments: list[str]
    words: tuple[str, ...]


def case(name: str, arguments: list[str], *words: str) -> Case:
    return Case(name, arguments, words)


def replaced(command: list[str], option: str, value: str) -> list[str]:
    """The command with another value of an option."""
    place = command.index(option) + 1
    return [*command[:place], value, *command[place + 1 :]]


CASES = [
    # The command line itself
    case("unknown command", ["train"], "train", "--help"),
    case("unknown option", ["sft", "--modle", "tiny"], "--modle", "--help"),
    case("option without value", ["sft", "--model"], "--model", "--help"),
    case("text for a number", ["sft", "--count", "many"], "--count", "integer"),
    case("override without =", ["sft", "epochs"], "epochs", "name=value"),
    case("override without name", ["sft", "=3"], "=3", "name=value"),
    case("unknown setting", ["ppo", "betta=0.1"], "betta", "beta", "correct the name"),
    case("setting of another stage", ["rm", "beta=0.1"], "beta", "RMConfig"),
    case("word for a number", ["ppo", "beta=strong"], "beta", "strong", "float"),
    case("part of a step", ["ppo", "steps=2.5"], "steps", "2.5", "int"),
    case("maybe", ["ppo", "whiten_rewards=maybe"], "whiten_rewards", "true or false"),
    case("NaN setting", ["sft", "learning_rate=nan"], "learning_rate", "finite"),
    case("infinite setting", ["sft", "-o", "learning_rate=inf"], "learning_rate", "finite"),
    case("a number for a stage", ["quickstart", "rm=3"], "rm", "mapping"),
    # Values that a stage refuses
    case("negative beta", ["ppo", "beta=-0.1"], "beta", "-0.1", "at least 0"),
    case("negative gamma", ["ppo", "gamma=-1"], "gamma", "-1", "at least 0"),
    case("no steps", ["ppo", "steps=0"], "steps", "above 0"),
    case("unknown controller", ["ppo", "kl_controller=pid"], "kl_controller", "adaptive"),
    case("minibatches", ["ppo", "batch_size=64", "minibatches=3"], "minibatches", "divisor"),
    case("micro-batch", ["ppo", "micro_batch_size=5"], "micro_batch_size", "divisor"),
    case("part of a block", ["ppo", "ptx_ratio=0.001"], "ptx_ratio", "multiple"),
    case("lambda above 1", ["ppo", "lam=1.5"], "lam", "0 to 1"),
    case("Adam without a decay", ["ppo", "adam_beta1=1"], "adam_beta1", "below 1"),
    case("negative seed", ["ppo", "seed=-1"], "seed", "-1"),
    case("only pretraining", ["sft", "pretrain_mix=1"], "pretrain_mix", "below 1"),
    case("micro-batch of 0", ["sft", "micro_batch_size=0"], "micro_batch_size", "divisor"),
    case("no epochs", ["rm", "epochs=0"], "epochs", "above 0"),
    case("negative rate", ["rm", "learning_rate=-1"], "learning_rate", "above 0"),
    case("K = 1", ["quickstart", "k_min=1"], "k_min", "at least two"),
    case("shares above 1", ["quickstart", "sft_share=0.9"], "early_share", "lower"),
    case("same beta twice", ["sweep", "betas=0,0"], "betas", "different"),
    case("negative beta in a grid", ["sweep", "betas=-1,0"], "betas", "at least 0"),
    case("words in a grid", ["sweep", "seeds=a,b"], "seeds", "int"),
    case("unknown preset", ["pretrain", "--preset", "huge"], "preset", "huge", "tiny"),
    case("half precision", ["pretrain", "precision=float16"], "precision", "bfloat16"),
    case("small vocabulary", ["pretrain", "vocab_size=100"], "vocab_size", "258"),
    case("no records", ["sft", "--model", "model", "--count", "0"], "count", "at least 1"),
    case("negative threads", [*SFT, "--threads", "-1"], "threads", "-1"),
    case("unknown device", [*SFT, "--device", "tpu"], "device", "tpu", "cpu"),
    case("absent device", [*SFT, "--device", "mps"], "device", "mps", "use auto or cpu"),
    case("unknown tracker", [*SFT, "--tracker", "diary"], "tracker", "diary", "tensorboard"),
    case("absent tracker", [*SFT, "--tracker", "comet_ml"], "tracker", "comet_ml", "pip install"),
    # Configuration files
    case("no config", ["sft", "--config", "none.yaml"], "none.yaml", "check the path"),
    case("config is a folder", ["sft", "--config", "empty"], "empty", "check the path"),
    case("broken YAML", ["ppo", "--config", "broken.yaml"], "broken.yaml, line 2", "correct"),
    case("YAML list", ["ppo", "--config", "list.yaml"], "list.yaml", "name: value"),
    case("YAML not UTF-8", ["ppo", "--config", "latin.yaml"], "latin.yaml", "UTF-8"),
    case("unknown name in YAML", ["ppo", "--config", "unknown.yaml"], "betta", "correct"),
    case("infinite in YAML", ["ppo", "--config", "infinite.yaml"], "steps", "int"),
    case("null in YAML", ["ppo", "--config", "null.yaml"], "beta", "single value"),
    case("mapping in YAML", ["ppo", "--config", "wrong.yaml"], "beta", "single value"),
    # Models
    case("no model folder", replaced(SFT, "--model", "./none"), "./none", "check the path"),
    case("no hub", replaced(SFT, "--model", "someone/some-model"), "someone/some-model", "check"),
    case("empty folder", replaced(SFT, "--model", "empty"), "empty", "check the name"),
    case("truncated weights", replaced(SFT, "--model", "truncated"), "truncated", "check"),
    case("weights of garbage", replaced(SFT, "--model", "garbage"), "garbage", "check"),
    case("pickled weights", replaced(SFT, "--model", "pickled"), "pickled", "safetensors"),
    case("broken config.json", replaced(SFT, "--model", "bad-config"), "bad-config", "check"),
    case("broken tokenizer", replaced(SFT, "--model", "bad-tokenizer"), "bad-tokenizer", "check"),
    case("no tokenizer", replaced(SFT, "--model", "no-tokenizer"), "no-tokenizer", "tokenizer"),
    case("no EOS", replaced(SFT, "--model", "no-eos"), "no-eos", "EOS"),
    case("no GGUF", replaced(SFT, "--model", "none.gguf"), "none.gguf", "check the path"),
    case("damaged GGUF", replaced(SFT, "--model", "bad.gguf"), "bad.gguf", "check"),
    case("model is a file", replaced(SFT, "--model", "./file"), "./file", "folder"),
    # Demonstrations
    case("no data", replaced(SFT, "--data", "none.jsonl"), "none.jsonl", "check the path"),
    case("empty data", replaced(SFT, "--data", "empty.jsonl"), "empty.jsonl", "at least one row"),
    case("blank data", replaced(SFT, "--data", "blank.jsonl"), "blank.jsonl", "at least one row"),
    case("data not UTF-8", replaced(SFT, "--data", "latin.jsonl"), "latin.jsonl", "UTF-8"),
    case("broken line", replaced(SFT, "--data", "broken.jsonl"), "broken.jsonl, line 2", "JSON"),
    case("line of a list", replaced(SFT, "--data", "list.jsonl"), "line 2", "object"),
    case("wrong columns", replaced(SFT, "--data", "columns.jsonl"), "row 0", "prompt", "rename"),
    case("mixed types", replaced(SFT, "--data", "mixed.jsonl"), "row 1", "convert"),
    case("null", replaced(SFT, "--data", "null.jsonl"), "row 1", "convert"),
    case("empty answer", replaced(SFT, "--data", "no-completion.jsonl"), "row 1", "remove"),
    case("too long", replaced(SFT, "--data", "long.jsonl"), "row 1", "max_length", "shorten"),
    case("beyond the context", [*replaced(SFT, "--data", "long.jsonl"), "max_length=1000"],
         "context", "64", "shorten"),
    case("pad in the text", replaced(SFT, "--data", "padded.jsonl"), "<|pad|>", "remove"),
    case("chat without template", replaced(SFT, "--data", "chat.jsonl"), "chat template", "set"),
    case("folder of no data set", replaced(SFT, "--data", "empty"), "empty", "save_to_disk"),
    case("mix without text", [*SFT, "pretrain_mix=0.5"], "pretrain", "pretrain_mix to 0"),
    # Rankings
    case("one answer", replaced(RM, "--data", "one.jsonl"), "line 1", "K >= 2"),
    case("all ties", replaced(RM, "--data", "ties.jsonl"), "tied", "rank some"),
    case("equal answers", replaced(RM, "--data", "equal.jsonl"), "equal", "different"),
    case("too few ranks", replaced(RM, "--data", "ranks.jsonl"), "line 1", "2 ranks"),
    case("ranks of floats", replaced(RM, "--data", "float-ranks.jsonl"), "ranks", "whole numbers"),
    case("NaN rank", replaced(RM, "--data", "nan-ranks.jsonl"), "ranks", "whole numbers"),
    case("numbers as answers", replaced(RM, "--data", "number-answers.jsonl"), "texts"),
    case("unknown column", replaced(RM, "--data", "extra.jsonl"), "line 1", "no field but"),
    case("chosen only", replaced(RM, "--data", "only-chosen.jsonl"), "rejected", "rename"),
    case("demonstrations as rankings", replaced(RM, "--data", "good.jsonl"), "chosen", "rename"),
    case("no demonstrations", [*RM, "--demonstrations", "none.jsonl"], "none.jsonl", "check"),
    case("no second writer", ["rm", "--model", "model", "--base", "./none"], "./none", "check"),
    # PPO
    case("no reward model", replaced(PPO, "--reward", "none"), "none", "train it again"),
    case("policy as reward", replaced(PPO, "--reward", "model"), "reward model", "train it"),
    case("truncated reward", replaced(PPO, "--reward", "truncated-reward"), "train it again"),
    case("NaN in the reward", replaced(PPO, "--reward", "nan-reward"), "finite", "train it"),
    case("reward of other words", replaced(PPO, "--reward", "other-reward"), "264", "270"),
    case("reference of other words", [*PPO, "--reference", "other"], "264", "270", "reference"),
    case("no reference", [*PPO, "--reference", "./none"], "./none", "check the path"),
    case("gold without a world", replaced(PPO, "--reward", "gold"), "gold", "reward model"),
    case("empty prompt", replaced(PPO, "--data", "empty-prompt.jsonl"), "prompt 1", "remove"),
    case("long prompt", replaced(PPO, "--data", "long-prompt.jsonl"), "prompt 1", "shorten"),
    case("prompt beyond context",
         [*replaced(PPO, "--data", "long-prompt.jsonl"), "max_prompt_length=1000"],
         "prompt 1", "64 positions"),
    case("response beyond context", [*PPO, "max_response_length=64"], "64 positions", "lower"),
    case("prompt of a number", replaced(PPO, "--data", "number-prompt.jsonl"), "row 0", "prompt"),
    case("gamma without text", [*PPO, "gamma=0.3"], "pretrain", "gamma to 0"),
    case("pretraining columns", [*PPO, "gamma=0.3", "--pretrain", "good.jsonl"], "text", "rename"),
    case("too little text", [*PPO, "gamma=0.3", "--pretrain", "short.jsonl"], "tokens", "more"),
    # Pretraining
    case("no texts", replaced(PRETRAIN, "--data", "good.jsonl"), "row 0", "text", "rename"),
    case("block of 1", [*PRETRAIN, "block_length=1"], "block_length", "at least 2"),
    case("block beyond context",
         [*PRETRAIN, "block_length=257"], "block_length", "257"),
    # Evaluation
    case("eval without model", ["eval", "--model", "./none"], "./none", "check the path"),
    case("eval against other words", ["eval", "--model", "model", "--data", "prompts.jsonl",
         "--reference", "other"], "reference", "264", "270"),
    case("eval with a long seed", ["eval", "--model", "model", "--seed", "9" * 24], "seed", "0 to"),
    case("eval with a negative seed", ["eval", "--model", "model", "--seed", "-1"], "seed", "-1"),
    case("eval of nothing", ["eval", "--model", "model", "--count", "0"], "count", "at least 1"),
    # A stage before the one that comes first
    case("rm before sft", ["rm"], "model", "rlhf-lab sft", "first"),
    case("ppo before sft", ["ppo"], "model", "rlhf-lab sft", "first"),
    case("ppo before rm", ["ppo", "--model", "model"], "reward", "rlhf-lab rm", "first"),
    case("sweep without model", ["sweep", "--model", "./none"], "./none", "check the path"),
    # Fernwick
    case("no documents", ["world", "documents", "--count", "0"], "count", "at least 1"),
    case("negative start", ["world", "documents", "--start", "-5"], "start", "0 or more"),
    case("unknown split", ["world", "documents", "--split", "dev"], "split", "valid"),
    case("negative processes", ["world", "documents", "--processes", "-1"], "processes", "0"),
    case("another file there", ["world", "documents", "--output", "good.jsonl"],
         "good.jsonl", "another name"),
    case("JSON twice", ["world", "documents", "--json"], "--json", "--output"),
    case("seed of a word", ["world", "show", "--seed", "x"], "--seed", "integer"),
    # Folders and checkpoints
    case("output is a file", [*SFT, "--output-dir", "file"], "file", "choose another folder"),
    case("below a file", [*SFT, "--output-dir", "file/run"], "file", "choose another folder"),
    case("cut checkpoint", [*SFT, "--output-dir", "cut"], "step-00000001", "SHA-256", "delete"),
    case("altered checkpoint", [*SFT, "--output-dir", "altered"], "step-00000001", "delete"),
    case("half a checkpoint", [*SFT, "--output-dir", "gone"], "state.json", "delete"),
    case("other settings", [*SFT, "seed=5", "--output-dir", "done"], "seed", "resume"),
]  # fmt: skip


def test_there_are_enough_cases_and_no_two_alike():
    assert len(CASES) >= 60
    assert len({c.name for c in CASES}) == len(CASES)


@pytest.mark.parametrize("wrong", CASES, ids=lambda c: c.name)
def test_one_line_exit_code_2_and_nothing_written(wrong, workplace, monkeypatch, capsys):
    if "mps" in wrong.arguments and torch.backends.mps.is_available():
        pytest.skip("this machine has it")
    monkeypatch.chdir(workplace)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    before = listing(workplace)
    code = cli.run([*wrong.arguments, *_quietly(wrong.arguments)])
    out, err = capsys.readouterr()
    assert code == 2, err
    shown = err.strip().splitlines()
    assert len(shown) == 1, err
    assert shown[0].startswith("error: ")
    for word in wrong.words:
        assert word in shown[0]
    assert ("--json" in wrong.arguments) == bool(out)
    assert listing(workplace) == before


def _quietly(arguments: list[str]) -> list[str]:
    """No settings on stderr, where the command would print them."""
    trainers = ("sft", "rm", "ppo", "pretrain", "quickstart", "sweep")
    return ["--quiet"] if arguments[0] in trainers and arguments[-1] != "--model" else []


# --- what the machine gets wrong ----------------------------------------------------------------


@pytest.mark.parametrize("command", [SFT, RM, PPO, PRETRAIN], ids=lambda c: c[0])
@pytest.mark.parametrize(
    "number, fix", [(errno.ENOSPC, "free disk space"), (errno.EROFS, "not read-only")]
)
def test_a_disk_that_refuses(command, number, fix, workplace, tmp_path, monkeypatch, capsys):
    """A full disk shows when a checkpoint is written; a read-only one with the first file."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.chdir(workplace)
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        if number == errno.EROFS:
            patch.setattr(Path, "mkdir", refuse)
        else:
            patch.setattr(checkpoints, "save_file", refuse)
        code = cli.run([*command, "--output-dir", str(folder), "--quiet"])
    err = capsys.readouterr().err
    assert code == 2, err
    assert err.startswith("error: ") and fix in err and len(err.strip().splitlines()) == 1
    left = {p.name for p in folder.rglob("*")} if folder.exists() else set()
    assert left <= {"metrics.jsonl", "config.json"}  # whole files of the steps that were taken


def test_errors_are_json_too(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    code = cli.run([*replaced(SFT, "--data", "none.jsonl"), "--json"])
    out, err = capsys.readouterr()
    assert code == 2
    answer = json.loads(out)
    assert answer["exit_code"] == 2
    assert answer["error"] in err


def test_a_gguf_file_without_the_package(workplace, monkeypatch, capsys):
    """Older versions of transformers read GGUF through a package, and ask for it like this."""

    def ask(*_: object, **__: object) -> None:
        raise ImportError("Please install torch and gguf>=0.10.0 to load a GGUF checkpoint.\nMore.")

    monkeypatch.chdir(workplace)
    monkeypatch.setattr("rlhf_lab.models.AutoTokenizer.from_pretrained", ask)
    code = cli.run([*replaced(SFT, "--model", "bad.gguf"), "--quiet"])
    err = capsys.readouterr().err
    assert code == 2
    assert "install torch and gguf" in err and len(err.strip().splitlines()) == 1


# --- what a caller gets wrong -------------------------------------------------------------------


def trainer(**changes):
    tokenizer = tokenizer_of(264)
    model = policy(tokenizer)
    scalar = ScalarModel.from_policy(model, 0)
    arguments = {
        "policy": model,
        "reference": policy(tokenizer),
        "reward": lambda prompts, responses, mask: mask.sum(1).float(),
        "value": scalar,
        "tokenizer": tokenizer,
        "prompts": [PROMPT, PROMPT],
        "pretrain": torch.full((4, 8), 5),
        "config": PPOConfig(
            steps=1, batch_size=2, minibatches=1, max_response_length=4, max_prompt_length=32
        ),
    }
    return PPOTrainer(**{**arguments, **changes}, quiet=True)


def pretrained(blocks):
    tokenizer = tokenizer_of(264)
    config = PretrainConfig(steps=1, batch_size=2, block_length=8)
    return pretrain(blocks, policy(tokenizer).config, config, tokenizer=tokenizer, quiet=True)


def same_model():
    model = policy(tokenizer_of(264))
    return trainer(policy=model, reference=model)


CALLS = {
    "float blocks": (lambda: trainer(pretrain=torch.zeros(4, 8)), "pretrain", "pack_blocks"),
    "flat blocks": (lambda: trainer(pretrain=torch.zeros(8).long()), "pretrain", "pack_blocks"),
    "blocks of other words": (lambda: trainer(pretrain=torch.full((4, 8), 999)), "999", "263"),
    "no blocks": (lambda: trainer(pretrain=None), "pretrain", "gamma to 0"),
    "no prompts": (lambda: trainer(prompts=[]), "prompts", "at least one"),
    "empty prompt": (lambda: trainer(prompts=[[]]), "prompt 0", "remove"),
    "mixed prompts": (lambda: trainer(prompts=[PROMPT, [5]]), "prompts", "one kind"),
    "pad in a prompt": (lambda: trainer(prompts=[[5, 1]]), "pad", "tokenizer"),
    "pad is EOS": (lambda: trainer(tokenizer=pad_is_eos()), "pad", "load_policy"),
    "policy is reference": (same_model, "reference", "deepcopy"),
    "reward that is none": (lambda: trainer(reward=3), "reward", "callable"),
    "NaN reward": (
        lambda: trainer(reward=lambda p, r, m: m.sum(1) * float("nan")).train(),
        "reward", "finite",
    ),
    "reward of a wrong shape": (
        lambda: trainer(reward=lambda p, r, m: m.float()).train(), "reward", "(2,)",
    ),
    "pretraining on floats": (lambda: pretrained(torch.zeros(4, 8)), "blocks", "integers"),
    "pretraining on nothing": (lambda: pretrained(torch.zeros(0, 8).long()), "blocks", "block"),
    "pretraining on other words": (lambda: pretrained(torch.full((4, 8), 999)), "999", "encode"),
    "SFT with pad = EOS": (
        lambda: train_sft(
            policy(tokenizer_of(264)), pad_is_eos(), [Demonstration(PROMPT, "no.")],
            SFTConfig(), quiet=True,
        ),
        "pad", "load_policy",
    ),
    "K = 1": (lambda: Ranking(PROMPT, ("a",), (0,)), "completions", "at least two"),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calls_that_cannot_work(name):
    call, *words = CALLS[name]
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


# --- one process in a folder --------------------------------------------------------------------

HOLD = """
import sys
from rlhf_lab.checkpoints import alone_in
with alone_in(sys.argv[1]):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path):
    """Another process that trains into ``tmp_path``, as far as a lock can tell."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"in\n"
        yield process
        process.kill()


def test_a_folder_is_for_one_process(tmp_path, other_process):
    with pytest.raises(InputError, match=r"output_dir.*no other process.*wait until"):
        checkpoints.alone_in(tmp_path).__enter__()
    with checkpoints.alone_in(tmp_path / "another"), checkpoints.alone_in(None):
        pass
    other_process.kill()  # no chance to clean up
    other_process.wait()
    with checkpoints.alone_in(tmp_path):
        pass


@pytest.mark.parametrize("stage", ["pretrain", "sft", "ppo"])
def test_a_second_run_leaves_the_folder_of_the_first_as_it_is(tmp_path, other_process, stage):
    """A run that resumed while the old one still finished its step cut its metrics."""
    row = '{"step": 7, "loss": 1.0}\n'
    (tmp_path / "metrics.jsonl").write_text(row)
    checkpoints.save_checkpoint(tmp_path, 7, {"a": torch.zeros(1)}, {})
    tokenizer = tokenizer_of(264)
    model = policy(tokenizer)
    with pytest.raises(InputError, match="no other process"):
        if stage == "pretrain":
            config = PretrainConfig(steps=9, batch_size=2, block_length=8)
            blocks = torch.full((4, 8), 5)
            pretrain(
                blocks, model.config, config, tokenizer=tokenizer, output_dir=tmp_path,
                resume=False, quiet=True,
            )  # fmt: skip
        elif stage == "sft":
            rows = [Demonstration(PROMPT, "at the mill.")] * 4
            config = SFTConfig(batch_size=2, micro_batch_size=2)
            train_sft(model, tokenizer, rows, config, output_dir=tmp_path, resume=False, quiet=True)
        else:
            trainer(output_dir=tmp_path).train(resume=False)
    assert (tmp_path / "metrics.jsonl").read_text() == row
    assert checkpoints.latest_checkpoint(tmp_path).name == "step-00000007"
