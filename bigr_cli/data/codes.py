"""Images and codes that are kept on disk once they were asked for, so that later passes need not make them again."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray

from bigr_cli import console
from bigr_cli.cache import Cache, intact
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.data.file_source import Sample
from bigr_cli.data.images import READER
from bigr_cli.data.loading import Batch, as_floats, load_batches, workers_watched
from bigr_cli.data.sources import Source, WrappedSource
from bigr_cli.errors import RunError
from bigr_cli.home import HINT

_HEAD = struct.Struct("<?I")  # whether the row was written, and the CRC-32 of what follows

_BATCH = 64
_CACHE = Cache("codes", "codes of images, which are encoded anew each time,", durable=True)


class CachedSource(WrappedSource[Source]):
    """A source whose images are looked up in a file of rows, and written there where they are not.

    Any number of processes may share the file: a row that another is just writing, or did not finish, counts as not
    there. Variants must not differ in their pixels.
    """

    def __init__(self, source: Source, folder: Path | None = None) -> None:
        """`folder` is where the file is; None is the cache. Without room for it, each is read anew."""
        super().__init__(source)
        self._planes = 3 if source.image(0).focus is None else 4
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
        pixels, focus = kept[..., :3], kept[..., 3] if self._planes == 4 else None
        return Sample(pixels, self.label(index), focus)

    def _read(self, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None:
        length = self.size * self.size * self._planes
        try:
            file = self._opened()
            file.seek(index * (_HEAD.size + length))
            row = file.read(_HEAD.size + length)
        except OSError:
            return None
        if len(row) < _HEAD.size + length:
            return None
        there, checksum = _HEAD.unpack_from(row)
        if not there or zlib.crc32(row[_HEAD.size :]) != checksum:
            return None
        return np.frombuffer(row, np.uint8, offset=_HEAD.size).reshape(self.size, self.size, self._planes)

    def _write(self, index: int, image: Sample) -> None:
        planes = image.pixels if image.focus is None else np.dstack([image.pixels, image.focus])
        if self._full or planes.shape != (self.size, self.size, self._planes):
            return
        data = np.ascontiguousarray(planes).tobytes()
        try:
            file = self._opened()
            file.seek(index * (_HEAD.size + len(data)))
            file.write(_HEAD.pack(True, zlib.crc32(data)) + data)
        except OSError as error:
            self._full = True
            console.warn(f"{self.path}: {error.strerror or error}; no more images are kept there")

    def _opened(self) -> IO[bytes]:
        """The file, unbuffered; each process has its own place in it."""
        if self._file is None or self._owner != os.getpid():
            self._file, self._owner = self.path.open("r+b", buffering=0), os.getpid()
        return self._file

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None}


@dataclass(frozen=True)
class PackedCodes:
    """`packed` (N, V, ⌈L·K / 8⌉) uint8: the codes of V variants of each of N images, packed by `numpy.packbits`."""

    packed: NDArray[np.uint8]
    tokens: int
    bits: int

    def take(self, positions: list[tuple[int, int]]) -> torch.Tensor:
        """The codes at (image, variant) pairs: (B, L, K) bool. Variants are counted on, round and round."""
        images, variants = np.array(positions).T
        rows = self.packed[images, variants % self.packed.shape[1]]
        bits = np.unpackbits(rows, axis=1, count=self.tokens * self.bits)
        return torch.from_numpy(bits.reshape(len(rows), self.tokens, self.bits)).bool()


def cached_codes(
    tokenizer: Tokenizer, digest: str, source: Source, *, variants: int, augment: bool, workers: int
) -> PackedCodes | None:
    """The packed codes of a source, from the cache, or made now and kept there; None, with a warning, if the cache
    cannot be written.

    Each is drawn from Bernoulli(P), by chance that follows from the image's and the variant's numbers alone.

    Args:
        digest: the SHA-256 of the tokenizer's weights: others make other codes.
        variants: how many codes of every image to keep.
        augment: whether the variants are differently augmented, or differ by the chance of the bits alone.
        workers: processes that read the images.

    Raises:
        RunError: what was written cannot be read again.
        ImageError: an image cannot be read.
    """
    tokens, bits = tokenizer.config.grid**2, tokenizer.config.bits
    shape = (len(source), variants, -(-tokens * bits // 8))
    identity = f"{digest} {source.fingerprint()} {tokens} {bits} {variants} {augment}"
    path = _CACHE.path(identity, ".npy")
    packed = intact(lambda path: _open(path, shape), path)
    if packed is None:
        made = _packed(tokenizer, source, variants, augment, workers)
        if not _CACHE.write(path, lambda hidden: _write(hidden, shape, made)):
            return None
        packed = intact(lambda path: _open(path, shape), path)
    if packed is None:
        raise RunError(f"{path}: cannot be read again after writing")
    return PackedCodes(packed, tokens, bits)


def code_batches(
    codes: PackedCodes, source: Source, positions: Iterable[list[tuple[int, int]]]
) -> Generator[Batch, None, None]:
    """The codes, labels and captions at these positions, batch by batch, without images."""
    none = torch.empty(0, dtype=torch.uint8)
    for rows in positions:
        labels = torch.tensor([source.label(index) for index, _ in rows])
        captions = [source.caption(*row) for row in rows]
        yield Batch(none, labels, none, captions, codes.take(rows))


def _open(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The array in a file, mapped into memory; None if it is not such an array."""
    array: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _write(path: Path, shape: tuple[int, ...], blocks: Iterable[NDArray[np.uint8]]) -> None:
    """An .npy file, written from front to back: a full disk then is an error, which it is not for a mapped file."""
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for block in blocks:
            stream.write(block.tobytes())


@torch.inference_mode()
def _packed(
    tokenizer: Tokenizer, source: Source, variants: int, augment: bool, workers: int
) -> Iterator[NDArray[np.uint8]]:
    """The rows of the cache in order, a block of them at a time: (B, ⌈L·K / 8⌉)."""
    device, total = tokenizer.embed.device, len(source) * variants
    # Variant 0 is the image as it is; see Source.picture.
    keys = (
        [(row // variants, row % variants + 1 if augment else 0) for row in range(first, min(first + _BATCH, total))]
        for first in range(0, total, _BATCH)
    )
    done = 0
    with console.progress(total, "encoding images") as bar, workers_watched():
        for batch in load_batches(source, keys, workers=workers):
            images = as_floats(batch.images.to(device))
            seeds = torch.arange(done, done + len(images), device=device)
            codes = tokenizer.sample(images, seeds)
            yield np.packbits(codes.flatten(1).cpu().numpy(), axis=1)
            done += len(images)
            bar.advance(len(images))
