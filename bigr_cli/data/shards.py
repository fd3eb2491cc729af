"""Pictures in tar shards, as webdatasets have them: nothing is unpacked, and any picture can be read at any time.

Files of a sample follow each other in the archive and have the same name up to the first dot: `000123.jpg`,
`000123.txt`, `000123.json`, `000123.cls`. Where they are is read off once, see `shard_index`.
"""

from __future__ import annotations

import glob
import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from bigr_cli import console
from bigr_cli.data.pictures import Check, FileSource, LeftOut, usable
from bigr_cli.data.shard_index import TEXTS, Rows, identity, said, shard_index
from bigr_cli.errors import RunError, UsageError
from bigr_cli.imaging.files import KINDS

_MOST = 2**16  # shards


@dataclass(frozen=True, eq=False)
class ShardSource(FileSource):
    """The pictures of tar shards; `rows` say where they are."""

    paths: tuple[Path, ...]
    rows: Rows
    labels: tuple[str, ...]
    size: int
    flip: bool = False
    crop: float = 1.0

    def __len__(self) -> int:
        return len(self.rows)

    def label(self, index: int) -> int:
        return max(0, int(self.rows[index]["target"]))

    def has_caption(self, index: int) -> bool:
        return bool(self.rows[index]["captions"])

    def captions_of(self, index: int) -> tuple[str, ...]:
        return said({kind: self._read(index, kind) for kind in TEXTS if self.rows[index][kind]}).captions

    def opened(self, index: int) -> AbstractContextManager[IO[bytes]]:
        return io.BytesIO(self._read(index, "picture"))

    def called(self, index: int) -> str:
        path, place = self.paths[self.rows[index]["shard"]], int(self.rows[index]["picture"])
        try:
            with path.open("rb") as stream:
                stream.seek(place - tarfile.BLOCKSIZE)
                header = tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "replace")
        except (OSError, tarfile.TarError):
            return f"{path}, at byte {place:,}"
        return f"{path}: {header.name}"

    def take(self, indices: NDArray[np.int64], *, flip: bool = False, crop: float = 1.0) -> ShardSource:
        return replace(self, rows=self.rows[indices], flip=flip, crop=crop)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.size}:{self.flip}:{self.crop}".encode())
        for path in self.paths:
            digest.update(f"{identity(path)}\n".encode())
        digest.update(self.rows.tobytes())
        return f"shards:{digest.hexdigest()}"

    def _read(self, index: int, kind: str) -> bytes:
        row = self.rows[index]
        path = self.paths[row["shard"]]
        try:
            with path.open("rb") as stream:
                stream.seek(int(row[kind]))
                content: bytes = stream.read(int(row[f"{kind}_size"]))
                return content
        except OSError as error:
            raise RunError(f"{path}: cannot be read: {error.strerror or error}") from error


def find_shards(where: str) -> list[Path]:
    """The tar files that a pattern means, such as `DIR/*.tar` or `DIR/{000..009}.tar`; none if it means a folder.

    A folder of tar files without pictures or folders beside them means these.

    Raises:
        UsageError: there are none of a pattern, or not all that are written out.
    """
    root = Path(where)
    if root.is_dir():
        found = sorted(path for path in root.iterdir() if not path.name.startswith("."))
        if any(path.is_dir() or path.suffix.lower() in KINDS for path in found):
            return []
        return [path for path in found if path.suffix.lower() == ".tar"]
    if re.search(r"\.(tar\.|t)(gz|bz2|xz|zst)$", where):
        raise UsageError(f"{where}: compressed archives cannot be read at any place", hint="unpack them to plain .tar")
    if not where.lower().endswith(".tar"):
        return []
    paths: list[Path] = []
    for pattern in _expanded(where):
        found = sorted(map(Path, glob.glob(pattern))) if glob.has_magic(pattern) else [Path(pattern)]
        if not found:
            raise UsageError(f"{pattern}: no such files")
        paths += found
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise UsageError(f"{missing[0]}: no such file")
    if len(paths) > _MOST:
        raise UsageError(f"{where}: expected at most {_MOST} shards, got {len(paths)}")
    return list(dict.fromkeys(paths))


def _expanded(pattern: str) -> Iterator[str]:
    """A pattern for each choice in its braces: `{000..009}`, with leading zeros, or `{a,b}`."""
    found = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", pattern)
    if found is None:
        yield pattern
        return
    first, last, listed = found.groups()
    width = len(first or "") if (first or "").startswith("0") else 0
    numbers = range(int(first), int(last) + 1) if first else ()
    for choice in listed.split(",") if listed else [f"{number:0{width}}" for number in numbers]:
        yield from _expanded(pattern[: found.start()] + choice + pattern[found.end() :])


def open_shards(where: str, paths: list[Path], size: int, *, captions: bool, check: Check) -> ShardSource:
    """The pictures of tar files, with captions instead of classes if these are asked for.

    Raises:
        UsageError: one is no tar file or is cut off, there are no pictures, or only some of them have a class.
    """
    parts: list[Rows] = []
    left_out, labels = LeftOut(), dict[str, int]()
    with console.progress(len(paths), "reading shards") as bar:
        for number, path in enumerate(paths):
            rows, names, broken = shard_index(path)
            for name, reason in broken:
                left_out.add(reason, f"{path}: {name}".strip)
            numbers = np.array([labels.setdefault(name, len(labels)) for name in names] or [-1], dtype=np.int32)
            rows["target"] = np.where(rows["target"] < 0, -1, numbers[rows["target"]])
            rows["shard"] = number
            parts.append(rows)
            bar.advance()
    rows = np.concatenate(parts)
    if not len(rows) and not left_out.count:
        raise UsageError(f"{where}: holds no images", hint=f"looked for {', '.join(sorted(KINDS))}")
    source = ShardSource(tuple(paths), rows, () if captions else _sorted_labels(where, rows, labels), size)
    return usable(
        source, where, captions=captions, check="pictures" if check == "pictures" else None, left_out=left_out
    )


def _sorted_labels(where: str, rows: Rows, labels: dict[str, int]) -> tuple[str, ...]:
    """The classes' names in order, to which the rows' numbers are changed."""
    if not labels:
        return ()
    if (rows["target"] < 0).any():
        few = int((rows["target"] < 0).sum())
        raise UsageError(f"{where}: {few:,} of {len(rows):,} pictures have no class, while others have one")
    names = sorted(labels, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name))
    order = np.array([names.index(name) for name in labels], dtype=np.int32)
    rows["target"] = order[rows["target"]]
    return tuple(names)
