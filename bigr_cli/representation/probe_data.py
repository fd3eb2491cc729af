"""What a linear probe is trained and tested on: labelled images, and all their features in one pass over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from bigr_cli.core.representation import layer_features
from bigr_cli.data.loading import as_floats, load_batches, workers_watched
from bigr_cli.data.sources import SCENES, Source, open_source
from bigr_cli.errors import ModelError, UsageError
from bigr_cli.plain_text import WHITE, Background
from bigr_cli.representation.features import Wanted, side_by_side
from bigr_cli.runtime.memory import Batches
from bigr_cli.runtime.offload import offload_like

if TYPE_CHECKING:
    from bigr_cli.core.model import BinaryModel
    from bigr_cli.core.network import Generator

LAYERS, PIXELS, CODES, ENCODER, RANDOM = "layers", "pixels", "codes", "encoder", "random"
PIXEL_SIDE = 32  # larger images are reduced: beyond this, pixels cost much and tell little more

_SCENES, _SCENES_TEST = 2000, 1000
_TEST_SHARE = 0.2
_FEW = 512  # images for which starting a process to read them does not pay


@dataclass(frozen=True)
class Labelled:
    """Images `indices` of a source, with their classes `targets` (N,) int64."""

    source: Source
    indices: NDArray[np.int64]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class Split:
    """Training and test images of the same classes."""

    train: Labelled
    test: Labelled
    labels: tuple[str, ...]


def open_split(
    data: str,
    test: str | None,
    size: int,
    *,
    count: int | None = None,
    test_count: int | None = None,
    seed: int = 0,
    background: Background = WHITE,
) -> Split:
    """The images to train and to test on.

    Args:
        data: a folder with a subfolder a class, or "scenes".
        test: another such folder, or "scenes"; None keeps a part of `data` apart.
        size: of the images in pixels.
        count: how many to train on; None is all of a folder, or 2000 scenes. `test_count` likewise, a fifth or 1000.
        background: what transparent pixels are composited on.
        seed: which images they are, where not all are taken.

    Raises:
        UsageError: no images, no classes or only one, too few images of a class, a class that the test set lacks,
            or one that only the test set has.
    """
    train = _opened(data, size, seed=seed, count=count or _SCENES, background=background)
    labels = train.source.labels
    if test is None and data != SCENES:
        _check_counts(train, labels, data, least=3)
        rest, chosen = parted(train.targets, test_count or round(_TEST_SHARE * len(train)), seed)
        train, apart = _taken(train, rest), _taken(train, chosen)
    else:
        start = len(train) if data == SCENES else 0  # other scenes than those trained on
        where = test or data
        tested = _opened(where, size, seed=seed, start=start, count=test_count or _SCENES_TEST, background=background)
        apart = _renamed(tested, labels, where)
    train, apart = _fewer(train, count, seed), _fewer(apart, test_count, seed)
    _check_counts(train, labels, data, least=2)
    missing = [labels[index] for index in np.flatnonzero(np.bincount(apart.targets, minlength=len(labels)) == 0)]
    if missing:
        raise UsageError(f"{test or data}: the test set has no image of {_some(missing)}", hint="test on more")
    return Split(train, apart, labels)


def _opened(where: str, size: int, *, seed: int, count: int, background: Background, start: int = 0) -> Labelled:
    """Scenes from `start` on, or all images of a folder."""
    if where == SCENES:
        source = open_source(where, size, seed=seed, start=start, count=count)
    else:
        source = open_source(where, size, background=background)
    if not source.labels:
        raise UsageError(f"{where}: its images have no classes", hint="a probe needs a subfolder for each class")
    if len(source.labels) == 1:
        raise UsageError(f"{where}: has one class only, {source.labels[0]}; a probe tells classes apart")
    targets = np.array([source.label(index) for index in range(len(source))], dtype=np.int64)
    return Labelled(source, np.arange(len(source)), targets)


def _renamed(labelled: Labelled, labels: tuple[str, ...], where: str) -> Labelled:
    """The images with the numbers that their classes have among `labels`."""
    own = labelled.source.labels
    present = [own[index] for index in np.unique(labelled.targets)]
    unknown = [name for name in present if name not in labels]
    if unknown:
        raise UsageError(f"{where}: has classes that the training images lack: {_some(unknown)}")
    numbers = np.array([labels.index(name) if name in labels else -1 for name in own])
    return replace(labelled, targets=numbers[labelled.targets])


def parted(
    targets: NDArray[np.int64], count: int, seed: int, *, leave: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places (the rest, about `count` of them), each class in the same share, chosen by the seed.

    One of each class is chosen at least, and `leave` of them are not, if there are so many.
    """
    rng = np.random.default_rng(seed)
    rest, chosen = [], []
    for target in np.unique(targets):
        places = rng.permutation(np.flatnonzero(targets == target))
        take = min(len(places) - leave, max(1, round(count * len(places) / len(targets))))
        chosen.append(places[:take])
        rest.append(places[take:])
    return np.sort(np.concatenate(rest)), np.sort(np.concatenate(chosen))


