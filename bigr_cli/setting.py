"""What a field of a dataclass says of itself, once: help, range, and the option that sets it.

    @dataclass(frozen=True, kw_only=True)
    class Blur:
        radius: Annotated[int, Setting("How far colours run, in pixels.", minimum=1)] = 2

Options of the command line, keys of manifests, keywords of Python methods, JSON schemas and checks of ranges follow.
Dataclasses inside others (a mask, say) are flattened: their fields are settings of the whole.
"""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, MISSING, dataclass, fields, is_dataclass
from functools import cache, cached_property
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from bigr_cli.errors import ConfigError, WrongTypeError

SCALARS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    NoneType: "nothing",
}
COUNT_NAMES = ("--num-images", "--num-images-per-prompt", "--num-samples")  # --count, as other programs call it
_RESERVED = {"class": "class_label"}  # words that name no parameter in Python


def one_of(choices: Sequence[Any] | Mapping[Any, Any]) -> str:
    """Choices in words."""
    return f"one of {', '.join(str(choice) for choice in choices)}" if len(choices) > 1 else str(*choices)


def described(kind: Any) -> str:
    """A type in words."""
    origin, members = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(described(member) for member in members)
    if origin is Literal:
        return one_of(members)
    if origin is tuple:
        if members[-1] is Ellipsis:
            return f"a list, each {described(members[0])}"
        return f"a list of {len(members)}: {', '.join(described(member) for member in members)}"
    return SCALARS.get(kind, "a mapping")


@dataclass(frozen=True)
class Setting:
    """A field's help, and what the command line makes of it.

    Attributes:
        help: a sentence of at most a line, which `--help` shows; docs/commands.md has what follows it too.
        minimum: the least number allowed; with `above`, the number has to be greater.
        maximum: the greatest number allowed; with `below`, the number has to be less.
        panel: the heading that it stands under in a command's help.
        metavar: what help shows for a value.
        option: the option's name, if it is not the field's with hyphens.
        variable: whether an environment variable can give it too: BIGR_ and the option's name.
        show_default: whether help shows the default.
        required: whether the request makes no sense without it.
        aliases: options of other programs that mean the same, which the command line takes too.
        hidden: whether help leaves it out, because another option says the same.
    """

    help: str
    _: KW_ONLY
    minimum: float | None = None
    maximum: float | None = None
    above: bool = False
    below: bool = False
    panel: str = ""
    metavar: str | None = None
    option: str | None = None
    variable: bool = True
    show_default: bool = False
    required: bool = False
    aliases: tuple[str, ...] = ()
    hidden: bool = False

    def allows(self, value: float) -> bool:
        """Whether a number is finite and lies in the range."""
        least, most = self.minimum, self.maximum
        low = least is None or (value > least if self.above else value >= least)
        high = most is None or (value < most if self.below else value <= most)
        return math.isfinite(value) and low and high

    def range(self, name: str) -> str:
        """The range in words, for a field of this name."""
        if self.maximum is None:
            return f"a number {'>' if self.above else '>='} {self.minimum:g}"
        if self.above or self.below:
            signs = "<" if self.above else "<=", "<" if self.below else "<="
            return f"{self.minimum:g} {signs[0]} {name} {signs[1]} {self.maximum:g}"
        return f"{self.minimum:g} to {self.maximum:g}"


@dataclass(frozen=True)
class Parameter:
    """A setting of a dataclass: `path` leads to its field, `name` is what commands and manifests call it."""

    path: tuple[str, ...]
    kind: Any
    default: Any
    setting: Setting

    @property
    def option(self) -> str:
        """Its option, such as --mask-box; of a pair such as --loop/--no-loop the first."""
        return self.options.partition("/")[0]

    @property
    def options(self) -> str:
        """As declared: --mask-box, or --loop/--no-loop."""
        return self.setting.option or "--" + self.path[-1].replace("_", "-")

    @property
    def label(self) -> str:
        """The option without hyphens in front, which recipes keep it under."""
        return self.option.removeprefix("--")

    @cached_property
    def name(self) -> str:
        """An identifier made of the option."""
        return _RESERVED.get(self.label, self.label.replace("-", "_"))


@cache
def parameters(kind: type) -> tuple[Parameter, ...]:
    """The settings of a dataclass in the order of its fields, those of dataclasses inside it among them."""
    return tuple(_parameters(kind, ())) if is_dataclass(kind) else ()


