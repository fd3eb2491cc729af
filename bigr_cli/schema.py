"""YAML ↔ frozen dataclasses, in one place: what a configuration may hold is what its dataclass declares.

Understood: bool, int, float, str, Path, Literal, tuples, `dict[str, …]`, nested dataclasses, unions with None, and
base classes of dataclasses whose `VARIANTS` name the field that tells them apart, with the dataclass of each of its
values (`architecture: compact`). A whole number will do for a float; nothing else is converted. Dataclasses check
their own values in `__post_init__` and raise ConfigError.
A dataclass may have `FORMER_KEYS`, old names of fields with the new ones, and `FORMER_VALUES`, by field old words with
the new ones: these go on working, with a warning.
Fields with the metadata `unsaid` are written only where they differ from their defaults, so that files without them
stay what older versions read.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_origin, get_type_hints

from bigr_cli import yaml_text
from bigr_cli.errors import ConfigError
from bigr_cli.schema_reader import Reader, current_name
from bigr_cli.setting import members

T = TypeVar("T")


def from_mapping(cls: type[T], data: Mapping[Any, Any], *, source: str) -> T:
    """Build the dataclass `cls` from plain data, as YAML holds it.

    Args:
        cls: a dataclass, possibly with further ones inside.
        data: its fields by name; a field with a default may be missing.
        source: where the data is from (a file's name), for messages.

    Raises:
        ConfigError: an unknown or missing key, a value of the wrong type, or one that `cls` refuses. The message
            names the source and the dotted key.
    """
    built: T = Reader(source).read(cls, data, "")
    return built


def to_mapping(value: Any) -> dict[str, Any]:
    """A dataclass as plain data that YAML and JSON hold; `from_mapping` of it gives an equal dataclass."""
    plain: dict[str, Any] = _plain(value)
    return plain


def override(value: T, settings: Sequence[str], source: str, *, given: Mapping[str, Any] | None = None) -> T:
    """A copy with some fields set anew: each by "dotted.key=VALUE", then those `given` by dotted keys as they are.

    VALUE is what `from_text` makes of it. Where the choice between dataclasses changes
    (`tokenizer.architecture=compact`), fields that both have are kept.

    Raises:
        ConfigError: no "=", VALUE is not YAML where that is asked for, or what `from_mapping` raises.
    """
    data = to_mapping(value)
    override_mapping(type(value), data, settings, source, given=given)
    return from_mapping(type(value), data, source=source)


def override_mapping(
    cls: Any, data: dict[str, Any], settings: Sequence[str], source: str, *, given: Mapping[str, Any] | None = None
) -> None:
    """The same in place, for plain data of the dataclass `cls` that need not be complete."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        path = key.strip().split(".")
        if not key.strip() or not equals:
            images = "images are named by --data, or of bigr train by its first word"
            hint = f"settings are words such as run.steps=1000; {images}"
            raise ConfigError(f"{source}: {setting!r}: expected key=value", hint=hint)
        where = f"{source}: {key.strip()}"
        _set(cls, data, path, from_text(_kind_at(cls, data, path), text, source=where), where)
    for key, plain in (given or {}).items():
        _set(cls, data, key.split("."), plain, f"{source}: {key}")


def from_text(kind: Any, text: str, *, source: str) -> Any:
    """Plain data for a declared type out of a word of the command line.

    Text and paths are the word as it is (`*.tar`, `2024`, `a: b`, `x #1`), without quotation marks around all of it;
    everything else is YAML.
    """
    kinds = members(kind)
    if any(member in (str, Path) for member in kinds):
        if NoneType in kinds and text in ("null", "~"):
            return None
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    return yaml_text.parse(text, source=source)


def load_yaml(cls: type[T], path: Path) -> T:
    """The dataclass `cls` from a YAML file.

    Raises:
        ConfigError: the file cannot be read or is not YAML, or what `from_mapping` raises; names the file.
    """
    return from_mapping(cls, yaml_text.read_mapping(path), source=str(path))


def dump_yaml(value: Any) -> str:
    """A dataclass (or a mapping with dataclasses in it) as YAML, its fields in their order."""
    return yaml_text.dump(_plain(value))


def _set(kind: Any, data: dict[str, Any], path: list[str], value: Any, where: str) -> None:
    """Put a value at a path into plain data of the dataclass `kind`; what the data may hold is checked later."""
    name, rest = current_name(kind, path[0], where), path[1:]
    if not rest:
        data[name] = value
        return
    inner = data.get(name)
    if inner is None:
        inner = data[name] = {}
    if not isinstance(inner, dict):
        raise ConfigError(f"{where}: {name} has no keys")
    structure = _structure(_hint(kind, name))
    tag, choices = vars(structure).get("VARIANTS", ("", {})) if structure else ("", {})
    before = choices.get(str(inner.get(tag)), structure)
    _set(before, inner, rest, value, where)
    after = choices.get(value) if rest == [tag] and isinstance(value, str) else None
    if after not in (None, before):
        data[name] = _common(before, after, inner)


def _kind_at(kind: Any, data: Any, path: Sequence[str]) -> Any:
    """The declared type at a dotted path, of the dataclasses that the data has there; None if there is none."""
    for name in path:
        structure = _structure(kind)
        if structure is not None and "VARIANTS" in vars(structure):
            tag, choices = structure.VARIANTS
            structure = choices.get(str(data.get(tag)) if isinstance(data, Mapping) else "", structure)
        kind = _hint(structure, getattr(structure, "FORMER_KEYS", {}).get(name, name))
        data = data.get(name) if isinstance(data, Mapping) else None
    return kind


def _common(before: Any, after: Any, data: dict[str, Any]) -> dict[str, Any]:
    """What of plain data of one dataclass has the same meaning in another."""
    old, new = get_type_hints(before), get_type_hints(after)
    return {
        name: value
        for name, value in data.items()
        if name in new and (old.get(name) == new[name] or get_origin(new[name]) is Literal)
    }


def _hint(kind: Any, name: str) -> Any:
    return get_type_hints(kind).get(name) if dataclasses.is_dataclass(kind) else None


def _structure(kind: Any) -> Any:
    """The dataclass among what a value may be; None if there is none."""
    return next((member for member in members(kind) if dataclasses.is_dataclass(member)), None)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        said = [field for field in dataclasses.fields(value) if field.init and not _unsaid(field, value)]
        return {field.name: _plain(getattr(value, field.name)) for field in said}
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def _unsaid(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a field goes without saying, as its metadata has it and because it is at its default."""
    if not field.metadata.get("unsaid"):
        return False
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return bool(getattr(value, field.name) == default)
