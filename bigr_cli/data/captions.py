"""Captions and labels: from files that list the images of a folder, and from texts beside images."""

from __future__ import annotations

import csv
import io
import json
import os
import posixpath
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bigr_cli.errors import UsageError
from bigr_cli.file_names import natural_key, same_name
from bigr_cli.file_tree import PassedOver
from bigr_cli.files import reading
from bigr_cli.plain_text import decoded

LISTING = "captions.jsonl"
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")

csv.field_size_limit(2**24)

_FILE_KEYS = ("file", "file_name")
_TEXT_SUFFIXES = (".txt", ".caption")
_BYTES = re.compile("[\udc80-\udcff]")  # as which Python reads what is no UTF-8 in names of files
_SURROGATES = re.compile("[\ud800-\udfff]")
INSTALL = "pip install 'bigr-cli[data]', or with pipx: pipx inject bigr-cli pyarrow"
LARGEST_TEXT = 2**24  # bytes of a file of captions or of JSON beside an image


def plain_label(name: str) -> str:
    """A folder's name, or a text, as a label: accents composed, and `\\xe9` for a byte that is no UTF-8."""
    name = _BYTES.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", name)
    return same_name(_SURROGATES.sub("\ufffd", name))


def sorted_labels(names: Iterable[str]) -> tuple[str, ...]:
    """The classes in order, each once: as a person counts, 2 before 10, and capitals do not matter."""
    return tuple(sorted(set(names), key=natural_key))


def opened_table(path: Path) -> Any:
    """A `pyarrow.parquet.ParquetFile`. Raises UsageError if pyarrow is missing, or the file damaged."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(f"{path}: parquet files need pyarrow, which is not installed", hint=INSTALL) from error
    try:
        # Buffered ahead, all that was read of the file would stay in memory.
        return parquet.ParquetFile(path, pre_buffer=False)
    except pyarrow.ArrowException as error:
        raise UsageError(f"{path}: is no whole parquet file ({error})") from error


def listed_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """The rows of a listing by their numbers, from 1 on; a row that is no JSON is a ValueError in its place.

    Raises:
        UsageError: the file cannot be read.
    """
    if path.suffix == ".parquet":
        yield from enumerate(_parquet_rows(path), 1)
        return
    with reading(path, UsageError):
        try:
            text = decoded(path.read_bytes(), "surrogateescape")
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: is neither UTF-8 nor UTF-16 ({error.reason})") from error
    if path.suffix == ".csv":
        yield from _csv_rows(path, text)
        return
    # Not splitlines: a text in JSON may hold other characters that end lines, such as U+2028.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, ValueError(str(error))


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            yield reader.line_num, {key: value for key, value in row.items() if key is not None and value}
    except csv.Error as error:
        raise UsageError(f"{path}:{reader.line_num}: is no CSV ({error})") from error


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    for batch in opened_table(path).iter_batches(batch_size=1024):
        yield from batch.to_pylist()


@dataclass(frozen=True)
class Entry:
    """What is said about one image; `label` is empty if nothing says its class."""

    captions: tuple[str, ...] = ()
    label: str = ""

    def __add__(self, other: Entry) -> Entry:
        """What both say, without repetitions; of two labels the later one counts."""
        return Entry(tuple(dict.fromkeys(self.captions + other.captions)), other.label or self.label)


@dataclass(frozen=True)
class Listing:
    """What listings say about each file, by its name as `_plain_name` gives it; `files` are these listings."""

    entries: dict[str, Entry] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # of composed accents, and the name among `entries`
    files: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Entry:
        return self.entries.get(self.key(name) or name, Entry())

    def key(self, name: str) -> str | None:
        """Under which of the listing's names a file is; None if under none."""
        return name if name in self.entries else self.names.get(same_name(name))


def read_listing(root: Path, others: Iterable[str] = ()) -> Listing:
    """What the listings of a folder say: captions.jsonl, and metadata.jsonl, .csv or .parquet in it or below it.

    Names of files may begin with "./", have a backslash between folders, and compose accents otherwise. A file may be
    named by several rows.

    Args:
        others: the names, relative to `root`, of the files in it that are no images.

    Raises:
        UsageError: one cannot be read, or a row is not such an entry; names it.
    """
    found = [LISTING] if (root / LISTING).is_file() else []
    found += sorted(name for name in others if posixpath.basename(name) in METADATA)
    entries: dict[str, Entry] = {}
    for listing in found:
        path, folder = root / listing, posixpath.dirname(listing)
        for number, data in listed_rows(path):
            try:
                name, said = _entry_at(data, root, folder)
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(f"{path}:{number}: not a caption entry ({error})") from error
            entries[name] = entries.get(name, Entry()) + said
    return Listing(entries, {same_name(name): name for name in reversed(entries)}, tuple(found))


