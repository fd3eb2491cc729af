"""Counting parameters without making them."""

import pytest
import torch

from bigr_cli.core.config import AutoencoderConfig, CompactConfig, GeneratorConfig, TextConfig, TokenizerConfig
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.core.transformer import Generator
from bigr_cli.zoo.sizes import generator_parameters, tokenizer_parameters


@pytest.mark.parametrize(
    "config",
    [
        AutoencoderConfig(256, 24),
        AutoencoderConfig(
            32, 8, channels=32, multipliers=(1, 2, 3), attention_resolutions=(8, 16), res_blocks=3, norm_first=False
        ),
        AutoencoderConfig(8, 1, channels=32, multipliers=(2,), attention_resolutions=(), embedding=64),
        CompactConfig(64, 24),
        CompactConfig(32, 8, channels=(16, 24), encoder_blocks=(1, 2), decoder_blocks=(2, 0)),
        CompactConfig(8, 3, channels=(8,), encoder_blocks=(1,), decoder_blocks=(1,), attention_heads=1),
    ],
)
def test_tokenizer(config: TokenizerConfig) -> None:
    with torch.device("meta"):
        made = Tokenizer(config)
    assert tokenizer_parameters(config) == sum(parameter.numel() for parameter in made.parameters())


@pytest.mark.parametrize(
    "config",
    [
        GeneratorConfig(grid=16, bits=24, classes=1000),
        GeneratorConfig(grid=3, bits=5, classes=7, layers=3, heads=2, dim=24, ffn_multiple=8, transcoder_width=13),
        GeneratorConfig(grid=8, bits=24, classes=0, condition="text", text=TextConfig()),
        GeneratorConfig(grid=8, bits=24, classes=0, condition="text", text=TextConfig(width=48, layers=3, tokens=64)),
        GeneratorConfig(grid=8, bits=24, classes=0, condition="text", text=TextConfig("t5", tokens=120, width=512)),
    ],
)
def test_generator(config: GeneratorConfig) -> None:
    with torch.device("meta"):
        made = Generator(config)
    assert generator_parameters(config) == sum(parameter.numel() for parameter in made.parameters())


def test_the_published_size() -> None:
    assert round(generator_parameters(GeneratorConfig(grid=16, bits=24, classes=1000)) / 1e6) == 336
