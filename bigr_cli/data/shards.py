"""Images in tar shards, as webdatasets have them: nothing is unpacked, and any image can be read at any time.

Files of a sample have the same name up to the first dot: `000123.jpg`, `000123.txt`, `000123.json`, `000123.cls`. Where
they are is read off the headers once, and kept in the cache. A tree of images that was packed as it is has a class for
each folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import tarfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bigr_cli import console
from bigr_cli.data.captions import Entry, captions_in, entry_of, plain_label, sorted_labels
from bigr_cli.data.file_source import Check, TableSource, is_readable, usable
from bigr_cli.data.tar_files import TEXTS, Place, Sample, Sparse, samples
from bigr_cli.errors import UsageError
from bigr_cli.file_names import name_hash
from bigr_cli.file_tree import IMAGE_SUFFIXES, PassedOver
from bigr_cli.files import reading
from bigr_cli.home import Cache, intact, save_arrays
from bigr_cli.plain_text import beside_white, decoded
from bigr_cli.progress import progress_bar

_CACHE = Cache("shards", "what a tar shard holds")
_VERSION = 4  # of the files in the cache
_ROW = np.dtype(
    [
        *(("image", "<i8"), ("txt", "<i8"), ("json", "<i8")),  # where they begin in the archive; 0 is nowhere
        *(("image_size", "<u4"), ("txt_size", "<u4"), ("json_size", "<u4")),
        *(("target", "<i4"), ("folder", "<i4"), ("name", "<u8")),  # numbers of both, and a hash of the whole name
        *(("captions", "<u2"), ("shard", "<u2")),
    ]
)

Rows = NDArray[np.void]


def identity(path: Path) -> str:
    """What identifies a shard's content without reading it."""
    status = path.stat()
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


class ShardIndex(NamedTuple):
    """`rows` of the samples, `labels` for the numbers of their classes and `folders` for those of their folders.

    `broken` are the samples left out, as (name, reason); `passed` says what files were passed over, and how many.
    """

    rows: Rows
    labels: list[str]
    folders: list[str]
    broken: list[tuple[str, str]]
    passed: list[tuple[str, int, list[str], bool]]


def shard_index(path: Path) -> ShardIndex:
    """The index of a shard, made now or before.

    Raises:
        UsageError: it is no tar file, or is cut off.
        RunError: it cannot be read.
    """
    with reading(path):
        kept = _CACHE.path(f"{_VERSION} {identity(path)}", ".npz")
        found = intact(_kept, kept)
        if found is not None:
            return found
        index = _scanned(path)
    about = json.dumps(index._asdict() | {"rows": None})
    _CACHE.write(kept, lambda temporary: save_arrays(temporary, rows=index.rows, about=np.array(about)))
    return index


def _kept(path: Path) -> ShardIndex | None:
    with np.load(path, allow_pickle=False) as found:
        rows, about = found["rows"], json.loads(str(found["about"]))
    broken = [(name, reason) for name, reason in about["broken"]]
    passed = [(reason, count, names, warn) for reason, count, names, warn in about["passed"]]
    return ShardIndex(rows, about["labels"], about["folders"], broken, passed) if rows.dtype == _ROW else None


def _scanned(path: Path) -> ShardIndex:
    passed = PassedOver()
    try:
        found = samples(path, passed)
    except Sparse as error:
        raise UsageError(
            f"{path}: {error} is stored as a sparse file, which is not read", hint="pack it without --sparse"
        ) from error
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise UsageError(
            f"{path}: is no whole tar file ({error})", hint="is it compressed, or still being written?"
        ) from error
    rows: list[tuple[int, ...]] = []
    labels: dict[str, int] = {}
    folders: dict[str, int] = {}
    broken: list[tuple[str, str]] = []
    with path.open("rb") as stream:
        for sample in found:
            reason, entry = _looked_at(stream, sample)
            if reason:
                broken.append((sample.image.name, reason))
                continue
            target = labels.setdefault(entry.label, len(labels)) if entry.label else -1
            folder = folders.setdefault(posixpath.dirname(sample.image.name), len(folders))
            places = [sample.image, *map(sample.beside.get, TEXTS)]
            offsets, sizes = zip(*((place.offset, place.size) if place else (0, 0) for place in places), strict=True)
            name = name_hash(f"{path.name}/{sample.image.name}")
            rows.append((*offsets, *sizes, target, folder, name, min(len(entry.captions), 2**16 - 1), 0))
    return ShardIndex(np.array(rows, dtype=_ROW), list(labels), list(folders), broken, passed.entries())


def _looked_at(stream: IO[bytes], sample: Sample) -> tuple[str, Entry]:
    """Why a sample is left out, "" if it is not, and what the files beside its image say."""
    try:
        entry = said({kind: _content(stream, place) for kind, place in sample.beside.items()})
    except (ValueError, TypeError, RecursionError):
        return "with JSON that cannot be understood", Entry()
    image = io.BufferedReader(_Part(stream, sample.image))
    return "" if is_readable(image, whole=False) else "unreadable", entry


