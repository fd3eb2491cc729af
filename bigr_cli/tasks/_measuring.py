"""What the commands that look at images have in common: options, loading the model, images that fail, reports."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bigr_cli import console, options
from bigr_cli.errors import RunError
from bigr_cli.help_pages import long_name
from bigr_cli.options import argument, option
from bigr_cli.options.groups import Machine, Sampling
from bigr_cli.tasks._results import counted

if TYPE_CHECKING:
    from bigr_cli.core.config import SamplingConfig
    from bigr_cli.evaluation.generation import Evaluator
    from bigr_cli.evaluation.preflight import Point
    from bigr_cli.evaluation.report import Report
    from bigr_cli.model import Model
    from bigr_cli.zoo.config import ModelConfig


_LISTED = 20
EVALUATION = "Evaluation"  # a panel

Images = Annotated[list[str], argument("IMAGE...", "Files, folders, patterns, tar shards, tables, arrays or scenes.")]
SceneCount = Annotated[int | None, options.count("How many scenes; 1000 if not given.", options.INPUT, most=10**9)]
ImageSeed = Annotated[
    int,
    options.seed(
        "Which images are taken, where not all are. Another seed means other scenes.", options.INPUT, most=2**31
    ),
]
Sweep = Annotated[
    list[str] | None,
    option(
        "--sweep",
        "Try all values, such as guidance=1,1.5,2. Repeated, it tries all combinations.",
        options.SAMPLING,
        metavar="SETTING=VALUES",
    ),
]


def loaded(name: str | None, machine: Machine) -> "Model":
    """The model, on the device and in the format asked for, and a message about it."""
    from bigr_cli.model import load

    model = load(name, **machine.placing())
    console.say(f"{model.name} on {model.device} in {str(model.dtype).removeprefix('torch.')}")
    return model


def finish(failed: Sequence[tuple[str, str]], total: int) -> None:
    """Raise RunError if images failed, with a list of them."""
    if not failed:
        return
    for name, reason in failed[:_LISTED] if len(failed) > 1 else ():
        console.say(f"  failed: {name} ({reason.removeprefix(name).lstrip(': ')})")
    if len(failed) > _LISTED:
        console.say(f"  and {len(failed) - _LISTED} more")
    raise RunError(f"{counted(len(failed))} of {total} failed")


@dataclass(frozen=True, kw_only=True)
class EvaluatorOptions:
    """What looks at the images."""

    features: Annotated[
        str | None,
        option(
            "--features",
            "The network whose features are compared. That is scenes, a model, or one that torch-fidelity knows; "
            "without it, scenes for scenes, and Inception otherwise.",
            EVALUATION,
            metavar="NAME|MODEL|DIR",
        ),
    ] = None
    weights: Annotated[
        Path | None,
        option(
            "--weights",
            "Weights of torch-fidelity's Inception, or of what --features names.",
            EVALUATION,
            metavar="FILE",
        ),
    ] = None
    fetch_weights: Annotated[
        bool, option("--fetch-weights", "Download weights of torch-fidelity's that are not here.", EVALUATION)
    ] = False

    def evaluator(self) -> "Evaluator":
        """What is to look at the images, as the evaluation takes it."""
        from bigr_cli.evaluation.generation import Evaluator

        return Evaluator(features=self.features, weights=self.weights, fetch_weights=self.fetch_weights)


@dataclass(frozen=True, kw_only=True)
class Reporting:
    """Where the figures go besides the terminal."""

    report: Annotated[
        Path | None,
        option(
            "--report",
            "Write a report into this folder. It has plots, a table in Markdown and results.json.",
            options.OUTPUT,
            metavar="DIR",
        ),
    ] = None
    overwrite: options.Overwrite = False
    json: options.Json = False

    def folder(self) -> Path | None:
        """The report's folder, which can be written to; UsageError if not."""
        if self.report is None:
            return None
        from bigr_cli.evaluation.report import check_report_folder

        return check_report_folder(self.report.expanduser(), overwrite=self.overwrite)

    def save(self, folder: Path, report: "Report") -> None:
        """Write a report, and say where."""
        from bigr_cli.evaluation.report import write_report

        write_report(folder, report, overwrite=self.overwrite)
        console.say(f"wrote {folder / 'index.html'}")


def swept(config: "ModelConfig", sampling: Sampling, sweep: Sequence[str]) -> "list[tuple[Point, SamplingConfig]]":
    """The settings of the sampler at every point of a sweep, which is one point without any."""
    from bigr_cli.evaluation.preflight import points
    from bigr_cli.zoo.presets import sampling_settings

    given = sampling.given
    return [(point, sampling_settings(config, given, point)) for point in points(sweep, list(given))]


def command_line(context: typer.Context) -> str:
    """The command as it was given, which makes the same figures again."""
    words = ["bigr", *context.command_path.split()[1:]]
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[parameter.name or ""]
        for each in value if isinstance(value, list | tuple) else [value] if value is not None else []:
            name = [long_name(parameter)] if parameter.opts[0].startswith("-") else []
            words += name if isinstance(each, bool) else [*name, str(each)]
    return shlex.join(words)
