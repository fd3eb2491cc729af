"""Errors as Python code reads them: by its arguments' names, where the command line has options."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar, get_args

from bigr_cli.errors import BigrError

P = ParamSpec("P")
R = TypeVar("R")
Kind = TypeVar("Kind")

# Of functions whose arguments no dataclass describes: what is true or false, and what is called otherwise.
_SWITCHES = ("overwrite", "recursive", "offload", "compile", "fetch_weights", "offline", "resume", "quiet")
_RENAMED = {"from": "from_model", "class": "label", "text": "label", "prompt": "label", "model": "name_or_dir"}
_WORDS = ("float32", "float16", "bfloat16", "int8", "auto", "scenes")  # values of dtype, of features
_COMMAND = re.compile(r"(bigr [a-z]+(?![\w'])[^;:)]*)")  # what to type in a terminal stays as it is
_OPTION = re.compile(r"""(?<![^\s(])--([a-z][a-z-]*[a-z])(?:[ =]("[^"]*"|[\w,.×=|]*[\w]))?""")
_MODEL = re.compile(r"(?<![^\s(])-m ([\w./-]*\w)")


def in_python(function: Callable[P, R]) -> Callable[P, R]:
    """The function, whose errors name arguments, overwrite=True for --overwrite, in their message and hint."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BigrError as error:
            _translate(error)
            raise

    return call


def methods_in_python(*names: str) -> Callable[[type[Kind]], type[Kind]]:
    """A class with these of its methods made `in_python`."""

    def decorated(kind: type[Kind]) -> type[Kind]:
        for name in names:
            setattr(kind, name, in_python(vars(kind)[name]))
        return kind

    return decorated


def with_arguments(text: str) -> str:
    """A message with arguments in the place of options: overwrite=True for --overwrite, mask=FILE for --mask FILE.

    Commands of the terminal in it stay as they are.
    """
    parts = _COMMAND.split(text)
    parts[::2] = [_MODEL.sub(r'bigr_cli.load("\1")', _OPTION.sub(_argument, part)) for part in parts[::2]]
    return "".join(parts)


def _translate(error: BigrError) -> None:
    before = error.hint
    error.args = tuple(with_arguments(one) if isinstance(one, str) else one for one in error.args)
    error.hint = None if before is None else with_arguments(before)
    notes: list[str] = getattr(error, "__notes__", [])
    notes[:] = [f"hint: {error.hint}" if note == f"hint: {before}" else note for note in notes]


def _argument(found: re.Match[str]) -> str:
    option, value = found[1], found[2] or ""
    name, switch, choices = _known().get(option, (_RENAMED.get(option, option.replace("-", "_")), False, ()))
    if switch or name in _SWITCHES:
        return f"{name}=True" + (f" {value}" if value else "")
    if value in choices or value in _WORDS or ("=" in value and value.islower()):
        return f'{name}="{value}"'
    if value and (value.startswith('"') or value.isupper() or value.isdigit()):
        return f"{name}={value}"
    return f"{name} {value}" if value else name


@cache
def _known() -> Mapping[str, tuple[str, bool, tuple[Any, ...]]]:
    """Options of requests and of the sampler: their names in Python, whether they are switches, their choices."""
    from bigr_cli.core.config import Prompt, SamplingConfig
    from bigr_cli.editing.requests import REQUESTS
    from bigr_cli.setting import members, parameters

    found: dict[str, tuple[str, bool, tuple[Any, ...]]] = {}
    for kind in (*REQUESTS, SamplingConfig):
        for one in parameters(kind):
            name = one.path[0] if one.kind == Prompt and len(one.path) == 1 else one.name
            choices = tuple(choice for part in members(one.kind) for choice in get_args(part))
            found.setdefault(one.label, (name, bool in members(one.kind), choices))
    return found
