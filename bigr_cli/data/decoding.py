"""Pillow as it is used here: a few formats known by their content, one limit of pixels, nothing on stderr.

Pillow knows more formats, among them some that run other programs (EPS) or take any bytes for an image (TGA). What is
not in `FORMATS` is never handed to a decoder.
"""

from __future__ import annotations

import ctypes
import io
import logging
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

from PIL import Image

from bigr_cli.errors import ImageError, UsageError

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000", "PPM", "ICO")
MAX_PIXELS = 178_956_970  # the most that Pillow reads by itself
MAX_PIXELS_VARIABLE = "BIGR_MAX_PIXELS"
_HUNGRY = {"JPEG2000": 4, "AVIF": 2}  # decoders that take 18 and 11 bytes a pixel: without the variable, so much less

_PNG = b"\x89PNG\r\n\x1a\n"
_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS")
_WELCOME = (b"eXIf", b"iCCP", b"pHYs")
_RECIPE = b"bigr\0"
_LOCK = threading.Lock()
_users = 0  # threads that are decoding: Pillow's limit and Python's warning filters are the whole process's
_restore: list[Any] = []

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
    while len(head := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
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


_libtiff: list[Any] = []


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
