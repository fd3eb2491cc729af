"""Sets of images that are compared: folders, scenes, arrays in a file, or what a model samples.

Folders are refused for their sizes before torch, which takes long, is imported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli.data.file_source import FileSource
from bigr_cli.data.folders import open_folder
from bigr_cli.data.images import READER, read_header, read_image
from bigr_cli.data.scenes import LABELS
from bigr_cli.data.sources import SCENES, ScenesSource, find_data_set, open_source
from bigr_cli.errors import ImageError, UsageError
from bigr_cli.file_names import expanded
from bigr_cli.file_tree import image_tree
from bigr_cli.files import reading
from bigr_cli.imaging.modes import square
from bigr_cli.imaging.montage import grid

if TYPE_CHECKING:
    from torch import Tensor

UNSEEN = 3 * 2**40  # no training reaches this scene, and none of those held out during training, from 2^41 on, is one

Batches = Callable[[int], "Iterator[Tensor]"]


@dataclass(frozen=True)
class ImageSet:
    """Images of one size, in a fixed order.

    Attributes:
        what: what messages call them.
        count: how many there are.
        width, height: of every one, in pixels.
        batches: with the number of images in a batch, gives them as (B, 3, H, W) uint8.
        provenance: what identifies them.
        classes: how many there are of each class; empty if that is not known.
        identity: the same text means the same images.
    """

    what: str
    count: int
    width: int
    height: int
    batches: Batches
    provenance: dict[str, Any]
    classes: dict[str, int]
    identity: str = ""

    def resized(self, side: int | None) -> ImageSet:
        """With the square in the middle of every image scaled to `side` pixels; None leaves them as they are."""
        if side is None or (self.width, self.height) == (side, side):
            return self

        def batches(size: int) -> Iterator[Tensor]:
            for batch in self.batches(size):
                images = (Image.fromarray(one) for one in batch.permute(0, 2, 3, 1).contiguous().numpy())
                yield stacked([square(image, side) for image in images])

        provenance = self.provenance | {"resized_from": [self.width, self.height]}
        return replace(self, width=side, height=side, batches=batches, provenance=provenance)

    def record(self) -> dict[str, Any]:
        """What is written down about them."""
        each = sorted(set(self.classes.values()))
        per_class = each[0] if len(each) == 1 else [each[0], each[-1]] if each else None
        labels = {"classes": len(self.classes) or None, "per_class": per_class}
        return {**self.provenance, "count": self.count, "size": [self.width, self.height], **labels}


def scenes(size: int, count: int, *, seed: int = 0, start: int = UNSEEN) -> ImageSet:
    """Scenes that no training has seen, rendered at this size, their classes in turn."""
    open_source(SCENES, size)  # checks the size
    source = ScenesSource(size, seed, start, count)
    batches = _batched(count, lambda index: source.image(index).pixels)
    classes = dict(Counter(LABELS[source.label(index)] for index in range(count)))
    provenance = {"source": SCENES, "seed": seed, "start": start}
    return ImageSet(f"{count} scenes", count, size, size, batches, provenance, classes, source.fingerprint())


def folder(where: str | Path, *, count: int | None = None, resize: int | None = None) -> ImageSet:
    """The images of a folder and its subfolders, which are the classes, upright and without transparency.

    Args:
        where: the folder, or what else `open_source` takes but scenes: tables, arrays, tar shards, a data set of the
            hub.
        count: how many are taken, evenly from all; None is all.
        resize: the side they are fitted to; without it they must all be of one size.

    Raises:
        UsageError: there is no such folder, it holds no images or too few, or they differ in size.
        ImageError: an image cannot be read.
        RunError: the hub cannot be reached.
    """
    found = find_data_set(str(where))
    if found is not None:
        source = found.open(resize or 1, False, "headers")
    else:
        path = expanded(str(where))
        with reading(path, UsageError):
            there = path.is_dir()
        if not there:
            what = "is a file, not a folder of images" if path.exists() else "no such folder"
            raise UsageError(f"{path}: {what}", hint="a folder of images, tar shards, parquet files or scenes")
        source, where = open_folder(str(path), resize or 1, captions=False, check="headers"), str(path)
    total = len(source)
    if count is not None and count > total:
        raise UsageError(f"{where}: {count} images are wanted, {total} are there")
    identity = f"{READER}:{source.fingerprint()}:{count}"
    if count:
        source = source.take(np.array([index * total // count for index in range(count)]))
    return _image_set(source, str(where), resize, "folder" if found is None else found.kind, identity)


def _image_set(source: FileSource, where: str, resize: int | None, kind: str, identity: str) -> ImageSet:
    """All images of a source, in its order."""
    total = len(source)
    width, height = (resize, resize) if resize else _common_size(source)
    batches = _batched(total, lambda index: _pixels(source, index, width, height, resize))
    names = [source.labels[source.label(index)] for index in range(total)] if source.labels else []
    provenance = {"source": kind, "path": where} | ({"fitted_to": resize} if resize else {})
    return ImageSet(where, total, width, height, batches, provenance, dict(Counter(names)), identity)


def array(pixels: NDArray[np.uint8], path: Path) -> ImageSet:
    """Images (N, H, W, 3) uint8 out of a file; UsageError for an array that is none of these."""
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise UsageError(f"{path}: arr_0: expected (N, H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    batches = _batched(len(pixels), lambda index: pixels[index])
    height, width = pixels.shape[1:3]
    return ImageSet(str(path), len(pixels), width, height, batches, {"source": "npz", "path": str(path)}, {})


def sheet(images: ImageSet, count: int = 32, columns: int = 16) -> Image.Image:
    """The first of them, side by side."""
    first = next(iter(images.batches(min(count, images.count))))
    return grid([Image.fromarray(one) for one in first.permute(0, 2, 3, 1).contiguous().numpy()], columns=columns)


def stacked(images: list[NDArray[np.uint8]]) -> Tensor:
    """Images (H, W, 3) → (B, 3, H, W) uint8."""
    import torch

    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def _batched(count: int, pixels: Callable[[int], NDArray[np.uint8]]) -> Batches:
    """Batches of so many images, of which `pixels` gives each by its number."""

    def batches(at_once: int) -> Iterator[Tensor]:
        for first in range(0, count, at_once):
            yield stacked([pixels(index) for index in range(first, min(first + at_once, count))])

    return batches


def _common_size(source: FileSource) -> tuple[int, int]:
    """The size that all have, by their files' headers."""

    def size(index: int) -> tuple[int, int]:
        with reading(source.called(index), ImageError), source.opened(index) as stream:
            return read_header(stream, source.called(index)).size

    found = _common((source.called(index), size(index)) for index in range(len(source)))
    if found is None:
        raise UsageError("there are no images")
    return found


