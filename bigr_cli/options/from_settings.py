"""Options out of the settings that dataclasses describe themselves by; see `bigr_cli.setting`."""

import inspect
import math
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from bigr_cli.options.base import Interval, number, option, own_option, parse_interval
from bigr_cli.setting import Parameter, members, parameters

_INTERVAL = tuple[float, float]


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
    make = option if said.variable else own_option
    return make(parameter.options, panel=said.panel, help=said.help, aliases=said.aliases, **details)


def _whole(bound: float | None) -> int | None:
    return None if bound is None else int(bound)
