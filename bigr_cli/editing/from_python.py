"""Editing requests as methods of a model: images in memory, painted at once, that carry their recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from bigr_cli import console
from bigr_cli.core.held_out import Familiarity
from bigr_cli.editing.batched_sampling import Iteration, SamplingCoroutine, Watch, paint_together
from bigr_cli.editing.generate import plan
from bigr_cli.editing.request import EditRequest, Request, read_request, recorded
from bigr_cli.editing.requests import Interpolate
from bigr_cli.errors import BigrError, UsageError
from bigr_cli.imaging.arrays import is_one_image, originals
from bigr_cli.imaging.files import KINDS
from bigr_cli.imaging.metadata import MadeImage
from bigr_cli.progress import ProgressOption, for_caller
from bigr_cli.prompts import Label, name_of, prompt_of, reads_text
from bigr_cli.recipe import Recipe
from bigr_cli.runtime.memory import Batches
from bigr_cli.setting import parameters, whole_numbers, with_own_names
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.presets import check_arguments, sampling_settings

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.core.model import BinaryModel
    from bigr_cli.editing.repaint import Painted
    from bigr_cli.imaging.arrays import Images, OneImage
    from bigr_cli.loaded import LoadedModel

Result = TypeVar("Result")


def build(kind: type[Request], config: ModelConfig, options: Mapping[str, Any]) -> Request:
    """A request of this class, out of its own fields and options, and settings of the sampler.

    Raises:
        UnknownNameError: a label that the model has not.
        UsageError: an option or a setting that there is not, or out of range.
    """
    options = _with_boxes(with_own_names(kind, options))
    own = {field.name for field in fields(kind)}
    own |= {one.name for one in parameters(kind) if one.path[0] != "sampling"}
    changes = {name: value for name, value in options.items() if name not in own}
    check_arguments(kind.__name__.lower(), changes, own)
    sampling = options.get("sampling") or sampling_settings(config, changes, painting=kind.paints_parts(options))
    return read_request(kind, config, options, sampling)


def edited(
    model: LoadedModel, kind: type[Request], images: Images, count: int | None, options: Mapping[str, Any]
) -> MadeImage | list[MadeImage]:
    """The variants of the first image, then those of the second, and so on; variant i of each has seed + i.

    Raises:
        UsageError: a number of masks that is neither one nor that of the images, and what `build` raises.
    """
    options = with_own_names(kind, {"count": count, **options})
    whole_numbers(count=options["count"])
    count, seed = options.pop("count"), options.pop("seed", None)
    size, progress = _batch_size(model, options.pop("batch_size", None)), options.pop("progress", None)
    one = count is None and is_one_image(images) and not options.get("save_passes")
    given, task = originals(images, model.config.ground), kind.__name__.lower()
    masks, each = options.get("mask"), [options] * len(given)
    if isinstance(masks, list | tuple):
        each = [options | {"mask": mask} for mask in masks]
    if len(each) != len(given):
        raise UsageError(f"mask: expected one, or one for each of {len(given)} images, got {len(each)}")
    seeds = [job.seed for job in plan(model.config, [None], count=1 if count is None else count, seed=seed)]
    coroutines: list[SamplingCoroutine[Painted]] = []
    told: list[tuple[EditRequest, int, dict[str, Any]]] = []
    for original, own in zip(given, each, strict=True):
        built = build(kind, model.config, own)
        chosen = built.for_image(original)
        shown = ({"image": original.name} if original.kind else {}) | keywords(kind, model.config, own)
        coroutines += [chosen.paint(model.network, original, number) for number in seeds]
        told += [(built, number, shown) for number in seeds]
    with for_caller(len(coroutines), task, progress) as advance:
        painted = _finished(model.network, coroutines, size, advance=lambda: advance(1))
    _warn_once(model.config.name, [made.familiarity for made in painted])
    found: list[MadeImage] = []
    for made, (request, number, shown) in zip(painted, told, strict=True):
        labels = [name_of(model.config, request.label if made.label is None else made.label)]
        recipe = model.recipe(request.sampling, task=task, labels=labels, seed=number, options=shown)
        found += [MadeImage.of(earlier, None) for earlier in made.earlier]
        found.append(_made_image(made.image, recipe, made.familiarity))
    return found[0] if one else found


def _with_boxes(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Paths as `Path`, and boxes as texts, any number of them: "x,y,w,h" and (x, y, w, h) are one each."""
    options = {name: Path(value) if isinstance(value, PathLike) else value for name, value in options.items()}
    if isinstance(options.get("mask_find"), str):
        options["mask_find"] = [options["mask_find"]]
    given = options.get("mask_box")
    if given is None:
        return options
    one = isinstance(given, str) or all(isinstance(number, int | float) for number in given)
    boxes = [box if isinstance(box, str) else ",".join(map(str, box)) for box in ([given] if one else given)]
    return {**options, "mask_box": boxes}


