"""From numbered pictures to batches of tensors, rendered or read ahead by worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from bigr_cli.data.sources import Source


class Batch(NamedTuple):
    """`images` (B, 3, H, W) uint8, `labels` (B,) int64, `focus` (B, 1, H, W) uint8: zeros where it is not known."""

    images: Tensor
    labels: Tensor
    focus: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(*(part.to(device, non_blocking=True) for part in self))


def as_floats(images: Tensor) -> Tensor:
    """uint8 pictures → float32 in [0, 1]."""
    return images.float() / 255


class _Pictures(Dataset[Any]):
    """A source, addressed by (index, variant)."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, Tensor]:
        picture = self.source.picture(*key)
        pixels = torch.from_numpy(np.array(picture.pixels)).permute(2, 0, 1)
        size = self.source.size
        focus = np.zeros((size, size), np.uint8) if picture.focus is None else np.array(picture.focus)
        return pixels, picture.label, torch.from_numpy(focus)[None]


class Positions(Sampler[list[tuple[int, int]]]):
    """Which pictures each batch holds, as a pure function of the batch's number: that makes resuming exact.

    A finite source is shuffled anew in every pass, by a permutation keyed by (seed, pass). Each process takes its own
    part of the global batch, so the number of processes does not change what a step sees.
    """

    def __init__(
        self, total: int, batch: int, *, seed: int, start: int = 0, rank: int = 0, processes: int = 1, augment: bool = True
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

    def position(self, drawn: int) -> tuple[int, int]:
        """The picture, and the variant of it, that is drawn as number `drawn` since training began."""
        if self.total >= 2**32:  # endless: no shuffling, no repetition
            return drawn, 0
        passes, place = divmod(drawn, self.total)
        if passes != self._pass:
            self._pass = passes
            self._permutation = np.random.default_rng((self.seed, passes)).permutation(self.total)
        return int(self._permutation[place]), passes + 1 if self.augment else 0


def training_batches(source: Source, positions: Positions, *, workers: int) -> Iterator[Batch]:
    """Endless batches of a source; with workers, rendered ahead by that many processes."""
    loader = DataLoader(
        _Pictures(source),
        batch_sampler=positions,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers and hasattr(__import__("os"), "fork") else None,
        worker_init_fn=_quiet_worker,
    )
    for images, labels, focus in loader:
        yield Batch(images, labels, focus)


def all_batches(source: Source, batch: int, *, count: int | None = None) -> Iterator[Batch]:
    """The first `count` pictures of a source in order, the last batch possibly smaller."""
    total = len(source) if count is None else min(count, len(source))
    pictures = _Pictures(source)
    for first in range(0, total, batch):
        rows = [pictures[index, 0] for index in range(first, min(first + batch, total))]
        images, labels, focus = zip(*rows, strict=True)
        yield Batch(torch.stack(images), torch.tensor(labels), torch.stack(focus))


def _quiet_worker(_: int) -> None:
    """One thread a worker; signals to the whole group are for the main process alone, which ends its workers."""
    import signal

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    torch.set_num_threads(1)
