"""Where an image is to be repainted: a mask image, boxes, or the image's own transparency.

One rule says what an image means as a mask, for `--mask`, `--mask-alpha`, every command, manifests and Python methods:

1. What is within a threshold of black counts as black, and as near to white as white: 0.05, in lossy files 0.15.
2. Where transparency varies and the rest has one colour, opacity is the mask; in a photo with transparent parts, these
   are repainted; otherwise transparent parts count as black.
3. In an image with colours, as of segmented classes, all that is not nearly black is repainted in full.
4. A greatest level of 1 (of 255 or 65535) means a mask of 0 and 1.
5. Everything else is mixed by its luminance.

What is guessed by 2 to 4 is said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli import console
from bigr_cli.data.images import read_image
from bigr_cli.errors import ImageError, UsageError
from bigr_cli.imaging.modes import GREY, SIXTEEN, luminance, palette
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.regions import MaskRequest

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
        return snapped(weights if alpha is None else weights * alpha, threshold, original.name)
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
    return snapped(weights, threshold, original.name)


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


def snapped(weights: NDArray[np.floating[Any]], threshold: float, name: str) -> Mask:
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
        darkest = palette(image)[:, :3].sum(axis=1).argmin()
        return np.asarray(np.asarray(image) != darkest, dtype=np.float32)
    levels = 65535 if image.mode in SIXTEEN else 255
    if image.mode != "F" and original.kind not in _LOSSY and 0 < top * levels < 1.5:
        console.say(f"{original.name}: holds 0 and 1 alone; 1 is repainted", once=True)
        return np.asarray(light > 0, dtype=np.float32)
    return light if image.mode in GREY else luminance(rgb)


def _one_colour(rgb: NDArray[np.float32], alpha: Mask) -> bool:
    """Whether there is one colour, to which alpha gives its shape."""
    colour = rgb[np.unravel_index(alpha.argmax(), alpha.shape)]
    return bool(np.all(np.abs(rgb - colour).max(axis=2) * alpha <= _ROUNDING))


def _is_photo(rgb: NDArray[np.float32], alpha: Mask, threshold: float) -> bool:
    """Whether what is opaque has more colours than anyone draws a mask in."""
    opaque = rgb[alpha >= 1 - threshold]
    cells = (opaque * 15).round().astype(np.uint16) @ np.array([256, 16, 1], dtype=np.uint16)
    return len(np.unique(cells)) >= _PHOTO


_NUMBER = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})\s*(%?)")
_EXAMPLE = "a box is x,y,width,height in pixels or per cent, such as 10,20,64,48 or 25%,0,50%,100%"
_DILATION = 1 / 100  # the time that a dilation takes for each square pixel of radius, in distance transforms
_LEVELS = 255


def read_mask(request: MaskRequest, original: Original, found: Sequence[Mask] = ()) -> Mask:
    """(H, W) in [0, 1], 1 = repaint: all that is asked for together, then inverted, then grown.

    `found` (H, W) is what was searched for.

    Raises:
        ImageError: the mask image cannot be read or has another size, or the image has no transparency.
        UsageError: a box that is none or lies outside, a negative `grow`, a threshold out of range.
    """
    grow = request.grow or 0
    if grow < 0:
        raise UsageError(f"--mask-grow: expected 0 pixels or more, got {grow}")
    width, height = original.size
    mask = np.zeros((height, width), np.float32)
    for part in (*found, *([] if request.weights is None else [request.weights])):
        mask = np.maximum(mask, part)
    for box in request.boxes:
        x0, y0, x1, y1 = parse_box(box, width, height)
        mask[y0:y1, x0:x1] = 1
    if request.alpha:
        alpha = original.alpha()
        if alpha is None:
            raise ImageError(f"{original.name}: has no transparency that --mask-alpha could go by")
        mask = np.maximum(mask, snapped(1 - alpha, checked_threshold(request.threshold), original.name))
    if request.image is not None:
        mask = np.maximum(mask, mask_array(request.image, original, request.threshold))
    if request.path is not None:
        mask = np.maximum(mask, _read_image(request, request.path, original))
    return grown(1 - mask if request.invert else mask, grow)


def mask_array(mask: Image.Image | NDArray[Any], original: Original, threshold: float | None = None) -> Mask:
    """(H, W) in [0, 1] from an image or an array, by the rule above.

    An array is (H, W): bool, from 0 to 1, or integers that are levels (0 and 1, to 255, or to 65535).

    Raises:
        ImageError: it has another size than the image, or is none of these.
        UsageError: a threshold out of range.
    """
    width, height = original.size
    image = Original(mask, name="mask") if isinstance(mask, Image.Image) else array_image(mask)
    if image.size != (width, height):
        found = (image.size[1], image.size[0])
        raise ImageError(f"mask: expected ({height}, {width}), as the image, got {found}")
    return image_weights(image, threshold)


def parse_box(text: str, width: int, height: int) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1), half-open, of every pixel that the box "x,y,width,height" touches.

    Each number is in pixels, or with % in parts of the image's width (x and width) or height. The box ends where
    the image, of `width` × `height` pixels, does.

    Raises:
        UsageError: it is not four such numbers, has no size, or lies outside the image.
    """
    found = [_NUMBER.fullmatch(part.strip()) for part in text.split(",")]
    numbers = [
        Fraction(match[1]) * (Fraction(side, 100) if match[2] else 1)
        for match, side in zip(found, (width, height, width, height), strict=False)
        if match
    ]
    if len(found) != 4 or len(numbers) != 4:
        raise UsageError(f"box {text!r}: expected four numbers, none below 0", hint=_EXAMPLE)
    x, y, across, down = numbers
    if not across or not down:
        raise UsageError(f"box {text!r}: has no size", hint=_EXAMPLE)
    if x >= width or y >= height:
        raise UsageError(f"box {text!r}: lies outside the image, which has {width}×{height} pixels", hint=_EXAMPLE)
    return floor(x), floor(y), min(ceil(x + across), width), min(ceil(y + down), height)


