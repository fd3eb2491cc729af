"""What an image means as a mask: white on black, 0 and 1, the colours of classes, or transparency.

One rule for `--mask`, `--mask-alpha`, every command, manifests and the Python methods:

1. What is within a threshold of black counts as black, and as near to white as white: 0.05, in lossy files 0.15.
2. Where transparency varies and the rest has one colour, opacity is the mask; in a photo with transparent parts, these
   are repainted; otherwise transparent parts count as black.
3. In an image with colours, as of segmented classes, all that is not nearly black is repainted in full.
4. A greatest level of 1 (of 255 or 65535) means a mask of 0 and 1.
5. Everything else is mixed by its luminance.

What is guessed by 2 to 4 is said.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli import console
from bigr_cli.errors import ImageError, UsageError
from bigr_cli.imaging.modes import GREY, SIXTEEN, luminance, palette
from bigr_cli.imaging.originals import Original

Mask = NDArray[np.float32]
"""(H, W) in [0, 1], 1 = repaint."""

THRESHOLD = 0.05  # antialiasing, resampling, 8-bit rounding, opacity of 254
JPEG_THRESHOLD = 0.15  # what JPEG of quality 75 adds beside an edge
_LOSSY = ("JPEG", "WEBP", "AVIF")
_CHROMA = 0.15  # difference between channels that is a colour and no noise
_FEW = 1e-3  # share of the pixels that may be anything
_ROUNDING = 1.5 / 255  # by which editors change a colour when they multiply it by alpha
_PHOTO = 12  # distinct colours of 4 bits a channel that no drawn mask has
_FAINT = 0.25  # mean weight; a blurred edge alone has more
_WORTH_SAYING = 0.01  # share of the pixels that the threshold moves


def image_weights(original: Original, threshold: float | None = None) -> Mask:
    """The mask (H, W) that an image is, by the rule above.

    Raises:
        UsageError: a threshold below 0 or not below 0.5.
    """
    lossy = original.kind in _LOSSY
    threshold = checked_threshold(threshold, JPEG_THRESHOLD if lossy else THRESHOLD)
    rgb, alpha = original.rgb(), original.alpha()
    if alpha is None or alpha.max() - alpha.min() <= threshold:
        weights = _from_colours(original, rgb, threshold)
        return settled(weights if alpha is None else weights * alpha, threshold, original.name)
    if _one_colour(rgb, alpha):
        weights = alpha
    elif _is_photo(rgb, alpha, threshold):
        console.warn(
            f"{original.name}: an image with transparent parts: as a mask, these are repainted "
            f"({np.mean(alpha < 0.5):.0%} of it); --invert-mask repaints the rest",
            once=True,
        )
        weights = 1 - alpha
    else:
        console.warn(f"{original.name}: its transparent parts count as black, the rest by its own colours", once=True)
        weights = _from_colours(original, rgb * alpha[..., None], threshold)
    return settled(weights, threshold, original.name)


def array_image(mask: NDArray[Any]) -> Original:
    """An array as the image whose mask it is: (H, W), bool, from 0 to 1, or levels of integers; or (H, W, C) of uint8.

    Raises:
        ImageError: another shape or type, or a value that is not finite.
    """
    values = np.asarray(mask)
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values.squeeze(2 if values.shape[2] == 1 else 0)
    channels = 1 if values.ndim == 2 else values.shape[-1]
    if values.ndim not in (2, 3) or channels > 4 or (values.ndim == 3 and values.dtype != np.uint8):
        raise ImageError(f"mask: expected an array (H, W), or (H, W, 3) of uint8, got {values.shape} {values.dtype}")
    if values.dtype == bool or values.ndim == 3 or values.dtype == np.uint8:
        return Original(Image.fromarray(np.ascontiguousarray(values)), name="mask")
    if not np.issubdtype(values.dtype, np.number) or not np.all(np.isfinite(values)):
        raise ImageError(f"mask: expected finite numbers, got {values.dtype} with others")
    if np.issubdtype(values.dtype, np.integer):
        return Original(Image.fromarray(values.clip(0, 2**31 - 1).astype(np.int32)), name="mask")
    return Original(Image.fromarray(values.clip(0).astype(np.float32)), name="mask")


def settled(weights: NDArray[np.floating[Any]], threshold: float, name: str) -> Mask:
    """Weights (H, W) with what is nearly 0 as 0 and what is nearly 1 as 1; says what may not be meant."""
    values = np.asarray(weights, dtype=np.float32).clip(0, 1)
    limit = np.float32(threshold + 1e-6)  # the level at the threshold itself counts as near
    dark, light = (values > 0) & (values <= limit), (values < 1) & (values >= 1 - limit)
    top = float(values.max(initial=0))
    values[dark], values[light] = 0, 1
    if not values.any():
        if top > 0:
            console.warn(
                f"{name}: its brightest grey is {top * 255:.3g} of 255, which counts as black: white is repainted",
                once=True,
            )
        return values
    if dark.sum() + light.sum() > _WORTH_SAYING * values.size:
        console.say(
            f"{name}: {int(dark.sum()):,} pixels that are nearly black count as kept, {int(light.sum()):,} nearly "
            f"white as repainted (--mask-threshold {threshold:g})",
            once=True,
        )
    mean = float(values[values > 0].mean())
    if mean < _FAINT:
        console.warn(f"{name}: grey is mixed in, here by {mean:.0%} on average; white is repainted in full", once=True)
    return values


def checked_threshold(threshold: float | None, default: float = THRESHOLD) -> float:
    """The threshold, or the default for None.

    Raises:
        UsageError: it is below 0 or not below 0.5.
    """
    if threshold is None:
        return default
    if not 0 <= threshold < 0.5:
        raise UsageError(f"--mask-threshold: expected from 0 to less than 0.5, got {threshold}")
    return threshold


def _from_colours(original: Original, rgb: NDArray[np.float32], threshold: float) -> NDArray[np.floating[Any]]:
    """How much each pixel is repainted by its colour alone."""
    image, light = original.image, rgb.max(axis=2)
    if image.mode not in GREY and np.mean(light - rgb.min(axis=2) > _CHROMA) > _FEW:
        whole = light > threshold + 1e-6
        console.warn(
            f"{original.name}: a mask with colours: all that is not nearly black is repainted in full "
            f"({np.mean(whole):.0%} of it)",
            once=True,
        )
        return np.asarray(whole, dtype=np.float32)
    top = float(light.max(initial=0))
    if image.mode == "P" and 0 < top <= threshold:
        console.warn(f"{original.name}: a palette of nearly black colours: all but one is repainted", once=True)
        return np.asarray(np.asarray(image) != _darkest(image), dtype=np.float32)
    levels = 65535 if image.mode in SIXTEEN else 255
    if image.mode != "F" and original.kind not in _LOSSY and 0 < top * levels < 1.5:
        console.say(f"{original.name}: holds 0 and 1 alone; 1 is repainted", once=True)
        return np.asarray(light > 0, dtype=np.float32)
    return light if image.mode in GREY else luminance(rgb)


def _darkest(image: Image.Image) -> int:
    return int(palette(image)[:, :3].sum(axis=1).argmin())


def _one_colour(rgb: NDArray[np.float32], alpha: Mask) -> bool:
    """Whether there is one colour, to which alpha gives its shape."""
    colour = rgb[np.unravel_index(alpha.argmax(), alpha.shape)]
    return bool(np.all(np.abs(rgb - colour).max(axis=2) * alpha <= _ROUNDING))


def _is_photo(rgb: NDArray[np.float32], alpha: Mask, threshold: float) -> bool:
    """Whether what is opaque has more colours than anyone draws a mask in."""
    opaque = rgb[alpha >= 1 - threshold]
    cells = (opaque * 15).round().astype(np.uint16) @ np.array([256, 16, 1], dtype=np.uint16)
    return len(np.unique(cells)) >= _PHOTO
