"""Files and folders that appear whole or not at all: written beside their place, flushed to the disk, renamed."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_SHOWN = 48  # letters of a name that its hidden neighbours have too; names may have 255 bytes


@contextmanager
def whole_file(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when the block ends; after an error it is removed.

    Without `replace`, FileExistsError if there is something at `path` by then.
    """
    hidden = _beside(path)
    try:
        yield hidden
        flush(hidden)
        if replace:
            hidden.replace(path)
        else:
            _place(hidden, path)
        flush(path.parent)
    finally:
        hidden.unlink(missing_ok=True)


@contextmanager
def cache_file(path: Path) -> Iterator[Path]:
    """As `whole_file`, without waiting for the disk: for what can be made again, and is checked when it is read."""
    hidden = _beside(path)
    try:
        yield hidden
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `path` when the block ends; after an error it is removed
    (and with it the folders above that had to be made).

    What was at `path` before is removed, and put back if the change of places fails. What a process that was killed at
    it left behind is put back, or removed, by the next one.
    """
    path = path.resolve()
    made = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden, old = _beside(path), _beside(path, "old")
    _recover(path)
    try:
        hidden.mkdir()
        with _held(hidden):
            yield hidden
            flush(hidden)
            if path.exists():
                path.rename(old)
            hidden.rename(path)
            flush(path.parent)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        for leftover in (hidden, old):
            shutil.rmtree(leftover, ignore_errors=True)
        for parent in made if not path.exists() else ():
            with suppress(OSError):
                parent.rmdir()


def flush(path: Path) -> None:
    """Have the system put a file, or the names in a folder, on the disk."""
    if path.is_dir():
        with suppress(OSError):  # Windows opens no folders
            _synchronise(path, os.O_RDONLY)
    else:
        _synchronise(path, os.O_RDWR)


def _synchronise(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _place(hidden: Path, path: Path) -> None:
    """Give a file a name that nothing has yet."""
    try:
        os.link(hidden, path)  # unlike a rename, it fails if something came there in the meantime
    except FileExistsError:
        raise
    except (OSError, NotImplementedError) as error:  # file systems without hard links
        if os.path.lexists(path):
            raise FileExistsError(path) from error
        hidden.replace(path)


def _beside(path: Path, suffix: str = "part") -> Path:
    whole = path.absolute()
    return whole.parent / f".{whole.name[:_SHOWN]}.{secrets.token_hex(6)}.{suffix}"


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Keeps a folder from being taken for a leftover; says whether that was possible, as no other process has it."""
    if fcntl is None:
        yield True
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except OSError:
            free = False
        yield free
    finally:
        os.close(handle)


def _recover(path: Path) -> None:
    """Deal with what `whole_directory` left at `path` when its process was killed, unless another one is at it now."""
    if fcntl is None or len(path.name) > _SHOWN:  # then there is no telling whose it is
        return
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{12}}\.(part|old)")
    leftovers = [other for other in path.parent.iterdir() if name.fullmatch(other.name) and other.is_dir()]
    with suppress(FileNotFoundError):  # another process may be tidying up as well
        for leftover in leftovers:
            with _held(leftover) as unused:
                if not unused:
                    return
    for leftover in leftovers:
        if leftover.suffix == ".old" and not path.exists():
            leftover.rename(path)
        else:
            shutil.rmtree(leftover, ignore_errors=True)
