"""Images, reduced images and codes kept on disk, so that later passes need not decode, reduce and encode them again."""

from __future__ import annotations

import math
import os
import shutil
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bigr_cli import console
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.data.file_source import Crop, FileSource, Sample
from bigr_cli.data.images import READER, read_header, read_reduced
from bigr_cli.data.loading import PackedCodes, as_floats, load_batches, open_codes, workers_watched, write_codes
from bigr_cli.data.sources import Source, WrappedSource
from bigr_cli.errors import BigrError, ImageError, RunError
from bigr_cli.files import reading
from bigr_cli.home import HINT, Cache, intact
from bigr_cli.imaging.modes import at_size, square
from bigr_cli.progress import progress_bar

_ROW_HEAD = struct.Struct("<?I")  # whether the row was written, and the CRC-32 of what follows

_BATCH = 64
_CODES = Cache("codes", "codes of images, which are encoded anew each time,", durable=True)

ROOM = 1.5  # times the pixels of the smallest crop that a copy has at least: see docs/training.md
MOST_BYTES = 4 << 30  # of all copies, those of other data too
_SHARE_OF_DISK = 0.25  # of what is free
_LONGEST = 6  # times its shorter side that a copy may be long
_LOOKED_AT = 32  # headers, from which the size of all copies is told
_AT_ONCE = 64
_REDUCED = Cache("reduced", "reduced copies of images, which are decoded anew for each crop,")
_HEAD = struct.Struct("<IIIII")  # whole width and height, those of the copy, CRC-32 of its pixels

Copy = tuple[NDArray[np.uint8], tuple[int, int]]


class CachedSource(WrappedSource[Source]):
    """A source whose images are looked up in a file of rows, and written there where they are not.

    Any number of processes may share the file: a row that another is just writing, or did not finish, counts as not
    there. Variants must not differ in their pixels.
    """

    def __init__(self, source: Source, folder: Path | None = None) -> None:
        """`folder` is where the file is; None is the cache. Without room for it, each is read anew."""
        super().__init__(source)
        self._planes = 3 if source.image(0).foreground is None else 4
        kept = Cache("pictures").path(f"{READER}:{source.fingerprint()}", ".rows")
        self.path = kept if folder is None else folder / kept.name
        self._file: IO[bytes] | None = None
        self._owner, self._full = 0, False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab"):
                pass
        except OSError as error:
            self._full = True
            console.warn(f"{self.path}: cannot be written: {error.strerror or error}; no images are kept ({HINT})")

    def image(self, index: int, variant: int = 0) -> Sample:
        """Image `index`, from the file or else from the source. Raises what the source raises."""
        kept = self._read(index)
        if kept is None:
            image = self.source.image(index, variant)
            self._write(index, image)
            return image
        pixels, foreground = kept[..., :3], kept[..., 3] if self._planes == 4 else None
        return Sample(pixels, self.label(index), foreground)

    def _read(self, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None:
        length = self.size * self.size * self._planes
        try:
            file = self._opened()
            file.seek(index * (_ROW_HEAD.size + length))
            row = file.read(_ROW_HEAD.size + length)
        except OSError:
            return None
        if len(row) < _ROW_HEAD.size + length:
            return None
        there, checksum = _ROW_HEAD.unpack_from(row)
        if not there or zlib.crc32(row[_ROW_HEAD.size :]) != checksum:
            return None
        return np.frombuffer(row, np.uint8, offset=_ROW_HEAD.size).reshape(self.size, self.size, self._planes)

    def _write(self, index: int, image: Sample) -> None:
        planes = image.pixels if image.foreground is None else np.dstack([image.pixels, image.foreground])
        if self._full or planes.shape != (self.size, self.size, self._planes):
            return
        data = np.ascontiguousarray(planes).tobytes()
        try:
            file = self._opened()
            file.seek(index * (_ROW_HEAD.size + len(data)))
            file.write(_ROW_HEAD.pack(True, zlib.crc32(data)) + data)
        except OSError as error:
            self._full = True
            console.warn(f"{self.path}: {error.strerror or error}; no more images are kept there")

    def _opened(self) -> IO[bytes]:
        """The file, unbuffered, since each process has its own place in it."""
        if self._file is None or self._owner != os.getpid():
            self._file, self._owner = self.path.open("r+b", buffering=0), os.getpid()
        return self._file

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None}


