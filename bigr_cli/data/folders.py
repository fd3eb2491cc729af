"""A folder of images, with classes or captions, and data sets of the hub, which come into one.

Those are hf://datasets/OWNER/NAME[@REVISION][/SPLIT]; the hub's own cache keeps them.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from bigr_cli import console
from bigr_cli.data.captions import Listing, TextsBeside, plain_label, read_listing, sorted_labels
from bigr_cli.data.file_source import Check, FileSource, usable
from bigr_cli.data.images import open_file
from bigr_cli.errors import RunError, UsageError
from bigr_cli.file_names import expanded, name_hash
from bigr_cli.file_tree import IMAGE_SUFFIXES, image_tree
from bigr_cli.files import reading
from bigr_cli.plain_text import WHITE, Background, beside_white


@dataclass(frozen=True)
class FolderSource(FileSource):
    """The images of a folder; classes are its subfolders, if it has any."""

    root: Path
    files: tuple[str, ...]
    targets: tuple[int, ...]
    labels: tuple[str, ...]
    size: int
    flip: bool = False
    crop: float = 1.0
    background: Background = WHITE
    captions: tuple[tuple[str, ...], ...] = ()  # of each file, or empty

    def __len__(self) -> int:
        return len(self.files)

    def label(self, index: int) -> int:
        return self.targets[index]

    def captions_of(self, index: int) -> tuple[str, ...]:
        return self.captions[index] if self.captions else ()

    def opened(self, index: int) -> AbstractContextManager[IO[bytes]]:
        return open_file(self.root / self.files[index])

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

    def name_hashes(self) -> NDArray[np.uint64]:
        return np.array([name_hash(name) for name in self.files], dtype=np.uint64)

    def states(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        found = [(self.root / name).stat() for name in self.files]
        sizes = np.array([status.st_size for status in found], dtype=np.uint64)
        return sizes, np.array([status.st_mtime_ns for status in found], dtype=np.int64)

    def relabelled(self, labels: tuple[str, ...]) -> FolderSource:
        numbers = {label: number for number, label in enumerate(labels)}
        targets = tuple(numbers[self.labels[target]] if labels else 0 for target in self.targets)
        return replace(self, labels=labels, targets=targets)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.size}:{self.flip}:{self.crop}{beside_white(self.background)}".encode())
        for name in self.files:
            status = (self.root / name).stat()
            digest.update(os.fsencode(f"{name}:{status.st_size}:{status.st_mtime_ns}\n"))
        return f"folder:{digest.hexdigest()}"


def open_folder(where: str, size: int, *, captions: bool, check: Check | None) -> FolderSource:
    """The images of a folder, with captions instead of classes if these are asked for.

    Images that cannot be read are left out where captions are asked for, or where all are to be read. Files that are
    no images, and folders without any, are counted and named.

    Raises:
        UsageError: the folder is not there or holds no images, or only some of them have a class.
    """
    root = expanded(where)
    with reading(where, UsageError):
        there = root.is_dir()
    if not there:
        hint = 'expected a folder of images, a pattern for tar files, or "scenes"'
        what = "is a file, not a folder of images" if root.is_file() else "no such folder"
        raise UsageError(f"{where}: {what}", hint=hint)
    tree = image_tree(root)
    files = tuple(sorted(tree.files))  # by which runs that go on know them
    listing = read_listing(root, tree.others)
    if not files:
        tree.report(where)
        raise UsageError(f"{where}: holds no images", hint=f"looked for {', '.join(IMAGE_SUFFIXES)}")
    if captions:
        _warn_of_strangers(root, listing, files)
        beside = TextsBeside(root, tree.others)
        said = tuple(tuple(dict.fromkeys(listing[name].captions + beside(name, tree.passed))) for name in files)
        tree.report(where, used={*listing.files, *beside.used})
        source = FolderSource(root, files, (0,) * len(files), (), size, captions=said)
        return usable(source, where, captions=True, check=check)
    tree.report(where, used=set(listing.files))
    targets, labels = _classes(where, files, listing)
    source = FolderSource(root, files, targets, labels, size)
    return usable(source, where, captions=False, check=check) if check == "images" else source


def _classes(where: str, files: tuple[str, ...], listing: Listing) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The class of each file, and the classes' labels: as the listing says, or else the folder below the one given."""
    names = [plain_label(listing[file].label or (file.split("/")[0] if "/" in file else "")) for file in files]
    if not any(names):
        return (0,) * len(files), ()
    if "" in names:
        stray, other = files[names.index("")], next(file for file, name in zip(files, names, strict=True) if name)
        hint = "subfolders are classes: put each image into one, or all into one folder without any"
        raise UsageError(f"{where}: {stray} has no class, while {other} has one", hint=hint)
    for file, name in zip(files, names, strict=True):
        if not name.strip():
            raise UsageError(
                f"{where}: {file} is in the class {name!r}, a blank name", hint="rename its folder or label"
            )
    labels = sorted_labels(names)
    numbers = {label: number for number, label in enumerate(labels)}
    return tuple(numbers[name] for name in names), labels


