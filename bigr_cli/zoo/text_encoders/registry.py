"""Text encoders by name: built in or brought by plugins, through entry points of the group `bigr.text_encoders`.

An entry point has the encoder's name, and names a function that opens it:

    def open_encoder(config: TextConfig, *, offline: bool) -> TextEncoder: ...

It is called when a model that asks for the encoder is loaded, and should be quick: weights can wait for the first text.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from typing import Protocol

import torch
from torch import Tensor

from bigr_cli import console
from bigr_cli.core.config import BYTES, TextConfig, require
from bigr_cli.errors import BigrError, ModelError, UnknownNameError
from bigr_cli.plugins import BUILT_IN, Fault, Origin, plugin_entry_points

ENCODER_GROUP = "bigr.text_encoders"


class TextEncoder(Protocol):
    """What turns texts into features."""

    @property
    def width(self) -> int:
        """How many numbers a token has."""
        ...

    @property
    def version(self) -> str:
        """What identifies the encoder with its weights: the same string means the same features."""
        ...

    def encode(self, texts: Sequence[str], tokens: int, device: torch.device) -> list[Tensor]:
        """The features of each text: (n, width) of its first n ≤ `tokens` tokens. None of the texts is empty."""
        ...


def encoder_entry_points() -> dict[str, tuple[EntryPoint, Origin]]:
    """Every encoder by its name but `bytes`, which is a part of the generator; warns of a name that is taken."""
    found = {"t5": (EntryPoint("t5", "bigr_cli.zoo.text_encoders.t5:open_encoder", ENCODER_GROUP), BUILT_IN)}
    for entry_point, origin in plugin_entry_points(ENCODER_GROUP):
        if entry_point.name in found or entry_point.name == BYTES:
            taken = found[entry_point.name][1] if entry_point.name in found else BUILT_IN
            error = ModelError(f"there is a text encoder of this name already, from {taken}")
            console.warn(str(Fault(entry_point.name, origin, error)))
        else:
            found[entry_point.name] = (entry_point, origin)
    return found


def open_encoder(config: TextConfig, *, offline: bool = False) -> TextEncoder:
    """The encoder that a config names.

    Raises:
        UnknownNameError: there is none of this name.
        ModelError: a plugin that does not work, or what the encoder says is missing.
        ConfigError: its width is not the config's.
    """
    known = encoder_entry_points()
    if config.encoder not in known:
        hint = f"known are {', '.join([BYTES, *known])}; a plugin may bring others"
        raise UnknownNameError("text encoder", config.encoder, [BYTES, *known], hint=hint)
    entry_point, origin = known[config.encoder]
    try:
        encoder: TextEncoder = entry_point.load()(config, offline=offline)
        width = int(encoder.width)
    except BigrError:
        raise
    except Exception as error:  # plugins raise what they like
        if origin == BUILT_IN:
            raise
        raise ModelError(str(Fault(config.encoder, origin, error))) from error
    require(width == config.width, f"text.width: {config.source or config.encoder} has {width}, got {config.width}")
    return encoder
