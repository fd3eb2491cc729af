"""Which pictures a command works on: files, folders, glob patterns, stdin, or a list of jobs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bigr_cli.errors import ImageError, UsageError
from bigr_cli.imaging.files import KINDS
from bigr_cli.imaging.patterns import expanded

STDIN = "-"
LARGEST_MANIFEST = 100_000_000  # bytes

_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True)
class Input:
    """A picture to work on.

    Attributes:
        path: the file; None is stdin.
        folder: where it lies below the folder, or the fixed part of the pattern, that it was found in.
    """

    path: Path | None
    folder: Path = field(default_factory=Path)

    @property
    def name(self) -> str:
        """What messages call it."""
        return "stdin" if self.path is None else str(self.path)

    @property
    def stem(self) -> str:
        """The file's name without its suffix."""
        return "stdin" if self.path is None else self.path.stem


def find_inputs(
    words: Sequence[str], *, recursive: bool = False, exclude: Collection[Path] = (), empty: bool = False
) -> list[Input]:
    """The pictures that these words stand for, each once, in the order of the words.

    Args:
        words: files, folders, patterns such as "photos/**/*.png" that no file is called by, or "-" for stdin. Of
            folders and patterns the pictures are taken, by suffix and in natural order, 2 before 10; hidden ones
            are not.
        recursive: take the pictures in folders within folders as well.
        exclude: resolved folders that are not gone into, such as one for output.
        empty: whether folders and patterns may have no pictures (yet).

    Raises:
        UsageError: a folder or a pattern without pictures, a folder that cannot be read, or a single word that no
            file is called by. Among several words a missing file is in the result, so that the rest can be done.
    """
    found: dict[str, Input] = {}
    for word in words:
        for entry in _found(word, recursive=recursive, exclude=exclude, empty=empty):
            found.setdefault(_identity(entry), entry)
    only = found[next(iter(found))].path if len(words) == 1 and len(found) == 1 else None
    if only is not None and not os.path.exists(only):
        raise UsageError(f"{only}: there is no such file")
    return list(found.values())


def read_stdin() -> bytes:
    """All that comes from stdin; ImageError if it is a terminal."""
    if sys.stdin.isatty():
        raise ImageError("stdin is a terminal, from which no picture comes", hint="for example: bigr ... - < photo.png")
    return sys.stdin.buffer.read()


def read_manifest(path: Path) -> list[tuple[int, dict[str, object]]]:
    """The jobs in a file of JSON Lines, each with the number of its line.

    Raises:
        UsageError: it cannot be read, is larger than `LARGEST_MANIFEST`, not UTF-8, or a line is no JSON object.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_MANIFEST + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {_reason(error)}") from error
    if len(data) > LARGEST_MANIFEST:
        raise UsageError(f"{path}: is larger than {LARGEST_MANIFEST // 1_000_000} MB", hint="split it")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: is not UTF-8") from error
    return parse_manifest(text, source=str(path))


def parse_manifest(text: str, *, source: str) -> list[tuple[int, dict[str, object]]]:
    """As `read_manifest`, from text; `source` is what messages call it."""
    jobs = []
    # Not splitlines: a text in JSON may hold other characters that end lines, such as U+2028.
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            job = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{source}, line {number}: is not JSON ({_reason(error)})") from error
        if not isinstance(job, dict):
            raise UsageError(f"{source}, line {number}: expected a JSON object, got {line.strip()[:40]}")
        jobs.append((number, job))
    return jobs


def _found(word: str, *, recursive: bool, exclude: Collection[Path], empty: bool) -> list[Input]:
    if word == STDIN:
        return [Input(None)]
    if not word:
        raise UsageError("expected a file, a folder, a pattern or -, got nothing")
    path = expanded(word)
    if os.path.isdir(path):
        return _in_folder(path, recursive=recursive, exclude=exclude, empty=empty)
    if _MAGIC.search(word) and not os.path.lexists(path):
        return _matching(path, exclude, empty=empty)
    return [Input(path)]


def _in_folder(folder: Path, *, recursive: bool, exclude: Collection[Path], empty: bool) -> list[Input]:
    found = [Input(path, path.parent.relative_to(folder)) for path in _pictures(folder, recursive, exclude)]
    if not found and not empty:
        deeper = not recursive and next(_pictures(folder, True, exclude), None)
        hint = "--recursive takes those in its subfolders" if deeper else f"pictures end with {', '.join(KINDS)}"
        raise UsageError(f"{folder}: there are no pictures in this folder", hint=hint)
    return found


def _pictures(folder: Path, recursive: bool, exclude: Collection[Path]) -> Iterator[Path]:
    """Pictures in a folder and perhaps below; no folder twice, whatever links there are."""
    seen, waiting = set[str](), [folder]
    while waiting:
        here = waiting.pop()
        place = os.path.realpath(here)
        if place in seen:
            continue
        seen.add(place)
        try:
            names = sorted(os.listdir(here), key=_natural)
        except OSError as error:
            raise UsageError(f"{here}: cannot be read: {_reason(error)}") from error
        paths = [here / name for name in names if not name.startswith(".")]
        yield from (path for path in paths if _is_picture(path))
        if recursive:
            within = [path for path in paths if path.is_dir() and Path(os.path.realpath(path)) not in exclude]
            waiting += reversed(within)


def _matching(pattern: Path, exclude: Collection[Path], *, empty: bool) -> list[Input]:
    """Pictures whose path fits a pattern; `**` stands for folders of any depth, and does not follow links."""
    fixed = next(index for index, part in enumerate(pattern.parts) if _MAGIC.search(part))
    base, rest = Path(*pattern.parts[:fixed]), Path(*pattern.parts[fixed:])
    if rest.name == "**":  # by itself it stands for folders only
        rest /= "*"
    try:
        paths = {path for path in base.glob(str(rest)) if _is_picture(path)}
    except (OSError, ValueError, re.error) as error:
        raise UsageError(f"{pattern}: {_reason(error)}") from error
    found = []
    for path in sorted(paths, key=lambda path: [_natural(part) for part in path.parts]):
        folder = path.parent.relative_to(base)
        above = [base.joinpath(*folder.parts[: depth + 1]) for depth in range(len(folder.parts))]
        hidden = any(part.startswith(".") for part in (*folder.parts, path.name))
        if not hidden and not any(Path(os.path.realpath(place)) in exclude for place in above):
            found.append(Input(path, folder))
    if not found and not empty:
        raise UsageError(f"{pattern}: no pictures fit this pattern", hint=f"pictures end with {', '.join(KINDS)}")
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in KINDS and not path.is_dir()


def _identity(entry: Input) -> str:
    if entry.path is None:
        return STDIN
    try:
        return os.path.realpath(entry.path)
    except (OSError, ValueError):  # a name that no file can have
        return os.path.abspath(entry.path)


def _natural(name: str) -> tuple[list[str | int], str]:
    """A key to sort by in which 2 comes before 10, and capitals do not matter."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def _no_constant(name: str) -> float:
    raise ValueError(f"there is no {name} in JSON")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
