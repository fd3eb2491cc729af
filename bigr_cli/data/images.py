"""The one way an image is read: opened, limited, decoded, turned upright, converted and cropped.

Training, embedding, evaluation, classification, editing and masks all come through here, so that they see the same
numbers. What an image of any mode looks like to a model is `imaging.modes.to_levels`, how it is cropped is
`imaging.modes.square`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bigr_cli import console
from bigr_cli.data.decoding import (
    FORMATS,
    MAX_PIXELS,
    MAX_PIXELS_VARIABLE,
    QUARTER_TURNS,
    TooManyPixels,
    frames,
    has_pair,
    open_file,
    opened,
    orientation,
    pixel_limit,
    upright,
    without_texts,
)
from bigr_cli.errors import BigrError, ImageError
from bigr_cli.imaging.modes import Box, at_size, centre, scaled, square
from bigr_cli.imaging.originals import Original
from bigr_cli.plain_text import WHITE, Background

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "MAX_PIXELS_VARIABLE",
    "READER",
    "Header",
    "inspect_image",
    "open_file",
    "pixel_limit",
    "read_header",
    "read_image",
    "read_reduced",
    "read_square",
]

READER = 2  # goes up whenever the same file is read as other numbers: caches of images are named by it
Source = Path | bytes | IO[bytes]
Made = TypeVar("Made")

_DRAFT_FROM = 1 << 24  # pixels of a JPEG file from which it is decoded smaller if only a small square is wanted
_DRAFT_ROOM = 2  # times the square's side that are decoded at least, so that Lanczos still does the scaling


@dataclass(frozen=True)
class Header:
    """What the beginning of a file says: Pillow's name of its format, its mode, and the upright (width, height)."""

    kind: str
    mode: str
    size: tuple[int, int]


def read_image(source: Source, name: str | None = None, *, background: Background = WHITE) -> Original:
    """An image from a file, its bytes or a stream, with all its pixels; of several frames the first, which is said.

    Pillow has no mode for colours of 16 bits: of RGB and RGBA images with 16 bits per channel it reads the upper 8.
    Grey of 16 bits is kept.

    Args:
        name: what messages call it.
        background: what a model sees where it is transparent.

    Raises:
        ImageError: it cannot be read, is no image of a format in `FORMATS`, is damaged, or has more pixels than
            BIGR_MAX_PIXELS.
        UsageError: BIGR_MAX_PIXELS is not a number.
    """
    called = name or _name(source)

    def work(image: Image.Image) -> Original:
        pixels, _ = _upright(image, called)
        return Original(pixels, _kind(image), called, background, _frames(image, called))

    return inspect_image(source, called, work)


def read_square(
    source: Source,
    side: int,
    name: str | None = None,
    *,
    background: Background = WHITE,
    crop: Callable[[tuple[int, int]], Box] = centre,
    share: float = 1.0,
) -> NDArray[np.uint8]:
    """(side, side, 3) uint8: a square of an image as every model sees it, scaled. Arguments and errors as `read_image`.

    JPEG files of more than 16 million pixels are decoded at half, a quarter or an eighth of their size, if that is
    still at least twice the square's.

    Args:
        crop: the square's box, for the upright (width, height).
        share: the box's side is at least this much of the image's shorter side.
    """
    called = name or _name(source)

    def work(image: Image.Image) -> NDArray[np.uint8]:
        large = image.width * image.height > _DRAFT_FROM
        pixels, whole = _upright(image, called, needed=side if large else None, share=share)
        _frames(image, called)
        return square(pixels, side, background=background, crop=at_size(crop(whole), whole, pixels.size))

    return inspect_image(source, called, work)


