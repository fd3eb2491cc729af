"""Fixtures of the core's tests: the published network with its numbers, and small random networks."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bigr_cli.core.config import AutoencoderConfig, CompactConfig, GeneratorConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.transformer import Generator
from bigr_cli.zoo.folder import load_model
from bigr_cli.zoo.published import import_published

PUBLISHED = Path(__file__).parent.parent / "data" / "published"


@dataclass(frozen=True)
class Published:
    """The published network, imported, and what the published code computes with it (reference README, `given/`)."""

    model: BinaryModel
    expected: dict[str, torch.Tensor]
    settings: dict[str, Any]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    settings = json.loads((PUBLISHED / "config.json").read_text())
    folder = tmp_path_factory.mktemp("published") / "tiny"
    import_published(
        PUBLISHED / "binaryae_ema_1000.th",
        PUBLISHED / "bigr_tiny.pt",
        heads=settings["generator"]["n_head"],
        image_size=settings["bae"]["img_size"],
        output=folder,
    )
    model, _ = load_model(folder)
    return Published(model, load_file(PUBLISHED / "expected.safetensors"), settings)


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
