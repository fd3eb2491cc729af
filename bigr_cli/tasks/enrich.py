"""`bigr enrich`: detail for images that lack it."""

import typer

from bigr_cli.editing.requests import Enrich
from bigr_cli.registry import MAKE, task
from bigr_cli.tasks._batch import run
from bigr_cli.tasks._editing import editing_command

TASK = "enrich"


@task(
    TASK,
    panel=MAKE,
    help="Redraw missing detail of images, or enlarge them.",
    examples=(
        "bigr enrich blurred.png",
        "bigr enrich small.png --scale 2 --sharpen-only",
        "bigr enrich blurred.png --guess-class --passes 2",
        "bigr enrich sharp.png --reduce --strength 1",
        "bigr enrich in/ -o out/ --rate 2 --passes 2 --skip-existing",
    ),
)
@editing_command(Enrich)
def enrich(context: typer.Context) -> None:
    """Groups of tokens are drawn anew, one after the other, each given all the others.

    Of each group, those are redrawn that the model finds least likely: a share of --strength.

    With --reduce and --strength 1, as in the published code, detail that the image has is lost, and comes back as
    the model imagines it.
    """
    run(context, TASK, Enrich)
