"""The one schema of both trainers: every key of a training config, with its default and its bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from bigr_cli.core.architectures import TokenizerConfig
from bigr_cli.core.config import (
    LARGEST_SEED,
    MOST_REFINE,
    UNSAID,
    SamplingConfig,
    require,
    require_positive,
    require_whole,
)
from bigr_cli.plain_text import parse_colour
from bigr_cli.training.loss_config import AlignmentConfig, MaskingConfig, SamplesConfig, TokenizerLosses
from bigr_cli.training.sizes import GeneratorShape

_MOST_WORKERS = 1_024
_MOST_BATCH = 1 << 20  # images of a step
_MOST_VARIANTS = 1_024  # of an image's codes that are kept


@dataclass(frozen=True)
class DataConfig:
    """What is trained on: `scenes` (without end, or the first `count`), a folder or tar shards (all, or `count`).

    Of the scenes, those in `without` ("red house") are left out, to see what a model makes of them.

    `validation` images are held out: of a folder a tenth at most, chosen by the seed. A folder's images are
    mirrored (`flip`) and cut (`crop` is the smallest share of the side) at random. `cache_codes` lets the generator's
    training keep the codes of so many variants of every image on disk, instead of encoding each anew in every pass;
    0 keeps none. Likewise `cache_texts` keeps what a text encoder makes of captions, `cache_images` the images, cut
    and scaled, and `cache_reduced` copies that are reduced to what random crops need, out of which these are cut.

    Transparent pixels are composited on `background`, a colour's name or "#rrggbb"; the model keeps that in mind.

    Broken images with captions, and those in shards, are left out if their `headers` show it, or with `images`,
    for which all are read whole before training begins.
    """

    FORMER_KEYS: ClassVar[dict[str, str]] = {"cache_pictures": "cache_images"}
    FORMER_VALUES: ClassVar[dict[str, dict[str, str]]] = {"check": {"pictures": "images"}}

    source: str = "scenes"
    seed: int = 0
    count: int | None = None
    without: tuple[str, ...] = ()
    validation: int = 512
    workers: int = 1
    flip: bool = False
    crop: float = 1.0
    cache_codes: int = 0
    cache_texts: bool = True
    cache_images: bool = False
    cache_reduced: bool = False
    check: Literal["headers", "images"] = "headers"
    background: str = field(default="white", metadata=UNSAID)

    def __post_init__(self) -> None:
        require_positive(self, "validation")
        require_whole("workers", self.workers, least=0, most=_MOST_WORKERS)
        require(self.count is None or self.count >= 1, f"count: expected at least 1, got {self.count}")
        require(0 < self.crop <= 1, f"crop: expected 0 < crop <= 1, got {self.crop}")
        require_whole("cache_codes", self.cache_codes, least=0, most=_MOST_VARIANTS)
        require(0 <= self.seed <= LARGEST_SEED, f"seed: expected 0 to 2^63 - 1, got {self.seed}")
        require(not self.without or self.source == "scenes", "without: leaves out scenes, not images of a folder")
        parse_colour(self.background, "background")
        endless = self.source == "scenes" and self.count is None
        require(not (self.cache_codes and endless), "cache_codes: endless scenes never repeat; set count, or 0 here")
        if self.cache_images:
            require(not endless, "cache_images: endless scenes never repeat; set count, or false here")
            require(not self.augmented, "cache_images: with flip or crop, images differ from pass to pass")
        alone = self.source != "scenes" and not self.cache_images
        require(alone or not self.cache_reduced, "cache_reduced: is for images in files, and not with cache_images")

    @property
    def augmented(self) -> bool:
        """Whether an image looks different in every pass."""
        return self.flip or self.crop < 1


@dataclass(frozen=True)
class OptimizerConfig:
    """Muon takes the matrices of the blocks, AdamW the rest (or, with `name: adamw`, everything).

    The learning rate rises over `warmup` steps, then is constant, or falls to `final` times itself: along a cosine, or
    ("trapezoid") in a straight line over the last `decay` share of the steps.
    """

    FORMER_KEYS: ClassVar[dict[str, str]] = {"rate": "learning_rate", "matrix_rate": "matrix_learning_rate"}

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-4
    matrix_learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    momentum: float = 0.95
    weight_decay: float = 0.02
    warmup: int = 0
    schedule: Literal["constant", "cosine", "trapezoid"] = "constant"
    decay: float = 0.3
    final: float = 0.0
    clip: float = 1.0

    def __post_init__(self) -> None:
        for name in ("learning_rate", "matrix_learning_rate", "clip"):
            value = getattr(self, name)
            require(0 < value < float("inf"), f"{name}: expected a number > 0, got {value}")
        for beta in (*self.betas, self.momentum):
            require(0 <= beta < 1, f"betas, momentum: expected 0 <= value < 1, got {beta}")
        decay = self.weight_decay
        require(0 <= decay < float("inf"), f"weight_decay: expected a number of at least 0, got {decay}")
        require(self.warmup >= 0, f"warmup: expected at least 0, got {self.warmup}")
        require(0 < self.decay <= 1, f"decay: expected 0 < decay <= 1, got {self.decay}")
        require(0 <= self.final <= 1, f"final: expected 0 <= final <= 1, got {self.final}")


@dataclass(frozen=True)
class RunConfig:
    """How long, how often, how precisely. `batch` images a step over all processes, in `accumulate` parts.

    `micro_batch` instead says how many images a process takes at a time. It is the unit that chance follows: with it,
    a step is the same however many processes share it. `shard` shards the weights over the processes (FSDP2), and
    `gradient_checkpointing` computes the inside of each block twice instead of keeping it.

    With `best` the run's model is the one of the best validation, otherwise of the last one.
    """

    steps: int = 100_000
    batch: int = 64
    accumulate: int = 1
    micro_batch: int | None = None
    seed: int = 0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    gradient_checkpointing: bool = False
    shard: bool = False
    ema: float = 0.9999
    log_every: int = 20
    validate_every: int = 1000
    checkpoint_every: int = 500
    keep: int = 2
    tensorboard: bool = False
    best: bool = False

    def __post_init__(self) -> None:
        require_positive(self, "steps", "keep", most=LARGEST_SEED)
        require_positive(self, "batch", "accumulate", most=_MOST_BATCH)
        require_positive(self, "log_every", "validate_every", "checkpoint_every")
        require(self.batch % self.accumulate == 0, f"accumulate: {self.accumulate} does not divide batch {self.batch}")
        if self.micro_batch is not None:
            fits = self.micro_batch >= 1 and self.batch % self.micro_batch == 0
            require(fits, f"micro_batch: {self.micro_batch} does not divide batch {self.batch}")
            require(self.accumulate == 1, "accumulate: follows from micro_batch; set one of them")
        require(not (self.shard and self.precision == "float16"), "shard: not in float16; bfloat16 or float32 will do")
        require(0 <= self.ema < 1, f"ema: expected 0 <= ema < 1, got {self.ema}")
        require(0 <= self.seed <= LARGEST_SEED, f"seed: expected 0 to 2^63 - 1, got {self.seed}")


@dataclass(frozen=True)
class TokenizerTraining:
    """Everything that `bigr train-tokenizer` can be told. `init`, a model's name or folder, gives the first weights.

    With `freeze_encoder` only the decoder is trained, so that a generator of the same codes stays valid: with `samples`
    that of `init`, which the run's model then has too. `generator_sha256` is filled in when such a run begins. `refine`
    is the model's: steps that look for the codes of an image that is shown as it is.
    """

    tokenizer: TokenizerConfig
    name: str = "my-tokenizer"
    init: str = ""
    freeze_encoder: bool = False
    refine: int = 0
    samples: SamplesConfig = field(default_factory=SamplesConfig)
    generator_sha256: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    losses: TokenizerLosses = field(default_factory=TokenizerLosses)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        size, losses = self.tokenizer.image_size, self.losses
        require_whole("refine", self.refine, least=0, most=MOST_REFINE)
        require(bool(self.init) or not self.freeze_encoder, "freeze_encoder: needs init, whose encoder it is")
        require(self.data.cache_codes == 0, "data.cache_codes: only a generator trains on codes; expected 0")
        if self.samples.count > 0:
            require(self.freeze_encoder, "samples.count: needs freeze_encoder, or the sampled codes lose their sense")
            require(losses.adversarial.weight > 0, "samples.count: needs losses.adversarial.weight, which judges them")
        if losses.adversarial.reads_patches:
            least = 3 * 2**losses.adversarial.layers
            require(size >= least, f"losses.adversarial.layers: so many need images of {least}, not {size} pixels")
        if losses.need_network:
            require(size % 16 == 0, f"losses.perceptual: expected an image_size that 16 divides, got {size}")


@dataclass(frozen=True)
class GeneratorTraining:
    """Everything that `bigr train-generator` can be told. `tokenizer` is a model's name or folder.

    `tokenizer_sha256` is filled in when a run begins, so that it cannot go on with another tokenizer's codes.
    """

    tokenizer: str
    tokenizer_sha256: str = ""
    name: str = "my-model"
    init: str = ""
    generator: GeneratorShape = field(default_factory=GeneratorShape)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    painting: SamplingConfig | None = None
    data: DataConfig = field(default_factory=DataConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        cached = self.masking.foreground_weight > 0 and self.data.cache_codes > 0
        require(
            not cached,
            "masking.foreground_weight: cached codes do not say where the object is; set it or cache_codes to 0",
        )
        if self.alignment.weight > 0:
            causal = self.generator.attention == "causal"
            require(not causal, "alignment.weight: expected 0 with generator.attention: causal, which masks nothing")
            self.alignment.blocks(self.generator.layers)
            there = self.alignment.teacher == "self" or not self.run.shard
            require(there, "alignment.teacher: with run.shard no process has the whole average; expected self")
