"""Settings of the sampler that are tried one after the other, and the results of those that are done."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from bigr_cli import schema
from bigr_cli.cache import Cache, intact
from bigr_cli.core.config import SamplingConfig
from bigr_cli.errors import UnknownNameError, UsageError

_CACHE = Cache("evaluation", "results", durable=True)

Point = dict[str, Any]

_KINDS = get_type_hints(SamplingConfig)
_SWEPT = ("preset", *(field.name for field in fields(SamplingConfig) if field.name != "guidance_interval"))


def points(words: Sequence[str], given: Sequence[str] = ()) -> list[Point]:
    """All combinations of "guidance=1,1.5" and "steps=10,20", the last one changing fastest; one empty one of none.

    Args:
        words: a setting each, with its values.
        given: settings that have one value already.

    Raises:
        UnknownNameError: there is no such setting.
        UsageError: a setting without values or given twice.
    """
    axes: dict[str, list[Any]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        name = key.strip().lstrip("-").replace("-", "_")
        if not equals or not text.strip():
            raise UsageError(
                f"--sweep: expected setting=value,value, got {word!r}", hint="for example guidance=1,1.5,2"
            )
        if name not in _SWEPT:
            raise UnknownNameError("setting", name, _SWEPT, hint=f"--sweep knows {', '.join(_SWEPT)}")
        if name in axes or name in given:
            raise UsageError(f"--sweep: {name} is given twice")
        kind = _KINDS.get(name, str)
        axes[name] = [schema.from_text(kind, part.strip(), source=f"--sweep {name}") for part in text.split(",")]
        if len({str(value) for value in axes[name]}) < len(axes[name]):
            raise UsageError(f"--sweep: {name} has a value twice")
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def is_setting(word: str) -> bool:
    """Whether a word is more of a sweep rather than a folder."""
    return word.partition("=")[0].strip().replace("-", "_") in _SWEPT and "=" in word


class Results:
    """What is known of the points of a run, each in a file of its own in a folder of the cache."""

    def __init__(self, identity: Any) -> None:
        """`identity` is anything that JSON holds, the same only where the results would be."""
        self.folder = _CACHE.path(identity, "")

    def find(self, number: int) -> dict[str, Any] | None:
        """The result of a point; None if it is not there or damaged."""

        def read(path: Path) -> dict[str, Any] | None:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else None

        return intact(read, self._path(number))

    def keep(self, number: int, result: dict[str, Any]) -> None:
        """Write down a result, if that is possible."""
        text = json.dumps(result)
        _CACHE.write(self._path(number), lambda hidden: hidden.write_text(text, encoding="utf-8"))

    def discard(self) -> None:
        """Delete them all."""
        _CACHE.discard(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:04}.json"
