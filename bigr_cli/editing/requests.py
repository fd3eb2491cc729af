"""What can be asked for with an image: frozen requests, each of which can paint.

A command and its options, a line of a manifest, a Python method's keywords and an image's recipe follow from the
fields. Importing this imports neither torch nor numpy, so that `bigr --help` can.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

from bigr_cli.core.config import Prompt, SamplingConfig, require
from bigr_cli.editing.interpolate_request import Interpolate
from bigr_cli.editing.request import (
    EditRequest,
    Guess,
    Label,
    MaskedRequest,
    NeededLabel,
    Negative,
    SampledCodes,
    Strict,
    Window,
    painting,
    partly_read,
)
from bigr_cli.errors import UsageError
from bigr_cli.imaging.regions import CanvasRequest, MaskRequest
from bigr_cli.setting import Setting

if TYPE_CHECKING:
    from bigr_cli.core.model import BinaryModel
    from bigr_cli.editing.batched_sampling import SamplingCoroutine
    from bigr_cli.editing.repaint import Painted
    from bigr_cli.imaging.originals import Original

__all__ = ["REQUESTS", "STRENGTH", "TURNS", "Edit", "Enrich", "Inpaint", "Interpolate", "Mask", "Outpaint"]

STRENGTH = 0.4  # of an edit without a mask
UNSURE_STRENGTH = 0.6  # where it is not known what the image shows
TURNS = 4  # in which enriching resamples the tokens of a cell

_detail = partial(Setting, panel="Detail", variable=False, show_default=True)


@dataclass(frozen=True, kw_only=True)
class Inpaint(MaskedRequest):
    """The masked part of an image, painted anew; the rest comes back bit for bit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mask.given:
            raise UsageError(
                "no mask given", hint="--mask FILE, --mask-box X,Y,W,H or --mask-class LABEL says what to repaint"
            )

    def paint(self, network: "BinaryModel", image: "Original", seed: int) -> "SamplingCoroutine[Painted]":
        from bigr_cli.editing.inpaint import inpaint

        return inpaint(network, image, self.weights(network, image), self, seed, guess=self.guess)


@dataclass(frozen=True, kw_only=True)
class Mask(EditRequest):
    """The mask of an image, as the other requests have it, as an image of its own."""

    samples: ClassVar[bool] = False

    mask: MaskRequest = MaskRequest()
    label: Prompt = None
    negative: Prompt = None
    window: int | None = None
    sampling: SamplingConfig = SamplingConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mask.given:
            raise UsageError("no mask given", hint="--mask-class LABEL or --mask-text WORDS says what to find")

    def for_image(self, image: "Original") -> "Mask":
        return replace(self, mask=partly_read(self.mask, image))

    def paint(self, network: "BinaryModel", image: "Original", seed: int) -> "SamplingCoroutine[Painted]":
        from bigr_cli.editing.mask_finders import mask_image

        return mask_image(network, image, self)


@dataclass(frozen=True, kw_only=True)
class Outpaint(MaskedRequest):
    """An image continued beyond its borders; or, with a mask, around the masked part, which is kept."""

    mask_is_kept = True

    canvas: CanvasRequest = CanvasRequest()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.canvas.given == self.mask.given:
            raise UsageError(
                "expected either a larger canvas or a mask that says what to keep",
                hint="--left, --right, --top, --bottom, --aspect or --size makes the canvas larger",
            )

    def for_image(self, image: "Original") -> "Outpaint":
        if not self.mask.given:
            self.canvas.margins(image.size).canvas(image.size)
        return super().for_image(image)

    def paint(self, network: "BinaryModel", image: "Original", seed: int) -> "SamplingCoroutine[Painted]":
        from bigr_cli.editing.inpaint import inpaint, outpaint

        if self.mask.given:
            return inpaint(network, image, self.weights(network, image), self, seed, guess=self.guess)
        return outpaint(network, image, self.canvas.margins(image.size), self, seed, guess=self.guess)


