"""`bigr edit`: another label for a part of a picture, or for all of it."""

from typing import TYPE_CHECKING, Annotated

import typer

from bigr_cli import options
from bigr_cli.errors import UsageError
from bigr_cli.option_groups import Batch, Machine, Masking, Messages, Painting, Sampling, Writing, grouped
from bigr_cli.registry import task
from bigr_cli.tasks._batch import run
from bigr_cli.tasks._given import Given
from bigr_cli.tasks._guides import guide, guided
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

TASK = "edit"
STRENGTH = 0.6

FromClass = Annotated[
    str | None,
    typer.Option(
        "--from-class",
        metavar="LABEL",
        rich_help_panel=options.PAINTING,
        help="What it was: guidance leads away from it.",
        show_default=False,
    ),
]
Strength = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="SHARE",
        rich_help_panel=options.PAINTING,
        help=f"Without a mask: the share of the tokens that are drawn anew, 0 to 1 ({STRENGTH} if not given).",
        show_default=False,
    ),
]


@task(
    TASK,
    help="Change the class of a part of pictures, or of all of them.",
    examples=(
        "bigr edit photo.png --class cat --mask mask.png",
        "bigr edit photo.png --class cat --from-class bird --mask-box 20,20,30,30",
        "bigr edit photo.png --class mushroom --strength 0.8 -n 4",
    ),
)
@grouped
def edit(
    context: typer.Context,
    images: options.Images = None,
    model: options.Model = None,
    count: options.Count = 1,
    seed: options.Seed = None,
    recipe: options.Recipe = None,
    from_class: FromClass = None,
    strength: Strength = None,
    *,
    batch: Batch,
    masking: Masking,
    painting: Painting,
    sampling: Sampling,
    writing: Writing,
    machine: Machine,
    messages: Messages,
) -> None:
    """With a mask, what it covers is painted anew as the class; the rest comes back bit for bit.

    Without one, the model looks at the whole picture, and redraws those tokens that fit the class least, as many as
    --strength says.
    """
    run(context, TASK, prepare)


def prepare(given: Given, config: "ModelConfig", settings: "SamplingConfig") -> Prepared:
    """What `bigr edit` does with one picture."""
    from bigr_cli.request import reads_text

    masks, painting, strength = mask_request(given), given.group(Painting), given.params["strength"]
    wanted, away = guided(config, painting), given.params["from_class"]
    if painting.guess_class or (painting.class_label is None and painting.text is None):
        option = "--text" if reads_text(config) else "--class"
        raise UsageError(f"no {option[2:]} given", hint=f"{option} says what to paint")
    if away is not None and painting.negative is not None:
        raise UsageError("--from-class and --negative exclude each other: both say what guidance leads away from")
    if masks.given and strength is not None:
        raise UsageError("--strength is for edits without a mask; what a mask covers is drawn anew altogether")
    if not masks.given and painting.best_of > 1:
        raise UsageError("--best-of chooses among repainted regions, so it needs a mask")
    against = wanted.against if away is None else guide(config, away)
    share = STRENGTH if strength is None else strength

    def open_one(original: "Original", seed: int) -> Opened:
        from bigr_cli.imaging.masks import read_mask
        from bigr_cli.painting.edit import edit_whole
        from bigr_cli.painting.inpaint import inpaint
        from bigr_cli.painting.repaint import Wish

        wish = Wish(settings=settings, seed=seed, label=wanted.label, against=against, window=painting.window)
        if not masks.given:
            return lambda network: edit_whole(network, original, share, wish, how=painting.blend)
        mask = read_mask(masks, original)
        warn_if_empty(original, mask)
        return lambda network: inpaint(network, original, mask, wish, how=painting.blend, best_of=painting.best_of)

    kept = recorded(given, "from_class", "strength", *MASK_OPTIONS, *PAINT_OPTIONS)
    return Prepared(open=open_one, label=wanted.name, options=kept)
