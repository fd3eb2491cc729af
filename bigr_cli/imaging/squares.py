"""The one way an image is cropped to a square and scaled, strip by strip."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli.colours import WHITE, Background
from bigr_cli.imaging.modes import Box, span, to_levels

_STRIP = 1 << 20  # pixels
_SUPPORT = 3  # pixels of the smaller image that Lanczos reaches to each side

Crop = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels."""


def centre(size: tuple[int, int]) -> Box:
    """The largest square in the middle of (width, height)."""
    width, height = size
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def square(
    image: Image.Image, side: int, *, background: Background = WHITE, crop: Crop | None = None
) -> NDArray[np.uint8]:
    """(side, side, 3) uint8: a square of an image of any mode as every model sees it, scaled by Lanczos.

    Pillow scales rows first and then columns, with 8 bits between, so scaling the rows of strips gives the very
    numbers of scaling the whole, and no more than a strip is ever converted.

    Args:
        crop: the square, within the image; None is the largest one in the middle.
    """
    return scaled(image, (side, side), background=background, crop=crop or centre(image.size))


def scaled(
    image: Image.Image, size: tuple[int, int], *, background: Background = WHITE, crop: Crop | None = None
) -> NDArray[np.uint8]:
    """(height, width, 3) uint8: an image, or the rectangle `crop` of it, as every model sees it, scaled by Lanczos to
    `size` (width, height); see `square`."""
    left, top, right, bottom = crop or (0, 0, *image.size)
    if (left, top, right, bottom) == (0, 0, *image.size) and image.size == size:
        return to_levels(image, background)
    width, height = size
    ends = span(image) if image.mode in ("I", "F") else None
    x0, x1 = _reach(left, right, width, image.width)
    y0, y1 = _reach(top, bottom, height, image.height)
    tall = Image.new("RGB", (width, y1 - y0))
    rows = max(1, _STRIP // (x1 - x0))
    for y in range(y0, y1, rows):
        box = (x0, y, x1, min(y + rows, y1))
        strip = Image.fromarray(to_levels(image, background, box=box, ends=ends))
        across = (left - x0, 0, right - x0, strip.height)
        tall.paste(strip.resize((width, strip.height), Image.Resampling.LANCZOS, box=across), (0, y - y0))
    down = (0, top - y0, width, bottom - y0)
    return np.asarray(tall.resize((width, height), Image.Resampling.LANCZOS, box=down))


def _reach(start: float, stop: float, side: int, limit: int) -> tuple[int, int]:
    """The pixels along an axis that scaling `start` to `stop` to `side` pixels looks at."""
    support = math.ceil(_SUPPORT * max(1.0, (stop - start) / side)) + 1
    return max(0, math.floor(start) - support), min(limit, math.ceil(stop) + support)
