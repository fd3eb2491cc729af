"""Files and folders that appear whole or not at all: written beside their place, flushed to the disk, renamed."""

import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from bigr_cli.errors import BigrError, RunError, UsageError
from bigr_cli.file_names import irregular

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SHOWN = 48  # letters of a name that its temporary neighbours have too; names may have 255 bytes
_LEFTOVER = re.compile(r"\..+\.bigr\d*\.part")


@contextmanager
def atomic_write(path: Path, *, replace: bool = True, durable: bool = True) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when the block ends; after an error it is removed.

    A link stays a link: the file behind it is replaced, and keeps its mode and owner. A new file has the mode that
    the umask leaves it. What is no file, such as a device, is written to. What a process that was killed left of the
    same file is removed.

    Args:
        replace: take the place of what is there; without, FileExistsError if there is something at `path` by then.
        durable: wait for the disk; not for what can be made again, and is checked when it is read.
    """
    if irregular(path):
        with _written_through(path) as temporary:
            yield temporary
        return
    target = behind_links(path) if replace else path
    before = target.stat() if replace and target.exists() else None
    temporary, handle = _reserved(target)
    try:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        if fcntl is None:  # Windows moves no file that is open
            os.close(handle)
        yield temporary
        with held(temporary):  # a library may have put another file there
            if durable:
                flush(temporary)
            _set_mode(temporary, before, mode)
            if replace:
                temporary.replace(target)
            else:
                _place(temporary, target)
            if durable:
                flush(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
        if fcntl is not None:
            os.close(handle)


def reason_of(error: Exception) -> str:
    """Why there was no reading or writing, in the system's words; a ValueError is about the path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


@contextmanager
def _explained(
    what: object, error: type[BigrError] = RunError, *, hint: str | None = None, done: str
) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise error(f"{what}: cannot be {done}: {reason_of(problem)}", hint=hint) from problem


# Of an OSError in the block they make an error that says that `what`, a path, cannot be read or written, and why.
reading = partial(_explained, done="read")
writing = partial(_explained, done="written")
cache_file = partial(atomic_write, durable=False)


def check_writable(folder: Path) -> None:
    """Raise UsageError unless files can come to be in a folder, which need not be there yet."""
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent))
    if not nearest.is_dir():
        kind = "a file" if nearest.exists() else "a link that leads nowhere"
        where = "no file can be in it" if nearest == folder else f"there can be no {folder}"
        raise UsageError(f"{nearest}: is {kind}, so {where}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(f"{nearest}: no permission to write there")


def clear_leftovers(folder: Path) -> None:
    """Remove the temporary files in a folder that no process holds any more."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if is_leftover(path):
                _removed(path)


def is_leftover(path: Path) -> bool:
    """Whether a file is named as the temporary ones are that this module writes."""
    return _LEFTOVER.fullmatch(path.name) is not None


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


def behind_links(path: Path) -> Path:
    """The file that a link leads to, there or not; the path itself if it is no link."""
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


@contextmanager
def _written_through(target: Path) -> Iterator[Path]:
    """For devices and pipes, which nothing can take the place of: they get the bytes at the end."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "file"
        temporary.touch()
        yield temporary
        with temporary.open("rb") as written, target.open("wb") as stream:
            shutil.copyfileobj(written, stream)


def _reserved(target: Path) -> tuple[Path, int]:
    """An empty temporary file beside the target, and its open handle, which holds it as long as it is open."""
    number = 0
    while True:
        temporary = _neighbour(target, number)
        handle = None if os.path.lexists(temporary) and not _removed(temporary) else _created(temporary)
        number += 1
        if handle is not None:
            following = _neighbour(target, number)
            if os.path.lexists(following):
                _removed(following)
            return temporary, handle


def _created(temporary: Path) -> int | None:
    """The handle of a new file that this process holds; None if another one was faster."""
    try:
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    except FileExistsError:
        return None
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if temporary.lstat().st_ino != os.fstat(handle).st_ino:
                raise FileNotFoundError
    except (BlockingIOError, FileNotFoundError):  # taken for a leftover before it was locked
        os.close(handle)
        return None
    except OSError:  # a file system without locks
        return handle
    return handle


def _neighbour(target: Path, number: int) -> Path:
    """The temporary files of a target: always the same names, so that the next run finds what a killed one left."""
    whole = target.absolute()
    name = whole.name
    if len(name) > SHOWN:
        name = f"{name[:SHOWN]}.{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
    return whole.parent / f".{name}.bigr{number or ''}.part"


def _removed(leftover: Path) -> bool:
    """Remove a temporary file that no process holds; whether that was done."""
    try:
        if fcntl is None:  # Windows removes no file that is open
            leftover.unlink()
            return True
        handle = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found, there = os.fstat(handle), leftover.lstat()
            if found.st_ino != there.st_ino or not stat.S_ISREG(found.st_mode):
                return False
            leftover.unlink()
        finally:
            os.close(handle)
    except OSError:
        return not os.path.lexists(leftover)
    return True


def _set_mode(temporary: Path, before: os.stat_result | None, mode: int) -> None:
    """Mode and owner of the file that was there before, or the mode of a new file."""
    now = temporary.stat()
    if before is not None:
        mode = stat.S_IMODE(before.st_mode)
        if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
            with suppress(OSError, AttributeError):  # only root may
                os.chown(temporary, before.st_uid, before.st_gid)
    if stat.S_IMODE(now.st_mode) != mode:
        with suppress(OSError):  # file systems without modes
            temporary.chmod(mode)


def _place(temporary: Path, path: Path) -> None:
    """Give a file a name that nothing has yet."""
    try:
        os.link(temporary, path)  # unlike a rename, it fails if something came there in the meantime
    except FileExistsError:
        raise
    except (OSError, NotImplementedError) as error:  # file systems without hard links
        if os.path.lexists(path):
            raise FileExistsError(path) from error
        temporary.replace(path)


@contextmanager
def held(folder: Path) -> Iterator[bool]:
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
