"""Images in arrays: MNIST's IDX files, also compressed by gzip, and MedMNIST's .npz files."""

from __future__ import annotations

import gzip
import io
import math
import re
import struct
import zlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli.data.pictures import RowSource
from bigr_cli.errors import UsageError
from bigr_cli.file_names import name_hash
from bigr_cli.files import reading

SPLITS = ("train", "val", "test")
_IDX = re.compile(r"(.*)images[-.]idx3-ubyte(\.gz)?", re.IGNORECASE)
_MAGIC_IMAGES, _MAGIC_LABELS = 0x803, 0x801  # unsigned bytes in three dimensions, in one
_MOST_BYTES = 2**34  # that a header may claim


@dataclass(frozen=True, eq=False, kw_only=True)
class ArraySource(RowSource):
    """Images `arrays` (N, H, W) grey or (N, H, W, 3), uint8, of a file; `rows` (M,) are the numbers of those in use."""

    path: Path
    name: str  # of the array in the file
    arrays: NDArray[np.uint8]
    targets: NDArray[np.int64]  # of all N

    def label(self, index: int) -> int:
        return int(self.targets[self.rows[index]]) if self.labels else 0

    def captions_of(self, index: int) -> tuple[str, ...]:
        return ()

    def opened(self, index: int) -> AbstractContextManager[IO[bytes]]:
        stream = io.BytesIO()
        Image.fromarray(self.arrays[self.rows[index]]).save(stream, format="PNG", compress_level=0)
        stream.seek(0)
        return stream

    def called(self, index: int) -> str:
        return f"{self.path}: {self.name}[{self.rows[index]}]"

    def name_hashes(self) -> NDArray[np.uint64]:
        return np.array([name_hash(f"{self.path.name}/{self.name}/{row}") for row in self.rows], dtype=np.uint64)

    def states(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        each = math.prod(self.arrays.shape[1:])
        changed = self.path.stat().st_mtime_ns
        return np.full(len(self), each, dtype=np.uint64), np.full(len(self), changed, dtype=np.int64)

    def relabelled(self, labels: tuple[str, ...]) -> ArraySource:
        return replace(self, labels=labels, targets=self._places(labels)[self.targets])

    def fingerprint(self) -> str:
        status = self.path.stat()
        about = f"{self.path.name}:{self.name}:{status.st_size}:{status.st_mtime_ns}"
        return f"array:{self._identified(about)}"


def find_idx(where: Path) -> Path | None:
    """The file of images that a path means: itself, or in a folder the one for training; None if it is no IDX file."""
    if where.is_file():
        return where if _IDX.fullmatch(where.name) else None
    if not where.is_dir():
        return None
    found = sorted(path for path in where.iterdir() if _IDX.fullmatch(path.name) and path.is_file())
    training = [path for path in found if path.name.lower().startswith("train")]
    return next(iter(training or found), None)


def open_idx(path: Path, size: int) -> ArraySource:
    """The images of an IDX file, with the labels that lie beside it as classes, if they do.

    Raises:
        UsageError: the file is damaged, or its labels do not go with it.
        RunError: it cannot be read.
    """
    images = _idx(path, _MAGIC_IMAGES, 3)
    labels = _labels_beside(path)
    targets, names = np.zeros(len(images), dtype=np.int64), tuple[str, ...]()
    if labels is not None:
        targets = _idx(labels, _MAGIC_LABELS, 1).astype(np.int64)
        if len(targets) != len(images):
            raise UsageError(f"{labels}: has {len(targets):,} labels for {len(images):,} images")
        targets, names = _classes(targets)
    return _array_source(path, "images", images, targets, names, size)


def _labels_beside(path: Path) -> Path | None:
    name = re.sub(r"images([-.])idx3", r"labels\1idx1", path.name, flags=re.IGNORECASE)
    plain = name[:-3] if name.lower().endswith(".gz") else name
    return next((path.with_name(each) for each in (name, plain, f"{plain}.gz") if path.with_name(each).is_file()), None)


def _idx(path: Path, magic: int, axes: int) -> NDArray[np.uint8]:
    with reading(path):
        try:
            with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
                head = stream.read(4 + 4 * axes)
                if len(head) < 4 + 4 * axes or struct.unpack(">I", head[:4])[0] != magic:
                    raise UsageError(f"{path}: is no IDX file of unsigned bytes in {axes} dimensions")
                shape = struct.unpack(f">{axes}I", head[4:])
                wanted = math.prod(shape)
                data = stream.read(min(wanted, _MOST_BYTES) + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UsageError(f"{path}: is damaged: {error}") from error
    if len(data) != wanted:
        raise UsageError(f"{path}: is cut off, or goes on behind its end: expected {wanted:,} bytes, got {len(data):,}")
    if 0 in shape:
        raise UsageError(f"{path}: holds no images")
    return np.frombuffer(data, np.uint8).reshape(shape)


def open_npz(path: Path, size: int, *, split: str = "train") -> ArraySource:
    """The images of one split of a MedMNIST file, with its labels as classes.

    Raises:
        UsageError: it is damaged, holds other things than images and labels, or has no such split.
        RunError: it cannot be read.
    """
    with reading(path):
        try:
            with np.load(path, allow_pickle=False) as file:
                there = [each for each in SPLITS if f"{each}_images" in file.files]
                if split not in there:
                    hint = f"there are: {', '.join(there)}" if there else "expected train_images, train_labels, …"
                    raise UsageError(f"{path}: has no images of the split {split!r}", hint=hint)
                images: NDArray[Any] = file[f"{split}_images"]
                targets: NDArray[Any] | None = file[f"{split}_labels"] if f"{split}_labels" in file.files else None
        except (ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise UsageError(f"{path}: is no file of arrays that can be read safely ({error})") from error
    shape = images.shape
    if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and shape[3] == 3)) or 0 in shape:
        raise UsageError(
            f"{path}: {split}_images: expected (N, H, W) or (N, H, W, 3) of uint8, got {shape} of {images.dtype}",
            hint="volumes, such as those of OrganMNIST3D, are no images",
        )
    names: tuple[str, ...] = ()
    numbers = np.zeros(len(images), dtype=np.int64)
    if targets is not None and targets.size == len(images):  # several labels of one image are no class
        numbers, names = _classes(targets.reshape(-1).astype(np.int64))
    elif targets is not None and len(targets) != len(images):
        raise UsageError(f"{path}: has {len(targets):,} labels for {len(images):,} images")
    return _array_source(path, f"{split}_images", images, numbers, names, size)


def _array_source(
    path: Path, name: str, arrays: NDArray[np.uint8], targets: NDArray[np.int64], labels: tuple[str, ...], size: int
) -> ArraySource:
    rows = np.arange(len(arrays))
    return ArraySource(path=path, name=name, arrays=arrays, rows=rows, targets=targets, labels=labels, size=size)


def _classes(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Places in the names, and the names: the numbers that occur."""
    found, places = np.unique(numbers, return_inverse=True)
    return places.reshape(-1).astype(np.int64), tuple(str(number) for number in found)
