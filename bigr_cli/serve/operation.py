"""What every task that is offered has: fields with their JSON schemas, files, and how an order is made of a request."""

from __future__ import annotations

import math
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from bigr_cli.core.config import LARGEST_SEED, PRESETS, Prompt, SamplingConfig
from bigr_cli.errors import UsageError, nearest
from bigr_cli.serve.guard import Limits
from bigr_cli.serve.jobs import Order
from bigr_cli.serve.requests import TaskRequest
from bigr_cli.setting import Parameter, members, parameters
from bigr_cli.zoo.presets import sampling_settings

if TYPE_CHECKING:
    from bigr_cli.model import Model


_INTERVAL = tuple[float, float]
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
_SAID = {"boolean": "true or false", "integer": "a whole number", "number": "a number", "string": "text"}


@dataclass(frozen=True)
class Field:
    """One field: its name, its JSON schema, and, if it stands for an option, the parameter's name."""

    name: str
    schema: Mapping[str, Any]
    parameter: str = ""

    def read(self, value: Any, *, textual: bool) -> Any:
        """The value, checked by the schema; with `textual`, from text as forms and addresses have it."""
        found = _from_text(self.schema, value) if textual else value
        return _checked(self.name, self.schema, found)


@dataclass(frozen=True)
class Fields:
    """All fields of a task, in the order in which they are shown."""

    every: tuple[Field, ...] = field(default=())

    def read(self, values: Mapping[str, Any], *, textual: bool = False) -> dict[str, Any]:
        """The values that were given, by the fields' names; null is as good as nothing.

        Raises:
            UsageError: an unknown field, or a value that its schema does not allow; names the field.
        """
        known = {one.name: one for one in self.every}
        found = {}
        for key, value in values.items():
            name = key.replace("-", "_")
            if name not in known:
                near = nearest(name, known, 1)
                suggestion = f"; did you mean {near[0]}?" if near else ""
                raise UsageError(f"unknown field {key!r}{suggestion}", hint=f"fields are {', '.join(known)}")
            if value is not None:
                found[name] = known[name].read(value, textual=textual)
        return found

    def schema(self, more: Mapping[str, Any], required: Iterable[str] = ()) -> dict[str, Any]:
        """The JSON schema of an object with these fields and some more."""
        own = {one.name: dict(one.schema) for one in self.every}
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": {**more, **own},
            "required": list(required),
        }


def settings_of(kind: type) -> tuple[Field, ...]:
    """The fields of a request's class, without the sampler's settings and without files."""
    return tuple(
        _field(one)
        for one in parameters(kind)
        if one.path[0] != "sampling" and one.label != "mask" and one.setting.panel != "Files"
    )


def sampling_fields(defaults: SamplingConfig) -> tuple[Field, ...]:
    """A preset, and the sampler's settings; the defaults are the model's."""
    preset = {"type": "string", "enum": list(PRESETS), "description": "Settings that belong together."}
    own = [_field(one, getattr(defaults, one.path[-1])) for one in parameters(SamplingConfig)]
    return Field("preset", preset), *own


def _field(parameter: Parameter, default: Any = None) -> Field:
    said = parameter.setting
    schema = _schema(parameter.kind) | {"description": said.help}
    if schema.get("type") in ("integer", "number"):
        bounds = {
            "exclusiveMinimum" if said.above else "minimum": said.minimum,
            "exclusiveMaximum" if said.below else "maximum": said.maximum,
        }
        schema |= {name: bound for name, bound in bounds.items() if bound is not None}
    value = parameter.default if default is None else default
    if value is not None and value != ():
        schema["default"] = list(value) if isinstance(value, tuple) else value
    return Field(parameter.label.replace("-", "_"), schema, parameter.name)


