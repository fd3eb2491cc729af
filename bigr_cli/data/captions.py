"""Captions of images in files: captions.jsonl, a text file beside each image, JSON beside each image."""

from __future__ import annotations

import json
import os
import posixpath
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bigr_cli.errors import UsageError
from bigr_cli.file_names import same_name
from bigr_cli.passed_over import PassedOver
from bigr_cli.text_files import decoded

LISTING = "captions.jsonl"
LARGEST_TEXT = 2**24  # bytes of a file of captions or of JSON beside an image


@dataclass(frozen=True)
class Entry:
    """What is said about one picture; `label` is empty if nothing says its class."""

    captions: tuple[str, ...] = ()
    label: str = ""

    def __add__(self, other: Entry) -> Entry:
        """What both say, without repetitions; of two labels the later one counts."""
        return Entry(tuple(dict.fromkeys(self.captions + other.captions)), other.label or self.label)


@dataclass(frozen=True)
class Listing:
    """What captions.jsonl says about each file, by its name as `_plain_name` gives it."""

    entries: dict[str, Entry] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # of composed accents, and the name among `entries`

    def __getitem__(self, name: str) -> Entry:
        return self.entries.get(self.key(name) or name, Entry())

    def key(self, name: str) -> str | None:
        """Under which of the listing's names a file is; None if under none."""
        return name if name in self.entries else self.names.get(same_name(name))


def read_listing(root: Path) -> Listing:
    """The captions.jsonl of a folder, if it has one: a line for each caption, or for each image.

    Names of files may begin with "./", have a backslash between folders, and compose accents otherwise.

    Raises:
        UsageError: it cannot be read, or a line is not such an entry; names it.
    """
    path = root / LISTING
    if not path.is_file():
        return Listing()
    try:
        text = decoded(path.read_bytes(), "surrogateescape")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is neither UTF-8 nor UTF-16 ({error.reason})") from error
    entries: dict[str, Entry] = {}
    # Not splitlines: a text in JSON may hold other characters that end lines, such as U+2028.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            name, said = _plain_name(str(data["file"]), root), entry_of(data)
            if any("\udc80" <= letter <= "\udcff" for letter in "".join((*said.captions, said.label))):
                raise ValueError("its text is not UTF-8")
            entries[name] = entries.get(name, Entry()) + said
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UsageError(f"{path}:{number}: not a caption entry ({error})") from error
    return Listing(entries, {same_name(name): name for name in reversed(entries)})


def _plain_name(name: str, root: Path) -> str:
    """A file's name relative to its folder, without "./" and with "/" between folders."""
    if "\\" in name and not (root / name).exists():
        name = name.replace("\\", "/")
    if posixpath.isabs(name):
        name = os.path.relpath(name, root.absolute())
    return posixpath.normpath(name)


def entry_of(data: object) -> Entry:
    """What a JSON object says: `caption`, a text or a list of such, and `label`.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(data, dict):
        raise TypeError(f"expected an object, got {type(data).__name__}")
    said = data.get("caption", ())
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
        texts = [name for name in others if name.lower().endswith(".txt")]
        self._exact = {name[:-4]: name for name in texts}
        self._alike = {same_name(name[:-4]): name for name in reversed(texts)}
        self.used: set[str] = set()

    def __call__(self, image: str, passed: PassedOver) -> tuple[str, ...]:
        """The captions beside an image: `cat.png` has them in `cat.txt`, `cat.input.png` there or in `cat.input.txt`.

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
    """The texts in a file, or for "-" on stdin, one a line, without blank lines; what is no text becomes U+FFFD.

    Raises:
        UsageError: it cannot be read, or has none.
    """
    if str(path) == "-":
        if sys.stdin.isatty():
            raise UsageError("stdin is a terminal, from which no texts come", hint="for example: --prompts - < FILE")
        data = sys.stdin.buffer.read()
    else:
        try:
            data = path.expanduser().read_bytes()
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    lines = [line.strip() for line in decoded(data, "replace").splitlines()]
    if not any(lines):
        raise UsageError(f"{'stdin' if str(path) == '-' else path}: has no line with a text")
    return [line for line in lines if line]
