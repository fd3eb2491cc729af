"""A model's networks, found by name or folder and put where they are to compute."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from bigr_cli.core.model import BinaryModel
from bigr_cli.errors import ModelError, UsageError
from bigr_cli.runtime import device as devices
from bigr_cli.runtime.fast_layers import check_compiler, compile_networks
from bigr_cli.runtime.offload import Offload
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.folder import load_model
from bigr_cli.zoo.text_encoders.features import text_reader

_SPREAD = 0.02


def load_networks(
    directory: Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    offload: bool = False,
    device_map: str | None = None,
    compile: bool = False,
) -> tuple[BinaryModel, ModelConfig]:
    """The networks and the config of a model folder; arguments and errors are those of `bigr_cli.load`."""
    if device_map not in (None, "auto"):
        raise UsageError(f"device_map: expected auto, got {device_map!r}")
    if offload and device_map:
        raise UsageError("--offload and --device-map exclude each other")
    if compile and (offload or device_map):
        raise UsageError("--compile: layers that are kept elsewhere cannot be compiled")
    offloading: Offload | None = "offload" if offload else "auto" if device_map else None
    devices.set_threads(threads)
    chosen = devices.select_device(device)
    if compile:
        check_compiler(chosen)
    kind = devices.select_dtype(dtype, chosen)
    if kind is torch.int8 and offloading is not None:
        raise UsageError("int8 layers cannot be kept elsewhere", hint="--offload and --device-map take other formats")
    # Decoding is a small part of the work, and its rounding would be seen.
    network, config = load_model(
        directory, device=chosen, dtype=kind, tokenizer_dtype=torch.float32, offloading=offloading
    )
    if compile:
        compile_networks(network.generator)
    return network, config


def random_model(config: ModelConfig, *, device: torch.device, dtype: torch.dtype) -> BinaryModel:
    """The model in eval mode, the generator in `dtype` and the tokenizer in float32, the same weights every time.

    Raises:
        ModelError: the config has no generator, or its texts are read by an encoder that is not a part of it.
    """
    if config.generator is None:
        raise ModelError(f"{config.name}: is a tokenizer without a generator")
    with torch.device("meta"):
        model = BinaryModel(config.tokenizer, config.generator)
    generator = torch.Generator().manual_seed(0)
    _fill(model.tokenizer, torch.float32, generator)
    _fill(model.generator, dtype, generator)
    model.read = text_reader(config.generator.text)
    return model.to(device).eval().requires_grad_(False)


def _fill(part: nn.Module, dtype: torch.dtype, generator: torch.Generator) -> None:
    """Weights around 0, or around 1 for what scales."""
    state = {}
    for name, tensor in part.state_dict().items():
        values = torch.empty(tensor.shape, dtype=dtype).normal_(std=_SPREAD, generator=generator)
        state[name] = values.add_(1) if name.endswith("norm.weight") else values
    part.load_state_dict(state, assign=True)
