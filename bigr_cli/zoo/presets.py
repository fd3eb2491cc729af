"""How a model samples: its own settings, presets of some that belong together, and what is asked for in their place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from numbers import Integral, Real

from bigr_cli import console, schema
from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.config import PRESETS, SOURCES, SamplingConfig, require, taken_by
from bigr_cli.errors import ConfigError, nearest
from bigr_cli.setting import with_own_names
from bigr_cli.zoo.config import ModelConfig

Settings = dict[str, int | float | str | tuple[float, float]]

# Shares of a model's own steps and timesteps, and of its timesteps for ranking, for models that name none themselves.
_SHARES = {
    "quality": (1.0, 1.0, 0.0),
    "balanced": (1.0, 1.0, 0.1),
    "fast": (0.5, 0.5, 0.04),
    "draft": (0.25, 0.25, 0.04),
}
# Layers of a published generator → iterations and scale of the Gumbel noise in the paper (reference section 5).
_PAPER = {24: (20, 0.17), 36: (25, 0.25), 48: (25, 0.30)}
_TIMESTEPS = 100
# Reference: script/sample.sh and run_BiGR.ipynb of the published code, and its apps/inpaint.py with app_inpaint.sh.
_PUBLISHED: Settings = {"steps": 20, "guidance": 3.0, "gumbel": 0.01, "gumbel_schedule": "constant"}
_NOTEBOOK: Settings = {"steps": 20, "guidance": 2.5, "gumbel": 0.01, "gumbel_schedule": "down"}
_PAINTING: Settings = {"steps": 25, "guidance": 2.5, "gumbel": 0.0, "mask_schedule": "linear"}
_SETTINGS = ("preset", *(field.name for field in fields(SamplingConfig)))
_STRONG = 30  # of guidance; no published model has been of use beyond


def preset(config: ModelConfig, name: object, *, painting: bool = False) -> dict[str, object]:
    """The settings that a preset sets: those of the model's config, or else shares of its sampling defaults.

    Presets by whose settings they are say how whole images are sampled. Where `painting`, they leave the settings that
    the model has for parts of an image.

    Raises:
        ConfigError: there is no such preset.
    """
    known = [*PRESETS, *(source for source in SOURCES if source in config.presets)]
    require(name in known, f"preset: expected one of {', '.join(known)}, got {name!r}")
    if painting and name in SOURCES and config.painting is not None:
        return {}
    if name in config.presets:
        return dict(config.presets[str(name)])
    return _share(config.sampling, *_SHARES[str(name)])


def published_sampling(generator: GeneratorConfig) -> tuple[SamplingConfig, SamplingConfig, dict[str, Settings]]:
    """What goes with weights of the published architecture: sampling, painting and the presets by whose they are.

    The default is the preset "paper": its iterations and noise, in the order by which the published code ranks tokens,
    since noise of that size was tuned on it. Sizes that the paper has not get those of L.
    """
    steps, gumbel = _PAPER.get(generator.layers, _PAPER[24])
    timesteps = min(_TIMESTEPS, generator.diffusion_timesteps)
    every: Settings = {"timesteps": timesteps, "guidance_schedule": "constant", "order": "confidence"}
    paper: Settings = {"steps": steps, "guidance": 2.5, "gumbel": gumbel, "gumbel_schedule": "down"}

    def fitting(settings: Settings) -> Settings:
        return {**settings, **every, "steps": min(int(str(settings["steps"])), generator.tokens)}

    presets = {"paper": fitting(paper), "published": fitting(_PUBLISHED), "notebook": fitting(_NOTEBOOK)}
    painting = fitting(_PAINTING)
    return _sampling(presets["paper"]), _sampling(painting), presets


def _sampling(settings: Settings) -> SamplingConfig:
    return schema.from_mapping(SamplingConfig, settings, source="preset")


def _share(sampling: SamplingConfig, steps: float, timesteps: float, ranking: float) -> dict[str, object]:
    if ranking == 0:
        return {}
    return {
        "steps": max(1, round(steps * sampling.steps)),
        "timesteps": max(1, round(timesteps * sampling.timesteps)),
        "rank_timesteps": max(1, round(ranking * sampling.timesteps)),
        "last_timesteps": 0,
    }


def sampling_settings(config: ModelConfig, *layers: Mapping[str, object], painting: bool = False) -> SamplingConfig:
    """The model's sampling defaults, with those of each layer that are not None in their place; the last one wins.

    Where `painting`, the defaults are those for parts of an image that is given. A layer's `preset` stands for several
    settings, which its others go before.

    Raises:
        ConfigError: an unknown setting, a value of the wrong type or out of range, or more than the model can do.
    """
    merged = schema.to_mapping((painting and config.painting) or config.sampling)
    for layer in layers:
        named = with_own_names(SamplingConfig, layer).items()
        given = {name: _plain(value) for name, value in named if value is not None}
        chosen_preset = given.pop("preset", None)
        merged |= ({} if chosen_preset is None else preset(config, chosen_preset, painting=painting)) | given
    chosen = schema.from_mapping(SamplingConfig, merged, source="sampling")
    usual = max(config.sampling.guidance, config.painting.guidance if config.painting else 0)
    if chosen.guidance > max(_STRONG, 3 * usual):
        message = f"guidance {chosen.guidance:g} is far beyond the {usual:g} of {config.name}"
        console.warn(f"{message}: images lose their variety, and then their form", once=True)
    if config.generator is not None:
        for name, most, why in _limits(config):
            value = getattr(chosen, name)
            if value > most:
                raise ConfigError(f"{name}: expected 1 to {most}, {why} of {config.name}, got {value}")
        return taken_by(config.generator.attention, config.generator.tokens, chosen)
    return chosen


def _plain(value: object) -> object:
    """A number of NumPy's as one of Python's."""
    if isinstance(value, bool | int | float):
        return value
    return int(value) if isinstance(value, Integral) else float(value) if isinstance(value, Real) else value


def _limits(config: ModelConfig) -> Iterator[tuple[str, int, str]]:
    if config.generator is not None:
        yield "steps", max(config.generator.tokens, config.sampling.steps), "one for each token"
        for name in ("timesteps", "rank_timesteps", "last_timesteps"):
            yield name, config.generator.diffusion_timesteps, "as many as in the training"


def check_arguments(method: str, given: Iterable[str], own: Iterable[str] = ()) -> None:
    """Raise ConfigError for a name that is neither a setting of the sampler nor the method's `own`."""
    for name in given:
        if name not in _SETTINGS:
            near = nearest(name, sorted({*own, *_SETTINGS}))
            suggestion = f"; did you mean {', '.join(near)}?" if near else ""
            raise ConfigError(f"{method}: has no argument {name!r}{suggestion}")