def with_own_names(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of settings, and `count`, by their own names, where some are by an alias: guidance_scale is guidance.

    Raises:
        ConfigError: a setting is given by two names.
    """
    others = _aliases(kind)
    found = {}
    for name, value in values.items():
        own = others.get(name, name)
        if own != name and values.get(own) is not None:
            raise ConfigError(f"{name}: is {own}, which is given too")
        found[own] = value
    return found


@cache
def _aliases(kind: type) -> Mapping[str, str]:
    words = [(alias, one.name) for one in parameters(kind) for alias in one.setting.aliases]
    words += [(alias, "count") for alias in COUNT_NAMES]
    return {alias.removeprefix("--").replace("-", "_"): name for alias, name in words}


def whole_number(name: str, value: Any) -> int:
    """An argument that is a whole number, of NumPy's too; WrongTypeError, which names the argument, if it is none."""
    if not isinstance(value, bool):
        with suppress(TypeError):
            return operator.index(value)
    raise WrongTypeError(f"{name}: expected a whole number, got {reprlib.repr(value)}")


def whole_numbers(**values: Any) -> None:
    """Raise WrongTypeError for the first of these arguments that is neither a whole number nor None."""
    for name, value in values.items():
        if value is not None:
            whole_number(name, value)


@cache
def nested(kind: type) -> Mapping[str, type]:
    """The fields of a dataclass that hold dataclasses with settings, and those."""
    found = {}
    for name, (base, said) in _hints(kind).items():
        inner = [member for member in members(base) if isinstance(member, type) and is_dataclass(member)]
        if not said and inner and parameters(inner[0]):
            found[name] = inner[0]
    return found


def members(kind: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def check_settings(owner: Any) -> None:
    """Check the numbers and choices among the fields of a dataclass.

    Raises:
        WrongTypeError: the first that is wrong is neither a number nor true or false.
        ConfigError: it is out of range.
    """
    for name, (kind, said) in _hints(owner.__class__).items():
        value = getattr(owner, name)
        if not said or value is None:
            continue
        choices = [choice for part in members(kind) if get_origin(part) is Literal for choice in get_args(part)]
        if choices and value not in choices:
            raise ConfigError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
        if not _fits(kind, value):
            raise WrongTypeError(f"{name}: expected {described(_without_none(kind))}, got {reprlib.repr(value)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or said[0].minimum is None:
            continue
        least, most = said[0].minimum, said[0].maximum
        if isinstance(value, int) and int in members(kind):
            if value < least:
                raise ConfigError(f"{name}: expected at least {least:g}, got {value}")
            if most is not None and value > most:
                raise ConfigError(f"{name}: expected at most {int(most):,}, got {value:,}")
        elif not said[0].allows(value):
            raise ConfigError(f"{name}: expected {said[0].range(name)}, got {value}")


def _without_none(kind: Any) -> Any:
    parts = tuple(part for part in members(kind) if part is not NoneType)
    return Union[parts] if len(parts) > 1 else parts[0]  # noqa: UP007


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value can be of a type that has only numbers, or true and false, in it; of others it always can."""
    parts = [part for part in members(kind) if part is not NoneType]
    if not all(part in (bool, int, float) for part in parts):
        return True
    if bool in parts and not isinstance(value, str):
        return True
    return isinstance(value, Real if float in parts else Integral) and not isinstance(value, bool)


def _parameters(kind: type, path: tuple[str, ...]) -> Iterator[Parameter]:
    inside = nested(kind)
    for field in fields(kind):
        base, said = _hints(kind)[field.name]
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory()
        for setting in said:
            yield Parameter((*path, field.name), base, default, setting)
        if field.name in inside:
            yield from _parameters(inside[field.name], (*path, field.name))


@cache
def _hints(kind: type) -> dict[str, tuple[Any, tuple[Setting, ...]]]:
    """The type of each field, and the settings that it is annotated with."""
    hints = get_type_hints(kind, include_extras=True)
    found: dict[str, tuple[Any, tuple[Setting, ...]]] = {}
    for field in fields(kind):
        hint = hints[field.name]
        annotated = get_origin(hint) is Annotated
        base, *extras = get_args(hint) if annotated else (hint,)
        found[field.name] = base, tuple(extra for extra in extras if isinstance(extra, Setting))
    return found
