"""Options that several commands share: each is written once, with its help."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from rlhf_lab.stages import Run

Overrides = Annotated[
    list[str] | None, typer.Argument(help="Settings as name=value, for example beta=0.1.")
]
Option = Annotated[list[str] | None, typer.Option("-o", help="Another setting, name=value.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")]
Model = Annotated[str, typer.Option(help="Preset (tiny, base), hub id, local folder or GGUF file.")]
Start = Annotated[str, typer.Option(help="The SFT policy that it starts from.")]
Data = Annotated[
    Path | None,
    typer.Option(help="Your records (JSON lines, or a datasets folder) in place of Fernwick's."),
]
Count = Annotated[int | None, typer.Option(help="Records taken from Fernwick.")]
WorldSeed = Annotated[int, typer.Option(help="Which Fernwick; shipped models know world 0.")]
ShownWorld = Annotated[int, typer.Option("--seed", help="Which Fernwick.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
OutputDir = Annotated[Path | None, typer.Option(help="Where results go.", show_default="runs/…")]
Resume = Annotated[
    bool, typer.Option("--resume/--no-resume", help="Go on from the newest checkpoint there.")
]
Tracker = Annotated[
    list[str] | None, typer.Option(help="Another tracker, such as tensorboard or wandb.")
]
Threads = Annotated[int, typer.Option(help="Cores to use; 0: as torch decides.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No settings and no progress bar.")]


@dataclass(frozen=True)
class Settings:
    """Where the configuration of a command comes from."""

    overrides: Overrides = None
    option: Option = None
    config_file: ConfigFile = None

    def read(self, kind: type, *named: str) -> Any:
        """The configuration: defaults, then the file, then ``named`` options, then overrides."""
        from rlhf_lab.config import load

        overrides = [*named, *(self.overrides or ()), *(self.option or ())]
        return load(kind, self.config_file, overrides)


@dataclass(frozen=True)
class Training:
    """What every training stage is told besides its configuration and its data."""

    device: Device = "auto"
    output_dir: OutputDir = None
    resume: Resume = True
    tracker: Tracker = None
    threads: Threads = 0
    as_json: AsJson = False
    quiet: Quiet = False

    @property
    def silent(self) -> bool:
        """No settings and no progress bar: with ``--json`` too."""
        return self.quiet or self.as_json

    def run(
        self,
        stage: str,
        model: str = "",
        data: Path | None = None,
        count: int | None = None,
        world_seed: int = 0,
    ) -> Run:
        """The run as the stages take it."""
        from rlhf_lab.stages import Run

        return Run(
            output_dir=self.output_dir or Path("runs") / stage,
            model=model,
            device=self.device,
            data=data,
            count=count,
            world_seed=world_seed,
            resume=self.resume,
            trackers=tuple(self.tracker or ()),
            quiet=self.silent,
        )


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Spread parameters whose type is a dataclass: typer sees the fields, in their place."""
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if not dataclasses.is_dataclass(kind):
            parameters.append(_keyword(parameter.name, parameter.default, kind))
            continue
        groups[parameter.name] = kind
        types = get_type_hints(kind, include_extras=True)
        parameters += [_keyword(f.name, f.default, types[f.name]) for f in dataclasses.fields(kind)]

    @functools.wraps(command)
    def spread(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{f.name: values.pop(f.name) for f in dataclasses.fields(kind)})
        command(**values)

    spread.__annotations__ = {p.name: p.annotation for p in parameters}
    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return spread


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
