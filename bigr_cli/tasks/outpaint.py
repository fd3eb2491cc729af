"""`bigr outpaint`: a picture continued beyond its borders."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigr_cli import options
from bigr_cli.errors import UsageError
from bigr_cli.option_groups import Batch, Machine, Masking, Messages, Painting, Sampling, Writing, grouped
from bigr_cli.registry import task
from bigr_cli.tasks._batch import run
from bigr_cli.tasks._given import Given
from bigr_cli.tasks._guides import guided
from bigr_cli.tasks._jobs import (
    MASK_OPTIONS,
    PAINT_OPTIONS,
    Opened,
    Prepared,
    mask_request,
    recorded,
    warn_if_empty,
)

if TYPE_CHECKING:
    from bigr_cli.core.config import SamplingConfig
    from bigr_cli.imaging.originals import Original
    from bigr_cli.zoo.config import ModelConfig

TASK = "outpaint"
CANVAS = "Canvas"


def _side(name: str) -> Any:
    return typer.Option(
        f"--{name}", metavar="N[%]", rich_help_panel=CANVAS, help=f"Pixels to add at the {name}.", show_default=False
    )


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """How much larger the picture gets."""

    left: Annotated[str | None, _side("left")] = None
    right: Annotated[str | None, _side("right")] = None
    top: Annotated[str | None, _side("top")] = None
    bottom: Annotated[str | None, _side("bottom")] = None
    aspect: Annotated[
        str | None,
        typer.Option(
            metavar="W:H", rich_help_panel=CANVAS, help="The shape to extend the picture to.", show_default=False
        ),
    ] = None
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH", rich_help_panel=CANVAS, help="The size to extend the picture to.", show_default=False
        ),
    ] = None


@task(
    TASK,
    help="Continue pictures beyond their borders.",
    examples=(
        "bigr outpaint photo.png --right 50%",
        "bigr outpaint photo.png --left 64 --right 64 --class boat --seed 3",
        "bigr outpaint photo.png --aspect 16:9 -n 4 -o wide/",
        "bigr outpaint photo.png --mask-box 25%,25%,50%,50%   # keeps the box, repaints the rest",
    ),
)
@grouped
def outpaint(
    context: typer.Context,
    images: options.Images = None,
    model: options.Model = None,
    count: options.Count = 1,
    seed: options.Seed = None,
    recipe: options.Recipe = None,
    *,
    canvas: Canvas,
    batch: Batch,
    masking: Masking,
    painting: Painting,
    sampling: Sampling,
    writing: Writing,
    machine: Machine,
    messages: Messages,
) -> None:
    """The canvas really becomes larger, by windows that overlap; the picture itself stays bit for bit.

    With --aspect or --size the picture is in the middle of the canvas. With a mask instead, the canvas stays as it is:
    the masked part is kept, and the rest is painted anew.
    """
    run(context, TASK, prepare)


def prepare(given: Given, config: "ModelConfig", settings: "SamplingConfig") -> Prepared:
    """What `bigr outpaint` does with one picture."""
    from bigr_cli.imaging.canvas import CanvasRequest

    canvas, masks, painting = CanvasRequest(**vars(given.group(Canvas))), mask_request(given), given.group(Painting)
    if canvas.given == masks.given:
        raise UsageError(
            "expected either a larger canvas or a mask that says what to keep",
            hint="--left, --right, --top, --bottom, --aspect or --size makes the canvas larger",
        )
    wanted = guided(config, painting)

    def open_one(original: "Original", seed: int) -> Opened:
        from bigr_cli.imaging.masks import read_mask
        from bigr_cli.painting.inpaint import inpaint, outpaint
        from bigr_cli.painting.repaint import Wish

        wish = Wish(settings=settings, seed=seed, label=wanted.label, against=wanted.against, window=painting.window)
        more: dict[str, Any] = {
            "how": painting.blend,
            "guess": painting.guess_class,
            "best_of": painting.best_of,
        }
        if masks.given:
            mask = 1 - read_mask(masks, original)
            warn_if_empty(original, mask)
            return lambda network: inpaint(network, original, mask, wish, **more)
        margins = canvas.margins(original.size)
        margins.canvas(original.size)
        return lambda network: outpaint(network, original, margins, wish, **more)

    sides = recorded(given, "left", "right", "top", "bottom", "aspect", "size")
    return Prepared(open=open_one, label=wanted.name, options=sides | recorded(given, *MASK_OPTIONS, *PAINT_OPTIONS))
