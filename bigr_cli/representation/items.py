"""Images to embed: found from words (files, scenes, tables, arrays, tar shards) and read ahead as pixels."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigr_cli.data.array_files import splits_of
from bigr_cli.data.captions import METADATA, Listing, plain_label, read_listing
from bigr_cli.data.file_source import FileSource
from bigr_cli.data.folders import is_hub_address
from bigr_cli.data.sources import SCENES, find_data_set
from bigr_cli.errors import BigrError, UsageError
from bigr_cli.file_names import expanded
from bigr_cli.file_tree import image_tree
from bigr_cli.imaging.inputs import Input, find_inputs
from bigr_cli.plain_text import WHITE, Background

_READERS = 2
_AHEAD = 2  # batches that are read while one is worked on
DEFAULT_COUNT = 1000
_SCENE = re.compile(r"scenes:([0-9]{1,18}):([0-9]{1,12})")


@dataclass(frozen=True, slots=True)
class Item:
    """An image: a file, scene `scene` = (seed, number), or image `index` of a table, of arrays or of tar shards.

    Attributes:
        name: the file as it was found, "scenes:SEED:NUMBER", or as its source calls it, "FILE: row 12".
        label: the name of its class, for a file that of its folder, or "".
    """

    name: str
    label: str = ""
    scene: tuple[int, int] | None = None
    source: FileSource | None = field(default=None, repr=False)
    index: int = field(default=0, repr=False)


@dataclass(frozen=True)
class Pixels:
    """What was read: (size, size, 3) uint8, and the label of the image, or ""."""

    levels: NDArray[np.uint8]
    label: str


Read = Pixels | BigrError


def read_item(item: Item, size: int, background: Background = WHITE) -> Pixels:
    """The middle of an image as a square of `size` pixels.

    Raises:
        ImageError: the file is no image that can be read.
        UsageError: scenes cannot be rendered in that size.
    """
    if item.scene is not None:
        return _scene(*item.scene, size)
    if item.source is not None:
        source: Any = replace(item.source, size=size, background=background)  # type: ignore[type-var]
        return Pixels(source.image(item.index).pixels, item.label)
    from bigr_cli.data.images import read_square

    return Pixels(read_square(Path(item.name), size, background=background), item.label)


def read_batches(
    items: Iterable[Item], size: int, batch: int, background: Background = WHITE
) -> Iterator[list[tuple[Item, Read]]]:
    """The items in their order, `batch` at a time, read ahead by threads; what cannot be read is an error in its place.

    The batches follow from the items alone, so that the same ones are together whichever of them can be read.
    """
    readers = ThreadPoolExecutor(_READERS, "bigr-reader")
    waiting: deque[tuple[Item, Future[Read]]] = deque()
    coming = iter(items)
    try:
        while True:
            while len(waiting) < (1 + _AHEAD) * batch and (item := next(coming, None)) is not None:
                waiting.append((item, readers.submit(_tried, item, size, background)))
            if not waiting:
                return
            some = [waiting.popleft() for _ in range(min(batch, len(waiting)))]
            yield [(item, future.result()) for item, future in some]
    finally:
        readers.shutdown(wait=False, cancel_futures=True)


def _tried(item: Item, size: int, background: Background) -> Read:
    try:
        return read_item(item, size, background)
    except BigrError as error:
        return error


def _scene(seed: int, number: int, size: int) -> Pixels:
    from bigr_cli.data import scenes

    check_scene_size(size)
    image, described = scenes.scene(seed, number, size)
    return Pixels(np.asarray(image), described.label)


def check_scene_size(size: int) -> None:
    """Raise UsageError if scenes cannot be rendered in that size."""
    from bigr_cli.data.scenes.render import SIZES

    if size not in SIZES:
        raise UsageError(f"scenes are rendered with {SIZES.start} to {SIZES.stop - 1} pixels, not {size}")


def find_items(
    words: Sequence[str], size: int, *, count: int | None = None, seed: int = 0, recursive: bool = False
) -> list[Item]:
    """The images that these words stand for: "scenes" first, then files as in `find_inputs`, then what `open_source`
    takes besides: tables, arrays, tar shards and data sets of the hub.

    The label of a file is what a metadata.csv, .jsonl or .parquet of its folder says, or the name of the top folder
    below the folder, or the fixed part of the pattern, given.

    Args:
        size: in which they will be read.
        count: how many scenes; `seed` says which.
        recursive: take the images in folders within folders as well; without it only where there are no others.

    Raises:
        UsageError: as `find_inputs` and `open_source`; stdin; a count without scenes; scenes of a size that cannot be
            rendered; no word.
        RunError: the hub cannot be reached.
    """
    if not words:
        raise UsageError("no image given", hint="give files, folders or patterns, or scenes for the built-in images")
    if count is not None and SCENES not in words:
        raise UsageError("a count is of scenes, the built-in images", hint=f"for example: {SCENES} --count {count}")
    if "-" in words:
        raise UsageError("-: images are not read from stdin here", hint="give files, folders or patterns")
    items: list[Item] = []
    if SCENES in words:
        check_scene_size(size)
        numbers = range(DEFAULT_COUNT if count is None else count)
        items += [Item(f"{SCENES}:{seed}:{number}", scene=(seed, number)) for number in numbers]
    others = [word for word in dict.fromkeys(words) if word != SCENES]
    sets = {word: found for word in others if (found := find_data_set(word)) is not None}
    files = [word for word in others if word not in sets]
    labels = _Labels(files)
    for entry in find_inputs(files, recursive=recursive or None, missing=len(others) > 1) if files else ():
        items.append(Item(entry.name, labels(entry)))
    for found in sets.values():
        source = found.open(size, False, None)
        items += [_stored(source, index) for index in range(len(source))]
    return items


def item_named(name: str) -> Item:
    """The item of that name.

    Raises:
        UsageError: it names a table, arrays or tar shards as a whole, or an image that they do not hold.
    """
    found = _SCENE.fullmatch(name)
    if found is not None:
        return Item(name, scene=(int(found[1]), int(found[2])))
    name = name if is_hub_address(name) else str(expanded(name))
    if (whole := _opened(name)) is not None:
        hint = f"its first image is called {whole.called(0)!r}"
        raise UsageError(f"{name}: holds {len(whole):,} images, and one is wanted", hint=hint)
    sources = [source for where in _files_named_in(name) if (source := _opened(where)) is not None]
    for source in sources:
        index = next((index for index in range(len(source)) if source.called(index) == name), None)
        if index is not None:
            return _stored(source, index)
    if sources:
        hint = f"of {len(sources[0]):,}, the first is called {sources[0].called(0)!r}"
        raise UsageError(f"{name}: there is no such image", hint=hint)
    return Item(name)


def _files_named_in(name: str) -> Iterator[str]:
    """The files, and the splits of them, that a name such as "FILE: row 12" may begin with."""
    parts = [] if os.path.lexists(name) else name.split(": ")
    for where in (": ".join(parts[:count]) for count in range(1, len(parts))):
        if os.path.isfile(where):
            yield from [f"{where}/{split}" for split in splits_of(Path(where))] or [where]


@functools.lru_cache(maxsize=4)
def _opened(where: str) -> FileSource | None:
    """The images of a table, of arrays or tar shards; None for anything else."""
    found = find_data_set(where)
    return found.open(1, False, None) if found else None


def _stored(source: FileSource, index: int) -> Item:
    label = sys.intern(source.labels[source.label(index)]) if source.labels else ""
    return Item(source.called(index), label, source=source, index=index)


class _Labels:
    """The labels of files: as a table in the folder that was asked for says, or else the top folder below that."""

    def __init__(self, words: Sequence[str]) -> None:
        self._roots = {folder for word in words if (folder := expanded(word)).is_dir()}
        self._listings: dict[Path, Listing] = {}

    def __call__(self, entry: Input) -> str:
        label = entry.folder.parts[0] if entry.folder.parts else ""
        if entry.path is not None and (root := entry.path.parents[len(entry.folder.parts)]) in self._roots:
            if root not in self._listings:
                tables = [name for name in image_tree(root).others if os.path.basename(name) in METADATA]
                self._listings[root] = read_listing(root, tables)
            label = self._listings[root][(entry.folder / entry.path.name).as_posix()].label or label
        return sys.intern(plain_label(label)) if label else ""
