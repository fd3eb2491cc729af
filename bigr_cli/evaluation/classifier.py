"""A small network that reads a scene: which object, its colour, the ground, the time of day.

Its feature maps make a perceptual loss, its embedding a Fréchet distance, and its answers a score for generated
images. It is trained by `benchmarks/train_classifier.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from bigr_cli import schema
from bigr_cli.errors import ConfigError, ModelError, ModelFormatError
from bigr_cli.files import atomic_write, reading

CONFIG_FILE = "classifier.yaml"
WEIGHTS_FILE = "classifier.safetensors"
SHIPPED = "scenes-classifier"
_MULTIPLE = 16  # of an image's sides: four halvings


class Block(nn.Module):
    """Halves the image, then refines it: a strided convolution and a residual pair of convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.first = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H/2, W/2), nowhere negative."""
        x = self.down(x).relu()
        refined: Tensor = x + self.second(self.first(x).relu())
        return refined.relu()


class ScenesClassifier(nn.Module):
    """Four blocks, a mean over the image, and one linear layer for each question.

    Args:
        widths: channels of the four blocks; the last is the size of the embedding.
        heads: the answers to choose from, by question.
    """

    def __init__(self, widths: tuple[int, ...], heads: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.widths = widths
        self.answers = dict(heads)
        self.blocks = nn.ModuleList(map(Block, (3, *widths), widths))
        self.heads = nn.ModuleDict({name: nn.Linear(widths[-1], len(answers)) for name, answers in heads.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) in [0, 1] → for each question (B, answers) logits.

        Raises ValueError for images whose sides are no multiples of 16; the network was trained on 64 × 64.
        """
        embedded = self.embedding(images)
        return {name: head(embedded) for name, head in self.heads.items()}

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1] → the maps after the blocks but the last: (B, C, H/2, W/2), of H/4, and of H/8."""
        return self._maps(images, len(self.blocks) - 1)

    def embedding(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, D): the last map's mean over the image, which the heads read."""
        return self._maps(images, len(self.blocks))[-1].mean(dim=(2, 3))

    def _maps(self, images: Tensor, count: int) -> list[Tensor]:
        if images.ndim != 4 or images.shape[1] != 3 or any(side % _MULTIPLE or not side for side in images.shape[2:]):
            expected = f"expected images (B, 3, H, W) whose sides are multiples of {_MULTIPLE}"
            raise ValueError(f"{expected}, got {tuple(images.shape)}")
        if not images.is_floating_point():
            raise ValueError(f"expected floats in [0, 1], got {images.dtype}")
        x, maps = (images - 0.5) * 4, []
        for block in list(self.blocks)[:count]:
            x = block(x)
            maps.append(x)
        return maps


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """What `classifier.yaml` holds: the architecture, and where the weights come from."""

    format: int = 1
    kind: str = "classifier"
    name: str
    image_size: int = 64
    widths: tuple[int, ...]
    heads: dict[str, tuple[str, ...]]
    accuracy: dict[str, float]
    seed: int
    data: str
    sha256: str

    def __post_init__(self) -> None:
        """Raises ConfigError for what this version does not read."""
        if self.format != 1 or self.kind != "classifier":
            raise ConfigError(f"expected format 1 of kind classifier, got format {self.format} of kind {self.kind!r}")
        if len(self.widths) != 4 or not all(width > 0 for width in self.widths):
            raise ConfigError(f"widths: expected four positive whole numbers, got {list(self.widths)}")


def load_classifier(path: Path | None = None, device: torch.device | str = "cpu") -> ScenesClassifier:
    """The classifier of a folder, frozen and ready to use; None is the one that comes with the package.

    Raises:
        ModelError: there is none.
        ModelFormatError: the folder's configuration or weights are not what they should be.
    """
    if path is None:
        from bigr_cli.zoo.find import packaged_models

        path = packaged_models() / SHIPPED
    config = read_classifier_config(path)
    model = ScenesClassifier(config.widths, config.heads)
    model.load_state_dict(_weights(path / WEIGHTS_FILE, config.sha256, model.state_dict()))
    return model.to(device).eval().requires_grad_(False)


def save_classifier(directory: Path, model: ScenesClassifier, **provenance: Any) -> ClassifierConfig:
    """Write a classifier's weights (as float16) and configuration into a folder.

    Args:
        directory: made if it is not there; the files in it are replaced.
        provenance: `name`, `accuracy`, `seed` and `data` of `ClassifierConfig`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    raw = save({name: value.half().contiguous() for name, value in model.state_dict().items()})
    digest = hashlib.sha256(raw).hexdigest()
    config = ClassifierConfig(widths=model.widths, heads=model.answers, sha256=digest, **provenance)
    with atomic_write(directory / WEIGHTS_FILE) as file:
        file.write_bytes(raw)
    with atomic_write(directory / CONFIG_FILE) as file:
        file.write_text(schema.dump_yaml(config), encoding="utf-8")
    return config


def read_classifier_config(directory: Path) -> ClassifierConfig:
    """The configuration in a classifier's folder.

    Raises:
        ModelError: the folder holds none.
        ModelFormatError: it is not one that this version reads.
    """
    path = directory / CONFIG_FILE
    if not path.is_file():
        raise ModelError(f"{directory}: is not a classifier's folder: it has no {CONFIG_FILE}")
    try:
        return schema.load_yaml(ClassifierConfig, path)
    except ConfigError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ModelFormatError(f"{path}: not a classifier's configuration ({reason})") from error


def _weights(path: Path, digest: str, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a weights file as float32; ModelFormatError if it is not the file or they are not the ones."""
    with reading(path, ModelError):
        raw = path.read_bytes()
    if hashlib.sha256(raw).hexdigest() != digest:
        raise ModelFormatError(f"{path}: its sha256 is not the one in {CONFIG_FILE}")
    try:
        tensors = load(raw)
    except SafetensorError as error:
        raise ModelFormatError(f"{path}: not a safetensors file ({error})") from error
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if shapes != {name: tuple(tensor.shape) for name, tensor in expected.items()}:
        raise ModelFormatError(f"{path}: its tensors do not fit {CONFIG_FILE}")
    return {name: tensor.float() for name, tensor in tensors.items()}
