"""Declared types in words, for messages about values that do not fit them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

SCALARS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    NoneType: "nothing",
}


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
