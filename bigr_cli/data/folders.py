"""A folder of pictures, with classes or captions."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from bigr_cli import console
from bigr_cli.data.captions import LISTING, Listing, captions_beside, read_listing
from bigr_cli.data.pictures import Check, FileSource, usable
from bigr_cli.errors import UsageError
from bigr_cli.imaging.files import KINDS


@dataclass(frozen=True)
class FolderSource(FileSource):
    """The pictures of a folder; classes are its subfolders, if it has any."""

    root: Path
    files: tuple[str, ...]
    targets: tuple[int, ...]
    labels: tuple[str, ...]
    size: int
    flip: bool = False
    crop: float = 1.0
    captions: tuple[tuple[str, ...], ...] = ()  # of each file, or empty

    def __len__(self) -> int:
        return len(self.files)

    def label(self, index: int) -> int:
        return self.targets[index]

    def captions_of(self, index: int) -> tuple[str, ...]:
        return self.captions[index] if self.captions else ()

    def opened(self, index: int) -> AbstractContextManager[IO[bytes]]:
        return (self.root / self.files[index]).open("rb")

    def called(self, index: int) -> str:
        return str(self.root / self.files[index])

    def take(self, indices: NDArray[np.int64], *, flip: bool = False, crop: float = 1.0) -> FolderSource:
        rows = indices.tolist()
        return replace(
            self,
            files=tuple(self.files[row] for row in rows),
            targets=tuple(self.targets[row] for row in rows),
            captions=tuple(self.captions[row] for row in rows) if self.captions else (),
            flip=flip,
            crop=crop,
        )

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.size}:{self.flip}:{self.crop}".encode())
        for name in self.files:
            status = (self.root / name).stat()
            digest.update(f"{name}:{status.st_size}:{status.st_mtime_ns}\n".encode())
        return f"folder:{digest.hexdigest()}"


def open_folder(where: str, size: int, *, captions: bool, check: Check) -> FolderSource:
    """The pictures of a folder, with captions instead of classes if these are asked for.

    Pictures that cannot be read are left out where captions are asked for, or where all are to be read.

    Raises:
        UsageError: the folder is not there or holds no pictures, or only some of them have a class.
    """
    root = Path(where)
    if not root.is_dir():
        hint = '--data takes a folder of pictures, a pattern for tar files, or "scenes"'
        raise UsageError(f"{where}: no such folder", hint=hint)
    files = tuple(sorted(_pictures(root)))
    if not files:
        raise UsageError(f"{where}: holds no pictures", hint=f"looked for {', '.join(sorted(KINDS))}")
    listing = read_listing(root)
    if captions:
        _warn_of_strangers(root, listing, files)
        said = tuple(tuple(dict.fromkeys(listing[name].captions + captions_beside(root / name))) for name in files)
        source = FolderSource(root, files, (0,) * len(files), (), size, captions=said)
        return usable(source, where, captions=True, check=check)
    names = [listing[name].label or (name.split("/")[0] if "/" in name else "") for name in files]
    labels = tuple(sorted(set(names))) if any(names) else ()
    if "" in labels:
        stray = files[names.index("")]
        raise UsageError(f"{where}: {stray} has no class, while {files[names.index(labels[1])]} has one")
    numbers = {label: number for number, label in enumerate(labels)}
    source = FolderSource(root, files, tuple(numbers.get(name, 0) for name in names), labels, size)
    return usable(source, where, captions=False, check=check) if check == "pictures" else source


def _pictures(root: Path) -> Iterable[str]:
    for folder, below, names in os.walk(root, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in KINDS:
                yield (Path(folder) / name).relative_to(root).as_posix()


def _warn_of_strangers(root: Path, listing: Listing, files: tuple[str, ...]) -> None:
    strangers = sorted(set(listing.entries).difference(files))
    if strangers:
        some = ", ".join(strangers[:3]) + (", …" if len(strangers) > 3 else "")
        console.warn(f"{root / LISTING}: {len(strangers):,} of its files are no pictures here ({some})")
