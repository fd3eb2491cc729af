"""Codes that a finished generator samples, on which a decoder can be trained (arXiv 2509.12474).

A decoder that has seen the codes of real images alone shows a generator's small mistakes as large ones. It can learn to
make of sampled codes what a discriminator takes for real images, while the codes themselves stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from bigr_cli import schema
from bigr_cli.core.config import Prompt, SamplingConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.data.cached import kept_codes
from bigr_cli.data.loading import PackedCodes
from bigr_cli.data.sources import Source
from bigr_cli.errors import UsageError
from bigr_cli.progress import progress_bar
from bigr_cli.runtime.tensor_headers import sha256_of
from bigr_cli.training.loss_config import SamplesConfig
from bigr_cli.zoo.config import GENERATOR_FILE
from bigr_cli.zoo.folder import load_model
from bigr_cli.zoo.loading import load_networks

_BATCH = 64
_SEEDS = 1 << 62
_FIRST_SEED = 1 << 40  # far from the seeds of images that people sample, so that none of them was trained on


class Sampler:
    """A finished model, whose generator samples codes for the training of its decoder."""

    def __init__(self, folder: Path, samples: SamplesConfig, seed: int) -> None:
        """`seed` is that of the training.

        Raises:
            ModelError: the model has no generator.
            ModelFormatError: it cannot be read.
        """
        _, self.config = load_model(folder)
        self.generator: Mapping[str, Tensor] = load_file(folder / GENERATOR_FILE)  # as it is, for the run's model
        self.digest = sha256_of(folder / GENERATOR_FILE)
        self._folder, self._seed, self._count = folder, seed, samples.count
        sampling = self.config.sampling
        self._settings = sampling if samples.iterations is None else replace(sampling, steps=samples.iterations)
        self._codes: PackedCodes | None = None

    def sample(self, source: Source, device: torch.device) -> None:
        """Have the codes ready; `source` has the captions for a model of texts. Raises what `prompts_for` raises."""
        model, _ = load_networks(self._folder, device=str(device))  # in the format that is fast there
        prompts = prompts_for(model, source, self._count)
        self._codes = sampled_codes(model, self.digest, prompts, self._settings, seed=self._seed)

    def take(self, count: int, device: torch.device) -> Tensor:
        """So many of the codes at random: (B, L, K) bool."""
        return self._at(torch.randint(self._count, (count,), device=device).tolist()).to(device)

    def first(self, count: int) -> Tensor:
        """The first so many of the codes, or all."""
        return self._at(range(min(count, self._count)))

    def _at(self, places: Iterable[int]) -> Tensor:
        if self._codes is None:
            raise ValueError("nothing has been sampled yet")
        return self._codes.take([(place, 0) for place in places])


def prompts_for(model: BinaryModel, source: Source, count: int) -> list[Prompt]:
    """The classes of a model in turn, or, for one of texts, the captions of the first images in turn.

    Raises:
        UsageError: a model of texts, and an image without a caption.
    """
    config = model.generator.config
    if config.condition != "text":
        return [number % config.classes for number in range(count)]
    captions = [source.caption(number % len(source)) for number in range(count)]
    if not all(captions):
        without = sum(not caption for caption in captions)
        raise UsageError(f"samples.count: {without:,} of {count:,} images have no caption to sample by")
    return list(captions)


def sampled_codes(
    model: BinaryModel, digest: str, prompts: Sequence[Prompt], settings: SamplingConfig, *, seed: int
) -> PackedCodes:
    """One code for each prompt, from the cache, or sampled now and kept there if it can be written.

    Args:
        model: on the device that samples.
        digest: the SHA-256 of the generator's weights: others sample other codes.
        settings: of the sampler.
        seed: of the training; the codes follow from it, whatever else is in a batch.
    """
    config = model.generator.config
    shape = (len(prompts), 1, -(-config.tokens * config.bits // 8))
    identity = f"sampled {digest} {seed} {schema.to_mapping(settings)} {list(prompts)}"
    packed = kept_codes(identity, shape, lambda: _packed(model, prompts, settings, seed))
    if packed is None:
        packed = np.concatenate(list(_packed(model, prompts, settings, seed))).reshape(shape)
    return PackedCodes(packed, config.tokens, config.bits)


@torch.no_grad()
def _packed(
    model: BinaryModel, prompts: Sequence[Prompt], settings: SamplingConfig, seed: int
) -> Iterator[NDArray[np.uint8]]:
    """The codes in order, a block of them at a time: (B, ⌈L·K / 8⌉)."""
    with progress_bar(len(prompts), "sampling codes") as bar:
        for at in range(0, len(prompts), _BATCH):
            some = prompts[at : at + _BATCH]
            seeds = torch.arange(at, at + len(some)) + _FIRST_SEED * (seed + 1) % _SEEDS
            codes = model.sample_codes(model.conditions(some), seeds, settings)
            yield np.packbits(codes.flatten(1).cpu().numpy(), axis=1)
            bar.advance(len(some))
