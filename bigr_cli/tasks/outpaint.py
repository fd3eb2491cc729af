"""`bigr outpaint`: an image continued beyond its borders."""

import typer

from bigr_cli.editing.requests import Outpaint
from bigr_cli.registry import MAKE, task
from bigr_cli.tasks._batch import run
from bigr_cli.tasks._editing import editing_command

TASK = "outpaint"


@task(
    TASK,
    panel=MAKE,
    help="Continue images beyond their borders.",
    examples=(
        "bigr outpaint scene.png --right 50%",
        "bigr outpaint scene.png --left 64 --right 64 --prompt boat --seed 3",
        "bigr outpaint scene.png --aspect 16:9 -n 4 -o wide/",
        "bigr outpaint scene.png --mask-box 25%,25%,50%,50%   # keeps the box, repaints the rest",
    ),
)
@editing_command(Outpaint)
def outpaint(context: typer.Context) -> None:
    """The canvas really becomes larger, by windows that overlap; the image itself stays bit for bit.

    With --aspect or --size the image is in the middle of the canvas. With a mask instead, the canvas stays as it is:
    the masked part is kept, and the rest is painted anew.
    """
    run(context, TASK, Outpaint)