def _entry_at(data: Any, root: Path, folder: str) -> tuple[str, Entry]:
    """The file that a row is about, and what it says of it."""
    if isinstance(data, ValueError):
        raise data
    said = entry_of(data)
    if any("\udc80" <= letter <= "\udcff" for letter in "".join((*said.captions, said.label))):
        raise ValueError("its text is not UTF-8")
    key = next((key for key in _FILE_KEYS if key in data), _FILE_KEYS[0])
    return _plain_name(posixpath.join(folder, str(data[key])), root), said


def _plain_name(name: str, root: Path) -> str:
    """A file's name relative to its folder, without "./" and with "/" between folders."""
    if "\\" in name and not (root / name).exists():
        name = name.replace("\\", "/")
    if posixpath.isabs(name):
        name = os.path.relpath(name, root.absolute())
    return posixpath.normpath(name)


def entry_of(data: object) -> Entry:
    """What a row says: `caption` or `text`, a text or a list of such, and `label`.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(data, dict):
        raise TypeError(f"expected an object, got {type(data).__name__}")
    said = data.get("caption", data.get("text", ()))
    said = [said] if isinstance(said, str) else said if said is not None else ()
    if not isinstance(said, (list, tuple)) or not all(isinstance(each, str) for each in said):
        raise TypeError("caption: expected a text or a list of such")
    label = data.get("label")
    return Entry(tuple(each.strip() for each in said if each.strip()), "" if label is None else str(label))


def captions_in(text: bytes) -> tuple[str, ...]:
    """The captions in a text file: each line that is not empty. What is no text becomes U+FFFD."""
    lines = decoded(text, "replace").splitlines()
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))


class TextsBeside:
    """The text files that lie beside the images of a folder, each with captions of one of them."""

    def __init__(self, root: Path, others: Iterable[str]) -> None:
        """`others` are the names, relative to `root`, of the files in it that are no images."""
        self._root = root
        texts = [name for name in others if name.lower().endswith(_TEXT_SUFFIXES)]
        self._exact = {posixpath.splitext(name)[0]: name for name in reversed(texts)}
        self._alike = {same_name(stem): name for stem, name in self._exact.items()}
        self.used: set[str] = set()

    def __call__(self, image: str, passed: PassedOver) -> tuple[str, ...]:
        """The captions beside an image: `cat.png` has them in `cat.txt` or `cat.caption`, `cat.input.png` there
        or in `cat.input.txt`.

        A file of text that cannot be read is counted in `passed`.
        """
        folder, _, name = image.rpartition("/")
        stems = dict.fromkeys((posixpath.splitext(name)[0], name.split(".")[0]))
        for stem in (f"{folder}/{each}" if folder else each for each in stems if each):
            found = self._exact.get(stem) or self._alike.get(same_name(stem))
            if found is not None:
                return self._read(found, passed)
        return ()

    def _read(self, name: str, passed: PassedOver) -> tuple[str, ...]:
        self.used.add(name)
        path = self._root / name
        try:
            if path.stat().st_size > LARGEST_TEXT:
                passed.add(f"larger than {LARGEST_TEXT // 2**20} MB", name)
                return ()
            return captions_in(path.read_bytes())
        except OSError as error:
            passed.add(f"that cannot be read: {error.strerror or error}", name)
            return ()


def read_texts(path: Path) -> list[str]:
    """The texts of `numbered_texts`, without their numbers."""
    return [text for _, text in numbered_texts(path)]


def numbered_texts(path: Path) -> list[tuple[int, str]]:
    """The texts in a file, or for "-" on stdin, one a line, without blank lines, each with the number of its line.

    What is no text becomes U+FFFD.

    Raises:
        UsageError: it cannot be read, or has none.
    """
    if str(path) == "-":
        if sys.stdin.isatty():
            raise UsageError("stdin is a terminal, from which no texts come", hint="for example: --prompts - < FILE")
        data = sys.stdin.buffer.read()
    else:
        with reading(path, UsageError, hint="--prompts takes a file with a label or text a line"):
            data = path.expanduser().read_bytes()
    lines = [line.strip() for line in decoded(data, "replace").splitlines()]
    if not any(lines):
        raise UsageError(f"{'stdin' if str(path) == '-' else path}: has no line with a text")
    return [(number, line) for number, line in enumerate(lines, 1) if line]
