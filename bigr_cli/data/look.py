"""A look at data before anything is trained on them: how many images, of what size, alike or broken, in which classes.

What it finds is said in a line each, and decides the plan.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli.data.file_source import FileSource
from bigr_cli.data.images import inspect_image, read_header
from bigr_cli.data.sources import Source
from bigr_cli.errors import BigrError
from bigr_cli.imaging.modes import to_alpha, to_levels
from bigr_cli.progress import progress_bar

TINY = 16  # pixels: a smaller side is that of a thumbnail, or of an icon
SECONDS = 20.0  # that looking at pixels may take; the rest is evaluated by headers
_ALIKE = 2.0  # grey levels that near-duplicates differ by in the mean
_MOST_COMPARED = 500  # of a group: flat images all have the same hash
_GREY = 6  # levels that the channels of a grey image differ by at the most, as JPEG files leave them
_AT_ONCE = 256
_SIDES = ("left", "right")


@dataclass(frozen=True)
class DataLook:
    """What was found. Shares are of the images whose pixels were looked at.

    `side` is the shorter side of the image at the first quarter, in pixels: three quarters are as large, or larger.
    `classes` counts the images of each, `class_sides` has the least and the largest of their shorter sides.
    `captioned` images have captions, `captions` different ones.
    """

    images: int
    side: int
    largest: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    class_sides: dict[str, tuple[int, int]] = field(default_factory=dict)
    captioned: int = 0
    captions: int = 0
    sided: bool = False
    grey_share: float = 0.0
    transparent: int = 0
    tiny: int = 0
    alike: int = 0
    broken: tuple[str, ...] = ()
    seen: int = 0  # images whose pixels were looked at
    endless: bool = False

    @property
    def grey(self) -> bool:
        """Whether they have no colours."""
        return self.grey_share > 0.98


class _Found(NamedTuple):
    """What one image is; `error` says why it is none."""

    side: int = 0
    largest: int = 0
    transparent: bool = False
    grey: bool | None = None
    thumbnail: NDArray[np.uint8] | None = None  # (16, 16), grey
    error: str = ""


def look_at(source: Source, *, captioned: Source | None = None, seconds: float = SECONDS) -> DataLook:
    """Look at every image's header, and at the pixels of as many as the time allows, in an even selection.

    Args:
        source: opened for classes; or for captions, if it has none.
        captioned: the same images opened for captions, if they have any.
    """
    if not isinstance(source, FileSource):
        classes = {label: len(source) // max(1, len(source.labels)) for label in source.labels}
        captions = len(source) if captioned is not None else 0
        return DataLook(
            len(source), source.size, source.size, classes, captioned=captions, captions=captions, endless=True
        )
    counts = Counter(source.label(index) for index in range(len(source)))
    said = [captioned.captions_of(i) for i in range(len(captioned))] if isinstance(captioned, FileSource) else []
    texts = {text for each in said for text in each}
    found = _all_found(source, seconds)
    whole = [each for each in found if not each.error]
    broken = tuple(source.called(index) for index, each in enumerate(found) if each.error)
    sides = sorted(each.side for each in whole)
    pixels = [each for each in whole if each.grey is not None]
    return DataLook(
        images=len(whole),
        side=sides[len(sides) // 4] if sides else 0,
        largest=max((each.largest for each in whole), default=0),
        classes={name: counts[number] for number, name in enumerate(source.labels)},
        class_sides=_class_sides(source, found),
        captioned=len(said),
        captions=len(texts),
        sided=any(word in text.lower().split() for text in texts for word in _SIDES),
        grey_share=sum(bool(each.grey) for each in pixels) / max(1, len(pixels)),
        transparent=sum(each.transparent for each in whole),
        tiny=sum(each.side < TINY for each in whole),
        alike=near_duplicates([each.thumbnail for each in pixels if each.thumbnail is not None]),
        broken=broken,
        seen=len(pixels),
    )


def _class_sides(source: FileSource, found: Sequence[_Found]) -> dict[str, tuple[int, int]]:
    sides: dict[str, tuple[int, int]] = {}
    for index, each in enumerate(found) if source.labels else ():
        if not each.error:
            name = source.labels[source.label(index)]
            least, largest = sides.get(name, (each.side, each.side))
            sides[name] = (min(least, each.side), max(largest, each.side))
    return sides


def _all_found(source: FileSource, seconds: float) -> list[_Found]:
    """Headers of all; pixels first of an even selection, then of whatever lies between, until the time is over."""
    total, end = len(source), time.monotonic() + seconds
    found: list[_Found] = [_Found()] * total
    with progress_bar(total, "looking at the data") as bar, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for chunk in _chunks(total):
            whole = time.monotonic() < end
            for index, each in zip(chunk, pool.map(lambda i: _found(source, i, whole), chunk), strict=True):  # noqa: B023
                found[index] = each
            bar.advance(len(chunk))
    return found


def _chunks(total: int) -> Iterator[list[int]]:
    """All numbers, in an order in which every beginning is spread evenly."""
    order = np.argsort((np.arange(total) * 0.6180339887498949) % 1.0, kind="stable").tolist()
    for first in range(0, total, _AT_ONCE):
        yield order[first : first + _AT_ONCE]


def _found(source: FileSource, index: int, pixels: bool) -> _Found:
    name = source.called(index)
    try:
        if not pixels:
            with source.opened(index) as stream:
                header = read_header(stream, name)
            return _Found(min(header.size), max(header.size), "A" in header.mode)
        with source.opened(index) as stream:
            return inspect_image(stream, name, _inspected)
    except (BigrError, OSError) as error:
        return _Found(error=str(error))


def _inspected(image: Image.Image) -> _Found:
    size = image.size
    image.draft("RGB", (64, 64))
    alpha = to_alpha(image)
    transparent = alpha is not None and bool(alpha.min() < 1)
    small = Image.fromarray(to_levels(image)).resize((32, 32), Image.Resampling.BOX)
    colours = np.asarray(small).astype(np.int16)
    grey = bool((colours.max(axis=2) - colours.min(axis=2)).max() <= _GREY)
    thumbnail = np.asarray(small.convert("L").resize((16, 16), Image.Resampling.BOX))
    return _Found(min(size), max(size), transparent, grey, thumbnail)


def difference_hash(levels: NDArray[np.uint8]) -> int:
    """64 bits of an (16, 16) image that say where it becomes brighter from left to right."""
    small = levels.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    return int.from_bytes(np.packbits(np.roll(small, -1, axis=1) > small).tobytes(), "big")


def near_duplicates(thumbnails: Sequence[NDArray[np.uint8]]) -> int:
    """How many images have one before them that looks the same: (16, 16) grey levels that differ by 2 in the mean.

    Compared are images whose hashes share one of four groups of 16 bits, which those of near-duplicates do.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    alike = 0
    levels = np.stack(thumbnails).astype(np.int16) if thumbnails else np.zeros((0, 16, 16), np.int16)
    for number, thumbnail in enumerate(thumbnails):
        value = difference_hash(thumbnail)
        keys = [(place, value >> 16 * place & 0xFFFF) for place in range(4)]
        others = list({other for key in keys for other in groups.get(key, ())[-_MOST_COMPARED:]})
        distances = np.abs(levels[others] - levels[number]).mean(axis=(1, 2)) if others else np.ones(1) * 255
        alike += bool(distances.min() <= _ALIKE)
        for key in keys:
            groups.setdefault(key, []).append(number)
    return alike