@dataclass(frozen=True, kw_only=True)
class Edit(MaskedRequest):
    """Another label for the masked part of an image, or for a share of all its tokens."""

    from_label: Annotated[
        Prompt,
        painting(
            "What it was: guidance leads away from it. Without a mask, it is replaced.",
            option="--from-class",
            metavar="LABEL|TEXT",
            variable=False,
        ),
    ] = None
    strength: Annotated[
        float | None,
        painting(
            f"Without a mask: the share of the tokens to sample anew ({STRENGTH}). "
            f"It is {UNSURE_STRENGTH} with texts, and with more than 64 classes, unless --from-class says what it was.",
            minimum=0,
            maximum=1,
            metavar="SHARE",
            variable=False,
        ),
    ] = None
    label: NeededLabel = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.guess:
            raise UsageError("--guess-class is of no use here: an edit says what it paints")
        if self.from_label is not None and self.negative is not None:
            raise UsageError("--from-class and --negative exclude each other: both say what guidance leads away from")
        if self.mask.given and self.strength is not None:
            raise UsageError("--strength is for edits without a mask; what a mask covers is sampled anew altogether")
        if not self.mask.given and self.best_of > 1:
            raise UsageError("--best-of chooses among repainted regions, so it needs a mask")

    def paint(self, network: "BinaryModel", image: "Original", seed: int) -> "SamplingCoroutine[Painted]":
        from bigr_cli.editing.inpaint import edit_whole, inpaint

        request = self if self.from_label is None else replace(self, negative=self.from_label, from_label=None)
        if self.mask.given:
            return inpaint(network, image, self.weights(network, image), request, seed)
        return edit_whole(network, image, request, seed, was=self.from_label)


@dataclass(frozen=True, kw_only=True)
class Enrich(EditRequest):
    """Detail for an image that lacks it: tokens in cells of `rate` × `rate` are resampled in `groups`, `passes` times.

    The published code does it with `strength` 1 and `reduce`; the defaults keep what the image shows.
    """

    label: Label = None
    negative: Negative = None
    guess: Guess = False
    window: Window = None
    strength: Annotated[
        float,
        _detail(
            "The share of the tokens that are resampled. Those first that the model finds unlikely.",
            minimum=0,
            above=True,
            maximum=1,
            metavar="SHARE",
        ),
    ] = 0.25
    reduce: Annotated[bool, _detail("Reduce the image by --rate first, to resample detail that it has.")] = False
    rate: Annotated[int, _detail("Tokens are resampled in cells of R by R.", minimum=1, maximum=64, metavar="R")] = 2
    passes: Annotated[int, _detail("How often all is resampled.", minimum=1, maximum=1000, metavar="P")] = 1
    groups: Annotated[
        int | None,
        _detail(
            "In how many turns; 4, or R·R if that is less.", minimum=1, maximum=4096, metavar="G", show_default=False
        ),
    ] = None
    scale: Annotated[int, _detail("Make the image so much larger.", minimum=1, maximum=16, metavar="S")] = 1
    every_window: Annotated[
        bool, _detail("Resample windows too that the model cannot reconstruct. Without it they stay as they are.")
    ] = False
    sharpen_only: Annotated[bool, _detail("Change fine detail alone, so that colours do not drift.")] = False
    sample_codes: SampledCodes = False
    save_passes: Annotated[
        bool,
        Setting("Write the image after each pass too, as NAME-pass1.png.", panel="Files", variable=False),
    ] = False
    strict: Strict = False
    sampling: SamplingConfig = SamplingConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.turns <= self.rate**2, f"groups: a cell has {self.rate**2} tokens, got {self.groups} groups")

    @property
    def turns(self) -> int:
        """The number of groups."""
        return min(TURNS, self.rate**2) if self.groups is None else self.groups

    def paint(self, network: "BinaryModel", image: "Original", seed: int) -> "SamplingCoroutine[Painted]":
        from bigr_cli.editing.enrich import enrich

        return enrich(network, image, self, seed)


REQUESTS = (Inpaint, Outpaint, Edit, Enrich, Interpolate, Mask)