def cached_codes(
    tokenizer: Tokenizer, digest: str, source: Source, *, variants: int, augment: bool, workers: int
) -> PackedCodes | None:
    """The packed codes of a source, from the cache, or made now and kept there; None, with a warning, if the cache
    cannot be written.

    Each is sampled from Bernoulli(P), with random numbers that follow from the image's and the variant's numbers alone.

    Args:
        digest: the SHA-256 of the tokenizer's weights: others make other codes.
        variants: how many codes of every image to keep.
        augment: whether the variants are differently augmented, or differ by the sampled bits alone.
        workers: processes that read the images.

    Raises:
        RunError: what was written cannot be read again.
        ImageError: an image cannot be read.
    """
    tokens, bits = tokenizer.config.grid**2, tokenizer.config.bits
    shape = (len(source), variants, -(-tokens * bits // 8))
    identity = f"{digest} {source.fingerprint()} {tokens} {bits} {variants} {augment}"
    packed = kept_codes(identity, shape, lambda: _packed(tokenizer, source, variants, augment, workers))
    return None if packed is None else PackedCodes(packed, tokens, bits)


def kept_codes(
    identity: str, shape: tuple[int, ...], make: Callable[[], Iterator[NDArray[np.uint8]]]
) -> NDArray[np.uint8] | None:
    """Packed codes from the cache, or made now, block by block, and kept there; None, with a warning, if the cache
    cannot be written.

    Args:
        identity: what the codes follow from.
        shape: of all of them: (N, V, ⌈L·K / 8⌉).

    Raises:
        RunError: what was written cannot be read again.
    """
    path = _CODES.path(identity, ".npy")
    opened = partial(intact, partial(open_codes, shape=shape), path)
    if (packed := opened()) is None:
        if not _CODES.write(path, lambda temporary: write_codes(temporary, shape, make())):
            return None
        packed = opened()
    if packed is None:
        raise RunError(f"{path}: cannot be read again after writing")
    return packed


@torch.inference_mode()
def _packed(
    tokenizer: Tokenizer, source: Source, variants: int, augment: bool, workers: int
) -> Iterator[NDArray[np.uint8]]:
    """The rows of the cache in order, a block of them at a time: (B, ⌈L·K / 8⌉)."""
    device, total = tokenizer.embed.device, len(source) * variants
    # Variant 0 is the image as it is; see `Source.image`.
    keys = (
        [(row // variants, row % variants + 1 if augment else 0) for row in range(first, min(first + _BATCH, total))]
        for first in range(0, total, _BATCH)
    )
    done = 0
    with progress_bar(total, "encoding images") as bar, workers_watched():
        for batch in load_batches(source, keys, workers=workers):
            images = as_floats(batch.images.to(device))
            seeds = torch.arange(done, done + len(images), device=device)
            codes = tokenizer.sample(images, seeds)
            yield np.packbits(codes.flatten(1).cpu().numpy(), axis=1)
            done += len(images)
            bar.advance(len(images))


class ReducedSource(WrappedSource[FileSource]):
    """A source whose images are cut out of copies, reduced to what random crops need, so that they are decoded once.

    Copies are kept in the cache as far as there is room, and made anew otherwise: the pixels are the same.
    """

    def __init__(self, source: FileSource) -> None:
        """Makes room in the cache, by removing copies of other data, and says for how many images that does."""
        super().__init__(source)
        self.shorter = math.ceil(ROOM * source.size / source.crop)
        self.folder = _REDUCED.path(f"{READER}:{self.shorter}:{source.fingerprint()}", "")
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
        with progress_bar(self.kept, "reducing images") as bar, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            while done < self.kept and time.monotonic() < end:
                chunk = range(done, min(done + _AT_ONCE, self.kept))
                list(pool.map(self._there, chunk))
                done = chunk.stop
                bar.advance(len(chunk))
        return done

    def _there(self, index: int) -> None:
        if not self._path(index).exists():
            with suppress(BigrError):  # said when the image is trained on
                self._copy(index)

    def _square(self, index: int, crop: Crop) -> NDArray[np.uint8]:
        pixels, whole = self._copy(index)
        image = Image.fromarray(pixels)
        return square(image, self.size, crop=at_size(crop(whole), whole, image.size))

    def _copy(self, index: int) -> Copy:
        path = self._path(index)
        if index < self.kept and (found := intact(_read_copy, path)) is not None:
            return found
        name = self.source.called(index)
        with reading(name, ImageError), self.source.opened(index) as stream:
            copy = read_reduced(stream, self.shorter, name, background=self.source.background)
        pixels, whole = copy
        # What is hardly smaller is decoded as fast as it is read.
        if index < self.kept and self._worth_keeping(pixels.shape, whole):
            _REDUCED.write(path, lambda temporary: _write_copy(temporary, pixels, whole))
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


def _write_copy(path: Path, pixels: NDArray[np.uint8], whole: tuple[int, int]) -> None:
    data = np.ascontiguousarray(pixels).tobytes()
    path.write_bytes(_HEAD.pack(*whole, pixels.shape[1], pixels.shape[0], zlib.crc32(data)) + data)


def _read_copy(path: Path) -> Copy | None:
    data = path.read_bytes()
    *whole, width, height, checksum = _HEAD.unpack_from(data)
    if len(data) != _HEAD.size + 3 * width * height or zlib.crc32(memoryview(data)[_HEAD.size :]) != checksum:
        return None
    return np.frombuffer(data, np.uint8, offset=_HEAD.size).reshape(height, width, 3), (whole[0], whole[1])


def _make_room(folder: Path, wanted: int) -> int:
    """Bytes that there are for copies in a folder; those of other data are removed, oldest first, if need be."""
    try:
        _REDUCED.folder.mkdir(parents=True, exist_ok=True)
        others = sorted(
            (each for each in _REDUCED.folder.iterdir() if each != folder), key=lambda each: each.stat().st_mtime
        )
        used = {each: sum(path.stat().st_size for path in each.rglob("*.rgb")) for each in [*others, folder]}
        free = int(_SHARE_OF_DISK * shutil.disk_usage(_REDUCED.folder).free)
    except OSError:  # another process is removing the same; without a folder there is no room
        return 0
    most = min(MOST_BYTES, sum(used.values()) + free)
    for other in others:
        if sum(used.values()) - used[folder] + wanted <= most:
            break
        console.say(f"{other}: {used.pop(other) / 1e6:,.0f} MB of reduced copies of other data are removed")
        _REDUCED.discard(other)
    return max(0, most - sum(used.values()) + used[folder])
