"""From data and a time to settings: the rules of the planner, and why they are so; those of sizes are in `sizes`.

The figures behind the rules are in docs/training.md. Nothing here reads data, measures or trains; `planning` does, and
asks these functions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bigr_cli.core.architectures import GeneratorConfig, TextConfig, TokenizerConfig
from bigr_cli.core.config import SamplingConfig
from bigr_cli.data.look import DataLook
from bigr_cli.progress import readable_time
from bigr_cli.training.config import DataConfig, GeneratorTraining, OptimizerConfig, RunConfig, TokenizerTraining
from bigr_cli.training.loss_config import MaskingConfig, TokenizerLosses
from bigr_cli.training.size_names import SizeName
from bigr_cli.training.sizes import PUBLISHED, SIZES, tokenizer_of
from bigr_cli.zoo.sizes import generator_parameters, tokenizer_parameters
from bigr_cli.zoo.source import readable_size

Condition = Literal["classes", "captions"]

DEFAULT_TIME = 2 * 3600.0  # seconds, when neither a time nor steps are asked for
FEWEST_STEPS = 20  # of a stage: with fewer there is nothing to look at

# Share of the time that the tokenizer gets: what is blurred by it stays blurred, and it converges sooner than the
# generator. One that starts from a trained tokenizer needs less.
_TOKENIZER_SHARE, _TUNED_SHARE = 0.35, 0.25
# Of the whole time, for a machine that is a little slower than was measured; and what the evaluation at the end takes,
# in units of a sheet of samples, of which it draws eight.
RESERVE, ENDING = 0.04, 12
_VALIDATION_SHARE = 0.08  # of a stage's time, at most
_FEWEST_LOOKS, _MOST_LOOKS = 5, 20
_FIRST_LOOKS = 3  # what the samples before the first validation cost, in units of one

# Bits of a token, and steps that look for better codes of an image that is shown as it is. On grey images of 28 pixels,
# tokenizers of 24 bits were 1 dB ahead of those of 16 after 284 steps of 500.
_BITS, _REFINE = 24, 10

# Samples that a generator sees before what it draws has shapes: of Fashion-MNIST, noise after 5,600, clothes with holes
# after 11,000, clothes after 22,500.
_SHAPES = 20_000

_FEW = 5_000  # images below which a generator needs dropout
_TOKENIZER_BATCH = 32
_REDUCED_FROM = 4  # times the side trained on that images have at least of which reduced copies are kept
_MOST_VARIANTS = 8  # codes that are kept of an image

_WEIGHT_BYTES = 20  # of a parameter: weight, gradient, two moments, average
_KEPT = 40  # activations of a token and layer that wait for the backward pass, in units of the width
_KEPT_TRANSCODER = 14
_BASE_BYTES = 600 << 20  # Python, torch and its libraries


@dataclass(frozen=True)
class Plan:
    """Both stages, complete, and the seconds that each may take; None where steps were asked for and not a time."""

    tokenizer: TokenizerTraining
    generator: GeneratorTraining
    size: SizeName
    condition: Condition
    tokenizer_seconds: float | None = None
    generator_seconds: float | None = None
    estimate: float = 0.0  # seconds of the whole
    memory: int = 0  # bytes at the most
    images: int = 0
    classes: int = 1

    def generator_config(self) -> GeneratorConfig:
        """The generator's sizes, with what the tokenizer and the data say."""
        shape = self.tokenizer.tokenizer
        return self.generator.generator.complete(grid=shape.grid, bits=shape.bits, classes=self.classes)

    def lines(self, only: str | None = None) -> list[str]:
        """The plan for a person to read, of both stages or of one alone."""
        first, second = self.tokenizer, self.generator
        shape, start = first.tokenizer, f"from {first.init}, fine-tuned" if first.init else "from nothing"
        sizes = [count / 1e6 for count in (tokenizer_parameters(shape), generator_parameters(self.generator_config()))]
        codes = f", {second.data.cache_codes} codes of each image kept" if second.data.cache_codes else ""
        stages = {
            "tokenizer": f"tokenizer: {sizes[0]:.1f} M parameters {start}, {first.run.steps:,} steps of "
            f"{first.run.batch} images",
            "generator": f"generator: {self.size}, {sizes[1]:.1f} M parameters, {second.run.steps:,} steps of "
            f"{second.run.batch} images{codes}",
        }
        return [
            f"{shape.image_size} pixels, {shape.grid}×{shape.grid} tokens of {shape.bits} bits, prompts: "
            + (self.condition if self.condition == "captions" or self.classes > 1 else "none"),
            *(line for name, line in stages.items() if only in (None, name)),
            f"{second.run.precision}, about {readable_time(self.estimate)} and {readable_size(self.memory)} of memory",
            *([self.too_short] if self.too_short and only != "tokenizer" else []),
        ]

    @property
    def too_short(self) -> str:
        """What to expect of a generator that sees too few images for shapes; "" of one that sees enough."""
        seen = self.generator.run.steps * self.generator.run.batch
        if seen >= _SHAPES:
            return ""
        wanted = f"about {readable_time(self.estimate * _SHAPES / seen)}"
        return f"short: {seen:,} samples seen; expect colours and textures, and shapes after {_SHAPES:,}, in {wanted}"


