"""Fixtures of the core's tests: the published network with its numbers, and small random networks."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from bigr_cli.core.config import CompactConfig, GeneratorConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.transformer import Generator

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def parity() -> ModuleType:
    """`benchmarks/parity.py`, which computes what is compared and prints what these tests check."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module("parity")


@pytest.fixture(scope="session")
def published(parity: ModuleType) -> Any:
    """The published network, imported, with the numbers that the published code gives for it."""
    return parity.load_published()


def randomised(module: torch.nn.Module, seed: int = 0, scale: float = 0.5) -> torch.nn.Module:
    """All parameters drawn anew, so that nothing that starts as zero hides what it does."""
    chance = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        fan_in = parameter.shape[-1] if parameter.ndim > 1 else 1
        parameter.data.normal_(0, scale * fan_in**-0.5, generator=chance)
    return module.eval()


@pytest.fixture(scope="session")
def randomise() -> Callable[..., torch.nn.Module]:
    return randomised


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., GeneratorConfig]:
    """The config of a network that a test can afford to run hundreds of times."""

    def build(**changes: Any) -> GeneratorConfig:
        values = dict(grid=3, bits=4, classes=5, layers=1, heads=2, dim=16, ffn_multiple=8)
        values |= dict(transcoder_layers=1, transcoder_width=8, diffusion_timesteps=8)
        return GeneratorConfig(**(values | changes))

    return build


@pytest.fixture(scope="session")
def tiny_generator(tiny_config: Callable[..., GeneratorConfig]) -> Callable[..., Generator]:
    """A random generator, so wild that labels, masks and timesteps all matter."""

    def build(seed: int = 0, **changes: Any) -> Generator:
        return randomised(Generator(tiny_config(**changes)), seed, scale=1.5)  # type: ignore[return-value]

    return build


@pytest.fixture(scope="session")
def tiny_model(tiny_config: Callable[..., GeneratorConfig]) -> BinaryModel:
    """A random model of 4 × 4 tokens with 4 bits, 16-pixel pictures."""
    tokenizer = CompactConfig(image_size=16, bits=4, channels=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1, 1))
    return randomised(BinaryModel(tokenizer, tiny_config(grid=4)), scale=1.5)  # type: ignore[return-value]
