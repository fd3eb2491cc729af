"""The one on-disk cache: things that can be made again, each in a file that its identity names.

Files appear whole or not at all, so processes can share them. One that is damaged counts as not there. A cache that
cannot be written costs the work of the next time, which is said once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import BadZipFile

from bigr_cli import console, home
from bigr_cli.files import atomic_write, cache_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")

# What readers of JSON, .npy and .npz raise for a file that is not there, not whole, or somebody else's.
_DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, RuntimeError, ArithmeticError),
    *(BadZipFile, zlib.error, struct.error),
)


def intact(read: Callable[[Path], T | None], path: Path) -> T | None:
    """What `read` makes of a file; None if it is not there or damaged, or `read` says that it is not what it should."""
    try:
        return read(path)
    except _DAMAGED:
        return None


def digest(identity: Any, letters: int = 32) -> str:
    """A name for what is known by this identity: a text, or anything that JSON holds."""
    text = identity if isinstance(identity, str) else json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:letters]


def save_array(path: Path, array: NDArray[Any]) -> None:
    """One array as .npy, whatever the path is called."""
    import numpy as np

    with path.open("wb") as stream:
        np.save(stream, array)


def save_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Arrays by name as .npz, whatever the path is called."""
    import numpy as np

    with path.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Cache:
    """The files of one kind.

    Attributes:
        kind: their folder below the cache's.
        what: what the warning says cannot be kept, such as "features of texts"; nothing is said without it.
        durable: wait for the disk: for what took long to make.
    """

    kind: str
    what: str = ""
    durable: bool = False

    @property
    def folder(self) -> Path:
        """Where the files are; it need not be there yet."""
        return home.cache_dir() / self.kind

    def path(self, identity: Any, suffix: str) -> Path:
        """The file of this identity; without a suffix, a folder for further ones."""
        return self.folder / f"{digest(identity)}{suffix}"

    def write(self, path: Path, write: Callable[[Path], object]) -> bool:
        """Have `write` fill a file, which then is there whole; False, and a warning, if there is no writing there."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with (atomic_write if self.durable else cache_file)(path) as temporary:
                write(temporary)
        except OSError as error:
            if self.what:
                reason = f"{error.strerror or error} ({home.HINT})"
                console.warn(f"{self.folder}: {self.what} cannot be kept: {reason}", once=True)
            return False
        return True

    def discard(self, path: Path) -> None:
        """Remove a folder of files."""
        shutil.rmtree(path, ignore_errors=True)
