"""What a run is trained on: the images, which of them are held out, and which there were when it began.

A run that goes on holds out the same images, whatever was added, removed or renamed meanwhile, and says what changed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bigr_cli import console
from bigr_cli.data.cached import CachedSource, ReducedSource
from bigr_cli.data.file_source import FileSource
from bigr_cli.data.folders import FolderSource
from bigr_cli.data.sources import ScenesSource, Source, color_and_label, open_source
from bigr_cli.errors import CheckpointError, UsageError
from bigr_cli.files import atomic_write
from bigr_cli.plain_text import parse_colour
from bigr_cli.training.config import DataConfig
from bigr_cli.zoo.config import CONFIG_FILE, read_config

DATA_FILE = "data.npz"

_Source = TypeVar("_Source", bound=FileSource)
_COLUMNS = {"names": "<u8", "sizes": "<u8", "times": "<i8", "held_out": "<u8", "held_out_sizes": "<u8"}
HELD_OUT = 2**41  # where the held-out scenes begin, beyond the last one that training can reach


@dataclass(frozen=True)
class DataRecord:
    """Images by hashes of their names (N,), their sizes in bytes and their files' times; of those held out (H,) also
    the SHA-256 of their bytes. `labels` are in the order that the model's classes have.
    """

    labels: tuple[str, ...]
    names: NDArray[np.uint64]
    sizes: NDArray[np.uint64]
    times: NDArray[np.int64]
    held_out: NDArray[np.uint64]
    held_out_sizes: NDArray[np.uint64]
    digests: tuple[str, ...]

    def write(self, run: Path) -> None:
        """Write it into a run's folder. OSError if that cannot be."""
        about = json.dumps({"labels": self.labels, "digests": self.digests})
        with atomic_write(run / DATA_FILE) as temporary, temporary.open("wb") as stream:
            np.savez(stream, about=np.array(about), **{name: getattr(self, name) for name in _COLUMNS})


def read_record(run: Path) -> DataRecord | None:
    """The record in a run's folder; None if there is none. CheckpointError if it is damaged."""
    path = run / DATA_FILE
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            columns = {name: file[name] for name in _COLUMNS}
        if any(column.ndim != 1 or column.dtype != _COLUMNS[name] for name, column in columns.items()):
            raise ValueError("its columns are of another kind")
        return DataRecord(tuple(map(str, about["labels"])), digests=tuple(map(str, about["digests"])), **columns)
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        hint = "without this file, images that were held out so far may be trained on"
        raise CheckpointError(f"{path}: cannot be read ({error})", hint=hint) from error


def begun(source: FileSource, held_out: NDArray[np.bool_]) -> DataRecord:
    """The record of a run that begins, or did so before runs had any. `held_out` (N,) says which images are."""
    names, (sizes, times) = source.name_hashes(), source.states()
    digests = tuple(_digest(source, int(index)) for index in np.flatnonzero(held_out))
    return DataRecord(source.labels, names, sizes, times, names[held_out], sizes[held_out], digests)


def going_on(source: FileSource, record: DataRecord, where: str) -> tuple[NDArray[np.bool_], DataRecord]:
    """Which images are held out (N,) now, by name or, where that is new, by content; says what changed."""
    names, (sizes, times) = source.name_hashes(), source.states()
    _say_changes(where, record, names, sizes, times)
    held_out = np.isin(names, record.held_out)
    new = ~np.isin(names, record.names)
    copies = [
        index
        for index in np.flatnonzero(new & ~held_out & np.isin(sizes, record.held_out_sizes))
        if _digest(source, int(index)) in record.digests
    ]
    held_out[copies] = True
    gone = int((~np.isin(record.held_out, names)).sum())
    if copies or gone:
        found = f"; {len(copies):,} with other names are the same images and stay held out" if copies else ""
        console.warn(f"{where}: {gone:,} of {len(record.held_out):,} images that were held out are gone{found}")
    more = replace(
        record,
        held_out=np.concatenate([record.held_out, names[copies]]),
        held_out_sizes=np.concatenate([record.held_out_sizes, sizes[copies]]),
        digests=(*record.digests, *(_digest(source, int(index)) for index in copies)),
    )
    return held_out, more


def labels_of_old_run(source: FileSource, known: tuple[str, ...] | None) -> tuple[str, ...]:
    """The classes of a run that has no record: those of its model, or in the order of letters that they once had."""
    if known is not None:
        return () if known == ("picture",) and "picture" not in source.labels else known
    if isinstance(source, FolderSource):
        return tuple(sorted(source.labels))
    return tuple(sorted(source.labels, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name)))


