"""Where training and evaluation get their pictures: the built-in scenes, or a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bigr_cli import __version__
from bigr_cli.data import scenes
from bigr_cli.data.scenes.captions import phrase
from bigr_cli.data.scenes.render import SIZES
from bigr_cli.errors import ImageError, UsageError
from bigr_cli.imaging.files import KINDS

SCENES = "scenes"

_ELSEWHERE = 2**42  # a multiple of 16, so that the object is the same; beyond all that training and validation reach


@dataclass(frozen=True)
class Picture:
    """One example: `pixels` (size, size, 3) uint8; `focus` (size, size) uint8, how much of the object a pixel shows."""

    pixels: NDArray[np.uint8]
    label: int
    focus: NDArray[np.uint8] | None = None


class Source(Protocol):
    """Numbered pictures, each a pure function of its number (and of the augmentation's number)."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes; empty if there are none."""
        ...

    @property
    def size(self) -> int:
        """The side of every picture, in pixels."""
        ...

    def __len__(self) -> int:
        """How many pictures there are."""
        ...

    def label(self, index: int) -> int:
        """The class of picture `index`, without drawing or reading it; 0 if there are no classes."""
        ...

    def caption(self, index: int, variant: int = 0) -> str:
        """What picture `index` shows, in words; of several captions, variants take turns. Empty if there is none."""
        ...

    def picture(self, index: int, variant: int = 0) -> Picture:
        """Picture `index`; variants other than 0 are augmented, differently for each number."""
        ...

    def fingerprint(self) -> str:
        """What identifies the data: the same string means the same pictures."""
        ...


@dataclass(frozen=True)
class ScenesSource:
    """The endless built-in scenes, cut off after `count` pictures.

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
        """What picture `index` shows."""
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

    def picture(self, index: int, variant: int = 0) -> Picture:
        scene = self.scene(index)
        image, mask = scenes.render_with_mask(scene, self.size)
        return Picture(np.asarray(image), scenes.LABELS.index(scene.label), np.asarray(mask))

    def fingerprint(self) -> str:
        without = "".join(f":{color} {label}" for color, label in sorted(self.without))
        return f"scenes {__version__}:{self.seed}:{self.start}:{self.count}:{self.size}{without}"


def color_and_label(text: str) -> tuple[str, str]:
    """ "red house" as a colour and an object of the scenes. Raises UsageError for anything else."""
    color, _, label = text.partition(" ")
    if color not in scenes.COLORS or label not in scenes.LABELS:
        raise UsageError(f"expected a colour and an object of the scenes, such as 'red house', got {text!r}")
    return color, label


@dataclass(frozen=True)
class FolderSource:
    """The pictures of a folder, cropped to squares and scaled; classes are its subfolders, if it has any.

    Variants are mirrored (`flip`) and cut out of the square at random, with at least `crop` times its side.
    """

    root: Path
    files: tuple[str, ...]
    targets: tuple[int, ...]
    labels: tuple[str, ...]
    size: int
    flip: bool = False
    crop: float = 1.0
    captions: tuple[tuple[str, ...], ...] = ()  # of each file, or empty

    def __len__(self) -> int:
        return len(self.files)

    def label(self, index: int) -> int:
        return self.targets[index]

    def caption(self, index: int, variant: int = 0) -> str:
        said = self.captions[index] if self.captions else ()
        return said[variant % len(said)] if said else ""

    def picture(self, index: int, variant: int = 0) -> Picture:
        path = self.root / self.files[index]
        try:
            with Image.open(path) as opened:
                image = ImageOps.exif_transpose(opened).convert("RGB")
        except Exception as error:  # Pillow raises what it likes about a broken file
            raise ImageError(f"{path}: not a readable picture ({error})") from error
        rng = np.random.default_rng((variant, index)) if variant else None
        return Picture(np.asarray(self._square(image, rng)), self.targets[index])

    def _square(self, image: Image.Image, rng: np.random.Generator | None) -> Image.Image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        if rng is not None and self.crop < 1:
            side = max(1, round(side * rng.uniform(self.crop, 1)))
            left, top = (int(rng.integers(0, extent - side + 1)) for extent in image.size)
        box = (left, top, left + side, top + side)
        square = image.resize((self.size, self.size), Image.Resampling.LANCZOS, box=box)
        return ImageOps.mirror(square) if rng is not None and self.flip and rng.random() < 0.5 else square

    def split(
        self, held_out: int, *, seed: int, count: int | None, flip: bool, crop: float
    ) -> tuple[FolderSource, FolderSource]:
        """(training, held out): `held_out` pictures chosen by the seed are kept apart; only training is augmented."""
        order = np.random.default_rng(seed).permutation(len(self.files))
        apart, rest = sorted(order[:held_out].tolist()), sorted(order[held_out:].tolist()[:count])
        return replace(self._take(rest), flip=flip, crop=crop), self._take(apart)

    def _take(self, indices: list[int]) -> FolderSource:
        files = tuple(self.files[index] for index in indices)
        return replace(self, files=files, targets=tuple(self.targets[index] for index in indices))

    def fingerprint(self) -> str:
        import hashlib

        digest = hashlib.sha256(f"{self.size}:{self.flip}:{self.crop}".encode())
        for name in self.files:
            status = (self.root / name).stat()
            digest.update(f"{name}:{status.st_size}:{status.st_mtime_ns}\n".encode())
        return f"folder:{digest.hexdigest()}"


def open_source(where: str, size: int, *, seed: int = 0, start: int = 0, count: int | None = None) -> Source:
    """`scenes` or a folder, as pictures of `size` × `size` pixels.

    Args:
        where: "scenes", or a folder: one subfolder a class, or flat, with or without captions.jsonl.
        seed, start, count: which part of the endless scenes; `start` and `count` cut out a part of a folder too.

    Raises:
        UsageError: the folder is not there or holds no pictures, or only some of them have a class; scenes of a size
            that cannot be drawn.
    """
    if where == SCENES:
        if size not in SIZES:
            raise UsageError(f"scenes are drawn with {SIZES.start} to {SIZES.stop - 1} pixels, not {size}")
        return ScenesSource(size, seed, start, 2**40 if count is None else count)
    root = Path(where)
    if not root.is_dir():
        raise UsageError(f"{where}: no such folder", hint='--data takes a folder of pictures, or "scenes"')
    files = sorted(_pictures(root))
    if not files:
        raise UsageError(f"{where}: holds no pictures", hint=f"looked for {', '.join(sorted(KINDS))}")
    names = _labels(root, files)
    labels = tuple(sorted(set(names))) if any(names) else ()
    if "" in labels:
        stray = files[names.index("")]
        raise UsageError(f"{where}: {stray} has no class, while {files[names.index(labels[1])]} has one")
    targets = [labels.index(name) if labels else 0 for name in names]
    chosen = slice(start, None if count is None else start + count)
    return FolderSource(root, tuple(files[chosen]), tuple(targets[chosen]), labels, size)


def _pictures(root: Path) -> Iterable[str]:
    for folder, below, names in os.walk(root, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in KINDS:
                yield (Path(folder) / name).relative_to(root).as_posix()


def _labels(root: Path, files: list[str]) -> list[str]:
    """The label of each file: from captions.jsonl where it gives one, otherwise the top folder's name."""
    given: dict[str, str] = {}
    listing = root / "captions.jsonl"
    if listing.is_file():
        for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), 1):
            try:
                entry = dict(json.loads(line).items())
                if "label" in entry:
                    given[str(entry["file"])] = str(entry["label"])
            except (ValueError, KeyError, AttributeError) as error:
                raise UsageError(f"{listing}:{number}: not a caption entry ({error})") from error
    return [given.get(name, name.split("/")[0] if "/" in name else "") for name in files]