def _common(images: Iterable[tuple[str, tuple[int, int]]]) -> tuple[int, int] | None:
    """The size of images by their names; UsageError where two differ, None without any."""
    first: tuple[str, tuple[int, int]] | None = None
    for name, size in images:
        first = first or (name, size)
        if size != first[1]:
            raise differing(*first, name, size)
    return first and first[1]


def _pixels(source: FileSource, index: int, width: int, height: int, resize: int | None) -> NDArray[np.uint8]:
    if resize:
        return source.image(index).pixels
    with reading(source.called(index), ImageError), source.opened(index) as stream:
        original = read_image(stream, source.called(index))
    if original.size != (width, height):
        across, down = original.size
        raise UsageError(f"{source.called(index)}: has {across} × {down} pixels, the others {width} × {height}")
    return original.levels()


_LOOKED_AT = 100  # images of a folder; all of them are looked at later


def refuse_sizes(samples: str | None, reference: str | None) -> None:
    """Raise UsageError where the first images of these folders differ in size; what is no folder is passed over."""
    sizes = [_size(where) for where in (samples, reference)]
    if sizes[0] and sizes[1] and sizes[0] != sizes[1]:
        raise of_other_size(str(reference), sizes[1], sizes[0])


def plain_folder(where: str | None) -> str | None:
    """What is named, if it is neither scenes nor a data set of another kind. Raises UsageError for pickles."""
    return where if where and where != SCENES and find_data_set(where) is None else None


def _size(where: str | None) -> tuple[int, int] | None:
    """The size of a folder's first images; None where it is none, or has none."""
    path = expanded(where) if where else None
    if path is None or not path.is_dir():
        return None

    def size(file: Path) -> tuple[int, int]:
        with reading(file, ImageError):
            return read_header(file).size

    names = sorted(image_tree(path).files)[:_LOOKED_AT]
    return _common((str(path / name), size(path / name)) for name in names)


def of_other_size(what: str, size: tuple[int, int], samples: tuple[int, int]) -> UsageError:
    """The error about a reference of another size (width, height) than the samples."""
    return UsageError(
        f"{what}: {size[0]} × {size[1]} pixels, the samples have {samples[0]} × {samples[1]}",
        hint="--resize N cuts the square out of the middle of all and scales it to N × N",
    )


def differing(first: str, size: tuple[int, int], other: str, others: tuple[int, int]) -> UsageError:
    """The error about two images of two sizes (width, height)."""
    sizes = [f"{width} × {height}" for width, height in (size, others)]
    return UsageError(
        f"{first} has {sizes[0]} pixels, {other} has {sizes[1]}: figures would depend on how they are scaled",
        hint="--resize N cuts the square out of the middle of each and scales it to N × N",
    )