def _schema(kind: Any) -> dict[str, Any]:
    if kind == Prompt:
        return {"type": ["string", "integer"]}
    parts = [part for part in members(kind) if part is not NoneType]
    only = parts[0]
    if only == _INTERVAL:
        return {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    if get_origin(only) is tuple:
        return {"type": "array", "items": _schema(get_args(only)[0]), "maxItems": 1000}
    if get_origin(only) is Literal:
        return {"type": "string", "enum": list(get_args(only))}
    return {"type": _TYPES.get(only, "string")}


def _from_text(schema: Mapping[str, Any], value: Any) -> Any:
    """What text in a form or an address means; what it cannot mean stays text, for the check to refuse."""
    kind = schema.get("type")
    if kind == "array":
        parts = value if isinstance(value, list) else [value]
        if schema["items"].get("type") == "number" and len(parts) == 1:
            parts = str(parts[0]).split(",")
        return [_from_text(schema["items"], part) for part in parts]
    text = str(value[-1] if isinstance(value, list) and value else value).strip()
    if kind == "boolean":
        return {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}.get(text.lower(), text)
    try:
        return int(text) if kind == "integer" else float(text) if kind == "number" else text
    except ValueError:
        return text


def _checked(name: str, schema: Mapping[str, Any], value: Any) -> Any:
    kind = schema["type"]
    if isinstance(kind, list):
        if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise UsageError(f"{name}: expected text or a whole number, got {_shown(value)}")
    if kind == "array":
        least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
        if not isinstance(value, list) or not least <= len(value) <= most:
            expected = f"{least} values" if least == most else f"{least} to {most} values"
            raise UsageError(f"{name}: expected a list of {expected}, got {_shown(value)}")
        return [_checked(f"{name}[{index}]", schema["items"], entry) for index, entry in enumerate(value)]
    fits = {
        "boolean": isinstance(value, bool),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "string": isinstance(value, str),
    }
    if not fits[kind]:
        raise UsageError(f"{name}: expected {_SAID[kind]}, got {_shown(value)}")
    if "enum" in schema and value not in schema["enum"]:
        near = nearest(str(value), schema["enum"], 1)
        suggestion = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"{name}: expected one of {', '.join(schema['enum'])}, got {_shown(value)}{suggestion}")
    if kind in ("integer", "number"):
        _check_range(name, schema, value)
        return float(value) if kind == "number" else value
    return value


def _check_range(name: str, schema: Mapping[str, Any], value: float) -> None:
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
    inside = math.isfinite(value) if isinstance(value, float) else abs(value) < 2**63
    if not (inside and low <= value <= high and above < value < below):
        words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
        bounds = [f"{said} {schema[bound]:g}" for bound, said in words.items() if bound in schema]
        raise UsageError(f"{name}: expected {' and '.join(bounds) or 'a finite number'}, got {_shown(value)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


SEED = {
    "type": "integer",
    "minimum": 0,
    "maximum": LARGEST_SEED,
    "description": "The same seed gives the same image. Without it one is sampled, and recorded.",
}
FILE = {"type": "string", "contentEncoding": "base64"}
NAME = {"type": "string", "description": "What the file is called, for the recipe and the command."}
IMAGE = {
    "image": FILE | {"description": "An image file of any size and mode, as base64 or a data: address."},
    "image_name": NAME,
}
MASK = {
    "mask": FILE | {"description": "An image of the same size: white is repainted, black is kept, grey is mixed."},
    "mask_name": NAME,
}


SAMPLING = frozenset(one.name for one in sampling_fields(SamplingConfig()))


class Operation(ABC):
    """A task: its fields, and how an order is made of them."""

    def __init__(self, name: str, help: str, origin: str, model: Model, limits: Limits) -> None:
        self.name, self.help, self.origin = name, help, origin
        self._model, self._limits = model, limits

    @property
    @abstractmethod
    def fields(self) -> Fields:
        """The fields besides files."""

    @property
    @abstractmethod
    def files(self) -> Mapping[str, Any]:
        """JSON schemas of the files."""

    @property
    def required(self) -> tuple[str, ...]:
        """Fields that have to be given."""
        return ()

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of a request."""
        return self.fields.schema(self.files, self.required)

    @abstractmethod
    def order(self, request: TaskRequest) -> Order:
        """Check a request.

        Raises:
            UsageError: a value that is not allowed, files that do not fit, or more than the limits allow.
        """

    def _count(self) -> Field:
        schema = {"type": "integer", "minimum": 1, "maximum": self._limits.images, "default": 1}
        return Field("count", schema | {"description": "How many variants; variant i has the seed SEED + i."})

    def _sampling(self, values: Mapping[str, Any], *, painting: bool) -> SamplingConfig:
        given = {name: values[name] for name in SAMPLING if name in values}
        if "guidance_interval" in given:
            given["guidance_interval"] = tuple(given["guidance_interval"])
        return sampling_settings(self._model.config, given, painting=painting)

    def _defaults(self, *, painting: bool) -> tuple[Field, ...]:
        return sampling_fields(sampling_settings(self._model.config, painting=painting))


def seeds_of(values: Mapping[str, Any]) -> list[int]:
    """The seed of each result."""
    first = values.get("seed")
    first, count = secrets.randbelow(2**32) if first is None else first, values.get("count", 1)
    if first > LARGEST_SEED - (count - 1):
        raise UsageError(f"seed: {count} variants from {first} on go beyond 2^63 - 1")
    return list(range(first, first + count))
