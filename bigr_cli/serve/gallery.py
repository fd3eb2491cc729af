"""The images that `bigr serve` was given, one after the other, and results that are saved beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bigr_cli.errors import ImageError, RunError, UsageError
from bigr_cli.files import reading, writing
from bigr_cli.imaging.files import write_bytes

_MOST_TRIES = 1000


@dataclass
class Gallery:
    """Files by their place. Clients name them by number only, and never say where anything is written."""

    paths: Sequence[Path] = ()
    saved: dict[int, list[str]] = field(default_factory=dict)

    def described(self) -> list[dict[str, Any]]:
        """What clients are told of the images."""
        return [
            {"index": index, "name": path.name, "saved": self.saved.get(index, [])}
            for index, path in enumerate(self.paths)
        ]

    def read(self, index: int, most: int) -> tuple[str, bytes]:
        """The name and the bytes of a file.

        Raises:
            UsageError: there is none of this number, or it has more than `most` bytes.
            ImageError: it cannot be read.
        """
        path = self._path(index)
        with reading(path.name, ImageError):
            size = path.stat().st_size
            if size > most:
                raise UsageError(f"{path.name}: has {size:,} bytes, but at most {most:,} are taken")
            return path.name, path.read_bytes()

    def save(self, index: int, name: str, data: bytes) -> str:
        """Write a result beside its image; a name that is taken gets a number. The name of the file.

        Raises:
            UsageError: there is no image of this number.
            RunError: it cannot be written.
        """
        folder = self._path(index).parent
        stem, _, suffix = name.rpartition(".")
        for number in range(1, _MOST_TRIES):
            path = folder / (name if number == 1 else f"{stem}-{number}.{suffix}")
            with writing(path.name):
                try:
                    if path.is_file() and path.read_bytes() == data:
                        break
                    write_bytes(path, data)
                except UsageError:  # there is another file of this name
                    continue
            break
        else:
            raise RunError(f"{name}: there are {_MOST_TRIES - 1} files of this name")
        names = self.saved.setdefault(index, [])
        if path.name not in names:
            names.append(path.name)
        return path.name

    def _path(self, index: int) -> Path:
        if not 0 <= index < len(self.paths):
            raise UsageError(f"there is no image {index}; there are {len(self.paths)}")
        return self.paths[index]
