"""`bigr enrich`: detail for pictures that lack it."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from bigr_cli import options
from bigr_cli.option_groups import Batch, Guiding, Machine, Messages, Sampling, Writing, grouped
from bigr_cli.registry import task
from bigr_cli.tasks._batch import run
from bigr_cli.tasks._given import Given
from bigr_cli.tasks._guides import GUIDE_OPTIONS, guided
from bigr_cli.tasks._jobs import Opened, Prepared, recorded

if TYPE_CHECKING:
    from bigr_cli.core.config import SamplingConfig
    from bigr_cli.imaging.originals import Original
    from bigr_cli.zoo.config import ModelConfig

TASK = "enrich"
PANEL = "Detail"

_option = partial(options.own_option, panel=PANEL, show_default=True)


@dataclass(frozen=True, kw_only=True)
class Redrawing:
    """How much is redrawn."""

    strength: Annotated[
        float,
        _option(
            "--strength",
            min=0.01,
            max=1,
            metavar="SHARE",
            help="The share of the tokens that are redrawn, those first that the model finds unlikely.",
        ),
    ] = 0.25
    reduce: Annotated[
        bool, _option("--reduce", help="Reduce the picture by --rate first, to redraw detail that it has.")
    ] = False
    rate: Annotated[
        int, _option("--rate", min=1, max=64, metavar="R", help="Tokens are redrawn in cells of R by R.")
    ] = 2
    passes: Annotated[int, _option("--passes", min=1, max=1000, metavar="P", help="How often all is redrawn.")] = 1
    groups: Annotated[
        int | None,
        _option(
            "--groups",
            min=1,
            max=4096,
            metavar="G",
            help="In how many turns; 4, or R·R if that is less.",
            show_default=False,
        ),
    ] = None
    scale: Annotated[int, _option("--scale", min=1, max=16, metavar="S", help="Make the picture so much larger.")] = 1
    sharpen_only: Annotated[
        bool, _option("--sharpen-only", help="Change fine detail alone, so that colours do not drift.")
    ] = False


@task(
    TASK,
    help="Redraw missing detail of pictures, or enlarge them.",
    examples=(
        "bigr enrich blurred.png",
        "bigr enrich small.png --scale 2 --sharpen-only",
        "bigr enrich blurred.png --guess-class --passes 2",
        "bigr enrich sharp.png --reduce --strength 1",
        "bigr enrich in/ -o out/ --rate 2 --passes 2 --skip-existing",
    ),
)
@grouped
def enrich(
    context: typer.Context,
    images: options.Images = None,
    model: options.Model = None,
    count: options.Count = 1,
    seed: options.Seed = None,
    recipe: options.Recipe = None,
    window: options.WindowSide = None,
    *,
    guiding: Guiding,
    redrawing: Redrawing,
    batch: Batch,
    sampling: Sampling,
    writing: Writing,
    machine: Machine,
    messages: Messages,
) -> None:
    """Groups of tokens are drawn anew, one after the other, each given all the others.

    Of each group, those are redrawn that the model finds least likely: a share of --strength.

    With --reduce and --strength 1, as in the paper, detail that the picture has is lost, and comes back as the model
    imagines it.
    """
    run(context, TASK, prepare)


def prepare(given: Given, config: "ModelConfig", settings: "SamplingConfig") -> Prepared:
    """What `bigr enrich` does with one picture."""
    from bigr_cli.painting.enrich import Detail

    wanted, window = given.group(Redrawing), given.params["window"]
    groups = min(4, wanted.rate**2) if wanted.groups is None else wanted.groups
    detail = Detail(**{**vars(wanted), "groups": groups})
    guess, painted = given.params["guess_class"], guided(config, given.group(Guiding))

    def open_one(original: "Original", seed: int) -> Opened:
        from bigr_cli.painting.enrich import enrich as redraw
        from bigr_cli.painting.repaint import Wish

        wish = Wish(settings=settings, seed=seed, label=painted.label, against=painted.against, window=window)
        return lambda network: redraw(network, original, detail, wish, guess=guess)

    kept = recorded(given, *GUIDE_OPTIONS, "window", *vars(wanted))
    return Prepared(open=open_one, label=painted.name, options=kept)
