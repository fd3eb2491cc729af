"""Sizes of models: what a generator's are, and those with a name, this package's for small data and the published."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from bigr_cli.core.architectures import (
    AttentionKind,
    AutoencoderConfig,
    CompactConfig,
    GeneratorConfig,
    HeadKind,
    TextConfig,
    TokenizerConfig,
)
from bigr_cli.core.config import UNSAID
from bigr_cli.errors import ConfigError
from bigr_cli.training.size_names import SizeName

PUBLISHED = ("bigr-l", "bigr-xl", "bigr-xxl")
OWN: tuple[SizeName, ...] = ("base", "small", "tiny", "nano")  # largest first

_FEWEST, _MOST = 4, 32  # tokens along a side
# Convolutions of the levels above the grid, of which a tokenizer takes as many as it has, from the end.
_FINER_ENCODER, _FINER_DECODER = (0, 0, 0, 0, 1), (1, 1, 1, 1, 2)
# Images that a generator of a size has to see before it is better than the next smaller one, and how many different
# ones there have to be, or it learns them by heart.
_SEEN: dict[SizeName, int] = {"nano": 0, "tiny": 35_000, "small": 150_000, "base": 1_000_000}
_DIFFERENT: dict[SizeName, int] = {"nano": 0, "tiny": 0, "small": 2_000, "base": 30_000}


@dataclass(frozen=True)
class GeneratorShape:
    """The generator's sizes that do not follow from the tokenizer and the data; see `core.config.GeneratorConfig`.

    With `text` it is trained on captions, without it on classes. `head` (flip, x0, direct, masked_bits) says what the
    transcoder predicts; with `attention: causal` tokens are predicted one after the other, not masked.
    """

    layers: int = 24
    heads: int = 16
    dim: int = 1024
    ffn_multiple: int = 256
    transcoder_layers: int = 3
    transcoder_width: int = 1024
    diffusion_timesteps: int = 256
    dropout: float = 0.1
    text: TextConfig | None = None
    head: HeadKind = field(default="flip", metadata=UNSAID)
    attention: AttentionKind = field(default="bidirectional", metadata=UNSAID)

    def complete(self, *, grid: int, bits: int, classes: int) -> GeneratorConfig:
        """With what the tokenizer and the data say. Raises ConfigError for sizes that do not fit."""
        if self.text is not None:
            return GeneratorConfig(grid=grid, bits=bits, classes=0, condition="text", **vars(self))
        return GeneratorConfig(grid=grid, bits=bits, classes=classes, **vars(self))


@dataclass(frozen=True)
class Size:
    """A generator's shape, and the widths and blocks of the tokenizer that goes with it.

    `width` is that of the token grid; finer levels have half of it, a sixth and a twelfth. `batch` images make a step
    of the generator: what a small one learns in an evening depends on its steps. From 12,288 views of emoji, tiny got
    to a validation loss of 0.212 in batches of 64, 0.200 in batches of 32 and 0.194 in batches of 16, a sixth slower.
    """

    generator: GeneratorShape
    width: int
    encoder_blocks: int
    decoder_blocks: int
    batch: int = 64


def _own(layers: int, dim: int, heads: int, width: int, blocks: tuple[int, int], batch: int = 64) -> Size:
    shape = GeneratorShape(
        layers=layers, heads=heads, dim=dim, ffn_multiple=32, transcoder_width=dim, transcoder_layers=3, dropout=0.0
    )
    return Size(shape, width, *blocks, batch)


def _published(layers: int, dim: int, heads: int) -> Size:
    return Size(GeneratorShape(layers=layers, heads=heads, dim=dim, transcoder_width=dim), 0, 0, 0)


SIZES: dict[SizeName, Size] = {
    "nano": _own(4, 128, 4, 96, (1, 2), batch=16),
    "tiny": _own(6, 192, 6, 128, (2, 3), batch=16),
    "small": _own(8, 256, 8, 192, (3, 5), batch=32),
    "base": _own(12, 512, 8, 320, (4, 6)),
    "bigr-l": _published(24, 1024, 16),
    "bigr-xl": _published(36, 1280, 20),
    "bigr-xxl": _published(48, 1536, 24),
}


if set(SIZES) != set(get_args(SizeName)):
    raise TypeError("a size has no name, or a name no size")


def levels_for(image_size: int) -> int:
    """How often the tokenizer halves the image: to about 8 tokens a side up to 64 pixels, 16 above.

    Raises:
        ConfigError: no power of two leaves from 4 to 32 tokens.
    """
    wanted = 8 if image_size <= 64 else 16
    fitting = [level for level in range(1, 7) if image_size % 2**level == 0 and _FEWEST <= image_size >> level <= _MOST]
    if not fitting:
        hint = "a multiple of 4 from 16 on, such as 28, 32, 64, 128 or 256, can be cut into tokens"
        raise ConfigError(f"image size: {image_size} pixels cannot be cut into 4 to 32 tokens a side", hint=hint)
    return min(fitting, key=lambda level: (abs((image_size >> level) - wanted), level))


def tokenizer_of(name: SizeName, image_size: int, bits: int) -> TokenizerConfig:
    """The tokenizer of a size, for images of so many pixels.

    Raises:
        ConfigError: the pixels cannot be cut into tokens.
    """
    if name in PUBLISHED:
        return AutoencoderConfig(image_size=image_size, bits=bits)
    size, levels = SIZES[name], levels_for(image_size)
    widths = [size.width, size.width // 2, size.width // 6, *[size.width // 12] * 3]
    channels = tuple(max(16, 8 * round(width / 8)) for width in widths[:levels][::-1])
    finer = levels - 1
    return CompactConfig(
        image_size=image_size,
        bits=bits,
        channels=channels,
        encoder_blocks=(*_FINER_ENCODER[len(_FINER_ENCODER) - finer :], size.encoder_blocks),
        decoder_blocks=(*_FINER_DECODER[len(_FINER_DECODER) - finer :], size.decoder_blocks),
    )


def sizes_worth_trying(images: int) -> list[SizeName]:
    """The sizes that so many images can teach, largest first."""
    return [name for name in OWN if images >= _DIFFERENT[name]]


def sees_enough(size: SizeName, images_seen: float) -> bool:
    """Whether a generator of a size can see so many images in its time that it is the right one."""
    return images_seen >= _SEEN.get(size, 0)


def smaller(size: SizeName) -> SizeName | None:
    """The next smaller size of this package's own; None below the smallest."""
    order = (*PUBLISHED[::-1], *OWN)
    place = order.index(size) + 1
    return order[place] if place < len(order) else None  # type: ignore[return-value]