def _warn_of_strangers(root: Path, listing: Listing, files: tuple[str, ...]) -> None:
    strangers = sorted(set(listing.entries).difference(listing.key(name) or "" for name in files))
    if strangers:
        some = ", ".join(strangers[:3]) + (", …" if len(strangers) > 3 else "")
        listed = ", ".join(str(root / name) for name in listing.files)
        console.warn(f"{listed}: {len(strangers):,} of its files are no images here ({some})")


PREFIX = "hf://"
_ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@([^/@]+))?(?:/([\w.-]+))?/?")
_KINDS = (".parquet", ".tar", ".zip", ".gz", ".npz", ".jsonl", ".csv", ".txt", ".caption")


def is_hub_address(where: str) -> bool:
    """Whether it is an address of the hub."""
    return where.startswith(PREFIX)


def downloaded(where: str) -> Path:
    """A folder with the files of a data set, or of one split of it.

    Raises:
        UsageError: no address of a data set, or there is no such data set, revision or split.
        RunError: the hub cannot be reached, or the disk is full.
    """
    found = _ADDRESS.fullmatch(where)
    if found is None:
        raise UsageError(f"{where}: expected hf://datasets/OWNER/NAME, then @REVISION and /SPLIT if need be")
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, revision, split = found.groups()
    try:
        patterns = None
        if split is not None:
            names = HfApi().list_repo_files(repository, revision=revision, repo_type="dataset")
            patterns = of_split(names, split)
            if not patterns:
                raise UsageError(f"{where}: has no split {split!r}", hint=f"there are: {', '.join(splits(names))}")
        console.say(f"fetching {where}; what is in the hub's cache already is not fetched again", once=True)
        folder = snapshot_download(repository, revision=revision, repo_type="dataset", allow_patterns=patterns)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise UsageError(f"{where}: there is no such data set or revision, or it is not public") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise RunError(f"{where}: is not in the hub's cache, and the hub cannot be reached") from error
    except (HfHubHTTPError, OSError) as error:
        raise RunError(f"{where}: cannot be fetched: {str(error).splitlines()[0]}") from error
    return Path(folder)


def of_split(names: list[str], split: str) -> list[str]:
    """The files of a split: in a folder of its name, or that begin with it, as `data/train-00000-of-00002.parquet`."""
    found = []
    for name in names:
        *folders, file = name.split("/")
        if split in folders or re.match(rf"{re.escape(split)}([-_.]|$)", file):
            found.append(name)
    return found


def splits(names: list[str]) -> list[str]:
    """The splits that files are named by."""
    found = [re.match(r"(?:.*/)?([A-Za-z]+)[-_.].*parquet$", name) for name in names]
    return sorted({each[1] for each in found if each}) or ["none that can be told by names"]