def _read_image(request: MaskRequest, path: Path, original: Original) -> Mask:
    image = read_image(path)
    if image.size != original.size and not request.resize:
        has, needs = (f"{width}×{height}" for width, height in (image.size, original.size))
        raise ImageError(
            f"{path}: the mask has {has} pixels, the image {original.name} has {needs}",
            hint="--mask-resize scales the mask",
        )
    mask = image_weights(image, request.threshold)
    return mask if image.size == original.size else _resized(mask, original.size)


def _resized(mask: Mask, size: tuple[int, int]) -> Mask:
    """To (width, height); a mask of two values keeps them."""
    hard = np.all((mask == mask.min()) | (mask == mask.max()))
    scaled = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST if hard else Image.Resampling.BILINEAR)
    return np.asarray(scaled, dtype=np.float32).clip(0, 1)


def grown(mask: Mask, radius: int) -> Mask:
    """Each pixel becomes the greatest within a disc around it."""
    import cv2

    radius = min(radius, sum(mask.shape))
    if radius == 0:
        return mask
    levels = np.unique(mask[mask > 0])
    if len(levels) > _LEVELS:
        levels = np.unique(np.floor(levels * _LEVELS) / _LEVELS).astype(np.float32)
    if radius * radius * _DILATION <= len(levels):
        y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
        return np.asarray(cv2.dilate(mask, (x * x + y * y <= radius * radius).astype(np.uint8)), dtype=np.float32)
    result: Mask = mask.copy()
    reach = sqrt(radius * radius + 0.5)  # squares of distances are whole: OpenCV's rounding has no say in between
    for level in levels:  # upwards, so that the greatest stays
        away = cv2.distanceTransform((mask < level).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        np.maximum(result, level, out=result, where=away <= reach)
    return result
