"""What the pixels of Pillow's modes mean: any image as plain colours and transparency, cropped and scaled.

The one way an image becomes what every model sees: `to_levels` as it is, `square` and `scaled` at another size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli.plain_text import WHITE, Background

Floats = NDArray[np.float64]
Pixels = NDArray[Any]
Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels, half-open."""

SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
GREY = ("1", "L", *SIXTEEN, "I", "F")
WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
STRAIGHT = {"La": "LA", "RGBa": "RGBA"}  # of modes whose colours are stored multiplied by alpha
_STRIP = 1 << 20  # pixels that are converted at once, so that an image needs little more memory than it has itself
_LUMINANCE = np.array([19595, 38470, 7471]) / 65536  # the weights of Pillow's own conversion from RGB to L
_RANGES = {"1": (0.0, 1.0), "L": (0.0, 255.0)} | dict.fromkeys(SIXTEEN, (0.0, 65535.0))


def luminance(rgb: NDArray[np.floating[Any]]) -> Floats:
    """(..., 3) → (...), weighted as Pillow does."""
    return np.asarray(rgb @ _LUMINANCE, dtype=np.float64)


def to_levels(
    image: Image.Image,
    background: Background = WHITE,
    *,
    box: Box | None = None,
    ends: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: an image of any mode as every model sees it.

    Transparent pixels are composited on the background; values of more than 8 bits are scaled by `span` and rounded
    to the nearest of 256 levels.

    Args:
        box: the part that is wanted, within the image; None is all of it.
        ends: the image's `span`, if that is known.
    """
    left, top, right, bottom = box or (0, 0, *image.size)
    if ends is None and image.mode in ("I", "F"):
        ends = span(image)
    levels = np.empty((bottom - top, right - left, 3), np.uint8)
    rows = max(1, _STRIP // max(1, right - left))
    for y in range(top, bottom, rows):
        part = image.crop((left, y, right, min(y + rows, bottom)))
        levels[y - top : y - top + rows] = _shown(part, background, ends)
    return levels


def _shown(image: Image.Image, background: Background, ends: tuple[float, float] | None) -> NDArray[np.uint8]:
    alpha = to_alpha(image)
    if alpha is None and image.mode in ("1", "L", "P", "RGB"):
        return np.asarray(image.convert("RGB"))
    shown = to_rgb(image, ends)
    if alpha is not None:
        ground = np.asarray(background, np.float32) / np.float32(255)
        shown = np.asarray(ground + (shown - ground) * alpha[..., None], np.float32)
    return np.rint(shown * 255).astype(np.uint8)


def to_rgb(image: Image.Image, ends: tuple[float, float] | None = None) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1]: the colours of an image of any mode, whatever its transparency; `ends` is its `span`."""
    mode = image.mode
    if mode in GREY:
        low, high = span(image) if ends is None else ends
        values = np.asarray(image)
        scaled = values / np.float32(high) if mode not in ("I", "F") else (finite(values) - low) / (high - low)
        return np.repeat(np.clip(scaled, 0, 1).astype(np.float32)[..., None], 3, axis=2)
    if mode in ("P", "PA"):
        index = np.asarray(image) if mode == "P" else np.asarray(image)[..., 0]
        return _unit(palette(image)[index][..., :3])
    if mode in STRAIGHT:
        image = image.convert(STRAIGHT[mode])
    elif mode not in ("LA", "RGB", "RGBA", "RGBX"):
        image = image.convert("RGB")
    levels = np.asarray(image)
    levels = np.repeat(levels[..., :1], 3, axis=2) if image.mode == "LA" else levels[..., :3]
    return _unit(levels)


def to_alpha(image: Image.Image) -> NDArray[np.float32] | None:
    """(H, W), 1 = opaque; None for an image without transparency."""
    if image.mode in WITH_ALPHA:
        return _unit(np.asarray(image)[..., -1])
    if image.mode == "P":
        return _unit(palette(image)[:, 3][np.asarray(image)]) if has_transparency(image) else None
    key = colour_key(image)
    return None if key is None else (~is_key(np.asarray(image), key)).astype(np.float32)


def has_transparency(image: Image.Image) -> bool:
    """Whether the image has an alpha band, a palette with transparent entries, or a colour that stands for none."""
    if image.mode == "P":
        return "transparency" in image.info or (image.palette is not None and image.palette.mode.endswith("A"))
    return image.mode in WITH_ALPHA or colour_key(image) is not None


def colour_key(image: Image.Image) -> tuple[int, ...] | None:
    """The colour of a grey or RGB image that stands for transparency, a value per band; None if there is none."""
    key = image.info.get("transparency")
    if image.mode in GREY and isinstance(key, int):
        return (min(key, 1),) if image.mode == "1" else (key,)
    if image.mode == "RGB" and isinstance(key, tuple) and len(key) == 3:
        return key
    return None


def is_key(pixels: Pixels, key: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which of these grey (...,) or RGB (..., 3) pixels have the colour that stands for transparency."""
    return np.asarray(pixels == key[0] if len(key) == 1 else np.all(pixels == np.array(key), axis=-1))


def finite(values: Pixels) -> Floats:
    """As float64, with 0 for NaN and infinity."""
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return np.nan_to_num(values.astype(np.float64), copy=False, nan=0, posinf=0, neginf=0)


def span(image: Image.Image) -> tuple[float, float]:
    """The values that stand for black and white in a grey image.

    For the modes I and F, which do not say, the least of 0–1 (F only), 0–255 and 0–65535 that holds all values,
    or else the least and the greatest value.
    """
    if image.mode in _RANGES:
        return _RANGES[image.mode]
    rows = max(1, _STRIP // max(1, image.width))
    parts = (image.crop((0, y, image.width, min(y + rows, image.height))) for y in range(0, image.height, rows))
    bounds = [(values.min(), values.max()) for values in (finite(np.asarray(part)) for part in parts)]
    low, high = float(min(least for least, _ in bounds)), float(max(most for _, most in bounds))
    tops = (255.0, 65535.0) if image.mode == "I" else (1.0, 255.0, 65535.0)
    if low >= 0 and high <= tops[-1]:
        return 0.0, next(top for top in tops if high <= top)
    return low, high if high > low else low + max(1.0, abs(low))


def palette(image: Image.Image) -> NDArray[np.uint8]:
    """(256, 4): the RGBA colours of a P or PA image; what the file leaves out is what Pillow shows for it."""
    ramp = image.resize((256, 1), Image.Resampling.NEAREST)
    ramp.frombytes(bytes(range(256)) if image.mode == "P" else bytes(b for i in range(256) for b in (i, 255)))
    colours: NDArray[np.uint8] = np.asarray(ramp.convert("RGBA"))[0]
    return colours


def _unit(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(levels / np.float32(255), dtype=np.float32)


_SUPPORT = 3  # pixels of the smaller image that Lanczos reaches to each side

Crop = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels."""


def centre(size: tuple[int, int]) -> Box:
    """The largest square in the middle of (width, height)."""
    width, height = size
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def at_size(box: Crop, whole: tuple[int, int], size: tuple[int, int]) -> Crop:
    """A box of an image of (width, height) `whole`, in the pixels of one that was scaled to `size`."""
    across, down = size[0] / whole[0], size[1] / whole[1]
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


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
