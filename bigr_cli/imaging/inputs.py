"""Which images a command works on: files, folders, glob patterns, stdin, or a list of jobs."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bigr_cli.errors import ImageError, UsageError, nearest
from bigr_cli.file_names import expanded, irregular, is_pattern
from bigr_cli.file_tree import IMAGE_SUFFIXES, Tree, image_tree, matching_tree
from bigr_cli.files import reason_of
from bigr_cli.plain_text import decoded

STDIN = "-"
LARGEST_MANIFEST = 100_000_000  # bytes
_COMPARED = 1_000  # names of a folder that one that is not there is compared with


@dataclass(frozen=True)
class Input:
    """An image to work on.

    Attributes:
        path: the file; None is stdin.
        folder: where it lies below the folder, or the fixed part of the pattern, that it was found in.
        named: whether it was named itself, and not found in a folder or by a pattern.
    """

    path: Path | None
    folder: Path = field(default_factory=Path)
    named: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        """What messages call it."""
        return "stdin" if self.path is None else str(self.path)

    @property
    def stem(self) -> str:
        """The file's name without its suffix."""
        return "stdin" if self.path is None else self.path.stem


def find_inputs(
    words: Sequence[str],
    *,
    recursive: bool | None = False,
    exclude: Collection[Path] = (),
    empty: bool = False,
    missing: bool = False,
    heard: set[str] | None = None,
) -> list[Input]:
    """The images that these words stand for, each once, in the order of the words; says what is passed over.

    Args:
        words: files, folders, patterns such as "photos/**/*.png" that no file is called by, or "-" for stdin. Of
            folders and patterns the images are taken, by suffix and in natural order, 2 before 10; hidden ones
            are not.
        recursive: take the images in folders within folders as well; None takes them if there are no others.
        exclude: resolved folders that are not gone into, such as one for output.
        empty: whether folders and patterns may have no images (yet).
        missing: whether a single word may be a file that is not there, as one of several may.
        heard: what was said before, and is not said again; grows.

    Raises:
        UsageError: a folder or a pattern without images, a folder that cannot be read, or a single word that no
            file is called by. Among several words a missing file is in the result, so that the rest can be done.
    """
    found: dict[str, Input] = {}
    for word in words:
        for entry in _found(word, recursive=recursive, exclude=exclude, empty=empty, heard=heard):
            found.setdefault(_identity(entry), entry)
    only = found[next(iter(found))].path if len(words) == 1 and len(found) == 1 else None
    if only is not None and not os.path.exists(only):
        if missing:
            return list(found.values())
        raise UsageError(f"{only}: there is no such file", hint=_hint_about(str(words[0])))
    if only is not None and (what := irregular(only)):
        raise UsageError(f"{only}: is {what}, not a file", hint="- reads an image from stdin")
    return list(found.values())


def _hint_about(word: str) -> str:
    """What to do where a word is no file."""
    if "://" in word:
        return "files only are read: download it first, for example: curl -L URL -o image.png"
    folder = Path(word).parent
    if not folder.is_dir():
        return f"there is no folder {folder} either"
    near = nearest(
        Path(word).name, [path.name for path in itertools.islice(folder.iterdir(), _COMPARED)], 2, cutoff=0.7
    )
    return f"did you mean {' or '.join(near)}?" if near else "bigr reads files, folders, patterns, and - for stdin"


def refuse_data_set(word: str) -> None:
    """Raise UsageError for images in tables, arrays or tar files, or on the hub: here they are files of their own."""
    if word.lower().endswith(IMAGE_SUFFIXES):
        return
    from bigr_cli.data.sources import find_data_set

    if (found := find_data_set(word)) is None:
        return
    hint = "write them into a folder first; embed, classify, search, evaluate, info and train read them as they are"
    if found.folder is not None:
        hint = f"name their folder: {found.folder}"
    raise UsageError(f"{word}: holds images as {found.kind}, and here files of images are worked on", hint=hint)


def read_stdin() -> bytes:
    """All that comes from stdin; ImageError if it is a terminal."""
    if sys.stdin.isatty():
        raise ImageError("stdin is a terminal, from which no image comes", hint="for example: bigr ... - < scene.png")
    return sys.stdin.buffer.read()


def read_manifest(path: Path) -> list[tuple[int, dict[str, object]]]:
    """The jobs in a file of JSON Lines, each with the number of its line.

    Raises:
        UsageError: it cannot be read, is larger than `LARGEST_MANIFEST`, is no text, or a line is no JSON object.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_MANIFEST + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {reason_of(error)}") from error
    if len(data) > LARGEST_MANIFEST:
        raise UsageError(f"{path}: is larger than {LARGEST_MANIFEST // 1_000_000} MB", hint="split it")
    try:
        text = decoded(data)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: is not {error.encoding.upper()}") from error
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
            reason = "nested too deeply" if isinstance(error, RecursionError) else reason_of(error)
            hint = 'a job a line, such as {"image": "a.png", "seed": 1}'
            raise UsageError(f"{source}, line {number}: is not JSON ({reason})", hint=hint) from error
        if not isinstance(job, dict):
            raise UsageError(f"{source}, line {number}: expected a JSON object, got {line.strip()[:40]}")
        jobs.append((number, job))
    return jobs


def _found(
    word: str, *, recursive: bool | None, exclude: Collection[Path], empty: bool, heard: set[str] | None
) -> list[Input]:
    if word == STDIN:
        return [Input(None)]
    if not word:
        raise UsageError("expected a file, a folder, a pattern or -, got nothing")
    path = expanded(word)
    if os.path.isdir(path):
        tree = image_tree(path, recursive=bool(recursive), exclude=exclude)
        if not tree.files and not recursive:
            tree = _deeper(path, tree, exclude, wanted=recursive is None)
    elif is_pattern(word) and not os.path.lexists(path):
        refuse_data_set(word)
        tree = matching_tree(path, exclude=exclude)
    else:
        refuse_data_set(word)
        return [Input(path, named=True)]
    if not tree.files and not empty:
        refuse_data_set(word)
    if tree.files or not empty:
        tree.report(word, heard=heard)
    if not tree.files and not empty:
        what = "there are no images in this folder" if os.path.isdir(path) else "no images fit this pattern"
        raise UsageError(f"{path}: {what}", hint=f"images end with {', '.join(IMAGE_SUFFIXES)}")
    return [Input(tree.root / name, Path(name).parent) for name in tree.files]


def _deeper(folder: Path, tree: Tree, exclude: Collection[Path], *, wanted: bool) -> Tree:
    """What the folders in a folder hold that has no images itself."""
    deeper = image_tree(folder, exclude=exclude)
    if deeper.files and not wanted:
        hint = "--recursive takes those in its subfolders"
        raise UsageError(f"{folder}: there are no images in this folder", hint=hint)
    return deeper if deeper.files else tree


def _identity(entry: Input) -> str:
    if entry.path is None:
        return STDIN
    try:
        return os.path.realpath(entry.path)
    except (OSError, ValueError):  # a name that no file can have
        return os.path.abspath(entry.path)


def _no_constant(name: str) -> float:
    raise ValueError(f"there is no {name} in JSON")
