"""Features of many images: shard by shard, so that memory stays flat and a killed run can go on."""

from __future__ import annotations

import hashlib
import math
import os
import sys
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
from bigr_cli.representation.parts import Shard, Shards
from bigr_cli.runtime.batches import Batches
from bigr_cli.version import __version__

if TYPE_CHECKING:
    from bigr_cli.model import Model

SHARD = 256  # images in a shard, about
_SHARD_BYTES = 2**26
_BATCH_BYTES = 2**28  # that the features of a batch may have


@dataclass
class Embedded:
    """What shards hold together, but for the features: paths, labels, and the images left out with the reasons."""

    paths: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    __repr__ = short_repr


def batch_size(model: Model, wanted: Wanted, asked: int | None) -> int:
    """How many images to look at once: as asked for, or as the model takes, but fewer if their features are large."""
    if asked is not None:
        return asked
    return max(1, min(model.coding_batch_size(), _BATCH_BYTES // (math.prod(wanted.shape) * wanted.dtype.itemsize)))


def identity(model: Model, items: Sequence[Item], wanted: Wanted, batch: int) -> str:
    """A text that is the same only if a run makes the same bits: weights, settings, machine, files and their dates."""
    import torch

    # Sums are split among threads, and rounded.
    threads = torch.get_num_threads() if model.device.type == "cpu" and not _one_core_each(model) else 0
    machine = (model.device.type, str(model.dtype), threads)
    fixed = (__version__, sorted(model.config.sha256.items()), wanted, batch, *machine)
    digest = hashlib.sha256(repr(fixed).encode())
    for source in {id(item.source): item.source for item in items if item.source is not None}.values():
        digest.update(source.fingerprint().encode())
    for item in items:
        digest.update(f"{item!r} {_state(item)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def shard_size(wanted: Wanted, batch: int) -> int:
    """How many images make a shard: whole batches."""
    row = math.prod(wanted.shape) * wanted.dtype.itemsize
    return batch * max(1, min(SHARD, _SHARD_BYTES // row) // batch)


def embed_items(
    model: Model,
    items: Sequence[Item],
    wanted: Wanted,
    shards: Shards,
    numbers: Sequence[int],
    *,
    batch: int,
    advance: Callable[[int], None] = lambda count: None,
    fail: Callable[[str, BigrError], None] = lambda name, error: None,
) -> None:
    """Make the shards of these numbers, in rising order.

    Which images are in a batch together does not depend on the numbers: so they have the same features in any case.

    Args:
        items: all images, those of other shards too.
        batch: how many at once.
        advance: told how many more are done; `fail` what is left out, as it happens.

    Raises:
        RunError: a shard cannot be written.
    """
    size = shard_size(wanted, batch)
    mine = chain.from_iterable(items[number * size : (number + 1) * size] for number in numbers)
    batches = Batches(batch)
    reading = read_batches(mine, model.config.image_size, batch, model.config.ground)
    coming = _embedded(model, reading, wanted, batches, advance, fail)
    for number in numbers:
        shards.write(number, _joined(list(islice(coming, size // batch)), wanted))


def gathered(shards: Shards, count: int) -> Embedded:
    """What the first `count` shards say of their images. RunError if one cannot be read."""
    made = Embedded()
    for number in range(count):
        shard = shards.read(number)
        made.paths += shard.paths
        made.labels += map(sys.intern, shard.labels)
        made.failed += shard.failed
    return made


def pixels_of(rows: Sequence[tuple[Item, Read]]) -> list[tuple[Item, Pixels]]:
    """Those that could be read."""
    return [(item, read) for item, read in rows if isinstance(read, Pixels)]


def embed_pixels(model: Model, pixels: Sequence[Pixels], wanted: Wanted, batches: Batches) -> NDArray[Any]:
    """The features of images that were read: (B, *wanted.shape); in parts, if there is no room for all at once."""
    import torch

    def looked_at(some: Sequence[Pixels]) -> NDArray[Any]:
        levels = torch.from_numpy(np.stack([each.levels for each in some]))  # (B, H, W, 3)
        return embed_batch(model.network, levels.to(model.device).permute(0, 3, 1, 2).float() / 255, wanted)

    if not pixels:
        return np.zeros((0, *wanted.shape), dtype=wanted.dtype)
    return np.concatenate([made for _, made in batches.run(pixels, looked_at)])


def _embedded(
    model: Model,
    batches: Iterator[list[tuple[Item, Read]]],
    wanted: Wanted,
    together: Batches,
    advance: Callable[[int], None],
    fail: Callable[[str, BigrError], None],
) -> Iterator[Shard]:
    """A shard of each batch, in their order."""
    if wanted.label is not None:
        model.network.conditions([wanted.label])  # so that no two threads look for an encoder's features of it
    with _workers(model) as (pool, count):
        waiting: deque[tuple[list[tuple[Item, Read]], Future[NDArray[Any]]]] = deque()
        for rows in chain(batches, [None] * count):
            if rows is not None:
                pixels = [pixels for _, pixels in pixels_of(rows)]
                waiting.append((rows, pool.submit(embed_pixels, model, pixels, wanted, together)))
            if waiting and (rows is None or len(waiting) > count):
                done, features = waiting.popleft()
                yield _shard(done, features.result(), advance, fail)


def _shard(
    rows: Sequence[tuple[Item, Read]],
    features: NDArray[Any],
    advance: Callable[[int], None],
    fail: Callable[[str, BigrError], None],
) -> Shard:
    failed = []
    for item, read in rows:
        if isinstance(read, BigrError):
            fail(item.name, read)
            failed.append((item.name, str(read)))
    there = pixels_of(rows)
    advance(len(rows))
    return Shard(features, [item.name for item, _ in there], [pixels.label for _, pixels in there], failed)


def _one_core_each(model: Model) -> bool:
    """Whether a batch gets one core, and several are worked on together: on a CPU that holds all of the model.

    That is faster than all cores at one batch, where each waits for the others after every operation. Blocks that are
    brought when it is their turn are there for one batch at a time.
    """
    return model.device.type == "cpu" and not any(weight.is_meta for weight in model.generator.parameters())


@contextmanager
def _workers(model: Model) -> Iterator[tuple[ThreadPoolExecutor, int]]:
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


def _joined(shards: Sequence[Shard], wanted: Wanted) -> Shard:
    return Shard(
        np.concatenate([shard.features for shard in shards]).astype(wanted.dtype, copy=False),
        [path for shard in shards for path in shard.paths],
        [label for shard in shards for label in shard.labels],
        [entry for shard in shards for entry in shard.failed],
    )


def _state(item: Item) -> str:
    if item.scene is not None or item.source is not None:
        return ""
    try:
        status = os.stat(item.name)
    except (OSError, ValueError):
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"
