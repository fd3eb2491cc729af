"""`bigr models export`: models as files for other programs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from bigr_cli import console, options
from bigr_cli.options import Json, Overwrite, Quiet
from bigr_cli.options.drawing import SameModel, one_model
from bigr_cli.registry import task
from bigr_cli.tasks.models import ModelName
from bigr_cli.zoo.find import find_model


@task(
    "models export",
    help="Write a model's weights for other programs.",
    examples=[
        "bigr models export my-bigr-l --format published -o for-the-paper/",
        "bigr models export scenes-64 --format safetensors -o scenes-64.safetensors",
    ],
)
def export(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR|FILE", rich_help_panel=options.ARGUMENTS, help="What to write."),
    ],
    model: ModelName = None,
    named: SameModel = None,
    form: Annotated[
        Literal["published", "safetensors", "torch-checkpoint"],
        typer.Option(
            "--format",
            metavar="NAME",
            rich_help_panel=options.OUTPUT,
            help="published (two files), safetensors or torch-checkpoint (one). The published code loads the first.",
        ),
    ] = "published",
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Only models with the published architecture have the published form; the other two hold any model.

    The single files have tensors by our names, in two parts, tokenizer and generator, and the config.
    """
    from bigr_cli.zoo.export import export_model

    folder = find_model(one_model(model, named))
    for path in export_model(folder, output.expanduser(), form, overwrite=overwrite):
        if json:
            console.json_line({"path": path, "model": folder, "format": form})
        else:
            console.say(f"wrote {path}")
