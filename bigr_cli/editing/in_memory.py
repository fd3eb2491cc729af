"""Editing requests for images in memory, run at once: what a Python method does with its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from bigr_cli import console
from bigr_cli.core.config import Guide, SamplingConfig
from bigr_cli.core.held_out import Familiarity
from bigr_cli.editing.batched_sampling import Iteration, SamplingCoroutine, Watch, paint_together
from bigr_cli.editing.request import EditRequest, Request, read_request, recorded
from bigr_cli.editing.requests import Interpolate
from bigr_cli.errors import BigrError, ConfigError, UsageError, nearest
from bigr_cli.generation import plan
from bigr_cli.imaging.arrays import is_one_image, originals
from bigr_cli.imaging.files import KINDS
from bigr_cli.imaging.originals import Original
from bigr_cli.prompts import Label, guide_of, name_of, reads_text
from bigr_cli.setting import parameters, with_own_names
from bigr_cli.settings import sampling_settings
from bigr_cli.zoo.config import ModelConfig

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.core.model import BinaryModel
    from bigr_cli.editing.repaint import Painted
    from bigr_cli.imaging.arrays import OneImage

Result = TypeVar("Result")

_SETTINGS = ("preset", *(field.name for field in fields(SamplingConfig)))


def check_arguments(method: str, given: Iterable[str], own: Iterable[str] = ()) -> None:
    """Raise ConfigError for a name that is neither a setting of the sampler nor the method's `own`."""
    for name in given:
        if name not in _SETTINGS:
            near = nearest(name, sorted({*own, *_SETTINGS}))
            suggestion = f"; did you mean {', '.join(near)}?" if near else ""
            raise ConfigError(f"{method}: has no argument {name!r}{suggestion}")


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


@dataclass(frozen=True)
class Edited:
    """What was made of one image, with all that its recipe says; `earlier` are the images of earlier passes."""

    image: Image
    earlier: Sequence[Image]
    label: Guide
    seed: int
    sampling: SamplingConfig
    options: dict[str, Any]
    familiarity: Familiarity | None = None


def edited(
    network: BinaryModel,
    config: ModelConfig,
    kind: type[Request],
    images: Sequence[Original],
    *,
    batch_size: int,
    count: int = 1,
    seed: int | None = None,
    advance: Callable[[float], None] = lambda images: None,
    **options: Any,
) -> list[Edited]:
    """The variants of the first image, then those of the second, and so on; variant i of each has seed + i.

    Args:
        images: read, each with its background.
        advance: told how many more images are done.

    Raises:
        UsageError: a number of masks that is neither one nor that of the images, and what `build` raises.
    """
    masks, each = options.get("mask"), [options] * len(images)
    if isinstance(masks, list | tuple):
        each = [options | {"mask": mask} for mask in masks]
    if len(each) != len(images):
        raise UsageError(f"mask: expected one, or one for each of {len(images)} images, got {len(each)}")
    seeds = [job.seed for job in plan(config, [None], count=count, seed=seed)]
    coroutines: list[SamplingCoroutine[Painted]] = []
    told: list[tuple[EditRequest, int, dict[str, Any]]] = []
    for original, own in zip(images, each, strict=True):
        built = build(kind, config, own)
        chosen = built.for_image(original)
        shown = ({"image": original.name} if original.kind else {}) | keywords(kind, config, own)
        coroutines += [chosen.paint(network, original, number) for number in seeds]
        told += [(built, number, shown) for number in seeds]
    painted = finished(network, coroutines, batch_size, advance=lambda: advance(1))
    warn_once(config.name, [made.familiarity for made in painted])
    return [
        Edited(
            made.image,
            made.earlier,
            request.label if made.label is None else made.label,
            number,
            request.sampling,
            shown,
            made.familiarity,
        )
        for made, (request, number, shown) in zip(painted, told, strict=True)
    ]


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
    network: BinaryModel,
    config: ModelConfig,
    keyframes: Sequence[Label | OneImage | Original],
    *,
    batch_size: int,
    seed: int | None = None,
    advance: Callable[[float], None] = lambda frames: None,
    **options: Any,
) -> list[Edited]:
    """Frames along the path between labels, or between images; UsageError for both together.

    A text that is the file of an image is an image, every other one a label, as on the command line. `advance` is told
    of shares of frames.
    """
    if is_one_image(keyframes) or _is_label(keyframes):
        raise UsageError(f"stops: expected two or more labels or images, as a list, got one: {keyframes!r}")
    labels: list[Label] = [one for one in keyframes if _is_label(one)]  # type: ignore[misc]
    others = [one for stop in keyframes if not _is_label(stop) for one in originals(stop, config.ground)]  # type: ignore[arg-type]
    if labels and len(labels) < len(keyframes):
        raise UsageError("stops are either all labels or all images")
    chosen = build(Interpolate, config, options)
    stops: list[Any] = [guide_of(config, label) for label in labels]
    names: list[str] | None = [name_of(config, stop) for stop in stops]
    if not labels:
        stops = others
        chosen = chosen.between_images(config)
        files = [original.name for original in stops if original.kind]
        names = files if len(files) == len(stops) else None
    shown = keywords(Interpolate, config, options) | chosen.recorded(names, None, {}, images=not labels)
    (job,) = plan(config, [None], seed=seed)

    def watch(seen: Iteration) -> None:
        advance(len(seen.requests) / seen.steps)

    (frames,) = finished(network, [chosen.paint(network, stops, job.seed)], batch_size, watch=watch)
    familiarity = getattr(frames, "familiarity", None)
    warn_once(config.name, [familiarity])
    return [Edited(frame, (), None, job.seed, chosen.sampling, shown, familiarity) for frame in frames]


def warn_once(model: str, found: Sequence[Familiarity | None]) -> None:
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


def finished(
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
