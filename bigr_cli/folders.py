"""Folders that one process at a time writes to, and folders that appear whole or not at all.

The lock is the operating system's own on the folder itself: it ends with the process that holds it, however that ends,
so that no stale one ever stands in the way, and it leaves nothing behind. Where a file system has no locks, there is
none.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bigr_cli import console
from bigr_cli.errors import UsageError
from bigr_cli.files import SHOWN, flush, held, writing

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_LOCK_FILE = ".bigr.lock"  # on Windows, where folders have no locks
_POLL = 0.2  # seconds


class InUseError(UsageError):
    """A folder that another process writes to."""


class FolderLock:
    """A lock on a folder, taken and let go by this process; it can be taken again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: list[Path] = []
        self._held: Any = None

    def take(self, *, wait: bool = False) -> None:
        """Hold the folder, which is made if it is not there.

        Args:
            wait: until another process that holds it has ended, instead of an error.

        Raises:
            InUseError: another process holds it.
            RunError: the folder cannot be made.
        """
        told = False
        while self._held is None:
            self._make()
            self._held = _locked(self.folder)
            if self._held is None:
                if not wait:
                    hint = "wait until it has ended, or choose another place"
                    raise InUseError(f"{self.folder}: is in use by {_holder(self.folder)}", hint=hint)
                if not told:
                    console.say(f"{self.folder}: waiting for {_holder(self.folder)}, which writes there")
                    told = True
                time.sleep(_POLL)

    def leave(self) -> None:
        """Let the folder go, and remove it if it was made for this and has stayed empty."""
        held, self._held = self._held, None
        if held is None:
            return
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()
        self._made = []
        held.close()

    def _make(self) -> None:
        with writing(self.folder):
            missing = [place for place in (self.folder, *self.folder.absolute().parents) if not place.exists()]
            self.folder.mkdir(parents=True, exist_ok=True)
        self._made = missing or self._made


@contextmanager
def folder_lock(folder: Path) -> Iterator[FolderLock]:
    """A lock that is let go, if it was taken, when the block ends."""
    lock = FolderLock(folder)
    try:
        yield lock
    finally:
        lock.leave()


class _Handle:
    """An open folder, which is locked as long as it is open in this process, not in those that it forks."""

    def __init__(self, number: int | None) -> None:
        self._number = number
        _handles.add(self)

    def close(self) -> None:
        _handles.discard(self)
        number, self._number = self._number, None
        if number is not None:
            with suppress(OSError):
                fcntl.flock(number, fcntl.LOCK_UN)
            os.close(number)

    def forget(self) -> None:
        """Close the folder in a process that was forked. Its copy would hold the lock beyond the death of the first."""
        number, self._number = self._number, None
        if number is not None:
            os.close(number)


_handles = set[_Handle]()


def _forget_all() -> None:
    for handle in list(_handles):
        handle.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


class _LockFile:
    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def close(self) -> None:
        self._lock.release()
        with suppress(OSError):
            Path(self._lock.lock_file).unlink()


def _locked(folder: Path) -> _Handle | _LockFile | None:
    """The lock on a folder that is there; None if another process has it, or has just removed the folder."""
    if fcntl is None:
        import filelock

        lock = filelock.FileLock(folder / _LOCK_FILE, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            return None
        return _LockFile(lock)
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError:  # one that may be written to and not read, say
        return _Handle(None)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == os.stat(folder).st_ino:
            return _Handle(handle)
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:  # a file system without locks
        return _Handle(handle)
    os.close(handle)
    return None


def _holder(folder: Path) -> str:
    """The process that holds a folder, as far as the system tells."""
    with suppress(OSError, ValueError, IndexError):
        inode = os.stat(folder).st_ino
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()  # 1: FLOCK ADVISORY WRITE 4711 08:01:1234 0 EOF
            if words[1] == "FLOCK" and int(words[5].split(":")[2]) == inode and int(words[4]) > 0:
                return f"process {words[4]}"
    return "another process"


@contextmanager
def whole_directory(path: Path, own: Collection[str]) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `path` when the block ends; after an error it is removed
    (and with it the folders above that had to be made).

    Of what was at `path` before, the files named in `own` are removed, and come back if the change of places fails.
    All others stay where they are. What a process that was killed at it left behind is put back, or removed, by the
    next one.
    """
    path = Path(os.path.realpath(path))
    made = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = _beside(path), _beside(path, "old")
    _recover(path, own)
    try:
        temporary.mkdir()
        with held(temporary):
            yield temporary
            flush(temporary)
            if path.exists():
                temporary.chmod(stat.S_IMODE(path.stat().st_mode))
                path.rename(old)
            temporary.rename(path)
            flush(path.parent)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(temporary, ignore_errors=True)
        _discard(old, path, own)
        for parent in made if not path.exists() else ():
            with suppress(OSError):
                parent.rmdir()


def _beside(path: Path, suffix: str = "part") -> Path:
    whole = path.absolute()
    return whole.parent / f".{whole.name[:SHOWN]}.{secrets.token_hex(6)}.{suffix}"


def _recover(path: Path, own: Collection[str]) -> None:
    """Deal with what `whole_directory` left at `path` when its process was killed, unless another one is at it now."""
    if fcntl is None or len(path.name) > SHOWN:  # then there is no telling whose it is
        return
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{12}}\.(part|old)")
    leftovers = [other for other in path.parent.iterdir() if name.fullmatch(other.name) and other.is_dir()]
    with suppress(FileNotFoundError):  # another process may be tidying up as well
        for leftover in leftovers:
            with held(leftover) as unused:
                if not unused:
                    return
    for leftover in leftovers:
        if leftover.suffix == ".part":
            shutil.rmtree(leftover, ignore_errors=True)
        elif path.exists():
            _discard(leftover, path, own)
        else:
            leftover.rename(path)


def _discard(old: Path, path: Path, own: Collection[str]) -> None:
    """Remove the own files of a folder that was replaced; all others go where they were, unless there is one now."""
    if not old.exists():
        return
    for other in sorted(old.iterdir()):
        if other.name in own and not (other.is_dir() and not other.is_symlink()):
            other.unlink()
        elif not os.path.lexists(path / other.name):
            other.rename(path / other.name)
    with suppress(OSError):  # what is left is somebody's
        old.rmdir()
