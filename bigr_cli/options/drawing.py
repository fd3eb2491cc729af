"""Options of whatever samples and edits: the model, the prompt, the images, and where results go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bigr_cli.core import config
from bigr_cli.errors import UsageError
from bigr_cli.options.base import ARGUMENTS, MODEL, OUTPUT, PAINTING, checked_seed, option, own_option
from bigr_cli.setting import COUNT_NAMES

Model = Annotated[
    str | None,
    option(
        "-m",
        "--model",
        panel=MODEL,
        metavar="NAME|DIR",
        help="A model by name (see bigr models list) or by folder.",
    ),
]

SameModel = Annotated[
    str | None,
    own_option(
        *("-m", "--model"),
        panel=MODEL,
        metavar="NAME|DIR",
        hidden=True,
        help="The model, where a command has it as an argument.",
    ),
]

SameModels = Annotated[
    list[str] | None,
    own_option(*("-m", "--model"), panel=MODEL, metavar="NAME|DIR", hidden=True, help="Models, as the arguments are."),
]

Output = Annotated[
    str | None,
    option(
        "-o",
        "--output",
        panel=ARGUMENTS,
        metavar="FILE|DIR|-",
        help="Where to write: a file, a folder, a pattern, or - for stdout.",
    ),
]
Overwrite = Annotated[bool, option("--overwrite", panel=OUTPUT, help="Replace files that are there already.")]
SkipExisting = Annotated[
    bool, option("--skip-existing", panel=OUTPUT, help="Leave files that are there already, and go on.")
]
NoMetadata = Annotated[bool, option("--no-metadata", panel=OUTPUT, help="Leave the recipe out of the images.")]
Json = Annotated[bool, option("--json", panel=OUTPUT, help="Print one line of JSON per result.")]

Grid = Annotated[
    str | None,
    option("--grid", panel=OUTPUT, metavar="FILE", help="Write a contact sheet of all images too."),
]

Count = Annotated[
    int,
    option(
        *("-n", "--count"),
        aliases=COUNT_NAMES,
        panel=MODEL,
        min=1,
        metavar="N",
        help="How many images of each prompt or input.",
    ),
]
Seed = Annotated[
    int | None,
    option(
        "--seed",
        panel=MODEL,
        metavar="N",
        callback=checked_seed,
        help="The same seed gives the same image. Without it one is drawn, said and recorded.",
    ),
]
Preset = Annotated[
    config.Preset | None,
    option(
        "--preset",
        panel=MODEL,
        metavar="NAME",
        help=f"From best to fastest: {', '.join(config.PRESETS)}. These are settings that belong together. "
        f"Published models also have those of the {', '.join(config.SOURCES)}.",
    ),
]
Recipe = Annotated[
    Path | None,
    option(
        "--recipe",
        panel=MODEL,
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="Settings of an image made earlier; options given here win. FILE is that image, or its recipe as JSON.",
    ),
]
Negative = Annotated[
    str | None,
    option(
        "--negative",
        aliases=("--negative-prompt",),
        panel=PAINTING,
        metavar="LABEL|TEXT",
        help="Negative prompt: what guidance leads away from.",
    ),
]

Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IMAGE",
        help="Images: files, folders, patterns such as 'in/*.png', - for stdin.",
        show_default=False,
    ),
]
Recursive = Annotated[bool, option("--recursive", panel=OUTPUT, help="Take the images in subfolders too.")]
Manifest = Annotated[
    Path | None,
    option(
        "--manifest",
        panel=OUTPUT,
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help='A job a line, as JSON: {"image": "a.png", "seed": 7}. Any option is a key. Paths are relative to FILE.',
    ),
]
Watch = Annotated[
    bool, option("--watch", panel=OUTPUT, help="Go on with images that appear in the folders, until Ctrl-C.")
]
DryRun = Annotated[bool, option("--dry-run", panel=OUTPUT, help="Say what would be done, and do nothing.")]
Failures = Annotated[
    Path | None,
    option(
        "--failures",
        panel=OUTPUT,
        metavar="FILE",
        help="Write a line of JSON for each image that failed. With --skip-existing, add it.",
    ),
]


def one_model(argument: str | None, option: str | None) -> str | None:
    """The model, given as an argument or as -m; UsageError if both are."""
    if argument is not None and option is not None:
        raise UsageError(f"two models are given: {argument} and -m {option}")
    return argument if option is None else option
