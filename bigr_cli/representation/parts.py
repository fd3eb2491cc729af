"""Features on their way to a file: kept in parts in a hidden folder beside it, from which a killed run goes on."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigr_cli.cache import intact
from bigr_cli.errors import RunError
from bigr_cli.files import atomic_write, writing
from bigr_cli.locks import FolderLock, InUseError

_IDENTITY = "identity"
_OWN = re.compile(r"\d{8}\.npz|\..*\.part")


@dataclass(frozen=True)
class Shard:
    """`features` (n, ...), and of each row its path and label; `failed` are the images left out, with the reasons."""

    features: NDArray[Any]
    paths: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


class Shards:
    """Numbered shards in a folder; with another identity than theirs they are thrown away."""

    def __init__(self, output: Path, identity: str) -> None:
        """`identity` is a text that is the same only if the shards would be the same."""
        whole = output.absolute()
        self.folder = whole.parent / f".{whole.name[:48]}.features"
        self.identity = identity
        self._output, self._lock = output, FolderLock(self.folder)

    def open(self) -> None:
        """Make the folder, if it is not there with this identity.

        This process holds it from then on, until `close`.

        Raises:
            InUseError: another process is making this file.
            RunError: it cannot be made.
        """
        with writing(self.folder):
            try:
                self._lock.take()
                if self._found() != self.identity:
                    self._clear()
                    self.folder.mkdir(parents=True, exist_ok=True)
                    with atomic_write(self.folder / _IDENTITY) as temporary:
                        temporary.write_text(self.identity, encoding="utf-8")
            except InUseError as error:
                reason = str(error).removeprefix(f"{self.folder}: ")
                raise InUseError(f"{self._output}: {reason}", hint=error.hint) from error

    def close(self) -> None:
        """Let another process have it."""
        self._lock.leave()

    def missing(self, count: int) -> list[int]:
        """The numbers below `count` of the shards that are not there, or damaged."""
        return [number for number in range(count) if self._read(number) is None]

    def write(self, number: int, shard: Shard) -> None:
        """Keep a shard; RunError if it cannot be written."""
        record = {"paths": shard.paths, "labels": shard.labels, "failed": shard.failed}
        path = self._path(number)
        with writing(path), atomic_write(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, features=shard.features, record=np.array(json.dumps(record)))

    def read(self, number: int) -> Shard:
        """A shard; RunError if it is not there or damaged."""
        shard = self._read(number)
        if shard is None:
            raise RunError(f"{self._path(number)}: cannot be read again after writing")
        return shard

    def remove(self) -> None:
        """Delete the shards, and the folder if there is nothing else in it."""
        with suppress(OSError):
            self._clear()
            self.folder.rmdir()

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.name == _IDENTITY or _OWN.fullmatch(path.name):
                path.unlink()

    def _found(self) -> str | None:
        try:
            return (self.folder / _IDENTITY).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08}.npz"

    def _read(self, number: int) -> Shard | None:
        """A shard; None if it is not there or damaged."""

        def read(path: Path) -> Shard:
            with np.load(path, allow_pickle=False) as file:
                record = json.loads(str(file["record"]))
                failed = [(name, reason) for name, reason in record["failed"]]
                return Shard(file["features"], record["paths"], record["labels"], failed)

        return intact(read, self._path(number))
