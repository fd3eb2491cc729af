"""Tasks without one image to begin with: generate and interpolate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bigr_cli.editing.generate import generate
from bigr_cli.editing.interpolate_request import Interpolate
from bigr_cli.editing.request import read_request
from bigr_cli.errors import UsageError
from bigr_cli.generation import plan
from bigr_cli.prompts import guide_of
from bigr_cli.serve.fields import Field, Fields, settings_of
from bigr_cli.serve.operation import FILE, NAME, SEED, Operation, seeds_of
from bigr_cli.serve.orders import Asked, Order, Upload, check_pixels, opened
from bigr_cli.serve.outputs import film_output, image_output
from bigr_cli.setting import parameters

if TYPE_CHECKING:
    from bigr_cli.core.model import BinaryModel
    from bigr_cli.editing.batched_sampling import SamplingCoroutine
    from bigr_cli.imaging.originals import Original
    from bigr_cli.model import Model
    from bigr_cli.serve.jobs import Output

_MOST_REFINE = 200  # steps, which cannot be cancelled one by one
_FRAMES = 4  # for each result that a job may have


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
        own = (Field("prompts", prompt), Field("negative", negative), self._count(), Field("seed", SEED))
        return Fields((*own, *self._defaults(painting=False)))

    @property
    def files(self) -> Mapping[str, Any]:
        return {}

    @property
    def required(self) -> tuple[str, ...]:
        return ("prompts",)

    def order(self, asked: Asked) -> Order:
        values, config = asked.values, self._model.config
        if not values.get("prompts"):
            raise UsageError("prompts: expected at least one label or text")
        settings, negative = self._sampling(values, painting=False), values.get("negative")
        jobs = plan(config, values["prompts"], count=values.get("count", 1), seed=values.get("seed"), negative=negative)
        if len(jobs) > self._limits.images:
            raise UsageError(f"{len(jobs)} images are too many at once; at most {self._limits.images} are taken")
        options = {} if negative is None else {"negative": negative}

        def painter(network: BinaryModel, index: int) -> SamplingCoroutine[Any]:
            job = jobs[index]
            return generate(network, job.guide, settings, job.seed, negative=job.against)

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

    def order(self, asked: Asked) -> Order:
        values, config = dict(asked.values), self._model.config
        if bool(values.get("stops")) == bool(asked.images):
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
        if asked.images:
            wanted = wanted.between_images(config)
            if len(asked.images) < 2 or len(asked.images) > self._limits.images:
                raise UsageError(f"images: expected 2 to {self._limits.images}, got {len(asked.images)}")
            for upload in asked.images:
                opened(upload, self._limits)
        pixels = config.image_size**2 * wanted.count

        def painter(network: BinaryModel, index: int) -> SamplingCoroutine[Any]:
            keyframes: Any = labels or [self._keyframe(upload) for upload in asked.images]
            return (yield from wanted.paint(network, keyframes, seed))

        def output(model: Model, index: int, made: Any) -> Output:
            return film_output(model, self.name, wanted, values, asked, made, seed, labels)

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
        labels = [guide_of(self._model.config, stop) for stop in values["stops"]]
        if None in labels:
            raise UsageError('"none" is no stop on a path between labels')
        return labels
