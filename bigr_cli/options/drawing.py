"""Options of whatever draws: the model, what is drawn and how, and where it goes."""

from pathlib import Path
from typing import Annotated

from bigr_cli.core import config
from bigr_cli.options.base import OUTPUT, SAMPLING, checked_seed, option

Model = Annotated[
    str | None,
    option(
        "-m",
        "--model",
        panel="Model",
        metavar="NAME|DIR",
        help="A model by name (see bigr models list) or by folder. Without it, the default model.",
    ),
]

Output = Annotated[
    str | None,
    option(
        "-o",
        "--output",
        panel=OUTPUT,
        metavar="FILE|DIR|-",
        help="Where to write: a file, a folder, a pattern, or - for stdout.",
    ),
]
Overwrite = Annotated[bool, option("--overwrite", panel=OUTPUT, help="Replace files that are there already.")]
SkipExisting = Annotated[
    bool, option("--skip-existing", panel=OUTPUT, help="Leave files that are there already, and go on.")
]
NoMetadata = Annotated[bool, option("--no-metadata", panel=OUTPUT, help="Leave the recipe out of the pictures.")]
Json = Annotated[bool, option("--json", panel=OUTPUT, help="Print one line of JSON per result.")]

Grid = Annotated[
    str | None,
    option("--grid", panel=OUTPUT, metavar="FILE", help="Write a contact sheet of all pictures too."),
]

Count = Annotated[
    int, option("-n", "--count", panel=SAMPLING, min=1, metavar="N", help="How many pictures of each label or input.")
]
Seed = Annotated[
    int | None,
    option(
        "--seed",
        panel=SAMPLING,
        metavar="N",
        callback=checked_seed,
        help="The same seed gives the same picture. Without it one is drawn, said and recorded.",
    ),
]
Preset = Annotated[
    config.Preset | None,
    option(
        "--preset",
        panel=SAMPLING,
        metavar="NAME",
        help=f"Settings that belong together, from best to fastest: {', '.join(config.PRESETS)}. "
        f"Published models also have those of the {', '.join(config.SOURCES)}.",
    ),
]
Recipe = Annotated[
    Path | None,
    option(
        "--recipe",
        panel=SAMPLING,
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="Settings from a picture made earlier, or its JSON; options given explicitly win.",
    ),
]
Negative = Annotated[
    str | None,
    option("--negative", panel=SAMPLING, metavar="LABEL|TEXT", help="What guidance leads away from, instead of none."),
]
