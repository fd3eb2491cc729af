"""Arrays out of .npz files from anywhere: what a file claims is compared with what it holds before room is made."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bigr_cli.errors import ModelFormatError
from bigr_cli.runtime.device import main_memory

_ENCRYPTED = 1  # of a member's flags
_FORMAT: Any = np.lib.format


def array_names(path: Path) -> list[str]:
    """The names of the arrays in a file; ModelFormatError if it is no .npz file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception as error:  # zipfile and NumPy raise what they like about damaged files
        raise ModelFormatError(f"{path}: is not a .npz file, or damaged ({_line(error)})") from error


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """These arrays of a .npz file, by name.

    Raises:
        ModelFormatError: the file is damaged or encrypted, lacks one of them, or one is no plain array or claims to be
            larger than it is, or than the memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read(archive, f"{name}.npy") for name in names}
    except Exception as error:  # zipfile and NumPy raise what they like about damaged files
        raise ModelFormatError(
            f"{path}: is damaged, or not a file of the arrays {_list(names)} ({_line(error)})"
        ) from error


def _read(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    member = archive.getinfo(name)
    if member.flag_bits & _ENCRYPTED:
        raise ValueError(f"{name} is encrypted")
    with archive.open(member) as stream:
        shape, dtype = _header(stream)
        claimed, held = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
    if dtype.hasobject:
        raise ValueError(f"{name} holds objects, not numbers or text")
    if claimed != held:
        raise ValueError(f"{name} claims {claimed:,} bytes and holds {held:,}")
    if main_memory() and claimed > main_memory():
        raise ValueError(f"{name} needs {claimed / 1e9:,.1f} GB of memory")
    with archive.open(member) as stream:
        found: NDArray[Any] = _FORMAT.read_array(stream, allow_pickle=False)
    return found


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = _FORMAT.read_magic(stream)
    read = _FORMAT.read_array_header_1_0 if version == (1, 0) else _FORMAT.read_array_header_2_0
    shape, _, dtype = read(stream)
    if not all(type(side) is int and 0 <= side < 2**63 for side in shape):
        raise ValueError("a shape of odd numbers")
    return shape, dtype


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
