"""Commands that make images of images: each is an editing request, whose fields are its options.

A new one takes a request class (see `bigr_cli.editing.requests`) and an `editing_task`, here or in a module of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any

import typer

from bigr_cli import options
from bigr_cli.editing.request import EditRequest
from bigr_cli.editing.requests import Edit, Enrich, Inpaint, Mask, Outpaint
from bigr_cli.options.groups import Batch, Machine, Messages, Sampling, Writing, grouped
from bigr_cli.registry import MAKE, UNDERSTAND, task
from bigr_cli.tasks._batch import run

_OF_SAMPLING = ("count", "seed", "recipe", "sampling")  # which a request that samples nothing has no use for
_UNSAMPLED = Sampling()


def editing_task(
    name: str, kind: type[EditRequest], *, help: str, examples: Sequence[str] = (), panel: str | None = None
) -> Callable[[Callable[[], None]], Callable[..., None]]:
    """Register the command `name` of a request class; the decorated function has nothing but the command's long help.

    Its options are those of the request's fields, and those that all such commands share. Other arguments and errors
    are those of `bigr_cli.registry.task`.
    """

    def command(
        context: typer.Context,
        images: options.Images = None,
        model: options.Model = None,
        count: options.Count = 1,
        seed: options.Seed = None,
        recipe: options.Recipe = None,
        *,
        request: Any,
        batch: Batch,
        sampling: Sampling = _UNSAMPLED,
        writing: Writing,
        machine: Machine,
        messages: Messages,
    ) -> None:
        run(context, name, kind)

    command.__annotations__["request"] = kind

    def register(described: Callable[[], None]) -> Callable[..., None]:
        made = grouped(command, without=() if kind.samples else _OF_SAMPLING)
        made.__name__, made.__doc__, made.__module__ = described.__name__, described.__doc__, described.__module__
        return task(name, help=help, examples=examples, panel=panel)(made)

    return register


@editing_task(
    "inpaint",
    Inpaint,
    panel=MAKE,
    help="Repaint the masked part of images.",
    examples=(
        "bigr inpaint scene.png --mask mask.png",
        "bigr inpaint scene.png --mask-box 10,20,30,30 --prompt cat -n 4",
        "bigr inpaint scene.png --mask-class cat",
        "bigr inpaint scene.png --mask-box 25%,25%,50%,50% --guess-class --best-of 8 -o done.png",
        "bigr inpaint holes/*.png --mask-alpha -o done/ --skip-existing",
        "bigr inpaint --manifest jobs.jsonl -o done/ --json",
        "cat scene.png | bigr inpaint - --mask mask.png -o - > done.png",
    ),
)
def inpaint() -> None:
    """Outside the mask an image comes back bit for bit, at its own size and in its own mode.

    Without --prompt the model paints what it finds likely. Large masks are painted window by window.

    Files: {stem}-inpaint-{seed}.png, unless -o says otherwise; {label}, {index} and {model} work too.
    """


@editing_task(
    "outpaint",
    Outpaint,
    panel=MAKE,
    help="Continue images beyond their borders.",
    examples=(
        "bigr outpaint scene.png --right 50%",
        "bigr outpaint scene.png --left 64 --right 64 --prompt boat --seed 3",
        "bigr outpaint scene.png --aspect 16:9 -n 4 -o wide/",
        "bigr outpaint scene.png --mask-box 25%,25%,50%,50%   # keeps the box, repaints the rest",
    ),
)
def outpaint() -> None:
    """The canvas really becomes larger, by windows that overlap; the image itself stays bit for bit.

    With --aspect or --size the image is in the middle of the canvas. With a mask instead, the canvas stays as it is:
    the masked part is kept, and the rest is painted anew.
    """


@editing_task(
    "edit",
    Edit,
    panel=MAKE,
    help="Change the class of a part of images, or of all of them.",
    examples=(
        "bigr edit scene.png --prompt cat --mask mask.png",
        "bigr edit scene.png --prompt cat --from-class bird --mask-box 20,20,30,30",
        "bigr edit scene.png --prompt tree --mask-class cat --mask-grow 8",
        "bigr edit scene.png --prompt mushroom --strength 0.8 -n 4",
    ),
)
def edit() -> None:
    """With a mask, what it covers is painted anew as the class; the rest comes back bit for bit.

    Without one, the model looks at the whole image, and resamples those tokens that show what was there, as many as
    --strength says.
    """


@editing_task(
    "enrich",
    Enrich,
    panel=MAKE,
    help="Resample missing detail of images, or enlarge them.",
    examples=(
        "bigr enrich blurred.png",
        "bigr enrich small.png --scale 2 --sharpen-only",
        "bigr enrich blurred.png --guess-class --passes 2",
        "bigr enrich sharp.png --reduce --strength 1",
        "bigr enrich in/ -o out/ --rate 2 --passes 2 --skip-existing",
    ),
)
def enrich() -> None:
    """Groups of tokens are sampled anew, one group after the other, each given all the others.

    Of each group, those are resampled that the model finds least likely: a share of --strength.

    With --reduce and --strength 1, as in the published code, detail that the image has is lost, and comes back as
    the model imagines it.
    """


@editing_task(
    "mask",
    Mask,
    panel=UNDERSTAND,
    help="Find what to repaint in images, and write it as masks.",
    examples=(
        "bigr mask scene.png --mask-class cat",
        "bigr mask photos/*.jpg --mask-text 'a red car' --mask-grow 8 -o masks/",
        "cat scene.png | bigr mask - --mask-class cat -o - > mask.png",
    ),
)
def mask() -> None:
    """A mask has the image's size: white is what the image shows of it, black is the rest.

    What the options ask for counts together, is then inverted, then grown, as in the commands that take a mask. A
    mask where nothing is found is black, with a warning.

    Files: {stem}-mask.png, unless -o says otherwise; {label}, {index} and {model} work too.
    """
