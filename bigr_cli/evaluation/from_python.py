"""Evaluations as methods of a model: the commands' work, called at once."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigr_cli.errors import UsageError
from bigr_cli.evaluation.generation import COUNT, Evaluator, compared, open_comparison
from bigr_cli.evaluation.image_sets import folder
from bigr_cli.evaluation.samples import balanced, samples_of
from bigr_cli.evaluation.tokenizers import (
    distance_extractor,
    images_to_reconstruct,
    lpips_of,
    reconstruction_record,
)
from bigr_cli.imaging.files import check_targets
from bigr_cli.progress import ProgressOption, for_caller
from bigr_cli.setting import whole_numbers

if TYPE_CHECKING:
    from bigr_cli.loaded import LoadedModel

NamedFile = str | PathLike[str]


def generation(
    model: LoadedModel,
    reference: NamedFile | None,
    *,
    images: NamedFile | None = None,
    count: int | None = None,
    seed: int = 0,
    metrics: str | None = None,
    features: NamedFile | None = None,
    weights: NamedFile | None = None,
    fetch_weights: bool = False,
    reference_count: int | None = None,
    resize: int | None = None,
    npz: NamedFile | None = None,
    statistics: NamedFile | None = None,
    overwrite: bool = False,
    batch_size: int | None = None,
    progress: ProgressOption = None,
    **sampling: Any,
) -> dict[str, Any]:
    """Figures of samples, or of the images of a folder, against a reference."""
    whole_numbers(count=count, seed=seed, reference_count=reference_count, resize=resize, batch_size=batch_size)
    settings = model.settings(**sampling)
    if images is None:
        jobs = balanced(model.config, COUNT if count is None else count, seed)
        side = model.config.image_size
        what, size = ("samples", len(jobs)), (side, side)
    else:
        _refuse_sampling(images, sampling, seed)
        given = folder(fspath(images), count=count, resize=resize)
        what, size = (given.what, given.count), (given.width, given.height)
    targets = [_npz(path) for path in (npz, statistics)]
    check_targets([path for path in targets if path is not None], overwrite=overwrite)
    comparison = open_comparison(
        what,
        size,
        reference=None if reference is None else fspath(reference),
        reference_count=reference_count,
        metrics=metrics,
        resize=resize,
        evaluator=_evaluator(features, weights, fetch_weights),
        npz=targets[0],
        statistics=targets[1],
    )
    evaluator = comparison.evaluator(model.device, batch_size)
    with for_caller(what[1], "evaluating", progress) as advance:
        if images is not None:
            return compared(evaluator, comparison, given, given, overwrite=overwrite, advance=advance)
        sampled = samples_of(model, jobs, settings, batch_size)
        record = compared(evaluator, comparison, sampled.images(advance), sampled.images(), overwrite=overwrite)
    sampled.discard()
    return record


def reconstruction(
    model: LoadedModel,
    data: NamedFile,
    *,
    count: int | None = None,
    refine: int | None = None,
    features: NamedFile | None = None,
    weights: NamedFile | None = None,
    fetch_weights: bool = False,
    batch_size: int | None = None,
    progress: ProgressOption = None,
) -> dict[str, Any]:
    """Figures of the reconstructions of a folder's images, or of scenes."""
    whole_numbers(count=count, refine=refine, batch_size=batch_size)
    images = images_to_reconstruct(fspath(data), model.config.image_size, count)
    evaluator = _evaluator(features, weights, fetch_weights)
    extractor = distance_extractor(evaluator, fspath(data), [images])
    with for_caller(images.count, "reconstructing", progress) as advance:
        record, _ = reconstruction_record(
            model.tokenizer,
            model.config,
            images,
            where=model.folder or model.name,
            extractor=extractor,
            lpips=lpips_of(model.device, fetch=fetch_weights),
            batch=batch_size,
            refine=refine,
            advance=advance,
        )
    return record


def _refuse_sampling(images: NamedFile, sampling: Mapping[str, Any], seed: int) -> None:
    if sampling or seed:
        name = next(iter(sampling), "seed")
        raise UsageError(f"{name} is about images that are sampled, but {images} holds images already")


def _evaluator(features: NamedFile | None, weights: NamedFile | None, fetch_weights: bool) -> Evaluator:
    network = None if features is None else fspath(features)
    file = None if weights is None else Path(weights).expanduser()
    return Evaluator(features=network, weights=file, fetch_weights=fetch_weights)


def _npz(path: NamedFile | None) -> Path | None:
    if path is None:
        return None
    found = Path(path).expanduser()
    if found.suffix.lower() != ".npz":
        raise UsageError(f"{found}: expected a name that ends in .npz")
    return found
