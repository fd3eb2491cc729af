"""Where bigr keeps things that are not in the package: models pulled or imported, and the one on-disk cache.

Everything lies under BIGR_HOME if that is set, otherwise where the operating system keeps such things. Without a home
directory (no HOME, a user id without an account) there is no such place: nothing is found there, and writing fails
with an error that names BIGR_HOME; caches are then done without.

The cache holds things that can be made again, each in a file that its identity names. Files appear whole or not at all,
so processes can share them. One that is damaged counts as not there. A cache that cannot be written costs the work of
the next time, which is said once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import BadZipFile

from bigr_cli import console
from bigr_cli.files import atomic_write

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")

HOME_VARIABLE = "BIGR_HOME"
HINT = f"{HOME_VARIABLE}=DIR names a folder for models and caches"
_NOWHERE = Path(os.devnull) / "no-home-directory"  # neither there nor to be made

_UNWRITABLE = (
    *("cannot be written", "no permission", "Permission denied", "Read-only", "Not a directory", "is a file, so"),
)
# What readers of JSON, .npy and .npz raise for a file that is not there, not whole, or somebody else's.
_DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, RuntimeError, ArithmeticError),
    *(BadZipFile, zlib.error, struct.error),
)


def data_dir() -> Path:
    """Where models and settings of the user are kept; it need not exist yet."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return _expanded(home)
    from platformdirs import user_data_path

    return _known(user_data_path)


def cache_dir() -> Path:
    """Where things are kept that can be made again; it need not exist yet."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return _expanded(home) / "cache"
    from platformdirs import user_cache_path

    return _known(user_cache_path)


def is_known() -> bool:
    """Whether there is a place for what belongs to the user."""
    return data_dir() != _NOWHERE


def hint_for(message: str) -> str | None:
    """What may help if a message is about a file in one of these folders that cannot be written."""
    if not any(sign in message for sign in _UNWRITABLE):
        return None
    return HINT if any(str(folder) in message for folder in (data_dir(), cache_dir(), _NOWHERE.parent)) else None


def shown(folder: Path) -> str:
    """One of these folders as it is told to people."""
    return f"none, as no home directory is known; {HINT}" if folder == _NOWHERE else str(folder)


def _expanded(home: str) -> Path:
    return _NOWHERE if (folder := Path(os.path.expanduser(home))).parts[:1] == ("~",) else folder


def _known(user_path: Callable[..., Path]) -> Path:
    """A folder of platformdirs, unless the home directory in it is not known."""
    try:
        folder = user_path("bigr", appauthor=False)
    except (RuntimeError, KeyError):
        return _NOWHERE
    return _NOWHERE if folder.parts[:1] == ("~",) else folder


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
        return cache_dir() / self.kind

    def path(self, identity: Any, suffix: str) -> Path:
        """The file of this identity; without a suffix, a folder for further ones."""
        return self.folder / f"{digest(identity)}{suffix}"

    def write(self, path: Path, write: Callable[[Path], object]) -> bool:
        """Have `write` fill a file, which then is there whole; False, and a warning, if there is no writing there."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, durable=self.durable) as temporary:
                write(temporary)
        except OSError as error:
            if self.what:
                reason = f"{error.strerror or error} ({HINT})"
                console.warn(f"{self.folder}: {self.what} cannot be kept: {reason}", once=True)
            return False
        return True

    def discard(self, path: Path) -> None:
        """Remove a folder of files."""
        shutil.rmtree(path, ignore_errors=True)
