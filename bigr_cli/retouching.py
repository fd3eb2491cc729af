"""What a model does with a picture that is there already, without retraining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from bigr_cli import request
from bigr_cli.errors import BigrError, UsageError
from bigr_cli.imaging.blending import Blend
from bigr_cli.imaging.masks import mask_array
from bigr_cli.imaging.originals import Original
from bigr_cli.loaded import LoadedModel
from bigr_cli.painting.asks import Painter, paint_together, side_by_side
from bigr_cli.painting.inpaint import Painted
from bigr_cli.painting.repaint import Wish
from bigr_cli.request import Label

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

Made = TypeVar("Made")


class Retouching(LoadedModel):
    """Inpainting, outpainting, editing, interpolating and enriching; pictures in and out are PIL images."""

    def inpaint(
        self,
        image: Image,
        mask: Image | NDArray[Any],
        *,
        label: Label = None,
        guess: bool = False,
        count: int = 1,
        seed: int | None = None,
        best_of: int = 1,
        blend: Blend = "poisson",
        window: int | None = None,
        mask_threshold: float | None = None,
        batch_size: int | None = None,
        **sampling: Any,
    ) -> list[Image]:
        """The picture `count` times, with its masked part painted anew; the rest comes back bit for bit.

        Args:
            image: of any size and mode.
            mask: of the same size, a picture (white repaints) or an array (H, W), bool or from 0 to 1, or levels.
            label: what to paint, by name or number; None is no label.
            guess: take the label under which the model finds the rest of the picture likeliest.
            count: how many variants; variant i has seed + i.
            seed: None draws one.
            best_of: paint so many for each variant, and keep the likeliest.
            blend: how the paint is joined to the picture: "poisson", "feather" or "none".
            window: how much of the picture the model sees at once, along a side, in pixels; None lets the mask decide.
            mask_threshold: what is so near to black or white counts as such; None is 0.05.
            batch_size: how many windows to draw at once; the pictures do not depend on it.
            sampling: settings of the sampler instead of the model's own.

        Raises:
            UnknownNameError: a label that the model has not.
            UsageError: a mask of another size, a setting, count or seed out of range.
        """
        from bigr_cli.painting.inpaint import inpaint

        original = Original(image)
        weights = mask_array(mask, original, mask_threshold)
        more: dict[str, Any] = {"how": blend, "guess": guess, "best_of": best_of}
        wishes = self._wishes(label, count, seed, sampling, window=window)
        return self._painted([inpaint(self.network, original, weights, wish, **more) for wish in wishes], batch_size)

    def outpaint(
        self,
        image: Image,
        *,
        left: int = 0,
        right: int = 0,
        top: int = 0,
        bottom: int = 0,
        label: Label = None,
        guess: bool = False,
        count: int = 1,
        seed: int | None = None,
        best_of: int = 1,
        blend: Blend = "poisson",
        window: int | None = None,
        batch_size: int | None = None,
        **sampling: Any,
    ) -> list[Image]:
        """The picture on a canvas that is larger by so many pixels, `count` times; other arguments as in `inpaint`."""
        from bigr_cli.imaging.canvas import Margins
        from bigr_cli.painting.inpaint import outpaint

        original, margins = Original(image), Margins(left=left, top=top, right=right, bottom=bottom)
        margins.canvas(original.size)
        more: dict[str, Any] = {"how": blend, "guess": guess, "best_of": best_of}
        wishes = self._wishes(label, count, seed, sampling, window=window)
        return self._painted([outpaint(self.network, original, margins, wish, **more) for wish in wishes], batch_size)

    def edit(
        self,
        image: Image,
        label: Label,
        mask: Image | NDArray[Any] | None = None,
        *,
        strength: float = 0.6,
        from_label: Label = None,
        count: int = 1,
        seed: int | None = None,
        blend: Blend = "poisson",
        window: int | None = None,
        mask_threshold: float | None = None,
        batch_size: int | None = None,
        **sampling: Any,
    ) -> list[Image]:
        """The picture with what is masked as another label; without a mask, with a share of all its tokens redrawn.

        Args:
            image: of any size and mode.
            label: what it shall become.
            mask: as in `inpaint`; None is the whole picture.
            strength: without a mask, the share of the tokens that are redrawn, those first that fit the label least.
            from_label: what it was; guidance leads away from it.
            count: how many variants; other arguments as in `inpaint`.
        """
        from bigr_cli.painting.edit import edit_whole
        from bigr_cli.painting.inpaint import inpaint

        _check_share(strength)
        original = Original(image)
        away = request.guide_of(self.config, from_label)
        wishes = self._wishes(label, count, seed, sampling, window=window, against=away)
        if mask is None:
            makers = [edit_whole(self.network, original, strength, wish, how=blend) for wish in wishes]
        else:
            weights = mask_array(mask, original, mask_threshold)
            makers = [inpaint(self.network, original, weights, wish, how=blend) for wish in wishes]
        return self._painted(makers, batch_size)

    def enrich(
        self,
        image: Image,
        *,
        strength: float = 0.25,
        reduce: bool = False,
        rate: int = 2,
        passes: int = 1,
        groups: int | None = None,
        scale: int = 1,
        sharpen_only: bool = False,
        label: Label = None,
        guess: bool = False,
        count: int = 1,
        seed: int | None = None,
        window: int | None = None,
        batch_size: int | None = None,
        **sampling: Any,
    ) -> list[Image]:
        """The picture with its detail redrawn, `count` times, `scale` times larger.

        Args:
            image: of any size and mode.
            strength: the share of the tokens that are redrawn, those first that the model finds least likely.
            reduce: reduce the picture by `rate` first, to redraw detail that it has.
            rate: tokens are redrawn in cells of rate × rate.
            passes: how often.
            groups: in how many turns; None is 4, or rate² if that is less.
            scale: how many times larger.
            sharpen_only: change fine detail alone, so that colours do not drift.
            label: guides, if given; `guess` takes the likeliest one, and other arguments as in `inpaint`.
        """
        from bigr_cli.painting.enrich import Detail, enrich

        turns = min(4, rate**2) if groups is None else groups
        detail = Detail(
            rate=rate,
            passes=passes,
            groups=turns,
            strength=strength,
            reduce=reduce,
            scale=scale,
            sharpen_only=sharpen_only,
        )
        wishes = self._wishes(label, count, seed, sampling, window=window)
        return self._painted(
            [enrich(self.network, Original(image), detail, wish, guess=guess) for wish in wishes], batch_size
        )

    def interpolate(
        self,
        stops: Sequence[Label] | Sequence[Image] | Sequence[Original],
        *,
        frames: int = 9,
        strength: float | None = None,
        refine: int | None = None,
        label: Label = None,
        guess: bool | None = None,
        loop: bool = False,
        seed: int | None = None,
        batch_size: int | None = None,
        **sampling: Any,
    ) -> list[Image]:
        """Frames of the model's size on the way from label to label, or from picture to picture.

        Args:
            stops: two or more labels, or as many pictures.
            frames: how many, both ends included.
            strength: between labels, how much of the first one's picture is redrawn for the others: a share of the
                tokens, 0 to 1. None is 0.25 for classes and 1 for texts.
            refine: between pictures, steps in which codes are looked for that show them better than the encoder's.
                None is the model's own number.
            label: guides between pictures, if given.
            guess: between pictures, have each frame guided by the class under which the model finds the nearer of its
                pictures likeliest. None does so without a label, if the model has at most 100 classes.
            loop: go on from the last stop back to the first.
            seed: of every frame; None draws one.
            batch_size: how many frames to draw at once.
            sampling: settings of the sampler instead of the model's own.
        """
        from bigr_cli.painting.interpolate import between_labels, between_pictures

        if len(stops) < 2 or frames < 2:
            raise UsageError(f"expected at least two stops and two frames, got {len(stops)} and {frames}")
        labels = [stop for stop in stops if stop is None or isinstance(stop, str | int)]
        if strength is not None:
            _check_share(strength)
        (wish,) = self._wishes(label, 1, seed, sampling)
        if labels and len(labels) < len(stops):
            raise UsageError("stops are either all labels or all pictures")
        if labels:
            guides = [request.guide_of(self.config, stop) for stop in labels]
            maker = between_labels(self.network, guides, frames, wish, strength=strength, loop=loop)
            return self._finished(maker, batch_size)
        pictures = [stop if isinstance(stop, Original) else Original(stop) for stop in stops]  # type: ignore[arg-type]
        steps, guess = request.between_pictures(self.config, wish.label, refine=refine, guess=guess)
        maker = between_pictures(self.network, pictures, frames, wish, guess=guess, refine=steps, loop=loop)
        return self._finished(maker, batch_size)

    def _wishes(
        self,
        label: Label,
        count: int,
        seed: int | None,
        sampling: dict[str, Any],
        **more: Any,
    ) -> list[Wish]:
        """What is wished for in each variant."""
        jobs = request.plan(self.config, [label], count=count, seed=seed)
        settings = self.settings(painting=True, **sampling)
        return [Wish(settings=settings, seed=job.seed, label=job.guide, **more) for job in jobs]

    def _painted(self, makers: Sequence[Painter[Painted]], batch_size: int | None) -> list[Image]:
        return [made.image for made in self._finished(side_by_side(makers), batch_size)]

    def _finished(self, maker: Painter[Made], batch_size: int | None) -> Made:
        """What a painter makes; raises its error."""
        size = self.batch_size() if batch_size is None else batch_size
        ((_, made),) = paint_together(self.network, [(None, maker)], batch_size=size)
        if isinstance(made, BigrError):
            raise made
        return made


def _check_share(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise UsageError(f"strength: expected 0 to 1, got {strength}")
