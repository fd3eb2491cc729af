"""Where an image is to be repainted: a mask image, boxes, or the image's own transparency."""

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

from bigr_cli.data.images import read_image
from bigr_cli.errors import ImageError, UsageError
from bigr_cli.imaging.mask_images import Mask, array_image, checked_threshold, image_weights, settled
from bigr_cli.imaging.mask_request import MaskRequest
from bigr_cli.imaging.originals import Original

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
    if request.grow < 0:
        raise UsageError(f"--mask-grow: expected 0 pixels or more, got {request.grow}")
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
        mask = np.maximum(mask, settled(1 - alpha, checked_threshold(request.threshold), original.name))
    if request.image is not None:
        mask = np.maximum(mask, mask_array(request.image, original, request.threshold))
    if request.path is not None:
        mask = np.maximum(mask, _read_image(request, request.path, original))
    return _grown(1 - mask if request.invert else mask, request.grow)


def mask_array(mask: Image.Image | NDArray[Any], original: Original, threshold: float | None = None) -> Mask:
    """(H, W) in [0, 1] from an image or an array, by the rule of `mask_images`.

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
    return _clipped(np.asarray(scaled))


def _grown(mask: Mask, radius: int) -> Mask:
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
    grown: Mask = mask.copy()
    reach = sqrt(radius * radius + 0.5)  # squares of distances are whole: OpenCV's rounding has no say in between
    for level in levels:  # upwards, so that the greatest stays
        away = cv2.distanceTransform((mask < level).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        np.maximum(grown, level, out=grown, where=away <= reach)
    return grown


def _clipped(values: NDArray[np.floating]) -> Mask:
    return np.asarray(values.clip(0, 1), dtype=np.float32)
