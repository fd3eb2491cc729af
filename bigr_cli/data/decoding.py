"""From the bytes of an image file to pixels in memory: formats, limits, and the upright orientation."""

from __future__ import annotations

import ctypes
import io
import logging
import math
import os
import re
import stat
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from PIL import ExifTags, Image

from bigr_cli.errors import ImageError, UsageError

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

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000", "PPM", "ICO")
MAX_PIXELS = 178_956_970  # the most that Pillow reads by itself
MAX_PIXELS_VARIABLE = "BIGR_MAX_PIXELS"
_HUNGRY = {"JPEG2000": 4, "AVIF": 2}  # decoders that take 18 and 11 bytes a pixel: without the variable, so much less
_PNG = b"\x89PNG\r\n\x1a\n"
_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS")
_WELCOME = (b"eXIf", b"iCCP", b"pHYs")
_TEXTS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_RECIPE = b"bigr\0"
_LOCK = threading.Lock()
_users = 0  # threads that are decoding: Pillow's limit and Python's warning filters are the whole process's
_restore: list[Any] = []
_libtiff: list[Any] = []


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
        value = _exif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata; the pixels are none the worse for it
        return 1
    return value if isinstance(value, int) else 1


def _exif(image: Image.Image) -> Image.Exif:
    """As `getexif`, which decodes all pixels of a PNG file without EXIF before them: here only if some may follow."""
    stream = getattr(image, "fp", None)
    if image.format == "PNG" and "exif" not in image.info and stream is not None and not _texts_follow(stream):
        return Image.Image.getexif(image)
    return image.getexif()


def _texts_follow(stream: IO[bytes]) -> bool:
    """Whether a PNG file has EXIF, or a text, which may be EXIF or XMP, behind its first pixels."""
    here, pixels = stream.tell(), False
    try:
        for name, _ in _chunks(stream):
            pixels = pixels or name == b"IDAT"
            if pixels and name in _TEXTS:
                return True
        return False
    finally:
        stream.seek(here)


def _chunks(stream: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """The name and the length of each chunk of a PNG file, at whose body the stream then is; it need not be read."""
    place = len(_PNG)
    stream.seek(place)
    while len(head := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        yield name, length
        place += 8 + length + 4
        stream.seek(place)


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


logging.getLogger("PIL").addHandler(logging.NullHandler())  # or else what it logs of damaged files goes to stderr


class TooManyPixels(Image.DecompressionBombError):
    """An image has more pixels than are read of its format; `limit` says how many are."""

    def __init__(self, pixels: int, limit: int) -> None:
        super().__init__(f"{pixels} pixels")
        self.limit = limit


def pixel_limit(kind: str | None = None) -> int:
    """How many pixels an image of a format may have. Raises UsageError if BIGR_MAX_PIXELS is not a number."""
    text = os.environ.get(MAX_PIXELS_VARIABLE, "").strip()
    if not text:
        return MAX_PIXELS // _HUNGRY.get(kind or "", 1)
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) == 0:
        raise UsageError(f"{MAX_PIXELS_VARIABLE}: expected a number of pixels, got {text!r}")
    return int(text)


def open_file(path: Path) -> BinaryIO:
    """A file to be read. Never waits, as opening a named pipe would.

    A pipe that is open already, such as a shell's `<(command)`, is read to its end.

    Raises:
        OSError: it cannot be opened.
        ImageError: it is a folder, a named pipe or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return os.fdopen(descriptor, "rb")
    if stat.S_ISFIFO(kind) and str(path).startswith(("/dev/fd/", "/proc/")):
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "rb") as pipe:
            return io.BytesIO(pipe.read())
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise ImageError(f"{path}: is a folder, not a file")
    what = "named pipe" if stat.S_ISFIFO(kind) else "device"
    raise ImageError(f"{path}: is a {what}, not a file", hint="- reads an image from stdin")


@contextmanager
def opened(stream: IO[bytes]) -> Iterator[Image.Image]:
    """An image of one of `FORMATS`, of which only the header has been read. Raises what Pillow raises."""
    Image.init()
    with _guarded(pixel_limit()), Image.open(stream, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
        limit = pixel_limit(image.format)
        if image.format in _HUNGRY and image.width * image.height > limit:
            raise TooManyPixels(image.width * image.height, limit)
        if image.format == "TIFF":
            _silence_libtiff()
        if image.format == "PNG" and image.mode == "P" and not getattr(image.palette, "palette", None):
            raise ValueError("a palette image without a palette")
        yield image


def without_texts(stream: IO[bytes], *, strict: bool) -> io.BytesIO | None:
    """A PNG file without its texts, which may be too large or damaged while the pixels are sound.

    A recipe of this program's stays. With `strict` it goes too, and so do profile, density and orientation. None if
    the file is no PNG file, or nothing of it was left out.
    """
    stream.seek(0)
    if stream.read(len(_PNG)) != _PNG:
        return None
    kept, dropped = io.BytesIO(), False
    kept.write(_PNG)
    for name, length in _chunks(stream):
        head = struct.pack(">I4s", length, name)
        body, checksum = stream.read(length), stream.read(4)
        recipe = name == b"iTXt" and body.startswith(_RECIPE)
        if name in _NEEDED or (not strict and (recipe or (name in _WELCOME and _is_sound(name, body, checksum)))):
            kept.write(head + body + checksum)
        else:
            dropped = True
    kept.seek(0)
    return kept if dropped else None


def _is_sound(name: bytes, body: bytes, checksum: bytes) -> bool:
    return int.from_bytes(checksum, "big") == zlib.crc32(name + body)


@contextmanager
def _guarded(limit: int) -> Iterator[None]:
    """Pillow with a limit of our own, at which it raises, and without its warnings about damaged metadata."""
    global _users
    with _LOCK:
        if _users == 0:
            catching = warnings.catch_warnings()
            catching.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            _restore[:] = [catching, Image.MAX_IMAGE_PIXELS]
            Image.MAX_IMAGE_PIXELS = limit
        _users += 1
    try:
        yield
    finally:
        with _LOCK:
            _users -= 1
            if _users == 0:
                catching, Image.MAX_IMAGE_PIXELS = _restore
                catching.__exit__(None, None, None)


def _silence_libtiff() -> None:
    """Have the libtiff that Pillow loaded write nothing to stderr; what is wrong still makes Pillow raise."""
    if _libtiff or not sys.platform.startswith("linux"):
        return
    _libtiff.append(None)
    with suppress(OSError, AttributeError):
        lines = Path("/proc/self/maps").read_text(errors="replace").splitlines()
        found = {line.split(maxsplit=5)[5] for line in lines if re.search(r"/libtiff[^/]*\.so", line)}
        for path in found:
            library = ctypes.CDLL(path)
            library.TIFFSetErrorHandler(None)
            library.TIFFSetWarningHandler(None)
            _libtiff.append(library)
