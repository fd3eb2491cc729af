"""The tasks that are offered: from JSON to the requests of the commands, so that both make the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from bigr_cli.editing.batched_sampling import generate, holding
from bigr_cli.editing.generate import plan
from bigr_cli.editing.interpolate_request import Interpolate
from bigr_cli.editing.request import EditRequest, read_request, recorded
from bigr_cli.errors import UsageError
from bigr_cli.imaging.regions import MaskRequest
from bigr_cli.prompts import NO_LABEL, name_of, prompt_of
from bigr_cli.serve.guard import Limits
from bigr_cli.serve.jobs import Order, familiarity_of, film_output, image_output
from bigr_cli.serve.operation import FILE, IMAGE, MASK, NAME, SEED, Field, Fields, Operation, seeds_of, settings_of
from bigr_cli.serve.requests import TaskRequest, TooLarge, Upload, check_pixels, one_image, opened
from bigr_cli.setting import parameters

if TYPE_CHECKING:
    from bigr_cli.core.model import BinaryModel
    from bigr_cli.editing.batched_sampling import SamplingCoroutine
    from bigr_cli.imaging.originals import Original
    from bigr_cli.model import Model
    from bigr_cli.registry import Registry, Task
    from bigr_cli.serve.guard import Limits
    from bigr_cli.serve.jobs import Output
    from bigr_cli.serve.operation import Operation


_MOST_REFINE = 200  # steps, which cannot be cancelled one by one
_FRAMES = 4  # for each result that a job may have


class Editing(Operation):
    """A task on one image, whose request is an `EditRequest`."""

    def __init__(
        self, name: str, help: str, origin: str, model: Model, limits: Limits, kind: type[EditRequest]
    ) -> None:
        super().__init__(name, help, origin, model, limits)
        self._kind = kind

    @cached_property
    def _masked(self) -> bool:
        return any(one.path[0] == "mask" for one in parameters(self._kind))

    @cached_property
    def fields(self) -> Fields:
        own = settings_of(self._kind)
        if not self._kind.samples:
            return Fields(own)
        return Fields((*own, self._count(), Field("seed", SEED), *self._defaults(painting=True)))

    @property
    def files(self) -> Mapping[str, Any]:
        return IMAGE | (MASK if self._masked else {})

    @property
    def required(self) -> tuple[str, ...]:
        return ("image",)

    def order(self, request: TaskRequest) -> Order:
        values, upload = request.values, one_image(request)
        seeds = seeds_of(values) if self._kind.samples else [0]
        wanted, options = self._request(request)
        label = NO_LABEL if wanted.label is None else name_of(self._model.config, wanted.label)
        original = opened(upload, self._limits)
        if request.mask is not None:
            opened(request.mask, self._limits)
        wanted.for_image(original)
        pixels = self._pixels(wanted, original)

        def painter(network: BinaryModel, index: int) -> SamplingCoroutine[Any]:
            image = opened(upload, self._limits)
            coroutine = wanted.for_image(image).paint(network, image, seeds[index])
            return (yield from holding(coroutine, image.stored_bytes))

        def output(model: Model, index: int, made: Any) -> Output:
            shown = label if made.label is None else name_of(model.config, made.label)
            recipe = model.recipe(
                wanted.sampling,
                task=self.name,
                labels=[shown],
                seed=seeds[index],
                options={"image": upload.name, **options},
            )
            stem = PurePath(upload.name).stem
            found = familiarity_of(model, upload.name, made)
            name = f"{stem}-{self.name}" + (f"-{seeds[index]}" if self._kind.samples else "")
            return image_output(model, recipe, made.image, name, score=made.score, familiarity=found)

        return Order(task=self.name, count=len(seeds), pixels=pixels, painter=painter, output=output)

    def _request(self, request: TaskRequest) -> tuple[EditRequest, dict[str, Any]]:
        """The request, and the options for the recipe."""
        every = parameters(self._kind)
        given = {
            one.parameter: request.values[one.name] for one in settings_of(self._kind) if one.name in request.values
        }
        params = {one.name: one.default for one in every} | {"mask": None} | given
        values = dict(params)
        if request.mask is not None:
            if not self._masked:
                raise UsageError(f"{self.name} takes no mask")
            params["mask"] = request.mask.name
            own = {one.path[1]: given[one.name] for one in every if one.path[0] == "mask" and one.name in given}
            own = {name: tuple(value) if isinstance(value, list) else value for name, value in own.items()}
            if "label" in own:
                own["label"] = prompt_of(self._model.config, own["label"])
            for one in every:
                if one.path[0] == "mask":
                    values.pop(one.name, None)
            values["mask"] = MaskRequest(path=cast("Any", request.mask), **own)
        sampling = self._sampling(request.values, painting=self._kind.paints_parts(values))
        wanted = read_request(self._kind, self._model.config, values, sampling)
        return wanted, recorded(self._kind, params, given)

    def _pixels(self, wanted: EditRequest, original: Original) -> int:
        """How many pixels are in work for one result; TooLarge for more than the limits allow."""
        width, height = original.size
        canvas = getattr(wanted, "canvas", None)
        if canvas is not None and canvas.given:
            width, height = canvas.margins(original.size).canvas(original.size)
        scale = getattr(wanted, "scale", 1)
        width, height = width * scale, height * scale
        check_pixels("the result", width, height, self._limits)
        side = wanted.window or 0
        check_pixels("a window", side, side, self._limits)
        tries = getattr(wanted, "best_of", 1)
        work = max(width * height, side * side) * tries
        if work > self._limits.work:
            raise TooLarge(
                f"best_of: {tries} variants of this size are {work:,} pixels, of {self._limits.work:,} at once"
            )
        return work


class Generating(Operation):
    """`generate`: images from labels or texts."""

    @cached_property
    def fields(self) -> Fields:
        prompt = {
            "type": "array",
            "items": {"type": ["string", "integer"]},
            "minItems": 1,
            "maxItems": self._limits.images,
            "description": "Labels by name or number, or texts for models that read those.",
        }
        negative = {"type": ["string", "integer"], "description": "What guidance leads away from, instead of none."}
        one = {"type": ["string", "integer"], "description": "A single label or text, instead of prompts."}
        labels = (Field("prompts", prompt), Field("prompt", one), Field("negative", negative))
        own = (*labels, self._count(), Field("seed", SEED))
        return Fields((*own, *self._defaults(painting=False)))

    @property
    def files(self) -> Mapping[str, Any]:
        return {}

    def order(self, request: TaskRequest) -> Order:
        values, config = request.values, self._model.config
        if "prompt" in values and "prompts" in values:
            raise UsageError("prompt and prompts: expected one of them")
        wanted = values["prompts"] if "prompts" in values else [values["prompt"]] if "prompt" in values else []
        if not wanted:
            raise UsageError("prompts: expected at least one label or text")
        settings, negative = self._sampling(values, painting=False), values.get("negative")
        jobs = plan(config, wanted, count=values.get("count", 1), seed=values.get("seed"), negative=negative)
        if len(jobs) > self._limits.images:
            raise UsageError(f"{len(jobs)} images are too many at once; at most {self._limits.images} are taken")
        options = {} if negative is None else {"negative": negative}

        def painter(network: BinaryModel, index: int) -> SamplingCoroutine[Any]:
            job = jobs[index]
            return generate(network, job.prompt, settings, job.seed, negative=job.negative)

        def output(model: Model, index: int, made: Any) -> Output:
            job = jobs[index]
            recipe = model.recipe(settings, task=self.name, labels=[job.label], seed=job.seed, options=options)
            return image_output(model, recipe, made, f"{job.label}-{job.seed}")

        size = config.image_size
        return Order(task=self.name, count=len(jobs), pixels=size * size, painter=painter, output=output)


class Interpolating(Operation):
    """`interpolate`: frames from label to label, or from image to image."""

    @cached_property
    def fields(self) -> Fields:
        stops = {
            "type": "array",
            "items": {"type": ["string", "integer"]},
            "minItems": 2,
            "maxItems": self._limits.images,
            "description": "Labels, or texts for models that read those; or else give images.",
        }
        shape = {"type": "string", "enum": ["png", "gif", "webp", "mp4"], "default": "png"}
        speed = {"type": "number", "minimum": 0.1, "maximum": 120, "default": 8.0}
        own = (
            Field("stops", stops),
            Field("format", shape | {"description": "A strip (png), or a film (gif, webp, mp4)."}),
            Field("fps", speed | {"description": "Frames a second of a film."}),
            *settings_of(Interpolate),
            Field("seed", SEED),
        )
        return Fields((*own, *self._defaults(painting=True)))

    @property
    def files(self) -> Mapping[str, Any]:
        names = {"type": "array", "items": NAME}
        return {"images": {"type": "array", "items": FILE, "description": "Instead of stops."}, "image_names": names}

    def order(self, request: TaskRequest) -> Order:
        values, config = dict(request.values), self._model.config
        if bool(values.get("stops")) == bool(request.images):
            raise UsageError("expected either stops or images", hint="two or more labels, or two or more files")
        given = {one.parameter: values[one.name] for one in settings_of(Interpolate) if one.name in values}
        params = {one.name: one.default for one in parameters(Interpolate)} | given
        wanted = read_request(
            Interpolate, config, params, self._sampling(values, painting=Interpolate.paints_parts(params))
        )
        if wanted.count > _FRAMES * self._limits.images:
            raise UsageError(f"frames: at most {_FRAMES * self._limits.images} at once, got {wanted.count}")
        if (wanted.refine or 0) > _MOST_REFINE:
            raise UsageError(f"refine: at most {_MOST_REFINE} steps here, got {wanted.refine}")
        check_pixels("the strip", config.image_size * wanted.count, config.image_size, self._limits)
        (seed,) = seeds_of({"seed": values.get("seed")})
        labels = self._labels(values, wanted, given)
        if wanted.mixed == "published" and len(labels) > 2:
            raise UsageError(f"mixed published goes from one label to another, got {len(labels)}")
        if request.images:
            wanted = wanted.between_images(config)
            if len(request.images) < 2 or len(request.images) > self._limits.images:
                raise UsageError(f"images: expected 2 to {self._limits.images}, got {len(request.images)}")
            for upload in request.images:
                opened(upload, self._limits)
        pixels = config.image_size**2 * wanted.count

        def painter(network: BinaryModel, index: int) -> SamplingCoroutine[Any]:
            keyframes: Any = labels or [self._keyframe(upload) for upload in request.images]
            return (yield from wanted.paint(network, keyframes, seed))

        def output(model: Model, index: int, made: Any) -> Output:
            return film_output(model, self.name, wanted, values, request, made, seed, labels, given)

        return Order(task=self.name, count=1, pixels=pixels, painter=painter, output=output)

    def _keyframe(self, upload: Upload) -> Original:
        """An image, no larger than the model needs it: there may be many."""
        original, side = opened(upload, self._limits), self._model.config.image_size
        return replace(original, image=original.square(side))

    def _labels(self, values: Mapping[str, Any], wanted: Interpolate, given: Mapping[str, Any]) -> list[Any]:
        if not values.get("stops"):
            for name in ("strength", "mixed"):
                if given.get(name) is not None:
                    raise UsageError(f"{name} is for paths between labels or texts")
            return []
        for name in ("refine", "guess_class", "prompt", "class_label", "text"):
            if given.get(name) is not None:
                raise UsageError(f"{name.removesuffix('_label')} is for paths between images")
        labels = [prompt_of(self._model.config, stop) for stop in values["stops"]]
        if None in labels:
            raise UsageError('"none" is no stop on a path between labels')
        return labels


def offered(registry: Registry, model: Model, limits: Limits) -> dict[str, Operation]:
    """The operations by name: the built-in ones, and those of plugins whose request is an `EditRequest`."""
    found: dict[str, Operation] = {}
    for task in registry.tasks.values():
        operation = _operation(task, model, limits)
        if operation is not None:
            found[operation.name] = operation
    return found


def _operation(task: Task, model: Model, limits: Limits) -> Operation | None:
    name, help, origin = task.name, task.help, str(task.origin)
    if name == "generate":
        return Generating(name, help, origin, model, limits)
    if name == "interpolate":
        return Interpolating(name, help, origin, model, limits)
    kind = getattr(task.function, "request", None)
    if isinstance(kind, type) and issubclass(kind, EditRequest):
        return Editing(name, help, origin, model, limits, kind)
    return None
