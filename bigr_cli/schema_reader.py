"""Plain data → frozen dataclasses: every value is checked against the declared type, and what does not fit is named."""

from __future__ import annotations

import dataclasses
import re
import reprlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from bigr_cli import console
from bigr_cli.errors import ConfigError, WrongTypeError, nearest
from bigr_cli.setting import SCALARS, described, members, one_of


class Reader:
    """Builds values of declared types; `key` is the dotted path to the value, empty at the top."""

    def __init__(self, source: str) -> None:
        self.source = source

    def fail(self, key: str, message: str) -> NoReturn:
        raise ConfigError(f"{self.source}: {key}: {message}" if key else f"{self.source}: {message}")

    def refuse(self, kind: Any, value: Any, key: str) -> NoReturn:
        choices = [str(choice) for choice in get_args(kind)] if get_origin(kind) is Literal else []
        near = nearest(value, choices, 1) if isinstance(value, str) else []
        suggestion = f"; did you mean {near[0]}?" if near else ""
        error = ConfigError if near or (choices and isinstance(value, str)) else WrongTypeError
        message = f"expected {described(kind)}, got {reprlib.repr(value)}{suggestion}"
        raise error(f"{self.source}: {key}: {message}" if key else f"{self.source}: {message}")

    def read(self, kind: Any, value: Any, key: str) -> Any:
        origin = get_origin(kind)
        if origin in (Union, UnionType):
            return self.union(kind, value, key)
        if dataclasses.is_dataclass(kind):
            return self.dataclass(kind, value, key)
        if origin is tuple:
            return self.tuple(kind, value, key)
        if origin is dict:
            return self.dict(kind, value, key)
        if origin is Literal:
            for choice in get_args(kind):
                if type(choice) is type(value) and choice == value:
                    return choice
        elif kind is float and type(value) is int:
            try:
                return float(value)
            except OverflowError:
                pass
        elif kind is Path and isinstance(value, str) and value:
            return Path(value)
        elif kind is Any or (kind in SCALARS and type(value) is kind):
            return value
        self.refuse(kind, value, key)

    def dataclass(self, kind: Any, data: Any, key: str) -> Any:
        if not isinstance(data, Mapping):
            self.refuse(kind, data, key)
        kind = self.variant(kind, data, key)
        data = self.renamed(kind, data, key)
        hints, fields = _fields(kind)
        for name in data:
            if name not in fields:
                near = [] if key else [f"{inner}.{name}" for inner in _with_field(kind, str(name))]
                near = near or nearest(str(name), fields, 1)
                suggestion = f"; did you mean {near[0]}?" if near else ""
                raise ConfigError(f"{self.source}: unknown key {reprlib.repr(_dotted(key, name))}{suggestion}")
        values = {}
        for name, field in fields.items():
            if name in data:
                values[name] = self.read(hints[name], data[name], _dotted(key, name))
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                expected = described(hints[name])
                raise ConfigError(f"{self.source}: missing key {_dotted(key, name)!r}, expected {expected}")
        try:
            return kind(**values)
        except ConfigError as error:
            about = re.split(r"[:.\[]", str(error), maxsplit=1)[0]
            raise ConfigError(f"{self.source}: {_joined(key, str(error), about in fields)}") from error

    def renamed(self, kind: Any, data: Mapping[Any, Any], key: str) -> dict[Any, Any]:
        """The data with today's names for what older versions called otherwise; a field's new name wins."""
        current = {}
        for name, value in data.items():
            where = f"{self.source}: {_dotted(key, name)}"
            new = current_name(kind, name, where)
            word = getattr(kind, "FORMER_VALUES", {}).get(new, {}).get(value) if isinstance(value, str) else None
            if word is not None:
                console.warn(f"{where}: {value} is called {word} now", once=True)
            if new == name or new not in data:
                current[new] = value if word is None else word
        return current

    def union(self, kind: Any, value: Any, key: str) -> Any:
        members = get_args(kind)
        structures = [member for member in members if dataclasses.is_dataclass(member)]
        if structures and isinstance(value, Mapping):
            return self.dataclass(structures[0], value, key)
        for member in members:
            try:
                return self.read(member, value, key)
            except ConfigError:
                continue
        self.refuse(kind, value, key)

    def variant(self, kind: Any, data: Mapping[Any, Any], key: str) -> Any:
        """The dataclass itself, or of a base class the one that the data says it is."""
        if "VARIANTS" not in vars(kind):
            return kind
        tag, choices = kind.VARIANTS
        given = data.get(tag)
        if isinstance(given, str) and given in choices:
            return choices[given]
        if tag not in data:
            raise ConfigError(f"{self.source}: missing key {_dotted(key, tag)!r}, expected {one_of(choices)}")
        return self.refuse(Literal[tuple(choices)], given, _dotted(key, tag))

    def tuple(self, kind: Any, value: Any, key: str) -> Any:
        members = get_args(kind)
        if not isinstance(value, (list, tuple)):
            self.refuse(kind, value, key)
        if members[-1] is Ellipsis:
            members = (members[0],) * len(value)
        elif len(members) != len(value):
            self.refuse(kind, value, key)
        pairs = enumerate(zip(members, value, strict=True))
        return tuple(self.read(member, entry, f"{key}[{index}]") for index, (member, entry) in pairs)

    def dict(self, kind: Any, value: Any, key: str) -> Any:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            self.refuse(kind, value, key)
        return {name: self.read(get_args(kind)[1], entry, _dotted(key, name)) for name, entry in value.items()}


def _with_field(kind: Any, name: str) -> list[str]:
    """The fields of a dataclass that hold dataclasses with a field of this name: where "steps" may have been meant."""
    return [
        outer
        for outer, hint in get_type_hints(kind).items()
        if any(dataclasses.is_dataclass(inner) and name in _fields(inner)[0] for inner in members(hint))
    ]


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _fields(kind: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The types and the fields of a dataclass by name."""
    return _hints(kind), {field.name: field for field in dataclasses.fields(kind) if field.init}


def current_name(kind: Any, name: Any, where: str) -> Any:
    """What a field is called today, with a warning if that is something else."""
    new = getattr(kind, "FORMER_KEYS", {}).get(name, name)
    if new != name:
        console.warn(f"{where}: is called {new} now", once=True)
    return new


def _dotted(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _joined(key: str, message: str, names_field: bool) -> str:
    """The message of a dataclass about itself, with the path to it in front."""
    if not key:
        return message
    return f"{key}.{message}" if names_field else f"{key}: {message}"
