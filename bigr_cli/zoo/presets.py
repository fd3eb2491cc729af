"""Presets: settings of the sampler that belong together, by what they cost or by whose they are."""

from bigr_cli import schema
from bigr_cli.core.config import PRESETS, SOURCES, GeneratorConfig, SamplingConfig, require
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
