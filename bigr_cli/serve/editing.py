"""Tasks on one image: the request of the command of the same name, so that both make the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from bigr_cli.editing.batched_sampling import holding
from bigr_cli.editing.request import EditRequest, read_request, recorded
from bigr_cli.errors import UsageError
from bigr_cli.imaging.mask_request import MaskRequest
from bigr_cli.prompts import NO_LABEL, name_of
from bigr_cli.serve.fields import Field, Fields, settings_of
from bigr_cli.serve.limits import Limits
from bigr_cli.serve.operation import IMAGE, MASK, SEED, Operation, seeds_of
from bigr_cli.serve.orders import Asked, Order, TooLarge, check_pixels, one_image, opened
from bigr_cli.serve.outputs import familiarity_of, image_output
from bigr_cli.setting import parameters

if TYPE_CHECKING:
    from bigr_cli.core.model import BinaryModel
    from bigr_cli.editing.batched_sampling import SamplingCoroutine
    from bigr_cli.imaging.originals import Original
    from bigr_cli.model import Model
    from bigr_cli.serve.jobs import Output


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
        return Fields((*own, self._count(), Field("seed", SEED), *self._defaults(painting=True)))

    @property
    def files(self) -> Mapping[str, Any]:
        return IMAGE | (MASK if self._masked else {})

    @property
    def required(self) -> tuple[str, ...]:
        return ("image",)

    def order(self, asked: Asked) -> Order:
        values, upload = asked.values, one_image(asked)
        seeds = seeds_of(values)
        wanted, options = self._request(asked)
        label = NO_LABEL if wanted.label is None else name_of(self._model.config, wanted.label)
        original = opened(upload, self._limits)
        if asked.mask is not None:
            opened(asked.mask, self._limits)
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
            name = f"{stem}-{self.name}-{seeds[index]}"
            return image_output(model, recipe, made.image, name, score=made.score, familiarity=found)

        return Order(task=self.name, count=len(seeds), pixels=pixels, painter=painter, output=output)

    def _request(self, asked: Asked) -> tuple[EditRequest, dict[str, Any]]:
        """The request, and the options for the recipe."""
        every = parameters(self._kind)
        given = {one.parameter: asked.values[one.name] for one in settings_of(self._kind) if one.name in asked.values}
        params = {one.name: one.default for one in every} | {"mask": None} | given
        values = dict(params)
        if asked.mask is not None:
            if not self._masked:
                raise UsageError(f"{self.name} takes no mask")
            params["mask"] = asked.mask.name
            own = {one.path[1]: given[one.name] for one in every if one.path[0] == "mask" and one.name in given}
            own = {name: tuple(value) if isinstance(value, list) else value for name, value in own.items()}
            for one in every:
                if one.path[0] == "mask":
                    values.pop(one.name, None)
            values["mask"] = MaskRequest(path=cast("Any", asked.mask), **own)
        sampling = self._sampling(asked.values, painting=self._kind.paints_parts(values))
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
