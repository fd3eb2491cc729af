"""Where the images of a tar shard are, and their texts: read off its headers once, and kept in the cache folder."""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bigr_cli.cache import Cache, intact, save_arrays
from bigr_cli.data.captions import Entry, captions_in, entry_of
from bigr_cli.data.file_source import is_readable
from bigr_cli.data.tar_members import TEXTS, Place, Sample, Sparse, samples
from bigr_cli.errors import UsageError
from bigr_cli.file_names import name_hash
from bigr_cli.files import reading
from bigr_cli.passed_over import PassedOver
from bigr_cli.text_files import decoded

_CACHE = Cache("shards", "what a tar shard holds")
_VERSION = 3  # of the files in the cache
_ROW = np.dtype(
    [
        *(("picture", "<i8"), ("txt", "<i8"), ("json", "<i8")),  # where they begin in the archive; 0 is nowhere
        *(("picture_size", "<u4"), ("txt_size", "<u4"), ("json_size", "<u4")),
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
    _CACHE.write(kept, lambda hidden: save_arrays(hidden, rows=index.rows, about=np.array(about)))
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
