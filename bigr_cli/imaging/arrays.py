"""Between images, arrays, tensors and a model's codes, and what Python code gives as an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bigr_cli.core.model import BinaryModel
from bigr_cli.core.tokenizer import refined
from bigr_cli.errors import ImageError
from bigr_cli.imaging.modes import to_levels
from bigr_cli.imaging.originals import Original
from bigr_cli.plain_text import WHITE, Background

OneImage: TypeAlias = Image.Image | NDArray[Any] | Tensor | str | os.PathLike[str]
Images: TypeAlias = OneImage | Sequence[OneImage]

TAKEN = (
    "a PIL image, a path, an array (H, W) or (H, W, 1 to 4) of uint8, bool or floats from 0 to 1, "
    "a tensor (1 to 4, H, W) of uint8 or floats from 0 to 1, or a list of these"
)


def to_images(tensor: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [0, 1], clamped and rounded to the nearest of 256 levels → RGB images."""
    levels = tensor.detach().float().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(np.ascontiguousarray(level)) for level in levels]


def to_pixels(tensor: Tensor) -> list[NDArray[np.float32]]:
    """(B, 3, H, W) → arrays (H, W, 3) float32, clamped to [0, 1]."""
    return list(np.ascontiguousarray(tensor.detach().float().clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()))


def to_tensor(images: Sequence[Image.Image], background: Background = WHITE) -> Tensor:
    """Images of one size, of any mode → (B, 3, H, W) float32 in [0, 1].

    Raises:
        ImageError: there is none, or they differ in size.
    """
    sizes = {image.size for image in images}
    if len(sizes) != 1:
        found = ", ".join(f"{width}×{height}" for width, height in sorted(sizes)) or "none"
        raise ImageError(f"images: expected images of one size, got {found}")
    stacked = np.stack([to_levels(image, background) for image in images])  # (B, H, W, 3)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255


def is_one_image(value: object) -> bool:
    """Whether it is a single image, as Python code gives one; a batch (B, …) of arrays or tensors counts as several."""
    if isinstance(value, Image.Image | str | os.PathLike):
        return True
    return isinstance(value, np.ndarray | Tensor) and value.ndim != 4


def originals(images: Images, background: Background = WHITE) -> list[Original]:
    """Images in all forms in which Python code gives them, as they are; several of them or one.

    Args:
        images: PIL images; paths of files; arrays (H, W), (H, W, 1), (H, W, 2), (H, W, 3) or (H, W, 4), grey or RGB,
            with alpha or without, of uint8, of bool, or of floats from 0 to 1; tensors with the channels first; a batch
            of arrays or tensors with the images along the first axis; a list or tuple of all these.
        background: what a model sees where they are transparent.

    Raises:
        TypeError: something else.
        ImageError: a file that cannot be read, an array of another shape, of another type or out of range.
    """
    if is_one_image(images):
        return [_original(images, background)]
    several: Any = images  # a batch, or a sequence of images
    if isinstance(several, np.ndarray | Tensor | list | tuple):
        return [_original(one, background) for one in several]
    raise TypeError(f"expected {TAKEN}, got {_called(images)}")


def _original(image: Any, background: Background) -> Original:
    if isinstance(image, Original):
        return image
    if isinstance(image, Image.Image):
        return Original(image, background=background)
    if isinstance(image, str | os.PathLike):
        from bigr_cli.data.images import read_image
        from bigr_cli.file_names import expanded

        return read_image(expanded(os.fspath(image)), background=background)
    if isinstance(image, Tensor):
        plain = image.detach().float() if image.is_floating_point() else image.detach()  # numpy has no bfloat16
        last = plain.movedim(0, -1) if plain.ndim == 3 else plain
        return Original(_from_array(last.numpy(force=True), "tensor", image), background=background)
    if isinstance(image, np.ndarray):
        return Original(_from_array(image, "array", image), background=background)
    raise TypeError(f"expected {TAKEN}, got {_called(image)}")


def _from_array(values: NDArray[Any], what: str, given: Any) -> Image.Image:
    """The image of an array (H, W) or (H, W, C)."""
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if not (values.ndim == 2 or (values.ndim == 3 and 2 <= values.shape[2] <= 4)) or 0 in values.shape:
        raise ImageError(f"{what}: expected (H, W) or up to four channels, got the shape {tuple(given.shape)}")
    if values.dtype == bool:
        values = values.astype(np.uint8) * np.uint8(255)
    elif np.issubdtype(values.dtype, np.floating):
        low, high = float(values.min()), float(values.max())
        if not (0 <= low and high <= 1):  # also where one is no number
            raise ImageError(f"{what}: expected floats from 0 to 1, got {low:g} to {high:g}", hint="or uint8, 0 to 255")
        values = (values * 255).round().astype(np.uint8)
    elif values.dtype != np.uint8:
        raise ImageError(f"{what}: expected uint8, bool or floats from 0 to 1, got {given.dtype}")
    return Image.fromarray(np.ascontiguousarray(values))


def _called(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def encode_images(
    network: BinaryModel,
    images: Image.Image | Sequence[Image.Image] | Tensor,
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


def decode_images(network: BinaryModel, codes: Tensor, masked: Tensor | None = None) -> list[Image.Image]:
    """Codes (B, L, K) → images; the bits of tokens that are masked (B, L) count as undecided, 0.5."""
    if masked is not None:
        codes = torch.where(masked[..., None], 0.5, codes.float())
    return [to_images(_decoded(network, one))[0] for one in codes]


def encode_pixels(network: BinaryModel, pixels: NDArray[np.float32], seed: int | None = None) -> Tensor:
    """(S, S, 3) pixels in [0, 1] → (L, K) bool codes; with a seed the bits are sampled by their probabilities."""
    weight = network.tokenizer.embed
    with torch.inference_mode():
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].to(weight.device, weight.dtype)
        if seed is None:
            return network.tokenizer.encode(image)[0].clone()
        return network.tokenizer.sample(image, torch.tensor([seed], device=weight.device))[0].clone()


def decode_pixels(network: BinaryModel, codes: Tensor) -> NDArray[np.float32]:
    """(L, K) codes → (S, S, 3) pixels in [0, 1]."""
    return to_pixels(_decoded(network, codes))[0]


@torch.inference_mode()
def _decoded(network: BinaryModel, codes: Tensor) -> Tensor:
    """(L, K) → (1, 3, S, S): one at a time, because a convolution may round differently in a larger batch."""
    return network.tokenizer.decode(codes[None].to(network.tokenizer.embed.device))
