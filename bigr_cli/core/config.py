"""What configurations have in common, limits and checks, and how masked tokens are sampled: `SamplingConfig`.

The limits lie far above every published model's, and low enough that what follows from a config alone (a number of
parameters, a model without weights, a table of the schedule) is there in a moment, whoever wrote the config.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Literal, get_args

from bigr_cli.errors import ConfigError
from bigr_cli.setting import Setting, check_settings

MOST_REFINE = 10_000  # steps of latent optimisation, as of the option

LARGEST = {
    # tokenizer
    "image_size": 16_384,
    "bits": 4_096,
    "channels": 16_384,
    "embedding": 65_536,
    "res_blocks": 64,
    "attention_heads": 1_024,
    # generator
    "grid": 1_024,
    "classes": 10_000_000,
    "layers": 512,
    "heads": 1_024,
    "dim": 65_536,
    "ffn_multiple": 65_536,
    "transcoder_layers": 512,
    "transcoder_width": 65_536,
    "diffusion_timesteps": 100_000,
    # reading of texts
    "tokens": 65_536,
    "width": 65_536,
    "group": 65_536,
    # sampling
    "steps": 100_000,
    "timesteps": 100_000,
    "rank_timesteps": 100_000,
    "last_timesteps": 100_000,
}
LEVELS = 12  # of a tokenizer, each half as large as the one before
BLOCKS = 64  # of one level


Prompt = int | str | None  # what one image shall show: a class's index, a text, or nothing
Order = Literal["entropy", "confidence", "halton", "random", "raster"]
GuidanceSchedule = Literal["constant", "linear", "cosine"]
GumbelSchedule = Literal["constant", "up", "down"]
MaskSchedule = Literal["cosine", "linear"]


Preset = Literal["quality", "balanced", "fast", "draft", "paper", "published", "notebook"]

ORDERS: tuple[Order, ...] = get_args(Order)
GUIDANCE_SCHEDULES: tuple[GuidanceSchedule, ...] = get_args(GuidanceSchedule)
GUMBEL_SCHEDULES: tuple[GumbelSchedule, ...] = get_args(GumbelSchedule)
MASK_SCHEDULES: tuple[MaskSchedule, ...] = get_args(MaskSchedule)
PRESETS: tuple[Preset, ...] = ("quality", "balanced", "fast", "draft")  # of every model, from best to fastest
SOURCES: tuple[Preset, ...] = ("paper", "published", "notebook")  # whose settings they are; of published models

UNSAID = {"unsaid": True}  # metadata of a field that `schema` writes only where it is not at its default


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
        require_whole(name, getattr(owner, name), most=most)


def require_whole(name: str, value: int, *, least: int = 1, most: int | None = None) -> None:
    """Raise ConfigError for a whole number that is too small or too large; without `most` by the limit of its name."""
    most = LARGEST.get(name) if most is None else most
    require(value >= least, f"{name}: expected at least {least}, got {value}")
    require(most is None or value <= most, f"{name}: expected at most {most or 0:,}, got {value:,}")


def require_above_zero(name: str, value: float, most: float) -> None:
    """Raise ConfigError unless a number is finite, above 0 and at most `most`."""
    fits = math.isfinite(value) and 0 < value <= most
    require(fits, f"{name}: expected a number above 0 and at most {most:g}, got {value}")


def require_choice(owner: object, name: str, choices: Sequence[str]) -> None:
    """Raise ConfigError unless the named field holds one of the choices."""
    value = getattr(owner, name)
    require(value in choices, f"{name}: expected one of {', '.join(choices)}, got {value!r}")


@dataclass(frozen=True)
class SamplingConfig:
    """How masked tokens are sampled (reference section 5). `steps` are iterations, `timesteps` the transcoder's.

    Four settings leave work out, and are neither in the paper nor in the published code; 0, or 1 for the last of them,
    turns each off. With `rank_timesteps` the masked tokens are ranked by so few denoising steps, and only those that
    are kept get all; with `last_timesteps` the steps become fewer from iteration to iteration, down to so many; and a
    token whose bits' probabilities have all changed by no more than `tolerance` since the timestep before is left as it
    is. With `cache_interval` above 1 all tokens go through the transformer in every so many iterations only; see
    `core.sampler`. `mask_schedule` says how the number of masked tokens falls; "linear" is the published one for parts
    of an image.
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


def taken_by(attention: str, tokens: int, settings: SamplingConfig) -> SamplingConfig:
    """The settings as a generator with such attention and so many tokens can take them.

    With causal attention it samples one token an iteration, row by row.

    Raises:
        ConfigError: corrections, which such a generator cannot make: it predicts no token from those behind it; a
            cache_interval above 1.
    """
    if attention != "causal":
        return settings
    require(not settings.corrections, f"corrections: expected 0 with attention: causal, got {settings.corrections}")
    interval = settings.cache_interval
    require(interval == 1, f"cache_interval: expected 1 with attention: causal, got {interval}")
    return replace(settings, steps=tokens, order="raster")
