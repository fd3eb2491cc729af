"""How a model samples: its own settings, with what is asked for in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Integral, Real

from bigr_cli import console, schema
from bigr_cli.core.config import SamplingConfig, taken_by
from bigr_cli.errors import ConfigError
from bigr_cli.setting import with_own_names
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.presets import preset

_STRONG = 30  # of guidance; no published model has been of use beyond


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
        return taken_by(config.generator, chosen)
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
