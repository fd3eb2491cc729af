"""Presets: a model's own, or shares of its defaults."""

from dataclasses import replace
from pathlib import Path

import pytest

from bigr_cli.core.config import PRESETS, SOURCES, SamplingConfig
from bigr_cli.errors import ConfigError
from bigr_cli.zoo.config import ModelConfig, dump_config, read_config
from bigr_cli.zoo.find import packaged_models
from bigr_cli.zoo.presets import preset, published_sampling, sampling_settings

OWN = {"fast": {"steps": 3, "order": "halton", "guidance": 2.0, "guidance_interval": (0.5, 1.0)}}


def work(chosen: SamplingConfig, tokens: int = 256) -> float:
    """Roughly how many token-timesteps it takes."""
    ranked = tokens * chosen.steps * 0.6
    if not chosen.rank_timesteps:
        return ranked * chosen.timesteps
    return ranked * chosen.rank_timesteps + tokens * chosen.timesteps


@pytest.mark.parametrize(("steps", "timesteps"), [(20, 100), (16, 20), (8, 256)])
def test_each_is_less_work_than_the_one_before(config: ModelConfig, steps: int, timesteps: int) -> None:
    plain = replace(config, sampling=SamplingConfig(steps=steps, timesteps=timesteps))
    works = [work(sampling_settings(plain, {"preset": name})) for name in PRESETS]
    assert works == sorted(works, reverse=True) and len(set(works)) == len(PRESETS)
    assert sampling_settings(plain, {"preset": "quality"}) == plain.sampling


def test_even_the_smallest_defaults_have_presets(config: ModelConfig) -> None:
    least = replace(config, sampling=SamplingConfig(steps=1, timesteps=1))
    for name in PRESETS:
        assert sampling_settings(least, {"preset": name}).steps == 1


def test_a_model_has_its_own(config: ModelConfig) -> None:
    own = replace(config, presets=OWN)  # type: ignore[arg-type]
    assert preset(own, "fast") == OWN["fast"]
    chosen = sampling_settings(own, {"preset": "fast", "guidance": 5.0, "steps": None})
    assert (chosen.steps, chosen.order, chosen.guidance, chosen.gumbel) == (3, "halton", 5.0, config.sampling.gumbel)


def test_where_a_image_is_given_the_rest_is_as_for_painting(config: ModelConfig) -> None:
    own = replace(config, presets=OWN, painting=SamplingConfig(gumbel=0.7))  # type: ignore[arg-type]
    chosen = sampling_settings(own, {"preset": "fast"}, painting=True)
    assert (chosen.steps, chosen.gumbel) == (3, 0.7)


def test_there_is_no_other(config: ModelConfig) -> None:
    with pytest.raises(ConfigError, match="preset: expected one of quality, balanced, fast, draft, got 'best'"):
        preset(config, "best")


def test_they_come_back_from_the_file(config: ModelConfig, tmp_path: Path) -> None:
    own = replace(config, presets=OWN)  # type: ignore[arg-type]
    (tmp_path / "config.yaml").write_text(dump_config(own), encoding="utf-8")
    assert read_config(tmp_path) == own


CARDS = ("bigr-l-d24", "bigr-xl-d24", "bigr-xxl-d24", "bigr-xxl-d32", "bigr-l-d32-512")


@pytest.mark.parametrize("name", CARDS)
def test_a_published_card_has_the_published_settings_by_name(name: str) -> None:
    """The scripts and the notebook of the published code, by hand; the paper's noise goes by the model's size."""
    card = read_config(packaged_models() / name)
    assert card.generator is not None
    steps, gumbel = {24: (20, 0.17), 36: (25, 0.25), 48: (25, 0.30)}[card.generator.layers]
    ranked = SamplingConfig(steps=20, timesteps=100, guidance=2.5, order="confidence")
    paper = replace(ranked, steps=steps, gumbel=gumbel, gumbel_schedule="down")
    assert sampling_settings(card) == sampling_settings(card, {"preset": "paper"}) == paper
    published = replace(ranked, guidance=3.0, gumbel=0.01, gumbel_schedule="constant")
    assert sampling_settings(card, {"preset": "published"}) == published
    notebook = replace(ranked, gumbel=0.01, gumbel_schedule="down")
    assert sampling_settings(card, {"preset": "notebook"}) == notebook
    painting = replace(ranked, steps=25, gumbel=0.0, mask_schedule="linear")
    for chosen in ({}, *({"preset": source} for source in SOURCES)):
        assert sampling_settings(card, chosen, painting=True) == painting
    assert sampling_settings(card, {"preset": "published", "order": "entropy"}).order == "entropy"
    assert sampling_settings(card, {"preset": "draft"}).steps == round(steps / 4)


def test_whose_settings_are_not_known(config: ModelConfig) -> None:
    """A model that names none has none; the message lists those it has."""
    with pytest.raises(ConfigError, match="preset: expected one of quality, balanced, fast, draft, got 'published'"):
        preset(config, "published")


def test_they_fit_small_models(config: ModelConfig) -> None:
    assert config.generator is not None
    small = replace(config.generator, diffusion_timesteps=8)
    sampling, painting, presets = published_sampling(small)
    own = replace(config, generator=small, sampling=sampling, painting=painting, presets=presets)
    assert {sampling_settings(own, {"preset": name}).steps for name in SOURCES} == {small.tokens}
    assert (sampling_settings(own, painting=True).steps, sampling_settings(own).timesteps) == (small.tokens, 8)
