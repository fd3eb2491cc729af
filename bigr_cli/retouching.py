"""What a model does with an image that is there already, without retraining."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from bigr_cli import request
from bigr_cli.editing.batched_sampling import SamplingCoroutine, paint_together, side_by_side
from bigr_cli.editing.request import EditRequest, read_request
from bigr_cli.editing.requests import Edit, Enrich, Inpaint, Interpolate, Outpaint
from bigr_cli.errors import BigrError, UsageError
from bigr_cli.imaging.originals import Original
from bigr_cli.loaded import LoadedModel
from bigr_cli.request import Label
from bigr_cli.setting import parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from bigr_cli.editing.inpaint import Painted

Result = TypeVar("Result")
Request = TypeVar("Request", bound=EditRequest)


class Retouching(LoadedModel):
    """Inpainting, outpainting, editing, interpolating and enriching; images in and out are PIL images."""

    def inpaint(
        self, image: Image | Sequence[Image], mask: Image | NDArray[Any] | Sequence[Any] | None = None, **options: Any
    ) -> list[Image]:
        """The image with its masked part painted anew; the rest comes back bit for bit.

        Args:
            image: of any size and mode, or several, which are sampled together.
            mask: of the same size, an image (white repaints) or an array (H, W), bool or from 0 to 1; for several
                images one for all or one each. Instead, `mask_box`, `mask_alpha` and so on, as the command takes them.
            options: fields of the request (here `Inpaint`); settings of the sampler instead of the model's own;
                `count`, the number of variants of each image, of which variant i has seed + i; `seed`, of which None
                draws one; `batch_size`, on which the images do not depend.

        Returns:
            The variants of the first image, then those of the second, and so on.

        Raises:
            UnknownNameError: a label that the model has not.
            UsageError: a mask of another size, a setting, count or seed out of range.
        """
        return self._edited(Inpaint, image, mask=mask, **options)

    def outpaint(self, image: Image | Sequence[Image], **options: Any) -> list[Image]:
        """The image on a canvas larger by `left`, `right`, `top`, `bottom`, or to `aspect` or `size`; see `inpaint`."""
        return self._edited(Outpaint, image, **options)

    def edit(
        self,
        image: Image | Sequence[Image],
        label: Label,
        mask: Image | NDArray[Any] | Sequence[Any] | None = None,
        **options: Any,
    ) -> list[Image]:
        """The image with what is masked as another label; without a mask, with a share of all its tokens sampled anew.

        `strength` is the share, `from_label` what it was; see `inpaint` and `Edit`.
        """
        return self._edited(Edit, image, label=label, mask=mask, **options)

    def enrich(self, image: Image | Sequence[Image], **options: Any) -> list[Image]:
        """The image with its detail sampled anew, `scale` times larger; see `inpaint` and `Enrich`."""
        return self._edited(Enrich, image, **options)

    def interpolate(
        self,
        stops: Sequence[Label] | Sequence[Image] | Sequence[Original],
        *,
        seed: int | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> list[Image]:
        """Frames of the model's size along the path from label to label, or from image to image; see `Interpolate`.

        Args:
            stops: two or more labels, or as many images.
            seed: of every frame; None draws one.
            batch_size: how many frames to sample at once.
            options: fields of the request; settings of the sampler instead of the model's own.
        """
        labels = [stop for stop in stops if stop is None or isinstance(stop, str | int)]
        if labels and len(labels) < len(stops):
            raise UsageError("stops are either all labels or all pictures")
        chosen = self.request(Interpolate, **options)
        keyframes: list[Any] = [request.guide_of(self.config, label) for label in labels]
        if not labels:
            keyframes = [stop if isinstance(stop, Original) else Original(stop) for stop in stops]  # type: ignore[arg-type]
            chosen = chosen.between_images(self.config)
        (job,) = request.plan(self.config, [None], seed=seed)
        return self.finished(chosen.paint(self.network, keyframes, job.seed), batch_size)

    def request(self, kind: type[Request], **options: Any) -> Request:
        """A request of this class, out of its own fields and options, and settings of the sampler.

        Raises:
            UnknownNameError: a label that the model has not.
            UsageError: an option or a setting that there is not, or out of range.
        """
        own = {field.name for field in fields(kind)}
        own |= {one.name for one in parameters(kind) if one.path[0] != "sampling"}
        sampling = self.settings(painting=True, **{name: options[name] for name in options if name not in own})
        return read_request(kind, self.config, options, sampling)

    def _edited(
        self,
        kind: type[EditRequest],
        image: Image | Sequence[Image],
        *,
        count: int = 1,
        seed: int | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> list[Image]:
        images = list(image) if isinstance(image, Sequence) else [image]
        masks, each = options.get("mask"), [options] * len(images)
        if isinstance(masks, list | tuple):
            each = [options | {"mask": mask} for mask in masks]
        if len(each) != len(images):
            raise UsageError(f"mask: expected one, or one for each of {len(images)} images, got {len(each)}")
        seeds = [job.seed for job in request.plan(self.config, [None], count=count, seed=seed)]
        coroutines: list[SamplingCoroutine[Painted]] = []
        for one, own in zip(images, each, strict=True):
            chosen, original = self.request(kind, **own), Original(one)
            chosen = chosen.for_image(original)
            coroutines += [chosen.paint(self.network, original, number) for number in seeds]
        return [made.image for made in self.finished(side_by_side(coroutines), batch_size)]

    def finished(self, coroutine: SamplingCoroutine[Result], batch_size: int | None) -> Result:
        """What a coroutine makes; raises its error."""
        size = self.batch_size() if batch_size is None else batch_size
        ((_, made),) = paint_together(self.network, [(None, coroutine)], batch_size=size)
        if isinstance(made, BigrError):
            raise made
        return made
