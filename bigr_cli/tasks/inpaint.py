"""`bigr inpaint`: the masked part of an image, painted anew."""

import typer

from bigr_cli.editing.requests import Inpaint
from bigr_cli.registry import MAKE, task
from bigr_cli.tasks._batch import run
from bigr_cli.tasks._editing import editing_command

TASK = "inpaint"


@task(
    TASK,
    panel=MAKE,
    help="Repaint the masked part of images.",
    examples=(
        "bigr inpaint scene.png --mask mask.png",
        "bigr inpaint scene.png --mask-box 10,20,30,30 --prompt cat -n 4",
        "bigr inpaint scene.png --mask-class cat --mask-grow 3",
        "bigr inpaint scene.png --mask-box 25%,25%,50%,50% --guess-class --best-of 8 -o done.png",
        "bigr inpaint holes/*.png --mask-alpha -o done/ --skip-existing",
        "bigr inpaint --manifest jobs.jsonl -o done/ --json",
        "cat scene.png | bigr inpaint - --mask mask.png -o - > done.png",
    ),
)
@editing_command(Inpaint)
def inpaint(context: typer.Context) -> None:
    """Outside the mask an image comes back bit for bit, at its own size and in its own mode.

    Without --prompt the model paints what it finds likely. Large masks are painted window by window.

    Files: {stem}-inpaint-{seed}.png, unless -o says otherwise; {label}, {index} and {model} work too.
    """
    run(context, TASK, Inpaint)
