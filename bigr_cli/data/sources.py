"""Where training and evaluation get their images: the built-in scenes, a folder, or tar shards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np

from bigr_cli.data import scenes
from bigr_cli.data.array_files import find_idx, open_idx, open_npz, refuse_pickles
from bigr_cli.data.captions import LISTING, METADATA
from bigr_cli.data.file_source import Check, FileSource, Sample, usable
from bigr_cli.data.folders import downloaded, is_hub_address, open_folder
from bigr_cli.data.parquet import find_parquet, open_parquet
from bigr_cli.data.scenes.description import phrase, vocabulary
from bigr_cli.data.scenes.render import SIZES
from bigr_cli.data.shards import open_shards
from bigr_cli.data.tar_files import find_shards
from bigr_cli.errors import UsageError
from bigr_cli.file_names import can_be_named, expanded
from bigr_cli.file_tree import image_tree
from bigr_cli.files import reading
from bigr_cli.plain_text import WHITE, Background
from bigr_cli.version import __version__
from bigr_cli.vocabulary import Vocabulary, counted

SCENES = "scenes"
_SPLITS = ("train", "training")  # folders of a data set of the hub, of which the first one is meant

_ELSEWHERE = 2**42  # a multiple of 16, so that the object is the same; beyond all that training and validation reach


class Source(Protocol):
    """Numbered images, each a pure function of its number (and of the augmentation's number)."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes; empty if there are none."""
        ...

    @property
    def size(self) -> int:
        """The side of every image, in pixels."""
        ...

    def __len__(self) -> int:
        """How many images there are."""
        ...

    def label(self, index: int) -> int:
        """The class of image `index`, without rendering or reading it; 0 if there are no classes."""
        ...

    def caption(self, index: int, variant: int = 0) -> str:
        """What image `index` shows, in words; of several captions, variants take turns. Empty if there is none."""
        ...

    def image(self, index: int, variant: int = 0) -> Sample:
        """Image `index`; variants other than 0 are augmented, differently for each number."""
        ...

    def fingerprint(self) -> str:
        """What identifies the data: the same string means the same images."""
        ...


_Inner = TypeVar("_Inner", bound=Source)


class WrappedSource(Generic[_Inner]):
    """The images of another source, which come from elsewhere: what is said of them is the other's."""

    def __init__(self, source: _Inner) -> None:
        self.source = source
        self.labels, self.size = source.labels, source.size

    def __len__(self) -> int:
        return len(self.source)

    def label(self, index: int) -> int:
        """The class of image `index`."""
        return self.source.label(index)

    def caption(self, index: int, variant: int = 0) -> str:
        """The caption of image `index`, of several another one for each variant."""
        return self.source.caption(index, variant)

    def fingerprint(self) -> str:
        """As the other's: the pixels are the same."""
        return self.source.fingerprint()


@dataclass(frozen=True)
class ScenesSource:
    """The endless built-in scenes, cut off after `count` images.

    Pairs of a colour and an object in `without` are left out: other scenes with the same object take their place.
    """

    size: int
    seed: int = 0
    start: int = 0
    count: int = 2**40
    without: frozenset[tuple[str, str]] = frozenset()

    @property
    def labels(self) -> tuple[str, ...]:
        return scenes.LABELS

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> scenes.Scene:
        """What image `index` shows."""
        number = self.start + index
        scene = scenes.describe(self.seed, number)
        while (scene.color, scene.label) in self.without:
            number += _ELSEWHERE
            scene = scenes.describe(self.seed, number)
        return scene

    def label(self, index: int) -> int:
        return scenes.LABELS.index(self.scene(index).label)

    def caption(self, index: int, variant: int = 0) -> str:
        return phrase(self.scene(index))

    def picture(self, index: int, variant: int = 0) -> Sample:
        """`image`, by its former name, which scripts use."""
        return self.image(index, variant)

    def image(self, index: int, variant: int = 0) -> Sample:
        scene = self.scene(index)
        image, mask = scenes.render_with_mask(scene, self.size)
        return Sample(np.asarray(image), scenes.LABELS.index(scene.label), np.asarray(mask))

    def fingerprint(self) -> str:
        without = "".join(f":{color} {label}" for color, label in sorted(self.without))
        return f"scenes {__version__}:{self.seed}:{self.start}:{self.count}:{self.size}{without}"


def vocabulary_of(source: Source) -> Vocabulary:
    """The words of a source's captions: see `vocabulary.counted`."""
    inner = getattr(source, "source", source)  # of a cached dataset
    if isinstance(inner, ScenesSource):
        return vocabulary()
    every = range(len(source))
    if isinstance(inner, FileSource):
        return counted(caption for index in every for caption in inner.captions_of(index))
    return counted(map(source.caption, every))


def color_and_label(text: str) -> tuple[str, str]:
    """ "red house" as a colour and an object of the scenes. Raises UsageError for anything else."""
    color, _, label = text.partition(" ")
    if color not in scenes.COLORS or label not in scenes.LABELS:
        raise UsageError(f"expected a colour and an object of the scenes, such as 'red house', got {text!r}")
    return color, label


def open_source(
    where: str,
    size: int,
    *,
    seed: int = 0,
    start: int = 0,
    count: int | None = None,
    captions: bool = False,
    check: Check | None = "headers",
    background: Background = WHITE,
) -> Source:
    """`scenes`, a folder or tar shards, as images of `size` × `size` pixels.

    Args:
        where: "scenes"; a folder: one subfolder a class, or flat, with or without captions.jsonl or metadata.csv,
            which may be named instead; or a pattern for tar or parquet files, or a folder of these; IDX files, a
            MedMNIST .npz, or a folder of these; or a data set of the hub, hf://datasets/OWNER/NAME.
        seed, start, count: which part of the endless scenes; `start` and `count` cut out a part of others too.
        captions: whether each image needs a caption instead of a class; those without one are left out.
        background: what transparent pixels are composited on.
        check: what of images with captions, and in shards, is looked at: those that are none are left out. None looks
            at nothing, so that each is an error of its own when it is read.

    Raises:
        UsageError: the data are not there or hold no images, or only some of them have a class; scenes of a size
            that cannot be rendered.
    """
    if where == SCENES:
        if size not in SIZES:
            raise UsageError(f"scenes are rendered with {SIZES.start} to {SIZES.stop - 1} pixels, not {size}")
        return ScenesSource(size, seed, start, 2**40 if count is None else count)
    source = _open_files(where, size, captions, check)
    source = replace(source, background=background)  # type: ignore[type-var]
    chosen = np.arange(len(source))[start : None if count is None else start + count]
    return source if len(chosen) == len(source) else source.take(chosen)


@dataclass(frozen=True)
class DataSet:
    """Images that do not lie in a folder as files: `kind` says where, for messages; `open` reads them.

    `plain` are arrays of pixels, not files of images; `folder` is where the files lie that a table names. `open` takes
    the size, whether captions are needed, and what is looked at of each image; it raises as `open_source`.
    """

    kind: str
    open: Callable[[int, bool, Check | None], FileSource]
    plain: bool = False
    folder: Path | None = None


def find_data_set(where: str) -> DataSet | None:
    """The table, arrays or tar files that a word means; None for files of images, folders and patterns of these.

    Raises:
        UsageError: it is a pickle, a compressed archive, or files that are not there or cannot be read.
        RunError: the hub cannot be reached.
    """
    if is_hub_address(where):
        return DataSet("a data set of the hub", partial(_open_downloaded, where))
    path = expanded(where)
    if not can_be_named(path):
        return None
    with reading(path, UsageError):
        return _data_set_at(where, path)


def _data_set_at(where: str, path: Path) -> DataSet | None:
    refuse_pickles(path)
    if (arrays := _find_arrays(path)) is not None:
        kind, opener = arrays

        def opened(size: int, captions: bool, check: Check | None) -> FileSource:
            if captions:
                raise UsageError(f"{where}: has no captions", hint="arrays have classes at the most")
            return usable(opener(size), where, captions=False, check=None)

        return DataSet(kind, opened, plain=True)
    if shards := find_shards(where):
        return DataSet(
            "tar shards", lambda size, captions, check: open_shards(where, shards, size, captions=captions, check=check)
        )
    if path.name in (LISTING, *METADATA) and path.is_file():
        return DataSet("a table that names them", partial(_open_files, str(path.parent)), folder=path.parent)
    tables = find_parquet(path)
    if tables and (not path.is_dir() or not image_tree(path).files):
        return DataSet(
            "parquet files",
            lambda size, captions, check: open_parquet(where, tables, size, captions=captions, check=check),
        )
    return None


def _open_files(where: str, size: int, captions: bool, check: Check | None) -> FileSource:
    found = find_data_set(where)
    return found.open(size, captions, check) if found else open_folder(where, size, captions=captions, check=check)


def _open_downloaded(where: str, size: int, captions: bool, check: Check | None) -> FileSource:
    folder = downloaded(where)
    inside = next((folder / name for name in _SPLITS if (folder / name).is_dir()), folder)
    return _open_files(str(inside), size, captions, check)


def _find_arrays(path: Path) -> tuple[str, Callable[[int], FileSource]] | None:
    """IDX and .npz files, and how they are opened; of the latter FILE.npz/SPLIT names a split."""
    if (images := find_idx(path)) is not None:
        return "an IDX file", partial(open_idx, images)
    if path.suffix.lower() == ".npz" and path.is_file():
        return "arrays", partial(open_npz, path)
    if path.parent.suffix.lower() == ".npz" and path.parent.is_file():
        return "arrays", partial(open_npz, path.parent, split=path.name)
    return None
