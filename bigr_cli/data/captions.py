"""Captions of pictures in files: captions.jsonl, a text file beside each picture, JSON beside each picture."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from bigr_cli.errors import UsageError

LISTING = "captions.jsonl"


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
    """What captions.jsonl says about each file, by its name."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Entry:
        return self.entries.get(name, Entry())


def read_listing(root: Path) -> Listing:
    """The captions.jsonl of a folder, if it has one: a line for each caption, or for each picture.

    Raises:
        UsageError: a line is not such an entry; names it.
    """
    path = root / LISTING
    if not path.is_file():
        return Listing()
    entries: dict[str, Entry] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            name = str(data["file"])
            entries[name] = entries.get(name, Entry()) + entry_of(data)
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}:{number}: not a caption entry ({error})") from error
    return Listing(entries)


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
    """The captions in a text file: each line that is not empty. What is not UTF-8 becomes U+FFFD."""
    lines = text.decode("utf-8-sig", "replace").splitlines()
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))


def captions_beside(picture: Path) -> tuple[str, ...]:
    """The captions in the text file beside a picture, if there is one."""
    try:
        return captions_in(picture.with_suffix(".txt").read_bytes())
    except FileNotFoundError:
        return ()


def read_texts(path: Path) -> list[str]:
    """The texts in a file, or for "-" on stdin, one a line, without blank lines; what is no UTF-8 becomes U+FFFD.

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
    lines = [line.strip() for line in data.decode("utf-8-sig", "replace").splitlines()]
    if not any(lines):
        raise UsageError(f"{'stdin' if str(path) == '-' else path}: has no line with a text")
    return [line for line in lines if line]
