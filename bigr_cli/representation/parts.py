"""Features of many images in a file, made in parts: a hidden folder beside it keeps these, so a killed run goes on."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bigr_cli import console
from bigr_cli.errors import BigrError, ImageError, RunError, UsageError
from bigr_cli.files import atomic_write, writing
from bigr_cli.folders import FolderLock, InUseError
from bigr_cli.home import intact
from bigr_cli.representation.embedding import Embedded, Embedding, Part
from bigr_cli.representation.features import Wanted, provenance_of
from bigr_cli.representation.index_files import Table, write_table
from bigr_cli.representation.items import Item
from bigr_cli.runtime.processes import Team

if TYPE_CHECKING:
    from bigr_cli.loaded import LoadedModel

_IDENTITY = "identity"
_OWN = re.compile(r"\d{8}\.npz|\..*\.part")
_ALONE = Team()

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Given how many images are to come, a context with what is told of those done."""


class Parts:
    """Numbered parts in a folder; with another identity than theirs they are thrown away."""

    def __init__(self, output: Path, identity: str) -> None:
        """`identity` is a text that is the same only if the parts would be the same."""
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
        """The numbers below `count` of the parts that are not there, or damaged."""
        return [number for number in range(count) if self._read(number) is None]

    def write(self, number: int, part: Part) -> None:
        """Keep a part; RunError if it cannot be written."""
        record = {"paths": part.paths, "labels": part.labels, "failed": part.failed}
        path = self.path_of(number)
        with writing(path), atomic_write(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, features=part.features, record=np.array(json.dumps(record)))

    def read(self, number: int) -> Part:
        """A part; RunError if it is not there or damaged."""
        part = self._read(number)
        if part is None:
            raise RunError(f"{self.path_of(number)}: cannot be read again after writing")
        return part

    def remove(self) -> None:
        """Delete the parts, and the folder if there is nothing else in it."""
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

    def path_of(self, number: int) -> Path:
        """The file of a part."""
        return self.folder / f"{number:08}.npz"

    def _read(self, number: int) -> Part | None:
        """A part; None if it is not there or damaged."""

        def read(path: Path) -> Part:
            with np.load(path, allow_pickle=False) as file:
                record = json.loads(str(file["record"]))
                failed = [(name, reason) for name, reason in record["failed"]]
                return Part(file["features"], record["paths"], record["labels"], failed)

        return intact(read, self.path_of(number))


def gathered(parts: Parts, count: int) -> Embedded:
    """What the first `count` parts say of their images. RunError if one cannot be read."""
    made = Embedded()
    for number in range(count):
        part = parts.read(number)
        made.paths += part.paths
        made.labels += map(sys.intern, part.labels)
        made.failed += part.failed
    return made


@contextmanager
def _unseen(total: int) -> Iterator[Callable[[int], None]]:
    yield lambda count: None


def embed_to_file(
    model: LoadedModel,
    items: Sequence[Item],
    wanted: Wanted,
    output: Path,
    *,
    batch: int,
    overwrite: bool = False,
    processes: Team = _ALONE,
    progress: Progress = _unseen,
    fail: Callable[[str, BigrError], None] = lambda name, error: None,
    done: Callable[[Embedded], None] = lambda made: None,
) -> Embedded | None:
    """The features of images in a file, made part by part: a run that was stopped goes on where it was.

    Args:
        output: .npz, .npy, .safetensors, .jsonl or .parquet.
        batch: how many images at once.
        overwrite: replace what is there.
        processes: those that share the work; all must come here, and the first one writes.
        progress: given the number of images to come, a context with what is told of those done.
        fail: told of each image that is left out, as it happens.
        done: told what was made, whether or not it can be written; the first process only.

    Returns:
        What the file says of its rows; None in all processes but the first.

    Raises:
        ImageError: the only image cannot be read.
        RunError: none of several can; the file cannot be written.
        UsageError: the file is there already; the processes would make different features.
    """
    work = Embedding(model, items, wanted, batch)
    with closing(Parts(output, work.identity())) as parts:
        count = _make_parts(parts, work, processes, progress, fail)
        made = gathered(parts, count) if processes.first else None
        if made is not None:
            try:
                _write(output, made, parts, count, work, overwrite=overwrite)
            finally:
                done(made)
        processes.wait()
    return made


def _make_parts(
    parts: Parts, work: Embedding, processes: Team, progress: Progress, fail: Callable[[str, BigrError], None]
) -> int:
    """Have all parts there, made before or now, by this process and the others; gives how many there are."""
    if processes.broadcast(parts.identity) != parts.identity:
        what = "images, model, settings and number format must be the same"
        raise UsageError(f"process {processes.rank} would make other features: {what}", hint="try --dtype float32")
    size, total = work.part_size, len(work.items)
    count = -(-total // size)
    if processes.first:
        parts.open()
    missing = processes.broadcast(parts.missing(count) if processes.first else [])
    mine = missing[processes.rank :: processes.count]
    left, my_share = (sum(min(size, total - each * size) for each in some) for some in (missing, mine))
    if left < total:
        console.say(f"going on: {total - left} of {total} images were done before")
    try:
        with progress(my_share) as advance:
            for number, part in zip(mine, work.parts(mine, advance, fail), strict=True):
                parts.write(number, part)
    except UsageError:  # it would come again: there is nothing to go on from
        parts.remove()
        raise
    processes.wait()
    return count


def _write(output: Path, made: Embedded, parts: Parts, count: int, work: Embedding, *, overwrite: bool) -> None:
    """Write what so many parts hold, and remove them."""
    if not made.paths:
        parts.remove()
        if len(made.failed) == 1:
            raise ImageError(made.failed[0][1])
        raise RunError(f"none of {len(made.failed)} images could be read; {output} was not written")
    wanted, model = work.wanted, work.model
    known = provenance_of(wanted, model.config, model.name, model.folder)
    table = Table(made.paths, made.labels, wanted.shape, wanted.dtype, known)
    write_table(output, table, (parts.read(each).features for each in range(count)), overwrite=overwrite)
    parts.remove()
