"""Configs describe what they are asked for, and refuse what cannot be."""

from dataclasses import FrozenInstanceError, fields
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.core import config
from bigr_cli.core.architectures import AutoencoderConfig, CompactConfig, GeneratorConfig
from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.errors import ConfigError

AUTOENCODER = dict(image_size=256, bits=24)
COMPACT = dict(image_size=64, bits=24)
GENERATOR = dict(grid=16, bits=24, classes=1000)


def test_published_sizes() -> None:
    """24 layers of 1024 for 256 pixels: 16 × 16 tokens, a SwiGLU of 2816."""
    assert AutoencoderConfig(**AUTOENCODER).grid == 16
    assert AutoencoderConfig(**{**AUTOENCODER, "image_size": 512}).grid == 32
    generator = GeneratorConfig(**GENERATOR)
    assert (generator.tokens, generator.ffn_width) == (256, 2816)
    assert GeneratorConfig(**GENERATOR, dim=1280, heads=20).ffn_width == 3584
    assert GeneratorConfig(**GENERATOR, dim=1536, heads=24).ffn_width == 4096


def test_compact_sizes() -> None:
    assert CompactConfig(**COMPACT).grid == 8


@pytest.mark.parametrize(
    ("kind", "values"), [(AutoencoderConfig, AUTOENCODER), (CompactConfig, COMPACT), (GeneratorConfig, GENERATOR)]
)
def test_a_config_cannot_be_changed(kind: type, values: dict[str, Any]) -> None:
    with pytest.raises(FrozenInstanceError):
        kind(**values).bits = 3


WRONG: list[tuple[type, dict[str, Any], str, Any]] = [
    *[
        (AutoencoderConfig, AUTOENCODER, name, 0)
        for name in ("image_size", "bits", "channels", "res_blocks", "embedding")
    ],
    (AutoencoderConfig, AUTOENCODER, "image_size", 250),
    (AutoencoderConfig, AUTOENCODER, "multipliers", ()),
    (AutoencoderConfig, AUTOENCODER, "multipliers", (1, 0)),
    (AutoencoderConfig, AUTOENCODER, "multipliers", (1, -1)),
    (AutoencoderConfig, AUTOENCODER, "channels", 48),
    (AutoencoderConfig, AUTOENCODER, "embedding", 100),
    *[(CompactConfig, COMPACT, name, 0) for name in ("image_size", "bits", "attention_heads")],
    (CompactConfig, COMPACT, "image_size", 60),
    (CompactConfig, COMPACT, "channels", ()),
    (CompactConfig, COMPACT, "channels", (64, 100, 256)),
    (CompactConfig, COMPACT, "encoder_blocks", (1, 2)),
    (CompactConfig, COMPACT, "decoder_blocks", (1, 2, 3, 4)),
    (CompactConfig, COMPACT, "encoder_blocks", (1, 2, -1)),
    (CompactConfig, COMPACT, "decoder_blocks", (-1, 2, 1)),
    (CompactConfig, COMPACT, "attention_heads", 5),
    *[
        (GeneratorConfig, GENERATOR, name, value)
        for name in ("grid", "bits", "classes", "layers", "heads", "dim", "ffn_multiple")
        for value in (0, -1)
    ],
    *[
        (GeneratorConfig, GENERATOR, name, 0)
        for name in ("transcoder_layers", "transcoder_width", "diffusion_timesteps")
    ],
    (GeneratorConfig, GENERATOR, "dim", 1000),
    (GeneratorConfig, GENERATOR, "heads", 48),
    (GeneratorConfig, GENERATOR, "dropout", 1.0),
    (GeneratorConfig, GENERATOR, "dropout", -0.1),
    (GeneratorConfig, GENERATOR, "dropout", float("nan")),
    (SamplingConfig, {}, "steps", 0),
    (SamplingConfig, {}, "timesteps", -3),
    (SamplingConfig, {}, "order", "best"),
    (SamplingConfig, {}, "guidance_schedule", "square"),
    (SamplingConfig, {}, "gumbel_schedule", ""),
    *[
        (SamplingConfig, {}, name, value)
        for name in ("guidance", "gumbel", "temperature")
        for value in (-0.5, float("nan"), float("inf"))
    ],
    (SamplingConfig, {}, "temperature", 0.0),
    *[(SamplingConfig, {}, "guidance_interval", ends) for ends in ((0.5, 0.5), (0.6, 0.4), (-0.1, 1.0), (0.0, 1.1))],
    (SamplingConfig, {}, "guidance_interval", (float("nan"), 1.0)),
]


@pytest.mark.parametrize(
    ("kind", "base", "name", "value"), WRONG, ids=[f"{kind.__name__}-{name}={value}" for kind, _, name, value in WRONG]
)
def test_wrong_values_are_refused(kind: type, base: dict[str, Any], name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        kind(**{**base, name: value})
    assert caught.value.exit_code == 2


# Of these the message speaks of the number that does not fit them.
OTHERS = ("embedding", "heads")


@pytest.mark.parametrize(("kind", "base", "name", "value"), [case for case in WRONG if case[2] not in OTHERS])
def test_the_message_names_the_key_first(kind: type, base: dict[str, Any], name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: ") as caught:
        kind(**{**base, name: value})
    assert "\n" not in str(caught.value)


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 512))
def test_the_hidden_width_is_8_thirds_rounded_up(heads: int, quarters: int, multiple: int) -> None:
    dim = 4 * heads * quarters
    width = GeneratorConfig(**GENERATOR, heads=heads, dim=dim, ffn_multiple=multiple).ffn_width
    assert width % multiple == 0 and int(8 * dim / 3) <= width < int(8 * dim / 3) + multiple


def test_choices_are_all_named_once() -> None:
    for choices, kind in (
        (config.ORDERS, config.Order),
        (config.GUIDANCE_SCHEDULES, config.GuidanceSchedule),
        (config.GUMBEL_SCHEDULES, config.GumbelSchedule),
    ):
        assert choices == get_args(kind)


def test_sampling_works_without_being_told_anything() -> None:
    assert {field.name for field in fields(SamplingConfig())} == set(SamplingConfig.__dataclass_fields__)
    assert SamplingConfig().steps == 20


@pytest.mark.parametrize(("name", "other"), [("grid", 4), ("bits", 8)])
def test_a_tokenizer_and_a_generator_that_do_not_fit(name: str, other: int) -> None:
    tokenizer = CompactConfig(image_size=16, bits=4, channels=(8,), encoder_blocks=(1,), decoder_blocks=(1,))
    sizes = dict(grid=8, bits=4, classes=2, layers=1, heads=2, dim=16, transcoder_width=8)
    with pytest.raises(ConfigError, match=f"{name}: the tokenizer has .*, the generator {other}"):
        BinaryModel(tokenizer, GeneratorConfig(**{**sizes, name: other}))
