"""An image from a label or text alone, as a coroutine that shares its batches with other images' work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bigr_cli.core.config import Guide, SamplingConfig
from bigr_cli.editing.batched_sampling import SampleRequest, SamplingCoroutine
from bigr_cli.imaging.arrays import to_images

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.core.model import BinaryModel


def generate(
    network: BinaryModel, label: Guide, settings: SamplingConfig, seed: int, *, negative: Guide = None
) -> SamplingCoroutine[Image]:
    """Sample all tokens of one image; the same image as `Model.generate` makes with this seed."""
    config = network.generator.config
    codes = torch.zeros(config.tokens, config.bits, dtype=torch.bool)
    masked = torch.ones(config.tokens, dtype=torch.bool)
    sampled = yield [SampleRequest(codes, masked, seed, settings, label=label, negative=negative)]
    with torch.inference_mode():
        return to_images(network.tokenizer.decode(sampled[:1].to(network.tokenizer.embed.device)))[0]
