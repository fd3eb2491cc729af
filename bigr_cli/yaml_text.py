"""YAML as configurations use it: plain data only, no key twice, and scalars read as YAML 1.2 reads them.

PyYAML follows YAML 1.1, in which 1e-4 is text, `no` is false and 12:30 is 750.
"""

import re
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Any

from bigr_cli.errors import ConfigError
from bigr_cli.files import reason_of
from bigr_cli.plain_text import decoded

LARGEST = 4_000_000  # bytes; the names of a hundred thousand classes take less
_DEEPEST = 50
_MOST = 200_000  # values, with those that aliases stand for; reading them takes seconds
_DIGITS = 1_000  # of a whole number; Python writes no more than a few thousand, also of one that it has read as 0x…
_SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
)


def read_mapping(path: Path) -> dict[Any, Any]:
    """The mapping that a YAML file holds; an empty file holds an empty one.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or holds something else.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {reason_of(error)}") from error
    if len(raw) > LARGEST:
        raise ConfigError(f"{path}: has more than {LARGEST // 1_000_000} MB, which no configuration needs")
    try:
        text = decoded(raw)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not {error.encoding.upper()} text (byte {error.start})") from error
    data = parse(text, source=str(path))
    if data is None:
        return {}
    if not isinstance(data, dict):
        message = f"{path}: expected keys and values, got {type(data).__name__}"
        raise ConfigError(message, hint="lines such as name: mine")
    return data


def parse(text: str, *, source: str) -> Any:
    """The plain data that a YAML text holds; ConfigError, naming the source and line, if it is none."""
    import yaml

    try:
        _check_size(text)
        return yaml.load(text, Loader=_loader())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ConfigError(f"{source}: is not valid YAML: {error.problem or error.context}{place}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{source}: is not valid YAML: {reason}") from error


def dump(data: Any) -> str:
    """Plain data as YAML, keys in their order; `parse` of it gives the same data."""
    import yaml

    text: str = yaml.dump(data, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=110)
    return text


def _check_size(text: str) -> None:
    """Raise ValueError for what would overflow the stack of the reader, which is recursive and in C, or the memory.

    An alias counts as all that it stands for: a few lines of aliases to aliases stand for billions of values.
    """
    import yaml

    total, open_ones = (
        0,
        list[tuple[str | None, int]](),
    )  # the anchors of collections that are open, and where they began
    sizes = dict[str, int]()  # of what anchors name
    for event in yaml.parse(text, Loader=_loader()):
        if isinstance(event, yaml.AliasEvent):
            anchor = event.anchor or ""
            if anchor not in sizes:
                raise ValueError(f"the alias {anchor[:40]!r} stands for nothing, or for what it is a part of")
            total += sizes[anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            open_ones.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            name, began = open_ones.pop()
            if name is not None:
                sizes[name] = total - began
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        if len(open_ones) > _DEEPEST:
            raise ValueError(f"nested more than {_DEEPEST} levels deep")
        if total > _MOST:
            raise ValueError(f"stands for more than {_MOST:,} values")


@cache
def _loader() -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  # PyYAML copies it on the first addition

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, Hashable) and key in seen:
                    raise yaml.MarkedYAMLError(problem=f"key {key!r} twice", problem_mark=key_node.start_mark)
                seen.add(key if isinstance(key, Hashable) else None)
            constructed: dict[Any, Any] = super().construct_mapping(node, deep)
            return constructed

    _resolve_as_yaml_1_2(Loader)
    Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: _whole(loader.construct_scalar(node)))
    Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: _real(loader.construct_scalar(node)))
    return Loader


@cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes whatever either version of YAML would not read as text; short lists stay on one line."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def sequence(dumper: Any, values: Any) -> Any:
        flow = not any(isinstance(value, (dict, list)) for value in values)
        return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flow)

    def text(dumper: Any, value: str) -> Any:
        # Line breaks of Unicode are folded into spaces unless they are escaped, which only double quotes do.
        style = '"' if any(mark in value for mark in "\x85\u2028\u2029") else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(list, sequence)
    Dumper.add_representer(str, text)
    _resolve_as_yaml_1_2(Dumper)
    return Dumper


def _resolve_as_yaml_1_2(target: Any) -> None:
    for name, pattern, first in _SCALARS:
        expression = re.compile(rf"(?:{pattern})\Z")
        target.add_implicit_resolver(f"tag:yaml.org,2002:{name}", expression, list(first))


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"{text[:20]}…: is a number of {len(text):,} digits")
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _real(text: str) -> float:
    return float(text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").replace(".nan", "nan"))
