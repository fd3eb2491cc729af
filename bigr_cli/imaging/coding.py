"""Images to a model's codes and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from bigr_cli.colours import WHITE, Background
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.tokenizer import refined
from bigr_cli.errors import ImageError
from bigr_cli.imaging.arrays import to_images, to_tensor

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


def encode_images(
    network: BinaryModel,
    images: Image | Sequence[Image] | Tensor,
    *,
    refine: int = 0,
    background: Background = WHITE,
) -> Tensor:
    """Images of the model's size, or (B, 3, H, W) in [0, 1] → codes (B, L, K) bool; ImageError for another size."""
    if not isinstance(images, torch.Tensor):
        images = to_tensor(list(images) if isinstance(images, Sequence) else [images], background)
    size, weight = network.tokenizer.config.image_size, network.tokenizer.embed
    if images.ndim != 4 or images.shape[1:] != (3, size, size):
        raise ImageError(f"images: expected (B, 3, {size}, {size}), got {tuple(images.shape)}")
    images = images.to(weight.device, weight.dtype)
    with torch.inference_mode():
        return refined(network.tokenizer, images, network.tokenizer.bit_logits(images), refine)


def decode_images(network: BinaryModel, codes: Tensor, masked: Tensor | None = None) -> list[Image]:
    """Codes (B, L, K) → images; the bits of tokens that are masked (B, L) count as undecided, 0.5."""
    if masked is not None:
        codes = torch.where(masked[..., None], 0.5, codes.float())
    device = network.tokenizer.embed.device
    with torch.inference_mode():
        # One at a time, because a convolution may round differently in a larger batch.
        return [to_images(network.tokenizer.decode(one.to(device)[None]))[0] for one in codes]
