"""Images in tar shards, as webdatasets have them: nothing is unpacked, and any image can be read at any time.

Files of a sample have the same name up to the first dot: `000123.jpg`, `000123.txt`, `000123.json`, `000123.cls`. Where
they are is read off once, see `shard_index`. A tree of images that was packed as it is has a class for each folder.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from bigr_cli import console
from bigr_cli.colours import beside_white
from bigr_cli.data.file_source import Check, LeftOut, TableSource, usable
from bigr_cli.data.folders import plain_label, sorted_labels
from bigr_cli.data.shard_index import Rows, identity, said, shard_index
from bigr_cli.data.tar_members import TEXTS
from bigr_cli.errors import UsageError
from bigr_cli.file_names import expanded, irregular, is_pattern
from bigr_cli.file_tree import IMAGE_SUFFIXES, image_tree, matching_tree
from bigr_cli.passed_over import PassedOver

_MOST = 2**16  # shards


@dataclass(frozen=True, eq=False, kw_only=True)
class ShardSource(TableSource):
    """The images of tar shards; `rows` say where they are."""

    paths: tuple[Path, ...]

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

    def states(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        times = np.array([path.stat().st_mtime_ns for path in self.paths], dtype=np.int64)
        return self.rows["picture_size"].astype(np.uint64), times[self.rows["shard"]]

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.size}:{self.flip}:{self.crop}{beside_white(self.background)}".encode())
        for path in self.paths:
            digest.update(f"{identity(path)}\n".encode())
        digest.update(self.rows.tobytes())
        return f"shards:{digest.hexdigest()}"

    def _read(self, index: int, kind: str) -> bytes:
        row = self.rows[index]
        return self._content(self.paths[row["shard"]], row, kind)


def find_shards(where: str) -> list[Path]:
    """The tar files that a pattern means, such as `DIR/*.tar` or `DIR/{000..009}.tar`; none if it means a folder.

    A folder of tar files, or of folders of these, without any image means these. What is there under the very name,
    whatever brackets are in it, is no pattern.

    Raises:
        UsageError: there are none of a pattern, or not all that are written out.
    """
    root = expanded(where)
    if root.is_dir():
        tree = image_tree(root)
        shards = [name for name in tree.others if _is_shard(name)]
        if tree.files or not shards:
            return []
        tree.report(where, used=shards)
        return sorted(root / name for name in shards)
    if re.search(r"\.(tar\.|t)(gz|bz2|xz|zst)$", where):
        raise UsageError(f"{where}: compressed archives cannot be read at any place", hint="unpack them to plain .tar")
    if not where.lower().endswith(".tar"):
        return []
    paths = [root] if root.exists() else [path for pattern in _expanded(where) for path in _matching(pattern)]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        what = irregular(missing[0])
        raise UsageError(f"{missing[0]}: {f'is {what}, not a file' if what else 'no such file'}")
    if len(paths) > _MOST:
        raise UsageError(f"{where}: expected at most {_MOST} shards, got {len(paths)}")
    return list(dict.fromkeys(paths))


def _is_shard(name: str) -> bool:
    return name.lower().endswith(".tar") and not name.rpartition("/")[2].startswith(".")


def _matching(pattern: str) -> list[Path]:
    """The tar files that fit a pattern without braces."""
    path = expanded(pattern)
    if not is_pattern(pattern) or path.exists():
        return [path]
    tree = matching_tree(path, suffixes=(".tar",))
    tree.report(pattern)
    if not tree.files:
        raise UsageError(f"{pattern}: no such files")
    return sorted(tree.root / name for name in tree.files)


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


def open_shards(where: str, paths: list[Path], size: int, *, captions: bool, check: Check | None) -> ShardSource:
    """The images of tar files, with captions instead of classes if these are asked for.

    Raises:
        UsageError: one is no tar file or is cut off, there are no images, or only some of them have a class.
    """
    parts: list[Rows] = []
    left_out, passed, labels, folders = LeftOut(), PassedOver(), dict[str, int](), dict[str, int]()
    with console.progress(len(paths), "reading shards") as bar:
        for number, path in enumerate(paths):
            index = shard_index(path)
            for name, reason in index.broken:
                left_out.add(reason, f"{path}: {name}".strip)
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
    return usable(
        source, where, captions=captions, check="pictures" if check == "pictures" else None, left_out=left_out
    )


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
