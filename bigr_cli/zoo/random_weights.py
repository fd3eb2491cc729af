"""A model of a card whose weights are not here, with random ones: it draws noise, as fast as the true one would."""

from __future__ import annotations

import torch
from torch import nn

from bigr_cli.core.model import BinaryModel
from bigr_cli.errors import ModelError
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.text_encoders.features import text_reader

_SPREAD = 0.02


def random_model(config: ModelConfig, *, device: torch.device, dtype: torch.dtype) -> BinaryModel:
    """The model in eval mode, the generator in `dtype` and the tokenizer in float32, the same weights every time.

    Raises:
        ModelError: the config has no generator, or its texts are read by an encoder that is not a part of it.
    """
    if config.generator is None:
        raise ModelError(f"{config.name}: is a tokenizer without a generator")
    with torch.device("meta"):
        model = BinaryModel(config.tokenizer, config.generator)
    chance = torch.Generator().manual_seed(0)
    _fill(model.tokenizer, torch.float32, chance)
    _fill(model.generator, dtype, chance)
    model.read = text_reader(config.generator.text)
    return model.to(device).eval().requires_grad_(False)


def _fill(part: nn.Module, dtype: torch.dtype, chance: torch.Generator) -> None:
    """Weights around 0, or around 1 for what scales."""
    state = {}
    for name, tensor in part.state_dict().items():
        values = torch.empty(tensor.shape, dtype=dtype).normal_(std=_SPREAD, generator=chance)
        state[name] = values.add_(1) if name.endswith("norm.weight") else values
    part.load_state_dict(state, assign=True)
