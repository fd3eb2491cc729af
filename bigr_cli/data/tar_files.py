"""Tar files: which ones a word means, where each file in them is, and which of those make up a sample."""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from bigr_cli.data.captions import LARGEST_TEXT
from bigr_cli.errors import UsageError
from bigr_cli.file_names import expanded, irregular, is_pattern
from bigr_cli.file_tree import IMAGE_SUFFIXES, PassedOver, image_tree, matching_tree

TEXTS = ("txt", "json")
BESIDE = (*TEXTS, "cls")  # kinds of files that say something of an image
LARGEST_IMAGE = 2**30  # bytes

_MOST = 2**16  # tar files of a data set
_READ = 2**20
_LARGEST_HEADER = 2**20  # bytes of what comes before a file with a long name, or with other notes on it


@dataclass(frozen=True)
class Place:
    """A file in an archive: `size` bytes from byte `offset` on."""

    name: str
    offset: int
    size: int


@dataclass
class Sample:
    """An image, and what files beside it say of it, by their kinds."""

    image: Place
    beside: dict[str, Place] = field(default_factory=dict)


def samples(path: Path, passed: PassedOver) -> list[Sample]:
    """The samples of a tar archive, in the order of their images.

    Files of a sample have the same folder and the same name up to the first dot, wherever they are in the archive:
    `a/1.jpg`, `a/1.txt`, `a/1.cls`. Of several images with that name, one without a further dot in it is the sample's,
    and the others (`a/1.mask.png`) are passed over; if all have one (`a/2024.05.png`), each is a sample, with the files
    that have its name up to the last dot.

    Raises:
        UsageError: a file in it is sparse, or larger than is read.
        tarfile.TarError: it is no archive, or damaged.
    """
    groups: dict[str, list[Place]] = {}
    for place in _places(path, passed):
        folder, _, name = place.name.rpartition("/")
        groups.setdefault(posixpath.join(folder, name.split(".")[0]), []).append(place)
    found: list[Sample] = []
    for places in groups.values():
        found += _of_group(places, passed)
    return sorted(found, key=lambda sample: (sample.image.offset, sample.image.name))


def _of_group(places: list[Place], passed: PassedOver) -> Iterator[Sample]:
    images = [place for place in places if _suffix(place) in IMAGE_SUFFIXES]
    plain = [place for place in images if _dots(place) == 1]
    alone = len(places) == len(images)  # nothing is said of them: then it is a tree of images, not of samples
    taken = (plain if alone else plain[:1]) or images
    for place in places:
        if place in images and place not in taken:
            passed.add("further images of samples", place.name, warn=False)
        elif not images or (place not in images and _suffix(place)[1:] not in BESIDE):
            passed.add_file(place.name)
    for image in taken:
        sample = Sample(image)
        stem = posixpath.splitext(image.name)[0]
        for kind in BESIDE:
            said = [place for place in places if _suffix(place) == f".{kind}"]
            close = [place for place in said if posixpath.splitext(place.name)[0] == stem]
            whole = [place for place in said if _dots(place) == 1]
            chosen = (close or whole or (said if len(taken) == 1 else []))[-1:]
            if chosen:
                sample.beside[kind] = chosen[0]
        yield sample


def _dots(place: Place) -> int:
    return place.name.rpartition("/")[2].count(".")


def _suffix(place: Place) -> str:
    return posixpath.splitext(place.name)[1].lower()


def _places(path: Path, passed: PassedOver) -> Iterable[Place]:
    """The files in an archive, each name once: of several the last one, as unpacking leaves it."""
    found: dict[str, Place] = {}
    for member in _members(path, passed):
        name = posixpath.normpath(member.name).lstrip("/")
        hidden = next((part for part in name.split("/") if part[:1] == "." and part != ".."), None)
        if member.isdir():
            continue
        if hidden is not None:
            passed.add("hidden", name, warn=False)
        elif member.islnk():
            same = found.get(posixpath.normpath(member.linkname).lstrip("/"))
            if same is None:
                passed.add("linked to what is not in the archive before them", name)
            else:
                found[name] = Place(name, same.offset, same.size)
        elif member.issym():
            passed.add("symbolic links", name)
        elif not member.isreg():
            passed.add("that are pipes, sockets or devices", name)
        else:
            _check_size(path, name, member.size)
            if name in found:
                passed.add("replaced by later ones", name, warn=False)
            found[name] = Place(name, member.offset_data, member.size)
    return found.values()


def _members(path: Path, passed: PassedOver) -> Iterator[tarfile.TarInfo]:
    """What is in an archive, and in those that `cat` has put behind it, for whose sake tar has `--ignore-zeros`."""
    before = -1
    start: int | None = 0
    with path.open("rb") as stream:
        while start is not None:
            stream.seek(start)
            archive = tarfile.TarFile(fileobj=stream, encoding="utf-8", errors="surrogateescape", tarinfo=_Member)
            first: Any = vars(archive)["firstmember"]
            if start and first is None:
                passed.add("behind the end of the archive", f"from byte {start:,} on")
                return
            while (member := archive.next()) is not None:
                _forget(archive)
                if member.offset <= before or member.size < 0:
                    raise tarfile.ReadError(f"damaged at byte {member.offset:,}")
                before = member.offset
                yield member
            start = _next_start(stream, archive.offset)


def _forget(archive: tarfile.TarFile) -> None:
    members: Any = vars(archive)["members"]
    members.clear()  # which would hold them all


def _check_size(path: Path, name: str, size: int) -> None:
    suffix = posixpath.splitext(name)[1].lower()
    largest = LARGEST_IMAGE if suffix in IMAGE_SUFFIXES else LARGEST_TEXT if suffix[1:] in BESIDE else size
    if size > largest:
        raise UsageError(
            f"{path}: {name} has {size:,} bytes; at most {largest:,} are read of such a file",
            hint="leave it out of the archive",
        )


def _next_start(stream: BinaryIO, offset: int) -> int | None:
    """Where another archive begins behind the zeros that end one; None if nothing does.

    Raises ReadError if the archive goes on in a way that is none: tarfile takes that for its end.
    """
    stream.seek(offset)
    if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"damaged at byte {offset:,}")
    while block := stream.read(_READ):
        if rest := block.lstrip(b"\0"):
            return (stream.tell() - len(rest)) // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
    return None


class Sparse(tarfile.TarError):
    """A file is stored without its holes, so that its size says nothing about the archive's."""


class _Member(tarfile.TarInfo):
    """A header that is refused if it is of a sparse file, or claims to be longer than any honest one."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        kinds = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, *tarfile.GNU_TYPES)
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise Sparse(self.name)
        if self.type in kinds and not 0 <= self.size <= _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header at byte {self.offset:,} claims {self.size:,} bytes")
        super_class: Any = super()
        member: tarfile.TarInfo = super_class._proc_member(archive)
        if any(key.startswith("GNU.sparse.") for key in member.pax_headers):
            raise Sparse(member.name)
        return member

    def _proc_gnusparse_00(self, member: tarfile.TarInfo, *headers: Any) -> None:
        named = (each["GNU.sparse.name"] for each in headers if isinstance(each, dict) and "GNU.sparse.name" in each)
        raise Sparse(next(named, member.name))

    _proc_gnusparse_01 = _proc_gnusparse_10 = _proc_gnusparse_00


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
