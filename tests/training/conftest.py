"""Trainings that are as small as can be: 16 × 16 pixels, 4 × 4 tokens."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bigr_cli.core.architectures import CompactConfig
from bigr_cli.core.config import SamplingConfig
from bigr_cli.training.config import DataConfig, GeneratorTraining, OptimizerConfig, RunConfig, TokenizerTraining
from bigr_cli.training.sizes import GeneratorShape

RUN = RunConfig(steps=4, batch=4, ema=0.9, log_every=2, validate_every=4, checkpoint_every=2)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """For so little work a second thread is nothing but waiting."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tokenizer_training() -> TokenizerTraining:
    """A tokenizer of 6 bits on scenes, without worker processes."""
    sizes = CompactConfig(16, 6, channels=(8, 16), encoder_blocks=(0, 1), decoder_blocks=(1, 1), attention_heads=2)
    optimizer = OptimizerConfig(name="muon", learning_rate=1e-3, matrix_learning_rate=3e-3)
    return TokenizerTraining(
        sizes, name="small", data=DataConfig(validation=8, workers=0), optimizer=optimizer, run=RUN
    )


@pytest.fixture
def generator_training(tiny_model: Path) -> GeneratorTraining:
    """A generator for the tiny model's codes of scenes, without worker processes."""
    return GeneratorTraining(
        str(tiny_model),
        name="small",
        generator=GeneratorShape(2, 2, 16, 8, 1, 16, 16),
        sampling=SamplingConfig(steps=2, timesteps=3),
        data=DataConfig(validation=8, workers=0),
        optimizer=OptimizerConfig(name="muon", learning_rate=1e-3, matrix_learning_rate=3e-3),
        run=replace(RUN, batch=8),
    )
