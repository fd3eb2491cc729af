"""Presets: settings of the sampler that belong together, by what they cost."""

from bigr_cli.core.config import PRESETS, SamplingConfig, require
from bigr_cli.zoo.config import ModelConfig

# Shares of a model's own steps and timesteps, and of its timesteps for ranking, for models that name none themselves.
_SHARES = {
    "quality": (1.0, 1.0, 0.0),
    "balanced": (1.0, 1.0, 0.1),
    "fast": (0.5, 0.5, 0.04),
    "draft": (0.25, 0.25, 0.04),
}


def preset(config: ModelConfig, name: object) -> dict[str, object]:
    """The settings that a preset sets: those of the model's config, or else shares of its sampling defaults.

    Raises:
        ConfigError: there is no such preset.
    """
    require(name in PRESETS, f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    if name in config.presets:
        return dict(config.presets[str(name)])
    return _share(config.sampling, *_SHARES[str(name)])


def _share(sampling: SamplingConfig, steps: float, timesteps: float, ranking: float) -> dict[str, object]:
    if ranking == 0:
        return {}
    return {
        "steps": max(1, round(steps * sampling.steps)),
        "timesteps": max(1, round(timesteps * sampling.timesteps)),
        "rank_timesteps": max(1, round(ranking * sampling.timesteps)),
        "last_timesteps": 0,
    }
