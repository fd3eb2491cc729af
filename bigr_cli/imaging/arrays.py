"""Between pictures and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli.colours import WHITE, Background
from bigr_cli.errors import ImageError
from bigr_cli.imaging.modes import to_levels

if TYPE_CHECKING:
    from torch import Tensor


def to_images(tensor: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [0, 1], clamped and rounded to the nearest of 256 levels → RGB pictures."""
    levels = tensor.detach().float().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(np.ascontiguousarray(level)) for level in levels]


def to_pixels(tensor: Tensor) -> list[NDArray[np.float32]]:
    """(B, 3, H, W) → arrays (H, W, 3) float32, clamped to [0, 1]."""
    return list(np.ascontiguousarray(tensor.detach().float().clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()))


def to_tensor(images: Sequence[Image.Image], background: Background = WHITE) -> Tensor:
    """Pictures of one size, of any mode → (B, 3, H, W) float32 in [0, 1].

    Raises:
        ImageError: there is none, or they differ in size.
    """
    import torch

    sizes = {image.size for image in images}
    if len(sizes) != 1:
        found = ", ".join(f"{width}×{height}" for width, height in sorted(sizes)) or "none"
        raise ImageError(f"images: expected pictures of one size, got {found}")
    stacked = np.stack([to_levels(image, background) for image in images])  # (B, H, W, 3)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255
