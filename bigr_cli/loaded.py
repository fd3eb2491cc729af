"""A model as it was loaded: its networks and config, and what follows from them. `Model` adds what is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import torch

from bigr_cli import prompts
from bigr_cli.core.conditions import Labels
from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.network import Generator
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.imaging.arrays import decode_images
from bigr_cli.prompts import Label
from bigr_cli.recipe import Recipe
from bigr_cli.runtime import memory
from bigr_cli.runtime.fast_layers import is_int8
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.presets import sampling_settings

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class LoadedModel:
    """A tokenizer and a generator with their config, on a device."""

    def __init__(
        self, network: BinaryModel, config: ModelConfig, *, name: str | None = None, folder: str | None = None
    ) -> None:
        """`name` is what `load` finds it by, if it is not its config's; `folder` is where it is, if that was given."""
        self.network, self.config = network, config
        self.name, self.folder = name or config.name, folder

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join([self.name, *self._facts().values()])}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        rows = {"model": self.name, **self._facts(), "labels": prompts.listing(self.config)}
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows.items())
        return f"<table>{cells}</table>"

    def _facts(self) -> dict[str, str]:
        config, counts = self.generator.config, (self.tokenizer, self.generator)
        numbers = sum(weight.numel() for part in counts for weight in part.parameters())
        known = "texts" if config.condition == "text" else f"{config.classes} labels"
        return {
            "images": f"{self.config.image_size} px",
            "codes": f"{config.tokens} tokens of {config.bits} bits",
            "prompts": known,
            "size": f"{numbers / 1e6:.1f} M parameters",
            "device": f"{self.device} in {str(self.dtype).removeprefix('torch.')}",
        }

    @property
    def tokenizer(self) -> Tokenizer:
        """Images to codes and back, as tensors."""
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

    def decode(self, codes: Tensor, masked: Tensor | None = None) -> list[Image]:
        """The images of codes.

        Args:
            codes: (B, L, K) bool, or 0 and 1.
            masked: (B, L) bool: the tokens whose bits count as undecided, 0.5.

        Returns:
            B RGB images of the model's size.
        """
        return decode_images(self.network, codes, masked)

    def sample_codes(self, labels: Labels, seeds: Tensor | Sequence[int], **options: Any) -> Tensor:
        """Sample codes (B, L, K) bool, by the model's own settings where none are given.

        Arguments and errors are those of `BinaryModel.sample_codes`.
        """
        return self.network.sample_codes(labels, seeds, **({"settings": self.config.sampling} | options))

    def label_index(self, label: Label) -> int:
        """The class that a name, a synonym or a number (as int or digits) means; see `prompts.label_index`."""
        return prompts.label_index(self.config, label)

    def settings(self, *, painting: bool = False, **sampling: Any) -> SamplingConfig:
        """The model's sampling defaults with these in their place; ConfigError if one is unknown or out of range.

        Where `painting`, the defaults are those for parts of an image that is given.
        """
        return sampling_settings(self.config, sampling, painting=painting)

    def batch_size(self) -> int:
        """How many images are sampled at once if nothing else is asked for: as many as pay and fit into memory."""
        return memory.sampling_batch_size(self.tokenizer.config, self.generator.config, self.dtype, self.device)

    def coding_batch_size(self) -> int:
        """How many images are encoded, and looked at by the generator, at once if nothing else is asked for."""
        return memory.coding_batch_size(self.tokenizer.config, self.generator.config, self.dtype, self.device)

    def description(self, seed: int, *, random_seed: bool) -> str:
        """What commands say when they begin: the model, where and in which numbers it computes, and the first seed."""
        numbers = f"{self.device} in {str(self.dtype).removeprefix('torch.')}"
        return f"{self.name} on {numbers}, seed {seed}{' (drawn)' if random_seed else ''}"

    def recipe(self, settings: SamplingConfig, *, task: str, labels: Sequence[str], seed: int, **more: Any) -> Recipe:
        """The recipe of an image made with this model; `more` are further fields of it."""
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
