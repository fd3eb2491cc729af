"""A picture as it was stored, and what is needed to give it back changed in places only."""

from __future__ import annotations

import io
import logging
import math
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from bigr_cli.errors import ImageError, UsageError
from bigr_cli.imaging.mixing import mixed
from bigr_cli.imaging.modes import STRAIGHT, to_alpha, to_rgb
from bigr_cli.imaging.storing import default_suffix, storable

__all__ = ["LARGEST", "LARGEST_VARIABLE", "Original", "default_suffix", "read_original", "storable"]

LARGEST = 178_956_970  # pixels, the most that Pillow reads by itself
LARGEST_VARIABLE = "BIGR_MAX_PIXELS"

# What is tried on a file. Pillow knows more, among them some that run other programs (EPS) or take any bytes for a
# picture (TGA).
_READ = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000", "PPM", "ICO")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = (5, 6, 7, 8)
_GREATEST_DPI = 65535  # what JPEG has room for
_PILLOW = threading.Lock()  # its limit and Python's warning filters are the whole process's
logging.getLogger("PIL").addHandler(logging.NullHandler())  # or else what it logs of damaged files goes to stderr


def fitted(image: Image.Image, side: int) -> Image.Image:
    """The square in the middle, scaled to `side` pixels."""
    return ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class Original:
    """A picture as it was stored.

    Attributes:
        image: upright, in its stored mode; its info holds `icc_profile`, `transparency` and `dpi`, as far as there.
        kind: Pillow's name of the file's format, such as "PNG"; "" if it comes from no file.
        name: what messages call it.
    """

    image: Image.Image
    kind: str = ""
    name: str = "picture"

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.size

    @property
    def mode(self) -> str:
        return self.image.mode

    def rgb(self) -> NDArray[np.float32]:
        """(H, W, 3) in [0, 1], what a model sees; transparent pixels show their colour."""
        return to_rgb(self.image)

    def square(self, side: int) -> Image.Image:
        """The square in the middle, RGB, scaled to `side` pixels."""
        return fitted(Image.fromarray((self.rgb() * 255).round().astype(np.uint8)), side)

    def alpha(self) -> NDArray[np.float32] | None:
        """(H, W) in [0, 1], 1 = opaque; None if the picture has no transparency."""
        return to_alpha(self.image)

    def changed(
        self, rgb: NDArray[np.floating[Any]], weight: NDArray[np.floating[Any]], *, opaque: bool = True
    ) -> Image.Image:
        """The picture with the colours `rgb` (H, W, 3) mixed in by `weight` (H, W), both in [0, 1].

        Mode, size, palette, profile and info are the same, and so is every byte of every band where the weight is 0.
        Elsewhere old · (1 - weight) + rgb · weight, and alpha + weight · (1 - alpha), since paint is opaque; in a
        palette the nearest entry that is not transparent. Without `opaque` the transparency stays as it is, and what
        is wholly transparent is left alone.

        Raises:
            ValueError: a shape does not fit the picture, or a colour that is needed is not finite.
        """
        alpha = None if opaque else self.alpha()
        if alpha is None:
            return mixed(self.image, rgb, weight)
        straight = self.image.convert(STRAIGHT.get(self.mode, self.mode))
        result = mixed(straight, rgb, weight * (alpha > 0))
        if straight.mode in ("LA", "PA", "RGBA"):
            result.putalpha(straight.getchannel("A"))
        return result.convert(self.mode)


