"""Names of files: their order, their accents, a leading ~, and what stands under them."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import Path

_MAGIC = re.compile(r"[*?[]")
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{12}\.(part|old)", re.DOTALL)
_DIGITS = re.compile(r"([0-9]+)")


def is_pattern(text: str) -> bool:
    """Whether there is a `*`, `?` or `[` in it."""
    return _MAGIC.search(text) is not None


def is_temporary(name: str) -> bool:
    """Whether it is what this package calls a file that is not whole yet; see `files.atomic_write`."""
    return _TEMPORARY.fullmatch(name) is not None


def expanded(text: str) -> Path:
    """The path as it is there: as written, with the accents composed otherwise, or with a leading ~ as the home."""
    path = Path(text)
    if os.path.lexists(path):
        return path
    if text.startswith("~"):
        try:
            path = path.expanduser()
        except (RuntimeError, ValueError):  # no user can have that name: then the path begins with a tilde
            return path
    return path if text.isascii() or os.path.lexists(path) else _in_other_form(path)


def can_be_named(path: Path) -> bool:
    """Whether a file can have such a name and be looked at: none too long, with a null character, or in a folder that
    cannot be read."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return True


def same_name(name: str) -> str:
    """A form of a name that is the same however its accents are composed."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def name_hash(name: str) -> int:
    """A number of 64 bits that stands for a name, however its accents are composed."""
    data = same_name(name).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def natural_key(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """A key to sort by in which 2 comes before 10, and capitals do not matter: the order of files and of classes."""
    parts = _DIGITS.split(same_name(name).casefold())
    keys: list[str | tuple[int, str]] = [
        (len(part.lstrip("0")), part.lstrip("0")) if index % 2 else part for index, part in enumerate(parts)
    ]
    return keys, name


def irregular(path: Path) -> str | None:
    """What there is instead of a file, if that would block or never end when it is read; None for all else."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    kinds = {0o010000: "a named pipe", 0o140000: "a socket", 0o020000: "a device", 0o060000: "a device"}
    return kinds.get(mode & 0o170000)


def _in_other_form(path: Path) -> Path:
    """The path with every part in the form in which it is there, as far as it is."""
    here = Path()
    for part in path.parts:
        forms = (part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part))
        here /= next((form for form in forms if os.path.lexists(here / form)), part)
    return here
