"""What a configuration chooses between by name: the architectures of tokenizers and the heads of the transcoder.

A row says where its classes are; they are imported when a configuration asks for them, so that reading the
configurations of this package needs no torch. Everything else follows from the row: what a config may hold, how many
parameters it has, how much memory it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """A tokenizer's architecture; classes are given as "module:Class".

    Attributes:
        config: its sizes, a subclass of `core.config.TokenizerConfig`.
        encoder: (B, 3, H, W) images in [0, 1] → (B, config.width, h, w) features, h = w = config.grid.
        decoder: the way back, not clamped; has `last_layer`, the weight that makes the pixels.
        gradient: how many times the memory of decoding its layers keep for a gradient, rounded up.
    """

    config: str
    encoder: str
    decoder: str
    gradient: int


# Measured were 2.9 times the memory of decoding for the gradient in the published architecture, and 8.6 times in the
# compact one, of whose layers none is much larger than the others.
ARCHITECTURES: dict[str, Architecture] = {
    "autoencoder": Architecture(
        config="bigr_cli.core.config:AutoencoderConfig",
        encoder="bigr_cli.core.autoencoder:Encoder",
        decoder="bigr_cli.core.autoencoder:Decoder",
        gradient=4,
    ),
    "compact": Architecture(
        config="bigr_cli.core.config:CompactConfig",
        encoder="bigr_cli.core.compact:CompactEncoder",
        decoder="bigr_cli.core.compact:CompactDecoder",
        gradient=12,
    ),
}

# Subclasses of `core.heads.Head`. "flip" is the published one.
HEADS: dict[str, str] = {
    "flip": "bigr_cli.core.heads:FlipHead",
    "x0": "bigr_cli.core.heads:CleanHead",
    "direct": "bigr_cli.core.heads:DirectHead",
    "masked_bits": "bigr_cli.core.heads:MaskedBitsHead",
}


def imported(place: str) -> Any:
    """The class at "module:Class"."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


class Configs(Mapping[str, type]):
    """The config class of each architecture by its name, imported when it is asked for."""

    def __getitem__(self, name: str) -> type:
        found: type = imported(ARCHITECTURES[name].config)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(ARCHITECTURES)

    def __len__(self) -> int:
        return len(ARCHITECTURES)
