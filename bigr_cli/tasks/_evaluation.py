"""What the commands that compare pictures have in common: their options, and what their records say."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigr_cli import options
from bigr_cli.errors import UsageError

if TYPE_CHECKING:
    import torch

    from bigr_cli.evaluation.extractors import Extractor

JUDGING = "Judging"


def _option(*names: str, panel: str, help: str, **details: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, help=help, show_default=False, **details)


@dataclass(frozen=True, kw_only=True)
class Judging:
    """What looks at the pictures."""

    features: Annotated[
        str | None,
        _option(
            "--features",
            panel=JUDGING,
            metavar="NAME|MODEL|DIR",
            help="The network whose features are compared: scenes, a model, or one that torch-fidelity knows. "
            "Without it, scenes for scenes, and Inception otherwise.",
        ),
    ] = None
    weights: Annotated[
        Path | None,
        _option("--weights", panel=JUDGING, metavar="FILE", help="Weights of torch-fidelity's Inception, or of what "
                "--features names."),
    ] = None  # fmt: skip
    fetch_weights: Annotated[
        bool, _option("--fetch-weights", panel=JUDGING, help="Download weights of torch-fidelity's that are not here.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class Reporting:
    """Where the figures go besides the terminal."""

    report: Annotated[
        Path | None,
        _option(
            "--report",
            panel=options.OUTPUT,
            metavar="DIR",
            help="Write a page with plots, a table in Markdown and results.json into this folder.",
        ),
    ] = None
    overwrite: options.Overwrite = False
    json: options.Json = False


def open_judge(judging: Judging, *, scenes: bool) -> "Extractor":
    """The extractor asked for; without one, that of scenes where scenes are judged, or torch-fidelity's Inception."""
    from bigr_cli.evaluation.extractors import SCENES, open_extractor

    wanted = judging.features or (SCENES if scenes and judging.weights is None else None)
    weights = judging.weights.expanduser() if judging.weights else None
    return open_extractor(wanted, weights=weights, fetch=judging.fetch_weights)


def check_report(reporting: Reporting) -> Path | None:
    """The report's folder, which can be written to; UsageError if not, or if there is nothing to draw plots with."""
    if reporting.report is None:
        return None
    from bigr_cli.evaluation.report import check_report_folder

    return check_report_folder(reporting.report.expanduser(), overwrite=reporting.overwrite)


def command_line(context: typer.Context) -> str:
    """The command as it was given, which makes the same figures again."""
    words = ["bigr", *context.command_path.split()[1:]]
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[parameter.name or ""]
        for each in value if isinstance(value, list | tuple) else [value]:
            name = [parameter.opts[-1]] if parameter.opts[-1].startswith("-") else []
            words += name if isinstance(each, bool) else [*name, str(each)]
    return shlex.join(words)


def processes() -> tuple[int, int]:
    """The number of this process, and how many torchrun or accelerate has started."""
    try:
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError:
        raise UsageError("RANK and WORLD_SIZE in the environment are no numbers") from None


def device_of(name: str) -> str:
    """The device as `load` takes it: with several processes each gets a GPU of its own."""
    rank = os.environ.get("LOCAL_RANK")
    if rank is None or name not in ("auto", "cuda"):
        return name
    from bigr_cli.device import select_device

    return f"cuda:{rank}" if select_device(name).type == "cuda" else name


def wait_for_all(device: "torch.device") -> None:
    """Go on when every process has come this far."""
    from datetime import timedelta

    from accelerate import PartialState

    PartialState(cpu=device.type == "cpu", timeout=timedelta(days=7)).wait_for_everyone()


def rounded(figures: dict[str, float], keys: Sequence[str]) -> list[str]:
    """Figures as cells of a table: four significant digits, a dash for those that are missing."""
    return [f"{figures[key]:.4g}" if key in figures else "–" for key in keys]
