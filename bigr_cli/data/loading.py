"""From numbered images, or their codes, to batches of tensors, rendered or read ahead by worker processes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from bigr_cli import console
from bigr_cli.data.sources import Source
from bigr_cli.errors import BigrError, RunError

_PREFETCH = 4  # batches that each worker has ready
_SHARED = Path("/dev/shm")  # through which batches come from the workers, on Linux
_HINT = "data.workers=0 needs none, smaller batches less; containers have more with --shm-size=1g"
_KILLED = "a process that prepares images was ended from outside; is there enough memory?"
_NO_ROOM = ("shared memory", "Bus error", "unable to write to file </torch_", "No space left on device")


class Batch(NamedTuple):
    """`images` (B, 3, H, W) uint8, `labels` (B,) int64, `foreground` (B, 1, H, W) uint8: zeros where it is not known.

    `captions` (B) say what they show, empty where that is not known.
    Where `codes` (B, L, K) bool are there, made beforehand, they stand for the images, and those are empty.
    """

    images: Tensor
    labels: Tensor
    foreground: Tensor
    captions: Sequence[str] = ()
    codes: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        images, labels, foreground = (part.to(device, non_blocking=True) for part in self[:3])
        codes = None if self.codes is None else self.codes.to(device, non_blocking=True)
        return Batch(images, labels, foreground, self.captions, codes)


def as_floats(images: Tensor) -> Tensor:
    """uint8 images → float32 in [0, 1]."""
    return images.float() / 255


class _Images(Dataset[Any]):
    """A source, addressed by (index, variant)."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, Tensor, str]:
        image = self.source.image(*key)
        pixels = torch.from_numpy(np.array(image.pixels)).permute(2, 0, 1)
        size = self.source.size
        foreground = np.zeros((size, size), np.uint8) if image.foreground is None else np.array(image.foreground)
        return pixels, image.label, torch.from_numpy(foreground)[None], self.source.caption(*key)

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[Any] | BigrError:
        """A batch, or what was wrong: an exception would come out of a worker with its traceback for a message."""
        try:
            return [self[key] for key in keys]
        except BigrError as error:
            return error


def _collate(rows: list[Any] | BigrError) -> Any:
    return rows if isinstance(rows, BigrError) else default_collate(rows)


class Positions(Sampler[list[tuple[int, int]]]):
    """Which images each batch holds, as a pure function of the batch's number: that makes resuming exact.

    A finite source is shuffled anew in every pass, by a permutation keyed by (seed, pass). Each process takes its own
    part of the global batch, so the number of processes does not change what a step sees.
    """

    def __init__(
        self,
        total: int,
        batch: int,
        *,
        seed: int,
        start: int = 0,
        rank: int = 0,
        processes: int = 1,
        augment: bool = True,
    ) -> None:
        """`batch` is that of one process; `start` the number of the first batch."""
        self.total, self.batch, self.seed, self.start = total, batch, seed, start
        self.rank, self.processes, self.augment = rank, processes, augment
        self._pass, self._permutation = -1, np.zeros(0, np.int64)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        number = self.start
        while True:
            first = (number * self.processes + self.rank) * self.batch
            yield [self.position(first + i) for i in range(self.batch)]
            number += 1

    def position(self, number: int) -> tuple[int, int]:
        """The image, and the variant of it, that training takes as its `number`th."""
        if self.total >= 2**32:  # endless: no shuffling, no repetition
            return number, 0
        passes, place = divmod(number, self.total)
        if passes != self._pass:
            self._pass = passes
            self._permutation = np.random.default_rng((self.seed, passes)).permutation(self.total)
        return int(self._permutation[place]), passes + 1 if self.augment else 0


def load_batches(
    source: Source, positions: Iterable[list[tuple[int, int]]], *, workers: int
) -> Generator[Batch, None, None]:
    """The images at these positions, batch by batch; with workers, rendered ahead by that many processes.

    Raises:
        ImageError: an image cannot be read; names the file.
        RunError: there is too little shared memory for the workers' batches.
        RunError: a worker was killed. `workers_watched` is for what can come of that between two batches.
    """
    loader = DataLoader(
        _Images(source),
        batch_sampler=positions,
        num_workers=workers,
        collate_fn=_collate,
        prefetch_factor=_ahead(source, getattr(positions, "batch", None), workers) if workers else None,
        # Elsewhere a fork is unsafe or impossible; what it spares is the import of torch in every worker.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        worker_init_fn=_quiet_worker,
    )
    running = iter(loader)
    try:
        for batch in running:
            if isinstance(batch, BigrError):
                raise batch
            yield Batch(*batch)
    except (ConnectionError, EOFError) as error:  # a worker that dies while it hands a batch over breaks its connection
        raise RunError(_KILLED) from error
    except RuntimeError as error:
        if any(sign in str(error) for sign in _NO_ROOM):
            raise RunError(f"{_SHARED}: the workers that read images ran out of shared memory", hint=_HINT) from error
        raise
    finally:
        _end(running)


