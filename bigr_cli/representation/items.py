"""Images to embed, from files and scenes, and the provenance of features in the files that hold them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigr_cli.colours import WHITE, Background
from bigr_cli.data.file_source import FileSource
from bigr_cli.errors import BigrError, ModelError, ModelFormatError, UsageError
from bigr_cli.representation.features import Wanted, wanted_features
from bigr_cli.version import __version__
from bigr_cli.zoo.config import ModelConfig, read_config
from bigr_cli.zoo.find import find_model
from bigr_cli.zoo.with_weights import model_with_weights

_READERS = 2
_AHEAD = 2  # batches that are read while one is worked on


@dataclass(frozen=True, kw_only=True)
class About:
    """The model by name (and by folder, if it was given so), the SHA-256 of its weights, and which features of it."""

    model: str
    folder: str | None
    weights: dict[str, str]
    layer: int | str | None
    pool: str
    label: str
    version: str = __version__

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def wanted(self, config: ModelConfig) -> Wanted:
        """The same features, of an image yet to come."""
        return wanted_features(config, layer=self.layer, pool=self.pool, label=self.label)

    def find(self, source: str, model: str | None = None) -> tuple[str, ModelConfig]:
        """The model, as `load` takes it, with its config.

        Args:
            source: the file that asks for it, for messages.
            model: the one that the user insists on.

        Raises:
            ModelError: that one has other weights, or the model is not here.
        """
        found = model or model_with_weights(self.model, self.folder, self.weights)
        if found is not None:
            config = read_config(find_model(found))
            if not model or config.sha256 == self.weights:
                return found, config
            raise ModelError(f"{source}: was made with {self.model}, whose weights are not those of {model}")
        other = next((name for name in (self.folder, self.model) if name and _is_there(name)), None)
        if other:
            raise ModelError(f"{source}: was made with {self.model}, whose weights are not those of {other}")
        raise ModelError(f"{source}: was made with {self.model}, which is not here", hint="--model says where it is")


def _is_there(name: str) -> bool:
    try:
        return find_model(name).is_dir()
    except UsageError:
        return False


def about(wanted: Wanted, config: ModelConfig, name: str, folder: str | None) -> About:
    """What is said of features of a model that is called `name`."""
    return About(
        model=name,
        folder=folder,
        weights=dict(config.sha256),
        layer=wanted.layer,
        pool=wanted.pool,
        label=wanted.label_name,
    )


def parse_about(text: str, source: str) -> About:
    """Read it from JSON; ModelFormatError, naming `source`, if it is not what `to_json` writes."""
    try:
        found: dict[str, Any] = json.loads(text)
        made = About(**found)
        fits = isinstance(made.weights, dict) and isinstance(made.layer, int | str | None)
        fits = fits and all(isinstance(digest, str) for digest in made.weights.values())
        fits = fits and all(isinstance(each, str) for each in (made.model, made.pool, made.label, made.folder or ""))
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelFormatError(f"{source}: does not say what it was made with ({str(error)[:200]})") from error
    if not fits:
        raise ModelFormatError(f"{source}: what it says of how it was made cannot be read")
    return made


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
        UsageError: scenes cannot be drawn in that size.
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
    """Raise UsageError if scenes cannot be drawn in that size."""
    from bigr_cli.data.scenes.render import SIZES

    if size not in SIZES:
        raise UsageError(f"scenes are drawn with {SIZES.start} to {SIZES.stop - 1} pixels, not {size}")
