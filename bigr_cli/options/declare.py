"""How every option and argument of a command is declared: names, help, panel, environment variable, range.

    Count = Annotated[int, option("-n --count", "How many.", MODEL, variable=True, metavar="N", min=1)]

Options that set a field of a dataclass follow from what the field says of itself (see `bigr_cli.setting`).
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import typer

from bigr_cli.core import config
from bigr_cli.errors import UsageError
from bigr_cli.plain_text import seconds_of
from bigr_cli.setting import COUNT_NAMES, Parameter, members, parameters

_INTERVAL = tuple[float, float]

# Panels of a command's help; `help_pages` has their order.
ARGUMENTS = "Arguments"
INPUT = "Input"
MASK = "Mask"
PAINTING = "Painting"
MODEL = "Model"
TRAINING = "Training"
OUTPUT = "Files"
SAMPLING = "Advanced"
MACHINE = "Machine"
RARE = "Rarely needed"  # which --help-all alone shows
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def option(names: str, help: str, panel: str | None = None, *, variable: bool | str = False, **details: Any) -> Any:
    """An option of a command, as Typer takes it in `Annotated`.

    Args:
        names: short and long ones, such as "-n --count --num-images". The first long one is what it is called; further
            ones are what other programs call it.
        help: of which `--help` shows the first sentence.
        panel: the heading that it stands under.
        variable: whether an environment variable can give it too: BIGR_ and its name, or the one that is named here.
        details: those of `typer.Option`, such as metavar, min, max, parser and callback. Help shows the default of an
            option without a variable, unless show_default is False.
    """
    words = names.split()
    if variable is True:
        long = next(word for word in words if word.startswith("--"))
        variable = "BIGR_" + long.removeprefix("--").replace("-", "_").upper()
    details = {"show_default": not variable, "envvar": variable or None} | details
    return typer.Option(*words, help=help, rich_help_panel=panel, **details)


def argument(metavar: str, help: str) -> Any:
    """An argument of a command, as Typer takes it in `Annotated`."""
    return typer.Argument(metavar=metavar, help=help, show_default=False)


def count(help: str, panel: str | None = None, *, most: int | None = None, **details: Any) -> Any:
    """The option -n, --count."""
    names = " ".join(["-n --count", *COUNT_NAMES])
    return option(names, help, panel, min=1, max=most, metavar="N", **details)


def seed(help: str, panel: str | None = None, *, most: int = config.LARGEST_SEED, **details: Any) -> Any:
    """The option --seed, a whole number from 0 to `most`."""

    def check(value: int | None) -> int | None:
        if value is None or 0 <= value <= most:
            return value
        limit = "2^63 - 1" if most == config.LARGEST_SEED else f"{most:,}"
        raise typer.BadParameter(f"{value} is not a whole number from 0 to {limit}")

    return option("--seed", help, panel, metavar="N", callback=check, **details)


def output(metavar: str, help: str, *, also: str = "", **details: Any) -> Any:
    """The option -o, --output, with other names in `also`."""
    return option(f"-o --output {also}", help, ARGUMENTS, metavar=metavar, **details)


def named_model(
    help: str, panel: str = MODEL, *, name: str = "--model", metavar: str = "NAME|DIR", **details: Any
) -> Any:
    """The option -m, --model; where a command has another `name` for it, that too."""
    names = "-m --model" if name == "--model" else f"-m {name} --model"
    return option(names, help, panel, metavar=metavar, **details)


def command_parameters(kind: type, *, given: bool = False) -> list[inspect.Parameter]:
    """A parameter, as Typer reads it, for each setting of a dataclass.

    With `given`, all are None unless they are given, because something else decides then. Those of the sampler's
    settings inside another dataclass are not among them: the group `Sampling` has those.
    """
    return [_parameter(one, given=given) for one in parameters(kind) if one.path[0] != "sampling"]


def _parameter(parameter: Parameter, *, given: bool) -> inspect.Parameter:
    kind = _kind(parameter.kind)
    default = None if given or parameter.default in ((), None) else parameter.default
    accepted: Any = kind | None if default is None else kind
    annotation: Any = Annotated[accepted, _option(parameter, kind)]
    return inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _kind(declared: Any) -> Any:
    """The type of an option's value: what a class or a text is called comes as text, several values as a list."""
    parts = [part for part in members(declared) if part is not NoneType]
    if len(parts) == 1 and parts[0] == _INTERVAL:
        return Interval
    if len(parts) == 1 and get_origin(parts[0]) is tuple:
        return list[get_args(parts[0])[0]]  # type: ignore[misc]
    if len(parts) == 1 and (parts[0] in (bool, int, float, Path) or get_origin(parts[0]) is Literal):
        return parts[0]
    return str


