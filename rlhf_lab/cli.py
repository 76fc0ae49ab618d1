"""``rlhf-lab``: every stage from the command line.

Nothing heavy is imported before a command needs it, so that help comes at once. A mistake of the
user is one line on stderr and exit code 2, a training that diverged is exit code 3, and Ctrl-C,
after saving, 130. A sweep in which a run failed, and a doctor who found something broken, exit 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from rlhf_lab import __version__, strict_json
from rlhf_lab.cli_options import (
    AsJson,
    Count,
    Data,
    Device,
    Model,
    OutputDir,
    Quiet,
    Settings,
    ShownWorld,
    Start,
    Threads,
    Training,
    WorldSeed,
    grouped,
)
from rlhf_lab.errors import DivergenceError, InputError
from rlhf_lab.labs.commands import app as labs_app

# typer 0.26 and later carry their own click, older ones use click's: this is the class of either.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="rlhf-lab",
    help="SFT, K-wise reward modelling and PPO-ptx at small scale.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
world_app = typer.Typer(help="Look into Fernwick, the microworld.")
app.add_typer(world_app, name="world")
app.add_typer(labs_app, name="labs")


# --- what every command does ------------------------------------------------------------------


def _begin(config: Any, quiet: bool, threads: int = 0) -> None:
    """Show the resolved settings with the derived batch arithmetic; make the libraries quiet."""
    from rlhf_lab.config import describe

    if not quiet:
        typer.echo(describe(config), err=True)
    from rlhf_lab.stages import set_threads, silence_libraries

    set_threads(threads)
    silence_libraries()


def _require_made(option: str, value: str, default: str, stage: str) -> None:
    """Who starts with a later stage is told which one comes before it."""
    if value == default and not Path(value).is_dir():
        raise InputError(
            option, value, f"what `rlhf-lab {stage}` writes there",
            f"run `rlhf-lab {stage}` first, or name another with --{option}",
        )  # fmt: skip


def _print(result: dict[str, Any], as_json: bool) -> None:
    """One JSON object for machines, or one aligned line per value."""
    if as_json:
        typer.echo(strict_json.dumps(result))
        return
    rows = list(_flat(result))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        typer.echo(f"{name:<{width}}  {value:.4g}" if isinstance(value, float) else
                   f"{name:<{width}}  {value}")  # fmt: skip


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


# --- stages -----------------------------------------------------------------------------------


@app.command()
@grouped
def pretrain(
    settings: Settings,
    *,
    preset: Annotated[
        str | None, typer.Option(help="Architecture: nano, micro, tiny or base.")
    ] = None,
    data: Data = None,
    training: Training,
) -> None:
    """Step 0: a base model from random weights, with its tokenizer."""
    from rlhf_lab.config import PretrainConfig

    config = settings.read(PretrainConfig, *([] if preset is None else [f"preset={preset}"]))
    _begin(config, training.silent, training.threads)
    from rlhf_lab.stages import run_pretrain

    run = training.run(f"pretrain-{config.preset}", data=data, world_seed=config.world_seed)
    _print(run_pretrain(config, run), training.as_json)


@app.command()
@grouped
def sft(
    settings: Settings,
    *,
    model: Model = "tiny",
    data: Data = None,
    count: Count = None,
    world_seed: WorldSeed = 0,
    training: Training,
) -> None:
    """Step 1: supervised fine-tuning on demonstrations."""
    from rlhf_lab.config import SFTConfig

    config = settings.read(SFTConfig)
    _begin(config, training.silent, training.threads)
    from rlhf_lab.stages import run_sft

    run = training.run("sft", model, data, count, world_seed)
    _print(run_sft(config, run), training.as_json)


@app.command()
@grouped
def examiner(
    settings: Settings,
    *,
    model: Model = "tiny",
    start: Annotated[
        str | None,
        typer.Option(
            help="Examiner that goes on learning: tiny-examiner or a folder.",
            show_default="--model",
        ),
    ] = None,
    training: Training,
) -> None:
    """Before step 2: a reward model that learns to judge from marked exams."""
    from rlhf_lab.config import ExaminerConfig

    config = settings.read(ExaminerConfig)
    _begin(config, training.silent, training.threads)
    from rlhf_lab.stages import run_examiner

    run = training.run("examiner", model, world_seed=config.world_seed)
    _print(run_examiner(config, run, start), training.as_json)


@app.command()
@grouped
def rm(
    settings: Settings,
    *,
    model: Start = "runs/sft/final",
    start: Annotated[
        str | None,
        typer.Option(
            help="Reward model to start from: tiny-examiner or a folder.", show_default="--model"
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="A second model whose answers are ranked too.")
    ] = None,
    data: Data = None,
    demonstrations: Annotated[
        Path | None, typer.Option(help="Your demonstrations, whose mean score becomes 0.")
    ] = None,
    count: Count = None,
    world_seed: WorldSeed = 0,
    training: Training,
) -> None:
    """Step 2: the reward model, from rankings of K answers."""
    from rlhf_lab.config import RMConfig

    config = settings.read(RMConfig)
    _begin(config, training.silent, training.threads)
    _require_made("model", model, "runs/sft/final", "sft")
    from rlhf_lab.stages import run_rm

    run = training.run("rm", model, data, count, world_seed)
    result = run_rm(config, run, start=start, base=base, demonstrations=demonstrations)
    _print(result, training.as_json)


@app.command()
@grouped
def ppo(
    settings: Settings,
    *,
    model: Start = "runs/sft/final",
    reward: Annotated[
        str, typer.Option(help="Folder of a reward model, or gold for Fernwick's judge.")
    ] = "runs/rm/final",
    reference: Annotated[
        str | None, typer.Option(help="Model that the KL is measured to.", show_default="--model")
    ] = None,
    data: Data = None,
    pretrain_data: Annotated[
        Path | None,
        typer.Option("--pretrain", help="Your pretraining texts for gamma > 0 (column text)."),
    ] = None,
    count: Count = None,
    world_seed: WorldSeed = 0,
    training: Training,
) -> None:
    """Step 3: PPO-ptx against a reward, with a KL penalty and a pretraining mix."""
    from rlhf_lab.config import PPOConfig

    config = settings.read(PPOConfig)
    _begin(config, training.silent, training.threads)
    _require_made("model", model, "runs/sft/final", "sft")
    _require_made("reward", reward, "runs/rm/final", "rm")
    from rlhf_lab.stages import run_ppo

    run = training.run("ppo", model, data, count, world_seed)
    result = run_ppo(config, run, reward=reward, reference=reference, pretrain_data=pretrain_data)
    _print(result, training.as_json)


@app.command("eval")
def evaluate(
    model: Model = "tiny",
    reference: Annotated[
        str | None,
        typer.Option(help="Model that the KL is measured to and labelers compare with."),
    ] = None,
    reward: Annotated[str | None, typer.Option(help="Folder of a reward model.")] = None,
    suites: Annotated[bool, typer.Option("--suites", help="Run every benchmark suite.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the answers.")] = 0,
    data: Data = None,
    count: Count = None,
    world_seed: WorldSeed = 0,
    device: Device = "auto",
    output_dir: OutputDir = None,
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Measure a model: gold score, reward, exact KL, win rates, alignment tax."""
    from rlhf_lab.stages import Run, run_eval, set_threads, silence_libraries

    set_threads(threads)
    silence_libraries()
    folder = output_dir or Path("runs") / "eval"
    run = Run(folder, model, device, data, count, world_seed, resume=False, quiet=True)
    _print(run_eval(run, reference=reference, reward=reward, suites=suites, seed=seed), as_json)