def read_reduced(
    source: Source, shorter: int, name: str | None = None, *, background: Background = WHITE
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """(height, width, 3) uint8: all of an image as every model sees it, scaled to `shorter` pixels of its shorter side
    unless that has no more, and its upright (width, height) before. Arguments and errors as `read_image`.

    JPEG files are decoded at half, a quarter or an eighth of their size, if that is still at least twice `shorter`.
    """
    called = name or _name(source)

    def work(image: Image.Image) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        pixels, whole = _upright(image, called, needed=shorter)
        _frames(image, called)
        scale = min(1.0, shorter / min(whole))
        return scaled(pixels, (round(whole[0] * scale), round(whole[1] * scale)), background=background), whole

    return inspect_image(source, called, work)


def _upright(
    image: Image.Image, name: str, *, needed: int | None = None, share: float = 1.0
) -> tuple[Image.Image, tuple[int, int]]:
    """An image in memory, turned upright, and the (width, height) that it has in its file, upright too.

    With `needed`, a JPEG file is decoded smaller, so that `share` of its shorter side has twice as many pixels or more.
    """
    stored = image.size
    if needed is not None and _kind(image) == "JPEG":
        scale = max(1, int(min(stored) * share / (_DRAFT_ROOM * needed)))
        image.draft(image.mode, (image.width // scale, image.height // scale))
    pixels = _with_numbers(upright(image), name)
    if image.size == stored:
        return pixels, pixels.size
    # Asked for only here, since of a PNG file it decodes the pixels, and with them goes what is known of their layout.
    return pixels, stored[::-1] if orientation(image) in QUARTER_TURNS else stored


def read_header(source: Source, name: str | None = None) -> Header:
    """What the beginning of an image file says. Errors as `read_image`."""

    def work(image: Image.Image) -> Header:
        turned = orientation(image) in QUARTER_TURNS and image.format != "TIFF"  # whose size Pillow turns itself
        return Header(_kind(image), image.mode, (image.height, image.width) if turned else image.size)

    return inspect_image(source, name or _name(source), work)


def inspect_image(source: Source, name: str, work: Callable[[Image.Image], Made]) -> Made:
    """What `work` makes of the opened image, whose pixels are not loaded yet.

    `work` is called again, on the file without its texts, if these are what it failed of.

    Raises:
        BigrError: what `work` raises, as it is; all else that goes wrong, as an ImageError with the name.
    """
    try:
        if isinstance(source, Path):
            with open_file(source) as stream:
                return _tried(stream, name, work)
        return _tried(io.BytesIO(source) if isinstance(source, bytes) else source, name, work)
    except (OSError, ValueError) as error:  # of opening, such as a name that no file can have
        hint = "images are named by files: is it in another folder?" if isinstance(error, FileNotFoundError) else None
        raise ImageError(f"{name}: {_reason(error)}", hint=hint) from error


def _tried(stream: IO[bytes], name: str, work: Callable[[Image.Image], Made]) -> Made:
    if not stream.read(1):
        raise ImageError(f"{name}: is empty")
    stream.seek(0)
    try:
        with opened(stream) as image:
            return work(image)
    except BigrError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, error) from error
    except MemoryError as error:
        raise ImageError(f"{name}: there is too little memory for its pixels") from error
    except Exception as error:  # damaged files make Pillow's readers raise nearly anything
        for strict in (False, True):
            rest = without_texts(stream, strict=strict)
            if rest is not None:
                with suppress(Exception), opened(rest) as image:
                    made = work(image)
                    console.note("texts", name, "a text in it is too large or damaged, and is left out")
                    return made
        raise ImageError(f"{name}: {_reason(error)}") from error


def _too_large(name: str, error: Exception) -> ImageError:
    found = re.search(r"\d+", str(error))
    pixels = f"{int(found.group()):,}" if found else "more"
    limit = error.limit if isinstance(error, TooManyPixels) else pixel_limit()
    return ImageError(
        f"{name}: has {pixels} pixels, but at most {limit:,} are read",
        hint=f"{MAX_PIXELS_VARIABLE} sets another limit",
    )


def _with_numbers(pixels: Image.Image, name: str) -> Image.Image:
    """The image, if its pixels are numbers: of floats none may be, as where an instrument saw nothing."""
    if pixels.mode == "F":
        missing = int(pixels.width * pixels.height - np.isfinite(np.asarray(pixels)).sum())
        if missing == pixels.width * pixels.height:
            raise ImageError(f"{name}: none of its pixels is a number, all are NaN or infinite")
        if missing:
            console.note("numbers", name, f"{missing:,} of its pixels are NaN or infinite, and count as 0")
    return pixels


def _frames(image: Image.Image, name: str) -> int:
    count = frames(image)
    if count > 1:
        console.note("frames", name, f"only the first of {count:,} frames is read")
    elif image.format == "MPO" and has_pair(image):
        console.detail(f"{name}: holds another image of the same size, as of a stereo pair; the first is read")
    return count


def _kind(image: Image.Image) -> str:
    return "JPEG" if image.format == "MPO" else image.format or ""


def _name(source: Source) -> str:
    return str(source) if isinstance(source, Path) else "stdin"


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "is not an image of a kind that can be read"
    text = str(error).strip().splitlines()
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"is not an image that can be read ({text[0][:200] if text else type(error).__name__})"
