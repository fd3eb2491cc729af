"""What a model is made of: the tables of tokenizer architectures and heads, and the sizes of tokenizer and generator.

A row says where its classes are; they are imported when a configuration asks for them, so that reading the
configurations of this package needs no torch. Everything else follows from the row: what a config may hold, how many
parameters it has, how much memory it takes. Configs are frozen, and each checks its own values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from bigr_cli.core.config import (
    BLOCKS,
    LEVELS,
    UNSAID,
    require,
    require_above_zero,
    require_choice,
    require_positive,
    require_whole,
)

# Subclasses of `core.heads.Head`. "flip" is the published one.
HEADS: dict[str, str] = {
    "flip": "bigr_cli.core.heads:FlipHead",
    "x0": "bigr_cli.core.heads:CleanHead",
    "direct": "bigr_cli.core.heads:DirectHead",
    "masked_bits": "bigr_cli.core.heads:MaskedBitsHead",
}
AttentionKind = Literal["bidirectional", "causal"]
ATTENTIONS: tuple[AttentionKind, ...] = get_args(AttentionKind)
BYTES = "bytes"  # the encoder that is a part of the generator


@dataclass(frozen=True)
class Architecture:
    """A tokenizer's architecture; classes are given as "module:Class".

    Attributes:
        config: its sizes, a subclass of `TokenizerConfig`.
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
        config="bigr_cli.core.architectures:AutoencoderConfig",
        encoder="bigr_cli.core.autoencoders:Encoder",
        decoder="bigr_cli.core.autoencoders:Decoder",
        gradient=4,
    ),
    "compact": Architecture(
        config="bigr_cli.core.architectures:CompactConfig",
        encoder="bigr_cli.core.autoencoders:CompactEncoder",
        decoder="bigr_cli.core.autoencoders:CompactDecoder",
        gradient=12,
    ),
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


if TYPE_CHECKING:
    HeadKind = str
else:
    HeadKind = Literal[tuple(HEADS)]


@dataclass(frozen=True)
class TokenizerConfig(ABC):
    """What the sizes of all tokenizers have; `architecture` says which subclass is meant, see `core.architectures`."""

    image_size: int
    bits: int

    VARIANTS: ClassVar[tuple[str, Mapping[str, type]]] = ("architecture", Configs())

    @property
    @abstractmethod
    def architecture(self) -> str:
        """Its name in the table of architectures: in subclasses a Literal field of one value, which is its default."""

    @property
    @abstractmethod
    def grid(self) -> int:
        """Tokens along one side."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Channels of the features between encoder and codes."""

    @property
    @abstractmethod
    def maps(self) -> tuple[tuple[int, int], ...]:
        """The side and the channels of the largest feature map of each level."""

    @property
    def row(self) -> Architecture:
        """What the table of architectures says of it."""
        return ARCHITECTURES[self.architecture]


