"""What a person asks of `bigr train`, and what a look at the images says about it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from bigr_cli import console
from bigr_cli.data.folders import FolderSource
from bigr_cli.data.look import DataLook, look_at
from bigr_cli.data.sources import Source, open_source
from bigr_cli.errors import UsageError
from bigr_cli.training.plan import DEFAULT_TIME, Condition
from bigr_cli.training.size_names import AskedSize

_FEWEST = 10  # images
_LOOK_SIDE = 64  # pixels; how large they are trained on is known only after a look


@dataclass(frozen=True)
class Request:
    """What a person asks of a training, as the options say it; what is None, "auto" or "", the planner decides.

    `seconds` for everything, or `steps` of each stage. `captions` False is for classes. `start` is a model to begin
    with, or "none". `settings` are key=value. `name` is the model's.
    """

    images: str
    seconds: float | None = None
    steps: int | None = None
    size: AskedSize = "auto"
    image_size: int | None = None
    captions: bool | None = None
    start: str = ""
    seed: int = 0
    settings: tuple[str, ...] = ()
    name: str = ""

    @property
    def time(self) -> float:
        """Seconds for everything."""
        return self.seconds or DEFAULT_TIME


def look_for(request: Request) -> DataLook:
    """What a look at the request's images finds.

    Raises:
        UsageError: they are not there, or too few.
    """
    classes: Source | None = None
    captioned: Source | None = None
    try:
        classes = open_source(request.images, _LOOK_SIDE)
    except UsageError:
        if request.captions is False:
            raise
    if request.captions is not False:
        with console.unheard(), suppress(UsageError):
            captioned = open_source(request.images, _LOOK_SIDE, captions=True)
    source = classes or captioned
    if source is None:
        source = open_source(request.images, _LOOK_SIDE)  # with what is wrong with them
    look = look_at(source, captioned=captioned)
    if look.images < _FEWEST:
        broken = f", and {len(look.broken):,} broken ones" if look.broken else ""
        raise UsageError(
            f"{request.images}: expected at least {_FEWEST} images, of which one is held out, got {look.images}"
            + broken,
            hint="a few hundred make something to look at",
        )
    _refuse_one_class(request, look, source)
    return look


def _refuse_one_class(request: Request, look: DataLook, source: Source) -> None:
    """Raise UsageError for a folder whose only images lie in one folder below it: a class that has no other."""
    if len(look.classes) == 1 and not look.captioned and isinstance(source, FolderSource):
        (name,) = look.classes
        inner = source.root / source.files[0].split("/")[0]
        hint = f"bigr train {inner} trains without prompts" if inner.is_dir() else "another class would make two"
        raise UsageError(f"{request.images}: has one class only, {name}: there is nothing to choose from", hint=hint)


def check_class_sizes(request: Request, look: DataLook, side: int) -> None:
    """Raise UsageError where classes differ in size so that some would be told by how blurred they are.

    Args:
        side: the image size that the class of the largest images would be trained at.
    """
    blurred = [name for name, (_, largest) in look.class_sides.items() if 2 * largest <= side]
    sharp = [name for name, (least, _) in look.class_sides.items() if least >= side]
    if blurred and sharp:
        small, large = look.class_sides[blurred[0]][1], look.class_sides[sharp[0]][0]
        raise UsageError(
            f"{request.images}: classes differ in size: {blurred[0]} has {small} pixels or less, {sharp[0]} {large} or "
            f"more; at {side}, the images of {len(blurred)} of {len(look.class_sides)} classes would be enlarged, and "
            "told by their blur",
            hint=f"--image-size {max(16, small // 8 * 8)} trains all at the smaller size, --image-size {side} anyway",
        )


def condition_of(request: Request, look: DataLook) -> Condition:
    """Classes or captions: what was asked for, or else captions where there are more of them than classes.

    Raises:
        UsageError: what was asked for is not there.
    """
    if request.captions and not look.captioned:
        hint = "captions are read from captions.jsonl or from 1.txt beside 1.jpg; docs/training.md has more"
        raise UsageError(f"{request.images}: has no captions", hint=hint)
    if request.captions is False and len(look.classes) < 2:
        raise UsageError(f"{request.images}: has no classes", hint="a subfolder for each class makes some")
    if request.captions is not None:
        return "captions" if request.captions else "classes"
    mostly = 2 * look.captioned >= look.images and look.captions > max(1, len(look.classes))
    return "captions" if mostly and not look.endless else "classes"
