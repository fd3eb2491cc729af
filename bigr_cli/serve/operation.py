"""What every task that is offered has: fields, files, and how an order is made of a request."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bigr_cli.core.config import LARGEST_SEED, SamplingConfig
from bigr_cli.errors import UsageError
from bigr_cli.serve.fields import Field, Fields, sampling_fields
from bigr_cli.serve.guard import Limits
from bigr_cli.serve.orders import Asked, Order
from bigr_cli.settings import sampling_settings

if TYPE_CHECKING:
    from bigr_cli.model import Model

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
    def order(self, asked: Asked) -> Order:
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