def _say_changes(
    where: str,
    record: DataRecord,
    names: NDArray[np.uint64],
    sizes: NDArray[np.uint64],
    times: NDArray[np.int64],
) -> None:
    added = int((~np.isin(names, record.names)).sum())
    removed = int((~np.isin(record.names, names)).sum())
    _, now, before = np.intersect1d(names, record.names, return_indices=True)
    other = sizes[now] != record.sizes[before]
    dated = (times[now] != record.times[before]) & ~other
    parts = [(added, "added"), (removed, "removed"), (int(other.sum()), "changed")]
    said = ", ".join(f"{count:,} {what}" for count, what in parts if count)
    if said:
        console.warn(
            f"{where}: the images have changed since the run began: {said}; "
            f"there were {len(record.names):,}, now there are {len(names):,}"
        )
    if dated.any():
        console.say(
            f"{where}: {int(dated.sum()):,} images have another date than when the run began: copied, or edited?"
        )


def _digest(source: FileSource, index: int) -> str:
    """The SHA-256 of an image's file; "" if it cannot be read."""
    try:
        with source.opened(index) as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:
        return ""


def open_data(data: DataConfig, size: int, *, captions: bool = False) -> tuple[Source, Source]:
    """What a run that begins is trained on, and what is held out; errors as `open_recorded`."""
    return open_recorded(data, size, captions=captions)[:2]


def open_recorded(
    data: DataConfig, size: int, *, captions: bool = False, classes: bool = True, run: Path | None = None
) -> tuple[Source, Source, DataRecord | None]:
    """What is trained on, what is held out, and what there is to know of it when the run goes on.

    Args:
        data: which images, and how many are held out.
        size: of the images, in pixels.
        captions: whether these are needed.
        classes: whether the model learns classes, which then keep their order.
        run: the folder of a run that goes on.

    Raises:
        UsageError: data that are too few, or not there, or broken, or that have classes the run lacks.
        RunError: there is no writing to the cache of images.
        CheckpointError: what the run's folder says about its data cannot be read.
    """
    record = None
    if data.source == "scenes":
        training, held_out = _scenes(data, size)
    else:
        training, held_out, record = _files(data, size, captions, classes, run)
    return *_cached(data, training, held_out), record


def _cached(data: DataConfig, training: Source, held_out: Source) -> tuple[Source, Source]:
    """Both with what the data's settings keep of them on disk. Validations read each image as it is every time."""
    if data.cache_images:
        return CachedSource(training), held_out
    if data.cache_reduced and isinstance(training, FileSource):
        copies = ReducedSource(training)
        console.say(f"crops are cut out of {copies}")
        return copies, CachedSource(held_out)
    return training, held_out


def _scenes(data: DataConfig, size: int) -> tuple[Source, Source]:
    training = open_source(data.source, size, seed=data.seed, count=data.count)
    if isinstance(training, ScenesSource):
        training = replace(training, without=frozenset(map(color_and_label, data.without)))
    return training, open_source(data.source, size, seed=data.seed, start=HELD_OUT, count=data.validation)


def _files(
    data: DataConfig, size: int, captions: bool, classes: bool, run: Path | None
) -> tuple[Source, Source, DataRecord]:
    ground = parse_colour(data.background)
    every = open_source(data.source, size, captions=captions, check=data.check, background=ground)
    if not isinstance(every, FileSource):
        raise TypeError(f"expected images in files, got {type(every).__name__}")
    wanted = min(data.validation, len(every) // 10)
    if wanted == 0:
        raise UsageError(f"{data.source}: expected at least 10 images, of which one is held out, got {len(every)}")
    record = read_record(run) if run is not None else None
    if run is not None and classes and not captions:
        labels = record.labels if record is not None else labels_of_old_run(every, _labels_of(run))
        every = _with_labels(every, labels, data.source)
    if record is not None:
        held_out, record = going_on(every, record, data.source)
    if record is None or not held_out.any():
        # A run of before runs had records held out what the seed chose by the images' places.
        by_place = run is not None and record is None
        held_out = _by_place(len(every), wanted, data.seed) if by_place else every.chosen(wanted, seed=data.seed)
        record = begun(every, held_out)
    return *every.split(held_out, count=data.count, flip=data.flip, crop=data.crop), record


def _by_place(total: int, count: int, seed: int) -> NDArray[np.bool_]:
    chosen = np.zeros(total, dtype=np.bool_)
    chosen[np.random.default_rng(seed).permutation(total)[:count]] = True
    return chosen


def _labels_of(run: Path) -> tuple[str, ...] | None:
    """The labels of the model that a run has written, if it has."""
    return read_config(run).labels if (run / CONFIG_FILE).is_file() else None


def _with_labels(source: FileSource, labels: tuple[str, ...], where: str) -> FileSource:
    """The images with the classes numbered as the run began with them."""
    unknown = [label for label in source.labels if label not in labels] if labels else []
    if unknown:
        raise UsageError(
            f"{where}: has classes that the run lacks: {', '.join(unknown[:5])}{', …' if len(unknown) > 5 else ''}",
            hint="a run keeps its classes; other ones need a run of their own",
        )
    if gone := [label for label in labels if label not in source.labels]:
        console.warn(f"{where}: the run's classes {', '.join(gone[:5])} have no images any more")
    return source.relabelled(labels)