def keywords(kind: type[Request], config: ModelConfig, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a method was given for a request, by the options' names, as a recipe has it; not what is in memory."""
    options = _with_boxes(with_own_names(kind, options))
    unread = ("prompt", "class" if reads_text(config) else "text")  # a label is recorded under one option only
    values: dict[str, Any] = {}
    for one in parameters(kind):
        value = options.get(one.name)
        if value is None and len(one.path) == 1 and one.label not in unread:
            value = options.get(one.path[0])  # the field's own name, such as label
        kept = value if isinstance(value, bool | int | float | str | PurePath | list | tuple) else None
        values[one.name] = list(kept) if isinstance(kept, tuple) else kept
    in_memory = options.get("mask") is not None and values.get("mask") is None
    return recorded(kind, values, set(options)) | ({"mask-in-memory": True} if in_memory else {})


def interpolated(
    model: LoadedModel,
    keyframes: Sequence[Label | OneImage],
    *,
    batch_size: int | None,
    progress: ProgressOption,
    seed: int | None = None,
    **options: Any,
) -> list[MadeImage]:
    """Frames along the path between labels, or between images; UsageError for both together.

    A text that is the file of an image is an image, every other one a label, as on the command line.
    """
    config, size = model.config, _batch_size(model, batch_size)
    chosen = build(Interpolate, config, options)
    total = chosen.count
    if is_one_image(keyframes) or _is_label(keyframes):
        raise UsageError(f"stops: expected two or more labels or images, as a list, got one: {keyframes!r}")
    labels: list[Label] = [one for one in keyframes if _is_label(one)]  # type: ignore[misc]
    others = [one for stop in keyframes if not _is_label(stop) for one in originals(stop, config.ground)]  # type: ignore[arg-type]
    if labels and len(labels) < len(keyframes):
        raise UsageError("stops are either all labels or all images")
    stops: list[Any] = [prompt_of(config, label) for label in labels]
    names: list[str] | None = [name_of(config, stop) for stop in stops]
    if not labels:
        stops = others
        chosen = chosen.between_images(config)
        files = [original.name for original in stops if original.kind]
        names = files if len(files) == len(stops) else None
    shown = keywords(Interpolate, config, options) | chosen.recorded(names, None, {}, images=not labels)
    (job,) = plan(config, [None], seed=seed)
    with for_caller(total, "interpolating", progress) as advance:

        def watch(seen: Iteration) -> None:
            advance(len(seen.requests) / seen.steps)

        (frames,) = _finished(model.network, [chosen.paint(model.network, stops, job.seed)], size, watch=watch)
    familiarity = getattr(frames, "familiarity", None)
    _warn_once(model.config.name, [familiarity])
    recorded_as = [] if "refine" in shown else [str(stop) for stop in shown["stops"]]
    recipe = model.recipe(chosen.sampling, task="interpolate", labels=recorded_as, seed=job.seed, options=shown)
    return [_made_image(frame, recipe, familiarity) for frame in frames]


def _batch_size(model: LoadedModel, asked: int | None) -> int:
    return model.batch_size() if asked is None else Batches(asked).size


def _made_image(image: Image, recipe: Recipe, familiarity: Familiarity | None) -> MadeImage:
    made = MadeImage.of(image, recipe)
    if familiarity is not None:
        made.info["familiarity"] = familiarity.described()
    return made


def _warn_once(model: str, found: Sequence[Familiarity | None]) -> None:
    """Say, for several images once, that one is unlike those that the model was trained on."""
    unfamiliar = [one for one in found if one is not None and one.unfamiliar]
    if unfamiliar:
        images = "an image" if len(found) == 1 else f"{len(unfamiliar)} of {len(found)} images, such as this one"
        console.warn(unfamiliar[0].warning(model, images))


def _is_label(stop: object) -> bool:
    """Whether it is a label; a text is none if it is the name of an image's file."""
    if not isinstance(stop, str):
        return stop is None or isinstance(stop, int)
    return Path(stop).suffix.lower() not in KINDS and not Path(stop).is_file()


def _finished(
    network: BinaryModel,
    coroutines: Sequence[SamplingCoroutine[Result]],
    batch_size: int,
    *,
    watch: Watch | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Result]:
    """What coroutines make, in their order; raises the first error. `advance` is called when one is done."""
    made: dict[int, Result] = {}
    for index, result in paint_together(network, enumerate(coroutines), batch_size=batch_size, watch=watch):
        if isinstance(result, BigrError):
            raise result
        made[index] = result
        advance()
    return [made[index] for index in range(len(coroutines))]