@contextmanager
def workers_watched() -> Iterator[None]:
    """RunError in place of torch's error for a worker that was killed, which comes whenever batches are in use."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise RunError(_KILLED) from error


def _ahead(source: Source, batch: int | None, workers: int) -> int:
    """How many batches each worker has ready; fewer where the shared memory, through which they come, is small.

    Raises:
        RunError: it is too small for one.
    """
    if batch is None or not _SHARED.is_dir():
        return _PREFETCH
    size = batch * source.size**2 * 4  # three colours and the foreground
    free = shutil.disk_usage(_SHARED).free
    fitting = free * 3 // 4 // (size * workers)  # some room for labels and for others
    if fitting >= _PREFETCH:
        return _PREFETCH
    room = f"{_SHARED} has {free / 1e6:.1f} MB of shared memory free"
    if fitting < 1:
        raise RunError(f"{room}, and {workers} workers need {size * workers / 1e6:.1f} MB at least", hint=_HINT)
    console.warn(
        f"{room}: {workers} workers keep {fitting} batches each ready instead of {_PREFETCH}; {_HINT}", once=True
    )
    return fitting


def _end(running: Any) -> None:
    """End the workers: in a friendly way, and those that do not listen by force, or the process would wait for ever."""
    workers = getattr(running, "_workers", ())
    if workers:
        running._shutdown_workers()
    for worker in workers:
        if worker.is_alive():
            worker.kill()
            worker.join()


def all_batches(source: Source, batch: int, *, count: int | None = None) -> Iterator[Batch]:
    """The first `count` images of a source in order, the last batch possibly smaller."""
    total = len(source) if count is None else min(count, len(source))
    return batches_of(source, range(total), batch)


def batches_of(source: Source, places: Sequence[int] | NDArray[np.int64], batch: int) -> Iterator[Batch]:
    """The images of a source with these numbers, the last batch possibly smaller."""
    chunks = ([(int(place), 0) for place in places[at : at + batch]] for at in range(0, len(places), batch))
    return load_batches(source, chunks, workers=0)


def spread_places(source: Source, count: int) -> NDArray[np.int64]:
    """Numbers of at most so many images, at equal distances: of an ordered source, the first would be of one kind."""
    return np.unique(np.linspace(0, len(source) - 1, min(count, len(source))).astype(np.int64))


def _quiet_worker(_: int) -> None:
    """One thread a worker; signals to the whole group are for the main process alone, which ends its workers."""
    import signal

    for each in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(each, signal.SIG_IGN)
    torch.set_num_threads(1)


@dataclass(frozen=True)
class PackedCodes:
    """`packed` (N, V, ⌈L·K / 8⌉) uint8: the codes of V variants of each of N images, packed by `numpy.packbits`."""

    packed: NDArray[np.uint8]
    tokens: int
    bits: int

    def take(self, positions: list[tuple[int, int]]) -> torch.Tensor:
        """The codes at (image, variant) pairs: (B, L, K) bool. Variants are counted on, round and round."""
        images, variants = np.array(positions).T
        rows = self.packed[images, variants % self.packed.shape[1]]
        bits = np.unpackbits(rows, axis=1, count=self.tokens * self.bits)
        return torch.from_numpy(bits.reshape(len(rows), self.tokens, self.bits)).bool()


def open_codes(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The array in a file, mapped into memory; None if it is not such an array."""
    array: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array if array.shape == shape and array.dtype == np.uint8 else None


def write_codes(path: Path, shape: tuple[int, ...], blocks: Iterable[NDArray[np.uint8]]) -> None:
    """An .npy file, written from front to back: a full disk then is an error, which it is not for a mapped file."""
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for block in blocks:
            stream.write(block.tobytes())


def code_batches(
    codes: PackedCodes, source: Source, positions: Iterable[list[tuple[int, int]]]
) -> Generator[Batch, None, None]:
    """The codes, labels and captions at these positions, batch by batch, without images."""
    none = torch.empty(0, dtype=torch.uint8)
    for rows in positions:
        labels = torch.tensor([source.label(index) for index, _ in rows])
        captions = [source.caption(*row) for row in rows]
        yield Batch(none, labels, none, captions, codes.take(rows))
