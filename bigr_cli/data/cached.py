"""Pictures as they are trained on, kept on disk once they were asked for: later passes neither decode nor draw them."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from bigr_cli import console
from bigr_cli.cache import Cache
from bigr_cli.data.images import READER
from bigr_cli.data.pictures import Picture
from bigr_cli.data.sources import Source
from bigr_cli.home import HINT

_HEAD = struct.Struct("<?I")  # whether the row was written, and the CRC-32 of what follows


class KeptSource:
    """A source whose pictures are looked up in a file of rows, and written there where they are not.

    Any number of processes may share the file: a row that another is just writing, or did not finish, counts as not
    there. Variants must not differ in their pixels.
    """

    def __init__(self, source: Source, folder: Path | None = None) -> None:
        """`folder` is where the file is; None is the cache. Without room for it, each is read anew."""
        self.source = source
        self.labels, self.size = source.labels, source.size
        self._planes = 3 if source.picture(0).focus is None else 4
        kept = Cache("pictures").path(f"{READER}:{source.fingerprint()}", ".rows")
        self.path = kept if folder is None else folder / kept.name
        self._file: IO[bytes] | None = None
        self._owner, self._full = 0, False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab"):
                pass
        except OSError as error:
            self._full = True
            console.warn(f"{self.path}: cannot be written: {error.strerror or error}; no images are kept ({HINT})")

    def __len__(self) -> int:
        return len(self.source)

    def label(self, index: int) -> int:
        return self.source.label(index)

    def caption(self, index: int, variant: int = 0) -> str:
        return self.source.caption(index, variant)

    def fingerprint(self) -> str:
        return self.source.fingerprint()

    def picture(self, index: int, variant: int = 0) -> Picture:
        """Picture `index`, from the file or else from the source. Raises what the source raises."""
        kept = self._read(index)
        if kept is None:
            picture = self.source.picture(index, variant)
            self._write(index, picture)
            return picture
        pixels, focus = kept[..., :3], kept[..., 3] if self._planes == 4 else None
        return Picture(pixels, self.label(index), focus)

    def _read(self, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None:
        length = self.size * self.size * self._planes
        try:
            file = self._opened()
            file.seek(index * (_HEAD.size + length))
            row = file.read(_HEAD.size + length)
        except OSError:
            return None
        if len(row) < _HEAD.size + length:
            return None
        there, checksum = _HEAD.unpack_from(row)
        if not there or zlib.crc32(row[_HEAD.size :]) != checksum:
            return None
        return np.frombuffer(row, np.uint8, offset=_HEAD.size).reshape(self.size, self.size, self._planes)

    def _write(self, index: int, picture: Picture) -> None:
        planes = picture.pixels if picture.focus is None else np.dstack([picture.pixels, picture.focus])
        if self._full or planes.shape != (self.size, self.size, self._planes):
            return
        data = np.ascontiguousarray(planes).tobytes()
        try:
            file = self._opened()
            file.seek(index * (_HEAD.size + len(data)))
            file.write(_HEAD.pack(True, zlib.crc32(data)) + data)
        except OSError as error:
            self._full = True
            console.warn(f"{self.path}: {error.strerror or error}; no more pictures are kept there")

    def _opened(self) -> IO[bytes]:
        """The file, unbuffered; each process has its own place in it."""
        if self._file is None or self._owner != os.getpid():
            self._file, self._owner = self.path.open("r+b", buffering=0), os.getpid()
        return self._file

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None}
