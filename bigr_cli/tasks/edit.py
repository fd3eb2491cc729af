"""`bigr edit`: another label for a part of an image, or for all of it."""

import typer

from bigr_cli.editing.requests import Edit
from bigr_cli.registry import MAKE, task
from bigr_cli.tasks._batch import run
from bigr_cli.tasks._editing import editing_command

TASK = "edit"


@task(
    TASK,
    panel=MAKE,
    help="Change the class of a part of images, or of all of them.",
    examples=(
        "bigr edit scene.png --prompt cat --mask mask.png",
        "bigr edit scene.png --prompt cat --from-class bird --mask-box 20,20,30,30",
        "bigr edit scene.png --prompt tree --mask-class cat --mask-grow 8",
        "bigr edit scene.png --prompt mushroom --strength 0.8 -n 4",
    ),
)
@editing_command(Edit)
def edit(context: typer.Context) -> None:
    """With a mask, what it covers is painted anew as the class; the rest comes back bit for bit.

    Without one, the model looks at the whole image, and resamples those tokens that show what was there, as many as
    --strength says.
    """
    run(context, TASK, Edit)
