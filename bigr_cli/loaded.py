"""A tokenizer and a generator with their config, on a device: what every use of a model starts from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from bigr_cli import memory, request
from bigr_cli.core.condition import Labels
from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.int8 import is_int8
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.refine import refined
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.core.transformer import Generator
from bigr_cli.errors import ImageError
from bigr_cli.imaging.arrays import to_images, to_tensor
from bigr_cli.imaging.recipe import Recipe
from bigr_cli.request import Label
from bigr_cli.zoo.config import ModelConfig

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_TOKENS_AT_ONCE = {"cpu": 1024, "cuda": 16384, "mps": 4096}


class LoadedModel:
    """A tokenizer and a generator with their config, on a device."""

    def __init__(
        self, network: BinaryModel, config: ModelConfig, *, name: str | None = None, folder: str | None = None
    ) -> None:
        """`name` is what `load` finds it by, if it is not its config's; `folder` is where it is, if that was given."""
        self.network = network
        self.config = config
        self.name = name or config.name
        self.folder = folder

    @property
    def tokenizer(self) -> Tokenizer:
        """Pictures to codes and back, as tensors."""
        return self.network.tokenizer

    @property
    def generator(self) -> Generator:
        """The transformer and its transcoder."""
        return self.network.generator

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes; empty if they have none."""
        return self.config.labels

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.generator.positions.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the generator's weights; int8 is that of its large layers."""
        return torch.int8 if is_int8(self.generator) else self.generator.positions.dtype

    def drawing(self, seed: int, *, drawn: bool) -> str:
        """What commands say when they begin: the model, where and in which numbers it computes, and the first seed."""
        numbers = f"{self.device} in {str(self.dtype).removeprefix('torch.')}"
        return f"{self.name} on {numbers}, seed {seed}{' (drawn)' if drawn else ''}"

    def sample_codes(self, labels: Labels, seeds: Tensor | Sequence[int], **options: Any) -> Tensor:
        """Draw codes (B, L, K) bool, by the model's own settings where none are given.

        Arguments and errors are those of `BinaryModel.sample_codes`.
        """
        return self.network.sample_codes(labels, seeds, **({"settings": self.config.sampling} | options))

    def label_index(self, label: Label) -> int:
        """The class that a name, a synonym or a number (as int or digits) means; see `request.label_index`."""
        return request.label_index(self.config, label)

    def settings(self, *, painting: bool = False, **sampling: Any) -> SamplingConfig:
        """The model's sampling defaults with these in their place; ConfigError if one is unknown or out of range.

        Where `painting`, the defaults are those for parts of a picture that is given.
        """
        return request.settings(self.config, sampling, painting=painting)

    def batch_size(self) -> int:
        """How many pictures are drawn at once if nothing else is asked for: as many as pay and fit into memory."""
        each = memory.drawing_bytes(self.generator.config, self.dtype.itemsize)
        fitting = memory.fitting(each, memory.free_memory(self.device) - memory.coding_bytes(self.tokenizer.config))
        return min(self._worthwhile(), fitting)

    def coding_batch_size(self) -> int:
        """How many pictures are encoded, and looked at by the generator, at once if nothing else is asked for."""
        each = memory.drawing_bytes(self.generator.config, self.dtype.itemsize)
        each = max(each, memory.coding_bytes(self.tokenizer.config))
        return min(self._worthwhile(), memory.fitting(each, memory.free_memory(self.device)))

    def _worthwhile(self) -> int:
        """The number of pictures above which more at once are hardly faster."""
        tokens = _TOKENS_AT_ONCE.get(self.device.type, _TOKENS_AT_ONCE["cpu"])
        return max(1, min(64, tokens // self.generator.config.tokens))

    def encode(self, images: Image | Sequence[Image] | Tensor, *, refine: int = 0) -> Tensor:
        """Pictures of the model's size, or (B, 3, H, W) in [0, 1] → codes (B, L, K) bool.

        `refine` steps look for codes that give the pictures back better; see `core.refine`.

        Raises:
            ImageError: the pictures are not of the model's size.
        """
        if not isinstance(images, torch.Tensor):
            images = to_tensor(list(images) if isinstance(images, Sequence) else [images])
        size = self.config.image_size
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise ImageError(f"images: expected (B, 3, {size}, {size}), got {tuple(images.shape)}")
        images = images.to(self.device, self.tokenizer.embed.dtype)
        with torch.inference_mode():
            return refined(self.tokenizer, images, self.tokenizer.bit_logits(images), refine)

    def decode(self, codes: Tensor, masked: Tensor | None = None) -> list[Image]:
        """Codes (B, L, K) → pictures; the bits of tokens that are masked (B, L) count as undecided, 0.5.

        Raises:
            ValueError: they do not fit the model.
        """
        if masked is not None:
            codes = torch.where(masked[..., None], 0.5, codes.float())
        with torch.inference_mode():
            # One at a time, because a convolution may round differently in a larger batch.
            return [to_images(self.tokenizer.decode(one.to(self.device)[None]))[0] for one in codes]

    def recipe(self, settings: SamplingConfig, *, task: str, labels: Sequence[str], seed: int, **more: Any) -> Recipe:
        """The recipe of a picture made with this model; `more` are further fields of it."""
        shown = self.folder if self.folder and self.folder.isprintable() else None
        return Recipe(
            task=task,
            model=self.name,
            folder=shown,
            weights=self.config.sha256,
            labels=tuple(labels),
            condition=self.generator.config.condition,
            seed=seed,
            sampling=settings,
            device=str(self.device),
            dtype=str(self.dtype).removeprefix("torch."),
            **more,
        )
