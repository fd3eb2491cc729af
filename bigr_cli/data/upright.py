"""From an opened image file to its pixels in memory: upright, with nothing noted but what can be written again."""

from __future__ import annotations

import math
from contextlib import suppress

from PIL import ExifTags, Image

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
QUARTER_TURNS = (5, 6, 7, 8)
_GREATEST_DPI = 65535  # what JPEG has room for


def upright(opened: Image.Image) -> Image.Image:
    """The image in memory, turned as its EXIF orientation says. Raises what Pillow raises about damaged files."""
    layout = _layout(opened)
    opened.load()
    info = dict(opened.info)
    turn = orientation(opened)
    # Not a copy, which would take as much memory again.
    image = opened.transpose(TURNS[turn]) if turn in TURNS else opened._new(opened.im)
    kept = {
        "icc_profile": info.get("icc_profile") or None,
        "transparency": _transparency(image.mode, info.get("transparency"), layout),
        "dpi": _dpi(info.get("dpi"), turned=turn in QUARTER_TURNS),
    }
    image.info = {key: value for key, value in kept.items() if value is not None}
    return image


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if there is none."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata; the pixels are none the worse for it
        return 1
    return value if isinstance(value, int) else 1


def frames(opened: Image.Image) -> int:
    """How many images a file holds. A camera's preview beside its photo does not count. Loses the opened pixels."""
    count = 1
    if opened.format not in ("JPEG", "MPO"):
        with suppress(Exception):  # damaged frames behind the first one do it no harm
            count = int(getattr(opened, "n_frames", 1))
    return max(1, count)


def has_pair(opened: Image.Image) -> bool:
    """Whether an MPO file has another image as large as its first, as stereo cameras make it. Loses the pixels."""
    first, found = opened.size, False
    with suppress(Exception):  # a damaged one behind the first does it no harm
        for place in range(1, int(getattr(opened, "n_frames", 1)) if opened.format == "MPO" else 1):
            opened.seek(place)
            found = found or opened.size == first
    return found


def _layout(opened: Image.Image) -> str:
    """How pixels lie in a PNG file, such as "L;4"; "" if unknown."""
    tile = getattr(opened, "tile", None)
    args = tile[0][3] if opened.format == "PNG" and tile else ""
    return args if isinstance(args, str) else ""


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
