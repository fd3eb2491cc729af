"""Images in arrays: .npz files and IDX files of MNIST; pickles, which run what they say, are refused."""

from __future__ import annotations

import gzip
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli.data.file_source import RowSource
from bigr_cli.errors import ModelFormatError, UsageError
from bigr_cli.file_names import name_hash
from bigr_cli.file_tree import IMAGE_SUFFIXES
from bigr_cli.files import reading
from bigr_cli.runtime.device import main_memory

_SUFFIXES = (".pkl", ".pickle", ".p", ".pt", ".pth", ".joblib")
_CIFAR = re.compile(r"data_batch_\d|test_batch")
_WAY_OUT = (
    "write its images as PNG files into a folder per class, or as parquet: many such data sets are on the hub, as "
    "hf://datasets/OWNER/NAME (hf://datasets/uoft-cs/cifar10 for CIFAR-10)"
)

_ENCRYPTED = 1  # of a member's flags
_FORMAT: Any = np.lib.format
SPLITS = ("train", "val", "test")
_IDX = re.compile(r"(.*)images[-.]idx3-ubyte(\.gz)?", re.IGNORECASE)
_MAGIC_IMAGES, _MAGIC_LABELS = 0x803, 0x801  # unsigned bytes in three dimensions, in one
_MOST_BYTES = 2**34  # that a header may claim


def refuse_pickles(path: Path) -> None:
    """Raise UsageError for a pickle, or a folder that has nothing but such and small files of text."""
    if path.is_file():
        if _is_pickle(path):
            raise UsageError(f"{path}: is a pickle, which may run any program when it is read", hint=_WAY_OUT)
        return
    if not path.is_dir():
        return
    found = sorted(each for each in path.iterdir() if each.is_file() and _is_pickle(each))
    others = [each for each in path.iterdir() if each.is_dir() or each.suffix.lower() in IMAGE_SUFFIXES]
    if found and not others:
        raise UsageError(f"{found[0]}: is a pickle, which may run any program when it is read", hint=_WAY_OUT)


def _is_pickle(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES or _CIFAR.fullmatch(path.name) is not None


def splits_of(path: Path) -> list[str]:
    """Which of `SPLITS` a file has images of, as one of MedMNIST's does; none of any other."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return []
    names = array_names(path)
    return [split for split in SPLITS if f"{split}_images" in names]


def array_names(path: Path) -> list[str]:
    """The names of the arrays in a file; ModelFormatError if it is no .npz file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception as error:  # zipfile and NumPy raise what they like about damaged files
        raise ModelFormatError(f"{path}: is not a .npz file, or damaged ({_line(error)})") from error


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """These arrays of a .npz file, by name.

    Raises:
        ModelFormatError: the file is damaged or encrypted, lacks one of them, or one is no plain array or claims to be
            larger than it is, or than the memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read(archive, f"{name}.npy") for name in names}
    except Exception as error:  # zipfile and NumPy raise what they like about damaged files
        raise ModelFormatError(
            f"{path}: is damaged, or not a file of the arrays {', '.join(names)} ({_line(error)})"
        ) from error


def _read(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    member = archive.getinfo(name)
    if member.flag_bits & _ENCRYPTED:
        raise ValueError(f"{name} is encrypted")
    with archive.open(member) as stream:
        shape, dtype = _header(stream)
        claimed, held = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
    if dtype.hasobject:
        raise ValueError(f"{name} holds objects, not numbers or text")
    if claimed != held:
        raise ValueError(f"{name} claims {claimed:,} bytes and holds {held:,}")
    if main_memory() and claimed > main_memory():
        raise ValueError(f"{name} needs {claimed / 1e9:,.1f} GB of memory")
    with archive.open(member) as stream:
        found: NDArray[Any] = _FORMAT.read_array(stream, allow_pickle=False)
    return found


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = _FORMAT.read_magic(stream)
    read = _FORMAT.read_array_header_1_0 if version == (1, 0) else _FORMAT.read_array_header_2_0
    shape, _, dtype = read(stream)
    if not all(type(side) is int and 0 <= side < 2**63 for side in shape):
        raise ValueError("a shape of odd numbers")
    return shape, dtype


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


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
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                there = [each for each in SPLITS if f"{each}_images.npy" in names]
                if split not in there:
                    hint = f"there are: {', '.join(there)}" if there else "expected train_images, train_labels, …"
                    raise UsageError(f"{path}: has no images of the split {split!r}", hint=hint)
                images = _read(archive, f"{split}_images.npy")
                targets = _read(archive, labelled) if (labelled := f"{split}_labels.npy") in names else None
        except (ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise UsageError(f"{path}: is no file of arrays that can be read safely ({error})") from error
    shape = images.shape
    if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and shape[3] == 3)) or 0 in shape:
        raise UsageError(
            f"{path}: {split}_images: expected (N, H, W) or (N, H, W, 3) of uint8, got {shape} of {images.dtype}",
            hint="volumes, such as those of OrganMNIST3D, are no images",
        )
    classes: tuple[str, ...] = ()
    numbers = np.zeros(len(images), dtype=np.int64)
    if targets is not None and targets.size == len(images):  # several labels of one image are no class
        numbers, classes = _classes(targets.reshape(-1).astype(np.int64))
    elif targets is not None and len(targets) != len(images):
        raise UsageError(f"{path}: has {len(targets):,} labels for {len(images):,} images")
    return _array_source(path, f"{split}_images", images, numbers, classes, size)


def _array_source(
    path: Path, name: str, arrays: NDArray[np.uint8], targets: NDArray[np.int64], labels: tuple[str, ...], size: int
) -> ArraySource:
    rows = np.arange(len(arrays))
    return ArraySource(path=path, name=name, arrays=arrays, rows=rows, targets=targets, labels=labels, size=size)


def _classes(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Places in the names, and the names: the numbers that occur."""
    found, places = np.unique(numbers, return_inverse=True)
    return places.reshape(-1).astype(np.int64), tuple(str(number) for number in found)
