"""Features of many images, batch by batch, and what identifies a run that makes them."""

from __future__ import annotations

import hashlib
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bigr_cli.errors import BigrError
from bigr_cli.plain_text import short_repr
from bigr_cli.representation.features import Wanted, embed_batch
from bigr_cli.representation.items import Item, Pixels, Read, read_batches
from bigr_cli.runtime.memory import Batches
from bigr_cli.version import __version__

if TYPE_CHECKING:
    from bigr_cli.loaded import LoadedModel

_BATCH_BYTES = 2**28  # that the features of a batch may have
PART = 256  # images in a part, about
_PART_BYTES = 2**26


@dataclass
class Embedded:
    """What parts hold together, but for the features: paths, labels, and the images left out with the reasons."""

    paths: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    __repr__ = short_repr


def batch_size(model: LoadedModel, wanted: Wanted, asked: int | None) -> int:
    """How many images to look at once: as asked for, or as the model takes, but fewer if their features are large."""
    if asked is not None:
        return asked
    return max(1, min(model.coding_batch_size(), _BATCH_BYTES // (math.prod(wanted.shape) * wanted.dtype.itemsize)))


def pixels_of(rows: Sequence[tuple[Item, Read]]) -> list[tuple[Item, Pixels]]:
    """Those that could be read."""
    return [(item, read) for item, read in rows if isinstance(read, Pixels)]


def embed_pixels(model: LoadedModel, pixels: Sequence[Pixels], wanted: Wanted, batches: Batches) -> NDArray[Any]:
    """The features of images that were read: (B, *wanted.shape); in parts, if there is no room for all at once."""
    import torch

    def looked_at(some: Sequence[Pixels]) -> NDArray[Any]:
        levels = torch.from_numpy(np.stack([each.levels for each in some]))  # (B, H, W, 3)
        return embed_batch(model.network, levels.to(model.device).permute(0, 3, 1, 2).float() / 255, wanted)

    if not pixels:
        return np.zeros((0, *wanted.shape), dtype=wanted.dtype)
    return np.concatenate([made for _, made in batches.run(pixels, looked_at)])


@dataclass(frozen=True)
class Part:
    """`features` (n, ...), and of each row its path and label; `failed` are the images left out, with the reasons."""

    features: NDArray[Any]
    paths: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Embedding:
    """Features wanted of a model: of these images, `batch` at a time, in numbered parts of whole batches."""

    model: LoadedModel
    items: Sequence[Item]
    wanted: Wanted
    batch: int

    @property
    def part_size(self) -> int:
        """How many images make a part."""
        row = math.prod(self.wanted.shape) * self.wanted.dtype.itemsize
        return self.batch * max(1, min(PART, _PART_BYTES // row) // self.batch)

    def identity(self) -> str:
        """The same only if a run makes the same bits: weights, settings, machine, files and their dates."""
        import torch

        model = self.model
        # Sums are split among threads, and rounded.
        threads = torch.get_num_threads() if model.device.type == "cpu" and not _one_core_each(model) else 0
        machine = (model.device.type, str(model.dtype), threads)
        fixed = (__version__, sorted(model.config.sha256.items()), self.wanted, self.batch, *machine)
        digest = hashlib.sha256(repr(fixed).encode())
        for source in {id(item.source): item.source for item in self.items if item.source is not None}.values():
            digest.update(source.fingerprint().encode())
        for item in self.items:
            digest.update(f"{item!r} {_state(item)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def parts(
        self, numbers: Sequence[int], advance: Callable[[int], None], fail: Callable[[str, BigrError], None]
    ) -> Iterator[Part]:
        """The parts of these numbers, in rising order.

        Which images are in a batch together does not depend on the numbers: so they have the same features in any case.

        Args:
            advance: told how many more images are done; `fail` what is left out, as it happens.
        """
        size, config = self.part_size, self.model.config
        mine = chain.from_iterable(self.items[number * size : (number + 1) * size] for number in numbers)
        coming = self._batches(read_batches(mine, config.image_size, self.batch, config.ground), advance, fail)
        for _ in numbers:
            some = list(islice(coming, size // self.batch))
            yield Part(
                np.concatenate([part.features for part in some]).astype(self.wanted.dtype, copy=False),
                [path for part in some for path in part.paths],
                [label for part in some for label in part.labels],
                [entry for part in some for entry in part.failed],
            )

    def _batches(
        self,
        reading: Iterator[list[tuple[Item, Read]]],
        advance: Callable[[int], None],
        fail: Callable[[str, BigrError], None],
    ) -> Iterator[Part]:
        """A part of each batch, in their order."""
        model, batches = self.model, Batches(self.batch)
        if self.wanted.label is not None:
            model.network.conditions([self.wanted.label])  # so that no two threads look for an encoder's features of it
        with _workers(model) as (pool, count):
            waiting: deque[tuple[list[tuple[Item, Read]], Future[NDArray[Any]]]] = deque()
            for rows in chain(reading, [None] * count):
                if rows is not None:
                    pixels = [pixels for _, pixels in pixels_of(rows)]
                    waiting.append((rows, pool.submit(embed_pixels, model, pixels, self.wanted, batches)))
                if waiting and (rows is None or len(waiting) > count):
                    done, features = waiting.popleft()
                    yield _part(done, features.result(), advance, fail)


def _part(
    rows: Sequence[tuple[Item, Read]],
    features: NDArray[Any],
    advance: Callable[[int], None],
    fail: Callable[[str, BigrError], None],
) -> Part:
    failed = []
    for item, read in rows:
        if isinstance(read, BigrError):
            fail(item.name, read)
            failed.append((item.name, str(read)))
    there = pixels_of(rows)
    advance(len(rows))
    return Part(features, [item.name for item, _ in there], [pixels.label for _, pixels in there], failed)


def _one_core_each(model: LoadedModel) -> bool:
    """Whether a batch gets one core, and several are worked on together: on a CPU that holds all of the model.

    That is faster than all cores at one batch, where each waits for the others after every operation. Blocks that are
    brought when it is their turn are there for one batch at a time.
    """
    return model.device.type == "cpu" and not any(weight.is_meta for weight in model.generator.parameters())


@contextmanager
def _workers(model: LoadedModel) -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """Threads that batches are embedded in, and how many there are."""
    import torch

    threads = torch.get_num_threads()
    count, each = (threads, 1) if _one_core_each(model) else (1, threads)
    pool = ThreadPoolExecutor(count, "bigr-embedder", initializer=torch.set_num_threads, initargs=(each,))
    try:
        yield pool, count
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # a part of the setting is the whole process's


def _state(item: Item) -> str:
    if item.scene is not None or item.source is not None:
        return ""
    try:
        status = os.stat(item.name)
    except (OSError, ValueError):
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"
