"""Checkpoints in the form in which the published tokenizer's training saves them, with random weights beside the given.

The published tokenizer files are the state dict of the whole adversarial training: the autoencoder (`ae.*`), the
discriminator with its batch normalisation (`disc.*`) and the perceptual network, LPIPS on VGG16 (`perceptual.*`), saved
on a GPU. The benchmarks write them at full size, the tests with narrow networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

VGG16 = (64, 128, 256, 512, 512)  # channels of its five stages
_CONVOLUTIONS = (2, 2, 3, 3, 3)  # of each stage


class Scaling(nn.Module):
    """The mean and deviation that LPIPS expects of an image's colours."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None])
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[None, :, None, None])


def discriminator(channels: int = 64, layers: int = 3) -> nn.Sequential:
    """PatchGAN: its batch normalisation counts the batches in int64."""
    modules: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
    width = channels
    for layer in range(1, layers + 1):
        before, width = width, channels * min(2**layer, 8)
        stride = 2 if layer < layers else 1
        modules += [nn.Conv2d(before, width, 4, stride, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
    return nn.Sequential(*modules, nn.Conv2d(width, 1, 4, 1, 1))


def perceptual(channels: Sequence[int] = VGG16) -> nn.Module:
    """LPIPS: VGG16's convolutions in five slices, and a linear layer for each."""
    network, slices = nn.Module(), nn.Module()
    place, before = 0, 3
    for number, (width, count) in enumerate(zip(channels, _CONVOLUTIONS, strict=True)):
        stage = nn.Sequential()
        if number:
            stage.add_module(str(place), nn.MaxPool2d(2))
            place += 1
        for _ in range(count):
            stage.add_module(str(place), nn.Conv2d(before, width, 3, padding=1))
            stage.add_module(str(place + 1), nn.ReLU())
            place, before = place + 2, width
        slices.add_module(f"slice{number + 1}", stage)
    network.add_module("scaling_layer", Scaling())
    network.add_module("net", slices)
    for number, width in enumerate(channels):
        linear = nn.Module()
        linear.add_module("model", nn.Sequential(nn.Dropout(), nn.Conv2d(width, 1, 1, bias=False)))
        network.add_module(f"lin{number}", linear)
    return network


def training_state(
    autoencoder: Mapping[str, Tensor], *, channels: int = 64, stages: Sequence[int] = VGG16
) -> dict[str, Tensor]:
    """The state dict of the whole training around the tensors `ae.*` of an autoencoder."""
    networks = {"disc.main": discriminator(channels), "perceptual": perceptual(stages)}
    around = {f"{name}.{key}": tensor for name, part in networks.items() for key, tensor in part.state_dict().items()}
    return {**{key: value for key, value in autoencoder.items() if key.startswith("ae.")}, **around}


def save(content: Any, path: Path, device: str = "cuda:0") -> None:
    """What `torch.save` writes of tensors that are on a GPU: it differs in the place that the file names."""
    with mock.patch("torch.serialization.location_tag", return_value=device):
        torch.save(content, path)