def read_original(source: Path | bytes, name: str | None = None) -> Original:
    """A picture from a file or its bytes, with all its pixels; of several frames the first.

    Pillow has no mode for colours of 16 bits: of RGB and RGBA pictures with 16 bits per channel it reads the upper 8.
    Grey of 16 bits is kept.

    Raises:
        ImageError: it cannot be read, is no picture, damaged, or has more pixels than `LARGEST` or BIGR_MAX_PIXELS.
        UsageError: BIGR_MAX_PIXELS is not a number.
    """
    name = name or (str(source) if isinstance(source, Path) else "stdin")
    limit = _limit()
    try:
        with _pillow(limit), Image.open(_stream(source), formats=_formats()) as opened:
            return Original(_loaded(opened), "JPEG" if opened.format == "MPO" else opened.format or "", name)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found = re.search(r"\d+", str(error))
        pixels = f"{int(found.group()):,}" if found else "more"
        raise ImageError(
            f"{name}: has {pixels} pixels, but at most {limit:,} are read",
            hint=f"{LARGEST_VARIABLE} sets another limit",
        ) from error
    except Exception as error:  # damaged files make Pillow's readers raise nearly anything
        raise ImageError(f"{name}: {'is empty' if _is_empty(source) else _reason(error)}") from error


def _limit() -> int:
    text = os.environ.get(LARGEST_VARIABLE, "").strip()
    if not text:
        return LARGEST
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) == 0:
        raise UsageError(f"{LARGEST_VARIABLE}: expected a number of pixels, got {text!r}")
    return int(text)


@contextmanager
def _pillow(limit: int) -> Iterator[None]:
    """Pillow with a limit of our own, at which it raises, and without its warnings about damaged metadata."""
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limit
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _is_empty(source: Path | bytes) -> bool:
    if isinstance(source, bytes):
        return not source
    try:
        return source.is_file() and source.stat().st_size == 0
    except (OSError, ValueError):
        return False


def _stream(source: Path | bytes) -> io.BytesIO | Path:
    return source if isinstance(source, Path) else io.BytesIO(source)


def _formats() -> list[str]:
    Image.init()
    return [kind for kind in _READ if kind in Image.OPEN]


def _loaded(opened: Image.Image) -> Image.Image:
    """The picture in memory, upright, with nothing in its info but what is fit to be written again."""
    layout = _layout(opened)
    opened.load()
    info = dict(opened.info)
    orientation = _orientation(opened)
    image = opened.transpose(_TURNS[orientation]) if orientation in _TURNS else opened.copy()
    kept = {
        "icc_profile": info.get("icc_profile") or None,
        "transparency": _transparency(image.mode, info.get("transparency"), layout),
        "dpi": _dpi(info.get("dpi"), turned=orientation in _QUARTER_TURNS),
    }
    image.info = {key: value for key, value in kept.items() if value is not None}
    return image


def _layout(opened: Image.Image) -> str:
    """How pixels lie in a PNG file, such as "L;4"; "" if unknown."""
    tile = getattr(opened, "tile", None)
    args = tile[0][3] if opened.format == "PNG" and tile else ""
    return args if isinstance(args, str) else ""


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata; the pixels are none the worse for it
        return 1
    return value if isinstance(value, int) else 1


def _transparency(mode: str, value: object, layout: str) -> int | bytes | tuple[int, ...] | None:
    """What PNG and GIF say of transparency, in the levels that the pixels have.

    Pillow spreads the levels of 2 and 4 bits over 0–255 and cuts 16 bits of RGB to 8, but leaves this value as it is.
    """
    if mode == "P" and (isinstance(value, bytes) or (isinstance(value, int) and 0 <= value <= 255)):
        return value
    if mode in ("1", "L", "I;16", "I") and isinstance(value, int):
        return value * {"L;2": 85, "L;4": 17}.get(layout, 1)
    if mode == "RGB" and isinstance(value, tuple) and len(value) == 3:
        return tuple(level >> 8 for level in value) if layout == "RGB;16B" else value
    return None


def _dpi(value: object, *, turned: bool) -> tuple[float, float] | None:
    """Dots per inch across and down, or None for what no file could say."""
    try:
        across, down = (float(number) for number in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    if not all(math.isfinite(number) and 0 < number <= _GREATEST_DPI for number in (across, down)):
        return None
    return (down, across) if turned else (across, down)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "is not a picture of a kind that can be read"
    text = str(error).strip().splitlines()
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"is not a picture that can be read ({text[0][:200] if text else type(error).__name__})"
