"""Where the pictures of a tar shard are, and their texts: read off its headers once, and kept in the cache folder."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bigr_cli import console
from bigr_cli.data.captions import Entry, captions_in, entry_of
from bigr_cli.data.pictures import is_readable
from bigr_cli.errors import RunError, UsageError
from bigr_cli.files import cache_file
from bigr_cli.home import cache_dir
from bigr_cli.imaging.files import KINDS

_VERSION = 1  # of the files in the cache
TEXTS = ("txt", "json")
_WORDS = (*TEXTS, "cls")
_ROW = np.dtype(
    [
        *(("picture", "<i8"), ("txt", "<i8"), ("json", "<i8")),  # where they begin in the archive; 0 is nowhere
        *(("picture_size", "<u4"), ("txt_size", "<u4"), ("json_size", "<u4")),
        *(("target", "<i4"), ("captions", "<u2"), ("shard", "<u2")),
    ]
)

Rows = NDArray[np.void]


def identity(path: Path) -> str:
    """What identifies a shard's content without reading it."""
    status = path.stat()
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


class ShardIndex(NamedTuple):
    """`rows` of the samples, `labels` for the numbers of their classes, (name, reason) of the `broken` samples."""

    rows: Rows
    labels: list[str]
    broken: list[tuple[str, str]]


def shard_index(path: Path) -> ShardIndex:
    """The index of a shard, made now or before.

    Raises:
        UsageError: it is no tar file, or is cut off.
        RunError: it cannot be read.
    """
    try:
        name = hashlib.sha256(f"{_VERSION} {identity(path)}".encode()).hexdigest()[:32]
        kept = cache_dir() / "shards" / f"{name}.npz"
        found = _kept(kept)
        if found is not None:
            return found
        index = _scanned(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from error
    about = json.dumps({"labels": index.labels, "broken": index.broken})
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with cache_file(kept) as hidden, hidden.open("wb") as stream:
            np.savez(stream, rows=index.rows, about=np.array(about))
    except OSError as error:
        console.warn(f"{kept}: cannot be kept: {error.strerror or error}")
    return index


def _kept(path: Path) -> ShardIndex | None:
    try:
        with np.load(path, allow_pickle=False) as found:
            rows, about = found["rows"], json.loads(str(found["about"]))
            broken = [(name, reason) for name, reason in about["broken"]]
            return ShardIndex(rows, about["labels"], broken) if rows.dtype == _ROW else None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _scanned(path: Path) -> ShardIndex:
    rows: list[tuple[int, ...]] = []
    labels: dict[str, int] = {}
    broken: list[tuple[str, str]] = []
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="replace") as archive:
            for sample in _samples(archive):
                picture = next((member for kind, member in sample.items() if f".{kind}" in KINDS), None)
                if picture is None:
                    continue
                try:
                    entry = said({kind: _content(archive, sample[kind]) for kind in _WORDS if kind in sample})
                except (ValueError, TypeError, RecursionError):
                    broken.append((picture.name, "with JSON that cannot be understood"))
                    continue
                if not _is_picture(archive, picture):
                    broken.append((picture.name, "unreadable"))
                    continue
                target = labels.setdefault(entry.label, len(labels)) if entry.label else -1
                members = [picture, *map(sample.get, TEXTS)]
                places = [(member.offset_data, member.size) if member else (0, 0) for member in members]
                offsets, sizes = zip(*places, strict=True)
                rows.append((*offsets, *sizes, target, min(len(entry.captions), 2**16 - 1), 0))
            _check_end(archive, path)
    except (tarfile.TarError, EOFError) as error:
        raise UsageError(
            f"{path}: is no whole tar file ({error})", hint="is it compressed, or still being written?"
        ) from error
    return ShardIndex(np.array(rows, dtype=_ROW), list(labels), broken)


def _samples(archive: tarfile.TarFile) -> Iterator[dict[str, tarfile.TarInfo]]:
    """The files of each sample, by what follows the first dot of their names."""
    key, sample = "", dict[str, tarfile.TarInfo]()
    while (member := archive.next()) is not None:
        cast(Any, archive).members.clear()  # which would hold them all
        folder, _, name = member.name.rpartition("/")
        stem, _, kind = name.partition(".")
        if not member.isreg() or not stem:
            continue
        kind = kind.lower()
        if f"{folder}/{stem}" != key or kind in sample:
            yield sample
            key, sample = f"{folder}/{stem}", {}
        sample[kind] = member
    yield sample


def _check_end(archive: tarfile.TarFile, path: Path) -> None:
    """Raise ReadError if the archive goes on in a way that is none: tarfile takes that for its end."""
    with path.open("rb") as stream:
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"damaged at byte {archive.offset:,}")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return stream.read() if stream else b""


def _is_picture(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    stream = archive.extractfile(member)
    return stream is not None and is_readable(stream, whole=False)


def said(texts: dict[str, bytes]) -> Entry:
    """What the files beside a picture say, by their kinds. Raises ValueError or TypeError for JSON that is none."""
    entry = Entry(captions_in(texts.get("txt", b"")))
    if "json" in texts:
        entry += entry_of(json.loads(texts["json"]))
    return entry + Entry(label=texts.get("cls", b"").decode("utf-8", "replace").strip())