def _fewer(labelled: Labelled, count: int | None, seed: int) -> Labelled:
    """About `count` of the images, if there are more."""
    if count is None or count >= len(labelled):
        return labelled
    return _taken(labelled, parted(labelled.targets, count, seed, leave=0)[1])


def _taken(labelled: Labelled, places: NDArray[np.int64]) -> Labelled:
    return replace(labelled, indices=labelled.indices[places], targets=labelled.targets[places])


def _check_counts(labelled: Labelled, labels: tuple[str, ...], where: str, *, least: int) -> None:
    counts = np.bincount(labelled.targets, minlength=len(labels))
    few = [f"{labels[index]} ({counts[index]})" for index in np.flatnonzero(counts < least)]
    if few:
        hint = "train on more" if least < 3 else "or name other images with --test"
        raise UsageError(f"{where}: too few images of {_some(few)}: each class needs at least {least}", hint=hint)


@workers_watched()
def collect(
    network: BinaryModel,
    random: Generator | None,
    labelled: Labelled,
    *,
    batch: int,
    layer: int,
    wanted: Wanted | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Tensor]:
    """All features of images, in one pass: by name (F, N, D), of tokens (F, N, L, D), on the CPU.

    Args:
        random: a generator that was never trained, whose block `layer` is taken; None leaves its features out.
        wanted: which features of both generators; None is the mean over the tokens of each block by itself.
        batch: how many images at once; `advance` is told how many more are done.

    Raises:
        ImageError: an image cannot be read.
        ModelError: features are not finite.
    """
    found: dict[str, Tensor] = {}
    batches, start = Batches(batch), 0
    keys = [[(int(i), 0) for i in labelled.indices[at : at + batch]] for at in range(0, len(labelled), batch)]
    workers = 0 if len(labelled) < _FEW else min(4, max(1, (os.cpu_count() or 1) - 1))
    for loaded in load_batches(labelled.source, keys, workers=workers):
        for images, made in batches.run(loaded.images, lambda some: _features(network, random, some, layer, wanted)):
            for name, features in made.items():
                if name not in found:
                    shape = (features.shape[1], len(labelled), *features.shape[2:])
                    found[name] = torch.empty(shape, dtype=features.dtype)
                _check_finite(name, features)
                found[name][:, start : start + len(images)].copy_(features.transpose(0, 1))
            start += len(images)
            advance(len(images))
    return found


def _check_finite(name: str, features: Tensor) -> None:
    """Raise ModelError if there is a number in features (B, F, …) that is none."""
    finite = features.isfinite().flatten(2).all(dim=2).all(dim=0) if features.is_floating_point() else torch.ones(1)
    bad = ~finite.bool()
    if bool(bad.any()):
        where = f"layer {int(bad.nonzero()[0])}" if name == LAYERS else name
        raise ModelError(f"{where}: features are not finite", hint="--dtype float32 has a larger range")


@torch.inference_mode()
def _features(
    network: BinaryModel, random: Generator | None, levels: Tensor, layer: int, wanted: Wanted | None
) -> dict[str, Tensor]:
    """(B, 3, H, W) uint8 → by name (B, F, D), of tokens (B, F, L, D)."""
    tokenizer, generator = network.tokenizer, network.generator
    images = as_floats(levels.to(tokenizer.embed.device))
    encoded = tokenizer.encoder(images.to(tokenizer.embed.dtype))  # (B, C, h, w)
    codes = (tokenizer.to_bits(encoded) > 0).flatten(2).transpose(1, 2)  # (B, L, K)
    labels = network.conditions([None] * len(images))
    side = min(PIXEL_SIDE, images.shape[-1])

    def of(generator: Generator, layers: Sequence[int]) -> Tensor:
        found = layer_features(generator, codes, labels, layers, cells=1 if wanted is None else wanted.cells)
        return found if wanted is None or wanted.every else side_by_side(found)[:, None]

    joined = wanted is not None and not wanted.every
    return {
        PIXELS: adaptive_avg_pool2d(images, side).flatten(1)[:, None],
        CODES: codes.flatten(1)[:, None],
        ENCODER: encoded.float().mean(dim=(2, 3))[:, None],
        **({} if random is None else {RANDOM: of(random, wanted.layers if joined and wanted else [layer])}),
        LAYERS: of(generator, range(generator.config.layers) if wanted is None else wanted.layers),
    }


def untrained(generator: Generator, seed: int) -> Generator:
    """A generator of the same sizes as it is before training, on the same device, or spread in the same way."""
    made = type(generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = made(generator.config)
    return offload_like(fresh, generator).eval().requires_grad_(False)


def _some(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
