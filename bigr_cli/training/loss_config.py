"""What the losses of both trainers are made of: the sections of a training config that weigh their parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from bigr_cli.core.config import require, require_positive

_MOST_PATCH_LAYERS = 10  # each halves the image
_MOST_SAMPLES = 1 << 24  # codes, of which all are in memory
_MOST_TIMESTEPS = 1_024  # noise levels of a token


def _require_not_negative(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        require(0 <= value < float("inf"), f"{name}: expected a number >= 0, got {value}")


@dataclass(frozen=True)
class AdversarialConfig:
    """A discriminator with hinge loss; its share is the ratio of gradients at the decoder's last layer, times `weight`.

    It reads `patches` of the images (PatchGAN), `features` that the perceptual network makes of them, or `both`.
    """

    FORMER_KEYS: ClassVar[dict[str, str]] = {"rate": "learning_rate"}

    weight: float = 0.0
    start: int = 30_001
    discriminator: Literal["patches", "features", "both"] = "patches"
    layers: int = 3
    channels: int = 64
    cap: float = 1.0
    learning_rate: float = 1e-4
    augment: bool = True

    def __post_init__(self) -> None:
        require_positive(self, "layers", most=_MOST_PATCH_LAYERS)
        require_positive(self, "channels")
        require(self.channels % 8 == 0, f"channels: expected a multiple of 8, got {self.channels}")
        require(0 <= self.weight < float("inf") and self.start >= 0, "weight, start: expected at least 0")
        require(
            0 < self.cap < float("inf") and 0 < self.learning_rate < float("inf"),
            "cap, learning_rate: expected more than 0",
        )

    @property
    def reads_patches(self) -> bool:
        """Whether there is a discriminator of patches."""
        return self.weight > 0 and self.discriminator != "features"

    @property
    def reads_features(self) -> bool:
        """Whether there is a discriminator of features."""
        return self.weight > 0 and self.discriminator != "patches"


@dataclass(frozen=True)
class TokenizerLosses:
    """The weight of each part of the loss; 0 leaves it out.

    With `foreground_weight` pixels of the object (where the data says which they are) weigh this much more than others.
    `log_l2` is of the logarithm of each image's squared error, as PSNR is: hard images count no more than easy ones.
    `perceptual_network` is `scenes` (a classifier that comes with the package) or a file of VGG16 weights.
    """

    FORMER_KEYS: ClassVar[dict[str, str]] = {"focus": "foreground_weight"}

    l1: float = 1.0
    l2: float = 0.0
    log_l2: float = 0.0
    edges: float = 0.0
    foreground_weight: float = 0.0
    perceptual: float = 0.0
    perceptual_network: str = "scenes"
    usage: float = 0.0
    certainty: float = 0.0
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)

    def __post_init__(self) -> None:
        _require_not_negative(
            self, "l1", "l2", "log_l2", "edges", "foreground_weight", "perceptual", "usage", "certainty"
        )

    @property
    def need_network(self) -> bool:
        """Whether the perceptual network is asked for anything."""
        return self.perceptual > 0 or self.adversarial.reads_features


@dataclass(frozen=True)
class SamplesConfig:
    """So many codes, sampled by the generator of `init`, that a decoder is trained on beside those of the images.

    The discriminator sees what is made of these. `iterations` are the sampler's `steps`; None is as the model does it.
    """

    count: int = 0
    iterations: int | None = None

    def __post_init__(self) -> None:
        require(0 <= self.count <= _MOST_SAMPLES, f"count: expected 0 to {_MOST_SAMPLES}, got {self.count}")
        require(
            self.iterations is None or self.iterations >= 1, f"iterations: expected at least 1, got {self.iterations}"
        )


@dataclass(frozen=True)
class MaskingConfig:
    """The masked share is sampled once a batch, as published, or for every image.

    `timesteps_per_token` noise levels are sampled for each masked token: more make better use of a transformer pass.
    With `foreground_weight` tokens of the object (where the data says which they are) weigh this much more than others.
    `corrupt_bits` flips bits of the known tokens, of each image a share that is sampled uniformly from 0 to this, and
    tokens with a flipped bit are predicted too (Infinity, arXiv 2412.04431). Of the share `rectangles` of the images
    only tokens in a random rectangle are masked, as in an image that is being inpainted.
    """

    FORMER_KEYS: ClassVar[dict[str, str]] = {"focus": "foreground_weight"}
    FORMER_VALUES: ClassVar[dict[str, dict[str, str]]] = {"share": {"picture": "image"}}

    share: Literal["batch", "image"] = "batch"
    label_dropout: float = 0.1
    timesteps_per_token: int = 1
    foreground_weight: float = 0.0
    corrupt_bits: float = 0.0
    rectangles: float = 0.0

    def __post_init__(self) -> None:
        require_positive(self, "timesteps_per_token", most=_MOST_TIMESTEPS)
        _require_not_negative(self, "foreground_weight")
        require(0 <= self.label_dropout <= 1, f"label_dropout: expected 0 to 1, got {self.label_dropout}")
        require(0 <= self.corrupt_bits <= 0.5, f"corrupt_bits: expected 0 to 0.5, got {self.corrupt_bits}")
        require(0 <= self.rectangles <= 1, f"rectangles: expected 0 to 1, got {self.rectangles}")


@dataclass(frozen=True)
class AlignmentConfig:
    """Self-alignment; see `training.generator_loss`. Its loss is added with `weight`; 0 leaves it out.

    Block `early` predicts block `late` (0 is the first; None is a third and two thirds of the way). The late block is
    the `teacher`'s, who sees the share `revealed` of the masked tokens: the `average` of the weights, or the network
    itself (`self`).
    """

    weight: float = 0.0
    early: int | None = None
    late: int | None = None
    revealed: float = 0.5
    teacher: Literal["average", "self"] = "average"

    def __post_init__(self) -> None:
        _require_not_negative(self, "weight")
        require(0 < self.revealed <= 1, f"revealed: expected 0 < revealed <= 1, got {self.revealed}")

    def blocks(self, layers: int) -> tuple[int, int]:
        """The early and the late block of so many. Raises ConfigError if there are no two such."""
        early = layers // 3 if self.early is None else self.early
        late = max(early + 1, 2 * layers // 3) if self.late is None else self.late
        fits = 0 <= early < late < layers
        require(fits, f"alignment: expected 0 <= early < late < {layers} blocks, got early {early} and late {late}")
        return early, late