@dataclass(frozen=True)
class AutoencoderConfig(TokenizerConfig):
    """The published convolutional autoencoder (reference: appendix of the BiGR paper; Wang et al. 2023)."""

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    res_blocks: int = 2
    attention_resolutions: tuple[int, ...] = (16,)
    embedding: int = 256
    norm_first: bool = True
    architecture: Literal["autoencoder"] = "autoencoder"

    def __post_init__(self) -> None:
        require_positive(self, "image_size", "bits", "channels", "res_blocks", "embedding")
        levels, places = len(self.multipliers), self.attention_resolutions
        require(levels > 0, "multipliers: expected at least one level")
        require(min(self.multipliers) >= 1, f"multipliers: expected numbers of at least 1, got {min(self.multipliers)}")
        require(levels <= LEVELS, f"multipliers: expected at most {LEVELS} levels, got {levels}")
        require(len(places) <= LEVELS, f"attention_resolutions: expected at most {LEVELS}, got {len(places)}")
        for width in self.multipliers:
            require_whole("channels", self.channels * width)
        for width in (self.channels, self.embedding, *(self.channels * m for m in self.multipliers)):
            require(width % 32 == 0, f"channels: group normalisation needs a multiple of 32, got {width}")
        stride = 2 ** (len(self.multipliers) - 1)
        require(self.image_size % stride == 0, f"image_size: expected a multiple of {stride}, got {self.image_size}")

    @property
    def grid(self) -> int:
        return int(self.image_size // 2 ** (len(self.multipliers) - 1))

    @property
    def width(self) -> int:
        return self.embedding

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        return tuple((self.image_size >> level, self.channels * m) for level, m in enumerate(self.multipliers))


@dataclass(frozen=True)
class CompactConfig(TokenizerConfig):
    """A light tokenizer for small images: pixel (un)shuffling between few convolutional levels.

    `channels` and the block counts go from the finest level (half the image's size) to the token grid; blocks are
    residual convolutions, on the grid transformer blocks.
    """

    channels: tuple[int, ...] = (32, 96, 192)
    encoder_blocks: tuple[int, ...] = (0, 1, 3)
    decoder_blocks: tuple[int, ...] = (1, 2, 5)
    attention_heads: int = 4
    architecture: Literal["compact"] = "compact"

    def __post_init__(self) -> None:
        require_positive(self, "image_size", "bits", "attention_heads")
        levels = len(self.channels)
        require(1 <= levels <= LEVELS, f"channels: expected 1 to {LEVELS} levels, got {levels}")
        for name in ("encoder_blocks", "decoder_blocks"):
            count = len(getattr(self, name))
            require(count == levels, f"{name}: expected {levels} numbers, one for each of channels, got {count}")
            for number in getattr(self, name):
                require_whole(name, number, least=0, most=BLOCKS)
        for width in self.channels:
            require_whole("channels", width)
            require(width >= 8 and width % 8 == 0, f"channels: expected multiples of 8, got {width}")
        last, heads = self.channels[-1], self.attention_heads
        require(last % heads == 0, f"attention_heads: {heads} does not divide {last} channels")
        size, stride = self.image_size, 2**levels
        require(size % stride == 0, f"image_size: expected a multiple of {stride}, got {size}")

    @property
    def grid(self) -> int:
        return int(self.image_size // 2 ** len(self.channels))

    @property
    def width(self) -> int:
        return self.channels[-1]

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        return tuple((self.image_size >> (level + 1), width) for level, width in enumerate(self.channels))


@dataclass(frozen=True)
class TextConfig:
    """How texts are read: by `encoder`, which turns one into at most `tokens` tokens of `width` numbers each.

    `bytes` is a transformer of so many `layers` and `heads` that is trained with the generator; its tokens are bytes,
    of which `group` neighbours become one. Other encoders are found by their name; `source` says which weights they
    take.
    """

    encoder: str = BYTES
    tokens: int = 128
    width: int = 128
    layers: int = 2
    heads: int = 4
    group: int = 8
    source: str = ""

    def __post_init__(self) -> None:
        require_positive(self, "tokens", "width", "layers", "heads", "group")
        if self.encoder == BYTES:
            require(self.tokens % self.group == 0, f"tokens: expected a multiple of {self.group}, got {self.tokens}")
            require(self.width % self.heads == 0, f"heads: {self.heads} does not divide a width of {self.width}")

    @property
    def prefix(self) -> int:
        """How many condition tokens stand in front of the image's."""
        return self.tokens // self.group if self.encoder == BYTES else self.tokens


@dataclass(frozen=True)
class GeneratorConfig:
    """Transformer and transcoder (reference sections 2 and 3). `grid` is the number of tokens along one side.

    Conditions are `classes`, or texts as `text` says how to read them, and then there are no classes. `head` says what
    the transcoder predicts of a token's bits; see `core.heads`. With `attention: causal` a token sees those before it
    only, row by row, and is predicted from them.
    """

    grid: int
    bits: int
    classes: int
    layers: int = 24
    heads: int = 16
    dim: int = 1024
    ffn_multiple: int = 256
    transcoder_layers: int = 3
    transcoder_width: int = 1024
    diffusion_timesteps: int = 256
    rope_base: float = 10000.0
    norm_eps: float = 1e-5
    dropout: float = 0.1
    condition: Literal["class", "text"] = "class"
    text: TextConfig | None = None
    head: HeadKind = field(default="flip", metadata=UNSAID)
    attention: AttentionKind = field(default="bidirectional", metadata=UNSAID)

    def __post_init__(self) -> None:
        textual = self.condition == "text"
        fits = (self.text is not None) == textual
        require(fits, f"text: belongs to condition: text, got condition: {self.condition}")
        require(not (textual and self.classes), f"classes: expected 0 with condition: text, got {self.classes}")
        require_positive(
            self,
            *("grid", "bits", "layers", "heads", "dim", "ffn_multiple", *(() if textual else ("classes",))),
            *("transcoder_layers", "transcoder_width", "diffusion_timesteps"),
        )
        unit = 4 * self.heads
        require(self.dim % unit == 0, f"dim: expected a multiple of 4·heads = {unit}, got {self.dim}")
        require(0 <= self.dropout < 1, f"dropout: expected 0 <= dropout < 1, got {self.dropout}")
        require_above_zero("rope_base", self.rope_base, 1e12)
        require_above_zero("norm_eps", self.norm_eps, 1.0)
        require_choice(self, "head", tuple(HEADS))
        require_choice(self, "attention", ATTENTIONS)

    @property
    def tokens(self) -> int:
        """L, the number of tokens."""
        return self.grid * self.grid

    @property
    def ffn_width(self) -> int:
        """Hidden width of the SwiGLU network: 8D/3 rounded up to a multiple of `ffn_multiple`."""
        return self.ffn_multiple * -(-int(8 * self.dim / 3) // self.ffn_multiple)