def image_size(look: DataLook, *, accelerated: bool, time: float | None) -> int:
    """How large images are trained on: as they are up to 64 pixels, and larger only with a GPU and hours.

    Work grows with the square of the side. Three quarters of the images are not to be enlarged.
    """
    native = look.side
    if native <= 64:
        return max(16, native // 4 * 4) if native < 32 else native // 8 * 8
    hours = (time or DEFAULT_TIME) / 3600
    if accelerated and native >= 256 and hours >= 8 and look.images >= 10_000:
        return 256
    return 128 if accelerated and native >= 128 and hours >= 1 else 64


def tokenizer_share(start: str) -> float:
    """Of the time of both stages."""
    return _TUNED_SHARE if start else _TOKENIZER_SHARE


def shipped_start(config: TokenizerConfig, shipped: TokenizerConfig, images: int) -> TokenizerConfig | None:
    """The sizes of a tokenizer that begins with the weights of the shipped one; None where it should not.

    It should where its sizes are the planned ones, and for few images of its own kind: with 270 photographs of 64
    pixels, 24 steps from it came to 19.6 dB, 24 from nothing with the same sizes to 18.7 dB.
    """
    same = ("channels", "encoder_blocks", "decoder_blocks", "attention_heads", "architecture")
    if all(getattr(config, name, None) == getattr(shipped, name, None) for name in same):
        return config if config.bits >= shipped.bits else None
    alike = (config.architecture, config.image_size, config.bits) == (
        shipped.architecture,
        shipped.image_size,
        shipped.bits,
    )
    return shipped if alike and images < _FEW else None


def data_settings(look: DataLook, source: str, side: int, *, workers: int, seed: int) -> DataConfig:
    """Which data, and how they are varied.

    Mirrored are colour images without words of left and right; digits, letters and small grey images are not. Cut out
    are parts of images that have half as many pixels again as are needed; out of reduced copies where images are so
    large that decoding them for every crop costs more than all else that is done to an image.
    """
    endless = look.endless
    flip = not endless and not look.grey and side > 32 and not look.sided and look.images < 20_000
    crop = 0.8 if not endless and look.side >= 1.5 * side else 1.0
    return DataConfig(
        source=source,
        seed=seed,
        validation=256,
        workers=workers,
        flip=flip,
        crop=crop,
        cache_reduced=crop < 1 and look.side >= _REDUCED_FROM * side,
        check="images" if look.broken else "headers",
    )


def tokenizer_training(
    size: SizeName, look: DataLook, data: DataConfig, side: int, *, name: str, precision: str, seed: int
) -> TokenizerTraining:
    """The first stage without its number of steps. Raises ConfigError for an image size that cannot be."""
    published = size in PUBLISHED
    return TokenizerTraining(
        tokenizer_of(size, side, _BITS),
        refine=_REFINE,
        name=name,
        # The published tokenizer was trained with other losses, on a cluster; for it these are as good a start.
        losses=TokenizerLosses(l1=1.0, l2=4.0, edges=0.5, usage=0.02, certainty=0.1),
        data=replace(data, cache_images=not look.endless and not data.augmented),
        optimizer=_optimizer(published),
        run=_run(_TOKENIZER_BATCH, precision, seed),
    )


def generator_training(
    size: SizeName,
    look: DataLook,
    data: DataConfig,
    condition: Condition,
    *,
    tokenizer: str,
    name: str,
    precision: str,
    seed: int,
) -> GeneratorTraining:
    """The second stage without its number of steps."""
    published = size in PUBLISHED
    shape = SIZES[size].generator
    if not published and look.images < _FEW and not look.endless:
        shape = replace(shape, dropout=0.1)
    if condition == "captions":
        shape = replace(shape, text=TextConfig())
    conditional = condition == "captions" or len(look.classes) > 1
    sampling = SamplingConfig(
        steps=16,
        timesteps=20,
        rank_timesteps=2,
        guidance=3.0 if conditional else 1.0,
        order="entropy" if published else "random",  # in small models nearer to real images: docs/evidence.md
        gumbel=0.1,
    )
    painting = None
    if conditional and not published:  # nearer to real images too, but not where a part is painted
        sampling, painting = replace(sampling, guidance=4.0, guidance_schedule="linear"), sampling
    return GeneratorTraining(
        tokenizer,
        name=name,
        generator=shape,
        sampling=sampling,
        painting=painting,
        data=data,
        masking=MaskingConfig("batch") if published else MaskingConfig("image", timesteps_per_token=4),
        optimizer=_optimizer(published),
        run=_run(SIZES[size].batch, precision, seed),
    )


def _optimizer(published: bool) -> OptimizerConfig:
    if published:
        return OptimizerConfig(schedule="trapezoid")
    return OptimizerConfig(
        name="muon",
        learning_rate=1e-3,
        matrix_learning_rate=3e-3,
        schedule="trapezoid",
        decay=0.5,
        weight_decay=0.0,
        warmup=50,
    )


def _run(batch: int, precision: str, seed: int) -> RunConfig:
    return RunConfig(steps=1, batch=batch, seed=seed, precision=precision, best=True)  # type: ignore[arg-type]


def variants(images: int, seen: float, *, endless: bool) -> int:
    """How many codes of each image are made beforehand: as many as passes will see, and none below one pass."""
    return 0 if endless else min(_MOST_VARIANTS, int(seen // max(1, images)))


def in_time(run: RunConfig, seconds: float, *, step: float, look: float) -> RunConfig:
    """The run with as many steps as fit into so many seconds, and with how often it validates, reports and saves.

    Validations, of `look` seconds, take a twelfth of the time at most, but there are five at least and 20 at most. A
    state is saved every minute, and a line written every ten seconds. Zero steps fit where there is no time for any.
    """
    looks = min(_MOST_LOOKS, max(_FEWEST_LOOKS, int(_VALIDATION_SHARE * seconds / max(look, 1e-9))))
    steps = int(max(0.0, seconds - (looks + _FIRST_LOOKS) * look) / step)
    every = max(1, -(-steps // looks))
    save, log = max(1, min(every, round(60 / step))), max(1, min(every, round(10 / step)))
    return _with_steps(run, steps, every, save, log)


def in_steps(run: RunConfig, steps: int) -> RunConfig:
    """The run with so many steps; all else follows from their number, so that such runs are the same everywhere."""
    tenth = max(1, steps // 10)
    return _with_steps(run, steps, tenth, min(500, tenth), min(20, tenth))


def _with_steps(run: RunConfig, steps: int, validate: int, save: int, log: int) -> RunConfig:
    """The average of the weights remembers a tenth of the run."""
    ema = round(min(0.9999, max(0.9, 1 - 10 / max(1, steps))), 5)
    return replace(run, steps=max(1, steps), validate_every=validate, checkpoint_every=save, log_every=log, ema=ema)


def needed_time(step: float, look: float) -> float:
    """Seconds without which a stage is not worth beginning."""
    return FEWEST_STEPS * step + (_FEWEST_LOOKS + _FIRST_LOOKS) * look


def takes(run: RunConfig, *, step: float, look: float) -> float:
    """Seconds of a stage."""
    return run.steps * step + (run.steps // run.validate_every + _FIRST_LOOKS) * look


def with_warmup(optimizer: OptimizerConfig, steps: int) -> OptimizerConfig:
    """The learning rate rises over a fiftieth of the steps, 100 at most."""
    return replace(optimizer, warmup=min(100, max(1, steps // 50)))


def generator_bytes(config: GeneratorConfig, batch: int, timesteps_per_token: int) -> int:
    """About what a step of a generator needs in memory, with `batch` images at a time."""
    prefix = config.text.prefix if config.text else 1
    transformer = batch * (config.tokens + prefix) * config.dim * config.layers * _KEPT
    rows = 0.64 * batch * config.tokens * timesteps_per_token  # of a cosine that many are masked in the mean
    transcoder = rows * config.transcoder_width * config.transcoder_layers * _KEPT_TRANSCODER
    return _BASE_BYTES + _WEIGHT_BYTES * generator_parameters(config) + round(4 * (transformer + transcoder))


def parts_that_fit(config: GeneratorConfig, run: RunConfig, timesteps_per_token: int, free: int) -> int | None:
    """Into how many parts a batch has to be split for what is free; None if nothing helps."""
    parts = 1
    while parts <= run.batch:
        if generator_bytes(config, run.batch // parts, timesteps_per_token) <= free:
            return parts
        parts *= 2
    return None
