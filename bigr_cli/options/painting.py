"""Options of what is given pictures: which, masks, and how they are painted on."""

from pathlib import Path
from typing import Annotated

import typer

from bigr_cli.options.base import OUTPUT, option

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
