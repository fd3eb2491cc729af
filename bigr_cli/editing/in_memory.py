"""Editing requests for images in memory, run at once: what a Python method does with its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from bigr_cli.editing.batched_sampling import SamplingCoroutine, paint_together
from bigr_cli.editing.request import Request, read_request
from bigr_cli.editing.requests import Interpolate
from bigr_cli.errors import BigrError, UsageError
from bigr_cli.generation import plan
from bigr_cli.imaging.originals import Original
from bigr_cli.prompts import Label, guide_of
from bigr_cli.setting import parameters
from bigr_cli.settings import sampling_settings
from bigr_cli.zoo.config import ModelConfig

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.core.model import BinaryModel

Result = TypeVar("Result")


def build(kind: type[Request], config: ModelConfig, options: Mapping[str, Any]) -> Request:
    """A request of this class, out of its own fields and options, and settings of the sampler.

    Raises:
        UnknownNameError: a label that the model has not.
        UsageError: an option or a setting that there is not, or out of range.
    """
    own = {field.name for field in fields(kind)}
    own |= {one.name for one in parameters(kind) if one.path[0] != "sampling"}
    changes = {name: value for name, value in options.items() if name not in own}
    sampling = options.get("sampling") or sampling_settings(config, changes, painting=kind.paints_parts(options))
    return read_request(kind, config, options, sampling)


def edited(
    network: BinaryModel,
    config: ModelConfig,
    kind: type[Request],
    images: Image | Sequence[Image],
    *,
    batch_size: int,
    count: int = 1,
    seed: int | None = None,
    **options: Any,
) -> list[Image]:
    """The variants of the first image, then those of the second, and so on; variant i of each has seed + i.

    Raises:
        UsageError: a number of masks that is neither one nor that of the images, and what `build` raises.
    """
    several = list(images) if isinstance(images, Sequence) else [images]
    masks, each = options.get("mask"), [options] * len(several)
    if isinstance(masks, list | tuple):
        each = [options | {"mask": mask} for mask in masks]
    if len(each) != len(several):
        raise UsageError(f"mask: expected one, or one for each of {len(several)} images, got {len(each)}")
    seeds = [job.seed for job in plan(config, [None], count=count, seed=seed)]
    coroutines = []
    for image, own in zip(several, each, strict=True):
        original = Original(image, background=config.ground)
        chosen = build(kind, config, own).for_image(original)
        coroutines += [chosen.paint(network, original, number) for number in seeds]
    every = finished(network, coroutines, batch_size)
    return [image for made in every for image in (*made.earlier, made.image)]


def interpolated(
    network: BinaryModel,
    config: ModelConfig,
    keyframes: Sequence[Label] | Sequence[Image] | Sequence[Original],
    *,
    batch_size: int,
    seed: int | None = None,
    **options: Any,
) -> list[Image]:
    """Frames along the path between labels, or between images; UsageError for both together."""
    labels = [one for one in keyframes if one is None or isinstance(one, str | int)]
    if labels and len(labels) < len(keyframes):
        raise UsageError("stops are either all labels or all pictures")
    chosen = build(Interpolate, config, options)
    path: list[Any] = [guide_of(config, label) for label in labels]
    if not labels:
        ground = config.ground
        path = [one if isinstance(one, Original) else Original(one, background=ground) for one in keyframes]  # type: ignore[arg-type]
        chosen = chosen.between_images(config)
    (job,) = plan(config, [None], seed=seed)
    return finished(network, [chosen.paint(network, path, job.seed)], batch_size)[0]


def finished(network: BinaryModel, coroutines: Sequence[SamplingCoroutine[Result]], batch_size: int) -> list[Result]:
    """What coroutines make, in their order; raises the first error."""
    made: dict[int, Result] = {}
    for index, result in paint_together(network, enumerate(coroutines), batch_size=batch_size):
        if isinstance(result, BigrError):
            raise result
        made[index] = result
    return [made[index] for index in range(len(coroutines))]
