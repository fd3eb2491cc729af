"""Embedding into files, search, classification and probes as methods of a model: the commands' work, called at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bigr_cli import console
from bigr_cli.errors import ModelError
from bigr_cli.imaging.arrays import originals
from bigr_cli.imaging.files import check_targets
from bigr_cli.progress import ProgressOption, for_caller
from bigr_cli.representation.embedding import Embedded, batch_size
from bigr_cli.representation.features import FeatureProvenance, Wanted, embed_images
from bigr_cli.representation.index_files import Found, Index, check_features, check_kind, ranked, read_index
from bigr_cli.representation.items import find_items
from bigr_cli.representation.parts import embed_to_file
from bigr_cli.representation.probe import Probed, probe_features, probe_layers
from bigr_cli.representation.probe_data import open_split
from bigr_cli.representation.probe_files import (
    Classified,
    Probe,
    check_probe_path,
    likeliest,
    load_probe,
    save_probe,
    wanted_by,
)
from bigr_cli.runtime.memory import Batches
from bigr_cli.setting import whole_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigr_cli.imaging.arrays import Images, OneImage
    from bigr_cli.loaded import LoadedModel

NamedFile = str | PathLike[str]
_IN_MEMORY = "the one given"


def embedded(
    model: LoadedModel, wanted: Wanted, images: Images, batch_size: int | None, progress: ProgressOption
) -> NDArray[Any]:
    """The features of images, one row each."""
    whole = isinstance(images, Tensor) and images.ndim == 4
    given: Any = images if whole else originals(images, model.config.ground)
    batches = Batches(model.coding_batch_size() if batch_size is None else batch_size)
    with for_caller(len(given), "embedding", progress) as advance:
        return embed_images(model.network, given, wanted, batches, model.config.ground, advance)


def embedded_to(
    model: LoadedModel,
    wanted: Wanted,
    images: Any,
    output: NamedFile,
    *,
    count: int | None = None,
    seed: int = 0,
    recursive: bool = False,
    overwrite: bool = False,
    batch_size: int | None = None,
    progress: ProgressOption = None,
) -> Embedded:
    """Features in a file; what cannot be read is in `failed` of what this gives, and warned of."""
    whole_numbers(count=count, seed=seed)
    words = [images] if isinstance(images, str | PathLike) else list(images)
    if other := [word for word in words if not isinstance(word, str | PathLike)]:
        raise TypeError(f"with output, expected names of files and folders, got {type(other[0]).__name__}")
    path = Path(output).expanduser()
    check_kind(path)
    check_targets([path], overwrite=overwrite)
    names = [fspath(word) for word in words]
    items = find_items(names, model.config.image_size, count=count, seed=seed, recursive=recursive)
    made = embed_to_file(
        model,
        items,
        wanted,
        path,
        batch=_batch_size(model, wanted, batch_size),
        overwrite=overwrite,
        progress=lambda total: for_caller(total, "embedding", progress),
        fail=lambda name, error: console.warn(f"left out: {error}"),
    )
    return made or Embedded()


def searched(model: LoadedModel, query: OneImage, index: NamedFile | Index, count: int) -> list[Found]:
    """The images of an index that are nearest to an image."""
    whole_numbers(count=count)
    source = _IN_MEMORY if isinstance(index, Index) else fspath(index)
    known = index if isinstance(index, Index) else read_index(index)
    _check_made_with(known.about, model, source)
    wanted = known.about.wanted(model.config)
    check_features(known, wanted, source=source, model=model.name)
    (image,) = originals(query, model.config.ground)
    features = embed_images(model.network, [image], wanted, Batches(1), model.config.ground)
    return ranked(known, features[0], count, source=source)


def classified_images(
    model: LoadedModel, images: Images, probe: NamedFile | Probe, batch_size: int | None
) -> list[Classified]:
    """The likeliest label of each image."""
    source = _IN_MEMORY if isinstance(probe, Probe) else fspath(probe)
    known = probe if isinstance(probe, Probe) else load_probe(probe)
    _check_made_with(known.about, model, source)
    wanted = wanted_by(known, model.config, source=source, model=model.name)
    given = originals(images, model.config.ground)
    batches = Batches(_batch_size(model, wanted, batch_size))
    features = embed_images(model.network, given, wanted, batches, model.config.ground)
    return likeliest(known, wanted, features, [one.name if one.kind else "" for one in given])


def probed(
    model: LoadedModel,
    data: NamedFile,
    test: NamedFile | None,
    *,
    count: int | None,
    test_count: int | None,
    seed: int,
    layer: int | str | None,
    pool: str | None,
    save: NamedFile | None,
    overwrite: bool,
    batch_size: int | None,
    progress: ProgressOption,
) -> Probed:
    """Classifiers of all layers' features, measured; the best one's in a file, if that is asked for."""
    whole_numbers(count=count, test_count=test_count, seed=seed)
    path = None if save is None else Path(save).expanduser()
    if path is not None:
        check_probe_path(path)
        check_targets([path], overwrite=overwrite)
    probe_features(model.config, layer, pool)
    split = open_split(
        fspath(data),
        None if test is None else fspath(test),
        model.config.image_size,
        count=count,
        test_count=test_count,
        seed=seed,
        background=model.config.ground,
    )
    batch = model.coding_batch_size() if batch_size is None else Batches(batch_size).size
    with ExitStack() as bars:

        def steps(text: str, total: int) -> Callable[[int], None]:
            bars.close()
            return bars.enter_context(for_caller(total, text, progress))

        found = probe_layers(model, split, batch=batch, seed=seed, steps=steps, layer=layer, pool=pool)
    if path is not None:
        save_probe(path, found.classifier(model), overwrite=overwrite)
    return found


def _batch_size(model: LoadedModel, wanted: Wanted, asked: int | None) -> int:
    return batch_size(model, wanted, None if asked is None else Batches(asked).size)


def _check_made_with(about: FeatureProvenance, model: LoadedModel, source: str) -> None:
    """Raise ModelError unless the model's weights are those that an index or a probe was made with."""
    if about.weights != model.config.sha256:
        raise ModelError(f"{source}: was made with {about.model}, whose weights are not those of {model.name}")