def lines(look: DataLook) -> list[str]:
    """What was found, for a person to read."""
    if look.endless:
        return [f"scenes: rendered without end, {len(look.classes)} classes"]
    said = [f"{look.images:,} images, shorter side mostly {look.side} pixels or more, the largest {look.largest}"]
    if look.classes:
        smallest, largest = min(look.classes, key=look.classes.__getitem__), max(look.classes, key=look.classes.get)  # type: ignore[arg-type]
        few, many = look.classes[smallest], look.classes[largest]
        spread = f"from {few:,} images ({smallest}) to {many:,} ({largest})" if few < many else f"{few:,} images each"
        said.append(f"{len(look.classes)} classes, {spread}")
        if many > 10 * max(1, few):
            said.append(f"classes are uneven: {smallest} will be learned last; more images of it would help")
    if look.captioned:
        said.append(f"{look.captioned:,} images with captions, {look.captions:,} different ones")
    if not look.classes and not look.captioned:
        said.append("no classes and no captions: images are generated without a prompt")
    said.append("grey" if look.grey else f"colour{_some_grey(look)}")
    if look.transparent:
        said.append(f"{look.transparent:,} with transparent parts: white there")
    if look.tiny:
        said.append(f"{look.tiny:,} smaller than {TINY} pixels: kept, enlarged")
    if look.alike:
        said.append(f"{look.alike:,} near-duplicates: kept; one near-duplicate in the held-out part flatters it")
    if look.seen < look.images:
        said.append(f"pixels of {look.seen:,} images were looked at, of the others their headers")
    return said


def _some_grey(look: DataLook) -> str:
    return f", {look.grey_share:.0%} of the images grey" if look.grey_share >= 0.01 else ""