@app.command()
@grouped
def sweep(
    settings: Settings,
    *,
    model: Model = "tiny",
    output_dir: OutputDir = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """PPO-ptx over a grid of beta, gamma and seed; finished runs are skipped."""
    from rlhf_lab.config import SweepConfig

    config = settings.read(SweepConfig, f"chain.model={model}")
    _begin(config, quiet or as_json)
    from rlhf_lab.models import load_policy
    from rlhf_lab.runtime import completing
    from rlhf_lab.sweep import sweep as run_grid

    load_policy(config.chain.model)  # wrong, it is one line here, and later one of each run
    folder = output_dir or Path("runs") / "sweep"
    with completing():
        table = run_grid(
            config.chain, config.betas, config.gammas, config.seeds, folder,
            processes=config.processes or None, evaluate=config.evaluate,
            questions=config.questions, documents=config.documents, samples=config.samples,
            quiet=quiet or as_json,
        )  # fmt: skip
    failed = [str(error) for error in table["error"] if error]
    _print(
        {"stage": "sweep", "output_dir": str(folder), "rows": len(table), "failed": failed}, as_json
    )
    if failed:
        raise typer.Exit(1)


@app.command()
@grouped
def quickstart(
    settings: Settings,
    *,
    model: Model = "tiny",
    seed: Annotated[int, typer.Option(help="Seed of every stage.")] = 0,
    world_seed: WorldSeed = 0,
    device: Device = "auto",
    output_dir: OutputDir = None,
    threads: Threads = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """SFT, reward model, PPO and PPO-ptx in one go, with a table and report.html."""
    from rlhf_lab.config import ChainConfig

    named = (f"model={model}", f"seed={seed}", f"world_seed={world_seed}")
    config = settings.read(ChainConfig, *named)
    _begin(config, quiet or as_json, threads)
    from rlhf_lab.quickstart import as_text, run_quickstart
    from rlhf_lab.runtime import cpu_threads

    folder = output_dir or Path("runs") / f"quickstart-{config.seed}"
    processes = 2 if cpu_threads(device) > 1 else 1
    result = run_quickstart(
        config, folder, device=device, quiet=quiet or as_json, processes=processes
    )
    if as_json:
        _print(result, as_json)
    else:
        typer.echo(as_text(result))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this machine: versions, device, memory, assets, and a five-second training."""
    from rlhf_lab.doctor import as_text, examine

    result = examine()
    if as_json:
        _print(result, as_json)
    else:
        typer.echo(as_text(result))
    if not result["healthy"]:
        raise typer.Exit(1)


# --- Fernwick -----------------------------------------------------------------------------------


@world_app.command("show")
def world_show(
    seed: ShownWorld = 0,
    index: Annotated[int, typer.Option(help="Which samples; try 1, 2, 3 …")] = 0,
    as_json: AsJson = False,
) -> None:
    """Samples of everything: facts, documents, prompts with answers, labelers, suites."""
    from rlhf_lab.world import World
    from rlhf_lab.world.show import as_text, samples

    found = samples(World(seed), index)
    if as_json:
        _print(found, as_json)
    else:
        typer.echo(as_text(found))


@world_app.command("documents")
def world_documents(
    count: Annotated[int, typer.Option(help="How many.")] = 1000,
    start: Annotated[int, typer.Option(help="Position of the first one in the stream.")] = 0,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "train",
    seed: ShownWorld = 0,
    output: Annotated[
        Path | None, typer.Option(help="File to write; a run that was cut off goes on.")
    ] = None,
    processes: Annotated[int, typer.Option(help="Processes; 0 for one per core.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Documents of the web as JSON lines, on stdout or into a file."""
    from rlhf_lab.world.stream import Stream, generate

    stream = Stream(count, start, split, seed)
    if processes < 0:
        raise InputError("processes", processes, "0 or more", "use 0 for one per core")
    if output is None:
        if as_json:
            raise InputError("--json", True, "only with --output", "leave it out: stdout is JSON")
        for document in generate(stream, processes or None):
            row = {"text": document.text, "kind": document.kind}
            typer.echo(json.dumps(row, ensure_ascii=False))
        return
    from rlhf_lab.shards import write_shard

    path = write_shard(output, stream, processes=processes or None)
    _print({"output": str(path), "documents": count, "bytes": path.stat().st_size}, as_json)


# --- running it -------------------------------------------------------------------------------


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """SFT, K-wise reward modelling and PPO-ptx at small scale."""


def _fail(message: str, code: int, as_json: bool) -> int:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    if as_json:
        typer.echo(json.dumps({"error": message, "exit_code": code}))
    return code


def _usage(error: Any) -> str:
    """A wrong command line, with the way out."""
    command = error.ctx.command_path if error.ctx is not None else "rlhf-lab"
    return f"{error.format_message().rstrip('.')}; fix: see {command} --help"


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    Args:
        arguments: what follows ``rlhf-lab``.
    """
    as_json = "--json" in arguments
    try:
        return int(app(list(arguments) or ["--help"], standalone_mode=False) or 0)
    except InputError as error:
        return _fail(str(error), 2, as_json)
    except DivergenceError as error:
        return _fail(str(error), 3, as_json)
    except USAGE_ERROR as error:
        return _fail(_usage(error), 2, as_json)
    except (KeyboardInterrupt, typer.Abort):  # typer makes the second of the first
        return _fail("stopped; run the same command again to go on", 130, as_json)


def main() -> NoReturn:
    """Entry point of ``rlhf-lab``."""
    sys.exit(run(sys.argv[1:]))
