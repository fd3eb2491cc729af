"""The one path through folders: which images lie in a folder or fit a pattern, and a count of all that is left out.

Links are followed. A folder or a file that several links lead to is taken once, under its own name if it lies in the
tree itself, so loops end. Of names that differ only in how accents are composed (NFC, NFD), each finds the other.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from bigr_cli import console
from bigr_cli.errors import UsageError
from bigr_cli.file_names import is_pattern, is_temporary, natural_key, same_name

# Files that nobody expects to be taken for images: leaving them out deserves a word, but no warning.
_BESIDE = (
    *("", ".txt", ".json", ".jsonl", ".csv", ".tsv", ".md", ".rst", ".yaml", ".yml", ".xml", ".html", ".log"),
    *(".caption", ".py", ".sh", ".ini", ".db", ".part", ".cls", ".idx", ".sha256", ".md5"),
)
_NAMED = 3  # of each reason, in messages
# By these suffixes an image is recognised in folders and tar shards. What it really is shows when it is read.
IMAGE_SUFFIXES = (
    *(".png", ".apng", ".webp", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".tif", ".tiff", ".gif", ".bmp", ".dib"),
    *(".avif", ".avifs", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".ico"),
)


class PassedOver:
    """What is left out, and why: counted, with the first names of each reason."""

    def __init__(self) -> None:
        self._names: dict[tuple[bool, str], list[str]] = {}
        self._counts = Counter[tuple[bool, str]]()
        self._warned: set[tuple[bool, str]] = set()

    def add(self, reason: str, name: str | Callable[[], str], *, folder: bool = False, warn: bool = True) -> None:
        """`reason` completes "12 …"; a callable name is asked for only if it will be said."""
        key = (folder, reason)
        self._counts[key] += 1
        if warn:
            self._warned.add(key)
        names = self._names.setdefault(key, [])
        if len(names) < _NAMED:
            names.append(name() if callable(name) else name)

    def add_file(self, name: str) -> None:
        """A file that is hidden, or whose suffix is that of no image."""
        if os.path.basename(name).startswith("."):
            self.add("hidden", name, warn=False)
            return
        suffix = os.path.splitext(name)[1].lower()
        self.add(suffix or "without a suffix", name, warn=suffix not in _BESIDE)

    def entries(self) -> list[tuple[str, int, list[str], bool]]:
        """Of each reason how many files, the first names, and whether it is worth a warning."""
        return [
            (reason, count, self._names[folder, reason], (folder, reason) in self._warned)
            for (folder, reason), count in self._counts.items()
        ]

    def add_entries(self, entries: Iterable[tuple[str, int, list[str], bool]], prefix: str = "") -> None:
        """Count what `entries` gave elsewhere, with `prefix` before the names."""
        for reason, count, names, warn in entries:
            for name in names:
                self.add(reason, f"{prefix}{name}", warn=warn)
            self._counts[False, reason] += count - len(names)

    @property
    def count(self) -> int:
        """How much it is in all."""
        return self._counts.total()

    def __str__(self) -> str:
        """Such as "2 .tga (a.tga, b.tga), 1 hidden (.b.png); folders: 1 empty (c)"."""
        files, folders = (", ".join(self._parts(folder)) for folder in (False, True))
        return f"{files}; folders: {folders}" if files and folders else files or folders

    def _parts(self, wanted: bool) -> list[str]:
        parts = []
        for (folder, reason), count in self._counts.items():
            names = self._names[folder, reason]
            if folder is wanted:
                parts.append(f"{count:,} {reason} ({', '.join(names)}{', …' if count > len(names) else ''})")
        return parts

    def report(self, where: str, heard: set[str] | None = None) -> None:
        """Say what was passed over in `where`, if anything; what `heard` has is not repeated."""
        if not self.count:
            return
        folders = sum(count for (folder, _), count in self._counts.items() if folder)
        files = self.count - folders
        kinds = ((files, "file"), (folders, "folder"))
        counted = " and ".join(f"{number:,} {what}{'' if number == 1 else 's'}" for number, what in kinds if number)
        message, heard = f"{where}: {counted} passed over: {self}", set() if heard is None else heard
        if message not in heard:
            heard.add(message)
            (console.warn if self._warned else console.say)(message)


@dataclass
class Tree:
    """Images below `root`: `files` are their paths relative to it, with "/", in natural order, 2 before 10."""

    root: Path
    files: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # files that are no images
    passed: PassedOver = field(default_factory=PassedOver)  # without `others`

    def report(self, where: str, *, used: Collection[str] = (), heard: set[str] | None = None) -> None:
        """Say what was passed over in `where`: all but the files that are `used`; what `heard` has is not repeated."""
        for name in self.others:
            if name not in used:
                self.passed.add_file(name)
        self.others = []
        self.passed.report(where, heard)


def image_tree(root: Path, *, recursive: bool = True, exclude: Collection[Path] = ()) -> Tree:
    """The images in a folder, and in those below it.

    Args:
        root: the folder.
        recursive: go into the folders in it.
        exclude: resolved folders that are not gone into.

    Raises:
        UsageError: the folder cannot be read. One below it that cannot be read is passed over.
    """
    return _Walk(root, exclude, recursive=recursive).tree()


def matching_tree(pattern: Path, *, exclude: Collection[Path] = (), suffixes: Sequence[str] = IMAGE_SUFFIXES) -> Tree:
    """The images whose path fits a pattern; `**` stands for folders of any depth.

    Parts of the pattern that files or folders are called by stand for these.

    Raises:
        UsageError: the folder that the pattern begins with cannot be read.
    """
    base, rest = Path(), list(pattern.parts)
    while rest and (not is_pattern(rest[0]) or os.path.lexists(base / rest[0])):
        base /= rest.pop(0)
    if not rest:
        return Tree(base.parent, [base.name])
    if rest[-1] == "**":  # by itself it stands for folders only
        rest.append("*")
    if not base.is_dir():
        return Tree(base)
    return _Walk(base, exclude, recursive=True, pattern=tuple(rest), suffixes=suffixes).tree()


class _Walk:
    """One pass through a tree. What links lead to comes last, so that what lies in the tree keeps its own name."""

    def __init__(
        self,
        root: Path,
        exclude: Collection[Path],
        *,
        recursive: bool,
        pattern: tuple[str, ...] = (),
        suffixes: Sequence[str] = IMAGE_SUFFIXES,
    ) -> None:
        self._recursive, self._pattern, self._suffixes = recursive, pattern, suffixes
        self._tree = Tree(root)
        self._real = os.path.realpath(root)
        self._exclude = {os.fspath(path) for path in exclude}
        self._entered = {self._real}
        self._linked_folders: list[tuple[str, str]] = []  # (relative, real) of links to folders not gone into yet
        self._linked_files: list[tuple[str, str]] = []
        self._taken: list[tuple[str, str]] = []  # (relative, real) of images that are no links
        self._tops: set[str] = set()  # folders right below the root that were gone into

    def tree(self) -> Tree:
        self._descend("", self._real)
        while self._linked_folders:
            self._linked_folders.sort(key=lambda entry: _order(entry[0]), reverse=True)
            self._follow(*self._linked_folders.pop())
        files = {relative for relative, _ in self._taken}
        if self._linked_files:
            seen = {real for _, real in self._taken}
            for relative, real in sorted(self._linked_files, key=lambda entry: _order(entry[0])):
                if real in seen:
                    self._tree.passed.add("linked to an image that is taken", relative, warn=False)
                else:
                    seen.add(real)
                    files.add(relative)
        self._tree.files = sorted(files, key=_order)
        if not self._pattern:
            full = {relative.split("/", 1)[0] for relative in files if "/" in relative}
            for name in sorted(self._tops - full, key=natural_key):
                self._tree.passed.add("without images", name, folder=True)
        return self._tree

    def _descend(self, relative: str, real: str) -> None:
        waiting = [(relative, real)]
        while waiting:
            here, place = waiting.pop()
            try:
                with os.scandir(place) as found:
                    entries = sorted(found, key=lambda entry: natural_key(entry.name))
            except OSError as error:
                reason = error.strerror or str(error)
                if not here:
                    raise UsageError(f"{self._tree.root}: cannot be read: {reason}") from error
                self._tree.passed.add(f"that cannot be read: {reason}", here, folder=True)
                self._tops.discard(here)
                continue
            below = [(f"{here}/{entry.name}" if here else entry.name, entry) for entry in entries]
            waiting += reversed([(name, entry.path) for name, entry in below if self._look_at(entry, name)])

    def _look_at(self, entry: os.DirEntry[str], relative: str) -> bool:
        """Note an entry of a folder; whether it is a folder to go into."""
        try:
            link, folder = entry.is_symlink(), entry.is_dir()
            file = not folder and entry.is_file()
        except OSError:  # a link to itself
            link, folder, file = True, False, False
        if folder:
            return self._note_folder(entry, relative, link=link)
        if not self._fits(relative) or is_temporary(entry.name):
            return False
        passed = self._tree.passed
        image = os.path.splitext(entry.name)[1].lower() in self._suffixes
        if not file:
            passed.add("broken as links" if link else "that are pipes, sockets or devices", relative, warn=image)
        elif not image:
            self._tree.others.append(relative)
        elif entry.name.startswith("."):
            passed.add("hidden", relative, warn=False)
        elif link:
            self._linked_files.append((relative, os.path.realpath(entry.path)))
        else:
            self._taken.append((relative, entry.path))
        return False

    def _note_folder(self, entry: os.DirEntry[str], relative: str, *, link: bool) -> bool:
        passed, hidden = self._tree.passed, entry.name.startswith(".")
        if self._pattern and not _leads(relative.split("/"), self._pattern):
            if self._fits(relative) and not hidden:
                passed.add("whose files do not fit the pattern", relative, folder=True, warn=False)
            return False
        real = os.path.realpath(entry.path) if link else entry.path
        if real in self._exclude:
            return False
        if hidden or not self._recursive:
            passed.add("hidden" if hidden else "not gone into without --recursive", relative, folder=True, warn=False)
            return False
        if link:
            self._linked_folders.append((relative, real))
            return False
        return self._enter(relative, real)

    def _enter(self, relative: str, real: str) -> bool:
        if real in self._entered:
            self._tree.passed.add("linked to a folder that is taken", relative, folder=True, warn=False)
            return False
        self._entered.add(real)
        if "/" not in relative:
            self._tops.add(relative)
        return True

    def _follow(self, relative: str, real: str) -> None:
        if self._real == real or self._real.startswith(f"{real.rstrip('/')}/"):
            self._tree.passed.add("linking back up", relative, folder=True, warn=False)
        elif self._enter(relative, real):
            self._descend(relative, real)

    def _fits(self, relative: str) -> bool:
        return not self._pattern or _fits(relative.split("/"), self._pattern)


def _order(relative: str) -> tuple[list[tuple[int, object]], str]:
    """Files of a folder come before the folders in it."""
    *folders, name = relative.split("/")
    return [*((1, natural_key(folder)) for folder in folders), (0, natural_key(name))], relative


def _fits(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a path fits a pattern, part by part."""
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return _fits(parts, patterns[1:]) or (bool(parts) and _fits(parts[1:], patterns))
    return bool(parts) and _fits_one(parts[0], patterns[0]) and _fits(parts[1:], patterns[1:])


def _leads(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether there may be something in a folder that fits."""
    if not parts or not patterns or patterns[0] == "**":
        return bool(patterns)
    return _fits_one(parts[0], patterns[0]) and _leads(parts[1:], patterns[1:])


def _fits_one(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or (
        not pattern.isascii() and fnmatchcase(same_name(name), unicodedata.normalize("NFC", pattern))
    )