class _Part(io.RawIOBase):
    """A part of a file, read as if it were one itself."""

    def __init__(self, stream: IO[bytes], place: Place) -> None:
        self._stream, self._place, self._at = stream, place, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._place.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._stream.seek(self._place.offset + self._at)
        wanted = max(0, min(len(buffer), self._place.size - self._at))
        data = self._stream.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _content(stream: IO[bytes], place: Place) -> bytes:
    stream.seek(place.offset)
    return stream.read(place.size)


def said(texts: dict[str, bytes]) -> Entry:
    """What the files beside an image say, by their kinds. Raises ValueError or TypeError for JSON that is none."""
    entry = Entry(captions_in(texts.get("txt", b"")))
    if "json" in texts:
        entry += entry_of(json.loads(texts["json"]))
    return entry + Entry(label=decoded(texts.get("cls", b""), "replace").strip())


@dataclass(frozen=True, eq=False, kw_only=True)
class ShardSource(TableSource):
    """The images of tar shards; `rows` say where they are."""

    paths: tuple[Path, ...]

    def has_caption(self, index: int) -> bool:
        return bool(self.rows[index]["captions"])

    def captions_of(self, index: int) -> tuple[str, ...]:
        return said({kind: self._read(index, kind) for kind in TEXTS if self.rows[index][kind]}).captions

    def opened(self, index: int) -> AbstractContextManager[IO[bytes]]:
        return io.BytesIO(self._read(index, "image"))

    def called(self, index: int) -> str:
        path, place = self.paths[self.rows[index]["shard"]], int(self.rows[index]["image"])
        try:
            with path.open("rb") as stream:
                stream.seek(place - tarfile.BLOCKSIZE)
                header = tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "replace")
        except (OSError, tarfile.TarError):
            return f"{path}, at byte {place:,}"
        return f"{path}: {header.name}"

    def states(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        times = np.array([path.stat().st_mtime_ns for path in self.paths], dtype=np.int64)
        return self.rows["image_size"].astype(np.uint64), times[self.rows["shard"]]

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.size}:{self.flip}:{self.crop}{beside_white(self.background)}".encode())
        for path in self.paths:
            digest.update(f"{identity(path)}\n".encode())
        digest.update(self.rows.tobytes())
        return f"shards:{digest.hexdigest()}"

    def _read(self, index: int, kind: str) -> bytes:
        row = self.rows[index]
        return self._content(self.paths[row["shard"]], row, kind)


def open_shards(where: str, paths: list[Path], size: int, *, captions: bool, check: Check | None) -> ShardSource:
    """The images of tar files, with captions instead of classes if these are asked for.

    Raises:
        UsageError: one is no tar file or is cut off, there are no images, or only some of them have a class.
    """
    parts: list[Rows] = []
    left_out, passed, labels, folders = PassedOver(), PassedOver(), dict[str, int](), dict[str, int]()
    with progress_bar(len(paths), "reading shards") as bar:
        for number, path in enumerate(paths):
            index = shard_index(path)
            for name, reason in index.broken:
                left_out.add(reason, f"{path}: {name}")
            passed.add_entries(index.passed, prefix=f"{path.name}: " if len(paths) > 1 else "")
            rows = index.rows
            for field, names, known in (("target", index.labels, labels), ("folder", index.folders, folders)):
                numbers = np.array([known.setdefault(name, len(known)) for name in names] or [-1], dtype=np.int32)
                rows[field] = np.where(rows[field] < 0, -1, numbers[rows[field]])
            rows["shard"] = number
            parts.append(rows)
            bar.advance()
    passed.report(where)
    rows = np.concatenate(parts)
    if not len(rows) and not left_out.count:
        raise UsageError(f"{where}: holds no images", hint=f"looked for {', '.join(IMAGE_SUFFIXES)}")
    classes: tuple[str, ...] = ()
    if not captions:
        classes = _by_name(where, rows, labels) if labels else _by_folder(where, rows, folders)
    source = ShardSource(paths=tuple(paths), rows=rows, labels=classes, size=size)
    return usable(source, where, captions=captions, check="images" if check == "images" else None, left_out=left_out)


def _by_name(where: str, rows: Rows, labels: dict[str, int]) -> tuple[str, ...]:
    """The classes that files beside the images name, in order; the rows' targets become their numbers in it."""
    few = int((rows["target"] < 0).sum())
    if few:
        raise UsageError(f"{where}: {few:,} of {len(rows):,} images have no class, while others have one")
    return _numbered(rows, "target", [plain_label(label) for label in labels])


def _by_folder(where: str, rows: Rows, folders: dict[str, int]) -> tuple[str, ...]:
    """The classes that folders are: the topmost in which not all images lie."""
    if len(folders) < 2:
        return ()
    parts = [folder.split("/") if folder else [] for folder in folders]
    shared = posixpath.commonpath(list(folders))
    above = len(shared.split("/")) if shared else 0
    if any(len(each) == above for each in parts):
        console.warn(f"{where}: the folders in it are no classes, since images lie beside them too")
        return ()
    return _numbered(rows, "folder", [plain_label(each[above]) for each in parts])


def _numbered(rows: Rows, field: str, names: list[str]) -> tuple[str, ...]:
    """The names in order, each once; the rows' targets become the places of those that `field` has the numbers of."""
    labels = sorted_labels(names)
    places = {label: place for place, label in enumerate(labels)}
    rows["target"] = np.array([places[name] for name in names], dtype=np.int32)[rows[field]]
    return labels
