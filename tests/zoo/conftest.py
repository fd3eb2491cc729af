"""A small model of random weights, and its folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bigr_cli.core.config import CompactConfig, GeneratorConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.folder import save_model

TOKENIZER = CompactConfig(16, 6, channels=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1, 1), attention_heads=2)
GENERATOR = GeneratorConfig(
    grid=4, bits=6, classes=3, layers=2, heads=2, dim=16, ffn_multiple=8, transcoder_layers=1, transcoder_width=16
)


@pytest.fixture
def config() -> ModelConfig:
    return ModelConfig(name="small", image_size=16, tokenizer=TOKENIZER, generator=GENERATOR, labels=("a", "b", "c"))


@pytest.fixture
def model() -> BinaryModel:
    torch.manual_seed(0)
    return BinaryModel(TOKENIZER, GENERATOR).eval()


@pytest.fixture
def save(config: ModelConfig, model: BinaryModel) -> Callable[[Path], Path]:
    """Save the small model at some place."""

    def write(directory: Path) -> Path:
        save_model(directory, config, model.tokenizer, model.generator)
        return directory

    return write


@pytest.fixture
def folder(tmp_path: Path, save: Callable[[Path], Path]) -> Path:
    """The folder of the small model."""
    return save(tmp_path / "small")
