"""What a person asks of `bigr train`, and what a look at the images says about it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from bigr_cli import console
from bigr_cli.data.look import DataLook, look_at
from bigr_cli.data.sources import Source, open_source
from bigr_cli.errors import UsageError
from bigr_cli.training.plan import DEFAULT_TIME, Condition
from bigr_cli.training.sizes import SizeName

_FEWEST = 10  # images
_LOOK_SIDE = 64  # pixels; how large they are trained on is known only after a look


@dataclass(frozen=True)
class Request:
    """What a person asks of a training; what is None or "", the planner decides.

    `seconds` for everything, or `steps` of each stage. `start` is a model to begin with, or "none". `settings` are
    key=value.
    """

    images: str
    name: str
    seconds: float | None = None
    steps: int | None = None
    size: SizeName | None = None
    side: int | None = None
    condition: Condition | None = None
    start: str = ""
    seed: int = 0
    settings: tuple[str, ...] = ()

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
        if request.condition == "classes":
            raise
    if request.condition != "classes":
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
    return look


def condition_of(request: Request, look: DataLook) -> Condition:
    """Classes or captions: what was asked for, or else captions where there are more of them than classes.

    Raises:
        UsageError: what was asked for is not there.
    """
    if request.condition == "captions" and not look.captioned:
        hint = "captions are read from captions.jsonl or from 1.txt beside 1.jpg; docs/training.md has more"
        raise UsageError(f"{request.images}: has no captions", hint=hint)
    if request.condition == "classes" and len(look.classes) < 2:
        raise UsageError(f"{request.images}: has no classes", hint="a subfolder for each class makes some")
    if request.condition is not None:
        return request.condition
    mostly = 2 * look.captioned >= look.images and look.captions > max(1, len(look.classes))
    return "captions" if mostly and not look.endless else "classes"
