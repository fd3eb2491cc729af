"""Images that lie in files or shards: cut to squares, scaled, augmented; those that cannot be read left out."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from bigr_cli import console
from bigr_cli.data.images import inspect_image, read_header, read_square
from bigr_cli.errors import BigrError, ImageError, UsageError
from bigr_cli.file_tree import PassedOver
from bigr_cli.files import reading
from bigr_cli.imaging.modes import Box, centre
from bigr_cli.plain_text import WHITE, Background, beside_white
from bigr_cli.progress import progress_bar

Check = Literal["headers", "images"]
Crop = Callable[[tuple[int, int]], Box]

_AT_ONCE = 1024

_Source = TypeVar("_Source", bound="FileSource")
_Rows = TypeVar("_Rows", bound="RowSource")


@dataclass(frozen=True)
class Sample:
    """One example: `pixels` (size, size, 3) uint8; `foreground` (size, size) uint8, how far the object fills it."""

    pixels: NDArray[np.uint8]
    label: int
    foreground: NDArray[np.uint8] | None = None


class FileSource(ABC):
    """Images that lie somewhere as files, cropped to squares and scaled to `size` pixels.

    Variants are mirrored (`flip`) and cut out of the square at random, with at least `crop` times its side; of several
    captions, variants take turns. Transparent pixels are composited on `background`.
    """

    labels: tuple[str, ...]
    size: int
    flip: bool
    crop: float
    background: Background

    @abstractmethod
    def __len__(self) -> int:
        """How many images there are."""

    @abstractmethod
    def label(self, index: int) -> int:
        """The class of image `index`; 0 if there are no classes."""

    @abstractmethod
    def captions_of(self, index: int) -> tuple[str, ...]:
        """Every caption of image `index`."""

    def has_caption(self, index: int) -> bool:
        """Whether image `index` has any."""
        return bool(self.captions_of(index))

    @abstractmethod
    def opened(self, index: int) -> AbstractContextManager[IO[bytes]]:
        """The bytes of image `index`."""

    @abstractmethod
    def called(self, index: int) -> str:
        """The name of image `index`, for messages."""

    @abstractmethod
    def take(self: _Source, indices: NDArray[np.int64], *, flip: bool = False, crop: float = 1.0) -> _Source:
        """Some of the images, augmented in this way."""

    @abstractmethod
    def fingerprint(self) -> str:
        """What identifies the data: the same string means the same images."""

    def caption(self, index: int, variant: int = 0) -> str:
        """One caption of image `index`; empty if there is none."""
        said = self.captions_of(index)
        return said[variant % len(said)] if said else ""

    def picture(self, index: int, variant: int = 0) -> Sample:
        """`image`, by its former name, which scripts use."""
        return self.image(index, variant)

    def image(self, index: int, variant: int = 0) -> Sample:
        """Image `index`. Raises ImageError, with its name, if it cannot be read."""

        def read(crop: Crop) -> NDArray[np.uint8]:
            name = self.called(index)
            with reading(name, ImageError), self.opened(index) as stream:
                return read_square(stream, self.size, name, background=self.background, crop=crop, share=self.crop)

        return self.cut_out(index, variant, read)

    def cut_out(self, index: int, variant: int, read: Callable[[Crop], NDArray[np.uint8]]) -> Sample:
        """Image `index`, augmented: `read` gives the square that its argument chooses by the (width, height)."""
        rng = np.random.default_rng((variant, index)) if variant else None

        def crop(size: tuple[int, int]) -> Box:
            if rng is None or self.crop == 1:
                return centre(size)
            side = max(1, round(min(size) * rng.uniform(self.crop, 1)))
            left, top = (int(rng.integers(0, extent - side + 1)) for extent in size)
            return left, top, left + side, top + side

        pixels = read(crop)
        mirrored = rng is not None and self.flip and rng.random() < 0.5
        return Sample(np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels, self.label(index))

    @abstractmethod
    def name_hashes(self) -> NDArray[np.uint64]:
        """A hash of the name of each image (N,), the same wherever the data lies."""

    @abstractmethod
    def states(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """The size in bytes of each image (N,), and the time in ns at which its file was changed (N,)."""

    @abstractmethod
    def relabelled(self: _Source, labels: tuple[str, ...]) -> _Source:
        """With the classes in this order, among which all of its own must be; without any if there are none."""

    def chosen(self, count: int, *, seed: int) -> NDArray[np.bool_]:
        """(N,): which `count` images the seed chooses, by their names: others beside them hardly change it."""
        mixed = self.name_hashes() ^ np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):  # splitmix64
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        chosen = np.zeros(len(self), dtype=np.bool_)
        chosen[np.argsort(mixed, kind="stable")[:count]] = True
        return chosen

    def split(
        self: _Source, held_out: NDArray[np.bool_], *, count: int | None, flip: bool, crop: float
    ) -> tuple[_Source, _Source]:
        """(training, held out): those of `held_out` (N,) are kept apart; only training is augmented."""
        apart, rest = np.flatnonzero(held_out), np.flatnonzero(~held_out)[:count]
        return self.take(rest, flip=flip, crop=crop), self.take(apart)


@dataclass(frozen=True, eq=False, kw_only=True)
class RowSource(FileSource):
    """Images that an array has a row for: `rows` (N, ...) are those in use."""

    rows: NDArray[Any]
    labels: tuple[str, ...]
    size: int
    flip: bool = False
    crop: float = 1.0
    background: Background = WHITE

    def __len__(self) -> int:
        return len(self.rows)

    def take(self: _Rows, indices: NDArray[np.int64], *, flip: bool = False, crop: float = 1.0) -> _Rows:
        return replace(self, rows=self.rows[indices], flip=flip, crop=crop)

    def _places(self, labels: tuple[str, ...]) -> NDArray[np.int64]:
        """For each of the classes its place among `labels`; 0 without any."""
        return np.array([labels.index(label) if labels else 0 for label in self.labels] or [0], dtype=np.int64)

    def _identified(self, about: str) -> str:
        """The SHA-256 of the rows, of how images are made of them, and of `about`."""
        made = f"{about}:{self.size}:{self.flip}:{self.crop}{beside_white(self.background)}"
        return hashlib.sha256(made.encode() + self.rows.tobytes()).hexdigest()


@dataclass(frozen=True, eq=False, kw_only=True)
class TableSource(RowSource):
    """Images whose rows have fields: `target`, the number of the class (negative: none), and `name`, a hash."""

    def label(self, index: int) -> int:
        return max(0, int(self.rows[index]["target"]))

    def name_hashes(self) -> NDArray[np.uint64]:
        return np.ascontiguousarray(self.rows["name"])

    def relabelled(self: _Rows, labels: tuple[str, ...]) -> _Rows:
        rows = self.rows.copy()
        rows["target"] = self._places(labels)[np.maximum(rows["target"], 0)]
        return replace(self, rows=rows, labels=labels)

    @staticmethod
    def _content(path: Path, row: Any, kind: str) -> bytes:
        """The bytes in a file from `kind` on, `kind`_size many. RunError if it cannot be read."""
        with reading(path), path.open("rb") as stream:
            stream.seek(int(row[kind]))
            return stream.read(int(row[f"{kind}_size"]))


def is_readable(stream: IO[bytes], *, whole: bool) -> bool:
    """Whether a file begins as an image does, or is one that can be decoded to its end."""
    try:
        if whole:
            inspect_image(stream, "", lambda image: image.load())
        else:
            read_header(stream, "")
    except ImageError:
        return False
    return True


def unreadable(source: FileSource, *, whole: bool) -> list[int]:
    """The numbers of the images that are none, by their beginnings or read whole."""

    def broken(index: int) -> bool:
        try:
            with source.opened(index) as stream:
                return not is_readable(stream, whole=whole)
        except (BigrError, OSError):
            return True

    found: list[int] = []
    with progress_bar(len(source), "checking images") as bar, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for first in range(0, len(source), _AT_ONCE):
            chunk = range(len(source))[first : first + _AT_ONCE]
            found += [index for index, bad in zip(chunk, pool.map(broken, chunk), strict=True) if bad]
            bar.advance(len(chunk))
    return found


def usable(
    source: _Source, where: str, *, captions: bool, check: Check | None, left_out: PassedOver | None = None
) -> _Source:
    """The images that can be trained on; warns of how many are not, and why.

    Args:
        where: what was asked for, for messages.
        captions: whether an image needs one.
        check: what to look at of each image; None looks at nothing.
        left_out: what is known to be left out already.

    Raises:
        UsageError: there are none.
    """
    left_out = left_out or PassedOver()
    total = len(source) + left_out.count
    wordless = [index for index in range(len(source)) if not source.has_caption(index)] if captions else []
    bad = sorted(set(unreadable(source, whole=check == "images")).difference(wordless)) if check else []
    for reason, indices in (("without a caption", wordless), ("unreadable", bad)):
        for index in indices:
            left_out.add(reason, partial(source.called, index))
    if left_out.count and left_out.count >= total:
        raise UsageError(f"{where}: none of {total:,} images can be used: {left_out}")
    if left_out.count:
        console.warn(f"{where}: {left_out.count:,} of {total:,} images are left out: {left_out}")
    lost = np.array(wordless + bad, dtype=np.int64)
    return source.take(np.setdiff1d(np.arange(len(source)), lost)) if len(lost) else source