def _option(parameter: Parameter, kind: Any) -> Any:
    said = parameter.setting
    details: dict[str, Any] = {"metavar": said.metavar, "show_default": said.show_default, "hidden": said.hidden}
    if kind is int:
        details |= {"min": _whole(said.minimum), "max": _whole(said.maximum)}
    elif kind is float and said.minimum is not None:
        most = math.inf if said.maximum is None else said.maximum
        details["callback"] = number(said.minimum, most, above=said.above, below=said.below)
    elif kind is Interval:
        details["parser"] = parse_interval
    names = " ".join([parameter.options, *said.aliases])
    return option(names, said.help, said.panel, variable=said.variable, **details)


def _whole(bound: float | None) -> int | None:
    return None if bound is None else int(bound)


class Interval(NamedTuple):
    """A share of the iterations, 0 <= start < stop <= 1."""

    start: float
    stop: float


def parse_interval(text: str) -> Interval:
    """Read "A,B"; raises typer.BadParameter unless 0 <= A < B <= 1."""
    try:
        start, stop = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not two numbers A,B such as 0.1,0.8") from None
    if not 0 <= start < stop <= 1:  # NaN fails here too
        raise typer.BadParameter(f"{text!r} is no share of the iterations: 0 <= A < B <= 1")
    return Interval(start, stop)


def number(
    low: float, high: float = math.inf, *, above: bool = False, below: bool = False
) -> Callable[[float | None], float | None]:
    """A check for finite numbers from `low` (or `above` it) to `high` (or `below` it)."""
    bounds = f"a number {'above' if above else 'of at least'} {low:g}"
    if math.isfinite(high):
        bounds += f" and {'below' if below else 'at most'} {high:g}"

    def check(value: float | None) -> float | None:
        excluded = (above and value == low) or (below and value == high)
        if value is None or (math.isfinite(value) and low <= value <= high and not excluded):
            return value
        raise typer.BadParameter(f"{value:g} is not {bounds}")

    return check


def parse_batch_size(text: str) -> int | None:
    """Read a number of at least 1, or "auto", which is None; raises typer.BadParameter for anything else."""
    word = text.strip().lower()
    if word == "auto":
        return None
    if not (word.isascii() and word.isdigit() and len(word) < 8 and int(word) >= 1):
        raise typer.BadParameter(f"{text!r} is not auto or a whole number of at least 1")
    return int(word)


def parse_time(text: str) -> float:
    """Seconds; raises typer.BadParameter for what is no time."""
    try:
        return seconds_of(text)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None


def training_config(text: str) -> Path:
    """A YAML file, or one of those that come with bigr by its name; raises typer.BadParameter if it is neither."""
    path, shipped = Path(text), Path(__file__).parents[1] / "training" / "configs"
    if path.is_file():
        return path
    if (named := shipped / f"{text}.yaml").is_file() and named.parent == shipped:
        return named
    names = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
    raise typer.BadParameter(f"{text!r}: no such file, and none of those that come with bigr: {names}")


def checked_device(value: str) -> str:
    """The device's name in small letters; raises typer.BadParameter for what is none."""
    name = value.strip().lower()
    if not _DEVICE.fullmatch(name):
        raise typer.BadParameter(f"{value!r} is not auto, cpu, cuda, cuda:N or mps")
    return name
