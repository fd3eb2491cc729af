"""`bigr inpaint`: the masked part of a picture, painted anew."""

from typing import TYPE_CHECKING

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

TASK = "inpaint"


@task(
    TASK,
    help="Repaint the masked part of pictures.",
    examples=(
        "bigr inpaint photo.png --mask mask.png",
        "bigr inpaint photo.png --mask-box 10,20,30,30 --class cat -n 4",
        "bigr inpaint photo.png --mask-box 25%,25%,50%,50% --guess-class --best-of 8 -o done.png",
        "bigr inpaint holes/*.png --mask-alpha -o done/ --skip-existing",
        "bigr inpaint --manifest jobs.jsonl -o done/ --json",
        "cat photo.png | bigr inpaint - --mask mask.png -o - > done.png",
    ),
)
@grouped
def inpaint(
    context: typer.Context,
    images: options.Images = None,
    model: options.Model = None,
    count: options.Count = 1,
    seed: options.Seed = None,
    recipe: options.Recipe = None,
    *,
    batch: Batch,
    masking: Masking,
    painting: Painting,
    sampling: Sampling,
    writing: Writing,
    machine: Machine,
    messages: Messages,
) -> None:
    """Outside the mask a picture comes back bit for bit, at its own size, in its own mode and colour profile.

    The model sees a window around the masked part; larger parts are painted window by window.

    Without --class the model paints what it finds likely by itself.

    Files are called {stem}-inpaint-{seed}.png unless -o says otherwise; patterns know {label}, {index} and {model} too.
    """
    run(context, TASK, prepare)


def prepare(given: Given, config: "ModelConfig", settings: "SamplingConfig") -> Prepared:
    """What `bigr inpaint` does with one picture."""
    from bigr_cli.imaging.masks import read_mask
    from bigr_cli.painting.inpaint import inpaint as paint
    from bigr_cli.painting.repaint import Wish

    masks, painting = mask_request(given), given.group(Painting)
    if not masks.given:
        raise UsageError("no mask given", hint="--mask FILE, --mask-box X,Y,W,H or --mask-alpha says what to repaint")
    wanted = guided(config, painting)

    def open_one(original: "Original", seed: int) -> Opened:
        mask = read_mask(masks, original)
        warn_if_empty(original, mask)
        wish = Wish(settings=settings, seed=seed, label=wanted.label, against=wanted.against, window=painting.window)
        return lambda network: paint(
            network,
            original,
            mask,
            wish,
            how=painting.blend,
            guess=painting.guess_class,
            best_of=painting.best_of,
        )

    return Prepared(open=open_one, label=wanted.name, options=recorded(given, *MASK_OPTIONS, *PAINT_OPTIONS))
