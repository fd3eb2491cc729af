"""Frozen descriptions of every part of the model; each checks its own values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from bigr_cli.core.architectures import ARCHITECTURES, HEADS, Architecture, Configs
from bigr_cli.core.limits import BLOCKS, LARGEST, LEVELS, above_zero, whole
from bigr_cli.errors import ConfigError
from bigr_cli.setting import Setting, check_settings

Guide = int | str | None  # what one image shall show: a class's index, a text, or nothing
Order = Literal["entropy", "confidence", "halton", "random", "raster"]
GuidanceSchedule = Literal["constant", "linear", "cosine"]
GumbelSchedule = Literal["constant", "up", "down"]
MaskSchedule = Literal["cosine", "linear"]

if TYPE_CHECKING:
    HeadKind = str
else:
    HeadKind = Literal[tuple(HEADS)]
AttentionKind = Literal["bidirectional", "causal"]

Preset = Literal["quality", "balanced", "fast", "draft", "paper", "published", "notebook"]

ORDERS: tuple[Order, ...] = ("entropy", "confidence", "halton", "random", "raster")
GUIDANCE_SCHEDULES: tuple[GuidanceSchedule, ...] = ("constant", "linear", "cosine")
GUMBEL_SCHEDULES: tuple[GumbelSchedule, ...] = ("constant", "up", "down")
MASK_SCHEDULES: tuple[MaskSchedule, ...] = ("cosine", "linear")
ATTENTIONS: tuple[AttentionKind, ...] = ("bidirectional", "causal")
PRESETS: tuple[Preset, ...] = ("quality", "balanced", "fast", "draft")  # of every model, from best to fastest
SOURCES: tuple[Preset, ...] = ("paper", "published", "notebook")  # whose settings they are; of published models

UNSAID = {"unsaid": True}  # metadata of a field that `schema` writes only where it is not at its default

BYTES = "bytes"  # the encoder that is a part of the generator

_setting = partial(Setting, panel="Advanced")
_rare = partial(Setting, panel="Rarely needed")

LARGEST_SEED = 2**63 - 1  # what an int64 tensor holds


def require(holds: bool, message: str) -> None:
    """Raise ConfigError with `message` unless the condition holds."""
    if not holds:
        raise ConfigError(message)


def require_positive(owner: object, *names: str, most: int | None = None) -> None:
    """Raise ConfigError for the first of the named integer fields below 1, or above `most` or the limit of its name."""
    for name in names:
        refuse(whole(name, getattr(owner, name), most=most))


def refuse(problem: str | None) -> None:
    """Raise ConfigError if there is a problem."""
    if problem is not None:
        raise ConfigError(problem)


def require_choice(owner: object, name: str, choices: Sequence[str]) -> None:
    """Raise ConfigError unless the named field holds one of the choices."""
    value = getattr(owner, name)
    require(value in choices, f"{name}: expected one of {', '.join(choices)}, got {value!r}")


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
            refuse(whole("channels", self.channels * width))
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
            blocks = getattr(self, name)
            require(
                len(blocks) == levels, f"{name}: expected {levels} numbers, one for each of channels, got {len(blocks)}"
            )
            for number in blocks:
                refuse(whole(name, number, least=0, most=BLOCKS))
        for width in self.channels:
            refuse(whole("channels", width))
            require(width >= 8 and width % 8 == 0, f"channels: expected multiples of 8, got {width}")
        require(
            self.channels[-1] % self.attention_heads == 0,
            f"attention_heads: {self.attention_heads} does not divide {self.channels[-1]} channels",
        )
        require(
            self.image_size % 2**levels == 0,
            f"image_size: expected a multiple of {2**levels}, got {self.image_size}",
        )

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
        require(
            (self.text is not None) == textual, f"text: belongs to condition: text, got condition: {self.condition}"
        )
        require(not (textual and self.classes), f"classes: expected 0 with condition: text, got {self.classes}")
        require_positive(
            self,
            *("grid", "bits", "layers", "heads", "dim", "ffn_multiple", *(() if textual else ("classes",))),
            *("transcoder_layers", "transcoder_width", "diffusion_timesteps"),
        )
        require(
            self.dim % (4 * self.heads) == 0, f"dim: expected a multiple of 4·heads = {4 * self.heads}, got {self.dim}"
        )
        require(0 <= self.dropout < 1, f"dropout: expected 0 <= dropout < 1, got {self.dropout}")
        refuse(above_zero("rope_base", self.rope_base, 1e12))
        refuse(above_zero("norm_eps", self.norm_eps, 1.0))
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


@dataclass(frozen=True)
class SamplingConfig:
    """How masked tokens are drawn (reference section 5). `steps` are iterations, `timesteps` the transcoder's.

    Four settings leave work out, and are neither in the paper nor in the published code; 0, or 1 for the last of them,
    turns each off. With
    `rank_timesteps` the masked tokens are ranked by chains of so few timesteps, and only those that are kept get the
    whole ones; with `last_timesteps` the chains become shorter from iteration to iteration, down to so many; and a
    token whose bits' probabilities have all changed by no more than `tolerance` since the timestep before is left as it
    is. With `cache_interval` above 1 all tokens go through the transformer in every so many iterations only; see
    `core.reuse`. `mask_schedule` says how the number of masked tokens falls; "linear" is the published one for parts of
    an image.
    """

    steps: Annotated[
        int,
        _setting(
            "Iterations in which the tokens are unmasked.",
            minimum=1,
            maximum=LARGEST["steps"],
            metavar="N",
            aliases=("--num-inference-steps",),
        ),
    ] = 20
    timesteps: Annotated[
        int,
        _setting("Denoising steps of the transcoder per token.", minimum=1, maximum=LARGEST["timesteps"], metavar="N"),
    ] = 100
    rank_timesteps: Annotated[
        int,
        _rare(
            "Rank tokens by so few denoising steps; 0: by all. Those alone that are kept get all steps.",
            minimum=0,
            maximum=LARGEST["timesteps"],
            metavar="N",
        ),
    ] = 0
    last_timesteps: Annotated[
        int,
        _rare(
            "Denoising steps in the last iteration; 0: the same in all. They get fewer from one to the next.",
            minimum=0,
            maximum=LARGEST["timesteps"],
            metavar="N",
        ),
    ] = 0
    tolerance: Annotated[
        float,
        _rare(
            "Stop at a token whose bits change by less; 0: never.",
            minimum=0,
            maximum=1,
            below=True,
            metavar="P",
        ),
    ] = 0.0
    guidance: Annotated[
        float,
        _setting(
            "How strongly to follow the prompt: 1 plainly, 0 not at all.",
            minimum=0,
            metavar="SCALE",
            aliases=("--guidance-scale", "--cfg-scale"),
        ),
    ] = 2.5
    guidance_schedule: Annotated[
        GuidanceSchedule,
        _setting(f"How it grows over the iterations: {', '.join(GUIDANCE_SCHEDULES)}.", metavar="NAME"),
    ] = "constant"
    guidance_interval: Annotated[
        tuple[float, float],
        _setting("Share of the iterations in which guidance acts: 0.1,0.8.", metavar="A,B"),
    ] = (0.0, 1.0)
    order: Annotated[Order, _setting(f"Tokens unmasked first: {', '.join(ORDERS)}.", metavar="NAME")] = "entropy"
    gumbel: Annotated[
        float,
        _setting("Noise on the order in which tokens are unmasked; 0: none.", minimum=0, metavar="SCALE"),
    ] = 0.17
    gumbel_schedule: Annotated[
        GumbelSchedule,
        _rare(f"How that noise changes: {', '.join(GUMBEL_SCHEDULES)}.", metavar="NAME"),
    ] = "down"
    temperature: Annotated[
        float, _setting("Below 1 plainer, above 1 more varied.", minimum=0, above=True, metavar="T")
    ] = 1.0
    mask_schedule: Annotated[
        MaskSchedule,
        _rare(f"How the number of masked tokens falls: {', '.join(MASK_SCHEDULES)}.", metavar="NAME"),
    ] = field(default="cosine", metadata=UNSAID)
    corrections: Annotated[
        int,
        _setting(
            "How often to sample the unlikeliest tokens anew; 0: never.",
            minimum=0,
            maximum=LARGEST["steps"],
            metavar="N",
        ),
    ] = field(default=0, metadata=UNSAID)
    correction_share: Annotated[
        float,
        _rare(
            "The share of the tokens that a correction samples anew.", minimum=0, above=True, maximum=1, metavar="SHARE"
        ),
    ] = field(default=0.4, metadata=UNSAID)
    correction_steps: Annotated[
        int, _rare("Iterations of a correction.", minimum=1, maximum=LARGEST["steps"], metavar="N")
    ] = field(default=4, metadata=UNSAID)
    cache_interval: Annotated[
        int,
        _rare(
            "Compute all tokens in every Nth iteration only. In between those that matter; 1: in each.",
            minimum=1,
            maximum=LARGEST["steps"],
            metavar="N",
        ),
    ] = field(default=1, metadata=UNSAID)

    @property
    def iterations(self) -> int:
        """All iterations, those of corrections among them."""
        return self.steps + self.corrections * self.correction_steps

    def __post_init__(self) -> None:
        check_settings(self)
        low, high = self.guidance_interval
        require(0 <= low < high <= 1, f"guidance_interval: expected 0 <= A < B <= 1, got {low},{high}")


def taken_by(generator: GeneratorConfig, settings: SamplingConfig) -> SamplingConfig:
    """The settings as a generator can take them: with causal attention it samples one token an iteration, row by row.

    Raises:
        ConfigError: corrections, which such a generator cannot make: it predicts no token from those behind it; a
            cache_interval above 1.
    """
    if generator.attention != "causal":
        return settings
    require(not settings.corrections, f"corrections: expected 0 with attention: causal, got {settings.corrections}")
    interval = settings.cache_interval
    require(interval == 1, f"cache_interval: expected 1 with attention: causal, got {interval}")
    return replace(settings, steps=generator.tokens, order="raster")
