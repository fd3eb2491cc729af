"""Copies of large images, reduced to what random crops need, so that the files are decoded once and not for every crop.

Crops are cut out of the copies whether they are kept or made anew, so that the pixels are the same in either case.
"""

from __future__ import annotations

import math
import os
import shutil
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli import console
from bigr_cli.cache import Cache, intact
from bigr_cli.data.file_source import Crop, FileSource, Sample
from bigr_cli.data.images import READER, read_header, read_reduced
from bigr_cli.data.sources import WrappedSource
from bigr_cli.errors import BigrError, ImageError
from bigr_cli.files import reading
from bigr_cli.imaging.modes import scaled

ROOM = 1.5  # times the pixels of the smallest crop that a copy has at least: see docs/training.md
MOST_BYTES = 4 << 30  # of all copies, those of other data too
_SHARE_OF_DISK = 0.25  # of what is free
_LONGEST = 6  # times its shorter side that a copy may be long
_LOOKED_AT = 32  # headers, from which the size of all copies is told
_AT_ONCE = 64
_CACHE = Cache("reduced", "reduced copies of images, which are decoded anew for each crop,")
_HEAD = struct.Struct("<IIIII")  # whole width and height, those of the copy, CRC-32 of its pixels

Copy = tuple[NDArray[np.uint8], tuple[int, int]]


class ReducedSource(WrappedSource[FileSource]):
    """A source whose images are cut out of reduced copies, kept in the cache as far as there is room."""

    def __init__(self, source: FileSource) -> None:
        """Makes room in the cache, by removing copies of other data, and says for how many images that does."""
        super().__init__(source)
        self.shorter = math.ceil(ROOM * source.size / source.crop)
        self.folder = _CACHE.path(f"{READER}:{self.shorter}:{source.fingerprint()}", "")
        each = self._bytes_of_a_copy()
        room = _make_room(self.folder, each * len(source))
        self.kept = min(len(source), room // max(1, each))
        if self.kept < len(source):
            console.warn(
                f"{self.folder}: there is room for reduced copies of {self.kept:,} of {len(source):,} images; "
                f"the others are decoded anew for each crop; copies take {MOST_BYTES / 1e9:.1f} GB at most, and a "
                "quarter of the free disk",
                once=True,
            )

    def fingerprint(self) -> str:
        return f"reduced:{self.shorter}:{self.source.fingerprint()}"

    def image(self, index: int, variant: int = 0) -> Sample:
        """Image `index`, cut out of its copy. Raises what the source raises."""
        return self.source.cut_out(index, variant, partial(self._square, index))

    def __str__(self) -> str:
        return f"copies reduced to {self.shorter} pixels, of {self.kept:,} images, kept in {self.folder}"

    def fill(self, seconds: float) -> int:
        """Make copies of the images, in their order, until the time is over; how many there are then."""
        end = time.monotonic() + seconds
        done = 0
        with console.progress(self.kept, "reducing images") as bar, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            while done < self.kept and time.monotonic() < end:
                chunk = range(done, min(done + _AT_ONCE, self.kept))
                list(pool.map(self._there, chunk))
                done = chunk.stop
                bar.advance(len(chunk))
        return done

    def _there(self, index: int) -> None:
        if not self._path(index).exists():
            try:
                self._copy(index)
            except BigrError:  # said when the image is trained on
                return

    def _square(self, index: int, crop: Crop) -> NDArray[np.uint8]:
        pixels, whole = self._copy(index)
        left, top, right, bottom = crop(whole)
        across, down = pixels.shape[1] / whole[0], pixels.shape[0] / whole[1]
        box = (left * across, top * down, right * across, bottom * down)
        return scaled(Image.fromarray(pixels), (self.size, self.size), crop=box)

    def _copy(self, index: int) -> Copy:
        path = self._path(index)
        if index < self.kept and (found := intact(_read, path)) is not None:
            return found
        name = self.source.called(index)
        with reading(name, ImageError), self.source.opened(index) as stream:
            copy = read_reduced(stream, self.shorter, name, background=self.source.background)
        pixels, whole = copy
        # What is hardly smaller is decoded as fast as it is read.
        if index < self.kept and self._worth_keeping(pixels.shape, whole):
            _CACHE.write(path, lambda hidden: _write(hidden, pixels, whole))
        return copy

    def _worth_keeping(self, shape: tuple[int, ...], whole: tuple[int, int]) -> bool:
        return whole[0] * whole[1] >= 2 * shape[0] * shape[1] and max(shape[:2]) <= _LONGEST * min(shape[:2])

    def _path(self, index: int) -> Path:
        return self.folder / f"{index // 1000:04}" / f"{index:07}.rgb"

    def _bytes_of_a_copy(self) -> int:
        """The mean over some of the images, by their headers."""
        total, sizes = len(self.source), []
        for index in sorted({number * total // _LOOKED_AT for number in range(_LOOKED_AT)}):
            try:
                with self.source.opened(index) as stream:
                    width, height = read_header(stream, self.source.called(index)).size
            except (BigrError, OSError):
                continue
            scale = min(1.0, self.shorter / min(width, height))
            shape = (round(height * scale), round(width * scale))
            sizes.append(3 * shape[0] * shape[1] if self._worth_keeping(shape, (width, height)) else 0)
        return _HEAD.size + sum(sizes) // max(1, len(sizes))


def _write(path: Path, pixels: NDArray[np.uint8], whole: tuple[int, int]) -> None:
    data = np.ascontiguousarray(pixels).tobytes()
    path.write_bytes(_HEAD.pack(*whole, pixels.shape[1], pixels.shape[0], zlib.crc32(data)) + data)


def _read(path: Path) -> Copy | None:
    data = path.read_bytes()
    *whole, width, height, checksum = _HEAD.unpack_from(data)
    if len(data) != _HEAD.size + 3 * width * height or zlib.crc32(memoryview(data)[_HEAD.size :]) != checksum:
        return None
    return np.frombuffer(data, np.uint8, offset=_HEAD.size).reshape(height, width, 3), (whole[0], whole[1])


def _make_room(folder: Path, wanted: int) -> int:
    """Bytes that there are for copies in a folder; those of other data are removed, oldest first, if need be."""
    try:
        _CACHE.folder.mkdir(parents=True, exist_ok=True)
        others = sorted(
            (each for each in _CACHE.folder.iterdir() if each != folder), key=lambda each: each.stat().st_mtime
        )
        used = {each: sum(path.stat().st_size for path in each.rglob("*.rgb")) for each in [*others, folder]}
        free = int(_SHARE_OF_DISK * shutil.disk_usage(_CACHE.folder).free)
    except OSError:  # another process is removing the same; without a folder there is no room
        return 0
    most = min(MOST_BYTES, sum(used.values()) + free)
    for other in others:
        if sum(used.values()) - used[folder] + wanted <= most:
            break
        console.say(f"{other}: {used.pop(other) / 1e6:,.0f} MB of reduced copies of other data are removed")
        _CACHE.discard(other)
    return max(0, most - sum(used.values()) + used[folder])
