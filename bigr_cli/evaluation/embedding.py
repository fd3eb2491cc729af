"""Features of many pictures: shard by shard, so that memory stays flat and a killed run can go on."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bigr_cli import __version__
from bigr_cli.errors import BigrError
from bigr_cli.evaluation.features import Wanted, embed_batch
from bigr_cli.evaluation.items import Item, Pixels, Read, read_batches
from bigr_cli.evaluation.shards import Shard, Shards

if TYPE_CHECKING:
    from bigr_cli.loaded import LoadedModel

SHARD = 512  # pictures in a shard, about
_SHARD_BYTES = 2**26
_BATCH_BYTES = 2**28  # that the features of a batch may have


@dataclass
class Embedded:
    """What a run has made so far: the pictures' paths and labels, those left out, and how many shards hold it all."""

    paths: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    shards: int = 0

    def add(self, shard: Shard) -> None:
        self.paths += shard.paths
        self.labels += shard.labels
        self.failed += shard.failed
        self.shards += 1

    @property
    def done(self) -> int:
        """How many pictures were dealt with."""
        return len(self.paths) + len(self.failed)


def batch_size(model: LoadedModel, wanted: Wanted, asked: int | None) -> int:
    """How many pictures to look at once: as asked for, or as the model takes, but fewer if their features are large."""
    if asked is not None:
        return asked
    return max(1, min(model.batch_size(), _BATCH_BYTES // (math.prod(wanted.shape) * wanted.dtype.itemsize)))


def identity(model: LoadedModel, items: Sequence[Item], wanted: Wanted, batch: int) -> str:
    """A text that is the same only if a run makes the same bits: weights, settings, machine, files and their dates."""
    fixed = (__version__, sorted(model.config.sha256.items()), wanted, batch, str(model.device), str(model.dtype))
    digest = hashlib.sha256(repr(fixed).encode())
    for item in items:
        digest.update(f"{item!r} {_state(item)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def embed_items(
    model: LoadedModel,
    items: Sequence[Item],
    wanted: Wanted,
    shards: Shards,
    *,
    batch: int,
    begun: Callable[[int], None] = lambda done: None,
    advance: Callable[[int], None] = lambda count: None,
    fail: Callable[[str, BigrError], None] = lambda name, error: None,
) -> Embedded:
    """Embed the pictures that the shards do not hold yet, and put them there.

    Args:
        batch: how many at once.
        begun: told how many were done before; `advance` how many more are; `fail` what is left out, as it happens.

    Raises:
        RunError: a shard cannot be written.
    """
    made = Embedded()
    for shard in shards.open():
        made.add(shard)
    begun(made.done)
    row = math.prod(wanted.shape) * wanted.dtype.itemsize
    per_shard = max(1, min(SHARD, _SHARD_BYTES // row) // batch)  # batches
    batches = read_batches(items[made.done :], model.config.image_size, batch)
    coming = _embedded(model, batches, wanted, advance, fail)
    while some := list(islice(coming, per_shard)):
        shard = _joined(some, wanted)
        shards.write(made.shards, shard)
        made.add(shard)
    return made


def pixels_of(rows: Sequence[tuple[Item, Read]]) -> list[tuple[Item, Pixels]]:
    """Those that could be read."""
    return [(item, read) for item, read in rows if isinstance(read, Pixels)]


def embed_pixels(model: LoadedModel, pixels: Sequence[Pixels], wanted: Wanted) -> NDArray[Any]:
    """The features of pictures that were read: (B, *wanted.shape)."""
    import torch

    if not pixels:
        return np.zeros((0, *wanted.shape), dtype=wanted.dtype)
    levels = torch.from_numpy(np.stack([each.levels for each in pixels]))  # (B, H, W, 3)
    return embed_batch(model.network, levels.to(model.device).permute(0, 3, 1, 2).float() / 255, wanted)


def _embedded(
    model: LoadedModel,
    batches: Iterator[list[tuple[Item, Read]]],
    wanted: Wanted,
    advance: Callable[[int], None],
    fail: Callable[[str, BigrError], None],
) -> Iterator[Shard]:
    """A shard of each batch."""
    for rows in batches:
        failed = []
        for item, read in rows:
            if isinstance(read, BigrError):
                fail(item.name, read)
                failed.append((item.name, str(read)))
        there = pixels_of(rows)
        features = embed_pixels(model, [pixels for _, pixels in there], wanted)
        advance(len(rows))
        yield Shard(features, [item.name for item, _ in there], [pixels.label for _, pixels in there], failed)


def _joined(shards: Sequence[Shard], wanted: Wanted) -> Shard:
    return Shard(
        np.concatenate([shard.features for shard in shards]).astype(wanted.dtype, copy=False),
        [path for shard in shards for path in shard.paths],
        [label for shard in shards for label in shard.labels],
        [entry for shard in shards for entry in shard.failed],
    )


def _state(item: Item) -> str:
    if item.scene is not None:
        return ""
    try:
        status = os.stat(item.name)
    except (OSError, ValueError):
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"
