"""`bigr mask`: the masks of images as images of their own, found by a label or by words."""

import typer

from bigr_cli.editing.requests import Mask
from bigr_cli.registry import UNDERSTAND, task
from bigr_cli.tasks._batch import run
from bigr_cli.tasks._editing import searching_command

TASK = "mask"


@task(
    TASK,
    panel=UNDERSTAND,
    help="Find what to repaint in images, and write it as masks.",
    examples=(
        "bigr mask scene.png --mask-class cat",
        "bigr mask photos/*.jpg --mask-text 'a red car' --mask-grow 8 -o masks/",
        "cat scene.png | bigr mask - --mask-class cat -o - > mask.png",
    ),
)
@searching_command(Mask)
def mask(context: typer.Context) -> None:
    """A mask has the image's size: white is what the image shows of it, black is the rest.

    What the options ask for counts together, is then inverted, then grown, as in the commands that take a mask. A
    mask where nothing is found is black, with a warning.

    Files: {stem}-mask.png, unless -o says otherwise; {label}, {index} and {model} work too.
    """
    run(context, TASK, Mask)
